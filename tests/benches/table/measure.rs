//! Interleaved rounds, so that what else the machine does meets all rows alike. Each row is divided
//! by the one that it is compared with, round by round.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::Options;
use crate::proc::{Cost, Process, passed_us};
use crate::report::{Allocations, Row};

/// How long a run may take beyond its time, seconds.
const PATIENCE_S: u64 = 30;
/// How long connections, caches and bundles are warmed, seconds.
const WARM_S: f64 = 0.1;

/// What a load did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Done {
    /// Of the nanoseconds that each request took.
    pub(crate) fn of(mut took: Vec<u64>, began: Instant) -> Self {
        let elapsed_s = began.elapsed().as_secs_f64();
        took.sort_unstable();
        let quantile = |of: f64| {
            let at = (took.len().saturating_sub(1) as f64 * of) as usize;
            took.get(at).copied().unwrap_or_default() as f64 / 1e3
        };
        Self {
            requests: took.len() as u64,
            elapsed_s,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
        }
    }
}

/// Nanoseconds since then.
pub(crate) fn nanos(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Sends requests for so many seconds; the first that goes wrong ends it.
pub(crate) type Load = Box<dyn Fn(f64) -> Pin<Box<dyn Future<Output = Result<Done, String>>>>>;

/// A row that can be run.
pub(crate) struct Case {
    pub(crate) what: String,
    /// The row that it is divided by.
    pub(crate) base: String,
    /// Requests in flight.
    pub(crate) in_flight: usize,
    /// Processes whose cost is told.
    pub(crate) processes: Vec<Process>,
    pub(crate) load: Load,
    pub(crate) allocations: Option<Allocations>,
    /// What else is to be said.
    pub(crate) note: String,
}

#[derive(Clone)]
struct Run {
    done: Done,
    costs: Vec<Cost>,
}

impl Run {
    fn per_second(&self) -> f64 {
        self.done.requests as f64 / self.done.elapsed_s
    }
}

/// Runs the rows of one section in turns.
pub(crate) async fn run(section: &'static str, cases: &[Case], options: &Options) -> Vec<Row> {
    let mut runs: Vec<Result<Vec<Run>, String>> = vec![Ok(Vec::new()); cases.len()];
    // The first round warms, and does not count.
    for round in 0..=options.rounds {
        for (case, runs) in cases.iter().zip(&mut runs) {
            let Ok(done) = runs else { continue };
            let seconds = if round == 0 { WARM_S.min(options.seconds) } else { options.seconds };
            match once(case, seconds).await {
                Ok(run) if round > 0 => done.push(run),
                Ok(_) => case.processes.iter().for_each(Process::forget_peak),
                Err(error) => {
                    eprintln!("{section}: {}, {} in flight: {error}", case.what, case.in_flight);
                    *runs = Err(error);
                }
            }
        }
        if round > 0 {
            eprintln!("{section}: round {round} of {}", options.rounds);
        }
    }
    let row = |(case, own): (&Case, &Result<Vec<Run>, String>)| {
        let mut row = Row::new(section, &case.what, case.in_flight);
        row.base = Some(case.base.clone());
        row.note.clone_from(&case.note);
        match own {
            Err(error) => row.failed = Some(error.clone()),
            Ok(own) => {
                let same =
                    |other: &Case| other.what == case.base && other.in_flight == case.in_flight;
                let base = cases.iter().position(same).and_then(|at| runs.get(at));
                fill(&mut row, own, base.and_then(|base| base.as_ref().ok()));
                row.allocations = case.allocations;
            }
        }
        row
    };
    cases.iter().zip(&runs).map(row).collect()
}

async fn once(case: &Case, seconds: f64) -> Result<Run, String> {
    let before: Vec<_> = case.processes.iter().map(Process::spent).collect();
    let patience = Duration::from_secs_f64(seconds) + Duration::from_secs(PATIENCE_S);
    let load = AssertUnwindSafe((case.load)(seconds)).catch_unwind();
    let done = tokio::time::timeout(patience, load)
        .await
        .map_err(|_| format!("not done within {} s", patience.as_secs()))?
        .map_err(|panic| panicked(panic.as_ref()))??;
    let cost = |(process, before): (&Process, &_)| Cost {
        name: process.name,
        cpu_us: passed_us(before, &process.spent()) / done.requests.max(1) as f64,
        peak_mib: process.peak_mib(),
    };
    if done.requests == 0 {
        return Err("nothing was answered".to_owned());
    }
    Ok(Run { done, costs: case.processes.iter().zip(&before).map(cost).collect() })
}

/// What a panic said.
pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").lines().next().unwrap_or_default().to_owned()
}

fn fill(row: &mut Row, own: &[Run], base: Option<&Vec<Run>>) {
    let of = |pick: fn(&Run) -> f64| Some(median(own.iter().map(pick).collect()));
    row.per_second = of(Run::per_second);
    row.p50_us = of(|run| run.done.p50_us);
    row.p99_us = of(|run| run.done.p99_us);
    if let Some(base) = base {
        let against = |join: fn(&Run, &Run) -> f64| {
            Some(median(own.iter().zip(base).map(|(run, base)| join(run, base)).collect()))
        };
        row.ratio = against(|run, base| run.per_second() / base.per_second());
        row.added_p50_us = against(|run, base| run.done.p50_us - base.done.p50_us);
    }
    let first = own.first().map(|run| run.costs.clone()).unwrap_or_default();
    row.processes = first
        .into_iter()
        .enumerate()
        .map(|(at, cost)| {
            let all = || own.iter().filter_map(move |run| run.costs.get(at));
            let cpu_us = median(all().map(|cost| cost.cpu_us).collect());
            let peak_mib = all().map(|cost| cost.peak_mib).fold(0.0, f64::max);
            Cost { cpu_us, peak_mib, ..cost }
        })
        .collect();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    f64::midpoint(lower, upper)
}
