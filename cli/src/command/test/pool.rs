//! Work on several threads, with results that do not depend on how many there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What came of numbered pieces of work.
pub(super) struct Done<S, T> {
    /// In the order of the numbers; up to the first that stops, if one did.
    pub(super) results: Vec<T>,
    /// What each thread kept.
    pub(super) states: Vec<S>,
}

/// Does the pieces `0..count` on up to `jobs` threads. After a result that `stops`, no
/// later piece counts; all before it do, also those that took longer. Nothing if a
/// thread ended by a panic.
pub(super) fn run<S: Send, T: Send>(
    count: usize,
    jobs: usize,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
    stops: impl Fn(&T) -> bool + Sync,
) -> Option<Done<S, T>> {
    let next = AtomicUsize::new(0);
    let last = AtomicUsize::new(usize::MAX);
    let thread = || {
        let mut state = start();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || number > last.load(Ordering::Relaxed) {
                return (done, state);
            }
            let result = work(&mut state, number);
            if stops(&result) {
                last.fetch_min(number, Ordering::Relaxed);
            }
            done.push((number, result));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.min(count).max(1)).map(|_| scope.spawn(thread)).collect();
        let mut all = Vec::with_capacity(count);
        let mut states = Vec::new();
        for thread in threads {
            let (done, state) = thread.join().ok()?;
            all.extend(done);
            states.push(state);
        }
        let last = last.load(Ordering::Relaxed);
        all.retain(|(number, _)| *number <= last);
        all.sort_by_key(|(number, _)| *number);
        Some(Done { results: all.into_iter().map(|(_, result)| result).collect(), states })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squares(count: usize, jobs: usize, stop_at: usize) -> Vec<usize> {
        let work = |did: &mut usize, number: usize| {
            *did += 1;
            number * number
        };
        let done = run(count, jobs, || 0, work, |square| *square >= stop_at * stop_at).unwrap();
        assert!(done.states.iter().sum::<usize>() >= done.results.len());
        done.results
    }

    #[test]
    fn results_are_in_order_whoever_did_them() {
        let all: Vec<usize> = (0..100).map(|n| n * n).collect();
        for jobs in [1, 2, 8, 200] {
            assert_eq!(squares(100, jobs, 1000), all, "{jobs} jobs");
        }
        assert!(squares(0, 4, 1000).is_empty());
    }

    #[test]
    fn nothing_after_the_first_that_stops_counts() {
        for jobs in [1, 2, 8] {
            assert_eq!(squares(100, jobs, 3), [0, 1, 4, 9], "{jobs} jobs");
        }
    }

    #[test]
    fn a_panic_gives_nothing() {
        let work = |(): &mut (), number: usize| assert_ne!(number, 3);
        assert!(run(10, 2, || (), work, |()| false).is_none());
    }
}
