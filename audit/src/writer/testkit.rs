//! Logs for tests: fixed keys, times and random bytes, no thread, files that fail on demand.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};

use super::commit::Writer;
use super::options::{AppendError, Config, Durability, OpenError, Options, Receipt};
use super::thread::{Append, Reply, reply_channel};
use super::{Shared, thread};
use crate::disk::{self, AppendFile, OpenAppend};
use crate::entropy::Entropy;
use crate::record::{Entry, Kind, prepare};
use crate::side::SideKey;

pub(crate) const START_MS: i64 = 1_764_000_000_000;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Options whose log is the same bytes every time; `seed` tells incarnations apart.
pub(crate) fn options(dir: &Path, writer: &str, seed: u64) -> Options {
    let time = AtomicI64::new(START_MS);
    let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
    let mut options = Options::new(dir, writer, "acme", key(), clock);
    options.about = serde_json::json!({ "build": "test" });
    options.entropy = entropy(seed);
    options
}

/// A fixed stream of bytes.
fn entropy(seed: u64) -> Entropy {
    let count = AtomicU64::new(0);
    Arc::new(move |out| {
        for chunk in out.chunks_mut(32) {
            let block = Sha256::new()
                .chain_update(seed.to_be_bytes())
                .chain_update(count.fetch_add(1, Ordering::Relaxed).to_be_bytes())
                .finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        true
    })
}

/// Files that fail while a switch is on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) write: AtomicBool,
    /// A failing write leaves half of its bytes.
    pub(crate) half: AtomicBool,
    pub(crate) sync: AtomicBool,
    pub(crate) open: AtomicBool,
    pub(crate) syncs: AtomicU64,
}

struct Faulty {
    file: Box<dyn AppendFile>,
    faults: Arc<Faults>,
}

impl AppendFile for Faulty {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.faults.write.load(Ordering::Relaxed) {
            if self.faults.half.load(Ordering::Relaxed) {
                self.file.append(&bytes[..bytes.len() / 2])?;
            }
            return Err(io::Error::other("disk full"));
        }
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.faults.sync.load(Ordering::Relaxed) {
            return Err(io::Error::other("input/output error"));
        }
        self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) fn faulty(faults: &Arc<Faults>) -> OpenAppend {
    let (real, faults) = (disk::system(), faults.clone());
    Arc::new(move |path| {
        if faults.open.load(Ordering::Relaxed) {
            return Err(io::Error::other("no space"));
        }
        let file = real(path)?;
        Ok(Box::new(Faulty { file, faults: faults.clone() }))
    })
}

/// A writer without its thread.
pub(crate) struct Kit {
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
    side_key: SideKey,
    entropy: Entropy,
    _lock: std::fs::File,
}

pub(crate) type Answer = Receiver<Result<Receipt, AppendError>>;

impl Kit {
    pub(crate) fn open(options: Options) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let (config, lock) = Config::new(options)?;
        let (side_key, entropy) = (config.side_key.clone(), config.entropy.clone());
        let writer = Writer::open(config, shared.clone())?;
        Ok(Self { writer, shared, side_key, entropy, _lock: lock })
    }

    pub(super) fn job(&self, entry: &Entry, durability: Durability) -> (Append, Answer) {
        let (reply, answer) = reply_channel();
        let prepared = prepare(entry, 0, &self.side_key, &self.entropy).unwrap();
        assert!(self.shared.reserve(prepared.bytes()));
        (thread::Append { prepared, durability, at_ms: 0, reply }, answer)
    }

    /// A record whose caller went on at `at_ms`.
    pub(super) fn released(&self, entry: &Entry, at_ms: u64) -> Append {
        assert!(self.shared.released.take(at_ms));
        let (job, _) = self.job(entry, Durability::Bounded);
        Append { at_ms, reply: Reply::Nobody, ..job }
    }

    pub(crate) fn append(
        &mut self,
        entry: &Entry,
        durability: Durability,
        now: u64,
    ) -> Result<Receipt, AppendError> {
        let (job, answer) = self.job(entry, durability);
        self.writer.commit(vec![job], now);
        answer.try_recv().unwrap()
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.writer.tick(now);
    }

    pub(crate) fn close(&mut self, now: u64) -> Result<(), AppendError> {
        self.writer.close("test is over", now)
    }
}

/// A decision with two values that are only committed to.
pub(crate) fn decision(n: usize) -> Entry {
    let body = format!(
        "{{\"call_id\":\"call-{n}\",\"decision_id\":\"dec-{n}\",\"session\":\"s-{}\",\"effect\":\"allow\",\"args\":{{\"n\":{n}}}}}",
        n % 3
    );
    let mut entry = Entry::new(Kind::Decision, START_MS + 1000 + n as i64, body);
    if n.is_multiple_of(5) {
        entry.sensitive = vec![
            ("/args/mail".into(), format!("\"user{n}@example.com\"")),
            ("/source_ip".into(), "\"10.0.0.7\"".into()),
        ];
    }
    entry
}

/// Writes a closed log of `n` decisions with a checkpoint after every second; five records a
/// second.
pub(crate) fn write_log(dir: &Path, writer: &str, seed: u64, n: usize, every_ms: u64) -> Kit {
    let mut kit = Kit::open(options(dir, writer, seed)).unwrap();
    for i in 0..n {
        let now = (i as u64 + 1) * every_ms;
        kit.append(&decision(i), Durability::Sync, now).unwrap();
        kit.tick(now);
    }
    kit
}
