//! The live bundle of each tenant. A swap is one pointer; a decision holds the
//! bundle that it began with to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use lictor_policy_lib::load::LoadedBundle;

/// What is live, and why a candidate was refused.
#[derive(Clone, Default)]
pub struct TenantBundle {
    /// Decides; `None` denies everything.
    pub live: Option<Arc<LoadedBundle>>,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// Why the newest candidate was refused.
    pub refused: Option<Refusal>,
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

    /// Makes `bundle` live.
    pub fn swap(&self, tenant: &str, bundle: LoadedBundle, now_ms: i64) {
        self.change(tenant, |state| {
            state.live = Some(Arc::new(bundle));
            state.since_ms = now_ms;
            state.refused = None;
        });
    }

    /// Notes a refusal; the old bundle stays live.
    pub fn refuse(&self, tenant: &str, refusal: Refusal) {
        self.change(tenant, |state| state.refused = Some(refusal));
    }

    fn change(&self, tenant: &str, change: impl FnOnce(&mut TenantBundle)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tenants = BTreeMap::clone(&self.tenants.load());
        change(tenants.entry(tenant.to_owned()).or_default());
        self.tenants.store(Arc::new(tenants));
    }
}
