//! Issuer, audience and times.

use lictor_proto::json::{Node, Value};

use super::id_text;
use crate::error::AuthError;

/// By how much the issuer's clock may be ahead of ours for `nbf` and `iat`,
/// milliseconds. `exp` has no leeway.
pub(super) const CLOCK_LEEWAY_MS: i64 = 30_000;
/// Latest time that is believed: the year 9999. More is likely milliseconds.
const NUMERIC_DATE_MAX_S: u64 = 253_402_300_799;
/// Claims with a meaning here; a name that differs from one only by case is refused.
const KNOWN: [&str; 11] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "client_id", "azp", "cnf"];

pub(super) fn refuse_variants(payload: &Node) -> Result<(), AuthError> {
    match payload.case_variant_of(&KNOWN) {
        Some(name) => {
            Err(AuthError::claim_invalid(name, "it differs from a known claim only by case"))
        }
        None => Ok(()),
    }
}

/// A claim that must be a text if it is there.
pub(super) fn text<'a>(payload: &'a Node, name: &str) -> Result<Option<&'a str>, AuthError> {
    payload.get(name).map(|node| id_text(node, name)).transpose()
}

/// A token bound to a key (DPoP, mutual TLS) must not work without that key.
pub(super) fn refuse_bound(payload: &Node) -> Result<(), AuthError> {
    if payload.get("cnf").is_some() { Err(AuthError::TokenBound) } else { Ok(()) }
}

pub(super) fn check_audience(payload: &Node, ours: &[String]) -> Result<(), AuthError> {
    let aud = payload.get("aud").ok_or_else(|| AuthError::claim_missing("aud"))?;
    let single = std::slice::from_ref(aud);
    let list = match &aud.value {
        Value::Array(items) => items.as_slice(),
        _ => single,
    };
    let mut found = false;
    for item in list {
        let name = item.as_str().ok_or_else(|| {
            AuthError::claim_invalid("aud", "it must be a string or a list of strings")
        })?;
        found |= ours.iter().any(|own| own == name);
    }
    if found { Ok(()) } else { Err(AuthError::AudienceWrong) }
}

/// Checks `exp`, `nbf` and `iat`; gives the expiry in unix milliseconds.
pub(super) fn check_times(payload: &Node, now_ms: i64) -> Result<i64, AuthError> {
    let expires_ms = time_ms(payload, "exp")?.ok_or_else(|| AuthError::claim_missing("exp"))?;
    let latest_ms = now_ms.saturating_add(CLOCK_LEEWAY_MS);
    for name in ["nbf", "iat"] {
        if time_ms(payload, name)?.is_some_and(|start_ms| start_ms > latest_ms) {
            return Err(AuthError::TokenNotYetValid);
        }
    }
    if now_ms >= expires_ms { Err(AuthError::TokenExpired) } else { Ok(expires_ms) }
}

/// Whole seconds only: readers disagree about fractions.
fn time_ms(payload: &Node, name: &str) -> Result<Option<i64>, AuthError> {
    let Some(node) = payload.get(name) else {
        return Ok(None);
    };
    let invalid = || {
        AuthError::claim_invalid(
            name,
            "it must be a whole number of seconds since 1970, up to the year 9999",
        )
    };
    let seconds = node.as_u64().filter(|s| *s <= NUMERIC_DATE_MAX_S).ok_or_else(invalid)?;
    let ms = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1000));
    ms.map(Some).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_proto::json::scan;

    fn times(payload: &str, now_ms: i64) -> Result<i64, &'static str> {
        check_times(&scan(payload.as_bytes()).unwrap(), now_ms).map_err(|error| error.id())
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
    fn one_of_several_audiences_is_enough() {
        let ours = ["a".to_owned(), "b".to_owned()];
        let check = |payload: &str| {
            check_audience(&scan(payload.as_bytes()).unwrap(), &ours).map_err(|error| error.id())
        };
        assert_eq!(check(r#"{"aud":"b"}"#), Ok(()));
        assert_eq!(check(r#"{"aud":["x","a"]}"#), Ok(()));
        assert_eq!(check(r#"{"aud":["x","A"]}"#), Err("audience_wrong"));
        assert_eq!(check(r#"{"aud":[]}"#), Err("audience_wrong"));
        assert_eq!(check(r#"{"aud":["a",1]}"#), Err("claim_invalid"));
        assert_eq!(check(r#"{"aud":null}"#), Err("claim_invalid"));
        assert_eq!(check("{}"), Err("claim_missing"));
    }
}
