//! A decision and what another bundle would have made of it. Nothing here can be given to anybody:
//! there is no store to ask, and what comes out is only told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::replay::{Change, How, Recorded, Redecided, Replayed, replay};
use lictor_proto::call::Call;
use lictor_proto::decision::Decision;
use lictor_proto::facts::Facts;
use lictor_proto::reason;

/// What an engine may take of a comparison, in milliseconds: nobody waits for it.
const ENGINE_MS: u64 = 1_000;
/// What a decision weighs in the queue beside its texts, in bytes.
const BYTES_LEAST: usize = 4_096;

/// A decision that was made and given.
pub(crate) struct Given {
    /// The call, as it came.
    pub(crate) call: Arc<Call>,
    /// The agent's registry id in the live bundle.
    pub(crate) agent: Option<String>,
    /// What was known when it was made.
    pub(crate) facts: Facts,
    /// What was answered.
    pub(crate) decision: Decision,
    /// What policy said.
    pub(crate) verdict: Arc<Verdict>,
    /// How it came about.
    pub(crate) how: How,
    /// Whether the facts tell what the session did.
    pub(crate) session_kept: bool,
}

impl Given {
    /// About how much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.call.content.iter().map(|part| part.text.len()).sum::<usize>();
        let args = self.call.context.args.text().len();
        texts.saturating_add(args).saturating_add(BYTES_LEAST)
    }

    fn recorded(self) -> Recorded {
        Recorded {
            wants: self.verdict.limits.clone(),
            call: Arc::unwrap_or_clone(self.call),
            facts: self.facts,
            decision: self.decision,
            how: self.how,
            session_kept: self.session_kept,
        }
    }
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The same.
    Same,
    /// It would have been allowed.
    NewlyAllowed,
    /// It would have been denied.
    NewlyDenied,
    /// A person would have been asked.
    NewlyAsked,
    /// The same effect for other reasons, or with other obligations, limits, findings or labels.
    Reasons,
    /// The bundle gave no answer that says anything of its policies.
    Error,
    /// Not compared: there was no room, no bundle, or nothing to compare with.
    Skipped,
}

impl Outcome {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Same,
        Self::NewlyAllowed,
        Self::NewlyDenied,
        Self::NewlyAsked,
        Self::Reasons,
        Self::Error,
        Self::Skipped,
    ];

    /// The name in metrics, records and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::NewlyAllowed => "newly_allowed",
            Self::NewlyDenied => "newly_denied",
            Self::NewlyAsked => "newly_asked",
            Self::Reasons => "reasons",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the effect is another one.
    #[must_use]
    pub fn is_flip(self) -> bool {
        matches!(self, Self::NewlyAllowed | Self::NewlyDenied | Self::NewlyAsked)
    }
}

/// A decision that the shadow bundle would have turned around.
pub(super) struct Flip {
    /// How.
    pub(super) outcome: Outcome,
    /// The decision that was given, and what it was made from.
    pub(super) recorded: Recorded,
    /// The agent's registry id in the live bundle.
    pub(super) agent: Option<String>,
    /// What the live bundle's policies said.
    pub(super) live: Arc<Verdict>,
    /// What the shadow bundle makes of it.
    pub(super) shadow: Redecided,
}

/// What the shadow bundle makes of a decision; of a flip, everything.
pub(super) fn compare(bundle: &LoadedBundle, given: Given) -> (Outcome, Option<Box<Flip>>) {
    let (agent, live) = (given.agent.clone(), Arc::clone(&given.verdict));
    let recorded = given.recorded();
    let budget = Budget { time: Duration::from_millis(ENGINE_MS), ..Budget::default() };
    let replayed = match guarded(|| replay(bundle, &recorded, budget)) {
        Some(Ok(replayed)) => replayed,
        // It reads what sessions do, and nobody keeps that here.
        Some(Err(_)) => return (Outcome::Skipped, None),
        None => {
            tracing::error!(call_id = recorded.call.call_id, "the shadow bundle failed on a call");
            return (Outcome::Error, None);
        }
    };
    let outcome = outcome(&replayed);
    let flip = outcome
        .is_flip()
        .then(|| Box::new(Flip { outcome, recorded, agent, live, shadow: replayed.redecided }));
    (outcome, flip)
}

/// What `judge` says; `None` if it panics, which ends with this one call.
fn guarded<T>(judge: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(judge)).ok()
}

fn outcome(replayed: &Replayed) -> Outcome {
    if says_nothing(&replayed.redecided) {
        return Outcome::Error;
    }
    match replayed.changes.first() {
        None => Outcome::Same,
        Some(Change::NewlyAllowed) => Outcome::NewlyAllowed,
        Some(Change::NewlyDenied) => Outcome::NewlyDenied,
        Some(Change::NewlyAsked) => Outcome::NewlyAsked,
        Some(_) => Outcome::Reasons,
    }
}

/// Whether the answer is none of the bundle's policies: it is outside its times, or ran out of
/// time.
fn says_nothing(redecided: &Redecided) -> bool {
    let times = redecided.decision.reasons.iter().any(|why| {
        let ours = why.policy.is_empty();
        ours && matches!(why.id.as_str(), reason::BUNDLE_EXPIRED | reason::BUNDLE_STALE)
    });
    times || redecided.verdict.errors.iter().any(|error| error.fatal && error.is_late())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_its_call() {
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| panic!("on purpose")), None::<()>);
    }

    #[test]
    fn only_another_effect_is_a_flip() {
        let flips: Vec<_> = Outcome::ALL.into_iter().filter(|outcome| outcome.is_flip()).collect();
        assert_eq!(flips, [Outcome::NewlyAllowed, Outcome::NewlyDenied, Outcome::NewlyAsked]);
    }
}
