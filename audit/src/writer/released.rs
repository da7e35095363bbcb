//! Records whose caller went on once they were in the queue: how many there may be, and for how long,
//! before they are on stable storage. Past either bound callers wait as long as the disk does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Most records that are released and not on stable storage.
pub const MAX_RELEASED_RECORDS: u64 = 4_096;
/// Longest time that a record may have been released and not be on stable storage while others are
/// released too, milliseconds.
pub const MAX_RELEASED_MS: u64 = 10;

/// Milliseconds since the log was opened.
#[derive(Debug, Clone)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What is released and not on stable storage.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Whether the files can be written, as far as anybody knows.
    writable: AtomicBool,
    records: AtomicU64,
    /// Since when, at most, the oldest of them is.
    since_ms: AtomicU64,
}

impl Released {
    /// Takes a place for a record; `false` if its caller has to wait for it.
    pub(super) fn take(&self, now_ms: u64) -> bool {
        if !self.writable.load(Ordering::Acquire) {
            return false;
        }
        let before = self.records.fetch_add(1, Ordering::AcqRel);
        if before == 0 {
            self.since_ms.store(now_ms, Ordering::Release);
            return true;
        }
        let young = now_ms.saturating_sub(self.since_ms.load(Ordering::Acquire)) <= MAX_RELEASED_MS;
        let fits = young && before < MAX_RELEASED_RECORDS;
        if !fits {
            self.give_back(1);
        }
        fits
    }

    /// Gives places back whose records never came into the queue.
    pub(super) fn give_back(&self, records: u64) {
        self.records.fetch_sub(records, Ordering::AcqRel);
    }

    /// So many records are on stable storage, or lost; the others came later than `since_ms`.
    pub(super) fn settle(&self, records: u64, since_ms: u64) {
        if records > 0 {
            self.since_ms.fetch_max(since_ms, Ordering::AcqRel);
            self.give_back(records);
        }
    }

    pub(super) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released() -> Released {
        let released = Released::default();
        assert!(!released.take(0), "nothing is known of the files yet");
        released.set_writable(true);
        released
    }

    #[test]
    fn records_are_bounded_in_number() {
        let released = released();
        for _ in 0..MAX_RELEASED_RECORDS {
            assert!(released.take(5));
        }
        assert!(!released.take(5));
        released.settle(1, 5);
        assert!(released.take(5));
        assert!(!released.take(5));
    }

    #[test]
    fn the_oldest_record_is_bounded_in_age() {
        let released = released();
        assert!(released.take(100));
        assert!(released.take(100 + MAX_RELEASED_MS));
        assert!(!released.take(101 + MAX_RELEASED_MS));
        // The first of the two is on the disk; the other came at 100 or later.
        released.settle(1, 102);
        assert!(released.take(102 + MAX_RELEASED_MS));
        assert!(!released.take(103 + MAX_RELEASED_MS));
        released.settle(2, 1_000);
        assert!(released.take(1_000_000), "nothing is waiting");
        assert!(!released.take(1_000_011));
    }

    #[test]
    fn nothing_is_released_while_the_files_cannot_be_written() {
        let released = released();
        released.set_writable(false);
        assert!(!released.take(1));
    }
}
