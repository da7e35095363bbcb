//! Tamper-evident audit logs.
//!
//! A log is a JSON Lines file: every line names the hash of the line before it, so the file is a
//! hash chain, and the same hashes are the leaves of an RFC 6962 Merkle tree whose root is signed
//! at least once a second. Values that must stay erasable are kept in a side store; the line only
//! commits to them.
//!
//! # Layout
//!
//! Formats, pure functions over bytes:
//! - [`record`]: kinds, entries, the text of a line; [`typed`]: entries of a program's own types
//! - [`chain`]: leaf hashes and the fixed head of a line
//! - [`merkle`]: RFC 6962 roots and proofs
//! - [`note`]: C2SP signed notes, also used for signed reports ([`report`])
//! - [`checkpoint`]: signed tree heads and the file that holds them
//! - [`genesis`]: the first record of an epoch and its link to the epoch before
//! - [`side`]: commitments and the encrypted, erasable value store
//! - [`layout`]: file names
//!
//! Writing: [`writer`] (one thread, group commit, recovery); [`config`]: `[audit]`.
//!
//! Reading: [`mod@verify`] (is it whole?), [`query`] (what happened?), [`stream`] (the same of logs
//! of any length), [`tail`] (what happens now?), [`proof`] (can I show one record to an outsider?).

pub mod chain;
pub mod checkpoint;
pub mod config;
pub mod genesis;
pub mod layout;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod query;
pub mod record;
pub mod report;
pub mod side;
pub mod stream;
pub mod tail;
pub mod typed;
pub mod verify;
pub mod writer;

mod disk;
mod entropy;
mod lines;

pub use record::{Entry, EntryError, Kind, Recordable};
pub use typed::Typed;
pub use verify::{Fault, FaultKind, LogReport, Report, VerifyOptions, verify, verify_bytes};
pub use writer::{AppendError, AuditLog, Durability, Erasure, OpenError, Options, Receipt, Status};
