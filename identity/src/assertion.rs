//! What an enforcement point tells the server behind it instead of passing on the
//! caller's token: who, through whom, for which decision, and for how short a time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use crate::jwt::{DELEGATION_MAX_ACTORS, id_fault};
use crate::keys::{self, KeyError};

/// Longest life of an assertion, seconds.
pub const ASSERTION_MAX_TTL_S: u32 = 60;

/// What is asserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion<'a> {
    /// On whose authority.
    pub sub: &'a str,
    /// The actors, the agent first, then the delegation as in a call. May be empty.
    pub act: &'a [&'a str],
    /// The one server that it is for.
    pub aud: &'a str,
    /// The decision that permits the call.
    pub decision_id: &'a str,
    /// The tool or model that is called.
    pub tool: &'a str,
    /// `sha256:…` of the arguments.
    pub args_digest: &'a str,
    /// How long it holds, seconds, 1 to [`ASSERTION_MAX_TTL_S`].
    pub ttl_s: u32,
}

/// Why an assertion could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not a name.
    #[error("`{name}` of the assertion is not acceptable: {why}")]
    Text {
        /// The member.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too long or no time at all.
    #[error("an assertion holds for 1 to {ASSERTION_MAX_TTL_S} seconds, not {ttl_s}")]
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
}

/// Makes assertions. Holds the private key, which is wiped when dropped.
pub struct AssertionMinter {
    key: SigningKey,
    kid: String,
    issuer: String,
    /// The header of every assertion, encoded.
    header: String,
}

impl fmt::Debug for AssertionMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionMinter")
            .field("issuer", &self.issuer)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl AssertionMinter {
    /// A minter with an Ed25519 key in PKCS#8 PEM.
    ///
    /// # Errors
    /// [`AssertionError::Key`], or an `issuer` that is not a name.
    pub fn new(private_pem: &str, issuer: &str) -> Result<Self, AssertionError> {
        Self::from_key(keys::parse_signing(private_pem, "the assertion key")?, issuer)
    }

    /// A minter with a loaded key.
    ///
    /// # Errors
    /// An `issuer` that is not a name.
    pub fn from_key(key: SigningKey, issuer: &str) -> Result<Self, AssertionError> {
        check("iss", issuer)?;
        let kid = keys::key_id(&key.verifying_key());
        let header = json!({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        Ok(Self { key, kid, issuer: issuer.to_owned(), header })
    }

    /// The key's short name, as in the header of every assertion.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A signed token. `jti` must be new each time; `now_ms` is unix milliseconds,
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
        let payload = self.payload(assertion, now_ms, jti)?.to_string();
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn payload(&self, a: &Assertion<'_>, now_ms: i64, jti: &str) -> Result<Value, AssertionError> {
        if !(1..=ASSERTION_MAX_TTL_S).contains(&a.ttl_s) {
            return Err(AssertionError::Ttl { ttl_s: a.ttl_s });
        }
        let now_s = u64::try_from(now_ms / 1000).map_err(|_| AssertionError::Clock)?;
        let texts = [
            ("sub", a.sub),
            ("aud", a.aud),
            ("decision_id", a.decision_id),
            ("tool", a.tool),
            ("args_digest", a.args_digest),
            ("jti", jti),
        ];
        let mut payload = json!({
            "iss": self.issuer,
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + u64::from(a.ttl_s),
        });
        for (name, text) in texts {
            check(name, text)?;
            insert(&mut payload, name, text.into());
        }
        if let Some(act) = actors(a.act)? {
            insert(&mut payload, "act", act);
        }
        Ok(payload)
    }

    /// The key set by which servers verify assertions (RFC 7517).
    #[must_use]
    pub fn jwks_json(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": "EdDSA",
        });
        json!({ "keys": [key] }).to_string()
    }
}

fn insert(payload: &mut Value, name: &str, value: Value) {
    if let Some(members) = payload.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// `{"sub": agent, "act": {"sub": …}}`, the agent outermost (RFC 8693).
fn actors(chain: &[&str]) -> Result<Option<Value>, AssertionError> {
    if chain.len() > DELEGATION_MAX_ACTORS {
        return Err(AssertionError::TooManyActors);
    }
    let mut inner: Option<Value> = None;
    for actor in chain.iter().rev() {
        check("act.sub", actor)?;
        inner = Some(match inner {
            Some(act) => json!({"sub": actor, "act": act}),
            None => json!({"sub": actor}),
        });
    }
    Ok(inner)
}

fn check(name: &'static str, text: &str) -> Result<(), AssertionError> {
    match id_fault(text) {
        Some(why) => Err(AssertionError::Text { name, why }),
        None => Ok(()),
    }
}
