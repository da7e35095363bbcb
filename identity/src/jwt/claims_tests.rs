use lictor_proto::json::scan;

use super::*;
use crate::keyring::KeyRing;

fn issuer(change: impl FnOnce(&mut IssuerSettings)) -> IssuerSettings {
    let mut issuer = IssuerSettings::with_keys("i", &["a", "b"], KeyRing::empty());
    change(&mut issuer);
    issuer
}

fn times(payload: &str, now_ms: i64) -> Result<i64, &'static str> {
    check_times(&scan(payload.as_bytes()).unwrap(), None, now_ms).map_err(|error| error.id())
}

#[test]
fn times_end_where_they_say() {
    assert_eq!(times(r#"{"exp":10}"#, 9_999), Ok(10_000));
    assert_eq!(times(r#"{"exp":10}"#, 10_000), Err("token_expired"));
    for claim in ["nbf", "iat"] {
        let payload = format!("{{\"exp\":1000,\"{claim}\":100}}");
        assert!(times(&payload, 100_000 - CLOCK_LEEWAY_MS).is_ok());
        assert_eq!(times(&payload, 100_000 - CLOCK_LEEWAY_MS - 1), Err("token_not_yet_valid"));
    }
    let last = NUMERIC_DATE_MAX_S;
    assert!(times(&format!("{{\"exp\":{last}}}"), 0).is_ok());
    assert_eq!(times(&format!("{{\"exp\":{}}}", last + 1), 0), Err("claim_invalid"));
    assert!(times(r#"{"exp":10}"#, i64::MAX).is_err());
    assert!(times(r#"{"exp":10}"#, i64::MIN).is_ok());
}

#[test]
fn a_token_holds_no_longer_than_its_issuer_may() {
    let check = |payload: &str| {
        check_times(&scan(payload.as_bytes()).unwrap(), Some(60), 100_000).map_err(|e| e.id())
    };
    assert_eq!(check(r#"{"iat":100,"exp":160}"#), Ok(160_000));
    assert_eq!(check(r#"{"iat":100,"exp":161}"#), Err("lifetime_too_long"));
    assert_eq!(check(r#"{"exp":160}"#), Err("claim_missing"));
    assert_eq!(check(r#"{"iat":110,"exp":101}"#), Ok(101_000));
}

#[test]
fn a_token_is_for_us_alone_unless_its_issuer_may_share() {
    let check = |payload: &str, several| {
        let issuer = issuer(|issuer| issuer.several_audiences = several);
        check_audience(&scan(payload.as_bytes()).unwrap(), &issuer).map_err(|error| error.id())
    };
    for (payload, alone, shared) in [
        (r#"{"aud":"b"}"#, Ok(()), Ok(())),
        (r#"{"aud":["b"]}"#, Ok(()), Ok(())),
        (r#"{"aud":["x","a"]}"#, Err("audience_not_single"), Ok(())),
        (r#"{"aud":["a","b"]}"#, Err("audience_not_single"), Ok(())),
        (r#"{"aud":["x","A"]}"#, Err("audience_wrong"), Err("audience_wrong")),
        (r#"{"aud":[]}"#, Err("audience_wrong"), Err("audience_wrong")),
        (r#"{"aud":["a",1]}"#, Err("claim_invalid"), Err("claim_invalid")),
        (r#"{"aud":null}"#, Err("claim_invalid"), Err("claim_invalid")),
        ("{}", Err("claim_missing"), Err("claim_missing")),
    ] {
        assert_eq!((check(payload, false), check(payload, true)), (alone, shared), "{payload}");
    }
}

#[test]
fn required_claims_are_there_and_say_what_they_must() {
    let check = |payload: &str, name: &str, accepted: &[&str]| {
        let accepted = accepted.iter().map(|&text| text.to_owned()).collect();
        let wanted = [RequiredClaim { name: name.to_owned(), accepted }];
        check_required(&scan(payload.as_bytes()).unwrap(), &wanted).map_err(|error| error.id())
    };
    assert_eq!(check(r#"{"x":null}"#, "x", &[]), Ok(()));
    assert_eq!(check("{}", "x", &[]), Err("claim_missing"));
    assert_eq!(check(r#"{"x":"b"}"#, "x", &["a", "b"]), Ok(()));
    assert_eq!(check(r#"{"x":["c","a"]}"#, "x", &["a", "b"]), Ok(()));
    for bad in [r#"{"x":"c"}"#, r#"{"x":"a b"}"#, r#"{"x":["c"]}"#, r#"{"x":1}"#, r#"{"x":null}"#] {
        assert_eq!(check(bad, "x", &["a", "b"]), Err("claim_refused"), "{bad}");
    }
    assert_eq!(check(r#"{"scope":"read mcp"}"#, "scope", &["mcp"]), Ok(()));
    assert_eq!(check(r#"{"scope":"read mcpx"}"#, "scope", &["mcp"]), Err("claim_refused"));
}

#[test]
fn a_tenant_is_one_of_the_issuers() {
    let check = |payload: &str| {
        let issuer = issuer(|issuer| {
            issuer.claims.tenant = Some("org".to_owned());
            issuer.tenants = vec!["acme".to_owned()];
        });
        tenant(&scan(payload.as_bytes()).unwrap(), &issuer).map_err(|error| error.id())
    };
    assert_eq!(check(r#"{"org":"acme"}"#), Ok(Some("acme".to_owned())));
    assert_eq!(check(r#"{"org":"Acme"}"#), Err("tenant_refused"));
    assert_eq!(check(r#"{"org":1}"#), Err("claim_invalid"));
    assert_eq!(check("{}"), Err("claim_missing"));
    let free = issuer(|_| {});
    assert_eq!(tenant(&scan(br#"{"org":"acme"}"#).unwrap(), &free), Ok(None));
}
