use super::super::source::parse_all;
use super::*;

fn speaks(rules: &str) -> bool {
    let text = format!("package lictor.u\n\n{rules}\n");
    let helpers = "package helpers\n\nasked if input.phase == \"request\"\n\nlate if input.facts.time.now_ms > 3\n\nnight := 3\n";
    let test = "package lictor.u_test\n\ndeny contains \"x\" if input.phase == \"response\"\n";
    let files = [
        ("rego/u/u.rego", text.as_str()),
        ("rego/helpers/h.rego", helpers),
        ("rego/u/u_test.rego", test),
    ];
    let mut problems = Vec::new();
    let policies = parse_all(&files, &mut problems);
    assert_eq!(problems, [], "{rules}");
    speaks_of_answers(&policies)
}

#[test]
fn a_denial_speaks_where_it_reads_what_is_changed() {
    for (rule, expected) in [
        ("deny contains \"x\" if input.context.args.rows > 3", false),
        ("deny contains \"x\" if input.facts.agent.attrs.team == \"a\"", false),
        ("deny contains \"x\" if data.off", false),
        ("deny contains \"x\" if input[\"tenant\"] == \"t\"", false),
        ("deny contains \"x\" if data.helpers.night > input.usage.input_tokens", false),
        ("allow if input.phase == \"response\"", false),
        ("ask contains {\"id\": \"a\", \"message\": input.phase}", false),
        ("limits contains {\"id\": \"a\", \"key\": input.phase}", false),
        ("deny contains input.phase", true),
        ("deny contains \"x\" if input.phase == \"response\"", true),
        ("deny contains \"x\" if input[\"phase\"] == \"response\"", true),
        ("deny contains \"x\" if input.executed", true),
        ("deny contains \"x\" if count(input.content) > 3", true),
        ("deny contains \"x\" if some finding in input.facts.findings", true),
        ("deny contains \"x\" if input.facts.session.calls.a > 3", true),
        ("deny contains \"x\" if input.facts.signals.loop > 3", true),
        ("deny contains \"x\" if input.facts.time.now_ms > 3", true),
        ("deny contains \"x\" if input.facts.provenance[\"/a\"]", true),
        ("deny contains \"x\" if object.get(input, \"phase\", \"\") == \"response\"", true),
        ("deny contains \"x\" if { some k; input[k] == \"response\" }", true),
        ("deny contains \"x\" if { some k; input.facts[k] }", true),
        ("deny contains \"x\" if { x := input; x.tenant }", true),
        ("deny contains \"x\" if data.helpers.late", true),
        ("deny contains \"x\" if data.helpers[_]", true),
        ("labels contains input.phase", true),
        ("labels contains \"x\" if input.tenant", false),
        ("deny contains {\"id\": \"a\", \"shadow\": true, \"until\": \"2030-01-01\"}", true),
    ] {
        assert_eq!(speaks(rule), expected, "{rule}");
    }
}

#[test]
fn what_is_read_through_others_counts() {
    for (rules, expected) in [
        ("deny contains \"x\" if _a\n_a if _b\n_b if input.tenant", false),
        ("deny contains \"x\" if _a\n_a if _b\n_b if input.executed", true),
        ("deny contains \"x\" if _a(input.tenant)\n_a(x) if x == input.phase", true),
        ("deny contains \"x\" if _a(input.tenant)\n_a(x) if x == \"a\"", false),
        ("deny contains \"x\" if _a[_]\n_a contains x if some x in input.content", true),
        ("default _a := false\n_a if input.executed\ndeny contains \"x\" if not _a", true),
        ("deny contains \"x\" if [1 | input.content[_].text == \"a\"] != []", true),
        ("deny contains \"x\" if every p in input.content { p.text == \"a\" }", true),
    ] {
        assert_eq!(speaks(rules), expected, "{rules}");
    }
    for (import, rule, expected) in [
        ("import input.facts as f", "deny contains \"x\" if f.time.now_ms > 3", true),
        ("import input.facts.findings", "deny contains \"x\" if findings[_]", true),
        ("import input.facts.agent", "deny contains \"x\" if agent.attrs.team", false),
        ("import data.helpers", "deny contains \"x\" if helpers.late", true),
        ("import data.helpers", "deny contains \"x\" if helpers.night > 3", false),
    ] {
        assert_eq!(speaks(&format!("{import}\n\n{rule}")), expected, "{import} {rule}");
    }
}

#[test]
fn a_condition_on_the_phase_that_comes_first_silences_a_rule() {
    let late = "input.facts.time.now_ms > 3";
    for (body, expected) in [
        ("input.phase == \"request\"; LATE", false),
        ("\"list\" == input.phase; LATE", false),
        ("input.phase != \"response\"; LATE", false),
        ("not input.phase == \"response\"; LATE", false),
        ("input.phase in {\"request\", \"list\"}; LATE", false),
        ("_asked; LATE", false),
        ("data.lictor.u._asked; LATE", false),
        ("data.helpers.asked; LATE", false),
        ("_found(\"a\")", false),
        ("_found(input.tenant)", false),
        ("input.phase == \"request\"", false),
        ("LATE; input.phase == \"request\"", true),
        ("input.phase == \"response\"; LATE", true),
        ("input.phase != \"list\"; LATE", true),
        ("input.phase in {\"request\", \"response\"}; LATE", true),
        ("input.phase in data.phases; LATE", true),
        ("not _asked; LATE", true),
        ("_either; LATE", true),
        ("_preset; LATE", true),
        ("_some; LATE", true),
        ("_part; LATE", true),
        ("_found(input.phase)", true),
        ("_asked with input.phase as \"request\"; LATE", true),
        ("some _asked in [true]; _asked; LATE", true),
        ("data.helpers; LATE", true),
    ] {
        let body = body.replace("LATE", late);
        let rules = format!(
            "_asked if {{ input.phase == \"request\"; input.tenant }}\n\
             _either if _asked\n_either if input.executed\n\
             default _preset := false\n_preset if _asked\n\
             _some contains 1 if _asked\n\
             _part.a if _asked\n\
             _found(x) if {{ _asked; {late}; x == \"a\" }}\n\
             deny contains \"x\" if {{ {body} }}"
        );
        assert_eq!(speaks(&rules), expected, "{body}");
    }
    let one_of_two = format!(
        "deny contains \"x\" if {{ input.phase == \"request\"; {late} }}\ndeny contains \"y\" if {late}"
    );
    assert!(speaks(&one_of_two));
}

#[test]
fn what_obliges_an_answer_is_said_again() {
    let rule = |kind: &str, body: &str| {
        format!(
            "obligations contains {{\"id\": \"a\", \"type\": {kind}, \"properties\": {{}}}} if {body}"
        )
    };
    for kind in ["mask", "label", "notify", "log_full"] {
        assert!(speaks(&rule(&format!("{kind:?}"), "input.tenant")), "{kind}");
        assert!(!speaks(&rule(&format!("{kind:?}"), "input.phase == \"request\"")), "{kind}");
    }
    for kind in ["route", "cap_tokens", "set_header", "strip_tools"] {
        assert!(!speaks(&rule(&format!("{kind:?}"), "input.tenant")), "{kind}");
        // It may fail where it did not fail before.
        assert!(speaks(&rule(&format!("{kind:?}"), "input.content[0].text")), "{kind}");
    }
    assert!(speaks(&rule("data.kind", "input.tenant")));
    assert!(speaks(&rule("\"unknown\"", "input.tenant")));
    assert!(speaks("obligations contains x if some x in data.obligations"));
}
