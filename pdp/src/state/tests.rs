//! What every implementation of [`State`] must do.

use std::sync::Arc;

use lictor_policy_lib::engine::Ask;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::limits::{LimitKind, LimitRequest, OnError, Unit, Window};
use lictor_proto::call::Usage;
use lictor_proto::decide::{Outcome, Settle};
use lictor_proto::decision::{Effect, Labels, Reason};

use super::approval::{Answer, Binding, NewApproval, Part};
use super::memory::{Memory, STORED_CALL_MS};
use super::{Commit, Committed, Reservation, SessionKey, SettleError, State, StateError, Stored};

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
        tool_digest: String::new(),
        bundle_digest: String::new(),
    }
}

fn limit(kind: LimitKind, max: u64) -> LimitRequest {
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
    }
}

fn verdict(effect: Effect) -> Verdict {
    Verdict { effect, reasons: vec![], ..Verdict::denied(Reason::new("", "")) }
}

fn commit(call_id: &str, limits: Vec<LimitRequest>) -> Commit {
    Commit {
        session: session("s", true),
        version: None,
        call_id: call_id.into(),
        request_digest: format!("digest of {call_id}"),
        decision_id: format!("decision of {call_id}"),
        peer: "pep-mcp".into(),
        verdict: Arc::new(verdict(Effect::Allow)),
        limits,
        resource: "a/b".into(),
        binding: binding("1"),
        opens: None,
        permits: true,
    }
}

fn settle(call_id: &str, outcome: Outcome) -> Settle {
    Settle { call_id: call_id.into(), outcome, usage: Usage::default() }
}

fn held(committed: Committed) -> bool {
    match committed {
        Committed::Stored(Stored { reservation: Reservation::Held(_), .. }) => true,
        Committed::Stored(_) => false,
        other => panic!("{other:?}"),
    }
}

async fn take(state: &dyn State, call_id: &str, limits: Vec<LimitRequest>) -> bool {
    held(state.commit(commit(call_id, limits), 0).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn once_lets_exactly_one_of_a_thousand_pass() {
    let state = Arc::new(Memory::new());
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

#[tokio::test]
async fn several_limits_are_reserved_all_or_nothing() {
    let state = Memory::new();
    let both = || {
        let second = LimitRequest { id: "m".into(), ..limit(LimitKind::Budget, 2) };
        vec![limit(LimitKind::Budget, 1), second]
    };
    assert!(take(&state, "c1", both()).await);
    assert!(!take(&state, "c2", both()).await, "the first limit is used up");
    let only_second = LimitRequest { id: "m".into(), ..limit(LimitKind::Budget, 2) };
    assert!(take(&state, "c3", vec![only_second]).await, "the failed call took nothing");
}

#[tokio::test]
async fn the_same_call_again_gets_what_was_stored_and_another_content_is_refused() {
    let state = Memory::new();
    let first = state.commit(commit("c", vec![limit(LimitKind::Once, 1)]), 0).await.unwrap();
    let again = state.commit(commit("c", vec![limit(LimitKind::Once, 1)]), 5).await.unwrap();
    assert_eq!(first, again);
    let other = Commit { request_digest: "other".into(), ..commit("c", vec![]) };
    assert_eq!(state.commit(other, 5).await.unwrap(), Committed::Reused);
    let stranger = Commit { peer: "pep-http".into(), ..commit("c", vec![]) };
    assert_eq!(state.commit(stranger, 5).await.unwrap(), Committed::Reused);
}

#[tokio::test]
async fn settling_refunds_once_and_only_for_the_peer_that_asked() {
    let state = Memory::new();
    let once = || vec![limit(LimitKind::Once, 1)];
    assert!(take(&state, "c1", once()).await);
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
    assert!(take(&state, "c2", once()).await, "what was not sent is refunded");
    state.settle("default", "pep-mcp", &settle("c2", Outcome::Failed), 0).await.unwrap();
    assert!(!take(&state, "c3", once()).await, "a failed call has used its `once`");
    let unknown = state.settle("default", "pep-mcp", &settle("nobody", Outcome::Done), 0).await;
    assert_eq!(refused(unknown), SettleError::Unknown);
}

#[tokio::test]
async fn a_call_that_was_given_up_cannot_be_decided_late() {
    let state = Memory::new();
    state.settle("default", "pep-mcp", &settle("late", Outcome::NotSent), 0).await.unwrap();
    assert_eq!(state.commit(commit("late", vec![]), 1).await.unwrap(), Committed::Abandoned);
}

#[tokio::test]
async fn a_session_that_moved_makes_the_commit_stale() {
    let state = Memory::new();
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

#[tokio::test]
async fn what_was_not_sent_does_not_count_for_the_session() {
    let state = Memory::new();
    assert!(take(&state, "c1", vec![]).await);
    state.settle("default", "pep-mcp", &settle("c1", Outcome::NotSent), 0).await.unwrap();
    let facts = state.read(&session("s", true), &binding("1"), 0).await.unwrap().facts;
    assert!(facts.calls.is_empty() && facts.tail.is_empty(), "{facts:?}");
}

#[tokio::test]
async fn an_opened_session_must_be_there_and_end() {
    let state = Memory::new();
    let key = session("opened", false);
    let missing = state.read(&key, &binding("1"), 0).await;
    assert_eq!(missing, Err(StateError::SessionUnknown));
    state.open_session(&key, 100).await.unwrap();
    assert!(state.read(&key, &binding("1"), 99).await.is_ok());
    assert_eq!(state.read(&key, &binding("1"), 100).await, Err(StateError::SessionUnknown));
}

#[tokio::test]
async fn labels_of_a_session_only_rise() {
    let state = Memory::new();
    state.open_session(&session("s", false), 1_000).await.unwrap();
    let untrusted = Verdict { labels: Labels::default(), ..verdict(Effect::Allow) };
    let raise = Commit { verdict: Arc::new(untrusted), ..commit("c1", vec![]) };
    state.commit(raise, 0).await.unwrap();
    let facts = state.read(&session("s", false), &binding("1"), 0).await.unwrap().facts;
    assert_eq!(facts.labels, Labels::default());
}

fn asking(call_id: &str, binding: Binding, approval: &str) -> Commit {
    let ask = Ask {
        reason: Reason::new("manager", ""),
        approvers: vec!["bob".into()],
        count: 1,
        expires_s: 0,
    };
    let parts = vec![Part { ask: "manager".into(), approvers: vec!["bob".into()], count: 1 }];
    let opens = NewApproval {
        id: approval.into(),
        parts,
        expires_ms: 1_000,
        reasons: vec![],
        args: "{}".into(),
        barred: vec![],
    };
    let verdict = Verdict { asks: vec![ask], ..verdict(Effect::Ask) };
    Commit {
        verdict: Arc::new(verdict),
        binding,
        opens: Some(opens),
        permits: false,
        ..commit(call_id, vec![])
    }
}

fn using(call_id: &str, binding: Binding) -> Commit {
    let verdict = Verdict { approvals_used: vec!["manager".into()], ..verdict(Effect::Allow) };
    Commit { verdict: Arc::new(verdict), binding, ..commit(call_id, vec![]) }
}

fn approval_of(committed: Committed) -> String {
    match committed {
        Committed::Stored(stored) => stored.approval.unwrap().id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_approval_covers_its_own_call_once() {
    let state = Memory::new();
    let key = session("s", true);
    let id = approval_of(state.commit(asking("c1", binding("1"), "a1"), 0).await.unwrap());
    let same = approval_of(state.commit(asking("c2", binding("1"), "a2"), 1).await.unwrap());
    assert_eq!(id, same, "the same question waits for the same approval");
    let yes = Answer { user: "bob".into(), teams: vec![], approve: true };
    state.resolve(&id, yes, 2).await.unwrap();
    let facts = |args: &'static str| {
        let (state, key) = (&state, &key);
        async move { state.read(key, &binding(args), 3).await.unwrap().facts.approvals }
    };
    assert_eq!(facts("1").await, ["manager"]);
    assert!(facts("2").await.is_empty(), "other arguments are another call");
    assert!(held(state.commit(using("c3", binding("1")), 3).await.unwrap()));
    assert!(facts("1").await.is_empty(), "it is used up");
    // A verdict that was made before it was used must be made again.
    assert_eq!(state.commit(using("c4", binding("1")), 3).await.unwrap(), Committed::Stale);
}

#[tokio::test]
async fn an_approval_ends_with_its_time() {
    let state = Memory::new();
    let id = approval_of(state.commit(asking("c1", binding("1"), "a1"), 0).await.unwrap());
    let yes = Answer { user: "bob".into(), teams: vec![], approve: true };
    state.resolve(&id, yes, 2).await.unwrap();
    assert_eq!(state.commit(using("c2", binding("1")), 1_000).await.unwrap(), Committed::Stale);
}

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
