//! Writing a log.
//!
//! Callers check and seal their entries on their own threads; one thread gives them their places
//! in the chain, writes and syncs them in groups, and signs checkpoints.
//!
//! # Layout
//!
//! - this file: the handle that callers hold
//! - `options`: what a log is opened with, and what can go wrong
//! - `thread`: the queue and the clock of the one thread
//! - `commit`: what the thread does with a batch, as a state machine without time or threads
//! - `released`: how many records may be on their way for which nobody waits, and for how long
//! - `epoch`: the open files of one epoch
//! - `recover`: how the epoch before ended

mod commit;
mod epoch;
mod options;
mod recover;
mod released;
mod thread;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ed25519_dalek::VerifyingKey;

pub use options::{
    AppendError, DEFAULT_ROTATE_BYTES, Durability, Erasure, OpenError, Options, Receipt, Status,
};

use crate::chain::Frame;
use crate::entropy::Entropy;
use crate::layout::EPOCH_HEX_BYTES;
use crate::record::{Entry, Kind, Recordable, prepare};
use crate::side::SideKey;
use options::Config;
use released::{Clock, Released};
pub use released::{MAX_RELEASED_MS, MAX_RELEASED_RECORDS};
use thread::{Append, Job, Reply, reply_channel};

/// Most entries that wait for the writer thread; one more is refused.
pub const MAX_QUEUED_RECORDS: usize = 8192;
/// Most bytes of entries that wait for the writer thread.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// A cheap handle on the log of this process. When the last one is dropped the log is synced but
/// not closed; call [`AuditLog::close`] for that.
#[derive(Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    side_key: SideKey,
    entropy: Entropy,
    head_bytes: usize,
    public_key: VerifyingKey,
    clock: Clock,
}

/// What the writer thread tells the handles.
#[derive(Debug, Default)]
struct Shared {
    status: Mutex<Status>,
    checkpoint: Mutex<Option<String>>,
    queued_bytes: AtomicUsize,
    released: Released,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checkpoint(&self) -> MutexGuard<'_, Option<String>> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room in the queue for an entry.
    fn reserve(&self, bytes: usize) -> bool {
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= MAX_QUEUED_BYTES;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl AuditLog {
    /// Recovers the epoch before, opens a new one and starts the writer thread.
    ///
    /// # Errors
    /// [`OpenError`] if an option is unusable, another process writes this log, or a file cannot
    /// be read or written.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let (config, lock) = Config::new(options)?;
        let side_key = config.side_key.clone();
        let entropy = config.entropy.clone();
        let public_key = config.key.verifying_key();
        let head_bytes = Frame::new(&config.writer, &"0".repeat(EPOCH_HEX_BYTES)).head_bytes();
        let writer = commit::Writer::open(config, shared.clone())?;
        let (jobs, queue) = sync_channel(MAX_QUEUED_RECORDS);
        let clock = Clock::start();
        let own = clock.clone();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || thread::run(writer, &queue, lock, &own))
            .map_err(OpenError::Thread)?;
        let inner = Inner {
            jobs: Some(jobs),
            thread: Some(thread),
            shared,
            side_key,
            entropy,
            head_bytes,
            public_key,
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Records an entry and returns once it is as durable as asked.
    ///
    /// # Errors
    /// [`AppendError`]; then the caller must act as if the record did not exist, and deny.
    pub async fn append(
        &self,
        entry: Entry,
        durability: Durability,
    ) -> Result<Receipt, AppendError> {
        self.append_and_wait(&entry, durability).await
    }

    async fn append_and_wait(
        &self,
        entry: &impl Recordable,
        durability: Durability,
    ) -> Result<Receipt, AppendError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.enqueue(entry, durability, 0, Reply::Async(reply))?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Records an entry and returns once its caller may go on. That of a `bounded` one may as soon as
    /// it is in the writer's queue, as long as no more than [`MAX_RELEASED_RECORDS`] are on their
    /// way to stable storage and none of them for longer than [`MAX_RELEASED_MS`]; otherwise, as
    /// with [`Self::append`], when it is in the file. What a failing file takes of these is counted
    /// and said in the next epoch, and meanwhile nobody goes on.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn record(
        &self,
        entry: &impl Recordable,
        durability: Durability,
    ) -> Result<(), AppendError> {
        let now_ms = self.inner.clock.now_ms();
        let released = &self.inner.shared.released;
        if durability == Durability::Bounded && released.take(now_ms) {
            return self
                .enqueue(entry, durability, now_ms, Reply::Nobody)
                .inspect_err(|_| released.give_back(1));
        }
        self.append_and_wait(entry, durability).await.map(drop)
    }

    /// [`Self::append`] for threads outside an async runtime.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_blocking(
        &self,
        entry: Entry,
        durability: Durability,
    ) -> Result<Receipt, AppendError> {
        let (reply, answer) = reply_channel();
        self.enqueue(&entry, durability, 0, reply)?;
        answer.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Returns once every entry that came before is in the file, or is known not to be.
    ///
    /// # Errors
    /// [`AppendError`] if the log is closed, or too many entries wait.
    pub async fn written(&self) -> Result<(), AppendError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Job::Written { reply: Reply::Async(reply) })?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Erases values from the side store, after a `redaction` record that says so is durable.
    /// Returns how many values there were.
    ///
    /// # Errors
    /// [`AppendError`]; if the record was written but the values could not be erased, asking again
    /// is safe.
    pub async fn erase(&self, erasure: Erasure, ts_ms: i64) -> Result<usize, AppendError> {
        let entry = Entry::new(Kind::Redaction, ts_ms, erasure.body());
        self.append(entry, Durability::Sync).await?;
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Job::Erase { erasure, reply: Reply::Async(reply) })?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Writes a `close` record and the last checkpoint, and ends the writer thread. Entries queued
    /// before are recorded, those after are refused.
    ///
    /// # Errors
    /// [`AppendError`] if the log is not writable or was closed before.
    pub async fn close(&self, reason: &str) -> Result<(), AppendError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Job::Close { reason: reason.to_owned(), reply: Reply::Async(reply) })?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// [`Self::close`] for threads outside an async runtime.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub fn close_blocking(&self, reason: &str) -> Result<(), AppendError> {
        let (reply, answer) = reply_channel();
        self.send(Job::Close { reason: reason.to_owned(), reply })?;
        answer.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// The last checkpoint signed, as a note: for others to keep.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<String> {
        self.inner.shared.checkpoint().clone()
    }

    /// The key that checkpoints are signed with.
    #[must_use]
    pub fn public_key(&self) -> VerifyingKey {
        self.inner.public_key
    }

    /// How the log is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.status().clone()
    }

    fn enqueue(
        &self,
        entry: &impl Recordable,
        durability: Durability,
        at_ms: u64,
        reply: Reply<Result<Receipt, AppendError>>,
    ) -> Result<(), AppendError> {
        let inner = &self.inner;
        let prepared = prepare(entry, inner.head_bytes, &inner.side_key, &inner.entropy)?;
        let bytes = prepared.bytes();
        if !inner.shared.reserve(bytes) {
            return Err(AppendError::Full);
        }
        let append = Append { prepared, durability, at_ms, reply };
        self.send(Job::Append(append)).inspect_err(|_| inner.shared.release(bytes))
    }

    fn send(&self, job: Job) -> Result<(), AppendError> {
        let jobs = self.inner.jobs.as_ref().ok_or(AppendError::Closed)?;
        let urgent = job.is_urgent();
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => AppendError::Full,
            TrySendError::Disconnected(_) => AppendError::Closed,
        })?;
        if let Some(thread) = self.inner.thread.as_ref().filter(|_| urgent) {
            thread.thread().unpark();
        }
        Ok(())
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// Waits for the thread, so that the log can be opened again at once.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has nobody left to be told to.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod record_tests;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
