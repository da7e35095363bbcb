//! The own list of several decision points of one store: what one of them changes, the others
//! adopt. The store holds a [`Ledger`]; each decision point keeps and signs its own list all the
//! same, so that a store that lost everything is filled again, and nothing is ever unrevoked by
//! what a store does not hold.

use std::collections::BTreeSet;

use lictor_audit::{Durability, Entry as Record, Kind as RecordKind};
use lictor_policy_lib::revocation::LIST_MAX_BYTES;
use lictor_proto::revocation::{Entry, Kind};
use serde_json::json;

use super::OWN;
use super::ledger::{Change, Ledger, LedgerError};
use super::operate::OperateError;
use crate::decide::Pdp;
use crate::state::StateError;
use crate::state::approval::rfc3339;

/// How often a change is tried again when others change the list at the same time.
pub const SHARE_TRIES_MAX: usize = 16;
/// Most adopted changes that are recorded one by one; of more, their number is recorded.
pub const ADOPTED_RECORDS_MAX: usize = 1_000;

/// Why others do not know of a change, or this decision point not of theirs.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The store does not answer.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store holds something else.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Others were faster each time.
    #[error("other decision points change the list all the time: try again")]
    Busy,
    /// A time after which nothing comes.
    #[error("it is revoked at the latest time there is: no change can come after it")]
    Latest,
    /// It does not fit.
    #[error("the list of revocations has more than {LIST_MAX_BYTES} bytes: take some back")]
    TooLarge,
    /// What others changed cannot be taken over.
    #[error("what other decision points changed is not adopted: {0}")]
    Adopt(#[from] OperateError),
    /// Nothing is allowed again without a record.
    #[error("what other decision points took back is not adopted: it cannot be recorded")]
    Unrecorded,
}

/// What is known of the shared list. Whoever changes a list holds it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) ledger: Ledger,
    /// Mark of what the store held when it was last read or written.
    mark: String,
    /// Whether the store lacks something that is known here.
    behind: bool,
    /// Revoked here while the store did not answer: it wins over what others did meanwhile.
    unshared: BTreeSet<(Kind, String)>,
    /// What was last told of, so that it is told once.
    trouble: Option<String>,
}

impl Book {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, ..Self::default() }
    }

    /// Something was revoked here.
    pub(super) fn killed(&mut self, change: Change) {
        self.unshared.insert((change.kind, change.id.clone()));
        self.ledger.put(change);
        self.behind = true;
    }

    /// Gives what was revoked here unheard a time after others took it back.
    fn insist(&mut self, theirs: &Ledger) {
        for (kind, id) in &self.unshared {
            let Some(ours) = self.ledger.get(*kind, id).filter(|ours| ours.killed) else {
                continue;
            };
            if theirs.get(*kind, id).is_some_and(|theirs| !theirs.killed) {
                let at_ms = theirs.next_ms(*kind, id, ours.at_ms);
                let later = Change { at_ms, ..ours.clone() };
                self.ledger.put(later);
            }
        }
    }
}

impl Pdp {
    /// One look at what others changed, and another attempt to tell them what they do not know.
    pub(super) async fn look_at_shared(&self) {
        let mut book = self.revocations.changing.lock().await;
        let owed = !book.unshared.is_empty();
        match self.share(&mut book).await {
            Ok(shared) => {
                if book.trouble.take().is_some() {
                    tracing::info!("the list of revocations is shared again");
                }
                if owed && shared {
                    let now_ms = self.clock.now_ms();
                    let version = self.revocations.live.load().own.list().version;
                    let body = json!({ "outcome": "shared", "list": OWN, "version": version });
                    self.note(Record::new(RecordKind::Revocation, now_ms, body.to_string())).await;
                }
            }
            Err(error) => {
                let told = error.to_string();
                if book.trouble.as_ref() != Some(&told) {
                    tracing::error!(%error, "the list of revocations is not shared: the last one holds");
                    book.trouble = Some(told);
                }
            }
        }
    }

    /// Adopts what others changed and tells them what they lack. Returns whether the store is
    /// shared at all.
    pub(super) async fn share(&self, book: &mut Book) -> Result<bool, ShareError> {
        if !self.pull(book).await? {
            book.behind = false;
            book.unshared.clear();
            return Ok(false);
        }
        if book.behind {
            self.push(book, None).await?;
        }
        Ok(true)
    }

    /// Adopts what others changed. Returns whether the store is shared at all.
    pub(super) async fn pull(&self, book: &mut Book) -> Result<bool, ShareError> {
        let Some(shared) = self.state.shared_text(&book.mark).await? else { return Ok(false) };
        if shared.text.is_none() && shared.mark == book.mark && !book.mark.is_empty() {
            return Ok(true);
        }
        if shared.mark.is_empty() && !book.mark.is_empty() {
            tracing::warn!("the state store lost the list of revocations, which is filled again");
        }
        let theirs = match &shared.text {
            Some(text) => Ledger::parse(text)?,
            None => Ledger::default(),
        };
        let now_ms = self.clock.now_ms();
        book.insist(&theirs);
        book.ledger.version = book.ledger.version.max(theirs.version);
        self.adopt(book, theirs.beyond(&book.ledger, now_ms), now_ms).await?;
        book.behind = !book.ledger.beyond(&theirs, now_ms).is_empty();
        book.mark = shared.mark;
        Ok(true)
    }

    /// Writes what is known here, `taken_back` with it, to the store.
    pub(super) async fn push(
        &self,
        book: &mut Book,
        taken_back: Option<&Change>,
    ) -> Result<(), ShareError> {
        for _ in 0..SHARE_TRIES_MAX {
            let now_ms = self.clock.now_ms();
            let mut ledger = book.ledger.clone();
            if let Some(change) = taken_back {
                let at_ms = ledger.next_ms(change.kind, &change.id, now_ms);
                ledger.put(Change { at_ms, ..change.clone() });
            }
            ledger.prune(now_ms);
            ledger.version = ledger.version.max(self.next_version(taken_back.is_some()));
            let text = ledger.text()?;
            if text.len() > LIST_MAX_BYTES {
                return Err(ShareError::TooLarge);
            }
            if let Some(mark) = self.state.put_shared_text(&book.mark, &text).await? {
                book.ledger = ledger;
                book.mark = mark;
                book.behind = false;
                book.unshared.clear();
                let killed = |change: &Change| {
                    book.ledger.get(change.kind, &change.id).is_some_and(|known| known.killed)
                };
                return match taken_back.is_some_and(killed) {
                    true => Err(ShareError::Latest),
                    false => Ok(()),
                };
            }
            self.pull(book).await?;
        }
        Err(ShareError::Busy)
    }

    /// The version of the own list, or of the one that is next.
    fn next_version(&self, changes: bool) -> u64 {
        self.revocations.live.load().own.list().version + u64::from(changes)
    }

    /// What is revoked holds at once; what was taken back holds no more once it is on record.
    async fn adopt(
        &self,
        book: &mut Book,
        brought: Vec<Change>,
        now_ms: i64,
    ) -> Result<(), ShareError> {
        let (kills, unkills): (Vec<_>, Vec<_>) = brought.into_iter().partition(|c| c.killed);
        let new = news(&book.ledger, &kills);
        kills.into_iter().for_each(|change| book.ledger.put(change));
        let kept = self.make_own_of(&book.ledger, now_ms).await;
        if !new.is_empty() {
            let who = new.iter().filter(|change| change.kind.is_who());
            self.revocations.seen().unvoided.extend(who.map(|c| (c.kind, c.id.clone())));
            self.approval_changes.tell_end();
            self.record_adopted(&new, Durability::Bounded, now_ms).await;
        }
        kept?;
        let new = news(&book.ledger, &unkills);
        if !new.is_empty() && !self.record_adopted(&new, Durability::Sync, now_ms).await {
            return Err(ShareError::Unrecorded);
        }
        let any = !unkills.is_empty();
        unkills.into_iter().for_each(|change| book.ledger.put(change));
        self.make_own_of(&book.ledger, now_ms).await?;
        if any {
            self.keep_taken_back(&book.ledger, now_ms).await;
        }
        Ok(())
    }

    /// Makes the own list what the ledger says, unless it is, and keeps it.
    pub(super) async fn make_own_of(
        &self,
        ledger: &Ledger,
        now_ms: i64,
    ) -> Result<(), OperateError> {
        let mut list = self.revocations.live.load().own.list().clone();
        let killed = ledger.killed();
        let holds = |entry: &&Entry| entry.holds(now_ms);
        if list.entries.iter().filter(holds).eq(killed.iter().filter(holds)) {
            return Ok(());
        }
        list.version = list.version.max(ledger.version.saturating_sub(1));
        list.entries = killed;
        let (text, verified) = self.signed(list, now_ms)?;
        self.make_own(verified, now_ms);
        if let Err(error) = self.revocations.own.write(text).await {
            tracing::error!(%error, "the list of revocations is not on disk");
        }
        Ok(())
    }

    /// What was taken back is remembered for the time when the store has forgotten it.
    pub(super) async fn keep_taken_back(&self, ledger: &Ledger, now_ms: i64) {
        if let Err(error) = self.revocations.own.keep_taken_back(ledger.unkilled(), now_ms).await {
            tracing::error!(%error, "what was taken back is not on disk");
        }
    }

    /// Returns whether everything is on record.
    async fn record_adopted(&self, new: &[Change], how: Durability, now_ms: i64) -> bool {
        let version = self.revocations.live.load().own.list().version;
        let mut whole = true;
        for change in new.iter().take(ADOPTED_RECORDS_MAX) {
            let (kind, id, by) = (change.kind.as_str(), &change.id, &change.by);
            tracing::warn!(
                kind,
                id,
                by,
                killed = change.killed,
                "adopted from another decision point"
            );
            let body = json!({
                "outcome": if change.killed { "adopted" } else { "adopted_unkill" },
                "list": OWN, "version": version, "operator": by,
                "revoked": { "type": kind, "id": id, "until": change.until_ms.map(rfc3339) },
                "at": rfc3339(change.at_ms),
            });
            let mut record = Record::new(RecordKind::Revocation, now_ms, body.to_string());
            let why = json!(change.reason).to_string();
            record.sensitive.push(("/reason".to_owned(), why));
            whole &= self.appended(record, how).await;
        }
        if let Some(more) = new.len().checked_sub(ADOPTED_RECORDS_MAX).filter(|more| *more > 0) {
            let body = json!({
                "outcome": "adopted", "list": OWN, "version": version, "more": more,
            });
            let record = Record::new(RecordKind::Revocation, now_ms, body.to_string());
            whole &= self.appended(record, how).await;
        }
        whole
    }

    async fn appended(&self, record: Record, how: Durability) -> bool {
        let appended = self.audit.append(record, how).await;
        if let Err(error) = &appended {
            tracing::error!(%error, "an adopted change of revocations could not be recorded");
        }
        appended.is_ok()
    }
}

/// Those that change what holds. One may be known already, without who did it.
fn news(ledger: &Ledger, brought: &[Change]) -> Vec<Change> {
    let new = |change: &&Change| match ledger.get(change.kind, &change.id) {
        None => change.killed,
        Some(known) if change.killed => {
            !known.killed || (known.at_ms, known.until_ms) != (change.at_ms, change.until_ms)
        }
        Some(known) => known.killed,
    };
    brought.iter().filter(new).cloned().collect()
}
