//! Names what happened at the first line that does not continue the chain. Only run on failure, so
//! it may read the whole file again.

use super::{Fault, FaultKind};
use crate::chain::{Frame, HASH_HEX_BYTES, Head, hex_bytes, leaf_hash};
use crate::lines::{Line, Lines};

/// The place where the chain stops.
pub(super) struct Break<'a> {
    pub(super) file: &'a [u8],
    pub(super) frame: &'a Frame,
    pub(super) line: Line<'a>,
    /// Number that the line should have.
    pub(super) seq: u64,
    /// Hash that the line should name.
    pub(super) prev_hex: &'a [u8; HASH_HEX_BYTES],
    /// The line before it, unless this is the first.
    pub(super) before: Option<Line<'a>>,
    /// Whether the line before it is proved by a checkpoint of just that size.
    pub(super) before_proved: bool,
    /// Whether somebody signed for this record or later ones.
    pub(super) covered: bool,
}

impl Break<'_> {
    /// Says what is wrong.
    pub(super) fn fault(&self) -> Fault {
        match self.frame.read(self.line.bytes).filter(|_| self.line.complete) {
            None => self.unreadable(),
            Some(head) if head.prev_hex != self.prev_hex => self.unlinked(&head),
            Some(head) if head.seq == self.seq => {
                self.here(FaultKind::TornTail, "the last line is not whole JSON")
            }
            Some(head) => self.misnumbered(&head),
        }
    }

    fn here(&self, what: FaultKind, detail: impl Into<String>) -> Fault {
        Fault::log(what, self.seq + 1, self.line.offset, detail)
    }

    fn behind(&self) -> Lines<'_> {
        Lines::new(self.file.get(self.line.end()..).unwrap_or_default())
    }

    fn unreadable(&self) -> Fault {
        let good_behind =
            self.behind().any(|line| line.complete && self.frame.read(line.bytes).is_some());
        if good_behind {
            return self.here(
                FaultKind::Edited,
                "the line is not a record of this log, and records follow it",
            );
        }
        match (self.covered, self.line.complete) {
            (false, _) => self
                .here(FaultKind::TornTail, "the last line is incomplete; no checkpoint covers it"),
            (true, true) => self.here(
                FaultKind::Edited,
                "the line is not a record of this log, and a checkpoint covers it",
            ),
            (true, false) => {
                self.here(FaultKind::Truncated, "the line is cut, and a checkpoint covers it")
            }
        }
    }

    /// `prev` is not the hash of the line before.
    fn unlinked(&self, head: &Head<'_>) -> Fault {
        if head.seq == self.seq {
            return self.changed_here_or_before();
        }
        if head.seq < self.seq {
            return self.repeated(head);
        }
        let later = self
            .behind()
            .filter_map(|line| self.frame.read(line.bytes))
            .any(|head| head.seq == self.seq);
        if later {
            let detail = format!("record {} stands before record {}", head.seq, self.seq);
            return self.here(FaultKind::Reordered, detail);
        }
        let detail = format!("records {} to {} are missing", self.seq, head.seq - 1);
        self.here(FaultKind::Deleted, detail)
    }

    /// Either the line before was changed, or the `prev` of this one. The line after tells: it
    /// names this line's hash, if this line is as it was.
    fn changed_here_or_before(&self) -> Fault {
        if let Some(before) = self.before.filter(|_| !self.before_proved && self.next_agrees()) {
            let detail = "its hash is not the one that the next line names";
            return Fault::log(FaultKind::Edited, self.seq, before.offset, detail);
        }
        self.here(FaultKind::Edited, "its `prev` is not the hash of the line before it")
    }

    /// Whether the line after names this line's hash; if there is none, this line counts as it is.
    fn next_agrees(&self) -> bool {
        let next = self.behind().next();
        let Some(next) = next.and_then(|line| self.frame.read(line.bytes)) else {
            return true;
        };
        next.prev_hex == hex_bytes(&leaf_hash(self.line.bytes))
    }

    fn repeated(&self, head: &Head<'_>) -> Fault {
        let seen = Lines::new(self.file.get(..self.line.offset).unwrap_or_default())
            .any(|line| line.bytes == self.line.bytes);
        let (what, how) = if seen {
            (FaultKind::Duplicated, "is there twice")
        } else {
            (FaultKind::Reordered, "stands behind later ones")
        };
        self.here(what, format!("record {} {how}", head.seq))
    }

    /// The chain holds, so nothing was taken out: the writer skipped a number, or the number was
    /// changed afterwards.
    fn misnumbered(&self, head: &Head<'_>) -> Fault {
        let detail = format!("record {} is numbered {}", self.seq, head.seq);
        if head.seq > self.seq && self.behind().next().is_some() && self.next_agrees() {
            return self.here(FaultKind::SeqGap, detail);
        }
        self.here(FaultKind::Edited, detail)
    }
}
