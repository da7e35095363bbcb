//! Approvals over whole decision points, with the state in this process and in Redis: who may
//! answer what, and what an answer is good for.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::poll;
use lictor_audit::query::{Logs, Record};
use lictor_identity::{ApiKeyStore, Authenticator, IssueRequest, PartyRef, Role, Settings};
use lictor_proto::call::{Call, DEFAULT_TENANT};
use lictor_proto::decide::Decide;
use lictor_proto::decision::{Decision, Effect, Standing};
use lictor_proto::revocation::Kind;

use super::{build, follow};
use crate::approvals::resolve::{Given, ResolveError};
use crate::approvals::wait::{WAITERS_MAX, WaitError};
use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::decide::Pdp;
use crate::peer::{Peer, PeerHandle};
use crate::state::approval::ApprovalRecord;
use crate::state::memory::Memory;
use crate::state::{State, servers};

/// Alice's bot, which olga owns, pays; bob, carol, alice and olga are named as approvers.
const DATA: &str = r#"{"registry":{
    "users":{"alice":{"roles":["approver"]},"olga":{},"bob":{},"carol":{},"dave":{},"erin":{}},
    "agents":{"bot":{"owner":"olga","status":"active"},"root":{"owner":"carol","status":"active"}},
    "servers":{"bank":{}},
    "tools":{"bank/pay":{"schema":"any","annotations":{"effect":"mutate"}}}}}"#;
const RULES: &str = r#"package lictor.u

allow if true

ask contains {"id": "big", "message": "more than 500", "count": 2, "expires": "10m",
    "approvers": ["alice", "bob", "carol", "olga"]} if input.context.args.amount > 500
"#;
const TEN_MINUTES_MS: i64 = 600_000;

/// One or two decision points on one store, whose time is told.
struct Desk {
    points: Vec<Arc<Pdp>>,
    keys: ApiKeyStore,
    clock: Arc<AtomicI64>,
    root: tempfile::TempDir,
}

/// What people present; made with the desk.
fn keys() -> (ApiKeyStore, Vec<(&'static str, String)>) {
    let mut store = ApiKeyStore::default();
    let mut texts = Vec::new();
    let users = ["alice", "bob", "carol", "dave", "olga", "stranger"];
    let of = users.into_iter().map(|name| (name, name, vec![Role::Approver]));
    // Erin's key is for something else.
    for (n, (key, user, roles)) in of.chain([("erin", "erin", vec![])]).enumerate() {
        let request = IssueRequest {
            id: key.to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            subject: Some(PartyRef::new("user", user)),
            roles,
            ..IssueRequest::default()
        };
        let seed = u8::try_from(n + 1).unwrap();
        texts.push((key, (*store.issue(&request, 1, [seed; 32]).unwrap().0).to_owned()));
    }
    (store, texts)
}

fn token(name: &str) -> String {
    keys().1.into_iter().find(|(key, _)| *key == name).map(|(_, text)| text).unwrap_or_default()
}

impl Desk {
    async fn open(store: Arc<dyn State>, points: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(servers::now_ms()));
        let mut desk = Self { points: Vec::new(), keys: keys().0, clock, root };
        desk.write_bundle(1);
        for n in 0..points {
            let point = desk.point(&format!("pdp{n}"), Arc::clone(&store)).await;
            desk.points.push(point);
        }
        desk
    }

    fn write_bundle(&self, version: u64) {
        let write = |name: &str, text: &str| {
            let path = self.root.path().join("bundle").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let manifest = format!(r#"{{"metadata":{{"lictor":{{"name":"t","version":{version}}}}}}}"#);
        write(".manifest", &manifest);
        write("data.json", DATA);
        write("rego/u/u.rego", RULES);
    }

    fn config(&self, name: &str) -> PdpConfig {
        PdpConfig {
            bundle: self.root.path().join("bundle").into(),
            state_dir: self.root.path().join(name).join("state"),
            insecure_dev: true,
            ..PdpConfig::default()
        }
    }

    async fn point(&self, name: &str, store: Arc<dyn State>) -> Arc<Pdp> {
        let config = self.config(name);
        let dir = self.root.path().join(name).join("audit");
        let audit = AuditConfig { dir, ..AuditConfig::default() };
        let read = Arc::clone(&self.clock);
        let clock = Clock::from_fn(move || read.load(Ordering::Relaxed));
        let settings = Settings { api_keys: Some(self.keys.clone().into()), ..Settings::default() };
        let people = Authenticator::new(settings).unwrap();
        let pdp = Arc::new(build(&config, store, &audit, Some(people), clock).unwrap());
        follow(&pdp, &config).unwrap().start().await.unwrap();
        pdp
    }

    /// Another bundle is live at every point from now on.
    async fn another_bundle(&self, version: u64) {
        self.write_bundle(version);
        for (n, pdp) in self.points.iter().enumerate() {
            follow(pdp, &self.config(&format!("pdp{n}"))).unwrap().start().await.unwrap();
        }
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    fn at(&self, point: usize) -> &Arc<Pdp> {
        &self.points[point]
    }

    async fn ask(&self, point: usize, amount: u32) -> Decision {
        let handle = PeerHandle::new(Arc::clone(self.at(point)), pep());
        handle.decide(payment(amount), 10_000).await.unwrap().decision
    }

    /// A call that is asked about; the id of its approval.
    async fn asked(&self, amount: u32) -> String {
        let decision = self.ask(0, amount).await;
        assert_eq!(decision.effect, Effect::Ask, "{:?}", decision.reasons);
        decision.approval.unwrap().id
    }

    async fn answer(&self, id: &str, who: &str, approve: bool) -> Result<Standing, ResolveError> {
        self.answer_at(0, Given { id, approve, seen: "", why: "because" }, who).await
    }

    async fn answer_at(
        &self,
        point: usize,
        given: Given<'_>,
        who: &str,
    ) -> Result<Standing, ResolveError> {
        let pdp = self.at(point);
        let record = pdp.resolve(given, &token(who)).await?;
        Ok(record.standing(pdp.clock.now_ms()))
    }

    /// Bob and carol agree.
    async fn agreed(&self, id: &str) {
        assert_eq!(self.answer(id, "bob", true).await.unwrap(), Standing::Pending);
        assert_eq!(self.answer(id, "carol", true).await.unwrap(), Standing::Approved);
    }

    async fn record(&self, id: &str) -> ApprovalRecord {
        self.at(0).state.approval(id).await.unwrap().unwrap()
    }

    fn answers(&self) -> Vec<Record> {
        let logs = Logs::open(&[self.root.path().join("pdp0/audit")]).unwrap();
        logs.records(true, |record| record.kind == lictor_audit::Kind::Approval).unwrap()
    }
}

fn pep() -> Peer {
    Peer::new("pep", &[Role::Pep])
}

fn payment(amount: u32) -> Arc<Call> {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},
        "credential":{{"kind":"api_key","id":"sha256:1"}},"agent":{{"type":"agent","id":"bot"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"bank/pay"}},
        "context":{{"args":{{"amount":{amount}}}}}}}"#,
        new_id(1)
    );
    Arc::new(Call::from_json(text.as_bytes()).unwrap())
}

async fn stores() -> [Arc<dyn State>; 2] {
    [Arc::new(Memory::new()), Arc::new(servers::plain().await)]
}

#[track_caller]
fn refused(answer: Result<Standing, ResolveError>, id: &str) {
    match answer {
        Err(error) => assert_eq!(error.id(), id, "{error}"),
        Ok(standing) => panic!("{id}: taken, {standing:?}"),
    }
}

#[tokio::test]
async fn every_answer_that_does_not_count_has_its_own_reason() {
    for store in stores().await {
        let desk = Desk::open(store, 1).await;
        let id = desk.asked(900).await;
        for (who, reason) in [
            ("alice", "approval_own_call"),
            ("olga", "approval_own_call"),
            ("dave", "approval_not_approver"),
            ("stranger", "approver_unknown"),
            ("erin", "role_missing"),
            ("nobody", "token_missing"),
        ] {
            for approve in [true, false] {
                refused(desk.answer(&id, who, approve).await, reason);
            }
        }
        refused(desk.answer("a-1", "bob", true).await, "approval_unknown");
        // Bob looked at a payment of 901.
        let other = desk.asked(901).await;
        assert_ne!(other, id, "another amount is another question");
        let seen = desk.record(&other).await.binding.digest();
        let given = Given { id: &id, approve: true, seen: &seen, why: "" };
        refused(desk.answer_at(0, given, "bob").await, "approval_other_call");
        let seen = desk.record(&id).await.binding.digest();
        let given = Given { id: &id, approve: true, seen: &seen, why: "" };
        assert_eq!(desk.answer_at(0, given, "bob").await.unwrap(), Standing::Pending);
        refused(desk.answer(&id, "bob", true).await, "approval_twice");
        assert_eq!(desk.ask(0, 900).await.effect, Effect::Ask, "one of two is not enough");
        assert_eq!(desk.answer(&id, "carol", true).await.unwrap(), Standing::Approved);
        refused(desk.answer(&id, "carol", true).await, "approval_given");
        assert_eq!(desk.ask(0, 900).await.effect, Effect::Allow);
        refused(desk.answer(&id, "bob", true).await, "approval_used");
        assert_eq!(desk.answer(&other, "bob", false).await.unwrap(), Standing::Denied);
        refused(desk.answer(&other, "carol", true).await, "approval_denied");
        let voided = desk.asked(902).await;
        let now_ms = desk.clock.load(Ordering::Relaxed);
        desk.at(0).state.void(DEFAULT_TENANT, Kind::Agent, "bot", now_ms).await.unwrap();
        refused(desk.answer(&voided, "bob", true).await, "approval_voided");
        let late = desk.asked(903).await;
        desk.pass(TEN_MINUTES_MS - 1);
        assert_eq!(desk.answer(&late, "bob", true).await.unwrap(), Standing::Pending);
        desk.pass(1);
        refused(desk.answer(&late, "carol", true).await, "approval_expired");
        let old = desk.asked(904).await;
        desk.another_bundle(2).await;
        refused(desk.answer(&old, "bob", true).await, "approval_other_bundle");
    }
}

#[tokio::test]
async fn whoever_owns_an_agent_behind_the_call_does_not_approve_it() {
    for store in stores().await {
        let desk = Desk::open(store, 1).await;
        let handle = PeerHandle::new(Arc::clone(desk.at(0)), pep());
        let mut call = Call::clone(&payment(900));
        call.subject = Some(lictor_proto::call::Party::new("agent", "root"));
        let asked = handle.decide(Arc::new(call), 10_000).await.unwrap().decision;
        let id = asked.approval.unwrap().id;
        for owner in ["carol", "olga"] {
            refused(desk.answer(&id, owner, true).await, "approval_own_call");
        }
        assert_eq!(desk.answer(&id, "bob", true).await.unwrap(), Standing::Pending);
        // It ends with the agent behind it as with any other.
        let now_ms = desk.clock.load(Ordering::Relaxed);
        desk.at(0).state.void(DEFAULT_TENANT, Kind::Agent, "root", now_ms).await.unwrap();
        refused(desk.answer(&id, "bob", true).await, "approval_voided");
    }
}

#[tokio::test]
async fn an_approval_is_good_for_one_call_of_its_amount_under_its_bundle_in_its_time() {
    for store in stores().await {
        let desk = Desk::open(store, 1).await;
        let id = desk.asked(900).await;
        desk.agreed(&id).await;
        assert_eq!(desk.ask(0, 901).await.effect, Effect::Ask, "another amount");
        assert_eq!(desk.ask(0, 900).await.effect, Effect::Allow);
        assert_eq!(desk.record(&id).await.standing(0), Standing::Used);
        let second = desk.ask(0, 900).await;
        assert_eq!(second.effect, Effect::Ask, "single use");
        let again = second.approval.unwrap().id;
        assert_ne!(again, id);
        desk.agreed(&again).await;
        desk.pass(TEN_MINUTES_MS);
        assert_eq!(desk.ask(0, 900).await.effect, Effect::Ask, "its time is over");
        let under_the_old = desk.asked(910).await;
        desk.agreed(&under_the_old).await;
        desk.another_bundle(2).await;
        assert_eq!(desk.ask(0, 910).await.effect, Effect::Ask, "another bundle asks itself");
    }
}

#[tokio::test]
async fn every_answer_is_in_the_audit_chain_with_who_gave_it() {
    let desk = Desk::open(Arc::new(Memory::new()), 1).await;
    let id = desk.asked(900).await;
    refused(desk.answer(&id, "alice", true).await, "approval_own_call");
    desk.agreed(&id).await;
    let binding = desk.record(&id).await.binding;
    desk.at(0).audit.close("test").await.unwrap();
    let told: Vec<(String, String, String)> = desk
        .answers()
        .iter()
        .filter(|record| record.str_at("/outcome").is_some())
        .map(|record| {
            assert_eq!(record.str_at("/approval"), Some(id.as_str()));
            assert_eq!(record.str_at("/digest"), Some(binding.digest().as_str()));
            assert_eq!(record.str_at("/args_digest"), Some(binding.args_digest.as_str()));
            assert!(record.str_at("/credential/id").is_some_and(|id| !id.is_empty()));
            let text = |at: &str| record.str_at(at).unwrap_or_default().to_owned();
            (text("/approver"), text("/refused"), text("/outcome"))
        })
        .collect();
    let told: Vec<(&str, &str, &str)> = told
        .iter()
        .map(|(who, why, end)| (who.as_str(), why.as_str(), end.split(':').next().unwrap()))
        .collect();
    let wanted = [
        ("alice", "approval_own_call", "refused"),
        ("bob", "", "pending"),
        ("carol", "", "approved"),
    ];
    assert_eq!(told, wanted);
    let logs = [desk.root.path().join("pdp0/audit")];
    let report = lictor_audit::verify(&logs, &lictor_audit::VerifyOptions::default()).unwrap();
    assert!(report.ok, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_calls_at_two_decision_points_exactly_one_uses_the_approval() {
    for store in stores().await {
        let desk = Desk::open(store, 2).await;
        let id = desk.asked(900).await;
        desk.agreed(&id).await;
        let calls = (0..32).map(|n| {
            let handle = PeerHandle::new(Arc::clone(desk.at(n % 2)), pep());
            tokio::spawn(async move {
                handle.decide(payment(900), 30_000).await.unwrap().decision.effect
            })
        });
        let ends = futures::future::join_all(calls).await;
        let allowed = ends.into_iter().filter(|end| matches!(end, Ok(Effect::Allow))).count();
        assert_eq!(allowed, 1);
        assert_eq!(desk.record(&id).await.standing(0), Standing::Used);
    }
}

#[tokio::test]
async fn answers_at_once_are_counted_once_each() {
    for store in stores().await {
        let desk = Desk::open(store, 2).await;
        let id = desk.asked(900).await;
        let given = Given { id: &id, approve: true, seen: "", why: "" };
        let answers = [(0, "bob"), (1, "bob"), (0, "carol"), (1, "carol")];
        let all = answers.map(|(point, who)| desk.answer_at(point, given, who));
        let all = futures::future::join_all(all).await;
        let taken = all.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(taken, 2, "{all:?}");
        let record = desk.record(&id).await;
        assert_eq!(record.approved_by.into_iter().collect::<Vec<_>>(), ["bob", "carol"]);
    }
}

#[tokio::test]
async fn whoever_waits_is_woken_by_the_answer() {
    let desk = Desk::open(Arc::new(Memory::new()), 1).await;
    let id = desk.asked(900).await;
    let (pdp, peer) = (Arc::clone(desk.at(0)), pep());
    let mut waiting = pin!(pdp.wait_for_approval(&peer, &id, 60_000));
    assert!(poll!(&mut waiting).is_pending());
    assert_eq!(pdp.approval_changes.waiting(), 1);
    let mut changes = pdp.approval_changes.subscribe();
    let ends = pdp.approval_changes.ends();
    assert_ne!(desk.asked(901).await, id);
    assert!(changes.has_changed().unwrap());
    refused(desk.answer(&id, "alice", true).await, "approval_own_call");
    assert!(!ends.has_changed().unwrap(), "nobody is woken in vain");
    assert!(poll!(&mut waiting).is_pending());
    desk.agreed(&id).await;
    assert!(ends.has_changed().unwrap());
    changes.mark_unchanged();
    let record = waiting.await.unwrap();
    assert_eq!(record.standing(pdp.clock.now_ms()), Standing::Approved);
    assert_eq!(pdp.approval_changes.waiting(), 0);
    assert_eq!(desk.ask(0, 900).await.effect, Effect::Allow);
    assert!(changes.has_changed().unwrap(), "its use is news too");
}

#[tokio::test]
async fn an_answer_at_another_decision_point_is_seen() {
    for store in stores().await {
        let desk = Desk::open(store, 2).await;
        let id = desk.asked(900).await;
        let (there, peer) = (Arc::clone(desk.at(1)), pep());
        let waiting = there.wait_for_approval(&peer, &id, 60_000);
        let ((), record) = futures::join!(desk.agreed(&id), waiting);
        assert_eq!(record.unwrap().standing(there.clock.now_ms()), Standing::Approved);
        assert_eq!(desk.ask(1, 900).await.effect, Effect::Allow);
    }
}

#[tokio::test]
async fn waiting_ends_in_time_and_with_whoever_waits_and_is_bounded() {
    let desk = Desk::open(Arc::new(Memory::new()), 1).await;
    let id = desk.asked(900).await;
    let (pdp, peer) = (Arc::clone(desk.at(0)), pep());
    let now_ms = pdp.clock.now_ms();
    for wait_ms in [0, 1] {
        let record = pdp.wait_for_approval(&peer, &id, wait_ms).await.unwrap();
        assert_eq!(record.standing(now_ms), Standing::Pending);
    }
    let mut waiting = Vec::new();
    for _ in 0..WAITERS_MAX {
        let mut one = Box::pin(pdp.wait_for_approval(&peer, &id, 60_000));
        assert!(poll!(&mut one).is_pending());
        waiting.push(one);
    }
    let full = pdp.wait_for_approval(&peer, &id, 60_000).await.unwrap_err();
    assert!(matches!(full, WaitError::Full), "{full}");
    // An answer that is there needs no place.
    assert!(pdp.wait_for_approval(&peer, &id, 0).await.is_ok());
    drop(waiting.pop());
    assert!(poll!(pin!(pdp.wait_for_approval(&peer, &id, 60_000))).is_pending());
    drop(waiting);
    assert_eq!(pdp.approval_changes.waiting(), 0);
    let stranger = Peer::new("other", &[Role::Pep]);
    let refused = pdp.wait_for_approval(&stranger, &id, 0).await.unwrap_err();
    assert_eq!(refused.id(), "approval_unknown", "another enforcement point's call");
    let auditor = Peer::new("auditor", &[Role::Auditor]);
    let refused = pdp.wait_for_approval(&auditor, &id, 0).await.unwrap_err();
    assert_eq!(refused.id(), "role_missing");
    let operator = Peer::new("operator", &[Role::Operator]);
    assert!(pdp.wait_for_approval(&operator, &id, 0).await.is_ok());
    let approver = |tenant| Peer::new("bob", &[Role::Approver]).of_tenant(tenant);
    assert!(pdp.wait_for_approval(&approver(DEFAULT_TENANT), &id, 0).await.is_ok());
    let refused = pdp.wait_for_approval(&approver("other"), &id, 0).await.unwrap_err();
    assert_eq!(refused.id(), "approval_unknown", "another tenant's call");
    let mut waiting = pin!(pdp.wait_for_approval(&peer, &id, 60_000));
    assert!(poll!(&mut waiting).is_pending());
    pdp.draining.store(true, Ordering::Relaxed);
    pdp.approval_changes.tell_end();
    assert!(matches!(waiting.await, Err(WaitError::Stopping)));
}
