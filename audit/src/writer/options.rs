//! What a log is opened with, what it answers, and what can go wrong.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::chain::Hash;
use crate::disk::{self, OpenAppend};
use crate::entropy::{self, Entropy};
use crate::layout;
use crate::record::EntryError;
use crate::side::SideKey;

/// Size from which on a log is closed and a new epoch opened, in bytes, unless configured.
pub const DEFAULT_ROTATE_BYTES: u64 = 256 * 1024 * 1024;

/// The present time in unix milliseconds.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a log is opened with; made by [`Options::new`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where the files are; made with mode 0700 if missing.
    pub dir: PathBuf,
    /// Who writes: `[a-z0-9][a-z0-9_-]*`.
    pub writer: String,
    /// The deployment, first part of the checkpoint origin: `[A-Za-z0-9._/-]+`.
    pub deployment: String,
    /// Signs checkpoints.
    pub key: SigningKey,
    /// The present time in unix milliseconds.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// What the program says about itself in the genesis record.
    pub about: serde_json::Value,
    /// Size from which on a new epoch is opened, in bytes.
    pub rotate_bytes: u64,
    pub(crate) entropy: Entropy,
    pub(crate) open: OpenAppend,
}

impl Options {
    /// Options with defaults for all that is not given.
    #[must_use]
    pub fn new(
        dir: impl Into<PathBuf>,
        writer: impl Into<String>,
        deployment: impl Into<String>,
        key: SigningKey,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        Self {
            dir: dir.into(),
            writer: writer.into(),
            deployment: deployment.into(),
            key,
            clock,
            about: serde_json::Value::Null,
            rotate_bytes: DEFAULT_ROTATE_BYTES,
            entropy: entropy::system(),
            open: disk::system(),
        }
    }
}

/// Options that were checked, and what comes with the directory.
pub(super) struct Config {
    pub(super) dir: PathBuf,
    pub(super) writer: String,
    pub(super) deployment: String,
    pub(super) key: SigningKey,
    pub(super) clock: Clock,
    pub(super) about: serde_json::Value,
    pub(super) rotate_bytes: u64,
    pub(super) side_key: SideKey,
    pub(super) entropy: Entropy,
    pub(super) open: OpenAppend,
}

impl Config {
    /// Checks the options and takes the lock, which the thread that writes then holds.
    pub(super) fn new(options: Options) -> Result<(Self, File), OpenError> {
        if !layout::valid_writer(&options.writer) {
            return Err(OpenError::Writer(options.writer));
        }
        if !layout::valid_deployment(&options.deployment) {
            return Err(OpenError::Deployment(options.deployment));
        }
        disk::make_dir(&options.dir)?;
        let lock = disk::open_lock(&layout::lock(&options.dir, &options.writer))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                OpenError::Locked { dir: options.dir.clone(), writer: options.writer.clone() }
            }
            TryLockError::Error(error) => OpenError::Io(error),
        })?;
        let key_path = layout::side_key(&options.dir, &options.writer);
        let side_key = SideKey::load_or_create(&key_path, &options.entropy)?;
        let config = Self {
            dir: options.dir,
            writer: options.writer,
            deployment: options.deployment,
            key: options.key,
            clock: options.clock,
            about: options.about,
            rotate_bytes: options.rotate_bytes,
            side_key,
            entropy: options.entropy,
            open: options.open,
        };
        Ok((config, lock))
    }

    pub(super) fn now_ms(&self) -> i64 {
        (self.clock)()
    }
}

/// How safe a record must be before the caller goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage.
    Sync,
    /// Written; on stable storage within 10 ms or 4,096 records.
    Bounded,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its number in the epoch.
    pub seq: u64,
    /// Its leaf.
    pub leaf: Hash,
    /// The epoch.
    pub epoch: String,
}

/// Which values to erase, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Epoch of the record.
    pub epoch: String,
    /// Number of the record.
    pub seq: u64,
    /// JSON pointers of the values; none means all.
    pub pointers: Vec<String>,
    /// Who erases.
    pub actor: String,
    /// Why they may.
    pub reason: String,
}

impl Erasure {
    /// Body of the `redaction` record.
    pub(super) fn body(&self) -> String {
        serde_json::json!({
            "actor": self.actor,
            "reason": self.reason,
            "of": { "epoch": self.epoch, "seq": self.seq, "pointers": self.pointers },
        })
        .to_string()
    }

    pub(super) fn covers(&self, seq: u64, pointer: &str) -> bool {
        seq == self.seq && (self.pointers.is_empty() || self.pointers.iter().any(|p| p == pointer))
    }
}

/// How a log is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether appends can succeed.
    pub writable: bool,
    /// The last error of a file, even if it was overcome.
    pub last_error: Option<String>,
    /// The epoch that is written, or was last.
    pub epoch: String,
    /// Records in it.
    pub records: u64,
    /// Records of it that a checkpoint covers.
    pub signed: u64,
    /// Entries recorded since the log was opened, the log's own not counted.
    pub appended: u64,
    /// Records that were released before they were written, and that a failing file then took.
    pub lost: u64,
}

/// Why an entry was not recorded.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// Too many entries wait for the disk.
    #[error("the audit log cannot keep up: too many records wait")]
    Full,
    /// The files cannot be written.
    #[error("the audit log is not writable: {0}")]
    Unwritable(String),
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
    /// The entry is not one that can be recorded.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl AppendError {
    /// The reason id for a denial.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            AppendError::Full => "audit_full",
            AppendError::Unwritable(_) => "audit_unwritable",
            AppendError::Closed => "audit_closed",
            AppendError::Entry(_) => "audit_entry",
        }
    }
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The writer's name is unusable.
    #[error("`{0}` cannot name an audit writer: use `[a-z0-9][a-z0-9_-]*`, at most 64 bytes")]
    Writer(String),
    /// The deployment's name is unusable.
    #[error("`{0}` cannot name a deployment: use `[A-Za-z0-9._/-]+`, at most 128 bytes")]
    Deployment(String),
    /// Another process writes this log.
    #[error("another process writes the audit log of `{writer}` in `{dir}`")]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The writer.
        writer: String,
    },
    /// A file cannot be read or written.
    #[error("the audit log cannot be opened: {0}")]
    Io(#[from] io::Error),
    /// The writer thread cannot be started.
    #[error("the audit thread cannot be started: {0}")]
    Thread(io::Error),
}
