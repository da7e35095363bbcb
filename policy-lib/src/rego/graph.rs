//! Which rule reads which, as far as names tell.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Rule};

use super::functions::{absolute, import_target};
use super::source::Policy;
use super::walk::{Part, flatten, head_name};

/// A package and the first part of a rule's name.
pub(crate) type Path<'a> = Vec<&'a str>;

/// All rules of some policies, by path and by number.
pub(crate) struct Graph<'a> {
    pub(crate) rules: Vec<Named<'a>>,
    numbers: BTreeMap<Path<'a>, usize>,
}

/// The rules of one path.
pub(crate) struct Named<'a> {
    pub(crate) path: Path<'a>,
    pub(crate) definitions: Vec<(&'a Policy, &'a Rule)>,
}

impl<'a> Graph<'a> {
    pub(crate) fn of(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut graph = Self { rules: Vec::new(), numbers: BTreeMap::new() };
        for policy in policies {
            for rule in &policy.module.policy {
                let Some((name, _)) = head_name(rule) else { continue };
                let mut path: Path<'a> = policy.package.iter().map(String::as_str).collect();
                path.push(name);
                let next = graph.rules.len();
                let number = *graph.numbers.entry(path.clone()).or_insert(next);
                if number == next {
                    graph.rules.push(Named { path, definitions: Vec::new() });
                }
                if let Some(named) = graph.rules.get_mut(number) {
                    named.definitions.push((policy, rule));
                }
            }
        }
        graph
    }

    /// The rules that a reference in `policy` may read, in whole or in part. A name
    /// that is also a variable of the rule counts as a rule here.
    pub(crate) fn read_by(&self, policy: &'a Policy, expr: &'a Expr) -> BTreeSet<usize> {
        let Some((_, parts)) = flatten(expr) else { return BTreeSet::new() };
        let steps: Vec<&str> = parts
            .iter()
            .map_while(|part| match part {
                Part::Name(name) => Some(*name),
                Part::Dynamic => None,
            })
            .collect();
        let mut local: Path<'a> = policy.package.iter().map(String::as_str).collect();
        local.extend(&steps);
        let mut found = self.at(&local);
        if let Some(path) = absolute(policy, &steps) {
            found.extend(self.at(&path));
        }
        found
    }

    /// The rules at, above and below a path.
    fn at(&self, path: &[&'a str]) -> BTreeSet<usize> {
        let above =
            (1..=path.len()).filter_map(|length| self.numbers.get(path.get(..length)?).copied());
        let below =
            self.numbers.range(path.to_vec()..).take_while(|(rule, _)| rule.starts_with(path));
        above.chain(below.map(|(_, number)| *number)).collect()
    }
}

/// Whether a reference reads the input, itself or through an import.
pub(crate) fn reads_input(policy: &Policy, expr: &Expr) -> bool {
    let Some((_, parts)) = flatten(expr) else { return false };
    let Some(Part::Name(root)) = parts.first() else { return false };
    *root == "input"
        || import_target(policy, root).is_some_and(|target| target.first() == Some(&"input"))
}
