//! Verdict and what the state store answered -> decision. DESIGN's steps 6 and 7.
//! Pure over what was stored, so that the same `call_id` concludes the same.

use lictor_proto::call::Call;
use lictor_proto::decision::{Approval, BundleRef, Decision, Effect, Labels, LimitState, Reason};
use lictor_proto::facts::Facts;
use lictor_proto::reason;

use crate::engine::Budget;
use crate::evaluate::{Verdict, complete_facts, evaluate};
use crate::load::LoadedBundle;
use crate::plan::plan;

/// What the state store answered to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitResult {
    /// Everything was reserved and stored.
    Committed {
        /// The limits after the reservation.
        limits: Vec<LimitState>,
        /// The approval that was opened for an `ask`.
        approval: Option<Approval>,
        /// The session's labels now.
        labels: Labels,
    },
    /// Limits lacked room; nothing was reserved.
    Short {
        /// The ids of those that lacked room.
        short: Vec<String>,
        /// All limits of the call, with the time to wait.
        limits: Vec<LimitState>,
    },
    /// Too many others changed the session.
    Conflict,
    /// The store did not answer, and a limit does not say `on_error: allow`.
    Unavailable,
    /// Nothing was asked of the store: a dry run.
    DryRun,
}

/// The names of one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// UUID v7 of the decision.
    pub decision_id: String,
    /// Digest of the call.
    pub request_digest: String,
    /// The bundle that decided; absent if none was live.
    pub bundle: Option<BundleRef>,
}

/// Concludes.
#[must_use]
pub fn conclude(call: &Call, verdict: &Verdict, commit: &CommitResult, ids: &Ids) -> Decision {
    let mut decision = Decision {
        decision_id: ids.decision_id.clone(),
        call_id: call.call_id.clone(),
        effect: verdict.effect,
        dry_run: false,
        reasons: verdict.reasons.clone(),
        obligations: verdict.obligations.clone(),
        findings: verdict.findings.clone(),
        limits: Vec::new(),
        executed: call.executed,
        approval: None,
        labels: verdict.labels,
        bundle: ids.bundle.clone(),
        request_digest: ids.request_digest.clone(),
    };
    match commit {
        CommitResult::Committed { limits, approval, labels } => {
            decision.limits = limits.clone();
            decision.approval = approval.clone();
            decision.labels = *labels;
        }
        CommitResult::Short { short, limits } => {
            decision.limits = limits.clone();
            deny(&mut decision, short_reasons(short, limits));
        }
        CommitResult::Conflict => deny(&mut decision, vec![conflict()]),
        CommitResult::Unavailable => deny(&mut decision, vec![unavailable()]),
        CommitResult::DryRun => decision.dry_run = true,
    }
    decision
}

/// A denial in place of an allow or an ask; its permits' duties fall away.
fn deny(decision: &mut Decision, reasons: Vec<Reason>) {
    if decision.effect == Effect::Deny {
        return;
    }
    decision.effect = Effect::Deny;
    decision.reasons = reasons;
    decision.obligations.clear();
}

fn short_reasons(short: &[String], limits: &[LimitState]) -> Vec<Reason> {
    let wait = |id: &String| limits.iter().filter(|l| l.id == *id).map(|l| l.retry_after_ms).max();
    let mut reasons: Vec<Reason> = short
        .iter()
        .map(|id| {
            let message = match wait(id) {
                Some(ms) if ms > 0 => format!("the limit `{id}` is used up, try again in {ms} ms"),
                _ => format!("the limit `{id}` is used up"),
            };
            Reason::new(&format!("{}{id}", reason::LIMIT_PREFIX), message)
        })
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

fn conflict() -> Reason {
    Reason::new(reason::SESSION_CONFLICT, "other calls of this session came at the same time")
}

fn unavailable() -> Reason {
    Reason::new(reason::STATE_UNAVAILABLE, "limits and sessions cannot be read at the moment")
}

/// A decision without state: `plan`, `evaluate`, `conclude` and nothing else. What
/// `lictor test`, `decide -b` and `replay` run.
#[must_use]
pub fn dry_run(
    bundle: &LoadedBundle,
    call: &Call,
    facts: Facts,
    now_ms: i64,
    budget: Budget,
) -> DryRun {
    let resolved = bundle.resolve(call);
    let mut facts = complete_facts(bundle, &resolved, facts, now_ms);
    let verdict = match plan(bundle, &resolved, facts.time.now_ms) {
        Ok(plan) => evaluate(bundle, &resolved, &plan, &mut facts, budget),
        Err(reason) => Verdict::denied(reason),
    };
    let ids = Ids {
        decision_id: String::new(),
        // As it came: the digest binds the answer to the question.
        request_digest: call.request_digest(),
        bundle: Some(bundle.reference().clone()),
    };
    let decision = conclude(call, &verdict, &CommitResult::DryRun, &ids);
    DryRun { decision, verdict, facts }
}

/// What a dry run shows.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The decision; it has no id of its own and never makes a permit.
    pub decision: Decision,
    /// Everything the engines said, from the same evaluation.
    pub verdict: Verdict,
    /// The completed facts.
    pub facts: Facts,
}
