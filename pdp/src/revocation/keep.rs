//! The background: the configured list and what other decision points share are looked at, the own
//! list is renewed, and enforcement points are told of changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lictor_audit::{Durability, Entry as Record, Kind as RecordKind};
use lictor_identity::Role;
use lictor_policy_lib::revocation::Verified;
use lictor_proto::decide::{DecideError, Revocations as Told};
use lictor_proto::reason;
use lictor_proto::revocation::Entry;
use serde_json::json;
use tokio::sync::watch;

use super::configured::ConfiguredError;
use super::own::{OWN_LIFE_MS, needs_renewal};
use super::{CONFIGURED, Listed};
use crate::decide::Pdp;
use crate::live::Refusal;
use crate::peer::Peer;

/// Longest time between two looks at the configured list, and at what other decision points of the
/// same store changed, milliseconds.
pub const POLL_MAX_MS: u64 = 1_000;
/// How long an enforcement point's question waits for a change, milliseconds.
pub const WAIT_MS: u64 = 10_000;

impl Pdp {
    /// What is revoked, once it differs from version `known`, or after [`WAIT_MS`]. Where it is
    /// `known` still, entries are left out.
    ///
    /// # Errors
    /// [`DecideError`] if the peer may not ask, or this decision point is shutting down.
    pub async fn revocations(&self, peer: &Peer, known: u64) -> Result<Told, DecideError> {
        if !peer.has(Role::Pep) {
            return Err(DecideError::Refused {
                id: reason::ROLE_MISSING.to_owned(),
                message: "asking for revocations needs the role `pep`".to_owned(),
            });
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(DecideError::Unavailable("the decision point is shutting down".to_owned()));
        }
        let mut version = self.revocations.version.subscribe();
        let other = version.wait_for(|version| *version != known);
        // Either way the answer is what is live then.
        drop(tokio::time::timeout(Duration::from_millis(WAIT_MS), other).await);
        Ok(self.told(known))
    }

    fn told(&self, known: u64) -> Told {
        let now_ms = self.clock.now_ms();
        let lists = self.revocations.live.load();
        let version = lists.version(now_ms);
        let bare = |entry: &Entry| Entry { reason: String::new(), since_ms: 0, ..entry.clone() };
        let entries = match version == known {
            true => Vec::new(),
            false => lists.all().flat_map(|list| list.set().entries()).map(bare).collect(),
        };
        Told { version, entries, stale: lists.is_stale(now_ms) }
    }

    /// One look at everything that time and others change.
    pub(crate) async fn keep_revocations(&self) {
        self.look_at_configured().await;
        self.look_at_shared().await;
        self.renew_own().await;
        self.void_later().await;
        self.revocations.tell(self.clock.now_ms());
    }

    async fn look_at_configured(&self) {
        let Some(source) = &self.revocations.configured else { return };
        if self.revocations.seen().stamp == Some(source.stamp()) {
            return;
        }
        let _changing = self.revocations.changing.lock().await;
        let stamp = source.stamp();
        if self.revocations.seen().stamp == Some(stamp) {
            return;
        }
        let now_ms = self.clock.now_ms();
        let live = self.revocations.live.load_full();
        let old = live.configured.list().cloned();
        let (reader, before) = (source.clone(), old.clone());
        let load = move || reader.load(before.as_deref(), now_ms);
        let loaded = tokio::task::spawn_blocking(load).await;
        let again = matches!(&loaded, Ok(Err(error)) if error.may_pass());
        self.revocations.seen().stamp = (!again).then_some(stamp);
        match loaded {
            Ok(Ok(Some(list))) => {
                let added = added(&list, old.as_deref());
                let Listed::Live { list, max_age_ms } = source.listed(list) else { return };
                let listed = Listed::Live { list: Arc::clone(&list), max_age_ms };
                self.revocations.swap(Arc::clone(&live.own), listed, now_ms);
                self.revocations.seen().refused = None;
                self.revocations.seen().unvoided.extend(added);
                self.record_live(&list, now_ms).await;
            }
            Ok(Ok(None)) => self.revocations.seen().refused = None,
            Ok(Err(error)) => self.refuse_configured(&error, now_ms).await,
            Err(_) => tracing::error!("reading the list of revocations failed"),
        }
    }

    async fn record_live(&self, list: &Verified, now_ms: i64) {
        let (version, entries) = (list.list().version, list.set().len());
        tracing::info!(version, entries, "list of revocations live");
        let body = json!({
            "outcome": "live", "list": CONFIGURED, "version": version, "entries": entries,
            "signed_by": list.kid(), "digest": list.digest(),
        });
        self.note(Record::new(RecordKind::Revocation, now_ms, body.to_string())).await;
    }

    /// The list that was live stays live. What is refused again and again for the same is told
    /// once.
    async fn refuse_configured(&self, error: &ConfiguredError, now_ms: i64) {
        let (id, message) = (error.id().to_owned(), error.to_string());
        let told = |before: &Refusal| before.id == id && before.message == message;
        if error.may_pass() && self.revocations.seen().refused.as_ref().is_some_and(told) {
            return;
        }
        tracing::error!(id, message, "list of revocations refused");
        let body = json!({ "outcome": "refused", "list": CONFIGURED, "reason": id });
        let mut record = Record::new(RecordKind::Revocation, now_ms, body.to_string());
        record.sensitive.push(("/message".to_owned(), json!(message).to_string()));
        self.revocations.seen().refused = Some(Refusal { id, message, at_ms: now_ms });
        self.note(record).await;
    }

    /// What already holds is recorded where it can be.
    pub(super) async fn note(&self, record: Record) {
        if let Err(error) = self.audit.append(record, Durability::Bounded).await {
            tracing::error!(%error, "a change of revocations could not be recorded");
        }
    }

    async fn renew_own(&self) {
        let mut book = self.revocations.changing.lock().await;
        let now_ms = self.clock.now_ms();
        let live = self.revocations.live.load_full();
        if !needs_renewal(&live.own, now_ms) {
            return;
        }
        book.ledger.prune(now_ms);
        let list = live.own.list().clone().renewed(now_ms, OWN_LIFE_MS);
        match self.revocations.own.signed(&list) {
            Ok((text, verified)) => {
                self.revocations.swap(Arc::new(verified), live.configured.clone(), now_ms);
                if let Err(error) = self.revocations.own.write(text).await {
                    tracing::error!(%error, "the renewed list of revocations is not on disk");
                }
            }
            Err(error) => tracing::error!(%error, "the list of revocations is not renewed"),
        }
    }

    /// Sessions and approvals of whoever was revoked while they could not be closed.
    async fn void_later(&self) {
        let waiting = std::mem::take(&mut self.revocations.seen().unvoided);
        let mut waiting = waiting.into_iter();
        while let Some((kind, id)) = waiting.next() {
            if let Err(error) = self.void(kind, &id).await {
                tracing::error!(%error, kind = kind.as_str(), id, "sessions could not be closed");
                // A store that does not answer would not answer for the others either.
                self.revocations.seen().unvoided.extend(waiting);
                return;
            }
        }
    }
}

/// Whoever is revoked by `list` and was not by `old`.
fn added(list: &Verified, old: Option<&Verified>) -> Vec<(lictor_proto::revocation::Kind, String)> {
    let new = |entry: &&Entry| {
        let known = old.is_some_and(|old| old.set().get(entry.kind, &entry.id).is_some());
        entry.kind.is_who() && !known
    };
    list.set().entries().filter(new).map(|entry| (entry.kind, entry.id.clone())).collect()
}

/// Keeps the lists until `down`.
pub(crate) async fn keep(pdp: Arc<Pdp>, every: Duration, down: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every.min(Duration::from_millis(POLL_MAX_MS)));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(down.clone()) => return,
        }
        pdp.keep_revocations().await;
    }
}

async fn stopped(mut down: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = down.wait_for(|down| *down).await;
}
