//! What was told and what is still to be delivered. One file for each delivery, written before
//! the event counts as told; told events are kept until the state has forgotten the approval.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lictor_identity::files::{FileError, ensure_directory, replace_private};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::body::body;
use super::config::{ApprovalsConfig, WebhookConfig};
use super::event::{Event, events};
use crate::state::approval::{ApprovalRecord, Standing};

/// Most deliveries that wait. Past it events stay untold until there is room: the state has them.
pub const QUEUED_MAX: usize = 10_000;
/// File with the events that were told.
const TOLD_FILE: &str = "told.json";
/// Ending of the file of a delivery.
const ENDING: &str = "delivery";

/// One event for one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The same whenever, and by whichever decision point, the same event is told to the same
    /// receiver: by it a receiver knows a repetition.
    pub id: String,
    /// Id of the receiver.
    pub hook: String,
    /// The approval.
    pub approval: String,
    /// What happened.
    pub event: Event,
    /// When it was first to be told, Unix milliseconds.
    pub created_ms: i64,
    /// What is sent.
    pub body: String,
}

/// What came of a look at the approvals.
#[derive(Debug, Default)]
pub struct Taken {
    /// New deliveries, in their order.
    pub added: Vec<Delivery>,
}

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// A file that could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that could not be read or removed.
    #[error("`{path}` in the state folder could not be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not what we wrote.
    #[error("`{path}` is not what was written there: move it away, and its events are told again")]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// The outbox of all receivers.
pub struct Outbox {
    dir: PathBuf,
    config: ApprovalsConfig,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    written: Written,
    waiting: BTreeMap<String, Delivery>,
}

/// What is in [`TOLD_FILE`].
#[derive(Default, Serialize, Deserialize)]
struct Written {
    /// Receivers that were told anything. To a new one what is over already is history, not news.
    hooks: BTreeSet<String>,
    /// What was told, by approval.
    told: BTreeMap<String, Told>,
}

/// What was told of one approval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// When the approval ends, Unix milliseconds.
    ends_ms: i64,
    /// `<receiver>/<event>`.
    events: BTreeSet<String>,
}

impl Kept {
    fn is_full(&self) -> bool {
        self.waiting.len() >= QUEUED_MAX
    }

    fn knows(&self, record: &ApprovalRecord, hook: &str, event: Event) -> bool {
        let told = self.written.told.get(&record.opened.id);
        told.is_some_and(|told| told.events.contains(&mark(hook, event)))
    }

    fn tell(&mut self, record: &ApprovalRecord, hook: &str, event: Event) {
        let told = self.written.told.entry(record.opened.id.clone()).or_default();
        told.ends_ms = record.opened.expires_ms;
        told.events.insert(mark(hook, event));
    }
}

fn mark(hook: &str, event: Event) -> String {
    format!("{hook}/{}", event.as_str())
}

impl Outbox {
    /// The outbox in `dir`, with what an earlier process left.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn open(dir: &Path, config: ApprovalsConfig) -> Result<Self, OutboxError> {
        ensure_directory(dir)?;
        let mut kept = Kept::default();
        let told = dir.join(TOLD_FILE);
        match fs::read(&told) {
            Ok(bytes) => kept.written = parse(&told, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(OutboxError::Io { path: told, source }),
        }
        let known: Vec<String> = config.webhooks.iter().map(WebhookConfig::id).collect();
        for path in deliveries(dir)? {
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let delivery: Delivery = parse(&path, &bytes)?;
            if known.contains(&delivery.hook) {
                kept.waiting.insert(delivery.id.clone(), delivery);
            } else {
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(Self { dir: dir.to_owned(), config, kept: Mutex::new(kept) })
    }

    /// What waits for the receiver `hook`.
    #[must_use]
    pub fn waiting(&self, hook: &str) -> Vec<Delivery> {
        let kept = self.kept();
        kept.waiting.values().filter(|delivery| delivery.hook == hook).cloned().collect()
    }

    /// Makes deliveries of what has happened and was not told yet. Blocks on the disk.
    ///
    /// # Errors
    /// [`OutboxError`]: what was not written is told at the next look.
    pub fn take(&self, records: &[ApprovalRecord], now_ms: i64) -> Result<Taken, OutboxError> {
        let mut kept = self.kept();
        let hooks: Vec<(String, &WebhookConfig)> =
            self.config.webhooks.iter().map(|hook| (hook.id(), hook)).collect();
        let ids: BTreeSet<String> = hooks.iter().map(|(id, _)| id.clone()).collect();
        let mut taken = Taken::default();
        let mut changed = kept.written.hooks != ids;
        for record in records.iter().rev() {
            let over = !matches!(record.standing(now_ms), Standing::Pending | Standing::Approved);
            for event in events(record, now_ms) {
                for (id, hook) in &hooks {
                    let news = !over || kept.written.hooks.contains(id);
                    let wanted = news && hook.events.contains(&event);
                    if kept.knows(record, id, event) || (wanted && kept.is_full()) {
                        continue;
                    }
                    if wanted {
                        let delivery = self.delivery(hook, event, record, now_ms);
                        self.write(&delivery)?;
                        kept.waiting.insert(delivery.id.clone(), delivery.clone());
                        taken.added.push(delivery);
                    }
                    kept.tell(record, id, event);
                    changed = true;
                }
            }
        }
        changed |= forget(&mut kept.written.told, records, now_ms);
        kept.written.hooks = ids;
        if changed {
            self.write_told(&kept.written)?;
        }
        Ok(taken)
    }

    /// A delivery was taken, or given up. Blocks on the disk.
    ///
    /// # Errors
    /// [`OutboxError`]: it may be delivered once more after a restart.
    pub fn done(&self, delivery: &Delivery) -> Result<(), OutboxError> {
        self.kept().waiting.remove(&delivery.id);
        let path = self.path(delivery);
        fs::remove_file(&path).map_err(failed(&path))
    }

    fn delivery(
        &self,
        hook: &WebhookConfig,
        event: Event,
        record: &ApprovalRecord,
        now_ms: i64,
    ) -> Delivery {
        let id = delivery_id(&hook.id(), &record.opened.id, event);
        let body = body(&self.config, hook, &id, event, record, now_ms);
        let approval = record.opened.id.clone();
        Delivery { id, hook: hook.id(), approval, event, created_ms: now_ms, body }
    }

    fn path(&self, delivery: &Delivery) -> PathBuf {
        self.dir.join(format!("{}.{ENDING}", delivery.id))
    }

    fn write(&self, delivery: &Delivery) -> Result<(), OutboxError> {
        let path = self.path(delivery);
        let text = serde_json::to_string(delivery)
            .map_err(|_| OutboxError::Content { path: path.clone() })?;
        Ok(replace_private(&path, &text)?)
    }

    fn write_told(&self, told: &Written) -> Result<(), OutboxError> {
        let path = self.dir.join(TOLD_FILE);
        let text =
            serde_json::to_string(told).map_err(|_| OutboxError::Content { path: path.clone() })?;
        Ok(replace_private(&path, &text)?)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is in memory and what is on disk may differ by one event, which is told twice then.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets approvals that the state has forgotten. One that is not over may be missing only for
/// now, so it is kept to its end.
fn forget(told: &mut BTreeMap<String, Told>, records: &[ApprovalRecord], now_ms: i64) -> bool {
    let before = told.len();
    let there: BTreeSet<&str> = records.iter().map(|record| record.opened.id.as_str()).collect();
    told.retain(|id, told| told.ends_ms > now_ms || there.contains(id.as_str()));
    told.len() != before
}

fn delivery_id(hook: &str, approval: &str, event: Event) -> String {
    let digest = Sha256::digest(format!("{hook}\0{approval}\0{}", event.as_str()).as_bytes());
    hex::encode(digest).chars().take(32).collect()
}

fn deliveries(dir: &Path) -> Result<Vec<PathBuf>, OutboxError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let path = entry.map_err(failed(dir))?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            found.push(path);
        }
    }
    Ok(found)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, OutboxError> {
    serde_json::from_slice(bytes).map_err(|_| OutboxError::Content { path: path.to_owned() })
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OutboxError {
    let path = path.to_owned();
    move |source| OutboxError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::tests::{config, record};

    fn kinds(taken: &Taken) -> Vec<(String, Event)> {
        taken.added.iter().map(|d| (d.approval.clone(), d.event)).collect()
    }

    #[test]
    fn each_event_is_told_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let config = config("http://localhost/x");
        let hook = config.webhooks[0].id();
        let outbox = Outbox::open(folder.path(), config.clone()).unwrap();
        let mut one = record("a1");
        let told = outbox.take(std::slice::from_ref(&one), 1).unwrap();
        assert_eq!(kinds(&told), [("a1".to_owned(), Event::Opened)]);
        assert!(outbox.take(std::slice::from_ref(&one), 2).unwrap().added.is_empty());
        drop(outbox);
        let outbox = Outbox::open(folder.path(), config.clone()).unwrap();
        assert_eq!(outbox.waiting(&hook), told.added, "what was not delivered is there again");
        // What happened while nobody ran is told now.
        one.approved_by.insert("bob".into());
        one.used = true;
        let told = outbox.take(std::slice::from_ref(&one), 3).unwrap();
        let both = [("a1".to_owned(), Event::Approved), ("a1".to_owned(), Event::Used)];
        assert_eq!(kinds(&told), both);
        for delivery in outbox.waiting(&hook) {
            outbox.done(&delivery).unwrap();
        }
        drop(outbox);
        let outbox = Outbox::open(folder.path(), config).unwrap();
        assert!(outbox.waiting(&hook).is_empty());
        assert!(outbox.take(&[one], 4).unwrap().added.is_empty());
    }

    #[test]
    fn what_was_over_before_the_first_start_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path(), config("http://localhost/x")).unwrap();
        let old = ApprovalRecord { used: true, ..record("old") };
        let told = outbox.take(&[record("new"), old.clone()], 1).unwrap();
        assert_eq!(kinds(&told), [("new".to_owned(), Event::Opened)]);
        assert!(outbox.take(&[record("new"), old], 2).unwrap().added.is_empty());
    }

    #[test]
    fn only_events_that_are_wanted_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config("http://localhost/x");
        config.webhooks[0].events = vec![Event::Denied];
        let outbox = Outbox::open(folder.path(), config).unwrap();
        assert!(outbox.take(&[record("a1")], 1).unwrap().added.is_empty());
        let denied = ApprovalRecord { denied_by: Some("bob".into()), ..record("a1") };
        assert_eq!(kinds(&outbox.take(&[denied], 2).unwrap()), [("a1".to_owned(), Event::Denied)]);
    }

    #[test]
    fn a_full_outbox_leaves_the_rest_in_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path(), config("http://localhost/x")).unwrap();
        let waits = |n: usize| Delivery {
            id: n.to_string(),
            hook: "h".into(),
            approval: String::new(),
            event: Event::Opened,
            created_ms: 0,
            body: String::new(),
        };
        let fill: BTreeMap<_, _> = (1..QUEUED_MAX).map(|n| (n.to_string(), waits(n))).collect();
        outbox.kept().waiting = fill;
        let both = [record("a2"), record("a1")];
        let told = outbox.take(&both, 1).unwrap();
        assert_eq!(kinds(&told), [("a1".to_owned(), Event::Opened)], "room for one");
        assert!(outbox.take(&both, 2).unwrap().added.is_empty());
        outbox.done(&told.added[0]).unwrap();
        assert_eq!(kinds(&outbox.take(&both, 3).unwrap()), [("a2".to_owned(), Event::Opened)]);
    }

    #[test]
    fn what_is_told_is_forgotten_after_the_approval() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path(), config("http://localhost/x")).unwrap();
        outbox.take(&[record("a1")], 1).unwrap();
        outbox.take(&[], 2).unwrap();
        assert_eq!(outbox.kept().written.told.len(), 1, "the store may have been away");
        outbox.take(&[], 900_001).unwrap();
        assert!(outbox.kept().written.told.is_empty());
    }

    #[test]
    fn a_foreign_file_is_never_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TOLD_FILE), "?").unwrap();
        let opened = Outbox::open(folder.path(), config("http://localhost/x"));
        assert!(matches!(opened.err(), Some(OutboxError::Content { .. })));
    }
}
