//! What a good credential says.

use lictor_identity::{
    ApiKeyStore, Authenticator, DoorTokens, IssueRequest, PartyRef, PeerRoles, Presented, Role,
    Settings,
};
use lictor_proto::call::CredentialKind;
use serde_json::json;

use crate::forge::{
    AUD, HEADER, ISS, NOW_MS, NOW_S, SINGLE, authenticator, by, ed, es, good, join, keys, rsa,
    settings, with, without,
};

#[test]
fn every_default_algorithm_verifies() {
    let authenticator = authenticator();
    let es_header = r#"{"alg":"ES256","kid":"es-1","typ":"JWT"}"#;
    let newer_name = r#"{"alg":"Ed25519","kid":"ed-1"}"#;
    for token in [
        ed(HEADER, &good()),
        ed(newer_name, &good()),
        es(es_header, &good()),
        rsa("RS256", &good()),
        rsa("PS256", &good()),
    ] {
        let identity = authenticator.authenticate(Presented::bearer(&token), NOW_MS).unwrap();
        assert_eq!(identity.subject.unwrap().id, "alice@example.com");
    }
}

#[test]
fn claims_become_parties() {
    let act = json!({"sub": "expense-report-v1", "act": {"sub": "planner-v2", "act": {"sub": "root-v1"}}});
    let token = ed(HEADER, &with("act", act));
    let identity = authenticator().authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    let subject = identity.subject.unwrap();
    assert_eq!((subject.kind.as_str(), subject.id.as_str()), ("user", "alice@example.com"));
    assert_eq!(subject.claims.node().get("iss").and_then(|iss| iss.as_str()), Some(ISS));
    assert_eq!(identity.agent.unwrap().id, "expense-report-v1");
    let delegation: Vec<&str> = identity.delegation.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(delegation, ["planner-v2", "root-v1"]);
    assert_eq!(identity.tenant, "default");
    assert_eq!(identity.expires_ms, Some((NOW_S + 300) * 1000));
    assert_eq!(identity.credential.kind, CredentialKind::Jwt);
    assert!(identity.roles.is_empty());
}

#[test]
fn roles_and_tenants_of_claims_are_not_believed() {
    let mut body: serde_json::Value = serde_json::from_str(&good()).unwrap();
    body["roles"] = json!(["operator", "approver"]);
    body["tenant"] = json!("victim");
    let token = ed(HEADER, &body.to_string());
    let identity = authenticator().authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert!(identity.roles.is_empty());
    assert_eq!(identity.tenant, "default");
}

#[test]
fn an_issuer_with_one_key_needs_no_kid_and_has_its_own_tenant() {
    let token = by(&keys().other, r#"{"alg":"EdDSA"}"#, &with("iss", json!(SINGLE)));
    let identity = authenticator().authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert_eq!(identity.tenant, "other");
}

#[test]
fn types_are_media_types_and_unknown_header_members_are_ignored() {
    let authenticator = authenticator();
    for extra in [
        "",
        ",\"typ\":\"jwt\"",
        ",\"typ\":\"AT+JWT\"",
        ",\"typ\":\"application/at+jwt\"",
        ",\"x5t\":\"a\"",
    ] {
        let token = ed(&format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed-1\"{extra}}}"), &good());
        assert!(authenticator.authenticate(Presented::bearer(&token), NOW_MS).is_ok(), "{extra}");
    }
}

#[test]
fn claims_of_another_issuer_say_who_where_they_are_named() {
    let mut settings = settings();
    let map = &mut settings.issuers[0].claims;
    map.subject = "email".to_owned();
    map.agent = vec!["appid".to_owned()];
    let authenticator = Authenticator::new(settings).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(&good()).unwrap();
    body["email"] = json!("alice@corp.example");
    body["appid"] = json!("app-7");
    let token = ed(HEADER, &body.to_string());
    let identity = authenticator.authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert_eq!(identity.subject.unwrap().id, "alice@corp.example");
    assert_eq!(identity.agent.unwrap().id, "app-7");
    let plain = ed(HEADER, &good());
    let refused = authenticator.authenticate(Presented::bearer(&plain), NOW_MS).unwrap_err();
    assert_eq!(refused.id(), "claim_missing");
}

#[test]
fn a_remembered_token_still_ends_on_time() {
    let authenticator = authenticator();
    let token = ed(HEADER, &with("exp", json!(NOW_S + 10)));
    let at = |now_ms: i64| authenticator.authenticate(Presented::bearer(&token), now_ms);
    let first = at(NOW_MS).unwrap();
    assert_eq!(at(NOW_MS + 9_999).unwrap(), first);
    assert_eq!(at(NOW_MS + 10_000).unwrap_err().id(), "token_expired");
    assert_eq!(at(NOW_MS - 31_000).unwrap_err().id(), "token_not_yet_valid");
}

/// Subtracts from the order of P-256, by which anyone can make a second valid
/// signature out of a first.
fn other_half(s: &[u8]) -> Vec<u8> {
    let order =
        hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut out = vec![0u8; 32];
    let mut borrow = 0i16;
    for index in (0..32).rev() {
        let difference = i16::from(order[index]) - i16::from(s[index]) - borrow;
        borrow = i16::from(difference < 0);
        out[index] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    out
}

#[test]
fn a_rewritten_signature_does_not_make_another_credential() {
    use base64::Engine as _;
    let token = es(r#"{"alg":"ES256","kid":"es-1"}"#, &without("jti"));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
    let rewritten = [&signature[..32], &other_half(&signature[32..])].concat();
    let second = join(signed, rewritten);
    assert_ne!(second, token);
    let authenticator = authenticator();
    let id = |token: &str| {
        authenticator.authenticate(Presented::bearer(token), NOW_MS).unwrap().credential.id
    };
    assert_eq!(id(&token), id(&second));
    assert!(id(&token).starts_with("sha256:"));
}

#[test]
fn the_issuers_own_token_id_names_the_credential() {
    let authenticator = authenticator();
    let id = |body: &str| {
        let token = ed(HEADER, body);
        authenticator.authenticate(Presented::bearer(&token), NOW_MS).unwrap().credential.id
    };
    assert_eq!(id(&good()), id(&with("exp", json!(NOW_S + 200))));
    assert_ne!(id(&good()), id(&with("jti", json!("t-2"))));
    assert_ne!(id(&good()), id(&without("jti")));
}

#[test]
fn tokens_of_another_library_are_accepted() {
    let pair =
        lictor_identity::keys::KeyPair::from_seed(lictor_identity::Purpose::Session, &[1; 32])
            .unwrap();
    let key = jsonwebtoken::EncodingKey::from_ed_pem(pair.private_pem.as_bytes()).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some("ed-1".to_owned());
    let claims = json!({"iss": ISS, "aud": [AUD], "sub": "alice", "exp": NOW_S + 1});
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    let identity = authenticator().authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert_eq!(identity.subject.unwrap().id, "alice");
    assert_eq!(identity.agent, None);
}

#[test]
fn an_api_key_speaks_for_its_record() {
    let mut store = ApiKeyStore::default();
    let request = IssueRequest {
        id: "bob".to_owned(),
        tenant: "acme".to_owned(),
        subject: Some(PartyRef::new("user", "bob@example.com")),
        agent: Some(PartyRef::new("agent", "console")),
        roles: vec![Role::Approver],
        expires_ms: Some(NOW_MS + 1),
        ..IssueRequest::default()
    };
    let (key, record) = store.issue(&request, NOW_MS, [9; 32]).unwrap();
    let with_keys = |store: ApiKeyStore| {
        Authenticator::new(Settings { api_keys: Some(store.into()), ..Settings::default() })
            .unwrap()
    };
    let authenticator = with_keys(store.clone());
    let ask = |authenticator: &Authenticator, key: &str, now_ms: i64| {
        authenticator.authenticate(Presented::bearer(key), now_ms).map_err(|error| error.id())
    };
    let identity = ask(&authenticator, &key, NOW_MS).unwrap();
    assert_eq!(identity.tenant, "acme");
    assert_eq!(identity.subject.as_ref().unwrap().id, "bob@example.com");
    assert_eq!(identity.agent.as_ref().unwrap().id, "console");
    assert_eq!(identity.credential, record.credential());
    assert_eq!(identity.credential.issuer, "", "our own file vouches for it");
    assert!(identity.has(Role::Approver) && !identity.has(Role::Operator));
    assert!(!format!("{identity:?}").contains(&*key));
    assert_eq!(ask(&authenticator, &key, NOW_MS + 1).err(), Some("api_key_expired"));
    store.revoke("bob").unwrap();
    assert_eq!(ask(&with_keys(store), &key, NOW_MS).err(), Some("api_key_revoked"));
    assert_eq!(
        ask(&with_keys(ApiKeyStore::default()), &key, NOW_MS).err(),
        Some("api_key_unknown")
    );
    let nobody = Authenticator::new(Settings::default()).unwrap();
    assert_eq!(ask(&nobody, &key, NOW_MS).err(), Some("api_key_unknown"));
    assert_eq!(ask(&authenticator, &key[..79], NOW_MS).err(), Some("token_malformed"));
    assert_eq!(ask(&authenticator, &record.hash, NOW_MS).err(), Some("token_malformed"));
}

#[test]
fn the_door_knows_its_tokens_and_peers() {
    let mut tokens = DoorTokens::default();
    let token = format!("lictordoor_{}", "5".repeat(64));
    tokens.add(&token, &[Role::Pep]).unwrap();
    let mut peers = PeerRoles::own(1000);
    peers.set(33, &[Role::Pep]).unwrap();
    let authenticator =
        Authenticator::new(Settings::default()).unwrap().with_door_tokens(tokens).with_peers(peers);
    let ask = |presented: Presented<'_>| {
        authenticator.authenticate(presented, NOW_MS).map(|i| i.roles).map_err(|e| e.id())
    };
    assert_eq!(ask(Presented::bearer(&token)), Ok(vec![Role::Pep]));
    assert_eq!(ask(Presented::bearer(&token[..74])), Err("token_unknown"));
    assert_eq!(ask(Presented::peer(1000)), Ok(vec![Role::Operator, Role::Auditor]));
    assert_eq!(ask(Presented::peer(33)), Ok(vec![Role::Pep]));
    assert_eq!(ask(Presented::peer(0)), Err("peer_unknown"));
    assert_eq!(ask(Presented::missing()), Err("token_missing"));
    assert_eq!(ask(Presented::bearer("")), Err("token_missing"));
    let peer = authenticator.authenticate(Presented::peer(33), NOW_MS).unwrap();
    assert_eq!(
        (peer.credential.kind, peer.credential.id.as_str()),
        (CredentialKind::Peer, "uid:33")
    );
    let bearer = authenticator.authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert!(!format!("{bearer:?}").contains(&token));
    assert!(bearer.subject.is_none() && bearer.agent.is_none());
}
