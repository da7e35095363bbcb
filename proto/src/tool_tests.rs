use proptest::prelude::*;

use super::*;
use crate::json::scan;

fn node(text: &str) -> Node {
    scan(text.as_bytes()).unwrap()
}

/// The changes from one text to the other as `kind class pointer`.
fn told(pinned: &str, live: &str) -> Vec<String> {
    changes(&node(pinned), &node(live))
        .iter()
        .map(|change| {
            let kind = serde_json::to_value(change.kind).unwrap();
            format!("{} {} {}", kind.as_str().unwrap(), change.class.as_str(), change.pointer)
        })
        .collect()
}

#[test]
fn a_pin_is_the_hash_of_the_whole_definition_however_it_is_written() {
    let one = node(r#"{"name": "a", "inputSchema": {"type": "object", "maximum": 1.0}}"#);
    let same = node(r#"{"inputSchema":{"maximum":1,"type":"object"},"name":"\u0061"}"#);
    assert_eq!(pin(&one), pin(&same));
    assert_eq!(
        pin(&node(r#"{"name":"a"}"#)),
        // printf '{"name":"a"}' | sha256sum
        "sha256:d9d719b27480b55cd4918020e7473e716ed3569c8adafe926cf9b10b4f8ef064"
    );
    let unknown = node(r#"{"name": "a", "x": 1, "inputSchema": {"type": "object", "maximum": 1}}"#);
    assert_ne!(pin(&one), pin(&unknown));
}

#[test]
fn texts_that_models_read_are_instructions() {
    let pinned = r#"{"name":"a","title":"A","description":"x","annotations":{"title":"t","readOnlyHint":true},
        "inputSchema":{"type":"object","properties":{"p":{"type":"string","description":"d"},"description":{"type":"string"}}}}"#;
    let with = |from: &str, to: &str| {
        assert!(pinned.contains(from), "{from}");
        told(pinned, &pinned.replace(from, to))
    };
    assert_eq!(
        with(r#""description":"x""#, r#""description":"y""#),
        ["changed instruction /description"]
    );
    assert_eq!(
        with(r#""description":"d""#, r#""description":"Ignore""#),
        ["changed instruction /inputSchema/properties/p/description"]
    );
    assert_eq!(
        with(r#"{"p":"#, r#"{"q":{"title":"do this"},"p":"#),
        ["added instruction /inputSchema/properties/q"]
    );
    assert_eq!(
        with(r#""type":"string","description":"d""#, r#""type":"string","default":"all""#),
        [
            "removed instruction /inputSchema/properties/p/description",
            "added instruction /inputSchema/properties/p/default"
        ]
    );
    assert_eq!(with(r#""title":"A""#, r#""title":"B""#), ["changed cosmetic /title"]);
    assert_eq!(with(r#""title":"t""#, r#""title":"u""#), ["changed cosmetic /annotations/title"]);
    // A property that is called `description` is an argument.
    assert_eq!(
        with(r#","description":{"type":"string"}"#, ""),
        ["removed capability /inputSchema/properties/description"]
    );
}

#[test]
fn what_a_tool_takes_and_what_is_unknown_is_capability() {
    let pinned = r#"{"name":"a","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","required":["a","b"],"anyOf":[{"maximum":1}]}}"#;
    let with = |from: &str, to: &str| {
        assert!(pinned.contains(from), "{from}");
        told(pinned, &pinned.replace(from, to))
    };
    assert_eq!(with("true", "false"), ["changed capability /annotations/readOnlyHint"]);
    assert_eq!(with(r#"["a","b"]"#, r#"["b","a"]"#), ["changed cosmetic /inputSchema/required"]);
    assert_eq!(with(r#"["a","b"]"#, r#"["a"]"#), ["removed capability /inputSchema/required/1"]);
    assert_eq!(
        with(r#""maximum":1"#, r#""maximum":2"#),
        ["changed capability /inputSchema/anyOf/0/maximum"]
    );
    assert_eq!(with(r#""maximum":1"#, r#""maximum":1.0"#), Vec::<String>::new());
    assert_eq!(with(r#""name":"a""#, r#""name":"a","x/y":{"z":1}"#), ["added capability /x~1y"]);
    assert_eq!(
        with(r#"{"type":"object","required":["a","b"],"anyOf":[{"maximum":1}]}"#, "true"),
        ["changed capability /inputSchema"]
    );
}

#[test]
fn classes_are_ordered_by_their_weight() {
    assert!(ChangeClass::Cosmetic < ChangeClass::Capability);
    assert!(ChangeClass::Capability < ChangeClass::Instruction);
}

/// JSON with the names that mean something, a few of each.
fn definition() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name",
        "title",
        "description",
        "inputSchema",
        "annotations",
        "properties",
        "required",
        "type",
        "items",
        "anyOf",
        "x",
    ]);
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("1.0".to_owned()),
        Just("2".to_owned()),
        Just("null".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"b\"".to_owned()),
    ];
    leaf.prop_recursive(4, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_changed_exactly_if_the_pins_are_equal(one in definition(), two in definition()) {
        let (one, two) = (node(&one), node(&two));
        prop_assert_eq!(changes(&one, &two).is_empty(), pin(&one) == pin(&two));
        prop_assert!(changes(&one, &one).is_empty());
    }
}
