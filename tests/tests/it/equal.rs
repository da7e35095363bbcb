//! In process and over gRPC the same decisions: every call of the bundles' own cases, in one order,
//! to decision points that start from nothing.

use std::path::Path;
use std::sync::Arc;

use lictor_identity::Role;
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::server::{self, Running};
use lictor_pep_core::client::{GrpcDecide, Target, TokenSource};
use lictor_proto::call::Call;
use lictor_proto::decide::{Decide, DecideError, Outcome, Settle};
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::{pb, wire};
use lictor_tests::site::{SCOPE, Site, repository};
use serde_json::{Value, json};

/// A decision point for which all time is `now_ms`.
async fn pdp(site: &Site, name: &str, now_ms: i64) -> Running {
    let folder = site.path(name);
    let uid = rustix::process::geteuid().as_raw();
    let config = PdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        socket: Some(folder.join("pdp.sock")),
        bundle: site.path("bundle.tar.gz").into(),
        trust_keys: vec![site.path("keys/bundle.pub")],
        scope: SCOPE.to_owned(),
        state_dir: folder.clone(),
        peers: [(uid.to_string(), vec![Role::Pep])].into(),
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: folder.join("audit"), ..AuditConfig::default() };
    server::start(config, &audit, None, Clock::from_fn(move || now_ms)).await.unwrap()
}

/// The calls of every case file of both bundles, and then all again.
fn calls() -> Vec<Arc<Call>> {
    let mut calls = Vec::new();
    for bundle in ["expense-report", "pr-review"] {
        let folder = repository().join("bundles").join(bundle).join("cases");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            calls.extend(calls_of(&file));
        }
    }
    // All of them twice, so that limits are spent.
    let numbered = calls.clone().into_iter().chain(calls).enumerate();
    numbered
        .map(|(number, mut call)| {
            call["call_id"] = json!(format!("case-{number}"));
            Arc::new(Call::from_json(call.to_string().as_bytes()).unwrap())
        })
        .collect()
}

fn calls_of(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let cases: Value = yaml_serde::from_str(&text).unwrap();
    let cases = cases["cases"].as_array().unwrap_or_else(|| panic!("{}", file.display()));
    cases.iter().map(|case| case["call"].clone()).collect()
}

/// An answer without what is random in each decision point.
fn told(answer: Result<lictor_proto::decide::Answer, DecideError>) -> Value {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return json!({ "error": error.reason_id() }),
    };
    let mut decision: Value = serde_json::from_str(&answer.decision.to_json()).unwrap();
    decision.as_object_mut().unwrap().remove("decision_id");
    if let Some(approval) = decision.get_mut("approval").and_then(Value::as_object_mut) {
        approval.remove("id");
    }
    json!({
        "decision": decision,
        "effect": answer.hints.effect.as_str(),
        "response_check": format!("{:?}", answer.hints.response_check),
        "opened": answer.hints.session_handle.is_some(),
        "session": answer.hints.session_id.is_some(),
    })
}

async fn asked(decide: &dyn Decide, calls: &[Arc<Call>]) -> Vec<Value> {
    let mut all = Vec::new();
    for call in calls {
        all.push(told(decide.decide(call.clone(), 10_000).await));
    }
    // The same calls again: what was decided is told again, not decided again.
    for answer in decide.decide_batch(calls.to_vec(), 10_000).await.unwrap() {
        all.push(told(Ok(answer)));
    }
    let settle = |call: &Arc<Call>, outcome| Settle {
        call_id: call.call_id.clone(),
        outcome,
        usage: lictor_proto::call::Usage::default(),
        detail: lictor_proto::decide::Detail::default(),
    };
    for call in calls {
        let settled = decide.settle(settle(call, Outcome::Done)).await;
        all.push(json!(settled.err().map(|error| error.reason_id().to_owned())));
    }
    all
}

#[tokio::test]
async fn in_process_and_over_grpc_the_same() {
    let site = Site::new();
    let calls = calls();
    assert!(calls.len() > 80, "{} cases were found", calls.len());
    // All at one moment, after the bundle was signed.
    let now_ms = Clock::system().now_ms() + 1_000;
    let here = pdp(&site, "here", now_ms).await;
    let socket = pdp(&site, "socket", now_ms).await;
    let tcp = pdp(&site, "tcp", now_ms).await;
    let handle = PeerHandle::new(here.pdp().clone(), Peer::new("tests", &[Role::Pep]));
    let expected = asked(&handle, &calls).await;
    let target =
        Target::parse(&format!("unix:{}", site.path("socket/pdp.sock").display())).unwrap();
    let over_socket = GrpcDecide::connect(&target, TokenSource::none()).unwrap();
    let target = Target::parse(&format!("http://{}", tcp.address())).unwrap();
    let token = TokenSource::file(&site.path("tcp/pep.token")).unwrap();
    let over_tcp = GrpcDecide::connect(&target, token).unwrap();
    for (way, decide) in [("socket", &over_socket), ("tcp", &over_tcp)] {
        let answers = asked(decide, &calls).await;
        for (number, (expected, answer)) in expected.iter().zip(&answers).enumerate() {
            assert_eq!(expected, answer, "{way}, answer {number}");
        }
        assert_eq!(expected.len(), answers.len());
    }
    // The comparison is worth something only if there are all sorts of answers.
    let text = json!(expected).to_string();
    for part in ["\"allow\"", "\"deny\"", "\"ask\"", "limit.expense.ocr_once", "\"mask\""] {
        assert!(text.contains(part), "no answer holds {part}");
    }
    drop((over_socket, over_tcp));
    for running in [here, socket, tcp] {
        running.stop("test").await;
    }
    site.verify(&["here/audit"], &["here/audit.pub"]);
    site.verify(&["socket/audit"], &["socket/audit.pub"]);
    site.verify(&["tcp/audit"], &["tcp/audit.pub"]);
}

#[tokio::test]
async fn nobody_but_the_decision_point_states_facts() {
    let site = Site::new();
    let running = pdp(&site, "pdp", Clock::system().now_ms()).await;
    let token = std::fs::read_to_string(site.path("pdp/pep.token")).unwrap();
    let bearer: tonic::metadata::MetadataValue<_> =
        format!("Bearer {}", token.trim()).parse().unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", running.address()));
    let channel = endpoint.unwrap().connect().await.unwrap();
    let mut client =
        DecisionServiceClient::with_interceptor(channel, move |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", bearer.clone());
            Ok(request)
        });
    let mut call = wire::call_to_pb(&calls()[0]);
    call.facts = b"{\"findings\":[]}".to_vec().into();
    let request = pb::DecideRequest { call: Some(call), budget_ms: 0, dry_run: false };
    let told = match client.decide(request).await {
        Ok(response) => format!("{:?}", response.into_inner()),
        Err(status) => format!("{status:?}"),
    };
    assert!(told.contains("fact_in_call"), "{told}");
    running.stop("test").await;
}
