//! What a caller is told when a call does not go through: one type, one status table.
//!
//! `Reason.detail` and `Reason.policy` are for the operator; nothing here carries them.

use lictor_proto::call::Call;
use lictor_proto::decision::{Approval, Decision, Effect, LimitState, ObligationKind, Reason};
use lictor_proto::reason;

use crate::challenge::Challenge;
use crate::rate_limit::RateLimit;

/// What sort of refusal, which decides the protocol's own error shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// It must not be done; asking again does not help.
    Deny,
    /// A person must agree first.
    Ask,
    /// The caller is not known.
    Unauthenticated,
    /// Something that is needed is not there; asking again may help.
    Unavailable,
}

/// A reason as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Stable id, `[a-z0-9_.]+`.
    pub id: String,
    /// For the caller.
    pub message: String,
}

/// A call that does not go through, or whose result is withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    kind: RefusalKind,
    status: u16,
    reasons: Vec<Told>,
    call_id: String,
    decision_id: String,
    retry_after_ms: u64,
    limits: Vec<LimitState>,
    rate_limit: RateLimit,
    approval: Option<Approval>,
    scopes: Vec<String>,
    executed: bool,
    challenge: Challenge,
}

/// The status where no row of [`STATUS`] names the id: policy said no.
const DEFAULT_STATUS: (RefusalKind, u16) = (RefusalKind::Deny, 403);
/// The status of a refusal after the effect: clients repeat 408, 409, 429 and 5xx by themselves,
/// and this call must not be repeated.
const EXECUTED_STATUS: u16 = 403;

/// Reason id to kind and HTTP status. Every id that Lictor makes has a row; ids of policies take
/// [`DEFAULT_STATUS`], ids of limits [`LIMIT_STATUS`].
const STATUS: &[(&str, RefusalKind, u16)] = &[
    (reason::FACT_IN_CALL, RefusalKind::Deny, 400),
    (reason::CALL_INVALID, RefusalKind::Deny, 400),
    (reason::CALL_ID_REUSED, RefusalKind::Deny, 409),
    (reason::CALL_ABANDONED, RefusalKind::Unavailable, 503),
    (reason::POLICY_ERROR, RefusalKind::Deny, 403),
    (reason::RESOURCE_UNKNOWN, RefusalKind::Deny, 403),
    (reason::AGENT_UNKNOWN, RefusalKind::Deny, 403),
    (reason::AGENT_INACTIVE, RefusalKind::Deny, 403),
    (reason::AGENT_ISSUER_REFUSED, RefusalKind::Deny, 403),
    (reason::AGENT_CREDENTIAL_REFUSED, RefusalKind::Deny, 403),
    (reason::DELEGATION_REFUSED, RefusalKind::Deny, 403),
    (reason::DELEGATION_TOO_DEEP, RefusalKind::Deny, 403),
    (reason::DELEGATION_LOOP, RefusalKind::Deny, 403),
    (reason::DELEGATION_NOT_TRANSFERABLE, RefusalKind::Deny, 403),
    (reason::NO_PERMIT, RefusalKind::Deny, 403),
    (reason::PRICE_UNKNOWN, RefusalKind::Deny, 403),
    (reason::NO_POLICIES, RefusalKind::Deny, 403),
    (reason::ARGS_INVALID, RefusalKind::Deny, 400),
    (reason::ARGS_UNREPRESENTABLE, RefusalKind::Deny, 400),
    (reason::OBLIGATION_CONFLICT, RefusalKind::Deny, 403),
    (reason::OBLIGATION_UNKNOWN, RefusalKind::Deny, 403),
    (reason::OBLIGATION_FAILED, RefusalKind::Deny, 403),
    (reason::SCHEMA_MISSING, RefusalKind::Deny, 403),
    (reason::BUNDLE_MISSING, RefusalKind::Unavailable, 503),
    (reason::BUNDLE_EXPIRED, RefusalKind::Unavailable, 503),
    (reason::BUNDLE_STALE, RefusalKind::Unavailable, 503),
    (reason::SESSION_CONFLICT, RefusalKind::Unavailable, 503),
    (reason::SESSION_UNKNOWN, RefusalKind::Deny, 403),
    (reason::STATE_UNAVAILABLE, RefusalKind::Unavailable, 503),
    (reason::PDP_UNAVAILABLE, RefusalKind::Unavailable, 503),
    (reason::OVERLOADED, RefusalKind::Unavailable, 503),
    (reason::AUDIT_UNAVAILABLE, RefusalKind::Unavailable, 503),
    (reason::RESULT_WITHHELD, RefusalKind::Deny, EXECUTED_STATUS),
    (reason::METHOD_UNKNOWN, RefusalKind::Deny, 404),
    (reason::BATCH_REFUSED, RefusalKind::Deny, 400),
    (reason::BODY_TOO_LARGE, RefusalKind::Deny, 413),
    (reason::BODY_INVALID, RefusalKind::Deny, 400),
    (reason::HEADER_MISMATCH, RefusalKind::Deny, 400),
    (reason::UPSTREAM_UNKNOWN, RefusalKind::Deny, 404),
    (reason::UPSTREAM_UNAVAILABLE, RefusalKind::Unavailable, 502),
    (reason::UPSTREAM_CREDENTIAL_UNAVAILABLE, RefusalKind::Unavailable, 502),
    (reason::ROLE_MISSING, RefusalKind::Deny, 403),
    (reason::PEP_NOT_REGISTERED_FOR, RefusalKind::Deny, 403),
    (reason::DEADLINE_PASSED, RefusalKind::Unavailable, 503),
    (reason::AGENT_REVOKED, RefusalKind::Deny, 403),
    (reason::SUBJECT_REVOKED, RefusalKind::Deny, 403),
    (reason::CREDENTIAL_REVOKED, RefusalKind::Deny, 403),
    (reason::SESSION_REVOKED, RefusalKind::Deny, 403),
    (reason::TOOL_REVOKED, RefusalKind::Deny, 403),
    (reason::MODEL_REVOKED, RefusalKind::Deny, 403),
    (reason::SERVER_REVOKED, RefusalKind::Deny, 403),
    (reason::REVOCATION_STALE, RefusalKind::Unavailable, 503),
    ("duplicate_key", RefusalKind::Deny, 400),
    ("lone_surrogate", RefusalKind::Deny, 400),
    ("number_inexact", RefusalKind::Deny, 400),
    ("too_deep", RefusalKind::Deny, 400),
];
/// The status of `limit.<id>`.
const LIMIT_STATUS: (RefusalKind, u16) = (RefusalKind::Deny, 429);

fn status_of(id: &str) -> (RefusalKind, u16) {
    if id.starts_with(reason::LIMIT_PREFIX) {
        return LIMIT_STATUS;
    }
    let row = STATUS.iter().find(|(known, _, _)| *known == id);
    row.map_or(DEFAULT_STATUS, |(_, kind, status)| (*kind, *status))
}

impl Refusal {
    /// A refusal that the enforcement point makes by itself. Kind and status follow from `id`.
    #[must_use]
    pub fn new(id: &str, message: impl Into<String>) -> Self {
        let (kind, status) = status_of(id);
        Self(Box::new(Parts {
            kind,
            status,
            reasons: vec![Told { id: id.to_owned(), message: message.into() }],
            call_id: String::new(),
            decision_id: String::new(),
            retry_after_ms: 0,
            limits: Vec::new(),
            rate_limit: RateLimit::default(),
            approval: None,
            scopes: Vec::new(),
            executed: false,
            challenge: Challenge::default(),
        }))
    }

    /// The caller is not who it must be: 401, whatever the id.
    #[must_use]
    pub fn unauthenticated(id: &str, message: impl Into<String>) -> Self {
        let mut refusal = Self::new(id, message);
        refusal.0.kind = RefusalKind::Unauthenticated;
        refusal.0.status = 401;
        refusal
    }

    /// The same, asking for something else than another token.
    #[must_use]
    pub fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.0.challenge = challenge;
        self
    }

    /// What a decision that is not `allow` becomes.
    #[must_use]
    pub fn of_decision(decision: &Decision) -> Self {
        let told =
            |reason: &Reason| Told { id: reason.id.clone(), message: reason.message.clone() };
        let mut reasons: Vec<Told> = decision.reasons.iter().map(told).collect();
        if reasons.is_empty() {
            reasons.push(Told {
                id: reason::NO_PERMIT.to_owned(),
                message: "no policy permits this call".to_owned(),
            });
        }
        let (kind, status) = match decision.effect {
            Effect::Ask => (RefusalKind::Ask, 403),
            // The gravest reason speaks for all: a policy's denial hides a missing part.
            Effect::Allow | Effect::Deny => reasons
                .iter()
                .map(|told| status_of(&told.id))
                .find(|row| *row == DEFAULT_STATUS)
                .or_else(|| reasons.first().map(|told| status_of(&told.id)))
                .unwrap_or(DEFAULT_STATUS),
        };
        Self(Box::new(Parts {
            kind,
            status,
            reasons,
            call_id: decision.call_id.clone(),
            decision_id: decision.decision_id.clone(),
            retry_after_ms: decision.retry_after_ms(),
            limits: decision.limits.clone(),
            rate_limit: RateLimit::default(),
            approval: decision.approval.clone(),
            scopes: step_up_scopes(decision),
            executed: decision.executed,
            challenge: Challenge::default(),
        }))
    }

    /// The same with what is told of its limits.
    #[must_use]
    pub fn with_rate_limit(mut self, rate_limit: RateLimit) -> Self {
        self.0.rate_limit = rate_limit;
        self
    }

    /// What is told of its limits.
    #[must_use]
    pub fn rate_limit(&self) -> &RateLimit {
        &self.0.rate_limit
    }

    /// Names the call and, where there is one, its decision.
    #[must_use]
    pub fn of_call(mut self, call: &Call, decision_id: &str) -> Self {
        self.0.call_id = call.call_id.clone();
        if !decision_id.is_empty() {
            self.0.decision_id = decision_id.to_owned();
        }
        self
    }

    /// Names the call by its id.
    #[must_use]
    pub fn named(mut self, call_id: &str) -> Self {
        self.0.call_id = call_id.to_owned();
        self
    }

    /// The same after the effect: `result_withheld` comes first, the status is one that clients do
    /// not repeat, and `executed` says why.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        if self.0.reasons.first().is_none_or(|told| told.id != reason::RESULT_WITHHELD) {
            self.0.reasons.insert(
                0,
                Told {
                    id: reason::RESULT_WITHHELD.to_owned(),
                    message: "the call was carried out and its result is withheld: \
                              do not repeat it"
                        .to_owned(),
                },
            );
        }
        self.0.kind = RefusalKind::Deny;
        self.0.status = EXECUTED_STATUS;
        self.0.retry_after_ms = 0;
        self.0.executed = true;
        self
    }

    /// What sort of refusal.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        self.0.kind
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Why, never empty, without anything that is for operators only.
    #[must_use]
    pub fn reasons(&self) -> &[Told] {
        &self.0.reasons
    }

    /// The first reason's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.reasons.first().map_or(reason::NO_PERMIT, |told| &told.id)
    }

    /// All messages in one text.
    #[must_use]
    pub fn message(&self) -> String {
        let messages: Vec<&str> = self.0.reasons.iter().map(|told| told.message.as_str()).collect();
        messages.join("; ")
    }

    /// Whether a reason has this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.0.reasons.iter().any(|told| told.id == id)
    }

    /// The call, empty where it was refused before it had a name.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.0.call_id
    }

    /// The decision, empty where none was made.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        &self.0.decision_id
    }

    /// When to ask again, milliseconds; 0 means no advice.
    #[must_use]
    pub fn retry_after_ms(&self) -> u64 {
        self.0.retry_after_ms
    }

    /// The limits that the call drew on.
    #[must_use]
    pub fn limits(&self) -> &[LimitState] {
        &self.0.limits
    }

    /// The approval that is waited for.
    #[must_use]
    pub fn approval(&self) -> Option<&Approval> {
        self.0.approval.as_ref()
    }

    /// Scopes that a stronger token would need (`step_up`).
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// What an unknown caller is asked for.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        &self.0.challenge
    }

    /// Whether the effect has already happened.
    #[must_use]
    pub fn executed(&self) -> bool {
        self.0.executed
    }
}

/// The scopes that `step_up` obligations name: `{"scopes": [..]}` or `{"scope": ".."}`.
fn step_up_scopes(decision: &Decision) -> Vec<String> {
    let mut scopes = Vec::new();
    for obligation in decision.obligations.iter().filter(|o| o.kind == ObligationKind::StepUp) {
        let node = obligation.properties.node();
        let listed = node.get("scopes").map(|n| n.items()).unwrap_or_default();
        let single = node.get("scope").into_iter();
        scopes.extend(listed.iter().chain(single).filter_map(|n| n.as_str()).map(str::to_owned));
    }
    scopes.sort();
    scopes.dedup();
    scopes
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::Open;

    use super::*;

    fn decision(effect: Effect, reasons: Vec<Reason>) -> Decision {
        let mut decision = Decision::denied("d", "c", Reason::new("x", "y"));
        decision.effect = effect;
        decision.reasons = reasons;
        decision
    }

    #[test]
    fn every_reason_of_the_contract_has_a_row() {
        let source = include_str!("../../proto/src/reason.rs");
        let ids = source.lines().filter(|line| line.starts_with("pub const "));
        let mut seen = 0;
        for line in ids {
            let id = line.split('"').nth(1).unwrap();
            let known = id == reason::LIMIT_PREFIX || STATUS.iter().any(|(row, _, _)| *row == id);
            assert!(known, "{id} has no status");
            seen += 1;
        }
        assert!(seen > 30);
    }

    #[test]
    fn the_caller_never_sees_details() {
        let reason = Reason::new("expense.over", "too much").with_detail("SECRET-DETAIL");
        let refusal = Refusal::of_decision(&decision(Effect::Deny, vec![reason]));
        assert_eq!((refusal.kind(), refusal.status()), (RefusalKind::Deny, 403));
        assert!(!format!("{refusal:?}").contains("SECRET-DETAIL"));
        assert_eq!(refusal.message(), "too much");
    }

    #[test]
    fn a_denial_by_policy_outweighs_a_limit() {
        let reasons =
            vec![Reason::new("limit.team", "no room"), Reason::new("mail.external", "not out")];
        assert_eq!(Refusal::of_decision(&decision(Effect::Deny, reasons)).status(), 403);
        let reasons = vec![Reason::new("limit.team", "no room")];
        assert_eq!(Refusal::of_decision(&decision(Effect::Deny, reasons)).status(), 429);
    }

    #[test]
    fn after_the_effect_nothing_invites_a_repeat() {
        let refusal = Refusal::new(reason::AUDIT_UNAVAILABLE, "no audit").after_effect();
        assert_eq!(refusal.status(), 403);
        assert_eq!(refusal.id(), reason::RESULT_WITHHELD);
        assert!(refusal.executed() && refusal.has(reason::AUDIT_UNAVAILABLE));
        assert_eq!(refusal.clone().after_effect(), refusal);
    }

    #[test]
    fn step_up_scopes_are_united() {
        let mut decision = decision(Effect::Deny, vec![Reason::new("need.scope", "more")]);
        for text in [r#"{"scopes":["b","a"]}"#, r#"{"scope":"a"}"#] {
            decision.obligations.push(lictor_proto::decision::Obligation {
                id: "s".into(),
                kind: ObligationKind::StepUp,
                properties: Open::parse(text.as_bytes()).unwrap(),
            });
        }
        assert_eq!(Refusal::of_decision(&decision).scopes(), ["a", "b"]);
    }
}
