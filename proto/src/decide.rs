//! The one interface between enforcement and decision.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::call::{Call, Usage};
use crate::decision::{Decision, Standing};
use crate::revocation::Entry;

/// How long a decision may take unless the caller says otherwise, milliseconds.
pub const DEFAULT_BUDGET_MS: u32 = 250;

/// The longest that one question about an approval waits, milliseconds.
pub const WAIT_MAX_MS: u32 = 60_000;

/// Asks for decisions. Implemented by the decision point in process and by the
/// enforcement points' client over gRPC; a test holds both equal.
#[async_trait]
pub trait Decide: Send + Sync {
    /// Decides one call.
    ///
    /// # Errors
    /// [`DecideError`] only where no decision could be had; the caller denies.
    async fn decide(&self, call: Arc<Call>, budget_ms: u32) -> Result<Answer, DecideError>;

    /// Decides several calls with one round trip, answers in the same order.
    ///
    /// # Errors
    /// As [`Decide::decide`].
    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError>;

    /// Says what became of a permitted call. Taken once.
    ///
    /// # Errors
    /// [`DecideError::Refused`] if the call is unknown, settled or somebody else's.
    async fn settle(&self, settle: Settle) -> Result<(), DecideError>;

    /// A permitted call goes on for longer: what it holds begins its time anew.
    ///
    /// # Errors
    /// [`DecideError::Refused`] if the call is unknown, settled or somebody else's.
    async fn extend(&self, call_id: &str) -> Result<(), DecideError> {
        let _ = call_id;
        Err(DecideError::Unavailable("nothing is held for longer here".to_owned()))
    }

    /// Tells the other side the head of this side's audit log, and returns theirs.
    ///
    /// # Errors
    /// As [`Decide::decide`].
    async fn exchange_checkpoint(&self, writer: &str, note: &str) -> Result<String, DecideError>;

    /// What is revoked. Answers once that differs from version `known` (0 for nothing), and after
    /// ten seconds in any case; where it is `known` still, entries are left out.
    ///
    /// # Errors
    /// As [`Decide::decide`].
    async fn revocations(&self, known: u64) -> Result<Revocations, DecideError>;

    /// Where the approval `id` of one of this side's own calls stands, once that is no longer
    /// pending or after `wait_ms` milliseconds, of which the other side takes [`WAIT_MAX_MS`] at
    /// most.
    ///
    /// # Errors
    /// [`DecideError::Refused`] if there is none of that id that this side asked for.
    async fn approval(&self, id: &str, wait_ms: u32) -> Result<Standing, DecideError> {
        let _ = (id, wait_ms);
        Err(DecideError::Unavailable("nothing is told of approvals here".to_owned()))
    }

    /// How it stands with the other side, in Prometheus text; empty in process.
    fn metrics_text(&self) -> String {
        String::new()
    }
}

/// What is revoked, as enforcement points hold what is under way against it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revocations {
    /// Names this set: equal numbers are equal sets.
    pub version: u64,
    /// Everything that is revoked; empty where it is known by its version already.
    pub entries: Vec<Entry>,
    /// Whether a list is past its time, so that nothing may go on.
    pub stale: bool,
}

/// A decision with what the enforcement point needs to carry it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The decision.
    pub decision: Decision,
    /// Facts of the resource that steer enforcement.
    pub hints: Hints,
}

/// What the signed registry says about the resource, for the enforcement point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    /// What the resource does to the world.
    pub effect: ToolEffect,
    /// Whether a second decision can come to anything.
    pub response_check: ResponseCheck,
    /// The handle of a session that this decision opened.
    pub session_handle: Option<String>,
    /// A stable, opaque name of the session, for joining audit records.
    pub session_id: Option<String>,
    /// Registry ids of the agent and of the delegation, where the call has other names for them.
    pub agents: Vec<String>,
    /// What the limits of this call allow, in the order of the decision's `limits`.
    pub quotas: Vec<Quota>,
}

/// What one limit allows, whoever it counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The limit's id.
    pub id: String,
    /// Largest amount.
    pub max: u64,
    /// Length of its window in whole seconds; 0 where it has none.
    pub window_s: u64,
    /// What is counted.
    pub unit: QuotaUnit,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaUnit {
    /// Each call is one.
    #[default]
    Calls,
    /// Tokens in and out.
    Tokens,
    /// Millionths of a US dollar.
    UsdMicros,
    /// Bytes of content.
    Bytes,
    /// Calls at the same time.
    Concurrent,
}

/// What a tool does to the world, from the signed registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolEffect {
    /// Only reads.
    None,
    /// Changes something.
    Mutate,
    /// Sends something out. An unknown tool is taken for this.
    #[default]
    Egress,
    /// Runs code.
    Exec,
}

impl ToolEffect {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mutate => "mutate",
            Self::Egress => "egress",
            Self::Exec => "exec",
        }
    }
}

/// How an answer must be checked before it is released, computed at load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponseCheck {
    /// Nothing in the bundle could come to anything.
    None,
    /// The whole answer is asked about.
    #[default]
    Whole,
    /// A streamed answer may be asked about piece by piece.
    Stream,
}

/// What became of a permitted call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// The call.
    pub call_id: String,
    /// What happened.
    pub outcome: Outcome,
    /// What was used.
    pub usage: Usage,
    /// What is known beyond that.
    pub detail: Detail,
}

/// What is known of a call that was done beyond what it used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Detail {
    /// Of the tokens sent, those that the provider had in its cache.
    pub cached_tokens: u64,
    /// Of the tokens that came back, those of hidden reasoning.
    pub reasoning_tokens: u64,
    /// Digest of what came back; empty where nothing did. Two rounds of a loop with the same
    /// digest made no progress.
    pub result_digest: String,
}

/// What happened to a permitted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was sent: everything is refunded and the id is spent.
    NotSent,
    /// It was sent and failed.
    Failed,
    /// It was done.
    Done,
    /// Nobody knows: counts as done.
    Unknown,
}

impl Outcome {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

/// Why no decision could be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecideError {
    /// Not reached, or not in time.
    #[error("the decision point is unavailable: {0}")]
    Unavailable(String),
    /// It answered that it will not.
    #[error("{message}")]
    Refused {
        /// Reason id.
        id: String,
        /// Why.
        message: String,
    },
}

impl DecideError {
    /// The reason id that the enforcement point denies with.
    #[must_use]
    pub fn reason_id(&self) -> &str {
        match self {
            Self::Unavailable(_) => crate::reason::PDP_UNAVAILABLE,
            Self::Refused { id, .. } => id,
        }
    }
}
