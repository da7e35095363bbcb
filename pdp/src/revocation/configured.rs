//! The configured list: a file that somebody else signs and replaces. What was good last is kept,
//! and verified again when read; a version never falls.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lictor_identity::KeyError;
use lictor_identity::files::{FileError, replace_private};
use lictor_identity::keys::load_verifying;
use lictor_policy_lib::bundle::TrustedKey;
use lictor_policy_lib::revocation::{RevocationError, Verified, verify};

use super::Listed;
use super::config::RevocationsConfig;
use super::own::read_bounded;

/// Name of the kept copy in the state directory.
const KEPT: &str = "revocations-configured.jws";
const MS_PER_S: i64 = 1_000;

/// Why a list is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfiguredError {
    /// A key cannot be used.
    #[error("`[pdp.revocations]`: {0}")]
    Key(#[from] KeyError),
    /// No key is trusted.
    #[error("`trust_keys` of `[pdp.revocations]` is empty: name the public keys that may sign it")]
    NoKeys,
    /// The file cannot be read.
    #[error("`{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a list that counts here.
    #[error(transparent)]
    Refused(#[from] RevocationError),
    /// The version that is live has other content.
    #[error("version {0} was there before with other content: sign it again with a higher one")]
    Reused(u64),
    /// It has expired.
    #[error("the list has expired: sign it again with a higher version")]
    Expired,
    /// The copy cannot be kept.
    #[error(transparent)]
    Keep(#[from] FileError),
}

impl ConfiguredError {
    /// Stable id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Key(_) | Self::NoKeys => "revocations_key_unusable",
            Self::Read { .. } => "revocations_unreadable",
            Self::Refused(error) => error.id(),
            Self::Reused(_) => "revocations_version",
            Self::Expired => "revocations_expired",
            Self::Keep(_) => "revocations_not_kept",
        }
    }

    /// Whether the same file may be taken at another time: a full disk, a file that cannot be
    /// opened, a signer's clock that is ahead.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Read { .. } | Self::Keep(_) | Self::Refused(RevocationError::NotYetValid)
        )
    }
}

/// What the file looks like from outside; `None` if it is not there.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// The file and how it is verified.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    path: PathBuf,
    keys: Vec<TrustedKey>,
    max_age_ms: Option<i64>,
    kept: PathBuf,
}

impl Configured {
    pub(super) fn new(config: &RevocationsConfig, dir: &Path) -> Result<Self, ConfiguredError> {
        let load = |path: &PathBuf| load_verifying(path).map(TrustedKey::new);
        let keys = config.trust_keys.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(ConfiguredError::NoKeys);
        }
        let ms = |seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MS_PER_S);
        Ok(Self {
            path: config.file.clone(),
            keys,
            max_age_ms: config.max_age_s.map(ms),
            kept: dir.join(KEPT),
        })
    }

    /// What counts from now on if `list` is the newest.
    pub(super) fn listed(&self, list: Verified) -> Listed {
        Listed::Live { list: Arc::new(list), max_age_ms: self.max_age_ms }
    }

    pub(super) fn stamp(&self) -> Stamp {
        let meta = std::fs::metadata(&self.path).ok()?;
        Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    }

    /// The copy of what was good last. It may be stale; its version still counts.
    pub(super) fn kept(&self) -> Option<Verified> {
        let bytes = read_bounded(&self.kept).ok()?;
        match verify(&bytes, &self.keys, i64::MAX, 0) {
            Ok(verified) => Some(verified),
            Err(error) => {
                tracing::error!(%error, "the kept list of revocations is not used");
                None
            }
        }
    }

    /// Reads and verifies the candidate, and keeps it; `None` if it is what is live already.
    pub(super) fn load(
        &self,
        live: Option<&Verified>,
        now_ms: i64,
    ) -> Result<Option<Verified>, ConfiguredError> {
        let bytes = read_bounded(&self.path)
            .map_err(|source| ConfiguredError::Read { path: self.path.clone(), source })?;
        let floor = live.map_or(0, |live| live.list().version);
        let candidate = verify(&bytes, &self.keys, now_ms, floor)?;
        if let Some(live) = live.filter(|live| live.list().version == candidate.list().version) {
            let same = live.digest() == candidate.digest();
            return if same { Ok(None) } else { Err(ConfiguredError::Reused(floor)) };
        }
        if candidate.is_stale(now_ms) {
            return Err(ConfiguredError::Expired);
        }
        // Verified lists are text.
        replace_private(&self.kept, &String::from_utf8_lossy(&bytes))?;
        Ok(Some(candidate))
    }
}
