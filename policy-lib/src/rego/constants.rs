//! Rules that do not depend on the input always give the same answer, so that one
//! which fails would fail every call: they are tried once at load.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Engine;
use regorus::unstable::{Rule, RuleHead};

use super::functions::absolute;
use super::generate::Generated;
use super::names::data_path;
use super::place::{Place, engine_message};
use super::references::reads_input;
use super::run;
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_name, walk_rule};
use crate::diagnostic::Diagnostic;

/// A rule's package and the first part of its name.
type Path<'a> = Vec<&'a str>;

/// Evaluates every rule that cannot depend on the input.
pub(crate) fn check(policies: &[Policy], engine: &Engine, generated: &Generated, problems: &mut Vec<Diagnostic>) {
    let policies: Vec<&Policy> = policies.iter().filter(|policy| !policy.test).collect();
    let open = open_rules(&policies);
    let mut tried = BTreeSet::new();
    for policy in &policies {
        for rule in &policy.module.policy {
            let Some(path) = path_of(policy, rule).filter(|path| !is_function(rule) && !open.contains(path)) else {
                continue;
            };
            if !tried.insert(path.clone()) {
                continue;
            }
            let parts: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            if let Err(text) = run::rule(&mut engine.clone(), &data_path(&parts), run::LOAD_TIME) {
                let place = Place::find(&text).map(|place| generated.original(place)).unwrap_or_else(|| Place {
                    file: policy.name.clone(),
                    line: rule.span().line,
                    col: rule.span().col,
                });
                let message = format!("`{}` fails for every call: {}", path.join("."), engine_message(&text));
                problems.push(Diagnostic::error("rego_constant", &place.file, message).at(place.line, place.col));
            }
        }
    }
}

fn is_function(rule: &Rule) -> bool {
    match rule {
        Rule::Spec { head: RuleHead::Func { .. }, .. } => true,
        Rule::Default { args, .. } => !args.is_empty(),
        Rule::Spec { .. } => false,
    }
}

fn path_of<'a>(policy: &'a Policy, rule: &'a Rule) -> Option<Path<'a>> {
    let (name, _) = head_name(rule)?;
    let mut path: Path<'a> = policy.package.iter().map(String::as_str).collect();
    path.push(name);
    Some(path)
}

/// Rules that may depend on the input, directly or through others. A name that a
/// rule also uses for a variable counts as well: too many, never too few.
fn open_rules<'a>(policies: &[&'a Policy]) -> BTreeSet<Path<'a>> {
    let mut open: BTreeSet<Path<'a>> = BTreeSet::new();
    let mut names: BTreeMap<Path<'a>, BTreeSet<Vec<&'a str>>> = BTreeMap::new();
    for policy in policies {
        for rule in &policy.module.policy {
            let Some(path) = path_of(policy, rule) else { continue };
            let named = names.entry(path.clone()).or_default();
            walk_rule(rule, &mut |node| match node {
                Node::Reference(expr) | Node::WithTarget(expr) | Node::Call { function: expr, .. } => {
                    if reads_input(expr) {
                        open.insert(path.clone());
                    }
                    named.extend(targets(policy, expr));
                }
                Node::CallStatement(_) | Node::Binding(_) | Node::Line(_) => {}
            });
        }
    }
    loop {
        let reaches = |path: &&Path<'a>| {
            names.get(*path).is_some_and(|named| {
                named.iter().any(|name| open.iter().any(|rule| rule.starts_with(name) || name.starts_with(rule)))
            })
        };
        let more: Vec<Path<'a>> = names.keys().filter(|path| !open.contains(*path)).filter(reaches).cloned().collect();
        if more.is_empty() {
            return open;
        }
        open.extend(more);
    }
}

/// Where a reference may lead, as far as it is static.
fn targets<'a>(policy: &'a Policy, expr: &'a regorus::unstable::Expr) -> Vec<Vec<&'a str>> {
    let Some((_, parts)) = flatten(expr) else { return Vec::new() };
    let steps: Vec<&str> = parts
        .iter()
        .map_while(|part| match part {
            Part::Name(name) => Some(*name),
            Part::Dynamic => None,
        })
        .collect();
    let mut local: Vec<&str> = policy.package.iter().map(String::as_str).collect();
    local.extend(&steps);
    let mut found = vec![local];
    found.extend(absolute(policy, &steps));
    if let Some(first) = steps.first()
        && super::functions::import_target(policy, first).is_some_and(|target| target.first() == Some(&"input"))
    {
        // An import of a part of the input: as open as anything can be.
        found.push(Vec::new());
    }
    found
}
