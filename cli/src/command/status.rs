//! `lictor status`: how a decision point is.

use clap::Args;
use lictor_proto::pb::{BundleStatus, GetStatusRequest, GetStatusResponse, ShadowStatus};
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
        "shadow": status.shadow.as_ref().map(describe_shadow),
    })
}

fn describe_shadow(shadow: &ShadowStatus) -> Value {
    json!({
        "bundle": shadow.bundle.as_ref().map(describe_bundle), "sample": shadow.sample,
        "queued": shadow.queued, "decisions": shadow.decisions,
    })
}

fn describe_bundle(bundle: &BundleStatus) -> Value {
    let live = bundle.live.as_ref().map(|live| {
        json!({"name": live.name, "revision": live.revision, "version": live.version, "digest": live.digest})
    });
    json!({
        "tenant": bundle.tenant, "live": live, "since": bundle.since, "trust": bundle.trust,
        "from": bundle.from, "place": bundle.place,
        "refused": bundle.refused, "refused_at": bundle.refused_at,
        "refused_version": (bundle.refused_version > 0).then_some(bundle.refused_version),
        "refused_digest": (!bundle.refused_digest.is_empty()).then_some(&bundle.refused_digest),
        "last_check": bundle.last_check, "last_success": bundle.last_success,
        "last_error": bundle.last_error, "last_error_at": bundle.last_error_at,
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
    text.push_str(&status.shadow.as_ref().map(|s| pretty_shadow(s, paint)).unwrap_or_default());
    text
}

/// The bundle that only watches, and what it would have decided.
fn pretty_shadow(shadow: &ShadowStatus, paint: Paint) -> String {
    let mut text = String::from("shadow of ");
    text.push_str(&shadow.bundle.as_ref().map(|b| pretty_bundle(b, paint)).unwrap_or_default());
    let mut counts: Vec<_> = shadow.decisions.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort();
    let counts: Vec<String> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", shown(outcome))).collect();
    let counts = if counts.is_empty() { "nothing yet".to_owned() } else { counts.join(", ") };
    let waiting =
        if shadow.queued > 0 { format!(", {} waiting", shadow.queued) } else { String::new() };
    let share = match shadow.sample {
        1.0 => "every decision".to_owned(),
        share => format!("{share} of the decisions"),
    };
    text.push_str(&format!("  compared with {share}: {counts}{waiting}\n"));
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
    if !bundle.place.is_empty() {
        let from = match bundle.from.as_str() {
            "last_good" => paint.yellow("the kept copy; the source is"),
            _ => "from".to_owned(),
        };
        text.push_str(&format!("  {from} {}\n", shown(&bundle.place)));
    }
    if !bundle.last_check.is_empty() {
        let answered = match bundle.last_success.as_str() {
            "" => "never answered".to_owned(),
            time => format!("answered {}", shown(time)),
        };
        text.push_str(&format!("  asked {}, {answered}\n", shown(&bundle.last_check)));
    }
    if !bundle.refused.is_empty() {
        let which = match (bundle.refused_version, bundle.refused_digest.as_str()) {
            (0, "") => String::new(),
            (0, digest) => format!(" {}", shown(digest)),
            (version, digest) => format!(" version {version} {}", shown(digest)),
        };
        let refused =
            format!("refused{which} at {}: {}", shown(&bundle.refused_at), shown(&bundle.refused));
        text.push_str(&format!("  {}\n", paint.yellow(&refused)));
    }
    // One that was made up for since is told by `--format json`.
    if !bundle.last_error.is_empty() && bundle.last_error_at == bundle.last_check {
        let at = shown(&bundle.last_error_at);
        let failed = format!("no answer at {at}: {}", shown(&bundle.last_error));
        text.push_str(&format!("  {}\n", paint.yellow(&failed)));
    }
    text
}
