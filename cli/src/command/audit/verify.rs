//! `lictor audit verify`: is every record still what was written, and are all there?

use std::path::{Path, PathBuf};

use clap::Args;
use ed25519_dalek::VerifyingKey;
use lictor_audit::note::NoteError;
use lictor_audit::report::verify_report;
use lictor_audit::verify::{KeyTrust, LogReport, Report, VerifyOptions};
use serde_json::{Value, json};

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
    let trusted = verifying(&args.keys)?;
    let report = match &args.report {
        Some(path) => Some(check_report(path, &trusted)?),
        None => None,
    };
    let logs = match &report {
        Some(_) if args.logs.is_empty() => None,
        _ => Some(check_logs(args, trusted)?),
    };
    match args.format {
        Format::Json => print_json(&document(report.as_ref(), logs.as_ref())?)?,
        Format::Pretty => {
            let told = report.as_ref().map(ReportTold::pretty).unwrap_or_default();
            print(&format!("{told}{}", logs.as_ref().map(pretty).unwrap_or_default()))?;
            if args.keys.is_empty() {
                say(
                    "no key was given: each log was held against the key that it names itself; give `--key` to know whose it is",
                );
            }
        }
    }
    let ok =
        report.is_none_or(|report| report.refused.is_none()) && logs.is_none_or(|logs| logs.ok);
    Ok(if ok { Exit::Ok } else { Exit::Broken })
}

fn check_logs(args: &VerifyArgs, trusted: Vec<VerifyingKey>) -> Result<Report, Failure> {
    let known = args.checkpoints.iter().map(|path| read(path));
    let options = VerifyOptions {
        trusted,
        known_checkpoints: known.collect::<Result<_, _>>()?,
        allow_pruned: args.allow_pruned,
        skip_side: false,
    };
    lictor_audit::verify(&args.logs.paths()?, &options).map_err(|error| unreadable(&error))
}

/// What the logs say, with the report beside them; of a report alone, only that.
fn document(report: Option<&ReportTold>, logs: Option<&Report>) -> Result<Value, Failure> {
    let failed = |error: serde_json::Error| Failure::failed(error.to_string());
    let Some(logs) = logs else {
        return Ok(report.map(ReportTold::json).unwrap_or_default());
    };
    let mut document = serde_json::to_value(logs).map_err(failed)?;
    if let (Some(report), Some(members)) = (report, document.as_object_mut()) {
        members.insert("report".to_owned(), report.json());
    }
    Ok(document)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| io("read", path, error))
}

/// What became of a signed report.
struct ReportTold {
    path: PathBuf,
    signed_as: String,
    refused: Option<NoteError>,
}

fn check_report(path: &Path, trusted: &[VerifyingKey]) -> Result<ReportTold, Failure> {
    let path = path.to_owned();
    Ok(match verify_report(&read(&path)?, trusted) {
        Ok(report) => ReportTold { path, signed_as: report.name, refused: None },
        Err(error) => ReportTold { path, signed_as: String::new(), refused: Some(error) },
    })
}

impl ReportTold {
    fn json(&self) -> Value {
        match &self.refused {
            None => json!({"ok": true, "report": self.path, "signed_as": self.signed_as}),
            Some(error) => json!({"ok": false, "report": self.path, "message": error.to_string()}),
        }
    }

    fn pretty(&self) -> String {
        let (paint, path) = (Paint::stdout(), self.path.display());
        match &self.refused {
            None => {
                let verdict = paint.green("ok");
                format!("{path}: {verdict}, signed as {}\n", shown(&self.signed_as))
            }
            Some(error) => {
                let verdict = paint.red("not to be believed");
                format!("{path}: {verdict}: {}\n", shown(&error.to_string()))
            }
        }
    }
}

fn pretty(report: &Report) -> String {
    let paint = Paint::stdout();
    let mut text: String = report.logs.iter().map(|log| line(log, paint)).collect();
    for origin in &report.missing {
        let what = paint.red("missing");
        text.push_str(&format!("{}: {what}, a checkpoint of it is known\n", shown(origin)));
    }
    let verdict = if report.ok { paint.green("whole") } else { paint.red("broken") };
    let (records, logs) = (report.records, report.logs.len());
    text.push_str(&format!("{verdict}: {records} good records in {logs} log(s)\n"));
    text
}

fn line(log: &LogReport, paint: Paint) -> String {
    let name = if log.log.is_empty() { "a log without a name" } else { &log.log };
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
