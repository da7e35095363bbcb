//! Work of one load on several threads. What comes of it is the same for any number of them.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Stack of a thread, bytes: what is read is nested up to its limits, in builds without
/// optimisation too.
const STACK_BYTES: usize = 8 << 20;
/// Parts of the work for each thread, so that none waits long for another's last part.
const PARTS_PER_THREAD: usize = 8;

/// How many threads a load may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads(NonZeroUsize);

impl Default for Threads {
    /// One for each core of the machine.
    fn default() -> Self {
        Self(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl Threads {
    /// So many; at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN))
    }

    /// Does the work on every item, and returns what came of each, in the order of the items.
    pub(crate) fn map<T: Sync, R: Send>(
        self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let threads = self.0.get().min(items.len());
        if threads < 2 {
            return items.iter().map(work).collect();
        }
        let parts: Vec<&[T]> =
            items.chunks(items.len().div_ceil(threads * PARTS_PER_THREAD).max(1)).collect();
        let next = AtomicUsize::new(0);
        let one_thread = || {
            let mut done: Vec<(usize, Vec<R>)> = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts.get(number) else { return done };
                done.push((number, part.iter().map(&work).collect()));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let others = (1..threads).filter_map(|_| {
                let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
                // What cannot be started leaves its share to the others.
                thread.spawn_scoped(scope, one_thread).ok()
            });
            let others: Vec<_> = others.collect();
            let mut done = one_thread();
            for other in others {
                match other.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        });
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().flat_map(|(_, results)| results).collect()
    }

    /// Does two things, at the same time if there is more than one thread.
    pub(crate) fn both<A, B: Send>(
        self,
        one: impl FnOnce() -> A,
        other: impl Fn() -> B + Sync,
    ) -> (A, B) {
        if self.0.get() < 2 {
            return (one(), other());
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let Ok(thread) = thread.spawn_scoped(scope, &other) else {
                return (one(), other());
            };
            let one = one();
            match thread.join() {
                Ok(other) => (one, other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items_for_any_number_of_threads() {
        let items: Vec<usize> = (0..1_000).collect();
        let squares: Vec<usize> = items.iter().map(|item| item * item).collect();
        for threads in [0, 1, 2, 3, 16, 2_000] {
            assert_eq!(Threads::new(threads).map(&items, |item| item * item), squares);
        }
        assert_eq!(Threads::new(4).map(&[] as &[usize], |item| item * item), Vec::<usize>::new());
    }

    #[test]
    fn every_thread_takes_part() {
        let threads = Threads::new(2);
        let meeting = std::sync::Barrier::new(2);
        // Ends only if two are at it at the same time.
        let ids = threads.map(&[0, 1], |_| {
            meeting.wait();
            std::thread::current().id()
        });
        assert_ne!(ids[0], ids[1]);
        let both = threads.both(|| meeting.wait().is_leader(), || meeting.wait().is_leader());
        assert_ne!(both.0, both.1);
    }

    #[test]
    fn a_panic_of_one_thread_is_a_panic() {
        let work = |item: &usize| assert!(*item != 7);
        let caught = std::panic::catch_unwind(|| Threads::new(2).map(&[7, 1, 7, 7], work));
        assert!(caught.is_err());
    }
}
