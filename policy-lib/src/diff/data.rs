//! `data.json`: registry, limits, guardrails and everything else, member by member.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Area, Change, Effect, What};
use crate::bundle::Files;

/// Maps of the registry whose entries let somebody or something take part.
const MAPS: [&str; 7] =
    ["agents", "users", "teams", "models", "servers", "tools", "virtual_servers"];

pub(super) fn compare(before: &Files, after: &Files, changes: &mut Vec<Change>) {
    let (old, new) = (read(before), read(after));
    for member in keys(&old, &new) {
        let empty = Value::Object(Map::new());
        let (a, b) = (old.get(member).unwrap_or(&empty), new.get(member).unwrap_or(&empty));
        match member {
            "registry" => registry(a, b, changes),
            "limits" => limits(a, b, changes),
            "guardrails" => entries(Area::Guardrails, "/guardrails", a, b, changes),
            _ => {
                let pointer = format!("/{}", escape(member));
                walk(Area::Data, &pointer, old.get(member), new.get(member), changes);
            }
        }
    }
}

fn read(files: &Files) -> Map<String, Value> {
    let bytes = files.get("data.json").unwrap_or(b"{}");
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn keys<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    a.keys().chain(b.keys()).map(String::as_str).collect()
}

fn members(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn registry(old: &Value, new: &Value, changes: &mut Vec<Change>) {
    let (old, new) = (members(old), members(new));
    for map in keys(old, new) {
        let pointer = format!("/registry/{}", escape(map));
        if !MAPS.contains(&map) {
            walk(Area::Registry, &pointer, old.get(map), new.get(map), changes);
            continue;
        }
        let none = Value::Null;
        let (a, b) = (old.get(map).unwrap_or(&none), new.get(map).unwrap_or(&none));
        entries(Area::Registry, &pointer, a, b, changes);
    }
}

/// Entries by id: one that is there lets more happen than one that is not. In guardrails it
/// is the other way round.
fn entries(area: Area, pointer: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    let (old, new) = (members(old), members(new));
    for id in keys(old, new) {
        let pointer = format!("{pointer}/{}", escape(id));
        let change = |what, effect| Change::new(area, &pointer, what, effect).place("data.json");
        let (more, less) = match area {
            Area::Guardrails => (Effect::Narrows, Effect::Widens),
            _ => (Effect::Widens, Effect::Narrows),
        };
        match (old.get(id), new.get(id)) {
            (None, Some(new)) => {
                changes.push(change(What::Added, more).values("", &new.to_string()));
            }
            (Some(old), None) => {
                changes.push(change(What::Removed, less).values(&old.to_string(), ""));
            }
            (old, new) => walk(area, &pointer, old, new, changes),
        }
    }
}

/// Differences below a pointer, as deep as both sides are objects.
fn walk(
    area: Area,
    pointer: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        for key in keys(old, new) {
            let pointer = format!("{pointer}/{}", escape(key));
            walk(area, &pointer, old.get(key), new.get(key), changes);
        }
        return;
    }
    let what = match (old, new) {
        (None, _) => What::Added,
        (_, None) => What::Removed,
        _ => What::Changed,
    };
    let text = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
    let change = Change::new(area, pointer, what, effect(area, pointer, old, new));
    changes.push(change.values(&text(old), &text(new)).place("data.json"));
}

/// What is known of single members.
fn effect(area: Area, pointer: &str, old: Option<&Value>, new: Option<&Value>) -> Effect {
    let member = pointer.rsplit('/').next().unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    match (area, member) {
        (Area::Registry, "description" | "email") => Effect::Nothing,
        (Area::Registry, "status") => match text(new).as_str() {
            "active" => Effect::Widens,
            _ => Effect::Narrows,
        },
        (Area::Registry, "expires") => match (old, new) {
            (_, None) => Effect::Widens,
            (None, _) => Effect::Narrows,
            _ => Effect::Unclear,
        },
        (Area::Registry, "schema") => match text(new).as_str() {
            "any" => Effect::Widens,
            _ => Effect::Narrows,
        },
        _ => Effect::Unclear,
    }
}

fn limits(old: &Value, new: &Value, changes: &mut Vec<Change>) {
    let (old, new) = (members(old), members(new));
    for id in keys(old, new) {
        let pointer = format!("/limits/{}", escape(id));
        let change =
            |what, effect| Change::new(Area::Limits, &pointer, what, effect).place("data.json");
        match (old.get(id), new.get(id)) {
            (None, Some(new)) => {
                changes.push(change(What::Added, Effect::Narrows).values("", &new.to_string()));
            }
            (Some(old), None) => {
                changes.push(change(What::Removed, Effect::Widens).values(&old.to_string(), ""));
            }
            (Some(a), Some(b)) => limit(&pointer, members(a), members(b), changes),
            (None, None) => {}
        }
    }
}

fn limit(
    pointer: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    changes: &mut Vec<Change>,
) {
    for key in keys(old, new).into_iter().filter(|key| old.get(*key) != new.get(*key)) {
        let (a, b) = (old.get(key), new.get(key));
        let number = |value: Option<&Value>| value.and_then(Value::as_u64);
        let effect = match key {
            "max" | "burst" => match (number(a), number(b)) {
                (Some(a), Some(b)) if b > a => Effect::Widens,
                (Some(_), Some(_)) => Effect::Narrows,
                _ => Effect::Unclear,
            },
            "on_error" | "refund_on_failure" => {
                let looser = |value: Option<&Value>| {
                    value.is_some_and(|v| v == "allow" || v == &Value::Bool(true))
                };
                if looser(b) && !looser(a) { Effect::Widens } else { Effect::Narrows }
            }
            _ => Effect::Unclear,
        };
        let text = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
        let subject = format!("{pointer}/{}", escape(key));
        let change = Change::new(Area::Limits, subject, What::Changed, effect);
        changes.push(change.values(&text(a), &text(b)).place("data.json"));
    }
}
