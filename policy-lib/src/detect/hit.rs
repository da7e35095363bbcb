//! What a detector reports, and where a rule runs.

use std::sync::Arc;

use lictor_proto::call::Origin;
use lictor_proto::decision::Severity;
use serde::Serialize;

/// Every origin, each at the place of its own number.
pub(crate) const ORIGINS: [Origin; 7] = [
    Origin::System,
    Origin::User,
    Origin::Assistant,
    Origin::ToolResult,
    Origin::ToolArgs,
    Origin::ToolDefinition,
    Origin::Retrieved,
];

/// One thing that a detector saw. It says where, never what: the matched text is not in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Detector and rule, such as `secret/aws-access-token`.
    pub detector: Arc<str>,
    /// Class of the hit, such as `secret`, `pii`, `hidden` or `uninspected`.
    pub category: Arc<str>,
    /// How bad it is.
    pub severity: Severity,
    /// How sure the detector is, above 0 and at most 1.
    pub score: f64,
    /// First byte of the span, as a UTF-8 byte offset on a character boundary of the text.
    pub start: usize,
    /// One past the last byte of the span, on a character boundary of the text.
    pub end: usize,
}

impl Hit {
    /// A stretch that no detector looked at.
    pub(crate) fn uninspected(why: &str, start: usize, end: usize) -> Self {
        Self {
            detector: Arc::from(format!("uninspected/{why}")),
            category: Arc::from("uninspected"),
            severity: Severity::Medium,
            score: 1.0,
            start,
            end,
        }
    }

    /// A detector that failed on a text of `length` bytes.
    pub(crate) fn failed(detector: &str, length: usize) -> Self {
        Self {
            detector: Arc::from(format!("detector_failed/{detector}")),
            category: Arc::from("detector_failed"),
            severity: Severity::High,
            score: 1.0,
            start: 0,
            end: length,
        }
    }
}

/// For each origin, whether a rule runs there and with which severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Active([Option<Severity>; ORIGINS.len()]);

impl Active {
    /// The rule's severity at `origin`; `None` where it does not run.
    pub(crate) fn at(&self, origin: Origin) -> Option<Severity> {
        self.0.get(origin as usize).copied().flatten()
    }

    /// Switches the rule on at `origins` (all of them when empty). The highest severity asked for stays.
    pub(crate) fn raise(&mut self, origins: &[Origin], severity: Severity) {
        let wanted = if origins.is_empty() { ORIGINS.as_slice() } else { origins };
        for origin in wanted {
            if let Some(slot) = self.0.get_mut(*origin as usize) {
                *slot = (*slot).max(Some(severity));
            }
        }
    }

    /// Whether the rule runs anywhere.
    pub(crate) fn anywhere(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_has_its_own_slot() {
        for origin in ORIGINS {
            let mut active = Active::default();
            active.raise(&[origin], Severity::Low);
            let on: Vec<_> = ORIGINS.into_iter().filter(|o| active.at(*o).is_some()).collect();
            assert_eq!(on, [origin]);
        }
    }

    #[test]
    fn no_origins_means_all_and_the_highest_severity_stays() {
        let mut active = Active::default();
        assert!(!active.anywhere());
        active.raise(&[], Severity::High);
        active.raise(&[Origin::User], Severity::Low);
        active.raise(&[Origin::System], Severity::Critical);
        assert_eq!(active.at(Origin::User), Some(Severity::High));
        assert_eq!(active.at(Origin::System), Some(Severity::Critical));
        assert_eq!(active.at(Origin::Retrieved), Some(Severity::High));
    }
}
