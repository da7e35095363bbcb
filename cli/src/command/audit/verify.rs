//! `lictor audit verify`: is every record still what was written, and are all there?

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_audit::report::verify_report;
use lictor_audit::verify::{KeyTrust, LogReport, Report, VerifyOptions};
use serde_json::json;

use crate::args::keys::verifying;
use crate::args::logs::{LogArgs, unreadable};
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, Paint, print, print_json, say, shown};

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    logs: LogArgs,
    /// A public key (PEM) that may sign checkpoints and reports; repeat it for more.
    /// Without any, logs are only shown to be consistent with themselves.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// A signed report, as `lictor audit session --key` writes it; needs `--key`.
    #[arg(long, value_name = "FILE", requires = "keys")]
    report: Option<PathBuf>,
    /// A checkpoint kept elsewhere; its log must be there and agree. May be repeated.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The oldest epochs may be missing, as after retention.
    #[arg(long)]
    allow_pruned: bool,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let report = match &args.report {
        Some(path) => report(args, path)?,
        None => Exit::Ok,
    };
    if report != Exit::Ok || (args.report.is_some() && args.logs.is_empty()) {
        return Ok(report);
    }
    let options = VerifyOptions {
        trusted: verifying(&args.keys)?,
        known_checkpoints: args
            .checkpoints
            .iter()
            .map(|path| read(path))
            .collect::<Result<_, _>>()?,
        allow_pruned: args.allow_pruned,
        skip_side: false,
    };
    let found =
        lictor_audit::verify(&args.logs.paths()?, &options).map_err(|error| unreadable(&error))?;
    match args.format {
        Format::Json => print_json(&found)?,
        Format::Pretty => {
            print(&pretty(&found))?;
            if options.trusted.is_empty() && found.ok {
                say(
                    "no key was given: each log fits the key that it names itself; give `--key` to know whose it is",
                );
            }
        }
    }
    Ok(if found.ok { Exit::Ok } else { Exit::Broken })
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| io("read", path, error))
}

fn report(args: &VerifyArgs, path: &Path) -> Result<Exit, Failure> {
    let checked = verify_report(&read(path)?, &verifying(&args.keys)?);
    let name = path.display();
    match (checked, args.format) {
        (Ok(report), Format::Json) => {
            print_json(&json!({"ok": true, "report": path, "signed_as": report.name}))?;
            Ok(Exit::Ok)
        }
        (Ok(report), Format::Pretty) => {
            let verdict = Paint::stdout().green("ok");
            print(&format!(
                "{name}: {verdict}, signed as {}",
                shown(&report.name)
            ))?;
            Ok(Exit::Ok)
        }
        (Err(error), Format::Json) => {
            print_json(&json!({"ok": false, "report": path, "message": error.to_string()}))?;
            Ok(Exit::Broken)
        }
        (Err(error), Format::Pretty) => Err(Failure::new(
            Exit::Broken,
            format!("{name} is not to be believed: {error}"),
        )),
    }
}

fn pretty(report: &Report) -> String {
    let paint = Paint::stdout();
    let mut text: String = report.logs.iter().map(|log| line(log, paint)).collect();
    for origin in &report.missing {
        let what = paint.red("missing");
        text.push_str(&format!(
            "{}: {what}, a checkpoint of it is known\n",
            shown(origin)
        ));
    }
    let verdict = if report.ok {
        paint.green("whole")
    } else {
        paint.red("broken")
    };
    let (records, logs) = (report.records, report.logs.len());
    text.push_str(&format!(
        "{verdict}: {records} good records in {logs} log(s)\n"
    ));
    text
}

fn line(log: &LogReport, paint: Paint) -> String {
    let name = if log.log.is_empty() {
        "a log without a name"
    } else {
        &log.log
    };
    let Some(fault) = &log.fault else {
        let key = match log.key {
            KeyTrust::Pinned => "trusted key",
            KeyTrust::Genesis => "key of its own",
        };
        let closed = if log.closed { "closed" } else { "open" };
        return format!(
            "{}: {}, {} records, {} checkpoints ({} kept by others), {} not covered yet, {closed}, {key}\n",
            shown(name),
            paint.green("ok"),
            log.records,
            log.checkpoints,
            log.witnessed,
            log.uncovered,
        );
    };
    let what = word(fault.what);
    let file = word(fault.file);
    format!(
        "{}: {} at line {} of its {file} file (byte {}): {}\n  {} records before it are good\n",
        shown(name),
        paint.red(&what),
        fault.line,
        fault.offset,
        shown(&fault.detail),
        log.records,
    )
}

/// The word that JSON has for a value.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
