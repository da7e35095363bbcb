//! Deliveries of one receiver. The events of one approval are delivered in their order: a later
//! one waits until the one before it was taken or given up. Other approvals go on meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Counts;
use super::event::Event;
use super::outbox::{Delivery, Outbox};
use super::post::{Message, Post, PostError};
use super::sign::Key;
use crate::clock::Clock;

/// How often, and for how long, a delivery is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Pause after the first failure, milliseconds; it doubles with every further one.
    pub first_ms: u64,
    /// Longest pause, milliseconds.
    pub longest_ms: u64,
    /// A delivery that fails after so long is given up, milliseconds.
    pub give_up_ms: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first_ms: 1_000, longest_ms: 600_000, give_up_ms: 86_400_000 }
    }
}

impl Pace {
    /// The pause after `failures` failures: between half and all of what doubling gives, by
    /// `random`, so that decision points that failed together do not come again together.
    #[must_use]
    pub fn pause_ms(&self, failures: u32, random: u64) -> u64 {
        let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        let full = self.first_ms.saturating_mul(doubled).min(self.longest_ms);
        let half = full / 2;
        half + random % (full - half + 1)
    }
}

/// What a [`Deliverer`] is made of.
pub(crate) struct Parts {
    pub(crate) hook: String,
    pub(crate) url: String,
    pub(crate) key: Key,
    pub(crate) post: Arc<dyn Post>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) clock: Clock,
    pub(crate) pace: Pace,
}

/// Delivers to one receiver.
pub struct Deliverer {
    parts: Parts,
    lanes: Mutex<HashMap<String, Lane>>,
    added: Notify,
}

/// The events of one approval.
struct Lane {
    waiting: BTreeMap<Event, Delivery>,
    failures: u32,
    /// Not tried before.
    due: Instant,
}

impl Deliverer {
    pub(crate) fn new(parts: Parts) -> Self {
        let deliverer = Self { parts, lanes: Mutex::default(), added: Notify::new() };
        for delivery in deliverer.parts.outbox.waiting(&deliverer.parts.hook) {
            deliverer.parts.counts.queued.fetch_add(1, Ordering::Relaxed);
            deliverer.add(delivery);
        }
        deliverer
    }

    pub(crate) fn is_for(&self, delivery: &Delivery) -> bool {
        delivery.hook == self.parts.hook
    }

    pub(crate) fn add(&self, delivery: Delivery) {
        let mut lanes = self.lanes();
        let lane = lanes.entry(delivery.approval.clone()).or_insert_with(|| Lane {
            waiting: BTreeMap::new(),
            failures: 0,
            due: Instant::now(),
        });
        lane.waiting.insert(delivery.event, delivery);
        drop(lanes);
        self.added.notify_one();
    }

    /// Delivers until `down`. What is under way then is delivered again after the next start.
    pub(crate) async fn run(self: Arc<Self>, mut down: watch::Receiver<bool>) {
        let work = async {
            loop {
                match self.next() {
                    Some((due, delivery)) if due <= Instant::now() => self.deliver(delivery).await,
                    Some((due, _)) => tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.added.notified() => {}
                    },
                    None => self.added.notified().await,
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = down.wait_for(|down| *down) => {}
        }
    }

    /// The first event of the lane that is due first; of those due at once, the oldest.
    fn next(&self) -> Option<(Instant, Delivery)> {
        let lanes = self.lanes();
        let now = Instant::now();
        let heads = lanes.values().filter_map(|lane| {
            let delivery = lane.waiting.values().next()?;
            Some((lane.due.max(now), delivery))
        });
        let first = heads.min_by_key(|(due, delivery)| (*due, delivery.created_ms, &delivery.id));
        first.map(|(due, delivery)| (due, delivery.clone()))
    }

    async fn deliver(&self, delivery: Delivery) {
        let Parts { key, post, clock, counts, .. } = &self.parts;
        let sent_s = clock.now_ms().div_euclid(1_000);
        let message = Message {
            delivery: delivery.id.clone(),
            event: format!("approval.{}", delivery.event.as_str()),
            signature: key.signature(&delivery.id, sent_s, &delivery.body),
            sent_s,
            body: delivery.body.clone(),
        };
        match post.post(&message).await {
            Ok(()) => {
                counts.delivered.fetch_add(1, Ordering::Relaxed);
                self.over(delivery).await;
            }
            Err(error) => self.failed(delivery, &error).await,
        }
    }

    async fn failed(&self, delivery: Delivery, error: &PostError) {
        let Parts { clock, counts, pace, url, .. } = &self.parts;
        counts.failed.fetch_add(1, Ordering::Relaxed);
        let (approval, event) = (&delivery.approval, delivery.event.as_str());
        if clock.now_ms().saturating_sub(delivery.created_ms) >= pace.give_up_ms {
            counts.given_up.fetch_add(1, Ordering::Relaxed);
            tracing::error!(url, approval, event, %error, "a webhook delivery was given up");
            self.over(delivery).await;
            return;
        }
        let random = lictor_identity::files::random().map_or(0, u64::from_be_bytes);
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(approval) else { return };
        lane.failures = lane.failures.saturating_add(1);
        let pause_ms = pace.pause_ms(lane.failures, random);
        lane.due = Instant::now() + Duration::from_millis(pause_ms);
        tracing::warn!(url, approval, event, pause_ms, %error, "a webhook delivery failed");
    }

    /// Removes a delivery here and on disk.
    async fn over(&self, delivery: Delivery) {
        self.parts.counts.queued.fetch_sub(1, Ordering::Relaxed);
        self.remove(&delivery);
        let outbox = Arc::clone(&self.parts.outbox);
        match tokio::task::spawn_blocking(move || outbox.done(&delivery)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a delivered event stays in the outbox"),
            Err(_) => tracing::error!("removing a delivered event failed"),
        }
    }

    fn remove(&self, delivery: &Delivery) {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(&delivery.approval) else { return };
        lane.waiting.remove(&delivery.event);
        lane.failures = 0;
        lane.due = Instant::now();
        if lane.waiting.is_empty() {
            lanes.remove(&delivery.approval);
        }
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        // Lanes are whole whenever the lock is free.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let pace = Pace::default();
        for (failures, full) in
            [(1, 1_000), (2, 2_000), (10, 512_000), (11, 600_000), (99, 600_000)]
        {
            assert_eq!(pace.pause_ms(failures, 0), full / 2, "{failures}");
            assert_eq!(pace.pause_ms(failures, full - full / 2), full, "{failures}");
            assert!((full / 2..=full).contains(&pace.pause_ms(failures, u64::MAX)));
        }
    }
}
