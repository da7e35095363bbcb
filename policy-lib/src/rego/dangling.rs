//! References that lead nowhere. They are undefined without an error, so that a
//! denial that reads them never holds: each is a warning.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::json::Node as Json;
use regorus::unstable::Expr;

use super::functions::{absolute, import_target};
use super::lint::{has_other_input, member_span};
use super::members::unknown_member;
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_name, walk_rule};
use crate::diagnostic::{Diagnostic, suggest};

/// What stands where, to tell whether a reference leads anywhere.
struct Map<'a> {
    data: &'a Json,
    /// Names of rules, by package.
    rules: BTreeMap<&'a [String], BTreeSet<&'a str>>,
}

/// Warns of references in policies that lead nowhere.
pub(crate) fn check(policies: &[Policy], data: &Json, problems: &mut Vec<Diagnostic>) {
    let mut map = Map { data, rules: BTreeMap::new() };
    for policy in policies {
        let names =
            policy.module.policy.iter().filter_map(|rule| head_name(rule)).map(|(name, _)| name);
        let names = names.chain(policy.lost.iter().map(String::as_str));
        map.rules.entry(&policy.package).or_default().extend(names);
    }
    let others = has_other_input(policies);
    for policy in policies.iter().filter(|policy| !policy.test) {
        let other = others(policy);
        for rule in &policy.module.policy {
            let mut locals = BTreeSet::new();
            walk_rule(rule, &mut |node| {
                if let Node::Binding(name) = node {
                    locals.insert(name);
                }
            });
            walk_rule(rule, &mut |node| {
                if let Node::Reference(expr) = node {
                    let found = check_reference(policy, expr, &locals, &map);
                    problems.extend(found.filter(|found| !other || found.code != "rego_input"));
                }
            });
        }
    }
}

fn check_reference(
    policy: &Policy,
    expr: &Expr,
    locals: &BTreeSet<&str>,
    map: &Map<'_>,
) -> Option<Diagnostic> {
    let (span, parts) = flatten(expr)?;
    let Some((Part::Name(root), rest)) = parts.split_first() else { return None };
    if locals.contains(root) {
        return None;
    }
    let prefix = match *root {
        "input" => vec![],
        "data" => return map.check_data(policy, span, rest),
        alias => match import_target(policy, alias)?.as_slice() {
            ["input", path @ ..] => path.to_vec(),
            _ => {
                let start: Vec<Part<'_>> =
                    absolute(policy, &[alias])?.into_iter().map(Part::Name).collect();
                return map.check_data(policy, span, &[start.as_slice(), rest].concat());
            }
        },
    };
    let path: Vec<Part<'_>> =
        prefix.into_iter().map(Part::Name).chain(rest.iter().copied()).collect();
    let (name, known) = unknown_member(&path)?;
    let message = format!("the input has no `{name}` here: this is always undefined");
    let at = member_span(expr, name).unwrap_or(span);
    let problem = policy.warning("rego_input", at, message);
    Some(match suggest(name, known.iter().copied()) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem.help(format!("there are {}", known.join(", "))),
    })
}

impl Map<'_> {
    fn check_data(
        &self,
        policy: &Policy,
        span: &regorus::unstable::Span,
        parts: &[Part<'_>],
    ) -> Option<Diagnostic> {
        let names: Vec<String> = parts
            .iter()
            .map_while(|part| match part {
                Part::Name(name) => Some((*name).to_owned()),
                Part::Dynamic => None,
            })
            .collect();
        let [first, ..] = names.as_slice() else { return None };
        let under = self
            .rules
            .iter()
            .filter(|(package, _)| names.starts_with(package))
            .max_by_key(|(p, _)| p.len());
        let missing = match under {
            Some((package, rules)) => {
                let name = names.get(package.len())?;
                let deeper = self.rules.keys().any(|other| {
                    other.len() > package.len()
                        && names.starts_with(other.get(..package.len() + 1).unwrap_or_default())
                });
                // Data may lie beside the rules of a package.
                let path = names.get(..=package.len()).unwrap_or_default();
                let in_data = path.iter().try_fold(self.data, |at, part| at.get(part)).is_some();
                (!rules.contains(name.as_str()) && !deeper && !in_data)
                    .then(|| format!("package `{}` has no rule `{name}`", package.join(".")))
            }
            None => {
                let package = self.rules.keys().any(|package| package.starts_with(&names));
                (!package && self.data.get(first).is_none())
                    .then(|| format!("there is no `{first}` in the data, and no such package"))
            }
        }?;
        let message = format!("{missing}: this is always undefined");
        Some(policy.warning("rego_data_unknown", span, message))
    }
}
