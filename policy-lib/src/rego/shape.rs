//! A unit's package is closed: where it lies, which rules it may have, and how
//! they are written.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Rule, RuleHead};

use super::names::{Decision, RESERVED, ROOT, is_test, is_unit};
use super::source::Policy;
use super::walk::{Node, flatten, head_name, head_refr, walk_rule};
use crate::diagnostic::{Diagnostic, suggest};

/// Checks packages, rule names and rule forms of all files.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    for policy in policies {
        check_package(policy, problems);
        check_imports(policy, problems);
        check_reserved(policy, problems);
        check_rules(policy, problems);
    }
    check_one_allow(policies, problems);
    check_test_names(policies, problems);
    check_package_under_rule(policies, problems);
}

fn check_package(policy: &Policy, problems: &mut Vec<Diagnostic>) {
    let span = &policy.module.package.span;
    if policy.package.first().is_none_or(|first| first != ROOT) {
        return;
    }
    let named = policy.package.join(".");
    let [_, unit] = policy.package.as_slice() else {
        let message = format!(
            "package `{named}` is never asked: a package under `{ROOT}` has exactly two parts"
        );
        let help =
            format!("write `package {ROOT}.<unit>`, or put helpers into a package of another name");
        problems.push(policy.error("rego_package", span, message).help(help));
        return;
    };
    if !is_unit(unit) {
        let message = format!("`{unit}` is not a unit name");
        problems.push(
            policy.error("rego_package", span, message).help("unit names are `[a-z][a-z0-9_]*`"),
        );
        return;
    }
    let folder = folder_of(&policy.name);
    let tests_of = policy.test.then(|| unit.strip_suffix("_test")).flatten();
    if folder != Some(unit) && (folder.is_none() || folder != tests_of) {
        let message = format!("package `{named}` does not lie in its folder");
        problems.push(
            policy.error("rego_package", span, message).help(format!("move it to rego/{unit}/")),
        );
    }
}

/// `<unit>` of `rego/<unit>/x.rego`.
fn folder_of(name: &str) -> Option<&str> {
    let mut parts = name.split('/');
    let folder = (parts.next() == Some("rego")).then(|| parts.next()).flatten()?;
    (parts.next().is_some() && parts.next().is_none()).then_some(folder)
}

fn check_imports(policy: &Policy, problems: &mut Vec<Diagnostic>) {
    for import in &policy.module.imports {
        let whole_input =
            matches!(import.refr.as_ref(), Expr::Var { span, .. } if span.text() == "input");
        if whole_input && import.r#as.is_none() {
            let message = "`import input` says nothing";
            problems.push(policy.error("rego_import", &import.span, message).help("remove it"));
        }
    }
}

/// No word of a policy may start like the loader's own names.
fn check_reserved(policy: &Policy, problems: &mut Vec<Diagnostic>) {
    for token in policy.tokens.iter().filter(|token| token.word) {
        let word = policy.token_text(token);
        if word.starts_with(RESERVED) {
            let message = format!("`{word}` is reserved for the loader");
            problems.push(
                Diagnostic::error("rego_reserved", &policy.name, message)
                    .at(token.line, token.col)
                    .help(format!("choose a name that does not start with `{RESERVED}`")),
            );
        }
    }
}

fn check_rules(policy: &Policy, problems: &mut Vec<Diagnostic>) {
    let under_root = policy.package.first().is_some_and(|first| first == ROOT);
    for rule in &policy.module.policy {
        check_walk(policy, rule, problems);
        check_minus(policy, rule, problems);
        check_bodies(policy, rule, problems);
        check_test(policy, rule, problems);
        let Some((name, plain)) = head_name(rule) else {
            problems.push(policy.error("rego_rule", rule.span(), "the rule has no name"));
            continue;
        };
        if !under_root || name.starts_with('_') {
            continue;
        }
        match Decision::from_name(name) {
            Some(_) if policy.test => {
                let message = format!("`{name}` in a test file would hold in tests only");
                problems.push(
                    policy
                        .error("rego_rule", rule.span(), message)
                        .help("move it to a policy file"),
                );
            }
            Some(decision) => check_form(policy, rule, decision, plain, problems),
            None if is_test(name) => {}
            None => unknown_rule(policy, rule, name, problems),
        }
    }
}

fn unknown_rule(policy: &Policy, rule: &Rule, name: &str, problems: &mut Vec<Diagnostic>) {
    let known = Decision::ALL.map(Decision::name);
    let help = match suggest(name, known) {
        Some(meant) => format!(
            "did you mean `{meant}`? helpers start with `_` or live in a package of their own"
        ),
        None => format!("a unit has the rules {}; helpers start with `_`", known.join(", ")),
    };
    let message = format!("rule `{name}` means nothing to a decision");
    problems.push(policy.error("rego_rule", head_refr(rule).span(), message).help(help));
}

fn check_form(
    policy: &Policy,
    rule: &Rule,
    decision: Decision,
    plain: bool,
    problems: &mut Vec<Diagnostic>,
) {
    if let Some(wrong) = wrong_form(rule, decision, plain) {
        let message = format!("`{}` {wrong}", decision.name());
        let help = format!("write {}", decision.form());
        problems.push(policy.error("rego_form", rule.span(), message).help(help));
    }
}

/// What is wrong with the form of a decision rule.
pub(crate) fn wrong_form(rule: &Rule, decision: Decision, plain: bool) -> Option<&'static str> {
    if !plain {
        return Some("has a dotted or indexed head");
    }
    let Rule::Spec { head, bodies, .. } = rule else {
        return Some("has a default, but what does not hold is undefined already");
    };
    if bodies.iter().any(|body| body.is_else) {
        return Some("has an `else`");
    }
    match head {
        RuleHead::Func { .. } => Some("is a function"),
        RuleHead::Compr { assign: Some(_), .. } => Some("is given a value"),
        RuleHead::Compr { .. } if !decision.may_be_condition() => Some("is a condition, not a set"),
        RuleHead::Set { key: None, .. } => Some("is a set without `contains`"),
        RuleHead::Set { .. } if !decision.may_be_set() => Some("is a set, not a condition"),
        RuleHead::Compr { .. } | RuleHead::Set { .. } => None,
    }
}

/// One argument makes `walk` a value, which this engine leaves undefined when it
/// is iterated: a denial would be lost without an error.
fn check_walk(policy: &Policy, rule: &Rule, problems: &mut Vec<Diagnostic>) {
    walk_rule(rule, &mut |node| {
        if let Node::Call { span, function: Expr::Var { span: name, .. }, params } = node
            && name.text() == "walk"
            && params.len() != 2
        {
            let message = "`walk` with one argument yields nothing here";
            problems.push(
                policy.error("rego_walk", span, message).help("write `walk(x, [path, value])`"),
            );
        }
    });
}

/// The engine finds out only when it evaluates, and then fails every call.
fn check_minus(policy: &Policy, rule: &Rule, problems: &mut Vec<Diagnostic>) {
    walk_rule(rule, &mut |node| {
        if let Node::Minus(span) = node {
            let message = "`-` in front of what is not a number is an error";
            problems.push(policy.error("rego_minus", span, message).help("write `0 - x`"));
        }
    });
}

/// `if {a, b}` is a set, not a body: it holds whatever `a` and `b` are.
fn check_bodies(policy: &Policy, rule: &Rule, problems: &mut Vec<Diagnostic>) {
    let Rule::Spec { bodies, .. } = rule else { return };
    for body in bodies {
        let [stmt] = body.query.stmts.as_slice() else { continue };
        let Literal::Expr { expr, .. } = &stmt.literal else { continue };
        if matches!(expr.as_ref(), Expr::Set { .. } | Expr::Object { .. } | Expr::Array { .. }) {
            let message = "the body is a value, which always holds";
            let problem = policy.error("rego_body", expr.span(), message);
            problems.push(problem.help("separate conditions with `;` or new lines"));
        }
    }
}

fn check_one_allow(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let mut forms: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for policy in policies.iter().filter(|policy| policy.is_unit()) {
        let Some(unit) = &policy.unit else { continue };
        for rule in &policy.module.policy {
            let Rule::Spec { head, .. } = rule.as_ref() else { continue };
            if head_name(rule) != Some((Decision::Allow.name(), true)) {
                continue;
            }
            let (condition, set) = forms.entry(unit).or_default();
            match head {
                RuleHead::Set { .. } => *set = true,
                _ => *condition = true,
            }
            if *condition && *set {
                let message = format!("unit `{unit}` has both forms of `allow`");
                problems.push(
                    policy
                        .error("rego_form", rule.span(), message)
                        .help("write either `allow if ...` or `allow contains \"id\" if ...` in all files of a unit"),
                );
            }
        }
    }
}

/// Only a condition can be run as a test.
fn check_test(policy: &Policy, rule: &Rule, problems: &mut Vec<Diagnostic>) {
    let Some((name, _)) = head_name(rule).filter(|(name, _)| is_test(name)) else { return };
    if !matches!(rule, Rule::Spec { head: RuleHead::Compr { .. }, .. }) {
        let message = format!("`{name}` would never be run: it is a set, a function or a default");
        let help = "write `test_x if ...`, or `test_x[case] if ...` for several cases";
        problems.push(policy.error("rego_test", rule.span(), message).help(help));
    }
}

/// Two tests of one name: either could hide that the other fails.
fn check_test_names(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for policy in policies {
        for rule in &policy.module.policy {
            let Some((name, _)) = head_name(rule).filter(|(name, _)| is_test(name)) else {
                continue;
            };
            if !seen.insert((&policy.package, name)) {
                let message = format!("`{name}` is a test already");
                problems.push(
                    policy
                        .error("rego_test", rule.span(), message)
                        .help("give each test a name of its own"),
                );
            }
        }
    }
}

/// A rule and a package of one name hide each other.
fn check_package_under_rule(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let packages: BTreeSet<&Vec<String>> = policies.iter().map(|policy| &policy.package).collect();
    for policy in policies {
        for rule in &policy.module.policy {
            let Some((_, parts)) = flatten(head_refr(rule)) else { continue };
            let mut path = policy.package.clone();
            for part in parts {
                let super::walk::Part::Name(name) = part else { break };
                path.push(name.to_owned());
                if let Some(package) = packages.iter().find(|package| package.starts_with(&path)) {
                    let message = format!(
                        "rule `{}` and package `{}` stand in each other's place",
                        path.join("."),
                        package.join(".")
                    );
                    problems.push(
                        policy
                            .error("rego_conflict", rule.span(), message)
                            .help("rename one of them"),
                    );
                    break;
                }
            }
        }
    }
}
