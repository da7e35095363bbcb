//! State in this process. Without a journal everything is lost on a restart: opened sessions are
//! unknown then, and the start-up record says that counters began again. With one, what was
//! answered for is there again: see [`Journal`](super::journal::Journal) for what a power cut
//! may cost.
//!
//! One lock a tenant guards everything of it. Critical sections are short, never
//! await and never call out but to write the journal, so the lock is a plain one. Entries are
//! written under it: the journal has the changes of a tenant in their order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lictor_policy_lib::limits::LimitKind;
use lictor_proto::decide::Settle;
use lictor_proto::revocation::Kind;
use serde::{Deserialize, Serialize};

use super::approval::{Answer, ApprovalError, ApprovalRecord, Binding};
use super::counters::{Page, Wanted};
use super::journal::{Framed, Journal, JournalError};
use super::op::{Entry, Op, Told};
use super::owner::{Owner, Voided};
use super::tenant::{Kept, Tenant};
use super::{Commit, Committed, SessionKey, Snapshot, State, StateError, Stored};

/// Stored verdicts are forgotten after this.
pub const STORED_CALL_MS: i64 = 600_000;
/// Implicit sessions without a call are forgotten after this.
pub const IMPLICIT_IDLE_MS: i64 = 24 * 3_600_000;
/// Last permitted resources that a session remembers.
pub const TAIL_ENTRIES_MAX: usize = 64;
/// Approvals that are over are forgotten after this.
pub(crate) const APPROVAL_KEPT_MS: i64 = 24 * 3_600_000;
/// A snapshot replaces a journal that has grown by so many bytes.
pub const SNAPSHOT_EVERY_BYTES: u64 = 64 << 20;

/// State in this process.
#[derive(Debug, Default)]
pub struct Memory {
    tenants: Mutex<HashMap<String, Arc<Mutex<Tenant>>>>,
    journal: Option<Journal>,
}

/// What was found at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Changes that were made again.
    pub entries: usize,
    /// Whether there was a snapshot.
    pub snapshot: bool,
    /// Bytes of a change that nobody was answered for.
    pub cut_bytes: u64,
}

impl Recovery {
    /// Whether anything was there.
    #[must_use]
    pub fn is_something(self) -> bool {
        self.entries > 0 || self.snapshot || self.cut_bytes > 0
    }
}

/// Why the state of an earlier process cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Written by a version that is not understood.
    #[error("the state journal holds what this version cannot read: {0}")]
    Content(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Snapshotted {
    tenants: HashMap<String, Kept>,
}

impl Memory {
    /// An empty store that is lost with the process.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The store whose journal is in `dir`.
    ///
    /// # Errors
    /// [`OpenError`]: a journal that cannot be read is never taken for an empty one.
    pub fn open(dir: &Path) -> Result<(Self, Recovery), OpenError> {
        let (journal, recovered) = Journal::open(dir)?;
        let recovery = Recovery {
            entries: recovered.entries.len(),
            snapshot: recovered.snapshot.is_some(),
            cut_bytes: recovered.cut_bytes,
        };
        let mut tenants: HashMap<String, Tenant> = HashMap::new();
        if let Some(bytes) = recovered.snapshot {
            let snapshot: Snapshotted = serde_json::from_slice(&bytes)?;
            let kept = snapshot.tenants.into_iter();
            tenants.extend(kept.map(|(name, kept)| (name, Tenant::restored(kept))));
        }
        for bytes in recovered.entries {
            let entry: Entry<Op> = serde_json::from_slice(&bytes)?;
            let tenant = tenants.entry(entry.tenant).or_default();
            if entry.seq > tenant.seq {
                tenant.apply(&entry.op, entry.now_ms);
                // An entry that changes nothing now did so then: the numbers must not drift.
                tenant.seq = entry.seq;
            }
        }
        let shared = tenants.into_iter().map(|(name, tenant)| (name, Arc::new(Mutex::new(tenant))));
        Ok((Self { tenants: Mutex::new(shared.collect()), journal: Some(journal) }, recovery))
    }

    /// Replaces the journal by a snapshot, if it has grown by [`SNAPSHOT_EVERY_BYTES`]. Each
    /// tenant stands still while it is copied, not while it is written. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`]; the journal then simply goes on.
    pub fn compact(&self) -> Result<bool, OpenError> {
        match &self.journal {
            Some(journal) if journal.segment_bytes() >= SNAPSHOT_EVERY_BYTES => {
                self.snapshot(journal).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    fn snapshot(&self, journal: &Journal) -> Result<(), OpenError> {
        let segment = journal.rotate()?;
        let named: Vec<(String, Arc<Mutex<Tenant>>)> =
            lock(&self.tenants).iter().map(|(name, t)| (name.clone(), Arc::clone(t))).collect();
        let kept = named.into_iter().map(|(name, tenant)| {
            let mut tenant = lock(&tenant);
            tenant.forget();
            let kept = tenant.kept();
            drop(tenant);
            (name, kept)
        });
        let bytes = serde_json::to_vec(&Snapshotted { tenants: kept.collect() })?;
        Ok(journal.keep_snapshot(segment, &bytes)?)
    }

    fn tenant(&self, name: &str) -> Arc<Mutex<Tenant>> {
        let mut tenants = lock(&self.tenants);
        match tenants.get(name) {
            Some(tenant) => Arc::clone(tenant),
            None => Arc::clone(tenants.entry(name.to_owned()).or_default()),
        }
    }

    /// Makes a change and writes it down. Returns its number in the journal.
    fn change(&self, name: &str, op: Op, now_ms: i64) -> Result<(Told, Option<u64>), StateError> {
        let tenant = self.tenant(name);
        let mut tenant = lock(&tenant);
        let told = tenant.apply(&op, now_ms);
        let Some(journal) = self.journal.as_ref().filter(|_| told.changed()) else {
            return Ok((told, None));
        };
        let entry = Entry { tenant: name.to_owned(), seq: tenant.seq, now_ms, op };
        // What is not written down was not promised: it stays spent in memory, and is denied.
        let mut framed = Framed::default();
        let written = serde_json::to_writer(&mut framed, &entry)
            .map_err(|error| failed(&error))
            .and_then(|()| journal.append_framed(framed).map_err(|error| failed(&error)));
        if let (Err(_), Op::Commit(commit)) = (&written, &entry.op) {
            tenant.unanswer(&commit.call_id);
        }
        Ok((told, Some(written?)))
    }

    /// Waits for the disk, where a power cut must not undo what is answered.
    async fn certain(&self, number: Option<u64>) -> Result<(), StateError> {
        match (&self.journal, number) {
            (Some(journal), Some(number)) => {
                journal.synced(number).await.map_err(|error| failed(&error))
            }
            _ => Ok(()),
        }
    }

    fn all(&self) -> Vec<(String, Arc<Mutex<Tenant>>)> {
        lock(&self.tenants).iter().map(|(name, t)| (name.clone(), Arc::clone(t))).collect()
    }
}

fn failed(error: &dyn std::error::Error) -> StateError {
    StateError::Unavailable(error.to_string())
}

/// A panic while the lock was held cannot have left a half-made change: every
/// change is made after the last thing that can fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a power cut must not undo this commit: what holds once, and what a person agreed to.
fn is_final(commit: &Commit) -> bool {
    commit.opens.is_some()
        || !commit.verdict.approvals_used.is_empty()
        || commit.verdict.limits.iter().any(|limit| limit.kind == LimitKind::Once)
}

#[async_trait]
impl State for Memory {
    async fn read(
        &self,
        session: &SessionKey,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError> {
        let tenant = self.tenant(&session.tenant);
        let tenant = lock(&tenant);
        tenant.read(session, binding, now_ms)
    }

    async fn commit(&self, commit: Commit, now_ms: i64) -> Result<Committed, StateError> {
        let tenant = commit.session.tenant.clone();
        let waits = is_final(&commit);
        let (told, number) = self.change(&tenant, Op::Commit(Box::new(commit)), now_ms)?;
        let Told::Committed(committed) = told else { return Err(mismatch()) };
        if waits {
            self.certain(number).await?;
        }
        Ok(committed)
    }

    async fn stored(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Result<Option<Stored>, StateError> {
        let tenant = self.tenant(tenant);
        let tenant = lock(&tenant);
        Ok(tenant.stored(peer, call_id))
    }

    async fn settle(
        &self,
        tenant: &str,
        peer: &str,
        settle: &Settle,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let (told, _) = self.change(tenant, Op::settle(peer, settle), now_ms)?;
        let Told::Settled(result) = told else { return Err(mismatch()) };
        result.map_err(StateError::Settle)
    }

    async fn extend(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let op = Op::Extend { peer: peer.to_owned(), call_id: call_id.to_owned() };
        let (told, _) = self.change(tenant, op, now_ms)?;
        let Told::Extended(result) = told else { return Err(mismatch()) };
        result.map_err(StateError::Settle)
    }

    async fn counters(
        &self,
        tenant: &str,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Result<Page, StateError> {
        let tenant = self.tenant(tenant);
        let tenant = lock(&tenant);
        Ok(tenant.counters(wanted, now_ms))
    }

    async fn reset(
        &self,
        tenant: &str,
        id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<u64, StateError> {
        let op = Op::Reset { id: id.to_owned(), key: key.to_owned() };
        let (told, number) = self.change(tenant, op, now_ms)?;
        let Told::Reset(emptied) = told else { return Err(mismatch()) };
        self.certain(number).await?;
        Ok(emptied)
    }

    async fn renew_session(
        &self,
        key: &SessionKey,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let op = Op::Renew { id: key.id.clone(), expires_ms };
        let (told, _) = self.change(&key.tenant, op, now_ms)?;
        let Told::Renewed(result) = told else { return Err(mismatch()) };
        result
    }

    async fn open_session(
        &self,
        key: &SessionKey,
        implicit: &SessionKey,
        owner: &Owner,
        expires_ms: i64,
    ) -> Result<(), StateError> {
        let (id, implicit) = (key.id.clone(), implicit.id.clone());
        let op = Op::Open { id, implicit, owner: owner.clone(), expires_ms };
        self.change(&key.tenant, op, i64::MIN).map(|_| ())
    }

    async fn void(
        &self,
        tenant: &str,
        kind: Kind,
        id: &str,
        now_ms: i64,
    ) -> Result<Voided, StateError> {
        let (told, number) = self.change(tenant, Op::Void { kind, id: id.to_owned() }, now_ms)?;
        let Told::Voided(voided) = told else { return Err(mismatch()) };
        self.certain(number).await?;
        Ok(voided)
    }

    async fn approvals(&self, _now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError> {
        let mut all: Vec<ApprovalRecord> = Vec::new();
        for (_, tenant) in self.all() {
            all.extend(lock(&tenant).approvals().cloned());
        }
        all.sort_by(|a, b| (b.opened_ms, &b.opened.id).cmp(&(a.opened_ms, &a.opened.id)));
        Ok(all)
    }

    async fn approval(&self, id: &str) -> Result<Option<ApprovalRecord>, StateError> {
        Ok(self.all().into_iter().find_map(|(_, tenant)| lock(&tenant).approval(id).cloned()))
    }

    async fn resolve(
        &self,
        id: &str,
        answer: Answer,
        now_ms: i64,
    ) -> Result<ApprovalRecord, StateError> {
        let owner = self.all().into_iter().find(|(_, tenant)| lock(tenant).has_approval(id));
        let Some((name, _)) = owner else {
            return Err(ApprovalError::Unknown(id.to_owned()).into());
        };
        let op = Op::Answer { id: id.to_owned(), answer };
        let (told, number) = self.change(&name, op, now_ms)?;
        let Told::Answered(result) = told else { return Err(mismatch()) };
        let record = result?;
        self.certain(number).await?;
        Ok(*record)
    }

    async fn close(&self) -> Result<(), StateError> {
        self.journal.as_ref().map_or(Ok(()), Journal::close).map_err(|error| failed(&error))
    }
}

/// A tenant answers what it was told; anything else is a fault of ours and denies.
fn mismatch() -> StateError {
    StateError::Unavailable("the state answered something else".to_owned())
}

#[cfg(test)]
#[path = "crash_tests.rs"]
mod crash_tests;
#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
