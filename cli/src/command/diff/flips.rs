//! The cases of both bundles, decided by both: what the change comes to in calls that somebody
//! found worth a test.

use std::collections::BTreeSet;

use lictor_policy_lib::bundle::{Kind, kind};
use lictor_policy_lib::cases::{self, Case};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::load::LoadedBundle;
use lictor_proto::decision::{Decision, Effect};
use serde::Serialize;

/// What came of the cases.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// How many different calls both bundles decided.
    pub(super) cases: usize,
    /// Case files that cannot be read.
    pub(super) skipped: Vec<String>,
    /// The calls that they decide differently.
    pub(super) flips: Vec<Flip>,
}

/// How a decision turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Turn {
    /// Allowed now.
    NewlyAllowed,
    /// Denied now.
    NewlyDenied,
    /// Asked about now.
    NewlyAsked,
    /// The same effect, with other reasons, obligations or limits.
    Otherwise,
}

/// One call that is decided differently.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Flip {
    /// How it turned.
    pub(super) turn: Turn,
    /// The case file and line, `after/` or `before/` in front of it.
    pub(super) place: String,
    /// The case.
    pub(super) case: String,
    /// What the first bundle decides.
    pub(super) before: Told,
    /// What the second bundle decides.
    pub(super) after: Told,
}

/// What of a decision is compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Told {
    /// `allow`, `deny` or `ask`.
    pub(super) effect: &'static str,
    /// Ids, sorted.
    pub(super) reasons: Vec<String>,
    /// Ids, sorted.
    pub(super) obligations: Vec<String>,
    /// Ids, sorted.
    pub(super) limits: Vec<String>,
}

/// Decides every case of either bundle by both. A case that both have counts once.
pub(super) fn play(before: &LoadedBundle, after: &LoadedBundle) -> Played {
    let mut played = Played::default();
    let mut seen = BTreeSet::new();
    for (side, bundle) in [("after", after), ("before", before)] {
        for case in cases_of(side, bundle, &mut played.skipped) {
            let facts = serde_json::to_string(&case.facts).unwrap_or_default();
            if !seen.insert((case.call.to_json(), facts, case.now_ms)) {
                continue;
            }
            played.cases += 1;
            played.flips.extend(flip(side, &case, before, after));
        }
    }
    played.flips.sort();
    played
}

fn cases_of(side: &str, bundle: &LoadedBundle, skipped: &mut Vec<String>) -> Vec<Case> {
    let mut found = Vec::new();
    let files = bundle.verified().files().iter();
    for (name, bytes) in files.filter(|(name, _)| kind(name) == Some(Kind::Cases)) {
        match std::str::from_utf8(bytes).ok().and_then(|text| cases::parse(name, text).ok()) {
            Some(file) => found.extend(file.cases),
            None => skipped.push(format!("{side}/{name}")),
        }
    }
    found
}

fn flip(side: &str, case: &Case, before: &LoadedBundle, after: &LoadedBundle) -> Option<Flip> {
    let (old, new) = (told(before, case), told(after, case));
    if old == new {
        return None;
    }
    let turn = match (old.effect == new.effect, new.effect) {
        (true, _) => Turn::Otherwise,
        (false, "allow") => Turn::NewlyAllowed,
        (false, "ask") => Turn::NewlyAsked,
        (false, _) => Turn::NewlyDenied,
    };
    let place = format!("{side}/{}:{}", case.file, case.line);
    Some(Flip { turn, place, case: case.name.clone(), before: old, after: new })
}

fn told(bundle: &LoadedBundle, case: &Case) -> Told {
    let now_ms = case.now_ms.unwrap_or_else(crate::time::now_ms);
    let outcome = dry_run(bundle, &case.call, case.facts.clone(), now_ms, Budget::default());
    let decision: &Decision = &outcome.decision;
    let sorted = |ids: Vec<String>| {
        let ids: BTreeSet<String> = ids.into_iter().collect();
        ids.into_iter().collect()
    };
    // Which permits fired is how a bundle comes to its answer, not the answer.
    let reasons = match decision.effect {
        Effect::Allow => Vec::new(),
        _ => decision.reasons.iter().map(|reason| reason.id.clone()).collect(),
    };
    Told {
        effect: decision.effect.as_str(),
        reasons: sorted(reasons),
        obligations: sorted(decision.obligations.iter().map(|o| o.id.clone()).collect()),
        limits: sorted(outcome.verdict.limits.iter().map(|limit| limit.id.clone()).collect()),
    }
}
