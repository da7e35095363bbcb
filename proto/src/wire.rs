//! The only converter between protobuf and Lictor JSON's types.
//!
//! Closed sets are checked here: a name or number that the domain types do not
//! know is refused, never read as a default.

mod answer;
mod approval;
mod name;
mod quota;
mod revocation;

pub use answer::{
    answer_from_pb, answer_into_pb, answer_to_pb, error_to_pb, settle_from_pb, settle_to_pb,
};
pub use approval::approval_record_to_json;
use name::{closed, name_of};
pub use revocation::{
    revocation_from_pb, revocation_to_pb, revocations_from_pb, revocations_to_pb,
};

use crate::call::{
    Action, Call, Content, Context, Credential, DEFAULT_TENANT, Origin, Party, Phase, Question,
    Resource, SessionRef, Usage,
};
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

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
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
        tenant: present(call.tenant).unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
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
        request_call_id: present(call.request_call_id),
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
        session: present(call.session_handle).map(|handle| SessionRef { handle }),
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
            kind: c.kind.as_str().to_owned(),
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
    decision_into_pb(decision.clone())
}

/// Decision to protobuf, its texts with it.
fn decision_into_pb(decision: Decision) -> pb::Decision {
    pb::Decision {
        effect: match decision.effect {
            Effect::Allow => pb::Effect::Allow,
            Effect::Deny => pb::Effect::Deny,
            Effect::Ask => pb::Effect::Ask,
        } as i32,
        reasons: decision.reasons.into_iter().map(reason_into_pb).collect(),
        obligations: decision.obligations.into_iter().map(obligation_into_pb).collect(),
        findings: decision.findings.into_iter().map(finding_into_pb).collect(),
        limits: decision.limits.into_iter().map(limit_into_pb).collect(),
        approval: decision.approval.map(approval_into_pb),
        labels: Some(pb::Labels {
            integrity: name_of(&decision.labels.integrity),
            confidentiality: name_of(&decision.labels.confidentiality),
        }),
        bundle: decision.bundle.map(bundle_into_pb),
        decision_id: decision.decision_id,
        call_id: decision.call_id,
        dry_run: decision.dry_run,
        executed: decision.executed,
        request_digest: decision.request_digest,
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
    reason_into_pb(reason.clone())
}

fn reason_into_pb(reason: Reason) -> pb::Reason {
    let Reason { id, message, detail, policy } = reason;
    pb::Reason { id, message, detail, policy }
}

/// Protobuf to reason.
#[must_use]
pub fn reason_from_pb(reason: pb::Reason) -> Reason {
    Reason { id: reason.id, message: reason.message, detail: reason.detail, policy: reason.policy }
}

fn obligation_into_pb(obligation: Obligation) -> pb::Obligation {
    pb::Obligation {
        r#type: obligation.kind.as_str().to_owned(),
        properties: open_to_pb(&obligation.properties),
        id: obligation.id,
    }
}

fn obligation_from_pb(obligation: pb::Obligation) -> Result<Obligation> {
    let kind = closed("obligation type", &obligation.r#type)
        .map_err(|error| WireError { id: reason::OBLIGATION_UNKNOWN, ..error })?;
    let properties = open("obligation properties", &obligation.properties)?;
    Ok(Obligation { id: obligation.id, kind, properties })
}

fn finding_into_pb(finding: Finding) -> pb::Finding {
    pb::Finding {
        severity: finding.severity.as_str().to_owned(),
        detector: finding.detector,
        category: finding.category,
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

fn limit_into_pb(limit: LimitState) -> pb::LimitState {
    let LimitState { id, reserved, remaining, reset_at, retry_after_ms } = limit;
    pb::LimitState { id, reserved, remaining, reset_at, retry_after_ms }
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
    approval_into_pb(approval.clone())
}

fn approval_into_pb(approval: Approval) -> pb::Approval {
    let Approval { id, expires, approvers, count } = approval;
    pb::Approval { id, expires, approvers, count }
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
    bundle_into_pb(bundle.clone())
}

fn bundle_into_pb(bundle: BundleRef) -> pb::BundleRef {
    let BundleRef { name, revision, version, digest } = bundle;
    pb::BundleRef { name, revision, version, digest }
}

fn bundle_from_pb(bundle: pb::BundleRef) -> BundleRef {
    BundleRef {
        name: bundle.name,
        revision: bundle.revision,
        version: bundle.version,
        digest: bundle.digest,
    }
}
