//! Telling others what becomes of approvals. Events are derived from the state and kept on disk
//! until they are delivered, so no decision ever waits for a receiver, and a restart loses none.
//!
//! # Layout
//!
//! - this file: the tasks of a running decision point.
//! - [`config`]: `[pdp.approvals]` of `lictor.toml`.
//! - [`event`]: which events an approval has had, pure.
//! - [`body`]: what a receiver gets, pure.
//! - [`sign`]: the signature over it, pure.
//! - [`outbox`]: what was told and what is still to be delivered, on disk.
//! - [`post`]: one delivery.
//! - [`deliver`]: deliveries of one receiver, in order, tried again.

pub mod body;
pub mod config;
pub mod deliver;
pub mod event;
pub mod outbox;
pub mod post;
pub mod sign;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lictor_identity::files::FileError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::config::{ApprovalsConfig, ConfigError};
use self::deliver::{Deliverer, Pace};
use self::outbox::{Outbox, OutboxError};
use self::post::{HttpPost, Post};
use self::sign::{KEY_MAX_BYTES, KEY_MIN_BYTES, Key, SECRET_PREFIX};
use crate::approvals::wait::Changes;
use crate::clock::Clock;
use crate::state::State;

/// Longest time between two looks at the approvals, milliseconds: how late an expiry, or what
/// happened at another decision point, is told.
pub const LOOK_MS: u64 = 5_000;
/// Least time between two looks, milliseconds: what happens within is told together.
pub const GAP_MS: u64 = 100;

/// Why there are no webhooks.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] FileError),
    /// Not a secret, or one that is easily guessed.
    #[error(
        "`{0}` does not hold `{SECRET_PREFIX}` and {KEY_MIN_BYTES} to {KEY_MAX_BYTES} bytes in base64: make it with `echo {SECRET_PREFIX}$(openssl rand -base64 32)`"
    )]
    NotASecret(std::path::PathBuf),
    /// What an earlier process left.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// No client.
    #[error("`{url}` cannot be called: {why}")]
    Client {
        /// The receiver.
        url: String,
        /// What is missing.
        why: String,
    },
}

/// Deliveries since start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken by their receiver.
    pub delivered: AtomicU64,
    /// Tries that failed.
    pub failed: AtomicU64,
    /// Deliveries that were tried for a day and dropped.
    pub given_up: AtomicU64,
    /// Deliveries that wait.
    pub queued: AtomicU64,
}

/// The receivers of a decision point.
pub struct Webhooks {
    outbox: Arc<Outbox>,
    deliverers: Vec<Arc<Deliverer>>,
    counts: Arc<Counts>,
}

impl Webhooks {
    /// The receivers of `config`, with what is still to be delivered in `state_dir`; `None` where
    /// none is configured.
    ///
    /// # Errors
    /// [`OpenError`] says what to mend.
    pub fn open(
        config: &ApprovalsConfig,
        state_dir: &Path,
        clock: &Clock,
    ) -> Result<Option<Self>, OpenError> {
        config.check()?;
        let mut posts: Vec<Arc<dyn Post>> = Vec::new();
        for hook in &config.webhooks {
            posts.push(Arc::new(HttpPost::new(hook)?));
        }
        Self::with(config, state_dir, clock, posts, Pace::default())
    }

    /// As [`Webhooks::open`], with other ways to post and another pace.
    pub(crate) fn with(
        config: &ApprovalsConfig,
        state_dir: &Path,
        clock: &Clock,
        posts: Vec<Arc<dyn Post>>,
        pace: Pace,
    ) -> Result<Option<Self>, OpenError> {
        if config.webhooks.is_empty() {
            return Ok(None);
        }
        let counts = Arc::new(Counts::default());
        let opened = Outbox::open(&state_dir.join("webhooks"), config.clone())?;
        let outbox = Arc::new(opened);
        let mut deliverers = Vec::new();
        for (hook, post) in config.webhooks.iter().zip(posts) {
            let key = Key::read(&hook.secret_file)?;
            let parts = deliver::Parts {
                hook: hook.id(),
                url: hook.shown(),
                key,
                post,
                outbox: Arc::clone(&outbox),
                counts: Arc::clone(&counts),
                clock: clock.clone(),
                pace,
            };
            deliverers.push(Arc::new(Deliverer::new(parts)));
        }
        Ok(Some(Self { outbox, deliverers, counts }))
    }

    /// Deliveries since start.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Begins to look and to deliver, until `down`.
    pub(crate) fn start(
        self,
        state: Arc<dyn State>,
        changes: &Changes,
        clock: Clock,
        down: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let mut tasks: Vec<_> = self
            .deliverers
            .iter()
            .map(|deliverer| tokio::spawn(Arc::clone(deliverer).run(down.clone())))
            .collect();
        let changes = changes.subscribe();
        tasks.push(tokio::spawn(self.look(state, changes, clock, down.clone())));
        tasks
    }

    /// Looks at the approvals whenever one has changed.
    async fn look(
        self,
        state: Arc<dyn State>,
        mut changes: watch::Receiver<u64>,
        clock: Clock,
        mut down: watch::Receiver<bool>,
    ) {
        loop {
            let stopping = *down.borrow();
            let _ = changes.borrow_and_update();
            match state.approvals(clock.now_ms()).await {
                Ok(records) => self.take(records, clock.now_ms()).await,
                Err(error) => tracing::warn!(%error, "approvals cannot be told to webhooks now"),
            }
            if stopping {
                return;
            }
            let pause = async {
                tokio::time::sleep(Duration::from_millis(GAP_MS)).await;
                let rest = Duration::from_millis(LOOK_MS.saturating_sub(GAP_MS));
                drop(tokio::time::timeout(rest, changes.changed()).await);
            };
            // Once more before the end, so that what was answered last is in the outbox.
            tokio::select! {
                () = pause => {}
                _ = down.wait_for(|down| *down) => {}
            }
        }
    }

    async fn take(&self, records: Vec<crate::state::approval::ApprovalRecord>, now_ms: i64) {
        let outbox = Arc::clone(&self.outbox);
        let taken = tokio::task::spawn_blocking(move || outbox.take(&records, now_ms)).await;
        match taken {
            Ok(Ok(taken)) if taken.added.is_empty() => {}
            Ok(Ok(taken)) => {
                let added = taken.added.len() as u64;
                self.counts.queued.fetch_add(added, Ordering::Relaxed);
                for delivery in taken.added {
                    for deliverer in &self.deliverers {
                        if deliverer.is_for(&delivery) {
                            deliverer.add(delivery.clone());
                        }
                    }
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "events of approvals cannot be kept"),
            Err(_) => tracing::error!("keeping events of approvals failed"),
        }
    }
}

/// Prometheus text of the deliveries.
pub(crate) fn metrics_text(counts: &Counts) -> String {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    format!(
        "# TYPE lictor_webhook_deliveries_total counter\n\
         lictor_webhook_deliveries_total{{outcome=\"delivered\"}} {}\n\
         lictor_webhook_deliveries_total{{outcome=\"failed\"}} {}\n\
         lictor_webhook_deliveries_total{{outcome=\"given_up\"}} {}\n\
         # TYPE lictor_webhook_queued gauge\nlictor_webhook_queued {}\n",
        read(&counts.delivered),
        read(&counts.failed),
        read(&counts.given_up),
        read(&counts.queued),
    )
}
