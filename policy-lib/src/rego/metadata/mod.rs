//! `rego.metadata.rule()` and `rego.metadata.chain()`: what the `# METADATA` blocks
//! around a call say. The answer depends on the place of the call alone, so it is
//! put there at load.
//!
//! # Layout
//!
//! - this file: finds the calls, and puts references to their answers in their place.
//! - `annotations`: the blocks of one file. `chain`: the answers for one rule.
//!
//! A call and the reference that replaces it are equally long, so that every place
//! in the file stays as it was.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::json::{Member, Node as Json, Span, Value as JsonValue, scan};
use regorus::unstable::Expr;
use serde_json::Value;

use self::annotations::{Annotation, annotations};
use self::chain::Annotations;
use super::functions::import_target;
use super::names::RESERVED;
use super::source::Policy;
use super::walk::{Node, Part, flatten, walk_rule};
use crate::diagnostic::Diagnostic;

mod annotations;
mod chain;

#[cfg(test)]
mod tests;

/// The builtins that are resolved here.
pub(crate) const NAMES: &[&str] = &["rego.metadata.chain", "rego.metadata.rule"];

/// Most calls of them in a bundle: what their answers can be numbered by.
const MAX_SITES: usize = 10_000;

/// The rules of `policy`, by number, whose annotation has `custom.lictor.<mark>: true`, or whose
/// package has it.
pub(crate) fn marked(policy: &Policy, mark: &str) -> BTreeSet<usize> {
    let pointer = format!("/custom/lictor/{mark}");
    // What is wrong with a block is told where the blocks are asked for.
    let all = annotations(policy, &mut Vec::new());
    let all = all.iter().filter(|block| block.value.pointer(&pointer) == Some(&Value::Bool(true)));
    let mut marked = BTreeSet::new();
    for block in all {
        match block.rule {
            Some(rule) => marked.extend([rule]),
            None => marked.extend(0..policy.module.policy.len()),
        }
    }
    marked
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Rule,
    Chain,
}

struct Site {
    policy: usize,
    rule: usize,
    asked: Asked,
    start: usize,
    end: usize,
}

/// What `expr` names of [`NAMES`], unless an import stands in its place.
fn asked(policy: &Policy, expr: &Expr) -> Option<Asked> {
    let (_, parts) = flatten(expr)?;
    let [Part::Name("rego"), Part::Name("metadata"), Part::Name(last)] = parts.as_slice() else {
        return None;
    };
    if import_target(policy, "rego").is_some() {
        return None;
    }
    match *last {
        "rule" => Some(Asked::Rule),
        "chain" => Some(Asked::Chain),
        _ => None,
    }
}

/// Puts the answers into `data` and references to them into the texts of
/// `policies`. Does nothing where nobody asks.
pub(crate) fn resolve(policies: &mut [Policy], data: &mut Json, problems: &mut Vec<Diagnostic>) {
    let sites = sites(policies, problems);
    if sites.is_empty() {
        return;
    }
    let found: Vec<Vec<Annotation>> =
        policies.iter().map(|policy| annotations(policy, problems)).collect();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    let root = format!("data.{RESERVED}_m.");
    let mut edits = Vec::new();
    let known = Annotations::new(policies, &found);
    for site in &sites {
        let answer = match site.asked {
            Asked::Rule => known.rule(site.policy, site.rule),
            Asked::Chain => known.chain(site.policy, site.rule),
        };
        let next = numbers.len();
        let number = *numbers.entry(answer.to_string()).or_insert(next);
        // As long as the call, since a reference may go on behind it.
        let width = (site.end - site.start).saturating_sub(root.len());
        let name = format!("r{number:0>width$}", width = width.saturating_sub(1));
        edits.push((site, format!("{root}{name}")));
        answers.insert(name, answer);
    }
    for (site, reference) in edits {
        let range = site.start..site.end;
        let policy = policies.get_mut(site.policy);
        if let Some(policy) = policy.filter(|_| reference.len() == range.len()) {
            policy.text.replace_range(range, &reference);
        }
    }
    if let (JsonValue::Object(members), Ok(value)) =
        (&mut data.value, scan(serde_json::json!(answers).to_string().as_bytes()))
    {
        let key = format!("{RESERVED}_m").into();
        members.push(Member { key, key_span: Span::default(), value });
    } else {
        let message = "the annotations cannot be kept";
        problems.push(Diagnostic::error("rego_metadata", "", message));
    }
}

fn sites(policies: &[Policy], problems: &mut Vec<Diagnostic>) -> Vec<Site> {
    let mut found = Vec::new();
    for (policy_at, policy) in policies.iter().enumerate() {
        for (rule_at, rule) in policy.module.policy.iter().enumerate() {
            walk_rule(rule, &mut |node| match node {
                Node::Call { function, params: [], .. } => {
                    let Some(asked) = asked(policy, function) else { return };
                    let start = flatten(function).map_or(0, |(root, _)| root.start as usize);
                    match call_end(policy, start) {
                        Some(end) => {
                            found.push(Site {
                                policy: policy_at,
                                rule: rule_at,
                                asked,
                                start,
                                end,
                            });
                        }
                        None => {
                            let message = "the call is written on several lines";
                            problems.push(policy.error("rego_metadata", function.span(), message));
                        }
                    }
                }
                Node::WithTarget(expr) | Node::Reference(expr) if asked(policy, expr).is_some() => {
                    let message = "annotations can be read, not replaced or passed on";
                    problems.push(
                        policy
                            .error("rego_metadata", expr.span(), message)
                            .help("call `rego.metadata.rule()` or `rego.metadata.chain()`"),
                    );
                }
                _ => {}
            });
        }
    }
    if found.len() > MAX_SITES {
        let message = format!("annotations are asked for at more than {MAX_SITES} places");
        problems.push(Diagnostic::error("rego_metadata", "", message));
        found.clear();
    }
    found
}

/// One past the bracket that closes the call without arguments at `start`, on the
/// same line.
fn call_end(policy: &Policy, start: usize) -> Option<usize> {
    let mut tokens = policy.tokens.iter().skip_while(|token| token.start < start);
    let end = tokens.find(|token| policy.token_text(token) == ")").map(|token| token.end)?;
    policy.text.get(start..end).filter(|call| call.is_ascii() && !call.contains('\n'))?;
    Some(end)
}
