//! Revoking and taking back, by operators. Each is on record, with who and why, before it is
//! reported; sessions and approvals of whoever is revoked end with them.

use std::sync::Arc;

use lictor_audit::{Durability, Entry as Record, Kind as RecordKind};
use lictor_identity::Role;
use lictor_policy_lib::revocation::{ENTRIES_MAX, ID_MAX_BYTES, List, REASON_MAX_BYTES, Verified};
use lictor_proto::call::DEFAULT_TENANT;
use lictor_proto::reason;
use lictor_proto::revocation::{Entry, Kind};
use serde_json::{Value, json};

use super::ledger::{Change, OPERATOR_MAX_BYTES};
use super::own::OWN_LIFE_MS;
use super::share::ShareError;
use super::{ListStatus, OWN};
use crate::decide::Pdp;
use crate::peer::Peer;
use crate::state::StateError;
use crate::state::approval::rfc3339;
use crate::state::owner::Voided;

/// Why something is not revoked, or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The peer is no operator.
    #[error("revoking needs the role `operator`")]
    Role,
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The list has no room.
    #[error("{ENTRIES_MAX} entries are on the list, which is the most: take some back")]
    Full,
    /// It is not on the own list.
    #[error("the {} `{id}` is not revoked here{}", kind.as_str(), if *listed { ": it is on the configured list, take it from there" } else { "" })]
    NotRevoked {
        /// What was named.
        kind: Kind,
        /// Its id.
        id: String,
        /// Whether the configured list revokes it.
        listed: bool,
    },
    /// The file could not be written.
    #[error("{effect}: the list cannot be written: {cause}")]
    Unwritten {
        /// What holds now.
        effect: &'static str,
        /// Why.
        cause: String,
    },
    /// Other decision points of the same store do not know.
    #[error("{effect}: {cause}")]
    Unshared {
        /// What holds now.
        effect: &'static str,
        /// Why.
        cause: String,
    },
    /// There is no record.
    #[error("{effect}: it cannot be recorded: {cause}")]
    Unrecorded {
        /// What holds now.
        effect: &'static str,
        /// Why.
        cause: String,
    },
    /// Sessions and approvals are still open.
    #[error(
        "it is revoked, but its sessions and approvals are not closed yet, which is tried again: {0}"
    )]
    Unvoided(#[from] StateError),
}

/// What holds although something went wrong.
const REVOKED: &str = "it is revoked until the next start";
const STILL_REVOKED: &str = "it is still revoked";
const REVOKED_HERE: &str = "it is revoked at this decision point, but could not be shared: others do not know it yet, which is tried again until they do";
const STILL_REVOKED_HERE: &str =
    "it is still revoked, since other decision points could not be told";

impl OperateError {
    /// Reason id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Role => reason::ROLE_MISSING,
            Self::Invalid(_) => reason::CALL_INVALID,
            Self::Full => "revocations_too_many",
            Self::NotRevoked { .. } => "not_revoked",
            Self::Unwritten { .. } => "revocations_not_kept",
            Self::Unrecorded { .. } => reason::AUDIT_UNAVAILABLE,
            Self::Unshared { .. } | Self::Unvoided(_) => reason::STATE_UNAVAILABLE,
        }
    }
}

/// Something was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed {
    /// Version of the own list that has it.
    pub version: u64,
    /// What ended with it.
    pub voided: Voided,
}

/// Something was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unkilled {
    /// Version of the own list that lacks it.
    pub version: u64,
    /// Whether the configured list still revokes it.
    pub still_listed: bool,
}

impl Pdp {
    /// Revokes. It holds from now on whatever else goes wrong: a revocation that cannot be
    /// recorded or written is reported as an error and holds all the same.
    ///
    /// # Errors
    /// [`OperateError`] says what holds.
    pub async fn kill(
        &self,
        peer: &Peer,
        kind: Kind,
        id: &str,
        why: &str,
        until_ms: Option<i64>,
    ) -> Result<Killed, OperateError> {
        let now_ms = self.clock.now_ms();
        check(peer, id, why)?;
        if until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            return Err(OperateError::Invalid("it would be over already: give a later end".into()));
        }
        let mut book = self.revocations.changing.lock().await;
        let mut list = self.revocations.live.load().own.list().clone();
        let (id, reason) = (id.to_owned(), why.to_owned());
        let since_ms = book.ledger.next_ms(kind, &id, now_ms);
        let change = change(peer, kind, &id, why, (true, since_ms), until_ms);
        list.put(Entry { kind, id: id.clone(), reason, since_ms, until_ms });
        let (text, verified) = self.signed(list, now_ms)?;
        let version = verified.list().version;
        self.make_own(verified, now_ms);
        let written = self.revocations.own.write(text).await;
        book.killed(change);
        let shared = self.share(&mut book).await;
        drop(book);
        let voided = self.void(kind, &id).await;
        // Nothing is said of a store that nobody shares.
        let told_others = shared.as_ref().map_or(Some(false), |shared| shared.then_some(true));
        let told = voided.clone().unwrap_or_default();
        let body = json!({
            "outcome": "killed", "list": OWN, "version": version, "operator": peer.name,
            "revoked": { "type": kind.as_str(), "id": id, "until": until_ms.map(rfc3339) },
            "sessions": told.sessions, "approvals": told.approvals, "shared": told_others,
        });
        tracing::warn!(kind = kind.as_str(), id, version, "revoked");
        self.on_record(body, why, now_ms, "it is revoked").await?;
        written.map_err(|error| OperateError::Unwritten {
            effect: REVOKED,
            cause: error.to_string(),
        })?;
        shared.map_err(|error| OperateError::Unshared {
            effect: REVOKED_HERE,
            cause: error.to_string(),
        })?;
        Ok(Killed { version, voided: voided? })
    }

    /// Takes a revocation back. What ended with it stays ended. The record comes first: nothing
    /// is allowed again without evidence of who allowed it.
    ///
    /// # Errors
    /// [`OperateError`]; then it is still revoked.
    pub async fn unkill(
        &self,
        peer: &Peer,
        kind: Kind,
        id: &str,
        why: &str,
    ) -> Result<Unkilled, OperateError> {
        let now_ms = self.clock.now_ms();
        check(peer, id, why)?;
        let mut book = self.revocations.changing.lock().await;
        let unshared = |error: ShareError| {
            let cause = error.to_string();
            OperateError::Unshared { effect: STILL_REVOKED_HERE, cause }
        };
        let shared = self.pull(&mut book).await.map_err(unshared)?;
        let lists = self.revocations.live.load_full();
        let listed = lists.configured.list().and_then(|list| list.set().get(kind, id));
        let listed = listed.is_some_and(|entry| entry.holds(now_ms));
        let mut list = lists.own.list().clone();
        if !list.remove(kind, id) {
            return Err(OperateError::NotRevoked { kind, id: id.to_owned(), listed });
        }
        let (text, verified) = self.signed(list, now_ms)?;
        let version = verified.list().version;
        let body = |outcome: &str| {
            json!({
                "outcome": outcome, "list": OWN, "version": version, "operator": peer.name,
                "revoked": { "type": kind.as_str(), "id": id }, "still_listed": listed,
            })
        };
        self.on_record(body("unkilled"), why, now_ms, STILL_REVOKED).await?;
        let at_ms = book.ledger.next_ms(kind, id, now_ms);
        let change = change(peer, kind, id, why, (false, at_ms), None);
        if shared {
            if let Err(error) = self.push(&mut book, Some(&change)).await {
                self.on_record(body("not_unkilled"), why, now_ms, STILL_REVOKED).await?;
                return Err(unshared(error));
            }
            self.make_own_of(&book.ledger, now_ms).await?;
            self.keep_taken_back(&book.ledger, now_ms).await;
            tracing::warn!(kind = kind.as_str(), id, version, "no longer revoked");
            return Ok(Unkilled { version, still_listed: listed });
        }
        if let Err(error) = self.revocations.own.write(text).await {
            self.on_record(body("not_unkilled"), why, now_ms, STILL_REVOKED).await?;
            let cause = error.to_string();
            return Err(OperateError::Unwritten { effect: STILL_REVOKED, cause });
        }
        book.ledger.put(change);
        self.make_own(verified, now_ms);
        tracing::warn!(kind = kind.as_str(), id, version, "no longer revoked");
        Ok(Unkilled { version, still_listed: listed })
    }

    /// Every list, for operators.
    #[must_use]
    pub fn revocation_lists(&self) -> Vec<ListStatus> {
        self.revocations.lists(self.clock.now_ms())
    }

    pub(super) fn signed(
        &self,
        list: List,
        now_ms: i64,
    ) -> Result<(String, Verified), OperateError> {
        let list = list.renewed(now_ms, OWN_LIFE_MS);
        if list.entries.len() > ENTRIES_MAX {
            return Err(OperateError::Full);
        }
        let signed = self.revocations.own.signed(&list);
        signed.map_err(|error| OperateError::Invalid(error.to_string()))
    }

    pub(super) fn make_own(&self, verified: Verified, now_ms: i64) {
        let configured = self.revocations.live.load().configured.clone();
        self.revocations.swap(Arc::new(verified), configured, now_ms);
    }

    async fn on_record(
        &self,
        body: Value,
        why: &str,
        now_ms: i64,
        effect: &'static str,
    ) -> Result<(), OperateError> {
        let mut record = Record::new(RecordKind::Revocation, now_ms, body.to_string());
        record.sensitive.push(("/reason".to_owned(), json!(why).to_string()));
        let appended = self.audit.append(record, Durability::Sync).await;
        appended
            .map(|_| ())
            .map_err(|error| OperateError::Unrecorded { effect, cause: error.to_string() })
    }

    /// Closes sessions and voids approvals; what fails is tried again in the background.
    pub(super) async fn void(&self, kind: Kind, id: &str) -> Result<Voided, StateError> {
        let mut voided = Voided::default();
        if !kind.is_who() {
            return Ok(voided);
        }
        let now_ms = self.clock.now_ms();
        let mut tenants: Vec<String> = self.live.all().into_keys().collect();
        if !tenants.iter().any(|tenant| tenant == DEFAULT_TENANT) {
            tenants.push(DEFAULT_TENANT.to_owned());
        }
        for tenant in tenants {
            match self.state.void(&tenant, kind, id, now_ms).await {
                Ok(more) => voided += more,
                Err(error) => {
                    self.revocations.seen().unvoided.push((kind, id.to_owned()));
                    return Err(error);
                }
            }
        }
        if voided.approvals > 0 {
            self.approval_changes.tell_end();
        }
        Ok(voided)
    }
}

fn change(
    peer: &Peer,
    kind: Kind,
    id: &str,
    why: &str,
    (killed, at_ms): (bool, i64),
    until_ms: Option<i64>,
) -> Change {
    let (by, reason) = (operator(&peer.name), why.to_owned());
    Change { kind, id: id.to_owned(), killed, at_ms, by, reason, until_ms }
}

/// As much of an operator's name as others take.
fn operator(name: &str) -> String {
    name.chars().take(OPERATOR_MAX_BYTES / char::MAX.len_utf8()).collect()
}

fn check(peer: &Peer, id: &str, why: &str) -> Result<(), OperateError> {
    if !peer.has(Role::Operator) {
        return Err(OperateError::Role);
    }
    let refuse = |text: String| Err(OperateError::Invalid(text));
    if id.is_empty() || id.len() > ID_MAX_BYTES {
        return refuse(format!("an id has 1 to {ID_MAX_BYTES} bytes"));
    }
    if why.trim().is_empty() || why.len() > REASON_MAX_BYTES {
        return refuse(format!("a reason has 1 to {REASON_MAX_BYTES} bytes"));
    }
    Ok(())
}
