//! What OPA answers, as tables in `testdata/rego/builtins`; limits at their edges.

use std::collections::BTreeSet;
use std::time::Duration;

use lictor_proto::json::Node;
use regorus::Value;
use serde::Deserialize;

use super::*;
use crate::rego::{guards::MAX_ITEMS, load, run};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A Rego expression.
    call: String,
    /// Another, which has the value that OPA gives.
    is: Option<String>,
    /// What the error says.
    fails: Option<String>,
}

/// The value of a Rego expression, with every builtin of ours there.
fn value(expression: &str) -> Result<Value, String> {
    let text = format!("package t\n\nx := {expression}\n");
    let used: BTreeSet<&'static str> = EXTRAS.iter().map(|extra| extra.name).collect();
    let texts = [("t.rego", text.as_str())].into_iter();
    let mut engine = load::engine(texts, &Node::empty_object(), &used)?;
    engine.set_input(Value::new_object());
    run::rule(&mut engine, "data.t.x", Duration::from_secs(20))
}

fn check(table: &str) {
    let cases: Vec<Case> = serde_json::from_str(table).unwrap();
    for case in cases {
        let got = value(&case.call);
        match (&case.is, &case.fails) {
            (Some(want), None) => assert_eq!(got, value(want), "{}", case.call),
            (None, Some(what)) => {
                let error = got.expect_err(&case.call);
                assert!(error.contains(what.as_str()), "{}: {error}", case.call);
            }
            _ => panic!("{} has to have `is` or `fails`", case.call),
        }
    }
}

#[test]
fn digests_are_those_of_opa() {
    check(include_str!("../../../testdata/rego/builtins/hashes.json"));
}

#[test]
fn tokens_are_taken_apart_as_in_opa() {
    check(include_str!("../../../testdata/rego/builtins/tokens.json"));
}

#[test]
fn address_blocks_are_those_of_opa() {
    check(include_str!("../../../testdata/rego/builtins/networks.json"));
}

#[test]
fn patterns_meet_as_in_opa() {
    check(include_str!("../../../testdata/rego/builtins/globs.json"));
}

#[test]
fn collections_are_cut_as_in_opa() {
    check(include_str!("../../../testdata/rego/builtins/collections.json"));
}

#[test]
fn identifiers_say_what_they_say_in_opa() {
    check(include_str!("../../../testdata/rego/builtins/identifiers.json"));
}

fn text_of(length: usize) -> Value {
    Value::from("a".repeat(length))
}

fn list_of(length: usize) -> Value {
    Value::from((0..length).map(|_| Value::Null).collect::<Vec<_>>())
}

fn allowed(name: &str, args: &[Value]) -> bool {
    (of(name).unwrap().guard)(args).is_ok()
}

#[test]
fn texts_are_bounded() {
    for name in ["crypto.sha256", "io.jwt.decode", "uuid.parse"] {
        assert!(allowed(name, &[text_of(MAX_PARSED_BYTES)]), "{name}");
        assert!(!allowed(name, &[text_of(MAX_PARSED_BYTES + 1)]), "{name}");
    }
    assert!(!allowed("crypto.hmac.sha1", &[text_of(1), text_of(MAX_PARSED_BYTES + 1)]));
    assert!(!allowed("net.cidr_intersects", &[text_of(1), text_of(MAX_PARSED_BYTES + 1)]));
}

#[test]
fn lists_are_bounded() {
    assert!(allowed("array.flatten", &[list_of(MAX_ITEMS)]));
    assert!(!allowed("array.flatten", &[list_of(MAX_ITEMS + 1)]));
    let nested = Value::from(vec![list_of(MAX_ITEMS), Value::Null]);
    assert!(!allowed("array.flatten", &[nested]));
    assert!(allowed("net.cidr_merge", &[list_of(MAX_ITEMS)]));
    assert!(!allowed("net.cidr_merge", &[list_of(MAX_ITEMS + 1)]));
    assert!(allowed("net.cidr_contains_matches", &[list_of(100), list_of(MAX_ITEMS / 100)]));
    assert!(!allowed("net.cidr_contains_matches", &[list_of(100), list_of(MAX_ITEMS / 100 + 1)]));
    let comma = Value::from("a");
    assert!(allowed("strings.split_n", &[text_of(MAX_ITEMS - 1), comma.clone()]));
    assert!(!allowed("strings.split_n", &[text_of(MAX_ITEMS), comma]));
}

#[test]
fn pairs_of_patterns_are_bounded() {
    assert!(allowed("regex.globs_match", &[text_of(511), text_of(511)]));
    assert!(!allowed("regex.globs_match", &[text_of(511), text_of(512)]));
}

#[test]
fn patterns_that_make_others_search_for_ever_are_answered() {
    let stars = ".*a".repeat(80);
    let call = format!("regex.globs_match(\"{stars}b\", \"{stars}c\")");
    assert_eq!(value(&call), Ok(Value::Bool(false)));
}

#[test]
fn the_list_is_sorted_and_holds_no_name_of_the_engine() {
    let names: Vec<&str> = EXTRAS.iter().map(|extra| extra.name).collect();
    assert!(names.is_sorted());
    for name in names {
        assert!(!regorus::unstable::BUILTINS.contains_key(name), "{name} is in the engine now");
    }
}

#[test]
fn every_builtin_of_ours_can_be_replaced_in_tests() {
    use crate::rego::{run_tests, tests::Bundle};
    let mut text = String::from("package t_test\n");
    for extra in EXTRAS {
        let args = vec!["1"; usize::from(extra.arity)].join(", ");
        let (builtin, arity) = (extra.name, extra.arity);
        let name = builtin.replace('.', "_");
        text.push_str(&format!(
            "\ntest_{name} if {builtin}({args}) == \"mocked\" with {builtin} as \"mocked\"\n\n\
             test_other_{name} if {{\n\t_stands_in({builtin}({args})) == {arity} with {builtin} as _count{arity}\n}}\n"
        ));
    }
    text.push_str(
        "\n_stands_in(x) := x\n\n_count1(_) := 1\n\n_count2(_, _) := 2\n\n_count3(_, _, _) := 3\n",
    );
    let report = run_tests(&Bundle::of(&[("rego/t/t_test.rego", &text)]).source(), None).unwrap();
    assert_eq!(report.results.len(), 2 * EXTRAS.len());
    assert!(report.passed(), "{report:#?}");
}
