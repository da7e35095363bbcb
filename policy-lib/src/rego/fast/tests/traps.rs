//! Each known way in which the engine's machine fails open, with what keeps it from doing so: the
//! program is not proved, or the machine declines, or both give the same answer.

use std::fmt::Write as _;
use std::time::Duration;

use regorus::Value;

use super::super::super::tests::{Bundle, assert_fatal, call, evaluate, facts};
use super::{Did, RegoEngine, agree, did};
use crate::engine::{Budget, Engine, FastPath, Way};

const DATA: &str = r#"{"ports": {"1": "one"}, "list": [10, 20], "t": {"a": {"n": 1}}}"#;

/// What happens to a policy whose `allow` always holds, and whose `deny` has this body.
#[track_caller]
fn denial(body: &str, args: &str) -> Did {
    policy(&format!("allow if true\ndeny contains \"no\" if {{\n{body}\n}}\n"), args)
}

#[track_caller]
fn policy(rules: &str, args: &str) -> Did {
    let mut engine = Bundle::unit(rules).data(DATA).engine();
    agree(&mut engine, args, rules);
    let did = did(&engine, args);
    if did == Did::NotProved {
        println!("{:?}", engine.fast_path());
    }
    did
}

fn why(rules: &str) -> (String, String) {
    let engine = Bundle::unit(rules).data(DATA).engine();
    match engine.fast_path() {
        Some(FastPath::Not(slow)) => (slow.policy.clone(), slow.why.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_fails_declines_and_never_passes_for_missing() {
    let args = r#"{"text": "abc", "zero": 0, "one": 1, "half": 0.5, "wide": "%300000000d", "net": "10.0.0.0/8", "list": [1], "set": null}"#;
    for body in [
        "input.context.args.text + 1 > 0",
        "input.context.args.one / input.context.args.zero > 0",
        "input.context.args.one % input.context.args.zero > 0",
        "input.context.args.half % input.context.args.one > 0",
        "input.context.args.list - {1} != {2}",
        "(input.context.args.one | {1}) == {1}",
        "to_number(input.context.args.text) > 0",
        "count(input.context.args.one) == 0",
        "not to_number(input.context.args.text)",
        "not count(input.context.args.one) > 0",
        "startswith(input.context.args.one, \"a\")",
        "numbers.range(input.context.args.one, 3000000)[0] == 1",
        "sprintf(input.context.args.wide, [1]) == \"\"",
        "bits.lsh(input.context.args.one, 2000000) > 0",
        "net.cidr_expand(input.context.args.net) == set()",
        "regex.match(\"(\", input.context.args.text)",
        "object.get(input.context.args.one, \"a\", 1) == 1",
        "some x in input.context.args.one",
        "some x in input.context.args.set",
        "every x in input.context.args.text { x > 1 }",
        "x := input.context.args.text - 1; x == 0",
        "array.slice(input.context.args.one, 0, 1) == []",
    ] {
        assert_eq!(denial(body, args), Did::Declined, "{body}");
    }
}

#[test]
fn what_does_not_fail_is_answered() {
    let args = r#"{"one": 1, "list": [3, 4], "text": "abc", "map": {"a": 1}}"#;
    for body in [
        "input.context.args.one + 1 == 2",
        "{1, 2} - {1} == {2}",
        "10 % 3 == input.context.args.one",
        "input.context.args.missing == 1",
        "not input.context.args.missing",
        "input.context.args.text > input.context.args.one",
        "null < input.context.args.one",
        "some x in input.context.args.list\nx > 3",
        "some k, v in input.context.args.map\nk == \"a\"\nv == 1",
        "every x in input.context.args.list { x > 2 }",
        "count([x | some x in input.context.args.list; x > 3]) == 1",
        "input.context.args.one in data.list",
        "data.t[input.context.args.text].n == 1",
        "input.context.args.list[_] == 4",
        "regex.match(\"^a\", input.context.args.text)",
    ] {
        assert_eq!(denial(body, args), Did::Answered, "{body}");
    }
}

#[test]
fn a_name_without_a_value_ends_its_body() {
    // The machine goes on with nothing in the name, and `not` then holds.
    let rules = "allow if {\n\tx := input.context.args.missing\n\tnot x == 1\n}\n";
    assert_eq!(policy(rules, "{}"), Did::Answered);
    let engine = Bundle::unit(rules).engine();
    assert!(evaluate(&engine, &call("{}"), &facts(), Budget::default()).permits.is_empty());
}

#[test]
fn a_comprehension_collects_only_what_is_there() {
    let body = "count([x.n | some x in input.context.args.list]) == 1";
    assert_eq!(denial(body, r#"{"list": [{"n": 1}, {"m": 2}, 3]}"#), Did::Answered);
}

#[test]
fn a_set_that_is_told_of_nothing_is_the_interpreters() {
    let rules = "allow if count(_s) == 1\n_s contains x.n if some x in input.context.args.list\n";
    assert_eq!(policy(rules, r#"{"list": [{"m": 2}, {"n": 1}]}"#), Did::Declined);
    assert_eq!(policy(rules, r#"{"list": [{"n": 2}, {"n": 1}]}"#), Did::Answered);
}

#[test]
fn a_lost_head_is_the_interpreters_to_tell() {
    let rules = "allow if true\ndeny contains {\"id\": \"d\", \"message\": input.context.args.missing} if {\n\tsome x in input.context.args.list\n\tx > 1\n}\n";
    assert_eq!(policy(rules, r#"{"list": [1, 2]}"#), Did::Declined);
    assert_eq!(policy(rules, r#"{"list": [1]}"#), Did::Answered);
    let mut engine = Bundle::unit(rules).engine();
    engine.evaluate_by(Way::Fastest);
    let outcome = evaluate(&engine, &call(r#"{"list": [2]}"#), &facts(), Budget::default());
    assert_fatal(&outcome, "head is undefined");
}

#[test]
fn a_number_under_data_is_looked_up_as_a_text_too() {
    assert_eq!(denial("data.ports[input.context.args.n] == \"one\"", r#"{"n": 1}"#), Did::Declined);
    assert_eq!(denial("data.list[input.context.args.n] == 20", r#"{"n": 1}"#), Did::Answered);
    assert_eq!(denial("data.ports[input.context.args.n]", r#"{"n": "2"}"#), Did::Answered);
}

#[test]
fn data_that_is_first_read_in_a_loop_without_rounds_is_there_after_it() {
    let body = "x := {data.list | some y in input.context.args.none}\ncount(x) == 0\nsome z in data.list\nz == 20";
    assert_eq!(denial(body, r#"{"none": []}"#), Did::Answered);
    let input = "x := {input.context.args.a | some y in data.list; y > 99}\ncount(x) == 0\ninput.context.args.a == 1";
    assert_eq!(denial(input, r#"{"a": 1}"#), Did::Answered);
}

#[test]
fn a_function_of_nothing_has_no_value() {
    let rules = "_f(x) := 1 if not x == 2\nallow if _f(input.context.args.missing)\n";
    assert_eq!(policy(rules, "{}"), Did::Answered);
    let engine = Bundle::unit(rules).engine();
    assert!(evaluate(&engine, &call("{}"), &facts(), Budget::default()).permits.is_empty());
}

#[test]
fn every_body_of_a_rule_is_looked_at() {
    // The machine by itself stops at the first that holds, the interpreter at what fails.
    let rules = "_a if input.context.args.one == 1\n_a if to_number(input.context.args.text) == 1\nallow if _a\n";
    assert_eq!(policy(rules, r#"{"one": 1, "text": "x"}"#), Did::Declined);
    assert_eq!(policy(rules, r#"{"one": 1, "text": "2"}"#), Did::Answered);
}

#[test]
fn what_can_have_two_values_is_not_proved_and_says_where() {
    for (rules, line, what) in [
        (
            "allow if _l == 1\n_l := 1 if input.context.args.a\n_l := 2 if input.context.args.b\n",
            3,
            "bodies whose values can differ",
        ),
        (
            "allow if _f(1) == 1\n_f(x) := 1 if x > 0\n_f(x) := 2 if x > 1\n",
            3,
            "bodies whose values can differ",
        ),
        (
            "allow if _l == 1\n_l := x if {\n\tsome x in input.context.args.list\n}\n",
            3,
            "made anew in each round",
        ),
        (
            "allow if _f(2) == 1\n_f(x) := y if {\n\ty := input.context.args.list[_]\n\ty > x\n}\n",
            3,
            "made anew in each round",
        ),
        (
            "allow if count({x: y | some x, y in input.context.args.map}) == 1\n",
            2,
            "comprehension of an object",
        ),
        (
            "allow if _o[\"a\"] == 1\n_o[k] := v if some k, v in input.context.args.map\n",
            3,
            "name has several parts",
        ),
    ] {
        let (policy, why) = why(rules);
        assert!(why.contains(what), "{rules}: {why}");
        assert!(!policy.is_empty(), "{rules}");
        let at: u32 = policy.strip_prefix("rego/u/u.rego:").unwrap().parse().unwrap();
        assert!(at.abs_diff(line) <= 1, "{rules}: {policy}");
    }
}

#[test]
fn forms_that_are_meant_otherwise_are_not_proved() {
    for (rules, what) in [
        ("allow if _r with input.context.args.a as 1\n_r if input.context.args.a == 1\n", "with"),
        ("allow if _r == 1\n_r := 1 if input.context.args.a\nelse := 2\n", "else"),
        (
            "allow if every x in input.context.args.list { data.list[x] }\n",
            "an index that `every` binds",
        ),
        ("allow if data.list[i] == 10\n", "an iteration by a name"),
        (
            "allow if {\n\tcount([x | some x in data.list]) == count([x | some x in data.t])\n}\n",
            "bound twice",
        ),
        ("allow if input.context.args.a = x\n", "`=`"),
        (
            "allow if {\n\t[x, y] := input.context.args.list\n\tx == y\n}\n",
            "assignment to a pattern",
        ),
        (
            "allow if {\n\tsome [x, y] in input.context.args.list\n\tx == y\n}\n",
            "a pattern in `some .. in`",
        ),
        ("allow if {\n\tsome i\n\tinput.context.args.list[i] == 1\n}\n", "`some` without `in`"),
        ("allow if 1, 2 in input.context.args.list\n", "key, value in"),
        ("allow if _f(1, 2)\n_f(x, _) if x == 1\n", "parameter that is not a name"),
        (
            "allow if _s[1]\n_s contains input.context.args.list[_] if true\n",
            "an iteration in what",
        ),
        ("allow if count([x | x := input.context.args.a; x > 1]) == 1\n", "does not iterate"),
        ("allow if _f(1)\ndefault _f(_) := false\n_f(x) if x == 1\n", "default of a function"),
        ("allow if crypto.sha256(\"a\") == \"b\"\n", "crypto.sha256"),
    ] {
        let (policy, why) = why(rules);
        assert!(
            why.contains(what) && policy.starts_with("rego/u/u.rego:"),
            "{rules}: {policy} {why}"
        );
    }
}

#[test]
fn a_walk_is_the_interpreters() {
    let rules = "allow if {\n\twalk(input.context.args, [p, v])\n\tv == p\n}\n";
    assert!(why(rules).1.contains("walk"), "{:?}", why(rules));
}

#[test]
fn a_function_with_many_parameters_is_not_proved() {
    let names: Vec<String> = (0..9).map(|n| format!("p{n}")).collect();
    let ones = ["1"; 9].join(", ");
    let rules = format!("allow if _f({ones})\n_f({}) if p8 == 1\n", names.join(", "));
    assert!(why(&rules).1.contains("more than eight parameters"));
}

#[test]
fn a_rule_whose_path_is_spelled_otherwise_is_not_proved() {
    let helper = "package lib[\"a-b\"]\nlevel := 1 if input.context.args.a\nelse := 2\n";
    let unit = "package lictor.u\nimport data.lib[\"a-b\"] as odd\nallow if odd.level == 1\n";
    let files = [("rego/lib/h.rego", helper), ("rego/u/u.rego", unit)];
    let (engine, problems) = RegoEngine::load(&Bundle::of(&files).source());
    let engine = engine.unwrap_or_else(|| panic!("{problems:?}"));
    let Err(slow) = &engine.fast else { panic!("proved") };
    assert!(slow.why.contains("which cannot be found again"), "{slow:?}");
}

#[test]
fn what_no_decision_reaches_does_not_matter() {
    let rules = "allow if input.context.args.a\n_unused := {k: v | some k, v in data.t}\n";
    let mut engine = Bundle::unit(rules).data(DATA).engine();
    agree(&mut engine, r#"{"a": true}"#, rules);
    assert_eq!(did(&engine, r#"{"a": true}"#), Did::Answered);
}

#[test]
fn a_program_that_is_too_large_is_warned_of() {
    let mut rules = String::from("allow if true\n");
    for number in 0..4_000 {
        let _ = writeln!(
            rules,
            "deny contains \"no\" if {{ input.context.args.a == {number}; input.context.args.b > {number}; input.agent.id == \"x{number}\" }}"
        );
    }
    let (engine, problems) = RegoEngine::load(&Bundle::unit(&rules).source());
    assert!(matches!(engine.unwrap().fast_path(), Some(FastPath::Not(slow)) if slow.too_large));
    let told: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(told, ["rego_slow"], "{problems:?}");
}

#[test]
fn time_is_looked_at_after_every_evaluation() {
    let rules = "allow if count([x | some x in numbers.range(1, 9000); x % 7 == 1]) > 1\n";
    let engine = Bundle::unit(rules).engine();
    let fast = engine.fast.as_ref().unwrap();
    let input = engine.keys.input(&call("{}"), &facts());
    let phase = lictor_proto::call::Phase::Request;
    assert_eq!(fast.ask(phase, input.clone(), Duration::ZERO), None);
    assert!(fast.ask(phase, input, super::patient().time).is_some());
    let budget = Budget { time: Duration::ZERO, ..Budget::default() };
    let mut engine = Bundle::unit(rules).engine();
    engine.evaluate_by(Way::Fastest);
    let late = evaluate(&engine, &call("{}"), &facts(), budget);
    assert!(late.errors.iter().all(|error| error.fatal && error.is_late()), "{late:?}");
    assert_eq!(late.errors.len(), 1);
}

#[test]
fn more_instructions_than_the_machine_may_do_are_the_interpreters() {
    let rules = "allow if count([x | some x in numbers.range(1, 90000); x + x * x == 5]) > 1\n";
    assert_eq!(policy(rules, "{}"), Did::Declined);
}

#[test]
fn nothing_of_a_call_stays_after_its_evaluation() {
    let engine = Bundle::unit("allow if startswith(input.context.args.a, \"s\")\n").engine();
    let fast = engine.fast.as_ref().unwrap();
    let text: std::sync::Arc<str> = "secret".into();
    let input = engine.keys.input(&call("{}"), &facts());
    let Value::Object(mut members) = input else { panic!() };
    std::sync::Arc::make_mut(&mut members)
        .insert(Value::from("extra"), Value::String(text.clone()));
    fast.ask(lictor_proto::call::Phase::Request, Value::Object(members), super::patient().time);
    assert_eq!(std::sync::Arc::strong_count(&text), 1);
}
