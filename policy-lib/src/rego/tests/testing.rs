//! The test runner.

use super::super::tester::{
    Named, RegoTests, TestOptions, TestOutcome, TestReport, TestResult, run_tests,
};
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

/// `testdata/rego_tests`: one file of tests for everything that a test can do.
fn fixture(options: TestOptions, files: &[&str]) -> RegoTests {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rego_tests");
    let names = files.iter().map(|file| format!("rego/u/{file}.rego"));
    let texts: Vec<(String, String)> = names
        .map(|name| {
            let text = std::fs::read_to_string(root.join(&name)).unwrap();
            (name, text)
        })
        .collect();
    let data = std::fs::read_to_string(root.join("data.json")).unwrap();
    let source = RegoSource {
        files: texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
        data: &data,
        scopes: &BTreeMap::new(),
    };
    RegoTests::load(&source, options).unwrap()
}

fn all(tests: &RegoTests) -> Vec<TestResult> {
    let mut results: Vec<_> =
        (0..tests.names().len()).flat_map(|number| tests.run(number, None)).collect();
    tests.explain(&mut results);
    results
}

fn of<'r>(results: &'r [TestResult], name: &str) -> &'r TestResult {
    let found = results.iter().find(|result| result.name.ends_with(&format!(".{name}")));
    found.unwrap_or_else(|| panic!("no {name} in {results:#?}"))
}

#[test]
fn with_replaces_input_data_functions_and_builtins() {
    let results = all(&fixture(TestOptions::default(), &["u", "mocks_test"]));
    assert_eq!(results.len(), 8);
    for result in &results {
        assert_eq!(result.outcome, TestOutcome::Pass, "{result:#?}");
    }
}

#[test]
fn every_case_of_a_parameterised_test_has_its_own_result() {
    let results = all(&fixture(TestOptions::default(), &["u", "parameterised_test"]));
    let told: Vec<(&str, bool)> = results
        .iter()
        .map(|r| (r.name.rsplit('.').next().unwrap(), r.outcome == TestOutcome::Pass))
        .collect();
    assert_eq!(
        told,
        [
            ("test_cases[\"large\"]", false),
            ("test_cases[\"small\"]", true),
            ("test_nested[\"even\"][\"four\"]", true),
            ("test_nested[\"even\"][\"two\"]", true),
            ("test_nested[\"odd\"][\"one\"]", true),
            ("test_nested[\"odd\"][\"six\"]", false),
            ("test_by_index[0]", true),
            ("test_by_index[1]", true),
            ("test_by_index[2]", false),
            ("test_none", false),
        ]
    );
    let failed = |name: &str| of(&results, name).failed_at.clone().unwrap();
    let large = failed("test_cases[\"large\"]");
    assert_eq!(large.text, "got := u.allow with input.context.args.n as case.n");
    assert_eq!(values(&large.parts), [("u.allow", "undefined")]);
    assert!(values(&large.locals).contains(&("name", "\"large\"")), "{large:?}");
    let six = failed("test_nested[\"odd\"][\"six\"]");
    assert_eq!(values(&six.parts), [("_parity(n)", "\"even\""), ("kind", "\"odd\"")]);
    assert!(values(&six.locals).contains(&("n", "6")), "{six:?}");
}

fn values(named: &[Named]) -> Vec<(&str, &str)> {
    named.iter().map(|named| (named.name.as_str(), named.value.as_str())).collect()
}

#[test]
fn a_failed_test_shows_the_first_statement_that_does_not_hold() {
    let results = all(&fixture(TestOptions::default(), &["u", "failures_test"]));
    let at = |name: &str| of(&results, name).failed_at.clone().unwrap_or_else(|| panic!("{name}"));
    let comparison = at("test_a_comparison");
    assert_eq!((comparison.line, comparison.text.as_str()), (9, "got + 1 == 5"));
    assert_eq!(values(&comparison.parts), [("got + 1", "4"), ("5", "5")]);
    let call = ("call", r#"{"context":{"args":{"n":3}}}"#);
    assert_eq!(values(&comparison.locals), [call, ("got", "3")]);
    let rule = at("test_a_rule");
    assert_eq!((rule.line, values(&rule.parts)), (15, vec![("u.allow", "undefined")]));
    assert_eq!(values(&rule.locals), [("n", "11")]);
    let there = at("test_a_denial_that_is_there");
    assert_eq!((there.line, values(&there.parts)), (21, vec![("u.allow", "true")]));
    let none = at("test_no_element");
    assert_eq!((none.line, none.text.as_str(), none.ways), (27, "n > 5", 3));
    assert_eq!(values(&none.parts), [("n", "3"), ("5", "5")]);
    let part = at("test_an_undefined_part");
    assert_eq!(values(&part.parts), [("data.teams.b[0]", "undefined"), ("\"x\"", "\"x\"")]);
    let line = at("test_one_line");
    assert_eq!((line.line, line.text.as_str()), (35, "u.allow with input.context.args.n as 12"));
    assert_eq!(of(&results, "test_false").failed_at, None);
    assert_eq!(
        of(&results, "test_false").outcome,
        TestOutcome::Fail { message: "it is false".to_owned() }
    );
    assert!(matches!(of(&results, "test_errs").outcome, TestOutcome::Error { .. }));
    assert_eq!(of(&results, "todo_test_later").outcome, TestOutcome::Skipped);
    let printed = &of(&results, "test_no_element").prints;
    assert_eq!(printed.len(), 3, "the second evaluation must not print again: {printed:?}");
    assert!(printed[0].ends_with("failures_test.rego:26: looking at 1"), "{printed:?}");
}

#[test]
fn a_test_that_takes_too_long_is_an_error() {
    let options = TestOptions { timeout: std::time::Duration::from_millis(20) };
    let results = all(&fixture(options, &["u", "slow_test"]));
    let TestOutcome::Error { message } = &results[0].outcome else { panic!("{results:?}") };
    assert!(message.contains("20 ms") || message.contains("time"), "{message}");
}

#[test]
fn a_filter_may_name_one_case() {
    let tests = fixture(TestOptions::default(), &["u", "parameterised_test"]);
    let filter = regex::Regex::new(r#"test_nested\["odd"\]\["one"\]"#).unwrap();
    let results: Vec<_> =
        (0..tests.names().len()).flat_map(|number| tests.run(number, Some(&filter))).collect();
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0].outcome, TestOutcome::Pass);
}

#[test]
fn what_no_test_can_pass_is_shown_even_so() {
    // Every statement that a body can have, each the one that does not hold.
    let tests = r#"package lictor.u_test

import data.lictor.u

test_every if {
	every n in [1, 2] { n < 2 }
}

test_some_in if {
	some n in data.nothing
}

test_member if {
	n := 4
	n in [1, 2, 3]
}

test_call if {
	text := "abc"
	startswith(text, "b")
}

test_unified if {
	x = {"a": 1}
	x.a = 2
}

test_assigned if {
	n := input.nothing with input as {}
	n == 1
}

test_declared if {
	some i
	[1, 2][i] == 3
}

test_strings if { "a" == "b" }

test_in_one_line if { n := 1; n == 2; n == 1 }
"#;
    let bundle = Bundle::of(&[("rego/u/u.rego", POLICY), ("rego/u/u_test.rego", tests)]);
    let report = run_tests(&bundle.source(), None).unwrap();
    type At<'r> = (&'r str, u32, Vec<(&'r str, &'r str)>);
    let told: Vec<At<'_>> = report
        .results
        .iter()
        .map(|result| {
            let at = result.failed_at.as_ref().unwrap_or_else(|| panic!("{result:#?}"));
            (at.text.as_str(), at.line, values(&at.parts))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("every n in [1, 2] { n < 2 }", 6, vec![]),
            ("some n in data.nothing", 10, vec![("data.nothing", "undefined")]),
            ("n in [1, 2, 3]", 15, vec![("n in [1, 2, 3]", "false")]),
            ("startswith(text, \"b\")", 20, vec![("startswith(text, \"b\")", "false")]),
            ("x.a = 2", 25, vec![]),
            ("n := input.nothing with input as {}", 29, vec![("input.nothing", "undefined")]),
            ("[1, 2][i] == 3", 35, vec![("3", "3")]),
            ("\"a\" == \"b\"", 38, vec![("\"a\"", "\"a\""), ("\"b\"", "\"b\"")]),
            ("n == 2", 40, vec![("n", "1"), ("2", "2")]),
        ]
    );
}
