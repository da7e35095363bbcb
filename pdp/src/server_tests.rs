//! A whole decision point on a small unsigned bundle, asked in process.

use std::path::Path;
use std::sync::Arc;

use lictor_identity::Role;
use lictor_proto::call::Call;
use lictor_proto::decide::Decide;
use lictor_proto::decision::Effect;

use super::{Running, start};
use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::peer::{Peer, PeerHandle};

const DATA: &str = r#"{"registry":{"users":{"alice":{}},
    "agents":{"bot":{"owner":"alice","status":"active"}},"servers":{"s":{}},
    "tools":{"s/t":{"schema":"any","annotations":{"effect":"none"}}}}}"#;

/// Writes a bundle whose only unit is `u`.
fn bundle(root: &Path, rules: &str) {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(".manifest", r#"{"metadata":{"lictor":{"name":"t","version":1}}}"#);
    write("data.json", DATA);
    write("rego/u/u.rego", &format!("package lictor.u\n\n{rules}\n"));
}

async fn running(root: &Path, rules: &str) -> (Running, PeerHandle) {
    bundle(&root.join("bundle"), rules);
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: root.join("bundle"),
        state_dir: root.join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, Clock::system()).await.unwrap();
    let handle = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
    (running, handle)
}

fn call() -> Arc<Call> {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"bot"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"s/t"}}}}"#,
        new_id(1)
    );
    Arc::new(Call::from_json(text.as_bytes()).unwrap())
}

/// How many of `calls` at once are allowed, and the reason ids of the rest.
async fn at_once(pdp: &PeerHandle, calls: usize) -> (usize, Vec<String>) {
    let asked: Vec<_> = (0..calls)
        .map(|_| {
            let pdp = pdp.clone();
            tokio::spawn(async move { pdp.decide(call(), 5_000).await.unwrap().decision })
        })
        .collect();
    let (mut allowed, mut refused) = (0, Vec::new());
    for decision in asked {
        let decision = decision.await.unwrap();
        match decision.effect {
            Effect::Allow => allowed += 1,
            _ => refused.extend(decision.reasons.into_iter().map(|reason| reason.id)),
        }
    }
    (allowed, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_of_one_session_do_not_make_each_other_fail() {
    let root = tempfile::tempdir().unwrap();
    let rules = r#"allow if count(input.facts.session.tail) >= 0"#;
    let (running, pdp) = running(root.path(), rules).await;
    assert_eq!(at_once(&pdp, 300).await, (300, vec![]));
    running.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rule_on_what_the_session_did_holds_under_concurrency() {
    let root = tempfile::tempdir().unwrap();
    let rules = r#"allow if not input.facts.session.calls["s/t"]"#;
    let (running, pdp) = running(root.path(), rules).await;
    let (allowed, refused) = at_once(&pdp, 200).await;
    assert_eq!(allowed, 1);
    assert!(refused.iter().all(|id| id == "no_permit"), "{refused:?}");
    running.stop("test").await;
}

#[tokio::test]
async fn the_same_call_gets_the_same_decision_and_another_content_none() {
    let root = tempfile::tempdir().unwrap();
    let rules = r#"allow if true

limits contains {"id": "one", "kind": "once", "key": "k"} if true"#;
    let (running, pdp) = running(root.path(), rules).await;
    let asked = call();
    let first = pdp.decide(Arc::clone(&asked), 0).await.unwrap().decision;
    let again = pdp.decide(Arc::clone(&asked), 0).await.unwrap().decision;
    assert_eq!((first.effect, &first), (Effect::Allow, &again));
    let mut other = Call::clone(&asked);
    other.context.source_ip = "10.0.0.1".to_owned();
    let reused = pdp.decide(Arc::new(other), 0).await.unwrap().decision;
    assert!(reused.has_reason("call_id_reused"), "{:?}", reused.reasons);
    let second = pdp.decide(call(), 0).await.unwrap().decision;
    assert!(second.has_reason("limit.one"), "{:?}", second.reasons);
    let stranger = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("x", &[Role::Pep]));
    let stolen = stranger.decide(asked, 0).await.unwrap().decision;
    assert!(stolen.has_reason("call_id_reused"), "{:?}", stolen.reasons);
    running.stop("test").await;
    let logs = [root.path().join("audit")];
    let report = lictor_audit::verify(&logs, &lictor_audit::VerifyOptions::default()).unwrap();
    assert!(report.ok, "{report:#?}");
}

#[tokio::test]
async fn only_an_enforcement_point_decides_and_only_an_operator_dry_runs() {
    let root = tempfile::tempdir().unwrap();
    let (running, pdp) = running(root.path(), "allow if true").await;
    let operator = Peer::new("o", &[Role::Operator, Role::Auditor]);
    let asks = PeerHandle::new(Arc::clone(running.pdp()), operator.clone());
    assert_eq!(asks.decide(call(), 0).await.unwrap_err().reason_id(), "role_missing");
    let facts = lictor_proto::facts::Facts::default;
    let pep = Peer::new("pep", &[Role::Pep]);
    let refused = running.pdp().dry_run(&pep, &call(), facts()).unwrap_err();
    assert_eq!(refused.reason_id(), "role_missing");
    let answer = running.pdp().dry_run(&operator, &call(), facts()).unwrap();
    assert!(answer.decision.dry_run);
    assert_eq!(pdp.decide(call(), 0).await.unwrap().decision.effect, Effect::Allow);
    running.stop("test").await;
}

#[tokio::test]
async fn without_policies_nothing_is_allowed() {
    let root = tempfile::tempdir().unwrap();
    let (running, pdp) = running(root.path(), "_nothing := true").await;
    let decision = pdp.decide(call(), 0).await.unwrap().decision;
    assert_eq!(decision.effect, Effect::Deny);
    assert!(decision.has_reason("no_permit") || decision.has_reason("no_policies"));
    running.stop("test").await;
}
