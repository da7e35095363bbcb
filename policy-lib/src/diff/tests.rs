//! What is reported, and what is not.

use super::{Area, Change, Effect, What, diff};
use crate::bundle::{Files, Floor, Limits, Require, Source, VerifiedBundle, Window, verify};

const MANIFEST: &str = r#"{"metadata":{"lictor":{"name":"a","version":1,"permit_from":"all"}}}"#;
const REGO: &str = "package lictor.a\n\nallow if input.agent.id == \"x\"\n\ndeny contains {\"id\": \"a.no\", \"message\": \"no\"} if input.context.args.n > 5\n";
const CEDAR: &str = "@id(\"a.permit\")\npermit(principal, action, resource) when { context.phase == \"request\" };\n";
const DATA: &str = r#"{"registry":{"agents":{"x":{"owner":"o","status":"active"}}},
    "limits":{"l":{"kind":"budget","max":5,"per":"1h"}},"guardrails":{"detectors":[{"id":"secret"}]},"own":{"a":[1]}}"#;

fn bundle(change: impl Fn(&'static str, &'static str) -> String) -> VerifiedBundle {
    let files = [
        (".manifest", MANIFEST),
        ("cedar/a.cedar", CEDAR),
        ("data.json", DATA),
        ("rego/a/a.rego", REGO),
        ("README.md", "what it is for"),
    ];
    let pairs = files.map(|(name, text)| (name, change(name, text).into_bytes()));
    let files = Files::from_pairs(pairs, &Limits::default()).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &Limits::default(), 0).unwrap()
}

fn changed(name: &'static str, from: &'static str, to: &'static str) -> Vec<Change> {
    let before = bundle(|_, text| text.to_owned());
    let after = bundle(|file, text| {
        assert!(file != name || text.contains(from), "{from}");
        if file == name { text.replacen(from, to, 1) } else { text.to_owned() }
    });
    diff(&before, &after)
}

#[track_caller]
fn one(changes: &[Change], area: Area, subject: &str, what: What, effect: Effect) {
    let found: Vec<_> =
        changes.iter().map(|c| (c.area, c.subject.as_str(), c.what, c.effect)).collect();
    assert_eq!(found, [(area, subject, what, effect)]);
}

#[test]
fn a_bundle_does_not_differ_from_itself() {
    assert_eq!(changed("README.md", "what", "what"), []);
}

#[test]
fn layout_is_told_apart_from_meaning() {
    let rego = changed("rego/a/a.rego", "allow if input", "# why\nallow if\n\tinput");
    one(&rego, Area::Rego, "rego/a/a.rego", What::Layout, Effect::Nothing);
    let cedar = changed("cedar/a.cedar", "permit(principal", "permit(\n  principal");
    one(&cedar, Area::Cedar, "cedar/a.cedar", What::Layout, Effect::Nothing);
    assert_eq!(changed("data.json", "\"max\":5", " \"max\" : 5"), []);
    let readme = changed("README.md", "what", "why");
    one(&readme, Area::Files, "README.md", What::Changed, Effect::Nothing);
}

#[test]
fn rules_are_found_again_by_their_ids() {
    let changes = changed("rego/a/a.rego", "n > 5", "n > 6");
    one(&changes, Area::Rego, "lictor.a.deny `a.no`", What::Changed, Effect::Unclear);
    let change = changes.first().unwrap();
    assert!(change.before.contains("n > 5") && change.after.contains("n > 6"), "{change:?}");
    assert_eq!(change.place, "rego/a/a.rego:5");
    let removed = changed(
        "rego/a/a.rego",
        "deny contains {\"id\": \"a.no\", \"message\": \"no\"} if input.context.args.n > 5",
        "",
    );
    one(&removed, Area::Rego, "lictor.a.deny `a.no`", What::Removed, Effect::Widens);
    let added = changed("rego/a/a.rego", "deny contains", "allow if input.x\n\ndeny contains");
    one(&added, Area::Rego, "lictor.a.allow", What::Added, Effect::Widens);
    let cedar = changed("cedar/a.cedar", "\"request\"", "\"list\"");
    one(&cedar, Area::Cedar, "`a.permit`", What::Changed, Effect::Unclear);
    let renamed = changed("cedar/a.cedar", "a.permit", "a.other");
    let effects: Vec<_> = renamed.iter().map(|c| (c.what, c.effect)).collect();
    assert_eq!(effects, [(What::Added, Effect::Widens), (What::Removed, Effect::Narrows)]);
}

#[test]
fn members_of_the_data_say_what_follows() {
    let limit = changed("data.json", "\"max\":5", "\"max\":9");
    one(&limit, Area::Limits, "/limits/l/max", What::Changed, Effect::Widens);
    let agent = changed("data.json", "active", "suspended");
    one(&agent, Area::Registry, "/registry/agents/x/status", What::Changed, Effect::Narrows);
    let new =
        changed("data.json", "{\"x\"", "{\"y\":{\"owner\":\"o\",\"status\":\"active\"},\"x\"");
    one(&new, Area::Registry, "/registry/agents/y", What::Added, Effect::Widens);
    let own = changed("data.json", "[1]", "[2]");
    one(&own, Area::Data, "/own/a", What::Changed, Effect::Unclear);
    let guard = changed("data.json", ",\"guardrails\":{\"detectors\":[{\"id\":\"secret\"}]}", "");
    one(&guard, Area::Guardrails, "/guardrails/detectors", What::Removed, Effect::Widens);
}

#[test]
fn the_manifest_says_who_must_permit() {
    let from = changed(".manifest", "\"all\"", "\"any\"");
    one(&from, Area::Manifest, "permit_from", What::Changed, Effect::Widens);
    let expires =
        changed(".manifest", "\"version\":1", "\"version\":1,\"expires\":\"2030-01-01T00:00:00Z\"");
    one(&expires, Area::Manifest, "expires", What::Changed, Effect::Narrows);
    let scope = changed(
        ".manifest",
        "\"version\":1",
        "\"version\":1,\"units\":{\"a\":{\"scope\":{\"agents\":[\"x\"]}}}",
    );
    one(&scope, Area::Manifest, "scope of unit `a`", What::Changed, Effect::Narrows);
}

#[test]
fn of_long_values_the_difference_is_shown() {
    let long = "x".repeat(500);
    let (before, after) = (format!("{long}a{long}"), format!("{long}b"));
    let change = Change::new(Area::Data, "/a", What::Changed, Effect::Unclear);
    let change = change.values(&before, &after);
    assert!(change.before.starts_with("…x") && change.before.ends_with('…'), "{}", change.before);
    assert!(change.before.contains("xa") && change.after.ends_with("xb"), "{change:?}");
    assert_eq!(change.before.chars().count(), super::SHOWN_CHARS + 2);
}
