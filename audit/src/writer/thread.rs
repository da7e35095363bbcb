//! The queue and the clock of the one thread that writes.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::commit::Writer;
use super::options::{AppendError, Durability, Erasure, Receipt};
use crate::record::Prepared;

/// Most records in one batch.
const MAX_BATCH_RECORDS: usize = 4096;
/// Bytes from which on a batch takes no more records.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Something for the thread to do.
pub(super) enum Job {
    Append(Append),
    Erase { erasure: Erasure, reply: Reply<Result<usize, AppendError>> },
    Close { reason: String, reply: Reply<Result<(), AppendError>> },
}

/// A record to write.
pub(super) struct Append {
    pub(super) prepared: Prepared,
    pub(super) durability: Durability,
    pub(super) reply: Reply<Result<Receipt, AppendError>>,
}

/// Whom to answer.
pub(super) enum Reply<T> {
    Async(oneshot::Sender<T>),
    Blocking(SyncSender<T>),
}

impl<T> Reply<T> {
    /// Answers; a caller that has gone away does not need it.
    pub(super) fn send(self, answer: T) {
        match self {
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

/// Works until the log is closed or nobody is left to ask for anything. There is no lingering: the
/// next batch is whatever arrived while the last one was synced.
pub(super) fn run(mut writer: Writer, queue: &Receiver<Job>, lock: File) {
    let started = Instant::now();
    let now = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
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
            Some(Job::Append(_)) | None => {}
        }
        writer.tick(now());
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
