//! What of the shadow bundle goes into the audit log, kind `shadow`. Names and ids only: a flip
//! points to the record of the decision, which holds everything else.

use lictor_audit::{Entry, Kind};
use lictor_policy_lib::bundle::Trust;
use lictor_policy_lib::load::LoadedBundle;
use lictor_proto::decision::{BundleRef, Decision, Effect, Reason};
use serde::Serialize;
use serde_json::{Value, json};

use super::compare::Flip;
use crate::live::{Origin, Refusal, RefusedBundle};

#[derive(Serialize)]
struct Body<'a> {
    event: &'static str,
    change: &'static str,
    call_id: &'a str,
    decision_id: &'a str,
    tenant: &'a str,
    phase: &'static str,
    agent: Option<Value>,
    action: &'a str,
    resource: Option<&'a lictor_proto::call::Resource>,
    live: Side<'a>,
    shadow: Side<'a>,
    /// Limits that the shadow bundle wants and that nobody asked the store about.
    limits_unknown: &'a [String],
}

#[derive(Serialize)]
struct Side<'a> {
    effect: Effect,
    reasons: Vec<Why<'a>>,
    obligations: Vec<&'a str>,
    errors: Vec<Why<'a>>,
    bundle: Option<&'a BundleRef>,
}

#[derive(Serialize)]
struct Why<'a> {
    id: &'a str,
    policy: &'a str,
}

/// A decision that the shadow bundle would have turned around.
pub(super) fn flip(flip: &Flip, now_ms: i64) -> Entry {
    let (call, decision) = (&flip.recorded.call, &flip.recorded.decision);
    let body = Body {
        event: "flip",
        change: flip.outcome.as_str(),
        call_id: &call.call_id,
        decision_id: &decision.decision_id,
        tenant: &call.tenant,
        phase: call.phase.as_str(),
        agent: flip.agent.as_ref().map(|id| json!({"type": "agent", "id": id})),
        action: &call.action.name,
        resource: call.resource.as_ref(),
        live: side(decision, &flip.live.errors),
        shadow: side(&flip.shadow.decision, &flip.shadow.verdict.errors),
        limits_unknown: &flip.shadow.limits_unknown,
    };
    let text = serde_json::to_string(&body).unwrap_or_else(|_| "{}".to_owned());
    Entry::new(Kind::Shadow, now_ms, text)
}

fn side<'a>(
    decision: &'a Decision,
    errors: &'a [lictor_policy_lib::engine::EngineError],
) -> Side<'a> {
    let why = |reason: &'a Reason| Why { id: &reason.id, policy: &reason.policy };
    Side {
        effect: decision.effect,
        reasons: decision.reasons.iter().map(why).collect(),
        obligations: decision.obligations.iter().map(|duty| duty.id.as_str()).collect(),
        errors: errors.iter().map(|error| Why { id: error.id, policy: &error.policy }).collect(),
        bundle: decision.bundle.as_ref(),
    }
}

/// Decisions are compared with this bundle from now on.
pub(super) fn live(bundle: &LoadedBundle, origin: &Origin, now_ms: i64) -> Entry {
    let trust = match bundle.verified().trust() {
        Trust::Signed { kids, .. } => json!({ "signed_by": kids }),
        Trust::Unsigned => json!("unsigned"),
    };
    let body = json!({
        "event": "bundle", "outcome": "live", "from": origin.from,
        "bundle": bundle.reference(), "trust": trust,
    });
    Entry::new(Kind::Shadow, now_ms, body.to_string())
}

/// A candidate was refused.
pub(super) fn refused(refused: &RefusedBundle) -> Entry {
    let RefusedBundle { why, version, digest } = refused;
    let body = json!({
        "event": "bundle", "outcome": "refused", "reason": why.id,
        "version": version, "digest": digest,
    });
    with_message(why, &body)
}

/// The source does not answer.
pub(super) fn unreachable(why: &Refusal) -> Entry {
    with_message(why, &json!({"event": "bundle", "outcome": "unreachable", "reason": why.id}))
}

/// Messages may quote what somebody wrote.
fn with_message(why: &Refusal, body: &Value) -> Entry {
    let mut entry = Entry::new(Kind::Shadow, why.at_ms, body.to_string());
    entry.sensitive.push(("/message".to_owned(), json!(why.message).to_string()));
    entry
}
