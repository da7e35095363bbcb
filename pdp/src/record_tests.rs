//! What is recorded of a decision is enough to make it again.

use std::path::Path;
use std::sync::Arc;

use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use lictor_identity::Role;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::replay::{Cause, Recorded, Side, replay};
use lictor_proto::call::{Call, Phase, SessionRef};
use lictor_proto::decide::Decide as _;

use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::peer::{Peer, PeerHandle};
use crate::server::start;

const DATA: &str = r#"{"registry":{"users":{"alice":{}},"agents":{"bot":{"owner":"alice","status":"active"}},
    "servers":{"s":{}},"tools":{"s/t":{"schema":"any"}}},
    "guardrails":{"detectors":[{"id":"pii/card"}]}}"#;
const RULES: &str = r#"package lictor.u

allow if input.facts.session.kind == "implicit"

list if true

deny contains {"id": "u.card"} if input.facts.findings[_].detector == "pii/card"

ask contains {"id": "u.sure"} if input.context.args.sure == false

limits contains {"id": "two", "kind": "budget", "max": 2, "per": "1h", "key": "k"} if true
"#;

fn bundle(root: &Path) {
    for (name, text) in [
        (".manifest", r#"{"metadata":{"lictor":{"name":"t","version":1}}}"#),
        ("data.json", DATA),
        ("rego/u/u.rego", RULES),
    ] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn call(more: &str) -> Call {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"bot"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"s/t"}}{more}}}"#,
        new_id(1)
    );
    Call::from_json(text.as_bytes()).unwrap()
}

fn side<'a>(record: &'a Record, pointer: &str) -> Side<'a> {
    match (record.revealed.get(pointer), record.commits.contains_key(pointer)) {
        (Some(text), _) => Side::Text(text),
        (None, true) => Side::Erased,
        (None, false) => Side::Absent,
    }
}

#[tokio::test]
async fn every_decision_says_how_it_was_made_and_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    bundle(&root.path().join("bundle"));
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: root.path().join("bundle").into(),
        state_dir: root.path().join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, Clock::system()).await.unwrap();
    let live = running.pdp().live.of("default").unwrap();
    let pdp = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
    let card = r#","content":[{"origin":"user","text":"4111 1111 1111 1111"}]"#;
    let first = call("");
    let mut calls = vec![
        (first.clone(), "allow", "committed"),
        (first.clone(), "allow", "repeated"),
        (call(r#","context":{"args":{"n":1.50}}"#), "allow", "committed"),
        (call(""), "deny", "short"),
        (call(card), "deny", "committed"),
        (call(r#","context":{"args":{"sure":false}}"#), "ask", "committed"),
        (Call { resource: None, ..call("") }, "deny", "committed"),
        (Call { phase: Phase::List, ..call("") }, "allow", "evaluated"),
        (Call { phase: Phase::Response, executed: true, ..call(card) }, "deny", "evaluated"),
        (call(r#","questions":["quota"]"#), "allow", "committed"),
    ];
    let session = Some(SessionRef { handle: "ls1.x.y".to_owned() });
    calls.push((Call { session, ..call("") }, "deny", "refused"));
    let mut reused = first;
    reused.context.source_ip = "10.0.0.1".to_owned();
    calls.push((reused, "deny", "refused"));
    for (call, ..) in &calls {
        pdp.decide(Arc::new(call.clone()), 60_000).await.unwrap();
    }
    running.stop("test").await;
    let logs = Logs::open(&[root.path().join("audit")]).unwrap();
    let mut records = logs.records(true, |record| record.kind == Kind::Decision).unwrap();
    records.sort_by_key(|record| record.seq);
    assert_eq!(records.len(), calls.len());
    for (record, (call, effect, made)) in records.iter().zip(&calls) {
        let told = (record.str_at("/effect"), record.str_at("/made"));
        assert_eq!(told, (Some(*effect), Some(*made)), "{:#}", record.body);
        let read = Recorded::read(&record.body, |pointer| side(record, pointer));
        let recorded = match *made {
            "repeated" => refused_for(read, Cause::Repeated),
            "refused" => refused_for(read, Cause::NotPolicys),
            _ => Some(read.unwrap()),
        };
        let Some(recorded) = recorded else { continue };
        assert_eq!(recorded.call, *call);
        assert!(recorded.facts.findings.is_empty(), "what the detectors found is not known before");
        let replayed = replay(&live, &recorded, Budget::default()).unwrap();
        assert!(replayed.same_bundle);
        assert_eq!((replayed.faults, replayed.changes), (vec![], vec![]), "{made} {effect}");
        assert_eq!(replayed.redecided.decision, recorded.decision);
    }
}

fn refused_for(read: Result<Recorded, Cause>, cause: Cause) -> Option<Recorded> {
    assert_eq!(read.unwrap_err(), cause);
    None
}
