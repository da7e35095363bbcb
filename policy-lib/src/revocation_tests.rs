use lictor_proto::call::{Credential, CredentialKind, Party, Resource, ResourceKind};

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn trusted(seed: u8) -> Vec<TrustedKey> {
    vec![TrustedKey::new(key(seed).verifying_key())]
}

fn entry(kind: Kind, id: &str) -> Entry {
    Entry { kind, id: id.into(), reason: "stolen".into(), since_ms: NOW_MS, until_ms: None }
}

fn list(entries: Vec<Entry>) -> List {
    let list = List::empty(NOW_MS, NOW_MS + HOUR_MS);
    List { version: 5, entries, ..list }
}

fn verified(list: &List) -> Result<Verified, RevocationError> {
    verify(sign(list, &key(1)).as_bytes(), &trusted(1), NOW_MS, 0)
}

fn call() -> Call {
    Call {
        subject: Some(Party::new("user", "alice")),
        agent: Some(Party::new("agent", "bot")),
        delegation: vec![Party::new("agent", "planner")],
        credential: Some(Credential {
            kind: CredentialKind::Jwt,
            id: "sha256:1".into(),
            issuer: String::new(),
        }),
        resource: Some(Resource { kind: ResourceKind::Tool, id: "mail/send".into() }),
        ..Call::default()
    }
}

#[test]
fn what_was_signed_is_what_is_read() {
    let mut signed = list(vec![entry(Kind::Agent, "bot"), entry(Kind::Tool, "mail/send")]);
    signed.iss = Some("security".into());
    signed.entries[0].until_ms = Some(NOW_MS + 1);
    let read = verified(&signed).unwrap();
    assert_eq!(read.list(), &signed);
    assert_eq!(read.kid(), key_id(&key(1).verifying_key()));
    assert_eq!(read.set().len(), 2);
}

#[test]
fn each_kind_denies_with_its_own_reason() {
    for (kind, id, reason) in [
        (Kind::Agent, "bot", "agent_revoked"),
        (Kind::Agent, "planner", "agent_revoked"),
        (Kind::User, "alice", "subject_revoked"),
        (Kind::Credential, "sha256:1", "credential_revoked"),
        (Kind::Session, "s-1", "session_revoked"),
        (Kind::Tool, "mail/send", "tool_revoked"),
        (Kind::Server, "mail", "server_revoked"),
    ] {
        let verified = verified(&list(vec![entry(kind, id)])).unwrap();
        let found = check(&verified, &call(), Some("s-1"), NOW_MS);
        assert_eq!(found.map(|r| r.id), Some(reason.to_owned()), "{kind:?}");
    }
    let none = verified(&list(vec![entry(Kind::Agent, "other")])).unwrap();
    assert_eq!(check(&none, &call(), Some("s-1"), NOW_MS), None);
}

#[test]
fn a_list_is_stale_from_its_expiry_on() {
    let verified = verified(&list(vec![entry(Kind::Agent, "bot")])).unwrap();
    let at = |call: &Call, now_ms| check(&verified, call, None, now_ms).map(|reason| reason.id);
    assert_eq!(at(&Call::default(), NOW_MS + HOUR_MS - 1), None);
    assert_eq!(at(&Call::default(), NOW_MS + HOUR_MS).as_deref(), Some("revocation_stale"));
    assert_eq!(at(&call(), NOW_MS + HOUR_MS).as_deref(), Some("agent_revoked"));
    let old = verify(sign(verified.list(), &key(1)).as_bytes(), &trusted(1), i64::MAX, 0);
    assert!(old.unwrap().is_stale(i64::MAX), "an old list is known by its version");
}

#[test]
fn the_version_never_falls() {
    let bytes = sign(&list(vec![]), &key(1));
    let at = |floor| verify(bytes.as_bytes(), &trusted(1), NOW_MS, floor);
    assert!(at(5).is_ok());
    assert_eq!(at(6), Err(RevocationError::Version { found: 5, floor: 6 }));
    let highest = List { version: VERSION_MAX, ..list(vec![]) };
    assert!(verified(&highest).is_ok());
    let above = List { version: VERSION_MAX + 1, ..list(vec![]) };
    assert!(matches!(verified(&above), Err(RevocationError::Version { .. })));
}

#[test]
fn only_trusted_keys_count() {
    let bytes = sign(&list(vec![]), &key(2));
    let refused = verify(bytes.as_bytes(), &trusted(1), NOW_MS, 0);
    assert!(matches!(refused, Err(RevocationError::KeyUnknown { .. })));
    // Under the name of a trusted key.
    let renamed = vec![TrustedKey { kid: key_id(&key(2).verifying_key()), ..trusted(1).remove(0) }];
    let refused = verify(bytes.as_bytes(), &renamed, NOW_MS, 0);
    assert!(matches!(refused, Err(RevocationError::Signature { .. })));
    assert!(matches!(
        verify(bytes.as_bytes(), &[], NOW_MS, 0),
        Err(RevocationError::KeyUnknown { .. })
    ));
}

#[test]
fn every_changed_byte_is_refused() {
    let good = sign(&list(vec![entry(Kind::Agent, "bot")]), &key(1));
    for index in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        assert!(verify(&bytes, &trusted(1), NOW_MS, 0).is_err(), "byte {index}");
    }
}

#[test]
fn a_signature_for_another_use_is_none() {
    let payload = serde_json::to_vec(&Payload::from(&list(vec![]))).unwrap();
    let kid = key_id(&key(1).verifying_key());
    let jwt = jws::sign(&key(1), &kid, &payload);
    let refused = verify(jwt.as_bytes(), &trusted(1), NOW_MS, 0);
    assert!(matches!(refused, Err(RevocationError::Token { .. })), "{refused:?}");
    for typ in ["", "jwt", "Lictor-revocations+jwt"] {
        let token = jws::sign_typed(&key(1), &kid, typ, &payload);
        assert!(verify(token.as_bytes(), &trusted(1), NOW_MS, 0).is_err(), "{typ}");
    }
    // And a list is no signature of a bundle.
    let list = sign(&list(vec![]), &key(1));
    assert!(Token::parse(&list).is_err());
}

fn raw(payload: &str) -> Result<Verified, RevocationError> {
    let kid = key_id(&key(1).verifying_key());
    let token = jws::sign_typed(&key(1), &kid, TYPE, payload.as_bytes());
    verify(token.as_bytes(), &trusted(1), NOW_MS, 0)
}

#[test]
fn payloads_are_read_strictly() {
    let times = r#""issued_at":"2026-01-01T00:00:00Z","expires":"2026-01-02T00:00:00Z""#;
    let good = format!(r#"{{"tenant":"default","version":1,{times},"entries":[]}}"#);
    assert!(raw(&good).is_ok(), "{:?}", raw(&good));
    for (from, to, id) in [
        ("default", "other", "revocations_tenant"),
        ("\"version\":1", "\"version\":-1", "revocations_payload"),
        ("\"version\":1", "\"version\":1,\"version\":2", "revocations_payload"),
        ("\"version\":1", "\"version\":1,\"more\":2", "revocations_payload"),
        ("2026-01-02", "2026-01-01", "revocations_times"),
        ("2026-01-02", "2025-01-01", "revocations_times"),
        (
            "[]",
            r#"[{"kind":"planet","id":"a","reason":"","since":"2026-01-01T00:00:00Z"}]"#,
            "revocations_payload",
        ),
        (
            "[]",
            r#"[{"kind":"agent","id":"","reason":"","since":"2026-01-01T00:00:00Z"}]"#,
            "revocations_entry",
        ),
    ] {
        let refused = raw(&good.replacen(from, to, 1)).unwrap_err();
        assert_eq!(refused.id(), id, "{from} -> {to}: {refused}");
    }
}

#[test]
fn sizes_are_bounded_and_nothing_is_there_twice() {
    let ids = |count: usize| (0..count).map(|n| entry(Kind::User, &n.to_string())).collect();
    assert!(verified(&list(ids(ENTRIES_MAX))).is_ok());
    let refused = verified(&list(ids(ENTRIES_MAX + 1)));
    assert_eq!(refused, Err(RevocationError::TooMany { count: ENTRIES_MAX + 1 }));
    let long = |id: usize, reason: usize| {
        let entry = Entry { reason: "r".repeat(reason), ..entry(Kind::User, &"i".repeat(id)) };
        verified(&list(vec![entry]))
    };
    assert!(long(ID_MAX_BYTES, REASON_MAX_BYTES).is_ok());
    assert!(matches!(long(ID_MAX_BYTES + 1, 0), Err(RevocationError::Entry { .. })));
    assert!(matches!(long(1, REASON_MAX_BYTES + 1), Err(RevocationError::Entry { .. })));
    let twice = vec![entry(Kind::User, "a"), entry(Kind::User, "a")];
    assert!(matches!(verified(&list(twice)), Err(RevocationError::Entry { index: 1, .. })));
    let bytes = vec![b'a'; LIST_MAX_BYTES + 1];
    let refused = verify(&bytes, &trusted(1), NOW_MS, 0);
    assert_eq!(refused, Err(RevocationError::TooLarge { bytes: LIST_MAX_BYTES + 1 }));
}

#[test]
fn a_list_from_the_future_is_refused() {
    let at = |issued_at_ms| {
        let list = List { issued_at_ms, expires_ms: issued_at_ms + 1, ..list(vec![]) };
        verified(&list)
    };
    assert!(at(NOW_MS + SIGNER_CLOCK_AHEAD_MAX_MS).is_ok());
    assert_eq!(at(NOW_MS + SIGNER_CLOCK_AHEAD_MAX_MS + 1), Err(RevocationError::NotYetValid));
}

#[test]
fn a_list_is_kept_in_order_and_forgets_what_is_over() {
    let mut list = List::empty(NOW_MS, NOW_MS + HOUR_MS);
    for (kind, id) in [(Kind::Server, "a"), (Kind::Agent, "b"), (Kind::Agent, "a")] {
        list.put(entry(kind, id));
    }
    list.put(Entry { until_ms: Some(NOW_MS + 10), ..entry(Kind::Agent, "b") });
    let ids: Vec<_> = list.entries.iter().map(|e| (e.kind, e.id.as_str())).collect();
    assert_eq!(ids, [(Kind::Agent, "a"), (Kind::Agent, "b"), (Kind::Server, "a")]);
    assert!(list.remove(Kind::Server, "a") && !list.remove(Kind::Server, "a"));
    let list = list.renewed(NOW_MS + 10, HOUR_MS);
    assert_eq!((list.version, list.entries.len()), (1, 1));
    assert_eq!(list.expires_ms, NOW_MS + 10 + HOUR_MS);
}
