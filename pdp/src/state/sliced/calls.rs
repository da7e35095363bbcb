//! Calls that were decided without the store, and those of which only the store knows.

use std::collections::{HashMap, VecDeque};

use lictor_proto::decide::{Outcome, Settle};

use super::slices::Held;
use crate::state::memory::STORED_CALL_MS;
use crate::state::{SettleError, Stored};

/// What is known of a call.
#[derive(Debug)]
pub(super) enum Known {
    /// It was decided here.
    Here(Box<Here>),
    /// The store decided.
    Elsewhere,
    /// The peer has given it up.
    Abandoned,
}

/// A call that was decided here.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) peer: String,
    pub(super) stored: Stored,
    pub(super) held: Vec<Held>,
    pub(super) settled: bool,
}

/// Calls of all tenants, each for [`STORED_CALL_MS`].
#[derive(Debug, Default)]
pub(super) struct Calls {
    known: HashMap<(String, String), (i64, Known)>,
    ages: VecDeque<(i64, (String, String))>,
}

impl Calls {
    pub(super) fn of(&self, tenant: &str, call_id: &str) -> Option<&Known> {
        self.known.get(&(tenant.to_owned(), call_id.to_owned())).map(|(_, known)| known)
    }

    pub(super) fn keep(&mut self, tenant: &str, call_id: &str, known: Known, now_ms: i64) {
        self.drop_old(now_ms);
        let key = (tenant.to_owned(), call_id.to_owned());
        let until_ms = now_ms.saturating_add(STORED_CALL_MS);
        self.ages.push_back((until_ms, key.clone()));
        self.known.insert(key, (until_ms, known));
    }

    fn drop_old(&mut self, now_ms: i64) {
        while self.ages.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            let Some((until_ms, key)) = self.ages.pop_front() else { return };
            // One that was extended since has a later end.
            if self.known.get(&key).is_some_and(|(until, _)| *until <= until_ms) {
                self.known.remove(&key);
            }
        }
    }

    /// What the call took, for its settlement. Once, and only for the peer that asked.
    pub(super) fn settle(
        &mut self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Option<Result<Vec<Held>, SettleError>> {
        let key = (tenant.to_owned(), call_id.to_owned());
        match self.known.get_mut(&key).map(|(_, known)| known) {
            None | Some(Known::Elsewhere) => None,
            Some(Known::Abandoned) => Some(Err(SettleError::Twice)),
            Some(Known::Here(here)) if here.peer != peer => Some(Err(SettleError::NotYours)),
            Some(Known::Here(here)) if here.settled => Some(Err(SettleError::Twice)),
            Some(Known::Here(here)) => {
                here.settled = true;
                Some(Ok(std::mem::take(&mut here.held)))
            }
        }
    }

    /// The call goes on.
    pub(super) fn extend(
        &mut self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Option<Result<(), SettleError>> {
        let key = (tenant.to_owned(), call_id.to_owned());
        let (until_ms, known) = self.known.get_mut(&key)?;
        match known {
            Known::Elsewhere => return None,
            Known::Abandoned => return Some(Err(SettleError::Twice)),
            Known::Here(here) if here.peer != peer => return Some(Err(SettleError::NotYours)),
            Known::Here(here) if here.settled => return Some(Err(SettleError::Twice)),
            Known::Here(_) => {}
        }
        *until_ms = now_ms.saturating_add(STORED_CALL_MS);
        let until_ms = *until_ms;
        self.ages.push_back((until_ms, key));
        Some(Ok(()))
    }
}

/// Units that a settled call gives back of what it took, and units that it used beyond.
pub(super) fn settled(held: &Held, settle: &Settle) -> (u64, u64) {
    let limit = &held.limit;
    let back = match settle.outcome {
        Outcome::NotSent => true,
        Outcome::Failed => limit.refund_on_failure,
        Outcome::Done | Outcome::Unknown => false,
    };
    if back {
        return (limit.cost, 0);
    }
    if settle.outcome == Outcome::Failed {
        return (0, 0);
    }
    let used = crate::state::tenant::used_of(limit, settle);
    (limit.cost.saturating_sub(used), used.saturating_sub(limit.cost))
}
