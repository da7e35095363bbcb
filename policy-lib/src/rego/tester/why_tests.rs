//! The bounds of explanations.

use std::collections::BTreeMap;

use super::why::{EXPLAINED_MAX, NOTES_MAX, VALUE_BYTES_MAX};
use super::{TestResult, run_tests};
use crate::rego::RegoSource;

fn results(tests: &str) -> Vec<TestResult> {
    let tests = format!("package lictor.u_test\n\n{tests}");
    let files = vec![
        ("rego/u/u.rego", "package lictor.u\n\nallow if true\n"),
        ("rego/u/u_test.rego", tests.as_str()),
    ];
    let source = RegoSource { files, data: "{}", scopes: &BTreeMap::new() };
    run_tests(&source, None).unwrap().results
}

#[test]
fn so_many_failed_tests_are_looked_into() {
    let tests: String = (0..=EXPLAINED_MAX)
        .map(|n| format!("test_{n} if {{\n\tn := {n}\n\tn < 0\n}}\n\n"))
        .collect();
    let results = results(&tests);
    let explained = results.iter().filter(|result| result.failed_at.is_some()).count();
    assert_eq!((results.len(), explained), (EXPLAINED_MAX + 1, EXPLAINED_MAX));
}

#[test]
fn a_long_value_is_not_shown() {
    // With its quotes the first is as long as may be.
    let bytes = VALUE_BYTES_MAX - 2;
    let results = results(&format!(
        "test_x if {{\n\ta := \"{}\"\n\tb := \"{}\"\n\ta == b\n}}\n",
        "x".repeat(bytes),
        "x".repeat(bytes + 1)
    ));
    let parts = &results[0].failed_at.as_ref().unwrap().parts;
    assert_eq!(parts[0].value.len(), VALUE_BYTES_MAX);
    assert_eq!(parts[1].value, "<more than 1000 bytes>");
}

#[test]
fn what_held_only_after_many_others_is_not_taken_for_what_failed() {
    let results = results(&format!(
        "test_x if {{\n\tsome n in numbers.range(1, {last})\n\tn == {last}\n\tn == 0\n}}\n",
        last = NOTES_MAX + 1
    ));
    let at = results[0].failed_at.as_ref().unwrap();
    assert_eq!((at.text.as_str(), at.ways), ("n == 0", 1));
}
