//! Two things that the engine does otherwise than `opa test`, written so that it does
//! the same, before tests are loaded. No line moves.
//!
//! - It knows the replacement of a function by the function's full path, and does not
//!   find it for a call by the short name, as functions are called in their own package:
//!   there the full path is written out.
//! - It does not evaluate a test with several keys, `test_x[a][b]`: that becomes
//!   `test_x[[a, b]]`.
//!
//! Builtins that are ours are replaced by `extra::mocks`.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Rule, RuleHead};

use super::super::extra;
use super::super::names::{data_path, is_test};
use super::super::source::{self, Policy};
use super::super::walk::{Node, Part, flatten, head_name, head_refr, walk_rule};
use crate::diagnostic::Diagnostic;

/// Text in the place of some bytes.
type Edit = (std::ops::Range<usize>, String);

/// Rewrites policies and tests for the engine.
///
/// # Errors
/// A text that cannot be read afterwards, which would be a mistake of this module.
pub(crate) fn write_out(policies: &mut [Policy]) -> Result<(), Vec<Diagnostic>> {
    let replaced = replaced(policies);
    let builtins = extra::mocks::replaced(policies);
    let functions: BTreeSet<(Vec<String>, String)> = policies
        .iter()
        .flat_map(|policy| functions(policy).map(|name| (policy.package.clone(), name.to_owned())))
        .filter(|(_, name)| replaced.contains(name))
        .collect();
    for policy in policies {
        let own = |name: &str| functions.contains(&(policy.package.clone(), name.to_owned()));
        let prefix = format!("{}.", data_path(&policy.package));
        let mut edits: Vec<Edit> =
            calls(policy, own).into_iter().map(|at| (at..at, prefix.clone())).collect();
        edits.extend(policy.module.policy.iter().flat_map(|rule| keys(policy, rule)));
        edits.extend(extra::mocks::edits(policy, &builtins));
        if edits.is_empty() {
            continue;
        }
        edits.sort_by_key(|(range, _)| range.start);
        let text = edited(&policy.text, edits);
        *policy = source::parse(&policy.name, &text).map_err(|problem| vec![problem])?;
    }
    Ok(())
}

fn edited(text: &str, edits: Vec<Edit>) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut from = 0;
    for (range, edit) in edits {
        out.push_str(text.get(from..range.start).unwrap_or_default());
        out.push_str(&edit);
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// `[a][b]` of a test's head as `[[a, b]]`.
fn keys(policy: &Policy, rule: &Rule) -> Vec<Edit> {
    let nested = match head_refr(rule).as_ref() {
        Expr::RefBrack { refr, .. } => matches!(refr.as_ref(), Expr::RefBrack { .. }),
        _ => false,
    };
    if !nested || !head_name(rule).is_some_and(|(name, _)| is_test(name)) {
        return Vec::new();
    }
    // The name, then one bracket after another.
    let start = rule.span().start as usize;
    let mut tokens =
        policy.tokens.iter().skip_while(|token| token.start < start).skip(1).peekable();
    let mut depth = 0usize;
    let mut edits: Vec<Edit> = Vec::new();
    while let Some(token) = tokens.next() {
        match policy.token_text(token) {
            "[" if depth == 0 && edits.is_empty() => {
                edits.push((token.end..token.end, "[".to_owned()));
                depth = 1;
            }
            "[" | "{" | "(" | "set(" => depth += 1,
            "]" if depth == 1 => match tokens.next_if(|next| policy.token_text(next) == "[") {
                Some(next) => edits.push((token.start..next.end, ", ".to_owned())),
                None => {
                    edits.push((token.start..token.start, "]".to_owned()));
                    return edits;
                }
            },
            "]" | "}" | ")" => depth = depth.saturating_sub(1),
            _ if depth == 0 => return Vec::new(),
            _ => {}
        }
    }
    Vec::new()
}

/// The last names of everything that a `with` replaces, but for input.
fn replaced(policies: &[Policy]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rule in policies.iter().flat_map(|policy| &policy.module.policy) {
        walk_rule(rule, &mut |node| {
            let Node::WithTarget(target) = node else { return };
            let parts = flatten(target).map(|(_, parts)| parts).unwrap_or_default();
            if let (Some(Part::Name(first)), Some(Part::Name(last))) = (parts.first(), parts.last())
                && *first != "input"
            {
                names.insert((*last).to_owned());
            }
        });
    }
    names
}

fn functions(policy: &Policy) -> impl Iterator<Item = &str> {
    policy.module.policy.iter().filter_map(|rule| match rule.as_ref() {
        Rule::Spec { head: RuleHead::Func { .. }, .. } => head_name(rule).map(|(name, _)| name),
        _ => None,
    })
}

/// Where functions are called by a name that `wanted` knows, in bytes.
fn calls(policy: &Policy, wanted: impl Fn(&str) -> bool) -> BTreeSet<usize> {
    let mut calls = BTreeSet::new();
    for rule in &policy.module.policy {
        walk_rule(rule, &mut |node| {
            if let Node::Call { function: Expr::Var { span, .. }, .. } = node
                && wanted(span.text())
            {
                calls.insert(span.start as usize);
            }
        });
    }
    calls
}
