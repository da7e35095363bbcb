//! init, check, test, schema.

use crate::run::Bench;

#[test]
fn a_new_bundle_passes_its_own_tests() {
    let bench = Bench::new();
    let made = bench.run(&["init", "my-policies", "--format", "json"]).code(0).json();
    assert_eq!(made["name"], "my-policies");
    bench.run(&["check", "my-policies"]).code(0);
    let tested = bench.run(&["test", "my-policies", "--format", "json"]).code(0).json();
    assert_eq!((&tested["failed"], &tested["valid"]), (&0.into(), &true.into()));
    let kinds: Vec<&str> = tested["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|test| test["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"rego") && kinds.contains(&"case"), "{kinds:?}");
}

#[test]
fn init_overwrites_nothing() {
    let bench = Bench::with_bundle();
    let again = bench.run(&["init", "b"]).code(1);
    assert!(again.err.contains("is not empty"), "{again:?}");
    bench.run(&["init", "c", "--name", "a b"]).code(2);
    assert!(!bench.path("c").exists());
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_place() {
    let bench = Bench::with_bundle();
    bench.edit(
        "b/rego/tickets/tickets.rego",
        "allow if {\n\t_tool(\"search\")",
        "alow if {\n\t_tool(\"search\")",
    );
    bench.write("b/rego/tickets/broken.rego", "package lictor.tickets\n\nallow if {\n\tx =\n}\n");
    bench.edit("b/cedar/tickets.cedar", "tickets/search", "tickets/serach");
    bench.write("b/cases/wrong.yaml", "cases:\n  - name: x\n    expect: {effect: maybe}\n");
    let checked = bench.run(&["check", "b", "--format", "json"]).code(5).json();
    assert_eq!(checked["ok"], false);
    let found = checked["diagnostics"].as_array().unwrap();
    let place = |file: &str| {
        let problem = found.iter().find(|d| d["file"] == file && d["level"] == "error");
        let problem = problem.unwrap_or_else(|| panic!("nothing about {file} in {found:#?}"));
        (problem["line"].as_u64().unwrap(), problem["col"].as_u64().unwrap())
    };
    assert_eq!(place("rego/tickets/tickets.rego"), (5, 1));
    assert_eq!(place("rego/tickets/broken.rego").0, 4);
    assert_eq!(place("cedar/tickets.cedar"), (7, 14));
    assert_eq!(place("cases/wrong.yaml"), (2, 0));
    let pretty = bench.run(&["check", "b"]).code(5).out;
    assert!(pretty.contains("b/rego/tickets/tickets.rego:5:1: error[rego_rule]"), "{pretty}");
    assert!(pretty.contains("5 | alow if {\n  | ^^^^"), "{pretty}");
    let sarif = bench.run(&["check", "b", "--format", "sarif"]).code(5).json();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), found.len());
    for command in ["test", "inspect"] {
        let code = if command == "test" { 5 } else { 0 };
        bench.run(&[command, "b"]).code(code);
    }
    let tested = bench.run(&["test", "b", "--format", "json"]).code(5).json();
    assert_eq!(tested["valid"], false);
}

#[test]
fn a_bundle_that_cannot_be_read_is_another_failure_than_an_invalid_one() {
    let bench = Bench::with_bundle();
    bench.run(&["check", "nowhere"]).code(1);
    bench.run(&["check"]).code(2);
    bench.write("b/.manifest", "{}");
    let checked = bench.run(&["check", "b", "--format", "json"]).code(5).json();
    assert_eq!(checked["diagnostics"][0]["code"], "bundle_manifest_invalid");
    bench.write("b/other.txt", "x");
    let checked = bench.run(&["check", "b", "--format", "json"]).code(5).json();
    assert_eq!(checked["diagnostics"][0]["code"], "bundle_extra_file");
}

#[test]
fn links_are_refused_and_dot_files_passed_over() {
    let bench = Bench::with_bundle();
    bench.write("b/.git/config", "x");
    bench.run(&["check", "b"]).code(0);
    std::os::unix::fs::symlink(bench.path("b/README.md"), bench.path("b/cases/link.yaml")).unwrap();
    let checked = bench.run(&["check", "b"]).code(1);
    assert!(checked.err.contains("no links"), "{checked:?}");
}

#[test]
fn a_failed_test_shows_the_difference_and_why() {
    let bench = Bench::with_bundle();
    bench.edit(
        "b/cases/tickets.yaml",
        "{effect: deny, reasons: [tickets.delete]}",
        "{effect: allow}",
    );
    bench.edit(
        "b/rego/tickets/tickets_test.rego",
        "denial.id == \"tickets.delete\"",
        "denial.id == \"tickets.x\"",
    );
    let tested = bench.run(&["test", "b"]).code(6).out;
    for part in [
        "effect: expected allow, got deny",
        "because tickets.delete",
        "[rego/tickets/tickets.rego:",
        "data.lictor.tickets_test.test_deleting_is_denied",
        "2 failed",
    ] {
        assert!(tested.contains(part), "`{part}` is not in {tested}");
    }
    let tested = bench.run(&["test", "b", "--format", "json"]).code(6).json();
    assert_eq!(tested["failed"], 2);
    let failed = tested["tests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|test| test["kind"] == "case" && test["status"] == "fail");
    assert_eq!(failed.unwrap()["decision"]["reasons"][0]["id"], "tickets.delete");
    let junit = bench.run(&["test", "b", "--format", "junit"]).code(6).out;
    assert!(junit.contains("failures=\"2\"") && junit.contains("<failure message="), "{junit}");
    // A rule that is taken out is noticed too.
    let bench = Bench::with_bundle();
    bench.edit("b/rego/tickets/tickets.rego", "priority == \"high\"", "priority == \"never\"");
    bench.run(&["test", "b"]).code(6);
}

#[test]
fn tests_are_chosen_by_name_and_none_is_said_loudly() {
    let bench = Bench::with_bundle();
    let one =
        bench.run(&["test", "b", "--run", "deleting is denied", "--format", "json"]).code(0).json();
    assert_eq!(one["passed"], 1);
    let none = bench.run(&["test", "b", "--run", "no such test"]).code(0);
    assert!(none.err.contains("nothing was tested") && none.out.contains("NO TESTS"), "{none:?}");
    bench.run(&["test", "b", "--run", "("]).code(2);
    let by_one = bench.run(&["test", "b", "--jobs", "1", "--format", "json"]).code(0).json();
    assert_eq!(
        by_one["passed"],
        bench.run(&["test", "b", "--format", "json"]).code(0).json()["passed"]
    );
}

#[test]
fn a_threshold_of_coverage_is_held() {
    let bench = Bench::with_bundle();
    let tested = bench.run(&["test", "b", "--coverage", "--format", "json"]).code(0).json();
    let percent = tested["coverage"]["percent"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 100.0, "{percent}");
    bench.run(&["test", "b", "--coverage", "--threshold", "0"]).code(0);
    bench.run(&["test", "b", "--coverage", "--threshold", "100"]).code(6);
    bench.run(&["test", "b", "--threshold", "100"]).code(2);
}

#[test]
fn schemas_are_printed() {
    let bench = Bench::with_bundle();
    assert_eq!(bench.run(&["schema", "registry"]).code(0).json()["title"], "Registry");
    assert!(bench.run(&["schema", "call"]).code(0).json().is_object());
    let cedar = bench.run(&["schema", "cedar", "-b", "b"]).code(0).out;
    assert!(cedar.contains("tickets/close") && cedar.contains("entity"), "{cedar}");
    bench.run(&["schema", "cedar"]).code(2);
    bench.run(&["schema", "nothing"]).code(2);
}

#[test]
fn help_and_versions_are_data_and_mistakes_are_usage() {
    let bench = Bench::new();
    let help = bench.run(&["--help"]).code(0);
    assert!(help.out.contains("Exit codes") && help.err.is_empty(), "{help:?}");
    assert!(bench.run(&["--version"]).code(0).out.starts_with("lictor "));
    bench.run(&["nonsense"]).code(2);
    bench.run(&[]).code(2);
}

#[test]
fn every_template_is_a_bundle_that_passes_its_own_tests() {
    let bench = Bench::new();
    let listed = bench.run(&["init", "--list", "--format", "json"]).code(0).json();
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"tickets") && names.len() > 4, "{names:?}");
    for name in names {
        let folder = format!("of-{name}");
        bench.run(&["init", &folder, "--template", name]).code(0);
        let said = bench.run(&["inspect", &folder, "--format", "json"]).code(0).json();
        assert_eq!(said["name"], folder.as_str());
        bench.run(&["test", &folder]).code(0);
    }
    let ended = bench.run(&["init", "x", "--template", "ticket"]).code(2);
    assert!(ended.err.contains("did you mean `tickets`"), "{}", ended.err);
}
