//! What is different between two decisions about the same call.

use lictor_proto::decision::{Decision, Effect, Obligation, Reason};
use serde::Serialize;

use super::{Recorded, Redecided};
use crate::limits::LimitRequest;

/// One thing that is different. If the effect is, nothing else is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Allowed now, and was not.
    NewlyAllowed,
    /// Denied now, and was not.
    NewlyDenied,
    /// A person is asked now, and was not.
    NewlyAsked,
    /// The same effect for other reasons, by id.
    Reasons,
    /// The same effect with other obligations.
    Obligations,
    /// The same effect drawing on other limits, or on the same by other numbers.
    Limits,
    /// Detectors found something else.
    Findings,
    /// The session is exposed to something else.
    Labels,
}

impl Change {
    /// Every one, in the order in which it is told.
    pub const ALL: [Self; 8] = [
        Self::NewlyAllowed,
        Self::NewlyDenied,
        Self::NewlyAsked,
        Self::Reasons,
        Self::Obligations,
        Self::Limits,
        Self::Findings,
        Self::Labels,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly_allowed",
            Self::NewlyDenied => "newly_denied",
            Self::NewlyAsked => "newly_asked",
            Self::Reasons => "reasons",
            Self::Obligations => "obligations",
            Self::Limits => "limits",
            Self::Findings => "findings",
            Self::Labels => "labels",
        }
    }

    /// Whether the effect is another one.
    #[must_use]
    pub fn is_flip(self) -> bool {
        matches!(self, Self::NewlyAllowed | Self::NewlyDenied | Self::NewlyAsked)
    }
}

/// What is different between what two bundles decide about the same record.
#[must_use]
pub fn changes(before: &Redecided, after: &Redecided) -> Vec<Change> {
    between((&before.decision, &before.verdict.limits), (&after.decision, &after.verdict.limits))
}

type Told<'a> = (&'a Decision, &'a [LimitRequest]);

pub(super) fn between(before: Told<'_>, after: Told<'_>) -> Vec<Change> {
    let ((was, wanted), (is, wants)) = (before, after);
    if was.effect != is.effect {
        return vec![match is.effect {
            Effect::Allow => Change::NewlyAllowed,
            Effect::Deny => Change::NewlyDenied,
            Effect::Ask => Change::NewlyAsked,
        }];
    }
    let different = [
        (Change::Reasons, reason_ids(was) != reason_ids(is)),
        (Change::Obligations, !same_duties(&was.obligations, &is.obligations)),
        (Change::Limits, wanted != wants),
        (Change::Findings, was.findings != is.findings),
        (Change::Labels, was.labels != is.labels),
    ];
    different.into_iter().filter(|(_, differs)| *differs).map(|(change, _)| change).collect()
}

/// Members of the recorded decision that the very bundle that made it does not make again. Details
/// are for operators and name what an engine said in its own words; they are not compared.
#[must_use]
pub fn faults(recorded: &Recorded, redecided: &Redecided) -> Vec<&'static str> {
    let (was, is) = (&recorded.decision, &redecided.decision);
    let told = |reason: &Reason| (reason.id.clone(), reason.message.clone(), reason.policy.clone());
    let reasons = |decision: &Decision| decision.reasons.iter().map(told).collect::<Vec<_>>();
    let different = [
        ("effect", was.effect != is.effect),
        ("reasons", reasons(was) != reasons(is)),
        ("obligations", !same_duties(&was.obligations, &is.obligations)),
        ("findings", was.findings != is.findings),
        ("limits", was.limits != is.limits || recorded.wants != redecided.verdict.limits),
        ("approval", was.approval != is.approval),
        ("labels", was.labels != is.labels),
        ("executed", was.executed != is.executed),
    ];
    different.into_iter().filter(|(_, differs)| *differs).map(|(member, _)| member).collect()
}

/// Ids of the reasons, without their number: two rules may say the same.
fn reason_ids(decision: &Decision) -> Vec<&str> {
    let mut ids: Vec<&str> = decision.reasons.iter().map(|reason| reason.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// White space in the properties is no difference.
fn same_duties(before: &[Obligation], after: &[Obligation]) -> bool {
    let told = |duty: &Obligation| (duty.kind, duty.id.clone(), duty.properties.node().canonical());
    before.len() == after.len() && before.iter().map(told).eq(after.iter().map(told))
}
