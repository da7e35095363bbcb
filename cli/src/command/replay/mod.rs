//! `lictor replay`: recorded calls, decided again by another bundle, or by the same one.
//!
//! # Layout
//!
//! - this file: arguments, the order of the steps, exit codes.
//! - [`read`]: logs -> verified records, decided again on several threads.
//! - [`tally`]: what came of them, counted and grouped.
//! - [`told`]: the counts for people and as JSON.

mod read;
mod tally;
mod told;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::replay::Change;

use self::read::Source;
use self::tally::{Sums, Tally};
use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, say};
use crate::time::{When, now_ms};

/// Examples that are shown of each group unless told otherwise.
const EXAMPLES: u16 = 3;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Directories of audit logs of decision points, or single `.jsonl` files.
    #[arg(value_name = "AUDIT", required = true)]
    paths: Vec<PathBuf>,
    /// The bundle that decides again, a folder or an archive; signatures and times are not looked
    /// at. The very bundle that decided must reproduce every verdict.
    #[arg(short, long, value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Compare with what this bundle decides on the same records, not with what was decided: so
    /// that only the bundles make a difference, not what happened since.
    #[arg(long, value_name = "BUNDLE")]
    baseline: Option<PathBuf>,
    /// Only calls from then on: `2026-12-31T00:00:00Z`, or `24h` for the last so many.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    since: Option<When>,
    /// Only calls before then, written as `--since`.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    until: Option<When>,
    /// Only calls of this tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only calls of this agent, by its id or the name that its credential gave.
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// At most so many decisions, in the order of the logs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// How many calls are named of each group.
    #[arg(long, value_name = "N", default_value_t = EXAMPLES)]
    examples: u16,
    /// What calls with the same change are grouped by.
    #[arg(long, value_name = "WHAT", value_delimiter = ',',
        default_values_t = [By::Tool, By::Agent, By::Reason])]
    by: Vec<By>,
    /// Exit 8 if there is any of these.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// A public key (PEM) that may sign the logs' checkpoints; repeat it for more. Without any,
    /// logs are only shown to be consistent with themselves.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// The oldest epochs of the logs may be missing, as after retention.
    #[arg(long)]
    allow_pruned: bool,
    /// Do not verify the logs: what is counted may be forged.
    #[arg(long, conflicts_with_all = ["keys", "allow_pruned"])]
    unverified: bool,
    /// How many records are decided at a time; as many as there are processors if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    jobs: Option<u16>,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What changes are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The action and the tool, model or other resource.
    Tool,
    /// The agent.
    Agent,
    /// The reasons, obligations or limits before and after.
    Reason,
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Reason => "reason",
        })
    }
}

/// What ends the command with exit code 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A call that is allowed now and was not.
    NewlyAllowed,
    /// A call that is denied now and was not.
    NewlyDenied,
    /// A call that a person is asked about now and was not.
    NewlyAsked,
    /// The same effect for other reasons.
    Reasons,
    /// The same effect with other obligations.
    Obligations,
    /// The same effect drawing on other limits.
    Limits,
    /// Other findings of detectors.
    Findings,
    /// Other labels of the session.
    Labels,
    /// A call that wants limits whose room the record does not tell.
    LimitsUnknown,
    /// A record that cannot be replayed for want of something; not one that no policy decided.
    NotReplayed,
}

impl FailOn {
    fn holds(self, sums: &Sums) -> bool {
        let change = |change: Change| sums.of(change) > 0;
        match self {
            Self::NewlyAllowed => change(Change::NewlyAllowed),
            Self::NewlyDenied => change(Change::NewlyDenied),
            Self::NewlyAsked => change(Change::NewlyAsked),
            Self::Reasons => change(Change::Reasons),
            Self::Obligations => change(Change::Obligations),
            Self::Limits => change(Change::Limits),
            Self::Findings => change(Change::Findings),
            Self::Labels => change(Change::Labels),
            Self::LimitsUnknown => sums.limits_unknown > 0,
            Self::NotReplayed => sums.lacking > 0,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The bundles of one replay.
struct Bundles {
    candidate: LoadedBundle,
    baseline: Option<LoadedBundle>,
}

/// Everything that is told at the end.
struct Replay {
    bundles: Bundles,
    source: Source,
    tally: Tally,
    /// What of `--fail-on` was found.
    failed_on: Vec<String>,
}

/// Runs the command: exit 0, 7 if a log is broken or the very bundle that decided does not
/// reproduce a verdict, 8 if there is what `--fail-on` names, 5 if a bundle does not load.
pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let bundles = Bundles {
        candidate: loaded(&args.bundle)?,
        baseline: args.baseline.as_deref().map(loaded).transpose()?,
    };
    let source = Source::open(args)?;
    for warning in source.warnings() {
        say(&format!("WARNING: {warning}"));
    }
    let tally = read::all(args, &source, &bundles, now_ms())?;
    let sums = tally.sums();
    let found = args.fail_on.iter().filter(|on| on.holds(&sums));
    let failed_on = found.map(|on| on.name()).collect();
    let replay = Replay { bundles, source, tally, failed_on };
    match args.format {
        Format::Pretty => print(&told::pretty(&replay, Paint::stdout()))?,
        Format::Json => print_json(&told::json(&replay))?,
    }
    end(args, &replay, &sums)
}

fn loaded(path: &Path) -> Result<LoadedBundle, Failure> {
    bundle::loaded(path)?.map_err(|problems| problems.failure())
}

fn end(args: &ReplayArgs, replay: &Replay, sums: &Sums) -> Result<Exit, Failure> {
    let faults = replay.tally.faults.count;
    if faults > 0 {
        say(&format!(
            "FAULT: {faults} decision(s) of this very bundle were not reproduced: the records, \
             the bundle or this program are not what they say"
        ));
        return Ok(Exit::Broken);
    }
    if !replay.failed_on.is_empty() {
        say(&format!("there is what --fail-on names: {}", replay.failed_on.join(", ")));
        return Ok(Exit::Flips);
    }
    if sums.replayed == 0 {
        let nothing = "no decision could be replayed";
        if !args.fail_on.is_empty() {
            return Err(Failure::failed(format!("{nothing}, so nothing is known of `--fail-on`"))
                .help("give the log directory of a decision point, with its `.side` files"));
        }
        say(&format!("WARNING: {nothing}"));
    }
    Ok(Exit::Ok)
}
