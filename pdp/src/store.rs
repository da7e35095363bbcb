//! Looking after the store while the decision point runs: what of it was found at start, whether
//! it began again meanwhile, and a journal that does not grow for ever.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lictor_audit::{AppendError, Durability, Entry, Kind};
use lictor_proto::call::DEFAULT_TENANT;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::decide::Pdp;
use crate::server::stopped;
use crate::state::StateError;
use crate::state::config::{Opened, StoreKind};
use crate::state::memory::{Memory, Recovery};

/// How often the store is looked after, milliseconds.
pub(crate) const TEND_EVERY_MS: u64 = 2_000;

/// What of the store is looked after.
pub(crate) struct Tended {
    kind: StoreKind,
    journaled: Option<Arc<Memory>>,
    recovery: Option<Recovery>,
    /// Tenants that the store had heard of.
    known: BTreeSet<String>,
    answers: bool,
    /// Nothing is recorded yet of what was found, since the store did not answer.
    owes: bool,
}

impl Tended {
    pub(crate) fn new(kind: StoreKind, opened: &Opened) -> Self {
        let (journaled, recovery) = (opened.journaled.clone(), opened.recovery);
        Self { kind, journaled, recovery, known: BTreeSet::new(), answers: true, owes: false }
    }

    /// Records what was found, so that whoever reads the log sees where counters begin.
    pub(crate) async fn record_found(&mut self, pdp: &Pdp) -> Result<(), AppendError> {
        let found = match (self.kind, self.recovery) {
            (StoreKind::Redis, _) => {
                let heard = self.hear_of(pdp, DEFAULT_TENANT).await.ok();
                self.owes = heard.is_none();
                shared(heard)
            }
            (_, Some(found)) if found.is_something() => json!({
                "state": self.kind.as_str(), "counters": "recovered",
                "entries": found.entries, "snapshot": found.snapshot, "cut_bytes": found.cut_bytes,
            }),
            _ => began_again(self.kind),
        };
        record(pdp, &found).await
    }

    /// Looks after the store until `down`.
    pub(crate) async fn run(mut self, pdp: Arc<Pdp>, down: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(TEND_EVERY_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tend(&pdp).await,
                () = stopped(down.clone()) => return,
            }
        }
    }

    async fn tend(&mut self, pdp: &Pdp) {
        if let Some(journaled) = self.journaled.clone() {
            match tokio::task::spawn_blocking(move || journaled.compact()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::error!(%error, "the state journal goes on growing"),
                Err(error) => tracing::error!(%error, "the state journal was not compacted"),
            }
        }
        for tenant in pdp.live.all().into_keys() {
            let known = self.known.contains(&tenant);
            let Ok(new) = self.hear_of(pdp, &tenant).await else { continue };
            let lost = new && known;
            if lost {
                tracing::error!("the state store is empty: counters and sessions began again");
            }
            if (lost || std::mem::take(&mut self.owes))
                && let Err(error) = record(pdp, &shared(Some(new))).await
            {
                tracing::error!(%error, "what the state store holds could not be recorded");
            }
        }
    }

    /// Says once that the store is gone, and once that it is back.
    async fn hear_of(&mut self, pdp: &Pdp, tenant: &str) -> Result<bool, StateError> {
        let heard = pdp.state.know_tenant(tenant).await;
        match &heard {
            Ok(_) => {
                self.known.insert(tenant.to_owned());
                if !self.answers {
                    tracing::info!("the state store answers again");
                }
            }
            Err(error) if self.answers => tracing::error!(%error, "limits go by `on_error`"),
            Err(_) => {}
        }
        self.answers = heard.is_ok();
        heard
    }
}

/// What is found of a shared store: whether it had not heard of us, if it answered.
fn shared(new: Option<bool>) -> Value {
    let counters = match new {
        Some(true) => return began_again(StoreKind::Redis),
        Some(false) => "shared",
        None => "unknown",
    };
    json!({ "state": StoreKind::Redis.as_str(), "counters": counters })
}

fn began_again(kind: StoreKind) -> Value {
    json!({ "state": kind.as_str(), "counters": "began_again" })
}

async fn record(pdp: &Pdp, body: &Value) -> Result<(), AppendError> {
    let entry = Entry::new(Kind::Recovery, pdp.clock.now_ms(), body.to_string());
    pdp.audit.append(entry, Durability::Sync).await.map(|_| ())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
