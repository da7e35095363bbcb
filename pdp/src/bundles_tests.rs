//! The bundles on signals and sessions over a whole decision point, with the state in this process
//! and in Redis: what they promise holds in time and under concurrency.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lictor_identity::Role;
use lictor_proto::call::{Call, Usage};
use lictor_proto::decide::{Decide, Detail, Outcome, Settle};
use lictor_proto::decision::{Decision, Effect};

use super::{build, follow};
use crate::approvals;
use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::decide::Pdp;
use crate::peer::{Peer, PeerHandle};
use crate::session::Handles;
use crate::state::approval::Answer;
use crate::state::memory::Memory;
use crate::state::{State, servers};

/// Pairs of calls that must not both pass.
const PAIRS: usize = 200;

/// A decision point whose time is told.
struct Told {
    pdp: Arc<Pdp>,
    handle: PeerHandle,
    clock: Arc<AtomicI64>,
    _root: tempfile::TempDir,
}

async fn told(bundle: &str, state: Arc<dyn State>) -> Told {
    let root = tempfile::tempdir().unwrap();
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let config = PdpConfig {
        bundle: bundles.join(bundle).into(),
        state_dir: root.path().join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
    // The store forgets by its own clock, so time begins now.
    let clock = Arc::new(AtomicI64::new(servers::now_ms()));
    let read = Arc::clone(&clock);
    let told = Clock::from_fn(move || read.load(Ordering::Relaxed));
    let pdp = Arc::new(build(&config, state, &audit, None, told).unwrap());
    follow(&pdp, &config).unwrap().start().await.unwrap();
    let handle = PeerHandle::new(Arc::clone(&pdp), Peer::new("pep", &[Role::Pep]));
    Told { pdp, handle, clock, _root: root }
}

impl Told {
    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    async fn ask(&self, call: &Arc<Call>) -> Decision {
        self.handle.decide(Arc::clone(call), 10_000).await.unwrap().decision
    }

    async fn settle(&self, call: &Call, result: &str) {
        let detail = Detail { result_digest: result.to_owned(), ..Detail::default() };
        let (call_id, usage) = (call.call_id.clone(), Usage::default());
        let settle = Settle { call_id, outcome: Outcome::Done, usage, detail };
        self.handle.settle(settle).await.unwrap();
    }
}

async fn stores() -> [Arc<dyn State>; 2] {
    [Arc::new(Memory::new()), Arc::new(servers::plain().await)]
}

/// A call of a session of its own: without a handle, the credential is part of its name.
fn call(agent: &str, session: &str, tool: &str, args: &str) -> Arc<Call> {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"dana@example.com"}},
        "credential":{{"kind":"api_key","id":"{session}"}},
        "agent":{{"type":"agent","id":"{agent}"}},"action":{{"name":"tools/call"}},
        "resource":{{"type":"tool","id":"{tool}"}},"context":{{"args":{args}}}}}"#,
        new_id(1)
    );
    Arc::new(Call::from_json(text.as_bytes()).unwrap())
}

fn search(query: &str) -> Arc<Call> {
    call("helper-v1", "one", "kb/search", &format!(r#"{{"query":"{query}"}}"#))
}

fn mail(body: &str) -> Arc<Call> {
    let args = format!(r#"{{"to":"customer@example.com","body":"{body}"}}"#);
    call("helper-v1", "one", "mail/send", &args)
}

fn reasons(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.id.as_str()).collect()
}

#[tokio::test]
async fn the_fifth_identical_call_in_a_minute_is_denied_and_a_later_one_passes() {
    for store in stores().await {
        let told = told("agent-baseline", store).await;
        for n in 0..4 {
            let decision = told.ask(&search("refunds")).await;
            assert_eq!(decision.effect, Effect::Allow, "{n}: {:?}", decision.reasons);
            told.pass(1_000);
        }
        let fifth = told.ask(&search("refunds")).await;
        assert_eq!((fifth.effect, reasons(&fifth)), (Effect::Deny, vec!["baseline.breaker"]));
        let other = told.ask(&search("invoices")).await;
        assert_eq!(other.effect, Effect::Allow, "another question is another call");
        // Another call in between ends the row, and a new one begins.
        told.pass(59_999 - 4_000);
        for n in 0..4 {
            let decision = told.ask(&search("refunds")).await;
            assert_eq!(decision.effect, Effect::Allow, "{n}: {:?}", decision.reasons);
        }
        assert_eq!(told.ask(&search("refunds")).await.effect, Effect::Deny);
        told.pass(59_999);
        assert_eq!(told.ask(&search("refunds")).await.effect, Effect::Deny, "a minute is not over");
        told.pass(1);
        let later = told.ask(&search("refunds")).await;
        assert_eq!(later.effect, Effect::Allow, "{:?}", later.reasons);
    }
}

#[tokio::test]
async fn the_same_results_trip_the_breaker_sooner_and_other_results_do_not() {
    for store in stores().await {
        let told = told("agent-baseline", store).await;
        for _ in 0..2 {
            let asked = search("refunds");
            assert_eq!(told.ask(&asked).await.effect, Effect::Allow);
            told.settle(&asked, "sha256:same").await;
        }
        let third = told.ask(&search("refunds")).await;
        assert_eq!(reasons(&third), ["baseline.no_progress"]);
        for n in 0..4 {
            let asked = search("invoices");
            let decision = told.ask(&asked).await;
            assert_eq!(decision.effect, Effect::Allow, "{n}: {:?}", decision.reasons);
            told.settle(&asked, &format!("sha256:{n}")).await;
        }
    }
}

#[tokio::test]
async fn a_first_egress_use_asks_once() {
    for store in stores().await {
        let told = told("agent-baseline", store).await;
        let first = mail("hello");
        let asked = told.ask(&first).await;
        assert_eq!((asked.effect, reasons(&asked)), (Effect::Ask, vec!["baseline.first_egress"]));
        assert_eq!(told.ask(&mail("hello")).await.effect, Effect::Ask, "asking is no use");
        let answer = Answer {
            user: "frank@example.com".into(),
            teams: vec!["oncall".into()],
            by_role: true,
            approve: true,
        };
        let id = asked.approval.unwrap().id;
        told.pdp.state.resolve(&id, answer, told.pdp.clock.now_ms()).await.unwrap();
        assert_eq!(told.ask(&mail("other words")).await.effect, Effect::Ask);
        let sent = told.ask(&mail("hello")).await;
        assert_eq!(sent.effect, Effect::Allow, "{:?}", sent.reasons);
        let later = told.ask(&mail("other words")).await;
        assert_eq!(later.effect, Effect::Allow, "it is no first use any more");
        let stranger = call("runner-v1", "one", "mail/send", r#"{"to":"a@b.c","body":"x"}"#);
        assert_eq!(told.ask(&stranger).await.effect, Effect::Ask, "another agent's first use");
    }
}

/// Asks two decision points that share a state at the same time.
async fn both(told: &[Told; 2], calls: [Arc<Call>; 2]) -> [Decision; 2] {
    let [one, other] = calls;
    // The agent's own rate is another matter.
    for told in told {
        told.pass(1_000);
    }
    let ask = |told: &Told, call: Arc<Call>| {
        let handle = told.handle.clone();
        tokio::spawn(async move { handle.decide(call, 10_000).await.unwrap().decision })
    };
    let (one, other) = (ask(&told[0], one), ask(&told[1], other));
    [one.await.unwrap(), other.await.unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_calls_at_once_never_both_pass_a_rule_that_either_breaks_for_the_other() {
    for store in stores().await {
        let two = [
            told("session-rules", Arc::clone(&store)).await,
            told("session-rules", Arc::clone(&store)).await,
        ];
        for n in 0..PAIRS {
            let session = format!("once-{n}");
            let approve = || call("clerk-v1", &session, "payments/approve", r#"{"invoice":"I-7"}"#);
            let decisions = both(&two, [approve(), approve()]).await;
            let allowed = decisions.iter().filter(|d| d.effect == Effect::Allow).count();
            assert_eq!(allowed, 1, "pair {n}: {decisions:?}");
        }
        for n in 0..PAIRS {
            let session = format!("never-{n}");
            let read = call("clerk-v1", &session, "vault/read", r#"{"name":"supplier"}"#);
            let args = r#"{"to":"supplier@example.com","body":"x"}"#;
            let send = call("clerk-v1", &session, "mail/send", args);
            let [read, send] = both(&two, [Arc::clone(&read), send]).await;
            assert_eq!(read.effect, Effect::Allow, "{:?}", read.reasons);
            if send.effect != Effect::Allow {
                assert!(send.has_reason("session_rules.never_after_secrets"), "{send:?}");
                continue;
            }
            // Both passed: then the mail was committed before the secret was read.
            let tail = tail_of(&two[0], &session).await;
            assert_eq!(tail, ["mail/send", "vault/read"], "pair {n}");
        }
    }
}

async fn tail_of(told: &Told, session: &str) -> Vec<String> {
    let call = call("clerk-v1", session, "vault/read", r#"{"name":"supplier"}"#);
    let bundle = told.pdp.live.of(&call.tenant).unwrap();
    let handles = Handles::new(ed25519_dalek::SigningKey::from_bytes(&[1; 32]));
    let key = handles.session_of(&call, 0).unwrap();
    let binding = approvals::binding(&call, &bundle, &key);
    let now_ms = told.pdp.clock.now_ms();
    told.pdp.state.read(&key, &binding, now_ms).await.unwrap().facts.tail
}

#[tokio::test]
async fn a_payment_waits_until_its_check_is_settled() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let step = |tool: &str, args: &str| call("clerk-v1", "s", tool, args);
        let (check, approve) = (
            step("payments/check", r#"{"invoice":"I-7"}"#),
            step("payments/approve", r#"{"invoice":"I-7"}"#),
        );
        assert_eq!(told.ask(&check).await.effect, Effect::Allow);
        assert_eq!(told.ask(&approve).await.effect, Effect::Allow);
        let pay = || step("payments/pay", r#"{"invoice":"I-7","amount":120}"#);
        told.settle(&approve, "").await;
        let early = told.ask(&pay()).await;
        assert!(early.has_reason("session_rules.only_after"), "{:?}", early.reasons);
        told.settle(&check, "").await;
        // An implicit session is untrusted from the start, so a person is asked and nothing denies.
        let asked = told.ask(&pay()).await;
        assert_eq!(reasons(&asked), ["session_rules.pay_untrusted"]);
    }
}

#[tokio::test]
async fn two_calls_that_take_turns_are_a_loop_as_well() {
    for store in stores().await {
        let told = told("agent-baseline", store).await;
        for n in 0..9 {
            let query = if n % 2 == 0 { "refunds" } else { "invoices" };
            let decision = told.ask(&search(query)).await;
            assert_eq!(decision.effect, Effect::Allow, "{n}: {:?}", decision.reasons);
            told.pass(1_000);
        }
        let tenth = told.ask(&search("invoices")).await;
        assert_eq!((tenth.effect, reasons(&tenth)), (Effect::Deny, vec!["baseline.breaker"]));
        assert_eq!(told.ask(&search("something else")).await.effect, Effect::Allow);
    }
}

#[tokio::test]
async fn a_rate_far_above_the_usual_one_asks_until_it_has_calmed_down() {
    for store in stores().await {
        let told = told("agent-baseline", store).await;
        for n in 0..30 {
            let decision = told.ask(&search(&format!("usual {n}"))).await;
            assert_eq!(decision.effect, Effect::Allow, "{n}: {:?}", decision.reasons);
            told.pass(60_000);
        }
        let mut passed = 0;
        let asked = loop {
            let decision = told.ask(&search(&format!("hasty {passed}"))).await;
            if decision.effect != Effect::Allow {
                break decision;
            }
            passed += 1;
            assert!(passed < 20, "twenty calls at once pass where one in a minute is usual");
        };
        assert_eq!((asked.effect, reasons(&asked)), (Effect::Ask, vec!["baseline.haste"]));
        assert!(passed >= 3, "a few at once are nothing unusual: {passed}");
        told.pass(600_000);
        assert_eq!(told.ask(&search("calm")).await.effect, Effect::Allow);
    }
}

#[path = "bundles_limits_tests.rs"]
mod limits;
#[path = "bundles_sessions_tests.rs"]
mod sessions;
