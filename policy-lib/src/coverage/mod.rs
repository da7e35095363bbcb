//! What tests and cases reached of the policies, of both engines in one measure.
//!
//! A case counts by an evaluation beside the one that decided it, over the same call
//! and the same facts: policies that are watched never decide anything. A Rego test
//! counts by one more run with markers.
//!
//! What is counted:
//!
//! - Rego: each statement of a body (also of comprehensions, `every` and `else`) is
//!   one item, covered once it was evaluated; each body of a rule is one more,
//!   covered once it held.
//! - Cedar: each policy is one item, covered once it was satisfied; each clause is
//!   two, covered once it was true and once it was false. Clauses are the three parts
//!   of the scope, where they say anything, the conjuncts of `when` and `unless`, and
//!   the branches of `||` below them.
//!
//! The percentage is the share of items that are covered; of nothing it is 100.
//!
//! # Layout
//!
//! - this file: [`Coverage`], which watches, and [`Seen`], what it saw.
//! - [`report`]: what was seen -> covered and missing, by file. [`lcov`]: the same in
//!   the format of lcov.

mod lcov;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use cedar_policy_core::ast::Expr;
use lictor_proto::call::Call;

use crate::cedar::clauses::{Truth, Watch, Watched};
use crate::conclude::DryRun;
use crate::diagnostic::Diagnostic;
use crate::engine::{Budget, Query};
use crate::load::{LoadedBundle, Sources};
use crate::rego::trace::{Traced, Watcher};

pub use lcov::lcov;
pub use report::{ClauseReport, FileReport, LineReport, Missing, Report, RuleReport};

/// The policies of a bundle, ready to be watched from any number of threads.
pub struct Coverage<'b> {
    bundle: &'b LoadedBundle,
    rego: Traced,
    cedar: Watched,
}

impl std::fmt::Debug for Coverage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coverage").field("bundle", &self.bundle).finish_non_exhaustive()
    }
}

/// What was seen of policies. What several threads saw is merged in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rego statements that were evaluated.
    reached: BTreeSet<usize>,
    /// Rego bodies that held.
    held: BTreeSet<usize>,
    /// By Cedar policy.
    policies: Vec<PolicySeen>,
}

/// What was seen of a Cedar policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PolicySeen {
    satisfied: bool,
    unsatisfied: bool,
    failed: bool,
    /// Whether each clause was true, and whether it was false.
    clauses: Vec<(bool, bool)>,
}

impl Seen {
    /// Adds what another saw.
    pub fn merge(&mut self, other: Self) {
        self.reached.extend(other.reached);
        self.held.extend(other.held);
        for (number, seen) in other.policies.into_iter().enumerate() {
            match self.policies.get_mut(number) {
                Some(known) => known.merge(&seen),
                None => self.policies.push(seen),
            }
        }
    }
}

impl PolicySeen {
    fn merge(&mut self, other: &Self) {
        self.satisfied |= other.satisfied;
        self.unsatisfied |= other.unsatisfied;
        self.failed |= other.failed;
        for (known, seen) in self.clauses.iter_mut().zip(&other.clauses) {
            known.0 |= seen.0;
            known.1 |= seen.1;
        }
    }
}

impl Watch for PolicySeen {
    fn saw(&mut self, clause: usize, truth: &Truth, _: Option<&Expr>) {
        if let Some((was_true, was_false)) = self.clauses.get_mut(clause) {
            *was_true |= *truth == Truth::True;
            *was_false |= *truth == Truth::False;
        }
    }
}

impl<'b> Coverage<'b> {
    /// Loads the policies once more, to be watched.
    ///
    /// # Errors
    /// Why a text cannot be watched although it loads: it is too long.
    pub fn new(bundle: &'b LoadedBundle) -> Result<Self, Vec<Diagnostic>> {
        let sources = Sources::of(bundle.verified());
        let rego = Traced::load(&sources.rego(), false)?;
        let cedar = Watched::load(&sources.cedar())?;
        Ok(Self { bundle, rego, cedar })
    }

    /// Watches calls on one thread.
    #[must_use]
    pub fn watch(&self) -> Watching<'_> {
        let policies = self.cedar.policies.iter();
        let clauses = policies.map(|policy| vec![(false, false); policy.clauses.len()]);
        let policies =
            clauses.map(|clauses| PolicySeen { clauses, ..PolicySeen::default() }).collect();
        let seen = Seen { policies, ..Seen::default() };
        Watching { coverage: self, rego: self.rego.watcher(), seen }
    }

    /// Runs those Rego tests again that ran, by their names, which may name a case
    /// behind the path. What comes of them is not told here.
    #[must_use]
    pub fn rego_tests(&self, ran: &[&str]) -> Seen {
        let mut watching = self.watch();
        for path in self.rego.tests() {
            if ran.iter().any(|name| name.starts_with(&path)) {
                watching.rego.test(&path);
            }
        }
        watching.seen()
    }

    /// What is covered and what is missing.
    #[must_use]
    pub fn report(&self, seen: &Seen) -> Report {
        report::report(&self.rego, &self.cedar, seen)
    }
}

/// Watches calls on one thread.
pub struct Watching<'c> {
    coverage: &'c Coverage<'c>,
    rego: Watcher<'c>,
    seen: Seen,
}

impl std::fmt::Debug for Watching<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watching").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Watching<'_> {
    /// Evaluates once more what was decided, over the facts that decided it. A call
    /// that was denied before any policy was asked reaches none.
    pub fn decided(&mut self, call: &Call, outcome: &DryRun) {
        if outcome.verdict.engines.is_empty() {
            return;
        }
        let bundle = self.coverage.bundle;
        let call = bundle.resolve(call);
        let registry = bundle.registry();
        let budget = Budget::default();
        let query = Query { call: &call, facts: &outcome.facts, registry, budget };
        self.rego.call(&query);
        let policies = &mut self.seen.policies;
        self.coverage.cedar.each(&query, |_, number, policy, evaluator| {
            let Some(seen) = policies.get_mut(number) else { return };
            match policy.evaluate(evaluator, seen) {
                Truth::True => seen.satisfied = true,
                Truth::False => seen.unsatisfied = true,
                Truth::Failed(_) => seen.failed = true,
                Truth::Open => {}
            }
        });
    }

    /// What was seen.
    #[must_use]
    pub fn seen(self) -> Seen {
        let mut seen = self.seen;
        seen.reached = self.rego.reached();
        let map = &self.coverage.rego.map;
        let held = |body: &usize| self.coverage.rego.held(*body);
        seen.held = (0..map.bodies.len()).filter(held).collect();
        seen
    }
}
