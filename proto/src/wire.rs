//! The only converter between protobuf and Lictor JSON's types.
//!
//! Closed sets are checked here: a name or number that the domain types do not
//! know is refused, never read as a default.

mod approval;
mod quota;
mod revocation;

pub use approval::approval_record_to_json;
pub use revocation::{
    revocation_from_pb, revocation_to_pb, revocations_from_pb, revocations_to_pb,
};
use serde::de::DeserializeOwned;

use crate::call::{
    Action, Call, Content, Context, Credential, DEFAULT_TENANT, Origin, Party, Phase, Question,
    Resource, SessionRef, Usage,
};
use crate::decide::{Answer, DecideError, Detail, Hints, Outcome, Settle};
use crate::decision::{
    Approval, BundleRef, Decision, Effect, Finding, Labels, LimitState, Obligation, Reason,
};
use crate::json::Open;
use crate::{pb, reason};

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Reason id.
    pub id: &'static str,
    /// What is wrong and where.
    pub message: String,
}

type Result<T> = std::result::Result<T, WireError>;

fn invalid(message: String) -> WireError {
    WireError { id: reason::CALL_INVALID, message }
}

/// Reads a name of a closed set through its serde names, so that wire and JSON
/// can never differ.
fn closed<T: DeserializeOwned>(field: &str, name: &str) -> Result<T> {
    let value = serde_json::Value::String(name.to_owned());
    serde_json::from_value(value).map_err(|_| invalid(format!("`{name}` is not a known {field}")))
}

fn open(field: &str, bytes: &[u8]) -> Result<Open> {
    if bytes.is_empty() {
        return Ok(Open::default());
    }
    let open = Open::parse(bytes).map_err(|error| WireError {
        id: error.reason_id(),
        message: format!("{field}: {error}"),
    })?;
    if open.node().is_object() {
        Ok(open)
    } else {
        Err(invalid(format!("{field} must be an object")))
    }
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

// === call ===

/// Protobuf to call.
///
/// # Errors
/// [`WireError`] for facts, unknown names and open objects that are not strict JSON.
pub fn call_from_pb(call: pb::Call) -> Result<Call> {
    if !call.facts.is_empty() {
        return Err(WireError {
            id: reason::FACT_IN_CALL,
            message: "the call carries facts: only the decision point states facts".to_owned(),
        });
    }
    let context = call.context.unwrap_or_default();
    Ok(Call {
        phase: phase_from_pb(call.phase)?,
        tenant: present(&call.tenant).unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        questions: questions_from_pb(&call.questions)?,
        subject: call.subject.map(party_from_pb).transpose()?,
        agent: call.agent.map(party_from_pb).transpose()?,
        delegation: call.delegation.into_iter().map(party_from_pb).collect::<Result<_>>()?,
        action: Action { name: call.action },
        credential: call
            .credential
            .map(|c| {
                let kind = closed("credential kind", &c.kind)?;
                Ok(Credential { kind, id: c.id, issuer: c.issuer })
            })
            .transpose()?,
        request_call_id: present(&call.request_call_id),
        executed: call.executed,
        resource: call
            .resource
            .map(|r| Ok(Resource { kind: closed("resource type", &r.r#type)?, id: r.id }))
            .transpose()?,
        context: Context {
            args: open("context.args", &context.args)?,
            source_ip: context.source_ip,
            trace_id: context.trace_id,
            protocol: context.protocol,
        },
        content: call.content.into_iter().map(content_from_pb).collect::<Result<_>>()?,
        session: present(&call.session_handle).map(|handle| SessionRef { handle }),
        usage: call.usage.map(usage_from_pb).unwrap_or_default(),
        call_id: call.call_id,
    })
}

/// Call to protobuf.
#[must_use]
pub fn call_to_pb(call: &Call) -> pb::Call {
    pb::Call {
        call_id: call.call_id.clone(),
        phase: phase_to_pb(call.phase) as i32,
        tenant: call.tenant.clone(),
        questions: call.questions.iter().map(|q| question_to_pb(*q) as i32).collect(),
        subject: call.subject.as_ref().map(party_to_pb),
        agent: call.agent.as_ref().map(party_to_pb),
        delegation: call.delegation.iter().map(party_to_pb).collect(),
        action: call.action.name.clone(),
        credential: call.credential.as_ref().map(|c| pb::Credential {
            kind: name_of(&c.kind),
            id: c.id.clone(),
            issuer: c.issuer.clone(),
        }),
        request_call_id: call.request_call_id.clone().unwrap_or_default(),
        executed: call.executed,
        resource: call
            .resource
            .as_ref()
            .map(|r| pb::Resource { r#type: r.kind.as_str().to_owned(), id: r.id.clone() }),
        context: Some(pb::Context {
            args: open_to_pb(&call.context.args),
            source_ip: call.context.source_ip.clone(),
            trace_id: call.context.trace_id.clone(),
            protocol: call.context.protocol.clone(),
        }),
        content: call.content.iter().map(content_to_pb).collect(),
        session_handle: call.session.as_ref().map(|s| s.handle.clone()).unwrap_or_default(),
        usage: Some(usage_to_pb(call.usage)),
        facts: bytes::Bytes::new(),
    }
}

fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        // An empty name is in no closed set, so the reader refuses it.
        _ => String::new(),
    }
}

fn open_to_pb(open: &Open) -> bytes::Bytes {
    if open.is_empty_object() {
        bytes::Bytes::new()
    } else {
        bytes::Bytes::copy_from_slice(open.text().as_bytes())
    }
}

fn party_from_pb(party: pb::Party) -> Result<Party> {
    Ok(Party { kind: party.r#type, id: party.id, claims: open("claims", &party.claims)? })
}

fn party_to_pb(party: &Party) -> pb::Party {
    pb::Party {
        r#type: party.kind.clone(),
        id: party.id.clone(),
        claims: open_to_pb(&party.claims),
    }
}

fn content_from_pb(content: pb::Content) -> Result<Content> {
    Ok(Content {
        origin: closed::<Origin>("content origin", &content.origin)?,
        pointer: content.pointer,
        media: content.media,
        text: content.text,
    })
}

fn content_to_pb(content: &Content) -> pb::Content {
    pb::Content {
        origin: content.origin.as_str().to_owned(),
        pointer: content.pointer.clone(),
        media: content.media.clone(),
        text: content.text.clone(),
    }
}

fn usage_from_pb(usage: pb::Usage) -> Usage {
    Usage {
        input_tokens: usage.input_tokens,
        max_output_tokens: usage.max_output_tokens,
        cost_usd_micros: usage.cost_usd_micros,
    }
}

fn usage_to_pb(usage: Usage) -> pb::Usage {
    pb::Usage {
        input_tokens: usage.input_tokens,
        max_output_tokens: usage.max_output_tokens,
        cost_usd_micros: usage.cost_usd_micros,
    }
}

fn phase_from_pb(phase: i32) -> Result<Phase> {
    match pb::Phase::try_from(phase) {
        Ok(pb::Phase::Request) => Ok(Phase::Request),
        Ok(pb::Phase::List) => Ok(Phase::List),
        Ok(pb::Phase::Response) => Ok(Phase::Response),
        _ => Err(invalid(format!("phase {phase} is not known"))),
    }
}

fn phase_to_pb(phase: Phase) -> pb::Phase {
    match phase {
        Phase::Request => pb::Phase::Request,
        Phase::List => pb::Phase::List,
        Phase::Response => pb::Phase::Response,
    }
}

fn questions_from_pb(questions: &[i32]) -> Result<Vec<Question>> {
    if questions.is_empty() {
        return Ok(Question::ALL.to_vec());
    }
    questions
        .iter()
        .map(|number| match pb::Question::try_from(*number) {
            Ok(pb::Question::Authz) => Ok(Question::Authz),
            Ok(pb::Question::Guardrail) => Ok(Question::Guardrail),
            Ok(pb::Question::Quota) => Ok(Question::Quota),
            _ => Err(invalid(format!("question {number} is not known"))),
        })
        .collect()
}

fn question_to_pb(question: Question) -> pb::Question {
    match question {
        Question::Authz => pb::Question::Authz,
        Question::Guardrail => pb::Question::Guardrail,
        Question::Quota => pb::Question::Quota,
    }
}

// === decision ===

/// Decision to protobuf.
#[must_use]
pub fn decision_to_pb(decision: &Decision) -> pb::Decision {
    pb::Decision {
        decision_id: decision.decision_id.clone(),
        call_id: decision.call_id.clone(),
        effect: match decision.effect {
            Effect::Allow => pb::Effect::Allow,
            Effect::Deny => pb::Effect::Deny,
            Effect::Ask => pb::Effect::Ask,
        } as i32,
        dry_run: decision.dry_run,
        reasons: decision.reasons.iter().map(reason_to_pb).collect(),
        obligations: decision.obligations.iter().map(obligation_to_pb).collect(),
        findings: decision.findings.iter().map(finding_to_pb).collect(),
        limits: decision.limits.iter().map(limit_to_pb).collect(),
        executed: decision.executed,
        approval: decision.approval.as_ref().map(approval_to_pb),
        labels: Some(pb::Labels {
            integrity: name_of(&decision.labels.integrity),
            confidentiality: name_of(&decision.labels.confidentiality),
        }),
        bundle: decision.bundle.as_ref().map(bundle_to_pb),
        request_digest: decision.request_digest.clone(),
    }
}

/// Protobuf to decision.
///
/// # Errors
/// [`WireError`] for a name outside its closed set: the enforcement point denies.
pub fn decision_from_pb(decision: pb::Decision) -> Result<Decision> {
    Ok(Decision {
        effect: match pb::Effect::try_from(decision.effect) {
            Ok(pb::Effect::Allow) => Effect::Allow,
            Ok(pb::Effect::Deny) => Effect::Deny,
            Ok(pb::Effect::Ask) => Effect::Ask,
            _ => return Err(invalid(format!("effect {} is not known", decision.effect))),
        },
        reasons: decision.reasons.into_iter().map(reason_from_pb).collect(),
        obligations: decision
            .obligations
            .into_iter()
            .map(obligation_from_pb)
            .collect::<Result<_>>()?,
        findings: decision.findings.into_iter().map(finding_from_pb).collect::<Result<_>>()?,
        limits: decision.limits.into_iter().map(limit_from_pb).collect(),
        labels: labels_from_pb(decision.labels)?,
        approval: decision.approval.map(approval_from_pb),
        bundle: decision.bundle.map(bundle_from_pb),
        decision_id: decision.decision_id,
        call_id: decision.call_id,
        dry_run: decision.dry_run,
        executed: decision.executed,
        request_digest: decision.request_digest,
    })
}

/// Reason to protobuf.
#[must_use]
pub fn reason_to_pb(reason: &Reason) -> pb::Reason {
    pb::Reason {
        id: reason.id.clone(),
        message: reason.message.clone(),
        detail: reason.detail.clone(),
        policy: reason.policy.clone(),
    }
}

/// Protobuf to reason.
#[must_use]
pub fn reason_from_pb(reason: pb::Reason) -> Reason {
    Reason { id: reason.id, message: reason.message, detail: reason.detail, policy: reason.policy }
}

fn obligation_to_pb(obligation: &Obligation) -> pb::Obligation {
    pb::Obligation {
        id: obligation.id.clone(),
        r#type: obligation.kind.as_str().to_owned(),
        properties: open_to_pb(&obligation.properties),
    }
}

fn obligation_from_pb(obligation: pb::Obligation) -> Result<Obligation> {
    let kind = closed("obligation type", &obligation.r#type)
        .map_err(|error| WireError { id: reason::OBLIGATION_UNKNOWN, ..error })?;
    let properties = open("obligation properties", &obligation.properties)?;
    Ok(Obligation { id: obligation.id, kind, properties })
}

fn finding_to_pb(finding: &Finding) -> pb::Finding {
    pb::Finding {
        detector: finding.detector.clone(),
        category: finding.category.clone(),
        severity: finding.severity.as_str().to_owned(),
        score: finding.score,
        content: finding.content,
        start: finding.start,
        end: finding.end,
    }
}

fn finding_from_pb(finding: pb::Finding) -> Result<Finding> {
    Ok(Finding {
        severity: closed("severity", &finding.severity)?,
        detector: finding.detector,
        category: finding.category,
        score: finding.score,
        content: finding.content,
        start: finding.start,
        end: finding.end,
    })
}

fn limit_to_pb(limit: &LimitState) -> pb::LimitState {
    pb::LimitState {
        id: limit.id.clone(),
        reserved: limit.reserved,
        remaining: limit.remaining,
        reset_at: limit.reset_at.clone(),
        retry_after_ms: limit.retry_after_ms,
    }
}

fn limit_from_pb(limit: pb::LimitState) -> LimitState {
    LimitState {
        id: limit.id,
        reserved: limit.reserved,
        remaining: limit.remaining,
        reset_at: limit.reset_at,
        retry_after_ms: limit.retry_after_ms,
    }
}

fn labels_from_pb(labels: Option<pb::Labels>) -> Result<Labels> {
    let Some(labels) = labels else { return Ok(Labels::default()) };
    Ok(Labels {
        integrity: closed("integrity label", &labels.integrity)?,
        confidentiality: closed("confidentiality label", &labels.confidentiality)?,
    })
}

/// Approval to protobuf.
#[must_use]
pub fn approval_to_pb(approval: &Approval) -> pb::Approval {
    pb::Approval {
        id: approval.id.clone(),
        expires: approval.expires.clone(),
        approvers: approval.approvers.clone(),
        count: approval.count,
    }
}

/// Protobuf to approval.
#[must_use]
pub fn approval_from_pb(approval: pb::Approval) -> Approval {
    Approval {
        id: approval.id,
        expires: approval.expires,
        approvers: approval.approvers,
        count: approval.count,
    }
}

/// Bundle reference to protobuf.
#[must_use]
pub fn bundle_to_pb(bundle: &BundleRef) -> pb::BundleRef {
    pb::BundleRef {
        name: bundle.name.clone(),
        revision: bundle.revision.clone(),
        version: bundle.version,
        digest: bundle.digest.clone(),
    }
}

fn bundle_from_pb(bundle: pb::BundleRef) -> BundleRef {
    BundleRef {
        name: bundle.name,
        revision: bundle.revision,
        version: bundle.version,
        digest: bundle.digest,
    }
}

// === answers and settlements ===

/// Answer to protobuf.
#[must_use]
pub fn answer_to_pb(answer: &Answer) -> pb::DecideResponse {
    pb::DecideResponse {
        call_id: answer.decision.call_id.clone(),
        decision: Some(decision_to_pb(&answer.decision)),
        hints: Some(pb::Hints {
            effect: answer.hints.effect.as_str().to_owned(),
            response_check: name_of(&answer.hints.response_check),
            session_handle: answer.hints.session_handle.clone().unwrap_or_default(),
            session_id: answer.hints.session_id.clone().unwrap_or_default(),
            agents: answer.hints.agents.clone(),
            quotas: answer.hints.quotas.iter().map(quota::to_pb).collect(),
        }),
        error: None,
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
        session_handle: present(&hints.session_handle),
        session_id: present(&hints.session_id),
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
