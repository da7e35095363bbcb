//! What enforcement costs: decisions over gRPC beside a bare echo of the same messages, and the
//! enforcement points beside the servers behind them. Prints ratios and the CPU time that the
//! servers took for a request; asserts nothing about either.
//!
//! `cargo bench --profile ci --workspace --bench load -- --seconds 0.5 --rounds 1` for a glance; for
//! figures `cargo build --release --workspace --bins` and then
//! `cargo bench --workspace --bench load -- --seconds 3 --rounds 5` on a machine that does nothing else.
//!
//! # Layout
//!
//! - `serve`: the echo and the servers behind, each as a process of its own
//! - `grpc`: clients that ask for decisions, one by one and pipelined
//! - `web`: clients that send HTTP requests
//! - `measure`: interleaved rounds, medians, CPU time, the table

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that cannot run ends"
)]

mod grpc;
mod measure;
mod serve;
mod web;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use clap::Parser;
use measure::Comparison;
use serve::Role;

/// How a benchmark runs.
#[derive(Parser)]
struct Options {
    /// Seconds of each run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Runs of each case; medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only comparisons whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Be one of the servers instead.
    #[arg(long, hide = true)]
    serve: Option<Role>,
    /// Where a server listens besides.
    #[arg(long, hide = true)]
    socket: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // The client takes one core, the servers have what is left.
    builder.worker_threads(if options.serve.is_some() { 2 } else { 1 });
    let runtime = builder.enable_all().build().unwrap();
    match options.serve {
        Some(role) => runtime.block_on(serve::run(role, options.socket)),
        None => runtime.block_on(compare(&options)),
    }
}

/// What is compared, and what it is called.
const COMPARISONS: [Named; 3] = [
    (
        "decision over gRPC, beside a bare echo of the same messages",
        || Box::pin(grpc::comparison()),
    ),
    ("pep-http, beside the provider directly", || Box::pin(web::chat())),
    ("pep-mcp, beside the tool server directly", || Box::pin(web::tools())),
];

type Named = (&'static str, fn() -> Starting);
type Starting = Pin<Box<dyn Future<Output = Comparison>>>;

async fn compare(options: &Options) {
    println!("{} round(s) of {} s, interleaved; medians", options.rounds, options.seconds);
    for (name, start) in COMPARISONS.iter().filter(|(name, _)| name.contains(&options.only)) {
        let comparison = start().await;
        measure::run(name, &comparison.cases, options.seconds, options.rounds).await;
    }
}
