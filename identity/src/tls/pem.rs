//! Certificates and keys in files.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, RootCertStore};

use super::TlsError;
use crate::files::{read_private, read_public};

/// The certificates of a file, in its order; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_public(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| refused(path, &error))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

/// The first private key of a file that nobody else reads.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read_private(path)?;
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { path: path.to_owned() }),
        Err(error) => Err(refused(path, &error)),
    }
}

/// The reader's own message may repeat lines of the file, and the file may be a key.
fn refused(path: &Path, error: &pem::Error) -> TlsError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end line; is it cut off?",
        pem::Error::IllegalSectionStart { .. } => "a line that begins a section is malformed",
        pem::Error::Base64Decode(_) => "a section is not Base64",
        _ => "it cannot be read",
    };
    TlsError::Pem { path: path.to_owned(), why: why.to_owned() }
}

/// A certificate with those between it and its authority, and its key.
pub(super) struct Pair<'a> {
    cert: &'a Path,
    key: &'a Path,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) private: PrivateKeyDer<'static>,
}

impl<'a> Pair<'a> {
    pub(super) fn read(cert: &'a Path, key: &'a Path) -> Result<Self, TlsError> {
        Ok(Self { cert, key, chain: certificates(cert)?, private: private_key(key)? })
    }

    /// Turns the pair into what `make` makes of it.
    pub(super) fn used<T>(
        self,
        make: impl FnOnce(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) -> Result<T, Error>,
    ) -> Result<T, TlsError> {
        let (cert, key) = (self.cert.to_owned(), self.key.to_owned());
        make(self.chain, self.private).map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsError::Mismatch { cert, key },
            Error::InvalidCertificate(_) => {
                TlsError::Unusable { cert, why: "the certificate is malformed".to_owned() }
            }
            Error::General(why) => TlsError::Unusable { cert, why },
            other => TlsError::Unusable { cert, why: other.to_string() },
        })
    }
}

/// The authorities in `files`.
pub(super) fn roots(files: &[PathBuf]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in files {
        for certificate in certificates(path)? {
            let why = "it is not a certificate".to_owned();
            roots.add(certificate).map_err(|_| TlsError::Anchor { path: path.clone(), why })?;
        }
    }
    Ok(roots)
}
