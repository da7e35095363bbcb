//! Rego, by the interpreter of regorus in strict mode, which is the meaning of
//! Rego here.
//!
//! # Layout, in the order that data flows
//!
//! - `source`, `place`, `walk`: texts to parsed policies; places in them; walking
//!   their rules. `names` is the closed vocabulary. `dialect` says what is not Rego v1, `negation`
//!   where `not` is not that of OPA.
//!   `recover`: what is left of a file that does not parse.
//! - `shape`, `references`, `dangling` (over `members`), `functions`, `conflicts`, `depth`
//!   (over `graph`): the load checks on what was parsed.
//! - [`mod@lint`]: warnings for the author, where names of the bundle are known.
//! - `builtins`, `guards`, `weigh`, `paths`: which of the engine's functions may be
//!   called, and with how large arguments.
//! - `catalogue`: every builtin of OPA, and what it is here. `extra`: those that the
//!   engine lacks; `metadata`: those that depend on where they are called.
//! - `generate`: the texts that are served, with a copy of every decision rule.
//! - `load`, `constants`, `unsafes`: the prepared engine, and the checks that need one.
//! - [`input`]: call and facts to the policy input.
//! - `run`, `answer`, `elements`, `output`: one evaluation, and its answer read
//!   strictly.
//! - [`tester`]: `test_` rules.
//! - `outline`: rules in one layout, for comparing bundles.
//! - `trace`: evaluations that are watched, for coverage and explanations.

use std::collections::BTreeMap;

use regorus::Engine as Interpreter;

mod answer;
mod builtins;
mod catalogue;
mod conflicts;
mod constants;
mod dangling;
mod depth;
mod dialect;
mod elements;
mod extra;
mod functions;
mod generate;
mod graph;
mod guards;
pub mod input;
mod lint;
mod load;
mod members;
mod metadata;
mod names;
pub(crate) mod negation;
pub(crate) mod outline;
mod output;
mod paths;
mod place;
mod recover;
mod references;
mod run;
mod shape;
mod source;
pub mod tester;
pub(crate) mod trace;
mod unsafes;
mod walk;
mod weigh;

pub use input::{input_value, value_from_node};
pub(crate) use names::{data_path, is_identifier};
pub use tester::{TestReport, run_tests};

use generate::Generated;
use input::Keys;
use place::{Place, engine_message};

use crate::diagnostic::Diagnostic;
use crate::engine::{Engine, EngineError, Outcome, Query, Scope};
use crate::known::Known;

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
        Self::load_checked(source, None)
    }

    /// The same, with warnings about what is never read, never holds, or names what is not `known`.
    #[must_use]
    pub(crate) fn load_checked(
        source: &RegoSource<'_>,
        known: Option<&Known<'_>>,
    ) -> (Option<Self>, Vec<Diagnostic>) {
        let (loaded, problems) = load::load_checked(source, known);
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
