//! A key that signs tokens: Ed25519 or P-256, told by the key itself.

use std::fmt;
use std::path::Path;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{Document, SecretDocument};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use crate::files;
use crate::jwks::Algorithm;
use crate::keys::{self, KeyError, KeyPair, Purpose};
use crate::secret::Secret;

/// Label of a private key in PKCS#8.
const PRIVATE_LABEL: &str = "PRIVATE KEY";
/// Label of a public key.
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// Bytes of one coordinate of a point on P-256.
const COORDINATE_BYTES: usize = 32;

/// What a token key can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TokenAlgorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, 3.4), for servers that do not know Ed25519.
    Es256,
}

impl TokenAlgorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::EdDsa, Self::Es256];

    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "eddsa",
            Self::Es256 => "es256",
        }
    }

    /// The algorithm called `name` on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// As it stands in a token's header.
    #[must_use]
    pub fn jose(self) -> &'static str {
        match self {
            Self::EdDsa => Algorithm::EdDsa.as_str(),
            Self::Es256 => Algorithm::Es256.as_str(),
        }
    }
}

/// The private half, wiped when dropped: the one by its own crate, the other by the library
/// that holds it.
enum Private {
    Ed25519(SigningKey),
    P256(EcdsaKeyPair),
}

/// A private key that signs tokens.
pub struct TokenKey {
    private: Private,
    kid: String,
}

impl fmt::Debug for TokenKey {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl From<SigningKey> for TokenKey {
    fn from(key: SigningKey) -> Self {
        let kid = keys::key_id(&key.verifying_key());
        Self { private: Private::Ed25519(key), kid }
    }
}

impl TokenKey {
    /// Reads a private key in PKCS#8 PEM; `from` says where it came from, for the message.
    ///
    /// # Errors
    /// [`KeyError::NotTokenKey`].
    pub fn parse(pem: &str, from: &str) -> Result<Self, KeyError> {
        if let Ok(key) = keys::parse_signing(pem, from) {
            return Ok(key.into());
        }
        let refused = || KeyError::NotTokenKey { from: from.to_owned() };
        let (label, der) = SecretDocument::from_pem(pem.trim()).map_err(|_| refused())?;
        if label != PRIVATE_LABEL {
            return Err(refused());
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_bytes());
        Ok(Self::of_p256(pair.map_err(|_| refused())?))
    }

    /// Loads a private key from a file that nobody else may read.
    ///
    /// # Errors
    /// [`FileError::OpenToOthers`](files::FileError::OpenToOthers) for a file with permissions
    /// for group or others; otherwise [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::parse(&files::read_private(path)?, &format!("`{}`", path.display()))
    }

    fn of_p256(pair: EcdsaKeyPair) -> Self {
        let kid = keys::id_of(pair.public_key().as_ref());
        Self { private: Private::P256(pair), kid }
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> TokenAlgorithm {
        match self.private {
            Private::Ed25519(_) => TokenAlgorithm::EdDsa,
            Private::P256(_) => TokenAlgorithm::Es256,
        }
    }

    /// Its short name: the first 16 hex digits of the SHA-256 of its public half (of a P-256 key
    /// the uncompressed point).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JSON Web Key (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.private {
            Private::Ed25519(key) => {
                let x = encode(key.verifying_key().as_bytes());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
            Private::P256(pair) => {
                // After the byte that says "uncompressed".
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(COORDINATE_BYTES.min(point.len()));
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), self.kid.as_str().into());
            members.insert("use".to_owned(), "sig".into());
            members.insert("alg".to_owned(), self.algorithm().jose().into());
        }
        jwk
    }

    /// The public half as SPKI PEM.
    ///
    /// # Errors
    /// [`KeyError::Encode`].
    pub fn public_pem(&self) -> Result<String, KeyError> {
        match &self.private {
            Private::Ed25519(key) => keys::public_pem(&key.verifying_key()),
            Private::P256(pair) => {
                let der = pair.public_key().as_der().map_err(|_| KeyError::Encode)?;
                let document = Document::try_from(der.as_ref()).map_err(|_| KeyError::Encode)?;
                document.to_pem(PUBLIC_LABEL, LineEnding::LF).map_err(|_| KeyError::Encode)
            }
        }
    }

    /// The signature over `message` as it stands in a token.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.private {
            Private::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
            Private::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                Ok(signature.map_err(|_| KeyError::Sign)?.as_ref().to_vec())
            }
        }
    }
}

/// A new random pair for assertions.
///
/// # Errors
/// [`KeyError`] where the system has no randomness.
pub fn generate(algorithm: TokenAlgorithm) -> Result<KeyPair, KeyError> {
    match algorithm {
        TokenAlgorithm::EdDsa => keys::generate(Purpose::Assertion),
        TokenAlgorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            let pair = pair.map_err(|_| KeyError::Encode)?;
            let der = pair.to_pkcs8v1().map_err(|_| KeyError::Encode)?;
            let document = SecretDocument::try_from(der.as_ref()).map_err(|_| KeyError::Encode)?;
            let pem =
                document.to_pem(PRIVATE_LABEL, LineEnding::LF).map_err(|_| KeyError::Encode)?;
            let key = TokenKey::of_p256(pair);
            Ok(KeyPair {
                purpose: Purpose::Assertion,
                private_pem: Secret::new(pem),
                public_pem: key.public_pem()?,
                kid: key.kid,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;

    use super::*;
    use crate::jwks::Jwks;

    #[test]
    fn the_kind_is_told_by_the_key() {
        for algorithm in TokenAlgorithm::ALL {
            let pair = generate(algorithm).unwrap();
            let key = TokenKey::parse(&pair.private_pem, "it").unwrap();
            assert_eq!((key.algorithm(), key.kid()), (algorithm, pair.kid.as_str()));
            assert_eq!(key.public_pem().unwrap(), pair.public_pem);
            assert_eq!(TokenAlgorithm::from_name(algorithm.as_str()), Some(algorithm));
        }
    }

    #[test]
    fn what_is_signed_is_verified_with_the_published_key() {
        for algorithm in TokenAlgorithm::ALL {
            let pair = generate(algorithm).unwrap();
            let key = TokenKey::parse(&pair.private_pem, "it").unwrap();
            let set = json!({"keys": [key.jwk()]}).to_string();
            let jwks = Jwks::parse(set.as_bytes()).unwrap();
            let published = jwks.named(key.kid(), false).unwrap();
            let jose = Algorithm::from_name(algorithm.jose()).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(published.verify(jose, b"message", &signature));
            assert!(!published.verify(jose, b"massage", &signature));
        }
    }

    #[test]
    fn other_keys_are_refused_without_being_shown() {
        let other = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let der = other.to_pkcs8v1().unwrap();
        let document = SecretDocument::try_from(der.as_ref()).unwrap();
        let p384 = document.to_pem(PRIVATE_LABEL, LineEnding::LF).unwrap();
        let pair = generate(TokenAlgorithm::Es256).unwrap();
        let relabelled = pair.private_pem.replace("PRIVATE", "EC PRIVATE");
        for bad in ["", "secret", &p384, &pair.public_pem, &relabelled] {
            let error = TokenKey::parse(bad, "the key").unwrap_err();
            assert!(matches!(error, KeyError::NotTokenKey { .. }), "{error}");
            assert!(bad.is_empty() || !error.to_string().contains(bad.trim()), "{error}");
        }
    }

    #[test]
    fn debug_shows_the_key_id_only() {
        let pair = generate(TokenAlgorithm::Es256).unwrap();
        let shown = format!("{:?}", TokenKey::parse(&pair.private_pem, "it").unwrap());
        assert_eq!(shown, format!("TokenKey {{ algorithm: Es256, kid: \"{}\", .. }}", pair.kid));
    }
}
