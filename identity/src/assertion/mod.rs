//! What an enforcement point tells the server behind it instead of passing on the
//! caller's token: who, through whom, for which decision, and for how short a time.
//!
//! # Layout
//!
//! - [`claims`]: what an assertion and a transaction token say.
//! - this file: the signature around it, by the key whose turn it is.

mod claims;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::jwt::DELEGATION_MAX_ACTORS;
use crate::keys::KeyError;
use crate::rotation::SigningRing;
use crate::token_key::TokenKey;

pub use claims::{Assertion, TransactionToken};

/// Longest life of an assertion and of a transaction token, seconds.
pub const ASSERTION_MAX_TTL_S: u32 = 60;
/// The type of an assertion (RFC 9068).
const ASSERTION_TYPE: &str = "at+jwt";
/// The type of a transaction token.
const TRANSACTION_TYPE: &str = "txntoken+jwt";

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not a name.
    #[error("`{name}` of the token is not acceptable: {why}")]
    Text {
        /// The member.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too long or no time at all.
    #[error("a token holds for 1 to {ASSERTION_MAX_TTL_S} seconds, not {ttl_s}")]
    Ttl {
        /// What was asked.
        ttl_s: u32,
    },
    /// More actors than anyone here would read back.
    #[error("an assertion names at most {max} actors", max = DELEGATION_MAX_ACTORS)]
    TooManyActors,
    /// A time before 1970.
    #[error("the clock is before 1970: set it")]
    Clock,
    /// A ring without a key.
    #[error("there is no key that signs now")]
    NoKey,
}

/// Makes assertions and transaction tokens. Shares the keys of a [`SigningRing`].
pub struct AssertionMinter {
    ring: Arc<SigningRing>,
    issuer: String,
}

impl fmt::Debug for AssertionMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionMinter")
            .field("issuer", &self.issuer)
            .field("ring", &self.ring)
            .finish()
    }
}

impl AssertionMinter {
    /// A minter with one key, Ed25519 or P-256, in PKCS#8 PEM.
    ///
    /// # Errors
    /// [`AssertionError::Key`], or an `issuer` that is not a name.
    pub fn new(private_pem: &str, issuer: &str) -> Result<Self, AssertionError> {
        let key = TokenKey::parse(private_pem, "the assertion key")?;
        Self::with_ring(Arc::new(SigningRing::of(key)), issuer)
    }

    /// A minter with one loaded key.
    ///
    /// # Errors
    /// An `issuer` that is not a name.
    pub fn from_key(key: SigningKey, issuer: &str) -> Result<Self, AssertionError> {
        Self::with_ring(Arc::new(SigningRing::of(key.into())), issuer)
    }

    /// A minter whose keys take turns.
    ///
    /// # Errors
    /// An `issuer` that is not a name.
    pub fn with_ring(ring: Arc<SigningRing>, issuer: &str) -> Result<Self, AssertionError> {
        claims::check("iss", issuer)?;
        Ok(Self { ring, issuer: issuer.to_owned() })
    }

    /// The keys.
    #[must_use]
    pub fn ring(&self) -> &Arc<SigningRing> {
        &self.ring
    }

    /// The short name of the key that signs at `now_ms`, as in the header of each token.
    #[must_use]
    pub fn kid(&self, now_ms: i64) -> Option<String> {
        self.ring.signer(now_ms).map(|key| key.kid().to_owned())
    }

    /// A signed assertion. `jti` must be new each time; `now_ms` is unix milliseconds,
    /// of which the token keeps whole seconds, so it may end up to one second early.
    ///
    /// # Errors
    /// [`AssertionError`].
    pub fn mint(
        &self,
        assertion: &Assertion<'_>,
        now_ms: i64,
        jti: &str,
    ) -> Result<String, AssertionError> {
        let payload = assertion.payload(&self.issuer, now_ms, jti)?;
        self.signed(ASSERTION_TYPE, &payload, now_ms)
    }

    /// A signed transaction token (draft-ietf-oauth-transaction-tokens), which goes in the header
    /// `Txn-Token` beside an assertion and is no credential. Times as in [`Self::mint`].
    ///
    /// # Errors
    /// [`AssertionError`].
    pub fn mint_transaction(
        &self,
        transaction: &TransactionToken<'_>,
        now_ms: i64,
    ) -> Result<String, AssertionError> {
        let payload = transaction.payload(&self.issuer, now_ms)?;
        self.signed(TRANSACTION_TYPE, &payload, now_ms)
    }

    fn signed(&self, typ: &str, payload: &Value, now_ms: i64) -> Result<String, AssertionError> {
        let key = self.ring.signer(now_ms).ok_or(AssertionError::NoKey)?;
        let header = json!({"alg": key.algorithm().jose(), "kid": key.kid(), "typ": typ});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(payload));
        let signature = key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The key set by which servers verify tokens at `now_ms` (RFC 7517).
    #[must_use]
    pub fn jwks_json(&self, now_ms: i64) -> String {
        self.ring.jwks_json(now_ms)
    }
}
