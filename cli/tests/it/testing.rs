//! `lictor test`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::run::Bench;

/// A bundle whose Rego tests fail in every way that there is.
fn fixture() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("policy-lib/testdata/rego_tests").display().to_string()
}

/// Tests of a document by name, without what differs from run to run.
fn tests(document: &Value) -> Vec<Value> {
    let mut tests = document["tests"].as_array().unwrap().clone();
    for test in &mut tests {
        test.as_object_mut().unwrap().remove("elapsed_us");
    }
    tests
}

#[test]
fn results_do_not_depend_on_how_many_run_at_a_time() {
    let bench = Bench::with_bundle();
    bench.edit("b/cases/tickets.yaml", "limits: [closed_tickets]", "limits: [x]");
    let fixture = fixture();
    for path in ["b", &fixture] {
        let run = |jobs: &str, format: &str| {
            let args =
                ["test", path, "--jobs", jobs, "--format", format, "--timeout", "300ms", "-v"];
            bench.run(&args).code(6)
        };
        assert_eq!(run("1", "pretty").out, run("8", "pretty").out);
        assert_eq!(tests(&run("1", "json").json()), tests(&run("8", "json").json()));
    }
}

#[test]
fn a_failed_rego_test_shows_the_statement_its_values_and_prints() {
    let bench = Bench::new();
    let fixture = fixture();
    let tested = bench.run(&["test", &fixture, "--timeout", "300ms"]).code(6).out;
    for part in [
        "failed rego/u/failures_test.rego:5: data.lictor.u_test.test_a_comparison\n  it does not hold\n  9 | got + 1 == 5\n    | ^ got + 1 = 4\n  with\n    call = {\"context\":{\"args\":{\"n\":3}}}\n    got = 3\n",
        "  with, the last of 3 ways that led here\n    n = 3\n  printed rego/u/failures_test.rego:26: looking at 1\n",
        "failed rego/u/parameterised_test.rego:14: data.lictor.u_test.test_nested[\"odd\"][\"six\"]\n",
        "error rego/u/slow_test.rego:3: data.lictor.u_test.test_slow\n  it took longer than 300 ms\n",
        "  30 | u.allow with input.context.args.n as numbers[i]\n     | ^ u.allow = undefined\n",
        "skipped rego/u/failures_test.rego:43: data.lictor.u_test.todo_test_later\n",
    ] {
        assert!(tested.contains(part), "`{part}` is not in {tested}");
    }
    assert!(!tested.contains("passed rego/"), "{tested}");
    let all = bench.run(&["test", &fixture, "--timeout", "300ms", "--verbose"]).code(6).out;
    assert!(all.contains("passed rego/u/mocks_test.rego:"), "{all}");
    assert!(all.contains("printed rego/u/u.rego:5: allowing 1"), "{all}");
}

#[test]
fn a_failed_case_shows_its_line_and_which_permit_came_nearest() {
    let bench = Bench::with_bundle();
    bench.edit("b/cases/tickets.yaml", "{effect: deny, reasons: [tickets.delete]}", "allow");
    let tested = bench.run(&["test", "b"]).code(6).out;
    let line = bench.read("b/cases/tickets.yaml").lines().position(|l| l.contains("deleting is"));
    let place = format!("failed cases/tickets.yaml:{}: deleting is denied\n", line.unwrap() + 1);
    for part in [
        place.as_str(),
        "  effect: expected allow, got deny\n",
        "  because tickets.delete",
        "  nearest permit: ",
    ] {
        assert!(tested.contains(part), "`{part}` is not in {tested}");
    }
    let json = bench.run(&["test", "b", "--format", "json"]).code(6).json();
    let failed = tests(&json).into_iter().find(|test| test["status"] == "fail").unwrap();
    assert_eq!(failed["compared"][0]["member"], "effect");
    assert_eq!(failed["compared"][0]["got"], "deny");
    assert!(!failed["decision"]["explain"]["nearest"].as_array().unwrap().is_empty());
}

#[test]
fn tests_are_listed_without_being_run() {
    let bench = Bench::with_bundle();
    let listed = bench.run(&["test", "b", "--list"]).code(0).out;
    assert!(listed.contains("cases/tickets.yaml:23: deleting is denied\n"), "{listed}");
    assert!(listed.contains(": data.lictor.tickets_test.test_deleting_is_denied\n"), "{listed}");
    let args = ["test", "b", "--list", "--run", "deleting is", "--format", "json"];
    let listed = bench.run(&args).code(0).json();
    assert_eq!(listed["tests"].as_array().unwrap().len(), 1);
    assert_eq!(listed["tests"][0]["kind"], "case");
    let fixture = fixture();
    let one = ["test", &fixture, "--run", r#"test_nested\["odd"\]\["one"\]"#, "--format", "json"];
    assert_eq!(bench.run(&one).code(0).json()["passed"], 1);
}

#[test]
fn the_first_failure_ends_the_run_if_asked() {
    let bench = Bench::with_bundle();
    bench.edit("b/cases/tickets.yaml", "{effect: allow, limits: []}", "deny");
    let all = bench.run(&["test", "b", "--format", "json"]).code(6).json();
    let first = bench.run(&["test", "b", "--fail-fast", "--format", "json"]).code(6).json();
    let (all, ran) = (tests(&all), tests(&first));
    assert!(ran.len() < all.len());
    assert_eq!(ran, all[..ran.len()]);
    assert_eq!(ran.last().unwrap()["status"], "fail");
    assert_eq!(first["not_run"], all.len() - ran.len());
    let told = bench.run(&["test", "b", "--fail-fast", "--jobs", "8"]).code(6).out;
    assert!(told.contains(&format!("{} not run", all.len() - ran.len())), "{told}");
}

#[test]
fn nothing_to_test_fails_only_if_asked() {
    let bench = Bench::with_bundle();
    let none = ["test", "b", "--run", "no such test"];
    assert!(bench.run(&none).code(0).out.starts_with("NO TESTS: 0 passed, 0 failed"));
    let refused = bench.run(&[&none[..], &["--fail-on-empty"]].concat()).code(6);
    assert!(refused.err.contains("nothing was tested"), "{refused:?}");
    bench.run(&["test", "b", "--fail-on-empty"]).code(0);
}

#[test]
fn a_table_fails_when_the_registry_has_what_it_lacks() {
    let bench = Bench::with_bundle();
    let tested = bench.run(&["test", "b", "-v"]).code(0).out;
    let cell = ": a list shows what may be called: helpdesk-v1 × tickets/delete\n";
    assert!(tested.contains(cell), "{tested}");
    bench.edit(
        "b/data.json",
        "\"tickets/search\": {",
        "\"tickets/export\": {\"schema\": \"any\"},\n\"tickets/search\": {",
    );
    let tested = bench.run(&["test", "b"]).code(6).out;
    let lacks = ": a list shows what may be called: complete\n  the registry's tool `tickets/export` has no column: add it under `actions`\n";
    assert!(tested.contains(lacks), "{tested}");
    let cell = "[allow,  allow, {effect: deny, reasons: [no_permit]}]";
    bench.edit("b/cases/tickets.yaml", cell, "[allow, allow]");
    let refused = bench.run(&["test", "b"]).code(5).err;
    assert!(refused.contains("the row has 2 cells and the table 3 actions"), "{refused}");
}

#[test]
fn a_case_is_skipped_for_a_reason_and_happens_when_it_says() {
    let bench = Bench::with_bundle();
    bench.write(
        "b/cases/more.yaml",
        "cases:\n  - {name: later, skip: waits for the registry, expect: allow}\n  - {name: wrong, now: soon, expect: deny}\n",
    );
    let refused = bench.run(&["test", "b"]).code(5).err;
    assert!(refused.contains("b/cases/more.yaml:3:19: error[case_invalid]"), "{refused}");
    bench.edit("b/cases/more.yaml", "now: soon", "now: 2027-01-01T00:00:00Z");
    let tested = bench.run(&["test", "b"]).code(0).out;
    let skipped = "skipped cases/more.yaml:2: later\n  waits for the registry\n";
    assert!(tested.contains(skipped) && tested.contains("1 skipped"), "{tested}");
}

#[test]
fn junit_names_file_line_time_and_what_was_printed() {
    let bench = Bench::new();
    let fixture = fixture();
    let xml = bench.run(&["test", &fixture, "--timeout", "300ms", "--format", "junit"]).code(6).out;
    for part in [
        "<testsuite name=\"rego/u/failures_test.rego\" tests=\"9\" failures=\"7\" errors=\"1\" skipped=\"1\" time=\"",
        "file=\"rego/u/failures_test.rego\" line=\"24\">",
        "<skipped message=\"a `todo_` test\"/>",
        "<system-out>rego/u/failures_test.rego:26: looking at 1&#10;",
    ] {
        assert!(xml.contains(part), "`{part}` is not in {xml}");
    }
}

#[test]
fn a_watched_bundle_is_tested_again_after_a_change() {
    let bench = Bench::with_bundle();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lictor"))
        .args(["test", "b", "--watch"])
        .current_dir(bench.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut sum = || lines.find(|line| line.as_ref().unwrap().contains(" passed, ")).unwrap();
    assert!(sum().unwrap().starts_with("ok: "));
    bench.edit("b/cases/tickets.yaml", "{effect: allow, limits: []}", "deny");
    assert!(sum().unwrap().starts_with("FAILED: "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_schema_of_case_files_is_printed_and_lies_beside_new_ones() {
    let bench = Bench::with_bundle();
    let printed = bench.run(&["schema", "cases"]).code(0);
    assert_eq!(bench.read("b/.lictor/cases.schema.json"), printed.out);
    assert_eq!(printed.json()["title"], "Cases");
    let first = bench.read("b/cases/tickets.yaml").lines().next().unwrap().to_owned();
    assert_eq!(first, "# yaml-language-server: $schema=../.lictor/cases.schema.json");
}
