//! What came of replayed records, counted and grouped. Every thread has a tally of its own; merged
//! in any order they are the same.

use std::collections::BTreeMap;

use lictor_audit::query::Record;
use lictor_policy_lib::limits::LimitRequest;
use lictor_policy_lib::replay::{Cause, Change, Redecided};
use lictor_proto::decision::Decision;
use serde::Serialize;
use serde_json::Value;

use super::By;
use super::read::reason_ids;
use crate::time::rfc3339;

/// A replayed record.
pub(super) struct Compared {
    pub(super) same_bundle: bool,
    pub(super) faults: Vec<&'static str>,
    pub(super) changes: Vec<Change>,
    pub(super) before: (Decision, Vec<LimitRequest>),
    pub(super) after: Redecided,
}

/// A call that a count is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Example {
    #[serde(skip)]
    place: u64,
    pub(super) call_id: String,
    pub(super) log: String,
    pub(super) seq: u64,
    at: String,
}

/// A number of calls, and the first of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    pub(super) count: u64,
    pub(super) examples: Vec<Example>,
}

impl Counted {
    fn add(&mut self, example: Example, max: usize) {
        self.count += 1;
        self.keep(example, max);
    }

    fn keep(&mut self, example: Example, max: usize) {
        let at = self.examples.partition_point(|other| *other < example);
        if at < max {
            self.examples.insert(at, example);
            self.examples.truncate(max);
        }
    }

    fn merge(&mut self, other: Self, max: usize) {
        self.count += other.count;
        for example in other.examples {
            self.keep(example, max);
        }
    }
}

/// What calls of a group have in common; empty where they are not grouped by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) change: Change,
    pub(super) tool: String,
    pub(super) agent: String,
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
}

/// Calls with the same change.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) calls: Counted,
    /// Of how many the record does not tell whether limits had room.
    pub(super) limits_unknown: u64,
}

/// Records that are not replayed for one cause.
#[derive(Debug, Clone, Default)]
pub(super) struct Skipped {
    pub(super) calls: Counted,
    pub(super) reasons: BTreeMap<String, u64>,
}

/// A bundle that decided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct DecidedBy {
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) digest: String,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    examples: usize,
    pub(super) decisions: u64,
    pub(super) other_kinds: u64,
    pub(super) left_out: u64,
    pub(super) unreadable: u64,
    pub(super) replayed: u64,
    pub(super) unchanged: u64,
    pub(super) same_bundle: u64,
    pub(super) faults: Counted,
    pub(super) faulty_members: BTreeMap<&'static str, u64>,
    pub(super) limits_unknown: u64,
    pub(super) changes: BTreeMap<Change, u64>,
    pub(super) groups: BTreeMap<Key, Group>,
    pub(super) skipped: BTreeMap<Cause, Skipped>,
    pub(super) tenants: BTreeMap<String, u64>,
    pub(super) bundles: BTreeMap<DecidedBy, u64>,
    pub(super) span_ms: Option<(i64, i64)>,
}

/// What `--fail-on` looks at.
pub(super) struct Sums {
    changes: BTreeMap<Change, u64>,
    pub(super) replayed: u64,
    pub(super) limits_unknown: u64,
    /// Records that lack what a replay needs.
    pub(super) lacking: u64,
}

impl Sums {
    pub(super) fn of(&self, change: Change) -> u64 {
        self.changes.get(&change).copied().unwrap_or_default()
    }
}

impl Tally {
    pub(super) fn new(examples: usize) -> Self {
        Self { examples, ..Self::default() }
    }

    /// Counts a decision that is wanted.
    pub(super) fn decision(&mut self, record: &Record) {
        self.decisions += 1;
        let text = |pointer| record.str_at(pointer).unwrap_or_default().to_owned();
        *self.tenants.entry(text("/tenant")).or_default() += 1;
        let version = record.body.pointer("/bundle/version").and_then(Value::as_u64);
        let by = DecidedBy {
            name: text("/bundle/name"),
            version: version.unwrap_or_default(),
            digest: text("/bundle/digest"),
        };
        *self.bundles.entry(by).or_default() += 1;
        let (first, last) = self.span_ms.unwrap_or((record.ts_ms, record.ts_ms));
        self.span_ms = Some((first.min(record.ts_ms), last.max(record.ts_ms)));
    }

    /// Counts a record that was replayed.
    pub(super) fn compared(&mut self, place: u64, record: &Record, by: &[By], told: &Compared) {
        self.replayed += 1;
        self.same_bundle += u64::from(told.same_bundle);
        self.unchanged += u64::from(told.changes.is_empty());
        let unknown = u64::from(!told.after.limits_unknown.is_empty());
        self.limits_unknown += unknown;
        if !told.faults.is_empty() {
            self.faults.add(example(place, record), self.examples.max(1));
            for member in &told.faults {
                *self.faulty_members.entry(member).or_default() += 1;
            }
        }
        for change in &told.changes {
            *self.changes.entry(*change).or_default() += 1;
            let group = self.groups.entry(key(*change, record, by, told)).or_default();
            group.calls.add(example(place, record), self.examples);
            group.limits_unknown += unknown;
        }
    }

    /// Counts a record that cannot be replayed.
    pub(super) fn not_replayed(&mut self, place: u64, record: &Record, cause: Cause) {
        let skipped = self.skipped.entry(cause).or_default();
        skipped.calls.add(example(place, record), self.examples);
        if cause == Cause::NotPolicys {
            for id in reason_ids(record) {
                *skipped.reasons.entry(id).or_default() += 1;
            }
        }
    }

    /// Adds what another thread counted.
    pub(super) fn merge(&mut self, other: Self) {
        let max = self.examples;
        self.decisions += other.decisions;
        self.other_kinds += other.other_kinds;
        self.left_out += other.left_out;
        self.unreadable += other.unreadable;
        self.replayed += other.replayed;
        self.unchanged += other.unchanged;
        self.same_bundle += other.same_bundle;
        self.limits_unknown += other.limits_unknown;
        self.faults.merge(other.faults, max.max(1));
        add(&mut self.faulty_members, other.faulty_members);
        add(&mut self.changes, other.changes);
        add(&mut self.tenants, other.tenants);
        add(&mut self.bundles, other.bundles);
        for (key, group) in other.groups {
            let own = self.groups.entry(key).or_default();
            own.limits_unknown += group.limits_unknown;
            own.calls.merge(group.calls, max);
        }
        for (cause, skipped) in other.skipped {
            let own = self.skipped.entry(cause).or_default();
            own.calls.merge(skipped.calls, max);
            add(&mut own.reasons, skipped.reasons);
        }
        self.span_ms = match (self.span_ms, other.span_ms) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    pub(super) fn sums(&self) -> Sums {
        // No bundle would decide these otherwise, and what is asked twice is replayed once.
        let lacks = |cause: &Cause| !matches!(cause, Cause::NotPolicys | Cause::Repeated);
        let lacking = self.skipped.iter().filter(|(cause, _)| lacks(cause));
        Sums {
            changes: self.changes.clone(),
            replayed: self.replayed,
            limits_unknown: self.limits_unknown,
            lacking: lacking.map(|(_, skipped)| skipped.calls.count).sum::<u64>() + self.unreadable,
        }
    }
}

fn add<K: Ord>(own: &mut BTreeMap<K, u64>, other: BTreeMap<K, u64>) {
    for (key, count) in other {
        *own.entry(key).or_default() += count;
    }
}

fn example(place: u64, record: &Record) -> Example {
    Example {
        place,
        call_id: record.call_id().unwrap_or_default().to_owned(),
        log: record.log.clone(),
        seq: record.seq,
        at: rfc3339(record.ts_ms),
    }
}

fn key(change: Change, record: &Record, by: &[By], told: &Compared) -> Key {
    let text = |pointer| record.str_at(pointer).unwrap_or_default();
    let when = |what: By, text: String| if by.contains(&what) { text } else { String::new() };
    let asked = match text("/phase") {
        "" | "request" => text("/action").to_owned(),
        phase => format!("{} ({phase})", text("/action")),
    };
    let resource = format!("{asked} {}", text("/resource/id"));
    let (before, after) = match by.contains(&By::Reason) {
        true => (
            named(change, &told.before.0, &told.before.1),
            named(change, &told.after.decision, &told.after.verdict.limits),
        ),
        false => (Vec::new(), Vec::new()),
    };
    Key {
        change,
        tool: when(By::Tool, resource.trim_end().to_owned()),
        agent: when(By::Agent, text("/agent/id").to_owned()),
        before,
        after,
    }
}

/// The ids of what changed.
fn named(change: Change, decision: &Decision, wants: &[LimitRequest]) -> Vec<String> {
    let mut ids: Vec<String> = match change {
        Change::Obligations => decision.obligations.iter().map(|o| o.id.clone()).collect(),
        Change::Limits => wants.iter().map(|want| want.id.clone()).collect(),
        Change::Findings => decision.findings.iter().map(|f| f.detector.clone()).collect(),
        Change::Labels => vec![labels(decision)],
        _ => decision.reasons.iter().map(|reason| reason.id.clone()).collect(),
    };
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn labels(decision: &Decision) -> String {
    let word = |value: Result<Value, serde_json::Error>| {
        value.ok().and_then(|value| value.as_str().map(ToOwned::to_owned)).unwrap_or_default()
    };
    let integrity = word(serde_json::to_value(decision.labels.integrity));
    let confidentiality = word(serde_json::to_value(decision.labels.confidentiality));
    format!("{integrity}/{confidentiality}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: u64) -> Example {
        let (log, at) = ("pdp".to_owned(), String::new());
        Example { place, call_id: format!("c{place}"), log, seq: place, at }
    }

    #[test]
    fn the_first_examples_are_kept_in_whatever_order_they_come() {
        let mut one = Counted::default();
        let mut other = Counted::default();
        for place in [9, 2, 7] {
            one.add(at(place), 2);
        }
        for place in [8, 1] {
            other.add(at(place), 2);
        }
        one.merge(other, 2);
        let kept: Vec<u64> = one.examples.iter().map(|example| example.place).collect();
        assert_eq!((one.count, kept), (5, vec![1, 2]));
        let mut none = Counted::default();
        none.add(at(1), 0);
        assert_eq!((none.count, none.examples.len()), (1, 0));
    }

    #[test]
    fn what_no_policy_decided_lacks_nothing() {
        let mut tally = Tally::new(1);
        for cause in Cause::ALL {
            tally.skipped.entry(cause).or_default().calls.add(at(1), 1);
        }
        assert_eq!(tally.sums().lacking, Cause::ALL.len() as u64 - 2);
    }
}
