//! Our own tokens, read by another library and by ourselves.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lictor_identity::assertion::ASSERTION_MAX_TTL_S;
use lictor_identity::{
    Assertion, AssertionError, AssertionMinter, Authenticator, IssuerSettings, Jwks, KeyPair,
    Presented, Purpose, Settings,
};
use serde_json::{Value, json};

use crate::forge::{NOW_MS, NOW_S};

const ISSUER: &str = "https://pep.example";

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
    let set: JwkSet = serde_json::from_str(&minter.jwks_json()).unwrap();
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
    let jwks = Jwks::parse(minter.jwks_json().as_bytes()).unwrap();
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

#[test]
fn an_agent_may_act_for_itself() {
    let alone = Assertion { act: &[], ..assertion() };
    let token = minter().mint(&alone, NOW_MS, "j-1").unwrap();
    let set: JwkSet = serde_json::from_str(&minter().jwks_json()).unwrap();
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
    assert!(shown.contains(minter().kid()));
    assert!(!shown.contains("3, 3") && !shown.contains("0303"), "{shown}");
}
