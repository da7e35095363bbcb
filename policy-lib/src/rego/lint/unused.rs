//! What is written and never read: variables, imports, helpers.

use std::collections::BTreeSet;

use regorus::unstable::{Import, Rule, RuleHead, Span};

use super::super::graph::Graph;
use super::super::names::{Decision, ROOT, is_test};
use super::super::source::Policy;
use super::super::walk::{Node, Part, flatten, head_name, head_refr, walk_rule};
use super::scopes::{Kind, Local};
use super::{Read, is_converted};
use crate::diagnostic::Diagnostic;

/// Warns of all of them.
pub(super) fn check(policies: &[Policy], rules: &[Read<'_>], problems: &mut Vec<Diagnostic>) {
    for read in rules {
        let unread = read.scopes.locals.iter().filter(|local| !local.read);
        for local in unread.filter(|local| !local.name.starts_with('_')) {
            problems.push(variable(read, local));
        }
    }
    // What does not parse may read anything.
    for policy in policies.iter().filter(|policy| policy.lost.is_empty()) {
        imports(policy, rules, problems);
    }
    if policies.iter().all(|policy| policy.lost.is_empty()) {
        helpers(policies, problems);
    }
}

fn variable(read: &Read<'_>, local: &Local<'_>) -> Diagnostic {
    let name = local.name;
    let (what, help) = match local.kind {
        Kind::Argument => ("argument", "write `_` in its place"),
        Kind::Assigned => ("variable", "read it, or write the expression alone"),
        Kind::Declared => ("variable", "remove it from `some`"),
        Kind::Key => ("variable", "leave the key out, or write `_` in its place"),
        Kind::Element => ("variable", "write `_` in its place"),
    };
    let message = format!("the {what} `{name}` is never read");
    read.policy.warning("rego_unused", local.span, message).help(help)
}

/// The name by which an import is known; nothing for those that switch on keywords.
pub(super) fn import_name(import: &Import) -> Option<(&str, &Span)> {
    let (span, parts) = flatten(&import.refr)?;
    if !matches!(parts.first(), Some(Part::Name("data" | "input"))) {
        return None;
    }
    match (&import.r#as, parts.last()) {
        (Some(alias), _) => Some((alias.text(), alias)),
        (None, Some(Part::Name(name))) => Some((name, span)),
        (None, _) => None,
    }
}

fn imports(policy: &Policy, rules: &[Read<'_>], problems: &mut Vec<Diagnostic>) {
    if policy.module.imports.is_empty() {
        return;
    }
    let own = rules.iter().filter(|read| std::ptr::eq(read.policy, policy));
    let read: BTreeSet<&str> =
        own.flat_map(|read| read.scopes.free.iter().map(|(name, _)| *name)).collect();
    for import in &policy.module.imports {
        // `import input` is reported as saying nothing.
        let whole = flatten(&import.refr).is_some_and(|(_, parts)| parts.len() < 2);
        let Some((name, _)) = import_name(import).filter(|_| !whole || import.r#as.is_some())
        else {
            continue;
        };
        if !read.contains(name) {
            let message = format!("the import `{name}` is never used");
            let problem = policy.warning("rego_import_unused", &import.span, message);
            problems.push(problem.help("remove it"));
        }
    }
}

/// Helpers that no rule reads, tests included.
fn helpers(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let graph = Graph::of(policies.iter());
    let mut read: BTreeSet<usize> = BTreeSet::new();
    for (number, named) in graph.rules.iter().enumerate() {
        for (policy, rule) in &named.definitions {
            walk_rule(rule, &mut |node| match node {
                Node::Reference(expr)
                | Node::WithTarget(expr)
                | Node::Call { function: expr, .. } => {
                    let others = graph.read_by(policy, expr).into_iter();
                    read.extend(others.filter(|other| *other != number));
                }
                _ => {}
            });
        }
    }
    for (number, named) in graph.rules.iter().enumerate() {
        if read.contains(&number) {
            continue;
        }
        let Some((policy, rule)) = named.definitions.first() else { continue };
        let Some((name, _)) = head_name(rule).filter(|_| !is_converted(policy)) else { continue };
        let unit = policy.package.first().is_some_and(|first| first == ROOT);
        // What is no helper in a unit is an error already.
        if is_test(name)
            || (unit && (Decision::from_name(name).is_some() || !name.starts_with('_')))
        {
            continue;
        }
        let what = match rule {
            Rule::Spec { head: RuleHead::Func { .. }, .. } => "function",
            _ => "rule",
        };
        let message = format!("no rule reads the {what} `{name}`");
        let problem = policy.warning("rego_uncalled", head_refr(rule).span(), message);
        problems.push(problem.help("remove it, or read it where it was meant to be"));
    }
}
