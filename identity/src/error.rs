//! Why a credential was refused.

use lictor_proto::json::{ScanError, ScanErrorKind};

pub use crate::dpop::error::DpopError;

/// Largest bearer text that is read, bytes.
pub const TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Most characters of a caller's own text that a message repeats.
const SHOWN_MAX_CHARS: usize = 64;

/// Why a credential was refused. Messages never repeat the credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Nothing was presented.
    #[error("no credential came with the request: send `Authorization: Bearer <token>`")]
    TokenMissing,
    /// Several credentials in the place of one.
    #[error("more than one credential came with the request: send exactly one")]
    TokenSeveral,
    /// More than [`TOKEN_MAX_BYTES`].
    #[error(
        "the token has {bytes} bytes and at most {TOKEN_MAX_BYTES} are read: have fewer claims put into it"
    )]
    TokenTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a token, or not readable in exactly one way.
    #[error("the {part} is malformed: {why}")]
    TokenMalformed {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The header names keys or extensions of its own.
    #[error(
        "the token's header has `{name}`, which is never accepted: sign with a key of the configured set and without it"
    )]
    HeaderRefused {
        /// The header member.
        name: String,
    },
    /// Not an access token by its `typ`.
    #[error("the token's type `{typ}` is not accepted: it must be `{wanted}`")]
    TypeRefused {
        /// The header's `typ`.
        typ: String,
        /// What it must be.
        wanted: String,
    },
    /// Not an allowed algorithm, or not one of the key's.
    #[error(
        "the algorithm `{alg}` is not accepted from this issuer with this key: see `algorithms`"
    )]
    AlgorithmRefused {
        /// The header's `alg`.
        alg: String,
    },
    /// No `kid` where the issuer has several keys.
    #[error("the token's header has no `kid` and its issuer has several keys: send one")]
    KidMissing,
    /// The issuer has no such key.
    #[error("the issuer has no key `{kid}`: was it rotated, or is its key set old?")]
    KeyUnknown {
        /// The header's `kid`.
        kid: String,
    },
    /// The signature does not hold.
    #[error("the token's signature does not hold")]
    SignatureInvalid,
    /// No issuer of that name is configured.
    #[error(
        "the issuer `{iss}` is not configured: add it to `identity.issuers` if it is to be believed"
    )]
    IssuerUnknown {
        /// The claim `iss`.
        iss: String,
    },
    /// Its keys were never had, or too long ago.
    #[error(
        "the keys of the issuer `{iss}` are not known at present: can its key set be reached from here?"
    )]
    IssuerUnavailable {
        /// The claim `iss`.
        iss: String,
    },
    /// Meant for others as well.
    #[error(
        "the token's `aud` names others beside us: request one for this service alone, or set `several_audiences`"
    )]
    AudienceNotSingle,
    /// Meant for somebody else.
    #[error("the token's `aud` names none of our audiences: request a token for this service")]
    AudienceWrong,
    /// A required claim is absent.
    #[error("the token has no `{claim}`: the issuer must put it in")]
    ClaimMissing {
        /// The claim.
        claim: String,
    },
    /// A claim has the wrong shape.
    #[error("the token's `{claim}` is not acceptable: {why}")]
    ClaimInvalid {
        /// The claim.
        claim: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Past its `exp`.
    #[error("the token has expired: get a new one")]
    TokenExpired,
    /// Before its `nbf` or `iat`.
    #[error("the token is not valid yet: compare the issuer's clock with ours")]
    TokenNotYetValid,
    /// A claim has none of the values that the issuer's configuration wants.
    #[error("the token's `{claim}` has none of the values that `required_claims` wants")]
    ClaimRefused {
        /// The claim.
        claim: String,
    },
    /// A tenant that the issuer may not speak for.
    #[error("the token's tenant `{tenant}` is not one of this issuer's: see `tenants`")]
    TenantRefused {
        /// The claim's value.
        tenant: String,
    },
    /// From `iat` to `exp` it is longer than the issuer's configuration allows.
    #[error(
        "the token holds for {seconds} seconds and at most {max} are accepted: see `max_lifetime_s`"
    )]
    LifetimeTooLong {
        /// How long it holds.
        seconds: u64,
        /// How long it may.
        max: u32,
    },
    /// Bound to a key whose possession was not proved.
    #[error(
        "the token is bound to a key (`cnf.jkt`) and came as a plain bearer token: send it with the scheme `DPoP` and a proof"
    )]
    TokenBound,
    /// Bound in a way that is not known here.
    #[error("the token is bound (`cnf`) in a way that is not accepted: {why}")]
    BindingUnknown {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Bound to a certificate, and none came.
    #[error(
        "the token is bound to a certificate and the connection has none: connect with that certificate"
    )]
    CertificateBindingMissing,
    /// Bound to another certificate.
    #[error(
        "the token is bound to another certificate than the connection's: request a token with this one"
    )]
    CertificateBindingWrong,
    /// The proof of possession.
    #[error(transparent)]
    Dpop(#[from] DpopError),
    /// More actors than are read.
    #[error("the token's `act` chain is longer than {max} actors", max = crate::jwt::DELEGATION_MAX_ACTORS)]
    DelegationTooDeep,
    /// An actor occurs twice.
    #[error("the token's `act` chain names `{actor}` twice")]
    DelegationLoop {
        /// The actor's `sub`.
        actor: String,
    },
    /// The outermost actor is not the one that the token permits.
    #[error("the token's `may_act` permits another actor than its `act` names")]
    ActorNotPermitted,
    /// Two transaction tokens.
    #[error("the header `Txn-Token` came more than once: send exactly one")]
    TxnTokenSeveral,
    /// The transaction token does not hold.
    #[error("the transaction token is refused: {0}")]
    TxnToken(Box<AuthError>),
    /// The transaction is somebody else's.
    #[error("the transaction token is not of the subject and tenant of the credential beside it")]
    TxnTokenMismatch,
    /// No such key.
    #[error("the API key is not known here: was it issued for this service?")]
    ApiKeyUnknown,
    /// Past its expiry.
    #[error("the API key `{id}` has expired: issue a new one")]
    ApiKeyExpired {
        /// The key's public id.
        id: String,
    },
    /// Taken back.
    #[error("the API key `{id}` was revoked: issue a new one")]
    ApiKeyRevoked {
        /// The key's public id.
        id: String,
    },
    /// No authority of ours issued it.
    #[error(
        "the certificate comes from no authority that is believed here: add its authority to `identity.certificates`"
    )]
    CertificateUnknown,
    /// Past its end, or past that of a certificate between it and its authority.
    #[error("the certificate has expired: get a new one")]
    CertificateExpired,
    /// Before its beginning.
    #[error("the certificate is not valid yet: compare its authority's clock with ours")]
    CertificateNotYetValid,
    /// Not one by which a caller can prove itself.
    #[error("the certificate is not acceptable: {why}")]
    CertificateInvalid {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a SPIFFE ID, or not in its one spelling.
    #[error("the SPIFFE ID is not acceptable: {why}")]
    SpiffeIdInvalid {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A door token that is not one of ours.
    #[error("the door token is not known here: read it again from the token file of this service")]
    TokenUnknown,
    /// A user id without roles.
    #[error("user id {uid} has no roles on this socket: give it some in `pdp.peers`")]
    PeerUnknown {
        /// The peer's user id.
        uid: u32,
    },
}

impl AuthError {
    /// The reason id of this refusal.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenSeveral => "token_several",
            Self::TokenTooLarge { .. } => "token_too_large",
            Self::TokenMalformed { .. } => "token_malformed",
            Self::HeaderRefused { .. } => "header_refused",
            Self::TypeRefused { .. } => "type_refused",
            Self::AlgorithmRefused { .. } => "algorithm_refused",
            Self::KidMissing => "kid_missing",
            Self::KeyUnknown { .. } => "key_unknown",
            Self::SignatureInvalid => "signature_invalid",
            Self::IssuerUnknown { .. } => "issuer_unknown",
            Self::IssuerUnavailable { .. } => "issuer_unavailable",
            Self::AudienceWrong => "audience_wrong",
            Self::AudienceNotSingle => "audience_not_single",
            Self::ClaimMissing { .. } => "claim_missing",
            Self::ClaimInvalid { .. } => "claim_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::ClaimRefused { .. } => "claim_refused",
            Self::TenantRefused { .. } => "tenant_refused",
            Self::LifetimeTooLong { .. } => "lifetime_too_long",
            Self::TokenBound => "token_bound",
            Self::BindingUnknown { .. } => "binding_unknown",
            Self::CertificateBindingMissing => "certificate_binding_missing",
            Self::CertificateBindingWrong => "certificate_binding_wrong",
            Self::Dpop(error) => error.id(),
            Self::ActorNotPermitted => "may_act_mismatch",
            Self::TxnTokenSeveral => "txn_token_several",
            Self::TxnToken(cause) => cause.id_in_txn_token(),
            Self::TxnTokenMismatch => "txn_token_mismatch",
            Self::DelegationTooDeep => "delegation_too_deep",
            Self::DelegationLoop { .. } => "delegation_loop",
            Self::ApiKeyUnknown => "api_key_unknown",
            Self::ApiKeyExpired { .. } => "api_key_expired",
            Self::ApiKeyRevoked { .. } => "api_key_revoked",
            Self::CertificateUnknown => "certificate_unknown",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::CertificateInvalid { .. } => "certificate_invalid",
            Self::SpiffeIdInvalid { .. } => "spiffe_id_invalid",
            Self::TokenUnknown => "token_unknown",
            Self::PeerUnknown { .. } => "peer_unknown",
        }
    }

    /// The reason id where it is the transaction token that is refused.
    fn id_in_txn_token(&self) -> &'static str {
        match self {
            Self::TokenTooLarge { .. } => "txn_token_too_large",
            Self::TypeRefused { .. } => "txn_token_type_refused",
            Self::HeaderRefused { .. } => "txn_token_header_refused",
            Self::AlgorithmRefused { .. } => "txn_token_algorithm_refused",
            Self::KidMissing | Self::KeyUnknown { .. } => "txn_token_key_unknown",
            Self::SignatureInvalid => "txn_token_signature_invalid",
            Self::IssuerUnknown { .. } => "txn_token_issuer_unknown",
            Self::IssuerUnavailable { .. } => "txn_token_issuer_unavailable",
            Self::AudienceWrong | Self::AudienceNotSingle => "txn_token_audience_wrong",
            Self::ClaimMissing { .. } => "txn_token_claim_missing",
            Self::ClaimInvalid { .. } => "txn_token_claim_invalid",
            Self::TokenExpired => "txn_token_expired",
            Self::TokenNotYetValid => "txn_token_not_yet_valid",
            Self::LifetimeTooLong { .. } => "txn_token_lifetime_too_long",
            _ => "txn_token_invalid",
        }
    }

    pub(crate) fn claim_missing(claim: &str) -> Self {
        Self::ClaimMissing { claim: shown(claim) }
    }

    pub(crate) fn claim_invalid(claim: &str, why: &'static str) -> Self {
        Self::ClaimInvalid { claim: shown(claim), why }
    }

    /// The scanner's own message may repeat parts of the text; this one does not.
    pub(crate) fn unreadable(part: &'static str, error: &ScanError) -> Self {
        let why = match error.kind {
            ScanErrorKind::Syntax(_) => "not valid JSON",
            ScanErrorKind::DuplicateKey(_) => "a member occurs twice",
            ScanErrorKind::LoneSurrogate => "a string is not valid Unicode",
            ScanErrorKind::NumberInexact(_) => "a number cannot be represented exactly",
            ScanErrorKind::TooDeep => "nested too deep",
        };
        Self::TokenMalformed { part, why }
    }
}

/// A caller's text, shortened and with control characters escaped, fit for a log.
pub(crate) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut out: String =
        chars.by_ref().take(SHOWN_MAX_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_short_and_holds_no_control_characters() {
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(shown(&"x".repeat(SHOWN_MAX_CHARS)), "x".repeat(SHOWN_MAX_CHARS));
        let long = shown(&"x".repeat(SHOWN_MAX_CHARS + 1));
        assert_eq!(long.chars().count(), SHOWN_MAX_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
