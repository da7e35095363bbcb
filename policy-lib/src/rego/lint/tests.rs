//! What the corpus of named files does not show: names that go round in circles, and what is
//! passed over on purpose.

use std::collections::BTreeSet;

use super::super::source::parse_all;
use super::check;
use crate::diagnostic::Diagnostic;
use crate::known::Known;
use crate::registry::Registry;

fn problems(rules: &str) -> Vec<Diagnostic> {
    let text = format!("package lictor.u\n{rules}");
    let mut found = Vec::new();
    let policies = parse_all(&[("rego/u/u.rego", &text)], &mut found);
    assert_eq!(found, []);
    let registry = Registry::default();
    let known = Known {
        registry: &registry,
        unread: BTreeSet::new(),
        limits: None,
        detectors: None,
        now_ms: 0,
    };
    check(&policies, &known, &mut found);
    found
}

fn codes(rules: &str) -> Vec<&'static str> {
    problems(rules).iter().map(|problem| problem.code).collect()
}

#[test]
fn helpers_that_stand_for_each_other_in_a_circle_end() {
    assert_eq!(codes("_a := _b\n_b := _a\nallow if _a.phase == \"x\"\n"), Vec::<&str>::new());
    assert_eq!(codes("_a if _b\n_b if _a\nallow if _a\n"), Vec::<&str>::new());
    assert_eq!(codes("allow if { x := x.y; x.z == \"a\" }\n"), Vec::<&str>::new());
}

#[test]
fn a_helper_with_a_second_rule_or_an_else_asks_nothing_for_certain() {
    let reader = "allow if { _a; input.phase == \"list\" }\n";
    assert_eq!(codes(&format!("_a if input.phase == \"request\"\n{reader}")), ["rego_never"]);
    for helper in [
        "_a if input.phase == \"request\"\n_a if input.executed\n",
        "_a if { input.phase == \"request\" } else := true\n",
        "_a := x if { x := input.phase; x == \"request\" }\n",
    ] {
        assert_eq!(codes(&format!("{helper}{reader}")), Vec::<&str>::new(), "{helper}");
    }
}

#[test]
fn names_are_those_of_the_innermost_scope() {
    let rules = "allow if {
	finding := input.facts.time
	count([1 | some finding in input.facts.findings; finding.category == \"x\"]) > 0
	finding.nowms > 1
}
";
    let found = problems(rules);
    let said: Vec<(&str, u32)> = found.iter().map(|p| (p.code, p.line)).collect();
    assert_eq!(said, [("rego_input", 5)], "{found:?}");
}

#[test]
fn an_else_has_variables_of_its_own() {
    let rules = "_level := x if { x := 1; input.executed } else := y if { y := 2; z := 3 }
allow if _level > 1\n";
    let found = problems(rules);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("`z`"), "{found:?}");
}

#[test]
fn what_is_replaced_by_with_is_not_held_against_the_body() {
    let rules = "allow if { input.phase == \"request\"; _list with input.phase as \"list\" }
_list if input.phase == \"list\"\n";
    assert_eq!(codes(rules), Vec::<&str>::new());
}
