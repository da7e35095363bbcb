//! Whole decision points on one shared store: what they allow together, and what each does while
//! the store is away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use lictor_identity::Role;
use lictor_proto::call::{Call, Usage};
use lictor_proto::decide::{Decide, Detail, Outcome, Settle};
use lictor_proto::decision::{Decision, Effect};
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::{pb, wire};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::peer::{Peer, PeerHandle};
use crate::server::{Running, start};
use crate::state::State as _;
use crate::state::config::{SlicesConfig, StateConfig};
use crate::state::counters::Wanted;
use crate::state::redis::connection::Patience;
use crate::state::servers::{Server, at, commands, now_ms};

const DATA: &str = r#"{
    "registry": {
        "users": {"alice": {}},
        "agents": {"bot": {"owner": "alice", "status": "active"}},
        "servers": {"s": {}},
        "tools": {
            "s/strict": {"schema": "any", "annotations": {"effect": "none"}},
            "s/lenient": {"schema": "any", "annotations": {"effect": "none"}},
            "s/both": {"schema": "any", "annotations": {"effect": "none"}},
            "s/once": {"schema": "any", "annotations": {"effect": "none"}},
            "s/budget": {"schema": "any", "annotations": {"effect": "none"}}
        }
    },
    "limits": {
        "strict": {"kind": "budget", "max": 1000000, "per": "1h"},
        "lenient": {"kind": "budget", "max": 1000000, "per": "1h", "on_error": "allow"},
        "once": {"kind": "once"},
        "calls": {"kind": "budget", "max": 500, "per": "1h"},
        "more": {"kind": "rate", "max": 100000, "burst": 100000, "per": "1h"}
    }
}"#;

const RULES: &str = r#"package lictor.u

allow if true

limits contains {"id": "strict", "key": "k"} if input.resource.id in {"s/strict", "s/both"}

limits contains {"id": "lenient", "key": "k"} if input.resource.id in {"s/lenient", "s/both"}

limits contains {"id": "once", "key": "k", "per": "1h"} if input.resource.id == "s/once"

limits contains {"id": "calls", "key": "k"} if input.resource.id == "s/budget"

limits contains {"id": "more", "key": "k"} if input.resource.id == "s/budget"
"#;

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

async fn running(root: &Path, state: StateConfig) -> (Running, PeerHandle) {
    let bundle = root.join("bundle");
    write(&bundle, ".manifest", r#"{"metadata":{"lictor":{"name":"t","version":1}}}"#);
    write(&bundle, "data.json", DATA);
    write(&bundle, "rego/u/u.rego", RULES);
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: bundle.into(),
        state_dir: root.join("state"),
        state,
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, Clock::system()).await.unwrap();
    let handle = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
    (running, handle)
}

/// The store of `server`, waited for as long as a busy machine may take.
fn shared(server: &Server) -> StateConfig {
    let mut config = StateConfig::redis(&[&server.url]);
    config.redis.as_mut().unwrap().answer_timeout_ms = 20_000;
    config
}

fn call(tool: &str) -> Arc<Call> {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"bot"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"{tool}"}}}}"#,
        new_id(1)
    );
    Arc::new(Call::from_json(text.as_bytes()).unwrap())
}

/// One way to a decision point.
#[derive(Clone)]
enum Way {
    InProcess(PeerHandle),
    Grpc(DecisionServiceClient<Channel>, MetadataValue<Ascii>),
}

impl Way {
    async fn grpc(running: &Running, root: &Path) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", running.address())).unwrap();
        let token = std::fs::read_to_string(root.join("state/pep.token")).unwrap();
        let token = format!("Bearer {}", token.trim()).parse().unwrap();
        Self::Grpc(DecisionServiceClient::new(endpoint.connect().await.unwrap()), token)
    }

    async fn decide(&self, call: Arc<Call>) -> Decision {
        match self {
            Self::InProcess(pdp) => pdp.decide(call, 60_000).await.unwrap().decision,
            Self::Grpc(client, token) => {
                let call = Some(wire::call_to_pb(&call));
                let asked = pb::DecideRequest { call, budget_ms: 60_000, ..Default::default() };
                let answer = client.clone().decide(with(token, asked)).await.unwrap();
                wire::answer_from_pb(answer.into_inner()).unwrap().decision
            }
        }
    }

    async fn settle(&self, call_id: &str, outcome: Outcome) {
        let (usage, detail) = (Usage::default(), Detail::default());
        let settle = Settle { call_id: call_id.to_owned(), outcome, usage, detail };
        match self {
            Self::InProcess(pdp) => pdp.settle(settle).await.unwrap(),
            Self::Grpc(client, token) => {
                let settle = with(token, wire::settle_to_pb(&settle));
                client.clone().settle(settle).await.unwrap();
            }
        }
    }
}

fn with<T>(token: &MetadataValue<Ascii>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.clone());
    request
}

/// Two decision points on one store, and three ways to them.
struct Two {
    server: Server,
    roots: [tempfile::TempDir; 2],
    running: Vec<Running>,
    ways: Vec<Way>,
}

impl Two {
    async fn start() -> Self {
        let server = Server::alone();
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (mut all, mut ways) = (Vec::new(), Vec::new());
        for root in &roots {
            let (running, handle) = running(root.path(), shared(&server)).await;
            all.push(running);
            ways.push(Way::InProcess(handle));
        }
        ways.push(Way::grpc(&all[1], roots[1].path()).await);
        Self { server, roots, running: all, ways }
    }

    async fn stop(self) {
        drop(self.ways);
        for running in self.running {
            running.stop("test").await;
        }
        drop((self.server, self.roots));
    }
}

const CLIENTS: usize = 64;
const BUDGET: i64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_two_decision_points_never_overspend() {
    let two = Two::start().await;
    let held = Arc::new(AtomicI64::new(0));
    let (allowed, given_back) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let clients = (0..CLIENTS).map(|client| {
        let way = two.ways[client % two.ways.len()].clone();
        let (held, allowed) = (Arc::clone(&held), Arc::clone(&allowed));
        let given_back = Arc::clone(&given_back);
        tokio::spawn(async move {
            for n in 0..20 {
                let call = call("s/budget");
                let decision = way.decide(Arc::clone(&call)).await;
                if decision.effect != Effect::Allow {
                    assert!(decision.has_reason("limit.calls"), "{:?}", decision.reasons);
                    continue;
                }
                allowed.fetch_add(1, Ordering::SeqCst);
                // Counted after it was taken and no longer before it is given back.
                let now = held.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= BUDGET, "{now} of {BUDGET} are held");
                if n % 4 == 0 {
                    held.fetch_sub(1, Ordering::SeqCst);
                    given_back.fetch_add(1, Ordering::SeqCst);
                    way.settle(&call.call_id, Outcome::NotSent).await;
                } else {
                    way.settle(&call.call_id, Outcome::Done).await;
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    // Whatever is left is there to the unit, for whoever asks.
    let held = held.load(Ordering::SeqCst);
    let mut left = 0;
    while two.ways[left % 3].decide(call("s/budget")).await.effect == Effect::Allow {
        left += 1;
    }
    assert_eq!(held + left as i64, BUDGET);
    let (allowed, given_back) = (allowed.load(Ordering::SeqCst), given_back.load(Ordering::SeqCst));
    assert_eq!(allowed - given_back, held);
    assert!(given_back > 0 && allowed > BUDGET, "{allowed} allowed, {given_back} given back");
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_a_thousand_calls_of_two_decision_points_is_the_first() {
    let two = Two::start().await;
    let calls = (0..1_000).map(|n| {
        let way = two.ways[n % two.ways.len()].clone();
        tokio::spawn(async move { way.decide(call("s/once")).await })
    });
    let mut allowed = 0;
    for decision in join_all(calls).await {
        let decision = decision.unwrap();
        match decision.effect {
            Effect::Allow => allowed += 1,
            _ => assert!(decision.has_reason("limit.once"), "{:?}", decision.reasons),
        }
    }
    assert_eq!(allowed, 1);
    two.stop().await;
}

// === while the store is away ===

/// How long the store is away.
const AWAY: Duration = Duration::from_secs(5);
/// How often it is looked whether the store is back, 50 ms apart.
const BACK_TRIES: usize = 400;

/// What clients saw: calls that began and ended while the store was away.
#[derive(Default)]
struct Seen {
    strict: AtomicUsize,
    lenient: AtomicUsize,
    example: std::sync::Mutex<[String; 2]>,
}

/// Asks without pause until the phase is past 2; what it sees in phase 1 must go by `on_error`.
async fn load(pdp: PeerHandle, phase: Arc<AtomicUsize>, seen: Arc<Seen>) {
    loop {
        for tool in ["s/strict", "s/lenient", "s/both"] {
            let began = phase.load(Ordering::SeqCst);
            let call = call(tool);
            let decision = pdp.decide(Arc::clone(&call), 0).await.unwrap().decision;
            match (began, phase.load(Ordering::SeqCst), tool) {
                (3.., ..) => return,
                (1, 1, "s/lenient") => {
                    assert_eq!(decision.effect, Effect::Allow, "{:?}", decision.reasons);
                    seen.lenient.fetch_add(1, Ordering::SeqCst);
                    seen.example.lock().unwrap()[0] = call.call_id.clone();
                }
                (1, 1, _) => {
                    assert_eq!(decision.effect, Effect::Deny, "{tool}");
                    let reasons = &decision.reasons;
                    assert!(decision.has_reason("state_unavailable"), "{reasons:?}");
                    seen.strict.fetch_add(1, Ordering::SeqCst);
                    seen.example.lock().unwrap()[1] = call.call_id.clone();
                }
                (0, 0, _) => assert_eq!(decision.effect, Effect::Allow, "{:?}", decision.reasons),
                _ => {}
            }
        }
    }
}

async fn until_allowed(pdp: &PeerHandle, tool: &str) {
    for _ in 0..BACK_TRIES {
        if pdp.decide(call(tool), 0).await.unwrap().decision.effect == Effect::Allow {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the store is back and nobody noticed");
}

/// Takes the store away under load and gives it back; what is left is for `check`.
async fn away(mut servers: Vec<Server>, take: fn(&mut Server), give: fn(&mut Server)) -> String {
    let root = tempfile::tempdir().unwrap();
    let (running, pdp) = running(root.path(), hasty(&servers)).await;
    until_allowed(&pdp, "s/strict").await;
    let (phase, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Seen::default()));
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(load(pdp.clone(), Arc::clone(&phase), Arc::clone(&seen))))
        .collect();
    servers.iter_mut().for_each(take);
    phase.store(1, Ordering::SeqCst);
    tokio::time::sleep(AWAY).await;
    phase.store(2, Ordering::SeqCst);
    servers.iter_mut().for_each(give);
    until_allowed(&pdp, "s/strict").await;
    until_allowed(&pdp, "s/both").await;
    phase.store(3, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let (strict, lenient) =
        (seen.strict.load(Ordering::SeqCst), seen.lenient.load(Ordering::SeqCst));
    assert!(strict > 8 && lenient > 4, "{strict} and {lenient} were asked meanwhile");
    for _ in 0..20 {
        let decision = pdp.decide(call("s/both"), 0).await.unwrap().decision;
        assert_eq!(decision.effect, Effect::Allow, "it holds: {:?}", decision.reasons);
    }
    // The store is looked after every two seconds; that it began again is then recorded.
    tokio::time::sleep(Duration::from_millis(2 * crate::store::TEND_EVERY_MS)).await;
    running.stop("test").await;
    let logs = lictor_audit::query::Logs::open(&[root.path().join("audit")]).unwrap();
    for (call, effect) in seen.example.lock().unwrap().iter().zip(["allow", "deny"]) {
        let records = logs.call(call, false).unwrap();
        assert_eq!(records[0].str_at("/effect"), Some(effect));
        assert_eq!(records[0].str_at("/state"), Some("unavailable"), "marked in the record");
    }
    text_below(&root.path().join("audit"))
}

fn text_below(dir: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text.push_str(&text_below(&path)),
            false => text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap())),
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_leaves_each_limit_its_own_way_and_is_used_again() {
    let log = away(vec![Server::alone()], |server| server.pause(), |server| server.resume()).await;
    assert_eq!(log.matches("\"began_again\"").count(), 1, "at the first start, and never after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_dies_leaves_each_limit_its_own_way_and_its_loss_is_recorded() {
    let log = away(vec![Server::alone()], Server::kill, Server::restart).await;
    assert_eq!(log.matches("\"began_again\"").count(), 2, "at the first start, and after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_dies_leaves_each_limit_its_own_way_and_is_used_again() {
    let log = away(Server::cluster(), Server::kill, Server::restart).await;
    assert_eq!(log.matches("\"began_again\"").count(), 2, "at the first start, and after");
}

async fn starts_without(mut servers: Vec<Server>) {
    servers.iter_mut().for_each(Server::kill);
    let root = tempfile::tempdir().unwrap();
    let (running, pdp) = running(root.path(), hasty(&servers)).await;
    let denied = pdp.decide(call("s/strict"), 0).await.unwrap().decision;
    assert!(denied.has_reason("state_unavailable"), "{:?}", denied.reasons);
    let allowed = pdp.decide(call("s/lenient"), 0).await.unwrap().decision;
    assert_eq!(allowed.effect, Effect::Allow, "{:?}", allowed.reasons);
    servers.iter_mut().for_each(Server::restart);
    until_allowed(&pdp, "s/strict").await;
    let recorded = async |what: &str| {
        let text = format!("\"counters\":\"{what}\"");
        for _ in 0..BACK_TRIES {
            if text_below(&root.path().join("audit")).contains(&text) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    };
    assert!(recorded("unknown").await && recorded("began_again").await);
    running.stop("test").await;
}

#[tokio::test]
async fn a_decision_point_starts_without_its_store_and_uses_it_when_it_comes() {
    starts_without(vec![Server::alone()]).await;
}

#[tokio::test]
async fn a_decision_point_starts_without_its_cluster_and_uses_it_when_it_comes() {
    starts_without(Server::cluster()).await;
}

/// The store of `servers`, waited for only a little longer than in production: a busy machine may
/// take that long.
fn hasty(servers: &[Server]) -> StateConfig {
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let mut config = StateConfig::redis(&urls);
    let redis = config.redis.as_mut().unwrap();
    (redis.cluster, redis.answer_timeout_ms) = (urls.len() > 1, 500);
    config
}

#[tokio::test]
async fn whoever_asks_again_is_told_what_was_decided_before() {
    let server = Server::alone();
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (first, one) = running(roots[0].path(), shared(&server)).await;
    let (second, other) = running(roots[1].path(), shared(&server)).await;
    let once = call("s/once");
    let decided = one.decide(Arc::clone(&once), 20_000).await.unwrap().decision;
    assert_eq!(decided.effect, Effect::Allow, "{:?}", decided.reasons);
    for pdp in [&one, &other] {
        let again = pdp.decide(Arc::clone(&once), 20_000).await.unwrap().decision;
        assert_eq!(again.decision_id, decided.decision_id);
        assert_eq!((again.effect, again.limits), (decided.effect, decided.limits.clone()));
    }
    let short = call("s/once");
    let denied = one.decide(Arc::clone(&short), 20_000).await.unwrap().decision;
    assert_eq!(denied.effect, Effect::Deny);
    let again = other.decide(short, 20_000).await.unwrap().decision;
    assert_eq!((again.decision_id, again.reasons), (denied.decision_id, denied.reasons));
    let reused = Call { call_id: once.call_id.clone(), ..Call::clone(&call("s/strict")) };
    let reused = one.decide(Arc::new(reused), 20_000).await.unwrap().decision;
    assert_eq!(reused.reasons[0].id, lictor_proto::reason::CALL_ID_REUSED);
    first.stop("test").await;
    second.stop("test").await;
}

#[tokio::test]
async fn the_embedded_store_is_the_default_and_outlives_the_decision_point() {
    let root = tempfile::tempdir().unwrap();
    for allowed in [true, false] {
        let (running, pdp) = running(root.path(), StateConfig::default()).await;
        let decision = pdp.decide(call("s/once"), 0).await.unwrap().decision;
        assert_eq!(decision.effect == Effect::Allow, allowed, "{:?}", decision.reasons);
        running.stop("test").await;
    }
    assert!(root.path().join("state/state").is_dir());
    let log = text_below(&root.path().join("audit"));
    assert!(log.contains(r#""counters":"recovered""#), "what was found is recorded");
}

#[tokio::test]
async fn with_slices_most_decisions_need_no_round_trip() {
    let (root, server) = (tempfile::tempdir().unwrap(), Server::alone());
    let mut config = shared(&server);
    config.redis.as_mut().unwrap().slices = Some(SlicesConfig::default());
    let (running, pdp) = running(root.path(), config).await;
    let before = commands(&server);
    for _ in 0..500 {
        let call = call("s/strict");
        let decided = pdp.decide(Arc::clone(&call), 20_000).await.unwrap().decision;
        assert_eq!(decided.effect, Effect::Allow, "{:?}", decided.reasons);
        let (usage, detail) = (Usage::default(), Detail::default());
        let done = Settle { call_id: call.call_id.clone(), outcome: Outcome::Done, usage, detail };
        pdp.settle(done).await.unwrap();
    }
    let trips = commands(&server) - before;
    assert!(trips < 100, "{trips} commands for 500 decisions and settlements");
    running.stop("test").await;
    // Of what was leased only what was spent is missing afterwards.
    let store = at(&server, "lictor:", Patience::default());
    let page = store.counters("default", &Wanted::default(), now_ms()).await.unwrap();
    assert_eq!(page.counters.iter().map(|c| c.remaining).collect::<Vec<_>>(), [999_500]);
}
