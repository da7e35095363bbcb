//! Every function that is called exists, has that many parameters, and does not
//! call itself: the engine finds out only when a call is made, and recursion
//! would exhaust its stack.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Ref, Rule, RuleHead, Span};

use super::builtins::{self, Known};
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_refr, walk_rule};
use crate::diagnostic::{Diagnostic, suggest};

/// Functions that policies define, by full path.
pub(crate) struct Functions<'a> {
    by_path: BTreeMap<Vec<&'a str>, Vec<Definition<'a>>>,
    /// Names of rules that do not parse.
    lost: BTreeSet<&'a str>,
}

struct Definition<'a> {
    policy: &'a Policy,
    rule: &'a Rule,
    params: usize,
}

impl<'a> Functions<'a> {
    /// Gathers what `policies` define.
    pub(crate) fn of(policies: &'a [Policy]) -> Self {
        let mut by_path: BTreeMap<Vec<&str>, Vec<Definition<'_>>> = BTreeMap::new();
        for policy in policies {
            for rule in &policy.module.policy {
                let params = match rule.as_ref() {
                    Rule::Spec { head: RuleHead::Func { args, .. }, .. } => args.len(),
                    Rule::Default { args, .. } if !args.is_empty() => args.len(),
                    _ => continue,
                };
                let Some(name) = flatten(head_refr(rule)).and_then(|(_, parts)| names(&parts))
                else {
                    continue;
                };
                let mut path: Vec<&str> = policy.package.iter().map(String::as_str).collect();
                path.extend(name);
                by_path.entry(path).or_default().push(Definition { policy, rule, params });
            }
        }
        let lost = policies.iter().flat_map(|policy| policy.lost.iter().map(String::as_str));
        Self { by_path, lost: lost.collect() }
    }

    /// The path of the user's function that `function` names in `policy`.
    fn resolve(&self, policy: &'a Policy, called: &[&'a str]) -> Option<Vec<&'a str>> {
        let mut local: Vec<&str> = policy.package.iter().map(String::as_str).collect();
        local.extend(called);
        let mut candidates = vec![local];
        candidates.extend(absolute(policy, called));
        candidates.into_iter().find(|path| self.by_path.contains_key(path))
    }
}

/// The names of a static reference.
fn names<'a>(parts: &[Part<'a>]) -> Option<Vec<&'a str>> {
    parts
        .iter()
        .map(|part| match part {
            Part::Name(name) => Some(*name),
            Part::Dynamic => None,
        })
        .collect()
}

/// The path under `data` that a reference names, through imports.
pub(crate) fn absolute<'a>(policy: &'a Policy, called: &[&'a str]) -> Option<Vec<&'a str>> {
    let (first, rest) = called.split_first()?;
    if *first == "data" {
        return Some(rest.to_vec());
    }
    let target = import_target(policy, first)?;
    let mut path: Vec<&str> = target.get(1..)?.to_vec();
    path.extend(rest);
    (target.first() == Some(&"data")).then_some(path)
}

/// What an import of the file stands for, from its root.
pub(crate) fn import_target<'a>(policy: &'a Policy, alias: &str) -> Option<Vec<&'a str>> {
    policy.module.imports.iter().find_map(|import| {
        let (_, parts) = flatten(&import.refr)?;
        let target = names(&parts)?;
        let known_as = import.r#as.as_ref().map_or(target.last().copied()?, |span| span.text());
        (known_as == alias && target.len() > 1).then_some(target)
    })
}

/// Checks every call of every file, and gathers the builtins in use.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) -> BTreeSet<&'static str> {
    let functions = Functions::of(policies);
    let mut used = BTreeSet::new();
    let mut calls: BTreeMap<Vec<&str>, BTreeSet<Vec<&str>>> = BTreeMap::new();
    for policy in policies {
        for rule in &policy.module.policy {
            let caller = own_path(policy, rule);
            walk_rule(rule, &mut |node| match node {
                Node::Call { span, function, params } => {
                    let call = Call { policy, span, function, params };
                    if let Some(called) = check_call(&functions, call, &mut used, problems)
                        && let Some(caller) = &caller
                    {
                        calls.entry(caller.clone()).or_default().insert(called);
                    }
                }
                // A builtin may also be named as the stand-in of another function.
                Node::Reference(expr) | Node::WithTarget(expr) => {
                    if let Some(named) = flatten(expr).and_then(|(_, parts)| names(&parts))
                        && let Known::Allowed(builtin) = builtins::lookup(&named.join("."))
                    {
                        used.insert(builtin);
                    }
                }
                _ => {}
            });
        }
    }
    check_recursion(&functions, &calls, problems);
    used
}

fn own_path<'a>(policy: &'a Policy, rule: &'a Rule) -> Option<Vec<&'a str>> {
    let mut path: Vec<&str> = policy.package.iter().map(String::as_str).collect();
    path.extend(flatten(head_refr(rule)).and_then(|(_, parts)| names(&parts))?);
    Some(path)
}

#[derive(Clone, Copy)]
struct Call<'a> {
    policy: &'a Policy,
    span: &'a Span,
    function: &'a Expr,
    params: &'a [Ref<Expr>],
}

/// Reports what is wrong with one call; gives the user's function that is called.
fn check_call<'a>(
    functions: &Functions<'a>,
    call: Call<'a>,
    used: &mut BTreeSet<&'static str>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Vec<&'a str>> {
    let Some(called) = flatten(call.function).and_then(|(_, parts)| names(&parts)) else {
        problems.push(call.policy.error(
            "rego_function",
            call.span,
            "what is called here is not a function",
        ));
        return None;
    };
    let name = called.join(".");
    if let Some(path) = functions.resolve(call.policy, &called) {
        let definitions = functions.by_path.get(&path).map(Vec::as_slice).unwrap_or_default();
        let arity = definitions.first().map_or(0, |first| first.params);
        check_arity(call, &name, arity, problems);
        return Some(path);
    }
    match builtins::lookup(&name) {
        Known::Print => {}
        Known::Allowed(builtin) => {
            used.insert(builtin);
            let arity = builtins::arity(builtin);
            if call.params.len() == arity + 1 && !builtins::may_take_result(builtin) {
                let message = format!("the result of `{name}` cannot be an argument");
                let problem = call.policy.error("rego_arity", call.span, message);
                problems.push(problem.help(format!("write `x := {name}(...)`")));
            } else {
                check_arity(call, &name, arity, problems);
            }
        }
        Known::Refused(why) => {
            let message = format!("`{name}` is not available: {why}");
            problems.push(call.policy.error("rego_builtin", call.span, message));
        }
        // It may be one that does not parse.
        Known::Not if called.last().is_some_and(|name| functions.lost.contains(name)) => {}
        Known::Not => problems.push(unknown(functions, call, &name)),
    }
    None
}

fn unknown(functions: &Functions<'_>, call: Call<'_>, name: &str) -> Diagnostic {
    let problem =
        call.policy.error("rego_function", call.span, format!("there is no function `{name}`"));
    let own: Vec<&str> = functions.by_path.keys().filter_map(|path| path.last().copied()).collect();
    match suggest(name, own).or_else(|| suggest(name, builtins::names())) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem.help("define it, or import the package that has it"),
    }
}

/// One more argument than parameters takes the result.
fn check_arity(call: Call<'_>, name: &str, arity: usize, problems: &mut Vec<Diagnostic>) {
    let given = call.params.len();
    if given != arity && given != arity + 1 {
        let message = format!("`{name}` takes {arity} arguments, not {given}");
        problems.push(call.policy.error("rego_arity", call.span, message));
    }
}

/// Takes away, again and again, what calls nothing that is left; what stays
/// calls itself or something that does.
fn check_recursion(
    functions: &Functions<'_>,
    calls: &BTreeMap<Vec<&str>, BTreeSet<Vec<&str>>>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut left: BTreeSet<&Vec<&str>> = functions.by_path.keys().collect();
    loop {
        let calls_left = |path: &&Vec<&str>| {
            calls.get(*path).is_some_and(|called| called.iter().any(|callee| left.contains(callee)))
        };
        let next: BTreeSet<&Vec<&str>> = left.iter().copied().filter(calls_left).collect();
        if next.len() == left.len() {
            break;
        }
        left = next;
    }
    for path in left {
        for definition in functions.by_path.get(path).into_iter().flatten() {
            let message =
                format!("function `{}` calls itself, or functions that do", path.join("."));
            problems.push(definition.policy.error(
                "rego_recursion",
                definition.rule.span(),
                message,
            ));
        }
    }
}
