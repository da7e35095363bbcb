//! The public keys of an issuer, and the algorithms they may be used with.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use lictor_proto::json::{Node, scan};
use sha2::{Digest as _, Sha256};

use crate::error::shown;

/// Largest key set that is read, bytes.
pub const JWKS_MAX_BYTES: usize = 256 * 1024;
/// Most keys of one set.
pub const JWKS_MAX_KEYS: usize = 64;
/// Smallest RSA modulus, bits.
pub const RSA_MIN_BITS: usize = 2048;
/// Largest RSA modulus, bits.
pub const RSA_MAX_BITS: usize = 8192;
/// Smallest RSA public exponent; smaller ones have a history of forgeries.
const RSA_MIN_EXPONENT: u64 = 65_537;
/// The `use` of keys for signatures of any kind.
const USE_SIG: &str = "sig";
/// The `use` of keys for the signatures of SPIFFE documents.
const USE_SVID: &str = "jwt-svid";

/// A signature algorithm that may be believed. Symmetric algorithms and `none`
/// are not in the list, so no configuration can allow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// RSA-PSS with SHA-384.
    Ps384,
    /// RSA-PSS with SHA-512.
    Ps512,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 9] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];
    /// What an issuer may use where nothing is configured.
    pub const DEFAULT: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Rs256, Self::Ps256];

    /// The name in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The algorithm called `name`, upper and lower case as registered. `Ed25519`
    /// is the newer name of the one curve that `EdDSA` means here (RFC 9864).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }
}

/// Why a key set was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// More than [`JWKS_MAX_BYTES`].
    #[error("the key set has {bytes} bytes and at most {JWKS_MAX_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not strict JSON.
    #[error("the key set is not acceptable JSON: {0}")]
    Json(String),
    /// No array `keys`.
    #[error("the key set has no list `keys`: is it a JWKS document?")]
    NoKeys,
    /// More than [`JWKS_MAX_KEYS`].
    #[error("the key set has {count} keys and at most {JWKS_MAX_KEYS} are read")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A key that is meant for signatures cannot be used.
    #[error("key {index} of the set is not acceptable: {why}")]
    Key {
        /// Position, from 0.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two keys of the same name.
    #[error("the key set has two keys `{kid}`: which one signed could not be told")]
    DuplicateKid {
        /// The name.
        kid: String,
    },
    /// Nothing to verify with.
    #[error(
        "the key set has no key for signatures of a kind that is read (OKP Ed25519, EC P-256 or P-384, RSA)"
    )]
    NoneUsable,
}

/// The parsed key set of an issuer. Encryption keys and kinds that are not known
/// are passed over, as RFC 7517 asks.
#[derive(Debug, Clone)]
pub struct Jwks {
    keys: Vec<Key>,
    /// SHA-256 of the document.
    digest: [u8; 32],
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    /// For SPIFFE documents only (`use` is `jwt-svid`).
    svid: bool,
    /// What the key may verify: its kind, narrowed by its own `alg`.
    verifiers: Vec<(Algorithm, Verifier)>,
}

#[derive(Debug, Clone)]
enum Verifier {
    Ed25519(Box<VerifyingKey>),
    Other(ParsedPublicKey),
}

impl Jwks {
    /// Reads a JWKS document (RFC 7517).
    ///
    /// # Errors
    /// [`JwksError`]: not strict JSON, too large, private or weak keys, a `kid`
    /// twice, or nothing to verify with.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        if bytes.len() > JWKS_MAX_BYTES {
            return Err(JwksError::TooLarge { bytes: bytes.len() });
        }
        let node = scan(bytes).map_err(|error| JwksError::Json(error.to_string()))?;
        let Some(list) = node.get("keys") else {
            return Err(JwksError::NoKeys);
        };
        let entries = list.items();
        if entries.len() > JWKS_MAX_KEYS {
            return Err(JwksError::TooMany { count: entries.len() });
        }
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let key = Key::read(entry).map_err(|why| JwksError::Key { index, why })?;
            let Some(key) = key else { continue };
            if key.kid.is_some() && keys.iter().any(|other| other.kid == key.kid) {
                let kid = shown(key.kid.as_deref().unwrap_or_default());
                return Err(JwksError::DuplicateKid { kid });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(JwksError::NoneUsable);
        }
        Ok(Self { keys, digest: Sha256::digest(bytes).into() })
    }

    /// The names of its keys, in their order and fit for a log.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.iter().filter_map(|key| key.kid.as_deref().map(shown)).collect()
    }

    /// Tells one document from another.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The key of that name for tokens that are no SPIFFE documents.
    #[cfg(test)]
    pub(crate) fn by_kid(&self, kid: &str) -> Option<&Key> {
        self.named(kid, false)
    }

    /// The key of that name for tokens that are SPIFFE documents (`svid`), or are not.
    pub(crate) fn named(&self, kid: &str, svid: bool) -> Option<&Key> {
        self.of_kind(svid).find(|key| key.kid.as_deref() == Some(kid))
    }

    /// The only key of the set for tokens that are SPIFFE documents (`svid`), or are not.
    pub(crate) fn single(&self, svid: bool) -> Option<&Key> {
        let mut keys = self.of_kind(svid);
        keys.next().filter(|_| keys.next().is_none())
    }

    fn of_kind(&self, svid: bool) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| svid || !key.svid)
    }
}

impl Key {
    /// `None`: not a signature key of a kind that is read.
    pub(crate) fn read(entry: &Node) -> Result<Option<Self>, &'static str> {
        if !entry.is_object() {
            return Err("it is not an object");
        }
        if entry.get("d").is_some() {
            return Err("it holds a private key; publish only the public half and replace the key");
        }
        if !for_signatures(entry) {
            return Ok(None);
        }
        let kid = match entry.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or("`kid` is not a string")?.to_owned()),
        };
        let Some(mut verifiers) = verifiers(entry)? else {
            return Ok(None);
        };
        if let Some(alg) = entry.get("alg") {
            let alg = alg.as_str().and_then(Algorithm::from_name);
            verifiers.retain(|(own, _)| Some(*own) == alg);
        }
        let svid = entry.get("use").and_then(Node::as_str) == Some(USE_SVID);
        Ok(Some(Self { kid, svid, verifiers }).filter(|key| !key.verifiers.is_empty()))
    }

    /// Whether the key can have made signatures of `alg`.
    pub(crate) fn fits(&self, alg: Algorithm) -> bool {
        self.verifiers.iter().any(|(own, _)| *own == alg)
    }

    pub(crate) fn verify(&self, alg: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self.verifiers.iter().find(|(own, _)| *own == alg) {
            Some((_, Verifier::Ed25519(key))) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Some((_, Verifier::Other(key))) => key.verify_sig(message, signature).is_ok(),
            None => false,
        }
    }
}

/// `use` and `key_ops` allow verification, or are absent.
fn for_signatures(entry: &Node) -> bool {
    let by_use = entry
        .get("use")
        .is_none_or(|value| value.as_str().is_some_and(|name| [USE_SIG, USE_SVID].contains(&name)));
    let by_ops = entry
        .get("key_ops")
        .is_none_or(|ops| ops.items().iter().any(|op| op.as_str() == Some("verify")));
    by_use && by_ops
}

fn verifiers(entry: &Node) -> Result<Option<Vec<(Algorithm, Verifier)>>, &'static str> {
    let text = |name: &str| entry.get(name).and_then(Node::as_str);
    match (text("kty"), text("crv")) {
        (Some("OKP"), Some("Ed25519")) => ed25519(entry).map(Some),
        (Some("EC"), Some("P-256")) => {
            ec(entry, 32, Algorithm::Es256, &ECDSA_P256_SHA256_FIXED).map(Some)
        }
        (Some("EC"), Some("P-384")) => {
            ec(entry, 48, Algorithm::Es384, &ECDSA_P384_SHA384_FIXED).map(Some)
        }
        (Some("RSA"), _) => rsa(entry).map(Some),
        _ => Ok(None),
    }
}

fn bytes(entry: &Node, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = entry.get(name).and_then(Node::as_str).ok_or("a number of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a number of the key is not base64url without padding")
}

fn ed25519(entry: &Node) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
    let x: [u8; 32] = bytes(entry, "x")?.try_into().map_err(|_| "`x` is not 32 bytes")?;
    let key = VerifyingKey::from_bytes(&x).map_err(|_| "`x` is not a point of the curve")?;
    if key.is_weak() {
        return Err("it has small order, so its signatures prove nothing");
    }
    Ok(vec![(Algorithm::EdDsa, Verifier::Ed25519(Box::new(key)))])
}

fn ec(
    entry: &Node,
    coordinate_bytes: usize,
    alg: Algorithm,
    params: &'static dyn VerificationAlgorithm,
) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
    let (x, y) = (bytes(entry, "x")?, bytes(entry, "y")?);
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return Err("`x` or `y` has the wrong length for the curve");
    }
    let mut point = vec![4u8];
    point.extend_from_slice(&x);
    point.extend_from_slice(&y);
    let key = ParsedPublicKey::new(params, &point).map_err(|_| "it is not a point of the curve")?;
    Ok(vec![(alg, Verifier::Other(key))])
}

const RSA_ALGORITHMS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

fn rsa(entry: &Node) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
    let (n, e) = (bytes(entry, "n")?, bytes(entry, "e")?);
    let bits = match n.first() {
        Some(0) | None => return Err("`n` is empty or starts with a zero byte"),
        Some(first) => n.len() * 8 - first.leading_zeros() as usize,
    };
    if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
        return Err("`n` must have 2048 to 8192 bits");
    }
    let exponent = match e.len() {
        1..=4 => e.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte)),
        _ => 0,
    };
    if exponent < RSA_MIN_EXPONENT || exponent % 2 == 0 {
        return Err("`e` must be odd and from 65537 to 32 bits");
    }
    let parts = RsaPublicKeyComponents { n, e };
    let parse = |(alg, params): (Algorithm, &'static RsaParameters)| {
        let key = parts.to_parsed_public_key(params).map_err(|_| "it is not an RSA key")?;
        Ok((alg, Verifier::Other(key)))
    };
    RSA_ALGORITHMS.into_iter().map(parse).collect()
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
