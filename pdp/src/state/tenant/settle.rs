//! What became of a call: refunds, what was used beyond the reservation, and what it cost.

use lictor_policy_lib::limits::price::{self, Tokens};
use lictor_policy_lib::limits::{LimitKind, LimitRequest, Unit};
use lictor_policy_lib::registry::Prices;
use lictor_proto::call::Usage;
use lictor_proto::decide::{Detail, Outcome};

use super::super::SettleError;
use super::super::counter::Counter;
use super::{CallEntry, CounterKey, Tenant};

/// What became of a call.
#[derive(Clone, Copy)]
pub(super) struct Settlement<'a> {
    pub(super) call_id: &'a str,
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    pub(super) detail: &'a Detail,
}

impl Tenant {
    pub(super) fn settle(
        &mut self,
        peer: &str,
        settle: Settlement<'_>,
        now_ms: i64,
    ) -> Result<(), SettleError> {
        let Some(entry) = self.calls.get_mut(settle.call_id) else {
            if settle.outcome != Outcome::NotSent {
                return Err(SettleError::Unknown);
            }
            // A decision that comes late must not be usable.
            self.remember(settle.call_id.to_owned(), CallEntry::Abandoned, now_ms);
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
        let (permits, reserved, prices) =
            (decided.permits, decided.cost_usd_micros, decided.prices);
        let sessions: Vec<String> = decided.sessions().cloned().collect();
        let resource = decided.resource.clone();
        for (key, limit) in held {
            self.settle_limit(&key, &limit, settle, taken_ms, now_ms);
        }
        for session in sessions.iter().filter(|_| permits) {
            let Some(session) = self.sessions.get_mut(session) else { continue };
            session.settled(settle);
            session.spent(settle, reserved, prices);
            if settle.outcome == Outcome::NotSent {
                session.uncount(&resource);
            }
        }
        if settle.outcome == Outcome::NotSent {
            self.unanswer(settle.call_id);
        }
        Ok(())
    }

    /// What holds nothing any more, or never did, is not answered with when it is asked again.
    pub(crate) fn unanswer(&mut self, call_id: &str) {
        if let Some(entry) = self.calls.get_mut(call_id) {
            *entry = CallEntry::Abandoned;
        }
    }

    fn settle_limit(
        &mut self,
        key: &CounterKey,
        limit: &LimitRequest,
        settle: Settlement<'_>,
        taken_ms: i64,
        now_ms: i64,
    ) {
        let refund = match settle.outcome {
            Outcome::NotSent => true,
            Outcome::Failed => limit.refund_on_failure && limit.kind != LimitKind::Once,
            Outcome::Done | Outcome::Unknown => false,
        };
        let counter = self.counters.get_mut(key).map(|(counter, _)| counter);
        if refund || limit.kind == LimitKind::Concurrent {
            if let Some(counter) = counter {
                counter.refund(limit, settle.call_id, taken_ms, limit.cost);
            }
        } else if settle.outcome != Outcome::Failed && limit.kind == LimitKind::Budget {
            let used = used_units(limit, settle);
            match (used.checked_sub(limit.cost), counter) {
                (Some(more), Some(counter)) => counter.book(limit, now_ms, more),
                (Some(more), None) => self.book_anew(key, limit, now_ms, more),
                (None, Some(counter)) => {
                    counter.refund(limit, settle.call_id, taken_ms, limit.cost - used);
                }
                (None, None) => {}
            }
        }
    }

    /// Books on a counter that was forgotten while the call went on: what is used now counts now.
    /// That of a session is forgotten with it.
    fn book_anew(&mut self, key: &CounterKey, limit: &LimitRequest, now_ms: i64, units: u64) {
        if units > 0 && (key.session.is_empty() || self.sessions.contains_key(&key.session)) {
            let mut counter = Counter::new(limit.kind);
            counter.book(limit, now_ms, units);
            self.counters.insert(key.clone(), (counter, limit.clone()));
        }
    }
}

/// Units of a limit that a call really used, by its settlement.
pub(crate) fn used_of(limit: &LimitRequest, settle: &lictor_proto::decide::Settle) -> u64 {
    let lictor_proto::decide::Settle { call_id, outcome, usage, detail } = settle;
    used_units(limit, Settlement { call_id, outcome: *outcome, usage: *usage, detail })
}

fn used_units(limit: &LimitRequest, settle: Settlement<'_>) -> u64 {
    let usage = settle.usage;
    let told = match limit.unit {
        Unit::Calls | Unit::Bytes => limit.cost,
        Unit::Tokens => usage.input_tokens.saturating_add(usage.max_output_tokens),
        Unit::UsdMicros => money(limit.prices, settle),
    };
    // Where nobody saw the end, what was seen is the least that was used.
    if settle.outcome == Outcome::Unknown { told.max(limit.cost) } else { told }
}

/// What a call cost: by the registry's prices, or where it has none what the enforcement point says.
pub(super) fn money(prices: Option<Prices>, settle: Settlement<'_>) -> u64 {
    let (usage, detail) = (settle.usage, settle.detail);
    let tokens = Tokens::reported(
        usage.input_tokens,
        detail.cached_tokens,
        usage.max_output_tokens,
        detail.reasoning_tokens,
    );
    prices.map_or(usage.cost_usd_micros, |prices| price::usd_micros(&prices, tokens))
}
