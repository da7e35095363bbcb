//! `lictor bench`: how long a bundle takes to load and its cases take to decide.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use lictor_policy_lib::bundle::{Kind, kind};
use lictor_policy_lib::cases::{self, Case};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::load::LoadedBundle;
use regex::Regex;
use serde::Serialize;
use serde_json::json;

use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, shown, table};
use crate::time::now_ms;

/// Part of the time that goes by before anything is counted.
const WARM_UP_DIVISOR: u32 = 10;
/// Most decisions of one case that are kept for the percentiles.
const SAMPLES_MAX: usize = 1_000_000;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A bundle folder or archive, with the cases that are decided.
    path: PathBuf,
    /// Only cases whose name matches this regular expression.
    #[arg(long, value_name = "RE")]
    run: Option<Regex>,
    /// How long all cases together are decided, in seconds.
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 3600.0 => Ok(number),
        _ => Err("give a number of seconds above 0, at most 3600".to_owned()),
    }
}

/// How long the decisions of a case took, microseconds.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    decisions: usize,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    max_us: f64,
    per_second: f64,
}

/// Runs the command. The decisions are whole ones, as `lictor decide -b` makes them, one at a
/// time on one thread; a server adds its state, its record and the way.
pub(crate) fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let verified = bundle::verified(&args.path)?.map_err(|problems| problems.failure())?;
    let started = Instant::now();
    let loaded = bundle::load(&args.path, verified).map_err(|problems| problems.failure())?;
    let load = started.elapsed();
    let cases = cases_of(args, &loaded)?;
    let share = Duration::from_secs_f64(args.seconds) / u32::try_from(cases.len()).unwrap_or(1);
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for case in &cases {
        let samples = measure(&loaded, case, share);
        rows.push(row(&case.name, &samples));
        all.extend(samples);
    }
    let total = row("all", &all);
    match args.format {
        Format::Json => print_json(&json!({
            "bundle": loaded.reference(), "load_ms": millis(load), "cases": rows, "all": total,
        }))?,
        Format::Pretty => {
            let name = Paint::stdout().bold(&shown(&loaded.reference().name));
            rows.push(total);
            print(&format!("{name} loads in {:.1} ms\n{}", millis(load), told(&rows)))?;
        }
    }
    Ok(Exit::Ok)
}

fn cases_of(args: &BenchArgs, loaded: &LoadedBundle) -> Result<Vec<Case>, Failure> {
    let mut found = Vec::new();
    let files = loaded.verified().files();
    for (name, bytes) in files.iter().filter(|(name, _)| kind(name) == Some(Kind::Cases)) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let file = cases::parse(name, text).map_err(|problems| {
            let text = problems.first().map(ToString::to_string).unwrap_or_default();
            Failure::new(Exit::PolicyInvalid, text).help("`lictor check` shows all")
        })?;
        found.extend(file.cases);
    }
    found.retain(|case| args.run.as_ref().is_none_or(|run| run.is_match(&case.name)));
    if found.is_empty() {
        let text = format!("`{}` has no such case", args.path.display());
        return Err(Failure::failed(text).help("write cases in `cases/*.yaml`, or widen `--run`"));
    }
    Ok(found)
}

/// Decides a case again and again for `share`, the first tenth of it uncounted.
fn measure(loaded: &LoadedBundle, case: &Case, share: Duration) -> Vec<Duration> {
    let decide = || {
        let facts = case.facts.clone();
        let now_ms = case.now_ms.unwrap_or_else(now_ms);
        let started = Instant::now();
        let outcome = dry_run(loaded, &case.call, facts, now_ms, Budget::default());
        let took = started.elapsed();
        std::hint::black_box(outcome);
        took
    };
    let started = Instant::now();
    while started.elapsed() < share / WARM_UP_DIVISOR {
        decide();
    }
    let mut samples = vec![decide()];
    while started.elapsed() < share && samples.len() < SAMPLES_MAX {
        samples.push(decide());
    }
    samples
}

fn row(case: &str, samples: &[Duration]) -> Row {
    let mut sorted: Vec<f64> = samples.iter().map(|took| took.as_secs_f64() * 1e6).collect();
    sorted.sort_by(f64::total_cmp);
    let sum: f64 = sorted.iter().sum();
    Row {
        case: case.to_owned(),
        decisions: sorted.len(),
        p50_us: percentile(&sorted, 50),
        p90_us: percentile(&sorted, 90),
        p99_us: percentile(&sorted, 99),
        max_us: percentile(&sorted, 100),
        per_second: if sum > 0.0 { sorted.len() as f64 * 1e6 / sum } else { 0.0 },
    }
}

/// The smallest sample that `percent` of all do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn told(rows: &[Row]) -> String {
    let head = ["case", "decisions", "p50 us", "p90 us", "p99 us", "max us", "per second"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| {
        let times = [row.p50_us, row.p90_us, row.p99_us, row.max_us];
        let mut cells = vec![shown(&row.case), row.decisions.to_string()];
        cells.extend(times.iter().map(|us| format!("{us:.1}")));
        cells.push(format!("{:.0}", row.per_second));
        cells
    }));
    table(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_samples() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        let at = |percent| percentile(&sorted, percent);
        assert_eq!([at(50), at(90), at(99), at(100)], [50.0, 90.0, 99.0, 100.0]);
        assert_eq!((percentile(&[7.0], 50), percentile(&[], 50)), (7.0, 0.0));
    }

    #[test]
    fn seconds_are_positive_and_bounded() {
        assert!(seconds("0.5").is_ok() && seconds("3600").is_ok());
        for wrong in ["0", "-1", "3601", "nan", "inf", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
