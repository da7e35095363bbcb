//! What the writer thread does with a batch, as a state machine: `now` is milliseconds on a clock
//! that never runs back, handed in by the thread.

use std::io;
use std::sync::Arc;

use super::Shared;
use super::epoch::Epoch;
use super::options::{AppendError, Config, Durability, Erasure, OpenError, Receipt};
use super::recover::{Ending, end_of, find_epochs};
use super::thread::{Append, Reply};
use crate::chain::Hash;
use crate::layout::{LogName, valid_epoch};
use crate::record::Kind;
use crate::side;

/// Longest time a written record waits before its sync begins: half of the promised 10 ms.
pub(super) const SYNC_AFTER_MS: u64 = 5;
/// Most records that are written and not synced.
pub(super) const MAX_UNSYNCED_RECORDS: u64 = 4096;
/// Longest time a record waits for a checkpoint.
pub(super) const CHECKPOINT_AFTER_MS: u64 = 1000;
/// Most records between two checkpoints, but for those of one batch.
pub(super) const CHECKPOINT_RECORDS: u64 = 4096;
/// Silence after which a heartbeat is recorded.
pub(super) const HEARTBEAT_AFTER_MS: u64 = 60_000;
/// Time between two attempts to open a new epoch after a file failed.
pub(super) const REOPEN_AFTER_MS: u64 = 1000;

/// The writer, without its thread.
pub(super) struct Writer {
    config: Config,
    shared: Arc<Shared>,
    state: State,
    /// Since when records wait to be synced.
    unsynced_since: Option<u64>,
    checkpoint_at: u64,
    checkpoint_synced_at: u64,
    record_at: u64,
    /// Records that were released and written, but not synced, and when the newest of them was
    /// released.
    released: u64,
    released_at: u64,
    /// Records that were released and that no epoch has, and of which none says so yet.
    lost: u64,
}

enum State {
    Open(Box<Epoch>),
    Failed(Box<Failed>),
}

/// An epoch whose files cannot be trusted any more.
struct Failed {
    name: LogName,
    incarnation: u64,
    durable: (u64, Hash),
    cause: String,
    try_again_at: u64,
    /// How it ended, once that was found out; a second look would not see what the first one cut.
    ending: Option<Ending>,
}

impl Writer {
    /// Recovers the epoch before and opens a new one.
    pub(super) fn open(config: Config, shared: Arc<Shared>) -> Result<Self, OpenError> {
        let epochs = find_epochs(&config.dir, &config.writer)?;
        let mut recoveries = Vec::new();
        let mut link = None;
        let mut incarnation = 0;
        for name in &epochs.unreadable {
            recoveries.extend(end_of(&config.dir, name, None)?.recovery);
        }
        if let Some((name, number)) = &epochs.newest {
            let ending = end_of(&config.dir, name, None)?;
            recoveries.extend(ending.recovery);
            link = Some(ending.previous);
            incarnation = number + 1;
        }
        let epoch = Epoch::create(&config, incarnation, link, &recoveries)?;
        let writer = Self {
            config,
            shared,
            state: State::Open(Box::new(epoch)),
            unsynced_since: None,
            checkpoint_at: 0,
            checkpoint_synced_at: 0,
            record_at: 0,
            released: 0,
            released_at: 0,
            lost: 0,
        };
        writer.publish();
        Ok(writer)
    }

    /// Records a batch and answers those who wait for it.
    pub(super) fn commit(&mut self, batch: Vec<Append>, now: u64) {
        let bytes = batch.iter().map(|append| append.prepared.bytes()).sum();
        if let Err(error) = self.reopen(now) {
            self.refuse(batch, &error);
        } else {
            self.record(batch, now);
        }
        self.shared.release(bytes);
    }

    fn record(&mut self, batch: Vec<Append>, now: u64) {
        let State::Open(epoch) = &mut self.state else {
            return;
        };
        let sync = batch.iter().any(|append| append.durability == Durability::Sync);
        // Whom to answer and what; nobody needs to be told where nobody waits.
        let mut receipts: Vec<Option<Receipt>> = Vec::with_capacity(batch.len());
        for Append { prepared, reply, .. } in &batch {
            epoch.stage(&prepared.rest, prepared.side.as_deref());
            receipts.push((!reply.is_nobody()).then(|| epoch.receipt()));
        }
        if let Err(error) = epoch.write(sync) {
            let error = self.fail("writing", &error, now);
            self.refuse(batch, &error);
            return;
        }
        let released = batch.iter().filter(|append| append.reply.is_nobody());
        let (count, newest) = released.fold((0, self.released_at), |(count, newest), append| {
            (count + 1, newest.max(append.at_ms))
        });
        (self.released, self.released_at) = (self.released + count, newest);
        let (to_sync, done): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .zip(receipts)
            .partition(|(append, _)| append.durability == Durability::Sync);
        // Counts come before answers: whoever has an answer finds it counted.
        self.shared.status().appended += done.len() as u64;
        answer(done);
        let State::Open(epoch) = &mut self.state else {
            return;
        };
        if let Err(error) = if sync { epoch.sync() } else { Ok(()) } {
            let error = self.fail("syncing", &error, now);
            self.refuse(to_sync.into_iter().map(|(append, _)| append), &error);
            return;
        }
        self.record_at = now;
        if sync {
            self.synced();
        } else {
            self.unsynced_since = self.unsynced_since.or(Some(now));
        }
        self.shared.status().appended += to_sync.len() as u64;
        self.publish();
        answer(to_sync);
    }

    /// Everything that was written is on stable storage.
    fn synced(&mut self) {
        self.unsynced_since = None;
        self.shared.released.settle(std::mem::take(&mut self.released), self.released_at);
    }

    /// Does what is due: sync, heartbeat, checkpoint, rotation; after a failure, the next attempt
    /// to open an epoch, so that a log which nobody dares to use becomes usable again.
    pub(super) fn tick(&mut self, now: u64) {
        if self.reopen(now).is_err() {
            return;
        }
        if let Err(error) = self.due(now) {
            self.fail("keeping up", &error, now);
        }
    }

    fn due(&mut self, now: u64) -> io::Result<()> {
        let State::Open(epoch) = &mut self.state else {
            return Ok(());
        };
        let waited = self.unsynced_since.is_some_and(|since| now >= since + SYNC_AFTER_MS);
        if waited || epoch.unsynced() >= MAX_UNSYNCED_RECORDS {
            epoch.sync()?;
            self.synced();
        }
        let State::Open(epoch) = &mut self.state else {
            return Ok(());
        };
        if now >= self.record_at + HEARTBEAT_AFTER_MS {
            epoch.stage_own(&self.config, Kind::Heartbeat, "{\"silent\":true}");
            epoch.write(false)?;
            self.record_at = now;
            self.checkpoint(now)?;
        } else if self.checkpoint_due(now) {
            self.checkpoint(now)?;
        }
        self.rotate(now)
    }

    fn checkpoint_due(&self, now: u64) -> bool {
        let State::Open(epoch) = &self.state else {
            return false;
        };
        let old = now >= self.checkpoint_at + CHECKPOINT_AFTER_MS && epoch.unsigned() > 0;
        old || epoch.unsigned() >= CHECKPOINT_RECORDS
    }

    fn checkpoint(&mut self, now: u64) -> io::Result<()> {
        let State::Open(epoch) = &mut self.state else {
            return Ok(());
        };
        // Under load there are many in a second; syncing one of them is enough.
        let sync = now >= self.checkpoint_synced_at + CHECKPOINT_AFTER_MS;
        epoch.checkpoint(&self.config, sync)?;
        if sync {
            self.checkpoint_synced_at = now;
        }
        self.checkpoint_at = now;
        self.synced();
        self.publish();
        Ok(())
    }

    /// Opens a new epoch once this one is large.
    fn rotate(&mut self, now: u64) -> io::Result<()> {
        let State::Open(epoch) = &mut self.state else {
            return Ok(());
        };
        if epoch.bytes() < self.config.rotate_bytes {
            return Ok(());
        }
        close_epoch(epoch, &self.config, "rotated")?;
        let next = Epoch::create(&self.config, epoch.incarnation + 1, Some(epoch.closed()), &[])?;
        self.enter(next, now);
        Ok(())
    }

    fn enter(&mut self, epoch: Epoch, now: u64) {
        self.state = State::Open(Box::new(epoch));
        self.synced();
        self.checkpoint_at = now;
        self.checkpoint_synced_at = now;
        self.record_at = now;
        self.publish();
    }

    /// Milliseconds until something is due.
    pub(super) fn wait_ms(&self, now: u64) -> u64 {
        let epoch = match &self.state {
            State::Open(epoch) => epoch,
            State::Failed(failed) => return failed.try_again_at.saturating_sub(now),
        };
        let sync = self.unsynced_since.map(|since| since + SYNC_AFTER_MS);
        let checkpoint = (epoch.unsigned() > 0).then_some(self.checkpoint_at + CHECKPOINT_AFTER_MS);
        let heartbeat = self.record_at + HEARTBEAT_AFTER_MS;
        let next = [sync, checkpoint].into_iter().flatten().fold(heartbeat, u64::min);
        next.saturating_sub(now)
    }

    /// Ends the epoch in order.
    pub(super) fn close(&mut self, reason: &str, now: u64) -> Result<(), AppendError> {
        self.reopen(now)?;
        let State::Open(epoch) = &mut self.state else {
            return Err(AppendError::Closed);
        };
        let closed = close_epoch(epoch, &self.config, reason);
        if let Err(error) = closed {
            return Err(self.fail("closing", &error, now));
        }
        self.synced();
        self.publish();
        self.shared.released.set_writable(false);
        let mut status = self.shared.status();
        status.writable = false;
        Ok(())
    }

    /// The process ends without a word: what was acknowledged is made durable and signed.
    pub(super) fn abandon(&mut self, now: u64) {
        if let State::Open(epoch) = &mut self.state
            && let Err(error) = epoch.checkpoint(&self.config, true)
        {
            self.fail("ending", &error, now);
        }
    }

    /// Erases values; the `redaction` record is durable already.
    pub(super) fn erase(&mut self, erasure: &Erasure, now: u64) -> Result<usize, AppendError> {
        let unwritable = |error: io::Error| AppendError::Unwritable(error.to_string());
        if !valid_epoch(&erasure.epoch) {
            return Err(AppendError::Unwritable(format!("`{}` is no epoch", erasure.epoch)));
        }
        let name = LogName { writer: self.config.writer.clone(), epoch: erasure.epoch.clone() };
        let path = name.side(&self.config.dir);
        let erased =
            side::erase(&path, |seq, pointer| erasure.covers(seq, pointer)).map_err(unwritable)?;
        let reopened = match &mut self.state {
            State::Open(epoch) if epoch.name == name => epoch.reopen_side(&self.config),
            _ => Ok(()),
        };
        reopened.map_err(|error| self.fail("reopening the side store", &error, now))?;
        Ok(erased)
    }

    /// Gives up the epoch: after a failed write or sync nobody knows what is on the disk.
    fn fail(&mut self, what: &str, error: &io::Error, now: u64) -> AppendError {
        let cause = format!("{what} failed: {error}");
        if let State::Open(epoch) = &self.state {
            self.state = State::Failed(Box::new(Failed {
                name: epoch.name.clone(),
                incarnation: epoch.incarnation,
                durable: epoch.durable(),
                cause: cause.clone(),
                try_again_at: now,
                ending: None,
            }));
        }
        self.shared.released.set_writable(false);
        // What was written and not synced may be on the disk or not.
        let written = std::mem::take(&mut self.released);
        self.lose(written);
        self.unsynced_since = None;
        let mut status = self.shared.status();
        status.writable = false;
        status.last_error = Some(cause.clone());
        AppendError::Unwritable(cause)
    }

    /// Released records that nobody can promise any more.
    fn lose(&mut self, records: u64) {
        self.lost += records;
        self.shared.released.settle(records, self.released_at);
        self.shared.status().lost += records;
    }

    /// Tells those who wait that their records are not there, and counts those for which nobody
    /// waits.
    fn refuse(&mut self, batch: impl IntoIterator<Item = Append>, error: &AppendError) {
        let mut lost = 0;
        for append in batch {
            match append.reply {
                Reply::Nobody => {
                    lost += 1;
                    self.released_at = self.released_at.max(append.at_ms);
                }
                reply => reply.send(Err(error.clone())),
            }
        }
        self.lose(lost);
    }

    /// Opens a new epoch if the last one failed and it is time to try.
    fn reopen(&mut self, now: u64) -> Result<(), AppendError> {
        let State::Failed(failed) = &mut self.state else {
            return Ok(());
        };
        if now < failed.try_again_at {
            return Err(AppendError::Unwritable(failed.cause.clone()));
        }
        match next_epoch(&self.config, failed, self.lost) {
            Ok(epoch) => {
                self.lost = 0;
                self.enter(epoch, now);
                Ok(())
            }
            Err(error) => {
                failed.try_again_at = now + REOPEN_AFTER_MS;
                failed.cause = format!("opening a new epoch failed: {error}");
                let cause = failed.cause.clone();
                self.shared.status().last_error = Some(cause.clone());
                Err(AppendError::Unwritable(cause))
            }
        }
    }

    /// Tells the handles.
    fn publish(&self) {
        let State::Open(epoch) = &self.state else {
            return;
        };
        self.shared.released.set_writable(true);
        let mut status = self.shared.status();
        status.writable = true;
        if status.epoch != epoch.name.epoch {
            status.epoch.clone_from(&epoch.name.epoch);
        }
        status.records = epoch.records();
        if status.signed != epoch.signed() || status.records == epoch.signed() {
            status.signed = epoch.signed();
            *self.shared.checkpoint() = Some(epoch.note().to_owned());
        }
    }
}

fn close_epoch(epoch: &mut Epoch, config: &Config, reason: &str) -> io::Result<()> {
    let body = serde_json::json!({ "reason": reason }).to_string();
    epoch.stage_own(config, Kind::Close, &body);
    epoch.write(true)?;
    epoch.checkpoint(config, true)
}

fn next_epoch(config: &Config, failed: &mut Failed, lost: u64) -> io::Result<Epoch> {
    let ending = match &failed.ending {
        Some(ending) => ending.clone(),
        None => end_of(&config.dir, &failed.name, Some(failed.durable))?,
    };
    let Ending { previous, recovery } = failed.ending.insert(ending).clone();
    let recoveries: Vec<String> = recovery.into_iter().collect();
    let mut epoch = Epoch::create(config, failed.incarnation + 1, Some(previous), &recoveries)?;
    if lost > 0 {
        let body = serde_json::json!({ "lost_records": lost, "cause": failed.cause });
        epoch.stage_own(config, Kind::Gap, &body.to_string());
        epoch.write(true)?;
        epoch.sync()?;
    }
    Ok(epoch)
}

fn answer(done: Vec<(Append, Option<Receipt>)>) {
    for (append, receipt) in done {
        if let Some(receipt) = receipt {
            append.reply.send(Ok(receipt));
        }
    }
}
