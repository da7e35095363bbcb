//! Signed tokens (RFC 7519, RFC 9068, RFC 8693, JWT-SVID).
//!
//! # Layout
//!
//! - [`compact`]: text to header, payload and signature; strict.
//! - [`header`]: algorithm and key id; whatever else a header could do is refused.
//! - [`issuers`]: whose keys a token is held against.
//! - [`claims`]: issuer, audience, times, what an issuer's tokens must say.
//! - [`parties`]: subject, agent and delegation; [`svid`]: those of a SPIFFE document.
//! - [`transaction`]: transaction tokens, which prove nobody.
//! - [`ids`]: what can name something.
//!
//! The order matters: nothing of the payload but `iss`, and `sub` where that names a trust
//! domain, is used before the signature holds, so an outsider learns nothing from the refusals.

mod claims;
mod compact;
mod header;
mod ids;
mod issuers;
mod parties;
mod svid;
mod transaction;

use std::sync::Arc;

use lictor_proto::call::{Credential, CredentialKind};

use crate::credential::issued;
use crate::dpop::DpopRule;
use crate::dpop::binding::Binding;
use crate::error::{AuthError, shown};
use crate::identity::Identity;
use crate::jwks::{Jwks, Key};
use crate::keyring::Keys;
use crate::settings::{IssuerKind, IssuerSettings, Profile};

pub(crate) use claims::CLOCK_LEEWAY_MS;
pub(crate) use compact::Compact;
pub(crate) use ids::{id_fault, id_text};
pub(crate) use issuers::Issuers;
pub(crate) use parties::DELEGATION_MAX_ACTORS;
pub(crate) use transaction::{Transaction, transaction};

use header::Header;

/// What RFC 9068 requires of an access token.
const ACCESS_TOKEN_CLAIMS: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

/// A token that holds. Whoever sent it may still have to prove that it is theirs.
pub(crate) struct Verified {
    pub(crate) identity: Identity,
    pub(crate) binding: Binding,
    pub(crate) dpop: DpopRule,
}

/// Verifies `token` and reads who it speaks for; `tenant` holds where the issuer
/// has none of its own. The keys that verified it must be asked before a memory of this is believed.
pub(crate) fn identify(
    token: &str,
    issuers: &Issuers,
    tenant: &str,
    now_ms: i64,
) -> Result<(Verified, Arc<Keys>), AuthError> {
    let compact = Compact::parse(token)?;
    let header = Header::read(&compact.header)?;
    claims::refuse_variants(&compact.payload)?;
    let issuer = issuers.of_token(&compact.payload)?;
    header.check_type(types(issuer))?;
    let keys = verify(&compact, &header, issuer, now_ms)?;
    claims::refuse_reserved(&compact.payload)?;
    let binding = Binding::read(&compact.payload)?;
    claims::check_audience(&compact.payload, issuer)?;
    let expires_ms = claims::check_times(&compact.payload, issuer.max_lifetime_s, now_ms)?;
    if issuer.profile == Profile::AccessToken {
        claims::require(&compact.payload, &ACCESS_TOKEN_CLAIMS)?;
    }
    claims::check_required(&compact.payload, &issuer.required_claims)?;
    let named = claims::tenant(&compact.payload, issuer)?;
    let tenant = named.or_else(|| issuer.tenant.clone()).unwrap_or_else(|| tenant.to_owned());
    let kind = match issuer.kind {
        IssuerKind::Spiffe { .. } => CredentialKind::Spiffe,
        IssuerKind::Tokens | IssuerKind::Transactions => CredentialKind::Jwt,
    };
    let credential = credential_id(&compact, kind, &issuer.iss)?;
    let parties = match kind {
        CredentialKind::Spiffe => svid::read(compact.payload)?,
        _ => parties::read(compact.payload, &issuer.claims, &issuer.iss)?,
    };
    let identity = Identity {
        tenant,
        subject: Some(parties.subject),
        agent: parties.agent,
        delegation: parties.delegation,
        credential,
        expires_ms: Some(expires_ms),
        roles: Vec::new(),
    };
    Ok((Verified { identity, binding, dpop: issuer.dpop.clone() }, keys))
}

/// The types of an issuer's tokens. Keeps tokens made for other ends out.
fn types(issuer: &IssuerSettings) -> &'static [Option<&'static str>] {
    match (&issuer.kind, issuer.profile) {
        (IssuerKind::Spiffe { .. }, _) => &[None, Some("jose"), Some("jwt")],
        (_, Profile::AccessToken) => &[Some("at+jwt")],
        (_, Profile::Jwt) => &[None, Some("jwt"), Some("at+jwt")],
    }
}

fn verify(
    compact: &Compact<'_>,
    header: &Header,
    issuer: &IssuerSettings,
    now_ms: i64,
) -> Result<Arc<Keys>, AuthError> {
    let refused = || AuthError::AlgorithmRefused { alg: header.algorithm.as_str().to_owned() };
    if !issuer.algorithms.contains(&header.algorithm) {
        return Err(refused());
    }
    let keys = issuer.keys.at(now_ms, &issuer.iss)?;
    let svid = matches!(issuer.kind, IssuerKind::Spiffe { .. });
    let key = find_key(&keys, header.kid.as_deref(), svid)?;
    if !key.fits(header.algorithm) {
        return Err(refused());
    }
    if key.verify(header.algorithm, compact.signed.as_bytes(), &compact.signature) {
        Ok(keys)
    } else {
        Err(AuthError::SignatureInvalid)
    }
}

/// Whether `token` does not say which key it was signed with.
pub(crate) fn is_unnamed(token: &str) -> bool {
    let header = Compact::parse(token).ok().and_then(|compact| Header::read(&compact.header).ok());
    header.is_some_and(|header| header.kid.is_none())
}

fn find_key<'a>(jwks: &'a Jwks, kid: Option<&str>, svid: bool) -> Result<&'a Key, AuthError> {
    match kid {
        Some(kid) => jwks.named(kid, svid).ok_or_else(|| AuthError::KeyUnknown { kid: shown(kid) }),
        None => jwks.single(svid).ok_or(AuthError::KidMissing),
    }
}

/// The issuer's own id of the token where it has one. Otherwise a digest of what
/// was signed, not of the whole text: some signatures can be rewritten by anyone
/// into another valid one, and the same token must keep one name.
fn credential_id(
    compact: &Compact<'_>,
    kind: CredentialKind,
    iss: &str,
) -> Result<Credential, AuthError> {
    let jti: Option<&str> = claims::text(&compact.payload, "jti")?;
    Ok(match jti {
        Some(jti) => issued(kind, iss, &[iss.as_bytes(), jti.as_bytes()]),
        None => issued(kind, iss, &[compact.signed.as_bytes()]),
    })
}
