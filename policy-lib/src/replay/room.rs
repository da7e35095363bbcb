//! What the store would have answered to the commit of another verdict, as far as a record tells.

use lictor_proto::call::{Call, Phase};
use lictor_proto::decision::{Effect, LimitState};

use super::recorded::{How, Recorded};
use crate::conclude::CommitResult;
use crate::evaluate::Verdict;
use crate::limits::{LimitKind, LimitRequest};

/// What the record tells of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It had room.
    Free,
    /// It lacked room.
    Full,
    /// Nobody asked.
    Unknown,
}

/// The answer of the store, and the ids of limits that it was not asked about.
pub(super) fn committed(
    recorded: &Recorded,
    call: &Call,
    verdict: &Verdict,
) -> (CommitResult, Vec<String>) {
    let decision = &recorded.decision;
    let reserves =
        verdict.effect == Effect::Allow && call.phase == Phase::Request && call.asks_all();
    if !reserves {
        let asked = verdict.effect == Effect::Ask && decision.effect == Effect::Ask;
        let approval = decision.approval.clone().filter(|_| asked);
        return (held(verdict, Vec::new(), approval), Vec::new());
    }
    let (mut short, mut unknown, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for want in &verdict.limits {
        let (room, state) = room(recorded, want);
        limits.extend(state);
        match room {
            Room::Free => {}
            Room::Full => short.push(want.id.clone()),
            Room::Unknown => unknown.push(want.id.clone()),
        }
    }
    unknown.sort_unstable();
    unknown.dedup();
    match short.is_empty() {
        true => (held(verdict, limits, None), unknown),
        false => (CommitResult::Short { short, limits }, unknown),
    }
}

fn held(
    verdict: &Verdict,
    limits: Vec<LimitState>,
    approval: Option<lictor_proto::decision::Approval>,
) -> CommitResult {
    CommitResult::Committed { limits, approval, labels: verdict.labels }
}

/// Whether `want` had room, and how it stood if it is the recorded one.
fn room(recorded: &Recorded, want: &LimitRequest) -> (Room, Option<LimitState>) {
    let states = &recorded.decision.limits;
    // The store tells of the limits in the order in which they were wanted.
    let same = recorded
        .wants
        .iter()
        .zip(states)
        .find(|(wanted, state)| state.id == wanted.id && is_same_counter(wanted, want));
    let Some((wanted, state)) = same else { return (Room::Unknown, None) };
    let full = recorded.short().contains(&want.id.as_str());
    if is_same_demand(wanted, want) {
        return (if full { Room::Full } else { Room::Free }, Some(state.clone()));
    }
    // How a rate fills depends on its numbers; of all others more room is more room.
    let comparable = want.kind != LimitKind::Rate && recorded.how != How::Evaluated;
    let eases = want.max >= wanted.max && want.cost <= wanted.cost;
    let tightens = want.max <= wanted.max && want.cost >= wanted.cost;
    match full {
        true if comparable && tightens => (Room::Full, None),
        false if comparable && eases => (Room::Free, None),
        _ => (Room::Unknown, None),
    }
}

/// Everything that names a counter in the store.
fn is_same_counter(a: &LimitRequest, b: &LimitRequest) -> bool {
    (&a.id, a.kind, &a.key, a.window) == (&b.id, b.kind, &b.key, b.window) && a.unit == b.unit
}

/// The same question to the same counter.
fn is_same_demand(a: &LimitRequest, b: &LimitRequest) -> bool {
    (a.max, a.burst, a.cost) == (b.max, b.burst, b.cost)
}
