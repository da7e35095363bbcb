//! Changes that no decision makes: calls that take longer, sessions that go on, limits that an
//! operator looks at and empties.

use lictor_policy_lib::limits::LimitKind;

use super::super::counter::Counter;
use super::super::counters::{Counted, PAGE_COUNTERS_MAX, Page, Wanted, name};
use super::super::memory::STORED_CALL_MS;
use super::super::{SettleError, StateError};
use super::{CallEntry, Tenant};

impl Tenant {
    /// A call of `peer` goes on: its places in `concurrent` limits and what is stored of it begin
    /// their time anew. A place that was lost meanwhile is taken again, since the call is there.
    pub(super) fn extend(
        &mut self,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), SettleError> {
        let decided = match self.calls.get_mut(call_id) {
            Some(CallEntry::Decided(decided)) => decided,
            Some(CallEntry::Abandoned) => return Err(SettleError::Twice),
            None => return Err(SettleError::Unknown),
        };
        if decided.peer != peer {
            return Err(SettleError::NotYours);
        }
        if decided.settled {
            return Err(SettleError::Twice);
        }
        if decided.kept_ms != now_ms {
            decided.kept_ms = now_ms;
            self.ages.push_back((now_ms, call_id.to_owned()));
        }
        for (key, limit) in decided.held.iter().filter(|(_, l)| l.kind == LimitKind::Concurrent) {
            let fresh = || (Counter::new(limit.kind), limit.clone());
            let (counter, _) = self.counters.entry(key.clone()).or_insert_with(fresh);
            counter.take(limit, call_id, now_ms);
        }
        for session in decided.sessions() {
            let Some(session) = self.sessions.get_mut(session) else { continue };
            let waits = session.pending.iter().position(|(id, ..)| id == call_id);
            if let Some((id, resource, _)) = waits.and_then(|at| session.pending.remove(at)) {
                let until_ms = now_ms.saturating_add(STORED_CALL_MS);
                session.pending.push_back((id, resource, until_ms));
            }
        }
        Ok(())
    }

    /// An opened session goes on until `expires_ms`, with everything that it did.
    pub(super) fn renew(
        &mut self,
        id: &str,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let session = self.sessions.get_mut(id);
        let session = session.filter(|known| known.owner.is_some() && known.expires_ms > now_ms);
        let session = session.ok_or(StateError::SessionUnknown)?;
        session.expires_ms = session.expires_ms.max(expires_ms);
        Ok(())
    }

    /// Counters of which something is held, in the order of their names.
    pub(crate) fn counters(&self, wanted: &Wanted, now_ms: i64) -> Page {
        let now_ms = now_ms.max(self.clock_ms);
        let fits = |text: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|w| w == text);
        let mut found: Vec<(String, Counted)> = Vec::new();
        for (key, (counter, limit)) in &self.counters {
            let over = |known: &super::Session| known.expires_ms <= now_ms;
            if !key.session.is_empty() && self.sessions.get(&key.session).is_none_or(over) {
                continue;
            }
            if !fits(&key.id, &wanted.id) || !fits(&key.key, &wanted.key) {
                continue;
            }
            let name = name(limit, &key.session, "", "");
            if wanted.after.as_ref().is_some_and(|after| name <= *after) {
                continue;
            }
            let mut asked = limit.clone();
            asked.cost = 0;
            let room = counter.room(&asked, now_ms);
            if room.reset_ms > now_ms {
                let counted = Counted {
                    id: key.id.clone(),
                    key: key.key.clone(),
                    session: key.session.clone(),
                    kind: limit.kind,
                    unit: limit.unit,
                    max: limit.max,
                    at_once: if limit.kind == LimitKind::Rate { limit.burst } else { limit.max },
                    remaining: room.remaining,
                    reset_ms: room.reset_ms,
                };
                found.push((name, counted));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = found.len() > PAGE_COUNTERS_MAX;
        found.truncate(PAGE_COUNTERS_MAX);
        let next = found.last().filter(|_| more).map(|(name, _)| name.clone());
        Page { counters: found.into_iter().map(|(_, counted)| counted).collect(), next }
    }

    /// Forgets what is held of a limit with this key, in every window and session. Calls that are
    /// under way give nothing back to what was emptied.
    pub(super) fn reset(&mut self, id: &str, key: &str) -> u64 {
        let named = |counter: &super::CounterKey| counter.id == id && counter.key == key;
        let before = self.counters.len();
        self.counters.retain(|counter, _| !named(counter));
        let emptied = before.saturating_sub(self.counters.len());
        if emptied > 0 {
            for entry in self.calls.values_mut() {
                if let CallEntry::Decided(decided) = entry {
                    decided.held.retain(|(counter, _)| !named(counter));
                }
            }
        }
        u64::try_from(emptied).unwrap_or(u64::MAX)
    }
}
