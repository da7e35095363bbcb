//! The demonstration as told to a newcomer, and as JSON.

use std::path::Path;

use lictor_audit::{LogReport, Report};
use lictor_proto::decision::Effect;
use serde_json::{Value, json};

use super::evidence::{Behind, Evidence, Spoke, Tampered};
use super::play::Played;
use super::site::Site;
use super::steps::{Ask, Era, Step, Story};
use super::tools::{LEGACY, MODERN};
use crate::output::{Paint, shown};

/// Most characters of a text that is shown.
const SHOWN_CHARS: usize = 118;

/// Everything that is told.
pub(crate) struct Told<'a> {
    /// The steps with what the logs say about each.
    pub(crate) steps: &'a [(Played, Evidence)],
    /// What the sample servers saw.
    pub(crate) behind: &'a Behind,
    /// The logs as they are.
    pub(crate) verified: &'a Report,
    /// The byte that was changed in a copy.
    pub(crate) tampered: &'a Tampered,
    /// What verification says about the copy.
    pub(crate) after: &'a Report,
    /// Everything that was not as expected.
    pub(crate) differences: &'a [String],
    /// The folder with the logs, if it is kept.
    pub(crate) kept: Option<&'a Path>,
}

/// What was asked for, in the words of the protocol.
fn asked(step: &Step) -> String {
    let revision = |era| match era {
        Era::Legacy => LEGACY,
        Era::Modern => MODERN,
    };
    match step.ask {
        Ask::Connect { server } => format!("MCP {LEGACY}: initialize {server}"),
        Ask::ListTools { server, era, .. } => format!("MCP {}: tools/list {server}", revision(era)),
        Ask::CallTool { tool, args, era, .. } => {
            format!("MCP {}: tools/call {tool} {args}", revision(era))
        }
        Ask::Approve => "gRPC: ApprovalService.Resolve".to_owned(),
        Ask::Chat { model, stream: false, .. } => format!("OpenAI: chat with {model}"),
        Ask::Chat { model, stream: true, .. } => format!("OpenAI: streamed chat with {model}"),
        Ask::ListModels { .. } => "OpenAI: list of models".to_owned(),
        Ask::RawMcp { server, body } => format!("to {server}, as it is: {body}"),
        Ask::RawChat { body } => format!("to the provider, as it is: {body}"),
    }
}

fn cut(text: &str) -> String {
    let text = shown(text);
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    let kept: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{kept}…")
}

// === pretty ===

/// The words before the first step.
pub(crate) fn opening(site: &Site, bundle: &str, paint: Paint) -> String {
    format!(
        "{}\n\nOne signed bundle decides, two enforcement points carry it out, and the logs prove it.\n\
         {bundle}, signed by key {}, served from {}\n",
        paint.bold("lictor demo"),
        site.signed_by,
        site.root().display(),
    )
}

/// Everything after the opening.
pub(crate) fn pretty(told: &Told<'_>, paint: Paint) -> String {
    let mut text = String::new();
    let mut story: Option<Story> = None;
    for (number, (played, evidence)) in told.steps.iter().enumerate() {
        if story != Some(played.step.story) {
            story = Some(played.step.story);
            text.push_str(&format!("\n{}\n", paint.bold(played.step.story.title())));
        }
        text.push_str(&step(number + 1, played, evidence, paint));
    }
    text.push_str(&behind(told.behind, paint));
    text.push_str(&logs(told, paint));
    text.push_str(&look_closer(told));
    text.push_str(&closing(told, paint));
    text
}

/// Commands for whoever kept the folder.
fn look_closer(told: &Told<'_>) -> String {
    let Some(folder) = told.kept else {
        return String::new();
    };
    let dir = folder.display();
    let mut text = format!("\n     Look closer:\n     lictor audit verify {dir}\n");
    let session =
        told.steps.iter().map(|(_, evidence)| &evidence.session).find(|id| !id.is_empty());
    if let Some(session) = session {
        text.push_str(&format!("     lictor audit session {session} {dir}\n"));
    }
    text
}

fn step(number: usize, played: &Played, evidence: &Evidence, paint: Paint) -> String {
    let Played { step, seen, .. } = played;
    let fine = played.differences.is_empty() && evidence.differences.is_empty();
    let mark = if fine { paint.green("ok") } else { paint.red("NOT AS EXPECTED") };
    let verdict = match seen.effect {
        Effect::Allow => paint.green("allow"),
        Effect::Deny => paint.red("deny"),
        Effect::Ask => paint.yellow("ask"),
    };
    let mut text = format!("\n{number:>3}  {}  {mark}\n", step.title);
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("     {}{value}\n", paint.dim(&format!("{name:<9}"))));
        }
    };
    line("who", step.caller.who().to_owned());
    line("asks", cut(&asked(step)));
    line("decision", format!("{verdict}{}", outcome(evidence)));
    if seen.effect != Effect::Allow {
        line("told", format!("{}: {}", seen.reasons.join(", "), cut(&seen.message)));
    }
    for spoke in &evidence.spoke {
        line("because", because(spoke));
    }
    line("sees", if seen.names.is_empty() { String::new() } else { seen.names.join(", ") });
    line("answer", cut(&seen.text));
    for difference in played.differences.iter().chain(&evidence.differences) {
        line("wrong", paint.red(difference));
    }
    text
}

fn outcome(evidence: &Evidence) -> String {
    let said = match evidence.outcome.as_str() {
        "masked" => ", carried out, parts of the answer masked",
        "forwarded" => ", carried out",
        "withheld" | "failed" | "not_sent" => ", and then not carried out as it was permitted",
        _ => "",
    };
    said.to_owned()
}

fn because(spoke: &Spoke) -> String {
    match spoke.engine() {
        "rego" => format!("{} (Rego, {})", spoke.id, spoke.policy),
        "cedar" => format!("{} (Cedar, {})", spoke.id, spoke.policy),
        _ => format!("{} (Lictor itself)", spoke.id),
    }
}

fn behind(behind: &Behind, paint: Paint) -> String {
    let mut text = format!("\n{}\n\n", paint.bold("Behind the enforcement points"));
    text.push_str(&format!(
        "     {} requests reached the tool servers, each with a short-lived assertion of who acts for whom\n",
        behind.assertions
    ));
    text.push_str(&format!(
        "     {} requests reached the provider, each with the provider's own key\n",
        behind.provider_keys
    ));
    if behind.differences.is_empty() {
        text.push_str("     no caller's token ever did\n");
    }
    for difference in &behind.differences {
        text.push_str(&format!("     {}\n", paint.red(difference)));
    }
    text
}

fn logs(told: &Told<'_>, paint: Paint) -> String {
    let mut text = format!("\n{}\n\n", paint.bold("The audit logs"));
    for log in &told.verified.logs {
        text.push_str(&format!("     {}\n", log_line(log, paint)));
    }
    text.push_str(&format!(
        "\n     In a copy one byte is changed: {} line {} now reads {}\n",
        told.tampered.file, told.tampered.line, told.tampered.text,
    ));
    for log in told.after.logs.iter().filter(|log| log.fault.is_some()) {
        text.push_str(&format!("     {}\n", log_line(log, paint)));
    }
    text
}

fn log_line(log: &LogReport, paint: Paint) -> String {
    match &log.fault {
        None => format!(
            "{} {}: {} records, {} signed checkpoints",
            paint.green("verified"),
            log.log,
            log.records,
            log.checkpoints,
        ),
        Some(fault) => format!(
            "{} {} line {}: {}",
            paint.red(&word(&fault.what)),
            log.log,
            fault.line,
            shown(&fault.detail),
        ),
    }
}

/// A closed word as it stands in JSON.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn closing(told: &Told<'_>, paint: Paint) -> String {
    if told.differences.is_empty() {
        let text = format!(
            "all {} steps came out as expected, over the wire and in the logs",
            told.steps.len()
        );
        return format!("\n{}\n", paint.green(&text));
    }
    let mut text = format!("\n{}\n", paint.red(&format!("{} differences", told.differences.len())));
    for difference in told.differences {
        text.push_str(&format!("  - {difference}\n"));
    }
    text
}

// === JSON ===

/// The same for programs.
pub(crate) fn json(told: &Told<'_>) -> Value {
    let steps: Vec<Value> =
        told.steps.iter().map(|(played, evidence)| json_step(played, evidence)).collect();
    json!({
        "ok": told.differences.is_empty(),
        "steps": steps,
        "behind": {
            "assertions": told.behind.assertions,
            "provider_keys": told.behind.provider_keys,
        },
        "audit": told.verified,
        "tampered": {
            "file": told.tampered.file,
            "line": told.tampered.line,
            "audit": told.after,
        },
        "differences": told.differences,
    })
}

fn json_step(played: &Played, evidence: &Evidence) -> Value {
    let Played { step, seen, .. } = played;
    let spoke =
        |spoke: &Spoke| json!({ "id": spoke.id, "policy": spoke.policy, "engine": spoke.engine() });
    json!({
        "title": step.title,
        "who": step.caller.who(),
        "asked": asked(step),
        "expected": { "effect": step.expect.effect, "reasons": step.expect.reasons },
        "effect": seen.effect,
        "reasons": seen.reasons,
        "message": seen.message,
        "names": seen.names,
        "answer": seen.text,
        "call_id": seen.call_id,
        "policies": evidence.spoke.iter().map(spoke).collect::<Vec<_>>(),
        "outcome": evidence.outcome,
        "session": evidence.session,
        "records": evidence.records,
        "ok": played.differences.is_empty() && evidence.differences.is_empty(),
    })
}
