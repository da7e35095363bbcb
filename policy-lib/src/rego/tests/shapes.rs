//! What elements become, and what each phase asks.

use lictor_proto::decision::ObligationKind;

use super::*;

const UNIT: &str = r#"
allow if input.context.args.allow
ask contains {"id": "u.manager", "message": "m", "detail": "d", "approvers": {"team", "bob"}, "count": 2, "expires": "1h"} if input.context.args.all
obligations contains {"id": "u.mask", "type": "mask", "properties": {"n": 18446744073709551615, "a": {1, 2}}} if input.context.args.all
limits contains {"id": "u.rate", "key": {"b": [1], "a": input.subject.id}, "kind": "rate", "max": 5, "per": "60s", "unit": "calls"} if input.context.args.all
limits contains {"id": "u.given", "key": "k"} if input.context.args.all
labels contains "seen.mail" if input.context.args.all
deny contains {"id": "u.no", "message": "m", "detail": "d"} if input.context.args.all
"#;

#[test]
fn every_member_arrives() {
    let outcome = Bundle::unit(UNIT).ask(r#"{"all": true, "allow": true}"#);
    assert_eq!(outcome.errors, []);
    let ask = &outcome.asks[0];
    assert_eq!(
        (ask.reason.id.as_str(), ask.reason.message.as_str(), ask.reason.detail.as_str()),
        ("u.manager", "m", "d")
    );
    assert_eq!(
        (ask.approvers.as_slice(), ask.count, ask.expires_s),
        (["bob".to_owned(), "team".to_owned()].as_slice(), 2, 3600)
    );
    let duty = &outcome.obligations[0];
    assert_eq!((duty.obligation.kind, duty.only_on_allow), (ObligationKind::Mask, false));
    assert_eq!(duty.obligation.properties.text(), r#"{"a":[1,2],"n":18446744073709551615}"#);
    assert_eq!(duty.policy, "rego/u/u.rego:5");
    let [given, rate] = outcome.limits.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((given.key.as_str(), given.max, given.kind.as_deref()), ("\"k\"", None, None));
    assert_eq!(rate.key, r#"{"a":"alice@example.com","b":[1]}"#);
    assert_eq!(
        (rate.kind.as_deref(), rate.max, rate.per.as_deref(), rate.unit.as_deref()),
        (Some("rate"), Some(5), Some("60s"), Some("calls"))
    );
    assert_eq!(outcome.labels, ["seen.mail"]);
    let reason = &outcome.denies[0].reason;
    assert_eq!(
        (reason.id.as_str(), reason.detail.as_str(), reason.policy.as_str()),
        ("u.no", "d", "rego/u/u.rego:9")
    );
}

#[test]
fn each_phase_asks_its_own_rules() {
    let bundle = Bundle::unit(&format!("{UNIT}\nlist if input.context.args.list\n"));
    let ask = |phase, args: &str| bundle.ask_call(&in_phase(phase, args));
    let listed = ask(Phase::List, r#"{"list": true, "all": true}"#);
    assert_eq!(listed, Outcome { listed: true, ..Outcome::default() });
    assert_eq!(ask(Phase::List, r#"{"allow": true}"#), Outcome::default());
    let request = ask(Phase::Request, r#"{"list": true}"#);
    assert_eq!(request, Outcome::default());
    let response = ask(Phase::Response, r#"{"all": true, "allow": true}"#);
    assert_eq!((response.permits.len(), response.asks.len(), response.limits.len()), (0, 0, 0));
    assert_eq!(
        (response.denies.len(), response.obligations.len(), response.labels.len()),
        (1, 1, 1)
    );
}

#[test]
fn a_unit_without_a_list_rule_lists_what_it_allows() {
    let bundle = Bundle::of(&[
        ("rego/a/a.rego", "package lictor.a\nallow contains \"a.ok\" if input.context.args.a\n"),
        (
            "rego/b/b.rego",
            "package lictor.b\nallow if input.context.args.b\nlist if input.context.args.l\n",
        ),
    ]);
    let listed = |args: &str| bundle.ask_call(&in_phase(Phase::List, args)).listed;
    assert!(listed(r#"{"a": true}"#) && listed(r#"{"l": true}"#));
    assert!(!listed(r#"{"b": true}"#));
    let scope = Scope { agents: Some(vec!["other".to_owned()]), ..Scope::default() };
    let outside = Bundle::unit("list if true\n").scope("u", scope);
    assert!(!outside.ask_call(&in_phase(Phase::List, "{}")).listed);
}

#[test]
fn a_shadow_is_enforced_from_its_day_on() {
    let rule = r#"deny contains {"id": "u.x", "shadow": true, "until": "2026-01-02"} if true"#;
    let engine = Bundle::unit(rule).engine();
    let midnight = 1_767_312_000_000;
    for (now_ms, denies) in [(midnight - 1, 0), (midnight, 1)] {
        let mut facts = facts();
        facts.time.now_ms = now_ms;
        let outcome = evaluate(&engine, &call("{}"), &facts, patient());
        assert_eq!((outcome.denies.len(), outcome.shadows.len()), (denies, 1 - denies));
    }
}

#[test]
fn ids_of_plain_denials_come_from_the_file() {
    let text = "package lictor.u\ndeny contains \"no\"\n";
    let outcome = Bundle::of(&[("rego/u/Big-File.v2.rego", text)]).ask("{}");
    assert_eq!(outcome.denies[0].reason.id, "_ig__ile.v2.2");
}

#[test]
fn the_same_call_gives_the_same_outcome_in_the_same_order() {
    let rules = "deny contains x if some x in input.context.args.names\nlabels contains x if some x in input.context.args.names\n";
    let bundle = Bundle::unit(rules);
    let outcome = bundle.ask(r#"{"names": ["b", "a", "c", "a"]}"#);
    assert_eq!(outcome.labels, ["a", "b", "c"]);
    assert_eq!(
        outcome.denies.iter().map(|d| d.reason.message.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(bundle.ask(r#"{"names": ["c", "a", "b"]}"#), outcome);
}
