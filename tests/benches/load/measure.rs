//! Interleaved rounds, so that what else the machine does meets all cases alike. Each case is divided
//! by the one that it is compared with, round by round.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Sends requests until the time is up; nanoseconds of each.
pub(crate) type Load = Box<dyn Fn(Instant) -> Pin<Box<dyn Future<Output = Vec<u64>>>>>;

/// One line of a table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Requests in flight.
    pub(crate) in_flight: usize,
    /// The case that this one is divided by, by its place.
    pub(crate) base: usize,
    /// Processes whose CPU time counts.
    pub(crate) pids: Vec<u32>,
    pub(crate) load: Load,
}

/// Cases to compare, and what must live as long.
pub(crate) struct Comparison {
    pub(crate) cases: Vec<Case>,
    /// Servers and folders.
    pub(crate) _keep: Box<dyn std::any::Any>,
}

#[derive(Clone, Copy)]
struct Run {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

/// Nanoseconds that the threads of a process ran.
fn cpu_ns(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ran = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    ran.sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn quantile_us(sorted: &[u64], of: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * of).max(0.0) as usize;
    sorted.get(at).copied().unwrap_or_default() as f64 / 1e3
}

async fn once(case: &Case, seconds: f64) -> Run {
    let spent = || case.pids.iter().map(|pid| cpu_ns(*pid)).sum::<u64>();
    let (before, began) = (spent(), Instant::now());
    let mut took = (case.load)(began + Duration::from_secs_f64(seconds)).await;
    let (elapsed, cpu) = (began.elapsed().as_secs_f64(), spent() - before);
    took.sort_unstable();
    let requests = took.len().max(1) as f64;
    Run {
        per_second: requests / elapsed,
        p50_us: quantile_us(&took, 0.5),
        p99_us: quantile_us(&took, 0.99),
        cpu_us: cpu as f64 / 1e3 / requests,
    }
}

/// Runs and prints one comparison.
pub(crate) async fn run(name: &str, cases: &[Case], seconds: f64, rounds: usize) {
    // Connections, caches and bundles are warm before anything counts.
    for case in cases {
        once(case, seconds.min(0.2)).await;
    }
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for (case, runs) in cases.iter().zip(&mut runs) {
            runs.push(once(case, seconds).await);
        }
    }
    println!("\n{name}\n");
    println!(
        "| in flight | what | requests/s | ratio | p50 µs | added p50 µs | p99 µs | CPU µs/request |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (number, case) in cases.iter().enumerate() {
        let of = |pick: fn(&Run) -> f64| median(runs[number].iter().map(pick).collect());
        let against = |join: fn(&Run, &Run) -> f64| {
            median(
                runs[number]
                    .iter()
                    .zip(&runs[case.base])
                    .map(|(run, base)| join(run, base))
                    .collect(),
            )
        };
        println!(
            "| {} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} | {:.1} |",
            case.in_flight,
            case.name,
            of(|run| run.per_second),
            against(|run, base| run.per_second / base.per_second),
            of(|run| run.p50_us),
            against(|run, base| run.p50_us - base.p50_us),
            of(|run| run.p99_us),
            of(|run| run.cpu_us),
        );
    }
}
