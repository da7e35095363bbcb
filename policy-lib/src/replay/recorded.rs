//! What a record of a decision holds, and how it is read back.

use lictor_proto::call::Call;
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::facts::Facts;
use lictor_proto::reason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::EngineError;
use crate::limits::LimitRequest;

/// Where the call stands in a record, as it came.
pub const CALL: &str = "/call";
/// Where the facts stand: what was known before the detectors ran.
pub const FACTS: &str = "/facts";
/// Where the decision stands.
pub const DECISION: &str = "/decision";
/// Where the limits that policy wanted stand; absent if it wanted none.
pub const WANTS: &str = "/wants";

/// How a decision came about: the member `made` of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Policy's verdict, and everything that it wants was reserved and stored.
    Committed,
    /// Policy's verdict allows, and limits lacked room.
    Short,
    /// Policy's verdict; in phases `list` and `response` there is nothing to commit.
    Evaluated,
    /// Policy's verdict, made while the store did not answer.
    Uncounted,
    /// An engine ran out of time; another run need not.
    Late,
    /// What was stored for the same call before; the first record has its facts.
    Repeated,
    /// No policy's verdict: the decision point's own reason.
    Refused,
}

impl How {
    /// The same, or [`How::Late`] if an engine ran out of time.
    #[must_use]
    pub fn with(self, errors: &[EngineError]) -> Self {
        let late = errors.iter().any(|error| error.fatal && error.is_late());
        match self {
            Self::Committed | Self::Evaluated | Self::Uncounted if late => Self::Late,
            how => how,
        }
    }
}

/// Why a record is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A value of the side store that is needed was erased, or its key was.
    Erased,
    /// Written before, or after, records had the form that is known here.
    OtherFormat,
    /// Its parts do not fit together.
    Malformed,
    /// It holds no facts.
    NoFacts,
    /// The answer to a call that was asked again; the first record is replayed.
    Repeated,
    /// No policy's verdict: a revocation, a lost session, an unknown peer, …. No bundle changes it.
    NotPolicys,
    /// Made while the store did not answer.
    WithoutStore,
    /// An engine ran out of time.
    OutOfTime,
    /// Denied because the bundle was expired or stale then.
    BundleTimes,
    /// The bundle under replay reads what sessions did, and nobody kept that then.
    SessionUnknown,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 10] = [
        Self::Erased,
        Self::OtherFormat,
        Self::Malformed,
        Self::NoFacts,
        Self::Repeated,
        Self::NotPolicys,
        Self::WithoutStore,
        Self::OutOfTime,
        Self::BundleTimes,
        Self::SessionUnknown,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::OtherFormat => "other_format",
            Self::Malformed => "malformed",
            Self::NoFacts => "no_facts",
            Self::Repeated => "repeated",
            Self::NotPolicys => "not_policys",
            Self::WithoutStore => "without_store",
            Self::OutOfTime => "out_of_time",
            Self::BundleTimes => "bundle_times",
            Self::SessionUnknown => "session_unknown",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Erased => {
                "call, facts or decision were erased, or the side store's key is not there"
            }
            Self::OtherFormat => "written by a version whose records do not say how they were made",
            Self::Malformed => "the parts of the record do not fit together",
            Self::NoFacts => "the record holds no facts",
            Self::Repeated => "the same call asked again: its first record is replayed",
            Self::NotPolicys => "no policy's verdict: every bundle answers the same",
            Self::WithoutStore => "made while the state store did not answer",
            Self::OutOfTime => "a policy ran out of time then",
            Self::BundleTimes => "denied because the bundle was expired or stale then",
            Self::SessionUnknown => "the bundle reads what sessions did, and nobody kept that then",
        }
    }
}

/// A value of the side store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side<'a> {
    /// The record has none.
    Absent,
    /// The record commits to one that is no longer there.
    Erased,
    /// Its JSON text, exactly as it was recorded.
    Text(&'a str),
}

/// A recorded decision with everything that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The call, as it came.
    pub call: Call,
    /// What was known before the detectors ran: findings are those of others.
    pub facts: Facts,
    /// What was answered.
    pub decision: Decision,
    /// The limits that policy wanted.
    pub wants: Vec<LimitRequest>,
    /// How it came about.
    pub how: How,
    /// Whether the facts tell what the session did: somebody kept it, and it was read.
    pub session_kept: bool,
}

/// What is needed of the line itself.
#[derive(Deserialize)]
struct Line {
    call_id: String,
    effect: Effect,
    request_digest: String,
    made: Option<Value>,
    #[serde(default)]
    session_kept: bool,
}

impl Recorded {
    /// Reads a record from the members of its line and its side values, by pointer.
    ///
    /// # Errors
    /// The [`Cause`] for which no bundle can decide it again.
    pub fn read<'a>(body: &Value, side: impl Fn(&str) -> Side<'a>) -> Result<Self, Cause> {
        let line = Line::deserialize(body).map_err(|_| Cause::Malformed)?;
        let made = line.made.ok_or(Cause::OtherFormat)?;
        let how: How = serde_json::from_value(made).map_err(|_| Cause::OtherFormat)?;
        match how {
            How::Refused => return Err(Cause::NotPolicys),
            How::Repeated => return Err(Cause::Repeated),
            How::Uncounted => return Err(Cause::WithoutStore),
            How::Late => return Err(Cause::OutOfTime),
            How::Committed | How::Short | How::Evaluated => {}
        }
        let text = |pointer| match side(pointer) {
            Side::Text(text) => Ok(text),
            Side::Erased => Err(Cause::Erased),
            Side::Absent => Err(Cause::Malformed),
        };
        let (call, facts, decision) = (text(CALL)?, text(FACTS)?, text(DECISION)?);
        let call = Call::from_json(call.as_bytes()).map_err(|_| Cause::Malformed)?;
        let recorded = Self {
            call,
            facts: parsed(facts)?,
            decision: parsed(decision)?,
            wants: match side(WANTS) {
                Side::Absent => Vec::new(),
                Side::Erased => return Err(Cause::Erased),
                Side::Text(text) => parsed(text)?,
            },
            how,
            session_kept: line.session_kept,
        };
        let fits = recorded.decision.effect == line.effect
            && recorded.decision.request_digest == line.request_digest
            && recorded.call.call_id == line.call_id
            && recorded.call.request_digest() == line.request_digest;
        match fits {
            false => Err(Cause::Malformed),
            true => recorded.decidable(),
        }
    }

    fn decidable(self) -> Result<Self, Cause> {
        if self.facts.time.now_ms == 0 {
            return Err(Cause::NoFacts);
        }
        let times = |reason: &Reason| {
            let ours = reason.policy.is_empty();
            ours && matches!(reason.id.as_str(), reason::BUNDLE_EXPIRED | reason::BUNDLE_STALE)
        };
        if self.decision.reasons.iter().any(times) {
            return Err(Cause::BundleTimes);
        }
        Ok(self)
    }

    /// Ids of the limits that lacked room.
    pub(crate) fn short(&self) -> Vec<&str> {
        let reasons = self.decision.reasons.iter().filter(|_| self.how == How::Short);
        reasons.filter_map(|reason| reason.id.strip_prefix(reason::LIMIT_PREFIX)).collect()
    }
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Cause> {
    serde_json::from_str(text).map_err(|_| Cause::Malformed)
}
