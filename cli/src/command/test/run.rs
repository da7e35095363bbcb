//! Running both sorts of tests of a bundle.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use lictor_policy_lib::bundle::{Kind, VerifiedBundle, kind};
use lictor_policy_lib::cases::{self, Case, CaseResult};
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::engine::{Budget, Scope};
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::rego::tester::{Coverage, TestOutcome, TestReport};
use lictor_policy_lib::rego::{RegoSource, run_tests};
use serde_json::Value;

use super::TestArgs;
use crate::args::bundle::Loading;
use crate::command::explain::explanation;
use crate::diagnostics::Problems;
use crate::exit::Failure;
use crate::time::now_ms;

/// What came of all tests.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) results: Vec<TestTold>,
    pub(super) coverage: BTreeMap<String, Coverage>,
}

/// What came of one test.
#[derive(Debug)]
pub(super) struct TestTold {
    /// `case` or `rego`.
    pub(super) sort: &'static str,
    pub(super) file: String,
    /// Line, from 1; 0 if unknown.
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) status: Status,
    /// What is different, or why it could not be run.
    pub(super) differences: Vec<String>,
    /// What it printed.
    pub(super) prints: Vec<String>,
    pub(super) elapsed: Duration,
    /// Of a failed case: the decision, with what the engines said.
    pub(super) decision: Option<Value>,
}

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Pass,
    Fail,
    Error,
    Skipped,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

impl Ran {
    pub(super) fn count(&self, status: Status) -> usize {
        self.results.iter().filter(|result| result.status == status).count()
    }

    /// Tests that failed or could not be run.
    pub(super) fn failed(&self) -> usize {
        self.count(Status::Fail) + self.count(Status::Error)
    }

    /// Policy lines that some Rego test reached, in percent of all; all of none are all.
    pub(super) fn coverage_percent(&self) -> f64 {
        let covered: usize = self.coverage.values().map(|file| file.covered.len()).sum();
        let missed: usize = self.coverage.values().map(|file| file.not_covered.len()).sum();
        let total = covered + missed;
        if total == 0 { 100.0 } else { covered as f64 * 100.0 / total as f64 }
    }
}

/// Runs all tests that are wanted. The inner error is a case file or Rego test that
/// cannot be read.
pub(super) fn all(args: &TestArgs, bundle: &LoadedBundle) -> Result<Loading<Ran>, Failure> {
    let verified = bundle.verified();
    let problems = |found| Problems::new(&args.path, found, verified.files().clone());
    let cases = match read_cases(verified) {
        Ok(cases) => cases,
        Err(found) => return Ok(Err(problems(found))),
    };
    let report = match rego(args, verified) {
        Ok(report) => report,
        Err(found) => return Ok(Err(problems(found))),
    };
    let wanted = |case: &Case| {
        let name = format!("{}: {}", case.file, case.name);
        args.run.as_ref().is_none_or(|filter| filter.is_match(&name))
    };
    let cases: Vec<Case> = cases.into_iter().filter(wanted).collect();
    let mut ran = from_rego(report);
    ran.results.extend(run_cases(args, bundle, &cases)?);
    Ok(Ok(ran))
}

fn read_cases(verified: &VerifiedBundle) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let mut all = Vec::new();
    let mut found = Vec::new();
    for (name, bytes) in verified.files().iter().filter(|(name, _)| kind(name) == Some(Kind::Cases))
    {
        let text = String::from_utf8_lossy(bytes);
        match cases::parse(name, &text) {
            Ok(cases) => all.extend(cases),
            Err(error) => {
                let message = error.to_string();
                let message = message.strip_prefix(&format!("{name}: ")).unwrap_or(&message);
                found.push(Diagnostic::error("case_invalid", name, message));
            }
        }
    }
    if found.is_empty() { Ok(all) } else { Err(found) }
}

fn rego(args: &TestArgs, verified: &VerifiedBundle) -> Result<TestReport, Vec<Diagnostic>> {
    let files = verified.files();
    // The loader has refused a bundle with files that are not UTF-8.
    let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).unwrap_or_default().to_owned();
    let modules: Vec<(&str, String)> = files
        .iter()
        .filter(|(name, _)| matches!(kind(name), Some(Kind::Rego { .. })))
        .map(|(name, bytes)| (name, text(bytes)))
        .collect();
    let data = files.get("data.json").map_or_else(|| "{}".to_owned(), text);
    let units = verified.manifest().units.iter();
    let scopes: BTreeMap<String, Scope> = units
        .filter_map(|(unit, settings)| {
            let scope = settings.scope.clone()?;
            Some((
                unit.clone(),
                Scope { agents: scope.agents, servers: scope.servers, models: scope.models },
            ))
        })
        .collect();
    let files = modules.iter().map(|(name, text)| (*name, text.as_str())).collect();
    run_tests(&RegoSource { files, data: &data, scopes: &scopes }, args.run.as_ref())
}

fn from_rego(report: TestReport) -> Ran {
    let told = |result: lictor_policy_lib::rego::tester::TestResult| {
        let (status, differences) = match result.outcome {
            TestOutcome::Pass => (Status::Pass, Vec::new()),
            TestOutcome::Skipped => (Status::Skipped, Vec::new()),
            TestOutcome::Fail { message } => (Status::Fail, vec![message]),
            TestOutcome::Error { message } => (Status::Error, vec![message]),
        };
        TestTold {
            sort: "rego",
            file: result.file,
            line: result.line,
            name: result.name,
            status,
            differences,
            prints: result.prints,
            elapsed: result.elapsed,
            decision: None,
        }
    };
    Ran { results: report.results.into_iter().map(told).collect(), coverage: report.coverage }
}

/// Runs the cases on several threads; results are in the order of the cases.
fn run_cases(
    args: &TestArgs,
    bundle: &LoadedBundle,
    cases: &[Case],
) -> Result<Vec<TestTold>, Failure> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or(processors, usize::from);
    let share = cases.len().div_ceil(jobs).max(1);
    // One moment for all, so that the order of running cannot matter.
    let now = now_ms();
    thread::scope(|scope| {
        let started: Vec<_> = cases
            .chunks(share)
            .map(|cases| {
                scope.spawn(move || {
                    cases.iter().map(|case| run_case(bundle, case, now)).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut results = Vec::with_capacity(cases.len());
        for thread in started {
            let done = thread
                .join()
                .map_err(|_| Failure::failed("a case ended the thread that ran it"))?;
            results.extend(done);
        }
        Ok(results)
    })
}

fn run_case(bundle: &LoadedBundle, case: &Case, now_ms: i64) -> TestTold {
    let started = Instant::now();
    let result = cases::run(bundle, case, now_ms, Budget::default());
    let passed = result.differences.is_empty();
    TestTold {
        sort: "case",
        line: 0,
        status: if passed { Status::Pass } else { Status::Fail },
        prints: Vec::new(),
        elapsed: started.elapsed(),
        decision: if passed { None } else { Some(decision_of(&result)) },
        file: result.file,
        name: result.name,
        differences: result.differences,
    }
}

fn decision_of(result: &CaseResult) -> Value {
    let mut decision = serde_json::to_value(&result.outcome.decision).unwrap_or_default();
    if let Some(members) = decision.as_object_mut() {
        members.insert("explain".to_owned(), explanation(&result.outcome.verdict));
    }
    decision
}
