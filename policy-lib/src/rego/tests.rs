//! Every way in which a Rego policy could fail open, each as a test; and the
//! policies in `testdata/rego`.

use std::collections::BTreeMap;
use std::time::Duration;

use lictor_proto::call::{Call, Phase};
use lictor_proto::facts::Facts;
use lictor_proto::reason::POLICY_ERROR;

use super::{RegoEngine, RegoSource};
use crate::diagnostic::{Diagnostic, Level};
use crate::engine::{Budget, Engine, Outcome, Query, Scope, Way};
use crate::registry::Registry;

mod data;
mod loading;
mod shapes;
mod testing;
mod traps;

/// A bundle's worth of files.
#[derive(Default)]
pub(super) struct Bundle {
    files: Vec<(String, String)>,
    data: String,
    scopes: BTreeMap<String, Scope>,
}

impl Bundle {
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Self { files, data: "{}".to_owned(), scopes: BTreeMap::new() }
    }

    /// One unit `u` in one file.
    pub(super) fn unit(rules: &str) -> Self {
        Self::of(&[("rego/u/u.rego", &format!("package lictor.u\n{rules}"))])
    }

    pub(super) fn data(mut self, data: &str) -> Self {
        self.data = data.to_owned();
        self
    }

    pub(super) fn scope(mut self, unit: &str, scope: Scope) -> Self {
        self.scopes.insert(unit.to_owned(), scope);
        self
    }

    pub(super) fn source(&self) -> RegoSource<'_> {
        RegoSource {
            files: self.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
            data: &self.data,
            scopes: &self.scopes,
        }
    }

    pub(super) fn problems(&self) -> Vec<Diagnostic> {
        let (engine, problems) = RegoEngine::load(&self.source());
        assert_eq!(
            engine.is_none(),
            problems.iter().any(|p| p.level == Level::Error),
            "{problems:?}"
        );
        problems
    }

    /// `code:line` of every problem.
    pub(super) fn codes(&self) -> Vec<String> {
        self.problems().iter().map(|p| format!("{}:{}", p.code, p.line)).collect()
    }

    pub(super) fn engine(&self) -> RegoEngine {
        let (engine, problems) = RegoEngine::load(&self.source());
        let mut engine = engine.unwrap_or_else(|| panic!("{problems:#?}"));
        // Every test asks both ways, and fails where they differ.
        engine.evaluate_by(Way::Both);
        engine
    }

    pub(super) fn ask(&self, args: &str) -> Outcome {
        self.ask_call(&call(args))
    }

    pub(super) fn ask_call(&self, call: &Call) -> Outcome {
        evaluate(&self.engine(), call, &facts(), Budget::default())
    }
}

pub(super) fn evaluate(engine: &RegoEngine, call: &Call, facts: &Facts, budget: Budget) -> Outcome {
    let registry = Registry::default();
    engine.evaluate(&Query { call, facts, registry: &registry, budget })
}

/// Long enough for an unoptimised build on a busy machine.
pub(super) fn patient() -> Budget {
    Budget { time: Duration::from_secs(20), ..Budget::default() }
}

pub(super) fn call(args: &str) -> Call {
    let text = format!(
        r#"{{"subject": {{"type": "user", "id": "alice@example.com"}}, "agent": {{"type": "agent", "id": "a1"}},
            "action": {{"name": "tools/call"}}, "resource": {{"type": "tool", "id": "files/read"}},
            "context": {{"args": {args}}}}}"#
    );
    Call::from_json(text.as_bytes()).unwrap()
}

pub(super) fn in_phase(phase: Phase, args: &str) -> Call {
    Call { phase, ..call(args) }
}

/// Facts at 2026-01-01T00:00:00Z.
pub(super) fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.time.now_ms = 1_767_225_600_000;
    facts
}

/// The messages of fatal errors; there must be nothing else in `outcome` that
/// could permit.
pub(super) fn fatal(outcome: &Outcome) -> Vec<String> {
    assert!(
        outcome.errors.iter().all(|error| error.fatal && error.id == POLICY_ERROR),
        "{outcome:?}"
    );
    outcome.errors.iter().map(|error| format!("{}: {}", error.policy, error.message)).collect()
}

/// Asserts that evaluation fails, and that the error says `what`.
#[track_caller]
pub(super) fn assert_fatal(outcome: &Outcome, what: &str) {
    let errors = fatal(outcome);
    assert!(
        errors.iter().any(|error| error.contains(what)),
        "{what} is not in {errors:?} of {outcome:?}"
    );
}
