//! What outlives a call: limits, sessions, approvals, stored verdicts.
//!
//! # Layout
//!
//! - this file: the trait and its messages. One test suite (`tests.rs`) holds
//!   every implementation to the same behaviour.
//! - [`counter`]: the arithmetic of limits, pure.
//! - [`approval`]: one approval and who may still decide it, pure.
//! - [`memory`]: everything in this process.

pub mod approval;
pub mod counter;
pub mod memory;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::limits::LimitRequest;
use lictor_proto::decide::Settle;
use lictor_proto::decision::{Approval, Labels, LimitState};
use lictor_proto::facts::SessionFacts;

use self::approval::{ApprovalRecord, Binding, NewApproval};

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

    /// Makes a session known until `expires_ms`.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn open_session(&self, key: &SessionKey, expires_ms: i64) -> Result<(), StateError>;

    /// All approvals, newest first.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] if the store does not answer.
    async fn approvals(&self, now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError>;

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
}

/// Which session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Isolation boundary.
    pub tenant: String,
    /// Opaque id: of an opened session, or derived from who calls.
    pub id: String,
    /// Whether it exists without having been opened.
    pub implicit: bool,
}

/// What a decision reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Facts for policy, approvals included.
    pub facts: SessionFacts,
    /// Rises with every change of the session.
    pub version: u64,
}

/// What a decision writes.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Which session.
    pub session: SessionKey,
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
    /// What policy said.
    pub verdict: Arc<Verdict>,
    /// Limits to reserve if the verdict allows.
    pub limits: Vec<LimitRequest>,
    /// The resource to count; empty for none.
    pub resource: String,
    /// What an approval must be bound to.
    pub binding: Binding,
    /// The approval to open if the verdict asks.
    pub opens: Option<NewApproval>,
    /// Whether this commit permits something (phase request, effect allow).
    pub permits: bool,
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
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
