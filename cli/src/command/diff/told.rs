//! The differences for people: what follows first, then what changed.

use lictor_policy_lib::diff::{Area, Change, Effect, What};
use lictor_proto::decision::BundleRef;

use super::flips::{Flip, Played, Told, Turn};
use crate::output::{Paint, shown};

const AREAS: [(Area, &str); 8] = [
    (Area::Manifest, "manifest"),
    (Area::Rego, "rego"),
    (Area::Cedar, "cedar"),
    (Area::Registry, "registry"),
    (Area::Limits, "limits"),
    (Area::Guardrails, "guardrails"),
    (Area::Data, "data"),
    (Area::Files, "files"),
];

/// The whole report.
pub(super) fn pretty(
    (before, after): (&BundleRef, &BundleRef),
    changes: &[Change],
    played: &Played,
    paint: Paint,
) -> String {
    let mut text = format!("{} -> {}\n", named(before), named(after));
    if before.digest == after.digest {
        text.push_str("the same bundle, byte for byte\n");
        return text;
    }
    for (area, name) in AREAS {
        let here: Vec<&Change> = changes.iter().filter(|change| change.area == area).collect();
        if !here.is_empty() {
            text.push_str(&format!("\n{}\n", paint.bold(name)));
            here.iter().for_each(|change| text.push_str(&of_change(change, paint)));
        }
    }
    if !played.flips.is_empty() {
        text.push_str(&format!("\n{}\n", paint.bold("cases that are decided differently")));
        played.flips.iter().for_each(|flip| text.push_str(&of_flip(flip, paint)));
    }
    for file in &played.skipped {
        text.push_str(&format!("{}: cannot be read, see `lictor check`\n", shown(file)));
    }
    text.push_str(&format!("\n{}\n", sum(changes, played)));
    text
}

fn named(bundle: &BundleRef) -> String {
    format!("{} version {} ({})", shown(&bundle.name), bundle.version, bundle.digest)
}

fn of_change(change: &Change, paint: Paint) -> String {
    let sign = match change.what {
        What::Added => "+",
        What::Removed => "-",
        What::Changed => "~",
        What::Layout => "=",
    };
    let effect = match change.effect {
        Effect::Widens => format!("  {}", paint.yellow("may allow more")),
        Effect::Narrows => format!("  {}", paint.green("allows less")),
        Effect::Unclear => format!("  {}", paint.yellow("may decide otherwise")),
        Effect::Nothing => String::new(),
    };
    let layout = if change.what == What::Layout { "  layout and comments only" } else { "" };
    let place = match change.place.as_str() {
        "" | ".manifest" | "data.json" => String::new(),
        place if place == change.subject => String::new(),
        place => format!("  {}", paint.dim(&shown(place))),
    };
    let mut text = format!("  {sign} {}{layout}{effect}{place}\n", shown(&change.subject));
    for (sign, value) in [("-", &change.before), ("+", &change.after)] {
        if !value.is_empty() {
            text.push_str(&format!("      {sign} {}\n", shown(value)));
        }
    }
    text
}

fn of_flip(flip: &Flip, paint: Paint) -> String {
    let turn = match flip.turn {
        Turn::NewlyAllowed => paint.yellow("newly allowed"),
        Turn::NewlyDenied => paint.red("newly denied"),
        Turn::NewlyAsked => paint.yellow("newly asked"),
        Turn::Otherwise => "otherwise".to_owned(),
    };
    format!(
        "  {turn}: {}  {}\n      - {}\n      + {}\n",
        shown(&flip.case),
        paint.dim(&shown(&flip.place)),
        of_told(&flip.before),
        of_told(&flip.after)
    )
}

fn of_told(told: &Told) -> String {
    let parts =
        [("", &told.reasons), ("obligations ", &told.obligations), ("limits ", &told.limits)];
    let parts = parts.into_iter().filter(|(_, ids)| !ids.is_empty());
    let parts: Vec<String> =
        parts.map(|(name, ids)| format!("{name}{}", shown(&ids.join(", ")))).collect();
    if parts.is_empty() {
        return told.effect.to_owned();
    }
    format!("{} {}", told.effect, parts.join("; "))
}

fn sum(changes: &[Change], played: &Played) -> String {
    let count = |effect| changes.iter().filter(|change| change.effect == effect).count();
    format!(
        "{} may allow more, {} allow less, {} may decide otherwise, {} without effect; {} of {} cases decided differently",
        count(Effect::Widens),
        count(Effect::Narrows),
        count(Effect::Unclear),
        count(Effect::Nothing),
        played.flips.len(),
        played.cases
    )
}
