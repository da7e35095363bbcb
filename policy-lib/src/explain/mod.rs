//! Why a decision came out as it did: the rules that decided, clause by clause, and
//! for a denial the permits that came nearest.
//!
//! The call is evaluated once more over the same facts, by policies that are watched
//! ([`crate::coverage`] uses the same). They decide nothing; that they come out as
//! those that do is what the tests of this module hold. Values are shown to whoever
//! operates the policies, in dry runs and tests, and never longer than
//! [`VALUE_CHARS_MAX`].
//!
//! # Layout
//!
//! - this file: what is told, and in which order.
//! - `rego::trace::told` and `cedar::told`: what each engine's policies have to tell.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use lictor_proto::call::{Call, Phase};
use lictor_proto::decision::Effect;
use lictor_proto::facts::Facts;
use serde::Serialize;

use crate::bundle::PermitFrom;
use crate::cedar::clauses::Watched;
use crate::combine::{Combined, Terms, Voice, combine};
use crate::diagnostic::Diagnostic;
use crate::engine::{Budget, Outcome, Query};
use crate::evaluate::complete_facts;
use crate::load::{LoadedBundle, Sources};
use crate::plan::plan;
use crate::rego::trace::Traced;

/// Longest value that is shown, in characters.
pub const VALUE_CHARS_MAX: usize = 120;
/// Longest source text of a clause that is shown, in characters.
pub const TEXT_CHARS_MAX: usize = 240;
/// Most permits that are told of when none holds.
pub const NEAREST_MAX: usize = 3;

/// Why a decision came out as it did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The rules that decided, with their clauses.
    pub clauses: Vec<RuleTold>,
    /// Permits that did not hold, the nearest first.
    pub nearest: Vec<RuleTold>,
    /// Why nothing, or not all, can be told; empty if all is.
    pub note: String,
}

/// One rule, clause by clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleTold {
    /// `rego` or `cedar`.
    pub engine: &'static str,
    /// `allow`, `deny`, `ask`, `list`, …; of Cedar `permit`, `forbid` or `ask`.
    pub rule: String,
    /// The place: `rego/<unit>/<file>.rego:<line>`, `cedar/<unit>.cedar:<line>`.
    pub policy: String,
    /// Cedar's `@id`; empty of Rego.
    pub id: String,
    /// For whom it was asked, where a call has a chain of delegation.
    pub principal: String,
    /// Whether it held.
    pub held: bool,
    /// Why it does not count although it holds; empty if it does.
    pub note: String,
    /// How many of its clauses held.
    pub clauses_held: usize,
    /// Its clauses in order.
    pub clauses: Vec<ClauseTold>,
}

/// How a clause came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClauseOutcome {
    /// It held.
    Held,
    /// It did not.
    Failed,
    /// It could not be evaluated.
    Error,
    /// It depends on arguments that a list does not know.
    Unknown,
    /// An earlier one had failed.
    NotEvaluated,
}

/// One clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClauseTold {
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// As written, in one line.
    pub text: String,
    /// How it came out.
    pub outcome: ClauseOutcome,
    /// What it read.
    pub values: Vec<ValueTold>,
    /// What it is made of: branches, or the bodies of what it calls.
    pub inner: Vec<ClauseTold>,
}

/// A value that a clause read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ValueTold {
    /// `input.context.args.amount`, `principal.team`, a variable.
    pub path: String,
    /// As JSON, or as Cedar writes it; `null` where there is none.
    pub value: Option<String>,
}

/// Everything that the watched rules of an engine have to tell of one call.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) engine: &'static str,
    pub(crate) has_policies: bool,
    pub(crate) rules: Vec<RuleTold>,
    /// What they said, which is what those that serve say.
    pub(crate) outcome: Outcome,
}

/// The policies of a bundle, ready to explain.
pub struct Explainer<'b> {
    bundle: &'b LoadedBundle,
    rego: Traced,
    cedar: Watched,
}

impl std::fmt::Debug for Explainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explainer").field("bundle", &self.bundle).finish_non_exhaustive()
    }
}

/// Explains one decision. `facts` are those that it was made over, with what detectors
/// found: [`crate::conclude::DryRun::facts`]. Who explains several keeps an
/// [`Explainer`].
#[must_use]
pub fn explain(
    bundle: &LoadedBundle,
    call: &Call,
    facts: &Facts,
    now_ms: i64,
    budget: Budget,
) -> Explanation {
    match Explainer::new(bundle) {
        Ok(explainer) => explainer.explain(call, facts, now_ms, budget),
        Err(problems) => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            Explanation {
                note: format!("the policies cannot be watched: {first}"),
                ..Explanation::default()
            }
        }
    }
}

impl<'b> Explainer<'b> {
    /// Loads the policies once more, to be watched.
    ///
    /// # Errors
    /// Why a text cannot be watched although it loads: it is too long.
    pub fn new(bundle: &'b LoadedBundle) -> Result<Self, Vec<Diagnostic>> {
        let sources = Sources::of(bundle.verified());
        let rego = Traced::load(&sources.rego(), true)?;
        let cedar = Watched::load(&sources.cedar())?;
        Ok(Self { bundle, rego, cedar })
    }

    /// Explains one decision; not from two threads at once.
    #[must_use]
    pub fn explain(&self, call: &Call, facts: &Facts, now_ms: i64, budget: Budget) -> Explanation {
        let call = self.bundle.resolve(call);
        let facts = complete_facts(self.bundle, &call, facts.clone(), now_ms);
        if let Err(reason) = plan(self.bundle, &call, facts.time.now_ms) {
            let note = format!("denied as `{}` before any policy was asked", reason.id);
            return Explanation { note, ..Explanation::default() };
        }
        let query = Query { call: &call, facts: &facts, registry: self.bundle.registry(), budget };
        let told = [self.rego.told(&query), self.cedar.told(&query)];
        let terms = Terms {
            phase: call.phase,
            questions: &call.questions,
            permit_from: self.bundle.verified().manifest().permit_from,
            approved: &facts.session.approvals,
        };
        arrange(terms, told, &words_of(&call))
    }
}

/// Which rules decided, and which permits came nearest.
fn arrange(terms: Terms<'_>, told: [Told; 2], words: &[String]) -> Explanation {
    let voices: Vec<Voice> = told
        .iter()
        .map(|told| Voice {
            engine: told.engine,
            has_policies: told.has_policies,
            outcome: told.outcome.clone(),
        })
        .collect();
    let combined = combine(terms, &voices);
    let errors = told.iter().flat_map(|told| &told.outcome.errors);
    let notes: Vec<String> =
        errors.map(|error| format!("{}: {}", error.policy, error.message)).collect();
    let mut explanation = Explanation { note: notes.join("; "), ..Explanation::default() };
    for Told { engine, rules, outcome, .. } in told {
        let permitted = !outcome.permits.is_empty() || outcome.listed;
        // Only where its permit was missing.
        let asked = match terms.permit_from {
            PermitFrom::All | PermitFrom::Any => true,
            PermitFrom::Rego => engine == "rego",
            PermitFrom::Cedar => engine == "cedar",
        };
        for rule in rules {
            if rule.held && decides(&rule, &combined) {
                explanation.clauses.push(rule);
            } else if permits(&rule) && asked && !permitted && !rule.held {
                explanation.nearest.push(rule);
            }
        }
    }
    if combined.effect != Effect::Deny || terms.phase == Phase::Response {
        explanation.nearest.clear();
    }
    let nearest = &mut explanation.nearest;
    nearest.sort_by(|a, b| distance(a, words).cmp(&distance(b, words)));
    let is_near = |rule: &RuleTold| rule.clauses_held + named(rule, words) > 0;
    if nearest.first().is_some_and(is_near) {
        nearest.retain(is_near);
    }
    nearest.truncate(NEAREST_MAX);
    explanation
}

/// What a call is about, as policies would write it, the most telling first.
fn words_of(call: &Call) -> Vec<String> {
    let id = call.resource.as_ref().map(|resource| resource.id.as_str()).unwrap_or_default();
    let (server, tool) = id.split_once('/').unwrap_or(("", id));
    let mut words: Vec<String> = Vec::new();
    for word in [id, tool, call.action.name.as_str(), server] {
        let word = format!("\"{word}\"");
        if word.len() > 2 && !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// How much of the call a rule names.
fn named(rule: &RuleTold, words: &[String]) -> usize {
    let names = |word: &String| rule.clauses.iter().any(|clause| clause.text.contains(word));
    let weights = words.iter().rev().zip(1..).map(|(word, weight)| (names(word), weight));
    weights.filter(|(named, _)| *named).map(|(_, weight)| weight).sum()
}

fn permits(rule: &RuleTold) -> bool {
    matches!(rule.rule.as_str(), "allow" | "list" | "permit")
}

/// Whether a rule that held has a part in the effect, or would have if its scope or
/// its mode let it.
fn decides(rule: &RuleTold, combined: &Combined) -> bool {
    match combined.effect {
        Effect::Deny => matches!(rule.rule.as_str(), "deny" | "forbid"),
        Effect::Ask => combined.asks.iter().any(|ask| ask.reason.policy == rule.policy),
        Effect::Allow => permits(rule) || rule.rule == "obligations",
    }
}

/// The more clauses held the nearer. A clause behind the first that failed may not
/// have been evaluated: then what names the call is nearer, and what is shorter.
fn distance<'r>(
    rule: &'r RuleTold,
    words: &[String],
) -> (Reverse<usize>, Reverse<usize>, usize, &'r str) {
    let left = rule.clauses.len().saturating_sub(rule.clauses_held);
    (Reverse(rule.clauses_held), Reverse(named(rule, words)), left, rule.policy.as_str())
}

/// A text in one line of no more than `max` characters.
pub(crate) fn bounded(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let shown: String = line.chars().take(max.saturating_sub(2)).collect();
    format!("{} …", shown.trim_end())
}
