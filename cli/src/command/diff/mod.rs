//! `lictor diff`: what differs in meaning between two bundles, and what their own cases make of
//! it.
//!
//! # Layout
//!
//! - this file: arguments, exit codes.
//! - [`flips`]: the cases of both bundles, decided by both.
//! - [`told`]: the differences for people.

mod flips;
mod told;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lictor_policy_lib::diff::{Change, Effect, diff};
use serde_json::json;

use self::flips::{Flip, Played, Turn};
use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The bundle as it was: a folder or an archive. Signatures and times are not looked at.
    before: PathBuf,
    /// The bundle as it is now.
    after: PathBuf,
    /// Do not decide the cases of both bundles by both.
    #[arg(long)]
    no_cases: bool,
    /// Exit 8 if there is any of these.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What ends the command with exit code 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A case that is allowed now and was not.
    NewlyAllowed,
    /// A case that is denied now and was not.
    NewlyDenied,
    /// A case that a person is asked about now and was not.
    NewlyAsked,
    /// A change that by itself may allow more.
    Widens,
    /// Any change of meaning.
    Any,
}

/// Runs the command.
pub(crate) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    let load = |path| bundle::loaded(path).and_then(|loaded| loaded.map_err(|p| p.failure()));
    let (before, after) = (load(&args.before)?, load(&args.after)?);
    let changes = diff(before.verified(), after.verified());
    let played = if args.no_cases { Played::default() } else { flips::play(&before, &after) };
    match args.format {
        Format::Json => print_json(&json!({
            "before": before.reference(), "after": after.reference(),
            "same": before.reference().digest == after.reference().digest,
            "changes": changes, "cases": played.cases, "skipped": played.skipped,
            "flips": played.flips,
        }))?,
        Format::Pretty => {
            let ends = (before.reference(), after.reference());
            print(&told::pretty(ends, &changes, &played, Paint::stdout()))?;
        }
    }
    let failed = args.fail_on.iter().any(|what| is_there(*what, &changes, &played.flips));
    Ok(if failed { Exit::Flips } else { Exit::Ok })
}

fn is_there(what: FailOn, changes: &[Change], flips: &[Flip]) -> bool {
    let turned = |turn: Turn| flips.iter().any(|flip| flip.turn == turn);
    match what {
        FailOn::NewlyAllowed => turned(Turn::NewlyAllowed),
        FailOn::NewlyDenied => turned(Turn::NewlyDenied),
        FailOn::NewlyAsked => turned(Turn::NewlyAsked),
        FailOn::Widens => changes.iter().any(|change| change.effect == Effect::Widens),
        FailOn::Any => {
            !flips.is_empty() || changes.iter().any(|change| change.effect != Effect::Nothing)
        }
    }
}
