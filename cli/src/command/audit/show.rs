//! `lictor audit show`: records as they are.

use clap::Args;
use clap::builder::PossibleValuesParser;
use lictor_audit::Kind;
use lictor_audit::query::Record;

use super::{flips, shadow};
use crate::args::logs::{LogArgs, unreadable};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, say, shown, to_json, to_json_line};
use crate::time::rfc3339;

/// Arguments of `audit show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    logs: LogArgs,
    /// Only the records of this call.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Only the records of this decision.
    #[arg(long, value_name = "ID", conflicts_with = "call")]
    decision: Option<String>,
    /// Only records of this kind.
    #[arg(long, value_name = "KIND",
        value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Option<String>,
    /// Instead of records, the agents that were seen and not served: unknown, inactive, or with
    /// an issuer or credential that is not theirs.
    #[arg(long, conflicts_with_all = ["call", "decision", "kind"])]
    shadow_agents: bool,
    /// Instead of records, what shadow rules and the shadow bundle would have changed.
    #[arg(long, conflicts_with_all = ["kind", "shadow_agents"])]
    shadow: bool,
    /// Put sensitive values back from the side store.
    #[arg(long)]
    reveal: bool,
    /// `json` is one record, rule, bundle or agent a line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command. Nothing is verified here.
pub(super) fn run(args: &ShowArgs) -> Result<Exit, Failure> {
    let logs = args.logs.open()?;
    if args.shadow_agents {
        let (text, count) = shadow::told(&logs, args.reveal, args.format)?;
        if count == 0 {
            say("every agent that was seen was served");
        }
        print(&text)?;
        return Ok(Exit::Ok);
    }
    let found = match (&args.call, &args.decision) {
        (Some(id), _) => logs.call(id, args.reveal),
        (None, Some(id)) => logs.decision(id, args.reveal),
        (None, None) => logs.records(args.reveal, |_| true),
    };
    let mut records = found.map_err(|error| unreadable(&error))?;
    if let Some(kind) = args.kind.as_deref().and_then(Kind::parse) {
        records.retain(|record| record.kind == kind);
    }
    if args.shadow {
        let (text, count) = flips::told(&records, args.reveal, args.format)?;
        if count == 0 {
            say("no shadow rule fired, and no shadow bundle would have decided otherwise");
        }
        print(&text)?;
        return Ok(Exit::Ok);
    }
    if records.is_empty() {
        say("no record fits");
    }
    print(&write(&records, args.format)?)?;
    Ok(Exit::Ok)
}

/// Records as text, each ending its line.
pub(super) fn write(records: &[Record], format: Format) -> Result<String, Failure> {
    let paint = Paint::stdout();
    let mut text = String::new();
    for record in records {
        match format {
            Format::Json => text.push_str(&to_json_line(record)?),
            Format::Pretty => {
                let head = format!("{} {} {}", rfc3339(record.ts_ms), record.log, record.seq);
                text.push_str(&format!(
                    "{} {}\n",
                    paint.dim(&shown(&head)),
                    paint.bold(record.kind.as_str())
                ));
                // Line ends of the JSON are ours; everything else is shown safely.
                let body = to_json(&record.body)?;
                let lines: Vec<String> =
                    body.lines().map(|line| format!("  {}", shown(line))).collect();
                text.push_str(&lines.join("\n"));
            }
        }
        text.push('\n');
    }
    Ok(text)
}
