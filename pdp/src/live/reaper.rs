//! Drops what was replaced, on a thread of its own: taking a large bundle apart takes
//! milliseconds, and whoever decides by it last must not pay them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The thread's name.
pub(crate) const THREAD: &str = "bundle-reaper";
/// Pause between two looks at what others still hold, milliseconds.
const LOOK_MS: u64 = 20;

/// Takes what was replaced, and drops it once nobody else holds it. Its thread starts with the
/// first thing that is given to it, and ends with the reaper.
pub(crate) struct Reaper<T> {
    /// To the thread; `None` if it cannot be started.
    retired: OnceLock<Option<Sender<Arc<T>>>>,
}

impl<T> Default for Reaper<T> {
    fn default() -> Self {
        Self { retired: OnceLock::new() }
    }
}

impl<T: Send + Sync + 'static> Reaper<T> {
    /// Takes one. Whoever holds it besides may go on with it: the last reference is the reaper's.
    pub(crate) fn retire(&self, replaced: Arc<T>) {
        if let Some(retired) = self.retired.get_or_init(start) {
            // The thread lives as long as this sender.
            let _ = retired.send(replaced);
        }
    }
}

fn start<T: Send + Sync + 'static>() -> Option<Sender<Arc<T>>> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name(THREAD.to_owned());
    match thread.spawn(move || reap(&receiver)) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::warn!(%error, "no thread for replaced bundles: whoever holds one last drops it");
            None
        }
    }
}

/// Nobody can get a new reference to what was replaced, so that the only one left stays that.
fn reap<T>(retired: &Receiver<Arc<T>>) {
    let mut held: Vec<Arc<T>> = Vec::new();
    loop {
        let next = match held.is_empty() {
            true => retired.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => retired.recv_timeout(Duration::from_millis(LOOK_MS)),
        };
        match next {
            Ok(replaced) => held.push(replaced),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        held.retain(|replaced| Arc::strong_count(replaced) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells the name of the thread that drops it.
    struct Told(Sender<Option<String>>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn what_nobody_holds_is_dropped_by_the_reaper() {
        let (sender, dropped) = channel();
        let reaper = Reaper::default();
        reaper.retire(Arc::new(Told(sender)));
        assert_eq!(dropped.recv().unwrap().as_deref(), Some(THREAD));
    }

    #[test]
    fn whoever_held_it_last_does_not_drop_it() {
        let (sender, dropped) = channel();
        let reaper = Reaper::default();
        let held = Arc::new(Told(sender.clone()));
        reaper.retire(Arc::clone(&held));
        // The first is still held while a second comes and goes.
        reaper.retire(Arc::new(Told(sender)));
        assert_eq!(dropped.recv().unwrap().as_deref(), Some(THREAD));
        assert!(dropped.try_recv().is_err());
        let last = std::thread::Builder::new().name("a decision".to_owned());
        last.spawn(move || drop(held)).unwrap().join().unwrap();
        assert_eq!(dropped.recv().unwrap().as_deref(), Some(THREAD));
    }

    #[test]
    fn the_thread_ends_with_the_reaper() {
        let (sender, dropped) = channel();
        let held = Arc::new(Told(sender));
        let reaper = Reaper::default();
        reaper.retire(Arc::clone(&held));
        drop(reaper);
        // Only this reference keeps it, sooner or later.
        while Arc::strong_count(&held) > 1 {
            std::thread::yield_now();
        }
        drop(held);
        assert_ne!(dropped.recv().unwrap().as_deref(), Some(THREAD));
    }
}
