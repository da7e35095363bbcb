//! Following logs while they are written, verifying on the way: every line continues the chain,
//! every checkpoint is signed and fits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use crate::chain::{Frame, Hash, NO_PREVIOUS, hex_bytes, leaf_hash};
use crate::checkpoint::{Checkpoint, origin, split_file};
use crate::genesis::Genesis;
use crate::layout::{self, LogName};
use crate::lines::Lines;
use crate::merkle::Frontier;
use crate::note::NoteError;
use crate::query::Record;
use crate::verify::{ReadError, io_error};

/// Most bytes that one poll reads from a file.
pub const MAX_POLL_BYTES: u64 = 16 * 1024 * 1024;

/// Why a log cannot be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line does not continue the chain.
    #[error("`{log}`: line {line} does not continue the chain; verify the log")]
    Broken {
        /// Which log.
        log: String,
        /// Which line, counted from one.
        line: u64,
    },
    /// The log is signed by a key that is not trusted.
    #[error("`{log}` is signed by a key that is not trusted")]
    UntrustedKey {
        /// Which log.
        log: String,
    },
    /// A checkpoint is not to be trusted.
    #[error("`{log}`: a checkpoint is not to be trusted: {cause}")]
    Checkpoint {
        /// Which log.
        log: String,
        /// Why.
        cause: NoteError,
    },
    /// A checkpoint is about other records.
    #[error("`{log}`: the checkpoint over {size} records does not fit them")]
    RootMismatch {
        /// Which log.
        log: String,
        /// Number of records that it covers.
        size: u64,
    },
}

/// A cursor in one log.
#[derive(Debug)]
pub struct Tail {
    dir: PathBuf,
    name: LogName,
    trusted: Vec<VerifyingKey>,
    opened: Option<Opened>,
    offset: u64,
    notes_offset: u64,
    seq: u64,
    leaf: Hash,
    /// The tree up to the last checkpoint, and the leaves since.
    frontier: Frontier,
    pending: Vec<Hash>,
    /// Checkpoints over more records than were read.
    ahead: Vec<Checkpoint>,
}

#[derive(Debug)]
struct Opened {
    frame: Frame,
    origin: String,
    key: VerifyingKey,
}

impl Tail {
    /// Follows the log at `path`, a `.jsonl` file, from its first record. With no `trusted` keys
    /// the key that the log names is believed.
    #[must_use]
    pub fn new(path: &Path, trusted: &[VerifyingKey]) -> Option<Self> {
        let name = LogName::parse(path.file_stem()?.to_str()?)?;
        Some(Self::of(path.parent()?.to_owned(), name, trusted))
    }

    fn of(dir: PathBuf, name: LogName, trusted: &[VerifyingKey]) -> Self {
        Self {
            dir,
            name,
            trusted: trusted.to_vec(),
            opened: None,
            offset: 0,
            notes_offset: 0,
            seq: 0,
            leaf: NO_PREVIOUS,
            frontier: Frontier::default(),
            pending: Vec::new(),
            ahead: Vec::new(),
        }
    }

    /// Records read so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.seq
    }

    /// Records read so far that a checkpoint covers.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends the records that were added since the last call to `out`.
    ///
    /// # Errors
    /// [`TailError`] if a file cannot be read or what was added is wrong; the good records before
    /// it are in `out`. The log cannot be followed past the error.
    pub fn poll(&mut self, out: &mut Vec<Record>) -> Result<(), TailError> {
        let bytes = read_from(&self.name.log(&self.dir), self.offset)?;
        for line in Lines::new(&bytes).filter(|line| line.complete) {
            out.push(self.accept(line.bytes)?);
            self.offset += line.bytes.len() as u64 + 1;
        }
        self.checkpoints()
    }

    fn accept(&mut self, line: &[u8]) -> Result<Record, TailError> {
        let log = self.name.to_string();
        let broken = || TailError::Broken { log: log.clone(), line: self.seq + 1 };
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => self.open(line, &log)?,
        };
        let opened = self.opened.insert(opened);
        let head = opened.frame.read(line).ok_or_else(broken)?;
        if head.seq != self.seq || head.prev_hex != hex_bytes(&self.leaf) {
            return Err(broken());
        }
        let record = Record::read(&log, line).ok_or_else(broken)?;
        self.leaf = leaf_hash(line);
        self.pending.push(self.leaf);
        self.seq += 1;
        Ok(record)
    }

    fn open(&self, line: &[u8], log: &str) -> Result<Opened, TailError> {
        let genesis = Genesis::read(line).filter(|(name, _)| *name == self.name);
        let read = genesis.and_then(|(_, genesis)| Some((genesis.key()?, genesis)));
        let Some((key, genesis)) = read else {
            return Err(TailError::Broken { log: log.to_owned(), line: 1 });
        };
        if !self.trusted.is_empty() && !self.trusted.contains(&key) {
            return Err(TailError::UntrustedKey { log: log.to_owned() });
        }
        Ok(Opened {
            frame: Frame::new(&self.name.writer, &self.name.epoch),
            origin: origin(&genesis.deployment, &self.name.writer, &self.name.epoch),
            key,
        })
    }

    /// Reads new checkpoints and holds the records against them.
    fn checkpoints(&mut self) -> Result<(), TailError> {
        let Some(opened) = &self.opened else {
            return Ok(());
        };
        let bytes = read_from(&self.name.checkpoints(&self.dir), self.notes_offset)?;
        let stored = split_file(&bytes);
        for note in &stored.notes {
            let keys = std::slice::from_ref(&opened.key);
            let verified = Checkpoint::verify(note.note, keys);
            let fits = verified.and_then(|(checkpoint, _)| {
                let own = checkpoint.origin == opened.origin;
                own.then_some(checkpoint).ok_or(NoteError::Malformed("it is about another log"))
            });
            let checkpoint =
                fits.map_err(|cause| TailError::Checkpoint { log: self.name.to_string(), cause })?;
            self.ahead.push(checkpoint);
        }
        self.notes_offset += stored.good_bytes as u64;
        while let Some(next) = self.ahead.first().filter(|next| next.size <= self.seq) {
            let next = next.clone();
            self.hold_against(&next)?;
            self.ahead.remove(0);
        }
        Ok(())
    }

    fn hold_against(&mut self, checkpoint: &Checkpoint) -> Result<(), TailError> {
        let mismatch =
            || TailError::RootMismatch { log: self.name.to_string(), size: checkpoint.size };
        let more = checkpoint.size.checked_sub(self.frontier.size()).ok_or_else(mismatch)?;
        let more = usize::try_from(more).unwrap_or(usize::MAX).min(self.pending.len());
        for leaf in self.pending.drain(..more) {
            self.frontier.push(leaf);
        }
        if self.frontier.size() != checkpoint.size || self.frontier.root() != checkpoint.root {
            return Err(TailError::RootMismatch {
                log: self.name.to_string(),
                size: checkpoint.size,
            });
        }
        Ok(())
    }
}

/// What a file holds from `offset` on; nothing if it is not there yet.
fn read_from(path: &Path, offset: u64) -> Result<Vec<u8>, TailError> {
    let failed = |cause| TailError::Read(io_error(path, cause));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_POLL_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Follows all logs of a directory, also those that are opened later.
#[derive(Debug)]
pub struct DirTail {
    dir: PathBuf,
    trusted: Vec<VerifyingKey>,
    tails: BTreeMap<LogName, Tail>,
}

impl DirTail {
    /// Follows the logs of `dir` from their first records.
    #[must_use]
    pub fn new(dir: PathBuf, trusted: &[VerifyingKey]) -> Self {
        Self { dir, trusted: trusted.to_vec(), tails: BTreeMap::new() }
    }

    /// Appends the records that were added since the last call to `out`, log by log.
    ///
    /// # Errors
    /// As [`Tail::poll`].
    pub fn poll(&mut self, out: &mut Vec<Record>) -> Result<(), TailError> {
        let listing = layout::list(&self.dir).map_err(|cause| io_error(&self.dir, cause))?;
        for name in listing.logs {
            let tail = self
                .tails
                .entry(name.clone())
                .or_insert_with(|| Tail::of(self.dir.clone(), name, &self.trusted));
            tail.poll(out)?;
        }
        Ok(())
    }
}
