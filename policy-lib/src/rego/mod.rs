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
//!   (over `graph`), `patterns`: the load checks on what was parsed.
//! - [`mod@lint`]: warnings for the author, where names of the bundle are known.
//! - `builtins`, `guards`, `weigh`, `paths`: which of the engine's functions may be
//!   called, and with how large arguments.
//! - `catalogue`: every builtin of OPA, and what it is here. `extra`: those that the
//!   engine lacks; `metadata`: those that depend on where they are called.
//! - `reach`: whether any rule could say something about an answer.
//! - `generate`: the texts that are served, with a copy of every decision rule.
//! - `load`, `constants`, `unsafes`: the prepared engine, and the checks that need one.
//! - [`input`]: call and facts to the policy input; `shared`: the data.
//! - `fast`: the same by the engine's virtual machine, for programs that are proved safe for it.
//! - `run`, `answer`, `elements`, `output`: one evaluation, and its answer read
//!   strictly.
//! - [`tester`]: `test_` rules.
//! - `outline`: rules in one layout, for comparing bundles.
//! - `trace`: evaluations that are watched, for coverage and explanations.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regorus::{Engine as Interpreter, Value};

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
mod fast;
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
mod patterns;
mod place;
mod reach;
mod recover;
mod references;
mod run;
mod shape;
mod shared;
mod source;
pub mod tester;
pub(crate) mod trace;
mod unsafes;
mod walk;
mod weigh;

pub use input::{input_value, value_from_node};
pub(crate) use names::{data_path, is_identifier};
pub use tester::{TestReport, run_tests};

use fast::Fast;
use generate::Generated;
use input::Keys;
use place::{Place, engine_message};

use crate::diagnostic::Diagnostic;
use crate::engine::{Engine, EngineError, FastPath, Outcome, Query, Scope, Slow, Way};
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
    fast: Result<Fast, Slow>,
    way: Way,
    generated: Generated,
    scopes: BTreeMap<String, Scope>,
    keys: Keys,
    speaks_of_answers: bool,
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
        let (loaded, mut problems) = load::load_checked(source, known);
        let engine = loaded.map(|loaded| Self {
            speaks_of_answers: reach::speaks_of_answers(&loaded.policies),
            fast: Fast::prepare(&loaded.policies, &loaded.engine, &loaded.generated),
            way: Way::default(),
            interpreter: loaded.engine,
            generated: loaded.generated,
            scopes: source.scopes.clone(),
            keys: Keys::new(),
            paths: load::entry_paths(),
        });
        let slow = engine.as_ref().and_then(|engine| engine.fast.as_ref().err());
        problems.extend(slow.filter(|slow| slow.too_large).map(too_large));
        (engine, problems)
    }

    /// What the rules of a phase say, each in the way that is wanted.
    fn answer(&self, path: &str, query: &Query<'_>) -> Result<Value, String> {
        let input = self.keys.input(query.call, query.facts);
        let limit = query.budget.time;
        let fast = match (&self.fast, self.way) {
            (Ok(fast), Way::Fastest | Way::Both) => Some(fast),
            _ => None,
        };
        let Some(fast) = fast else { return self.interpreted(path, input, limit) };
        let started = Instant::now();
        let answer = fast.ask(query.call.phase, input.clone(), limit);
        if self.way == Way::Both {
            let meant = self.interpreted(path, input, limit);
            return match answer {
                Some(answer) if meant.as_ref() != Ok(&answer) => Err(DIFFERS.to_owned()),
                _ => meant,
            };
        }
        match answer {
            Some(answer) => Ok(answer),
            // Declined: the interpreter knows what it means, in the time that is left.
            None => self.interpreted(path, input, limit.saturating_sub(started.elapsed())),
        }
    }

    fn interpreted(&self, path: &str, input: Value, limit: Duration) -> Result<Value, String> {
        let mut interpreter = self.interpreter.clone();
        interpreter.set_input(input);
        run::rule(&mut interpreter, path, limit)
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

    fn speaks_of_answers(&self) -> bool {
        self.speaks_of_answers
    }

    fn evaluate(&self, query: &Query<'_>) -> Outcome {
        let Some((_, path)) = self.paths.iter().find(|(phase, _)| *phase == query.call.phase)
        else {
            return Outcome::failed(EngineError::fatal("no rule answers for this phase", ""));
        };
        match self.answer(path, query) {
            Ok(answer) => answer::read(&answer, &self.generated.sites, &self.scopes, query),
            Err(text) => self.failure(&text),
        }
    }

    fn evaluate_by(&mut self, way: Way) {
        self.way = way;
    }

    fn fast_path(&self) -> Option<FastPath<'_>> {
        Some(match &self.fast {
            Ok(fast) => FastPath::Proved(fast.instructions()),
            Err(slow) => FastPath::Not(slow),
        })
    }
}

/// What is said where the two ways differ, which nothing that was proved can.
const DIFFERS: &str = "the fast path and the interpreter give different answers";

/// A program that is too large is slow, and grows slower with each rule.
fn too_large(slow: &Slow) -> Diagnostic {
    let message = format!("the policies are too large for the fast path: {}", slow.why);
    Diagnostic::warning("rego_slow", "", message)
        .help("put breadth into data, and let few rules read it")
}

#[cfg(test)]
mod tests;
