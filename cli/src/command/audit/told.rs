//! A session as text for people.

use std::collections::BTreeSet;

use super::session::{CallTold, Session};
use crate::output::{Paint, shown, table};

/// The session, most important things first.
pub(super) fn pretty(session: &Session, paint: Paint) -> String {
    let mut text = format!("session {}\n", paint.bold(&shown(&session.session)));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("{name:<10} {}\n", shown(&value)));
        }
    };
    row("who", format!("{} for {}", anybody(&session.agents), anybody(&session.subjects)));
    row("through", session.delegation.join(", "));
    row("tenant", join(&session.tenants));
    row("when", format!("{} to {}", session.first, session.last));
    row("bundle", join(&session.bundles));
    text.push('\n');
    text.push_str(&calls(session));
    if !session.policies.is_empty() {
        text.push_str(&format!("\n{}\n", paint.bold("policies evaluated")));
        for policy in &session.policies {
            text.push_str(&format!("  {}\n", shown(policy)));
        }
    }
    if !session.events.is_empty() {
        text.push_str(&format!("\n{}\n", paint.bold("besides")));
        for event in &session.events {
            text.push_str(&format!(
                "  {} {} {}\n",
                event.at,
                event.kind,
                shown(&event.body.to_string())
            ));
        }
    }
    let chain = &session.chain;
    let verdict = if chain.whole { paint.green("whole") } else { paint.red("broken") };
    let (records, logs) = (chain.records, chain.logs.len());
    text.push_str(&format!("\nlogs are {verdict}: {records} good records in {logs} log(s)\n"));
    text
}

fn calls(session: &Session) -> String {
    let head = ["", "time", "action", "resource", "verdict", "outcome", "took", "why"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (index, call) in session.calls.iter().enumerate() {
        rows.push(vec![
            (index + 1).to_string(),
            call.at.clone(),
            shown(&action(call)),
            shown(&call.resource),
            shown(&call.effect),
            shown(call.outcome.as_deref().unwrap_or("-")),
            took(call.duration_us.or(call.decision_us)),
            shown(&call.reasons.join(" ")),
        ]);
    }
    table(&rows)
}

fn action(call: &CallTold) -> String {
    if call.phase.is_empty() || call.phase == "request" {
        return call.action.clone();
    }
    format!("{} ({})", call.action, call.phase)
}

fn took(us: Option<u64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) => format!("{}.{:03} ms", us / 1000, us % 1000),
    }
}

fn join(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

fn anybody(names: &BTreeSet<String>) -> String {
    if names.is_empty() { "nobody named".to_owned() } else { join(names) }
}
