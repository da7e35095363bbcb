//! The decision point's own list: `revocations.jws` in the state directory, signed with a key of
//! its own, renewed long before it expires.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use lictor_identity::files::{FileError, replace_private};
use lictor_identity::keys::ensure_signing;
use lictor_identity::{KeyError, Purpose};
use lictor_policy_lib::bundle::TrustedKey;
use lictor_policy_lib::revocation::{
    LIST_MAX_BYTES, List, RevocationError, Verified, sign, verify,
};
use lictor_proto::revocation::Entry;

/// Name of the list of what was taken back, which other decision points may not know yet.
pub const TAKEN_BACK_FILE: &str = "revocations-taken-back.jws";
/// Issuer of that list, so that it is not taken for the other one.
const TAKEN_BACK: &str = "taken back";
/// Name of the list in the state directory.
pub const OWN_FILE: &str = "revocations.jws";
/// How long one signature of the own list holds, milliseconds.
pub const OWN_LIFE_MS: i64 = 24 * 3_600_000;

/// Why the own list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system refused.
    #[error("`{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what this decision point signed.
    #[error(
        "`{path}` is not this decision point's list: {source}; restore it, or move it away to begin with nothing revoked"
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RevocationError,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
}

/// Signs and keeps the own list.
pub(super) struct Own {
    key: SigningKey,
    trusted: Vec<TrustedKey>,
    path: PathBuf,
    taken_back: PathBuf,
}

impl Own {
    /// The list in `state_dir`; an empty one is made where none is.
    pub(super) fn open(state_dir: &Path, now_ms: i64) -> Result<(Self, Verified), OpenError> {
        let key = ensure_signing(state_dir, Purpose::Revocation)?;
        let trusted = vec![TrustedKey::new(key.verifying_key())];
        let taken_back = state_dir.join(TAKEN_BACK_FILE);
        let own = Self { key, trusted, path: state_dir.join(OWN_FILE), taken_back };
        let list = match own.read()? {
            Some(verified) if !needs_renewal(&verified, now_ms) => return Ok((own, verified)),
            Some(verified) => verified.list().clone(),
            None => List::empty(now_ms, now_ms),
        };
        let path = own.path.clone();
        let (text, verified) = own
            .signed(&list.renewed(now_ms, OWN_LIFE_MS))
            .map_err(|source| OpenError::Refused { path, source })?;
        replace_private(&own.path, &text)?;
        Ok((own, verified))
    }

    fn read(&self) -> Result<Option<Verified>, OpenError> {
        let path = || self.path.clone();
        let bytes = match read_bounded(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Read { path: path(), source }),
        };
        // Its times do not matter: whatever we signed last still holds, and is renewed.
        verify(&bytes, &self.trusted, i64::MAX, 0)
            .map(Some)
            .map_err(|source| OpenError::Refused { path: path(), source })
    }

    /// The list signed, and read back as everybody else would.
    pub(super) fn signed(&self, list: &List) -> Result<(String, Verified), RevocationError> {
        let text = sign(list, &self.key);
        let verified = verify(text.as_bytes(), &self.trusted, i64::MAX, list.version)?;
        Ok((text, verified))
    }

    /// Replaces the file at once, on a thread that may wait for the disk.
    pub(super) async fn write(&self, text: String) -> Result<(), FileError> {
        replace(&self.path, text).await
    }

    /// What was taken back. Without it something may be revoked that is so no more, and nothing is
    /// allowed that should not be: a list that is not ours is left aside.
    pub(super) fn taken_back(&self) -> Vec<Entry> {
        let bytes = match read_bounded(&self.taken_back) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::error!(%error, "what was taken back cannot be read");
                }
                return Vec::new();
            }
        };
        match verify(&bytes, &self.trusted, i64::MAX, 0) {
            Ok(verified) if verified.list().iss.as_deref() == Some(TAKEN_BACK) => {
                verified.list().entries.clone()
            }
            Ok(_) => {
                tracing::error!("the list of what was taken back is another one");
                Vec::new()
            }
            Err(error) => {
                tracing::error!(%error, "the list of what was taken back is not used");
                Vec::new()
            }
        }
    }

    /// Keeps what was taken back.
    pub(super) async fn keep_taken_back(
        &self,
        entries: Vec<Entry>,
        now_ms: i64,
    ) -> Result<(), FileError> {
        let list = List {
            iss: Some(TAKEN_BACK.to_owned()),
            entries,
            ..List::empty(now_ms, now_ms.saturating_add(OWN_LIFE_MS))
        };
        replace(&self.taken_back, sign(&list, &self.key)).await
    }
}

async fn replace(path: &Path, text: String) -> Result<(), FileError> {
    let place = path.to_owned();
    let written = tokio::task::spawn_blocking(move || replace_private(&place, &text)).await;
    written.unwrap_or_else(|_| {
        let source = std::io::Error::other("writing the list was cut off");
        Err(FileError::Io { path: path.to_owned(), action: "written", source })
    })
}

/// Whether half of its time is over.
pub(super) fn needs_renewal(verified: &Verified, now_ms: i64) -> bool {
    verified.list().expires_ms.saturating_sub(now_ms) < OWN_LIFE_MS / 2
}

/// Reads at most as much as a list may have, and one byte to tell that it has more.
pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let limit = LIST_MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
