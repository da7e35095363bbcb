//! `lictor limits`: what is held of limits, and giving it back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lictor_proto::pb::{Counter, ResetLimitRequest, ShowLimitsRequest};
use serde_json::{Value, json};

use crate::args::pdp::{Pdp, PdpArgs, block_on};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, say, shown, table};
use crate::time::rfc3339;

/// Most counters that are shown unless told otherwise.
const SHOWN_DEFAULT: usize = 1_000;

/// Arguments of `limits`.
#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    #[command(subcommand)]
    command: LimitsCommand,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// Show the counters of which something is held. Operators and auditors.
    Show(ShowArgs),
    /// Give back what is held of one limit with one key, in every window and session. Operators
    /// only; goes into the audit log with who, why, before and after.
    Reset(ResetArgs),
}

#[derive(Debug, Args)]
struct Common {
    /// The tenant.
    #[arg(long, value_name = "ID", default_value = lictor_proto::call::DEFAULT_TENANT)]
    tenant: String,
    /// File with a token for the decision point.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    #[command(flatten)]
    pdp: PdpArgs,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Only this limit, as the bundle names it.
    id: Option<String>,
    /// Only with this key, as a listing has it: `["alice@example.com"]`.
    #[arg(long, value_name = "KEY", requires = "id")]
    key: Option<String>,
    /// Most counters that are shown.
    #[arg(long, value_name = "COUNT", default_value_t = SHOWN_DEFAULT)]
    max: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct ResetArgs {
    /// The limit, as the bundle names it.
    id: String,
    /// The key, as `lictor limits show` has it: `["alice@example.com"]`, or empty.
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Why; kept in the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(crate) fn run(args: &LimitsArgs) -> Result<Exit, Failure> {
    match &args.command {
        LimitsCommand::Show(args) => show(args),
        LimitsCommand::Reset(args) => reset(args),
    }
}

fn connect(common: &Common) -> Result<Pdp, Failure> {
    Pdp::connect(&common.pdp.pdp, &common.pdp.door, common.token.as_deref())
}

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let (counters, more) = block_on(async {
        let pdp = connect(&args.common)?;
        pages(&pdp, args).await
    })?;
    match args.common.format {
        Format::Json => {
            let counters: Vec<Value> = counters.iter().map(describe).collect();
            print_json(
                &json!({ "tenant": args.common.tenant, "counters": counters, "more": more }),
            )?;
        }
        Format::Pretty if counters.is_empty() => say("nothing is held"),
        Format::Pretty => {
            print(&rows(&counters))?;
            if more {
                say("there are more: name a limit, or give a larger `--max`");
            }
        }
    }
    Ok(Exit::Ok)
}

/// Page after page until there is nothing more, or enough. Says whether there was more.
async fn pages(pdp: &Pdp, args: &ShowArgs) -> Result<(Vec<Counter>, bool), Failure> {
    let mut counters: Vec<Counter> = Vec::new();
    let mut after = String::new();
    loop {
        let request = ShowLimitsRequest {
            tenant: args.common.tenant.clone(),
            id: args.id.clone().unwrap_or_default(),
            key: args.key.clone(),
            after: after.clone(),
        };
        let answer = pdp.limits().show(request).await.map_err(|status| pdp.failure(&status))?;
        let page = answer.into_inner();
        counters.extend(page.counters);
        let more = !page.next.is_empty();
        if counters.len() > args.max || (more && counters.len() == args.max) {
            counters.truncate(args.max);
            return Ok((counters, true));
        }
        if !more || page.next == after {
            return Ok((counters, false));
        }
        after = page.next;
    }
}

fn reset(args: &ResetArgs) -> Result<Exit, Failure> {
    if args.reason.trim().is_empty() {
        return Err(
            Failure::usage("`--reason` is empty").help("whoever reads the log must see why")
        );
    }
    let request = ResetLimitRequest {
        tenant: args.common.tenant.clone(),
        id: args.id.clone(),
        key: args.key.clone(),
        reason: args.reason.clone(),
    };
    let done = block_on(async {
        let pdp = connect(&args.common)?;
        let answer = pdp.limits().reset(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
    })?;
    let all = |counters: &[Counter]| counters.iter().map(describe).collect::<Vec<Value>>();
    match args.common.format {
        Format::Json => print_json(&json!({
            "tenant": args.common.tenant, "id": args.id, "key": args.key,
            "emptied": done.emptied, "before": all(&done.before), "after": all(&done.after),
        }))?,
        Format::Pretty => {
            print(&format!(
                "{} {} {}: {} counter(s) emptied; before:\n{}",
                Paint::stdout().green("reset"),
                shown(&args.id),
                shown(&args.key),
                done.emptied,
                rows(&done.before),
            ))?;
            if !done.after.is_empty() {
                print(&format!("since then:\n{}", rows(&done.after)))?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// When it is full again; nothing for never.
fn reset_at(counter: &Counter) -> Option<String> {
    (counter.reset_ms != 0).then(|| rfc3339(counter.reset_ms))
}

fn describe(counter: &Counter) -> Value {
    json!({
        "id": counter.id, "key": counter.key, "kind": counter.kind, "unit": counter.unit,
        "session": (!counter.session.is_empty()).then_some(&counter.session),
        "max": counter.max, "used": counter.used, "remaining": counter.remaining,
        "reset_at": reset_at(counter),
    })
}

fn rows(counters: &[Counter]) -> String {
    let head =
        ["limit", "key", "session", "kind", "used", "remaining", "max", "unit", "full again"];
    let row = |counter: &Counter| {
        vec![
            shown(&counter.id),
            or_dash(&counter.key),
            or_dash(&counter.session),
            shown(&counter.kind),
            counter.used.to_string(),
            counter.remaining.to_string(),
            counter.max.to_string(),
            shown(&counter.unit),
            reset_at(counter).unwrap_or_else(|| "never".to_owned()),
        ]
    };
    let head = head.map(str::to_owned).to_vec();
    table(&[head].into_iter().chain(counters.iter().map(row)).collect::<Vec<_>>())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { shown(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> Counter {
        Counter {
            id: "team.tokens".into(),
            key: "[\"a\u{1b}\"]".into(),
            session: String::new(),
            kind: "budget".into(),
            unit: "tokens".into(),
            max: 10,
            used: 4,
            remaining: 6,
            reset_ms: 0,
        }
    }

    #[test]
    fn counters_line_up_and_drive_no_terminal() {
        let text = rows(&[counter()]);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("tokens  never\n"), "{text}");
    }

    #[test]
    fn programs_see_never_as_nothing() {
        let told = describe(&Counter { reset_ms: 1_000, ..counter() });
        assert_eq!(told["reset_at"], "1970-01-01T00:00:01Z");
        let told = describe(&counter());
        assert_eq!((&told["reset_at"], &told["session"]), (&Value::Null, &Value::Null));
        assert_eq!((&told["used"], &told["remaining"]), (&json!(4), &json!(6)));
    }
}
