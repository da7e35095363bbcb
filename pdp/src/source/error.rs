//! Why no bundle came out of a source.

use std::path::PathBuf;

use lictor_policy_lib::bundle::{self, SignatureError, VerifyError};
use lictor_policy_lib::diagnostic::Diagnostic;

use super::client::FetchError;

/// Why a candidate is refused, or could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What was verified cannot be kept, and so would be lost with the process.
    #[error("{path}: {error}")]
    Keep {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A key cannot be used.
    #[error("{path}: {message}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Verification refused it.
    #[error(transparent)]
    Refused(#[from] VerifyError),
    /// A folder holds something that a bundle may not.
    #[error(transparent)]
    Files(#[from] bundle::ArchiveError),
    /// Its policies are invalid.
    #[error("the bundle has {} problem(s), first: {}", .0.len(), first(.0))]
    Invalid(Vec<Diagnostic>),
    /// The kept version floor cannot be read.
    #[error(
        "{0}: the version floor is not a number: restore the file or remove the state directory"
    )]
    Floor(PathBuf),
    /// The version was live before with other content.
    #[error("version {0} was live before with other content: build and sign it with a higher one")]
    VersionSame(u64),
    /// The content was live before with a later signature.
    #[error("version {0} was live before with a later signature: sign it again")]
    StatementOlder(u64),
    /// It could not be fetched, or what was offered is no bundle.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A place that is not asked.
    #[error("the bundle cannot be had from `{place}`: {why}")]
    Place {
        /// The text.
        place: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An answer that says nothing.
    #[error("`{place}` says that nothing is new, and nothing was known")]
    Nothing {
        /// Who was asked.
        place: String,
    },
    /// No answer within the time that there is.
    #[error("`{place}` did not answer in time")]
    Slow {
        /// Who was asked.
        place: String,
    },
    /// A thread of ours ended.
    #[error("reading or checking the bundle ended without a result")]
    Crashed,
}

fn first(problems: &[Diagnostic]) -> String {
    problems.first().map(ToString::to_string).unwrap_or_default()
}

impl SourceError {
    /// Stable id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Crashed => "bundle_unreadable",
            Self::Keep { .. } => "bundle_not_kept",
            Self::Key { .. } => "bundle_key_unusable",
            Self::Refused(error) => error.id(),
            Self::Files(error) => error.id(),
            Self::Invalid(_) => "bundle_invalid",
            Self::Floor(_) => "bundle_floor_unreadable",
            Self::VersionSame(_) => "bundle_version_same",
            Self::StatementOlder(_) => "bundle_statement_older",
            Self::Fetch(error) => error.id(),
            Self::Place { .. } => "bundle_place",
            Self::Slow { .. } | Self::Nothing { .. } => "bundle_unreachable",
        }
    }

    /// Whether the same bytes may be taken at another time: a full disk, a file that cannot be
    /// opened, a time that has not come.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(VerifyError::NotYetValid) => true,
            Self::Refused(VerifyError::Signature(error)) => {
                matches!(error, SignatureError::NotYetValid { .. })
            }
            Self::Io { .. } | Self::Keep { .. } | Self::Floor(_) | Self::Crashed => true,
            _ => false,
        }
    }
}
