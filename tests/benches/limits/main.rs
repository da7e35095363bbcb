//! What limits cost. Decisions with limits on, in every store, beside the same decision without
//! them; and the shared store alone, beside a bare script on a connection like its own. Prints
//! ratios; asserts nothing.
//!
//! `cargo bench --profile ci --workspace --bench limits -- --seconds 0.2 --rounds 1` for a glance,
//! `cargo bench --workspace --bench limits` for figures. Needs Debian's `redis-server`.
//!
//! # Layout
//!
//! - `decisions`: decision points in this process, asked as `lictor up` asks them
//! - `store`: the shared store alone

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run ends"
)]

mod decisions;
mod store;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use lictor_tests::redis::Server;

/// The allocator of every program of ours.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a benchmark runs.
#[derive(Parser)]
struct Options {
    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of each case, interleaved; medians are told.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One operation; its argument is a number that no other has.
type Operation = Box<dyn Fn(u64) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Something that is done again and again.
struct Case {
    name: &'static str,
    operation: Operation,
}

fn case<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    operation: impl Fn(u64) -> F + Send + Sync + 'static,
) -> Case {
    Case { name, operation: Box::new(move |n| Box::pin(operation(n))) }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let server = Server::start().await;
    let decisions = decisions::Points::start(&server).await;
    for in_flight in [1, 64] {
        compare("decisions", &decisions.cases(), in_flight, &options).await;
    }
    for in_flight in [1, 64] {
        compare("the Redis store alone", &store::cases(&server), in_flight, &options).await;
    }
}

/// Runs cases in turns, so that what else the machine does meets all alike; each is divided by the
/// first of its own round.
async fn compare(what: &str, cases: &[Case], in_flight: usize, options: &Options) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut rates = vec![Vec::new(); cases.len()];
    for round in 0..=options.rounds {
        for (case, rates) in cases.iter().zip(&mut rates) {
            // The first round warms connections, caches and scripts.
            let seconds = if round == 0 { options.seconds.min(0.2) } else { options.seconds };
            let rate = rate(case, in_flight, seconds, &NEXT).await;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    println!("\n{what}, {in_flight} in flight");
    println!("{:<44} {:>10} {:>8}", "", "per second", "ratio");
    for (case, own) in cases.iter().zip(&rates) {
        let ratios = own.iter().zip(&rates[0]).map(|(own, base)| own / base).collect();
        println!("{:<44} {:>10.0} {:>8.2}", case.name, median(own.clone()), median(ratios));
    }
}

async fn rate(case: &Case, in_flight: usize, seconds: f64, next: &AtomicU64) -> f64 {
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds);
    let worker = |_| async {
        let mut done = 0u64;
        while Instant::now() < until {
            (case.operation)(next.fetch_add(1, Ordering::Relaxed)).await;
            done += 1;
        }
        done
    };
    let done: u64 = futures::future::join_all((0..in_flight).map(worker)).await.into_iter().sum();
    done as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
