//! `lictor test`: Rego `test_` rules and `cases/*.yaml`.
//!
//! # Layout
//!
//! - this file: arguments, what is run, exit codes.
//! - [`run`]: both sorts of tests -> [`run::Ran`].
//! - [`told`]: what came of them, for people, as JSON and as JUnit XML.

mod run;
mod told;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use regex::Regex;
use serde_json::json;

use crate::args::bundle;
use crate::diagnostics::Problems;
use crate::exit::{Exit, Failure};
use crate::output::{Paint, print, print_json, say};

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
    /// Show which policy lines the Rego tests reached.
    #[arg(long)]
    coverage: bool,
    /// Fail below so many percent of policy lines reached.
    #[arg(long, value_name = "PERCENT", requires = "coverage", value_parser = clap::value_parser!(u8).range(..=100))]
    threshold: Option<u8>,
    /// How many cases run at a time; as many as there are processors if absent.
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

/// Runs the command: exit 0 if every test passed, 6 if one did not, 5 if the bundle
/// does not load.
pub(crate) fn execute(args: &TestArgs) -> Result<Exit, Failure> {
    let loaded = match bundle::loaded(&args.path)? {
        Ok(loaded) => loaded,
        Err(problems) => return invalid(args, &problems),
    };
    let ran = match run::all(args, &loaded)? {
        Ok(ran) => ran,
        Err(problems) => return invalid(args, &problems),
    };
    match args.format {
        TestFormat::Pretty => print(&told::pretty(&ran, args.coverage, Paint::stdout()))?,
        TestFormat::Json => print_json(&told::json(&args.path, &loaded, &ran, args.coverage))?,
        TestFormat::Junit => print(&told::junit(&ran))?,
    }
    if ran.results.is_empty() {
        let what = match &args.run {
            Some(filter) => format!("no test is named like `{filter}`"),
            None => "this bundle has no tests: add `cases/*.yaml` or `test_` rules".to_owned(),
        };
        say(&format!("WARNING: nothing was tested: {what}"));
    }
    let low = args.threshold.filter(|percent| ran.coverage_percent() < f64::from(*percent));
    if let Some(percent) = low {
        say(&format!(
            "{:.1} % of the policy lines were reached, {percent} are required",
            ran.coverage_percent()
        ));
    }
    Ok(if ran.failed() > 0 || low.is_some() { Exit::TestsFailed } else { Exit::Ok })
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
