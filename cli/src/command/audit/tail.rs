//! `lictor audit tail`: records as they are written, verified on the way.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lictor_audit::query::Record;
use lictor_audit::tail::{DirTail, TailError};

use super::show::write;
use crate::args::keys::verifying;
use crate::args::logs::LogArgs;
use crate::args::pdp::block_on;
use crate::exit::{Exit, Failure};
use crate::output::{Format, print};

/// How often the files are looked at, milliseconds.
const POLL_MS: u64 = 200;

/// Arguments of `audit tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    logs: LogArgs,
    /// Go on as records are written, until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest records are shown first.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// A public key (PEM) that may sign checkpoints; repeat it for more.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// `json` is one record a line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command. What is wrong ends it with exit 7.
pub(super) fn run(args: &TailArgs) -> Result<Exit, Failure> {
    let trusted = verifying(&args.keys)?;
    let paths = args.logs.paths()?;
    if let Some(path) = paths.iter().find(|path| !path.is_dir()) {
        let text = format!("`{}` is not a directory of audit logs", path.display());
        return Err(Failure::failed(text));
    }
    let mut tails: Vec<DirTail> =
        paths.into_iter().map(|path| DirTail::new(path, &trusted)).collect();
    let (mut records, wrong) = poll_to_end(&mut tails);
    records.drain(..records.len().saturating_sub(args.lines));
    print(&write(&records, args.format)?)?;
    wrong?;
    if args.follow {
        block_on(follow(&mut tails, args.format))?;
    }
    Ok(Exit::Ok)
}

async fn follow(tails: &mut [DirTail], format: Format) -> Result<(), Failure> {
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(POLL_MS)) => {}
        }
        let (records, wrong) = poll(tails);
        if !records.is_empty() {
            print(&write(&records, format)?)?;
        }
        wrong?;
    }
}

/// Everything that is there now: a poll reads a part of a large file.
fn poll_to_end(tails: &mut [DirTail]) -> (Vec<Record>, Result<(), Failure>) {
    let mut all = Vec::new();
    loop {
        let (records, wrong) = poll(tails);
        let done = records.is_empty() || wrong.is_err();
        all.extend(records);
        if done {
            all.sort_by(|a, b| (a.ts_ms, &a.log, a.seq).cmp(&(b.ts_ms, &b.log, b.seq)));
            return (all, wrong);
        }
    }
}

/// What is new in all directories, by time; what is good before an error is there too.
fn poll(tails: &mut [DirTail]) -> (Vec<Record>, Result<(), Failure>) {
    let mut records = Vec::new();
    let mut wrong = Ok(());
    for tail in tails {
        if let Err(error) = tail.poll(&mut records) {
            wrong = Err(failure(&error));
        }
    }
    records.sort_by(|a, b| (a.ts_ms, &a.log, a.seq).cmp(&(b.ts_ms, &b.log, b.seq)));
    (records, wrong)
}

fn failure(error: &TailError) -> Failure {
    match error {
        TailError::Read(_) => Failure::failed(error.to_string()),
        _ => Failure::new(Exit::Broken, error.to_string()),
    }
}
