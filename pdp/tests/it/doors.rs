//! Who is let in where: every gRPC method that a descriptor names and every REST route that the
//! sources name has a line in one table, and every line is tried by everybody.

use std::collections::BTreeSet;
use std::path::Path;

use lictor_identity::Role;
use lictor_proto::pb;
use prost::Message;

use crate::caller::{Caller, Came};
use crate::point::{AUDITOR, NOBODY, OPERATOR, Point};

/// Who may come in.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// Everybody.
    Open,
    /// Whoever holds one of these.
    Roles(&'static [Role]),
}

/// A line of the table.
struct Line {
    /// `POST` for gRPC too.
    method: &'static str,
    path: &'static str,
    message: Vec<u8>,
    door: Door,
}

const PEP: Door = Door::Roles(&[Role::Pep]);
const OPERATORS: Door = Door::Roles(&[Role::Operator]);
const READERS: Door = Door::Roles(&[Role::Operator, Role::Auditor]);
const PROGRAMS: Door = Door::Roles(&[Role::Pep, Role::Operator, Role::Auditor]);
const ANSWERERS: Door = Door::Roles(&[Role::Operator, Role::Approver]);
const WAITERS: Door = Door::Roles(&[Role::Pep, Role::Operator, Role::Approver]);

/// The table.
fn lines() -> Vec<Line> {
    let rest = [
        ("GET", "/healthz", Door::Open),
        ("GET", "/readyz", Door::Open),
        ("GET", "/metrics", PROGRAMS),
        ("GET", "/v1/status", PROGRAMS),
        ("POST", "/v1/decide", PEP),
        ("GET", "/v1/approvals", ANSWERERS),
        ("GET", "/v1/approvals/{id}", WAITERS),
        ("POST", "/v1/approvals/{id}/approve", ANSWERERS),
        ("POST", "/v1/approvals/{id}/deny", ANSWERERS),
    ];
    let grpc = [
        ("/grpc.health.v1.Health/Check", Door::Open),
        ("/grpc.health.v1.Health/Watch", Door::Open),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", PROGRAMS),
        ("/lictor.v1.ApprovalService/List", ANSWERERS),
        ("/lictor.v1.ApprovalService/Resolve", ANSWERERS),
        ("/lictor.v1.ApprovalService/Wait", WAITERS),
        ("/lictor.v1.CatalogService/GetCatalog", PROGRAMS),
        ("/lictor.v1.DecisionService/Decide", PEP),
        ("/lictor.v1.DecisionService/DecideStream", PEP),
        ("/lictor.v1.DecisionService/ExchangeCheckpoint", PEP),
        ("/lictor.v1.DecisionService/Extend", PEP),
        ("/lictor.v1.DecisionService/Inspect", PEP),
        ("/lictor.v1.DecisionService/Settle", PEP),
        ("/lictor.v1.LimitService/Reset", OPERATORS),
        ("/lictor.v1.LimitService/Show", READERS),
        ("/lictor.v1.RevocationService/Kill", OPERATORS),
        ("/lictor.v1.RevocationService/List", READERS),
        ("/lictor.v1.RevocationService/Unkill", OPERATORS),
        ("/lictor.v1.StatusService/GetStatus", PROGRAMS),
    ];
    let dry = pb::DecideRequest { dry_run: true, ..pb::DecideRequest::default() };
    let batch = |one: &pb::DecideRequest| {
        pb::DecideBatchRequest { requests: vec![one.clone()] }.encode_to_vec()
    };
    // One that is answered at once.
    let known = pb::RevocationsRequest { known_version: 1 };
    let said = [
        ("/lictor.v1.DecisionService/Decide", dry.encode_to_vec(), OPERATORS),
        ("/lictor.v1.DecisionService/DecideStream", dry.encode_to_vec(), OPERATORS),
        ("/lictor.v1.DecisionService/DecideBatch", batch(&pb::DecideRequest::default()), PEP),
        ("/lictor.v1.DecisionService/DecideBatch", batch(&dry), OPERATORS),
        ("/lictor.v1.DecisionService/Revocations", known.encode_to_vec(), PEP),
    ];
    let rest = rest.into_iter().map(|(method, path, door)| (method, path, Vec::new(), door));
    let grpc = grpc.into_iter().map(|(path, door)| (path, Vec::new(), door)).chain(said);
    let grpc = grpc.map(|(path, message, door)| ("POST", path, message, door));
    let line = |(method, path, message, door)| Line { method, path, message, door };
    rest.chain(grpc).map(line).collect()
}

impl Line {
    fn is_grpc(&self) -> bool {
        self.path.matches('.').count() > 1
    }

    /// Approvers are known where approvals are.
    fn is_about_approvals(&self) -> bool {
        self.path.contains("/v1/approvals") || self.path.contains("ApprovalService")
    }

    async fn ask(&self, caller: &mut Caller) -> Came {
        if self.is_grpc() {
            return caller.grpc(self.path, &self.message).await.came();
        }
        let path = self.path.replace("{id}", "0");
        caller.rest(self.method, &path, "").await.came()
    }

    /// How far somebody with `roles` comes.
    fn expected(&self, roles: &[Role]) -> Came {
        let known = !roles.is_empty() && (roles != [Role::Approver] || self.is_about_approvals());
        match self.door {
            Door::Open => Came::In,
            Door::Roles(_) if !known => Came::Out,
            Door::Roles(wanted) if wanted.iter().any(|role| roles.contains(role)) => Came::In,
            Door::Roles(_) => Came::Role,
        }
    }
}

// === what there is ===

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// Every method of every service that is compiled in.
fn methods() -> BTreeSet<String> {
    let sets = [
        pb::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut all = BTreeSet::new();
    for file in sets.into_iter().flat_map(|set| Files::decode(set).unwrap().files) {
        for service in &file.services {
            let path = |method: &Method| {
                format!("POST /{}.{}/{}", file.package, service.name, method.name)
            };
            all.extend(service.methods.iter().map(path));
        }
    }
    all
}

/// Every route that the sources name, with its method. Servers of tests are none of ours.
fn routes(folder: &Path, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            routes(&path, all);
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".rs") || name.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for other in [".nest(", ".route_service(", ".nest_service(", ".fallback("] {
            assert!(!text.contains(other), "{name}: `{other}` adds routes that no table sees");
        }
        for route in text.split(".route(").skip(1) {
            let read = || {
                let (path, rest) = route.trim_start().strip_prefix('"')?.split_once('"')?;
                let (method, _) = rest.trim_start_matches([',', ' ', '\n']).split_once('(')?;
                Some((path, method.rsplit(':').next()?))
            };
            let found = read();
            let (path, method) = found.unwrap_or_else(|| panic!("{name}: no literal: {route}"));
            let method = method.to_uppercase();
            assert!(["GET", "POST", "PUT", "DELETE"].contains(&&*method), "{name}: {method}");
            all.insert(format!("{method} {path}"));
        }
    }
}

#[test]
fn every_method_and_every_route_has_a_line() {
    let mut there = methods();
    assert!(there.contains("POST /lictor.v1.DecisionService/Decide"), "{there:?}");
    let before = there.len();
    routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut there);
    assert!(there.len() > before, "no routes found");
    let listed: BTreeSet<String> =
        lines().iter().map(|line| format!("{} {}", line.method, line.path)).collect();
    assert_eq!(listed, there);
}

// === who comes in ===

/// Tries every line; how many were refused.
async fn tries(who: &str, caller: &mut Caller, roles: &[Role]) -> usize {
    let mut refused = 0;
    for line in lines() {
        let came = line.ask(caller).await;
        let what = format!("{who}: {} {} {:?}", line.method, line.path, line.door);
        assert_eq!(came, line.expected(roles), "{what}");
        refused += usize::from(came != Came::In);
    }
    refused
}

#[tokio::test]
async fn everybody_comes_as_far_as_their_role_goes() {
    let point = Point::with_everybody().await;
    let bearer = |token: String| Some(format!("Bearer {token}"));
    let by_token = [
        ("the default enforcement point", bearer(point.token("state/pep.token")), Role::Pep),
        ("a named enforcement point", bearer(point.token("pep-1.token")), Role::Pep),
        ("an approver", bearer(point.approver.clone()), Role::Approver),
    ];
    for (who, shown, role) in by_token {
        let mut caller = Caller::tls(&point, None, shown.as_deref()).await;
        assert!(tries(who, &mut caller, &[role]).await > 0);
    }
    let operator = bearer(point.token("state/operator.token"));
    let mut caller = Caller::tls(&point, None, operator.as_deref()).await;
    tries("the operators' token", &mut caller, &[Role::Operator, Role::Auditor]).await;
    for (name, roles) in
        [(OPERATOR, &[Role::Operator][..]), (AUDITOR, &[Role::Auditor]), (NOBODY, &[])]
    {
        let mut caller = Caller::tls(&point, Some(name), None).await;
        tries(name, &mut caller, roles).await;
    }
    // A wrong token is not made good by a certificate.
    let wrong = bearer("0".repeat(64));
    let mut caller = Caller::tls(&point, Some(OPERATOR), wrong.as_deref()).await;
    tries("an operator with a wrong token", &mut caller, &[]).await;
    point.stop().await;
}

#[tokio::test]
async fn by_default_nobody_comes_in_without_a_credential() {
    let point = Point::start(|_, _| {}).await;
    let pep = point.token("state/pep.token");
    let shown = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {}", "0".repeat(64))),
        Some(format!("Bearer {pep}x")),
        Some(format!("Bearer {}", pep.split_at(pep.len() - 1).0)),
        Some(format!("Basic {pep}")),
        Some(format!("DPoP {pep}")),
        Some(pep),
    ];
    let closed = lines().iter().filter(|line| matches!(line.door, Door::Roles(_))).count();
    for shown in shown {
        let who = format!("{shown:?}");
        let mut caller = Caller::plain(&point, shown.as_deref()).await;
        assert_eq!(tries(&who, &mut caller, &[]).await, closed, "{who}");
    }
    point.stop().await;
}

#[tokio::test]
async fn on_the_socket_we_are_operator_and_auditor_and_no_enforcement_point() {
    let point = Point::start(|root, config| config.socket = Some(root.join("s"))).await;
    let mut caller = Caller::socket(&point.path("s"), None).await;
    tries("our own user id", &mut caller, &[Role::Operator, Role::Auditor]).await;
    let mut caller = Caller::socket(&point.path("s"), Some("Bearer wrong")).await;
    tries("a wrong token on the socket", &mut caller, &[]).await;
    point.stop().await;
}
