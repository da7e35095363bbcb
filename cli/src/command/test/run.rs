//! Running both sorts of tests of a bundle.

use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use lictor_policy_lib::cases::{self, Case, Complete, Difference};
use lictor_policy_lib::coverage::{Coverage, Report, Seen, Watching};
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::explain::{Explainer, Explanation};
use lictor_policy_lib::rego::tester::{FailedAt, TestOutcome, TestResult};
use lictor_proto::facts::Facts;
use serde_json::{Value, json};

use super::suite::{Item, Suite};
use super::{TestArgs, pool};
use crate::args::bundle::Loading;
use crate::command::explain::explanation;
use crate::diagnostics::Problems;
use crate::exit::Failure;
use crate::time::now_ms;

/// Most failed cases of which it is told clause by clause why they came out so.
const EXPLAINED_MAX: usize = 50;

/// What came of all tests.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) results: Vec<TestTold>,
    /// How many were left out after the first that failed.
    pub(super) not_run: usize,
    /// What they reached, if it was asked for.
    pub(super) coverage: Option<Report>,
}

/// What came of one test.
#[derive(Debug, Default)]
pub(super) struct TestTold {
    /// `case` or `rego`.
    pub(super) sort: &'static str,
    pub(super) file: String,
    /// Line, from 1; 0 if unknown.
    pub(super) line: u32,
    pub(super) name: String,
    pub(super) status: Status,
    /// Why it failed, could not be run, or was skipped, one sentence each.
    pub(super) messages: Vec<String>,
    /// Of a case: what came out otherwise than expected.
    pub(super) differences: Vec<Difference>,
    /// Of a failed Rego test: the statement that did not hold.
    pub(super) failed_at: Option<FailedAt>,
    /// What it printed.
    pub(super) prints: Vec<String>,
    pub(super) elapsed: Duration,
    /// Of a failed case: what it was decided over.
    pub(super) facts: Option<Facts>,
    /// Of a failed case: the decision, with what the engines said.
    pub(super) decision: Option<Value>,
    /// Of a failed case: the rules that decided, and the nearest permits.
    pub(super) explanation: Option<Explanation>,
}

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Status {
    Pass,
    #[default]
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

impl TestTold {
    pub(super) fn failed(&self) -> bool {
        matches!(self.status, Status::Fail | Status::Error)
    }

    /// Everything that is wrong, one sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let differences = self.differences.iter().map(ToString::to_string);
        self.messages.iter().cloned().chain(differences).collect()
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
}

/// One piece of work: what came of it, and of a Rego test that itself, to be explained.
struct Piece {
    told: Vec<TestTold>,
    rego: Vec<TestResult>,
}

impl Piece {
    fn failed(&self) -> bool {
        let failed = |result: &TestResult| {
            matches!(result.outcome, TestOutcome::Fail { .. } | TestOutcome::Error { .. })
        };
        self.told.iter().any(TestTold::failed) || self.rego.iter().any(failed)
    }
}

/// Runs a suite. The inner error is of policies that cannot be watched for coverage.
pub(super) fn all(args: &TestArgs, suite: &Suite<'_>) -> Result<Loading<Ran>, Failure> {
    let coverage = args.coverage.wanted().then(|| Coverage::new(suite.bundle)).transpose();
    let coverage = match coverage {
        Ok(coverage) => coverage,
        Err(found) => {
            let files = suite.bundle.verified().files().clone();
            return Ok(Err(Problems::new(&args.path, found, files)));
        }
    };
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or(processors, usize::from);
    // One moment for all, so that the order of running cannot matter.
    let now = now_ms();
    let work = |watching: &mut Option<Watching<'_>>, number: usize| match suite.items.get(number) {
        Some(Item::Rego(number)) => {
            Piece { told: Vec::new(), rego: suite.rego.run(*number, suite.filter.as_ref()) }
        }
        Some(Item::Case(number)) => {
            let case = suite.cases.get(*number);
            let told = case.map(|case| run_case(args, suite, case, now, watching.as_mut()));
            Piece { told: told.into_iter().collect(), rego: Vec::new() }
        }
        Some(Item::Complete(number)) => {
            let told = suite.complete.get(*number).map(|complete| lacks(suite, complete));
            Piece { told: told.into_iter().collect(), rego: Vec::new() }
        }
        None => Piece { told: Vec::new(), rego: Vec::new() },
    };
    let start = || coverage.as_ref().map(Coverage::watch);
    let stops = |piece: &Piece| args.fail_fast && piece.failed();
    let done = pool::run(suite.items.len(), jobs, start, work, stops)
        .ok_or_else(|| Failure::failed("a test ended the thread that ran it"))?;
    let mut ran = Ran { not_run: suite.items.len() - done.results.len(), ..Ran::default() };
    let mut rego = Vec::new();
    for piece in done.results {
        ran.results.extend(piece.told);
        rego.extend(piece.rego);
    }
    suite.rego.explain(&mut rego);
    ran.results.splice(0..0, rego.into_iter().map(from_rego));
    explain(suite, now, &mut ran);
    if let Some(coverage) = &coverage {
        let mut seen = Seen::default();
        done.states.into_iter().flatten().for_each(|watching| seen.merge(watching.seen()));
        let rego = ran.results.iter().filter(|result| result.sort == "rego");
        let names: Vec<&str> = rego.map(|result| result.name.as_str()).collect();
        seen.merge(coverage.rego_tests(&names));
        ran.coverage = Some(coverage.report(&seen));
    }
    Ok(Ok(ran))
}

fn from_rego(result: TestResult) -> TestTold {
    let (status, messages) = match result.outcome {
        TestOutcome::Pass => (Status::Pass, Vec::new()),
        TestOutcome::Skipped => (Status::Skipped, vec!["a `todo_` test".to_owned()]),
        TestOutcome::Fail { message } => (Status::Fail, vec![message]),
        TestOutcome::Error { message } => (Status::Error, vec![message]),
    };
    TestTold {
        sort: "rego",
        file: result.file,
        line: result.line,
        name: result.name,
        status,
        messages,
        failed_at: result.failed_at,
        prints: result.prints,
        elapsed: result.elapsed,
        ..TestTold::default()
    }
}

fn run_case(
    args: &TestArgs,
    suite: &Suite<'_>,
    case: &Case,
    now_ms: i64,
    watching: Option<&mut Watching<'_>>,
) -> TestTold {
    let told = TestTold {
        sort: "case",
        file: case.file.clone(),
        line: case.line,
        name: case.name.clone(),
        ..TestTold::default()
    };
    if let Some(reason) = &case.skip {
        return TestTold { status: Status::Skipped, messages: vec![reason.clone()], ..told };
    }
    let started = Instant::now();
    // A busy machine must not decide what comes out: not the time that serving allows.
    let budget = Budget { time: args.timeout, ..Budget::default() };
    let result = cases::run(suite.bundle, case, now_ms, budget);
    let elapsed = started.elapsed();
    if let Some(watching) = watching {
        watching.decided(&case.call, &result.outcome);
    }
    let late = elapsed > args.timeout;
    let message = late.then(|| format!("it took longer than {} ms", args.timeout.as_millis()));
    let status = match (late, result.differences.is_empty()) {
        (true, _) => Status::Error,
        (false, true) => Status::Pass,
        (false, false) => Status::Fail,
    };
    let mut decision = json!(result.outcome.decision);
    if let Some(members) = decision.as_object_mut() {
        members.insert("explain".to_owned(), explanation(&result.outcome.verdict));
    }
    TestTold {
        status,
        messages: message.into_iter().collect(),
        differences: result.differences,
        decision: (status != Status::Pass).then_some(decision),
        facts: (status != Status::Pass).then_some(result.outcome.facts),
        elapsed,
        ..told
    }
}

/// What a table lacks of what it should have all of.
fn lacks(suite: &Suite<'_>, complete: &Complete) -> TestTold {
    let messages = complete.lacks(suite.bundle.registry());
    TestTold {
        sort: "case",
        file: complete.file.clone(),
        line: complete.line,
        name: complete.name.clone(),
        status: if messages.is_empty() { Status::Pass } else { Status::Fail },
        messages,
        ..TestTold::default()
    }
}

/// Tells of failed cases why they came out as they did.
fn explain(suite: &Suite<'_>, now_ms: i64, ran: &mut Ran) {
    let failed = ran.results.iter_mut().filter(|told| told.decision.is_some());
    let mut failed = failed.take(EXPLAINED_MAX).peekable();
    if failed.peek().is_none() {
        return;
    }
    // What cannot be watched is told all the same, by the reasons of its decision.
    let Ok(explainer) = Explainer::new(suite.bundle) else { return };
    for told in failed {
        let mut cases = suite.cases.iter();
        let own = cases.find(|case| case.file == told.file && case.name == told.name);
        if let (Some(case), Some(facts)) = (own, &told.facts) {
            let now_ms = case.now_ms.unwrap_or(now_ms);
            let budget = Budget::default();
            told.explanation = Some(explainer.explain(&case.call, facts, now_ms, budget));
        }
    }
}
