//! Negations that hold here and not in OPA.
//!
//! In OPA what a negated call or comparison reads is computed before the `not`: is
//! it undefined, then so is the statement. Here it is computed under the `not`,
//! which then holds. That is what OPA's `import future.keywords.not` means.

use regorus::unstable::{BoolOp, Expr, Rule};

use super::source::{Policy, parse};
use super::walk::{Node, Part, flatten, head_name, walk_expr, walk_rule};
use crate::diagnostic::Diagnostic;

/// Warns of every such negation in files that were written for OPA.
pub(crate) fn check(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let policies = files.iter().filter_map(|(name, text)| parse(name, text).ok());
    let mut found = Vec::new();
    for policy in policies.filter(|policy| !asks_for_it(policy)) {
        for rule in &policy.module.policy {
            walk_rule(rule, &mut |node| {
                if let Node::Negated(expr) = node
                    && let Some(read) = computed_first(expr)
                {
                    found.push(warning(&policy, expr, read));
                }
            });
        }
    }
    found
}

/// Warns of such negations in the rules of a unit that permit: what its author expects to be
/// undefined, as in OPA, lets a call pass here.
pub(crate) fn in_permits(policy: &Policy, rule: &Rule, problems: &mut Vec<Diagnostic>) {
    let permits = matches!(head_name(rule), Some(("allow" | "list", _)));
    if !permits || policy.unit.is_none() || asks_for_it(policy) {
        return;
    }
    walk_rule(rule, &mut |node| {
        if let Node::Negated(expr) = node
            && let Some(read) = computed_first(expr)
        {
            let said = first_line(read);
            let message = format!("this permits where `{said}` is undefined; in OPA it would not");
            let help = format!(
                "write `x := {said}` before, and `x` here; or `import future.keywords.not` if it is meant"
            );
            problems.push(policy.warning("rego_negation", expr.span(), message).help(help));
        }
    });
}

fn first_line(read: &Expr) -> &str {
    let said = read.span().text();
    said.lines().next().unwrap_or(said)
}

fn warning(policy: &Policy, expr: &Expr, read: &Expr) -> Diagnostic {
    let said = first_line(read);
    let message = format!("this holds where `{said}` is undefined; in OPA it does not");
    let help = format!(
        "write `x := {said}` before, and `x` here; or `import future.keywords.not`, where OPA agrees"
    );
    policy.warning("opa_negation", expr.span(), message).help(help)
}

fn asks_for_it(policy: &Policy) -> bool {
    policy.module.imports.iter().any(|import| {
        let parts = flatten(&import.refr).map(|(_, parts)| parts).unwrap_or_default();
        matches!(
            parts.as_slice(),
            [Part::Name("future"), Part::Name("keywords"), Part::Name("not")]
        )
    })
}

/// What OPA computes before a negated expression.
fn computed_first(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Call { params, .. } => params.iter().find_map(|param| undefinable(param)),
        // `==` compares where it stands, and only calls are taken out of it.
        Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } | Expr::AssignExpr { lhs, rhs, .. } => {
            call_in(lhs).or_else(|| call_in(rhs))
        }
        Expr::BoolExpr { lhs, rhs, .. } => undefinable(lhs).or_else(|| undefinable(rhs)),
        Expr::Membership { key, value, collection, .. } => {
            let key = key.as_ref().and_then(|key| undefinable(key));
            key.or_else(|| undefinable(value)).or_else(|| undefinable(collection))
        }
        Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => call_in(refr),
        _ => None,
    }
}

/// A reference or a call in `expr`: it may be undefined.
fn undefinable(expr: &Expr) -> Option<&Expr> {
    let mut found = None;
    walk_expr(expr, &mut |node| match node {
        Node::Reference(refr) if flatten(refr).is_some_and(|(_, parts)| parts.len() > 1) => {
            found = found.or(Some(refr));
        }
        Node::Call { function, .. } => found = found.or(Some(function)),
        _ => {}
    });
    found
}

/// A call in `expr`. Arithmetic is one, too.
fn call_in(expr: &Expr) -> Option<&Expr> {
    if matches!(expr, Expr::ArithExpr { .. } | Expr::BinExpr { .. }) {
        return undefinable(expr);
    }
    let mut found = None;
    walk_expr(expr, &mut |node| {
        if let Node::Call { function, .. } = node {
            found = found.or(Some(function));
        }
    });
    found
}
