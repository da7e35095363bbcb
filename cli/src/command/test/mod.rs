//! `lictor test`: Rego `test_` rules and `cases/*.yaml`.
//!
//! # Layout
//!
//! - this file: arguments, what is run, exit codes.
//! - [`suite`]: the tests of a bundle, and which of them are wanted.
//! - [`run`]: both sorts of tests, on the threads of [`pool`] -> [`run::Ran`].
//! - [`coverage`]: what they reached of the policies.
//! - [`told`]: what came of them, for people and as JSON; [`junit`]: as JUnit XML.
//! - [`watch`]: again after every change.

mod coverage;
mod junit;
mod pool;
mod run;
mod suite;
mod told;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use regex::Regex;
use serde_json::json;

use crate::args::bundle;
use crate::diagnostics::Problems;
use crate::exit::{Exit, Failure};
use crate::output::{Paint, print, print_json, say};
use suite::Suite;

pub(crate) use self::execute as run;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A bundle folder or archive; signatures and times are not looked at.
    path: PathBuf,
    /// Only tests whose name this regular expression finds; case names as
    /// `cases/FILE.yaml: NAME`, Rego tests as `data.PACKAGE.test_x`.
    #[arg(long, value_name = "RE")]
    run: Option<Regex>,
    /// Show which tests would be run, and run none.
    #[arg(long)]
    list: bool,
    /// Show tests that pass too, and what they printed.
    #[arg(short, long)]
    verbose: bool,
    /// Stop at the first test that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Fail if there is nothing to test.
    #[arg(long)]
    fail_on_empty: bool,
    /// Run the tests again after every change, until Ctrl-C.
    #[arg(long, conflicts_with = "list")]
    watch: bool,
    /// Longest time for one test, such as `5s` or `500ms`; one that takes longer is an error.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    timeout: Duration,
    #[command(flatten)]
    coverage: coverage::CoverageArgs,
    /// How many tests run at a time; as many as there are processors if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// How the results are written.
    #[arg(long, value_enum, default_value_t)]
    format: TestFormat,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum TestFormat {
    /// For people: failures with the difference and why.
    #[default]
    Pretty,
    /// One JSON document.
    Json,
    /// JUnit XML.
    Junit,
}

/// A time in whole units, `500ms` to `1h`.
fn timeout(text: &str) -> Result<Duration, String> {
    const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
    let wrong = || format!("`{text}` is no time from `1ms` to `1h`: write it as `5s` or `500ms`");
    let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let time = Duration::try_from(time).map_err(|_| wrong())?;
    if time < Duration::from_millis(1) || time > TIMEOUT_MAX { Err(wrong()) } else { Ok(time) }
}

/// Runs the command: exit 0 if every test passed, 6 if one did not, 5 if the bundle
/// does not load.
pub(crate) fn execute(args: &TestArgs) -> Result<Exit, Failure> {
    if args.watch {
        watch::forever(&args.path, || {
            if let Err(failure) = once(args) {
                say(&failure.text());
            }
        });
    }
    once(args)
}

fn once(args: &TestArgs) -> Result<Exit, Failure> {
    let loaded = match bundle::loaded(&args.path)? {
        Ok(loaded) => loaded,
        Err(problems) => return invalid(args, &problems),
    };
    let suite = match Suite::of(args, &loaded) {
        Ok(suite) => suite,
        Err(found) => {
            let files = loaded.verified().files().clone();
            return invalid(args, &Problems::new(&args.path, found, files));
        }
    };
    if args.list {
        match args.format {
            TestFormat::Json => print_json(&suite.list_json())?,
            TestFormat::Pretty | TestFormat::Junit => print(&suite.list(Paint::stdout()))?,
        }
        return Ok(if suite.items.is_empty() { empty(args) } else { Exit::Ok });
    }
    let ran = match run::all(args, &suite)? {
        Ok(ran) => ran,
        Err(problems) => return invalid(args, &problems),
    };
    match args.format {
        TestFormat::Pretty => print(&told::pretty(&ran, args.verbose, Paint::stdout()))?,
        TestFormat::Json => print_json(&told::json(&args.path, &loaded, &ran))?,
        TestFormat::Junit => print(&junit::xml(&ran))?,
    }
    let low = match &ran.coverage {
        Some(report) => {
            args.coverage.write(&args.path, report)?;
            args.coverage.too_low(&args.path, report)
        }
        None => None,
    };
    if let Some(why) = &low {
        say(why);
    }
    let empty = if ran.results.is_empty() { empty(args) } else { Exit::Ok };
    Ok(if ran.failed() > 0 || low.is_some() { Exit::TestsFailed } else { empty })
}

/// Says that nothing was tested.
fn empty(args: &TestArgs) -> Exit {
    let what = match &args.run {
        Some(filter) => format!("no test is named like `{filter}`"),
        None => "this bundle has no tests: add `cases/*.yaml` or `test_` rules".to_owned(),
    };
    say(&format!("WARNING: nothing was tested: {what}"));
    if args.fail_on_empty { Exit::TestsFailed } else { Exit::Ok }
}

fn invalid(args: &TestArgs, problems: &Problems) -> Result<Exit, Failure> {
    match args.format {
        TestFormat::Json => {
            print_json(
                &json!({"path": args.path, "valid": false, "diagnostics": problems.json()}),
            )?;
            Ok(Exit::PolicyInvalid)
        }
        TestFormat::Pretty | TestFormat::Junit => Err(problems.failure()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit_and_bounds() {
        assert_eq!(timeout("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(timeout("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(timeout("1h"), Ok(Duration::from_secs(3600)));
        for wrong in ["5", "0s", "-1s", "3601s", "soon", "500us"] {
            assert!(timeout(wrong).unwrap_err().contains("`5s`"), "{wrong}");
        }
    }
}
