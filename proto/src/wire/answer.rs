//! Answers and settlements.

use super::{
    Result, WireError, closed, decision_from_pb, decision_into_pb, invalid, name_of, present,
    quota, usage_from_pb, usage_to_pb,
};
use crate::decide::{Answer, DecideError, Detail, Hints, Outcome, Settle};
use crate::pb;

/// Answer to protobuf.
#[must_use]
pub fn answer_to_pb(answer: &Answer) -> pb::DecideResponse {
    answer_into_pb(answer.clone())
}

/// Answer to protobuf, its texts with it.
#[must_use]
pub fn answer_into_pb(answer: Answer) -> pb::DecideResponse {
    let Answer { decision, hints } = answer;
    pb::DecideResponse {
        call_id: decision.call_id.clone(),
        decision: Some(decision_into_pb(decision)),
        hints: Some(hints_into_pb(hints)),
        error: None,
    }
}

fn hints_into_pb(hints: Hints) -> pb::Hints {
    pb::Hints {
        effect: hints.effect.as_str().to_owned(),
        response_check: name_of(&hints.response_check),
        session_handle: hints.session_handle.unwrap_or_default(),
        session_id: hints.session_id.unwrap_or_default(),
        agents: hints.agents,
        quotas: hints.quotas.into_iter().map(quota::into_pb).collect(),
    }
}

/// An error in place of an answer.
#[must_use]
pub fn error_to_pb(call_id: &str, error: &DecideError) -> pb::DecideResponse {
    pb::DecideResponse {
        call_id: call_id.to_owned(),
        decision: None,
        hints: None,
        error: Some(pb::Error { id: error.reason_id().to_owned(), message: error.to_string() }),
    }
}

/// Protobuf to answer.
///
/// # Errors
/// The error that the response carries, or a refusal where it is malformed.
pub fn answer_from_pb(response: pb::DecideResponse) -> std::result::Result<Answer, DecideError> {
    if let Some(error) = response.error {
        return Err(DecideError::Refused { id: error.id, message: error.message });
    }
    let refused = |error: WireError| DecideError::Refused {
        id: error.id.to_owned(),
        message: format!("the decision point's answer is not usable: {}", error.message),
    };
    let decision = response.decision.ok_or_else(|| refused(invalid("no decision".to_owned())))?;
    Ok(Answer {
        decision: decision_from_pb(decision).map_err(refused)?,
        hints: hints_from_pb(response.hints).map_err(refused)?,
    })
}

fn hints_from_pb(hints: Option<pb::Hints>) -> Result<Hints> {
    let Some(hints) = hints else { return Ok(Hints::default()) };
    Ok(Hints {
        effect: closed("effect", &hints.effect)?,
        response_check: closed("response check", &hints.response_check)?,
        session_handle: present(hints.session_handle),
        session_id: present(hints.session_id),
        agents: hints.agents,
        quotas: hints.quotas.into_iter().map(quota::from_pb).collect::<Result<_>>()?,
    })
}

/// Settlement to protobuf.
#[must_use]
pub fn settle_to_pb(settle: &Settle) -> pb::SettleRequest {
    pb::SettleRequest {
        call_id: settle.call_id.clone(),
        outcome: settle.outcome.as_str().to_owned(),
        usage: Some(usage_to_pb(settle.usage)),
        cached_tokens: settle.detail.cached_tokens,
        reasoning_tokens: settle.detail.reasoning_tokens,
        result_digest: settle.detail.result_digest.clone(),
    }
}

/// Protobuf to settlement.
///
/// # Errors
/// [`WireError`] for an unknown outcome.
pub fn settle_from_pb(settle: pb::SettleRequest) -> Result<Settle> {
    Ok(Settle {
        outcome: closed::<Outcome>("outcome", &settle.outcome)?,
        usage: settle.usage.map(usage_from_pb).unwrap_or_default(),
        detail: Detail {
            cached_tokens: settle.cached_tokens,
            reasoning_tokens: settle.reasoning_tokens,
            result_digest: settle.result_digest,
        },
        call_id: settle.call_id,
    })
}
