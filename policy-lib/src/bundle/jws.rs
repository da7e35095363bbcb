//! Compact JWS with Ed25519 and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Deserialize;

use super::json::{self, JsonError};

/// The two names of the one algorithm, old and new.
const ALGORITHMS: [&str; 2] = ["EdDSA", "Ed25519"];
/// Longest key id, in bytes.
pub(crate) const KID_BYTES_MAX: usize = 128;

/// Why a token is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsError {
    #[error("a signature is not a compact JWS: {0}")]
    Form(&'static str),
    #[error("the header of a signature is refused: {0}")]
    Header(JsonError),
    #[error("a signature has the type `{found}`, not `{wanted}`")]
    Type { found: String, wanted: &'static str },
    #[error("a signature states the algorithm `{0}`, its key has `EdDSA`")]
    Algorithm(String),
    #[error("a signature has a key id that is empty or too long")]
    KeyId,
}

/// Everything that a header may have: a `crit`, `jwk`, `jku`, `x5u` or `x5c`
/// would let the token choose how it is verified.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<String>,
}

/// A token that was taken apart, not verified.
pub(crate) struct Token<'a> {
    pub(crate) kid: String,
    pub(crate) payload: Vec<u8>,
    signed: &'a str,
    signature: Signature,
}

/// The type of a bundle's signatures, which may also be left out.
const JWT: &str = "JWT";

impl<'a> Token<'a> {
    /// A bundle's signature.
    pub(crate) fn parse(compact: &'a str) -> Result<Self, JwsError> {
        Self::of(compact, JWT, Some(JWT))
    }

    /// A token of the type `typ`, which it must state: what was signed for one use must not be
    /// of any other.
    pub(crate) fn parse_typed(compact: &'a str, typ: &'static str) -> Result<Self, JwsError> {
        Self::of(compact, typ, None)
    }

    fn of(compact: &'a str, wanted: &'static str, absent: Option<&str>) -> Result<Self, JwsError> {
        let (signed, signature) =
            compact.rsplit_once('.').ok_or(JwsError::Form("it has no dots"))?;
        let (header, payload) =
            signed.split_once('.').ok_or(JwsError::Form("it has one dot only"))?;
        let header = decode(header)?;
        let header: Header = json::from_slice(&header).map_err(JwsError::Header)?;
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(JwsError::Algorithm(header.alg));
        }
        let found = header.typ.as_deref().or(absent).unwrap_or_default();
        if found != wanted {
            return Err(JwsError::Type { found: found.to_owned(), wanted });
        }
        if header.kid.is_empty() || header.kid.len() > KID_BYTES_MAX {
            return Err(JwsError::KeyId);
        }
        let signature = Signature::from_slice(&decode(signature)?)
            .map_err(|_| JwsError::Form("its signature has not 64 bytes"))?;
        Ok(Self { kid: header.kid, payload: decode(payload)?, signed, signature })
    }

    /// Whether `key` made this token.
    pub(crate) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify_strict(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Form("a part is not unpadded base64url"))
}

/// `payload` signed by `key` under the id `kid`, as a bundle's signature.
pub(crate) fn sign(key: &SigningKey, kid: &str, payload: &[u8]) -> String {
    sign_typed(key, kid, JWT, payload)
}

/// The same of another type.
pub(crate) fn sign_typed(key: &SigningKey, kid: &str, typ: &str, payload: &[u8]) -> String {
    let kid = serde_json::Value::from(kid);
    let header = format!("{{\"alg\":\"EdDSA\",\"kid\":{kid},\"typ\":\"{typ}\"}}");
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}
