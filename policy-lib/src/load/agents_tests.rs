use super::*;
use crate::diagnostic::Level;

const NOW_MS: i64 = 1_800_000_000_000;

/// What reading a registry with this agent says.
fn said(agent: &str) -> Vec<String> {
    let text = format!(
        r#"{{"registry": {{
  "users": {{"olga": {{}}}}, "teams": {{"ops": {{}}}},
  "servers": {{"s": {{}}, "open": {{"open": true}}}}, "tools": {{"s/read": {{"schema": "any"}}}},
  "scopes": {{"mail": ["tools/call s/read"], "bad": ["tools/cal"]}},
  "agents": {{
    "other": {{"owner": "olga", "status": "active"}},
    "one": {{"status": "active", {agent}}}
  }} }} }}"#
    );
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let registry = serde_json::from_value(value["registry"].clone()).unwrap();
    let mut found = Vec::new();
    read(&registry, &Places::of(&text), NOW_MS, &mut found);
    found
        .iter()
        .filter(|d| !d.message.starts_with("scope `bad`"))
        .map(ToString::to_string)
        .collect()
}

fn one(agent: &str) -> String {
    let said = said(agent);
    assert_eq!(said.len(), 1, "{said:?}");
    said.into_iter().next().unwrap()
}

#[test]
fn a_good_agent_passes_without_a_word() {
    let good = r#""owner": "ops", "team": "ops", "parents": ["other"], "expires": "2027-01-15T08:00:00.001Z",
        "transferable": ["mail", "tools/call s/*", "resources/read open/x", "a2a/message other", "*"]"#;
    assert_eq!(said(good), Vec::<String>::new());
}

#[test]
fn names_that_lead_nowhere_are_told_with_their_place() {
    assert_eq!(
        one(r#""owner": "olgo""#),
        "data.json:7:42: warning[registry_reference]: agent `one` is owned by `olgo`, which is no user or team: it is denied (did you mean `olga`?)"
    );
    assert_eq!(
        one(r#""owner": "olga", "team": "opps""#),
        "data.json:7:58: error[registry_reference]: agent `one` is of team `opps`, which is not in the registry (did you mean `ops`?)"
    );
    let parent = one(r#""owner": "olga", "parents": ["other", "othe"]"#);
    assert!(parent.contains("warning") && parent.contains("did you mean `other`"), "{parent}");
    let own = one(r#""owner": "olga", "parents": ["one"]"#);
    assert!(own.contains("among its own `parents`"), "{own}");
}

#[test]
fn expiry_is_read_and_told_at_its_edge() {
    let expires = |time: &str| said(&format!(r#""owner": "olga", "expires": "{time}""#));
    let expired = expires("2027-01-15T08:00:00Z");
    assert!(
        expired[0].contains("warning[agent_expired]") && expired[0].starts_with("data.json:7:")
    );
    assert_eq!(expires("2027-01-15T08:00:00.001Z"), Vec::<String>::new());
    assert!(expires("soon")[0].contains("error[registry_invalid]"));
}

#[test]
fn what_is_handed_on_is_a_pattern_or_a_scope() {
    let entry = |entry: &str| one(&format!(r#""owner": "olga", "transferable": ["{entry}"]"#));
    for (bad, why) in [
        ("mial", "did you mean `mail`"),
        ("tools/cal", "did you mean `tools/call`"),
        ("tools/call a b", "is neither"),
        ("bad", "`tools/cal` is no action"),
    ] {
        let said = entry(bad);
        assert!(said.contains("error[agent_transferable]") && said.contains(why), "{said}");
    }
    let unknown = entry("tools/call s/raed");
    assert!(unknown.contains("warning") && unknown.contains("did you mean `s/read`"), "{unknown}");
}

#[test]
fn a_bad_scope_is_told_where_it_stands() {
    let text = "{\"registry\": {\"scopes\": {\n\"x\": [\"session/open\", \"nonsense\"]}}}";
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let registry = serde_json::from_value(value["registry"].clone()).unwrap();
    let mut found = Vec::new();
    read(&registry, &Places::of(text), NOW_MS, &mut found);
    assert_eq!((found.len(), found[0].level, found[0].line), (1, Level::Error, 2));
}

#[test]
fn two_agents_of_one_name_are_an_error_at_the_later_one() {
    let clash =
        one(r#""owner": "olga", "identities": [{"client_id": "c"}, {"client_id": "other"}]"#);
    assert!(clash.contains("error[agent_identity]"), "{clash}");
    assert!(clash.contains("`other` is agent `other`'s"), "{clash}");
    assert!(clash.starts_with("data.json:7:"), "{clash}");
    let twice = one(r#""owner": "olga", "identities": [{"dns": "a"}, {"dns": "A"}]"#);
    assert!(twice.contains("is there twice"), "{twice}");
}
