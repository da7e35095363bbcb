//! The test runner.

use std::collections::BTreeSet;

use super::super::tester::{TestOutcome, TestReport, run_tests};
use super::*;

const POLICY: &str = "package lictor.u

allow if {
	input.context.args.n < data.most
	print(\"allowing\", input.context.args.n)
}

deny contains {\"id\": \"u.loud\", \"message\": upper(input.context.args.text)} if {
	contains(input.context.args.text, \"!\")
}

_never(x) := y if {
	y := x + 1
}
";

const TESTS: &str = "package lictor.u_test

import data.lictor.u

test_allows if u.allow with input.context.args.n as 1

test_data_is_replaced if u.allow with input.context.args.n as 50 with data.most as 100

test_fails if u.allow with input.context.args.n as 50

test_errs if to_number(\"x\") == 1

todo_test_later if false

test_mocked if {
	deny := u.deny with input.context.args.text as \"a!\" with upper as _mock
	deny == {{\"id\": \"u.loud\", \"message\": \"mocked\"}}
}

_mock(_) := \"mocked\"

test_wrapped_mock if sprintf(\"%s\", [\"x\"]) == \"fixed\" with sprintf as \"fixed\"

test_cases[name] if {
	some name, case in {
		\"small\": {\"n\": 1, \"want\": true},
		\"large\": {\"n\": 50, \"want\": true},
	}
	print(\"case\", name)
	got := u.allow with input.context.args.n as case.n
	got == case.want
}
";

fn bundle() -> Bundle {
    Bundle::of(&[("rego/u/u.rego", POLICY), ("rego/u/u_test.rego", TESTS)]).data(r#"{"most": 10}"#)
}

fn run(filter: &str) -> TestReport {
    let bundle = bundle();
    run_tests(&bundle.source(), Some(&regex::Regex::new(filter).unwrap())).unwrap()
}

fn outcomes(report: &TestReport) -> Vec<(String, &'static str)> {
    let word = |outcome: &TestOutcome| match outcome {
        TestOutcome::Pass => "pass",
        TestOutcome::Fail { .. } => "fail",
        TestOutcome::Error { .. } => "error",
        TestOutcome::Skipped => "skipped",
    };
    let short = |name: &str| name.strip_prefix("data.lictor.u_test.").unwrap().to_owned();
    report.results.iter().map(|result| (short(&result.name), word(&result.outcome))).collect()
}

#[test]
fn tests_pass_fail_err_and_are_skipped() {
    let report = run("");
    let expected = [
        ("test_allows", "pass"),
        ("test_data_is_replaced", "pass"),
        ("test_fails", "fail"),
        ("test_errs", "error"),
        ("todo_test_later", "skipped"),
        ("test_mocked", "pass"),
        ("test_wrapped_mock", "pass"),
        ("test_cases[\"large\"]", "fail"),
        ("test_cases[\"small\"]", "pass"),
    ];
    assert_eq!(outcomes(&report), expected.map(|(name, word)| (name.to_owned(), word)));
    assert!(!report.passed());
    let failed = &report.results[2];
    assert_eq!((failed.file.as_str(), failed.line), ("rego/u/u_test.rego", 9));
    let TestOutcome::Error { message } = &report.results[3].outcome else { panic!("{report:?}") };
    assert!(message.contains("could not parse string as number"), "{message}");
}

#[test]
fn the_filter_chooses_by_full_name() {
    assert_eq!(outcomes(&run("u_test\\.test_allows$")), [("test_allows".to_owned(), "pass")]);
    assert!(run("test_allows$").passed());
    assert_eq!(outcomes(&run("no such test")), []);
}

#[test]
fn prints_are_gathered_with_their_place() {
    let report = run("test_allows$");
    assert_eq!(report.results[0].prints, ["rego/u/u.rego:5: allowing 1"]);
}

#[test]
fn coverage_merges_all_tests_and_leaves_tests_out() {
    let report = run("test_allows|test_fails");
    assert_eq!(report.coverage.keys().collect::<Vec<_>>(), ["rego/u/u.rego"]);
    let coverage = &report.coverage["rego/u/u.rego"];
    assert!(coverage.covered.is_superset(&BTreeSet::from([4, 5])), "{coverage:?}");
    assert!(coverage.not_covered.is_superset(&BTreeSet::from([8, 13])), "{coverage:?}");
    assert!(coverage.covered.is_disjoint(&coverage.not_covered));
    let more = run("test_allows|test_mocked");
    assert!(more.coverage["rego/u/u.rego"].covered.is_superset(&BTreeSet::from([8, 9])));
    let none = run("no such test");
    assert!(none.coverage["rego/u/u.rego"].covered.is_empty());
}

#[test]
fn a_bundle_that_does_not_load_is_not_tested() {
    let broken = Bundle::of(&[("rego/u/u.rego", "package lictor.u\nallow if nonsense(1)\n")]);
    let problems = run_tests(&broken.source(), None).unwrap_err();
    assert_eq!(problems[0].code, "rego_function");
}

#[test]
fn a_test_without_any_case_that_holds_fails() {
    let tests = "package lictor.u_test\ntest_none[x] if { some x in []; x }\ntest_all_missing[x] if { x := 1; x == 2 }\n";
    let bundle = Bundle::of(&[
        ("rego/u/u.rego", "package lictor.u\nallow if true\n"),
        ("rego/u/u_test.rego", tests),
    ]);
    let report = run_tests(&bundle.source(), None).unwrap();
    assert!(
        report.results.iter().all(|r| matches!(r.outcome, TestOutcome::Fail { .. })),
        "{report:?}"
    );
    assert_eq!(report.results.len(), 2);
}

#[test]
fn tests_have_the_functions_that_serving_has() {
    let tests = "package lictor.u_test\ntest_range if count(numbers.range(1, 1000000000)) > 1\n";
    let bundle = Bundle::of(&[
        ("rego/u/u.rego", "package lictor.u\nallow if true\n"),
        ("rego/u/u_test.rego", tests),
    ]);
    let report = run_tests(&bundle.source(), None).unwrap();
    let TestOutcome::Error { message } = &report.results[0].outcome else { panic!("{report:?}") };
    assert!(message.contains("larger than"), "{message}");
}
