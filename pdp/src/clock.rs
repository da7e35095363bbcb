//! Time and ids as values, so that tests state them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use uuid::{ContextV7, Timestamp, Uuid};

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
    let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(Timestamp::from_unix(ContextV7::new(), ms / 1_000, nanos)).to_string()
}
