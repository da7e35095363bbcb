//! Where random bytes come from: the operating system, or a fixed stream in golden tests.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::{Zeroize as _, Zeroizing};

/// Fills a buffer with random bytes; `false` if none can be had.
pub(crate) type Entropy = Arc<dyn Fn(&mut [u8]) -> bool + Send + Sync>;

/// Bytes that are asked of the operating system at once, since asking costs more than they do.
const POOL_BYTES: usize = 4_096;

/// The operating system's generator.
pub(crate) fn system() -> Entropy {
    pooled(|out| getrandom::fill(out).is_ok())
}

/// `source`, asked for many bytes at once; each byte is handed out once and then forgotten.
fn pooled(source: impl Fn(&mut [u8]) -> bool + Send + Sync + 'static) -> Entropy {
    let pool = Mutex::new(Pool { bytes: Zeroizing::new([0; POOL_BYTES]), left: 0 });
    Arc::new(move |out| {
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.take(out, &source).is_some()
    })
}

struct Pool {
    bytes: Zeroizing<[u8; POOL_BYTES]>,
    /// How many bytes at the beginning nobody has had yet.
    left: usize,
}

impl Pool {
    fn take(&mut self, out: &mut [u8], source: &impl Fn(&mut [u8]) -> bool) -> Option<()> {
        if out.len() > POOL_BYTES {
            return source(out).then_some(());
        }
        if self.left < out.len() {
            // Nothing is left of them where the source fails half-way.
            self.left = 0;
            if !source(self.bytes.as_mut_slice()) {
                return None;
            }
            self.left = POOL_BYTES;
        }
        let start = self.left.checked_sub(out.len())?;
        let taken = self.bytes.get_mut(start..self.left)?;
        out.copy_from_slice(taken);
        taken.zeroize();
        self.left = start;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    #[test]
    fn no_byte_is_handed_out_twice() {
        let next = AtomicU64::new(0);
        let entropy = pooled(move |out| {
            for chunk in out.chunks_exact_mut(8) {
                chunk.copy_from_slice(&next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            }
            true
        });
        let mut seen = std::collections::HashSet::new();
        for size in [8, 40, 4_096, 8, 4_088, 4_104, 16].into_iter().cycle().take(300) {
            let mut out = vec![0; size];
            assert!(entropy(&mut out));
            for chunk in out.chunks_exact(8) {
                assert!(seen.insert(chunk.to_vec()), "{size}");
            }
        }
    }

    #[test]
    fn a_source_that_fails_gives_nothing_until_it_works_again() {
        let works = Arc::new(AtomicBool::new(true));
        let own = Arc::clone(&works);
        let entropy = pooled(move |out| {
            out.fill(7);
            own.load(Ordering::Relaxed)
        });
        let mut out = [0; 3_000];
        assert!(entropy(&mut out));
        works.store(false, Ordering::Relaxed);
        assert!(!entropy(&mut out));
        assert!(!entropy(&mut [0; 8]), "nothing is left of what came half-way");
        works.store(true, Ordering::Relaxed);
        assert!(entropy(&mut out));
    }
}
