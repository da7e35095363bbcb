use super::super::tests::Bundle;

/// The lines of what is refused.
fn refused(rules: &str) -> Vec<u32> {
    let problems = Bundle::unit(rules).data(r#"{"patterns": {"a": "^x"}}"#).problems();
    let found = problems.iter().filter(|problem| problem.code == "rego_pattern");
    found.map(|problem| problem.line).collect()
}

#[test]
fn a_pattern_that_comes_from_the_call_is_refused() {
    for rules in [
        "allow if regex.match(input.context.args.p, \"a\")\n",
        "allow if glob.match(input.context.args.p, [\"/\"], \"a\")\n",
        "allow if regex.replace(\"a\", input.context.args.p, \"b\") == \"c\"\n",
        "allow if regex.match(concat(\"\", [\"^\", input.context.args.p]), \"a\")\n",
        "allow if regex.match(sprintf(\"%v\", [input.context.args.p]), \"a\")\n",
        "allow if count([x | some x in [\"a\"]; regex.match(input.context.args.p, x)]) == 1\n",
    ] {
        assert_eq!(refused(rules), [2], "{rules}");
    }
}

#[test]
fn it_is_followed_through_names_rules_and_functions() {
    for (rules, line) in [
        (
            "allow if {\n\tp := input.context.args.p\n\tq := upper(p)\n\tregex.match(q, \"a\")\n}\n",
            5,
        ),
        ("allow if {\n\tsome p in input.context.args.ps\n\tregex.match(p, \"a\")\n}\n", 4),
        ("allow if every p in input.context.args.ps {\n\tregex.match(p, \"a\")\n}\n", 3),
        ("_p := input.context.args.p\nallow if regex.match(_p, \"a\")\n", 3),
        (
            "_ps contains p if some p in input.context.args.ps\nallow if {\n\tsome p in _ps\n\tregex.match(p, \"a\")\n}\n",
            5,
        ),
        ("_m(p) if regex.match(p, \"a\")\nallow if _m(input.context.args.p)\n", 2),
        ("_id(p) := p\n_q := _id(input.context.args.p)\nallow if regex.match(_q, \"a\")\n", 4),
    ] {
        assert_eq!(refused(rules), [line], "{rules}");
    }
}

#[test]
fn a_pattern_of_the_bundle_is_not() {
    for rules in [
        "allow if regex.match(\"^a\", input.context.args.p)\n",
        "allow if regex.match(data.patterns.a, input.context.args.p)\n",
        "allow if regex.match(data.patterns[input.context.args.p], \"x\")\n",
        "allow if {\n\tsome p in data.patterns\n\tregex.match(p, input.context.args.p)\n}\n",
        "_m(p, x) if regex.match(p, x)\nallow if _m(\"^a\", input.context.args.p)\n",
        "_p := \"a\" if input.context.args.p == \"b\"\nallow if regex.match(_p, \"a\")\n",
    ] {
        assert_eq!(refused(rules), [] as [u32; 0], "{rules}");
    }
}

#[test]
fn a_rule_may_say_that_it_is_meant() {
    let rule = "allow if regex.match(input.context.args.p, \"a\")\n";
    let marked =
        format!("# METADATA\n# custom:\n#   lictor:\n#     patterns_from_calls: true\n{rule}");
    assert_eq!(refused(&marked), [] as [u32; 0]);
    assert_eq!(refused(&marked.replace("true", "false")), [6]);
    assert_eq!(refused(&format!("{marked}\nlist if regex.match(input.resource.id, \"a\")\n")), [8]);
}
