use proptest::prelude::*;

use super::super::node::Value;
use super::{MAX_DEPTH_LEVELS, ScanErrorKind, scan};

fn refused(text: &str) -> &'static str {
    scan(text.as_bytes()).expect_err(text).reason_id()
}

#[test]
fn duplicates_are_found_after_unescaping_and_in_large_objects() {
    assert_eq!(refused(r#"{"a":1,"a":2}"#), "duplicate_key");
    assert_eq!(refused(r#"{"a":1,"\u0061":2}"#), "duplicate_key");
    let mut many: Vec<String> = (0..100).map(|i| format!("\"k{i}\":{i}")).collect();
    assert!(scan(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
    many.push("\"k7\":0".to_owned());
    assert_eq!(refused(&format!("{{{}}}", many.join(","))), "duplicate_key");
}

#[test]
fn surrogates_must_come_in_pairs() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#] {
        assert_eq!(refused(text), "lone_surrogate", "{text}");
    }
    assert_eq!(scan(br#""\ud83d\ude00""#).unwrap().as_str(), Some("\u{1f600}"));
}

#[test]
fn numbers_must_be_exact() {
    for text in [
        "18446744073709551616",
        "-9223372036854775809",
        "0.123456789012345678",
        "1e400",
        "1e-400",
        "-0",
    ] {
        assert_eq!(refused(text), "number_inexact", "{text}");
    }
    for text in
        ["18446744073709551615", "-9223372036854775808", "0.12345678901234567", "1e2", "0.0"]
    {
        assert!(scan(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn depth_is_bounded_at_its_edge() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(scan(nested(MAX_DEPTH_LEVELS).as_bytes()).is_ok());
    let error = scan(nested(MAX_DEPTH_LEVELS + 1).as_bytes()).unwrap_err();
    assert_eq!(error.kind, ScanErrorKind::TooDeep);
}

#[test]
fn malformed_texts_are_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "+1",
        "nul",
        "\"\t\"",
        "\"\\x\"",
        "1 2",
        "{a:1}",
        "'a'",
        "[1 2]",
        "\u{feff}1",
        "NaN",
        "{\"a\" 1}",
        "\"\\u12\"",
    ] {
        assert_eq!(refused(text), "body_invalid", "{text:?}");
    }
    assert_eq!(scan(b"\"\xff\"").unwrap_err().reason_id(), "body_invalid");
}

#[test]
fn canonical_sorts_by_bytes_and_keeps_number_text() {
    let node = scan(br#" {"b" : 1.50, "a":[true,null,"\u00e9\n"], "\u00e9":{}, "B":0} "#).unwrap();
    assert_eq!(node.canonical(), "{\"B\":0,\"a\":[true,null,\"é\\n\"],\"b\":1.50,\"é\":{}}");
    assert_eq!(node.pointer("/a/2").and_then(|n| n.as_str()), Some("é\n"));
}

#[test]
fn spans_cover_the_value_as_received() {
    let text = r#"{"a": [1, "x\u0041"]}"#;
    let node = scan(text.as_bytes()).unwrap();
    let inner = node.pointer("/a/1").unwrap();
    let received = text.get(inner.span.start..inner.span.end);
    assert_eq!(received, Some(r#""x\u0041""#));
    assert!(matches!(inner.value, Value::String(_)));
}

#[test]
fn case_variants_are_named() {
    let node = scan(br#"{"Method":1,"params":2}"#).unwrap();
    assert_eq!(node.case_variant_of(&["method", "params"]), Some("Method"));
    assert_eq!(node.case_variant_of(&["params"]), None);
    // The long s and the Kelvin sign fold to letters of ASCII.
    for (key, name) in [("param\u{17f}", "params"), ("to\u{212a}en", "token")] {
        let node = scan(format!(r#"{{"{key}":1}}"#).as_bytes()).unwrap();
        assert_eq!(node.case_variant_of(&[name]), Some(key));
    }
}

proptest! {
    /// Whatever is accepted reads the same through the standard reader, and its
    /// canonical form is a fixed point.
    #[test]
    fn accepted_texts_agree_with_the_standard_reader(value in any_json()) {
        let text = value.to_string();
        if let Ok(node) = scan(text.as_bytes()) {
            let canonical = node.canonical();
            let again: serde_json::Value = serde_json::from_str(&canonical).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(scan(canonical.as_bytes()).unwrap().canonical(), canonical);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = scan(&bytes).is_ok();
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        ".*".prop_map(|text: String| text.into()),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
