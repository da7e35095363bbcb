//! Names that hide others: a reader, or the next edit, would take the one for the other.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Rule, RuleHead};

use super::super::builtins;
use super::super::members::input_members;
use super::super::source::Policy;
use super::super::walk::{Part, flatten, head_name, head_refr};
use super::Read;
use super::scopes::{Bound, Local};
use super::unused::import_name;
use crate::diagnostic::Diagnostic;

/// What variables of a file can hide.
struct Names<'a> {
    rules: BTreeMap<&'a [String], BTreeSet<&'a str>>,
    /// Builtins without a dot, and what stands before the dot of the others.
    builtins: BTreeMap<&'static str, bool>,
}

impl Names<'_> {
    /// The builtins that a variable or function of this name hides.
    fn builtin(&self, name: &str) -> Option<String> {
        Some(match self.builtins.get(name)? {
            true => format!("the builtins `{name}.*`"),
            false => "the builtin of that name".to_owned(),
        })
    }
}

/// Warns of variables and functions that hide something.
pub(super) fn check(policies: &[Policy], rules: &[Read<'_>], problems: &mut Vec<Diagnostic>) {
    let mut names = Names { rules: BTreeMap::new(), builtins: BTreeMap::new() };
    for name in builtins::names() {
        let (root, dotted) = name.split_once('.').map_or((name, false), |(root, _)| (root, true));
        names.builtins.insert(root, dotted);
    }
    for read in rules {
        if let Some((name, _)) = head_name(read.rule) {
            names.rules.entry(&read.policy.package).or_default().insert(name);
        }
    }
    for read in rules {
        for local in &read.scopes.locals {
            if let Some(hidden) = hidden(&names, read, local) {
                let message = format!("`{}` hides {hidden}", local.name);
                let problem = read.policy.warning("rego_shadow", local.span, message);
                problems.push(problem.help("give it another name"));
            }
        }
    }
    for policy in policies {
        functions(&names, policy, problems);
    }
}

fn hidden(names: &Names<'_>, read: &Read<'_>, local: &Local<'_>) -> Option<String> {
    let name = local.name;
    // Refused as variables, with a message of their own.
    if matches!(name, "input" | "data") {
        return None;
    }
    let imports = &read.policy.module.imports;
    if imports.iter().any(|import| import_name(import).is_some_and(|(known, _)| known == name)) {
        return Some("the import of that name".to_owned());
    }
    if names.rules.get(read.policy.package.as_slice()).is_some_and(|rules| rules.contains(name)) {
        return Some("the rule of that name".to_owned());
    }
    if let Some(builtins) = names.builtin(name) {
        return Some(builtins);
    }
    let Bound::Is(value) = local.bound else { return None };
    let (_, parts) = flatten(value)?;
    let from_input = matches!(parts.first(), Some(Part::Name("input")));
    let other = !parts.iter().any(|part| matches!(part, Part::Name(part) if *part == name));
    (from_input && other && input_members().contains(&name))
        .then(|| format!("`input.{name}`, which is something else"))
}

/// A function called like a builtin is called in its place.
fn functions(names: &Names<'_>, policy: &Policy, problems: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for rule in &policy.module.policy {
        let Rule::Spec { head: RuleHead::Func { .. }, .. } = rule.as_ref() else { continue };
        let Some((name, _)) = head_name(rule) else { continue };
        if let Some(builtins) = names.builtin(name).filter(|_| seen.insert(name)) {
            let message = format!("the function `{name}` hides {builtins}");
            let problem = policy.warning("rego_shadow", head_refr(rule).span(), message);
            problems.push(problem.help("give it another name"));
        }
    }
}
