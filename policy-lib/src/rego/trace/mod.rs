//! Evaluations that are watched: which statements of the policies were reached,
//! which held, and with what. For coverage and explanations; never part of serving.
//!
//! The policies are loaded a second time with markers, from the same texts and
//! through the same generator as those that serve, so that a call has the same
//! outcome here as there. Decisions are never taken from here.
//!
//! # Layout
//!
//! - [`names`], [`mark`]: texts with markers.
//! - this file: the engine over them, what it notes, and its runs.
//! - [`told`], [`values`]: one run, rule by rule.

mod mark;
mod names;
mod told;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regorus::{Engine, Value};

use super::generate::{Served, generate};
use super::input::Keys;
use super::load::{self, Loaded};
use super::names::RESERVED;
use super::place::engine_message;
use super::source::{Policy, parse};
use super::tester::mocks;
use super::{RegoSource, answer, run};
use crate::diagnostic::Diagnostic;
use crate::engine::{EngineError, Outcome, Query, Scope};

use mark::Map;

pub(crate) use mark::Sort;
pub(crate) use names::{bound, children, expressions, needed, variables};

/// Longest watched evaluation: markers take time, and nobody waits.
pub(crate) const WATCHED_TIME: Duration = Duration::from_secs(5);
/// Most events that one evaluation notes.
pub(crate) const EVENTS_MAX: usize = 20_000;

/// What a watched evaluation noted, in order.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A body was begun.
    Enter(usize),
    /// A statement held, with the values of its variables.
    Saw(usize, Vec<Value>),
    /// A body held.
    Held(usize),
}

/// What all evaluations noted together, from any thread.
#[derive(Debug)]
pub(crate) struct Notes {
    saw: Vec<AtomicBool>,
    held: Vec<AtomicBool>,
    /// Only where one evaluation is to be explained.
    events: Option<Mutex<Vec<Event>>>,
}

impl Notes {
    fn new(map: &Map, with_events: bool) -> Self {
        let flags = |count: usize| (0..count).map(|_| AtomicBool::new(false)).collect();
        Self {
            saw: flags(map.statements.len()),
            held: flags(map.bodies.len()),
            events: with_events.then(|| Mutex::new(Vec::new())),
        }
    }

    fn note(&self, event: Event) {
        let flag = match &event {
            Event::Enter(_) => None,
            Event::Saw(number, _) => self.saw.get(*number),
            Event::Held(number) => self.held.get(*number),
        };
        if let Some(flag) = flag {
            flag.store(true, Ordering::Relaxed);
        }
        if let Some(events) = &self.events
            && let Ok(mut events) = events.lock()
            && events.len() < EVENTS_MAX
        {
            events.push(event);
        }
    }
}

/// The policies with markers, ready to be watched.
pub(crate) struct Traced {
    /// As the user wrote them.
    pub(crate) loaded: Loaded,
    pub(crate) map: Map,
    served: BTreeMap<String, Served>,
    owners: BTreeMap<String, Vec<Option<usize>>>,
    scopes: BTreeMap<String, Scope>,
    engine: Engine,
    notes: Arc<Notes>,
    keys: Keys,
}

impl Traced {
    /// Loads the policies with markers. With `events`, each evaluation can be
    /// read step by step; such a one is for one thread.
    ///
    /// # Errors
    /// The problems of policies that do not load, or that are too long to mark.
    pub(crate) fn load(source: &RegoSource<'_>, events: bool) -> Result<Self, Vec<Diagnostic>> {
        let (loaded, problems) = load::load(source);
        let loaded = loaded.ok_or(problems)?;
        let (map, policies, owners) = marked(&loaded)?;
        let mut problems = Vec::new();
        let generated = generate(&policies, &mut problems);
        if generated.sites.len() != loaded.generated.sites.len() || !problems.is_empty() {
            problems.push(unmarked("the copy has another number of rules"));
            return Err(problems);
        }
        let tests = policies.iter().filter(|policy| policy.test);
        let tests = tests.map(|test| (test.name.as_str(), test.text.as_str()));
        let texts = generated.served.iter();
        let texts = texts.map(|served| (served.name.as_str(), served.text.as_str()));
        let aggregate = format!("{RESERVED}.rego");
        let texts = texts.chain([(aggregate.as_str(), generated.aggregate.as_str())]).chain(tests);
        let failed = |text: String| vec![unmarked(&engine_message(&text))];
        let mut engine = load::engine(texts, &loaded.data, &loaded.used).map_err(failed)?;
        let notes = Arc::new(Notes::new(&map, events));
        install(&mut engine, &notes).map_err(failed)?;
        engine.set_input(Value::new_object());
        engine.set_enable_coverage(true);
        let served = generated.served.into_iter().map(|served| (served.name.clone(), served));
        let (served, scopes) = (served.collect(), source.scopes.clone());
        Ok(Self { loaded, map, served, owners, scopes, engine, notes, keys: Keys::new() })
    }

    /// Whether a statement ever held.
    #[cfg(test)]
    pub(crate) fn saw(&self, statement: usize) -> bool {
        self.notes.saw.get(statement).is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Whether a body ever held.
    pub(crate) fn held(&self, body: usize) -> bool {
        self.notes.held.get(body).is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Whoever evaluates on one thread.
    pub(crate) fn watcher(&self) -> Watcher<'_> {
        let input = Value::new_object();
        Watcher { traced: self, engine: self.engine.clone(), input, reached: BTreeSet::new() }
    }

    /// The statement that a line of the text with markers and copies is of.
    fn owner(&self, file: &str, line: u32) -> Option<usize> {
        let served = self.served.get(file)?;
        let line = usize::try_from(served.original_line(line)).ok()?;
        *self.owners.get(file)?.get(line.checked_sub(1)?)?
    }

    /// Every test that is run, by path.
    pub(crate) fn tests(&self) -> Vec<String> {
        let mut tests = Vec::new();
        for policy in &self.loaded.policies {
            for rule in &policy.module.policy {
                let name = super::walk::head_name(rule).map(|(name, _)| name);
                let Some(name) = name.filter(|name| name.starts_with("test_")) else { continue };
                let mut parts = policy.package.clone();
                parts.push(name.to_owned());
                tests.push(super::names::data_path(&parts));
            }
        }
        tests.sort();
        tests.dedup();
        tests
    }
}

/// What is marked, the policies with markers and the tests beside them, and the
/// statement that each line is of.
type Marked = (Map, Vec<Policy>, BTreeMap<String, Vec<Option<usize>>>);

fn marked(loaded: &Loaded) -> Result<Marked, Vec<Diagnostic>> {
    let (map, texts) = mark::mark(&loaded.policies);
    let mut owners = BTreeMap::new();
    let mut policies: Vec<Policy> = Vec::new();
    for (policy, marked) in loaded.policies.iter().zip(texts) {
        let text = marked.as_ref().map_or(&policy.text, |marked| &marked.text);
        let read = parse(&policy.name, text);
        policies.push(read.map_err(|problem| vec![unmarked(&problem.to_string())])?);
        owners.extend(marked.map(|marked| (policy.name.clone(), marked.owners)));
    }
    // As for the tests themselves.
    mocks::write_out(&mut policies)?;
    Ok((map, policies, owners))
}

fn unmarked(why: &str) -> Diagnostic {
    let message = format!("the policies load, but they cannot be watched: {why}");
    let help = "only coverage and explanations are missing; a very long file may be split";
    Diagnostic::error("rego_watch", "", message).help(help)
}

fn install(engine: &mut Engine, notes: &Arc<Notes>) -> Result<(), String> {
    let number = |values: &[Value]| {
        values.first().and_then(|value| value.as_u64().ok()).and_then(|n| usize::try_from(n).ok())
    };
    let note = |event: fn(usize, Vec<Value>) -> Event| {
        let notes = Arc::clone(notes);
        move |values: Vec<Value>| {
            if let Some(number) = number(&values) {
                let noted = match values.get(1) {
                    Some(Value::Array(items)) => items.iter().cloned().collect(),
                    _ => Vec::new(),
                };
                notes.note(event(number, noted));
            }
            Ok(Value::Bool(true))
        }
    };
    let mut add = |name: &str, params: u8, event: fn(usize, Vec<Value>) -> Event| {
        engine
            .add_extension(name.to_owned(), params, Box::new(note(event)))
            .map_err(|e| e.to_string())
    };
    add(mark::ENTER, 1, |number, _| Event::Enter(number))?;
    add(mark::SAW, 2, Event::Saw)?;
    add(mark::HELD, 2, |number, _| Event::Held(number))
}

/// Evaluates with markers, on one thread.
pub(crate) struct Watcher<'t> {
    traced: &'t Traced,
    engine: Engine,
    input: Value,
    reached: BTreeSet<usize>,
}

impl Watcher<'_> {
    /// Evaluates a call like the engine that serves, and gives the same outcome.
    pub(crate) fn call(&mut self, query: &Query<'_>) -> Outcome {
        let paths = load::entry_paths();
        let Some((_, path)) = paths.iter().find(|(phase, _)| *phase == query.call.phase) else {
            return Outcome::failed(EngineError::fatal("no rule answers for this phase", ""));
        };
        let traced = self.traced;
        self.set_input(traced.keys.input(query.call, query.facts));
        match self.rule(path) {
            // The places are those of the policies without markers.
            Ok(said) => answer::read(&said, &traced.loaded.generated.sites, &traced.scopes, query),
            Err(text) => Outcome::failed(EngineError::fatal(engine_message(&text), "")),
        }
    }

    fn set_input(&mut self, input: Value) {
        self.input = input.clone();
        self.engine.set_input(input);
    }

    /// Evaluates the rule at a path, such as a test.
    ///
    /// # Errors
    /// The engine's message.
    pub(crate) fn rule(&mut self, path: &str) -> Result<Value, String> {
        let evaluated = run::rule(&mut self.engine, path, WATCHED_TIME);
        if evaluated.is_err() {
            // What failed may have left the engine in any state.
            self.gather();
            self.engine = self.traced.engine.clone();
            self.engine.set_input(self.input.clone());
        }
        evaluated
    }

    /// A test, which begins with an empty input.
    pub(crate) fn test(&mut self, path: &str) {
        self.set_input(Value::new_object());
        // What comes of it is told by whoever runs the tests.
        drop(self.rule(path));
    }

    /// What happened since this was asked last; nothing without events.
    pub(crate) fn events(&self) -> Vec<Event> {
        let events = self.traced.notes.events.as_ref();
        events
            .and_then(|events| Some(std::mem::take(&mut *events.lock().ok()?)))
            .unwrap_or_default()
    }

    /// The statements that were evaluated until now.
    fn reached_so_far(&mut self) -> BTreeSet<usize> {
        self.gather();
        self.reached.clone()
    }

    /// The statements that were evaluated.
    pub(crate) fn reached(mut self) -> BTreeSet<usize> {
        self.gather();
        self.reached
    }

    fn gather(&mut self) {
        let Ok(report) = self.engine.get_coverage_report() else { return };
        for file in report.files {
            let owners =
                file.covered.iter().filter_map(|line| self.traced.owner(&file.path, *line));
            self.reached.extend(owners);
        }
    }
}

#[cfg(test)]
mod tests;
