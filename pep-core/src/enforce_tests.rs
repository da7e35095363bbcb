use lictor_proto::call::{Action, Credential, CredentialKind, Question, ResourceKind};
use lictor_proto::decision::Reason;
use lictor_proto::json::Open;

use super::*;

const ABILITIES: &[ObligationKind] = &[ObligationKind::Mask];

fn call() -> Call {
    Call {
        call_id: "00000000-0000-7000-8000-000000000001".into(),
        action: Action { name: "tools/call".into() },
        resource: Some(Resource { kind: ResourceKind::Tool, id: "files/read".into() }),
        ..Call::default()
    }
}

fn allow(call: &Call) -> Answer {
    let mut decision = Decision::denied("d-1", &call.call_id, Reason::new("ok", "ok"));
    decision.effect = Effect::Allow;
    decision.reasons.clear();
    decision.request_digest = call.request_digest();
    Answer { decision, hints: Hints::default() }
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        tenant: "default".into(),
        subject: None,
        agent: None,
        delegation: Vec::new(),
        credential: Credential {
            kind: CredentialKind::ApiKey,
            id: "k".into(),
            issuer: String::new(),
        },
        expires_ms: None,
        roles: Default::default(),
    })
}

fn permitted(call: Call) -> Permitted {
    let answer = allow(&call);
    Permitted {
        digest: call.request_digest(),
        call: Arc::new(call),
        answer,
        identity: identity(),
        targets: vec!["http://127.0.0.1:9/v1".into()],
        started_us: 0,
        deadline_ms: PERMIT_TTL_MS,
    }
}

fn checked(change: impl FnOnce(&mut Answer)) -> Result<(), Refusal> {
    let call = call();
    let mut answer = allow(&call);
    change(&mut answer);
    check_answer(&call, &call.request_digest(), &answer, ABILITIES)
}

#[test]
fn an_answer_must_fit_in_every_respect() {
    assert!(checked(|_| {}).is_ok());
    type Change = fn(&mut Answer);
    let changes: [(Change, &str); 6] = [
        (|a| a.decision.effect = Effect::Deny, reason::NO_PERMIT),
        (|a| a.decision.effect = Effect::Ask, reason::NO_PERMIT),
        (|a| a.decision.dry_run = true, reason::NO_PERMIT),
        (|a| a.decision.call_id = "other".into(), reason::PDP_UNAVAILABLE),
        (|a| a.decision.request_digest = "sha256:00".into(), reason::PDP_UNAVAILABLE),
        (
            |a| a.decision.obligations.push(obligation(ObligationKind::Route)),
            reason::OBLIGATION_UNKNOWN,
        ),
    ];
    for (change, id) in changes {
        assert_eq!(checked(change).unwrap_err().id(), id);
    }
    assert!(checked(|a| a.decision.obligations.push(obligation(ObligationKind::Mask))).is_ok());
}

fn obligation(kind: ObligationKind) -> Obligation {
    Obligation { id: "o".into(), kind, properties: Open::default() }
}

#[test]
fn all_three_questions_are_needed() {
    for left_out in Question::ALL {
        let mut call = call();
        call.questions.retain(|question| *question != left_out);
        let refusal = permit(&permitted(call), b"{}", 0).unwrap_err();
        assert_eq!(refusal.id(), reason::NO_PERMIT, "{left_out:?}");
    }
}

#[test]
fn a_permit_covers_its_bytes_and_its_time_only() {
    let permit = permit(&permitted(call()), b"body", 0).unwrap();
    assert_eq!(permit.forward(Bytes::from_static(b"body"), PERMIT_TTL_MS).unwrap(), "body");
    assert_eq!(permit.forward(Bytes::from_static(b"bodY"), 0), Err(PermitError::Bytes));
    let late = permit.forward(Bytes::from_static(b"body"), PERMIT_TTL_MS + 1);
    assert_eq!(late, Err(PermitError::Late));
}

#[test]
fn no_permit_is_made_past_the_deadline() {
    assert!(permit(&permitted(call()), b"", PERMIT_TTL_MS).is_ok());
    let refusal = permit(&permitted(call()), b"", PERMIT_TTL_MS + 1).unwrap_err();
    assert_eq!(refusal.id(), reason::DEADLINE_PASSED);
}

#[test]
fn a_permit_covers_its_targets_only() {
    let permit = permit(&permitted(call()), b"", 0).unwrap();
    for inside in
        ["http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/chat?x=../y", "http://127.0.0.1:9/v1/"]
    {
        assert!(permit.check_target(&inside.parse().unwrap()).is_ok(), "{inside}");
    }
    for outside in [
        "https://127.0.0.1:9/v1/chat",
        "http://127.0.0.1:8/v1/chat",
        "http://localhost:9/v1/chat",
        "http://127.0.0.1:9/v10",
        "http://127.0.0.1:9/",
        "http://127.0.0.1:9/v1/../admin",
        "http://127.0.0.1:9/v1/%2E%2e/admin",
        "http://user@127.0.0.1:9/v1",
    ] {
        assert!(permit.check_target(&outside.parse().unwrap()).is_err(), "{outside}");
    }
}

#[test]
fn targets_can_only_be_narrowed() {
    let mut permitted = permitted(call());
    permitted.narrow_targets(|_| false);
    let permit = permit(&permitted, b"", 0).unwrap();
    assert!(permit.check_target(&"http://127.0.0.1:9/v1".parse().unwrap()).is_err());
}
