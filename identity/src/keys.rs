//! One Ed25519 key per purpose, in PEM files.

use std::fmt;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    KeypairBytes,
};
pub use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::secret::Secret;

/// Bytes of the digest that a key id keeps.
const KEY_ID_BYTES: usize = 8;

/// What a key is for; no key serves two purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Signs bundles.
    Bundle,
    /// Signs checkpoints of audit logs.
    Audit,
    /// Signs assertions for the servers behind enforcement points.
    Assertion,
    /// Signs session handles.
    Session,
    /// Signs approvals.
    Approval,
    /// Salts the hashes of provenance.
    Provenance,
    /// Signs lists of revocations.
    Revocation,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 7] = [
        Self::Bundle,
        Self::Audit,
        Self::Assertion,
        Self::Session,
        Self::Approval,
        Self::Provenance,
        Self::Revocation,
    ];

    /// The name on the command line and of the files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Audit => "audit",
            Self::Assertion => "assertion",
            Self::Session => "session",
            Self::Approval => "approval",
            Self::Provenance => "provenance",
            Self::Revocation => "revocation",
        }
    }

    /// The purpose called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }

    /// Where its private key is in `dir`: `<purpose>.key`.
    #[must_use]
    pub fn private_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.key", self.as_str()))
    }

    /// Where its public key is in `dir`: `<purpose>.pub`.
    #[must_use]
    pub fn public_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.pub", self.as_str()))
    }
}

/// Why a key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a private key.
    #[error(
        "{from} is not an Ed25519 private key in PKCS#8 PEM (`BEGIN PRIVATE KEY`): make one with `lictor keys new`"
    )]
    NotPrivate {
        /// Where it came from.
        from: String,
    },
    /// Not a public key.
    #[error(
        "{from} is not an Ed25519 public key in PEM (`BEGIN PUBLIC KEY`): get it with `lictor keys public`"
    )]
    NotPublic {
        /// Where it came from.
        from: String,
    },
    /// Everything verifies against it.
    #[error("{from} is a weak key: its order is small, so signatures prove nothing")]
    Weak {
        /// Where it came from.
        from: String,
    },
    /// Not a private key of a kind that signs tokens.
    #[error(
        "{from} is neither an Ed25519 nor a P-256 private key in PKCS#8 PEM (`BEGIN PRIVATE KEY`): make one with `lictor keys new assertion`"
    )]
    NotTokenKey {
        /// Where it came from.
        from: String,
    },
    /// The encoder refused.
    #[error("the key could not be written as PEM")]
    Encode,
    /// The library refused.
    #[error("the key did not sign")]
    Sign,
}

/// A new key as text.
pub struct KeyPair {
    /// What it is for.
    pub purpose: Purpose,
    /// PKCS#8, wiped when dropped.
    pub private_pem: Secret,
    /// SPKI.
    pub public_pem: String,
    /// Its short name, see [`key_id`].
    pub kid: String,
}

impl fmt::Debug for KeyPair {
    /// Without the private half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("purpose", &self.purpose)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl KeyPair {
    /// The pair made of a seed.
    ///
    /// # Errors
    /// [`KeyError::Encode`].
    pub fn from_seed(purpose: Purpose, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let public = SigningKey::from_bytes(seed).verifying_key();
        // Without the public half: older readers refuse a private key file with it.
        let private = KeypairBytes { secret_key: *seed, public_key: None };
        let pem = private.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Encode)?;
        Ok(Self {
            purpose,
            private_pem: Secret::new(pem),
            public_pem: public_pem(&public)?,
            kid: key_id(&public),
        })
    }

    /// Writes `<purpose>.key` (0600) and `<purpose>.pub` into `dir`, made if it is
    /// not there, and gives their paths.
    ///
    /// # Errors
    /// [`FileError::Exists`] if either is there, and then nothing is written.
    pub fn write_pair(&self, dir: &Path) -> Result<(PathBuf, PathBuf), KeyError> {
        files::ensure_directory(dir)?;
        let (private, public) = (self.purpose.private_path(dir), self.purpose.public_path(dir));
        if public.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path: public }.into());
        }
        files::create_private(&private, &self.private_pem)?;
        files::create_public(&public, &self.public_pem)?;
        Ok((private, public))
    }
}

/// A new random key pair.
///
/// # Errors
/// [`FileError::Random`], [`KeyError::Encode`].
pub fn generate(purpose: Purpose) -> Result<KeyPair, KeyError> {
    KeyPair::from_seed(purpose, &Zeroizing::new(files::random()?))
}

/// The short name of a public key: the first 16 hex digits of the SHA-256 of its
/// 32 bytes.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> String {
    id_of(key.as_bytes())
}

/// The short name of a public key with these bytes.
pub(crate) fn id_of(public: &[u8]) -> String {
    let digest = Sha256::digest(public);
    let kept: Vec<u8> = digest.iter().take(KEY_ID_BYTES).copied().collect();
    hex::encode(kept)
}

/// A public key as SPKI PEM.
///
/// # Errors
/// [`KeyError::Encode`].
pub fn public_pem(key: &VerifyingKey) -> Result<String, KeyError> {
    key.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Encode)
}

/// Reads a private key; `from` says where it came from, for the message.
///
/// # Errors
/// [`KeyError::NotPrivate`].
pub fn parse_signing(pem: &str, from: &str) -> Result<SigningKey, KeyError> {
    SigningKey::from_pkcs8_pem(pem.trim())
        .map_err(|_| KeyError::NotPrivate { from: from.to_owned() })
}

/// Reads a public key; `from` says where it came from, for the message.
///
/// # Errors
/// [`KeyError::NotPublic`], [`KeyError::Weak`].
pub fn parse_verifying(pem: &str, from: &str) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_public_key_pem(pem.trim())
        .map_err(|_| KeyError::NotPublic { from: from.to_owned() })?;
    if key.is_weak() { Err(KeyError::Weak { from: from.to_owned() }) } else { Ok(key) }
}

/// Loads a private key from a file that nobody else may read.
///
/// # Errors
/// [`FileError::OpenToOthers`] for a file with permissions for group or others;
/// otherwise [`KeyError`].
pub fn load_signing(path: &Path) -> Result<SigningKey, KeyError> {
    parse_signing(&files::read_private(path)?, &format!("`{}`", path.display()))
}

/// Loads a public key.
///
/// # Errors
/// [`KeyError`].
pub fn load_verifying(path: &Path) -> Result<VerifyingKey, KeyError> {
    parse_verifying(&files::read_public(path)?, &format!("`{}`", path.display()))
}

/// The private key of `purpose` in `dir`, generated there where none is.
/// Processes that start at once end up with the same key.
///
/// # Errors
/// [`KeyError`].
pub fn ensure_signing(dir: &Path, purpose: Purpose) -> Result<SigningKey, KeyError> {
    let path = purpose.private_path(dir);
    if !path.exists() {
        match generate(purpose)?.write_pair(dir) {
            Ok(_) => {}
            // Another process was faster. A public key alone stays an error.
            Err(KeyError::File(FileError::Exists { .. })) if path.exists() => {}
            Err(error) => return Err(error),
        }
    }
    load_signing(&path)
}
