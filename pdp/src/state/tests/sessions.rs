//! Cases about what an opened session and the implicit one of the same principal know of each other.

use lictor_proto::decision::{Confidentiality, Integrity};
use lictor_proto::facts::{SessionFacts, SessionKind};

use super::super::op::Op;
use super::*;

/// A call in the opened session `o` of the principal whose implicit session is `s`.
fn opened(call_id: &str, verdict: Verdict) -> Commit {
    let (own, implicit) = (session("o", false), Some(session("s", true)));
    Commit { session: own, implicit, verdict: Arc::new(verdict), ..commit(call_id, vec![]) }
}

fn secret() -> Verdict {
    let labels = Labels { integrity: Integrity::Trusted, confidentiality: Confidentiality::Secret };
    Verdict { labels, marks: vec!["seen".into()], ..verdict(Effect::Allow) }
}

async fn facts(state: &dyn State, key: &SessionKey, now_ms: i64) -> SessionFacts {
    state.read(key, &binding("1"), now_ms).await.unwrap().facts
}

/// Both sessions, and that neither counts what the other does not.
async fn both(state: &dyn State, now_ms: i64) -> SessionFacts {
    let own = facts(state, &session("o", false), now_ms).await;
    let implicit = facts(state, &session("s", true), now_ms).await;
    let labels = Labels { integrity: Integrity::Untrusted, ..own.labels };
    assert_eq!(implicit, SessionFacts { kind: SessionKind::Implicit, labels, ..own.clone() });
    own
}

pub(super) async fn what_is_done_in_an_opened_session_counts_for_the_implicit_one(
    state: Arc<dyn State>,
) {
    let (own, implicit) = (session("o", false), session("s", true));
    state.open_session(&own, &implicit, &owner(), 100_000).await.unwrap();
    let before = state.read(&implicit, &binding("1"), 0).await.unwrap();
    let call = Commit { cost_usd_micros: 7, ..opened("c1", secret()) };
    assert!(held(state.commit(call, 0).await.unwrap()));
    let seen = both(&*state, 1).await;
    assert_eq!(seen.calls.get("a/b"), Some(&1));
    assert_eq!((seen.tail.len(), seen.pending.len(), seen.spend_usd_micros), (1, 1, 7));
    assert_eq!((seen.labels, &*seen.marks), (secret().labels, ["seen".to_owned()].as_slice()));
    // Whoever judged a call without the handle before that must judge it again.
    let late = Commit { version: Some(before.version), ..commit("c2", vec![]) };
    assert_eq!(state.commit(late, 1).await.unwrap(), Committed::Stale);

    let usage = Usage { cost_usd_micros: 9, ..Usage::default() };
    let done = Settle { usage, ..settle("c1", Outcome::Done) };
    state.settle("default", "pep-mcp", &done, 2).await.unwrap();
    let seen = both(&*state, 3).await;
    assert_eq!((seen.pending.len(), seen.spend_usd_micros), (0, 9));

    let call = Commit { cost_usd_micros: 5, ..opened("c3", secret()) };
    assert!(held(state.commit(call, 4).await.unwrap()));
    assert_eq!(both(&*state, 5).await.spend_usd_micros, 14);
    state.settle("default", "pep-mcp", &settle("c3", Outcome::NotSent), 6).await.unwrap();
    assert_eq!(both(&*state, 7).await, seen, "it was never sent");

    let refused = Commit { permits: false, ..opened("c4", verdict(Effect::Deny)) };
    assert!(held(state.commit(refused, 8).await.unwrap()));
    assert_eq!(both(&*state, 9).await, seen, "nothing was permitted");
    assert!(held(state.commit(commit("c5", vec![]), 10).await.unwrap()));
    assert_eq!(facts(&*state, &own, 11).await, seen, "the other way nothing counts");
}

pub(super) async fn a_call_that_goes_on_is_waited_for_in_both_sessions(state: Arc<dyn State>) {
    let (own, implicit) = (session("o", false), session("s", true));
    state.open_session(&own, &implicit, &owner(), 2 * STORED_CALL_MS).await.unwrap();
    assert!(held(state.commit(opened("c1", secret()), 0).await.unwrap()));
    let late = STORED_CALL_MS - 1;
    state.extend("default", "pep-mcp", "c1", late).await.unwrap();
    assert_eq!(both(&*state, late + 2).await.pending, ["a/b"]);
    state.settle("default", "pep-mcp", &settle("c1", Outcome::Done), late + 3).await.unwrap();
    assert!(both(&*state, late + 4).await.pending.is_empty());
}

pub(super) async fn an_implicit_session_that_is_over_counts_anew_beside_an_opened_one(
    state: Arc<dyn State>,
) {
    let (own, implicit) = (session("o", false), session("s", true));
    state.open_session(&own, &implicit, &owner(), IMPLICIT_IDLE_MS + 1_000).await.unwrap();
    assert!(held(state.commit(commit("c1", vec![]), 0).await.unwrap()));
    let call = opened("c2", verdict(Effect::Allow));
    assert!(held(state.commit(call, IMPLICIT_IDLE_MS).await.unwrap()));
    let seen = facts(&*state, &implicit, IMPLICIT_IDLE_MS + 1).await;
    assert_eq!((seen.calls.get("a/b"), seen.tail.len()), (Some(&1), 1));
}

pub(super) async fn a_session_that_is_opened_forgets_no_secret(state: Arc<dyn State>) {
    let (own, implicit) = (session("o", false), session("s", true));
    state.open_session(&own, &implicit, &owner(), 100_000).await.unwrap();
    assert_eq!(facts(&*state, &own, 0).await, SessionFacts::default());
    assert!(held(state.commit(opened("c1", secret()), 0).await.unwrap()));
    let another = session("another", false);
    state.open_session(&another, &implicit, &owner(), 100_000).await.unwrap();
    let expected = SessionFacts { labels: secret().labels, ..SessionFacts::default() };
    assert_eq!(facts(&*state, &another, 1).await, expected, "the labels, and nothing counted");
    let strangers = session("theirs", true);
    let other = session("other", false);
    state.open_session(&other, &strangers, &owner(), 100_000).await.unwrap();
    assert_eq!(facts(&*state, &other, 1).await, SessionFacts::default());
}

#[tokio::test]
async fn a_journal_makes_both_sessions_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = Memory::open(dir.path()).unwrap().0;
    let (own, implicit) = (session("o", false), session("s", true));
    state.open_session(&own, &implicit, &owner(), 100_000).await.unwrap();
    for call in ["c1", "c2"] {
        assert!(held(state.commit(opened(call, secret()), 0).await.unwrap()));
    }
    let another = session("another", false);
    state.open_session(&another, &implicit, &owner(), 100_000).await.unwrap();
    let before = both(&state, 1).await;
    state.close().await.unwrap();
    drop(state);
    let state = Memory::open(dir.path()).unwrap().0;
    assert_eq!(both(&state, 1).await, before);
    assert_eq!(facts(&state, &another, 1).await.labels, secret().labels);
    state.settle("default", "pep-mcp", &settle("c2", Outcome::NotSent), 2).await.unwrap();
    assert_eq!(both(&state, 3).await.calls.get("a/b"), Some(&1));
}

#[test]
fn entries_of_a_journal_without_an_implicit_session_are_read() {
    let (id, owner) = ("o".to_owned(), owner());
    let open = Op::Open { id, implicit: "s".into(), owner, expires_ms: 1 };
    for op in [open, Op::Commit(Box::new(opened("c1", secret())))] {
        let mut entry = serde_json::to_value(&op).unwrap();
        let inner = entry.as_object_mut().unwrap().values_mut().next().unwrap();
        assert!(inner.as_object_mut().unwrap().remove("implicit").is_some());
        match serde_json::from_value(entry).unwrap() {
            Op::Open { implicit, .. } => assert_eq!(implicit, ""),
            Op::Commit(commit) => assert_eq!(commit.implicit, None),
            other => panic!("{other:?}"),
        }
    }
}
