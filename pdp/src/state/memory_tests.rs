use super::super::tests::{commit, held, limit, settle};
use super::*;
use lictor_policy_lib::limits::{LimitRequest, Unit, Window};
use lictor_proto::call::Usage;
use lictor_proto::decide::Outcome;

fn budget(max: u64) -> LimitRequest {
    LimitRequest { window: Window::Sliding { ms: 3_600_000 }, ..limit(LimitKind::Budget, max) }
}

async fn take(state: &Memory, call_id: &str, limit: LimitRequest, now_ms: i64) -> bool {
    held(state.commit(commit(call_id, vec![limit]), now_ms).await.unwrap())
}

#[tokio::test]
async fn what_was_spent_is_spent_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Memory::open(dir.path()).unwrap();
    for call in ["c1", "c2", "c3"] {
        assert!(take(&state, call, budget(4), 1_000).await);
    }
    state.settle("default", "pep-mcp", &settle("c2", Outcome::NotSent), 1_001).await.unwrap();
    drop(state);
    let (state, recovery) = Memory::open(dir.path()).unwrap();
    assert_eq!((recovery.entries, recovery.snapshot), (4, false));
    assert!(take(&state, "c4", budget(4), 1_002).await, "two are spent and one was given back");
    assert!(take(&state, "c5", budget(4), 1_002).await);
    assert!(!take(&state, "c6", budget(4), 1_002).await);
    let twice = state.settle("default", "pep-mcp", &settle("c2", Outcome::NotSent), 1_003).await;
    assert!(twice.is_err(), "a settlement is taken once, whoever takes it");
}

#[tokio::test]
async fn a_snapshot_and_what_follows_it_are_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Memory::open(dir.path()).unwrap();
    for n in 0..50 {
        assert!(take(&state, &format!("a{n}"), budget(100), n).await);
    }
    let journal = state.journal.as_ref().unwrap();
    state.snapshot(journal).unwrap();
    for n in 50..80 {
        assert!(take(&state, &format!("a{n}"), budget(100), n).await);
    }
    drop(state);
    let (state, recovery) = Memory::open(dir.path()).unwrap();
    assert_eq!((recovery.entries, recovery.snapshot), (30, true));
    for n in 80..100 {
        assert!(take(&state, &format!("a{n}"), budget(100), n).await, "{n}");
    }
    assert!(!take(&state, "more", budget(100), 100).await);
    let again = state.commit(commit("a3", vec![budget(100)]), 100).await.unwrap();
    assert!(held(again), "a call is remembered with its answer");
}

#[tokio::test]
async fn time_does_not_run_back_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Memory::open(dir.path()).unwrap();
    assert!(take(&state, "c1", budget(1), 10_000_000).await);
    drop(state);
    let (state, _) = Memory::open(dir.path()).unwrap();
    assert!(!take(&state, "c2", budget(1), 0).await);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_denies() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Memory::open(dir.path()).unwrap();
    state.journal.as_ref().unwrap().fail();
    let refused = state.commit(commit("c1", vec![budget(1)]), 0).await.unwrap_err();
    assert!(matches!(refused, StateError::Unavailable(_)), "{refused}");
}

#[tokio::test]
async fn what_was_used_is_booked_although_the_counter_was_forgotten_meanwhile() {
    let tokens = |cost| LimitRequest {
        window: Window::Sliding { ms: 60_000 },
        unit: Unit::Tokens,
        cost,
        ..limit(LimitKind::Budget, 1_000)
    };
    let state = Memory::new();
    assert!(take(&state, "stream", tokens(1), 0).await);
    lock(&state.tenant("default"))
        .apply(&Op::Reset { id: "other".into(), key: String::new() }, 70_000);
    lock(&state.tenant("default")).forget();
    let usage = Usage { max_output_tokens: 5_000, ..Usage::default() };
    let done = Settle { usage, ..settle("stream", Outcome::Done) };
    state.settle("default", "pep-mcp", &done, 70_001).await.unwrap();
    assert!(!take(&state, "next", tokens(1), 70_002).await, "the tokens were used now");
}

#[tokio::test]
async fn what_could_not_be_written_down_is_not_answered_when_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Memory::open(dir.path()).unwrap();
    state.journal.as_ref().unwrap().fail();
    let call = || commit("c1", vec![limit(LimitKind::Once, 1)]);
    assert!(state.commit(call(), 0).await.is_err());
    let stored = state.stored("default", "pep-mcp", "c1").await;
    assert!(!matches!(stored, Ok(Some(_))), "{stored:?}");
    let again = state.commit(call(), 1).await;
    assert_eq!(again, Ok(Committed::Abandoned), "nothing passes by asking twice");
}
