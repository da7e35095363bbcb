//! One task per issuer on the network: it alone fetches keys, on schedule and on demand.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::client::FetchError;
use super::discovery::{FetchKeys, Loaded};
use super::health::{Health, Standing};
use super::{Now, Timing, schedule};
use crate::error::shown;
use crate::files::random;
use crate::keyring::KeyRing;

/// How long the keys of one issuer are believed and left alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    /// Longest that keys are believed after the last good fetch, seconds.
    pub(crate) keys_max_age_s: u32,
    /// Time from one scheduled fetch to the next, seconds.
    pub(crate) refresh_s: u32,
}

/// Keeps the keys of one issuer fresh until it is dropped.
#[derive(Debug)]
pub(crate) struct Refresher {
    ring: KeyRing,
    standing: Arc<Standing>,
    task: AbortHandle,
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Refresher {
    /// Starts fetching into `ring`, at once the first time.
    pub(crate) fn start(
        iss: &str,
        ring: KeyRing,
        source: impl FetchKeys,
        lifetime: Lifetime,
        timing: &Timing,
        now: Now,
    ) -> Self {
        let standing = Arc::new(Standing::of(iss));
        if let Some(demand) = ring.demand() {
            demand.open(timing.demand_interval);
        }
        let keeper = Keeper {
            iss: shown(iss),
            ring: ring.clone(),
            standing: Arc::clone(&standing),
            source,
            lifetime,
            now,
            failures: 0,
        };
        let task = tokio::spawn(keeper.run()).abort_handle();
        Self { ring, standing, task }
    }

    /// Waits until the first fetch has ended, at most until `deadline`.
    pub(crate) async fn first(&self, deadline: Instant) {
        if let Some(demand) = self.ring.demand() {
            demand.first(deadline).await;
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.standing.now()
    }
}

/// What the task owns.
struct Keeper<F> {
    iss: String,
    ring: KeyRing,
    standing: Arc<Standing>,
    source: F,
    lifetime: Lifetime,
    now: Now,
    /// Failures in a row.
    failures: u32,
}

impl<F> Drop for Keeper<F> {
    /// However the task ends, nobody waits for it any more.
    fn drop(&mut self) {
        if let Some(demand) = self.ring.demand() {
            demand.close();
        }
    }
}

impl<F: FetchKeys> Keeper<F> {
    async fn run(mut self) {
        let ring = self.ring.clone();
        let Some(demand) = ring.demand() else {
            return;
        };
        let mut next = Instant::now();
        loop {
            demand.turn(next).await;
            // Before the question: the answer may be as old as that.
            let asked_ms = (self.now)();
            let wait = match self.source.fetch().await {
                Ok(loaded) => self.keep(loaded, asked_ms),
                Err(error) => self.missed(&error),
            };
            next = Instant::now() + wait;
            demand.ended();
        }
    }

    fn keep(&mut self, loaded: Loaded, asked_ms: i64) -> Duration {
        let before = self.ring.generation();
        let Lifetime { keys_max_age_s, refresh_s } = self.lifetime;
        let until_ms = asked_ms.saturating_add(i64::from(keys_max_age_s) * 1000);
        let key_ids = loaded.jwks.key_ids();
        self.ring.replace(Arc::new(loaded.jwks), Some(until_ms));
        let generation = self.ring.generation();
        if generation != before {
            tracing::info!(iss = %self.iss, ?key_ids, "new keys of an issuer are believed");
        } else if self.failures > 0 {
            tracing::info!(iss = %self.iss, "the keys of an issuer can be fetched again");
        }
        self.failures = 0;
        self.standing.change(|health| {
            health.last_success_ms = Some(asked_ms);
            health.last_error = None;
            health.key_ids = key_ids;
            health.generation = generation;
        });
        schedule::refresh(refresh_s, keys_max_age_s, loaded.max_age_s, chance())
    }

    fn missed(&mut self, error: &FetchError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.ring.at((self.now)(), &self.iss).is_ok() {
            tracing::warn!(iss = %self.iss, %error, "the keys of an issuer could not be fetched; the last ones hold");
        } else {
            tracing::error!(iss = %self.iss, %error, "the keys of an issuer could not be fetched; its tokens are refused");
        }
        self.standing.change(|health| {
            health.last_error = Some(error.to_string());
            health.failures += 1;
        });
        schedule::backoff(self.failures, chance())
    }
}

/// Spreads the delays of many copies of us; without randomness they fall together.
fn chance() -> u16 {
    random::<2>().map_or(0, u16::from_le_bytes)
}

#[cfg(test)]
#[path = "refresher_tests.rs"]
mod tests;
