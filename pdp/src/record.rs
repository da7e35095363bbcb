//! What of a decision goes into the audit log. The chained line names, counts and
//! digests; whatever a person may have written goes to the erasable side store.

use lictor_audit::typed;
use lictor_audit::{Durability, EntryError, Kind, Typed};
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::replay::How;
use lictor_policy_lib::replay::recorded::{CALL, DECISION, FACTS, WANTS};
use lictor_policy_lib::shadow::{Shadows, Weighed};
use lictor_proto::call::{Call, Credential, Party, Question, Resource};
use lictor_proto::decide::ToolEffect;
use lictor_proto::decision::{BundleRef, Decision, Effect, Finding, Labels, LimitState};
use lictor_proto::facts::Facts;
use serde::Serialize;

use crate::config::DurabilityRule;

/// One decision with everything it was made from.
pub struct Recorded<'a> {
    /// Who asked.
    pub peer: &'a str,
    /// The call, its agents under their registry ids.
    pub call: &'a Call,
    /// The call as it came, whose digest the decision has.
    pub received: &'a Call,
    /// What was decided.
    pub decision: &'a Decision,
    /// What policy said.
    pub verdict: &'a Verdict,
    /// What was known.
    pub facts: &'a Facts,
    /// Opaque id of the session.
    pub session: &'a str,
    /// Whether it was made without the store: nothing of it counts anywhere.
    pub state_unavailable: bool,
    /// How it came about, if no engine ran out of time.
    pub how: How,
    /// Whether the facts tell what the session did.
    pub session_kept: bool,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    call_id: &'a str,
    decision_id: &'a str,
    session: &'a str,
    tenant: &'a str,
    peer: &'a str,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_call_id: Option<&'a str>,
    questions: &'a [Question],
    subject: Option<Who<'a>>,
    agent: Option<Who<'a>>,
    delegation: Vec<Who<'a>>,
    credential: Option<&'a Credential>,
    action: &'a str,
    resource: Option<&'a Resource>,
    protocol: &'a str,
    effect: Effect,
    reasons: Vec<Why<'a>>,
    policies: Vec<&'a str>,
    engines: &'a [&'static str],
    obligations: Vec<&'a str>,
    findings: &'a [Finding],
    limits: &'a [LimitState],
    approval: Option<&'a str>,
    labels: Labels,
    executed: bool,
    shadows: Vec<Weighed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadows_together: Option<Effect>,
    errors: Vec<Why<'a>>,
    bundle: Option<&'a BundleRef>,
    request_digest: &'a str,
    args_digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    made: How,
    session_kept: bool,
    duration_us: u64,
}

impl typed::Body for Body<'_> {}

#[derive(Serialize)]
struct Who<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    /// What the credential called it, where that is not its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    presented_as: Option<&'a str>,
}

#[derive(Serialize)]
struct Why<'a> {
    id: &'a str,
    policy: &'a str,
}

fn who<'a>(party: &'a Party, received: Option<&'a Party>) -> Who<'a> {
    let presented = received.map(|received| received.id.as_str());
    let presented_as = presented.filter(|presented| *presented != party.id);
    Who { kind: &party.kind, id: &party.id, presented_as }
}

fn whoever<'a>(party: &'a Option<Party>, received: &'a Option<Party>) -> Option<Who<'a>> {
    party.as_ref().map(|party| who(party, received.as_ref()))
}

/// The record of a decision. Replay reads the call, the facts as they were before the detectors
/// ran, the decision and the limits that policy wanted back from the side store.
///
/// # Errors
/// [`EntryError`] if it cannot be written as JSON.
pub fn decision(recorded: &Recorded<'_>, now_ms: i64) -> Result<Typed, EntryError> {
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|error| EntryError::Body(error.to_string()))
    };
    let entry = Typed::new(Kind::Decision, now_ms, &body(recorded))?
        .with(CALL, recorded.received.to_json())
        .with(FACTS, json(serde_json::to_string(recorded.facts))?)
        .with(DECISION, recorded.decision.to_json());
    if recorded.verdict.limits.is_empty() {
        return Ok(entry);
    }
    // A key may hold what a caller wrote.
    Ok(entry.with(WANTS, json(serde_json::to_string(&recorded.verdict.limits))?))
}

fn body<'a>(recorded: &Recorded<'a>) -> Body<'a> {
    let Recorded { call, received, decision, verdict, .. } = *recorded;
    let mut came = received.delegation.iter();
    // Those of a call that is asked again are in its first record.
    let shadows = match recorded.how {
        How::Repeated => Shadows::default(),
        _ => verdict.shadows.against(decision.effect),
    };
    Body {
        call_id: &call.call_id,
        decision_id: &decision.decision_id,
        session: recorded.session,
        tenant: &call.tenant,
        peer: recorded.peer,
        phase: call.phase.as_str(),
        request_call_id: call.request_call_id.as_deref(),
        questions: &call.questions,
        subject: whoever(&call.subject, &received.subject),
        agent: whoever(&call.agent, &received.agent),
        delegation: call.delegation.iter().map(|actor| who(actor, came.next())).collect(),
        credential: call.credential.as_ref(),
        action: &call.action.name,
        resource: call.resource.as_ref(),
        protocol: &call.context.protocol,
        effect: decision.effect,
        reasons: decision.reasons.iter().map(|r| Why { id: &r.id, policy: &r.policy }).collect(),
        policies: verdict.permits.iter().map(|fired| fired.policy.as_str()).collect(),
        engines: &verdict.engines,
        obligations: decision.obligations.iter().map(|o| o.id.as_str()).collect(),
        findings: &decision.findings,
        limits: &decision.limits,
        approval: decision.approval.as_ref().map(|approval| approval.id.as_str()),
        labels: decision.labels,
        executed: decision.executed,
        shadows: shadows.rules,
        shadows_together: shadows.together,
        errors: verdict.errors.iter().map(|e| Why { id: e.id, policy: &e.policy }).collect(),
        bundle: decision.bundle.as_ref(),
        request_digest: &decision.request_digest,
        args_digest: call.args_digest(),
        state: recorded.state_unavailable.then_some("unavailable"),
        made: recorded.how.with(&verdict.errors),
        session_kept: recorded.session_kept,
        duration_us: recorded.duration_us,
    }
}

/// How safe the record must be before the decision is released. Only what is
/// allowed can have an effect, so denials are bounded.
#[must_use]
pub fn durability(rule: DurabilityRule, tool: ToolEffect, effect: Effect) -> Durability {
    rule.of(effect == Effect::Allow && tool != ToolEffect::None)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod made_again;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_effect_is_on_disk_first() {
        let by_effect = |tool, effect| durability(DurabilityRule::ByEffect, tool, effect);
        assert_eq!(by_effect(ToolEffect::Mutate, Effect::Allow), Durability::Sync);
        assert_eq!(by_effect(ToolEffect::None, Effect::Allow), Durability::Bounded);
        assert_eq!(by_effect(ToolEffect::Exec, Effect::Deny), Durability::Bounded);
        // What is not known is taken for egress.
        assert_eq!(by_effect(ToolEffect::default(), Effect::Allow), Durability::Sync);
    }
}
