//! How often each limit lacked room.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use lictor_proto::decision::{Decision, Effect};
use lictor_proto::reason;

/// Most limits that have a label of their own; all others share [`OTHERS`].
const LABELS_MAX: usize = 128;
/// The label of limits past [`LABELS_MAX`]; no id of a limit has a dash.
const OTHERS: &str = "other-limits";

/// Counts since start, by limit.
#[derive(Debug, Default)]
pub(crate) struct LimitCounts(Mutex<BTreeMap<String, u64>>);

impl LimitCounts {
    /// Counts the limits that a denial names.
    pub(crate) fn count(&self, decision: &Decision) {
        if decision.effect != Effect::Deny || decision.limits.is_empty() {
            return;
        }
        let short = decision.reasons.iter().filter_map(|r| r.id.strip_prefix(reason::LIMIT_PREFIX));
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in short.filter(|id| decision.limits.iter().any(|limit| limit.id == **id)) {
            match refused.get_mut(id) {
                Some(count) => *count = count.saturating_add(1),
                None => {
                    let full = refused.len() >= LABELS_MAX;
                    *refused.entry(if full { OTHERS } else { id }.to_owned()).or_default() += 1;
                }
            }
        }
    }

    /// Prometheus text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# HELP lictor_limit_refused_total Calls that were denied because a limit lacked room.\n\
             # TYPE lictor_limit_refused_total counter\n",
        );
        for (id, count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let id: String = id.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
            text.push_str(&format!("lictor_limit_refused_total{{limit=\"{id}\"}} {count}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::decision::{LimitState, Reason};

    use super::*;

    fn short_of(id: &str) -> Decision {
        let reason = Reason::new(&format!("limit.{id}"), "no room");
        let limit = LimitState {
            id: id.to_owned(),
            reserved: 0,
            remaining: 0,
            reset_at: String::new(),
            retry_after_ms: 1,
        };
        Decision { limits: vec![limit], ..Decision::denied("d", "c", reason) }
    }

    #[test]
    fn refusals_are_counted_by_limit() {
        let counts = LimitCounts::default();
        counts.count(&short_of("team"));
        counts.count(&short_of("team"));
        counts.count(&Decision::denied("d", "c", Reason::new("limit.own", "a rule's own word")));
        assert!(counts.text().ends_with("lictor_limit_refused_total{limit=\"team\"} 2\n"));
        assert!(!counts.text().contains("own\""));
    }

    #[test]
    fn labels_are_bounded() {
        let counts = LimitCounts::default();
        for n in 0..LABELS_MAX + 7 {
            counts.count(&short_of(&format!("l{n}")));
        }
        counts.count(&short_of("l0"));
        let text = counts.text();
        assert_eq!(text.lines().count(), 2 + LABELS_MAX + 1);
        assert!(text.contains("{limit=\"other-limits\"} 7\n"), "{text}");
        assert!(text.contains("{limit=\"l0\"} 2\n"), "{text}");
    }
}
