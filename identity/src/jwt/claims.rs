//! Issuer, audience, times, and what an issuer's tokens must say.

use lictor_proto::json::{Node, Value};

use super::id_text;
use crate::error::{AuthError, shown};
use crate::settings::{IssuerSettings, RequiredClaim};

/// By how much the issuer's clock may be ahead of ours for `nbf` and `iat`,
/// milliseconds. `exp` has no leeway.
pub(crate) const CLOCK_LEEWAY_MS: i64 = 30_000;
/// Latest time that is believed: the year 9999. More is likely milliseconds.
const NUMERIC_DATE_MAX_S: u64 = 253_402_300_799;
/// The member of a subject's claims that holds the payload of a transaction token. An access
/// token cannot have it: policy would take it for one.
pub(crate) const TXN_CLAIM: &str = "txn_token";
/// Claims with a meaning here; a name that differs from one only by case is refused.
const KNOWN: [&str; 13] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "act",
    "may_act",
    "client_id",
    "azp",
    "cnf",
    TXN_CLAIM,
];

pub(super) fn refuse_variants(payload: &Node) -> Result<(), AuthError> {
    match payload.case_variant_of(&KNOWN) {
        Some(name) => {
            Err(AuthError::claim_invalid(name, "it differs from a known claim only by case"))
        }
        None => Ok(()),
    }
}

/// Refuses a claim that stands for a transaction token which nobody verified.
pub(super) fn refuse_reserved(payload: &Node) -> Result<(), AuthError> {
    match payload.get(TXN_CLAIM) {
        Some(_) => {
            let why = "it is kept for verified transaction tokens, which come in `Txn-Token`";
            Err(AuthError::claim_invalid(TXN_CLAIM, why))
        }
        None => Ok(()),
    }
}

/// A claim that must be a text if it is there.
pub(super) fn text<'a>(payload: &'a Node, name: &str) -> Result<Option<&'a str>, AuthError> {
    payload.get(name).map(|node| id_text(node, name)).transpose()
}

/// Claims that must be there, with any value.
pub(super) fn require(payload: &Node, names: &[&str]) -> Result<(), AuthError> {
    match names.iter().find(|name| payload.get(name).is_none()) {
        Some(name) => Err(AuthError::claim_missing(name)),
        None => Ok(()),
    }
}

/// Checks that `aud` names one of ours; and nobody else, unless the issuer may do that: whoever
/// else a token is for could use it here.
pub(super) fn check_audience(payload: &Node, issuer: &IssuerSettings) -> Result<(), AuthError> {
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
        found |= issuer.aud.iter().any(|own| own == name);
    }
    match list.len() {
        _ if !found => Err(AuthError::AudienceWrong),
        2.. if !issuer.several_audiences => Err(AuthError::AudienceNotSingle),
        _ => Ok(()),
    }
}

/// Checks `exp`, `nbf` and `iat`; gives the expiry in unix milliseconds.
pub(super) fn check_times(
    payload: &Node,
    max_lifetime_s: Option<u32>,
    now_ms: i64,
) -> Result<i64, AuthError> {
    let expires_ms = time_ms(payload, "exp")?.ok_or_else(|| AuthError::claim_missing("exp"))?;
    let latest_ms = now_ms.saturating_add(CLOCK_LEEWAY_MS);
    for name in ["nbf", "iat"] {
        if time_ms(payload, name)?.is_some_and(|start_ms| start_ms > latest_ms) {
            return Err(AuthError::TokenNotYetValid);
        }
    }
    if now_ms >= expires_ms {
        return Err(AuthError::TokenExpired);
    }
    if let Some(max) = max_lifetime_s {
        let issued_ms = time_ms(payload, "iat")?.ok_or_else(|| AuthError::claim_missing("iat"))?;
        let seconds = u64::try_from(expires_ms.saturating_sub(issued_ms) / 1_000).unwrap_or(0);
        if seconds > u64::from(max) {
            return Err(AuthError::LifetimeTooLong { seconds, max });
        }
    }
    Ok(expires_ms)
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

/// Checks what the issuer's configuration wants of its tokens.
pub(super) fn check_required(payload: &Node, wanted: &[RequiredClaim]) -> Result<(), AuthError> {
    for claim in wanted {
        let found = payload.get(&claim.name);
        let found = found.ok_or_else(|| AuthError::claim_missing(&claim.name))?;
        if !claim.accepted.is_empty() && !says_one_of(found, claim) {
            return Err(AuthError::ClaimRefused { claim: shown(&claim.name) });
        }
    }
    Ok(())
}

/// A text that is accepted, or a list that has one; of `scope` the words count (RFC 8693, 4.2).
fn says_one_of(found: &Node, claim: &RequiredClaim) -> bool {
    let accepts = |text: &str| claim.accepted.iter().any(|accepted| accepted == text);
    match found.as_str() {
        Some(text) if claim.name == "scope" => text.split(' ').any(accepts),
        Some(text) => accepts(text),
        None => found.items().iter().filter_map(Node::as_str).any(accepts),
    }
}

/// The tenant that the token names, where its issuer may speak for that one.
pub(super) fn tenant(payload: &Node, issuer: &IssuerSettings) -> Result<Option<String>, AuthError> {
    let Some(claim) = &issuer.claims.tenant else {
        return Ok(None);
    };
    let named = text(payload, claim)?.ok_or_else(|| AuthError::claim_missing(claim))?;
    match issuer.tenants.iter().find(|tenant| *tenant == named) {
        Some(tenant) => Ok(Some(tenant.clone())),
        None => Err(AuthError::TenantRefused { tenant: shown(named) }),
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
