//! State in this process. Everything is lost on a restart: opened sessions are
//! unknown then, and the start-up record says that counters began again.
//!
//! One lock a tenant guards everything of it. Critical sections are short, never
//! await and never call out, so the lock is a plain one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lictor_policy_lib::limits::{LimitKind, LimitRequest, Unit, Window};
use lictor_proto::decide::{Outcome, Settle};
use lictor_proto::decision::{Effect, LimitState};
use lictor_proto::facts::{SessionFacts, SessionKind};

use super::approval::{Answer, ApprovalError, ApprovalRecord, Binding, NewApproval, rfc3339};
use super::counter::{Counter, Room};
use super::{
    Commit, Committed, Reservation, SessionKey, SettleError, Snapshot, State, StateError, Stored,
};

/// Stored verdicts are forgotten after this.
pub const STORED_CALL_MS: i64 = 600_000;
/// Implicit sessions without a call are forgotten after this.
pub const IMPLICIT_IDLE_MS: i64 = 24 * 3_600_000;
/// Last permitted resources that a session remembers.
pub const TAIL_ENTRIES_MAX: usize = 64;
/// Approvals that are over are forgotten after this.
const APPROVAL_KEPT_MS: i64 = 24 * 3_600_000;
/// Every so many commits of a tenant, what is over is looked for.
const SWEEP_EVERY_COMMITS: u64 = 4_096;

/// State in this process.
#[derive(Debug, Default)]
pub struct Memory {
    tenants: Mutex<HashMap<String, Arc<Mutex<Tenant>>>>,
}

#[derive(Debug, Default)]
struct Tenant {
    counters: HashMap<CounterKey, (Counter, LimitRequest)>,
    sessions: HashMap<String, Session>,
    calls: HashMap<String, CallEntry>,
    /// Calls in the order they were stored, for forgetting.
    ages: VecDeque<(i64, String)>,
    approvals: HashMap<String, ApprovalRecord>,
    /// Open approvals by the digest of what they are bound to.
    bound: HashMap<String, Vec<String>>,
    commits: u64,
}

/// Everything that names a counter. A session's counters hold the session's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CounterKey {
    id: String,
    kind: LimitKind,
    window: Window,
    session: String,
    key: String,
}

#[derive(Debug)]
struct Session {
    facts: SessionFacts,
    version: u64,
    expires_ms: i64,
}

#[derive(Debug)]
enum CallEntry {
    /// Given up before it was decided.
    Abandoned,
    /// Decided.
    Decided(Box<Decided>),
}

#[derive(Debug)]
struct Decided {
    stored: Stored,
    peer: String,
    session: String,
    resource: String,
    held: Vec<(CounterKey, LimitRequest)>,
    taken_ms: i64,
    permits: bool,
    settled: bool,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tenant(&self, name: &str) -> Arc<Mutex<Tenant>> {
        Arc::clone(lock(&self.tenants).entry(name.to_owned()).or_default())
    }
}

/// A panic while the lock was held cannot have left a half-made change: every
/// change is made after the last thing that can fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut snapshot = match tenant.sessions.get(&session.id) {
            Some(known) if known.expires_ms > now_ms => {
                Snapshot { facts: known.facts.clone(), version: known.version }
            }
            _ if session.implicit => Snapshot { facts: implicit_facts(), version: 0 },
            _ => return Err(StateError::SessionUnknown),
        };
        snapshot.facts.approvals = tenant.approved(binding, now_ms);
        Ok(snapshot)
    }

    async fn commit(&self, commit: Commit, now_ms: i64) -> Result<Committed, StateError> {
        let tenant = self.tenant(&commit.session.tenant);
        let mut tenant = lock(&tenant);
        tenant.commits += 1;
        if tenant.commits.is_multiple_of(SWEEP_EVERY_COMMITS) {
            tenant.sweep(now_ms);
        }
        Ok(tenant.commit(commit, now_ms))
    }

    async fn stored(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Result<Option<Stored>, StateError> {
        let tenant = self.tenant(tenant);
        let tenant = lock(&tenant);
        Ok(match tenant.calls.get(call_id) {
            Some(CallEntry::Decided(decided)) if decided.peer == peer => {
                Some(decided.stored.clone())
            }
            _ => None,
        })
    }

    async fn settle(
        &self,
        tenant: &str,
        peer: &str,
        settle: &Settle,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let tenant = self.tenant(tenant);
        lock(&tenant).settle(peer, settle, now_ms).map_err(StateError::Settle)
    }

    async fn open_session(&self, key: &SessionKey, expires_ms: i64) -> Result<(), StateError> {
        let tenant = self.tenant(&key.tenant);
        let session = Session { facts: SessionFacts::default(), version: 1, expires_ms };
        lock(&tenant).sessions.insert(key.id.clone(), session);
        Ok(())
    }

    async fn approvals(&self, _now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError> {
        let tenants: Vec<_> = lock(&self.tenants).values().cloned().collect();
        let mut all: Vec<ApprovalRecord> = Vec::new();
        for tenant in tenants {
            all.extend(lock(&tenant).approvals.values().cloned());
        }
        all.sort_by(|a, b| (b.opened_ms, &b.opened.id).cmp(&(a.opened_ms, &a.opened.id)));
        Ok(all)
    }

    async fn resolve(
        &self,
        id: &str,
        answer: Answer,
        now_ms: i64,
    ) -> Result<ApprovalRecord, StateError> {
        let tenants: Vec<_> = lock(&self.tenants).values().cloned().collect();
        for tenant in tenants {
            let mut tenant = lock(&tenant);
            if let Some(record) = tenant.approvals.get_mut(id) {
                record.answer(&answer, now_ms)?;
                return Ok(record.clone());
            }
        }
        Err(ApprovalError::Unknown(id.to_owned()).into())
    }
}

fn implicit_facts() -> SessionFacts {
    SessionFacts {
        kind: SessionKind::Implicit,
        // What came in before the first call is not known.
        labels: lictor_proto::decision::Labels::default(),
        ..SessionFacts::default()
    }
}

impl Tenant {
    fn approved(&self, binding: &Binding, now_ms: i64) -> Vec<String> {
        let open = self.bound.get(&binding.digest()).into_iter().flatten();
        let records = open.filter_map(|id| self.approvals.get(id));
        let mut asks: Vec<String> = records.flat_map(|record| record.covers(now_ms)).collect();
        asks.sort();
        asks.dedup();
        asks
    }

    fn commit(&mut self, commit: Commit, now_ms: i64) -> Committed {
        match self.calls.get(&commit.call_id) {
            Some(CallEntry::Abandoned) => return Committed::Abandoned,
            Some(CallEntry::Decided(decided)) => {
                let same = decided.stored.request_digest == commit.request_digest
                    && decided.peer == commit.peer;
                return if same {
                    Committed::Stored(decided.stored.clone())
                } else {
                    Committed::Reused
                };
            }
            None => {}
        }
        if self.is_stale(&commit, now_ms) {
            return Committed::Stale;
        }
        let (reservation, held) = self.reserve(&commit, now_ms);
        let permitted = commit.permits && matches!(reservation, Reservation::Held(_));
        if permitted {
            self.permit(&commit, now_ms);
        }
        let approval = self.approval_for(&commit, now_ms);
        let stored = Stored {
            request_digest: commit.request_digest,
            decision_id: commit.decision_id,
            labels: commit.verdict.labels,
            verdict: commit.verdict,
            reservation,
            approval,
        };
        let entry = Decided {
            stored: stored.clone(),
            peer: commit.peer,
            session: commit.session.id,
            resource: commit.resource,
            held,
            taken_ms: now_ms,
            permits: permitted,
            settled: false,
        };
        self.remember(commit.call_id, CallEntry::Decided(Box::new(entry)), now_ms);
        Committed::Stored(stored)
    }

    /// Whether the session changed, or an approval that the verdict rests on is
    /// no longer there to be used.
    fn is_stale(&self, commit: &Commit, now_ms: i64) -> bool {
        if !commit.permits {
            return false;
        }
        let version = self.sessions.get(&commit.session.id).map_or(0, |known| known.version);
        let moved = commit.version.is_some_and(|read| read != version);
        let used = &commit.verdict.approvals_used;
        moved
            || (!used.is_empty() && {
                let granted = self.approved(&commit.binding, now_ms);
                used.iter().any(|ask| !granted.contains(ask))
            })
    }

    fn reserve(
        &mut self,
        commit: &Commit,
        now_ms: i64,
    ) -> (Reservation, Vec<(CounterKey, LimitRequest)>) {
        if !commit.permits || commit.verdict.effect != Effect::Allow {
            return (Reservation::Held(Vec::new()), Vec::new());
        }
        let wanted: Vec<(CounterKey, LimitRequest)> = commit
            .limits
            .iter()
            .map(|limit| (key_of(limit, &commit.session.id), limit.clone()))
            .collect();
        let rooms: Vec<Room> =
            wanted.iter().map(|(key, limit)| self.room(key, limit, now_ms)).collect();
        let states: Vec<LimitState> =
            wanted.iter().zip(&rooms).map(|((_, limit), room)| state_of(limit, room)).collect();
        let short: Vec<String> = wanted
            .iter()
            .zip(&rooms)
            .filter(|(_, room)| !room.fits)
            .map(|((_, limit), _)| limit.id.clone())
            .collect();
        if !short.is_empty() {
            return (Reservation::Short { short, limits: states }, Vec::new());
        }
        for (key, limit) in &wanted {
            let fresh = || (Counter::new(limit.kind), limit.clone());
            let (counter, _) = self.counters.entry(key.clone()).or_insert_with(fresh);
            counter.take(limit, &commit.call_id, now_ms);
        }
        (Reservation::Held(states), wanted)
    }

    fn room(&self, key: &CounterKey, limit: &LimitRequest, now_ms: i64) -> Room {
        match self.counters.get(key) {
            Some((counter, _)) => counter.room(limit, now_ms),
            None => Counter::new(limit.kind).room(limit, now_ms),
        }
    }

    /// A permitted call counts at once, and its approval is used up.
    fn permit(&mut self, commit: &Commit, now_ms: i64) {
        let implicit = commit.session.implicit;
        let session = self.sessions.entry(commit.session.id.clone()).or_insert_with(|| Session {
            facts: implicit_facts(),
            version: 0,
            expires_ms: now_ms,
        });
        if implicit {
            session.expires_ms = now_ms.saturating_add(IMPLICIT_IDLE_MS);
        }
        session.version += 1;
        let facts = &mut session.facts;
        facts.labels = facts.labels.raised_by(commit.verdict.labels);
        if !commit.resource.is_empty() {
            *facts.calls.entry(commit.resource.clone()).or_default() += 1;
            facts.tail.push(commit.resource.clone());
            let excess = facts.tail.len().saturating_sub(TAIL_ENTRIES_MAX);
            facts.tail.drain(..excess);
        }
        for mark in &commit.verdict.marks {
            if !facts.marks.contains(mark) {
                facts.marks.push(mark.clone());
            }
        }
        self.use_up(commit, now_ms);
    }

    fn use_up(&mut self, commit: &Commit, now_ms: i64) {
        let open = self.bound.get(&commit.binding.digest()).cloned().unwrap_or_default();
        for id in open {
            let Some(record) = self.approvals.get_mut(&id) else { continue };
            let covers = record.covers(now_ms);
            if covers.iter().any(|ask| commit.verdict.approvals_used.contains(ask)) {
                record.used = true;
            }
        }
    }

    /// The approval that an `ask` waits for: the one that is open for this very
    /// call, or a new one.
    fn approval_for(
        &mut self,
        commit: &Commit,
        now_ms: i64,
    ) -> Option<lictor_proto::decision::Approval> {
        let opens = commit.opens.as_ref().filter(|_| commit.verdict.effect == Effect::Ask)?;
        let digest = commit.binding.digest();
        let waiting = self.bound.get(&digest).into_iter().flatten().find_map(|id| {
            let record = self.approvals.get(id)?;
            let same = record.opened.parts == opens.parts;
            let open = record.standing(now_ms) == super::approval::Standing::Pending;
            (same && open).then(|| record.public())
        });
        if waiting.is_some() {
            return waiting;
        }
        let record = new_record(opens.clone(), commit.binding.clone(), now_ms);
        let public = record.public();
        self.bound.entry(digest).or_default().push(opens.id.clone());
        self.approvals.insert(opens.id.clone(), record);
        Some(public)
    }

    fn remember(&mut self, call_id: String, entry: CallEntry, now_ms: i64) {
        self.ages.push_back((now_ms, call_id.clone()));
        self.calls.insert(call_id, entry);
    }

    fn settle(&mut self, peer: &str, settle: &Settle, now_ms: i64) -> Result<(), SettleError> {
        let Some(entry) = self.calls.get_mut(&settle.call_id) else {
            if settle.outcome != Outcome::NotSent {
                return Err(SettleError::Unknown);
            }
            // A decision that comes late must not be usable.
            self.remember(settle.call_id.clone(), CallEntry::Abandoned, now_ms);
            return Ok(());
        };
        let CallEntry::Decided(decided) = entry else { return Err(SettleError::Twice) };
        if decided.peer != peer {
            return Err(SettleError::NotYours);
        }
        if decided.settled {
            return Err(SettleError::Twice);
        }
        decided.settled = true;
        let held = std::mem::take(&mut decided.held);
        let taken_ms = decided.taken_ms;
        let uncount = (decided.permits && settle.outcome == Outcome::NotSent)
            .then(|| (decided.session.clone(), decided.resource.clone()));
        for (key, limit) in held {
            self.settle_limit(&key, &limit, settle, taken_ms, now_ms);
        }
        if let Some((session, resource)) = uncount {
            self.uncount(&session, &resource);
        }
        Ok(())
    }

    fn settle_limit(
        &mut self,
        key: &CounterKey,
        limit: &LimitRequest,
        settle: &Settle,
        taken_ms: i64,
        now_ms: i64,
    ) {
        let Some((counter, _)) = self.counters.get_mut(key) else { return };
        let refund = match settle.outcome {
            Outcome::NotSent => true,
            Outcome::Failed => limit.refund_on_failure && limit.kind != LimitKind::Once,
            Outcome::Done | Outcome::Unknown => false,
        };
        if refund || limit.kind == LimitKind::Concurrent {
            counter.refund(limit, &settle.call_id, taken_ms, limit.cost);
        } else if settle.outcome == Outcome::Done && limit.kind == LimitKind::Budget {
            let used = used_units(limit, settle);
            match used.checked_sub(limit.cost) {
                Some(more) => counter.book(limit, now_ms, more),
                None => counter.refund(limit, &settle.call_id, taken_ms, limit.cost - used),
            }
        }
    }

    /// A call that was never sent does not count for its session.
    fn uncount(&mut self, session: &str, resource: &str) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        session.version += 1;
        if let Some(count) = session.facts.calls.get_mut(resource) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                session.facts.calls.remove(resource);
            }
        }
        if let Some(last) = session.facts.tail.iter().rposition(|entry| entry == resource) {
            session.facts.tail.remove(last);
        }
    }

    fn sweep(&mut self, now_ms: i64) {
        while let Some((stored_ms, _)) = self.ages.front() {
            if stored_ms.saturating_add(STORED_CALL_MS) > now_ms {
                break;
            }
            if let Some((_, call_id)) = self.ages.pop_front() {
                self.calls.remove(&call_id);
            }
        }
        self.sessions.retain(|_, session| session.expires_ms > now_ms);
        let sessions = &self.sessions;
        self.counters.retain(|key, (counter, limit)| match key.window {
            // Counters of a session live and die with it.
            Window::Session => sessions.contains_key(&key.session),
            Window::Sliding { .. } => !counter.is_idle(limit, now_ms),
        });
        self.approvals
            .retain(|_, record| record.opened.expires_ms.saturating_add(APPROVAL_KEPT_MS) > now_ms);
        let approvals = &self.approvals;
        self.bound.retain(|_, ids| {
            ids.retain(|id| approvals.contains_key(id));
            !ids.is_empty()
        });
    }
}

fn new_record(opened: NewApproval, binding: Binding, now_ms: i64) -> ApprovalRecord {
    ApprovalRecord {
        opened,
        binding,
        opened_ms: now_ms,
        approved_by: std::collections::BTreeSet::new(),
        denied_by: None,
        used: false,
    }
}

fn key_of(limit: &LimitRequest, session: &str) -> CounterKey {
    let session = match limit.window {
        Window::Session => session.to_owned(),
        Window::Sliding { .. } => String::new(),
    };
    CounterKey {
        id: limit.id.clone(),
        kind: limit.kind,
        window: limit.window,
        session,
        key: limit.key.clone(),
    }
}

fn state_of(limit: &LimitRequest, room: &Room) -> LimitState {
    LimitState {
        id: limit.id.clone(),
        reserved: if room.fits { limit.cost } else { 0 },
        remaining: room.remaining,
        reset_at: rfc3339(room.reset_ms),
        retry_after_ms: room.retry_after_ms,
    }
}

fn used_units(limit: &LimitRequest, settle: &Settle) -> u64 {
    let usage = settle.usage;
    match limit.unit {
        Unit::Calls | Unit::Bytes => limit.cost,
        Unit::Tokens => usage.input_tokens.saturating_add(usage.max_output_tokens),
        Unit::UsdMicros => usage.cost_usd_micros,
    }
}
