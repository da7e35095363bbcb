//! Time and ids as values, so that tests state them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::{Builder, ContextV7, Timestamp, Uuid};

/// Random bytes of one id.
const RANDOM_BYTES: usize = 10;
/// Ids whose random bytes are asked of the operating system at once: asking costs more than they.
const POOL_IDS: usize = 256;

/// Gives Unix milliseconds. Never runs back within one process.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl Clock {
    /// The system's clock; a step backwards is held until it is made up.
    #[must_use]
    pub fn system() -> Self {
        let last = AtomicI64::new(i64::MIN);
        Self::from_fn(move || {
            let now = jiff::Timestamp::now().as_millisecond();
            last.fetch_max(now, Ordering::Relaxed).max(now)
        })
    }

    /// A clock that `read` tells.
    #[must_use]
    pub fn from_fn(read: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read) }
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.read)()
    }

    /// The same as a plain function, for the audit log.
    #[must_use]
    pub fn as_fn(&self) -> Arc<dyn Fn() -> i64 + Send + Sync> {
        Arc::clone(&self.read)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now_ms())
    }
}

/// A fresh UUID v7 for `now_ms`.
#[must_use]
pub fn new_id(now_ms: i64) -> String {
    let ms = u64::try_from(now_ms).unwrap_or(0);
    let made = random().map(|bytes| Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid());
    let id = made.unwrap_or_else(|| {
        let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
        Uuid::new_v7(Timestamp::from_unix(ContextV7::new(), ms / 1_000, nanos))
    });
    id.to_string()
}

/// Random bytes that nobody else has had; `None` if the operating system has none.
fn random() -> Option<[u8; RANDOM_BYTES]> {
    static POOL: Mutex<Vec<[u8; RANDOM_BYTES]>> = Mutex::new(Vec::new());
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.is_empty() {
        let mut bytes = [0; RANDOM_BYTES * POOL_IDS];
        getrandom::fill(&mut bytes).ok()?;
        let (ids, _) = bytes.as_chunks::<RANDOM_BYTES>();
        pool.extend_from_slice(ids);
    }
    pool.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_of_their_time_and_never_the_same() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..3 * POOL_IDS as i64 {
            let ms = 1_764_000_000_000 + n;
            let id = Uuid::parse_str(&new_id(ms)).unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            assert_eq!(seconds as i64 * 1_000 + i64::from(nanos) / 1_000_000, ms);
            assert!(
                seen.insert(id.as_u128() & 0x3fff_ffff_ffff_ffff),
                "random bytes of another id"
            );
        }
    }
}
