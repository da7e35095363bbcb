//! What the state is told to do: one change of one tenant. A journal holds these, and telling a
//! tenant the same ones again gives the same state.

use lictor_proto::call::Usage;
use lictor_proto::decide::{Detail, Outcome, Settle};
use lictor_proto::revocation::Kind;
use serde::{Deserialize, Serialize};

use super::approval::{Answer, ApprovalError, ApprovalRecord};
use super::owner::{Owner, Voided};
use super::{Commit, Committed, SettleError, StateError};

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Op {
    /// What a decision writes.
    Commit(Box<Commit>),
    /// What became of a call.
    Settle {
        /// The peer that says so.
        peer: String,
        /// The call.
        call_id: String,
        /// What happened.
        outcome: Outcome,
        /// What was used.
        usage: Usage,
        /// What is known beyond that.
        detail: Detail,
    },
    /// A call goes on.
    Extend {
        /// The peer that says so.
        peer: String,
        /// The call.
        call_id: String,
    },
    /// An opened session goes on.
    Renew {
        /// Its id.
        id: String,
        /// When it ends, Unix milliseconds.
        expires_ms: i64,
    },
    /// Forgets what is held of a limit.
    Reset {
        /// The limit.
        id: String,
        /// The key.
        key: String,
    },
    /// Makes a session known.
    Open {
        /// Its id.
        id: String,
        /// Id of the implicit session whose confidentiality it begins with; empty for none.
        #[serde(default)]
        implicit: String,
        /// Whose it is.
        owner: Owner,
        /// When it ends, Unix milliseconds.
        expires_ms: i64,
    },
    /// Ends what belongs to somebody who is revoked.
    Void {
        /// What sort of name it is.
        kind: Kind,
        /// The name.
        id: String,
    },
    /// One person's answer to an approval.
    Answer {
        /// The approval.
        id: String,
        /// The answer.
        answer: Answer,
    },
}

impl Op {
    pub(crate) fn settle(peer: &str, settle: &Settle) -> Self {
        Self::Settle {
            peer: peer.to_owned(),
            call_id: settle.call_id.clone(),
            outcome: settle.outcome,
            usage: settle.usage,
            detail: settle.detail.clone(),
        }
    }
}

/// An entry of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry<O> {
    /// Isolation boundary.
    pub(crate) tenant: String,
    /// Counts the changes of the tenant: a snapshot holds those up to its own.
    pub(crate) seq: u64,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
    /// The change.
    pub(crate) op: O,
}

/// What came of a change.
#[derive(Debug)]
pub(crate) enum Told {
    Committed(Committed),
    Settled(Result<(), SettleError>),
    Opened,
    Answered(Result<Box<ApprovalRecord>, ApprovalError>),
    Voided(Voided),
    Extended(Result<(), SettleError>),
    Renewed(Result<(), StateError>),
    /// How many counters.
    Reset(u64),
}

impl Told {
    /// Whether anything is different now, so that it must be in the journal.
    pub(crate) fn changed(&self) -> bool {
        match self {
            Self::Committed(Committed::Stored(_)) | Self::Opened => true,
            Self::Committed(_) => false,
            Self::Settled(result) | Self::Extended(result) => result.is_ok(),
            Self::Renewed(result) => result.is_ok(),
            Self::Reset(counters) => *counters > 0,
            Self::Answered(result) => result.is_ok(),
            Self::Voided(voided) => *voided != Voided::default(),
        }
    }
}
