//! The open files of one epoch, and the place in the chain where the next record goes.

use std::io;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::options::{Config, Receipt};
use crate::chain::{Frame, Hash, NO_PREVIOUS, leaf_hash};
use crate::checkpoint::{Checkpoint, origin};
use crate::disk::{AppendFile, sync_dir};
use crate::genesis::{End, FORMAT_VERSION, Genesis, Previous};
use crate::layout::LogName;
use crate::merkle::Frontier;
use crate::record::{Kind, own_rest};
use crate::side;

/// An epoch that can be written to.
pub(super) struct Epoch {
    pub(super) name: LogName,
    pub(super) incarnation: u64,
    frame: Frame,
    log: Box<dyn AppendFile>,
    checkpoints: Box<dyn AppendFile>,
    side: Box<dyn AppendFile>,
    /// The tree over all records, staged ones included.
    frontier: Frontier,
    leaf: Hash,
    /// Bytes of the log, staged ones included.
    bytes: u64,
    /// Lines that have their place but are not in the file yet.
    lines: Vec<u8>,
    /// Side lines of those.
    values: Vec<u8>,
    /// Whether side lines were written and not synced.
    values_dirty: bool,
    /// Records known to be on stable storage, and the leaf of the last of them.
    durable: (u64, Hash),
    /// The last checkpoint.
    note: String,
    signed: u64,
}

impl Epoch {
    /// Opens a new epoch. It has its name only once its first records are durable, so that no
    /// crash leaves a log without a genesis record.
    pub(super) fn create(
        config: &Config,
        incarnation: u64,
        previous: Option<Previous>,
        recoveries: &[String],
    ) -> io::Result<Self> {
        let name = LogName { writer: config.writer.clone(), epoch: new_epoch(config)? };
        Self::create_as(&name, config, incarnation, previous, recoveries).inspect_err(|_| {
            // Nobody was promised anything yet. What cannot be removed is removed at the next start.
            let _ = remove_unopened(&config.dir, &name).is_ok();
        })
    }

    fn create_as(
        name: &LogName,
        config: &Config,
        incarnation: u64,
        previous: Option<Previous>,
        recoveries: &[String],
    ) -> io::Result<Self> {
        let opening = name.opening(&config.dir);
        let mut epoch = Self {
            incarnation,
            frame: Frame::new(&name.writer, &name.epoch),
            log: (config.open)(&opening)?,
            checkpoints: (config.open)(&name.checkpoints(&config.dir))?,
            side: (config.open)(&name.side(&config.dir))?,
            frontier: Frontier::default(),
            leaf: NO_PREVIOUS,
            bytes: 0,
            lines: Vec::new(),
            values: Vec::new(),
            values_dirty: false,
            durable: (0, NO_PREVIOUS),
            note: String::new(),
            signed: 0,
            name: name.clone(),
        };
        epoch.stage_own(config, Kind::Genesis, &genesis(config, incarnation, previous)?);
        for recovery in recoveries {
            epoch.stage_own(config, Kind::Recovery, recovery);
        }
        epoch.write(false)?;
        epoch.checkpoint(config, true)?;
        std::fs::rename(&opening, name.log(&config.dir))?;
        sync_dir(&config.dir).inspect_err(|_| {
            // Without its name it is cleared away as unopened.
            let _ = std::fs::rename(name.log(&config.dir), &opening).is_ok();
        })?;
        Ok(epoch)
    }

    /// Gives a record its place; it is in no file yet.
    pub(super) fn stage(&mut self, rest: &[u8], values: Option<&[u8]>) {
        let seq = self.frontier.size();
        let start = self.lines.len();
        self.frame.write(&mut self.lines, seq, &self.leaf, rest);
        self.leaf = leaf_hash(self.lines.get(start..).unwrap_or_default());
        self.lines.push(b'\n');
        self.bytes += (self.lines.len() - start) as u64;
        self.frontier.push(self.leaf);
        if let Some(values) = values {
            side::write_line(&mut self.values, &self.name.epoch, seq, values);
        }
    }

    /// Where the record is that was staged last.
    pub(super) fn receipt(&self) -> Receipt {
        let seq = self.records().saturating_sub(1);
        Receipt { seq, leaf: self.leaf, epoch: self.name.epoch.clone() }
    }

    /// Stages a record of the log itself.
    pub(super) fn stage_own(&mut self, config: &Config, kind: Kind, body: &str) {
        self.stage(&own_rest(kind, config.now_ms(), body), None);
    }

    /// Writes what is staged: values before the lines that commit to them, and synced before them
    /// if the lines are to be synced too.
    pub(super) fn write(&mut self, to_be_synced: bool) -> io::Result<()> {
        if !self.values.is_empty() {
            self.values_dirty = true;
            self.side.append(&self.values)?;
            self.values.clear();
        }
        if to_be_synced {
            self.sync_values()?;
        }
        self.log.append(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    fn sync_values(&mut self) -> io::Result<()> {
        if self.values_dirty {
            self.side.sync()?;
            self.values_dirty = false;
        }
        Ok(())
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.durable.0 == self.records() {
            return Ok(());
        }
        self.sync_values()?;
        self.log.sync()?;
        self.durable = (self.records(), self.leaf);
        Ok(())
    }

    /// Signs all that was written, after making it durable: a checkpoint must never be about
    /// records that a crash can take back.
    pub(super) fn checkpoint(&mut self, config: &Config, sync: bool) -> io::Result<()> {
        self.sync()?;
        let checkpoint = Checkpoint {
            origin: origin(&config.deployment, &self.name.writer, &self.name.epoch),
            size: self.records(),
            root: self.frontier.root(),
            ts_ms: config.now_ms(),
            head: self.leaf,
        };
        let note = checkpoint.sign(&config.key).map_err(io::Error::other)?;
        self.checkpoints.append(format!("{note}\n").as_bytes())?;
        if sync {
            self.checkpoints.sync()?;
        }
        self.signed = checkpoint.size;
        self.note = note;
        Ok(())
    }

    /// Takes up the side store again after it was replaced.
    pub(super) fn reopen_side(&mut self, config: &Config) -> io::Result<()> {
        self.side = (config.open)(&self.name.side(&config.dir))?;
        Ok(())
    }

    /// What the genesis record of the next epoch says about this one, after its `close`.
    pub(super) fn closed(&self) -> Previous {
        Previous {
            epoch: self.name.epoch.clone(),
            records: self.records(),
            last_leaf: hex::encode(self.leaf),
            end: End::Closed,
            checkpoint: Some(self.note.clone()),
        }
    }

    /// Records, staged ones included.
    pub(super) fn records(&self) -> u64 {
        self.frontier.size()
    }

    /// Records that are not known to be durable.
    pub(super) fn unsynced(&self) -> u64 {
        self.records().saturating_sub(self.durable.0)
    }

    /// Records that no checkpoint covers.
    pub(super) fn unsigned(&self) -> u64 {
        self.records().saturating_sub(self.signed)
    }

    /// Records that a checkpoint covers.
    pub(super) fn signed(&self) -> u64 {
        self.signed
    }

    /// The last checkpoint.
    pub(super) fn note(&self) -> &str {
        &self.note
    }

    /// Records known to be durable, and the leaf of the last of them.
    pub(super) fn durable(&self) -> (u64, Hash) {
        self.durable
    }

    /// Bytes of the log.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn new_epoch(config: &Config) -> io::Result<String> {
    let mut random = [0u8; 16];
    if !(config.entropy)(&mut random) {
        return Err(io::Error::other("no random bytes for a new epoch"));
    }
    Ok(hex::encode(random))
}

fn genesis(config: &Config, incarnation: u64, previous: Option<Previous>) -> io::Result<String> {
    let genesis = Genesis {
        version: FORMAT_VERSION,
        deployment: config.deployment.clone(),
        public_key: STANDARD.encode(config.key.verifying_key().as_bytes()),
        incarnation,
        previous,
        about: config.about.clone(),
    };
    Ok(serde_json::to_string(&genesis)?)
}

/// Removes what is left of an epoch that never got its name: no record of it was ever promised.
pub(super) fn remove_unopened(dir: &Path, name: &LogName) -> io::Result<()> {
    crate::disk::remove_if_there(&name.checkpoints(dir))?;
    crate::disk::remove_if_there(&name.side(dir))?;
    // Last, because it is what marks the others as never opened.
    crate::disk::remove_if_there(&name.opening(dir))
}
