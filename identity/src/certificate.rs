//! The certificate of a caller.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// A certificate as it came in a TLS handshake. That the caller holds its key is proved; whom it
/// names counts only after it was checked against anchors of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Arc<[u8]>,
    thumbprint: [u8; 32],
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", hex::encode(self.thumbprint))
    }
}

impl ClientCertificate {
    /// The certificate with this DER encoding.
    #[must_use]
    pub fn new(der: &[u8]) -> Self {
        Self { der: der.into(), thumbprint: Sha256::digest(der).into() }
    }

    /// Its DER encoding.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of its DER encoding (`x5t#S256` of RFC 8705).
    #[must_use]
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_of_the_encoding() {
        let empty = ClientCertificate::new(b"");
        assert_eq!(
            hex::encode(empty.thumbprint()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_ne!(empty, ClientCertificate::new(b"x"));
    }
}
