//! Decisions by a bundle.

use crate::run::{Bench, Ended};

fn call(tool: &str, args: &str) -> String {
    format!(
        r#"{{"subject":{{"type":"user","id":"alice@example.com"}},"agent":{{"type":"agent","id":"helpdesk-v1"}},
            "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"tickets/{tool}"}},"context":{{"args":{args}}}}}"#
    )
}

fn decide(bench: &Bench, input: &str, more: &[&str]) -> Ended {
    let mut args = vec!["decide", "-b", "b", "-i", "-"];
    args.extend(more);
    bench.run_with(&args, input)
}

#[test]
fn allow_deny_and_ask_have_their_own_exit_codes() {
    let bench = Bench::with_bundle();
    let allowed = decide(&bench, &call("search", r#"{"query":"x"}"#), &[]).code(0).json();
    assert_eq!((&allowed["effect"], &allowed["dry_run"]), (&"allow".into(), &true.into()));
    let denied = decide(&bench, &call("delete", r#"{"ticket":1}"#), &[]).code(3);
    assert_eq!(denied.json()["reasons"][0]["id"], "tickets.delete");
    assert!(denied.err.contains("deny: tickets.delete"), "{denied:?}");
    let asked =
        decide(&bench, &call("close", r#"{"ticket":1,"priority":"high"}"#), &["--format", "json"])
            .code(4);
    assert_eq!(asked.out.lines().count(), 1);
    assert_eq!(asked.json()["effect"], "ask");
}

#[test]
fn a_decision_has_every_declared_member() {
    let bench = Bench::with_bundle();
    let decision = decide(&bench, &call("search", r#"{"query":"x"}"#), &[]).code(0).json();
    let mut members: Vec<&str> = decision.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "approval",
            "bundle",
            "call_id",
            "decision_id",
            "dry_run",
            "effect",
            "executed",
            "findings",
            "labels",
            "limits",
            "obligations",
            "reasons",
            "request_digest"
        ]
    );
    assert_eq!(decision["bundle"]["name"], "b");
}

#[test]
fn an_explanation_is_of_the_same_evaluation() {
    let bench = Bench::with_bundle();
    let decision =
        decide(&bench, &call("close", r#"{"ticket":1,"priority":"low"}"#), &["--explain"])
            .code(0)
            .json();
    let explain = &decision["explain"];
    assert_eq!(explain["engines"], serde_json::json!(["rego", "cedar"]));
    assert_eq!(explain["permits"].as_array().unwrap().len(), 2);
    assert_eq!(explain["limits"][0]["id"], "closed_tickets");
    let denied = decide(&bench, &call("delete", r#"{"ticket":1}"#), &["--explain"]).code(3).json();
    assert_eq!(denied["explain"]["denials"][0]["id"], "tickets.delete");
}

#[test]
fn facts_may_be_stated_beside_or_in_the_call() {
    let bench = Bench::with_bundle();
    let asked = call("close", r#"{"ticket":1,"priority":"high"}"#);
    let facts = r#"{"session":{"approvals":["tickets.high_priority"]}}"#;
    bench.write("facts.json", facts);
    decide(&bench, &asked, &["--facts", "facts.json"]).code(0);
    let inside = format!("{},\"facts\":{facts}}}", asked.trim_end().strip_suffix('}').unwrap());
    decide(&bench, &inside, &[]).code(0);
    decide(&bench, &inside, &["--facts", "facts.json"]).code(2);
    bench.write("facts.json", r#"{"sesion":{}}"#);
    decide(&bench, &asked, &["--facts", "facts.json"]).code(1);
}

#[test]
fn what_is_no_call_is_no_decision() {
    let bench = Bench::with_bundle();
    for wrong in [
        "",
        "[]",
        "{\"a\":1}",
        "{\"call_id\":\"a\",\"call_id\":\"b\"}",
        "{\"context\":{\"args\":{\"n\":1e999}}}",
    ] {
        let ended = decide(&bench, wrong, &[]).code(1);
        assert!(ended.out.is_empty() && ended.err.starts_with("error: "), "{wrong}: {ended:?}");
    }
    bench.run(&["decide", "-b", "b", "-i", "nowhere.json"]).code(1);
    bench.run(&["decide", "-i", "-"]).code(2);
    bench.run(&["decide", "-b", "b", "--pdp", "http://127.0.0.1:1", "-i", "-"]).code(2);
    bench.edit("b/cedar/tickets.cedar", "tickets/search", "tickets/serach");
    decide(&bench, &call("search", r#"{"query":"x"}"#), &[]).code(5);
}

#[test]
fn unknown_agents_tools_and_arguments_are_denied() {
    let bench = Bench::with_bundle();
    let search = call("search", r#"{"query":"x"}"#);
    let reason =
        |input: &str| decide(&bench, input, &[]).code(3).json()["reasons"][0]["id"].clone();
    assert_eq!(reason(&search.replace("helpdesk-v1", "other")), "agent_unknown");
    assert_eq!(reason(&search.replace("tickets/search", "tickets/x")), "resource_unknown");
    assert_eq!(reason(&search.replace("tools/call", "tools/x")), "method_unknown");
    assert_eq!(reason(&call("search", r#"{"query":1}"#)), "args_invalid");
}
