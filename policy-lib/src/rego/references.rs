//! What policies may refer to. The loader's own rules live in the units' own
//! packages, so a unit may be read rule by rule, never as a whole; and data may
//! not stand where a package does, since the engine would believe the data.

use std::collections::BTreeSet;

use lictor_proto::json::{Node as Json, Value as JsonValue};
use regorus::unstable::Expr;

use super::functions::absolute;
use super::names::{RESERVED, ROOT};
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_refr, walk_expr, walk_rule};
use crate::diagnostic::Diagnostic;

/// Checks every reference of every file.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    for policy in policies {
        check_name(policy, &policy.module.package.refr, problems);
        for import in &policy.module.imports {
            check_name(policy, &import.refr, problems);
            check_import(policy, &import.refr, problems);
        }
        for rule in &policy.module.policy {
            check_name(policy, head_refr(rule), problems);
            let mut locals = BTreeSet::new();
            walk_rule(rule, &mut |node| {
                if let Node::Binding(name) = node {
                    locals.insert(name);
                }
            });
            walk_rule(rule, &mut |node| match node {
                Node::Reference(expr) => {
                    check_name(policy, expr, problems);
                    check_whole(policy, expr, &locals, problems);
                }
                Node::WithTarget(expr) => check_name(policy, expr, problems),
                Node::Call { function, .. } => check_name(policy, function, problems),
                Node::CallStatement(_) | Node::Binding(_) => {}
            });
        }
    }
}

/// Words are checked one by one elsewhere; names in brackets only here.
fn check_name(policy: &Policy, expr: &Expr, problems: &mut Vec<Diagnostic>) {
    let Some((span, parts)) = flatten(expr) else { return };
    let text = expr.span().text();
    for part in parts {
        if let Part::Name(name) = part
            && name.starts_with(RESERVED)
            && text.contains('[')
        {
            let message = format!("`{name}` is reserved for the loader");
            problems.push(policy.error("rego_reserved", span, message));
        }
    }
}

fn check_import(policy: &Policy, refr: &Expr, problems: &mut Vec<Diagnostic>) {
    let Some((span, parts)) = flatten(refr) else { return };
    let whole_root = matches!(parts.as_slice(), [Part::Name("data"), Part::Name(ROOT)] | [Part::Name("data")]);
    if whole_root && !policy.test {
        problems.push(whole(policy, span, "an import"));
    }
}

fn check_whole(policy: &Policy, expr: &Expr, locals: &BTreeSet<&str>, problems: &mut Vec<Diagnostic>) {
    if policy.test {
        return;
    }
    let Some((span, parts)) = flatten(expr) else { return };
    let Some((Part::Name(root), rest)) = parts.split_first() else { return };
    if locals.contains(root) {
        return;
    }
    let steps: Vec<Part<'_>> = match absolute(policy, &[*root]) {
        Some(path) => path.into_iter().map(Part::Name).chain(rest.iter().copied()).collect(),
        None => return,
    };
    let wrong = match steps.as_slice() {
        [] | [Part::Dynamic(_), ..] => true,
        [Part::Name(first), rule_of @ ..] if *first == ROOT => {
            !matches!(rule_of, [Part::Name(_), Part::Name(_), ..])
        }
        _ => false,
    };
    if wrong {
        problems.push(whole(policy, span, "a reference"));
    }
}

fn whole(policy: &Policy, span: &regorus::unstable::Span, what: &str) -> Diagnostic {
    let message = format!("{what} takes in whole policy units");
    policy
        .error("rego_reference", span, message)
        .help(format!("name the rule: `data.{ROOT}.<unit>.<rule>`"))
}

/// Refuses data where a package stands, and data in the loader's places.
pub(crate) fn check_data(policies: &[Policy], data: &Json, problems: &mut Vec<Diagnostic>) {
    for member in data.members() {
        if *member.key == *ROOT || member.key.starts_with(RESERVED) {
            let message = format!("`{}` in the data is reserved for policies", member.key);
            problems.push(Diagnostic::error("rego_data", "data.json", message).help("rename it"));
        }
    }
    let packages: BTreeSet<&Vec<String>> = policies.iter().map(|policy| &policy.package).collect();
    for package in packages {
        if let Some(depth) = overlap(data, package) {
            let path = package.iter().take(depth).map(String::as_str).collect::<Vec<_>>().join(".");
            let message = format!("`{path}` in the data stands in the place of package `{}`", package.join("."));
            problems.push(
                Diagnostic::error("rego_data", "data.json", message)
                    .help("the engine would take the data for the rules: rename one of them"),
            );
        }
    }
}

/// How many steps of `package` lead to data that is in its place.
fn overlap(data: &Json, package: &[String]) -> Option<usize> {
    let mut at = data;
    for (index, part) in package.iter().enumerate() {
        at = at.get(part)?;
        if index + 1 == package.len() || !matches!(at.value, JsonValue::Object(_)) {
            return Some(index + 1);
        }
    }
    None
}

/// Whether `expr` refers to the input, directly.
pub(crate) fn reads_input(expr: &Expr) -> bool {
    let mut found = false;
    walk_expr(expr, &mut |node| {
        if let Node::Reference(refr) | Node::WithTarget(refr) = node
            && let Some((_, parts)) = flatten(refr)
        {
            found |= matches!(parts.first(), Some(Part::Name("input")));
        }
    });
    found
}
