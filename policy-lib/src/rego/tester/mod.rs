//! Runs `test_` rules, as `opa test` does, with the functions that serving uses.
//!
//! # Layout
//!
//! - [`report`]: what comes of tests.
//! - `mocks`: functions that tests replace, made to be found.
//! - `find`: the tests in parsed policies, and the cases that they must have.
//! - this file: one prepared engine, of which every test gets a copy.
//! - `why`: which statement of a failed test was the first that did not hold.

mod find;
pub(super) mod mocks;
pub mod report;
mod why;
#[cfg(test)]
mod why_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use regex::Regex;
use regorus::{Engine, Value};

pub use report::{FailedAt, Named, TestOutcome, TestReport, TestResult};

use super::load::{self, Loaded};
use super::output::Meter;
use super::place::engine_message;
use super::{RegoSource, run};
use crate::diagnostic::Diagnostic;
use crate::load::{LoadedBundle, Sources};
use find::Test;

/// Longest run of one test, unless another is asked for.
pub const TEST_TIME: Duration = Duration::from_secs(5);
/// Longest name of a case of a test, in bytes.
const MAX_CASE_BYTES: usize = 200;

/// How tests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestOptions {
    /// Longest run of one test.
    pub timeout: Duration,
}

impl Default for TestOptions {
    fn default() -> Self {
        Self { timeout: TEST_TIME }
    }
}

/// A test that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestName<'a> {
    /// `data.<package>.test_x`, without cases.
    pub name: &'a str,
    /// The file it is in.
    pub file: &'a str,
    /// Line, from 1.
    pub line: u32,
    /// Whether it is a `todo_test_`, which is not run.
    pub todo: bool,
}

/// The tests of a bundle, ready to be run from any thread.
pub struct RegoTests {
    loaded: Loaded,
    tests: Vec<Test>,
    engine: Engine,
    options: TestOptions,
}

impl std::fmt::Debug for RegoTests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegoTests").field("tests", &self.tests.len()).finish_non_exhaustive()
    }
}

impl RegoTests {
    /// The tests of a bundle that was loaded.
    ///
    /// # Errors
    /// Why the tests cannot be run although the bundle loads.
    pub fn of(bundle: &LoadedBundle, options: TestOptions) -> Result<Self, Vec<Diagnostic>> {
        Self::load(&Sources::of(bundle.verified()).rego(), options)
    }

    /// Loads policies and tests.
    ///
    /// # Errors
    /// The diagnostics of bundles that do not load.
    pub fn load(source: &RegoSource<'_>, options: TestOptions) -> Result<Self, Vec<Diagnostic>> {
        let (loaded, problems) = load::load(source);
        let mut loaded = loaded.ok_or(problems)?;
        mocks::write_out(&mut loaded.policies)?;
        let mut tests = find::tests_of(&loaded.policies);
        let engine = match prepared(&loaded, &tests) {
            Ok(engine) => engine,
            // Statements that list the cases may need what comes after them.
            Err(_) => {
                tests.iter_mut().for_each(|test| test.cases = None);
                prepared(&loaded, &tests).map_err(|text| {
                    vec![Diagnostic::error("rego_compile", "", engine_message(&text))]
                })?
            }
        };
        Ok(Self { loaded, tests, engine, options })
    }

    /// All tests, by file and line.
    pub fn names(&self) -> impl ExactSizeIterator<Item = TestName<'_>> {
        self.tests.iter().map(|test| TestName {
            name: &test.path,
            file: &test.file,
            line: test.line,
            todo: test.todo,
        })
    }

    /// Whether `filter` finds the name of the test with that number in the order of
    /// [`Self::names`], or of one of its cases.
    #[must_use]
    pub fn wanted(&self, number: usize, filter: &Regex) -> bool {
        self.tests.get(number).is_some_and(|test| {
            let cases = || self.listed(test).unwrap_or_default();
            filter.is_match(&test.path)
                || cases().iter().any(|case| filter.is_match(&test.case(case)))
        })
    }

    /// Runs the test with that number in the order of [`Self::names`]. Where `filter`
    /// does not find the test itself, only those of its cases that it finds.
    #[must_use]
    pub fn run(&self, number: usize, filter: Option<&Regex>) -> Vec<TestResult> {
        let Some(test) = self.tests.get(number) else { return Vec::new() };
        let Some(filter) = filter.filter(|filter| !filter.is_match(&test.path)) else {
            return self.run_test(test);
        };
        if test.todo || !self.wanted(number, filter) {
            return Vec::new();
        }
        let mut results = self.run_test(test);
        results.retain(|result| filter.is_match(&result.name));
        results
    }

    fn run_test(&self, test: &Test) -> Vec<TestResult> {
        if test.todo {
            return vec![test.result("", TestOutcome::Skipped)];
        }
        let started = Instant::now();
        let mut engine = self.engine.clone();
        let answer = run::rule(&mut engine, &test.path, self.options.timeout);
        let prints = engine.take_prints().unwrap_or_default();
        let mut results = match answer {
            Ok(value) if test.keys.is_empty() => vec![test.result("", outcome(&value))],
            Ok(value) => self.cases(test, &value),
            Err(text) => vec![test.result("", self.error(&text))],
        };
        let count = u32::try_from(results.len()).unwrap_or(u32::MAX).max(1);
        let elapsed = started.elapsed() / count;
        for result in &mut results {
            result.prints.clone_from(&prints);
            result.elapsed = elapsed;
        }
        results
    }

    fn error(&self, text: &str) -> TestOutcome {
        // The engine says how long it took to the nanosecond.
        let late = text.contains("exceeded time limit") || text.contains("took longer than");
        let message = if late {
            format!("it took longer than {} ms", self.options.timeout.as_millis())
        } else {
            engine_message(text)
        };
        TestOutcome::Error { message }
    }

    /// What came of each case; a case that does not hold is simply absent from the
    /// test's answer.
    fn cases(&self, test: &Test, answer: &Value) -> Vec<TestResult> {
        let mut seen: BTreeMap<String, TestOutcome> = BTreeMap::new();
        if let Value::Object(cases) = answer {
            seen.extend(cases.iter().map(|(keys, value)| (brackets(keys), outcome(value))));
        }
        let mut results = Vec::new();
        match self.listed(test) {
            Ok(listed) => {
                for case in listed {
                    seen.entry(case).or_insert_with(|| outcome(&Value::Undefined));
                }
            }
            Err(message) => results.push(test.result("", TestOutcome::Error { message })),
        }
        if seen.is_empty() {
            let message = "no case holds".to_owned();
            results.push(test.result("", TestOutcome::Fail { message }));
        }
        results.extend(seen.into_iter().map(|(case, outcome)| test.result(&case, outcome)));
        results
    }

    /// The cases that the test must have, as they stand behind its name.
    fn listed(&self, test: &Test) -> Result<BTreeSet<String>, String> {
        let Some(cases) = &test.cases else { return Ok(BTreeSet::new()) };
        let mut engine = self.engine.clone();
        match run::rule(&mut engine, &cases.path, self.options.timeout) {
            Ok(Value::Set(cases)) => Ok(cases.iter().map(brackets).collect()),
            Ok(_) => Ok(BTreeSet::new()),
            Err(text) => Err(engine_message(&text)),
        }
    }

    /// Finds out of failed tests which statement was the first that did not hold.
    pub fn explain(&self, results: &mut [TestResult]) {
        why::explain(self, results);
    }
}

/// Runs the tests whose name `filter` matches, all of them without one.
///
/// # Errors
/// The diagnostics of bundles that do not load.
pub fn run_tests(
    source: &RegoSource<'_>,
    filter: Option<&Regex>,
) -> Result<TestReport, Vec<Diagnostic>> {
    let tests = RegoTests::load(source, TestOptions::default())?;
    let mut results: Vec<TestResult> =
        (0..tests.names().len()).flat_map(|number| tests.run(number, filter)).collect();
    tests.explain(&mut results);
    Ok(TestReport { results })
}

/// An engine over policies, tests and the rules that list cases.
fn prepared(loaded: &Loaded, tests: &[Test]) -> Result<Engine, String> {
    let texts: Vec<(&str, String)> = loaded
        .policies
        .iter()
        .map(|policy| {
            let mut text = policy.text.clone();
            let own = tests.iter().filter(|test| test.file == policy.name);
            for cases in own.filter_map(|test| test.cases.as_ref()) {
                text.push('\n');
                text.push_str(&cases.text);
            }
            (policy.name.as_str(), text)
        })
        .collect();
    let texts = texts.iter().map(|(name, text)| (*name, text.as_str()));
    let mut engine = load::engine(texts, &loaded.data, &loaded.used)?;
    engine.set_input(Value::new_object());
    run::rule(&mut engine, &load::ready_path(), run::LOAD_TIME)?;
    Ok(engine)
}

/// `["a"]["b"]` of a list of keys, `["a"]` of one.
fn brackets(keys: &Value) -> String {
    match keys {
        Value::Array(keys) => keys.iter().map(|key| format!("[{}]", case_name(key))).collect(),
        key => format!("[{}]", case_name(key)),
    }
}

fn case_name(case: &Value) -> String {
    Meter::new(MAX_CASE_BYTES).json(case).unwrap_or_else(|error| format!("<{error}>"))
}

fn outcome(value: &Value) -> TestOutcome {
    let message = match value {
        Value::Bool(true) => return TestOutcome::Pass,
        Value::Bool(false) => "it is false",
        Value::Undefined => "it does not hold",
        _ => "its value is not a boolean",
    };
    TestOutcome::Fail { message: message.to_owned() }
}
