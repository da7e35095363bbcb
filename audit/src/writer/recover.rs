//! How the epoch before ended: found from its files when a log is opened, and from what was known
//! to be durable when a file failed under a running process.
//!
//! Only an incomplete end that nobody signed for is cut. Anything else that is wrong stays as it
//! is, for the verifier and for people to look at; the new epoch says so.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use serde::Serialize;

use crate::chain::Hash;
use crate::checkpoint::{StoredNotes, split_file};
use crate::disk;
use crate::genesis::{End, Genesis, Previous};
use crate::layout::{self, LogName};
use crate::record::MAX_LINE_BYTES;
use crate::verify::{FaultFile, FaultKind, Files, LogReport, VerifyOptions, check_log};

/// How an epoch ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) previous: Previous,
    /// Body of the `recovery` record that the next epoch owes, if any.
    pub(super) recovery: Option<String>,
}

/// Body of a `recovery` record.
#[derive(Debug, Serialize)]
struct Recovery<'a> {
    previous_epoch: &'a str,
    truncated_bytes: u64,
    last_good_seq: Option<u64>,
    last_good_leaf: &'a str,
    unclean: bool,
    corrupt: bool,
    poisoned: bool,
    fault: Option<&'a crate::verify::Fault>,
}

/// The epochs of a writer that are on disk.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// The newest that can be read, and its incarnation.
    pub(super) newest: Option<(LogName, u64)>,
    /// Those whose first record cannot be read.
    pub(super) unreadable: Vec<LogName>,
}

/// Looks at the first line of every log of `writer`, and removes what never became a log.
pub(super) fn find_epochs(dir: &Path, writer: &str) -> io::Result<Epochs> {
    let listing = layout::list(dir)?;
    for name in listing.opening.iter().filter(|name| name.writer == writer) {
        super::epoch::remove_unopened(dir, name)?;
    }
    let mut epochs = Epochs::default();
    for name in listing.logs.into_iter().filter(|name| name.writer == writer) {
        let first = first_line(&name.log(dir))?;
        match Genesis::read(&first).filter(|(named, _)| *named == name) {
            None => epochs.unreadable.push(name),
            Some((_, genesis)) => {
                let newest = epochs.newest.as_ref().map(|(_, incarnation)| *incarnation);
                if newest.is_none_or(|newest| genesis.incarnation >= newest) {
                    epochs.newest = Some((name, genesis.incarnation));
                }
            }
        }
    }
    Ok(epochs)
}

fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let file = File::open(path)?.take(MAX_LINE_BYTES as u64 + 1);
    BufReader::new(file).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Finds out how an epoch ended and cuts its torn tail, if it has one. `durable` is given when its
/// files failed under this process: only so many records are then known to be on the disk.
pub(super) fn end_of(
    dir: &Path,
    name: &LogName,
    durable: Option<(u64, Hash)>,
) -> io::Result<Ending> {
    let log = std::fs::read(name.log(dir))?;
    let checkpoints = disk::read_if_there(&name.checkpoints(dir))?.unwrap_or_default();
    let stored = split_file(&checkpoints);
    if stored.torn {
        disk::cut(&name.checkpoints(dir), stored.good_bytes as u64)?;
    }
    let files = Files {
        log: &log,
        checkpoints: last_note(&checkpoints, &stored),
        side: None,
        side_key: None,
    };
    let report = check_log(&files, Some(name), &[], &VerifyOptions::default());
    let torn = is_torn(&report);
    if torn {
        disk::cut(&name.log(dir), report.good_bytes)?;
    }
    let end = match durable {
        _ if report.fault.is_some() && !torn => End::Corrupt,
        Some(_) => End::Poisoned,
        None if report.closed && !torn => End::Closed,
        None => End::Unclean,
    };
    if durable.is_none() && end != End::Corrupt {
        // What is linked to must not be taken back by a crash of the machine.
        disk::settle(&name.log(dir))?;
    }
    let found = (report.records, report.last_leaf.clone());
    let (records, last_leaf) = durable.map_or(found, |(n, leaf)| (n, hex::encode(leaf)));
    let previous = Previous {
        epoch: name.epoch.clone(),
        records,
        last_leaf,
        end,
        checkpoint: stored.notes.last().map(|stored| stored.note.to_owned()),
    };
    let cut = if torn { log.len() as u64 - report.good_bytes } else { 0 };
    let recovery = recovery(&previous, cut, &report)?;
    Ok(Ending { previous, recovery })
}

/// The part of a checkpoint file that holds its last whole note: the newest tree head proves all
/// that the older ones do.
fn last_note<'a>(file: &'a [u8], stored: &StoredNotes<'_>) -> &'a [u8] {
    let start = stored.notes.last().map_or(0, |note| note.offset);
    file.get(start..stored.good_bytes).unwrap_or_default()
}

fn is_torn(report: &LogReport) -> bool {
    let fault = report.fault.as_ref();
    fault.is_some_and(|fault| fault.what == FaultKind::TornTail && fault.file == FaultFile::Log)
}

/// Body of the record that the next epoch owes; none after an orderly end.
fn recovery(
    previous: &Previous,
    truncated_bytes: u64,
    report: &LogReport,
) -> io::Result<Option<String>> {
    if previous.end == End::Closed {
        return Ok(None);
    }
    let body = Recovery {
        previous_epoch: &previous.epoch,
        truncated_bytes,
        last_good_seq: previous.records.checked_sub(1),
        last_good_leaf: &previous.last_leaf,
        unclean: true,
        corrupt: previous.end == End::Corrupt,
        poisoned: previous.end == End::Poisoned,
        fault: report.fault.as_ref(),
    };
    Ok(Some(serde_json::to_string(&body)?))
}
