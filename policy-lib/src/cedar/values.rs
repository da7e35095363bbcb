//! Texts that policies compare with members of `context`: members of a closed set, or names that
//! the bundle must have.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};
use cedar_policy_core::parser::Loc;

use crate::diagnostic::Diagnostic;
use crate::known::Known;
use crate::known::domain::Domain;

use super::place::File;
use super::policy::Parsed;
use super::reads::children;

/// Warns of texts that a member can never be.
pub(super) fn check(
    parsed: &Parsed,
    file: &File<'_>,
    known: &Known<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut open = vec![&parsed.condition];
    while let Some(expr) = open.pop() {
        open.extend(children(expr));
        let ExprKind::BinaryApp { op, arg1, arg2 } = expr.expr_kind() else { continue };
        for (path, said) in comparisons(*op, arg1, arg2) {
            let Some(domain) = Domain::of_context(&path) else { continue };
            let shown = format!("context.{}", path.trim_end_matches(".*"));
            for (text, loc) in texts(said) {
                let Some((code, message, help)) = domain.refuses(&shown, text, known) else {
                    continue;
                };
                let at = loc.map_or(parsed.offset, Loc::start);
                diagnostics.push(file.warning(code, at, message).help(help));
            }
        }
    }
}

/// The members that an operator compares, each with what it is compared to.
fn comparisons<'e>(op: BinaryOp, left: &'e Expr, right: &'e Expr) -> Vec<(String, &'e Expr)> {
    let path = |expr: &Expr, suffix: &str| path_of(expr).map(|path| format!("{path}{suffix}"));
    let found = match op {
        BinaryOp::Eq => vec![(path(left, ""), right), (path(right, ""), left)],
        // A member that is a set, or a set that a member must be in.
        BinaryOp::Contains => vec![(path(left, ".*"), right), (path(right, ""), left)],
        BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
            vec![(path(left, ".*"), right), (path(right, ".*"), left)]
        }
        _ => Vec::new(),
    };
    found.into_iter().filter_map(|(path, said)| Some((path?, said))).collect()
}

/// `a.b` of `context.a.b`.
fn path_of(expr: &Expr) -> Option<String> {
    let mut steps = Vec::new();
    let mut at = expr;
    loop {
        match at.expr_kind() {
            ExprKind::GetAttr { expr, attr } => {
                steps.push(attr.as_str());
                at = expr;
            }
            ExprKind::Var(Var::Context) => {
                steps.reverse();
                return Some(steps.join("."));
            }
            _ => return None,
        }
    }
}

/// The strings of an expression that is one, or a set of some.
fn texts(expr: &Expr) -> Vec<(&str, Option<&Loc>)> {
    let items: Vec<&Expr> = match expr.expr_kind() {
        ExprKind::Set(items) => items.iter().collect(),
        _ => vec![expr],
    };
    items
        .into_iter()
        .filter_map(|item| match item.expr_kind() {
            ExprKind::Lit(Literal::String(text)) => Some((text.as_str(), item.source_loc())),
            _ => None,
        })
        .collect()
}
