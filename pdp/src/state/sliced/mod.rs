//! A shared store of which each decision point leases slices, so that most decisions need no
//! round trip.
//!
//! # Layout
//!
//! - [`slices`]: the arithmetic, pure, and by how much a limit can be gone over.
//! - `calls`: calls that were decided here.
//! - this file: what is decided here and what the store decides.
//!
//! A slice is counted in the store as soon as it is leased; what is left of it goes back when its
//! life ends. So a decision point that dies loses what it held, and gains nothing.
//!
//! Decided here: calls of implicit sessions whose policy reads no session and takes nothing but
//! budgets over time that can be sliced. Such calls leave no trace in their session, which nobody
//! would read, and their ids are known to this decision point alone. Everything else goes to the
//! store, whose counters hold what is leased as well: they stay exact.

mod calls;
pub mod slices;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use lictor_proto::decide::{Outcome, Settle};
use lictor_proto::decision::{Effect, Labels};
use lictor_proto::revocation::Kind;

use self::calls::{Calls, Here, Known, settled};
use self::slices::{Slices, Slicing, Taken};
use super::approval::{Answer, ApprovalRecord, Binding};
use super::counters::{Page, Wanted};
use super::owner::{Owner, Voided};
use super::redis::Redis;
use super::redis::lease::Want;
use super::{
    Commit, Committed, Reservation, SessionKey, Shared, Snapshot, State, StateError, Stored,
};

/// How often what is past its time goes back, in parts of a slice's life.
const TENDED_PER_LIFE: u64 = 4;

/// A shared store with slices.
#[derive(Debug, Clone)]
pub struct Sliced {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Redis,
    slices: Mutex<Slices>,
    calls: Mutex<Calls>,
    /// One lease at a time: those who wait find what the first one brought.
    leasing: tokio::sync::Mutex<()>,
}

impl Sliced {
    /// Slices of `shared`. Without [`Sliced::tend`] they only go back when they are next wanted.
    #[must_use]
    pub fn new(shared: Redis, slicing: Slicing) -> Self {
        let inner = Inner {
            shared,
            slices: Mutex::new(Slices::new(slicing)),
            calls: Mutex::default(),
            leasing: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Gives back what is past its time, in the background, until the last clone is dropped.
    pub fn tend(&self, life_ms: i64, now_ms: impl Fn() -> i64 + Send + 'static) {
        let inner = Arc::downgrade(&self.inner);
        let every = u64::try_from(life_ms).unwrap_or_default() / TENDED_PER_LIFE;
        tokio::spawn(tend(inner, Duration::from_millis(every.max(1)), now_ms));
    }

    /// Gives back what is past its time, or everything. What the store cannot be told is kept for
    /// the next time.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    pub async fn give_back(&self, now_ms: i64, all: bool) -> Result<(), StateError> {
        self.inner.give_back(now_ms, all).await
    }
}

async fn tend(inner: Weak<Inner>, every: Duration, now_ms: impl Fn() -> i64 + Send) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.give_back(now_ms(), false).await {
            tracing::debug!(%error, "slices go back later");
        }
    }
}

impl Inner {
    fn slices(&self) -> MutexGuard<'_, Slices> {
        // Numbers that are whole after every statement: a panic elsewhere leaves nothing half done.
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn give_back(&self, now_ms: i64, all: bool) -> Result<(), StateError> {
        let due = self.slices().due(now_ms, all);
        let mut outcome = Ok(());
        for (tenant, corrections) in due {
            let told = match &outcome {
                Ok(()) => self.shared.correct(&tenant, &corrections, now_ms).await,
                Err(_) => outcome.clone(),
            };
            if told.is_err() {
                self.slices().put_off(tenant, corrections);
                outcome = told;
            }
        }
        outcome
    }

    /// Takes from slices, leasing what is missing once; `None` where the store must decide.
    async fn take(
        self: &Arc<Self>,
        commit: &Commit,
        now_ms: i64,
    ) -> Result<Option<(Reservation, Vec<slices::Held>)>, StateError> {
        let tenant = &commit.session.tenant;
        let limits = taken_limits(commit);
        for try_lease in [true, true, false] {
            let taken = self.slices().take(tenant, limits, now_ms);
            match taken {
                Taken::All { states, held, low } => {
                    self.fill(tenant, low, now_ms);
                    return Ok(Some((Reservation::Held(states), held)));
                }
                Taken::Missing(_) if try_lease => {}
                Taken::Missing(_) | Taken::Dry => return Ok(None),
            }
            let _turn = self.leasing.lock().await;
            // Whoever was here before may have brought enough.
            let again = self.slices().take(tenant, limits, now_ms);
            match again {
                Taken::All { states, held, .. } => {
                    return Ok(Some((Reservation::Held(states), held)));
                }
                Taken::Missing(wants) => self.lease(tenant, wants, now_ms).await?,
                Taken::Dry => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn lease(
        &self,
        tenant: &str,
        mut wants: Vec<Want>,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.slices().ask(tenant, &mut wants, now_ms);
        let mut asked = Asked { inner: self, tenant, wants: &wants, came: false };
        let grants = self.shared.lease(tenant, &wants, now_ms).await?;
        asked.came = true;
        let mut slices = self.slices();
        for (want, grant) in wants.iter().zip(grants) {
            slices.put(tenant, want, grant, now_ms);
        }
        Ok(())
    }

    /// Fills slices up before they are empty, while others go on taking from them.
    fn fill(self: &Arc<Self>, tenant: &str, low: Vec<Want>, now_ms: i64) {
        if low.is_empty() {
            return;
        }
        let (inner, tenant) = (Arc::clone(self), tenant.to_owned());
        tokio::spawn(async move {
            if let Err(error) = inner.lease(&tenant, low, now_ms).await {
                tracing::debug!(%error, "slices are not filled up");
            }
        });
    }

    /// Whether nobody but this decision point has to know of the call.
    fn is_ours(&self, commit: &Commit) -> bool {
        let verdict = &commit.verdict;
        commit.session.implicit
            && commit.version.is_none()
            && !commit.watched
            && commit.opens.is_none()
            && verdict.approvals_used.is_empty()
            && verdict.marks.is_empty()
            && verdict.labels == Labels::default()
            && self.slices().can_take(taken_limits(commit))
    }

    fn again(&self, commit: &Commit) -> Option<Committed> {
        let calls = self.calls();
        match calls.of(&commit.session.tenant, &commit.call_id)? {
            Known::Elsewhere => None,
            Known::Abandoned => Some(Committed::Abandoned),
            Known::Here(here) => {
                let same =
                    here.peer == commit.peer && here.stored.request_digest == commit.request_digest;
                let stored = || Committed::Stored(here.stored.clone());
                Some(if same { stored() } else { Committed::Reused })
            }
        }
    }

    async fn commit_here(
        self: &Arc<Self>,
        commit: &Commit,
        now_ms: i64,
    ) -> Result<Option<Committed>, StateError> {
        let Some((reservation, held)) = self.take(commit, now_ms).await? else { return Ok(None) };
        let stored = Stored {
            request_digest: commit.request_digest.clone(),
            decision_id: commit.decision_id.clone(),
            labels: commit.verdict.labels,
            reservation,
            approval: None,
            verdict: Arc::clone(&commit.verdict),
        };
        let here = Here { peer: commit.peer.clone(), stored: stored.clone(), held, settled: false };
        let mut calls = self.calls();
        // The same call came in between, or was given up: what it took goes back.
        if calls.of(&commit.session.tenant, &commit.call_id).is_some() {
            drop(calls);
            let mut slices = self.slices();
            for held in &here.held {
                slices.refund(&commit.session.tenant, held, held.limit.cost, now_ms);
            }
            drop(slices);
            return Ok(self.again(commit));
        }
        calls.keep(&commit.session.tenant, &commit.call_id, Known::Here(Box::new(here)), now_ms);
        Ok(Some(Committed::Stored(stored)))
    }

    fn settle_here(&self, tenant: &str, held: &[slices::Held], settle: &Settle, now_ms: i64) {
        let mut slices = self.slices();
        for held in held {
            let (back, beyond) = settled(held, settle);
            if back > 0 {
                slices.refund(tenant, held, back, now_ms);
            }
            if beyond > 0 {
                slices.book(tenant, held, beyond, now_ms);
            }
        }
    }
}

/// What is on its way. Dropped, it is lost: the store did not answer, or nobody waits any more.
struct Asked<'a> {
    inner: &'a Inner,
    tenant: &'a str,
    wants: &'a [Want],
    came: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.came {
            self.inner.slices().lost(self.tenant, self.wants);
        }
    }
}

/// Limits that the commit takes of: none where it permits nothing.
fn taken_limits(commit: &Commit) -> &[lictor_policy_lib::limits::LimitRequest] {
    let permits = commit.permits && commit.verdict.effect == Effect::Allow;
    if permits { &commit.verdict.limits } else { &[] }
}

#[async_trait]
impl State for Sliced {
    fn is_far(&self) -> bool {
        true
    }

    async fn read(
        &self,
        session: &SessionKey,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError> {
        self.inner.shared.read(session, binding, now_ms).await
    }

    async fn commit(&self, commit: Commit, now_ms: i64) -> Result<Committed, StateError> {
        if let Some(known) = self.inner.again(&commit) {
            return Ok(known);
        }
        let elsewhere = self.inner.calls().of(&commit.session.tenant, &commit.call_id).is_some();
        if !elsewhere
            && self.inner.is_ours(&commit)
            && let Some(committed) = self.inner.commit_here(&commit, now_ms).await?
        {
            return Ok(committed);
        }
        let (tenant, call_id) = (commit.session.tenant.clone(), commit.call_id.clone());
        let committed = self.inner.shared.commit(commit, now_ms).await?;
        self.inner.calls().keep(&tenant, &call_id, Known::Elsewhere, now_ms);
        Ok(committed)
    }

    async fn stored(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Result<Option<Stored>, StateError> {
        {
            let calls = self.inner.calls();
            match calls.of(tenant, call_id) {
                Some(Known::Here(here)) if here.peer == peer => {
                    return Ok(Some(here.stored.clone()));
                }
                Some(Known::Elsewhere) => {}
                // A commit asks the store itself where it has to.
                _ => return Ok(None),
            }
        }
        self.inner.shared.stored(tenant, peer, call_id).await
    }

    async fn settle(
        &self,
        tenant: &str,
        peer: &str,
        settle: &Settle,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let here = self.inner.calls().settle(tenant, peer, &settle.call_id);
        match here {
            Some(held) => {
                let held = held.map_err(StateError::Settle)?;
                self.inner.settle_here(tenant, &held, settle, now_ms);
                if settle.outcome == Outcome::NotSent {
                    // What is given back cannot be decided a second time.
                    let mut calls = self.inner.calls();
                    calls.keep(tenant, &settle.call_id, Known::Abandoned, now_ms);
                }
                Ok(())
            }
            None => {
                let unknown = self.inner.calls().of(tenant, &settle.call_id).is_none();
                if unknown && settle.outcome == Outcome::NotSent {
                    // A decision that comes late must not be usable, here as in the store.
                    let mut calls = self.inner.calls();
                    calls.keep(tenant, &settle.call_id, Known::Abandoned, now_ms);
                }
                self.inner.shared.settle(tenant, peer, settle, now_ms).await
            }
        }
    }

    async fn extend(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let here = self.inner.calls().extend(tenant, peer, call_id, now_ms);
        match here {
            Some(extended) => extended.map_err(StateError::Settle),
            None => self.inner.shared.extend(tenant, peer, call_id, now_ms).await,
        }
    }

    async fn counters(
        &self,
        tenant: &str,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Result<Page, StateError> {
        self.inner.shared.counters(tenant, wanted, now_ms).await
    }

    async fn reset(
        &self,
        tenant: &str,
        id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<u64, StateError> {
        let emptied = self.inner.shared.reset(tenant, id, key, now_ms).await?;
        self.inner.slices().forget(tenant, id, key);
        Ok(emptied)
    }

    async fn renew_session(
        &self,
        key: &SessionKey,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.inner.shared.renew_session(key, expires_ms, now_ms).await
    }

    async fn open_session(
        &self,
        key: &SessionKey,
        implicit: &SessionKey,
        owner: &Owner,
        expires_ms: i64,
    ) -> Result<(), StateError> {
        self.inner.shared.open_session(key, implicit, owner, expires_ms).await
    }

    async fn void(
        &self,
        tenant: &str,
        kind: Kind,
        id: &str,
        now_ms: i64,
    ) -> Result<Voided, StateError> {
        self.inner.shared.void(tenant, kind, id, now_ms).await
    }

    async fn approvals(&self, now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError> {
        self.inner.shared.approvals(now_ms).await
    }

    async fn approval(&self, id: &str) -> Result<Option<ApprovalRecord>, StateError> {
        self.inner.shared.approval(id).await
    }

    async fn resolve(
        &self,
        id: &str,
        answer: Answer,
        now_ms: i64,
    ) -> Result<ApprovalRecord, StateError> {
        self.inner.shared.resolve(id, answer, now_ms).await
    }

    async fn know_tenant(&self, tenant: &str) -> Result<bool, StateError> {
        self.inner.shared.know_tenant(tenant).await
    }

    async fn shared_text(&self, known: &str) -> Result<Option<Shared>, StateError> {
        State::shared_text(&self.inner.shared, known).await
    }

    async fn put_shared_text(
        &self,
        expected: &str,
        text: &str,
    ) -> Result<Option<String>, StateError> {
        State::put_shared_text(&self.inner.shared, expected, text).await
    }

    async fn raise_floor(&self, tenant: &str, version: u64) -> Result<Option<u64>, StateError> {
        self.inner.shared.raise_floor(tenant, version).await
    }

    async fn close(&self) -> Result<(), StateError> {
        self.inner.give_back(i64::MAX, true).await
    }
}
