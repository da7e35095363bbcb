//! What OPA's own suite says of annotations, and what is refused.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::diagnostic::Diagnostic;
use crate::rego::tests::Bundle;
use crate::rego::{input::value_from_node, load, run};

fn loaded(bundle: &Bundle) -> load::Loaded {
    let (loaded, problems) = load::load(&bundle.source());
    loaded.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// What the rule at `path` says.
fn ask(files: &[(&str, &str)], path: &str) -> Json {
    let mut engine = loaded(&Bundle::of(files)).engine;
    let value = run::rule(&mut engine, path, Duration::from_secs(20)).unwrap();
    serde_json::from_str(&value.to_json_str().unwrap()).unwrap()
}

fn codes(files: &[(&str, &str)]) -> Vec<String> {
    let problems: Vec<Diagnostic> = Bundle::of(files).problems();
    problems.iter().map(|p| format!("{}:{}:{}", p.code, p.line, p.message)).collect()
}

const SUITE: &str = "# METADATA
# description: The Rego test suite
package testing

# METADATA
# title: Testing annotations
# authors:
# - The OPA contributors
# - Jane Doe <jane@example.com>
p := x if {
	x := rego.metadata.chain()
}
";

#[test]
fn a_chain_goes_from_the_rule_to_its_package() {
    let authors = json!([{"name": "The OPA contributors"}, {"name": "Jane Doe", "email": "jane@example.com"}]);
    assert_eq!(
        ask(&[("rego/u/t.rego", SUITE)], "data.testing.p"),
        json!([
            {"annotations": {"authors": authors, "scope": "rule", "title": "Testing annotations"}, "path": ["testing", "p"]},
            {"annotations": {"description": "The Rego test suite", "scope": "package"}, "path": ["testing"]},
        ])
    );
}

#[test]
fn rules_documents_and_packages_above_speak_in_turn() {
    let above = "# METADATA\n# scope: subpackages\n# title: all\npackage testing\n";
    let text = "package testing.inner

# METADATA
# scope: document
# title: document
# entrypoint: true
p := \"foo\" if {
	false
}

# METADATA
# title: rule
# custom:
#   severity: 3
p := x if {
	x := rego.metadata.chain()
}
";
    assert_eq!(
        ask(&[("rego/u/a.rego", above), ("rego/u/b.rego", text)], "data.testing.inner.p"),
        json!([
            {"annotations": {"scope": "rule", "title": "rule", "custom": {"severity": 3}}, "path": ["testing", "inner", "p"]},
            {"annotations": {"scope": "document", "title": "document", "entrypoint": true}, "path": ["testing", "inner", "p"]},
            {"annotations": {"scope": "subpackages", "title": "all"}, "path": ["testing"]},
        ])
    );
}

#[test]
fn a_package_spans_its_files_and_a_rule_without_annotations_leads() {
    let annotated = "# METADATA\n# description: across files\npackage testing\n";
    let asking = "package testing\n\np := rego.metadata.chain()\n\nq := rego.metadata.rule()\n";
    let files = [("rego/u/a.rego", annotated), ("rego/u/b.rego", asking)];
    assert_eq!(
        ask(&files, "data.testing.p"),
        json!([
            {"path": ["testing", "p"]},
            {"annotations": {"description": "across files", "scope": "package"}, "path": ["testing"]},
        ])
    );
    assert_eq!(ask(&files, "data.testing.q"), json!({}));
}

#[test]
fn members_are_told_as_opa_tells_them() {
    let text = "package t

# METADATA
# organizations: [Acme]
# related_resources:
# - https://example.com/a
# - ref: https://example.com/b
#   description: more
# schemas:
# - input: schema.call
# - input.x: {type: string}
p := rego.metadata.rule()
";
    assert_eq!(
        ask(&[("rego/u/t.rego", text)], "data.t.p"),
        json!({
            "scope": "rule",
            "organizations": ["Acme"],
            "related_resources": [{"ref": "https://example.com/a"}, {"ref": "https://example.com/b", "description": "more"}],
            "schemas": [{"path": ["input"], "schema": ["schema", "call"]}, {"path": ["input", "x"], "definition": {"type": "string"}}],
        })
    );
}

#[test]
fn a_decision_rule_reads_its_own_annotations() {
    let text = "package lictor.u

# METADATA
# title: Amounts need a reason
# custom:
#   id: u.reason
deny contains {\"id\": meta.custom.id, \"message\": meta.title} if {
	meta := rego.metadata.rule()
	not input.context.args.reason
}
";
    let outcome = Bundle::of(&[("rego/u/u.rego", text)]).ask("{}");
    let denial = outcome.denies.first().unwrap_or_else(|| panic!("{outcome:?}"));
    assert_eq!(
        (denial.reason.id.as_str(), denial.reason.message.as_str()),
        ("u.reason", "Amounts need a reason")
    );
    assert_eq!(denial.reason.policy, "rego/u/u.rego:7");
}

#[test]
fn tests_of_policies_see_annotations_too() {
    let files = [
        ("rego/u/t.rego", SUITE),
        (
            "rego/u/t_test.rego",
            "package testing_test\n\n# METADATA\n# title: own\ntest_own if rego.metadata.rule().title == \"own\"\n\ntest_other if data.testing.p[0].annotations.title == \"Testing annotations\"\n",
        ),
    ];
    let report = crate::rego::run_tests(&Bundle::of(&files).source(), None).unwrap();
    assert!(report.passed() && report.results.len() == 2, "{report:?}");
}

#[test]
fn texts_keep_their_places() {
    let loaded = loaded(&Bundle::of(&[("rego/u/t.rego", SUITE)]));
    let policy = loaded.policies.first().unwrap();
    assert_eq!(policy.text.len(), SUITE.len());
    assert!(policy.text.contains("x := data._lictor_m.r00000\n"), "{}", policy.text);
    assert!(loaded.data.get("_lictor_m").map(value_from_node).is_some());
}

#[test]
fn what_nobody_asks_for_is_not_read() {
    let text = "package t\n\n# METADATA\n# : [broken\np := 1\n";
    assert_eq!(codes(&[("rego/u/t.rego", text)]), Vec::<String>::new());
}

#[test]
fn broken_annotations_are_named() {
    let with = |block: &str| {
        let text = format!("package t\n\n{block}p := rego.metadata.rule()\n");
        codes(&[("rego/u/t.rego", &text)]).join("; ")
    };
    assert!(
        with("# METADATA\n# title: [broken\n")
            .starts_with("rego_metadata:3:the annotation is not understood")
    );
    assert!(with("# METADATA\n").contains("the annotation says nothing"));
    assert!(with("# METADATA\n# scope: all\n").contains("`all` is no scope"));
    assert!(with("# METADATA\n# scope: package\n").contains("a rule follows"));
    let long = format!("# METADATA\n# title: {}\n", "x".repeat(64 << 10));
    assert!(with(&long).contains("at most 65536 are read"));
    let text = "# METADATA\n# scope: rule\npackage t\n\np := rego.metadata.rule()\n\n# METADATA\n# title: x\n";
    let said = codes(&[("rego/u/t.rego", text)]).join("; ");
    assert!(said.contains("a package follows") && said.contains("nothing stands behind"), "{said}");
}

#[test]
fn a_call_stands_on_one_line() {
    let text = "package t\n\np := rego.metadata.rule(\n)\n";
    let said = codes(&[("rego/u/t.rego", text)]).join("; ");
    assert!(said.contains("rego_metadata:3:the call is written on several lines"), "{said}");
    let text = "package t\n\np := rego.metadata.rule( )\n";
    assert_eq!(ask(&[("rego/u/t.rego", text)], "data.t.p"), json!({}));
}

#[test]
fn annotations_are_not_replaced() {
    let text = "package t\n\np := rego.metadata.rule()\n\nq if p with rego.metadata.rule as {}\n";
    let said = codes(&[("rego/u/t.rego", text)]).join("; ");
    assert!(said.contains("rego_metadata:5:annotations can be read"), "{said}");
}

#[test]
fn a_comment_in_a_text_is_no_annotation() {
    let text =
        "package t\n\nx := `\n# METADATA\n# title: [broken\n`\n\np := rego.metadata.rule()\n";
    assert_eq!(ask(&[("rego/u/t.rego", text)], "data.t.p"), json!({}));
}

#[test]
fn as_many_calls_are_answered_as_can_be_numbered() {
    let asked = |calls: usize| {
        let rules = (0..calls).map(|at| format!("p{at} := rego.metadata.rule()\n"));
        let text = format!("package t\n\n{}", rules.collect::<String>());
        let mut policies = vec![crate::rego::source::parse("rego/u/t.rego", &text).unwrap()];
        let (mut data, mut problems) = (lictor_proto::json::Node::empty_object(), Vec::new());
        super::resolve(&mut policies, &mut data, &mut problems);
        problems.len()
    };
    assert_eq!((asked(super::MAX_SITES), asked(super::MAX_SITES + 1)), (0, 1));
}
