//! What a policy's author would want to know although the bundle loads: names that nothing has,
//! conditions that never hold, and what nobody reads. All of it is warnings.
//!
//! # Layout
//!
//! - this file: all rules with their variables, and the order of the checks.
//! - `scopes`: the variables of one rule; `paths`: what of the input they stand for.
//! - `unused`, `shadowing`: variables, imports and helpers.
//! - `values`: texts that are compared with members of the input; `never`: conditions of one body
//!   that contradict each other.
//! - `heads`: elements of decision rules as far as they are literal.

use regorus::unstable::{Expr, Rule};

use super::negation;
use super::source::Policy;
use crate::diagnostic::Diagnostic;
use crate::known::Known;

mod heads;
mod never;
mod paths;
mod scopes;
mod shadowing;
#[cfg(test)]
mod tests;
mod unused;
mod values;

pub(crate) use paths::member_span;

use paths::Paths;
use scopes::Scopes;

/// A rule with its variables.
struct Read<'a> {
    policy: &'a Policy,
    rule: &'a Rule,
    scopes: Scopes<'a>,
}

/// Every check of this module.
pub(crate) fn check(policies: &[Policy], known: &Known<'_>, problems: &mut Vec<Diagnostic>) {
    let rules: Vec<Read<'_>> = policies
        .iter()
        .flat_map(|policy| policy.module.policy.iter().map(move |rule| (policy, rule)))
        .map(|(policy, rule)| Read { policy, rule, scopes: Scopes::of(rule) })
        .collect();
    unused::check(policies, &rules, problems);
    shadowing::check(policies, &rules, problems);
    let paths = Paths::of(&rules);
    let labels = heads::labels(&rules);
    let others = has_other_input(policies);
    let served: Vec<&Read<'_>> =
        rules.iter().filter(|read| !read.policy.test && !others(read.policy)).collect();
    for read in &served {
        paths::check(read, &paths, problems);
        values::check(read, &paths, known, labels.as_ref(), problems);
        heads::check(read, known, problems);
        // The unit that asks an OPA bundle is ours, and is not to be mended by its author.
        if !read.policy.name.starts_with("rego/opa/") {
            negation::in_permits(read.policy, read.rule, problems);
        }
    }
    never::check(&served, &paths, known, problems);
}

/// Which policies are asked about an input of another shape: those of an OPA bundle, if the unit
/// that asks them replaces it.
pub(crate) fn has_other_input(policies: &[Policy]) -> impl Fn(&Policy) -> bool + use<> {
    let asks = |policy: &&Policy| !is_converted(policy) && policy.name.starts_with("rego/opa/");
    let replaced = policies.iter().filter(asks).any(|policy| policy.text.contains("with input as"));
    move |policy| replaced && is_converted(policy)
}

/// Whether the policy came with an OPA bundle, whose rules anybody may ask.
fn is_converted(policy: &Policy) -> bool {
    policy.name.starts_with(crate::opa::FOLDER)
}

/// The text of a string.
fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::String { value: regorus::Value::String(text), .. }
        | Expr::RawString { value: regorus::Value::String(text), .. } => Some(text),
        _ => None,
    }
}

/// The strings of a set or list of nothing but strings, or one string.
fn texts_of(expr: &Expr) -> Option<Vec<(&str, &Expr)>> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().map(|item| Some((text_of(item)?, item.as_ref()))).collect()
        }
        one => Some(vec![(text_of(one)?, one)]),
    }
}
