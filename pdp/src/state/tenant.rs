//! The state of one tenant: a machine that is told changes. Pure, so that telling it the same
//! changes again, from a journal, gives the same state.
//!
//! # Layout
//!
//! - this file: decisions, approvals, snapshots, and forgetting what is over.
//! - [`session`]: what one session did. [`settle`]: what became of calls.
//! - [`upkeep`]: changes that no decision makes.

mod session;
mod settle;
mod upkeep;

use std::collections::{BTreeSet, HashMap, VecDeque};

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Window};
use lictor_policy_lib::registry::Prices;
use lictor_proto::decision::{Approval, Effect, LimitState};
use lictor_proto::facts::Signals;
use lictor_proto::revocation::Kind;
use serde::{Deserialize, Serialize};

use super::approval::{ApprovalError, ApprovalRecord, Binding, NewApproval, Standing, rfc3339};
use super::counter::{Counter, Room};
use super::memory::{APPROVAL_KEPT_MS, IMPLICIT_IDLE_MS, STORED_CALL_MS};
use super::op::{Op, Told};
use super::owner::Voided;
use super::signals::{self, Habit, Recent};
use super::{Commit, Committed, Reservation, SessionKey, Snapshot, StateError, Stored};

use self::session::Session;
use self::settle::Settlement;
pub(crate) use self::settle::used_of;

/// Most calls of a session that are waited for; the oldest is then taken for settled.
pub(super) const PENDING_CALLS_MAX: usize = 1_024;
/// Every so many commits of a tenant, what is over is looked for.
const SWEEP_EVERY_COMMITS: u64 = 4_096;

/// The state of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    /// Counts the changes.
    pub(super) seq: u64,
    /// The latest time that any change had: it never runs back.
    clock_ms: i64,
    counters: HashMap<CounterKey, (Counter, LimitRequest)>,
    sessions: HashMap<String, Session>,
    /// By agent and resource.
    habits: HashMap<(String, String), Habit>,
    calls: HashMap<String, CallEntry>,
    /// Calls in the order they were stored, for forgetting.
    ages: VecDeque<(i64, String)>,
    approvals: HashMap<String, ApprovalRecord>,
    /// Approvals by the digest of what they are bound to.
    bound: HashMap<String, Vec<String>>,
    commits: u64,
}

/// Everything that names a counter. A session's counters hold the session's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct CounterKey {
    id: String,
    kind: LimitKind,
    window: Window,
    session: String,
    key: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CallEntry {
    /// Given up before it was decided.
    Abandoned,
    /// Decided.
    Decided(Box<Decided>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Decided {
    stored: Stored,
    peer: String,
    session: String,
    /// The implicit session that the call counts for too.
    #[serde(default)]
    implicit: Option<String>,
    resource: String,
    /// Reserved of the session's spending, and by what prices it is corrected.
    cost_usd_micros: u64,
    prices: Option<Prices>,
    held: Vec<(CounterKey, LimitRequest)>,
    taken_ms: i64,
    /// From when on the time that it is kept is counted: when it was decided or last renewed.
    #[serde(skip)]
    kept_ms: i64,
    permits: bool,
    settled: bool,
}

/// A tenant as it is kept in a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) seq: u64,
    clock_ms: i64,
    counters: Vec<(CounterKey, Counter, LimitRequest)>,
    sessions: Vec<(String, Session)>,
    habits: Vec<(String, String, Habit)>,
    calls: Vec<(i64, String, CallEntry)>,
    approvals: Vec<ApprovalRecord>,
}

impl Tenant {
    /// Carries out a change. Time that runs back counts as standing still.
    pub(crate) fn apply(&mut self, op: &Op, now_ms: i64) -> Told {
        self.clock_ms = self.clock_ms.max(now_ms);
        let now_ms = self.clock_ms;
        let told = match op {
            Op::Commit(commit) => Told::Committed(self.commit_and_sweep(commit, now_ms)),
            Op::Settle { peer, call_id, outcome, usage, detail } => {
                let settle = Settlement { call_id, outcome: *outcome, usage: *usage, detail };
                Told::Settled(self.settle(peer, settle, now_ms))
            }
            Op::Extend { peer, call_id } => Told::Extended(self.extend(peer, call_id, now_ms)),
            Op::Renew { id, expires_ms } => Told::Renewed(self.renew(id, *expires_ms, now_ms)),
            Op::Reset { id, key } => Told::Reset(self.reset(id, key)),
            Op::Void { kind, id } => Told::Voided(self.void(*kind, id, now_ms)),
            Op::Open { id, implicit, owner, expires_ms } => {
                let known = self.sessions.get(implicit).filter(|known| known.expires_ms > now_ms);
                let session = Session::opened(owner, known, *expires_ms);
                self.sessions.insert(id.clone(), session);
                Told::Opened
            }
            Op::Answer { id, answer } => {
                let unknown = || ApprovalError::Unknown(id.clone());
                let record = self.approvals.get_mut(id).ok_or_else(unknown);
                Told::Answered(record.and_then(|record| {
                    record.answer(answer, now_ms)?;
                    Ok(Box::new(record.clone()))
                }))
            }
        };
        if told.changed() {
            self.seq += 1;
        }
        told
    }

    /// What a decision reads.
    pub(crate) fn read(
        &self,
        session: &SessionKey,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError> {
        let now_ms = now_ms.max(self.clock_ms);
        let mut snapshot = match self.sessions.get(&session.id) {
            Some(known) if known.expires_ms > now_ms => {
                let mut facts = known.facts.clone();
                facts.pending = known.pending_at(now_ms);
                let signals = self.signals(&known.recent, binding, now_ms);
                Snapshot { facts, signals, version: known.version }
            }
            _ if session.implicit => {
                let signals = self.signals(&VecDeque::new(), binding, now_ms);
                Snapshot { facts: Session::implicit_facts(), signals, version: 0 }
            }
            _ => return Err(StateError::SessionUnknown),
        };
        snapshot.facts.approvals = self.approved(binding, now_ms);
        Ok(snapshot)
    }

    fn signals(&self, recent: &VecDeque<Recent>, binding: &Binding, now_ms: i64) -> Signals {
        let habit = self.habits.get(&habit_key(binding)).filter(|habit| !habit.is_over(now_ms));
        signals::signals(recent, habit, signals::fingerprint(binding), now_ms)
    }

    /// What was stored for a call of `peer`.
    pub(crate) fn stored(&self, peer: &str, call_id: &str) -> Option<Stored> {
        match self.calls.get(call_id) {
            Some(CallEntry::Decided(decided)) if decided.peer == peer => {
                Some(decided.stored.clone())
            }
            _ => None,
        }
    }

    /// All approvals, in no order.
    pub(crate) fn approvals(&self) -> impl Iterator<Item = &ApprovalRecord> {
        self.approvals.values()
    }

    /// The approval of that id.
    pub(crate) fn approval(&self, id: &str) -> Option<&ApprovalRecord> {
        self.approvals.get(id)
    }

    /// Whether the approval is this tenant's.
    pub(crate) fn has_approval(&self, id: &str) -> bool {
        self.approvals.contains_key(id)
    }

    /// A copy for a snapshot.
    pub(crate) fn kept(&self) -> Kept {
        let counters = self.counters.iter();
        let ages = self.ages.iter();
        Kept {
            seq: self.seq,
            clock_ms: self.clock_ms,
            counters: counters
                .map(|(key, (c, limit))| (key.clone(), c.clone(), limit.clone()))
                .collect(),
            sessions: self.sessions.iter().map(|(id, s)| (id.clone(), s.clone())).collect(),
            habits: self.habits.iter().map(|((a, r), h)| (a.clone(), r.clone(), *h)).collect(),
            calls: ages
                .filter_map(|(ms, id)| Some((*ms, id.clone(), self.calls.get(id)?.clone())))
                .filter(|(ms, _, entry)| entry.is_kept_since(*ms))
                .collect(),
            approvals: self.approvals.values().cloned().collect(),
        }
    }

    /// The tenant of a snapshot.
    pub(crate) fn restored(kept: Kept) -> Self {
        let mut tenant = Self { seq: kept.seq, clock_ms: kept.clock_ms, ..Self::default() };
        tenant.sessions.extend(kept.sessions);
        tenant.habits.extend(kept.habits.into_iter().map(|(a, r, habit)| ((a, r), habit)));
        let counters = kept.counters.into_iter();
        tenant.counters.extend(counters.map(|(key, counter, limit)| (key, (counter, limit))));
        for (ms, id, entry) in kept.calls {
            tenant.remember(id, entry, ms);
        }
        for record in kept.approvals {
            let digest = record.binding.digest();
            tenant.bound.entry(digest).or_default().push(record.opened.id.clone());
            tenant.approvals.insert(record.opened.id.clone(), record);
        }
        tenant
    }

    fn commit_and_sweep(&mut self, commit: &Commit, now_ms: i64) -> Committed {
        self.commits += 1;
        if self.commits.is_multiple_of(SWEEP_EVERY_COMMITS) {
            self.sweep(now_ms);
        }
        self.commit(commit, now_ms)
    }

    fn approved(&self, binding: &Binding, now_ms: i64) -> Vec<String> {
        if self.bound.is_empty() {
            return Vec::new();
        }
        let open = self.bound.get(&binding.digest()).into_iter().flatten();
        let records = open.filter_map(|id| self.approvals.get(id));
        let mut asks: Vec<String> = records.flat_map(|record| record.covers(now_ms)).collect();
        asks.sort();
        asks.dedup();
        asks
    }

    fn commit(&mut self, commit: &Commit, now_ms: i64) -> Committed {
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
        // One that is over is not there, as for whoever reads it; a new one begins.
        for key in commit.sessions() {
            if self.sessions.get(&key.id).is_some_and(|known| known.expires_ms <= now_ms) {
                self.sessions.remove(&key.id);
            }
        }
        if self.is_stale(commit, now_ms) {
            return Committed::Stale;
        }
        let (reservation, held) = self.reserve(commit, now_ms);
        let permitted = commit.permits && matches!(reservation, Reservation::Held(_));
        if permitted {
            self.permit(commit, now_ms);
        }
        let approval = self.approval_for(commit, now_ms);
        let stored = Stored {
            request_digest: commit.request_digest.clone(),
            decision_id: commit.decision_id.clone(),
            labels: commit.verdict.labels,
            verdict: commit.verdict.clone(),
            reservation,
            approval,
        };
        let entry = Decided {
            stored: stored.clone(),
            peer: commit.peer.clone(),
            session: commit.session.id.clone(),
            implicit: commit.implicit.as_ref().map(|implicit| implicit.id.clone()),
            resource: commit.resource.clone(),
            cost_usd_micros: commit.cost_usd_micros,
            prices: commit.prices,
            held,
            taken_ms: now_ms,
            kept_ms: now_ms,
            permits: permitted,
            settled: false,
        };
        self.remember(commit.call_id.clone(), CallEntry::Decided(Box::new(entry)), now_ms);
        Committed::Stored(stored)
    }

    /// Whether the session changed or ended, or an approval that the verdict rests on is
    /// no longer there to be used.
    fn is_stale(&self, commit: &Commit, now_ms: i64) -> bool {
        if !commit.session.implicit && !self.sessions.contains_key(&commit.session.id) {
            return true;
        }
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
            .verdict
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
        for key in commit.sessions() {
            let session = self
                .sessions
                .entry(key.id.clone())
                .or_insert_with(|| Session::new(Session::implicit_facts(), 0, now_ms));
            if key.implicit {
                session.expires_ms = now_ms.saturating_add(IMPLICIT_IDLE_MS);
            }
            session.count(commit, now_ms);
        }
        let habit = self.habits.entry(habit_key(&commit.binding));
        habit.and_modify(|habit| habit.count(now_ms)).or_insert_with(|| Habit::begun(now_ms));
        self.use_up(commit, now_ms);
    }

    fn use_up(&mut self, commit: &Commit, now_ms: i64) {
        if commit.verdict.approvals_used.is_empty() {
            return;
        }
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
    fn approval_for(&mut self, commit: &Commit, now_ms: i64) -> Option<Approval> {
        let opens = commit.opens.as_ref().filter(|_| commit.verdict.effect == Effect::Ask)?;
        let digest = commit.binding.digest();
        let waiting = self.bound.get(&digest).into_iter().flatten().find_map(|id| {
            let record = self.approvals.get(id)?;
            let same = record.opened.parts == opens.parts;
            let open = record.standing(now_ms) == Standing::Pending;
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

    fn remember(&mut self, call_id: String, mut entry: CallEntry, now_ms: i64) {
        if let CallEntry::Decided(decided) = &mut entry {
            decided.kept_ms = now_ms;
        }
        self.ages.push_back((now_ms, call_id.clone()));
        self.calls.insert(call_id, entry);
    }

    /// Closes opened sessions and voids approvals. Implicit sessions stay: what they counted and
    /// were exposed to must not be forgotten.
    fn void(&mut self, kind: Kind, id: &str, now_ms: i64) -> Voided {
        let mut voided = Voided::default();
        self.sessions.retain(|session, known| {
            let named = kind == Kind::Session && session == id;
            let closes = known.owner.as_ref().is_some_and(|owner| named || owner.is(kind, id));
            voided.sessions += u64::from(closes && known.expires_ms > now_ms);
            !closes
        });
        for record in self.approvals.values_mut() {
            let open = matches!(record.standing(now_ms), Standing::Pending | Standing::Approved);
            if open && record.concerns(kind, id) {
                record.voided = true;
                voided.approvals += 1;
            }
        }
        voided
    }

    /// Forgets what is over, which changes no answer: for a snapshot that holds no more than that.
    pub(crate) fn forget(&mut self) {
        self.sweep(self.clock_ms);
    }

    fn sweep(&mut self, now_ms: i64) {
        while let Some((stored_ms, _)) = self.ages.front() {
            if stored_ms.saturating_add(STORED_CALL_MS) > now_ms {
                break;
            }
            let Some((stored_ms, call_id)) = self.ages.pop_front() else { break };
            // One that was renewed since stands further back as well.
            if self.calls.get(&call_id).is_some_and(|entry| entry.is_kept_since(stored_ms)) {
                self.calls.remove(&call_id);
            }
        }
        self.sessions.retain(|_, session| session.expires_ms > now_ms);
        self.habits.retain(|_, habit| !habit.is_over(now_ms));
        let sessions = &self.sessions;
        self.counters.retain(|key, (counter, limit)| match key.window {
            // Counters of a session live and die with it.
            Window::Session => sessions.contains_key(&key.session),
            Window::Sliding { .. } | Window::Calendar { .. } => !counter.is_idle(limit, now_ms),
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

impl CallEntry {
    /// Whether the time that it is kept began at `ms`.
    fn is_kept_since(&self, ms: i64) -> bool {
        match self {
            Self::Abandoned => true,
            Self::Decided(decided) => decided.kept_ms == ms,
        }
    }
}

impl Decided {
    /// Ids of the sessions that the call counts for.
    fn sessions(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.session).chain(&self.implicit)
    }
}

fn new_record(opened: NewApproval, binding: Binding, now_ms: i64) -> ApprovalRecord {
    ApprovalRecord {
        opened,
        binding,
        opened_ms: now_ms,
        approved_by: BTreeSet::new(),
        denied_by: None,
        used: false,
        voided: false,
    }
}

fn key_of(limit: &LimitRequest, session: &str) -> CounterKey {
    let session = match limit.window {
        Window::Session => session.to_owned(),
        Window::Sliding { .. } | Window::Calendar { .. } => String::new(),
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

fn habit_key(binding: &Binding) -> (String, String) {
    (binding.agent.clone(), binding.resource.clone())
}
