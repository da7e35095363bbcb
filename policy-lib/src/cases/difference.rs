//! What came out, held against what was expected, member by member.

use std::fmt;

use lictor_proto::decision::{Effect, Obligation};
use serde::Serialize;
use serde_json::Value;

use super::expect::{Expect, ExpectedLabels, ExpectedLimit, ExpectedObligation};
use crate::conclude::DryRun;
use crate::limits::LimitRequest;

/// A member that came out otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `effect`, `reasons`, `obligations.<id>.properties`, ….
    pub member: String,
    /// What was expected.
    pub expected: String,
    /// What came out.
    pub got: String,
    /// Of a list: what was expected and did not come.
    pub missing: Vec<String>,
    /// Of a list: what came and was not expected.
    pub unexpected: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.member, self.expected, self.got)
    }
}

impl Difference {
    fn new(member: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            member: member.into(),
            expected: expected.into(),
            got: got.into(),
            missing: Vec::new(),
            unexpected: Vec::new(),
        }
    }
}

/// Everything that differs, in the order of the members.
pub(super) fn differences(expect: &Expect, outcome: &DryRun) -> Vec<Difference> {
    let mut found = Vec::new();
    let decision = &outcome.decision;
    if decision.effect != expect.effect {
        found.push(Difference::new("effect", expect.effect.as_str(), decision.effect.as_str()));
    }
    if let Some(wanted) = &expect.reasons {
        let got = decision.reasons.iter().map(|reason| reason.id.as_str());
        // An allow names every permit, a case those that it is about.
        let some = expect.effect == Effect::Allow;
        found.extend(lists("reasons", wanted.iter().map(String::as_str), got, some));
    }
    if let Some(wanted) = &expect.obligations {
        obligations(wanted, &decision.obligations, &mut found);
    }
    if let Some(wanted) = &expect.limits {
        limits(wanted, &outcome.verdict.limits, &mut found);
    }
    if let Some(wanted) = &expect.findings {
        let got = decision.findings.iter().map(|finding| finding.detector.as_str());
        found.extend(lists("findings", wanted.iter().map(String::as_str), got, false));
    }
    if let Some(wanted) = &expect.labels {
        labels(*wanted, outcome, &mut found);
    }
    if let Some(wanted) = &expect.marks {
        let got = outcome.verdict.marks.iter().map(String::as_str);
        found.extend(lists("marks", wanted.iter().map(String::as_str), got, false));
    }
    found
}

/// Sets of ids; with `some`, more may come than was expected.
fn lists<'a>(
    member: &str,
    wanted: impl Iterator<Item = &'a str>,
    got: impl Iterator<Item = &'a str>,
    some: bool,
) -> Option<Difference> {
    let sorted = |mut ids: Vec<&'a str>| {
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let (wanted, got) = (sorted(wanted.collect()), sorted(got.collect()));
    let without = |ids: &[&str], others: &[&str]| -> Vec<String> {
        ids.iter().filter(|id| !others.contains(id)).map(ToString::to_string).collect()
    };
    let missing = without(&wanted, &got);
    let unexpected = if some { Vec::new() } else { without(&got, &wanted) };
    if missing.is_empty() && unexpected.is_empty() {
        return None;
    }
    let list = |ids: &[&str]| format!("[{}]", ids.join(", "));
    Some(Difference { missing, unexpected, ..Difference::new(member, list(&wanted), list(&got)) })
}

fn obligations(wanted: &[ExpectedObligation], got: &[Obligation], found: &mut Vec<Difference>) {
    let ids = wanted.iter().map(|obligation| obligation.id.as_str());
    found.extend(lists("obligations", ids, got.iter().map(|o| o.id.as_str()), false));
    for expected in wanted {
        let Some(got) = got.iter().find(|o| o.id == expected.id) else { continue };
        let member = |name: &str| format!("obligations.{}.{name}", expected.id);
        if let Some(kind) = expected.kind.filter(|kind| *kind != got.kind) {
            found.push(Difference::new(member("type"), kind.as_str(), got.kind.as_str()));
        }
        let properties = serde_json::to_value(&got.properties).unwrap_or_default();
        if let Some(wanted) = expected.properties.as_ref().filter(|p| !equal(p, &properties)) {
            let (wanted, got) = (wanted.to_string(), properties.to_string());
            found.push(Difference::new(member("properties"), wanted, got));
        }
    }
}

/// Whether two values are the same, `1` and `1.0` among them.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y)))
        }
        _ => a == b,
    }
}

fn limits(wanted: &[ExpectedLimit], got: &[LimitRequest], found: &mut Vec<Difference>) {
    let ids = wanted.iter().map(|limit| limit.id.as_str());
    found.extend(lists("limits", ids, got.iter().map(|limit| limit.id.as_str()), false));
    for expected in wanted {
        let Some(got) = got.iter().find(|limit| limit.id == expected.id) else { continue };
        let member = |name: &str| format!("limits.{}.{name}", expected.id);
        if let Some(key) = expected.key.as_ref().filter(|key| **key != got.key) {
            found.push(Difference::new(member("key"), key, &got.key));
        }
        let numbers = [("max", expected.max, got.max), ("cost", expected.cost, got.cost)];
        for (name, expected, got) in numbers {
            if let Some(expected) = expected.filter(|expected| *expected != got) {
                let (expected, got) = (expected.to_string(), got.to_string());
                found.push(Difference::new(member(name), expected, got));
            }
        }
    }
}

fn labels(wanted: ExpectedLabels, outcome: &DryRun, found: &mut Vec<Difference>) {
    let got = outcome.decision.labels;
    let word = |value: &dyn fmt::Debug| format!("{value:?}").to_lowercase();
    if let Some(wanted) = wanted.integrity.filter(|wanted| *wanted != got.integrity) {
        found.push(Difference::new("labels.integrity", word(&wanted), word(&got.integrity)));
    }
    if let Some(wanted) = wanted.confidentiality.filter(|wanted| *wanted != got.confidentiality) {
        let (wanted, got) = (word(&wanted), word(&got.confidentiality));
        found.push(Difference::new("labels.confidentiality", wanted, got));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_differ_by_what_is_missing_and_what_is_unexpected() {
        let found = lists("reasons", ["a", "b"].into_iter(), ["b", "c", "c"].into_iter(), false);
        let found = found.unwrap();
        assert_eq!(found.to_string(), "reasons: expected [a, b], got [b, c]");
        assert_eq!((found.missing, found.unexpected), (vec!["a".to_owned()], vec!["c".to_owned()]));
        assert_eq!(lists("x", ["b"].into_iter(), ["b", "c"].into_iter(), true), None);
        assert!(lists("x", ["b"].into_iter(), ["b", "c"].into_iter(), false).is_some());
        assert_eq!(lists("x", [].into_iter(), [].into_iter(), false), None);
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(equal(&json!({"a": [1, 2.5]}), &json!({"a": [1.0, 2.5]})));
        assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": 1})));
        assert!(!equal(&json!([1]), &json!([1, 1])));
        assert!(!equal(&json!("1"), &json!(1)));
    }
}
