//! What operators revoked and took back, at whichever decision point of a shared store. Pure.
//!
//! Two ledgers are merged change by change: of two about the same thing the later one counts, and
//! of two at the same time the one that revokes. So any two decision points that have seen the
//! same changes, in whatever order, have the same ledger, and nothing of what one of them did is
//! lost. Whoever changes something that is known gives it a time after the one before, whatever
//! the own clock says.

use std::collections::BTreeMap;

use lictor_policy_lib::revocation::{
    ENTRIES_MAX, ID_MAX_BYTES, List, REASON_MAX_BYTES, VERSION_MAX,
};
use lictor_proto::revocation::{Entry, Kind};
use serde::{Deserialize, Serialize};

/// How long it is remembered that something was taken back, milliseconds. A decision point that
/// was away for longer brings back what it still knows as revoked.
pub const TAKEN_BACK_KEPT_MS: i64 = 90 * 86_400_000;
/// Most things that are remembered as taken back; the oldest are forgotten first.
pub const TAKEN_BACK_MAX: usize = 10_000;
/// Longest name of an operator, bytes.
pub const OPERATOR_MAX_BYTES: usize = 1_024;
/// Highest version that is taken over from others.
const VERSION_SHARED_MAX: u64 = VERSION_MAX / 2;
/// Latest time that a signed list can hold, Unix milliseconds.
const TIME_MAX_MS: i64 = 253_402_207_200_000;

/// Why a text is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not of the expected form.
    #[error("what the state store holds is no list of revocations: {0}")]
    Form(#[from] serde_json::Error),
    /// Something is out of its range.
    #[error("the list of revocations in the state store is refused: {0}")]
    Range(&'static str),
}

/// One thing that was revoked or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// Whether it is revoked; else it was taken back.
    pub(super) killed: bool,
    /// When, Unix milliseconds.
    pub(super) at_ms: i64,
    /// The operator; empty where that is not known any more.
    #[serde(default)]
    pub(super) by: String,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until_ms: Option<i64>,
}

impl Change {
    fn of(entry: &Entry, killed: bool) -> Self {
        Self {
            kind: entry.kind,
            id: entry.id.clone(),
            killed,
            at_ms: entry.since_ms.clamp(0, TIME_MAX_MS),
            by: String::new(),
            reason: entry.reason.clone(),
            until_ms: entry.until_ms,
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            kind: self.kind,
            id: self.id.clone(),
            reason: self.reason.clone(),
            since_ms: self.at_ms,
            until_ms: self.until_ms,
        }
    }

    /// What decides between two about the same thing; the greater one counts.
    fn rank(&self) -> (i64, bool, i64, &str, &str) {
        (self.at_ms, self.killed, self.until_ms.unwrap_or(i64::MAX), &self.reason, &self.by)
    }

    fn counts_over(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| self.rank() > other.rank())
    }

    /// Whether it says nothing any more.
    fn is_over(&self, now_ms: i64) -> bool {
        match self.killed {
            true => self.until_ms.is_some_and(|until_ms| until_ms <= now_ms),
            false => self.at_ms.saturating_add(TAKEN_BACK_KEPT_MS) <= now_ms,
        }
    }

    fn check(&self) -> Result<(), LedgerError> {
        let wrong = if self.id.is_empty() || self.id.len() > ID_MAX_BYTES {
            "an id is empty or too long"
        } else if self.reason.len() > REASON_MAX_BYTES {
            "a reason is too long"
        } else if self.by.len() > OPERATOR_MAX_BYTES {
            "the name of an operator is too long"
        } else if !(0..=TIME_MAX_MS).contains(&self.at_ms)
            || self.until_ms.is_some_and(|until_ms| !(0..=TIME_MAX_MS).contains(&until_ms))
        {
            "a time is none"
        } else {
            return Ok(());
        };
        Err(LedgerError::Range(wrong))
    }
}

/// The text that is shared.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u64,
    changes: Vec<Change>,
}

/// Every change that is still known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Highest version that any decision point had of its list.
    pub(super) version: u64,
    changes: BTreeMap<(Kind, String), Change>,
}

impl Ledger {
    /// What is on the own list, and what was taken from it.
    pub(super) fn of(own: &List, taken_back: &[Entry]) -> Self {
        let mut ledger = Self { version: own.version, changes: BTreeMap::new() };
        own.entries.iter().for_each(|entry| ledger.put(Change::of(entry, true)));
        taken_back.iter().for_each(|entry| ledger.put(Change::of(entry, false)));
        ledger
    }

    pub(super) fn parse(text: &str) -> Result<Self, LedgerError> {
        let text: Text = serde_json::from_str(text)?;
        if text.changes.len() > ENTRIES_MAX + TAKEN_BACK_MAX {
            return Err(LedgerError::Range("it has too many entries"));
        }
        // However high it is, there are versions left for those that take it over.
        let version = text.version.min(VERSION_SHARED_MAX);
        let mut ledger = Self { version, changes: BTreeMap::new() };
        for change in text.changes {
            change.check()?;
            ledger.put(change);
        }
        Ok(ledger)
    }

    /// What others read with [`Ledger::parse`].
    pub(super) fn text(&self) -> Result<String, LedgerError> {
        let changes = self.changes.values().cloned().collect();
        Ok(serde_json::to_string(&Text { version: self.version, changes })?)
    }

    pub(super) fn get(&self, kind: Kind, id: &str) -> Option<&Change> {
        self.changes.get(&(kind, id.to_owned()))
    }

    /// Takes a change unless a later one is known.
    pub(super) fn put(&mut self, change: Change) {
        let key = (change.kind, change.id.clone());
        if change.counts_over(self.changes.get(&key)) {
            self.changes.insert(key, change);
        }
    }

    /// The time of a change that is made now: after the one before.
    pub(super) fn next_ms(&self, kind: Kind, id: &str, now_ms: i64) -> i64 {
        let before_ms = self.get(kind, id).map_or(0, |change| change.at_ms.saturating_add(1));
        now_ms.max(before_ms).clamp(0, TIME_MAX_MS)
    }

    /// What of this `other` lacks at `now_ms`.
    pub(super) fn beyond(&self, other: &Self, now_ms: i64) -> Vec<Change> {
        let lacks = |change: &&Change| {
            !change.is_over(now_ms) && change.counts_over(other.get(change.kind, &change.id))
        };
        self.changes.values().filter(lacks).cloned().collect()
    }

    /// Forgets what says nothing any more.
    pub(super) fn prune(&mut self, now_ms: i64) {
        self.changes.retain(|_, change| !change.is_over(now_ms));
        let mut ages: Vec<i64> = self.taken_back().map(|change| change.at_ms).collect();
        let Some(excess) = ages.len().checked_sub(TAKEN_BACK_MAX).filter(|excess| *excess > 0)
        else {
            return;
        };
        ages.sort_unstable();
        let oldest_ms = ages.get(excess).copied().unwrap_or(i64::MAX);
        self.changes.retain(|_, change| change.killed || change.at_ms >= oldest_ms);
    }

    /// What is revoked, in the order of a list.
    pub(super) fn killed(&self) -> Vec<Entry> {
        self.changes.values().filter(|change| change.killed).map(Change::entry).collect()
    }

    /// What was taken back, in the same order.
    pub(super) fn unkilled(&self) -> Vec<Entry> {
        self.taken_back().map(Change::entry).collect()
    }

    fn taken_back(&self) -> impl Iterator<Item = &Change> {
        self.changes.values().filter(|change| !change.killed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str, killed: bool, at_ms: i64) -> Change {
        let (by, reason) = ("carol".to_owned(), "why".to_owned());
        Change { kind: Kind::Agent, id: id.to_owned(), killed, at_ms, by, reason, until_ms: None }
    }

    fn ledger(changes: &[Change]) -> Ledger {
        let mut ledger = Ledger::default();
        changes.iter().cloned().for_each(|change| ledger.put(change));
        ledger
    }

    #[test]
    fn the_order_of_changes_does_not_matter_and_nothing_is_lost() {
        let all = [
            change("a", true, 1),
            change("a", false, 2),
            change("b", true, 3),
            change("b", false, 3),
            change("c", true, 4),
            Change { until_ms: Some(9), ..change("c", true, 4) },
        ];
        let one = ledger(&all);
        let mut turned = all.to_vec();
        turned.reverse();
        assert_eq!(ledger(&turned), one);
        let killed: Vec<_> = one.killed().into_iter().map(|e| (e.id, e.until_ms)).collect();
        assert_eq!(killed, [("b".to_owned(), None), ("c".to_owned(), None)]);
        assert_eq!(one.unkilled().len(), 1);
    }

    #[test]
    fn a_change_of_what_is_known_is_later_whatever_the_clock_says() {
        let mut known = ledger(&[change("a", true, 5_000)]);
        let at_ms = known.next_ms(Kind::Agent, "a", 10);
        assert_eq!((at_ms, known.next_ms(Kind::Agent, "b", 10)), (5_001, 10));
        known.put(change("a", false, at_ms));
        assert!(known.killed().is_empty());
    }

    #[test]
    fn it_is_read_as_it_was_written_and_held_to_bounds() {
        let mut one = ledger(&[change("a", true, 1), change("b", false, 2)]);
        one.version = 7;
        assert_eq!(Ledger::parse(&one.text().unwrap()).unwrap(), one);
        for bad in [
            change("", true, 1),
            change(&"i".repeat(ID_MAX_BYTES + 1), true, 1),
            change("a", true, -1),
            change("a", true, TIME_MAX_MS + 1),
            Change { until_ms: Some(-1), ..change("a", true, 1) },
            Change { reason: "r".repeat(REASON_MAX_BYTES + 1), ..change("a", true, 1) },
            Change { by: "b".repeat(OPERATOR_MAX_BYTES + 1), ..change("a", true, 1) },
        ] {
            let text = ledger(&[bad]).text().unwrap();
            assert!(matches!(Ledger::parse(&text), Err(LedgerError::Range(_))), "{text}");
        }
        let edge = Change {
            id: "i".repeat(ID_MAX_BYTES),
            reason: "r".repeat(REASON_MAX_BYTES),
            by: "b".repeat(OPERATOR_MAX_BYTES),
            ..change("a", true, TIME_MAX_MS)
        };
        assert!(Ledger::parse(&ledger(&[edge]).text().unwrap()).is_ok());
        for bad in ["", "{}", r#"{"version":1,"changes":[],"more":1}"#] {
            assert!(matches!(Ledger::parse(bad), Err(LedgerError::Form(_))), "{bad}");
        }
        for (version, taken) in [
            (VERSION_SHARED_MAX, VERSION_SHARED_MAX),
            (VERSION_SHARED_MAX + 1, VERSION_SHARED_MAX),
            (u64::MAX, VERSION_SHARED_MAX),
        ] {
            let text = format!(r#"{{"version":{version},"changes":[]}}"#);
            assert_eq!(Ledger::parse(&text).unwrap().version, taken);
        }
    }

    #[test]
    fn what_is_over_is_forgotten_and_not_missed() {
        let over = Change { until_ms: Some(10), ..change("a", true, 1) };
        let mut one = ledger(&[over, change("b", false, 1), change("c", true, 1)]);
        assert_eq!(one.beyond(&Ledger::default(), 9).len(), 3);
        assert_eq!(one.beyond(&Ledger::default(), 10).len(), 2);
        let end_ms = 1 + TAKEN_BACK_KEPT_MS;
        assert_eq!(one.beyond(&Ledger::default(), end_ms - 1).len(), 2);
        one.prune(end_ms - 1);
        assert_eq!(one.unkilled().len(), 1);
        one.prune(end_ms);
        assert_eq!((one.unkilled().len(), one.killed().len()), (0, 1));
        assert!(one.beyond(&one.clone(), 0).is_empty());
    }

    #[test]
    fn the_oldest_of_what_was_taken_back_are_forgotten() {
        let count = i64::try_from(TAKEN_BACK_MAX).unwrap();
        let mut one = Ledger::default();
        (1..=count).for_each(|n| one.put(change(&n.to_string(), false, n)));
        one.put(change("killed", true, 0));
        one.prune(count);
        assert_eq!(one.unkilled().len(), TAKEN_BACK_MAX);
        one.put(change("more", false, count + 1));
        one.prune(count + 1);
        assert_eq!((one.unkilled().len(), one.killed().len()), (TAKEN_BACK_MAX, 1));
        assert!(one.get(Kind::Agent, "1").is_none() && one.get(Kind::Agent, "2").is_some());
    }
}
