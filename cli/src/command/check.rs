//! `lictor check`: every load check, all problems at once.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lictor_policy_lib::bundle::{Files, Kind, VerifiedBundle, kind};
use lictor_policy_lib::cases;
use lictor_policy_lib::diagnostic::codes::{self, Code};
use lictor_policy_lib::diagnostic::mark::fill_ends;
use lictor_policy_lib::diagnostic::{Diagnostic, Level, suggest};
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_policy_lib::opa::{self, Converted};
use serde_json::json;

use crate::args::bundle::{self, Raw};
use crate::args::opa::OpaArgs;
use crate::diagnostics::Problems;
use crate::exit::{Exit, Failure};
use crate::output::{Paint, print, print_json, table};
use crate::time::now_ms;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A bundle folder or archive.
    #[arg(required_unless_present = "explain")]
    path: Option<PathBuf>,
    /// How the problems are written.
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
    /// A warning refuses the bundle too.
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    opa: OpaArgs,
    /// Says what a code means, or lists all of them with `all`.
    #[arg(long, value_name = "CODE", conflicts_with_all = ["path", "deny_warnings"])]
    explain: Option<String>,
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
    if let Some(code) = &args.explain {
        return explain(code, args.format);
    }
    let Some(path) = &args.path else {
        return Err(Failure::usage("no bundle is given").help("name a folder or an archive"));
    };
    let problems = match args.opa.convert(path)? {
        Some(converted) => check_opa(path, converted),
        None => match bundle::verified_at(path, now_ms())? {
            Err(problems) => problems,
            Ok(verified) => check(path, verified, Vec::new()),
        },
    };
    let warnings = problems.count(Level::Warning);
    let refused = problems.any_error() || (args.deny_warnings && warnings > 0);
    match args.format {
        CheckFormat::Pretty => print(&pretty(path, &problems, refused))?,
        CheckFormat::Sarif => print_json(&problems.sarif())?,
        CheckFormat::Json => print_json(&json!({
            "path": path,
            "ok": !refused,
            "errors": problems.count(Level::Error),
            "warnings": warnings,
            "diagnostics": problems.json(),
        }))?,
    }
    Ok(if refused { Exit::PolicyInvalid } else { Exit::Ok })
}

/// What codes mean.
fn explain(code: &str, format: CheckFormat) -> Result<Exit, Failure> {
    let codes: Vec<&Code> = match code {
        "all" => codes::CODES.iter().collect(),
        code => match codes::find(code) {
            Some(code) => vec![code],
            None => {
                let failure = Failure::usage(format!("there is no code `{code}`"));
                return Err(match suggest(code, codes::CODES.iter().map(|code| code.id)) {
                    Some(near) => failure.help(format!("did you mean `{near}`?")),
                    None => failure.help("`--explain all` lists them"),
                });
            }
        },
    };
    let level = |code: &Code| if code.level == Level::Error { "error" } else { "warning" };
    if format == CheckFormat::Pretty {
        let rows: Vec<Vec<String>> = codes
            .iter()
            .map(|code| vec![code.id.to_owned(), level(code).to_owned(), code.text.to_owned()])
            .collect();
        print(&table(&rows))?;
    } else {
        let rows: Vec<_> = codes
            .iter()
            .map(|code| json!({"code": code.id, "level": level(code), "text": code.text}))
            .collect();
        print_json(&json!({ "codes": rows }))?;
    }
    Ok(Exit::Ok)
}

/// The checks of what an OPA bundle becomes.
fn check_opa(path: &Path, converted: Result<Converted, Problems>) -> Problems {
    let converted = match converted {
        Ok(converted) => converted,
        Err(problems) => return problems,
    };
    match Raw::Folder(converted.files).verify_unsigned_at(now_ms()) {
        Ok(verified) => check(path, verified, converted.warnings).moved_to(opa::FOLDER),
        Err(error) => Problems::refused(path, &error),
    }
}

/// Every load check, beside what is known already.
fn check(path: &Path, verified: VerifiedBundle, known: Vec<Diagnostic>) -> Problems {
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
    let mut cases = case_problems(&files);
    fill_ends(&mut cases, |file| std::str::from_utf8(files.get(file)?).ok());
    diagnostics.extend(cases);
    diagnostics.extend(known);
    diagnostics.sort();
    diagnostics.dedup();
    Problems::new(path, diagnostics, files)
}

/// Case files that cannot be read. A server does not look at them, their author wants
/// to know.
fn case_problems(files: &Files) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| kind(name) == Some(Kind::Cases)) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            continue;
        };
        if let Err(problems) = cases::parse(name, text) {
            found.extend(problems);
        }
    }
    found
}

fn pretty(path: &Path, problems: &Problems, refused: bool) -> String {
    let paint = Paint::stdout();
    let (errors, warnings) = (problems.count(Level::Error), problems.count(Level::Warning));
    let mut text = problems.pretty(paint);
    let verdict = if refused { paint.red("refused") } else { paint.green("ok") };
    text.push_str(&format!(
        "{}: {verdict}, {errors} error(s), {warnings} warning(s)\n",
        path.display()
    ));
    text
}
