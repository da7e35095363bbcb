//! References that lead nowhere. They are undefined without an error, so that a
//! denial that reads them never holds: each is a warning.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::json::Node as Json;
use regorus::unstable::Expr;

use super::functions::{absolute, import_target};
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_name, walk_rule};
use crate::diagnostic::{Diagnostic, suggest};

/// The members of a call and its facts that have members of their own; a `*`
/// stands for any element.
const INPUT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "call_id",
            "phase",
            "tenant",
            "questions",
            "subject",
            "agent",
            "delegation",
            "action",
            "credential",
            "request_call_id",
            "executed",
            "resource",
            "context",
            "content",
            "session",
            "usage",
            "facts",
        ],
    ),
    ("subject", PARTY),
    ("agent", PARTY),
    ("delegation.*", PARTY),
    ("action", &["name"]),
    ("credential", &["kind", "id", "issuer"]),
    ("resource", &["type", "id"]),
    ("context", &["args", "source_ip", "trace_id", "protocol"]),
    ("content.*", &["origin", "pointer", "media", "text"]),
    ("session", &["handle"]),
    ("usage", &["input_tokens", "max_output_tokens", "cost_usd_micros"]),
    (
        "facts",
        &[
            "subject",
            "agent",
            "delegation",
            "resource",
            "session",
            "findings",
            "signals",
            "provenance",
            "time",
        ],
    ),
    ("facts.subject", &["attrs"]),
    ("facts.agent", &["attrs"]),
    ("facts.delegation.*", &["attrs"]),
    ("facts.resource", &["attrs"]),
    (
        "facts.session",
        &["calls", "tail", "pending", "labels", "approvals", "spend_usd_micros", "kind", "marks"],
    ),
    ("facts.session.labels", &["integrity", "confidentiality"]),
    ("facts.findings.*", &["detector", "category", "severity", "score", "content", "start", "end"]),
    ("facts.signals", &["loop", "no_progress", "first_use", "rate"]),
    ("facts.time", &["now_ms", "rfc3339"]),
];
const PARTY: &[&str] = &["type", "id", "claims"];

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
        map.rules.entry(&policy.package).or_default().extend(names);
    }
    for policy in policies.iter().filter(|policy| !policy.test) {
        for rule in &policy.module.policy {
            let mut locals = BTreeSet::new();
            walk_rule(rule, &mut |node| {
                if let Node::Binding(name) = node {
                    locals.insert(name);
                }
            });
            walk_rule(rule, &mut |node| {
                if let Node::Reference(expr) = node {
                    problems.extend(check_reference(policy, expr, &locals, &map));
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
    let problem = Diagnostic::warning(
        "rego_input",
        &policy.name,
        format!("the input has no `{name}` here: this is always undefined"),
    );
    let problem = problem.at(span.line, super::source::column(&policy.text, span.start as usize));
    Some(match suggest(name, known.iter().copied()) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem.help(format!("there are {}", known.join(", "))),
    })
}

/// The first step into `input` that no call has, and those that there are.
fn unknown_member<'a>(path: &[Part<'a>]) -> Option<(&'a str, &'static [&'static str])> {
    let mut at = String::new();
    for part in path {
        let members = INPUT.iter().find(|(place, _)| *place == at).map(|(_, members)| *members);
        let step = match (part, members) {
            (Part::Name(name), Some(members)) if !members.contains(name) => {
                return Some((name, members));
            }
            (Part::Name(name), Some(_)) => *name,
            // Below this the input is open, or it is a list.
            _ => "*",
        };
        if !at.is_empty() {
            at.push('.');
        }
        at.push_str(step);
    }
    None
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
                (!rules.contains(name.as_str()) && !deeper)
                    .then(|| format!("package `{}` has no rule `{name}`", package.join(".")))
            }
            None => {
                let package = self.rules.keys().any(|package| package.starts_with(&names));
                (!package && self.data.get(first).is_none())
                    .then(|| format!("there is no `{first}` in the data, and no such package"))
            }
        }?;
        let problem = Diagnostic::warning(
            "rego_data_unknown",
            &policy.name,
            format!("{missing}: this is always undefined"),
        );
        Some(problem.at(span.line, super::source::column(&policy.text, span.start as usize)))
    }
}
