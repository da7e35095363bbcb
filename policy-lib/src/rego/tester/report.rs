//! What comes of tests.

use std::time::Duration;

use serde::Serialize;

/// What all tests said.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TestReport {
    /// One for each test and case, by file and line.
    pub results: Vec<TestResult>,
}

impl TestReport {
    /// Whether no test failed or could not be run.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| {
            !matches!(result.outcome, TestOutcome::Fail { .. } | TestOutcome::Error { .. })
        })
    }
}

/// One test, or one case of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// `data.<package>.test_x`, with the keys of its case in brackets.
    pub name: String,
    /// Where it stands.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// What came of it.
    pub outcome: TestOutcome,
    /// Of a failed one: where it failed, if that can be told.
    pub failed_at: Option<FailedAt>,
    /// What it printed, each with its place; cases share what their test printed.
    pub prints: Vec<String>,
    /// How long it took; each case has its share of the whole test.
    pub elapsed: Duration,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum TestOutcome {
    /// It held.
    Pass,
    /// It did not hold.
    Fail {
        /// In what way.
        message: String,
    },
    /// It could not be evaluated.
    Error {
        /// Why.
        message: String,
    },
    /// A `todo_test_`.
    Skipped,
}

/// The first statement of a test that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedAt {
    /// Its line, from 1.
    pub line: u32,
    /// Its text as written.
    pub text: String,
    /// Its parts with their values, `undefined` where they have none: both sides of a
    /// comparison, or the whole.
    pub parts: Vec<Named>,
    /// The variables as they were before it, of one of the ways that led there.
    pub locals: Vec<Named>,
    /// How many ways led there: values for which everything before it held.
    pub ways: usize,
}

/// A name or an expression, and its value as JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Named {
    /// As written.
    pub name: String,
    /// Compact JSON, or `undefined`.
    pub value: String,
}
