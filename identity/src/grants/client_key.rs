//! The private key by which a client of a token endpoint proves itself.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use ed25519_dalek::Signer as _;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::GrantSetupError;
use crate::keys::{self, SigningKey};

/// An Ed25519 or P-256 key. Printing it shows its algorithm only.
pub struct ClientKey(Kind);

enum Kind {
    Ed25519(Box<SigningKey>),
    Es256(Box<EcdsaKeyPair>),
}

impl ClientKey {
    /// Reads a key in PKCS#8 PEM; `from` says where it came from, for the message.
    ///
    /// # Errors
    /// [`GrantSetupError::Key`].
    pub fn from_pem(pem: &str, from: &str) -> Result<Self, GrantSetupError> {
        if let Ok(key) = keys::parse_signing(pem, from) {
            return Ok(Self(Kind::Ed25519(Box::new(key))));
        }
        let refused = || GrantSetupError::Key { from: from.to_owned() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| refused())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        Ok(Self(Kind::Es256(Box::new(pair.map_err(|_| refused())?))))
    }

    /// The name in a header (RFC 7518, RFC 8037).
    pub(super) fn algorithm(&self) -> &'static str {
        match &self.0 {
            Kind::Ed25519(_) => "EdDSA",
            Kind::Es256(_) => "ES256",
        }
    }

    /// The signature of a JWS; `None` where the system has no randomness for it.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.0 {
            Kind::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Kind::Es256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Purpose, generate};

    #[test]
    fn both_kinds_are_told_apart_and_never_shown() {
        let ed25519 = generate(Purpose::Assertion).unwrap().private_pem;
        let key = ClientKey::from_pem(&ed25519, "a").unwrap();
        assert_eq!(format!("{key:?}"), "ClientKey(EdDSA)");
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = ClientKey::from_pem(&pair.serialize_pem(), "b").unwrap();
        assert_eq!(format!("{key:?}"), "ClientKey(ES256)");
    }

    #[test]
    fn other_keys_are_refused_without_being_shown() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        for text in [p384.serialize_pem(), "hunter2".to_owned(), String::new()] {
            let error = ClientKey::from_pem(&text, "`k.pem`").unwrap_err().to_string();
            assert!(error.starts_with("`k.pem` is no private key"), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
