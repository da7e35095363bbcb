//! Proof that the caller holds the key that its token is bound to (RFC 9449, RFC 8705).
//!
//! # Layout
//!
//! - `thumbprint`: the name of a key (RFC 7638).
//! - `binding`: what a token is bound to (`cnf`).
//! - `proof`: one proof, held against the request that it came with; `url` compares addresses.
//! - `replay`: which proofs were used; `nonce`: freshness without memory.
//! - [`error`]: why a proof was refused.

pub(crate) mod binding;
pub mod error;
mod nonce;
mod proof;
pub(crate) mod replay;
pub(crate) mod thumbprint;
mod url;

pub use nonce::{NONCE_SLOT_MS, NonceKey};
pub(crate) use proof::check;
pub use proof::{ALGORITHMS, DPOP_JTI_MAX_BYTES, DPOP_MAX_AGE_MS, DPOP_MAX_BYTES};

/// What an issuer's tokens must come with. A token that is bound to a key always needs a proof.
#[derive(Debug, Clone, Default)]
pub struct DpopRule {
    /// Whether only tokens that are bound to a key (`cnf.jkt`) are accepted.
    pub required: bool,
    /// Where proofs must carry a nonce of ours, so that none can be made in advance: the key of
    /// those nonces.
    pub nonces: Option<NonceKey>,
}
