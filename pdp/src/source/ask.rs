//! What a place is asked, and what it says.

use std::time::Duration;

use async_trait::async_trait;
use lictor_policy_lib::bundle::{self, Files};

use super::SourceError;
use super::file::Stamp;

/// Tells what a place offers.
#[async_trait]
pub(crate) trait Ask: std::fmt::Debug + Send + Sync {
    /// The place without secrets.
    fn shown(&self) -> String;

    /// How often it is asked.
    fn pace(&self) -> Pace;

    /// Asks whether there is something else than `known`. A place that can waits up to `wait`
    /// for it.
    async fn ask(
        &self,
        known: Option<&Mark>,
        wait: Option<Duration>,
    ) -> Result<Answer, SourceError>;
}

/// How often a place is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Shortest pause.
    pub(crate) min: Duration,
    /// Longest pause, after failures too.
    pub(crate) max: Duration,
    /// How long a place that can is to wait for something new.
    pub(crate) long_poll: Option<Duration>,
}

/// What a place said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it offers.
    pub(crate) asked: Asked,
    /// Whether it waits for something new if it is asked to; `None` if it did not say.
    pub(crate) long_poll: Option<bool>,
}

/// What a place offers.
#[derive(Debug)]
pub(crate) enum Asked {
    /// What is known.
    Same,
    /// A candidate.
    Found {
        /// Not verified.
        content: Content,
        /// By which it is known again; `None` if by its content only.
        mark: Option<Mark>,
    },
    /// Something that cannot be a bundle.
    Unusable {
        /// Why.
        error: SourceError,
        /// By which it is known again.
        mark: Option<Mark>,
    },
}

/// By what a place's offer is known without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Files from outside.
    File(Stamp),
    /// An entity tag.
    Tag(String),
    /// The digest of a manifest.
    Manifest(String),
}

/// What may be a bundle.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// The bytes of an archive.
    Archive(Vec<u8>),
    /// The files of a folder.
    Folder(Files),
}

impl Content {
    pub(crate) fn into_archive(self) -> Vec<u8> {
        match self {
            Self::Archive(bytes) => bytes,
            Self::Folder(files) => bundle::pack(&files),
        }
    }

    /// `sha256:<hex>` of the archive; of a folder, of what packing it gives.
    pub(crate) fn digest(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let digest = match self {
            Self::Archive(bytes) => Sha256::digest(bytes),
            Self::Folder(files) => Sha256::digest(bundle::pack(files)),
        };
        format!("sha256:{}", hex::encode(digest))
    }
}
