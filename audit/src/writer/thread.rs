//! The queue and the clock of the one thread that writes.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::commit::Writer;
use super::options::{AppendError, Durability, Erasure, Receipt};
use super::released::Clock;
use crate::record::Prepared;

/// Most records in one batch.
const MAX_BATCH_RECORDS: usize = 4096;
/// How long records for which nobody waits are gathered where many of them come, milliseconds:
/// waking up for each would cost more than writing it.
const GATHER_MS: u64 = 2;
/// So many of them within [`GATHER_MS`] are many.
const GATHER_FROM_RECORDS: usize = 8;
/// Bytes from which on a batch takes no more records.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Something for the thread to do.
pub(super) enum Job {
    Append(Append),
    Erase { erasure: Erasure, reply: Reply<Result<usize, AppendError>> },
    Written { reply: Reply<Result<(), AppendError>> },
    Close { reason: String, reply: Reply<Result<(), AppendError>> },
}

impl Job {
    /// Whether somebody waits for it.
    pub(super) fn is_urgent(&self) -> bool {
        !matches!(self, Job::Append(append) if append.reply.is_nobody())
    }
}

/// A record to write.
pub(super) struct Append {
    pub(super) prepared: Prepared,
    pub(super) durability: Durability,
    /// When its caller went on, if nobody waits.
    pub(super) at_ms: u64,
    pub(super) reply: Reply<Result<Receipt, AppendError>>,
}

/// Whom to answer.
pub(super) enum Reply<T> {
    /// Nobody: whoever asked went on when it was in the queue.
    Nobody,
    Async(oneshot::Sender<T>),
    Blocking(SyncSender<T>),
}

impl<T> Reply<T> {
    /// Whether nobody waits.
    pub(super) fn is_nobody(&self) -> bool {
        matches!(self, Reply::Nobody)
    }

    /// Answers; a caller that has gone away does not need it.
    pub(super) fn send(self, answer: T) {
        match self {
            Reply::Nobody => {}
            Reply::Async(sender) => drop(sender.send(answer)),
            Reply::Blocking(sender) => drop(sender.send(answer)),
        }
    }
}

/// A reply for a caller that blocks.
pub(super) fn reply_channel<T>() -> (Reply<T>, Receiver<T>) {
    let (sender, receiver) = sync_channel(1);
    (Reply::Blocking(sender), receiver)
}

/// Works until the log is closed or nobody is left to ask for anything. Whoever waits is not made to
/// wait for company: the next batch is whatever arrived while the last one was synced.
pub(super) fn run(mut writer: Writer, queue: &Receiver<Job>, lock: File, clock: &Clock) {
    let now = || clock.now_ms();
    let mut rush = Rush::default();
    loop {
        let wait = Duration::from_millis(writer.wait_ms(now()));
        let first = match queue.recv_timeout(wait) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                writer.abandon(now());
                return;
            }
        };
        let (batch, last) = collect(first, queue);
        let waited_for = last.is_some() || batch.iter().any(|append| !append.reply.is_nobody());
        let gathers = rush.is_on(batch.len(), now()) && !waited_for;
        if !batch.is_empty() {
            writer.commit(batch, now());
        }
        match last {
            Some(Job::Close { reason, reply }) => {
                let closed = writer.close(&reason, now());
                // The log may be opened again as soon as the caller knows.
                drop(writer);
                drop(lock);
                reply.send(closed);
                return;
            }
            Some(Job::Erase { erasure, reply }) => reply.send(writer.erase(&erasure, now())),
            Some(Job::Written { reply }) => reply.send(Ok(())),
            Some(Job::Append(_)) | None => {}
        }
        writer.tick(now());
        if gathers {
            // Whoever waits for an answer ends this.
            std::thread::park_timeout(Duration::from_millis(GATHER_MS));
        }
    }
}

/// Whether many records come.
#[derive(Debug, Default)]
struct Rush {
    since_ms: u64,
    records: usize,
}

impl Rush {
    /// Counts the records of a batch.
    fn is_on(&mut self, records: usize, now_ms: u64) -> bool {
        if now_ms > self.since_ms + GATHER_MS {
            (self.since_ms, self.records) = (now_ms, 0);
        }
        self.records += records;
        records > 0 && self.records >= GATHER_FROM_RECORDS
    }
}

/// Takes records from the queue without waiting, up to a batch or a job of another kind.
fn collect(first: Option<Job>, queue: &Receiver<Job>) -> (Vec<Append>, Option<Job>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = first;
    while let Some(job) = next {
        let Job::Append(append) = job else {
            return (batch, Some(job));
        };
        bytes += append.prepared.bytes();
        batch.push(append);
        if batch.len() >= MAX_BATCH_RECORDS || bytes >= MAX_BATCH_BYTES {
            break;
        }
        next = queue.try_recv().ok();
    }
    (batch, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_is_many_records_in_a_short_time() {
        let mut rush = Rush::default();
        for _ in 1..GATHER_FROM_RECORDS {
            assert!(!rush.is_on(1, 10));
        }
        assert!(rush.is_on(1, 10 + GATHER_MS));
        assert!(!rush.is_on(0, 10 + GATHER_MS), "nothing came");
        assert!(!rush.is_on(1, 11 + GATHER_MS));
        assert!(rush.is_on(GATHER_FROM_RECORDS, 100));
        for n in 0..100 {
            assert!(!rush.is_on(1, 200 + n * (GATHER_MS + 1)), "one at a time");
        }
    }
}
