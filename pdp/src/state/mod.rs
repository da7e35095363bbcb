//! What outlives a call: limits, sessions, approvals, stored verdicts.
//!
//! # Layout
//!
//! - this file: the trait and its messages. One test suite (`tests.rs`) holds
//!   every implementation to the same behaviour.
//! - [`counter`]: the arithmetic of limits, pure. [`counters`]: what operators see of them.
//! - [`config`]: which store, and opening it.
//! - [`approval`]: one approval and who may still decide it, pure.
//! - [`owner`]: whose a session or an approval is.
//! - [`signals`]: loops, first uses and rates, pure.
//! - [`journal`]: what survives a killed process.
//! - [`memory`]: everything in this process, with a journal or without; [`tenant`] is what it does,
//!   pure, and [`op`] what it is told.
//! - [`redis`]: shared by several decision points; [`sliced`]: with parts of it leased to each.

pub mod approval;
#[cfg(test)]
mod clock_tests;
pub mod config;
pub mod counter;
pub mod counters;
#[cfg(test)]
mod equal_tests;
pub mod journal;
#[cfg(test)]
mod many_tests;
pub mod memory;
pub(crate) mod op;
pub mod owner;
pub mod redis;
#[cfg(test)]
pub(crate) mod servers;
pub mod signals;
pub mod sliced;
pub(crate) mod tenant;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::registry::Prices;
use lictor_proto::decide::Settle;
use lictor_proto::decision::{Approval, Labels, LimitState};
use lictor_proto::facts::{SessionFacts, SessionKind, Signals};
use lictor_proto::revocation::Kind;
use serde::{Deserialize, Serialize};

use self::approval::{ApprovalRecord, Binding, NewApproval};
use self::counters::{Page, Wanted};
use self::owner::{Owner, Voided};

/// Limits, sessions and approvals. Every method is atomic: two calls at once
/// see each other whole or not at all.
#[async_trait]
pub trait State: Send + Sync {
    /// What the session has done, and which asks are approved for `binding`.
    ///
    /// # Errors
    /// [`StateError::SessionUnknown`] for an opened session that is not there.
    async fn read(
        &self,
        session: &SessionKey,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError>;

    /// Reserves limits, changes the session, consumes or opens an approval and
    /// stores the verdict, together or not at all. Idempotent on `call_id`.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn commit(&self, commit: Commit, now_ms: i64) -> Result<Committed, StateError>;

    /// What was stored for a call that `peer` asked about.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn stored(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Result<Option<Stored>, StateError>;

    /// Takes a settlement, once and only from the peer that asked.
    ///
    /// # Errors
    /// [`StateError::Settle`] says why it is refused.
    async fn settle(
        &self,
        tenant: &str,
        peer: &str,
        settle: &Settle,
        now_ms: i64,
    ) -> Result<(), StateError>;

    /// A permitted call goes on: what it holds, and what is stored of it, begin their time anew.
    /// Only for the peer that asked, and not after the settlement.
    ///
    /// # Errors
    /// [`StateError::Settle`] says why it is refused.
    async fn extend(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), StateError>;

    /// Counters of which something is held, [`counters::PAGE_COUNTERS_MAX`] at most.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn counters(
        &self,
        tenant: &str,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Result<Page, StateError>;

    /// Forgets what is held of limit `id` with `key`, in every window and session. Returns how
    /// many counters were emptied.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn reset(
        &self,
        tenant: &str,
        id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<u64, StateError>;

    /// An opened session goes on until `expires_ms`, with everything that it did.
    ///
    /// # Errors
    /// [`StateError::SessionUnknown`] for one that is not there or is over.
    async fn renew_session(
        &self,
        key: &SessionKey,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError>;

    /// Makes a session of `owner` known until `expires_ms`. It begins as confidential as the
    /// implicit session `implicit` of the same principal is by then, and with nothing counted.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn open_session(
        &self,
        key: &SessionKey,
        implicit: &SessionKey,
        owner: &Owner,
        expires_ms: i64,
    ) -> Result<(), StateError>;

    /// Closes the opened sessions of somebody who is revoked (or the session `id` itself) and
    /// voids their approvals, waited for and given ones.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn void(
        &self,
        tenant: &str,
        kind: Kind,
        id: &str,
        now_ms: i64,
    ) -> Result<Voided, StateError>;

    /// All approvals, newest first.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn approvals(&self, now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError>;

    /// One approval; `None` where there is none of that id.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn approval(&self, id: &str) -> Result<Option<ApprovalRecord>, StateError>;

    /// Records one person's answer to an approval.
    ///
    /// # Errors
    /// [`StateError::Approval`] says why it is refused.
    async fn resolve(
        &self,
        id: &str,
        answer: approval::Answer,
        now_ms: i64,
    ) -> Result<ApprovalRecord, StateError>;

    /// Makes a tenant known to those who ask about all of them. Returns whether the store had not
    /// heard of it, which one that was known before means that the store began again.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn know_tenant(&self, _tenant: &str) -> Result<bool, StateError> {
        Ok(false)
    }

    /// The text that all decision points of this store share; without it where its mark is
    /// `known`. `None` where nobody shares this store.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn shared_text(&self, _known: &str) -> Result<Option<Shared>, StateError> {
        Ok(None)
    }

    /// Replaces the shared text if its mark is still `expected`, which is empty for none. Returns
    /// the new mark; `None` where somebody else was faster, or nobody shares this store.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer; then it may be replaced or not.
    async fn put_shared_text(
        &self,
        _expected: &str,
        _text: &str,
    ) -> Result<Option<String>, StateError> {
        Ok(None)
    }

    /// Raises the lowest version of a bundle that may be live, for all decision points of this
    /// store, to `version`; 0 only asks. Returns what it is then; `None` where nobody shares this
    /// store.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn raise_floor(&self, _tenant: &str, _version: u64) -> Result<Option<u64>, StateError> {
        Ok(None)
    }

    /// Whether every question is a round trip, so that what nobody would look at is not asked.
    fn is_far(&self) -> bool {
        false
    }

    /// Puts on the disk what was answered for, and takes no more.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if that is not certain.
    async fn close(&self) -> Result<(), StateError> {
        Ok(())
    }
}

/// Which session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// Isolation boundary.
    pub tenant: String,
    /// Opaque id: of an opened session, or derived from who calls.
    pub id: String,
    /// Whether it exists without having been opened.
    pub implicit: bool,
}

/// What all decision points of a store share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared {
    /// Names the content: the same again has the same mark. Empty where there is none.
    pub mark: String,
    /// The content; `None` where there is none, or where it is known.
    pub text: Option<String>,
}

/// What a decision reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Facts for policy, approvals included.
    pub facts: SessionFacts,
    /// Unusual behaviour.
    pub signals: Signals,
    /// Rises with every change of the session.
    pub version: u64,
}

impl Snapshot {
    /// An implicit session of which nothing is known.
    #[must_use]
    pub fn unread() -> Self {
        let facts = SessionFacts {
            kind: SessionKind::Implicit,
            labels: Labels::default(),
            ..SessionFacts::default()
        };
        Self { facts, signals: Signals::default(), version: 0 }
    }
}

/// What a decision writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Commit {
    /// Which session.
    pub session: SessionKey,
    /// The implicit session of the same principal, where `session` is an opened one: what is
    /// permitted counts for both, so that a call without the handle is judged by it too.
    #[serde(default)]
    pub implicit: Option<SessionKey>,
    /// The version that was read; `None` if policy reads no session facts.
    pub version: Option<u64>,
    /// The call.
    pub call_id: String,
    /// Digest of the call.
    pub request_digest: String,
    /// The decision's id, kept so that a repetition gets the same.
    pub decision_id: String,
    /// The peer that asked; only it may settle.
    pub peer: String,
    /// What policy said; its limits are reserved if it allows.
    pub verdict: Arc<Verdict>,
    /// The resource to count; empty for none.
    pub resource: String,
    /// What the call may cost, millionths of a dollar; counts for the session at once.
    pub cost_usd_micros: u64,
    /// What the model's tokens cost, for the settlement.
    pub prices: Option<Prices>,
    /// What an approval must be bound to.
    pub binding: Binding,
    /// The approval to open if the verdict asks.
    pub opens: Option<NewApproval>,
    /// Whether this commit permits something (phase request, effect allow).
    pub permits: bool,
    /// Whether policy can see what the session did: its calls, signals, approvals or labels.
    #[serde(default = "yes")]
    pub watched: bool,
}

impl Commit {
    /// The sessions that a permitted call counts for.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &SessionKey> {
        std::iter::once(&self.session).chain(&self.implicit)
    }
}

/// What is not known to be unseen is seen.
fn yes() -> bool {
    true
}

/// What came of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// Stored.
    Stored(Stored),
    /// The session changed since it was read; nothing was stored.
    Stale,
    /// Another content has this `call_id`.
    Reused,
    /// The peer has given this `call_id` up.
    Abandoned,
}

/// What is kept of a decided call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Digest of the call.
    pub request_digest: String,
    /// The decision's id.
    pub decision_id: String,
    /// What policy said.
    pub verdict: Arc<Verdict>,
    /// What was reserved, or which limits lacked room.
    pub reservation: Reservation,
    /// The approval that is waited for.
    pub approval: Option<Approval>,
    /// The session's labels after the call.
    pub labels: Labels,
}

/// What was reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reservation {
    /// Everything that was wanted.
    Held(Vec<LimitState>),
    /// Nothing, because these lacked room.
    Short {
        /// Ids that lacked room.
        short: Vec<String>,
        /// All limits.
        limits: Vec<LimitState>,
    },
}

/// Why the state cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store does not answer.
    #[error("the state store does not answer: {0}")]
    Unavailable(String),
    /// The session is not there, or expired.
    #[error("the session is unknown or has expired: open a new one")]
    SessionUnknown,
    /// A settlement is refused.
    #[error("the settlement is refused: {0}")]
    Settle(SettleError),
    /// An answer to an approval is refused.
    #[error(transparent)]
    Approval(#[from] approval::ApprovalError),
}

/// Why a settlement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// No such call.
    #[error("no permitted call has this id")]
    Unknown,
    /// Settled before.
    #[error("this call is settled already")]
    Twice,
    /// Asked by another peer.
    #[error("another enforcement point asked about this call")]
    NotYours,
}
