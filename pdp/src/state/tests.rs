//! What every implementation of [`State`] must do: one suite, run over each of them.
//!
//! Redis is started by the tests themselves, on a socket of its own; it must be installed
//! (Debian: `redis-server`).

mod approvals;
mod sessions;
mod shared;
mod upkeep;

use std::sync::Arc;

use lictor_policy_lib::engine::Ask;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::limits::{LimitKind, LimitRequest, OnError, Unit, Window};
use lictor_policy_lib::registry::Prices;
use lictor_proto::call::Usage;
use lictor_proto::decide::{Detail, Outcome, Settle};
use lictor_proto::decision::{Effect, Labels, Reason};
use lictor_proto::revocation::Kind;

use super::approval::{Answer, ApprovalError, Binding, NewApproval, Part, Standing};
use super::counter::CONCURRENT_LEASE_MS;
use super::counters::{AMOUNT_MAX, PAGE_COUNTERS_MAX, Wanted};
use super::memory::{IMPLICIT_IDLE_MS, Memory, STORED_CALL_MS};
use super::owner::{Owner, Voided};
use super::servers;
use super::{
    Commit, Committed, Reservation, SessionKey, SettleError, Snapshot, State, StateError, Stored,
};

use self::approvals::*;
use self::sessions::*;
use self::shared::*;
use self::upkeep::*;

fn session(id: &str, implicit: bool) -> SessionKey {
    SessionKey { tenant: "default".into(), id: id.into(), implicit }
}

fn binding(args: &str) -> Binding {
    Binding {
        tenant: "default".into(),
        session: "s".into(),
        subject: "alice".into(),
        agent: "bot".into(),
        delegation: vec![],
        action: "tools/call".into(),
        resource: "tool:a/b".into(),
        args_digest: args.into(),
        content_digest: String::new(),
        tool_digest: String::new(),
        bundle_digest: String::new(),
    }
}

pub(super) fn limit(kind: LimitKind, max: u64) -> LimitRequest {
    LimitRequest {
        id: "l".into(),
        kind,
        key: String::new(),
        max,
        window: Window::Session,
        unit: Unit::Calls,
        cost: 1,
        on_error: OnError::Deny,
        refund_on_failure: false,
        burst: max,
        prices: None,
    }
}

fn verdict(effect: Effect) -> Verdict {
    Verdict { effect, reasons: vec![], ..Verdict::denied(Reason::new("", "")) }
}

pub(super) fn commit(call_id: &str, limits: Vec<LimitRequest>) -> Commit {
    Commit {
        session: session("s", true),
        implicit: None,
        version: None,
        call_id: call_id.into(),
        request_digest: format!("digest of {call_id}"),
        decision_id: format!("decision of {call_id}"),
        peer: "pep-mcp".into(),
        verdict: Arc::new(Verdict { limits, ..verdict(Effect::Allow) }),
        resource: "a/b".into(),
        cost_usd_micros: 0,
        prices: None,
        binding: binding("1"),
        opens: None,
        permits: true,
        watched: true,
    }
}

pub(super) fn settle(call_id: &str, outcome: Outcome) -> Settle {
    Settle { call_id: call_id.into(), outcome, usage: Usage::default(), detail: Detail::default() }
}

pub(super) fn held(committed: Committed) -> bool {
    match committed {
        Committed::Stored(Stored { reservation: Reservation::Held(_), .. }) => true,
        Committed::Stored(_) => false,
        other => panic!("{other:?}"),
    }
}

async fn take(state: &dyn State, call_id: &str, limits: Vec<LimitRequest>) -> bool {
    held(state.commit(commit(call_id, limits), 0).await.unwrap())
}

async fn once_lets_exactly_one_of_a_thousand_pass(state: Arc<dyn State>) {
    let calls = (0..1_000).map(|n| {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            take(&*state, &format!("c{n}"), vec![limit(LimitKind::Once, 1)]).await
        })
    });
    let mut passed = 0;
    for call in calls.collect::<Vec<_>>() {
        passed += usize::from(call.await.unwrap());
    }
    assert_eq!(passed, 1);
}

async fn several_limits_are_reserved_all_or_nothing(state: Arc<dyn State>) {
    let both = || {
        let second = LimitRequest { id: "m".into(), ..limit(LimitKind::Budget, 2) };
        vec![limit(LimitKind::Budget, 1), second]
    };
    assert!(take(&*state, "c1", both()).await);
    assert!(!take(&*state, "c2", both()).await, "the first limit is used up");
    let only_second = LimitRequest { id: "m".into(), ..limit(LimitKind::Budget, 2) };
    assert!(take(&*state, "c3", vec![only_second]).await, "the failed call took nothing");
}

async fn time_that_runs_back_gives_nothing(state: Arc<dyn State>) {
    let sliding = || {
        let window = Window::Sliding { ms: 10_000 };
        let rate = LimitRequest { id: "r".into(), window, ..limit(LimitKind::Rate, 2) };
        vec![LimitRequest { window, ..limit(LimitKind::Budget, 2) }, rate]
    };
    let at = async |call: &str, now_ms| {
        held(state.commit(commit(call, sliding()), now_ms).await.unwrap())
    };
    assert!(at("c1", 50_000).await && at("c2", 50_001).await);
    for (call, now_ms) in [("c3", 49_000), ("c4", 0), ("c5", 50_002)] {
        assert!(!at(call, now_ms).await, "{now_ms}");
    }
}

async fn the_same_call_again_gets_what_was_stored_and_another_content_is_refused(
    state: Arc<dyn State>,
) {
    let first = state.commit(commit("c", vec![limit(LimitKind::Once, 1)]), 0).await.unwrap();
    let again = state.commit(commit("c", vec![limit(LimitKind::Once, 1)]), 5).await.unwrap();
    assert_eq!(first, again);
    let other = Commit { request_digest: "other".into(), ..commit("c", vec![]) };
    assert_eq!(state.commit(other, 5).await.unwrap(), Committed::Reused);
    let stranger = Commit { peer: "pep-http".into(), ..commit("c", vec![]) };
    assert_eq!(state.commit(stranger, 5).await.unwrap(), Committed::Reused);
}

async fn settling_refunds_once_and_only_for_the_peer_that_asked(state: Arc<dyn State>) {
    let once = || vec![limit(LimitKind::Once, 1)];
    assert!(take(&*state, "c1", once()).await);
    let refused = |r: Result<(), StateError>| match r {
        Err(StateError::Settle(error)) => error,
        other => panic!("{other:?}"),
    };
    let not_sent = settle("c1", Outcome::NotSent);
    let stranger = state.settle("default", "pep-http", &not_sent, 0).await;
    assert_eq!(refused(stranger), SettleError::NotYours);
    state.settle("default", "pep-mcp", &not_sent, 0).await.unwrap();
    let twice = state.settle("default", "pep-mcp", &not_sent, 0).await;
    assert_eq!(refused(twice), SettleError::Twice);
    assert!(take(&*state, "c2", once()).await, "what was not sent is refunded");
    state.settle("default", "pep-mcp", &settle("c2", Outcome::Failed), 0).await.unwrap();
    assert!(!take(&*state, "c3", once()).await, "a failed call has used its `once`");
    let unknown = state.settle("default", "pep-mcp", &settle("nobody", Outcome::Done), 0).await;
    assert_eq!(refused(unknown), SettleError::Unknown);
}

async fn a_call_that_was_given_up_cannot_be_decided_late(state: Arc<dyn State>) {
    state.settle("default", "pep-mcp", &settle("late", Outcome::NotSent), 0).await.unwrap();
    assert_eq!(state.commit(commit("late", vec![]), 1).await.unwrap(), Committed::Abandoned);
}

/// However late a question comes again: what was given back is not given a second time.
async fn a_call_that_was_given_back_is_not_decided_again(state: Arc<dyn State>) {
    let once = || vec![limit(LimitKind::Once, 1)];
    assert!(take(&*state, "c1", once()).await);
    state.settle("default", "pep-mcp", &settle("c1", Outcome::NotSent), 0).await.unwrap();
    let again = state.commit(commit("c1", once()), 1).await.unwrap();
    assert_eq!(again, Committed::Abandoned);
    assert_eq!(state.stored("default", "pep-mcp", "c1").await.unwrap(), None);
    // One that was done stays what it was.
    assert!(take(&*state, "c2", once()).await);
    state.settle("default", "pep-mcp", &settle("c2", Outcome::Done), 0).await.unwrap();
    assert!(held(state.commit(commit("c2", once()), 1).await.unwrap()));
    assert!(state.stored("default", "pep-mcp", "c2").await.unwrap().is_some());
}

/// Whoever hangs up before the provider's count comes has used what was seen of the answer.
async fn what_is_used_beyond_a_reservation_counts_however_the_call_ended(state: Arc<dyn State>) {
    let window = Window::Sliding { ms: 60_000 };
    let tokens = |id: &str, cost| LimitRequest {
        id: id.into(),
        unit: Unit::Tokens,
        window,
        cost,
        ..limit(LimitKind::Budget, 1_000)
    };
    let reserved = |call: &str, id: &str, cost| Commit {
        cost_usd_micros: cost,
        ..commit(call, vec![tokens(id, cost)])
    };
    let settled = async |call: &str, used| {
        let usage = Usage { max_output_tokens: used, cost_usd_micros: used, ..Usage::default() };
        let unknown = Settle { usage, ..settle(call, Outcome::Unknown) };
        state.settle("default", "pep-mcp", &unknown, 1).await.unwrap();
    };
    assert!(held(state.commit(reserved("c1", "more", 1), 0).await.unwrap()));
    settled("c1", 1_000).await;
    assert!(!held(state.commit(reserved("c2", "more", 1), 2).await.unwrap()));
    let spent = state.read(&session("s", true), &binding("1"), 2).await.unwrap().facts;
    assert_eq!(spent.spend_usd_micros, 1_000);
    // What nobody saw may have been used as well.
    assert!(held(state.commit(reserved("c3", "less", 999), 3).await.unwrap()));
    settled("c3", 1).await;
    assert!(!held(state.commit(reserved("c4", "less", 2), 4).await.unwrap()));
}

/// A decision point whose clock is behind the store's names a period that is over there.
async fn a_period_that_is_over_for_the_store_holds_still(state: Arc<dyn State>) {
    let end_ms = servers::now_ms() - 90_000;
    let window = Window::Calendar { start_ms: end_ms - 3_600_000, end_ms };
    let hour = || vec![LimitRequest { window, ..limit(LimitKind::Budget, 1) }];
    let at =
        async |call: &str, now_ms| held(state.commit(commit(call, hour()), now_ms).await.unwrap());
    assert!(at("c1", end_ms - 1).await);
    for (call, late_ms) in [("c2", 0), ("c3", 59_000), ("c4", 90_000), ("c5", 600_000)] {
        assert!(!at(call, end_ms + late_ms).await, "{late_ms} ms after its end");
    }
}

async fn a_session_that_moved_makes_the_commit_stale(state: Arc<dyn State>) {
    let key = session("s", true);
    let before = state.read(&key, &binding("1"), 0).await.unwrap();
    let with = |call: &str, version| Commit { version, ..commit(call, vec![]) };
    assert!(held(state.commit(with("c1", Some(before.version)), 0).await.unwrap()));
    let stale = state.commit(with("c2", Some(before.version)), 0).await.unwrap();
    assert_eq!(stale, Committed::Stale);
    let after = state.read(&key, &binding("1"), 0).await.unwrap();
    assert_eq!(after.facts.calls.get("a/b"), Some(&1));
    assert_eq!(after.facts.tail, ["a/b"]);
    assert!(held(state.commit(with("c3", Some(after.version)), 0).await.unwrap()));
    // A commit of a verdict that reads no session facts does not mind.
    assert!(held(state.commit(with("c4", None), 0).await.unwrap()));
}

async fn what_was_not_sent_does_not_count_for_the_session(state: Arc<dyn State>) {
    assert!(take(&*state, "c1", vec![]).await);
    state.settle("default", "pep-mcp", &settle("c1", Outcome::NotSent), 0).await.unwrap();
    let facts = state.read(&session("s", true), &binding("1"), 0).await.unwrap().facts;
    assert!(facts.calls.is_empty() && facts.tail.is_empty(), "{facts:?}");
}

async fn an_opened_session_must_be_there_and_end(state: Arc<dyn State>) {
    let key = session("opened", false);
    let missing = state.read(&key, &binding("1"), 0).await;
    assert_eq!(missing, Err(StateError::SessionUnknown));
    state.open_session(&key, &session("s", true), &owner(), 100).await.unwrap();
    assert!(state.read(&key, &binding("1"), 99).await.is_ok());
    assert_eq!(state.read(&key, &binding("1"), 100).await, Err(StateError::SessionUnknown));
}

async fn a_session_that_ended_meanwhile_lets_nothing_pass(state: Arc<dyn State>) {
    let key = session("opened", false);
    let call = |id: &str, permits| Commit { session: key.clone(), permits, ..commit(id, vec![]) };
    let refused = |committed| !matches!(committed, Ok(Committed::Stored(_)));
    state.open_session(&key, &session("s", true), &owner(), 1_000).await.unwrap();
    assert!(held(state.commit(call("c1", true), 0).await.unwrap()));
    state.void("default", Kind::User, "alice", 1).await.unwrap();
    assert!(refused(state.commit(call("c2", true), 2).await), "its owner was revoked");
    assert!(refused(state.commit(call("c3", false), 2).await), "nothing is asked in it either");
    state.open_session(&key, &session("s", true), &owner(), 1_000).await.unwrap();
    assert!(refused(state.commit(call("c4", true), 1_000).await), "its time is over");
    let read = state.read(&key, &binding("1"), 1_000).await;
    assert_eq!(read, Err(StateError::SessionUnknown), "no call brings it back");
}

async fn an_implicit_session_that_was_idle_begins_anew(state: Arc<dyn State>) {
    assert!(take(&*state, "c1", vec![]).await);
    let read = state.read(&session("s", true), &binding("1"), IMPLICIT_IDLE_MS).await.unwrap();
    assert_eq!((read.version, read.facts.tail.len()), (0, 0));
    let again = Commit { version: Some(0), ..commit("c2", vec![]) };
    assert!(held(state.commit(again, IMPLICIT_IDLE_MS).await.unwrap()));
    let read = state.read(&session("s", true), &binding("1"), IMPLICIT_IDLE_MS).await.unwrap();
    assert_eq!((read.version, read.facts.tail.len()), (1, 1));
}

async fn labels_of_a_session_only_rise(state: Arc<dyn State>) {
    state.open_session(&session("s", false), &session("s", true), &owner(), 1_000).await.unwrap();
    let untrusted = Verdict { labels: Labels::default(), ..verdict(Effect::Allow) };
    let raise = Commit { verdict: Arc::new(untrusted), ..commit("c1", vec![]) };
    state.commit(raise, 0).await.unwrap();
    let facts = state.read(&session("s", false), &binding("1"), 0).await.unwrap().facts;
    assert_eq!(facts.labels, Labels::default());
}

fn owner() -> Owner {
    Owner {
        subject: "alice".into(),
        agents: vec!["bot".into(), "planner".into()],
        credential: "sha256:1".into(),
    }
}

async fn sessions_close_with_whoever_is_revoked(state: Arc<dyn State>) {
    let known = |id: &'static str| {
        let state = &state;
        async move { state.read(&session(id, false), &binding("1"), 1).await.is_ok() }
    };
    for (kind, id) in [
        (Kind::Agent, "bot"),
        (Kind::Agent, "planner"),
        (Kind::User, "alice"),
        (Kind::Credential, "sha256:1"),
        (Kind::Session, "one"),
    ] {
        let (implicit, nobody) = (session("s", true), Owner::default());
        state.open_session(&session("one", false), &implicit, &owner(), 1_000).await.unwrap();
        state.open_session(&session("two", false), &implicit, &nobody, 1_000).await.unwrap();
        for (other, wrong) in [(Kind::User, "bot"), (Kind::Agent, "alice"), (Kind::Tool, "one")] {
            let voided = state.void("default", other, wrong, 0).await.unwrap();
            assert_eq!(voided.sessions, 0, "{other:?} {wrong}");
        }
        assert!(known("one").await);
        let voided = state.void("default", kind, id, 0).await.unwrap();
        assert_eq!((voided.sessions, known("one").await), (1, false), "{kind:?} {id}");
        assert!(known("two").await, "{kind:?} {id}");
        assert_eq!(state.void("default", kind, id, 0).await.unwrap().sessions, 0);
    }
}

async fn what_an_implicit_session_did_is_not_forgotten(state: Arc<dyn State>) {
    assert!(take(&*state, "c1", vec![]).await);
    for (kind, id) in [(Kind::Agent, "bot"), (Kind::User, "alice"), (Kind::Session, "s")] {
        assert_eq!(state.void("default", kind, id, 0).await.unwrap().sessions, 0);
    }
    let facts = state.read(&session("s", true), &binding("1"), 0).await.unwrap().facts;
    assert_eq!(facts.tail, ["a/b"]);
}

async fn a_renewed_session_goes_on_with_what_it_did(state: Arc<dyn State>) {
    let key = session("opened", false);
    let calls = |id: &str, cost| Commit {
        session: session("opened", false),
        cost_usd_micros: cost,
        ..commit(id, vec![limit(LimitKind::Budget, 2)])
    };
    assert_eq!(state.renew_session(&key, 500, 0).await, Err(StateError::SessionUnknown));
    state.open_session(&key, &session("s", true), &owner(), 100_000).await.unwrap();
    assert!(held(state.commit(calls("c1", 7), 0).await.unwrap()));
    let before = state.read(&key, &binding("1"), 1).await.unwrap();
    state.renew_session(&key, 200_000, 99_999).await.unwrap();
    let after = state.read(&key, &binding("1"), 150_000).await.unwrap();
    assert_eq!(after, Snapshot { signals: after.signals, ..before });
    assert_eq!((after.facts.spend_usd_micros, after.facts.tail.len()), (7, 1));
    assert!(held(state.commit(calls("c2", 0), 150_000).await.unwrap()));
    assert!(!held(state.commit(calls("c3", 0), 150_000).await.unwrap()), "its budget went on too");
    state.renew_session(&key, 150_001, 150_000).await.unwrap();
    assert!(state.read(&key, &binding("1"), 199_999).await.is_ok(), "it never ends sooner");
    let over = state.renew_session(&key, 900_000, 200_000).await;
    assert_eq!(over, Err(StateError::SessionUnknown));
    // Who opened it ends it still.
    let second = session("second", false);
    state.open_session(&second, &session("s", true), &owner(), 300_000).await.unwrap();
    state.renew_session(&second, 500_000, 200_000).await.unwrap();
    let voided = state.void("default", Kind::Credential, "sha256:1", 450_000).await.unwrap();
    assert_eq!(voided.sessions, 1);
    let implicit = session("s", true);
    assert!(take(&*state, "c9", vec![]).await);
    let refused = state.renew_session(&implicit, 900_000, 0).await;
    assert_eq!(refused, Err(StateError::SessionUnknown), "only one that was opened");
}

macro_rules! suite {
    ($name:ident, $make:expr, [$($case:ident),+ $(,)?]) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($make.await).await;
                }
            )+
        }
    };
}

/// With a journal whose files are gone with the process: they have no name any more.
fn journaled() -> Memory {
    let dir = tempfile::tempdir().unwrap();
    Memory::open(dir.path()).unwrap().0
}

/// Runs every case of the suite over one implementation.
macro_rules! every_case {
    ($name:ident, $make:expr) => {
        suite!(
            $name,
            $make,
            [
                once_lets_exactly_one_of_a_thousand_pass,
                time_that_runs_back_gives_nothing,
                several_limits_are_reserved_all_or_nothing,
                the_same_call_again_gets_what_was_stored_and_another_content_is_refused,
                settling_refunds_once_and_only_for_the_peer_that_asked,
                a_call_that_was_given_up_cannot_be_decided_late,
                a_call_that_was_given_back_is_not_decided_again,
                a_period_that_is_over_for_the_store_holds_still,
                what_is_used_beyond_a_reservation_counts_however_the_call_ended,
                a_session_that_moved_makes_the_commit_stale,
                what_was_not_sent_does_not_count_for_the_session,
                an_opened_session_must_be_there_and_end,
                a_session_that_ended_meanwhile_lets_nothing_pass,
                an_implicit_session_that_was_idle_begins_anew,
                labels_of_a_session_only_rise,
                an_approval_covers_its_own_call_once,
                an_approval_ends_with_its_time,
                sessions_close_with_whoever_is_revoked,
                what_an_implicit_session_did_is_not_forgotten,
                approvals_are_voided_with_whoever_is_revoked,
                a_call_that_goes_on_keeps_what_it_holds,
                a_renewed_session_goes_on_with_what_it_did,
                what_is_done_in_an_opened_session_counts_for_the_implicit_one,
                a_call_that_goes_on_is_waited_for_in_both_sessions,
                an_implicit_session_that_is_over_counts_anew_beside_an_opened_one,
                a_session_that_is_opened_forgets_no_secret,
                counters_are_seen_and_emptied,
                counters_come_in_pages,
                amounts_without_end_fit_once_and_never_again,
                amounts_are_exact_up_to_two_to_the_53,
                a_shared_text_is_replaced_by_whoever_knows_it,
                of_many_who_replace_a_shared_text_at_once_one_does,
                a_floor_only_rises,
            ]
        );
    };
}

every_case!(memory, async { Arc::new(Memory::new()) as Arc<dyn State> });
every_case!(journal, async { Arc::new(journaled()) as Arc<dyn State> });
every_case!(redis, servers::single());
every_case!(redis_cluster, servers::cluster());

#[tokio::test]
async fn memory_is_bounded_by_time_not_by_calls() {
    let state = Memory::new();
    for n in 0..10_000i64 {
        let now = n * 1_000;
        state.commit(commit(&format!("c{n}"), vec![]), now).await.unwrap();
    }
    let kept = {
        let mut kept = 0;
        for n in 0..10_000i64 {
            let stored = state.stored("default", "pep-mcp", &format!("c{n}")).await.unwrap();
            kept += usize::from(stored.is_some());
        }
        kept as i64
    };
    let window = STORED_CALL_MS / 1_000;
    assert!(kept <= window + 4_096, "{kept} calls are kept");
}
