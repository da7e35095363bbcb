//! A recorded decision, made again: `plan`, `evaluate`, `conclude` and nothing else, by the bundle
//! that decided then or by a candidate.
//!
//! What the store said then is taken from the record: session, signals, approvals, time, and
//! which limits had room. What the registry says is the candidate's: attributes, names of agents,
//! prices. What a record does not tell is never made up: [`Cause`] says why it is not replayed,
//! [`Redecided::limits_unknown`] which limits nobody asked the store about.
//!
//! # Layout
//!
//! - this file: deciding again, and holding that against the record.
//! - [`recorded`]: what a record holds, and how it is read back.
//! - [`changes`]: what is different between two decisions.
//! - `room`: what the store would have answered to the commit, as far as the record tells.

pub mod changes;
pub mod recorded;
mod room;

use lictor_proto::decision::Decision;
use lictor_proto::facts::{Attributes, Facts};

use crate::conclude::{Ids, conclude};
use crate::engine::Budget;
use crate::evaluate::{Verdict, complete_facts, evaluate};
use crate::load::LoadedBundle;
use crate::plan::plan;

pub use changes::{Change, changes, faults};
pub use recorded::{Cause, How, Recorded, Side};

/// A recorded call, decided again.
#[derive(Debug, Clone, PartialEq)]
pub struct Redecided {
    /// The decision, with the names and the reservation of the recorded one.
    pub decision: Decision,
    /// Everything that the engines said.
    pub verdict: Verdict,
    /// Ids of the limits that are wanted now and that the record does not tell the room of,
    /// sorted. Where there are any, an `Allow` holds only if they had room.
    pub limits_unknown: Vec<String>,
}

/// A recorded decision, held against what a bundle decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// Whether it is the very bundle that decided then, so that nothing may be different.
    pub same_bundle: bool,
    /// What the bundle decides.
    pub redecided: Redecided,
    /// What is different.
    pub changes: Vec<Change>,
    /// Under the very bundle that decided then: members of the decision that were not reproduced.
    /// Any is a fault of the record, of the bundle, or of this program.
    pub faults: Vec<&'static str>,
}

/// Decides a recorded call by `bundle`, whose own times should be ignored.
///
/// # Errors
/// The [`Cause`] for which the record does not tell enough for this bundle.
pub fn redecide(
    bundle: &LoadedBundle,
    recorded: &Recorded,
    budget: Budget,
) -> Result<Redecided, Cause> {
    if bundle.reads_state() && !recorded.session_kept {
        return Err(Cause::SessionUnknown);
    }
    let call = bundle.resolve(&recorded.call);
    let now_ms = recorded.facts.time.now_ms;
    let mut facts = complete_facts(bundle, &call, stated(&recorded.facts), now_ms);
    let verdict = match plan(bundle, &call, now_ms) {
        Ok(plan) => evaluate(bundle, &call, &plan, &mut facts, budget),
        Err(reason) => Verdict::denied(reason),
    };
    let (commit, limits_unknown) = room::committed(recorded, &call, &verdict);
    let ids = Ids {
        decision_id: recorded.decision.decision_id.clone(),
        request_digest: recorded.decision.request_digest.clone(),
        bundle: Some(bundle.reference().clone()),
    };
    let decision = conclude(&call, &verdict, &commit, &ids);
    Ok(Redecided { decision, verdict, limits_unknown })
}

/// Decides a recorded call by `bundle` and holds the answer against the recorded one.
///
/// # Errors
/// As [`redecide`].
pub fn replay(
    bundle: &LoadedBundle,
    recorded: &Recorded,
    budget: Budget,
) -> Result<Replayed, Cause> {
    let redecided = redecide(bundle, recorded, budget)?;
    let decided_by = recorded.decision.bundle.as_ref();
    let same_bundle = decided_by.is_some_and(|by| by.digest == bundle.reference().digest);
    let changes = changes::between(
        (&recorded.decision, &recorded.wants),
        (&redecided.decision, &redecided.verdict.limits),
    );
    let faults = if same_bundle { faults(recorded, &redecided) } else { Vec::new() };
    Ok(Replayed { same_bundle, redecided, changes, faults })
}

/// The facts without what the registry of whoever decides says.
fn stated(facts: &Facts) -> Facts {
    Facts {
        subject: Attributes::default(),
        agent: Attributes::default(),
        delegation: Vec::new(),
        resource: Attributes::default(),
        ..facts.clone()
    }
}

#[cfg(test)]
mod tests;
