//! One log, over bytes: chain, numbers, tree roots, signatures, commitments.

use super::claims::{Claim, Expectations, Expected, Source};
use super::diagnose::Break;
use super::values::Values;
use super::{Fault, FaultKind, KeyTrust, LogReport, VerifyOptions};
use crate::chain::{Frame, HASH_HEX_BYTES, Hash, NO_PREVIOUS, hex_bytes, leaf_hash};
use crate::checkpoint::origin;
use crate::genesis::Genesis;
use crate::layout::LogName;
use crate::lines::{Line, Lines};
use crate::merkle::Frontier;
use crate::record::Kind;
use crate::side::SideKey;

/// The files of one log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) log: &'a [u8],
    pub(crate) checkpoints: &'a [u8],
    pub(crate) side: Option<&'a [u8]>,
    pub(crate) side_key: Option<&'a SideKey>,
}

/// Verifies one log; `name` is what its file is called, `claims` what others say about it.
pub(crate) fn check_log(
    files: &Files<'_>,
    name: Option<&LogName>,
    claims: &[Claim],
    options: &VerifyOptions,
) -> LogReport {
    let mut report = empty_report();
    if let Some(name) = name {
        report.log = name.to_string();
    }
    let first = Lines::new(files.log).next();
    let genesis = first.filter(|l| l.complete).and_then(|l| Genesis::read(l.bytes));
    let Some((named, genesis)) = genesis else {
        report.fault = Some(no_genesis(first));
        return report;
    };
    report.log = named.to_string();
    report.deployment.clone_from(&genesis.deployment);
    report.incarnation = genesis.incarnation;
    report.public_key.clone_from(&genesis.public_key);
    if name.is_some_and(|name| *name != named) {
        let detail = format!("the file holds the log `{named}`");
        report.fault = Some(Fault::log(FaultKind::EpochLink, 1, 0, detail));
        return report;
    }
    let Some(key) = genesis.key() else {
        report.fault = Some(Fault::log(FaultKind::Edited, 1, 0, "`public_key` is no usable key"));
        return report;
    };
    let pinned = options.trusted.contains(&key);
    if pinned {
        report.key = KeyTrust::Pinned;
    }
    let origin = origin(&genesis.deployment, &named.writer, &named.epoch);
    let expected = Expectations::gather(files.checkpoints, claims, &origin, &key);
    let side = files.side.filter(|_| !options.skip_side);
    let values = side.map(|side| Values::new(side, files.side_key, &named.epoch));
    let frame = Frame::new(&named.writer, &named.epoch);
    let fault = Scan::new(files.log, &frame, &expected.heads, values).run(&mut report);
    report.uncovered = report.records.saturating_sub(expected.covered());
    let untrusted = (!pinned && !options.trusted.is_empty()).then(|| {
        let detail = format!("the log is signed by `{}`, which is not trusted", genesis.public_key);
        Fault::log(FaultKind::UntrustedKey, 1, 0, detail)
    });
    let (log_fault, side_fault) = fault;
    // A torn tail is harmless only if nothing else is wrong, so it is named last.
    let (torn, broken): (Option<Fault>, Option<Fault>) = match log_fault {
        Some(fault) if fault.what == FaultKind::TornTail => (Some(fault), None),
        other => (None, other),
    };
    let claims_fault = expected.fault;
    report.fault = broken.or(untrusted).or(claims_fault).or(torn).or(side_fault);
    report
}

fn empty_report() -> LogReport {
    LogReport {
        log: String::new(),
        deployment: String::new(),
        incarnation: 0,
        records: 0,
        good_bytes: 0,
        last_leaf: hex::encode(NO_PREVIOUS),
        checkpoints: 0,
        witnessed: 0,
        uncovered: 0,
        key: KeyTrust::Genesis,
        public_key: String::new(),
        closed: false,
        last_ts_ms: 0,
        side: None,
        fault: None,
    }
}

/// A log is only given its name once its first record is durable, so a missing one is no crash.
fn no_genesis(first: Option<Line<'_>>) -> Fault {
    let Some(first) = first else {
        return Fault::log(FaultKind::Truncated, 1, 0, "the file is empty");
    };
    #[derive(serde::Deserialize)]
    struct Numbered {
        seq: u64,
    }
    match serde_json::from_slice::<Numbered>(first.bytes) {
        Ok(line) if line.seq > 0 => {
            let detail = format!("records 0 to {} are missing", line.seq - 1);
            Fault::log(FaultKind::Deleted, 1, 0, detail)
        }
        _ => Fault::log(FaultKind::Edited, 1, 0, "the first line is not a genesis record"),
    }
}

/// How far the log is good.
#[derive(Debug, Clone, Copy, Default)]
struct Good<'a> {
    records: u64,
    leaf: Hash,
    line: Option<Line<'a>>,
}

/// The walk over the lines.
struct Scan<'a> {
    file: &'a [u8],
    frame: &'a Frame,
    /// Heads that the log must agree with, by size, not yet reached.
    heads: std::slice::Iter<'a, Expected>,
    covered: u64,
    values: Option<Values<'a>>,
    frontier: Frontier,
    prev_hex: [u8; HASH_HEX_BYTES],
    /// After the last line.
    now: Good<'a>,
    /// Before the last line.
    earlier: Good<'a>,
    /// At the last head that the log agreed with.
    proved: Good<'a>,
    checkpoints: u64,
    witnessed: u64,
}

impl<'a> Scan<'a> {
    fn new(
        file: &'a [u8],
        frame: &'a Frame,
        heads: &'a [Expected],
        values: Option<Values<'a>>,
    ) -> Self {
        Self {
            file,
            frame,
            heads: heads.iter(),
            covered: heads.last().map_or(0, |head| head.size),
            values,
            frontier: Frontier::default(),
            prev_hex: hex_bytes(&NO_PREVIOUS),
            now: Good::default(),
            earlier: Good::default(),
            proved: Good::default(),
            checkpoints: 0,
            witnessed: 0,
        }
    }

    /// Walks to the end or to the first fault; writes what was good to `report`.
    fn run(mut self, report: &mut LogReport) -> (Option<Fault>, Option<Fault>) {
        let fault = self.walk().and_then(|()| self.at_end()).err();
        let good = self.good(fault.as_ref());
        report.records = good.records;
        report.good_bytes = good.line.map_or(0, |line| line.end()) as u64;
        report.last_leaf = hex::encode(good.leaf);
        report.checkpoints = self.checkpoints;
        report.witnessed = self.witnessed;
        let last = good.line.and_then(|line| self.frame.read(line.bytes));
        if let Some((time, kind)) = last.and_then(|head| head.time_and_kind()) {
            report.last_ts_ms = time;
            report.closed = kind == Kind::Close;
        }
        let mut side_fault = None;
        if let Some(values) = self.values.take() {
            let (side, fault) = values.finish();
            report.side = Some(side);
            side_fault = fault;
        }
        (fault, side_fault)
    }

    /// What is good in spite of a fault: not the line that it blames, and not what follows the last
    /// proof if all since then is in doubt.
    fn good(&self, fault: Option<&Fault>) -> Good<'a> {
        match fault.filter(|fault| fault.line == self.now.records) {
            None => self.now,
            Some(fault) if fault.what == FaultKind::Edited => self.earlier,
            Some(_) => self.proved,
        }
    }

    fn walk(&mut self) -> Result<(), Fault> {
        // A checkpoint of nothing has the root of the empty tree.
        self.hold_against_heads()?;
        for line in Lines::new(self.file) {
            if !self.continues(&line) {
                return Err(self.broken(line));
            }
            let seq = self.frontier.size();
            self.earlier = self.now;
            self.now = Good { records: seq + 1, leaf: leaf_hash(line.bytes), line: Some(line) };
            self.prev_hex = hex_bytes(&self.now.leaf);
            self.frontier.push(self.now.leaf);
            if let Some(values) = &mut self.values {
                values.record(seq, line.bytes);
            }
            self.hold_against_heads()?;
        }
        Ok(())
    }

    fn continues(&self, line: &Line<'_>) -> bool {
        let Some(head) = self.frame.read(line.bytes).filter(|_| line.complete) else {
            return false;
        };
        let seq = self.frontier.size();
        let linked = head.seq == seq && head.prev_hex == self.prev_hex;
        // The end of an unsigned tail may be half written though its newline is there.
        let may_be_torn = seq >= self.covered && line.end() == self.file.len();
        linked && (!may_be_torn || is_record(line.bytes, &head))
    }

    fn broken(&self, line: Line<'a>) -> Fault {
        let seq = self.frontier.size();
        Break {
            file: self.file,
            frame: self.frame,
            line,
            seq,
            prev_hex: &self.prev_hex,
            before: self.now.line,
            before_proved: self.proved.records == seq,
            covered: self.covered > seq,
        }
        .fault()
    }

    /// Compares the tree with every head of its present size.
    fn hold_against_heads(&mut self) -> Result<(), Fault> {
        let size = self.frontier.size();
        while let Some(head) = self.heads.as_slice().first().filter(|head| head.size == size) {
            let rooted = head.root.is_none_or(|root| root == self.frontier.root());
            if head.head != self.now.leaf || !rooted {
                return Err(self.disagrees(head));
            }
            match head.source {
                Source::Own { .. } => self.checkpoints += 1,
                Source::Kept => self.witnessed += 1,
                Source::Link { exact } if exact => self.ends_here(head)?,
                Source::Link { .. } => {}
            }
            self.proved = self.now;
            self.heads.next();
        }
        Ok(())
    }

    fn disagrees(&self, head: &Expected) -> Fault {
        let what = match head.source {
            Source::Link { .. } => FaultKind::EpochLink,
            _ => FaultKind::RootMismatch,
        };
        let last = self.now.line.map_or(0, |line| line.offset);
        // If the line after still names the hash that was signed, this one line was changed.
        let behind = self.now.line.map_or(0, |line| line.end());
        let next = Lines::new(self.file.get(behind..).unwrap_or_default()).next();
        let next = next.and_then(|line| self.frame.read(line.bytes));
        if next.is_some_and(|next| next.prev_hex == hex_bytes(&head.head)) {
            let detail = format!("{} and the next line name another hash for it", head.says);
            return Fault::log(FaultKind::Edited, head.size, last, detail);
        }
        let detail = format!(
            "records {} to {} are not those that {} is about",
            self.proved.records,
            head.size.saturating_sub(1),
            head.says
        );
        Fault::log(what, head.size, last, detail)
    }

    /// The epoch after says that nothing follows.
    fn ends_here(&self, head: &Expected) -> Result<(), Fault> {
        let end = self.now.line.map_or(0, |line| line.end());
        if end == self.file.len() {
            return Ok(());
        }
        let detail = format!("{} says that {} records were all", head.says, head.size);
        Err(Fault::log(FaultKind::EpochLink, head.size + 1, end, detail))
    }

    /// Heads beyond the last record: records that somebody signed for are gone.
    fn at_end(&mut self) -> Result<(), Fault> {
        let Some(head) = self.heads.next() else {
            return Ok(());
        };
        let size = self.frontier.size();
        let detail = format!("{} covers {} records, and there are {size}", head.says, head.size);
        Err(Fault::log(FaultKind::Truncated, size + 1, self.file.len(), detail))
    }
}

/// Whether a line is whole JSON with a time and a known kind.
fn is_record(line: &[u8], head: &crate::chain::Head<'_>) -> bool {
    let json: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(line);
    json.is_ok() && head.time_and_kind().is_some()
}
