//! Coverage of both engines, and what explanations say.

use std::path::Path;

use serde_json::Value;

use crate::run::Bench;

/// The bundles of this repository are tested and covered by the tool itself.
#[test]
fn every_bundle_passes_and_is_covered_to_ninety_percent() {
    let bench = Bench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let mut tested = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let args = ["test", path.to_str().unwrap(), "--coverage", "--threshold", "90"];
        bench.run(&args).code(0);
        tested += 1;
    }
    assert!(tested >= 5, "{tested}");
}

/// What came of each test, without how long it took.
fn outcomes(document: &Value) -> Vec<(Value, Value, Value)> {
    let tests = document["tests"].as_array().unwrap();
    let of =
        |test: &Value| (test["name"].clone(), test["status"].clone(), test["differences"].clone());
    tests.iter().map(of).collect()
}

#[test]
fn coverage_changes_no_outcome_and_does_not_depend_on_the_number_of_jobs() {
    let bench = Bench::with_bundle();
    bench.write(
        "b/cases/wrong.yaml",
        "cases:\n  - {name: wrong, call: {}, expect: {effect: allow}}\n",
    );
    let run = |more: &[&str]| {
        let args: Vec<&str> =
            ["test", "b", "--format", "json"].iter().chain(more).copied().collect();
        bench.run(&args).code(6).json()
    };
    let plain = run(&[]);
    let one = run(&["--coverage", "--jobs", "1"]);
    let four = run(&["--coverage", "--jobs", "4"]);
    assert!(outcomes(&plain).len() > 5);
    assert_eq!(outcomes(&plain), outcomes(&one));
    assert_eq!(outcomes(&plain), outcomes(&four));
    assert_eq!(one["coverage"], four["coverage"]);
    assert!(plain.get("coverage").is_none());
}

#[test]
fn both_engines_and_both_sorts_of_tests_count() {
    let bench = Bench::with_bundle();
    let percent = |more: &[&str]| {
        let args: Vec<&str> =
            ["test", "b", "--coverage", "--format", "json"].iter().chain(more).copied().collect();
        let tested = bench.run(&args).code(0).json();
        let files = tested["coverage"]["files"].as_object().unwrap();
        let engines: Vec<&str> =
            files.values().map(|file| file["engine"].as_str().unwrap()).collect();
        assert!(engines.contains(&"rego") && engines.contains(&"cedar"), "{engines:?}");
        tested["coverage"]["percent"].as_f64().unwrap()
    };
    let all = percent(&[]);
    let cases = percent(&["--run", "^cases/"]);
    let rego = percent(&["--run", "^data\\."]);
    assert!(cases > 0.0 && cases <= all && rego > 0.0 && rego <= all, "{cases} {rego} {all}");
}

#[test]
fn coverage_is_written_for_other_tools() {
    let bench = Bench::with_bundle();
    bench.run(&["test", "b", "--coverage", "--coverage-out", "c.info"]).code(0);
    let lcov = bench.read("c.info");
    assert!(lcov.contains("SF:b/cedar/") && lcov.contains("SF:b/rego/"), "{lcov}");
    assert!(lcov.contains("\nBRDA:") && lcov.contains("\nDA:") && lcov.contains("\nFNDA:"));
    bench.run(&["test", "b", "--coverage", "--coverage-out", "c.json"]).code(0);
    let by_name: Value = serde_json::from_str(&bench.read("c.json")).unwrap();
    let told = bench.run(&["test", "b", "--coverage", "--format", "json"]).code(0).json();
    assert_eq!(by_name, told["coverage"]);
    let format =
        ["test", "b", "--coverage", "--coverage-out", "c.txt", "--coverage-format", "json"];
    bench.run(&format).code(0);
    assert_eq!(bench.read("c.txt"), bench.read("c.json"));
    bench.run(&["test", "b", "--coverage-out", "c.info"]).code(2);
    bench.run(&["test", "b", "--coverage", "--coverage-out", "b"]).code(1);
}

#[test]
fn a_threshold_that_is_not_held_lists_what_is_missing() {
    let bench = Bench::with_bundle();
    bench.write(
        "b/rego/more/more.rego",
        "package lictor.more\n\ndeny contains {\"id\": \"more.never\"} if {\n\tinput.agent.id == \"nobody\"\n\tinput.phase == \"request\"\n}\n",
    );
    let tested = bench.run(&["test", "b", "--coverage", "--threshold", "100"]).code(6);
    assert!(tested.err.contains("b/rego/more/more.rego:3: `deny` never held"), "{tested:?}");
    assert!(
        tested
            .err
            .contains("b/rego/more/more.rego:5: `input.phase == \"request\"` was never evaluated"),
        "{tested:?}"
    );
    assert!(tested.out.contains("rego/more/more.rego"), "{tested:?}");
}

#[test]
fn an_explanation_shows_the_clause_that_failed_and_what_it_read() {
    let bench = Bench::new();
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles/expense-report");
    let call = r#"{"subject": {"type": "user", "id": "alice@example.com"}, "agent": {"type": "agent", "id": "expense-report-v1"},
        "action": {"name": "tools/call"}, "resource": {"type": "tool", "id": "accounting/create_expense_report"},
        "context": {"args": {"employee_id": "alice@example.com", "amount": 6000}}}"#;
    let args = ["decide", "-b", bundle.to_str().unwrap(), "-i", "-", "--explain"];
    let told = bench.run_with(&args, call).code(3);
    for part in [
        "deny: expense.over_limit",
        "nearest permit: allow rego/expense/expense.rego:",
        "3 of 4 clauses held",
        "| input.context.args.amount <= data.expense.never_over\n",
        "input.context.args.amount = 6000\n",
        "✓",
        "✗",
    ] {
        assert!(told.err.contains(part), "{part} is not in {}", told.err);
    }
    assert!(!told.err.contains('\u{1b}'), "colour is for terminals");
    let explain = &told.json()["explain"];
    for member in
        ["engines", "permits", "denials", "asks", "limits", "errors", "clauses", "nearest"]
    {
        assert!(explain.get(member).is_some(), "{member}");
    }
    assert_eq!(explain["nearest"][0]["clauses"][3]["outcome"], "failed");
    let plain = bench.run_with(&args[..5], call).code(3);
    assert!(plain.json().get("explain").is_none() && !plain.err.contains("nearest"), "{plain:?}");
}
