//! Signed tokens (RFC 7519, RFC 9068, RFC 8693).
//!
//! # Layout
//!
//! - [`compact`]: text to header, payload and signature; strict.
//! - [`header`]: algorithm and key id; whatever else a header could do is refused.
//! - [`claims`]: issuer, audience, times.
//! - [`parties`]: subject, agent and delegation.
//!
//! The order matters: nothing of the payload but `iss` is used before the
//! signature holds, so an outsider learns nothing from the refusals.

mod claims;
mod compact;
mod header;
mod parties;

use std::collections::HashMap;

use lictor_proto::call::{Credential, CredentialKind};
use lictor_proto::json::Node;

use crate::credential::credential;
use crate::error::{AuthError, shown};
use crate::identity::Identity;
use crate::jwks::{Jwks, Key};
use crate::settings::IssuerSettings;

pub(crate) use parties::DELEGATION_MAX_ACTORS;

use compact::Compact;
use header::Header;

/// Issuers by their exact name.
pub(crate) type Issuers = HashMap<String, IssuerSettings>;

/// Verifies `token` and reads who it speaks for; `tenant` holds where the issuer
/// has none of its own.
pub(crate) fn identify(
    token: &str,
    issuers: &Issuers,
    tenant: &str,
    now_ms: i64,
) -> Result<Identity, AuthError> {
    let compact = Compact::parse(token)?;
    let header = Header::read(&compact.header)?;
    claims::refuse_variants(&compact.payload)?;
    let iss =
        claims::text(&compact.payload, "iss")?.ok_or_else(|| AuthError::claim_missing("iss"))?;
    let issuer = issuers.get(iss).ok_or_else(|| AuthError::IssuerUnknown { iss: shown(iss) })?;
    verify(&compact, &header, issuer, now_ms)?;
    claims::refuse_bound(&compact.payload)?;
    claims::check_audience(&compact.payload, &issuer.aud)?;
    let expires_ms = claims::check_times(&compact.payload, now_ms)?;
    let credential = credential_of(&compact, &issuer.iss)?;
    let parties = parties::read(compact.payload, &issuer.claims)?;
    Ok(Identity {
        tenant: issuer.tenant.clone().unwrap_or_else(|| tenant.to_owned()),
        subject: Some(parties.subject),
        agent: parties.agent,
        delegation: parties.delegation,
        credential,
        expires_ms: Some(expires_ms),
        roles: Vec::new(),
    })
}

fn verify(
    compact: &Compact<'_>,
    header: &Header,
    issuer: &IssuerSettings,
    now_ms: i64,
) -> Result<(), AuthError> {
    let refused = || AuthError::AlgorithmRefused { alg: header.algorithm.as_str().to_owned() };
    if !issuer.algorithms.contains(&header.algorithm) {
        return Err(refused());
    }
    let keys = issuer.keys.at(now_ms, &issuer.iss)?;
    let key = find_key(&keys, header.kid.as_deref())?;
    if !key.fits(header.algorithm) {
        return Err(refused());
    }
    if key.verify(header.algorithm, compact.signed.as_bytes(), &compact.signature) {
        Ok(())
    } else {
        Err(AuthError::SignatureInvalid)
    }
}

fn find_key<'a>(jwks: &'a Jwks, kid: Option<&str>) -> Result<&'a Key, AuthError> {
    match kid {
        Some(kid) => jwks.by_kid(kid).ok_or_else(|| AuthError::KeyUnknown { kid: shown(kid) }),
        None => jwks.single().ok_or(AuthError::KidMissing),
    }
}

/// The issuer's own id of the token where it has one. Otherwise a digest of what
/// was signed, not of the whole text: some signatures can be rewritten by anyone
/// into another valid one, and the same token must keep one name.
fn credential_of(compact: &Compact<'_>, iss: &str) -> Result<Credential, AuthError> {
    let jti: Option<&str> = claims::text(&compact.payload, "jti")?;
    Ok(match jti {
        Some(jti) => credential(CredentialKind::Jwt, &[iss.as_bytes(), jti.as_bytes()]),
        None => credential(CredentialKind::Jwt, &[compact.signed.as_bytes()]),
    })
}

/// Longest id of a party, key or token that is accepted, bytes.
pub(crate) const ID_MAX_BYTES: usize = 512;

/// Why `id` cannot name anything. Ids become parts of keys, records and log lines.
pub(crate) fn id_fault(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("it is empty")
    } else if id.len() > ID_MAX_BYTES {
        Some("it is longer than 512 bytes")
    } else if id.chars().any(char::is_control) {
        Some("it has control characters")
    } else {
        None
    }
}

/// The text of a string that can name something.
pub(crate) fn id_text<'a>(node: &'a Node, name: &str) -> Result<&'a str, AuthError> {
    let text =
        node.as_str().ok_or_else(|| AuthError::claim_invalid(name, "it must be a string"))?;
    match id_fault(text) {
        Some(why) => Err(AuthError::claim_invalid(name, why)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_end_where_they_say() {
        assert_eq!(id_fault(&"x".repeat(ID_MAX_BYTES)), None);
        assert!(id_fault(&"x".repeat(ID_MAX_BYTES + 1)).is_some());
        assert!(id_fault("").is_some());
        assert!(id_fault("a\nb").is_some());
        assert_eq!(id_fault("alice@example.com"), None);
    }
}
