use super::*;
use crate::api_key::record::PartyRef;
use crate::identity::Role;

const NOW_MS: i64 = 1_700_000_000_000;

fn request(id: &str) -> IssueRequest {
    IssueRequest {
        id: id.to_owned(),
        tenant: "default".to_owned(),
        subject: Some(PartyRef::new("user", "bob@example.com")),
        roles: vec![Role::Approver],
        expires_ms: Some(NOW_MS + 1_000),
        ..IssueRequest::default()
    }
}

#[test]
fn an_issued_key_is_found_by_its_text_alone_and_survives_the_file() {
    let mut store = ApiKeyStore::default();
    let (key, record) = store.issue(&request("bob"), NOW_MS, [1; 32]).unwrap();
    let text = store.to_json().unwrap();
    assert!(!text.contains(&*key) && !text.contains(&hex::encode([1; 32])));
    assert!(text.contains("\"created\": \"2023-11-14T22:13:20Z\""), "{text}");
    let again = ApiKeyStore::from_json(text.as_bytes()).unwrap();
    assert_eq!(again.lookup(&key), Some(&record));
    assert_eq!(again.lookup(&record.hash), None);
    assert_eq!(again.to_json().unwrap(), text);
    assert_ne!(record.credential().id.get(..20), record.hash.get(..20));
}

#[test]
fn a_key_ends_at_its_expiry_and_when_revoked() {
    let mut store = ApiKeyStore::default();
    let (key, _) = store.issue(&request("bob"), NOW_MS, [1; 32]).unwrap();
    let outcome = |store: &ApiKeyStore, now_ms: i64| {
        store.lookup(&key).unwrap().identity(now_ms).map(|i| i.roles).map_err(|e| e.id())
    };
    assert_eq!(outcome(&store, NOW_MS + 999), Ok(vec![Role::Approver]));
    assert_eq!(outcome(&store, NOW_MS + 1_000), Err("api_key_expired"));
    store.revoke("bob").unwrap();
    store.revoke("bob").unwrap();
    assert_eq!(outcome(&store, NOW_MS), Err("api_key_revoked"));
    assert_eq!(store.revoke("eve").unwrap_err(), ApiKeyError::IdUnknown { id: "eve".to_owned() });
}

#[test]
fn requests_that_could_not_be_meant_are_refused() {
    let mut store = ApiKeyStore::default();
    store.issue(&request("bob"), NOW_MS, [1; 32]).unwrap();
    let id = "bob".to_owned();
    assert_eq!(
        store.issue(&request("bob"), NOW_MS, [2; 32]).unwrap_err(),
        ApiKeyError::IdTaken { id }
    );
    let id = "eve".to_owned();
    assert_eq!(
        store.issue(&request("eve"), NOW_MS, [1; 32]).unwrap_err(),
        ApiKeyError::HashTaken { id }
    );
    let mut bad = |change: &dyn Fn(&mut IssueRequest)| {
        let mut wanted = request("eve");
        change(&mut wanted);
        let refused = store.issue(&wanted, NOW_MS, [2; 32]);
        assert!(matches!(refused, Err(ApiKeyError::Record { .. })), "{wanted:?}");
    };
    bad(&|wanted| wanted.subject = None);
    bad(&|wanted| wanted.subject = Some(PartyRef::new("service", "ci")));
    bad(&|wanted| wanted.subject = Some(PartyRef::new("user", "")));
    bad(&|wanted| wanted.expires_ms = Some(NOW_MS));
    bad(&|wanted| wanted.tenant = String::new());
    bad(&|wanted| wanted.id = "a\nb".to_owned());
    assert_eq!(store.records().len(), 1);
}

#[test]
fn files_of_another_shape_are_refused() {
    let good = format!(
        r#"{{"keys":[{{"id":"a","hash":"sha256:{}","tenant":"default","subject":null,"agent":{{"type":"agent","id":"x"}},"roles":["pep"],"created":"2026-01-01T00:00:00Z","expires":null,"revoked":false,"note":""}}]}}"#,
        "ab".repeat(32)
    );
    let store = ApiKeyStore::from_json(good.as_bytes()).unwrap();
    assert_eq!(store.records()[0].roles, [Role::Pep]);
    for (from, to) in [
        ("\"note\":\"\"", "\"note\":\"\",\"admin\":true"),
        ("\"revoked\":false", "\"revoked\":false,\"revoked\":false"),
        ("\"pep\"", "\"root\""),
        ("sha256:ab", "sha256:AB"),
        ("sha256:ab", "sha256:"),
        ("sha256:ab", "md5:ab"),
        ("\"type\":\"agent\"", "\"type\":\"agent\",\"claims\":{}"),
        ("2026-01-01T00:00:00Z", "yesterday"),
        ("\"expires\":null", "\"expires\":1700000000000"),
        ("{\"keys\":", "{\"users\":[],\"keys\":"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        assert!(ApiKeyStore::from_json(text.as_bytes()).is_err(), "{text}");
    }
}
