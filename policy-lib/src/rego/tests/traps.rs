//! Ways to fail open that were seen in the engine or in other people's policies.

use super::*;

const ALLOW: &str = "allow if input.context.args.ok\n";

#[test]
fn data_that_stands_over_a_rule_is_refused() {
    let bundle = Bundle::unit(ALLOW);
    let over = Bundle { data: r#"{"lictor": {"u": {"allow": true}}}"#.to_owned(), ..bundle };
    assert!(over.codes().contains(&"rego_data:0".to_owned()));

    let helper = [
        ("rego/lib/h.rego", "package lib.h\nok if false\n"),
        ("rego/u/u.rego", "package lictor.u\nallow if data.lib.h.ok\n"),
    ];
    assert_eq!(
        Bundle::of(&helper).data(r#"{"lib": {"h": {"ok": true}}}"#).codes(),
        ["rego_data:0"]
    );
    assert_eq!(Bundle::of(&helper).data(r#"{"lib": true}"#).codes(), ["rego_data:0"]);
    assert_eq!(Bundle::of(&helper).data(r#"{"lib": {"other": 1}}"#).codes(), Vec::<String>::new());
    assert_eq!(Bundle::of(&helper).data(r#"{"_lictor_x": 1}"#).codes(), ["rego_data:0"]);
}

#[test]
fn an_undefined_rule_does_not_take_the_others_with_it() {
    let outcome = Bundle::unit("allow if false\ndeny contains \"no\" if input.context.args.ok\n")
        .ask(r#"{"ok": true}"#);
    assert_eq!(outcome.errors, []);
    assert_eq!(outcome.permits, []);
    assert_eq!(outcome.denies.len(), 1);
    assert_eq!(outcome.denies[0].reason.id, "u.3");
}

#[test]
fn a_denial_with_an_undefined_head_is_an_error_not_silence() {
    let rule = r#"
allow if true
deny contains {"id": "x", "message": sprintf("%v", [input.context.args.missing])} if {
    input.context.args.bad
}
"#;
    let outcome = Bundle::unit(rule).ask(r#"{"bad": true}"#);
    assert_fatal(&outcome, "rego/u/u.rego:4: the body of `deny` holds, but its head is undefined");
    assert_eq!(Bundle::unit(rule).ask(r#"{"bad": false}"#).errors, []);
    let plain =
        Bundle::unit("deny contains sprintf(\"%v\", [input.context.args.missing]) if true\n");
    assert_fatal(&plain.ask("{}"), "head is undefined");
}

#[test]
fn a_lost_head_of_any_rule_is_an_error() {
    for rule in [
        "ask contains {\"id\": \"a\", \"message\": input.nothing} if true",
        "obligations contains {\"id\": \"a\", \"type\": \"mask\", \"properties\": input.nothing} if true",
        "limits contains {\"id\": \"a\", \"key\": input.nothing} if true",
        "labels contains input.nothing if true",
        "allow contains input.nothing if true",
        "deny contains input.nothing",
    ] {
        assert_fatal(&Bundle::unit(rule).ask("{}"), "head is undefined");
    }
}

#[test]
fn builtin_errors_in_a_denial_are_errors() {
    for body in [
        "1 / input.context.args.zero > 0",
        "to_number(input.context.args.text) > 0",
        "count(input.context.args.zero) == 0",
        "not to_number(input.context.args.text)",
        "x := [y | y := to_number(input.context.args.text)]\n count(x) == 0",
        "every x in [input.context.args.text] { to_number(x) > 1 }",
        "helper(input.context.args.text)",
    ] {
        let text =
            format!("allow if true\ndeny contains \"no\" if {{ {body} }}\n_h(x) := to_number(x)\n")
                .replace("helper(", "_h(");
        let outcome = Bundle::unit(&text).ask(r#"{"zero": 0, "text": "abc"}"#);
        assert_eq!(outcome.errors.len(), 1, "{body}: {outcome:?}");
        assert!(outcome.permits.is_empty() && outcome.denies.is_empty());
    }
}

#[test]
fn conflicting_complete_rules_are_an_error() {
    let rules = "
_level := 1 if input.context.args.a
_level := 2 if input.context.args.b
deny contains \"no\" if _level == 3
allow if true
";
    let bundle = Bundle::unit(rules);
    assert_fatal(&bundle.ask(r#"{"a": true, "b": true}"#), "rego/u/u.rego:4: rule conflicts");
    assert_eq!(bundle.ask(r#"{"a": true}"#).permits.len(), 1);
    let functions = "_f(x) := 1 if x > 0\n_f(x) := 2 if x > 1\ndeny contains \"no\" if _f(input.context.args.n) == 9\n";
    assert_fatal(&Bundle::unit(functions).ask(r#"{"n": 5}"#), "multiple outputs");
}

#[test]
fn endless_builtins_are_stopped_before_they_begin() {
    for body in [
        "numbers.range(1, input.context.args.n)",
        "numbers.range(1, input.context.args.n, _)",
        "numbers.range_step(1, input.context.args.n, 2)",
        "net.cidr_expand(\"10.0.0.0/8\")",
        "net.cidr_expand(\"::/0\")",
        "sprintf(\"%300000000d\", [1])",
        "sprintf(\"%.300000000f\", [1.5])",
        "bits.lsh(1, 2000000)",
        "product([x | some x in numbers.range(1, 90000)])",
        "strings.replace_n({\"a\": \"bbbbbbbbbbbbbbbbbbbb\", \"b\": \"cccccccccccccccccccc\", \"c\": \"dddddddddddddddddddd\", \"d\": \"eeeeeeeeeeeeeeeeeeeeeeeeeeee\"}, input.context.args.text)",
        "concat(input.context.args.text, [x | some y in numbers.range(1, 100000); x := sprintf(\"%d\", [y])])",
        "replace(input.context.args.text, \"a\", concat(\"\", [input.context.args.text, input.context.args.text, input.context.args.text]))",
        "to_number(\"1e999999999\")",
        "units.parse(\"1e999999999\")",
        "yaml.unmarshal(\"a: &a [1]\\nb: *a\")",
        "json.marshal(_l5)",
        "strings.count(input.context.args.text, \"\") > 0",
    ] {
        let doubling = "_l0 := [x | some x in numbers.range(1, 9000)]\n_l1 := [_l0, _l0, _l0, _l0, _l0]\n_l2 := [_l1, _l1, _l1, _l1, _l1]\n_l3 := [_l2, _l2, _l2, _l2, _l2]\n_l4 := [_l3, _l3]\n_l5 := [_l4, _l4]\n";
        let bundle = Bundle::unit(&format!(
            "{doubling}allow if true\ndeny contains \"no\" if {{ input.context.args.n; {body} }}\n"
        ));
        let args = format!(r#"{{"n": 1000000000, "text": "{}"}}"#, "a".repeat(3000));
        let outcome = evaluate(&bundle.engine(), &call(&args), &facts(), patient());
        let errors = fatal(&outcome);
        assert_eq!(errors.len(), 1, "{body}: {outcome:?}");
        let refused = ["larger than", "too large", "wider", "too long", "aliases", "empty"];
        assert!(refused.iter().any(|word| errors[0].contains(word)), "{body}: {errors:?}");
        assert!(outcome.permits.is_empty());
    }
}

#[test]
fn builtins_within_their_bounds_still_work() {
    let rules = r#"
allow if {
    count(numbers.range(1, 10)) == 10
    numbers.range_step(0, 10, 5) == [0, 5, 10]
    count(net.cidr_expand("10.0.0.0/28")) == 16
    sprintf("%05d|%.2f|%s|%%|%v", [7, 1.5, "x", {"a": [1]}]) == "00007|1.50|x|%|{\"a\": [1]}"
    bits.lsh(1, 10) == 1024
    product([2, 3]) == 6
    strings.replace_n({"a": "b"}, "aa") == "bb"
    concat(",", ["a", "b"]) == "a,b"
    replace("aXa", "X", "-") == "a-a"
    to_number("1e3") == 1000
    yaml.unmarshal("a: 2 * 3") == {"a": "2 * 3"}
    json.unmarshal(json.marshal({"a": [1, 2]})) == {"a": [1, 2]}
    walk({"a": {"b": 7}}, [path, 7])
    path == ["a", "b"]
    graph.reachable_paths({"a": ["b"], "b": []}, ["a"]) == {["a", "b"]}
    regex.replace("abc", "b", "x$0") == "axbc"
    split("a,b", ",") == ["a", "b"]
    time.weekday(0) == "Thursday"
    strings.count("aba", "a") == 2
    json.patch({"a": 1}, [{"op": "add", "path": "/b", "value": 2}]) == {"a": 1, "b": 2}
    numbers.range(1, 2, x)
    x == [1, 2]
}
"#;
    let outcome = Bundle::unit(rules).ask("{}");
    assert_eq!(outcome.errors, []);
    assert_eq!(outcome.permits.len(), 1);
}

#[test]
fn a_value_that_the_engine_cannot_print_ends_only_its_own_evaluation() {
    // The message of the error wants to show the number.
    let squares: String =
        (1..14).map(|i| format!("_n{i} := _n{} * _n{}\n", i - 1, i - 1)).collect();
    let rules = format!(
        "_n0 := input.context.args.n\n{squares}allow if true\ndeny contains \"no\" if time.clock([_n13, 1])\n"
    );
    let engine = Bundle::unit(&rules).engine();
    let outcome = evaluate(&engine, &call(r#"{"n": 4294967296}"#), &facts(), patient());
    assert_eq!(fatal(&outcome).len(), 1);
    assert!(outcome.permits.is_empty());
    let again = evaluate(&engine, &call(r#"{"n": 1}"#), &facts(), patient());
    assert_eq!(fatal(&again).len(), 1);
}

#[test]
fn integers_beyond_64_bits_do_not_come_out_rounded() {
    let key = Bundle::unit(
        "limits contains {\"id\": \"a\", \"key\": input.context.args.n * 10} if true\n",
    );
    assert_fatal(&key.ask(r#"{"n": 18446744073709551615}"#), "does not fit 64 bits");
    let max = Bundle::unit(
        "limits contains {\"id\": \"a\", \"key\": \"k\", \"max\": input.context.args.n} if true\n",
    );
    assert_eq!(max.ask(r#"{"n": 18446744073709551615}"#).limits[0].max, Some(u64::MAX));
    for wrong in ["-1", "1.5", "\"7\"", "null"] {
        assert_fatal(&max.ask(&format!("{{\"n\": {wrong}}}")), "`max` is");
    }
}

#[test]
fn undefined_is_never_the_string_undefined() {
    let outcome = Bundle::unit("allow if input.nothing\n_x := input.nothing\ndeny contains \"no\" if _x == \"<undefined>\"\n").ask("{}");
    assert_eq!((outcome.errors, outcome.permits, outcome.denies), (vec![], vec![], vec![]));
}

#[test]
fn cross_products_run_into_the_time_limit() {
    let rules = "
_n := numbers.range(1, 2000)
allow if true
deny contains \"no\" if { some a in _n; some b in _n; some c in _n; a + b + c == input.context.args.n }
";
    let budget = Budget { time: Duration::from_millis(20), ..Budget::default() };
    let outcome = evaluate(&Bundle::unit(rules).engine(), &call(r#"{"n": 0}"#), &facts(), budget);
    assert_eq!(fatal(&outcome).len(), 1);
    assert!(outcome.permits.is_empty());
}

#[test]
fn what_policies_say_is_bounded() {
    let rules = "allow if true\ndeny contains x if { some i in numbers.range(1, 200); x := sprintf(\"%0900d\", [i]) }\n";
    let budget = Budget { output_bytes: 100 * 900, ..patient() };
    assert_fatal(
        &evaluate(&Bundle::unit(rules).engine(), &call("{}"), &facts(), budget),
        "more than may be passed on",
    );
    let enough = Budget { output_bytes: 200 * 900, ..patient() };
    assert_eq!(
        evaluate(&Bundle::unit(rules).engine(), &call("{}"), &facts(), enough).denies.len(),
        200
    );
}

#[test]
fn a_condition_in_one_unit_does_not_break_the_others() {
    let outcome = Bundle::of(&[
        ("rego/a/a.rego", "package lictor.a\nallow if true\n"),
        ("rego/b/b.rego", "package lictor.b\nallow contains \"b.ok\" if true\n"),
        ("rego/c/c.rego", "package lictor.c\ndeny contains \"no\" if input.context.args.bad\n"),
    ])
    .ask(r#"{"bad": true}"#);
    assert_eq!(outcome.errors, []);
    let permits: Vec<(&str, &str)> =
        outcome.permits.iter().map(|p| (p.policy.as_str(), p.id.as_str())).collect();
    assert_eq!(permits, [("rego/a/a.rego:2", ""), ("rego/b/b.rego:2", "b.ok")]);
    assert_eq!(outcome.denies.len(), 1);
}

#[test]
fn a_denial_that_walks_is_not_lost() {
    let rules = "deny contains \"no\" if { walk(input.context.args, [_, \"bad\"]) }\n";
    assert_eq!(Bundle::unit(rules).ask(r#"{"a": {"b": "bad"}}"#).denies.len(), 1);
    let lost = Bundle::unit(
        "deny contains \"no\" if { some [_, v] in walk(input.context.args); v == \"bad\" }\n",
    );
    assert_eq!(lost.codes(), ["rego_walk:2"]);
}

#[test]
fn nothing_differs_from_one_evaluation_to_the_next() {
    for call in [
        "time.now_ns()",
        "rand.intn(\"a\", 5)",
        "uuid.rfc4122(\"\")",
        "opa.runtime()",
        "http.send({})",
        "trace(\"x\")",
    ] {
        let bundle = Bundle::unit(&format!("allow if {call}\n"));
        assert_eq!(bundle.codes(), ["rego_builtin:2"], "{call}");
    }
    let local =
        Bundle::unit("deny contains \"no\" if time.clock([input.facts.time.now_ms, \"Local\"])\n");
    assert_fatal(&local.ask("{}"), "Local");
}

#[test]
fn permits_outside_the_scope_are_ignored_and_denials_hold() {
    let bundle = |agents: &str| {
        let scope = Scope { agents: Some(vec![agents.to_owned()]), ..Scope::default() };
        Bundle::unit("allow if true\ndeny contains \"no\" if input.context.args.bad\n")
            .scope("u", scope)
    };
    assert_eq!(bundle("a1").ask("{}").permits.len(), 1);
    let outside = bundle("a2").ask(r#"{"bad": true}"#);
    assert_eq!((outside.permits.len(), outside.denies.len()), (0, 1));
}

#[test]
fn evaluations_do_not_see_each_other() {
    let engine = Bundle::unit(
        "allow if input.context.args.ok\ndeny contains \"no\" if input.context.args.bad\n",
    )
    .engine();
    let ask = |args: &str| evaluate(&engine, &call(args), &facts(), patient());
    assert_eq!(ask(r#"{"bad": true}"#).denies.len(), 1);
    assert_eq!(ask("{}"), Outcome::default());
    std::thread::scope(|scope| {
        for i in 0..4 {
            let ask = &ask;
            scope.spawn(move || {
                for _ in 0..20 {
                    let outcome = ask(&format!("{{\"ok\": {}}}", i % 2 == 0));
                    assert_eq!(outcome.permits.len(), usize::from(i % 2 == 0));
                }
            });
        }
    });
}
