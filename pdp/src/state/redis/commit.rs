//! What a decision writes, told to a script.
//!
//! A call that nobody watches leaves nothing but itself and what it took of limits: its script
//! knows no sessions, signals or approvals.

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Unit, Window};
use lictor_policy_lib::registry::Prices;
use lictor_proto::decision::{Confidentiality, Effect, Integrity, Labels, LimitState};

use super::Redis;
use super::codec::{self, Parts};
use super::keys::Keys;
use super::script::Call;
use crate::state::approval::rfc3339;
use crate::state::counter::CONCURRENT_LEASE_MS;
use crate::state::counters::{self, AMOUNT_MAX};
use crate::state::memory::{APPROVAL_KEPT_MS, IMPLICIT_IDLE_MS, STORED_CALL_MS, TAIL_ENTRIES_MAX};
use crate::state::signals::{
    HABIT_KEPT_MS, PRESENT_MS, RECENT_CALLS_MAX, USUAL_MS, fingerprint, short,
};
use crate::state::tenant::PENDING_CALLS_MAX;
use crate::state::{Commit, Reservation, SessionKey, StateError};

/// What a settlement never corrects.
const FIXED: &str = "fixed";

/// What a commit takes of limits.
pub(super) struct Taking<'a> {
    permits: bool,
    session: &'a SessionKey,
    limits: &'a [LimitRequest],
    /// Where each is stored.
    stored_as: Vec<String>,
}

impl<'a> Taking<'a> {
    /// Nothing where it permits nothing.
    pub(super) fn of(keys: &Keys, commit: &'a Commit) -> Self {
        let permits = commit.permits && commit.verdict.effect == Effect::Allow;
        let limits: &[LimitRequest] = if permits { &commit.verdict.limits } else { &[] };
        let session = &commit.session;
        let stored_as = limits.iter().map(|limit| keys.counter(session, limit)).collect();
        Self { permits, session, limits, stored_as }
    }

    pub(super) fn limits(&self) -> &'a [LimitRequest] {
        self.limits
    }

    fn each(&self) -> impl Iterator<Item = (&'a LimitRequest, &String)> {
        self.limits.iter().zip(&self.stored_as)
    }

    fn put_keys(&self, call: &mut Call<'_>) {
        for stored_as in &self.stored_as {
            call.arg(stored_as);
        }
    }

    /// Bursts and names.
    fn names(&self) -> Vec<(u64, String)> {
        let names = self.each().map(|(limit, stored_as)| {
            let name = counters::name(limit, &self.session.id, kind_of(limit).0, stored_as);
            (limit.burst.min(AMOUNT_MAX), name)
        });
        names.collect()
    }

    fn put_amounts(&self, call: &mut Call<'_>) {
        for limit in self.limits {
            let (kind, window) = kind_of(limit);
            call.arg(kind)
                .arg(window)
                .arg(limit.max.min(AMOUNT_MAX))
                .arg(limit.cost.min(AMOUNT_MAX));
        }
    }

    fn put(&self, call: &mut Call<'_>) {
        for (limit, stored_as) in self.each() {
            let (kind, window) = kind_of(limit);
            call.arg(kind)
                .arg(window)
                .arg(limit.max.min(AMOUNT_MAX))
                .arg(limit.cost.min(AMOUNT_MAX))
                .arg(limit.burst.min(AMOUNT_MAX))
                .arg(counters::name(limit, &self.session.id, kind, stored_as));
        }
    }

    /// What the settlement has to know, seven words of each limit.
    fn held(&self) -> String {
        let held = self.each().map(|(limit, stored_as)| {
            let (kind, window) = kind_of(limit);
            let (max, cost) = (limit.max.min(AMOUNT_MAX), limit.cost.min(AMOUNT_MAX));
            let refund = u8::from(refunds(limit));
            format!("{kind} {stored_as} {window} {max} {cost} {refund} {}", unit_of(limit))
        });
        held.collect::<Vec<_>>().join(";")
    }

    /// Whether no settlement changes what was taken, but that the call was never sent.
    fn is_final(&self) -> bool {
        self.limits.iter().all(|limit| {
            limit.kind != LimitKind::Concurrent && !refunds(limit) && unit_of(limit) == FIXED
        })
    }

    /// Whether each limit is stored by itself: not in its session, and no other's.
    fn is_apart(&self) -> bool {
        let own = self.limits.iter().all(|limit| !matches!(kind_of(limit), ("budget", ..0)));
        let mut known = self.stored_as.iter().enumerate();
        own && known
            .all(|(index, own)| !self.stored_as.iter().take(index).any(|other| other == own))
    }
}

/// Whether nobody will look at anything of the call but what it took and what was said.
fn is_unwatched(commit: &Commit, taking: &Taking<'_>) -> bool {
    let verdict = &commit.verdict;
    let unseen = !commit.watched
        && commit.version.is_none()
        && verdict.approvals_used.is_empty()
        && verdict.marks.is_empty()
        && verdict.labels == Labels::default();
    commit.session.implicit
        && commit.implicit.is_none()
        && codec::opens(commit).is_none()
        && (!taking.permits || (unseen && taking.is_apart()))
}

impl Redis {
    pub(super) fn commit_call(
        &self,
        commit: &Commit,
        taking: &Taking<'_>,
        now_ms: i64,
    ) -> Result<Call<'_>, StateError> {
        if is_unwatched(commit, taking) {
            self.unwatched_call(commit, taking, now_ms)
        } else {
            self.watched_call(commit, taking, now_ms)
        }
    }

    fn unwatched_call(
        &self,
        commit: &Commit,
        taking: &Taking<'_>,
        now_ms: i64,
    ) -> Result<Call<'_>, StateError> {
        let tenant = &commit.session.tenant;
        let mut call = Call::of(&self.scripts.unwatched, 2 + taking.limits.len());
        call.arg(self.keys.call(tenant, &commit.call_id)).arg(self.keys.counters(tenant));
        taking.put_keys(&mut call);
        call.arg(self.clock.argument(now_ms))
            .arg(who(commit))
            .arg(i64::from(taking.permits))
            .arg(if taking.is_final() { "q" } else { "o" })
            .arg(taking.held())
            .arg(codec::verdict(commit)?)
            .arg(STORED_CALL_MS)
            .arg(codec::text(&(
                &commit.call_id,
                CONCURRENT_LEASE_MS,
                self.sessions(tenant),
                taking.names(),
            ))?);
        taking.put_amounts(&mut call);
        Ok(call)
    }

    fn watched_call(
        &self,
        commit: &Commit,
        taking: &Taking<'_>,
        now_ms: i64,
    ) -> Result<Call<'_>, StateError> {
        let session = &commit.session;
        let tenant = &session.tenant;
        let parts = Parts::of(commit)?;
        let beside = if commit.implicit.is_some() { 4 } else { 0 };
        let keys = 9 + taking.limits.len() + beside;
        let mut call = Call::of(&self.scripts.commit, keys);
        call.arg(self.keys.call(tenant, &commit.call_id))
            .arg(self.keys.session(session))
            .arg(self.keys.tail(session))
            .arg(self.keys.bound(&commit.binding))
            .arg(self.keys.approvals(tenant))
            .arg(self.keys.recent(session))
            .arg(self.keys.pending(session))
            .arg(self.keys.habit(&commit.binding))
            .arg(self.keys.counters(tenant));
        taking.put_keys(&mut call);
        if let Some(implicit) = &commit.implicit {
            call.arg(self.keys.session(implicit))
                .arg(self.keys.tail(implicit))
                .arg(self.keys.recent(implicit))
                .arg(self.keys.pending(implicit));
        }
        call.arg(self.clock.argument(now_ms))
            .arg(who(commit))
            .arg(i64::from(taking.permits))
            .arg(commit.version.map(|version| version.to_string()).unwrap_or_default())
            .arg(i64::from(session.implicit))
            .arg(&commit.resource)
            .arg(parts.verdict)
            .arg(parts.asks_used)
            .arg(parts.marks)
            .arg(rank(commit.verdict.labels.integrity))
            .arg(level(commit.verdict.labels.confidentiality))
            .arg(STORED_CALL_MS)
            .arg(IMPLICIT_IDLE_MS)
            .arg(TAIL_ENTRIES_MAX)
            .arg(CONCURRENT_LEASE_MS)
            .arg(&commit.call_id)
            .arg(self.keys.approval(tenant, ""))
            .arg(parts.opens.id)
            .arg(parts.opens.record)
            .arg(parts.opens.asks)
            .arg(parts.opens.parts)
            .arg(parts.opens.public)
            .arg(parts.opens.expires_ms)
            .arg(APPROVAL_KEPT_MS)
            .arg(name_of(short(&commit.call_id)))
            .arg(name_of(fingerprint(&commit.binding)))
            .arg(RECENT_CALLS_MAX)
            .arg(PENDING_CALLS_MAX)
            .arg(commit.cost_usd_micros.min(AMOUNT_MAX))
            .arg(money_of(commit.prices))
            .arg(HABIT_KEPT_MS)
            .arg(PRESENT_MS)
            .arg(USUAL_MS)
            .arg(self.sessions(tenant));
        call.arg(taking.held());
        taking.put(&mut call);
        Ok(call)
    }

    /// What the keys of all sessions begin with.
    fn sessions(&self, tenant: &str) -> String {
        let none = SessionKey { tenant: tenant.to_owned(), id: String::new(), implicit: false };
        self.keys.session(&none)
    }
}

/// Whose call it is and which.
fn who(commit: &Commit) -> String {
    codec::measured(&commit.peer) + &codec::measured(&commit.request_digest)
}

/// A rate without a time has no rate: it is a budget of its session.
pub(super) fn kind_of(limit: &LimitRequest) -> (&'static str, i64) {
    let window = match limit.window {
        Window::Session => -1,
        Window::Sliding { ms } => i64::try_from(ms).unwrap_or(i64::MAX),
        Window::Calendar { end_ms, .. } => end_ms,
    };
    match limit.kind {
        LimitKind::Rate if matches!(limit.window, Window::Sliding { .. }) => ("rate", window),
        LimitKind::Concurrent => ("concurrent", window),
        _ if matches!(limit.window, Window::Calendar { .. }) => ("period", window),
        LimitKind::Rate | LimitKind::Budget | LimitKind::Once => ("budget", window),
    }
}

fn refunds(limit: &LimitRequest) -> bool {
    limit.refund_on_failure && limit.kind != LimitKind::Once
}

/// How a settlement corrects a budget: by nothing, by tokens, by money that the enforcement point
/// names, or by money that tokens come to at these prices.
fn unit_of(limit: &LimitRequest) -> String {
    match (limit.unit, limit.prices) {
        (Unit::Calls | Unit::Bytes, _) => FIXED.to_owned(),
        (Unit::Tokens, _) => "tokens".to_owned(),
        (Unit::UsdMicros, prices) => money_of(prices),
    }
}

/// By what a settlement counts money: prices of each kind of token, or what it says itself.
fn money_of(prices: Option<Prices>) -> String {
    let Some(prices) = prices else { return "money".to_owned() };
    let or = |own: u64, other: u64| if own == 0 { other } else { own };
    let (input, output) = (prices.input_usd_micros_per_mtok, prices.output_usd_micros_per_mtok);
    let cached = or(prices.cached_usd_micros_per_mtok, input);
    let reasoning = or(prices.reasoning_usd_micros_per_mtok, output);
    format!("{input}/{cached}/{output}/{reasoning}")
}

/// Short names are 64 bits, which a script cannot count with.
pub(super) fn name_of(short: u64) -> String {
    format!("{short:x}")
}

pub(super) fn rank(integrity: Integrity) -> i64 {
    match integrity {
        Integrity::Trusted => 0,
        Integrity::Untrusted => 1,
    }
}

fn level(confidentiality: Confidentiality) -> i64 {
    match confidentiality {
        Confidentiality::Public => 0,
        Confidentiality::Internal => 1,
        Confidentiality::Secret => 2,
    }
}

/// What the script said of each limit, in the order they were asked for.
pub(super) fn reservation(limits: &[LimitRequest], told: &str) -> Result<Reservation, StateError> {
    let mut states = Vec::new();
    let mut short = Vec::new();
    let mut rooms = told.split(';');
    for limit in limits {
        let room = rooms.next().unwrap_or_default();
        let numbers: Vec<i64> = room.split(' ').filter_map(|text| text.parse().ok()).collect();
        let [fits, remaining, reset_ms, retry] = numbers.as_slice() else {
            let what = format!("`{room}` is no state of the limit `{}`", limit.id);
            return Err(StateError::Unavailable(what));
        };
        let amount = |number: &i64| u64::try_from(*number).unwrap_or(0);
        if *fits == 0 {
            short.push(limit.id.clone());
        }
        let never = *reset_ms >= AMOUNT_MAX.cast_signed();
        states.push(LimitState {
            id: limit.id.clone(),
            reserved: if *fits == 1 { limit.cost } else { 0 },
            remaining: amount(remaining),
            reset_at: if never { String::new() } else { rfc3339(*reset_ms) },
            retry_after_ms: amount(retry),
        });
    }
    Ok(if short.is_empty() {
        Reservation::Held(states)
    } else {
        Reservation::Short { short, limits: states }
    })
}
