//! `check`: all mistakes of a bundle in one run, in every format.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::Bench;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-lib/testdata/check").join(name)
}

fn checked(bench: &Bench, path: &Path, code: i32) -> Value {
    bench.run(&["check", path.to_str().unwrap(), "--format", "json"]).code(code).json()
}

/// `file:line:col-end code` of every problem.
fn places(checked: &Value) -> Vec<String> {
    let found = checked["diagnostics"].as_array().unwrap();
    let text = |problem: &Value, member: &str| problem[member].as_str().unwrap().to_owned();
    found
        .iter()
        .map(|p| {
            let (file, code) = (text(p, "file"), text(p, "code"));
            format!("{file}:{}:{}-{} {code}", p["line"], p["col"], p["end_col"])
        })
        .collect()
}

#[test]
fn a_bundle_with_planted_mistakes_gets_a_precise_message_for_each() {
    let bench = Bench::new();
    let checked = checked(&bench, &corpus("planted"), 5);
    assert_eq!(
        places(&checked),
        [
            ".manifest:4:84-92 manifest_scope",
            ".manifest:4:95-102 name_unknown",
            "cases/travel.yaml:2:0-0 case_invalid",
            "cedar/travel.cedar:3:30-33 cedar_invalid",
            "cedar/travel.cedar:5:1-4 cedar_id_duplicate",
            "cedar/travel.cedar:6:30-59 cedar_action_unknown",
            "cedar/travel.cedar:8:1-19 cedar_suspect",
            "data.json:2:41-51 guardrails_invalid",
            "data.json:4:61-72 limit_invalid",
            "data.json:14:36-45 registry_invalid",
            "rego/lib/text.rego:3:18-34 rego_function",
            "rego/travel/broken.rego:6:1-2 rego_parse",
            "rego/travel/travel.rego:4:1-22 rego_import_unused",
            "rego/travel/travel.rego:8:8-15 rego_input",
            "rego/travel/travel.rego:13:30-37 rego_unsafe",
            "rego/travel/travel.rego:17:17-25 value_unknown",
            "rego/travel/travel.rego:18:2-40 rego_function",
            "rego/travel/travel.rego:21:68-85 name_unknown",
            "rego/travel/travel.rego:22:23-34 name_unknown",
            "rego/travel/travel.rego:25:63-75 shadow_expired",
            "rego/travel/travel.rego:29:2-25 rego_never",
        ]
    );
    assert_eq!((&checked["ok"], &checked["errors"]), (&false.into(), &11.into()));
}

#[test]
fn the_whole_of_what_is_meant_is_underlined_and_mended() {
    let bench = Bench::new();
    let shown = bench.run(&["check", corpus("planted").to_str().unwrap()]).code(5).out;
    for block in [
        "error[cedar_action_unknown]: there is no action `trips/boook`: no protocol and no registered tool has it\n  |\n6 | permit (principal, action == Lictor::Action::\"trips/boook\", resource);\n  |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  help: did you mean `trips/book`?\n",
        "warning[rego_input]: the input has no `resourc` here: this is always undefined\n  |\n8 |     input.resourc.id == \"trips/book\"\n  |           ^^^^^^^\n  help: did you mean `resource`?\n",
        "planted: refused, 11 error(s), 10 warning(s)\n",
    ] {
        assert!(shown.contains(block), "{block}\nis not in\n{shown}");
    }
}

#[test]
fn sarif_has_rules_with_help_and_regions_with_ends() {
    let bench = Bench::new();
    let path = corpus("planted");
    let sarif = bench.run(&["check", path.to_str().unwrap(), "--format", "sarif"]).code(5).json();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["help"]["text"].as_str().unwrap().ends_with('.'), "{rule}");
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 21);
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        let whole_line = result["ruleId"] == "case_invalid" && region["startColumn"].is_null();
        let ends = region["endColumn"].as_u64() > region["startColumn"].as_u64();
        assert!(region["startLine"].as_u64() > Some(0) && (whole_line || ends), "{result}");
    }
}

#[test]
fn warnings_refuse_only_where_they_are_denied() {
    let bench = Bench::with_bundle();
    bench.run(&["check", "b", "--deny-warnings"]).code(0);
    bench.edit(
        "b/rego/tickets/tickets.rego",
        "package lictor.tickets\n",
        "package lictor.tickets\n\nimport data.registry\n",
    );
    let warned = bench.run(&["check", "b", "--format", "json"]).code(0).json();
    assert_eq!((&warned["ok"], &warned["warnings"]), (&true.into(), &1.into()));
    let denied = bench.run(&["check", "b", "--deny-warnings", "--format", "json"]).code(5).json();
    assert_eq!((&denied["ok"], &denied["errors"]), (&false.into(), &0.into()));
    assert!(bench.run(&["check", "b", "--deny-warnings"]).code(5).out.contains("refused"));
}

#[test]
fn codes_are_explained() {
    let bench = Bench::new();
    let said = bench.run(&["check", "--explain", "rego_unsafe"]).code(0).out;
    assert!(said.contains("Nothing gives a variable its value."), "{said}");
    let all = bench.run(&["check", "--explain", "all", "--format", "json"]).code(0).json();
    assert!(all["codes"].as_array().unwrap().len() > 100);
    let wrong = bench.run(&["check", "--explain", "rego_unsave"]).code(2);
    assert!(wrong.err.contains("did you mean `rego_unsafe`?"), "{wrong:?}");
    bench.run(&["check"]).code(2);
    bench.run(&["check", "b", "--explain", "rego_unsafe"]).code(2);
}
