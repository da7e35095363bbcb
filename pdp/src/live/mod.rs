//! The live bundle of each tenant. A swap is one pointer; a decision holds the
//! bundle that it began with to its end.
//!
//! # Layout
//!
//! - this file: what is live, and what is known of where it comes from.
//! - [`follow`]: the live bundle follows its source.
//! - [`metrics`]: both for Prometheus.
//! - `reaper`: drops what was replaced, where nobody waits for it.

pub(crate) mod follow;
pub(crate) mod metrics;
mod reaper;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use lictor_policy_lib::load::LoadedBundle;

use self::reaper::Reaper;

/// What is live, and why a candidate was refused.
#[derive(Clone, Default)]
pub struct TenantBundle {
    /// Decides; `None` denies everything.
    pub live: Option<Arc<LoadedBundle>>,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// Where the live one comes from.
    pub origin: Option<Origin>,
    /// The newest candidate, if it was refused.
    pub refused: Option<RefusedBundle>,
    /// How many candidates were refused, by id.
    pub refusals: BTreeMap<String, u64>,
    /// How the source is.
    pub source: SourceHealth,
}

/// How a source is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceHealth {
    /// When it was asked last, Unix milliseconds; 0 for never.
    pub checked_ms: i64,
    /// When it answered last, Unix milliseconds; 0 for never.
    pub answered_ms: i64,
    /// Why it did not answer, the last time that it did not.
    pub failed: Option<Refusal>,
    /// How often it did not answer.
    pub failures: u64,
}

/// Where a live bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `source`, or `last_good` for the kept copy.
    pub from: &'static str,
    /// The source, without secrets.
    pub place: String,
}

impl Origin {
    /// From the source itself.
    #[must_use]
    pub fn source(place: &str) -> Self {
        Self { from: "source", place: place.to_owned() }
    }

    /// From the copy that was kept.
    #[must_use]
    pub fn last_good(place: &str) -> Self {
        Self { from: "last_good", place: place.to_owned() }
    }
}

/// A candidate that was refused, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedBundle {
    /// Why.
    pub why: Refusal,
    /// Its version, where verification came that far.
    pub version: Option<u64>,
    /// Digest of its archive, where there was one.
    pub digest: Option<String>,
}

/// Why a candidate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable id.
    pub id: String,
    /// What is wrong.
    pub message: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// Live bundles by tenant.
#[derive(Default)]
pub struct Live {
    tenants: ArcSwap<BTreeMap<String, TenantBundle>>,
    /// Serialises writers; readers never wait.
    writing: Mutex<()>,
    replaced: Reaper<LoadedBundle>,
}

impl Live {
    /// Nothing is live.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bundle that decides for `tenant`.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Option<Arc<LoadedBundle>> {
        self.tenants.load().get(tenant)?.live.clone()
    }

    /// Everything, for status.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, TenantBundle> {
        BTreeMap::clone(&self.tenants.load())
    }

    /// Makes `bundle` live. The same archive again is live since it first was. The bundle before
    /// is dropped aside, after the last decision that began with it.
    pub fn swap(&self, tenant: &str, bundle: LoadedBundle, origin: Origin, now_ms: i64) {
        // Held until the reaper has it, so that no reader of the old state is the last.
        let mut before = None;
        self.change(tenant, |state| {
            before.clone_from(&state.live);
            let digest = &bundle.reference().digest;
            if state.live.as_ref().is_none_or(|live| live.reference().digest != *digest) {
                state.since_ms = now_ms;
            }
            state.live = Some(Arc::new(bundle));
            state.origin = Some(origin);
            state.refused = None;
        });
        if let Some(before) = before {
            self.replaced.retire(before);
        }
    }

    /// Drops aside a bundle that does not become live.
    pub(crate) fn discard(&self, bundle: LoadedBundle) {
        self.replaced.retire(Arc::new(bundle));
    }

    /// Notes a refusal; the old bundle stays live.
    pub fn refuse(&self, tenant: &str, refused: RefusedBundle) {
        self.change(tenant, |state| {
            let count = state.refusals.entry(refused.why.id.clone()).or_default();
            *count = count.saturating_add(1);
            state.refused = Some(refused);
        });
    }

    /// Notes that the source answered.
    pub fn answered(&self, tenant: &str, now_ms: i64) {
        self.change(tenant, |state| {
            (state.source.checked_ms, state.source.answered_ms) = (now_ms, now_ms);
        });
    }

    /// Notes that the source did not answer.
    pub fn unreachable(&self, tenant: &str, why: Refusal) {
        self.change(tenant, |state| {
            state.source.checked_ms = why.at_ms;
            state.source.failures = state.source.failures.saturating_add(1);
            state.source.failed = Some(why);
        });
    }

    fn change(&self, tenant: &str, change: impl FnOnce(&mut TenantBundle)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tenants = BTreeMap::clone(&self.tenants.load());
        change(tenants.entry(tenant.to_owned()).or_default());
        self.tenants.store(Arc::new(tenants));
    }
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
    use lictor_policy_lib::load::Times;

    use super::*;

    fn bundle(version: u64) -> LoadedBundle {
        let manifest = format!(r#"{{"metadata":{{"lictor":{{"name":"n","version":{version}}}}}}}"#);
        let (limits, floor) =
            (Limits::default(), Floor { min_version: 0, window: Window::Ignored });
        let files = Files::from_pairs([(".manifest", manifest.into_bytes())], &limits).unwrap();
        let verified = verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, 1);
        LoadedBundle::load(verified.unwrap(), Times::Ignored).unwrap()
    }

    #[test]
    fn whoever_decides_by_a_replaced_bundle_last_does_not_hold_it_alone() {
        let live = Live::new();
        live.swap("default", bundle(1), Origin::source("test"), 1);
        let deciding = live.of("default").unwrap();
        live.swap("default", bundle(2), Origin::source("test"), 2);
        assert_eq!(live.of("default").unwrap().reference().version, 2);
        assert!(Arc::strong_count(&deciding) > 1, "the reaper has it too");
        let replaced = Arc::downgrade(&deciding);
        drop(deciding);
        // The reaper's is the last, sooner or later.
        while replaced.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
