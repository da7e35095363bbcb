//! `lictor status`: how a decision point is.

use clap::Args;
use lictor_proto::pb::{BundleStatus, GetStatusRequest, GetStatusResponse};
use serde_json::{Value, json};

use super::kill::{describe_list, pretty_list};
use crate::args::pdp::{Pdp, PdpArgs, block_on};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, shown};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pdp: PdpArgs,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command: exit 0 if new calls are decided, 1 if not.
pub(crate) fn run(args: &StatusArgs) -> Result<Exit, Failure> {
    let status = block_on(async {
        let pdp = Pdp::connect(&args.pdp.pdp, &args.pdp.door, None)?;
        let answer = pdp.status().get_status(GetStatusRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
    })?;
    match args.format {
        Format::Json => print_json(&describe(&status))?,
        Format::Pretty => print(&pretty(&status))?,
    }
    Ok(if status.ready { Exit::Ok } else { Exit::Failed })
}

fn describe(status: &GetStatusResponse) -> Value {
    let bundles: Vec<Value> = status.bundles.iter().map(describe_bundle).collect();
    json!({
        "ready": status.ready, "audit_writable": status.audit_writable, "version": status.version,
        "uptime_ms": status.uptime_ms, "decisions": status.decisions, "bundles": bundles,
        "revocations": status.revocations.iter().map(describe_list).collect::<Vec<_>>(),
    })
}

fn describe_bundle(bundle: &BundleStatus) -> Value {
    let live = bundle.live.as_ref().map(|live| {
        json!({"name": live.name, "revision": live.revision, "version": live.version, "digest": live.digest})
    });
    json!({
        "tenant": bundle.tenant, "live": live, "since": bundle.since, "trust": bundle.trust,
        "refused": bundle.refused, "refused_at": bundle.refused_at,
    })
}

fn pretty(status: &GetStatusResponse) -> String {
    let paint = Paint::stdout();
    let ready = if status.ready { paint.green("ready") } else { paint.red("not ready") };
    let audit = if status.audit_writable { "writable" } else { "not writable" };
    let mut text = format!(
        "{ready}, version {}, up {} s, audit {audit}\n",
        shown(&status.version),
        status.uptime_ms / 1000
    );
    let mut decisions: Vec<_> = status.decisions.iter().collect();
    decisions.sort();
    for (effect, count) in decisions {
        text.push_str(&format!("{count} {}\n", shown(effect)));
    }
    if status.bundles.is_empty() {
        text.push_str(&format!("{}\n", paint.red("no bundle: every call is denied")));
    }
    for bundle in &status.bundles {
        text.push_str(&pretty_bundle(bundle, paint));
    }
    for list in &status.revocations {
        text.push_str(&pretty_list(list, paint));
    }
    text
}

fn pretty_bundle(bundle: &BundleStatus, paint: Paint) -> String {
    let mut text = format!("{}: ", paint.bold(&shown(&bundle.tenant)));
    match &bundle.live {
        Some(live) => text.push_str(&format!(
            "{} version {} ({}), {} since {}\n  {}\n",
            shown(&live.name),
            live.version,
            shown(&live.revision),
            shown(&bundle.trust),
            shown(&bundle.since),
            shown(&live.digest)
        )),
        None => text.push_str("no live bundle\n"),
    }
    if !bundle.refused.is_empty() {
        let refused =
            format!("refused at {}: {}", shown(&bundle.refused_at), shown(&bundle.refused));
        text.push_str(&format!("  {}\n", paint.yellow(&refused)));
    }
    text
}
