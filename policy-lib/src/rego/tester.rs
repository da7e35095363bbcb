//! Runs `test_` rules, as `opa test` does, with the functions that serving uses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use regex::Regex;
use regorus::unstable::{Expr, Literal, Rule, RuleHead};
use regorus::{Engine, Value};
use serde::Serialize;

use super::load::{self, Loaded};
use super::names::{RESERVED, data_path, is_test};
use super::output::Meter;
use super::place::engine_message;
use super::source::Policy;
use super::walk::{Node, flatten, head_name, walk_rule};
use super::{RegoSource, run};
use crate::diagnostic::Diagnostic;

/// Longest run of one test.
pub const TEST_TIME: Duration = Duration::from_secs(5);
/// Longest name of a case of a test, in bytes.
const MAX_CASE_BYTES: usize = 200;

/// What all tests said.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TestReport {
    /// One for each test and case, by file and line.
    pub results: Vec<TestResult>,
    /// Lines of the policies, tests left out, by file.
    pub coverage: BTreeMap<String, Coverage>,
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

/// Which lines some test reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Reached.
    pub covered: BTreeSet<u32>,
    /// Not reached.
    pub not_covered: BTreeSet<u32>,
}

/// One test, or one case of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    /// `data.<package>.test_x`, with the case in brackets.
    pub name: String,
    /// Where it stands.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// What came of it.
    pub outcome: TestOutcome,
    /// What it printed, each with its place.
    pub prints: Vec<String>,
    /// How long the whole test took.
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

/// Runs the tests whose name `filter` matches, all of them without one.
///
/// # Errors
/// The diagnostics of bundles that do not load.
pub fn run_tests(
    source: &RegoSource<'_>,
    filter: Option<&Regex>,
) -> Result<TestReport, Vec<Diagnostic>> {
    let (loaded, problems) = load::load(source);
    let loaded = loaded.ok_or(problems)?;
    let tests = tests_of(&loaded.policies);
    let engine = test_engine(&loaded, &tests)
        .map_err(|text| vec![Diagnostic::error("rego_compile", "", engine_message(&text))])?;
    let mut report = TestReport { coverage: untouched(&loaded.policies), ..TestReport::default() };
    for test in tests.iter().filter(|test| filter.is_none_or(|filter| filter.is_match(&test.path)))
    {
        run_one(&engine, test, &mut report);
    }
    report.results.sort_by(|a, b| (&a.file, a.line, &a.name).cmp(&(&b.file, b.line, &b.name)));
    Ok(report)
}

struct Test<'a> {
    policy: &'a Policy,
    path: String,
    line: u32,
    todo: bool,
    /// The rule that lists the cases the test must have, and its text.
    cases: Option<(String, String)>,
}

fn tests_of(policies: &[Policy]) -> Vec<Test<'_>> {
    let mut tests = Vec::new();
    for policy in policies {
        for rule in &policy.module.policy {
            let Some((name, _)) = head_name(rule).filter(|(name, _)| is_test(name)) else {
                continue;
            };
            let mut parts = policy.package.clone();
            let cases = cases_of(policy, rule, tests.len());
            parts.push(name.to_owned());
            let todo = name.starts_with("todo_");
            tests.push(Test {
                policy,
                path: data_path(&parts),
                line: rule.span().line,
                todo,
                cases,
            });
        }
    }
    tests
}

/// A case that does not hold is simply absent from a test's answer. Where the
/// cases come from the first statement, they are listed apart, to be missed.
fn cases_of(policy: &Policy, rule: &Rule, number: usize) -> Option<(String, String)> {
    let Rule::Spec { head: RuleHead::Compr { refr, .. }, bodies, .. } = rule else { return None };
    let Expr::RefBrack { index, .. } = refr.as_ref() else { return None };
    let Expr::Var { span: key, .. } = index.as_ref() else { return None };
    let mut statements = bodies.first()?.query.stmts.iter();
    let first = statements.find(|stmt| !matches!(stmt.literal, Literal::SomeVars { .. }))?;
    if !matches!(first.literal, Literal::SomeIn { .. }) || !first.with_mods.is_empty() {
        return None;
    }
    let statement = statement_text(
        policy,
        first.span.start as usize,
        statements.next().map(|next| next.span.start as usize),
    )?;
    let name = format!("{RESERVED}_cases_{number}");
    let text = format!("{name} contains {} if {{\n{statement}\n}}\n", key.text());
    let mut parts = policy.package.clone();
    parts.push(name);
    Some((data_path(&parts), text))
}

/// The text of a statement, which ends before the next one or with its body.
fn statement_text(policy: &Policy, start: usize, next: Option<usize>) -> Option<&str> {
    let mut depth = 0usize;
    let mut end = None;
    let tokens = policy.tokens.iter().skip_while(|token| token.start < start);
    for token in tokens.take_while(|token| next.is_none_or(|next| token.start < next)) {
        match policy.token_text(token) {
            "(" | "[" | "{" | "set(" => depth += 1,
            ")" | "]" | "}" if depth == 0 => break,
            ")" | "]" | "}" => depth -= 1,
            ";" if depth == 0 => break,
            _ => {}
        }
        end = Some(token.end);
    }
    policy.text.get(start..end?)
}

fn test_engine(loaded: &Loaded, tests: &[Test<'_>]) -> Result<Engine, String> {
    let texts: Vec<(&str, String)> = loaded
        .policies
        .iter()
        .map(|policy| {
            let mut text = policy.text.clone();
            let own = tests.iter().filter(|test| test.policy.name == policy.name);
            for (_, cases) in own.filter_map(|test| test.cases.as_ref()) {
                text.push('\n');
                text.push_str(cases);
            }
            (policy.name.as_str(), text)
        })
        .collect();
    let texts = texts.iter().map(|(name, text)| (*name, text.as_str()));
    let mut engine = load::engine(texts, &loaded.data, &loaded.used)?;
    engine.set_input(Value::new_object());
    engine.set_enable_coverage(true);
    Ok(engine)
}

fn run_one(engine: &Engine, test: &Test<'_>, report: &mut TestReport) {
    let started = Instant::now();
    if test.todo {
        report.results.push(test.result(String::new(), TestOutcome::Skipped));
        return;
    }
    let mut engine = engine.clone();
    let answer = run::rule(&mut engine, &test.path, TEST_TIME);
    let prints = engine.take_prints().unwrap_or_default();
    let first = report.results.len();
    match answer {
        Ok(Value::Object(cases)) => {
            let mut seen: BTreeMap<String, Value> = BTreeMap::new();
            for (case, value) in cases.iter() {
                seen.insert(case_name(case), value.clone());
            }
            match test.expected(&mut engine) {
                Ok(expected) => {
                    for case in expected {
                        seen.entry(case).or_insert(Value::Undefined);
                    }
                }
                Err(message) => {
                    report.results.push(test.result(String::new(), TestOutcome::Error { message }))
                }
            }
            if seen.is_empty() {
                let message = "no case holds".to_owned();
                report.results.push(test.result(String::new(), TestOutcome::Fail { message }));
            }
            report.results.extend(
                seen.iter().map(|(case, value)| test.result(format!("[{case}]"), outcome(value))),
            );
        }
        Ok(value) => report.results.push(test.result(String::new(), outcome(&value))),
        Err(text) => {
            let message = engine_message(&text);
            report.results.push(test.result(String::new(), TestOutcome::Error { message }));
        }
    }
    let elapsed = started.elapsed();
    for result in report.results.iter_mut().skip(first) {
        result.prints.clone_from(&prints);
        result.elapsed = elapsed;
    }
    merge_coverage(&engine, &mut report.coverage);
}

impl Test<'_> {
    fn result(&self, case: String, outcome: TestOutcome) -> TestResult {
        TestResult {
            name: format!("{}{case}", self.path),
            file: self.policy.name.clone(),
            line: self.line,
            outcome,
            prints: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    /// The cases that the test must have.
    fn expected(&self, engine: &mut Engine) -> Result<BTreeSet<String>, String> {
        let Some((path, _)) = &self.cases else { return Ok(BTreeSet::new()) };
        match run::rule(engine, path, TEST_TIME) {
            Ok(Value::Set(cases)) => Ok(cases.iter().map(case_name).collect()),
            Ok(_) => Ok(BTreeSet::new()),
            Err(text) => Err(engine_message(&text)),
        }
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

/// All lines of all policies, none of them reached.
fn untouched(policies: &[Policy]) -> BTreeMap<String, Coverage> {
    let policies = policies.iter().filter(|policy| !policy.test);
    policies
        .map(|policy| {
            let mut coverage = Coverage::default();
            for rule in &policy.module.policy {
                walk_rule(rule, &mut |node| {
                    if let Node::Line(line) = node {
                        coverage.not_covered.insert(line);
                    }
                });
            }
            for line in policy.module.policy.iter().filter_map(|rule| argument_line(rule)) {
                coverage.not_covered.remove(&line);
            }
            (policy.name.clone(), coverage)
        })
        .collect()
}

/// The line of a function's head, where nothing is evaluated if it has a body of
/// its own lines.
fn argument_line(rule: &Rule) -> Option<u32> {
    let Rule::Spec { head: RuleHead::Func { refr, assign: None, .. }, .. } = rule else {
        return None;
    };
    flatten(refr).map(|(span, _)| span.line)
}

fn merge_coverage(engine: &Engine, coverage: &mut BTreeMap<String, Coverage>) {
    let Ok(report) = engine.get_coverage_report() else { return };
    for file in report.files {
        let Some(known) = coverage.get_mut(&file.path) else { continue };
        for line in file.covered {
            known.not_covered.remove(&line);
            known.covered.insert(line);
        }
    }
}
