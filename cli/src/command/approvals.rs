//! `lictor approvals`: what waits for a person, and the person's answer.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use lictor_identity::files::read_public;
use lictor_proto::decision::Standing;
use lictor_proto::pb::{
    ApprovalRecord, ListApprovalsRequest, ResolveApprovalRequest, WaitApprovalRequest,
    WaitApprovalResponse,
};
use lictor_proto::wire::approval_record_to_json;
use serde_json::{Value, json};

use crate::args::pdp::{Pdp, PdpArgs, block_on};
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, Paint, print, print_json, say, shown};
use crate::time::{When, now_ms};

/// How long one question of `wait` waits, milliseconds: less than an answer may take.
const WAIT_STEP_MS: u32 = 5_000;

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
    /// Show one with everything that its answer depends on.
    Show(ShowArgs),
    /// Wait until somebody has decided: exit code 0 approved, 3 not, 4 still waiting.
    Wait(WaitArgs),
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
        value_parser = PossibleValuesParser::new(["pending", "approved", "denied", "used", "expired", "voided"]))]
    state: Option<String>,
    /// File with an approver's own credential; it opens the door too where no other is given.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The approval, as `lictor approvals list` and the refused call name it.
    id: String,
    /// File with an approver's own credential; it opens the door too where no other is given.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct WaitArgs {
    #[command(flatten)]
    which: ShowArgs,
    /// How long at most, such as `30s`, `10m` or `2h`.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = When::parse)]
    timeout: When,
}

#[derive(Debug, Args)]
struct ResolveArgs {
    /// The approval, as `lictor approvals list` and the refused call name it.
    id: String,
    /// File with the approver's own credential (an API key with the role `approver`).
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// The call that was looked at, by the digest that `show` prints: another is refused.
    #[arg(long, value_name = "HEX", default_value = "")]
    digest: String,
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
        ApprovalsCommand::Show(args) => show(args),
        ApprovalsCommand::Wait(args) => wait(args),
        ApprovalsCommand::Approve(args) => resolve(args, true),
        ApprovalsCommand::Deny(args) => resolve(args, false),
    }
}

/// The channel is authenticated by its own token; where none is given over TCP, by the
/// approver's.
fn connect(common: &Common, token: Option<&Path>) -> Result<Pdp, Failure> {
    let door = &common.pdp.door;
    let proven = common.pdp.pdp.starts_with("unix:") || door.pdp_token_file.is_some();
    Pdp::connect(&common.pdp.pdp, door, token.filter(|_| !proven))
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
            let records: Vec<Value> = records.iter().map(approval_record_to_json).collect();
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

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let answer = block_on(async {
        let pdp = connect(&args.common, args.token.as_deref())?;
        ask(&pdp, &args.id, 0).await
    })?;
    match (args.common.format, &answer.approval) {
        (Format::Json, Some(record)) => print_json(&approval_record_to_json(record))?,
        (Format::Pretty, Some(record)) => print(&format!("{}{}", pretty(record), details(record)))?,
        (_, None) => {
            return Err(Failure::failed(
                "an enforcement point's credential does not show approvals",
            )
            .help("use an operator's or an approver's"));
        }
    }
    Ok(Exit::Ok)
}

fn wait(args: &WaitArgs) -> Result<Exit, Failure> {
    let which = &args.which;
    let answer = block_on(async {
        let pdp = connect(&which.common, which.token.as_deref())?;
        let now_ms = now_ms();
        let patience_ms = args.timeout.at_ms(now_ms).saturating_sub(now_ms);
        let end = Instant::now() + Duration::from_millis(u64::try_from(patience_ms).unwrap_or(0));
        loop {
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            let left = u32::try_from(left).unwrap_or(u32::MAX).min(WAIT_STEP_MS);
            let answer = ask(&pdp, &which.id, left).await?;
            if left < WAIT_STEP_MS || answer.state != Standing::Pending.as_str() {
                return Ok(answer);
            }
        }
    })?;
    match (which.common.format, &answer.approval) {
        (Format::Json, Some(record)) => print_json(&approval_record_to_json(record))?,
        (Format::Json, None) => print_json(&json!({ "id": which.id, "state": answer.state }))?,
        (Format::Pretty, Some(record)) => print(&pretty(record))?,
        (Format::Pretty, None) => print(&format!("{}\n", shown(&answer.state)))?,
    }
    match Standing::parse(&answer.state) {
        Some(Standing::Approved | Standing::Used) => Ok(Exit::Ok),
        Some(Standing::Pending) => Ok(Exit::Ask),
        Some(Standing::Denied | Standing::Expired | Standing::Voided) => Ok(Exit::Denied),
        None => Err(Failure::failed(format!("an approval is `{}`", shown(&answer.state)))),
    }
}

async fn ask(pdp: &Pdp, id: &str, timeout_ms: u32) -> Result<WaitApprovalResponse, Failure> {
    let request = WaitApprovalRequest { id: id.to_owned(), timeout_ms };
    let answer = pdp.approvals().wait(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
}

fn resolve(args: &ResolveArgs, approve: bool) -> Result<Exit, Failure> {
    let request = ResolveApprovalRequest {
        id: args.id.clone(),
        approve,
        approver_token: credential(&args.token)?,
        reason: args.reason.clone(),
        binding_digest: args.digest.clone(),
    };
    let record = block_on(async {
        let pdp = connect(&args.common, Some(&args.token))?;
        let answer = pdp.approvals().resolve(request).await;
        answer.map(|answer| answer.into_inner().approval).map_err(|status| pdp.failure(&status))
    })?;
    let record =
        record.ok_or_else(|| Failure::failed("the decision point answered without an approval"))?;
    match args.common.format {
        Format::Json => print_json(&approval_record_to_json(&record))?,
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

fn pretty(record: &ApprovalRecord) -> String {
    let paint = Paint::stdout();
    let approval = record.approval.clone().unwrap_or_default();
    let state = match record.state.as_str() {
        "approved" | "used" => paint.green(&record.state),
        "denied" | "expired" | "voided" => paint.red(&record.state),
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
    let agreed = format!("{} of {}", record.approved_by.len(), approval.count);
    match record.approved_by.join(", ") {
        names if names.is_empty() => row("agreed", &agreed),
        names => row("agreed", &format!("{agreed}: {names}")),
    }
    row("refused", &record.denied_by);
    text
}

/// What binds the approval, below what [`pretty`] tells.
fn details(record: &ApprovalRecord) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<10} {}\n", shown(value)));
        }
    };
    row("through", &record.delegation.join(", "));
    for part in &record.parts {
        row("asked by", &format!("{}: {} of {}", part.ask, part.count, part.approvers.join(", ")));
    }
    row("opened", &record.opened);
    row("tenant", &record.tenant);
    row("session", &record.session);
    row("args", &record.args_digest);
    row("content", &record.content_digest);
    row("tool", &record.tool_digest);
    let live = if record.bundle_live { "live" } else { "not live any more: agreeing is of no use" };
    row("bundle", &format!("{} ({live})", record.bundle_digest));
    row("digest", &record.binding_digest);
    text
}
