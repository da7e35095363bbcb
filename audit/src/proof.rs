//! Proofs for outsiders: one record, its place in the tree and a signed checkpoint, checked without
//! the log.

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::chain::{Hash, leaf_hash, parse_hash};
use crate::checkpoint::{Checkpoint, split_file};
use crate::lines::Lines;
use crate::merkle::{inclusion_proof, root_of, verify_inclusion};
use crate::note::NoteError;
use crate::query::{Logs, Record};
use crate::verify::{ReadError, read};

/// A record that can be checked by whoever trusts the key of its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The line of the record, without its newline.
    pub record: String,
    /// Its number in the log.
    pub index: u64,
    /// RFC 6962 inclusion path from the leaf upwards, hexadecimal.
    pub path: Vec<String>,
    /// A checkpoint that covers it, as a signed note.
    pub checkpoint: String,
}

/// Why there is no proof, or it does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Files cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no such log.
    #[error("there is no log `{0}` here")]
    NoLog(String),
    /// There is no such record.
    #[error("the log `{log}` has no record {seq}")]
    NoRecord {
        /// Which log.
        log: String,
        /// Which record.
        seq: u64,
    },
    /// Nobody signed for the record yet.
    #[error("no checkpoint of `{log}` covers record {seq}; the next one will")]
    NotCovered {
        /// Which log.
        log: String,
        /// Which record.
        seq: u64,
    },
    /// The log is not the one that was signed.
    #[error("the log `{0}` does not fit its checkpoint; verify it")]
    Broken(String),
    /// The checkpoint is not signed by a trusted key.
    #[error("the checkpoint of the proof is not to be trusted: {0}")]
    Checkpoint(#[from] NoteError),
    /// The record is not where the proof says.
    #[error("the proof does not hold: {0}")]
    Wrong(&'static str),
}

impl Logs {
    /// Proves record `seq` of `log`, which is `<writer>-<epoch>`, under its last checkpoint.
    ///
    /// # Errors
    /// [`ProofError`] if there is no such record, no checkpoint covers it, or the log is damaged.
    pub fn prove(&self, log: &str, seq: u64) -> Result<Proof, ProofError> {
        let place = self.place(log).ok_or_else(|| ProofError::NoLog(log.to_owned()))?;
        let missing = || ProofError::NoRecord { log: log.to_owned(), seq };
        // First what vouches, then the records: the log may be written meanwhile.
        let notes = read(&place.name.checkpoints(&place.dir))?.unwrap_or_default();
        let bytes = read(&place.name.log(&place.dir))?.unwrap_or_default();
        let index = usize::try_from(seq).map_err(|_| missing())?;
        let lines: Vec<_> = Lines::new(&bytes).filter(|line| line.complete).collect();
        let line = lines.get(index).ok_or_else(missing)?;
        let stored = split_file(&notes);
        let note = stored.notes.last().map(|stored| stored.note);
        let covers = |checkpoint: &Checkpoint| checkpoint.size > seq;
        let (note, checkpoint) = note
            .and_then(|note| Some((note, Checkpoint::parse(note).ok().filter(covers)?)))
            .ok_or_else(|| ProofError::NotCovered { log: log.to_owned(), seq })?;
        let size = usize::try_from(checkpoint.size).unwrap_or(usize::MAX);
        let covered = lines.get(..size).unwrap_or_default();
        let leaves: Vec<Hash> = covered.iter().map(|line| leaf_hash(line.bytes)).collect();
        let broken = || ProofError::Broken(log.to_owned());
        if root_of(&leaves) != checkpoint.root {
            return Err(broken());
        }
        let path = inclusion_proof(&leaves, index).ok_or_else(broken)?;
        Ok(Proof {
            record: std::str::from_utf8(line.bytes).map_err(|_| broken())?.to_owned(),
            index: seq,
            path: path.iter().map(hex::encode).collect(),
            checkpoint: note.to_owned(),
        })
    }
}

/// Checks a proof and gives the record that it proves.
///
/// # Errors
/// [`ProofError::Checkpoint`] if none of `trusted` signed the checkpoint, [`ProofError::Wrong`] if
/// the record is not in the tree that was signed.
pub fn verify_proof(proof: &Proof, trusted: &[VerifyingKey]) -> Result<Record, ProofError> {
    let (checkpoint, _) = Checkpoint::verify(&proof.checkpoint, trusted)?;
    let path: Option<Vec<Hash>> = proof.path.iter().map(|hash| parse_hash(hash)).collect();
    let path = path.ok_or(ProofError::Wrong("its path has something that is no hash"))?;
    let leaf = leaf_hash(proof.record.as_bytes());
    if !verify_inclusion(&leaf, proof.index, checkpoint.size, &path, &checkpoint.root) {
        return Err(ProofError::Wrong("the record is not in the tree that was signed"));
    }
    let log = origin_log(&checkpoint.origin);
    let record = Record::read(&log, proof.record.as_bytes());
    let record = record.filter(|record| record.seq == proof.index);
    record.ok_or(ProofError::Wrong("the record has another number or is none"))
}

/// `<writer>-<epoch>` from an origin.
fn origin_log(origin: &str) -> String {
    let mut parts = origin.rsplit('/');
    let epoch = parts.next().unwrap_or_default();
    let writer = parts.next().unwrap_or_default();
    format!("{writer}-{epoch}")
}
