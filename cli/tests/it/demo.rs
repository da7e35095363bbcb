//! `lictor demo`: it passes with the bundles as they are, and with any rule taken out of
//! one it does not.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::Bench;

/// Each a file of a bundle and a text that only the rule to remove contains. Rules are
/// blocks between empty lines.
const RULES: [(&str, &str); 17] = [
    ("expense-report/rego/expense/expense.rego", "allow contains \"expense.own_report\""),
    ("expense-report/rego/expense/expense.rego", "allow contains \"expense.connect\""),
    (
        "expense-report/rego/expense/expense.rego",
        "list if {\n\tinput.action.name == \"tools/call\"",
    ),
    ("expense-report/rego/expense/expense.rego", "\"id\": \"expense.not_own_cost_center\""),
    ("expense-report/rego/expense/expense.rego", "\"id\": \"expense.over_limit\""),
    ("expense-report/rego/expense/expense.rego", "\"id\": \"expense.not_manager\""),
    ("expense-report/rego/expense/expense.rego", "\"id\": \"expense.manager\""),
    ("expense-report/rego/expense/expense.rego", "limits contains {\"id\": \"expense.ocr_once\""),
    (
        "expense-report/rego/expense/expense.rego",
        "limits contains {\"id\": \"expense.report_once\"",
    ),
    ("expense-report/rego/expense/expense.rego", "\"id\": \"expense.mask_secrets\""),
    ("expense-report/rego/expense/expense.rego", "\"id\": \"expense.mask_cards\""),
    ("expense-report/cedar/expense.cedar", "@id(\"expense.grant.tools\")"),
    ("pr-review/rego/pr_review/pr_review.rego", "\"id\": \"pr.model_not_allowed\""),
    ("pr-review/rego/pr_review/pr_review.rego", "\"id\": \"pr.internal_host_in_comment\""),
    ("pr-review/rego/pr_review/pr_review.rego", "list if {\n\tinput.action.name == \"llm/chat\""),
    ("pr-review/cedar/pr_review.cedar", "@id(\"pr.no_delete\")"),
    ("pr-review/cedar/pr_review.cedar", "@id(\"pr.grant.models\")"),
];

fn bundles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The text without the one block that holds `marker`.
fn without(text: &str, marker: &str) -> String {
    let blocks: Vec<&str> = text.split("\n\n").collect();
    let kept: Vec<&str> = blocks.iter().copied().filter(|block| !block.contains(marker)).collect();
    assert_eq!(kept.len() + 1, blocks.len(), "{marker} is not in one block");
    kept.join("\n\n")
}

/// Runs the demonstration on the bundles in `folder`; its exit code and JSON.
fn demo(bench: &Bench, folder: &str) -> (i32, Value) {
    let (expense, review) = (format!("{folder}/expense-report"), format!("{folder}/pr-review"));
    let ended = bench.run(&["demo", "--format", "json", "--bundle", &expense, "--bundle", &review]);
    (ended.code, ended.json())
}

#[test]
fn every_step_comes_out_as_expected() {
    let bench = Bench::new();
    let told = bench.run(&["demo", "--format", "json"]).code(0).json();
    assert_eq!(told["ok"], true);
    assert_eq!(told["differences"], serde_json::json!([]));
    let steps = told["steps"].as_array().unwrap();
    assert!(steps.len() >= 25, "{}", steps.len());
    for effect in ["allow", "deny", "ask"] {
        assert!(steps.iter().any(|step| step["effect"] == effect), "{effect}");
    }
    // Both engines spoke in each permitted call.
    for step in steps.iter().filter(|step| step["outcome"] == "forwarded") {
        let policies = step["policies"].as_array().unwrap();
        let spoke = |engine: &str| policies.iter().any(|policy| policy["engine"] == engine);
        assert!(spoke("rego") && spoke("cedar"), "{step}");
    }
    assert_eq!(told["audit"]["logs"].as_array().unwrap().len(), 3);
    assert_eq!(told["audit"]["ok"], true);
    assert_eq!(told["tampered"]["audit"]["ok"], false);
}

#[test]
fn a_newcomer_reads_it_and_may_keep_the_logs() {
    let bench = Bench::new();
    let told = bench.run(&["demo", "--keep", "kept"]).code(0).out;
    for words in [
        "expense.over_limit (Rego, rego/expense/expense.rego:",
        "[secret masked]",
        "pr.no_delete (Cedar, ",
    ] {
        assert!(told.contains(words), "{words}");
    }
    bench.run(&["audit", "verify", "kept/audit"]).code(0);
    bench.run(&["audit", "verify", "kept/audit-with-one-byte-changed"]).code(7);
    // A folder that is in use is not written over.
    bench.run(&["demo", "--keep", "kept"]).code(2);
}

#[test]
fn with_any_rule_removed_it_fails() {
    for (file, marker) in RULES {
        let bench = Bench::new();
        copy(&bundles(), &bench.path("bundles"));
        let path = bench.path("bundles").join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, without(&text, marker)).unwrap();
        let (code, told) = demo(&bench, "bundles");
        assert_eq!(code, 1, "{file} without {marker}");
        assert!(!told["differences"].as_array().unwrap().is_empty(), "{file} without {marker}");
    }
}

#[test]
fn the_bundles_pass_their_own_tests_alone_and_together() {
    let bench = Bench::new();
    copy(&bundles(), &bench.path("bundles"));
    let folders = ["bundles/expense-report", "bundles/pr-review"];
    for folder in folders {
        let checked = bench.run(&["check", folder, "--format", "json"]).code(0).json();
        assert_eq!(checked["warnings"], 0, "{folder}: {checked}");
        bench.run(&["test", folder]).code(0);
    }
    bench.run(&["build", folders[0], folders[1], "-o", "both.tar.gz"]).code(0);
    let tested = bench.run(&["test", "both.tar.gz"]).code(0).out;
    assert!(tested.contains(" 0 failed"), "{tested}");
}

#[test]
fn the_folders_as_they_are_pass_too() {
    let bench = Bench::new();
    copy(&bundles(), &bench.path("bundles"));
    let (code, told) = demo(&bench, "bundles");
    assert_eq!((code, &told["ok"]), (0, &Value::Bool(true)), "{told}");
}
