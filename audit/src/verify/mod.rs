//! Verification: is every record still what was written, are all there, who signed for them?
//!
//! # Layout
//!
//! - this file: what is asked and what is reported
//! - `log`: one log, over bytes
//! - `diagnose`: names what happened at the first line that does not fit
//! - `claims`: what checkpoints, later epochs and other logs say about a log
//! - `values`: the side store against the commitments
//! - `files`: directories, several logs, the links between them

mod claims;
mod diagnose;
mod files;
mod log;
mod values;

use ed25519_dalek::VerifyingKey;
use serde::Serialize;

pub use files::{ReadError, verify};

pub(crate) use files::{Place, io_error, places, read};
pub(crate) use log::{Files, check_log};
pub(crate) use values::commits_of;

/// What a verifier trusts and how strict it is.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Keys that may sign checkpoints. Empty: each log is checked against the key that it names
    /// itself, which proves only that it is consistent.
    pub trusted: Vec<VerifyingKey>,
    /// Checkpoints kept elsewhere, as signed notes. Their logs must be there and agree with them.
    pub known_checkpoints: Vec<String>,
    /// The oldest epochs may be missing, as after retention.
    pub allow_pruned: bool,
    /// Do not open the side store.
    pub skip_side: bool,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A record was changed.
    Edited,
    /// Records, or a whole log, were taken out.
    Deleted,
    /// A record is there twice.
    Duplicated,
    /// Records changed places.
    Reordered,
    /// Records at the end, for which somebody signed, are gone.
    Truncated,
    /// A signature does not fit.
    Signature,
    /// The log is signed by a key that is not trusted.
    UntrustedKey,
    /// The records are consistent but not those that were signed.
    RootMismatch,
    /// The chain holds but a number is missing.
    SeqGap,
    /// The last line is incomplete and nobody signed for it: a crash.
    TornTail,
    /// The epochs of a writer do not follow each other.
    EpochLink,
    /// The checkpoint file cannot be read.
    Checkpoint,
    /// A side value is not the one that was committed to.
    Commitment,
}

/// Which file of a log a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultFile {
    /// The records.
    Log,
    /// The checkpoints.
    Checkpoints,
    /// The side store.
    Side,
}

/// The first thing wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong.
    pub what: FaultKind,
    /// In which file.
    pub file: FaultFile,
    /// Line, counted from one.
    pub line: u64,
    /// Offset of that line in bytes.
    pub offset: u64,
    /// In words.
    pub detail: String,
}

impl Fault {
    pub(crate) fn log(
        what: FaultKind,
        line: u64,
        offset: usize,
        detail: impl Into<String>,
    ) -> Self {
        Self { what, file: FaultFile::Log, line, offset: offset as u64, detail: detail.into() }
    }
}

/// Why the signatures of a log are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyTrust {
    /// By a key that the verifier was given.
    Pinned,
    /// Only because the log names the key itself.
    Genesis,
}

/// What the side store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SideReport {
    /// Values that fit their commitments.
    pub values: u64,
    /// Commitments whose value was erased, or whose key was.
    pub erased: u64,
    /// Values of records that are not in the log, left by a crash.
    pub orphans: u64,
}

/// What was found about one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// `<writer>-<epoch>`; empty if it cannot be told.
    pub log: String,
    /// The deployment that the log names.
    pub deployment: String,
    /// Number of epochs of this writer before this one.
    pub incarnation: u64,
    /// Good records, from the first on.
    pub records: u64,
    /// Bytes of good records.
    pub good_bytes: u64,
    /// Leaf of the last good record, hexadecimal.
    pub last_leaf: String,
    /// Own checkpoints whose signature and root were checked.
    pub checkpoints: u64,
    /// Checkpoints of this log that others kept, checked too.
    pub witnessed: u64,
    /// Good records that no checkpoint covers.
    pub uncovered: u64,
    /// Why the signatures are believed.
    pub key: KeyTrust,
    /// The key that the log names, base64.
    pub public_key: String,
    /// Whether the log ends with a `close` record.
    pub closed: bool,
    /// Time of the last good record, in unix milliseconds.
    pub last_ts_ms: i64,
    /// The side store, if it was looked at.
    pub side: Option<SideReport>,
    /// The first thing wrong, if anything is.
    pub fault: Option<Fault>,
}

/// What was found about all logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Good records in all logs.
    pub records: u64,
    /// Origins of known checkpoints whose log is missing.
    pub missing: Vec<String>,
    /// Checkpoints of other logs that are not among those verified.
    pub unresolved_refs: u64,
    /// One for each log, in the order of their names.
    pub logs: Vec<LogReport>,
}

/// Verifies one log given as bytes: its records and its checkpoint file.
#[must_use]
pub fn verify_bytes(log: &[u8], checkpoints: &[u8], options: &VerifyOptions) -> LogReport {
    let files = Files { log, checkpoints, side: None, side_key: None };
    check_log(&files, None, &[], options)
}

#[cfg(test)]
mod tests;
