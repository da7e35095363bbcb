//! Policy that only watches: what it would have decided is counted and recorded, and nobody acts
//! on it. Single rules are weighed where decisions are made; a second bundle is asked here.
//!
//! A decision that was given is put into a queue that nobody waits for. One thread asks the shadow
//! bundle about it, by the same functions that replay a record. That thread holds no store, no
//! handle to the decision point and nothing that is still to be answered: there is no way from
//! here to a permit.
//!
//! # Layout
//!
//! - this file: [`Shadow`]: what is compared, and the thread that does it.
//! - [`config`]: what `[pdp.shadow]` says.
//! - `queue`: a bounded queue. `compare`: one decision, held against the shadow bundle.
//! - `record`: what goes into the audit log. `counts`: what is counted.
//! - `follow`: the shadow bundle follows its source.

mod compare;
pub mod config;
pub(crate) mod counts;
mod follow;
mod queue;
mod record;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lictor_audit::{AppendError, AuditLog, Durability};
use lictor_identity::files::{FileError, ensure_directory};
use lictor_policy_lib::replay::How;
use lictor_proto::call::DEFAULT_TENANT;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) use self::compare::Given;
pub use self::compare::Outcome;
use self::config::ShadowConfig;
use self::counts::OutcomeCounts;
use self::follow::Watching;
use self::queue::Queue;
use crate::clock::Clock;
use crate::live::follow::chance;
use crate::live::{Live, TenantBundle};
use crate::source::watch::Watch;
use crate::source::{BundleAt, BundleSource, SourceConfig, SourceError};

/// Most bytes of calls that wait to be compared.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Folder in the state directory for the kept copy and the version floor of the shadow bundle.
const STATE_FOLDER: &str = "shadow";

/// A second bundle, asked what it would have decided.
pub struct Shadow {
    live: Live,
    audit: AuditLog,
    clock: Clock,
    sample: f64,
    queue: Queue<Given>,
    counts: OutcomeCounts,
    /// Told when the thread has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Why no shadow bundle can be watched.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// A key or setting of its source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its folder in the state directory.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// No thread.
    #[error("no thread can be started for the shadow bundle: {0}")]
    Thread(std::io::Error),
}

impl Shadow {
    /// Compares nothing yet; see [`Shadow::begin`].
    pub(crate) fn new(config: &ShadowConfig, audit: AuditLog, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            live: Live::new(),
            audit,
            clock,
            sample: config.sample,
            queue: Queue::new(config.queue, QUEUE_BYTES_MAX),
            counts: OutcomeCounts::default(),
            ended: Mutex::new(None),
        })
    }

    /// Starts the thread that compares, and follows the source of `config`; what that leaves out
    /// is in `live`, the source of the live bundle. A bundle on this machine is taken before this
    /// returns; one that is far is not waited for.
    ///
    /// # Errors
    /// [`ShadowError`] says what cannot be used. A bundle that is refused is no error.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        config: &ShadowConfig,
        live: SourceConfig,
        stack_bytes: usize,
        down: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, ShadowError> {
        let source = source(config, live);
        ensure_directory(&source.state_dir)?;
        let watching = Watching { shadow: Arc::clone(self) };
        let source = BundleSource::open(&source)?;
        let mut watch = Watch::new(source, watching, self.clock.clone(), chance);
        self.start(stack_bytes)?;
        let is_near = matches!(config.bundle, BundleAt::File(_));
        if is_near {
            unrecorded(watch.start().await);
        }
        Ok(tokio::spawn(async move {
            if !is_near {
                unrecorded(watch.start().await);
            }
            watch.run(down).await;
        }))
    }

    fn start(self: &Arc<Self>, stack_bytes: usize) -> Result<(), ShadowError> {
        let (end, ended) = oneshot::channel();
        let shadow = Arc::clone(self);
        let work = move || {
            shadow.work();
            // Nobody may be waiting.
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("shadow".to_owned());
        thread.stack_size(stack_bytes).spawn(work).map_err(ShadowError::Thread)?;
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        Ok(())
    }

    /// Takes a decision that was given, if it is one of the sample and there is room. Never waits.
    pub(crate) fn offer(&self, given: Given) {
        match given.how.with(&given.verdict.errors) {
            // Nothing that policy said.
            How::Repeated | How::Refused => return,
            // Nothing that would be said again.
            How::Late | How::Uncounted => return self.counts.count(Outcome::Skipped),
            How::Committed | How::Short | How::Evaluated => {}
        }
        if !sampled(&given.decision.decision_id, self.sample) {
            return;
        }
        if !self.queue.offer(given.bytes(), given) {
            self.counts.count(Outcome::Skipped);
        }
    }

    /// Takes nothing more and waits at most `patience` until what waits is compared; what is left
    /// then is counted as skipped.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.queue.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ended) = ended else { return };
        if tokio::time::timeout(patience, ended).await.is_err() {
            let left = self.queue.clear();
            self.counts.add(Outcome::Skipped, left as u64);
            tracing::warn!(left, "decisions were not compared with the shadow bundle");
        }
    }

    /// What is compared with, and why another was refused.
    #[must_use]
    pub fn bundle(&self) -> TenantBundle {
        self.live.all().remove(DEFAULT_TENANT).unwrap_or_default()
    }

    /// Every outcome and how often it came about.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(Outcome, u64)> {
        self.counts.all().collect()
    }

    /// How many decisions wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The share of the decisions that are compared.
    #[must_use]
    pub fn sample(&self) -> f64 {
        self.sample
    }

    fn work(&self) {
        while let Some(given) = self.queue.take() {
            let outcome = self.compare(given);
            self.counts.count(outcome);
        }
    }

    fn compare(&self, given: Given) -> Outcome {
        let Some(bundle) = self.live.of(&given.call.tenant) else { return Outcome::Skipped };
        let (outcome, flip) = compare::compare(&bundle, given);
        let Some(flip) = flip else { return outcome };
        let entry = record::flip(&flip, self.clock.now_ms());
        match self.audit.append_blocking(entry, Durability::Bounded) {
            Ok(_) => outcome,
            Err(error) => {
                tracing::error!(%error, "what the shadow bundle would have decided is not recorded");
                Outcome::Error
            }
        }
    }
}

fn source(config: &ShadowConfig, live: SourceConfig) -> SourceConfig {
    let keys = if config.trust_keys.is_empty() { &live.trust_keys } else { &config.trust_keys };
    SourceConfig {
        trust_keys: keys.clone(),
        bundle: config.bundle.clone(),
        required_signatures: config.required_signatures.unwrap_or(live.required_signatures),
        scope: config.scope.clone().unwrap_or(live.scope),
        min_version: config.min_version,
        // Its versions must never raise the floor of the live bundle.
        state_dir: live.state_dir.join(STATE_FOLDER),
        ..live
    }
}

/// It is looked for again.
fn unrecorded(started: Result<(), AppendError>) {
    if let Err(error) = started {
        tracing::error!(%error, "a change of the shadow bundle could not be recorded");
    }
}

/// Whether a decision is one of the sample: by the random end of its id, so that a share of every
/// kind of call is.
fn sampled(decision_id: &str, share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    let end = decision_id.len().checked_sub(8).and_then(|at| decision_id.get(at..));
    let number = end.and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(u32::MAX);
    f64::from(number) < share * (f64::from(u32::MAX) + 1.0)
}

/// Prometheus text of a shadow bundle.
pub(crate) fn metrics_text(shadow: &Shadow) -> String {
    let mut text = String::from(
        "# HELP lictor_shadow_decisions_total Decisions, by what the shadow bundle would have made of them.\n\
         # TYPE lictor_shadow_decisions_total counter\n",
    );
    for (outcome, count) in shadow.counts.all() {
        let outcome = outcome.as_str();
        let _ = writeln!(text, "lictor_shadow_decisions_total{{outcome=\"{outcome}\"}} {count}");
    }
    let bundle = shadow.bundle();
    let version = bundle.live.as_ref().map_or(0, |live| live.reference().version);
    let (refused, queued) = (u8::from(bundle.refused.is_some()), shadow.queue.len());
    let _ = write!(
        text,
        "# TYPE lictor_shadow_queued gauge\nlictor_shadow_queued {queued}\n\
         # TYPE lictor_shadow_bundle_version gauge\nlictor_shadow_bundle_version {version}\n\
         # TYPE lictor_shadow_bundle_refused gauge\nlictor_shadow_bundle_refused {refused}\n"
    );
    text
}

#[cfg(test)]
mod tests;
