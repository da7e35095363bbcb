//! The journal of the embedded state: what was written before an answer was given is there after
//! the process was killed.
//!
//! A directory holds numbered segments (`00000001.log`) and at most one snapshot that begins at
//! one of them (`00000007.snap`: everything before segment 7). An entry is its length and its
//! CRC-32, both little-endian, and its bytes. A torn entry at the very end was never answered for
//! and is cut; anything else that cannot be read is corruption, and nothing starts with it.
//!
//! `write` comes before the answer, `fdatasync` at most [`SYNC_EVERY_MS`] later, so a killed
//! process loses nothing and a power cut at most that long, save for entries whose caller waits
//! ([`Journal::synced`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

/// Longest time between a write and its `fdatasync`, milliseconds.
pub const SYNC_EVERY_MS: u64 = 100;
/// Largest entry, bytes.
pub const ENTRY_MAX_BYTES: usize = 64 << 20;
/// Bytes before each entry.
const HEAD_BYTES: usize = 8;
/// Room for what a decision writes usually, bytes.
const ENTRY_BYTES_LIKELY: usize = 4_096;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file.
    #[error("the state journal `{path}`: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Bytes in the middle that are no entry.
    #[error(
        "the state journal `{path}` is damaged at byte {at}: restore it, or move the directory away, after which counters and sessions begin again"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// Another process has it.
    #[error(
        "the state journal in `{0}` is in use by another process: give each its own `state_dir`"
    )]
    Locked(PathBuf),
    /// An earlier failure after which nobody knows what is on the disk.
    #[error("the state journal failed before and is closed: restart when the disk is well again")]
    Closed,
    /// More than is read back.
    #[error("an entry of {bytes} bytes is larger than the {ENTRY_MAX_BYTES} that are read back")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What was found at start.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Every entry since, oldest first.
    pub entries: Vec<Vec<u8>>,
    /// Bytes of a torn entry that were cut.
    pub cut_bytes: u64,
}

/// The journal. One process owns the directory.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
    synced: watch::Receiver<u64>,
    /// Held as long as the journal takes entries; the system frees it with the process.
    lock: Mutex<Option<File>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    writer: Mutex<Writer>,
    wake: Condvar,
}

#[derive(Debug)]
struct Writer {
    file: Arc<File>,
    segment: u64,
    /// Bytes of whole entries in this segment.
    bytes: u64,
    /// Entries since start, of all segments.
    written: u64,
    /// Entries that are on the disk for certain.
    synced: u64,
    /// Somebody waits for the disk.
    urgent: bool,
    closed: bool,
    stopping: bool,
}

impl Journal {
    /// Opens the journal in `dir`, which is made if it is not there, and reads what it holds.
    ///
    /// # Errors
    /// [`JournalError`] names the file; a damaged one is left as it is.
    pub fn open(dir: &Path) -> Result<(Self, Recovered), JournalError> {
        std::fs::create_dir_all(dir).map_err(|source| file_error(dir, source))?;
        let lock = locked(dir)?;
        let (mut snapshots, mut segments) = (numbered(dir, "snap")?, numbered(dir, "log")?);
        let first = snapshots.pop().unwrap_or(0);
        segments.retain(|number| *number >= first);
        let mut recovered = Recovered::default();
        if first > 0 {
            recovered.snapshot = Some(read_snapshot(&snapshot_path(dir, first))?);
        }
        let last = segments.last().copied();
        for number in &segments {
            read_segment(&segment_path(dir, *number), Some(*number) == last, &mut recovered)?;
        }
        let segment = last.unwrap_or(first.max(1));
        let (file, bytes) = appendable(&segment_path(dir, segment))?;
        sync_dir(dir)?;
        Ok((Self::start(dir, file, segment, bytes, lock), recovered))
    }

    fn start(dir: &Path, file: File, segment: u64, bytes: u64, lock: File) -> Self {
        let writer = Writer {
            file: Arc::new(file),
            segment,
            bytes,
            written: 0,
            synced: 0,
            urgent: false,
            closed: false,
            stopping: false,
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            writer: Mutex::new(writer),
            wake: Condvar::new(),
        });
        let (told, synced) = watch::channel(0);
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let syncer = thread.spawn(move || own.keep_synced(&told)).ok();
        if syncer.is_none() {
            // Without its thread nothing would ever be on the disk for certain.
            shared.lock().closed = true;
        }
        Self { shared, syncer, synced, lock: Mutex::new(Some(lock)) }
    }

    /// Writes one entry. Returns its number for [`Journal::synced`].
    ///
    /// # Errors
    /// [`JournalError`]; the entry is then not in the journal.
    pub fn append(&self, entry: &[u8]) -> Result<u64, JournalError> {
        let mut framed = Framed::default();
        framed.0.extend_from_slice(entry);
        self.append_framed(framed)
    }

    /// The same with an entry that has its head before it already.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn append_framed(&self, entry: Framed) -> Result<u64, JournalError> {
        let framed = entry.finished()?;
        let mut writer = self.shared.lock();
        if writer.closed {
            return Err(JournalError::Closed);
        }
        if let Err(source) = (&*writer.file).write_all(&framed) {
            let path = segment_path(&self.shared.dir, writer.segment);
            writer.take_back();
            return Err(JournalError::File { path, source });
        }
        writer.bytes += framed.len() as u64;
        writer.written += 1;
        Ok(writer.written)
    }

    /// Fails from now on, as after a failure of the disk.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.shared.lock().closed = true;
    }

    /// Waits until the entry with this number is on the disk.
    ///
    /// # Errors
    /// [`JournalError::Closed`] if the disk failed.
    pub async fn synced(&self, number: u64) -> Result<(), JournalError> {
        {
            let mut writer = self.shared.lock();
            if writer.synced >= number {
                return Ok(());
            }
            if writer.closed {
                return Err(JournalError::Closed);
            }
            writer.urgent = true;
            self.shared.wake.notify_one();
        }
        let mut synced = self.synced.clone();
        let reached = synced.wait_for(|done| *done >= number).await;
        match reached.map(|done| *done) {
            Ok(u64::MAX) | Err(_) => Err(JournalError::Closed),
            Ok(_) => Ok(()),
        }
    }

    /// Puts everything on the disk, takes no more entries and lets another process have the
    /// directory. Doing it again changes nothing. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError`] if the disk failed, now or before.
    pub fn close(&self) -> Result<(), JournalError> {
        let Some(lock) = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let mut writer = self.shared.lock();
        let failed = std::mem::replace(&mut writer.closed, true);
        let path = segment_path(&self.shared.dir, writer.segment);
        let synced = writer.file.sync_data().map_err(|source| file_error(&path, source));
        release(&lock);
        if failed { Err(JournalError::Closed) } else { synced }
    }

    /// Bytes since the last snapshot began.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.shared.lock().bytes
    }

    /// Begins a new segment and returns its number: entries from now on are not part of the
    /// snapshot that the caller takes next, or are told apart by the caller's own numbers.
    ///
    /// # Errors
    /// [`JournalError`]; the old segment then goes on.
    pub fn rotate(&self) -> Result<u64, JournalError> {
        let mut writer = self.shared.lock();
        if writer.closed {
            return Err(JournalError::Closed);
        }
        let dir = &self.shared.dir;
        let old = segment_path(dir, writer.segment);
        writer.file.sync_data().map_err(|source| {
            writer.closed = true;
            file_error(&old, source)
        })?;
        let segment = writer.segment + 1;
        let (file, bytes) = appendable(&segment_path(dir, segment))?;
        sync_dir(dir)?;
        (writer.file, writer.segment, writer.bytes) = (Arc::new(file), segment, bytes);
        Ok(segment)
    }

    /// Keeps `snapshot` as everything before `segment`, and drops what it replaces.
    ///
    /// # Errors
    /// [`JournalError`]; everything is then as it was.
    pub fn keep_snapshot(&self, segment: u64, snapshot: &[u8]) -> Result<(), JournalError> {
        let dir = &self.shared.dir;
        let path = snapshot_path(dir, segment);
        let draft = path.with_extension("draft");
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(&framed(snapshot))?;
            file.sync_all()
        });
        written.map_err(|source| file_error(&draft, source))?;
        std::fs::rename(&draft, &path).map_err(|source| file_error(&path, source))?;
        sync_dir(dir)?;
        for (kind, number) in [("snap", numbered(dir, "snap")?), ("log", numbered(dir, "log")?)] {
            for old in number.into_iter().filter(|number| *number < segment) {
                let path = dir.join(format!("{old:08}.{kind}"));
                std::fs::remove_file(&path).map_err(|source| file_error(&path, source))?;
            }
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_one();
        if let Some(syncer) = self.syncer.take() {
            // It ends after one last sync; a panic in it has closed the journal already.
            drop(syncer.join());
        }
        if let Some(lock) = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take() {
            release(&lock);
        }
    }
}

impl Shared {
    /// A panic while the lock was held leaves at worst an entry that is cut at the next start.
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_synced(&self, told: &watch::Sender<u64>) {
        let pause = Duration::from_millis(SYNC_EVERY_MS);
        loop {
            let mut writer = self.lock();
            if !writer.urgent && !writer.stopping {
                let waited = self.wake.wait_timeout(writer, pause);
                writer = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let (stopping, written) = (writer.stopping, writer.written);
            writer.urgent = false;
            let behind = writer.synced < written;
            let file = Arc::clone(&writer.file);
            drop(writer);
            if behind {
                // Older segments were synced when they were left.
                match file.sync_data() {
                    Ok(()) => {
                        self.lock().synced = written;
                        told.send_replace(written);
                    }
                    Err(error) => {
                        // The kernel may have dropped the pages: nothing more can be promised.
                        tracing::error!(%error, "the state journal is closed");
                        self.lock().closed = true;
                        told.send_replace(u64::MAX);
                        return;
                    }
                }
            }
            if stopping {
                return;
            }
        }
    }
}

impl Writer {
    /// Cuts what of an entry was written before the disk refused, so that the next one can follow.
    fn take_back(&mut self) {
        let cut = self.file.set_len(self.bytes);
        let end = cut.and_then(|()| (&*self.file).seek(SeekFrom::Start(self.bytes)));
        self.closed |= end.is_err();
    }
}

/// An entry that is written where it will stand: after the place of its head.
pub(crate) struct Framed(Vec<u8>);

impl Default for Framed {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES_LIKELY);
        bytes.extend_from_slice(&[0; HEAD_BYTES]);
        Self(bytes)
    }
}

impl io::Write for Framed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Framed {
    /// The entry with its head.
    fn finished(mut self) -> Result<Vec<u8>, JournalError> {
        let bytes = self.0.len().saturating_sub(HEAD_BYTES);
        if bytes > ENTRY_MAX_BYTES {
            return Err(JournalError::TooLarge { bytes });
        }
        fill_head(&mut self.0);
        Ok(self.0)
    }
}

fn framed(entry: &[u8]) -> Vec<u8> {
    let mut framed = Framed::default();
    framed.0.extend_from_slice(entry);
    fill_head(&mut framed.0);
    framed.0
}

/// Puts length and sum before an entry.
fn fill_head(framed: &mut [u8]) {
    let Some((head, entry)) = framed.split_first_chunk_mut::<HEAD_BYTES>() else { return };
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    let sum = sum(length, entry);
    let (bytes, _) = head.split_at_mut(4);
    bytes.copy_from_slice(&length.to_le_bytes());
    let (_, bytes) = head.split_at_mut(4);
    bytes.copy_from_slice(&sum.to_le_bytes());
}

/// The entry at the start of `bytes` and what follows it; `None` if there is no whole one.
fn unframed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    let (entry, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    (self::sum(length, entry) == u32::from_le_bytes(*sum)).then_some((entry, rest))
}

/// Over the length as well, so that zeros are no entry.
fn sum(length: u32, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(entry);
    hasher.finalize()
}

fn read_segment(path: &Path, last: bool, into: &mut Recovered) -> Result<(), JournalError> {
    let bytes = read(path)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let Some((entry, further)) = unframed(rest) else {
            let at = (bytes.len() - rest.len()) as u64;
            if !last || !is_torn(rest) {
                return Err(JournalError::Damaged { path: path.to_owned(), at });
            }
            into.cut_bytes = rest.len() as u64;
            let file = OpenOptions::new().write(true).open(path);
            let cut = file.and_then(|file| file.set_len(at).and_then(|()| file.sync_all()));
            return cut.map_err(|source| file_error(path, source));
        };
        into.entries.push(entry.to_vec());
        rest = further;
    }
    Ok(())
}

/// Whether `rest` can be the beginning of one entry whose end never reached the disk: no whole
/// entry follows, wherever one might begin.
fn is_torn(rest: &[u8]) -> bool {
    (1..rest.len()).all(|at| rest.get(at..).and_then(unframed).is_none())
}

fn read_snapshot(path: &Path) -> Result<Vec<u8>, JournalError> {
    let bytes = read(path)?;
    match unframed(&bytes) {
        Some((snapshot, [])) => Ok(snapshot.to_vec()),
        _ => Err(JournalError::Damaged { path: path.to_owned(), at: 0 }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, JournalError> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    file.map(|_| bytes).map_err(|source| file_error(path, source))
}

fn locked(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let opened = OpenOptions::new().create(true).append(true).open(&path);
    let file = opened.map_err(|source| file_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(file_error(&path, source)),
    }
}

/// Lets another process have the directory now. Closing the file would do so only once no process
/// that we started holds a copy of it, which each does until it runs its own program.
fn release(lock: &File) {
    // One that cannot be released is so when the file is closed.
    let _ = lock.unlock();
}

fn appendable(path: &Path) -> Result<(File, u64), JournalError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let file = opened.map_err(|source| file_error(path, source))?;
    let bytes = file.metadata().map_err(|source| file_error(path, source))?.len();
    Ok((file, bytes))
}

/// Numbers of the files with this ending, ascending.
fn numbered(dir: &Path, ending: &str) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|source| file_error(dir, source))? {
        let path = entry.map_err(|source| file_error(dir, source))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number: Option<u64> = stem.and_then(|stem| stem.parse().ok());
        if path.extension().is_some_and(|own| own == ending) {
            numbers.extend(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

fn snapshot_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.snap"))
}

/// A name is on the disk once its directory is.
fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| file_error(dir, source))
}

fn file_error(path: &Path, source: io::Error) -> JournalError {
    JournalError::File { path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
