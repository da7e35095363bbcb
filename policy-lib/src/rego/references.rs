//! What policies may refer to. The loader's own rules live in the units' own
//! packages, so a unit may be read rule by rule, never as a whole; and data may
//! not stand where a package does, since the engine would believe the data.

use std::collections::BTreeSet;

use lictor_proto::json::{Node as Json, Value as JsonValue};
use regorus::unstable::{Expr, Ref, Rule, RuleBody, RuleHead};

use super::functions::{absolute, import_target};
use super::names::{Decision, RESERVED, ROOT};
use super::source::Policy;
use super::walk::{
    Node, Part, flatten, head_name, head_refr, walk_expr, walk_outside, walk_query, walk_rule,
};
use crate::diagnostic::Diagnostic;

/// Checks every reference of every file.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    check_heads(policies, problems);
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
            if let Some(name) = ["input", "data"].into_iter().find(|name| locals.contains(name)) {
                let message = format!("`{name}` is used for a variable");
                problems.push(
                    policy
                        .error("rego_reference", rule.span(), message)
                        .help("give it another name"),
                );
            }
            walk_rule(rule, &mut |node| match node {
                Node::Reference(expr) => {
                    check_name(policy, expr, problems);
                    check_whole(policy, expr, &locals, problems);
                }
                Node::WithTarget(expr) => check_name(policy, expr, problems),
                Node::Call { function, .. } => check_name(policy, function, problems),
                _ => {}
            });
        }
    }
}

/// What a head names must come from its body: the engine notices a name without
/// a value only when the rule fires, and `_` would lose an element without notice.
fn check_heads(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let mut rules: BTreeSet<(&Vec<String>, &str)> = BTreeSet::new();
    for policy in policies {
        let names = policy.module.policy.iter().filter_map(|rule| head_name(rule));
        rules.extend(names.map(|(name, _)| (&policy.package, name)));
        rules.extend(policy.lost.iter().map(|name| (&policy.package, name.as_str())));
    }
    for policy in policies {
        for rule in &policy.module.policy {
            let Rule::Spec { head, bodies, .. } = rule.as_ref() else { continue };
            let (said, args): (Vec<&Expr>, &[_]) = match head {
                RuleHead::Set { key, .. } => (key.iter().map(|key| key.as_ref()).collect(), &[]),
                RuleHead::Compr { assign, .. } => {
                    (assign.iter().map(|a| a.value.as_ref()).collect(), &[])
                }
                RuleHead::Func { args, assign, .. } => {
                    (assign.iter().map(|a| a.value.as_ref()).collect(), args)
                }
            };
            let known = names_of(bodies, args);
            for expr in said {
                check_head(policy, expr, rule, (&known, &rules), problems);
            }
        }
    }
}

/// Every name that bodies and arguments mention.
fn names_of<'a>(bodies: &'a [RuleBody], args: &'a [Ref<Expr>]) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::from(["input", "data"]);
    let mut learn = |node: Node<'a>| match node {
        Node::Binding(name) => {
            known.insert(name);
        }
        Node::Reference(expr) => {
            if let Some(Part::Name(name)) =
                flatten(expr).and_then(|(_, parts)| parts.first().copied())
            {
                known.insert(name);
            }
        }
        _ => {}
    };
    bodies.iter().for_each(|body| walk_query(&body.query, &mut learn));
    args.iter().for_each(|arg| walk_expr(arg, &mut learn));
    known
}

fn check_head(
    policy: &Policy,
    expr: &Expr,
    rule: &Rule,
    (known, rules): (&BTreeSet<&str>, &BTreeSet<(&Vec<String>, &str)>),
    problems: &mut Vec<Diagnostic>,
) {
    let decides = head_name(rule).is_some_and(|(name, _)| Decision::from_name(name).is_some());
    walk_outside(expr, &mut |node| {
        let Node::Reference(refr) = node else { return };
        let Some((span, parts)) = flatten(refr) else { return };
        let Some(Part::Name(name)) = parts.first() else { return };
        if *name == "_" {
            if decides && policy.is_unit() {
                let problem =
                    policy.error("rego_head", span, "the head picks any element with `_`");
                problems.push(problem.help("bind it in the body: `some x in ...`"));
            }
            return;
        }
        let named = known.contains(name)
            || rules.contains(&(&policy.package, *name))
            || import_target(policy, name).is_some();
        if !named {
            let message = format!("variable `{name}` is unsafe: nothing gives it a value");
            problems.push(policy.error("rego_unsafe", span, message).help("bind it in the body"));
        }
    });
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
    let whole_root =
        matches!(parts.as_slice(), [Part::Name("data"), Part::Name(ROOT)] | [Part::Name("data")]);
    if whole_root && !policy.test {
        problems.push(whole(policy, span, "an import"));
    }
}

fn check_whole(
    policy: &Policy,
    expr: &Expr,
    locals: &BTreeSet<&str>,
    problems: &mut Vec<Diagnostic>,
) {
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
        [] | [Part::Dynamic, ..] => true,
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
    let mut taken: BTreeSet<(Vec<&str>, &'static str)> = BTreeSet::new();
    for policy in policies {
        let package: Vec<&str> = policy.package.iter().map(String::as_str).collect();
        for rule in &policy.module.policy {
            let mut path = package.clone();
            for part in flatten(head_refr(rule)).map(|(_, parts)| parts).into_iter().flatten() {
                let Part::Name(name) = part else { break };
                path.push(name);
            }
            taken.insert((path, "rule"));
        }
        taken.insert((package, "package"));
    }
    let mut told = BTreeSet::new();
    for (path, what) in taken {
        // Data may stand beside the rules of a package, as an object.
        let Some(depth) = overlap(data, &path, what == "package") else { continue };
        let there = path.iter().take(depth).copied().collect::<Vec<_>>().join(".");
        if !told.insert(there.clone()) {
            continue;
        }
        let message =
            format!("`{there}` in the data stands in the place of {what} `{}`", path.join("."));
        problems.push(
            Diagnostic::error("rego_data", "data.json", message)
                .help("the engine would take the data for the rules: rename one of them"),
        );
    }
}

/// How many steps of `path` lead to data that is in its place.
fn overlap(data: &Json, path: &[&str], may_be_object: bool) -> Option<usize> {
    let mut at = data;
    for (index, part) in path.iter().enumerate() {
        at = at.get(part)?;
        let object = matches!(at.value, JsonValue::Object(_));
        if !object || (index + 1 == path.len() && !may_be_object) {
            return Some(index + 1);
        }
    }
    None
}
