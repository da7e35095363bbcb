//! Ed25519 keys as PEM, and their short names.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::spki::{DecodePublicKey as _, EncodePublicKey as _};
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};

/// Hex digits of a key id.
const KEY_ID_HEX_DIGITS: usize = 16;

/// Why a key cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private Ed25519 key as PKCS#8 PEM.
    #[error("not a private Ed25519 key: give a PKCS#8 PEM file, as `lictor keys new` writes it")]
    Private,
    /// Not a public Ed25519 key as SPKI PEM.
    #[error("not a public Ed25519 key: give a `PUBLIC KEY` PEM file")]
    Public,
    /// A public key that many signatures fit.
    #[error("a weak public key: its order is small, so signatures prove nothing")]
    Weak,
    /// The key could not be encoded.
    #[error("the key could not be written as PEM")]
    Encode,
}

/// The short name of a public key: the first 16 hex digits of the SHA-256 of
/// its 32 bytes.
pub fn key_id(key: &VerifyingKey) -> String {
    let mut id = super::sha256_hex(key.as_bytes());
    id.truncate(KEY_ID_HEX_DIGITS);
    id
}

/// The private key in a PKCS#8 PEM file.
///
/// # Errors
/// [`KeyError::Private`] for anything else.
pub fn signing_key_from_pem(pem: &str) -> Result<SigningKey, KeyError> {
    SigningKey::from_pkcs8_pem(pem.trim()).map_err(|_| KeyError::Private)
}

/// The public key in a `PUBLIC KEY` PEM file.
///
/// # Errors
/// [`KeyError::Public`] for anything else, [`KeyError::Weak`] for a point of
/// small order.
pub fn verifying_key_from_pem(pem: &str) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_public_key_pem(pem.trim()).map_err(|_| KeyError::Public)?;
    if key.is_weak() {
        return Err(KeyError::Weak);
    }
    Ok(key)
}

/// The private key as PKCS#8 PEM. The text is the secret: write it where
/// only its owner reads.
///
/// # Errors
/// [`KeyError::Encode`] if the key has no PKCS#8 form.
pub fn signing_key_to_pem(key: &SigningKey) -> Result<String, KeyError> {
    match key.to_pkcs8_pem(LineEnding::LF) {
        Ok(pem) => Ok(pem.as_str().to_owned()),
        Err(_) => Err(KeyError::Encode),
    }
}

/// The public key as `PUBLIC KEY` PEM.
///
/// # Errors
/// [`KeyError::Encode`] if the key has no such form.
pub fn verifying_key_to_pem(key: &VerifyingKey) -> Result<String, KeyError> {
    key.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn keys_survive_pem() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let private = signing_key_to_pem(&key).unwrap();
        assert_eq!(signing_key_from_pem(&private).unwrap(), key);
        let public = verifying_key_to_pem(&key.verifying_key()).unwrap();
        assert_eq!(verifying_key_from_pem(&public).unwrap(), key.verifying_key());
    }

    #[test]
    fn a_public_key_of_another_tool_is_read() {
        let key = verifying_key_from_pem(PUBLIC).unwrap();
        assert_eq!(verifying_key_to_pem(&key).unwrap(), PUBLIC);
    }

    #[test]
    fn the_key_id_is_the_start_of_the_digest() {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let id = key_id(&key);
        assert_eq!(id.len(), KEY_ID_HEX_DIGITS);
        assert!(super::super::sha256_hex(key.as_bytes()).starts_with(&id));
    }

    #[test]
    fn other_keys_are_refused() {
        let private = signing_key_to_pem(&SigningKey::from_bytes(&[7; 32])).unwrap();
        assert_eq!(verifying_key_from_pem(&private), Err(KeyError::Public));
        assert_eq!(signing_key_from_pem(PUBLIC).err(), Some(KeyError::Private));
        assert_eq!(signing_key_from_pem("").err(), Some(KeyError::Private));
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let neutral = VerifyingKey::from_bytes(&{
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        })
        .unwrap();
        let pem = verifying_key_to_pem(&neutral).unwrap();
        assert_eq!(verifying_key_from_pem(&pem), Err(KeyError::Weak));
    }
}
