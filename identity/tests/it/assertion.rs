//! Our own tokens, read by another library and by ourselves.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lictor_identity::assertion::ASSERTION_MAX_TTL_S;
use lictor_identity::{
    Assertion, AssertionError, AssertionMinter, Authenticator, IssuerSettings, Jwks, KeyPair,
    Presented, Purpose, Settings, TokenAlgorithm, TransactionToken,
};
use serde_json::{Value, json};

use crate::forge::{NOW_MS, NOW_S};

const ISSUER: &str = "https://pep.example";

/// One with a key of each kind.
fn minters() -> [AssertionMinter; 2] {
    TokenAlgorithm::ALL.map(|algorithm| {
        let pair = lictor_identity::token_key::generate(algorithm).unwrap();
        AssertionMinter::new(&pair.private_pem, ISSUER).unwrap()
    })
}

fn minter() -> AssertionMinter {
    let pair = KeyPair::from_seed(Purpose::Assertion, &[3; 32]).unwrap();
    AssertionMinter::new(&pair.private_pem, ISSUER).unwrap()
}

fn assertion() -> Assertion<'static> {
    Assertion {
        sub: "alice@example.com",
        act: &["expense-report-v1", "planner-v2", "root-v1"],
        aud: "https://accounting.example/mcp",
        decision_id: "019a0000-0000-7000-8000-000000000001",
        tool: "accounting/create_expense_report",
        args_digest: "sha256:00",
        ttl_s: ASSERTION_MAX_TTL_S,
    }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["https://accounting.example/mcp"]);
    validation.set_issuer(&[ISSUER]);
    // The minted token has the test's time, not the clock's.
    validation.validate_exp = false;
    validation
}

#[test]
fn another_library_verifies_it_with_the_published_key_set() {
    let minter = minter();
    let token = minter.mint(&assertion(), NOW_MS + 999, "j-1").unwrap();
    let header = decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.alg, Algorithm::EdDSA);
    let set: JwkSet = serde_json::from_str(&minter.jwks_json(NOW_MS)).unwrap();
    let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
    let key = DecodingKey::from_jwk(jwk).unwrap();
    let claims = decode::<Value>(&token, &key, &validation()).unwrap().claims;
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "alice@example.com", "aud": "https://accounting.example/mcp",
            "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 60, "jti": "j-1",
            "act": {"sub": "expense-report-v1", "act": {"sub": "planner-v2", "act": {"sub": "root-v1"}}},
            "decision_id": "019a0000-0000-7000-8000-000000000001",
            "tool": "accounting/create_expense_report", "args_digest": "sha256:00",
        })
    );
    let mut elsewhere = validation();
    elsewhere.set_audience(&["https://other.example"]);
    assert!(decode::<Value>(&token, &key, &elsewhere).is_err());
}

#[test]
fn we_read_back_what_we_asserted() {
    let minter = minter();
    let jwks = Jwks::parse(minter.jwks_json(NOW_MS).as_bytes()).unwrap();
    let issuer = IssuerSettings::new(ISSUER, &["https://accounting.example/mcp"], jwks);
    let settings = Settings { issuers: vec![issuer], ..Settings::default() };
    let authenticator = Authenticator::new(settings).unwrap();
    let token = minter.mint(&assertion(), NOW_MS, "j-1").unwrap();
    let identity = authenticator.authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert_eq!(identity.agent.unwrap().id, "expense-report-v1");
    let delegation: Vec<&str> = identity.delegation.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(delegation, ["planner-v2", "root-v1"]);
    let late = authenticator.authenticate(Presented::bearer(&token), NOW_MS + 60_000);
    assert_eq!(late.unwrap_err().id(), "token_expired");
}

fn transaction() -> TransactionToken<'static> {
    TransactionToken {
        txn: "019a0000-0000-7000-8000-00000000000a",
        sub: "alice@example.com",
        trust_domain: "corp.example",
        scope: "mcp/tools/call",
        req_wl: "expense-report-v1",
        decision_id: "019a0000-0000-7000-8000-000000000001",
        tool: "accounting/create_expense_report",
        args_digest: "sha256:00",
        ttl_s: ASSERTION_MAX_TTL_S,
    }
}

/// Reads what `minter` makes, with the key set that it publishes.
fn reader(minter: &AssertionMinter) -> Authenticator {
    let jwks = Jwks::parse(minter.jwks_json(NOW_MS).as_bytes()).unwrap();
    let audiences = ["https://accounting.example/mcp", "corp.example"];
    let mut issuer = IssuerSettings::new(ISSUER, &audiences, jwks);
    issuer.transaction_tokens = true;
    let settings = Settings { issuers: vec![issuer], ..Settings::default() };
    Authenticator::new(settings).unwrap()
}

#[test]
fn we_read_back_assertions_and_transactions_of_both_kinds_of_keys() {
    for minter in minters() {
        let reader = reader(&minter);
        let token = minter.mint(&assertion(), NOW_MS, "j-1").unwrap();
        let txn = minter.mint_transaction(&transaction(), NOW_MS).unwrap();
        let presented = Presented { transaction: Some(&txn), ..Presented::bearer(&token) };
        let identity = reader.authenticate(presented, NOW_MS).unwrap();
        assert_eq!(identity.agent.unwrap().id, "expense-report-v1");
        let subject = identity.subject.unwrap();
        let said = |pointer: &str| {
            let pointer = format!("/txn_token{pointer}");
            subject
                .claims
                .node()
                .pointer(&pointer)
                .and_then(|node| node.as_str().map(str::to_owned))
        };
        assert_eq!(said("/txn").as_deref(), Some("019a0000-0000-7000-8000-00000000000a"));
        assert_eq!(said("/req_wl").as_deref(), Some("expense-report-v1"));
        assert_eq!(said("/scope").as_deref(), Some("mcp/tools/call"));
        let tool = said("/tctx/tool");
        assert_eq!(tool.as_deref(), Some("accounting/create_expense_report"));
        assert_eq!(said("/tctx/args_digest").as_deref(), Some("sha256:00"));
        let decision = said("/tctx/decision_id");
        assert_eq!(decision.as_deref(), Some("019a0000-0000-7000-8000-000000000001"));
    }
}

#[test]
fn a_transaction_is_no_credential_and_an_assertion_no_transaction() {
    for minter in minters() {
        let reader = reader(&minter);
        let token = minter.mint(&assertion(), NOW_MS, "j-1").unwrap();
        let txn = minter.mint_transaction(&transaction(), NOW_MS).unwrap();
        let alone = reader.authenticate(Presented::bearer(&txn), NOW_MS);
        assert_eq!(alone.unwrap_err().id(), "type_refused");
        let swapped = Presented { transaction: Some(&token), ..Presented::bearer(&token) };
        let swapped = reader.authenticate(swapped, NOW_MS);
        assert_eq!(swapped.unwrap_err().id(), "txn_token_type_refused");
        let other = TransactionToken { sub: "bob@example.com", ..transaction() };
        let other = minter.mint_transaction(&other, NOW_MS).unwrap();
        let stolen = Presented { transaction: Some(&other), ..Presented::bearer(&token) };
        let stolen = reader.authenticate(stolen, NOW_MS);
        assert_eq!(stolen.unwrap_err().id(), "txn_token_mismatch");
    }
}

#[test]
fn another_library_verifies_both_kinds_of_keys() {
    for (minter, algorithm) in minters().into_iter().zip([Algorithm::EdDSA, Algorithm::ES256]) {
        let token = minter.mint(&assertion(), NOW_MS, "j-1").unwrap();
        let set: JwkSet = serde_json::from_str(&minter.jwks_json(NOW_MS)).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!(header.alg, algorithm);
        let key = DecodingKey::from_jwk(set.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
        let validation = Validation { algorithms: vec![algorithm], ..validation() };
        assert_eq!(decode::<Value>(&token, &key, &validation).unwrap().claims["jti"], "j-1");
        let other = minters().into_iter().nth(usize::from(algorithm == Algorithm::ES256)).unwrap();
        let set: JwkSet = serde_json::from_str(&other.jwks_json(NOW_MS)).unwrap();
        let key = DecodingKey::from_jwk(&set.keys[0]).unwrap();
        assert!(decode::<Value>(&token, &key, &validation).is_err());
    }
}

#[test]
fn a_transaction_that_could_not_be_meant_is_not_signed() {
    let minter = minter();
    let mint = |transaction: &TransactionToken<'_>| minter.mint_transaction(transaction, NOW_MS);
    for ttl_s in [0, ASSERTION_MAX_TTL_S + 1] {
        let refused = mint(&TransactionToken { ttl_s, ..transaction() });
        assert!(matches!(refused, Err(AssertionError::Ttl { .. })), "{ttl_s}");
    }
    for bad in [
        TransactionToken { txn: "", ..transaction() },
        TransactionToken { sub: "", ..transaction() },
        TransactionToken { trust_domain: "", ..transaction() },
        TransactionToken { scope: "a\nb", ..transaction() },
        TransactionToken { req_wl: "", ..transaction() },
        TransactionToken { tool: "", ..transaction() },
    ] {
        assert!(matches!(mint(&bad), Err(AssertionError::Text { .. })), "{bad:?}");
    }
}

#[test]
fn an_agent_may_act_for_itself() {
    let alone = Assertion { act: &[], ..assertion() };
    let token = minter().mint(&alone, NOW_MS, "j-1").unwrap();
    let set: JwkSet = serde_json::from_str(&minter().jwks_json(NOW_MS)).unwrap();
    let key = DecodingKey::from_jwk(&set.keys[0]).unwrap();
    let claims = decode::<Value>(&token, &key, &validation()).unwrap().claims;
    assert!(claims.get("act").is_none());
}

#[test]
fn what_could_not_be_meant_is_not_signed() {
    let minter = minter();
    let mint = |assertion: &Assertion<'_>| minter.mint(assertion, NOW_MS, "j-1");
    for ttl_s in [0, ASSERTION_MAX_TTL_S + 1, u32::MAX] {
        let refused = mint(&Assertion { ttl_s, ..assertion() });
        assert!(matches!(refused, Err(AssertionError::Ttl { .. })), "{ttl_s}");
    }
    assert!(mint(&Assertion { ttl_s: 1, ..assertion() }).is_ok());
    let eight = ["1", "2", "3", "4", "5", "6", "7", "8"];
    assert!(mint(&Assertion { act: &eight, ..assertion() }).is_ok());
    let nine = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let refused = mint(&Assertion { act: &nine, ..assertion() });
    assert!(matches!(refused, Err(AssertionError::TooManyActors)));
    for bad in [
        Assertion { sub: "", ..assertion() },
        Assertion { aud: "", ..assertion() },
        Assertion { tool: "a\nb", ..assertion() },
        Assertion { decision_id: "", ..assertion() },
        Assertion { args_digest: "", ..assertion() },
        Assertion { act: &["a", ""], ..assertion() },
    ] {
        assert!(matches!(mint(&bad), Err(AssertionError::Text { .. })), "{bad:?}");
    }
    assert!(minter.mint(&assertion(), NOW_MS, "").is_err());
    assert!(matches!(minter.mint(&assertion(), -1_000, "j"), Err(AssertionError::Clock)));
    assert!(AssertionMinter::new("not a key", ISSUER).is_err());
    let pair = KeyPair::from_seed(Purpose::Assertion, &[3; 32]).unwrap();
    assert!(AssertionMinter::new(&pair.private_pem, "").is_err());
}

#[test]
fn debug_shows_the_key_id_only() {
    let shown = format!("{:?}", minter());
    assert!(shown.contains(&minter().kid(NOW_MS).unwrap()));
    assert!(!shown.contains("3, 3") && !shown.contains("0303"), "{shown}");
}
