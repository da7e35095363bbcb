//! Rego, by the interpreter of regorus in strict mode, which is the meaning of
//! Rego here.
//!
//! # Layout, in the order that data flows
//!
//! - `source`, `place`, `walk`: texts to parsed policies; places in them; walking
//!   their rules. `names` is the closed vocabulary.
//! - `shape`, `references`, `dangling`, `functions`, `depth` (over `graph`): the load
//!   checks on what was parsed.
//! - `builtins`, `guards`, `weigh`, `paths`: which of the engine's functions may be
//!   called, and with how large arguments.
//! - `generate`: the texts that are served, with a copy of every decision rule.
//! - `load`, `constants`: the prepared engine, and the checks that need one.
//! - [`input`]: call and facts to the policy input.
//! - `run`, `answer`, `elements`, `output`: one evaluation, and its answer read
//!   strictly.
//! - [`tester`]: `test_` rules.

use std::collections::BTreeMap;

use regorus::Engine as Interpreter;

mod answer;
mod builtins;
mod constants;
mod dangling;
mod depth;
mod elements;
mod functions;
mod generate;
mod graph;
mod guards;
pub mod input;
mod load;
mod names;
mod output;
mod paths;
mod place;
mod references;
mod run;
mod shape;
mod source;
pub mod tester;
mod walk;
mod weigh;

pub use input::{input_value, value_from_node};
pub use tester::{TestReport, run_tests};

use generate::Generated;
use input::Keys;
use place::{Place, engine_message};

use crate::diagnostic::Diagnostic;
use crate::engine::{Engine, EngineError, Outcome, Query, Scope};

/// The Rego part of a bundle.
#[derive(Debug, Clone)]
pub struct RegoSource<'a> {
    /// Name in the bundle, such as `rego/expense/limits.rego`, and text.
    pub files: Vec<(&'a str, &'a str)>,
    /// The text of `data.json`, `{}` if there is none.
    pub data: &'a str,
    /// Where each unit's permits count.
    pub scopes: &'a BTreeMap<String, Scope>,
}

/// A loaded Rego engine. Evaluations share it and nothing else.
pub struct RegoEngine {
    interpreter: Interpreter,
    generated: Generated,
    scopes: BTreeMap<String, Scope>,
    keys: Keys,
    paths: [(lictor_proto::call::Phase, String); 3],
}

impl RegoEngine {
    /// Loads the policies, and checks the tests beside them, which are not served.
    /// The engine is there only if no diagnostic is an error.
    #[must_use]
    pub fn load(source: &RegoSource<'_>) -> (Option<Self>, Vec<Diagnostic>) {
        let (loaded, problems) = load::load(source);
        let engine = loaded.map(|loaded| Self {
            interpreter: loaded.engine,
            generated: loaded.generated,
            scopes: source.scopes.clone(),
            keys: Keys::new(),
            paths: load::entry_paths(),
        });
        (engine, problems)
    }

    fn failure(&self, text: &str) -> Outcome {
        let place = Place::find(text).map(|place| self.generated.original(place));
        let policy = place.map(|place| place.policy()).unwrap_or_default();
        Outcome::failed(EngineError::fatal(engine_message(text), policy))
    }
}

impl std::fmt::Debug for RegoEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegoEngine")
            .field("sites", &self.generated.sites.len())
            .finish_non_exhaustive()
    }
}

impl Engine for RegoEngine {
    fn name(&self) -> &'static str {
        "rego"
    }

    fn has_policies(&self) -> bool {
        !self.generated.sites.is_empty()
    }

    fn evaluate(&self, query: &Query<'_>) -> Outcome {
        let Some((_, path)) = self.paths.iter().find(|(phase, _)| *phase == query.call.phase)
        else {
            return Outcome::failed(EngineError::fatal("no rule answers for this phase", ""));
        };
        let mut interpreter = self.interpreter.clone();
        interpreter.set_input(self.keys.input(query.call, query.facts));
        match run::rule(&mut interpreter, path, query.budget.time) {
            Ok(answer) => answer::read(&answer, &self.generated.sites, &self.scopes, query),
            Err(text) => self.failure(&text),
        }
    }
}

#[cfg(test)]
mod tests;
