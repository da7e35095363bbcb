//! A bounded queue that nobody waits to get into.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Waiting work of a kind, bounded by number and by bytes.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    number_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(number_max: usize, bytes_max: usize) -> Self {
        let state = State { waiting: VecDeque::new(), bytes: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), number_max, bytes_max }
    }

    /// Takes `item`, if there is room for it; never waits for any.
    pub(super) fn offer(&self, bytes: usize, item: T) -> bool {
        let mut state = self.state();
        let after = state.bytes.saturating_add(bytes);
        if state.closed || state.waiting.len() >= self.number_max || after > self.bytes_max {
            return false;
        }
        state.bytes = after;
        state.waiting.push_back((bytes, item));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// The next one; waits for it. `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let state = self.state();
        let idle = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        let waited = self.changed.wait_while(state, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let (bytes, item) = state.waiting.pop_front()?;
        state.bytes = state.bytes.saturating_sub(bytes);
        Some(item)
    }

    /// Takes nothing more; what waits is still given out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Drops what waits; how many that were.
    pub(super) fn clear(&self) -> usize {
        let mut state = self.state();
        state.bytes = 0;
        state.waiting.drain(..).count()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_finds_no_room_is_turned_away() {
        let queue = Queue::new(2, 100);
        assert!(queue.offer(60, 'a'));
        assert!(!queue.offer(41, 'b'), "one byte too many");
        assert!(queue.offer(40, 'c'));
        assert!(!queue.offer(0, 'd'), "one too many");
        assert_eq!((queue.take(), queue.len()), (Some('a'), 1));
        assert!(queue.offer(60, 'e'), "room is given back");
        assert!(!queue.offer(usize::MAX, 'f'));
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_ends() {
        let queue = Queue::new(9, 9);
        assert!(queue.offer(1, 1) && queue.offer(1, 2));
        queue.close();
        assert!(!queue.offer(1, 3));
        assert_eq!([queue.take(), queue.take(), queue.take()], [Some(1), Some(2), None]);
    }

    #[test]
    fn who_waits_is_woken() {
        let queue = Arc::new(Queue::new(9, 9));
        let waiting = Arc::clone(&queue);
        let taken = std::thread::spawn(move || [waiting.take(), waiting.take()]);
        assert!(queue.offer(1, 7));
        queue.close();
        assert_eq!(taken.join().unwrap(), [Some(7), None]);
        assert_eq!((queue.clear(), queue.len()), (0, 0));
    }
}
