//! What is watched has the outcome of what serves, and what it notes agrees.

use super::super::tests::{Bundle, call, evaluate, facts, patient};
use super::*;
use crate::registry::Registry;

/// Both engines over the same rules.
fn both(bundle: &Bundle, args: &str) -> (Outcome, Outcome, Traced) {
    let traced = Traced::load(&bundle.source(), true).unwrap_or_else(|e| panic!("{e:#?}"));
    let (call, facts, registry) = (call(args), facts(), Registry::default());
    let served = evaluate(&bundle.engine(), &call, &facts, patient());
    let query = Query { call: &call, facts: &facts, registry: &registry, budget: patient() };
    let watched = traced.watcher().call(&query);
    (served, watched, traced)
}

/// An error of the engine names its place, which is another in a text with markers.
fn comparable(mut outcome: Outcome) -> Outcome {
    for error in &mut outcome.errors {
        error.policy.clear();
    }
    outcome
}

fn decide_files() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/rego/decide");
    let entries = std::fs::read_dir(root).unwrap();
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = format!("rego/u/{}", path.file_name().unwrap().to_str().unwrap());
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_watched_comes_out_as_what_serves() {
    let mut asked = 0;
    for (name, text) in decide_files() {
        let bundle = Bundle::of(&[(&name, &text)]);
        for args in text.lines().filter_map(|line| line.strip_prefix("#: ask ")) {
            let (served, watched, _) = both(&bundle, args);
            assert_eq!(comparable(watched), comparable(served), "{name}: {args}");
            asked += 1;
        }
    }
    assert!(asked >= 10, "{asked}");
}

const EVERYTHING: &str = r#"
import data.shared.limits as limits

labels contains limits.label

_kind := "big" if input.context.args.n > 10

_size := "small" if {
	input.context.args.n <= 10 # why not
} else := "odd"

_double(x) := x * 2

_level(n) := "low" if n < 10 else := "high" if n < 100 else := "top"

_names := {name | some item in input.context.args.items; name := item.name; name != "x"}

default _found := false
_found if "a" in _names

allow if { input.context.args.n == 1; _found }
allow if {
	some i
	input.context.args.items[i].name == "late"
	i > 0
	_double(i) == 2
}
allow if every item in input.context.args.items {
	item.name != ""
	count([y | some y in item.tags; y == item.name]) == 0
}

deny contains {"id": "u.top", "message": sprintf("%v", [[x | some x in ["a"]; x != _kind]])} if {
	_level(input.context.args.n) == "top"
	not _found
}
deny contains "plain" if input.context.args.n == 5
ask contains {"id": "u.ask", "approvers": ["bob@example.com"]} if {
	limit = 50; n := input.context.args.n; n > limit
}
labels contains "seen"
"#;

#[test]
fn every_form_of_body_is_marked_without_changing_what_it_means() {
    let shared = "package shared.limits\nlabel := \"shared\"\n";
    let text = format!("package lictor.u\n{EVERYTHING}");
    let bundle = Bundle::of(&[("rego/u/u.rego", &text), ("rego/shared/l.rego", shared)]);
    for args in [
        r#"{"n": 1, "items": [{"name": "a", "tags": []}]}"#,
        r#"{"n": 5, "items": [{"name": "", "tags": []}]}"#,
        r#"{"n": 60, "items": [{"name": "x", "tags": []}, {"name": "late", "tags": ["late"]}]}"#,
        r#"{"n": 500, "items": [{"name": "late", "tags": []}]}"#,
        r#"{"items": []}"#,
        "{}",
    ] {
        let (served, watched, traced) = both(&bundle, args);
        assert_eq!(watched, served, "{args}");
        agrees(&traced, &watched);
    }
}

/// A decision rule fired exactly if its body held, and then each statement did.
fn agrees(traced: &Traced, outcome: &Outcome) {
    let denied = outcome.denies.iter().map(|denial| denial.reason.policy.clone());
    let asked = outcome.asks.iter().map(|ask| ask.reason.policy.clone());
    let permitted = outcome.permits.iter().map(|fired| fired.policy.clone());
    let fired: BTreeSet<String> = denied.chain(asked).chain(permitted).collect();
    for (number, body) in traced.map.bodies.iter().enumerate() {
        if body.sort != Sort::Rule || !["allow", "deny", "ask"].contains(&body.name.as_str()) {
            continue;
        }
        let policy = &traced.loaded.policies[body.policy].name;
        let place = format!("{policy}:{}", body.line);
        assert_eq!(traced.held(number), fired.contains(&place), "{place}");
        let all = body.statements.iter().all(|statement| traced.saw(*statement));
        assert_eq!(all, traced.held(number), "{place}");
    }
}

fn reached(rules: &str, args: &str) -> (Vec<u32>, Vec<u32>) {
    let bundle = Bundle::unit(rules);
    let traced = Traced::load(&bundle.source(), false).unwrap();
    let (call, facts, registry) = (call(args), facts(), Registry::default());
    let mut watcher = traced.watcher();
    watcher.call(&Query { call: &call, facts: &facts, registry: &registry, budget: patient() });
    let reached = watcher.reached();
    let line = |number: &usize| traced.map.statements[*number].lines.0;
    let all = 0..traced.map.statements.len();
    let missed = all.filter(|number| !reached.contains(number)).map(|number| line(&number));
    (reached.iter().map(line).collect(), missed.collect())
}

#[test]
fn statements_are_told_apart_also_on_one_line() {
    let rules = "allow if { input.context.args.n == 1; input.context.args.m == 2; true }\n";
    let count = |args: &str| reached(rules, args).0.len();
    assert_eq!(count(r#"{"n": 0, "m": 2}"#), 1);
    assert_eq!(count(r#"{"n": 1, "m": 0}"#), 2);
    assert_eq!(count(r#"{"n": 1, "m": 2}"#), 3);
}

#[test]
fn bodies_inside_of_others_and_of_else_are_reached_on_their_own() {
    let rules = "_f(x) := 1 if {\n\tx == 1\n} else := 2 if {\n\tx == 2\n}\n\
                 allow if {\n\t_f(input.context.args.n) == 2\n\tevery y in input.context.args.ys {\n\t\ty > 0\n\t}\n\
                 \tcount([y |\n\t\tsome y in input.context.args.ys\n\t\ty > 5\n\t]) > 0\n}\n";
    let (_, missed) = reached(rules, r#"{"n": 1, "ys": [1]}"#);
    assert_eq!(missed, [5, 9, 10, 12, 13, 14], "the first branch gives 1");
    let (_, missed) = reached(rules, r#"{"n": 2, "ys": []}"#);
    assert_eq!(missed, [10, 14], "nothing to look at");
    let (_, missed) = reached(rules, r#"{"n": 2, "ys": [7]}"#);
    assert_eq!(missed, Vec::<u32>::new());
}

#[test]
fn events_are_in_order_and_bounded() {
    let rules = "_f(x) if x > 1\nallow if {\n\tsome x in input.context.args.xs\n\t_f(x)\n}\n";
    let bundle = Bundle::unit(rules);
    let traced = Traced::load(&bundle.source(), true).unwrap();
    let (facts, registry) = (facts(), Registry::default());
    let mut watcher = traced.watcher();
    let mut events = |args: &str| {
        let call = call(args);
        watcher.call(&Query { call: &call, facts: &facts, registry: &registry, budget: patient() });
        watcher.events()
    };
    let told: Vec<String> = events(r#"{"xs": [1, 2]}"#).iter().map(|e| format!("{e:?}")).collect();
    let held = told.iter().filter(|event| event.starts_with("Held")).count();
    assert_eq!(held, 2, "the function and the rule: {told:#?}");
    assert!(told[0].starts_with("Enter"), "{told:#?}");
    let many: Vec<String> = (0..EVENTS_MAX).map(|n| n.to_string()).collect();
    assert_eq!(events(&format!(r#"{{"xs": [{}]}}"#, many.join(","))).len(), EVENTS_MAX);
    assert!(!events(r#"{"xs": [1]}"#).is_empty(), "each evaluation begins anew");
}
