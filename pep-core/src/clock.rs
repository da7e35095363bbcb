//! Time and names as values, so that every stage is a function of what it is given.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{Builder, NoContext, Timestamp, Uuid};

/// Random bytes of one id.
const RANDOM_BYTES: usize = 10;
/// Ids whose randomness is fetched at once: asking the operating system costs more than the rest.
const IDS_AT_ONCE: usize = 64;

/// Tells the time. Cloning shares the source.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
    }

    /// A clock that always says `now_ms` (unix milliseconds).
    #[must_use]
    pub fn fixed(now_ms: i64) -> Self {
        Self::of(move || now_ms.saturating_mul(1000))
    }

    /// A clock that reads unix **micro**seconds from `source`.
    #[must_use]
    pub fn of(source: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_us() / 1000
    }

    /// Unix microseconds.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Makes ids of calls. Cloning shares the source.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn(i64) -> String + Send + Sync>);

impl Ids {
    /// UUID version 7: the time, then randomness.
    #[must_use]
    pub fn random() -> Self {
        let pool = Pool::default();
        Self(Arc::new(move |now_ms| {
            let now_ms = u64::try_from(now_ms).unwrap_or(0);
            let made = pool.take().map(|bytes| Builder::from_unix_timestamp_millis(now_ms, &bytes));
            let made = made.map(Builder::into_uuid).unwrap_or_else(|| {
                let nanos = u32::try_from((now_ms % 1000) * 1_000_000).unwrap_or(0);
                Uuid::new_v7(Timestamp::from_unix(NoContext, now_ms / 1000, nanos))
            });
            made.to_string()
        }))
    }

    /// Well-formed UUIDs version 7 that count up from 1: the same in every run.
    #[must_use]
    pub fn counting() -> Self {
        let next = AtomicU64::new(1);
        Self(Arc::new(move |_| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            format!("00000000-0000-7000-8000-{number:012x}")
        }))
    }

    /// The next id.
    #[must_use]
    pub fn next(&self, now_ms: i64) -> String {
        (self.0)(now_ms)
    }
}

/// Random bytes that were fetched and not yet used; each are given once.
#[derive(Default)]
struct Pool(Mutex<Vec<[u8; RANDOM_BYTES]>>);

impl Pool {
    /// `None` where the operating system has no randomness to give.
    fn take(&self) -> Option<[u8; RANDOM_BYTES]> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if left.is_empty() {
            let mut bytes = [[0; RANDOM_BYTES]; IDS_AT_ONCE];
            getrandom::fill(bytes.as_flattened_mut()).ok()?;
            left.extend(bytes);
        }
        left.pop()
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_carry_the_time_and_differ() {
        let ids = Ids::random();
        let (a, b) = (ids.next(1_700_000_000_123), ids.next(1_700_000_000_123));
        assert_ne!(a, b);
        let parsed = Uuid::parse_str(&a).unwrap();
        assert_eq!(parsed.get_version_num(), 7);
        let (seconds, nanos) = parsed.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }

    #[test]
    fn no_randomness_is_given_twice() {
        let ids = Ids::random();
        let many = 3 * IDS_AT_ONCE + 1;
        let all: std::collections::BTreeSet<_> =
            (0..many).map(|_| ids.next(1).split_off("00000000-0000-".len())).collect();
        assert_eq!(all.len(), many);
        assert_ne!(ids.next(1), Ids::random().next(1));
    }

    #[test]
    fn counting_ids_are_valid_and_repeatable() {
        let ids = Ids::counting();
        assert_eq!(ids.next(0), "00000000-0000-7000-8000-000000000001");
        let second = Uuid::parse_str(&ids.next(0)).unwrap();
        assert_eq!(second.get_version_num(), 7);
    }

    #[test]
    fn a_fixed_clock_keeps_both_units_equal() {
        let clock = Clock::fixed(42);
        assert_eq!((clock.now_ms(), clock.now_us()), (42, 42_000));
    }
}
