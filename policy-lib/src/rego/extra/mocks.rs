//! `with` over the builtins of ours. The engine replaces functions of policies and
//! its own builtins alone, so each of ours has a function that passes its arguments
//! on, and tests that replace one call that function instead.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use regorus::unstable::Expr;

use super::{EXTRAS, of};
use crate::rego::functions::import_target;
use crate::rego::names::RESERVED;
use crate::rego::source::Policy;
use crate::rego::walk::{Node, Part, flatten, walk_rule};

/// The functions that pass on, as rules of the loader's package.
pub(crate) fn functions(used: &BTreeSet<&'static str>) -> String {
    let mut text = String::new();
    for extra in EXTRAS.iter().filter(|extra| used.contains(extra.name)) {
        let args: Vec<String> = (0..extra.arity).map(|at| format!("a{at}")).collect();
        let args = args.join(", ");
        let _ = write!(text, "\n{}({args}) := {}({args})\n", short(extra.name), extra.name);
    }
    text
}

fn short(name: &str) -> String {
    format!("x_{}", name.replace('.', "_"))
}

/// The builtins of ours that some `with` replaces.
pub(crate) fn replaced(policies: &[Policy]) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for policy in policies {
        for rule in &policy.module.policy {
            walk_rule(rule, &mut |node| {
                if let Node::WithTarget(target) = node {
                    found.extend(named(policy, target).map(|(name, _)| name));
                }
            });
        }
    }
    found
}

/// What to write in the place of their names in `policy`.
pub(crate) fn edits(
    policy: &Policy,
    replaced: &BTreeSet<&'static str>,
) -> Vec<(Range<usize>, String)> {
    let mut found: BTreeSet<(usize, &'static str)> = BTreeSet::new();
    for rule in &policy.module.policy {
        walk_rule(rule, &mut |node| {
            if let Node::WithTarget(expr)
            | Node::Reference(expr)
            | Node::Call { function: expr, .. } = node
            {
                found.extend(named(policy, expr).map(|(name, start)| (start, name)));
            }
        });
    }
    found
        .into_iter()
        .filter(|(start, name)| {
            let end = start + name.len();
            replaced.contains(name) && policy.text.get(*start..end) == Some(*name)
        })
        .map(|(start, name)| {
            (start..start + name.len(), format!("data.{RESERVED}.{}", short(name)))
        })
        .collect()
}

/// The builtin of ours that `expr` names, and where.
fn named(policy: &Policy, expr: &Expr) -> Option<(&'static str, usize)> {
    let (root, parts) = flatten(expr)?;
    let mut names = Vec::with_capacity(parts.len());
    for part in &parts {
        let Part::Name(name) = part else { return None };
        names.push(*name);
    }
    let extra = of(&names.join("."))?;
    let imported = names.first().is_some_and(|first| import_target(policy, first).is_some());
    (!imported).then_some((extra.name, root.start as usize))
}
