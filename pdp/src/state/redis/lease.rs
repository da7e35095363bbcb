//! Parts of limits that one decision point takes for itself, and what it gives back of them.

use lictor_policy_lib::limits::{LimitRequest, Window};

use super::Redis;
use super::commit::kind_of;
use crate::state::counters::{self, AMOUNT_MAX};
use crate::state::{SessionKey, StateError};

/// What is wanted of one limit.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    /// The limit; of a window of time, never of a session.
    pub(crate) limit: LimitRequest,
    /// Units at most.
    pub(crate) units: u64,
    /// Fewer are of no use.
    pub(crate) least: u64,
}

/// What was taken of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Units, 0 where there are not enough.
    pub(crate) units: u64,
    /// Units that are left for others.
    pub(crate) remaining: u64,
    /// When it is full again, Unix milliseconds.
    pub(crate) reset_ms: i64,
    /// When they were taken, by the store's clock, Unix milliseconds.
    pub(crate) taken_ms: i64,
}

/// What is different with one limit afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    /// The limit.
    pub(crate) limit: LimitRequest,
    /// Units that are given back.
    pub(crate) back: u64,
    /// Units that were used beyond what was taken.
    pub(crate) beyond: u64,
    /// When they were taken, by the store's clock, Unix milliseconds.
    pub(crate) taken_ms: i64,
}

impl Redis {
    /// Takes parts of limits of one tenant, in the order of `wants`.
    pub(crate) async fn lease(
        &self,
        tenant: &str,
        wants: &[Want],
        now_ms: i64,
    ) -> Result<Vec<Grant>, StateError> {
        let session = nobody(tenant);
        let mut call = self.scripts.lease.prepare_invoke();
        call.key(self.keys.counters(tenant));
        for want in wants {
            call.key(self.keys.counter(&session, &want.limit));
        }
        call.arg(self.clock.argument(now_ms)).arg(self.keys.session(&session));
        for Want { limit, units, least } in wants {
            let (kind, window) = kind_of(limit);
            let stored_as = self.keys.counter(&session, limit);
            call.arg(kind).arg(window).arg(limit.max.min(AMOUNT_MAX));
            call.arg((*units).min(AMOUNT_MAX)).arg((*least).min(AMOUNT_MAX));
            call.arg(counters::name(limit, "", kind, &stored_as));
        }
        let told: Vec<String> = self.run(&call).await?;
        grants(&told, wants.len()).ok_or_else(|| {
            StateError::Unavailable("the answer to a lease is none of ours".to_owned())
        })
    }

    /// Gives back, and books what was used beyond.
    pub(crate) async fn correct(
        &self,
        tenant: &str,
        corrections: &[Correction],
        now_ms: i64,
    ) -> Result<(), StateError> {
        let session = nobody(tenant);
        let mut call = self.scripts.correct.prepare_invoke();
        call.key(self.keys.emptied(tenant));
        for Correction { limit, .. } in corrections {
            call.key(self.keys.counter(&session, limit));
        }
        call.arg(self.clock.argument(now_ms));
        for Correction { limit, back, beyond, taken_ms } in corrections {
            let (kind, window) = kind_of(limit);
            let signed = |units: u64| units.min(AMOUNT_MAX).cast_signed();
            let ends = match limit.window {
                Window::Calendar { end_ms, .. } => end_ms,
                Window::Sliding { .. } | Window::Session => -1,
            };
            call.arg(kind).arg(window).arg(signed(*back) - signed(*beyond)).arg(taken_ms).arg(ends);
        }
        self.run::<i64>(&call).await.map(|_| ())
    }
}

/// Limits of a window of time belong to no session.
fn nobody(tenant: &str) -> SessionKey {
    SessionKey { tenant: tenant.to_owned(), id: String::new(), implicit: true }
}

fn grants(told: &[String], count: usize) -> Option<Vec<Grant>> {
    let (now, rest) = told.split_first()?;
    let taken_ms = now.parse().ok()?;
    let grant = |text: &String| {
        let mut numbers = text.split(' ');
        Some(Grant {
            units: numbers.next()?.parse().ok()?,
            remaining: numbers.next()?.parse().ok()?,
            reset_ms: numbers.next()?.parse().ok()?,
            taken_ms,
        })
    };
    let grants = rest.iter().map(grant).collect::<Option<Vec<_>>>()?;
    (grants.len() == count).then_some(grants)
}
