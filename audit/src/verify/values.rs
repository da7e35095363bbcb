//! The side store of a log against the commitments in its lines, read side by side.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Fault, FaultFile, FaultKind, SideReport};
use crate::lines::{Line, Lines};
use crate::side::{SideKey, SideLine, read_line};

/// What a line that commits to something ends with; most lines are passed over by this alone.
const COMMITS_END: &[u8] = b"\"}}";

/// The commitments of a line.
#[derive(Debug, Deserialize)]
struct Commits {
    #[serde(default)]
    commits: BTreeMap<String, String>,
}

/// JSON pointer to commitment, for every value that `line` commits to.
pub(crate) fn commits_of(line: &[u8]) -> BTreeMap<String, String> {
    if !line.ends_with(COMMITS_END) {
        return BTreeMap::new();
    }
    serde_json::from_slice(line).map_or_else(|_| BTreeMap::new(), |c: Commits| c.commits)
}

/// Reads the side store along with the log.
pub(super) struct Values<'a> {
    lines: Lines<'a>,
    next: Option<(u64, Line<'a>, SideLine)>,
    line: u64,
    epoch: &'a str,
    key: Option<&'a SideKey>,
    report: SideReport,
    fault: Option<Fault>,
}

impl<'a> Values<'a> {
    pub(super) fn new(file: &'a [u8], key: Option<&'a SideKey>, epoch: &'a str) -> Self {
        let mut values = Self {
            lines: Lines::new(file),
            next: None,
            line: 0,
            epoch,
            key,
            report: SideReport::default(),
            fault: None,
        };
        values.advance();
        values
    }

    /// Checks the values of the next record of the log.
    pub(super) fn record(&mut self, seq: u64, line: &[u8]) {
        let commits = commits_of(line);
        let mut kept = 0;
        while let Some((number, at, side)) = self.next.take_if(|(.., side)| side.seq <= seq) {
            if side.seq < seq {
                self.fail(number, at, "it stands behind values of later records");
            } else {
                kept += self.check_line(number, at, &side, &commits);
            }
            self.advance();
        }
        self.report.values += kept;
        self.report.erased += (commits.len() as u64).saturating_sub(kept);
    }

    /// What was found, once the log has ended.
    pub(super) fn finish(mut self) -> (SideReport, Option<Fault>) {
        while let Some((.., side)) = self.next.take() {
            self.report.orphans += side.fields.len() as u64;
            self.advance();
        }
        (self.report, self.fault)
    }

    /// Number of values in the line that fit.
    fn check_line(
        &mut self,
        number: u64,
        at: Line<'_>,
        side: &SideLine,
        commits: &BTreeMap<String, String>,
    ) -> u64 {
        // Values sealed by a key that is gone count as erased.
        let Some(key) = self.key.filter(|key| key.id() == side.key) else {
            return 0;
        };
        let mut kept = 0;
        for (pointer, sealed) in &side.fields {
            let fits = commits
                .get(pointer)
                .is_some_and(|commit| key.open(pointer, sealed, commit).is_some());
            if fits {
                kept += 1;
            } else {
                let detail = format!(
                    "the value at `{pointer}` of record {} is not the one committed to",
                    side.seq
                );
                self.fail(number, at, &detail);
            }
        }
        kept
    }

    /// Moves to the next line that can be read; a last line that a crash cut is no fault.
    fn advance(&mut self) {
        while let Some(line) = self.lines.next().filter(|line| line.complete) {
            self.line += 1;
            match read_line(line.bytes).filter(|side| side.epoch == self.epoch) {
                Some(side) => {
                    self.next = Some((self.line, line, side));
                    return;
                }
                None => self.fail(self.line, line, "the line holds no values of this log"),
            }
        }
    }

    fn fail(&mut self, number: u64, at: Line<'_>, detail: &str) {
        self.fault.get_or_insert(Fault {
            what: FaultKind::Commitment,
            file: FaultFile::Side,
            line: number,
            offset: at.offset as u64,
            detail: detail.to_owned(),
        });
    }
}
