//! What the engines said about one call, as JSON: for `decide --explain` and failed tests.

use lictor_policy_lib::evaluate::Verdict;
use lictor_proto::decision::Effect;
use serde_json::{Value, json};

/// Everything in `verdict` that a decision does not show.
pub(crate) fn explanation(verdict: &Verdict) -> Value {
    let permits: Vec<Value> = verdict
        .permits
        .iter()
        .map(|fired| json!({"policy": fired.policy, "id": fired.id}))
        .collect();
    let asks: Vec<Value> = verdict
        .asks
        .iter()
        .map(|ask| json!({"reason": ask.reason, "approvers": ask.approvers, "count": ask.count, "expires_s": ask.expires_s}))
        .collect();
    let limits: Vec<Value> = verdict
        .limits
        .iter()
        .map(
            |limit| json!({"id": limit.id, "key": limit.key, "max": limit.max, "cost": limit.cost}),
        )
        .collect();
    let errors: Vec<Value> = verdict
        .errors
        .iter()
        .map(|e| json!({"id": e.id, "fatal": e.fatal, "message": e.message, "policy": e.policy}))
        .collect();
    let shadows: Vec<Value> = verdict
        .shadows
        .iter()
        .map(|shadow| json!({"rule": shadow.rule, "id": shadow.id, "policy": shadow.policy}))
        .collect();
    json!({
        "engines": verdict.engines,
        "permits": permits,
        "denials": if verdict.effect == Effect::Deny { verdict.reasons.as_slice() } else { &[] },
        "asks": asks,
        "approvals_used": verdict.approvals_used,
        "limits": limits,
        "marks": verdict.marks,
        "errors": errors,
        "shadows": shadows,
    })
}
