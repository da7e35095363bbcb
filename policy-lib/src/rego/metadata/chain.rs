//! Which annotations speak of a rule: its own, those of its document, of its
//! package, and of the packages above.

use serde_json::{Value, json};

use super::annotations::{Annotation, Scope};
use crate::rego::source::Policy;
use crate::rego::walk::{Part, flatten, head_refr};

/// The annotations of all files.
pub(super) struct Annotations<'a> {
    policies: &'a [Policy],
    /// By policy.
    found: &'a [Vec<Annotation>],
}

impl<'a> Annotations<'a> {
    pub(super) fn new(policies: &'a [Policy], found: &'a [Vec<Annotation>]) -> Self {
        Self { policies, found }
    }

    /// The annotation of the rule itself, an empty object without one.
    pub(super) fn rule(&self, policy: usize, rule: usize) -> Value {
        self.own(policy, rule)
            .first()
            .map_or_else(|| json!({}), |annotation| annotation.value.clone())
    }

    /// From the rule outwards; the first entry is the rule's, annotated or not.
    pub(super) fn chain(&self, policy: usize, rule: usize) -> Value {
        let path = self.path(policy, rule);
        let package = self.package(policy);
        let mut chain: Vec<Value> = self
            .own(policy, rule)
            .into_iter()
            .map(|annotation| entry(annotation, path.clone()))
            .collect();
        if chain.is_empty() {
            chain.push(json!({"path": path}));
        }
        let document = self.all().find(|(at, annotation)| {
            annotation.scope == Scope::Document
                && annotation.rule.is_some_and(|rule| self.path(*at, rule) == path)
        });
        chain.extend(document.map(|(_, annotation)| entry(annotation, path.clone())));
        chain.extend(self.of_package(Scope::Package, package));
        for length in (1..=package.len()).rev() {
            let above = package.get(..length).unwrap_or_default();
            chain.extend(self.of_package(Scope::Subpackages, above));
        }
        Value::Array(chain)
    }

    fn all(&self) -> impl Iterator<Item = (usize, &'a Annotation)> {
        let found = self.found.iter().enumerate();
        found.flat_map(|(at, found)| found.iter().map(move |annotation| (at, annotation)))
    }

    /// The nearest first.
    fn own(&self, policy: usize, rule: usize) -> Vec<&'a Annotation> {
        let found = self.found.get(policy).into_iter().flatten();
        let mut own: Vec<&Annotation> =
            found.filter(|a| a.scope == Scope::Rule && a.rule == Some(rule)).collect();
        own.sort_by_key(|annotation| std::cmp::Reverse(annotation.line));
        own
    }

    fn of_package(&self, scope: Scope, package: &[String]) -> Option<Value> {
        let (_, annotation) =
            self.all().find(|(at, a)| a.scope == scope && self.package(*at) == package)?;
        Some(entry(annotation, package.to_vec()))
    }

    fn package(&self, policy: usize) -> &'a [String] {
        self.policies.get(policy).map(|policy| policy.package.as_slice()).unwrap_or_default()
    }

    /// The names of a rule's head, up to the first that is not fixed.
    fn path(&self, policy: usize, rule: usize) -> Vec<String> {
        let mut path = self.package(policy).to_vec();
        let rule = self.policies.get(policy).and_then(|policy| policy.module.policy.get(rule));
        let parts = rule.and_then(|rule| flatten(head_refr(rule))).map(|(_, parts)| parts);
        for part in parts.into_iter().flatten() {
            let Part::Name(name) = part else { break };
            path.push(name.to_owned());
        }
        path
    }
}

fn entry(annotation: &Annotation, path: Vec<String>) -> Value {
    json!({"annotations": annotation.value, "path": path})
}
