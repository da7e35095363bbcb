//! Where random bytes come from: the operating system, or a fixed stream in golden tests.

use std::sync::Arc;

/// Fills a buffer with random bytes; `false` if none can be had.
pub(crate) type Entropy = Arc<dyn Fn(&mut [u8]) -> bool + Send + Sync>;

/// The operating system's generator.
pub(crate) fn system() -> Entropy {
    Arc::new(|out| getrandom::fill(out).is_ok())
}
