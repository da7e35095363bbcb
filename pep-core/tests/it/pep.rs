//! The five stages together, with the decision point over gRPC and a real log.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use lictor_audit::AuditLog;
use lictor_pep_core::client::{GrpcDecide, Target, TokenSource};
use lictor_pep_core::enforce::digest_of_bytes;
use lictor_pep_core::setup::{self, AuditConfig, IdentityConfig};
use lictor_pep_core::{
    Clock, Ended, Ending, Entry, Ids, Pep, PepParts, Proof, Refusal, RefusalKind, Request,
};
use lictor_proto::call::{Resource, ResourceKind};
use serde_json::Value;

use crate::client::start_tcp;
use crate::pdp::{Pdp, Running};

struct Rig {
    pep: Pep,
    pdp: Pdp,
    audit: AuditLog,
    key: String,
    dir: tempfile::TempDir,
    _running: Running,
}

impl Rig {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pdp = Pdp::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("http://{}", listener.local_addr().unwrap());
        let running = start_tcp(&pdp, listener);
        let target = Target::parse(&target).unwrap();
        let (key, api_keys) = api_key(dir.path());
        let identity = IdentityConfig { api_keys: Some(api_keys), ..IdentityConfig::default() };
        let audit_config = AuditConfig { dir: dir.path().join("audit"), ..AuditConfig::default() };
        let clock = Clock::fixed(1_800_000_000_000);
        let keys_dir = dir.path().join("keys");
        let audit = setup::audit_log(&audit_config, "pep", &keys_dir, &clock).unwrap();
        let pep = Pep::new(PepParts {
            decide: Arc::new(GrpcDecide::connect(&target, TokenSource::none()).unwrap()),
            authenticator: Arc::new(setup::authenticator(&identity, &clock).await.unwrap()),
            audit: audit.clone(),
            clock,
            ids: Ids::counting(),
            abilities: &[],
            budget_ms: 5_000,
        });
        Self { pep, pdp, audit, key, dir, _running: running }
    }

    fn request(&self, action: &str) -> Request {
        let proof = Proof::bearer(&self.key);
        let mut request = Request::new(proof, action, ResourceKind::Tool, "files/read");
        request.targets = vec!["http://127.0.0.1:9/mcp".into()];
        request
    }

    async fn records(self) -> Vec<Value> {
        self.pep.drained().await;
        self.audit.close("test").await.unwrap();
        let mut records = Vec::new();
        for file in std::fs::read_dir(self.dir.path().join("audit")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let text = std::fs::read_to_string(path).unwrap();
                records.extend(text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()));
            }
        }
        records
    }
}

/// A well-formed API key, and the file that lets it in.
fn api_key(dir: &Path) -> (String, std::path::PathBuf) {
    let secret = "07".repeat(32);
    let check = digest_of_bytes(secret.as_bytes());
    let key = format!("lictor_{secret}_{}", check.get(7..15).unwrap());
    let store = serde_json::json!({"keys": [{"id": "test", "hash": digest_of_bytes(key.as_bytes()),
        "tenant": "default", "subject": {"type": "user", "id": "alice@example.com"},
        "agent": {"type": "agent", "id": "expense-report-v1"}, "roles": [],
        "created": "2026-01-01T00:00:00Z"}]});
    let path = dir.join("keys.json");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(store.to_string().as_bytes()).unwrap();
    (key, path)
}

fn enforcement(records: Vec<Value>) -> Vec<Value> {
    records.into_iter().filter(|record| record["kind"] == "enforcement").collect()
}

#[tokio::test]
async fn from_a_request_to_a_permit_to_a_record() {
    let rig = Rig::start().await;
    let permitted = rig.pep.decide(rig.request("tools/call")).await.unwrap();
    assert_eq!(permitted.call().call_id, "00000000-0000-7000-8000-000000000001");
    assert_eq!(permitted.call().subject.as_ref().unwrap().id, "alice@example.com");
    let (permit, flight) = rig.pep.permit(permitted, b"body").await.unwrap();
    assert_eq!(permit.targets(), ["http://127.0.0.1:9/mcp"]);
    assert!(rig.pep.review(&flight, Vec::new()).await.is_ok());
    rig.pep.finish(flight, Ending::new(Ended::Done, 200)).await.unwrap();
    let metrics = rig.pep.metrics_text();
    assert!(metrics.contains("lictor_pep_deeds_total{outcome=\"forwarded\"} 1\n"), "{metrics}");
    assert!(metrics.contains("lictor_pep_deeds_total{outcome=\"denied\"} 0\n"));
    let records = enforcement(rig.records().await);
    assert_eq!(records[0]["outcome"], "allowed");
    assert_eq!(records[1]["outcome"], "forwarded");
    assert_eq!(records[1]["forwarded_digest"], digest_of_bytes(b"body"));
    assert_eq!(records[1]["executed"], true);
}

#[tokio::test]
async fn a_session_is_opened_or_the_one_that_is_named_renewed() {
    let rig = Rig::start().await;
    let open = async |session: Option<&str>| {
        let (proof, session) = (Proof::bearer(&rig.key), session.map(str::to_owned));
        rig.pep.open_session(proof, session, "test", "127.0.0.1").await.unwrap()
    };
    assert_eq!(open(None).await, "opened");
    assert_eq!(open(Some("ls1.a.b")).await, "ls1.a.b renewed");
    let records = enforcement(rig.records().await);
    let outcomes: Vec<_> = records.iter().map(|r| r["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["allowed", "forwarded", "allowed", "forwarded"]);
}

#[tokio::test]
async fn every_refusal_is_on_record() {
    let rig = Rig::start().await;
    let mut nobody = rig.request("tools/call");
    nobody.proof = Proof::none();
    let refusal = rig.pep.decide(nobody).await.unwrap_err();
    assert_eq!((refusal.kind(), refusal.status()), (RefusalKind::Unauthenticated, 401));
    let refusal = rig.pep.decide(rig.request("refuse")).await.unwrap_err();
    assert_eq!((refusal.id(), refusal.status()), ("bundle_missing", 503));
    let unread = Refusal::new("batch_refused", "no batches");
    let refusal = rig.pep.refuse_unread("mcp", "127.0.0.1", "", unread).await;
    assert!(!refusal.call_id().is_empty());
    let records = enforcement(rig.records().await);
    let reasons: Vec<_> = records.iter().map(|r| r["reasons"][0].as_str().unwrap()).collect();
    assert_eq!(reasons, ["token_missing", "bundle_missing", "batch_refused"]);
    assert_eq!(records[0]["subject"], Value::Null);
    assert!(records.iter().all(|record| record["executed"] == false));
}

#[tokio::test]
async fn candidates_are_decided_in_one_round_trip_and_the_unused_given_back() {
    let rig = Rig::start().await;
    let requests = vec![rig.request("llm/chat"), rig.request("refused"), rig.request("llm/chat")];
    let mut judged = rig.pep.decide_candidates(requests).await.unwrap();
    assert_eq!(rig.pdp.ways(), ["batch"; 3]);
    let unused = judged.pop().unwrap().unwrap();
    let because = Refusal::new("not_needed", "another was used");
    rig.pep.give_up(unused, &because).await.unwrap();
    let records = enforcement(rig.records().await);
    assert_eq!(
        (&records[0]["outcome"], &records[0]["executed"]),
        (&"not_sent".into(), &false.into())
    );
}

#[tokio::test]
async fn lists_are_one_batch() {
    let rig = Rig::start().await;
    let permitted = rig.pep.decide(rig.request("tools/list")).await.unwrap();
    let (_, flight) = rig.pep.permit(permitted, b"").await.unwrap();
    let entry = |id: &str| Entry {
        action: "tools/call".into(),
        resource: Resource { kind: ResourceKind::Tool, id: id.into() },
        content: Vec::new(),
    };
    let seen = rig.pep.visible(&flight, vec![entry("files/a"), entry("files/b")]).await.unwrap();
    assert_eq!(seen, [true, true]);
    assert_eq!(rig.pdp.ways(), ["stream", "batch", "batch"]);
    rig.pep.finish(flight, Ending::new(Ended::Done, 200)).await.unwrap();
}

#[tokio::test]
async fn logs_keep_each_others_heads() {
    let rig = Rig::start().await;
    // The first checkpoint is signed when the log is opened or soon after.
    let theirs = loop {
        if let Some(theirs) = rig.pep.exchange_heads("pep", "").await.unwrap() {
            break theirs;
        }
        tokio::task::yield_now().await;
    };
    assert!(theirs.starts_with("after "), "{theirs}");
    assert_eq!(rig.pep.exchange_heads("pep", &theirs).await.unwrap(), None);
    let records = rig.records().await;
    let kept: Vec<_> = records.iter().filter(|r| r["kind"] == "checkpoint_ref").collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["checkpoint"], theirs.as_str());
}
