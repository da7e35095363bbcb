//! Records one after the other, however long the logs are: nothing but one line of a log and its
//! side line is held. Taking a line apart is left to whoever wants it, on any thread.
//!
//! A stream that continues a verification gives only records that were verified: the chain is
//! followed again while reading, up to the head that was found to be good.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::chain::{Frame, Hash, NO_PREVIOUS, hex_bytes, leaf_hash};
use crate::layout;
use crate::query::{Logs, Record};
use crate::record::{MAX_LINE_BYTES, MAX_SENSITIVE_BYTES};
use crate::side::{SideKey, read_line};
use crate::verify::{Place, ReadError, Report, io_error};

/// Longest side line that is read, in bytes: sealed values are a third longer than they are plain,
/// and every pointer stands beside its value.
pub const MAX_SIDE_LINE_BYTES: usize = 2 * MAX_SENSITIVE_BYTES;

/// One line of a log with its side line, neither taken apart.
#[derive(Debug)]
pub struct Raw {
    log: Arc<str>,
    number: u64,
    line: Vec<u8>,
    side: Option<Vec<u8>>,
    key: Option<Arc<SideKey>>,
}

impl Raw {
    /// The record without any value of the side store.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn head(&self) -> Result<Record, ReadError> {
        let bad = || ReadError::BadLine { log: self.log.to_string(), line: self.number };
        Record::read(&self.log, &self.line).ok_or_else(bad)
    }

    /// The record. The values that the side store still has are in [`Record::revealed`] and not put
    /// back into the body.
    ///
    /// # Errors
    /// [`ReadError::BadLine`] if the line is no record.
    pub fn record(&self) -> Result<Record, ReadError> {
        let mut record = self.head()?;
        let side = self.side.as_deref().and_then(read_line).filter(|side| side.seq == record.seq);
        if let (Some(key), Some(side)) = (&self.key, side)
            && side.key == key.id()
        {
            for (pointer, sealed) in &side.fields {
                let commit = record.commits.get(pointer);
                if let Some(text) = commit.and_then(|commit| key.open(pointer, sealed, commit)) {
                    record.revealed.insert(pointer.clone(), text);
                }
            }
        }
        Ok(record)
    }
}

/// Where a verification found a log to be good up to.
#[derive(Debug)]
struct Head {
    records: u64,
    leaf: String,
}

/// All records of some logs, in the order of the logs' names and of their numbers.
#[derive(Debug)]
pub struct Stream {
    places: std::vec::IntoIter<(Place, Option<Head>)>,
    open: Option<OpenLog>,
}

impl Stream {
    /// Every whole line, verified or not.
    #[must_use]
    pub fn unverified(logs: &Logs) -> Self {
        let places = logs.places().iter().map(|place| (place.clone(), None));
        Self { places: places.collect::<Vec<_>>().into_iter(), open: None }
    }

    /// The records that `report` found to be good; logs that it does not know are passed over.
    #[must_use]
    pub fn verified(logs: &Logs, report: &Report) -> Self {
        let mut heads: HashMap<&str, Vec<Head>> = HashMap::new();
        for log in report.logs.iter().rev() {
            let head = Head { records: log.records, leaf: log.last_leaf.clone() };
            heads.entry(&log.log).or_default().push(head);
        }
        let places = logs.places().iter().filter_map(|place| {
            // Copies of a log in two directories come in the same order as they were verified.
            let head = heads.get_mut(place.name.to_string().as_str())?.pop()?;
            Some((place.clone(), Some(head)))
        });
        Self { places: places.collect::<Vec<_>>().into_iter(), open: None }
    }

    fn advance(&mut self) -> Result<Option<Raw>, ReadError> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(raw) = open.next()?
            {
                return Ok(Some(raw));
            }
            let Some((place, head)) = self.places.next() else { return Ok(None) };
            self.open = OpenLog::open(&place, head)?;
        }
    }
}

impl Iterator for Stream {
    type Item = Result<Raw, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            // Nothing follows what could not be read.
            self.open = None;
            self.places = Vec::new().into_iter();
        }
        next.transpose()
    }
}

#[derive(Debug)]
struct OpenLog {
    log: Arc<str>,
    path: PathBuf,
    frame: Frame,
    lines: BufReader<File>,
    number: u64,
    leaf: Hash,
    head: Option<Head>,
    side: Option<SideLines>,
    key: Option<Arc<SideKey>>,
}

impl OpenLog {
    /// `None` if the records are gone and nothing was verified of them.
    fn open(place: &Place, head: Option<Head>) -> Result<Option<Self>, ReadError> {
        let Place { dir, name } = place;
        let path = name.log(dir);
        let Some(lines) = open(&path)? else {
            return match head.filter(|head| head.records > 0) {
                Some(_) => Err(ReadError::Changed { log: name.to_string() }),
                None => Ok(None),
            };
        };
        let key_path = layout::side_key(dir, &name.writer);
        let key = SideKey::load(&key_path).map_err(|cause| io_error(&key_path, cause))?;
        let side_path = name.side(dir);
        let side = open(&side_path)?.map(|lines| SideLines {
            path: side_path,
            lines,
            epoch: name.epoch.clone(),
            next: None,
        });
        Ok(Some(Self {
            log: name.to_string().into(),
            path,
            frame: Frame::new(&name.writer, &name.epoch),
            lines,
            number: 0,
            leaf: NO_PREVIOUS,
            head,
            side: side.filter(|_| key.is_some()),
            key: key.map(Arc::new),
        }))
    }

    fn next(&mut self) -> Result<Option<Raw>, ReadError> {
        if let Some(head) = &self.head
            && head.records == self.number
        {
            let same = hex::encode(self.leaf) == head.leaf;
            return if same { Ok(None) } else { Err(self.changed()) };
        }
        let line = read_until(&mut self.lines, MAX_LINE_BYTES)
            .map_err(|cause| io_error(&self.path, cause))?;
        let Some(line) = line else {
            return if self.head.is_some() { Err(self.changed()) } else { Ok(None) };
        };
        let read = self.frame.read(&line);
        let seq = read.as_ref().map_or(self.number, |read| read.seq);
        if self.head.is_some() {
            let link = hex_bytes(&self.leaf);
            if !read.is_some_and(|read| read.seq == self.number && read.prev_hex == link) {
                return Err(self.changed());
            }
            self.leaf = leaf_hash(&line);
        }
        self.number += 1;
        let side = match &mut self.side {
            Some(side) => side.of(seq)?,
            None => None,
        };
        let (log, key) = (Arc::clone(&self.log), self.key.clone());
        Ok(Some(Raw { log, number: self.number, line, side, key }))
    }

    fn changed(&self) -> ReadError {
        ReadError::Changed { log: self.log.to_string() }
    }
}

/// The side store of one log. Its lines come in the order of the records.
#[derive(Debug)]
struct SideLines {
    path: PathBuf,
    lines: BufReader<File>,
    epoch: String,
    next: Option<(u64, Vec<u8>)>,
}

#[derive(Deserialize)]
struct SideHead {
    epoch: String,
    seq: u64,
}

impl SideLines {
    /// The side line of record `seq`, if there is one.
    fn of(&mut self, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            match self.next.take() {
                Some((at, line)) if at == seq => return Ok(Some(line)),
                Some((at, line)) if at > seq => {
                    self.next = Some((at, line));
                    return Ok(None);
                }
                _ => {}
            }
            let line = read_until(&mut self.lines, MAX_SIDE_LINE_BYTES)
                .map_err(|cause| io_error(&self.path, cause))?;
            let Some(line) = line else { return Ok(None) };
            // What is damaged holds no value; `verify` names it.
            let head = serde_json::from_slice::<SideHead>(&line).ok();
            self.next = head.filter(|head| head.epoch == self.epoch).map(|head| (head.seq, line));
        }
    }
}

fn open(path: &PathBuf) -> Result<Option<BufReader<File>>, ReadError> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::with_capacity(1 << 20, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path, error)),
    }
}

/// One whole line without its newline; `None` at the end, and for a last line that is still being
/// written or was never acknowledged.
fn read_until(lines: &mut BufReader<File>, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    lines.by_ref().take(max_bytes as u64 + 1).read_until(b'\n', &mut line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(line));
    }
    if line.len() > max_bytes {
        let what = format!("a line has more than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::side::erase;
    use crate::verify::{FaultKind, VerifyOptions, verify};
    use crate::writer::testkit::write_log;

    fn read(stream: Stream) -> Result<Vec<Record>, ReadError> {
        stream.map(|raw| raw?.record()).collect()
    }

    fn file(dir: &Path, suffix: &str) -> PathBuf {
        let mut paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|e| e == suffix)).unwrap()
    }

    /// Two logs, what was verified of them, and how to look again.
    fn sample() -> (tempfile::TempDir, Logs, Report) {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), "pdp", 1, 30, 40).close(1300).unwrap();
        write_log(dir.path(), "pep-mcp", 2, 5, 40).close(1300).unwrap();
        let paths = [dir.path().to_owned()];
        let report = verify(&paths, &VerifyOptions::default()).unwrap();
        assert!(report.ok, "{report:?}");
        (dir, Logs::open(&paths).unwrap(), report)
    }

    #[test]
    fn a_stream_gives_what_a_query_gives() {
        let (_dir, logs, report) = sample();
        let mut all = logs.records(true, |_| true).unwrap();
        all.sort_by(|a, b| (&a.log, a.seq).cmp(&(&b.log, b.seq)));
        for stream in [Stream::verified(&logs, &report), Stream::unverified(&logs)] {
            let read = read(stream).unwrap();
            let places = |records: &[Record]| {
                records
                    .iter()
                    .map(|r| (r.log.clone(), r.seq, r.revealed.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(places(&read), places(&all));
            assert!(read.iter().any(|record| !record.revealed.is_empty()));
        }
    }

    #[test]
    fn values_that_were_erased_are_not_there() {
        let (dir, logs, report) = sample();
        let before = read(Stream::verified(&logs, &report)).unwrap();
        let first = before.iter().find(|record| !record.revealed.is_empty()).unwrap();
        erase(&file(dir.path(), "side"), |seq, _| seq == first.seq).unwrap();
        let after = read(Stream::verified(&logs, &report)).unwrap();
        let same = after.iter().zip(&before).filter(|(a, b)| a.revealed == b.revealed).count();
        assert_eq!(same, before.len() - 1);
        fs::remove_file(file(dir.path(), "side-key")).unwrap();
        let keyless = read(Stream::verified(&logs, &report)).unwrap();
        let values = |records: &[Record]| records.iter().filter(|r| !r.revealed.is_empty()).count();
        assert_eq!(keyless.len(), after.len());
        assert!(values(&keyless) < values(&after), "a log without its key shows no value");
    }

    #[test]
    fn what_changed_since_it_was_verified_is_not_read() {
        let (dir, logs, report) = sample();
        let path = file(dir.path(), "jsonl");
        let whole = fs::read(&path).unwrap();
        let cut = whole.len() / 2;
        let mut edited = whole.clone();
        edited[cut] = if edited[cut] == b'0' { b'1' } else { b'0' };
        for changed in [&edited[..], &whole[..cut], b""] {
            fs::write(&path, changed).unwrap();
            let error = read(Stream::verified(&logs, &report)).unwrap_err();
            let named = matches!(error, ReadError::Changed { .. } | ReadError::BadLine { .. });
            assert!(named, "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(Stream::verified(&logs, &report)), Err(ReadError::Changed { .. })));
        // What came later was not verified and is not given.
        let more = [&whole[..], b"{}\n"].concat();
        fs::write(&path, more).unwrap();
        let count = read(Stream::verified(&logs, &report)).unwrap().len() as u64;
        assert_eq!(count, report.records);
        assert!(matches!(read(Stream::unverified(&logs)), Err(ReadError::BadLine { .. })));
    }

    #[test]
    fn a_torn_tail_ends_the_records() {
        let dir = tempfile::tempdir().unwrap();
        drop(write_log(dir.path(), "pdp", 1, 30, 40));
        let path = file(dir.path(), "jsonl");
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"seq\":");
        fs::write(&path, bytes).unwrap();
        let paths = [dir.path().to_owned()];
        let report = verify(&paths, &VerifyOptions::default()).unwrap();
        let fault = report.logs[0].fault.as_ref().unwrap();
        assert_eq!(fault.what, FaultKind::TornTail);
        let logs = Logs::open(&paths).unwrap();
        let verified = read(Stream::verified(&logs, &report)).unwrap();
        assert_eq!(verified.len() as u64, report.records);
        assert_eq!(read(Stream::unverified(&logs)).unwrap().len(), verified.len());
    }

    #[test]
    fn line_lengths_at_their_edge() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let lines = |text: &str| {
            fs::write(&path, text).unwrap();
            open(&path).unwrap().unwrap()
        };
        assert_eq!(read_until(&mut lines("abc\nd"), 3).unwrap().unwrap(), b"abc");
        assert!(read_until(&mut lines("abcd\n"), 3).is_err());
        assert_eq!(read_until(&mut lines("abc"), 3).unwrap(), None);
    }
}
