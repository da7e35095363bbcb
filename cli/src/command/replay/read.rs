//! Logs -> records that were verified, decided again on several threads. Only a few records are
//! held at a time.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use lictor_audit::stream::{Raw, Stream};
use lictor_audit::verify::{FaultKind, Report, VerifyOptions};
use lictor_pdp::server::WORKER_STACK_BYTES;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::replay::{Cause, Recorded, Replayed, Side, changes, redecide, replay};
use serde_json::Value;

use super::tally::{Compared, Tally};
use super::{Bundles, By, ReplayArgs};
use crate::args::keys::verifying;
use crate::args::logs::unreadable;
use crate::exit::{Exit, Failure};
use crate::output::shown;

/// Longest evaluation of one engine, in milliseconds: nobody waits for the answer.
const ENGINE_MS: u64 = 5_000;
/// Records that go to a thread together.
const BATCH_RECORDS: usize = 32;
/// Batches that wait for a thread, for each of them.
const WAITING_BATCHES: usize = 2;

/// The logs, and what is known of them.
pub(super) struct Source {
    logs: Logs,
    /// `None` if they were not verified.
    report: Option<Report>,
    keyed: bool,
}

impl Source {
    /// Opens the logs and verifies them first.
    pub(super) fn open(args: &ReplayArgs) -> Result<Self, Failure> {
        let keyed = !args.keys.is_empty();
        let report = if args.unverified { None } else { Some(verified(args)?) };
        let logs = Logs::open(&args.paths).map_err(|error| unreadable(&error))?;
        Ok(Self { logs, report, keyed })
    }

    /// Names of the logs.
    pub(super) fn names(&self) -> Vec<String> {
        self.logs.names()
    }

    /// How the logs were verified: `trusted_keys`, `own_keys` or `no`.
    pub(super) fn verified(&self) -> &'static str {
        match (&self.report, self.keyed) {
            (None, _) => "no",
            (Some(_), true) => "trusted_keys",
            (Some(_), false) => "own_keys",
        }
    }

    /// What must be known of the logs.
    pub(super) fn warnings(&self) -> Vec<String> {
        let Some(report) = &self.report else {
            return vec!["the logs are NOT VERIFIED: what is counted may be forged".to_owned()];
        };
        let torn = report.logs.iter().filter(|log| is_torn(log.fault.as_ref().map(|f| f.what)));
        torn.map(|log| {
            format!("the last line of `{}` is incomplete, as after a crash", shown(&log.log))
        })
        .collect()
    }

    fn stream(&self) -> Stream {
        match &self.report {
            Some(report) => Stream::verified(&self.logs, report),
            None => Stream::unverified(&self.logs),
        }
    }
}

fn is_torn(what: Option<FaultKind>) -> bool {
    what == Some(FaultKind::TornTail)
}

fn verified(args: &ReplayArgs) -> Result<Report, Failure> {
    let options = VerifyOptions {
        trusted: verifying(&args.keys)?,
        known_checkpoints: Vec::new(),
        allow_pruned: args.allow_pruned,
        // Every side value is held against its commitment when it is opened.
        skip_side: true,
    };
    let report = lictor_audit::verify(&args.paths, &options).map_err(|error| unreadable(&error))?;
    let broken = report.logs.iter().find_map(|log| {
        let fault = log.fault.as_ref().filter(|fault| !is_torn(Some(fault.what)))?;
        Some(format!("`{}` is broken at line {}: {}", log.log, fault.line, fault.detail))
    });
    match broken {
        None => Ok(report),
        Some(broken) => Err(Failure::new(Exit::Broken, shown(&broken)).help(
            "`lictor audit verify` tells more; `--unverified` replays what is there all the same",
        )),
    }
}

/// Which decisions are wanted.
struct Wanted<'a> {
    since_ms: i64,
    until_ms: i64,
    tenant: Option<&'a str>,
    agent: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a ReplayArgs, now_ms: i64) -> Self {
        Self {
            since_ms: args.since.map_or(i64::MIN, |when| when.back_ms(now_ms)),
            until_ms: args.until.map_or(i64::MAX, |when| when.back_ms(now_ms)),
            tenant: args.tenant.as_deref(),
            agent: args.agent.as_deref(),
        }
    }

    fn fits(&self, record: &Record) -> bool {
        let named = |pointer| record.str_at(pointer).unwrap_or_default();
        let agent = |id: &str| id == named("/agent/id") || id == named("/agent/presented_as");
        (self.since_ms..self.until_ms).contains(&record.ts_ms)
            && self.tenant.is_none_or(|tenant| tenant == named("/tenant"))
            && self.agent.is_none_or(agent)
    }
}

/// One line on its way to a thread, with its place among all of them.
struct Job {
    place: u64,
    raw: Raw,
}

/// Decides everything again.
///
/// # Errors
/// A log that cannot be read, or is not what was verified.
pub(super) fn all(
    args: &ReplayArgs,
    source: &Source,
    bundles: &Bundles,
    now_ms: i64,
) -> Result<Tally, Failure> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or(processors, usize::from);
    let wanted = Wanted::of(args, now_ms);
    let (sender, receiver) = sync_channel::<Vec<Job>>(jobs.saturating_mul(WAITING_BATCHES));
    let receiver = Mutex::new(receiver);
    let work = || work(args, &wanted, bundles, &receiver);
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            // Policies are evaluated by recursion: what a server gives them they get here.
            let thread = thread::Builder::new().stack_size(WORKER_STACK_BYTES);
            let started = thread.spawn_scoped(scope, work);
            threads.push(started.map_err(|error| {
                Failure::failed(format!("cannot start a thread: {error}"))
                    .help("give a smaller number to `--jobs`")
            })?);
        }
        let fed = feed(args, &wanted, source, sender);
        let mut tally = Tally::new(args.examples.into());
        for thread in threads {
            let part = thread.join();
            let part = part.map_err(|_| Failure::failed("a call ended the thread that had it"))?;
            tally.merge(part);
        }
        fed.map(|()| tally)
    })
}

/// Reads lines until there are no more, or as many decisions as are wanted.
fn feed(
    args: &ReplayArgs,
    wanted: &Wanted<'_>,
    source: &Source,
    sender: SyncSender<Vec<Job>>,
) -> Result<(), Failure> {
    let mut batch = Vec::with_capacity(BATCH_RECORDS);
    let mut left = args.limit;
    for (place, raw) in (0..).zip(source.stream()) {
        let raw = raw.map_err(|error| match error {
            lictor_audit::verify::ReadError::Changed { .. } => {
                Failure::new(Exit::Broken, error.to_string())
            }
            error => unreadable(&error),
        })?;
        if let Some(left) = &mut left {
            if *left == 0 {
                break;
            }
            let counts = |record: Record| record.kind == Kind::Decision && wanted.fits(&record);
            *left -= u64::from(raw.head().is_ok_and(counts));
        }
        batch.push(Job { place, raw });
        if batch.len() >= BATCH_RECORDS {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_RECORDS));
            // No thread is left to take it only if all have ended, which joining them tells.
            if sender.send(full).is_err() {
                return Ok(());
            }
        }
    }
    drop(sender.send(batch));
    Ok(())
}

fn work(
    args: &ReplayArgs,
    wanted: &Wanted<'_>,
    bundles: &Bundles,
    batches: &Mutex<Receiver<Vec<Job>>>,
) -> Tally {
    let mut tally = Tally::new(args.examples.into());
    loop {
        let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return tally };
        for job in batch {
            one(&job, &args.by, wanted, bundles, &mut tally);
        }
    }
}

fn one(job: &Job, by: &[By], wanted: &Wanted<'_>, bundles: &Bundles, tally: &mut Tally) {
    let Ok(record) = job.raw.record() else {
        // Only a log that was not verified has such lines.
        tally.unreadable += 1;
        return;
    };
    if record.kind != Kind::Decision {
        tally.other_kinds += 1;
        return;
    }
    if !wanted.fits(&record) {
        tally.left_out += 1;
        return;
    }
    tally.decision(&record);
    match compared(&record, bundles) {
        Ok(compared) => tally.compared(job.place, &record, by, &compared),
        Err(cause) => tally.not_replayed(job.place, &record, cause),
    }
}

fn compared(record: &Record, bundles: &Bundles) -> Result<Compared, Cause> {
    let budget = Budget { time: Duration::from_millis(ENGINE_MS), ..Budget::default() };
    let recorded = recorded(record)?;
    let Some(baseline) = &bundles.baseline else {
        let replayed = replay(&bundles.candidate, &recorded, budget)?;
        let Replayed { same_bundle, redecided, changes, faults } = replayed;
        let before = (recorded.decision, recorded.wants);
        return Ok(Compared { same_bundle, faults, changes, before, after: redecided });
    };
    let Replayed { same_bundle, redecided, faults, .. } = replay(baseline, &recorded, budget)?;
    let after = redecide(&bundles.candidate, &recorded, budget)?;
    let changes = changes(&redecided, &after);
    let before = (redecided.decision, redecided.verdict.limits);
    Ok(Compared { same_bundle, faults, changes, before, after })
}

fn recorded(record: &Record) -> Result<Recorded, Cause> {
    Recorded::read(&record.body, |pointer| {
        match (record.revealed.get(pointer), record.commits.contains_key(pointer)) {
            (Some(text), _) => Side::Text(text),
            (None, true) => Side::Erased,
            (None, false) => Side::Absent,
        }
    })
}

/// Reason ids of a record's line.
pub(super) fn reason_ids(record: &Record) -> Vec<String> {
    let reasons = record.body.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let ids = reasons.filter_map(|reason| reason.get("id").and_then(Value::as_str));
    ids.map(ToOwned::to_owned).collect()
}
