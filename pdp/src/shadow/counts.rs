//! What is counted of shadow rules and of the shadow bundle.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lictor_policy_lib::shadow::Shadows;

use super::compare::Outcome;

/// Most rules that have a label of their own; all others share [`OTHERS`].
const LABELS_MAX: usize = 128;
/// The label of rules past [`LABELS_MAX`]; no id of a rule has a dash.
const OTHERS: &str = "other-rules";
/// Effects that a rule flips to, and that it flips nothing.
const FLIPS: [&str; 4] = ["allow", "ask", "deny", "none"];

/// Shadow rules that fired since start, by their id and what they would have flipped to.
#[derive(Debug, Default)]
pub(crate) struct RuleCounts(Mutex<BTreeMap<String, [u64; FLIPS.len()]>>);

impl RuleCounts {
    /// Counts the rules of one decision.
    pub(crate) fn count(&self, shadows: &Shadows) {
        if shadows.rules.is_empty() {
            return;
        }
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in &shadows.rules {
            let known = rules.contains_key(&rule.id) || rules.len() < LABELS_MAX;
            let label = if known { rule.id.as_str() } else { OTHERS };
            let flips = rule.flips.map_or("none", |effect| effect.as_str());
            let counts = rules.entry(label.to_owned()).or_default();
            let counts = FLIPS.iter().zip(counts.iter_mut());
            for (_, count) in counts.filter(|(name, _)| **name == flips) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Prometheus text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# HELP lictor_shadow_rule_total Shadow rules that fired, by the effect that they would have flipped to.\n\
             # TYPE lictor_shadow_rule_total counter\n",
        );
        for (id, counts) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let id: String = id.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
            for (flips, count) in FLIPS.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let labels = format!("rule=\"{id}\",flips=\"{flips}\"");
                let _ = writeln!(text, "lictor_shadow_rule_total{{{labels}}} {count}");
            }
        }
        text
    }
}

/// Comparisons since start, by outcome.
#[derive(Debug, Default)]
pub(crate) struct OutcomeCounts([AtomicU64; Outcome::ALL.len()]);

impl OutcomeCounts {
    /// Counts one.
    pub(super) fn count(&self, outcome: Outcome) {
        self.add(outcome, 1);
    }

    /// Counts several.
    pub(super) fn add(&self, outcome: Outcome, number: u64) {
        let all = Outcome::ALL.iter().zip(&self.0);
        for (_, count) in all.filter(|(known, _)| **known == outcome) {
            count.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Every outcome and its number.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::shadow::Weighed;
    use lictor_proto::decision::Effect;

    use super::*;

    fn fired(id: &str, flips: Option<Effect>) -> Shadows {
        let text = str::to_owned;
        let rule = Weighed {
            rule: text("deny"),
            id: text(id),
            policy: text("p"),
            flips,
            unweighed: false,
        };
        Shadows { rules: vec![rule], together: None }
    }

    #[test]
    fn rules_are_counted_by_what_they_would_flip_to() {
        let counts = RuleCounts::default();
        counts.count(&fired("u.a", Some(Effect::Deny)));
        counts.count(&fired("u.a", Some(Effect::Deny)));
        counts.count(&fired("u.a", None));
        counts.count(&Shadows::default());
        let text = counts.text();
        for line in ["{rule=\"u.a\",flips=\"deny\"} 2\n", "{rule=\"u.a\",flips=\"none\"} 1\n"] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn labels_are_bounded() {
        let counts = RuleCounts::default();
        for number in 0..LABELS_MAX + 5 {
            counts.count(&fired(&format!("u.r{number}"), None));
        }
        counts.count(&fired("u.r0", None));
        let text = counts.text();
        assert_eq!(text.lines().count(), 2 + LABELS_MAX + 1);
        assert!(text.contains("{rule=\"other-rules\",flips=\"none\"} 5\n"), "{text}");
        assert!(text.contains("{rule=\"u.r0\",flips=\"none\"} 2\n"), "{text}");
    }

    #[test]
    fn every_outcome_has_its_count() {
        let counts = OutcomeCounts::default();
        counts.count(Outcome::NewlyDenied);
        counts.add(Outcome::Skipped, 3);
        let told: Vec<u64> = counts.all().map(|(_, number)| number).collect();
        assert_eq!(told, [0, 0, 1, 0, 0, 0, 3]);
    }
}
