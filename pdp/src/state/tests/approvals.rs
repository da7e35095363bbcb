//! Cases about approvals.

use super::*;

fn asking(call_id: &str, binding: Binding, approval: &str) -> Commit {
    let ask = Ask {
        reason: Reason::new("manager", ""),
        approvers: vec!["bob".into()],
        count: 1,
        expires_s: 0,
    };
    let parts = vec![Part {
        ask: "manager".into(),
        approvers: vec!["bob".into()],
        count: 1,
        by_role: false,
    }];
    let opens = NewApproval {
        id: approval.into(),
        parts,
        expires_ms: 1_000,
        reasons: vec![],
        args: "{}".into(),
        barred: vec![],
        credential: "sha256:1".into(),
        peer: "pep".into(),
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

pub(super) async fn an_approval_covers_its_own_call_once(state: Arc<dyn State>) {
    let key = session("s", true);
    let id = approval_of(state.commit(asking("c1", binding("1"), "a1"), 0).await.unwrap());
    let same = approval_of(state.commit(asking("c2", binding("1"), "a2"), 1).await.unwrap());
    assert_eq!(id, same, "the same question waits for the same approval");
    let yes = Answer { user: "bob".into(), teams: vec![], by_role: false, approve: true };
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

pub(super) async fn an_approval_ends_with_its_time(state: Arc<dyn State>) {
    let id = approval_of(state.commit(asking("c1", binding("1"), "a1"), 0).await.unwrap());
    let yes = Answer { user: "bob".into(), teams: vec![], by_role: false, approve: true };
    state.resolve(&id, yes, 2).await.unwrap();
    assert_eq!(state.commit(using("c2", binding("1")), 1_000).await.unwrap(), Committed::Stale);
}

pub(super) async fn approvals_are_voided_with_whoever_is_revoked(state: Arc<dyn State>) {
    let bound = |args: &str| Binding { delegation: vec!["planner".into()], ..binding(args) };
    let kinds = [
        (Kind::Agent, "bot"),
        (Kind::Agent, "planner"),
        (Kind::User, "alice"),
        (Kind::Credential, "sha256:1"),
        (Kind::Session, "s"),
    ];
    for (n, (kind, id)) in kinds.into_iter().enumerate() {
        let name = |what: &str| format!("{what}{n}");
        let open = |what: &str| asking(&name(what), bound(&name(what)), &name(what));
        let waited = approval_of(state.commit(open("waited"), 0).await.unwrap());
        let given = approval_of(state.commit(open("given"), 0).await.unwrap());
        let yes = || Answer { user: "bob".into(), teams: vec![], by_role: false, approve: true };
        state.resolve(&given, yes(), 1).await.unwrap();
        let voided = state.void("default", Kind::Agent, "other", 2).await.unwrap();
        assert_eq!(voided, Voided::default());
        assert_eq!(state.void("default", kind, id, 2).await.unwrap().approvals, 2, "{kind:?}");
        assert_eq!(state.void("default", kind, id, 2).await.unwrap().approvals, 0, "{kind:?}");
        let read = state.read(&session("s", true), &bound(&name("given")), 3).await.unwrap();
        assert!(read.facts.approvals.is_empty(), "{kind:?}");
        let late = using(&name("late"), bound(&name("given")));
        assert_eq!(state.commit(late, 3).await.unwrap(), Committed::Stale, "{kind:?}");
        let refused = state.resolve(&waited, yes(), 3).await.unwrap_err();
        assert_eq!(refused, StateError::Approval(ApprovalError::Over(Standing::Voided)));
        let all = state.approvals(3).await.unwrap();
        let standing = |id: &str| all.iter().find(|r| r.opened.id == id).unwrap().standing(3);
        assert_eq!((standing(&waited), standing(&given)), (Standing::Voided, Standing::Voided));
    }
}
