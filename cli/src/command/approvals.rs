//! `lictor approvals`: what waits for a person, and the person's answer.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use lictor_identity::files::read_public;
use lictor_proto::pb::{ApprovalRecord, ListApprovalsRequest, ResolveApprovalRequest};
use serde_json::{Value, json};

use crate::args::pdp::{Pdp, PdpArgs, block_on};
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, Paint, print, print_json, say, shown};

/// Arguments of `approvals`.
#[derive(Debug, Args)]
pub(crate) struct ApprovalsArgs {
    #[command(subcommand)]
    command: ApprovalsCommand,
}

#[derive(Debug, Subcommand)]
enum ApprovalsCommand {
    /// List approvals, newest first.
    List(ListArgs),
    /// Agree.
    Approve(ResolveArgs),
    /// Refuse.
    Deny(ResolveArgs),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    pdp: PdpArgs,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only approvals in this state.
    #[arg(long, value_name = "STATE",
        value_parser = PossibleValuesParser::new(["pending", "approved", "denied", "used", "expired"]))]
    state: Option<String>,
    /// File with an approver's own credential; it opens the door too where no other is given.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct ResolveArgs {
    /// The approval, as `lictor approvals list` and the refused call name it.
    id: String,
    /// File with the approver's own credential (an API key with the role `approver`).
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Why; kept in the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub(crate) fn run(args: &ApprovalsArgs) -> Result<Exit, Failure> {
    match &args.command {
        ApprovalsCommand::List(args) => list(args),
        ApprovalsCommand::Approve(args) => resolve(args, true),
        ApprovalsCommand::Deny(args) => resolve(args, false),
    }
}

/// The channel is authenticated by its own token; where none is given over TCP, by the
/// approver's.
fn connect(common: &Common, token: Option<&Path>) -> Result<Pdp, Failure> {
    let door = common.pdp.door.pdp_token_file.as_deref();
    let socket = common.pdp.pdp.starts_with("unix:");
    Pdp::connect(&common.pdp.pdp, door.or(if socket { None } else { token }))
}

fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let request = ListApprovalsRequest { state: args.state.clone().unwrap_or_default() };
    let records = block_on(async {
        let pdp = connect(&args.common, args.token.as_deref())?;
        let answer = pdp.approvals().list(request).await;
        answer.map(|answer| answer.into_inner().approvals).map_err(|status| pdp.failure(&status))
    })?;
    match args.common.format {
        Format::Json => {
            let records: Vec<Value> = records.iter().map(describe).collect();
            print_json(&json!({ "approvals": records }))?;
        }
        Format::Pretty if records.is_empty() => say("nothing waits"),
        Format::Pretty => {
            let blocks: Vec<String> = records.iter().map(pretty).collect();
            print(&blocks.join("\n"))?;
        }
    }
    Ok(Exit::Ok)
}

fn resolve(args: &ResolveArgs, approve: bool) -> Result<Exit, Failure> {
    let request = ResolveApprovalRequest {
        id: args.id.clone(),
        approve,
        approver_token: credential(&args.token)?,
        reason: args.reason.clone(),
    };
    let record = block_on(async {
        let pdp = connect(&args.common, Some(&args.token))?;
        let answer = pdp.approvals().resolve(request).await;
        answer.map(|answer| answer.into_inner().approval).map_err(|status| pdp.failure(&status))
    })?;
    let record =
        record.ok_or_else(|| Failure::failed("the decision point answered without an approval"))?;
    match args.common.format {
        Format::Json => print_json(&describe(&record))?,
        Format::Pretty => print(&pretty(&record))?,
    }
    Ok(Exit::Ok)
}

/// The text of a credential file, without the line end.
fn credential(path: &Path) -> Result<String, Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| io("read", path, error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        say(&format!("warning: others may read `{}`: run `chmod 600` on it", path.display()));
    }
    let text = read_public(path).map_err(|error| Failure::error(&error))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::failed(format!("`{}` is empty", path.display()))
            .help("it holds the approver's API key, as `lictor keys issue` prints it"));
    }
    Ok(text.to_owned())
}

fn describe(record: &ApprovalRecord) -> Value {
    let approval = record.approval.clone().unwrap_or_default();
    let reasons: Vec<Value> = record
        .reasons
        .iter()
        .map(|reason| json!({"id": reason.id, "message": reason.message, "policy": reason.policy}))
        .collect();
    json!({
        "id": approval.id, "state": record.state, "expires": approval.expires,
        "approvers": approval.approvers, "count": approval.count, "opened": record.opened,
        "tenant": record.tenant, "subject": record.subject, "agent": record.agent,
        "action": record.action, "resource": record.resource, "args": record.args,
        "args_digest": record.args_digest, "bundle_digest": record.bundle_digest,
        "reasons": reasons, "approved_by": record.approved_by,
        "denied_by": (!record.denied_by.is_empty()).then_some(&record.denied_by),
    })
}

fn pretty(record: &ApprovalRecord) -> String {
    let paint = Paint::stdout();
    let approval = record.approval.clone().unwrap_or_default();
    let state = match record.state.as_str() {
        "approved" | "used" => paint.green(&record.state),
        "denied" | "expired" => paint.red(&record.state),
        other => paint.yellow(&shown(other)),
    };
    let mut text = format!(
        "{} {state}, until {}\n",
        paint.bold(&shown(&approval.id)),
        shown(&approval.expires)
    );
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<10} {}\n", shown(value)));
        }
    };
    row("who", &format!("{} for {}", record.agent, record.subject));
    row("what", &format!("{} {}", record.action, record.resource));
    row("arguments", &record.args);
    for reason in &record.reasons {
        row("because", &format!("{} ({})", reason.message, reason.id));
    }
    row("needs", &format!("{} of {}", approval.count, approval.approvers.join(", ")));
    row("agreed", &record.approved_by.join(", "));
    row("refused", &record.denied_by);
    text
}
