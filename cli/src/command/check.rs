//! `lictor check`: every load check, all problems at once.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lictor_policy_lib::bundle::{Files, Kind, VerifiedBundle, kind};
use lictor_policy_lib::cases;
use lictor_policy_lib::diagnostic::{Diagnostic, Level};
use lictor_policy_lib::load::{LoadedBundle, Times};
use serde_json::json;

use crate::args::bundle;
use crate::diagnostics::Problems;
use crate::exit::{Exit, Failure};
use crate::output::{Paint, print, print_json};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A bundle folder or archive.
    path: PathBuf,
    /// How the problems are written.
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
}

/// How problems are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum CheckFormat {
    /// For people, source lines underlined.
    #[default]
    Pretty,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, for code-scanning services.
    Sarif,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let problems = match bundle::verified(&args.path)? {
        Err(problems) => problems,
        Ok(verified) => check(args, verified),
    };
    match args.format {
        CheckFormat::Pretty => print(&pretty(args, &problems))?,
        CheckFormat::Sarif => print_json(&problems.sarif())?,
        CheckFormat::Json => print_json(&json!({
            "path": args.path,
            "ok": !problems.any_error(),
            "errors": problems.count(Level::Error),
            "warnings": problems.count(Level::Warning),
            "diagnostics": problems.json(),
        }))?,
    }
    Ok(if problems.any_error() { Exit::PolicyInvalid } else { Exit::Ok })
}

fn check(args: &CheckArgs, verified: VerifiedBundle) -> Problems {
    let files = verified.files().clone();
    let mut diagnostics = match LoadedBundle::load(verified, Times::Ignored) {
        Ok(loaded) => {
            let mut warnings = loaded.warnings().to_vec();
            if !loaded.has_policies() {
                let text = "the bundle has no policies, so nothing is allowed";
                warnings.push(Diagnostic::warning("no_policies", "", text));
            }
            warnings
        }
        Err(diagnostics) => diagnostics,
    };
    diagnostics.extend(case_problems(&files));
    diagnostics.sort();
    diagnostics.dedup();
    Problems::new(&args.path, diagnostics, files)
}

/// Case files that cannot be read. A server does not look at them, their author wants
/// to know.
fn case_problems(files: &Files) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| kind(name) == Some(Kind::Cases)) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            continue;
        };
        if let Err(error) = cases::parse(name, text) {
            let message = error.to_string();
            let message = message.strip_prefix(&format!("{name}: ")).unwrap_or(&message);
            found.push(Diagnostic::error("case_invalid", name, message));
        }
    }
    found
}

fn pretty(args: &CheckArgs, problems: &Problems) -> String {
    let paint = Paint::stdout();
    let (errors, warnings) = (problems.count(Level::Error), problems.count(Level::Warning));
    let mut text = problems.pretty(paint);
    let verdict = if problems.any_error() { paint.red("refused") } else { paint.green("ok") };
    text.push_str(&format!(
        "{}: {verdict}, {errors} error(s), {warnings} warning(s)\n",
        args.path.display()
    ));
    text
}
