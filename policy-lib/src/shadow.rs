//! What shadow rules would change. From the outcomes of the one evaluation: each rule is added to
//! them as if it were enforced, and they are combined again; nothing is evaluated twice.

use lictor_proto::decision::Effect;
use serde::Serialize;

use crate::combine::Voice;
use crate::engine::{Shadow, Would};

/// Most rules of one decision that are weighed one by one. All of them are weighed together.
pub const WEIGHED_MAX: usize = 64;

/// A shadow rule that fired, and what it would have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weighed {
    /// `allow`, `deny`, `ask`; `obligations` would add, `limits` would draw.
    pub rule: String,
    /// The element's id.
    pub id: String,
    /// The place that fired.
    pub policy: String,
    /// The effect that the call would have, where it is another one. `allow` still has to pass the
    /// limits.
    pub flips: Option<Effect>,
    /// Whether nobody knows that: of rules past [`WEIGHED_MAX`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unweighed: bool,
}

/// What all shadow rules of one decision would have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Shadows {
    /// Each rule on its own, sorted.
    pub rules: Vec<Weighed>,
    /// The effect that the call would have with all of them, where it is another one.
    pub together: Option<Effect>,
}

impl Shadows {
    /// What of this is a flip of a decision that came out as `decided`: a call that a limit denied
    /// anyway is not denied by a rule as well.
    #[must_use]
    pub fn against(&self, decided: Effect) -> Self {
        let other = |flips: Option<Effect>| flips.filter(|effect| *effect != decided);
        let rules =
            self.rules.iter().map(|rule| Weighed { flips: other(rule.flips), ..rule.clone() });
        Self { rules: rules.collect(), together: other(self.together) }
    }
}

/// Sorts, and joins what one rule said several times.
pub(crate) fn sort(shadows: &mut Vec<Shadow>) {
    shadows.sort_by(|a, b| a.key().cmp(&b.key()));
    let mut joined: Vec<Shadow> = Vec::with_capacity(shadows.len());
    for shadow in shadows.drain(..) {
        match joined.last_mut().filter(|last| last.key() == shadow.key()) {
            Some(last) => last.would.extend(shadow.would),
            None => joined.push(shadow),
        }
    }
    *shadows = joined;
}

/// Takes the shadow rules out of what the engines said, with the place of the engine that said it.
pub(crate) fn take(voices: &mut [Voice]) -> Vec<(usize, Shadow)> {
    let mut fired = Vec::new();
    for (at, voice) in voices.iter_mut().enumerate() {
        let shadows = std::mem::take(&mut voice.outcome.shadows);
        fired.extend(shadows.into_iter().map(|shadow| (at, shadow)));
    }
    fired
}

/// Weighs shadow rules against what was said without them. `effect` is that of the voices as they
/// are, `judge` finds that of others.
pub(crate) fn weigh(
    fired: Vec<(usize, Shadow)>,
    mut voices: Vec<Voice>,
    effect: Effect,
    judge: impl Fn(&[Voice]) -> Effect,
) -> Shadows {
    let other = |voices: &[Voice]| Some(judge(voices)).filter(|would| *would != effect);
    let mut rules: Vec<Weighed> = Vec::with_capacity(fired.len());
    for (at, shadow) in &fired {
        let unweighed = rules.len() >= WEIGHED_MAX;
        let flips = if unweighed { None } else { weigh_one(&mut voices, *at, shadow, other) };
        let Shadow { rule, id, policy, .. } = shadow.clone();
        rules.push(Weighed { rule, id, policy, flips, unweighed });
    }
    for (at, shadow) in fired {
        if let Some(voice) = voices.get_mut(at) {
            enforce(voice, shadow.would);
        }
    }
    rules.sort_by(|a, b| (&a.rule, &a.id, &a.policy).cmp(&(&b.rule, &b.id, &b.policy)));
    Shadows { rules, together: other(&voices) }
}

fn weigh_one(
    voices: &mut [Voice],
    at: usize,
    shadow: &Shadow,
    other: impl Fn(&[Voice]) -> Option<Effect>,
) -> Option<Effect> {
    let kept = voices.get(at)?.clone();
    enforce(voices.get_mut(at)?, shadow.would.clone());
    let flips = other(voices);
    *voices.get_mut(at)? = kept;
    flips
}

/// Adds to what an engine said what a rule would have said.
fn enforce(voice: &mut Voice, would: Vec<Would>) {
    // With its first rule that counts, an engine takes part.
    voice.has_policies = true;
    let outcome = &mut voice.outcome;
    let mut permitted = false;
    for would in would {
        match would {
            Would::Permit { fired, principals } => {
                outcome.unpermitted.retain(|name| !principals.contains(name));
                outcome.held_back.extend(fired);
                permitted = true;
            }
            Would::Deny(denial) => outcome.denies.push(denial),
            Would::Ask(ask) => outcome.asks.push(ask),
            Would::Oblige(duty) => outcome.obligations.push(duty),
            Would::Draw(want) => outcome.limits.push(want),
            Would::Fail(error) => outcome.errors.push(error),
        }
    }
    if permitted && outcome.unpermitted.is_empty() {
        outcome.permits.append(&mut outcome.held_back);
        outcome.listed = true;
    }
    // In phase list a forbid hides, whoever permits.
    outcome.listed &= outcome.denies.is_empty() && !outcome.errors.iter().any(|error| error.fatal);
}

#[cfg(test)]
#[path = "shadow_tests.rs"]
mod tests;
