//! Whether a policy could say anything about an answer: what it did not say about the request, or
//! what has to be said about the answer again.
//!
//! A call comes to its second decision only if the first one allowed it, so no forbid held, and
//! none failed. One that reads nothing that is changed says the same again. What is not seen to be
//! the same here counts as changed, so a mistake costs a decision and never loses one.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Var};

use crate::combine::counts_for_answers;

use super::annotations::Notes;
use super::policy::Kind;
use super::reads::reads_any;

/// Members of the context that are others when an answer is asked about: a call counts in its
/// session, and time goes on.
const CHANGED: [&str; 9] = [
    "executed",
    "finding_categories",
    "finding_severities",
    "findings",
    "phase",
    "provenance",
    "session",
    "signals",
    "time",
];
/// The phase that is looked at.
const RESPONSE: &str = "response";

/// Whether a policy with this condition could say anything about an answer.
pub(super) fn speaks_of_answers(kind: Kind, notes: &Notes, condition: &Expr) -> bool {
    let obliges = notes.obligations.iter().any(|duty| counts_for_answers(duty.kind));
    let speaks = match kind {
        // Nothing is permitted again, and a permit that fails just does not hold.
        Kind::Permit => obliges,
        Kind::Forbid => !is_same(condition),
        Kind::Ask => obliges || !is_same(condition),
    };
    speaks && !is_silent(condition)
}

/// Whether an expression has the value that it had for the request.
fn is_same(expr: &Expr) -> bool {
    !reads_any(expr, &CHANGED)
}

/// Whether an expression does not hold in phase `response`, nor fails there unless it failed for
/// the request. Conditions are looked at from the left, and what is behind one that does not hold
/// is not looked at.
fn is_silent(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Bool(value)) => !value,
        ExprKind::And { left, right } => is_silent(left) || (is_same(left) && is_silent(right)),
        ExprKind::Or { left, right } => is_silent(left) && is_silent(right),
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => is_phase(arg) == Some(RESPONSE),
        ExprKind::BinaryApp { op: BinaryOp::Contains, arg1, arg2 } => {
            let ExprKind::Set(items) = arg1.expr_kind() else { return false };
            let other = |item: &Expr| text_of(item).is_some_and(|text| text != RESPONSE);
            is_the_phase(arg2) && items.iter().all(other)
        }
        _ => is_phase(expr).is_some_and(|phase| phase != RESPONSE),
    }
}

/// The text that an expression compares the phase with, if that is all it does.
fn is_phase(expr: &Expr) -> Option<&str> {
    let ExprKind::BinaryApp { op: BinaryOp::Eq, arg1, arg2 } = expr.expr_kind() else {
        return None;
    };
    match (is_the_phase(arg1), is_the_phase(arg2)) {
        (true, false) => text_of(arg2),
        (false, true) => text_of(arg1),
        _ => None,
    }
}

fn is_the_phase(expr: &Expr) -> bool {
    let ExprKind::GetAttr { expr, attr } = expr.expr_kind() else { return false };
    attr == "phase" && matches!(expr.expr_kind(), ExprKind::Var(Var::Context))
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::decision::{Obligation, ObligationKind};
    use lictor_proto::json::Open;

    use super::*;

    fn says(kind: Kind, obliged: Option<ObligationKind>, condition: &str) -> bool {
        let duty = obliged.map(|kind| Obligation {
            id: "o".to_owned(),
            kind,
            properties: Open::default(),
        });
        let notes = Notes {
            id: "p".to_owned(),
            message: String::new(),
            obligations: duty.into_iter().collect(),
            shadow: false,
            ask: None,
        };
        speaks_of_answers(kind, &notes, &condition.parse().unwrap())
    }

    #[test]
    fn a_forbid_speaks_where_it_reads_what_is_changed() {
        for (condition, speaks) in [
            ("true", false),
            ("context.args.rows > 3 && principal.party == \"third\"", false),
            ("context has subject && context.request.protocol == \"mcp\"", false),
            ("context.session.calls_here > 3", true),
            ("context.time.now_ms > 3", true),
            ("context.findings.contains(\"secret/a\")", true),
            ("context.executed", true),
            ("context == {}", true),
            ("context.args.a == 1 || context.signals.loop > 1", true),
            ("context has provenance", true),
        ] {
            assert_eq!(says(Kind::Forbid, None, condition), speaks, "{condition}");
            assert_eq!(says(Kind::Ask, None, condition), speaks, "{condition}");
            assert!(!says(Kind::Permit, None, condition), "{condition}");
        }
    }

    #[test]
    fn a_condition_on_the_phase_that_comes_in_time_silences_it() {
        for (condition, speaks) in [
            ("context.phase == \"request\" && context.session.calls_here > 3", false),
            ("\"list\" == context.phase && context.session.calls_here > 3", false),
            ("context.phase != \"response\" && context.time.now_ms > 3", false),
            ("[\"request\", \"list\"].contains(context.phase) && context.executed", false),
            ("context.args.a > 1 && (context.phase == \"list\" && context.executed)", false),
            ("(context.args.a > 1 && context.phase == \"list\") && context.executed", false),
            ("context.phase == \"request\" || context.phase == \"list\"", false),
            ("context.phase == \"response\"", true),
            ("context.phase == \"response\" && context.args.a > 1", true),
            ("[\"request\", \"response\"].contains(context.phase) && context.executed", true),
            ("context.phase != \"list\"", true),
            ("!(context.phase == \"request\")", true),
            ("context.phase == \"request\" || context.executed", true),
            // It may fail before the phase is looked at.
            ("context.session.calls_here + 1 > 3 && context.phase == \"request\"", true),
            ("context.phase == context.args.phase && context.executed", true),
        ] {
            assert_eq!(says(Kind::Forbid, None, condition), speaks, "{condition}");
            let masks = Some(ObligationKind::Mask);
            assert_eq!(says(Kind::Permit, masks, condition), speaks, "{condition}");
        }
    }

    #[test]
    fn what_obliges_an_answer_is_said_again() {
        let permit = |kind| says(Kind::Permit, Some(kind), "context.args.a == 1");
        for kind in [
            ObligationKind::Mask,
            ObligationKind::Label,
            ObligationKind::Notify,
            ObligationKind::LogFull,
        ] {
            assert!(permit(kind), "{kind:?}");
            assert!(says(Kind::Ask, Some(kind), "context.args.a == 1"));
            assert!(!says(Kind::Forbid, Some(kind), "context.args.a == 1"), "it would have denied");
        }
        for kind in [ObligationKind::Route, ObligationKind::CapTokens, ObligationKind::SetHeader] {
            assert!(!permit(kind), "{kind:?}");
        }
    }
}
