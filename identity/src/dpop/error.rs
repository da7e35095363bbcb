//! Why a proof of possession was refused.

/// Why a proof of possession was refused. Messages never repeat the proof or the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DpopError {
    /// A bound token without a proof.
    #[error("the token came with the scheme `DPoP` and no proof: send the header `DPoP`")]
    Missing,
    /// A token without `cnf.jkt` sent as if it were bound.
    #[error(
        "the token is bound to no key (`cnf.jkt`): send it as `Bearer`, or request a bound one"
    )]
    Unbound,
    /// The issuer's tokens must be bound.
    #[error("this issuer's tokens are accepted only when bound to a key: request one with DPoP")]
    Required,
    /// Not a proof, or not readable in exactly one way.
    #[error("the header `DPoP` is not a proof: {why}")]
    Invalid {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not an algorithm that is verified, or not one of the key's.
    #[error(
        "the proof's algorithm is not accepted: use one of `algs` (as EdDSA, ES256, RS256) with a key of that kind"
    )]
    AlgorithmRefused,
    /// Not a public key for signatures.
    #[error("the proof's `jwk` is not acceptable: {why}")]
    KeyInvalid {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The signature does not hold.
    #[error("the proof's signature does not hold")]
    SignatureInvalid,
    /// For another method.
    #[error("the proof's `htm` is not the method of this request")]
    MethodWrong,
    /// For another URL.
    #[error("the proof's `htu` is not the URL of this request: is `public_url` what callers use?")]
    UrlWrong,
    /// For another token.
    #[error("the proof's `ath` is not the hash of the token beside it")]
    TokenWrong,
    /// By another key than the token's.
    #[error("the proof was made with another key than the one that the token is bound to")]
    KeyWrong,
    /// Made too long ago.
    #[error("the proof is too old: make a new one for every request")]
    Expired,
    /// Made in the future.
    #[error("the proof's `iat` is in the future: compare the caller's clock with ours")]
    NotYetValid,
    /// Without the nonce that it must have.
    #[error("the proof has no `nonce`: make one with the value of `DPoP-Nonce`")]
    NonceMissing {
        /// The nonce to use.
        nonce: String,
    },
    /// With another nonce than ours, or an old one.
    #[error(
        "the proof's `nonce` is not a present one of ours: make one with the value of `DPoP-Nonce`"
    )]
    NonceWrong {
        /// The nonce to use.
        nonce: String,
    },
    /// Used before.
    #[error("the proof was used before: make a new one for every request")]
    Replayed,
    /// No room to remember it, so that it could be used again.
    #[error("too many proofs are in use to remember one more: try again later")]
    MemoryFull,
}

impl DpopError {
    /// The reason id of this refusal.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Missing => "dpop_missing",
            Self::Unbound => "dpop_unbound",
            Self::Required => "dpop_required",
            Self::Invalid { .. } => "dpop_invalid",
            Self::AlgorithmRefused => "dpop_algorithm_refused",
            Self::KeyInvalid { .. } => "dpop_key_invalid",
            Self::SignatureInvalid => "dpop_signature_invalid",
            Self::MethodWrong => "dpop_method_wrong",
            Self::UrlWrong => "dpop_url_wrong",
            Self::TokenWrong => "dpop_token_wrong",
            Self::KeyWrong => "dpop_key_wrong",
            Self::Expired => "dpop_expired",
            Self::NotYetValid => "dpop_not_yet_valid",
            Self::NonceMissing { .. } => "dpop_nonce_missing",
            Self::NonceWrong { .. } => "dpop_nonce_wrong",
            Self::Replayed => "dpop_replayed",
            Self::MemoryFull => "dpop_memory_full",
        }
    }

    /// Whether it is the proof that is wrong, rather than the token beside it.
    #[must_use]
    pub fn is_about_proof(&self) -> bool {
        !matches!(self, Self::Unbound | Self::Required)
    }

    /// The nonce that the next proof must carry, where that would help.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        match self {
            Self::NonceMissing { nonce } | Self::NonceWrong { nonce } => Some(nonce),
            _ => None,
        }
    }
}
