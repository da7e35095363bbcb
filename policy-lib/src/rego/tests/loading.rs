//! Checks that concern several files, and what is served.

use super::*;

#[test]
fn all_problems_of_all_files_are_reported_at_once() {
    let bundle = Bundle::of(&[
        ("rego/a/a.rego", "package lictor.a\nallow if nonsense(1)\ndenny contains \"x\" if true\n"),
        ("rego/b/b.rego", "package lictor.b\nallow if {\n"),
        ("rego/c/c.rego", "package lictor.d\nallow if true\n"),
        ("rego/d/one.rego", "package lictor.d\ndeny contains \"x\" if nobody == 1\n"),
        ("rego/d/two_test.rego", "package lictor.d\ntest_x if rand.intn(\"a\", 2)\n"),
    ])
    .data("[]");
    let problems = bundle.problems();
    let lines: Vec<String> =
        problems.iter().map(|p| format!("{}:{}:{} {}", p.file, p.line, p.col, p.code)).collect();
    assert_eq!(
        lines,
        [
            "data.json:0:0 rego_data",
            "rego/a/a.rego:2:10 rego_function",
            "rego/a/a.rego:3:1 rego_rule",
            "rego/b/b.rego:3:1 rego_parse",
            "rego/c/c.rego:1:1 rego_package",
            "rego/d/one.rego:2:22 rego_unsafe",
            "rego/d/two_test.rego:2:11 rego_builtin",
        ]
    );
    assert_eq!(
        problems[2].help,
        "did you mean `deny`? helpers start with `_` or live in a package of their own"
    );
}

#[test]
fn two_files_that_the_engine_refuses_are_both_reported() {
    let file = |unit: &str| format!("package lictor.{unit}\ndeny contains \"x\" if nobody == 1\n");
    let (a, b) = (file("a"), file("b"));
    assert_eq!(
        Bundle::of(&[("rego/a/a.rego", &a), ("rego/b/b.rego", &b)]).codes(),
        ["rego_unsafe:2", "rego_unsafe:2"]
    );
}

#[test]
fn columns_count_characters_not_tabs_or_bytes() {
    let bundle = Bundle::unit("allow if {\n\t\"é\" == \"é\"; \tnonsense(1)\n}\n");
    assert_eq!((bundle.problems()[0].line, bundle.problems()[0].col), (3, 15));
}

#[test]
fn size_is_bounded_at_its_edge() {
    let head = "package lictor.u\nallow if true\n";
    let line = format!("#{}\n", "x".repeat(99));
    let mut text =
        format!("{head}{}", line.repeat(super::super::source::MAX_FILE_BYTES / line.len() - 1));
    text.push_str(&"\n".repeat(super::super::source::MAX_FILE_BYTES - text.len()));
    assert_eq!(Bundle::of(&[("rego/u/u.rego", &text)]).codes(), Vec::<String>::new());
    text.push('\n');
    assert_eq!(Bundle::of(&[("rego/u/u.rego", &text)]).codes(), ["rego_size:0"]);
}

#[test]
fn tests_are_checked_but_not_served() {
    let unit = ("rego/u/u.rego", "package lictor.u\nallow if false\n");
    let sneaky = ("rego/u/u_test.rego", "package lictor.u\nallow if true\n");
    assert_eq!(Bundle::of(&[unit, sneaky]).codes(), ["rego_rule:2"]);
    let helper = ("rego/u/mock_test.rego", "package lictor.u\n_mock := 1\ntest_x if _mock == 1\n");
    assert_eq!(Bundle::of(&[unit, helper]).ask("{}").permits, []);
    let own = (
        "rego/u/u_test.rego",
        "package lictor.u_test\nimport data.lictor.u\ntest_x if not u.allow\n",
    );
    assert_eq!(Bundle::of(&[unit, own]).codes(), Vec::<String>::new());
    let depends = ("rego/u/u.rego", "package lictor.u\nallow if _mock == 1\n");
    assert!(!Bundle::of(&[depends, helper]).problems().is_empty());
}

#[test]
fn packages_may_not_stand_in_the_loaders_place() {
    for package in ["_lictor", "_lictor.x", "x._lictor_y", "a[\"_lictor\"]"] {
        let text = format!("package {package}\nx := 1\n");
        assert_eq!(
            Bundle::of(&[("rego/lib/x.rego", &text)]).codes(),
            ["rego_reserved:1"],
            "{package}"
        );
    }
    assert_eq!(
        Bundle::of(&[("rego/lib/x.rego", "package lictor\nallow if true\n")]).codes(),
        ["rego_package:1"]
    );
}

#[test]
fn a_rule_may_not_stand_where_a_package_does() {
    let bundle = Bundle::of(&[
        ("rego/a/a.rego", "package a\nb := {\"ok\": true}\n"),
        ("rego/a/b.rego", "package a.b\nok if false\n"),
    ]);
    assert_eq!(bundle.codes(), ["rego_conflict:2"]);
}

#[test]
fn only_new_rego_is_read() {
    for old in ["allow { true }\n", "deny[msg] { msg := \"x\" }\n", "deny[\"x\"] if true\n"] {
        assert!(!Bundle::unit(old).problems().is_empty(), "{old}");
    }
    for now in ["import rego.v1\nallow if true\n", "import future.keywords.if\nallow if true\n"] {
        let problems = Bundle::unit(now).problems();
        assert!(problems.is_empty(), "{now}: {problems:?}");
    }
}

#[test]
fn errors_name_the_users_own_lines() {
    let rules = "
# comment
deny contains {
    \"id\": \"a\",
    \"message\": sprintf(\"%d\", [to_number(
        input.context.args.text)]),
} if {
    input.context.args.head
}

deny contains \"x\" if {
    input.context.args.body
    to_number(input.context.args.text) > 1
}

_helper := to_number(input.context.args.text)

deny contains \"y\" if { input.context.args.helper; _helper > 1 }
";
    let bundle = Bundle::unit(rules);
    for (args, line) in [("head", 6), ("body", 14), ("helper", 17)] {
        let outcome = bundle.ask(&format!(r#"{{"text": "abc", "{args}": true}}"#));
        assert_eq!(outcome.errors[0].policy, format!("rego/u/u.rego:{line}"), "{args} {outcome:?}");
    }
}

#[test]
fn prints_are_not_served() {
    let bundle = Bundle::unit(
        "allow if {\n  print(\"x (\", [input],\n   {\"a\": `)`})\n  print(1); input.context.args.ok\n}\n",
    );
    let outcome = bundle.ask(r#"{"ok": true}"#);
    assert_eq!((outcome.permits.len(), outcome.errors), (1, vec![]));
    let engine = bundle.engine();
    assert!(!engine.generated.served[0].text.contains("print"));
}

#[test]
fn an_empty_bundle_has_no_policies_and_says_nothing() {
    let empty = Bundle::of(&[]);
    assert!(!empty.engine().has_policies());
    assert_eq!(empty.ask("{}"), Outcome::default());
    let helpers = Bundle::of(&[("rego/lib/a.rego", "package a\nx := 1\n")]);
    assert!(!helpers.engine().has_policies());
    assert!(Bundle::unit("deny contains \"x\"\n").engine().has_policies());
}

#[test]
fn units_may_read_each_other_and_helpers_by_rule() {
    let outcome = Bundle::of(&[
        ("rego/a/a.rego", "package lictor.a\nimport data.lib.limits\nallow if limits.small(input.context.args.n)\ndeny contains \"no\" if data.lictor.b.allow\n"),
        ("rego/b/b.rego", "package lictor.b\nallow if input.context.args.n == data.numbers.seven\n"),
        ("rego/lib/limits.rego", "package lib.limits\nsmall(n) if n < data.numbers.ten\n"),
    ])
    .data(r#"{"numbers": {"seven": 7, "ten": 10}}"#)
    .ask(r#"{"n": 7}"#);
    assert_eq!(outcome.errors, []);
    assert_eq!((outcome.permits.len(), outcome.denies.len()), (2, 1));
}
