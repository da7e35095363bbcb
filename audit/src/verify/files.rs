//! Verification of files: every log of some directories, and what they say about each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::claims::Claim;
use super::{Fault, FaultKind, Files, LogReport, Report, VerifyOptions, check_log, verify_bytes};
use crate::chain::Frame;
use crate::checkpoint::{Checkpoint, origin};
use crate::disk::read_if_there;
use crate::genesis::Genesis;
use crate::layout::{self, LogName};
use crate::lines::Lines;
use crate::record::Kind;
use crate::side::SideKey;

/// Why files could not be looked at; this says nothing about what they hold.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory cannot be read.
    #[error("cannot read `{path}`: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A path is neither a directory nor a log.
    #[error("`{path}` is neither a directory of logs nor a `.jsonl` file of one")]
    NotALog {
        /// Which.
        path: PathBuf,
    },
    /// There is nothing to look at.
    #[error("there are no audit logs in {paths:?}")]
    NoLogs {
        /// Where.
        paths: Vec<PathBuf>,
    },
    /// A checkpoint that was given is not one.
    #[error("a known checkpoint cannot be used: {0}")]
    Checkpoint(#[from] crate::note::NoteError),
    /// A log is not what was verified a moment ago.
    #[error("`{log}` was changed while it was read; verify the log")]
    Changed {
        /// Which log.
        log: String,
    },
    /// A line is not a record.
    #[error("`{log}`: line {line} is not a record; verify the log")]
    BadLine {
        /// Which log.
        log: String,
        /// Which line, counted from one.
        line: u64,
    },
}

/// Reads a file and names it when that fails.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    read_if_there(path).map_err(|cause| io_error(path, cause))
}

pub(crate) fn io_error(path: &Path, cause: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), cause }
}

/// A log on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) name: LogName,
}

/// Finds the logs of directories and single files; the flag of a place is whether its whole
/// directory was asked for.
pub(crate) fn places(paths: &[PathBuf]) -> Result<BTreeMap<Place, bool>, ReadError> {
    let mut found = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            let listing = layout::list(path).map_err(|cause| io_error(path, cause))?;
            // Checkpoints without a log: the log was removed.
            let gone = listing.checkpoints.into_iter().filter(|n| !listing.opening.contains(n));
            for name in listing.logs.into_iter().chain(gone) {
                found.insert(Place { dir: path.clone(), name }, true);
            }
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(LogName::parse);
        let Some(name) = name.filter(|_| path.extension().is_some_and(|e| e == "jsonl")) else {
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            return Err(match path.exists() {
                true => ReadError::NotALog { path: path.clone() },
                false => io_error(path, missing()),
            });
        };
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        found.entry(Place { dir, name }).or_insert(false);
    }
    if found.is_empty() {
        return Err(ReadError::NoLogs { paths: paths.to_vec() });
    }
    Ok(found)
}

/// What one pass over a log collects before any is judged.
#[derive(Debug, Default)]
struct Said {
    genesis: Option<Genesis>,
    /// Line number and text of the checkpoints of other logs.
    refs: Vec<(u64, String)>,
}

fn listen(log: &[u8]) -> Said {
    let mut lines = Lines::new(log);
    let Some((name, genesis)) = lines.next().and_then(|line| Genesis::read(line.bytes)) else {
        return Said::default();
    };
    #[derive(serde::Deserialize)]
    struct Ref {
        checkpoint: String,
    }
    let frame = Frame::new(&name.writer, &name.epoch);
    let refs = lines
        .zip(2..)
        .filter_map(|(line, number)| {
            let (_, kind) = frame.read(line.bytes)?.time_and_kind()?;
            let quoted =
                (kind == Kind::CheckpointRef).then(|| serde_json::from_slice(line.bytes))?;
            let Ref { checkpoint } = quoted.ok()?;
            Some((number, checkpoint))
        })
        .collect();
    Said { genesis: Some(genesis), refs }
}

/// Verifies directories of logs, or single `.jsonl` files with what lies beside them. Logs that
/// recorded each other's checkpoints are held against them, so give all directories at once.
///
/// # Errors
/// [`ReadError`] if something cannot be read; whatever is wrong with the logs is in the report.
pub fn verify(paths: &[PathBuf], options: &VerifyOptions) -> Result<Report, ReadError> {
    let places = places(paths)?;
    let mut said = BTreeMap::new();
    for place in places.keys() {
        let log = read(&place.name.log(&place.dir))?.unwrap_or_default();
        said.insert(place, listen(&log));
    }
    let mut kept = Kept::collect(&said, options)?;
    let links = links(&said);
    let mut logs = BTreeMap::new();
    for (place, heard) in &said {
        let mut claims: Vec<Claim> = links.get(place).cloned().unwrap_or_default();
        claims.extend(heard.genesis.iter().flat_map(|g| kept.about(g, &place.name)));
        logs.insert(*place, check_place(place, &claims, options)?);
    }
    for (place, fault) in epoch_faults(&places, &said, options) {
        if let Some(report) = logs.get_mut(place) {
            report.fault.get_or_insert(fault);
        }
    }
    let (missing, unresolved_refs) = kept.left_over();
    let logs: Vec<LogReport> = logs.into_values().collect();
    Ok(Report {
        ok: missing.is_empty() && logs.iter().all(|log| log.fault.is_none()),
        records: logs.iter().map(|log| log.records).sum(),
        missing,
        unresolved_refs,
        logs,
    })
}

/// Verifies a log that may be written meanwhile: what vouches for records is read before them, and
/// a line seen half written is looked at once more.
fn check_place(
    place: &Place,
    claims: &[Claim],
    options: &VerifyOptions,
) -> Result<LogReport, ReadError> {
    let report = check_once(place, claims, options)?;
    let torn = report.fault.as_ref().map(|fault| fault.what) == Some(FaultKind::TornTail);
    if torn {
        return check_once(place, claims, options);
    }
    Ok(report)
}

fn check_once(
    place: &Place,
    claims: &[Claim],
    options: &VerifyOptions,
) -> Result<LogReport, ReadError> {
    let Place { dir, name } = place;
    let checkpoints = read(&name.checkpoints(dir))?.unwrap_or_default();
    let Some(log) = read(&name.log(dir))? else {
        let mut report = verify_bytes(b"", b"", options);
        report.log = name.to_string();
        let detail = "the checkpoints are there, the records are not";
        report.fault = Some(Fault::log(FaultKind::Deleted, 1, 0, detail));
        return Ok(report);
    };
    let (mut side, mut key) = (None, None);
    if !options.skip_side {
        side = Some(read(&name.side(dir))?.unwrap_or_default());
        let path = layout::side_key(dir, &name.writer);
        key = SideKey::load(&path).map_err(|cause| io_error(&path, cause))?;
    }
    let files = Files {
        log: &log,
        checkpoints: &checkpoints,
        side: side.as_deref(),
        side_key: key.as_ref(),
    };
    Ok(check_log(&files, Some(name), claims, options))
}

/// Checkpoints kept outside the logs that they are about, by origin.
#[derive(Debug, Default)]
struct Kept {
    notes: HashMap<String, Vec<Claim>>,
    /// Origins that the caller expects to find.
    known: HashSet<String>,
    found: HashSet<String>,
}

impl Kept {
    fn collect(said: &BTreeMap<&Place, Said>, options: &VerifyOptions) -> Result<Self, ReadError> {
        let mut kept = Self::default();
        for note in &options.known_checkpoints {
            let origin = kept.add(note, "the caller".to_owned())?;
            kept.known.insert(origin);
        }
        for (place, heard) in said {
            for (line, note) in &heard.refs {
                // What is not a checkpoint says nothing about any log.
                let _ = kept.add(note, format!("`{}` in line {line}", place.name)).is_ok();
            }
        }
        Ok(kept)
    }

    fn add(&mut self, note: &str, holder: String) -> Result<String, crate::note::NoteError> {
        let origin = Checkpoint::parse(note)?.origin;
        let claim = Claim::Note { note: note.to_owned(), holder };
        self.notes.entry(origin.clone()).or_default().push(claim);
        Ok(origin)
    }

    fn about(&mut self, genesis: &Genesis, name: &LogName) -> Vec<Claim> {
        let origin = origin(&genesis.deployment, &name.writer, &name.epoch);
        let claims = self.notes.get(&origin).cloned().unwrap_or_default();
        self.found.insert(origin);
        claims
    }

    /// Known checkpoints whose log is missing, and the number of others.
    fn left_over(self) -> (Vec<String>, u64) {
        let mut missing: Vec<_> = self.known.difference(&self.found).cloned().collect();
        missing.sort();
        let unresolved = self
            .notes
            .iter()
            .filter(|(origin, _)| !self.found.contains(*origin) && !self.known.contains(*origin))
            .map(|(_, notes)| notes.len() as u64)
            .sum();
        (missing, unresolved)
    }
}

/// What each genesis record says about the epoch before it.
fn links(said: &BTreeMap<&Place, Said>) -> HashMap<Place, Vec<Claim>> {
    let mut links: HashMap<Place, Vec<Claim>> = HashMap::new();
    for (place, heard) in said {
        let Some(previous) = heard.genesis.as_ref().and_then(|g| g.previous.clone()) else {
            continue;
        };
        let before = Place {
            dir: place.dir.clone(),
            name: LogName { writer: place.name.writer.clone(), epoch: previous.epoch.clone() },
        };
        let epoch = place.name.epoch.clone();
        let claims = links.entry(before).or_default();
        claims.extend(
            previous
                .checkpoint
                .clone()
                .map(|note| Claim::Note { note, holder: format!("the epoch after it, `{epoch}`") }),
        );
        claims.push(Claim::Link { previous, epoch });
    }
    links
}

/// Epochs that do not follow the one before them. Only whole directories are judged.
fn epoch_faults<'a>(
    places: &'a BTreeMap<Place, bool>,
    said: &BTreeMap<&'a Place, Said>,
    options: &VerifyOptions,
) -> Vec<(&'a Place, Fault)> {
    let mut writers: BTreeMap<(&Path, &str), Vec<(&Place, &Genesis)>> = BTreeMap::new();
    for (place, _) in places.iter().filter(|(_, whole)| **whole) {
        if let Some(genesis) = said.get(place).and_then(|heard| heard.genesis.as_ref()) {
            let writer = (place.dir.as_path(), place.name.writer.as_str());
            writers.entry(writer).or_default().push((place, genesis));
        }
    }
    let mut faults = Vec::new();
    for epochs in writers.values_mut() {
        epochs.sort_by_key(|(place, genesis)| (genesis.incarnation, *place));
        let mut before = None;
        for (place, genesis) in epochs {
            if let Some(detail) = unlinked(before, genesis, options.allow_pruned) {
                faults.push((*place, Fault::log(FaultKind::EpochLink, 1, 0, detail)));
            }
            before = Some((genesis.incarnation, *place));
        }
    }
    faults
}

/// Why an epoch does not follow `before`.
fn unlinked(
    before: Option<(u64, &Place)>,
    genesis: &Genesis,
    allow_pruned: bool,
) -> Option<String> {
    let incarnation = genesis.incarnation;
    let named = genesis.previous.as_ref().map(|previous| previous.epoch.as_str());
    match (before, named) {
        (None, None) if incarnation == 0 => None,
        (None, None) => {
            Some("it names no epoch before it and says that there were some".to_owned())
        }
        (None, Some(_)) if allow_pruned => None,
        (None, Some(epoch)) => Some(format!("the epoch before it, `{epoch}`, is missing")),
        (Some((last, place)), Some(epoch))
            if place.name.epoch == epoch && last + 1 == incarnation =>
        {
            None
        }
        (Some((last, _)), _) if last == incarnation => {
            Some(format!("there are two epochs number {incarnation}: the log was forked"))
        }
        (Some((_, place)), Some(epoch)) => Some(format!(
            "it follows `{epoch}`, which is not the epoch before it, `{}`",
            place.name.epoch
        )),
        (Some((_, place)), None) => {
            Some(format!("it names no epoch before it, and `{}` is there", place.name.epoch))
        }
    }
}
