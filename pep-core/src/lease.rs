//! Calls under way keep what they hold. The decision point takes a call that it hears nothing of
//! for spent: its place in a `concurrent` limit goes to others after some minutes. So whatever
//! takes longer, as streams do, is told of again and again until it ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt as _;
use lictor_proto::decide::{Decide, DecideError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, timeout};

/// A call that is under way for so long is told of, and again after as long, milliseconds. A
/// decision point holds places for five minutes without a word, so that three words may be lost.
pub(crate) const EXTEND_EVERY_MS: u64 = 75_000;
/// How often it is looked whether one is to be told of, milliseconds. What failed is tried again
/// then.
const LOOK_EVERY_MS: u64 = 15_000;
/// How long one word may take, milliseconds.
const EXTEND_TIMEOUT_MS: u64 = 5_000;
/// Most words under way at once.
const AT_ONCE_MAX: usize = 32;

/// Since when each call under way is as the decision point knows it.
type Known = HashMap<String, Instant>;

/// Calls under way. Cloning shares them; the task ends with the last clone.
#[derive(Clone)]
pub(crate) struct Leases {
    known: Arc<Mutex<Known>>,
    _task: Arc<Task>,
}

struct Task(Option<JoinHandle<()>>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A call that is under way until this is dropped.
pub(crate) struct Lease {
    call_id: String,
    known: Weak<Mutex<Known>>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(known) = self.known.upgrade() {
            lock(&known).remove(&self.call_id);
        }
    }
}

impl Leases {
    /// Begins to tell `decide`. Outside of a runtime nobody can.
    pub(crate) fn keep(decide: Arc<dyn Decide>) -> Self {
        let known = Arc::default();
        let task = tokio::runtime::Handle::try_current().ok();
        let task = task.map(|runtime| runtime.spawn(tell(decide, Arc::clone(&known))));
        Self { known, _task: Arc::new(Task(task)) }
    }

    /// The call `call_id` is under way from now on.
    pub(crate) fn begin(&self, call_id: &str) -> Lease {
        lock(&self.known).insert(call_id.to_owned(), Instant::now());
        Lease { call_id: call_id.to_owned(), known: Arc::downgrade(&self.known) }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells for as long as it is polled.
async fn tell(decide: Arc<dyn Decide>, known: Arc<Mutex<Known>>) {
    let mut looks = tokio::time::interval(Duration::from_millis(LOOK_EVERY_MS));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let now = Instant::now();
        let due = due(&lock(&known), now);
        let words = due.into_iter().map(|call_id| extend(&*decide, &known, call_id, now));
        futures::stream::iter(words).buffer_unordered(AT_ONCE_MAX).for_each(async |()| ()).await;
    }
}

fn due(known: &Known, now: Instant) -> Vec<String> {
    let after = Duration::from_millis(EXTEND_EVERY_MS);
    let late = |since: &Instant| now.saturating_duration_since(*since) >= after;
    known.iter().filter(|(_, since)| late(since)).map(|(call_id, _)| call_id.clone()).collect()
}

async fn extend(decide: &dyn Decide, known: &Mutex<Known>, call_id: String, now: Instant) {
    let patience = Duration::from_millis(EXTEND_TIMEOUT_MS);
    match timeout(patience, decide.extend(&call_id)).await {
        Ok(Ok(())) => {
            if let Some(since) = lock(known).get_mut(&call_id) {
                *since = now;
            }
        }
        // It is settled, or was never heard of: telling it again leads nowhere.
        Ok(Err(DecideError::Refused { id, message })) => {
            tracing::debug!(call_id, id, message, "a call under way is not held any more");
            lock(known).remove(&call_id);
        }
        Ok(Err(error)) => tracing::debug!(call_id, %error, "a call under way could not be told of"),
        Err(_) => tracing::debug!(call_id, "a call under way was not heard of in time"),
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
