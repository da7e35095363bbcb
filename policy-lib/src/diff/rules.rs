//! Policies of both engines: found again by id where they have one, by content where not.

use std::collections::BTreeMap;

use super::{Area, Change, Effect, What};
use crate::bundle::{Files, Kind, kind};
use crate::{cedar, rego};

/// A rule of either engine.
struct Rule {
    /// What it is called in the report.
    name: String,
    /// By what it is found again; rules without an id share one key.
    key: String,
    /// What it says, in one layout.
    text: String,
    /// What it says besides who may do what: messages, obligations.
    notes: String,
    place: String,
    /// Whether more of it allows more.
    more: Effect,
}

pub(super) fn compare(before: &Files, after: &Files, changes: &mut Vec<Change>) {
    pair(Area::Rego, rego_rules(before), rego_rules(after), changes);
    pair(Area::Cedar, cedar_rules(before), cedar_rules(after), changes);
    for name in ["cedar/schema.cedarschema", "cedar/entities.json"] {
        let (old, new) = (text(before, name), text(after, name));
        if old != new {
            let what = match (old.is_empty(), new.is_empty()) {
                (true, _) => What::Added,
                (_, true) => What::Removed,
                _ => What::Changed,
            };
            changes.push(Change::new(Area::Cedar, name, what, Effect::Unclear).place(name));
        }
    }
    layouts(before, after, changes);
}

fn text<'a>(files: &'a Files, name: &str) -> &'a str {
    files.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn texts(files: &Files, wanted: fn(Kind<'_>) -> bool) -> Vec<(&str, &str)> {
    let names = files.iter().map(|(name, _)| name);
    let wanted = names.filter(|name| kind(name).is_some_and(wanted));
    wanted.map(|name| (name, text(files, name))).collect()
}

fn is_rego(kind: Kind<'_>) -> bool {
    matches!(kind, Kind::Rego { .. })
}

fn is_cedar(kind: Kind<'_>) -> bool {
    matches!(kind, Kind::Cedar { .. })
}

fn rego_rules(files: &Files) -> Vec<Rule> {
    let outlines = rego::outline::outlines(&texts(files, is_rego));
    outlines.into_iter().map(rego_rule).collect()
}

fn rego_rule(rule: rego::outline::Outline) -> Rule {
    let more = match rule.decision {
        Some("allow" | "list") => Effect::Widens,
        Some("deny" | "ask" | "limits") => Effect::Narrows,
        _ => Effect::Unclear,
    };
    let id = if rule.id.is_empty() { String::new() } else { format!(" `{}`", rule.id) };
    let path = rule.path.trim_start_matches("data.").to_owned();
    Rule {
        name: format!("{path}{id}"),
        key: format!("{path} {}", rule.id),
        text: rule.rule,
        notes: String::new(),
        place: rule.place,
        more,
    }
}

fn cedar_rules(files: &Files) -> Vec<Rule> {
    let files = texts(files, is_cedar);
    let outlines = files.into_iter().flat_map(|(path, text)| cedar::outline::outlines(path, text));
    let rules = outlines.map(|policy| Rule {
        name: format!("`{}`", policy.id),
        key: policy.id,
        text: policy.rule,
        notes: policy.notes,
        place: policy.place,
        more: if policy.permits { Effect::Widens } else { Effect::Narrows },
    });
    rules.collect()
}

/// Rules of one key that say the same are the same; of what is left, the first is taken for the
/// changed form of the first, and so on.
fn pair(area: Area, before: Vec<Rule>, after: Vec<Rule>, changes: &mut Vec<Change>) {
    let mut old: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    for rule in before {
        old.entry(rule.key.clone()).or_default().push(rule);
    }
    let mut left: Vec<Rule> = Vec::new();
    for rule in after {
        let same = old.get_mut(&rule.key).and_then(|rules| {
            let at = rules.iter().position(|o| o.text == rule.text && o.notes == rule.notes)?;
            Some(rules.remove(at))
        });
        if same.is_none() {
            left.push(rule);
        }
    }
    for rule in left {
        let was = old.get_mut(&rule.key).filter(|rules| !rules.is_empty()).map(|r| r.remove(0));
        changes.push(match was {
            Some(was) => changed(area, &was, &rule),
            None => {
                let change = Change::new(area, &rule.name, What::Added, rule.more);
                change.values("", &rule.text).place(&rule.place)
            }
        });
    }
    for rule in old.into_values().flatten() {
        let change = Change::new(area, &rule.name, What::Removed, opposite(rule.more));
        changes.push(change.values(&rule.text, "").place(&rule.place));
    }
}

fn changed(area: Area, was: &Rule, is: &Rule) -> Change {
    if was.text == is.text {
        let change = Change::new(area, &is.name, What::Changed, Effect::Unclear);
        return change.values(&was.notes, &is.notes).place(&is.place);
    }
    let change = Change::new(area, &is.name, What::Changed, Effect::Unclear);
    change.values(&was.text, &is.text).place(&is.place)
}

fn opposite(effect: Effect) -> Effect {
    match effect {
        Effect::Widens => Effect::Narrows,
        Effect::Narrows => Effect::Widens,
        other => other,
    }
}

/// Policy files whose rules are the same in another layout, comments included.
fn layouts(before: &Files, after: &Files, changes: &mut Vec<Change>) {
    for (area, wanted) in [(Area::Rego, is_rego as fn(Kind<'_>) -> bool), (Area::Cedar, is_cedar)] {
        for (name, old) in texts(before, wanted) {
            let new = text(after, name);
            let meant = changes.iter().any(|change| {
                change.area == area && change.place.rsplit_once(':').is_some_and(|p| p.0 == name)
            });
            if !name.ends_with("_test.rego") && !new.is_empty() && old != new && !meant {
                let change = Change::new(area, name, What::Layout, Effect::Nothing);
                changes.push(change.place(name));
            }
        }
    }
}
