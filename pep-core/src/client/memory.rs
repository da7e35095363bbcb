//! Who was asked what, bounded: the oldest is forgotten first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls, sessions and approvals that are remembered at least, each; twice as many at most.
pub(crate) const REMEMBERED_AT_LEAST: usize = 32_768;

/// Which decision point something belongs to, by its name.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    halves: Mutex<Halves>,
    /// There is only one: everything belongs to it.
    only: bool,
}

/// Names go to the younger half; once that is full it becomes the older one, and what was that is
/// forgotten.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Box<str>, usize>,
    old: HashMap<Box<str>, usize>,
}

impl Memory {
    /// For so many decision points.
    pub(crate) fn of_many(places: usize) -> Self {
        Self { only: places == 1, ..Self::default() }
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        // What is lost to a panic elsewhere is only an entry.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, name: &str, place: usize) {
        if self.only {
            return;
        }
        let mut halves = self.halves();
        if halves.young.len() >= REMEMBERED_AT_LEAST && !halves.young.contains_key(name) {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(name.into(), place);
    }

    pub(crate) fn of(&self, name: &str) -> Option<usize> {
        if self.only {
            return Some(0);
        }
        let halves = self.halves();
        halves.young.get(name).or_else(|| halves.old.get(name)).copied()
    }

    pub(crate) fn forget(&self, name: &str) {
        if self.only {
            return;
        }
        let mut halves = self.halves();
        halves.young.remove(name);
        halves.old.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_last_counts_until_it_is_forgotten() {
        let memory = Memory::default();
        memory.keep("a", 1);
        memory.keep("a", 2);
        assert_eq!((memory.of("a"), memory.of("b")), (Some(2), None));
        memory.forget("a");
        assert_eq!(memory.of("a"), None);
    }

    #[test]
    fn where_there_is_one_nothing_has_to_be_kept() {
        let memory = Memory::of_many(1);
        memory.keep("a", 0);
        assert!(memory.halves().young.is_empty());
        assert_eq!(memory.of("a"), Some(0));
        assert_eq!(Memory::of_many(2).of("a"), None);
    }

    #[test]
    fn the_oldest_is_forgotten_once_there_is_too_much() {
        let memory = Memory::default();
        for n in 0..REMEMBERED_AT_LEAST * 2 {
            memory.keep(&n.to_string(), n);
        }
        assert_eq!(memory.of("0"), Some(0));
        memory.keep("one more", 7);
        assert_eq!((memory.of("0"), memory.of("one more")), (None, Some(7)));
        assert_eq!(memory.of(&(REMEMBERED_AT_LEAST).to_string()), Some(REMEMBERED_AT_LEAST));
    }
}
