//! A whole decision point on a small unsigned bundle, asked in process.

use std::path::Path;
use std::sync::Arc;

use lictor_identity::Role;
use lictor_proto::call::{Call, Usage};
use lictor_proto::decide::{Decide, Detail, Outcome, Settle};
use lictor_proto::decision::Effect;

use super::{Running, start};
use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::peer::{Peer, PeerHandle};

const DATA: &str = r#"{"registry":{"users":{"alice":{}},
    "agents":{"bot":{"owner":"alice","status":"active","identities":[{"client_id":"client-7"}]}},"servers":{"s":{}},
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
        bundle: root.join("bundle").into(),
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

#[tokio::test]
async fn an_agent_by_another_name_is_the_same_agent_everywhere() {
    let root = tempfile::tempdir().unwrap();
    let rules = r#"allow if input.agent.id == "bot"

deny contains {"id": "twice", "message": "m"} if input.facts.session.calls["s/t"] > 0"#;
    let (running, pdp) = running(root.path(), rules).await;
    let named = |name: &str, session: Option<String>| {
        let mut call = Call::clone(&call());
        call.agent = Some(lictor_proto::call::Party::new("agent", name));
        let credential = serde_json::json!({"kind": "jwt", "id": "k"});
        call.credential = serde_json::from_value(credential).unwrap();
        call.session = session.map(|handle| lictor_proto::call::SessionRef { handle });
        call
    };
    let mut open = named("client-7", None);
    open.action.name = "session/open".to_owned();
    open.resource = None;
    let opened = pdp.decide(Arc::new(open), 0).await.unwrap();
    assert_eq!(opened.decision.effect, Effect::Allow, "{:?}", opened.decision.reasons);
    let handle = opened.hints.session_handle;
    let asked = Arc::new(named("client-7", handle.clone()));
    let first = pdp.decide(Arc::clone(&asked), 0).await.unwrap().decision;
    assert_eq!(first.effect, Effect::Allow, "{:?}", first.reasons);
    // By the digest an enforcement point knows its own question again.
    assert_eq!(first.request_digest, asked.request_digest());
    let again = pdp.decide(Arc::clone(&asked), 0).await.unwrap().decision;
    assert_eq!(again, first, "the stored decision");
    let second = pdp.decide(Arc::new(named("bot", handle)), 0).await.unwrap().decision;
    assert!(second.has_reason("twice"), "one session by both names: {:?}", second.reasons);
    let stranger = pdp.decide(Arc::new(named("client-8", None)), 0).await.unwrap().decision;
    assert!(stranger.has_reason("agent_unknown"), "{:?}", stranger.reasons);
    let unserved = stranger.call_id;
    running.stop("test").await;
    let logs = lictor_audit::query::Logs::open(&[root.path().join("audit")]).unwrap();
    let records = logs.call(&asked.call_id, true).unwrap();
    let record = records.first().unwrap();
    assert_eq!(record.str_at("/agent/id"), Some("bot"));
    assert_eq!(record.str_at("/agent/presented_as"), Some("client-7"));
    let refused = logs.call(&unserved, false).unwrap();
    assert_eq!(refused[0].str_at("/reasons/0/policy"), Some("registry/agents/client-8"));
    // What is replayed is the call as it came, with the digest that the decision has.
    let kept = Call::from_json(record.revealed["/call"].as_bytes()).unwrap();
    assert_eq!(kept.request_digest(), first.request_digest);
}

#[tokio::test]
async fn an_opened_session_is_renewed_with_what_it_did_and_only_by_its_own_agent() {
    let root = tempfile::tempdir().unwrap();
    bundle(&root.path().join("bundle"), "allow if true");
    let now = Arc::new(std::sync::atomic::AtomicI64::new(1_000));
    let told = Arc::clone(&now);
    let clock = Clock::from_fn(move || told.load(std::sync::atomic::Ordering::SeqCst));
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: root.path().join("bundle").into(),
        state_dir: root.path().join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, clock).await.unwrap();
    let pdp = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
    let within = |session: Option<&String>, opens: bool| {
        let mut call = Call::clone(&call());
        call.session =
            session.map(|handle| lictor_proto::call::SessionRef { handle: handle.clone() });
        if opens {
            call.action.name = "session/open".to_owned();
            call.resource = None;
        }
        call
    };
    let ask = async |call: Call| pdp.decide(Arc::new(call), 0).await.unwrap();
    let opened = ask(within(None, true)).await.hints;
    let first = opened.session_handle.unwrap();
    assert_eq!(ask(within(Some(&first), false)).await.decision.effect, Effect::Allow);

    now.fetch_add(crate::session::SESSION_MS - 1, std::sync::atomic::Ordering::SeqCst);
    let renewed = ask(within(Some(&first), true)).await.hints;
    assert_eq!(renewed.session_id, opened.session_id, "it is the same session");
    let second = renewed.session_handle.unwrap();
    let mut stolen = within(Some(&first), true);
    stolen.subject = Some(lictor_proto::call::Party::new("user", "mallory"));
    let stolen = ask(stolen).await;
    assert!(stolen.decision.has_reason("session_unknown"), "{:?}", stolen.decision.reasons);
    assert!(stolen.hints.session_handle.is_none());

    now.fetch_add(2, std::sync::atomic::Ordering::SeqCst);
    let late = ask(within(Some(&first), false)).await.decision;
    assert!(late.has_reason("session_unknown"), "the old handle ends: {:?}", late.reasons);
    let goes_on = ask(within(Some(&second), false)).await;
    assert_eq!(goes_on.decision.effect, Effect::Allow, "{:?}", goes_on.decision.reasons);
    assert_eq!(goes_on.hints.session_id, opened.session_id);
    now.fetch_add(crate::session::SESSION_MS, std::sync::atomic::Ordering::SeqCst);
    let over = ask(within(Some(&second), true)).await;
    assert!(over.decision.has_reason("session_unknown"), "one that is over is not renewed");
    running.stop("test").await;
}

#[tokio::test]
async fn what_is_never_sent_is_given_back_in_whichever_tenant_it_was_decided() {
    let root = tempfile::tempdir().unwrap();
    let rules = r#"allow if true

limits contains {"id": "one", "kind": "once", "key": "k"} if true"#;
    let (running, pdp) = running(root.path(), rules).await;
    // Asked before the tenant that the call is of.
    let other = PdpConfig {
        bundle: root.path().join("bundle").into(),
        state_dir: root.path().join("other"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    std::fs::create_dir_all(&other.state_dir).unwrap();
    let source = crate::source::BundleSource::open(&other.source()).unwrap();
    let other = source.load(1).await.unwrap();
    running.pdp().live.swap("a", other, crate::live::Origin::source("other"), 1);
    let asked = call();
    assert_eq!(pdp.decide(Arc::clone(&asked), 0).await.unwrap().decision.effect, Effect::Allow);
    let settle = Settle {
        call_id: asked.call_id.clone(),
        outcome: Outcome::NotSent,
        usage: Usage::default(),
        detail: Detail::default(),
    };
    pdp.settle(settle).await.unwrap();
    let late = pdp.decide(asked, 0).await.unwrap().decision;
    assert!(late.has_reason("call_abandoned"), "{:?}", late.reasons);
    assert_eq!(pdp.decide(call(), 0).await.unwrap().decision.effect, Effect::Allow);
    running.stop("test").await;
}
