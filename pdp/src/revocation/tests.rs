//! A whole decision point, asked in process, with a clock of its own.

mod listed;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ed25519_dalek::SigningKey;
use futures::poll;
use lictor_audit::query::{Logs, Record};
use lictor_identity::Role;
use lictor_policy_lib::revocation::{List, sign};
use lictor_proto::call::{Call, Phase, SessionRef};
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::{Decision, Effect};
use lictor_proto::revocation::{Entry, Kind};

use super::config::RevocationsConfig;
use super::operate::OperateError;
use super::own::{OWN_FILE, OWN_LIFE_MS};
use super::{ListStatus, OWN};
use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, DurabilityRule, PdpConfig};
use crate::decide::Pdp;
use crate::peer::{Peer, PeerHandle};
use crate::server::{Running, start};
use crate::state::config::StateConfig;

const DATA: &str = r#"{"registry":{"users":{"alice":{},"bob":{"roles":["approver"]}},
    "agents":{"bot":{"owner":"bob","status":"active","identities":[{"client_id":"client-7"}]}},
    "models":{"p/m":{}},"servers":{"s":{}},"tools":{"s/t":{"schema":"any","annotations":{"effect":"none"}},
    "s/ask":{"schema":"any","annotations":{"effect":"none"}}}}}"#;
const RULES: &str = r#"
allow if count(input.facts.session.tail) >= 0

list if true

ask contains {"id": "first", "message": "ask", "approvers": ["bob"]} if input.resource.id == "s/ask"
"#;
const NOW_MS: i64 = 1_800_000_000_000;

struct Site {
    dir: tempfile::TempDir,
    now_ms: Arc<AtomicI64>,
    store: StateConfig,
    durability: DurabilityRule,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join("bundle").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".manifest", r#"{"metadata":{"lictor":{"name":"t","version":1}}}"#);
        write("data.json", DATA);
        write("rego/u/u.rego", &format!("package lictor.u\n{RULES}"));
        let (store, durability) = (StateConfig::default(), DurabilityRule::default());
        Self { dir, now_ms: Arc::new(AtomicI64::new(NOW_MS)), store, durability }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    async fn try_start(&self, revocations: Option<RevocationsConfig>) -> anyhow::Result<Running> {
        let config = PdpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            bundle: self.root().join("bundle").into(),
            state_dir: self.root().join("state"),
            insecure_dev: true,
            state: self.store.clone(),
            // The tests look by themselves.
            poll_ms: 3_600_000,
            revocations,
            ..PdpConfig::default()
        };
        let (dir, durability) = (self.root().join("audit"), self.durability);
        let audit = AuditConfig { dir, durability, ..AuditConfig::default() };
        let now_ms = Arc::clone(&self.now_ms);
        let clock = Clock::from_fn(move || now_ms.load(Ordering::Relaxed));
        start(config, &audit, None, clock).await
    }

    async fn start(&self) -> Running {
        self.try_start(None).await.unwrap()
    }

    fn wait(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Writes the configured list as its issuer would.
    fn list(&self, version: u64, ids: &[&str]) {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let mut list = List::empty(now_ms, now_ms + 60_000);
        list.version = version;
        for id in ids {
            list.put(entry(Kind::Agent, id));
        }
        self.put(&sign(&list, &issuer()));
    }

    fn put(&self, text: &str) {
        let (path, beside) = (self.root().join("list.jws"), self.root().join("list.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    fn configured(&self) -> RevocationsConfig {
        let key = self.root().join("issuer.pub");
        let pem = lictor_identity::keys::public_pem(&issuer().verifying_key()).unwrap();
        std::fs::write(&key, pem).unwrap();
        let file = self.root().join("list.jws");
        RevocationsConfig { file, trust_keys: vec![key], max_age_s: None }
    }

    fn records(&self) -> Vec<Record> {
        let logs = Logs::open(&[self.root().join("audit")]).unwrap();
        logs.records(true, |record| record.kind == lictor_audit::Kind::Revocation).unwrap()
    }
}

fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn entry(kind: Kind, id: &str) -> Entry {
    Entry { kind, id: id.into(), reason: "stolen".into(), since_ms: NOW_MS, until_ms: None }
}

fn pep() -> Peer {
    Peer::new("pep", &[Role::Pep])
}

fn operator() -> Peer {
    Peer::new("carol", &[Role::Operator])
}

fn call_of(agent: &str, tool: &str) -> Call {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"{agent}"}},
        "credential":{{"kind":"api_key","id":"sha256:1"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"{tool}"}}}}"#,
        new_id(1)
    );
    Call::from_json(text.as_bytes()).unwrap()
}

fn call() -> Call {
    call_of("bot", "s/t")
}

async fn decided(pdp: &Arc<Pdp>, call: Call) -> Decision {
    let handle = PeerHandle::new(Arc::clone(pdp), pep());
    handle.decide(Arc::new(call), 5_000).await.unwrap().decision
}

/// `allow`, or the ids of the reasons.
async fn told(pdp: &Arc<Pdp>, call: Call) -> String {
    let decision = decided(pdp, call).await;
    match decision.effect {
        Effect::Allow => "allow".to_owned(),
        _ => decision.reasons.into_iter().map(|r| r.id).collect::<Vec<_>>().join(" "),
    }
}

async fn kill(pdp: &Arc<Pdp>, kind: Kind, id: &str) -> super::operate::Killed {
    pdp.kill(&operator(), kind, id, "stolen laptop", None).await.unwrap()
}

async fn unkill(pdp: &Arc<Pdp>, kind: Kind, id: &str) {
    pdp.unkill(&operator(), kind, id, "found again").await.unwrap();
}

async fn opened(pdp: &Arc<Pdp>) -> String {
    let mut call = call();
    call.action.name = "session/open".to_owned();
    call.resource.as_mut().unwrap().id = "bot".to_owned();
    call.resource.as_mut().unwrap().kind = lictor_proto::call::ResourceKind::Agent;
    let handle = PeerHandle::new(Arc::clone(pdp), pep());
    handle.decide(Arc::new(call), 5_000).await.unwrap().hints.session_handle.unwrap()
}

fn in_session(handle: &str) -> Call {
    Call { session: Some(SessionRef { handle: handle.to_owned() }), ..call() }
}

#[tokio::test]
async fn each_kind_is_denied_until_it_is_taken_back() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let session = pdp.handles.session_of(&call(), NOW_MS).unwrap().id;
    for (kind, id, reason) in [
        (Kind::Agent, "bot", "agent_revoked"),
        (Kind::User, "alice", "subject_revoked"),
        (Kind::Credential, "sha256:1", "credential_revoked"),
        (Kind::Session, &session, "session_revoked"),
        (Kind::Tool, "s/t", "tool_revoked"),
        (Kind::Server, "s", "server_revoked"),
    ] {
        assert_eq!(told(pdp, call()).await, "allow");
        kill(pdp, kind, id).await;
        for phase in [Phase::Request, Phase::List, Phase::Response] {
            let asked = Call { phase, executed: phase == Phase::Response, ..call() };
            assert_eq!(told(pdp, asked).await, reason, "{phase:?}");
        }
        let decision = decided(pdp, call()).await;
        assert_eq!(decision.reasons[0].detail, "stolen laptop");
        unkill(pdp, kind, id).await;
    }
    assert_eq!(told(pdp, call()).await, "allow");
    let chat = || {
        let mut call = call_of("bot", "p/m");
        call.action.name = "llm/chat".to_owned();
        call.resource.as_mut().unwrap().kind = lictor_proto::call::ResourceKind::Model;
        call
    };
    assert_eq!(told(pdp, chat()).await, "allow");
    kill(pdp, Kind::Model, "p/m").await;
    assert_eq!(told(pdp, chat()).await, "model_revoked");
    assert_eq!(told(pdp, call()).await, "allow", "a tool is no model");
    unkill(pdp, Kind::Model, "p/m").await;
    assert_eq!(told(pdp, chat()).await, "allow");
    running.stop("test").await;
}

#[tokio::test]
async fn an_entry_ends_by_itself() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let until = Some(NOW_MS + 1_000);
    pdp.kill(&operator(), Kind::Agent, "bot", "for a while", until).await.unwrap();
    site.wait(999);
    assert_eq!(told(pdp, call()).await, "agent_revoked");
    site.wait(1);
    assert_eq!(told(pdp, call()).await, "allow");
    let over = pdp.kill(&operator(), Kind::Agent, "bot", "late", until).await.unwrap_err();
    assert!(matches!(over, OperateError::Invalid(_)), "{over}");
    running.stop("test").await;
}

#[tokio::test]
async fn an_agent_is_revoked_under_every_name_and_both_are_told() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let handle = PeerHandle::new(Arc::clone(pdp), pep());
    // Names of identity providers count where a token gave them.
    let named = || {
        let mut call = call_of("client-7", "s/t");
        call.credential.as_mut().unwrap().kind = lictor_proto::call::CredentialKind::Jwt;
        call
    };
    let answer = handle.decide(Arc::new(named()), 5_000).await.unwrap();
    assert_eq!((answer.decision.effect, answer.hints.agents), (Effect::Allow, vec!["bot".into()]));
    for id in ["bot", "client-7"] {
        kill(pdp, Kind::Agent, id).await;
        assert_eq!(told(pdp, named()).await, "agent_revoked", "{id}");
        unkill(pdp, Kind::Agent, id).await;
    }
    running.stop("test").await;
}

#[tokio::test]
async fn a_kill_while_the_call_is_decided_wins() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let asked = Arc::new(call());
    let session = pdp.handles.session_of(&asked, NOW_MS).unwrap();
    let turn = pdp.turns.of(&session).lock().await;
    let peer = pep();
    let mut deciding = Box::pin(pdp.decide(&peer, Arc::clone(&asked), 5_000));
    // It has passed the first check and waits for its turn in the session.
    assert!(poll!(deciding.as_mut()).is_pending());
    kill(pdp, Kind::Agent, "bot").await;
    drop(turn);
    let decision = deciding.await.unwrap().decision;
    assert!(decision.has_reason("agent_revoked"), "{:?}", decision.reasons);
    running.stop("test").await;
}

#[tokio::test]
async fn a_kill_while_the_record_is_written_wins() {
    // A record that is bounded is not waited for.
    let site = Site { durability: DurabilityRule::Sync, ..Site::new() };
    let running = site.start().await;
    let pdp = running.pdp();
    let peer = pep();
    // The first look may find the record written already; then the call was decided before.
    for _ in 0..100 {
        let mut deciding = Box::pin(pdp.decide(&peer, Arc::new(call()), 5_000));
        if poll!(deciding.as_mut()).is_ready() {
            continue;
        }
        kill(pdp, Kind::Agent, "bot").await;
        let decision = deciding.await.unwrap().decision;
        assert!(decision.has_reason("agent_revoked"), "{:?}", decision.reasons);
        running.stop("test").await;
        return;
    }
    panic!("no record was ever waited for");
}

#[tokio::test]
async fn sessions_of_whoever_is_killed_stay_closed() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    for (kind, id) in [(Kind::Agent, "bot"), (Kind::User, "alice"), (Kind::Credential, "sha256:1")]
    {
        let old = opened(pdp).await;
        assert_eq!(told(pdp, in_session(&old)).await, "allow");
        assert_eq!(kill(pdp, kind, id).await.voided.sessions, 1);
        assert_eq!(told(pdp, in_session(&old)).await, kind.reason_id());
        unkill(pdp, kind, id).await;
        assert_eq!(told(pdp, in_session(&old)).await, "session_unknown");
        let new = opened(pdp).await;
        assert_eq!(told(pdp, in_session(&new)).await, "allow");
        kill(pdp, kind, id).await;
        unkill(pdp, kind, id).await;
    }
    running.stop("test").await;
}

#[tokio::test]
async fn approvals_of_whoever_is_killed_are_void() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let asked = decided(pdp, call_of("bot", "s/ask")).await;
    assert_eq!(asked.effect, Effect::Ask);
    assert_eq!(kill(pdp, Kind::Agent, "bot").await.voided.approvals, 1);
    unkill(pdp, Kind::Agent, "bot").await;
    let standings: Vec<_> =
        pdp.approvals().await.unwrap().iter().map(|a| a.standing(NOW_MS).as_str()).collect();
    assert_eq!(standings, ["voided"]);
    let again = decided(pdp, call_of("bot", "s/ask")).await;
    assert_ne!(again.approval.unwrap().id, asked.approval.unwrap().id, "it is asked anew");
    running.stop("test").await;
}

#[tokio::test]
async fn kills_outlive_a_restart() {
    let site = Site::new();
    let running = site.start().await;
    kill(running.pdp(), Kind::Agent, "bot").await;
    running.stop("test").await;
    // Longer than the list holds by itself.
    site.wait(3 * OWN_LIFE_MS);
    let running = site.start().await;
    assert_eq!(told(running.pdp(), call()).await, "agent_revoked");
    unkill(running.pdp(), Kind::Agent, "bot").await;
    running.stop("test").await;
    let running = site.start().await;
    assert_eq!(told(running.pdp(), call()).await, "allow");
    running.stop("test").await;
}

#[tokio::test]
async fn the_own_list_is_renewed_and_never_stale() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let version = |lists: &[ListStatus]| lists[0].list.as_ref().unwrap().list().version;
    for _ in 0..5 {
        let before = version(&pdp.revocation_lists());
        // A clock may jump: past its time the list holds all the same.
        site.wait(2 * OWN_LIFE_MS);
        assert_eq!(told(pdp, call()).await, "allow");
        pdp.keep_revocations().await;
        assert_eq!(version(&pdp.revocation_lists()), before + 1);
        assert_eq!(told(pdp, call()).await, "allow");
    }
    running.stop("test").await;
}

#[tokio::test]
async fn an_own_list_that_was_touched_stops_the_start() {
    let site = Site::new();
    let running = site.start().await;
    kill(running.pdp(), Kind::Agent, "bot").await;
    running.stop("test").await;
    let path = site.root().join("state").join(OWN_FILE);
    let good = std::fs::read_to_string(&path).unwrap();
    let mut list = List::empty(NOW_MS, NOW_MS + 1);
    list.version = 9;
    for bad in [good.replace("ey", "eZ"), String::new(), sign(&list, &issuer())] {
        std::fs::write(&path, bad).unwrap();
        let refused = site.try_start(None).await.err().unwrap().to_string();
        assert!(refused.contains(OWN_FILE), "{refused}");
    }
    std::fs::write(&path, good).unwrap();
    let running = site.start().await;
    assert_eq!(told(running.pdp(), call()).await, "agent_revoked");
    running.stop("test").await;
}

#[tokio::test]
async fn who_did_it_and_why_is_on_record() {
    let site = Site::new();
    let running = site.start().await;
    kill(running.pdp(), Kind::Agent, "bot").await;
    unkill(running.pdp(), Kind::Agent, "bot").await;
    running.stop("test").await;
    let records = site.records();
    let told = |index: usize, pointer: &str| records[index].str_at(pointer).map(str::to_owned);
    for (index, outcome, why) in [(0, "killed", "stolen laptop"), (1, "unkilled", "found again")] {
        assert_eq!(told(index, "/outcome").as_deref(), Some(outcome));
        assert_eq!(told(index, "/operator").as_deref(), Some("carol"));
        assert_eq!(told(index, "/revoked/id").as_deref(), Some("bot"));
        assert_eq!(told(index, "/list").as_deref(), Some(OWN));
        assert_eq!(told(index, "/reason").as_deref(), Some(why));
        assert_eq!(records[index].body["version"], index + 2);
    }
}

#[tokio::test]
async fn only_operators_kill_and_only_with_a_reason() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let auditor = Peer::new("a", &[Role::Auditor, Role::Approver]);
    for peer in [pep(), auditor] {
        let killed = pdp.kill(&peer, Kind::Agent, "bot", "why", None).await;
        assert!(matches!(killed, Err(OperateError::Role)));
        let unkilled = pdp.unkill(&peer, Kind::Agent, "bot", "why").await;
        assert!(matches!(unkilled, Err(OperateError::Role)));
    }
    let asked = pdp.revocations(&operator(), 0).await;
    assert_eq!(asked.unwrap_err().reason_id(), "role_missing");
    for (id, why) in [("", "why"), ("bot", ""), ("bot", " ")] {
        let killed = pdp.kill(&operator(), Kind::Agent, id, why, None).await;
        assert!(matches!(killed, Err(OperateError::Invalid(_))), "{id} {why}");
    }
    let unknown = pdp.unkill(&operator(), Kind::Agent, "bot", "why").await;
    assert!(matches!(unknown, Err(OperateError::NotRevoked { listed: false, .. })));
    assert_eq!(told(pdp, call()).await, "allow");
    running.stop("test").await;
}

#[tokio::test]
async fn enforcement_points_hear_of_a_kill_at_once() {
    let site = Site::new();
    let running = site.start().await;
    let pdp = running.pdp();
    let peer = pep();
    let first = pdp.revocations(&peer, 0).await.unwrap();
    assert!(first.entries.is_empty() && !first.stale && first.version != 0);
    let mut waiting = Box::pin(pdp.revocations(&peer, first.version));
    assert!(poll!(waiting.as_mut()).is_pending());
    kill(pdp, Kind::Agent, "bot").await;
    let second = waiting.await.unwrap();
    assert_eq!(
        second.entries,
        [Entry { reason: String::new(), since_ms: 0, ..entry(Kind::Agent, "bot") }]
    );
    // The same again says nothing new, and what is taken back is the first again.
    kill(pdp, Kind::Agent, "bot").await;
    let mut waiting = Box::pin(pdp.revocations(&peer, second.version));
    assert!(poll!(waiting.as_mut()).is_pending());
    unkill(pdp, Kind::Agent, "bot").await;
    assert_eq!(waiting.await.unwrap(), first);
    running.stop("test").await;
}
