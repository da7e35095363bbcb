use lictor_proto::call::{Phase, Question};
use lictor_proto::decision::{Effect, Obligation, ObligationKind, Reason};
use lictor_proto::json::Open;

use super::{Terms, Voice, combine};
use crate::bundle::PermitFrom;
use crate::engine::{Ask, Denial, Duty, EngineError, Fired, Outcome};

fn permit() -> Outcome {
    let fired = Fired { policy: "p".into(), id: "p".into() };
    Outcome { permits: vec![fired], listed: true, ..Outcome::default() }
}

fn silent() -> Outcome {
    Outcome::default()
}

fn deny(id: &str) -> Outcome {
    Outcome { denies: vec![Denial { reason: Reason::new(id, "") }], ..permit() }
}

fn ask(id: &str) -> Outcome {
    let ask = Ask { reason: Reason::new(id, ""), approvers: vec![], count: 1, expires_s: 0 };
    Outcome { asks: vec![ask], ..permit() }
}

fn error(fatal: bool) -> Outcome {
    let error = EngineError { fatal, ..EngineError::fatal("broke", "x") };
    Outcome { errors: vec![error], ..permit() }
}

fn voices(rego: Outcome, cedar: Outcome) -> Vec<Voice> {
    vec![
        Voice { engine: "rego", has_policies: true, outcome: rego },
        Voice { engine: "cedar", has_policies: true, outcome: cedar },
    ]
}

fn terms(phase: Phase, permit_from: PermitFrom) -> Terms<'static> {
    Terms { phase, questions: &Question::ALL, permit_from, approved: &[] }
}

fn ids(terms: Terms<'_>, voices: &[Voice]) -> (Effect, Vec<String>) {
    let combined = combine(terms, voices);
    (combined.effect, combined.reasons.into_iter().map(|r| r.id).collect())
}

/// Every row: what Rego and Cedar say, what comes out under `permit_from: all`.
#[test]
fn truth_table_of_phase_request() {
    let rows: Vec<(Outcome, Outcome, Effect, &[&str])> = vec![
        (permit(), permit(), Effect::Allow, &["p"]),
        (permit(), silent(), Effect::Deny, &["no_permit"]),
        (silent(), permit(), Effect::Deny, &["no_permit"]),
        (silent(), silent(), Effect::Deny, &["no_permit"]),
        (deny("d"), permit(), Effect::Deny, &["d"]),
        (permit(), deny("f"), Effect::Deny, &["f"]),
        (deny("d"), deny("f"), Effect::Deny, &["d", "f"]),
        (ask("a"), permit(), Effect::Ask, &["a"]),
        (permit(), ask("b"), Effect::Ask, &["b"]),
        (ask("a"), ask("b"), Effect::Ask, &["a", "b"]),
        (ask("a"), deny("f"), Effect::Deny, &["f"]),
        (ask("a"), silent(), Effect::Deny, &["no_permit"]),
        (error(true), deny("f"), Effect::Deny, &["policy_error"]),
        (error(true), permit(), Effect::Deny, &["policy_error"]),
        (permit(), error(false), Effect::Allow, &["p"]),
    ];
    for (index, (rego, cedar, effect, reasons)) in rows.into_iter().enumerate() {
        let got = ids(terms(Phase::Request, PermitFrom::All), &voices(rego, cedar));
        let reasons: Vec<String> = reasons.iter().map(|r| (*r).to_owned()).collect();
        assert_eq!(got, (effect, reasons), "row {index}");
    }
}

#[test]
fn permit_from_says_which_engines_must_permit() {
    let one = |from, rego, cedar| ids(terms(Phase::Request, from), &voices(rego, cedar)).0;
    assert_eq!(one(PermitFrom::Any, permit(), silent()), Effect::Allow);
    assert_eq!(one(PermitFrom::Any, silent(), silent()), Effect::Deny);
    assert_eq!(one(PermitFrom::Cedar, silent(), permit()), Effect::Allow);
    assert_eq!(one(PermitFrom::Cedar, permit(), silent()), Effect::Deny);
    assert_eq!(one(PermitFrom::Rego, permit(), silent()), Effect::Allow);
    assert_eq!(one(PermitFrom::Rego, silent(), permit()), Effect::Deny);
    // A denial of the engine that need not permit still denies.
    assert_eq!(one(PermitFrom::Cedar, deny("d"), permit()), Effect::Deny);
}

#[test]
fn an_engine_without_policies_takes_no_part_and_none_at_all_denies() {
    let mut only_cedar = voices(silent(), permit());
    only_cedar[0].has_policies = false;
    let all = terms(Phase::Request, PermitFrom::All);
    assert_eq!(ids(all, &only_cedar).0, Effect::Allow);
    // The engine that alone must permit has no policies: nothing is allowed.
    assert_eq!(ids(terms(Phase::Request, PermitFrom::Rego), &only_cedar).0, Effect::Deny);
    only_cedar[1].has_policies = false;
    assert_eq!(ids(all, &only_cedar), (Effect::Deny, vec!["no_policies".to_owned()]));
}

#[test]
fn an_approval_meets_its_ask_and_no_other() {
    let approved = ["a".to_owned()];
    let terms = Terms { approved: &approved, ..terms(Phase::Request, PermitFrom::All) };
    assert_eq!(ids(terms, &voices(ask("a"), permit())).0, Effect::Allow);
    assert_eq!(ids(terms, &voices(ask("a"), ask("b"))), (Effect::Ask, vec!["b".to_owned()]));
    assert_eq!(ids(terms, &voices(ask("a"), deny("f"))).0, Effect::Deny);
}

#[test]
fn a_response_counts_only_denials_and_says_that_the_effect_happened() {
    let response = terms(Phase::Response, PermitFrom::All);
    assert_eq!(ids(response, &voices(silent(), silent())).0, Effect::Allow);
    assert_eq!(ids(response, &voices(ask("a"), silent())).0, Effect::Allow);
    let (effect, reasons) = ids(response, &voices(deny("d"), silent()));
    assert_eq!(effect, Effect::Deny);
    assert_eq!(reasons, ["d", "result_withheld"]);
}

#[test]
fn a_list_entry_stays_only_if_every_engine_lists_it() {
    let list = terms(Phase::List, PermitFrom::All);
    assert_eq!(ids(list, &voices(permit(), permit())).0, Effect::Allow);
    assert_eq!(ids(list, &voices(permit(), silent())).0, Effect::Deny);
    assert_eq!(ids(list, &voices(error(true), permit())).0, Effect::Deny);
}

#[test]
fn guardrail_alone_denies_but_needs_no_permit_and_quota_alone_neither() {
    let guardrail =
        Terms { questions: &[Question::Guardrail], ..terms(Phase::Request, PermitFrom::All) };
    assert_eq!(ids(guardrail, &voices(silent(), silent())).0, Effect::Allow);
    assert_eq!(ids(guardrail, &voices(deny("d"), silent())).0, Effect::Deny);
    let quota = Terms { questions: &[Question::Quota], ..guardrail };
    assert_eq!(ids(quota, &voices(deny("d"), silent())).0, Effect::Allow);
    assert_eq!(ids(quota, &voices(error(true), silent())).0, Effect::Deny);
}

fn duty(kind: ObligationKind, id: &str, properties: &str, only_on_allow: bool) -> Duty {
    let properties = Open::parse(properties.as_bytes()).unwrap();
    let obligation = Obligation { id: id.into(), kind, properties };
    Duty { obligation, only_on_allow, policy: String::new() }
}

fn with(duties: Vec<Duty>) -> Outcome {
    Outcome { obligations: duties, ..permit() }
}

#[test]
fn obligations_merge_to_the_stricter() {
    use ObligationKind::{CapTokens, Mask, StripTools};
    let rego = with(vec![
        duty(CapTokens, "c", r#"{"max":100}"#, false),
        duty(StripTools, "s", r#"{"tools":["b","a"]}"#, false),
        duty(Mask, "m1", r#"{"categories":["secret"]}"#, false),
    ]);
    let cedar = with(vec![
        duty(CapTokens, "c2", r#"{"max":50}"#, true),
        duty(StripTools, "s", r#"{"tools":["c"]}"#, false),
        duty(Mask, "m2", r#"{"categories":["pii"]}"#, false),
    ]);
    let all = terms(Phase::Request, PermitFrom::All);
    let merged = combine(all, &voices(rego, cedar)).obligations;
    let shown: Vec<(&str, &str)> =
        merged.iter().map(|o| (o.id.as_str(), o.properties.text())).collect();
    assert_eq!(
        shown,
        [
            ("m1", r#"{"categories":["secret"]}"#),
            ("m2", r#"{"categories":["pii"]}"#),
            ("c2", r#"{"max":50}"#),
            ("s", r#"{"tools":["a","b","c"]}"#),
        ]
    );
}

#[test]
fn contradicting_or_incomplete_obligations_deny() {
    use ObligationKind::{CapTokens, Route, SetHeader};
    let all = terms(Phase::Request, PermitFrom::All);
    let conflict = |a: Duty, b: Duty| ids(all, &voices(with(vec![a]), with(vec![b])));
    let denied = |id: &str| (Effect::Deny, vec![id.to_owned()]);
    assert_eq!(
        conflict(
            duty(Route, "r", r#"{"to":"a"}"#, false),
            duty(Route, "r", r#"{"to":"b"}"#, false)
        ),
        denied("obligation_conflict")
    );
    assert_eq!(
        conflict(
            duty(SetHeader, "h", r#"{"name":"X-A","value":"1"}"#, false),
            duty(SetHeader, "g", r#"{"name":"x-a","value":"2"}"#, false)
        ),
        denied("obligation_conflict")
    );
    let broken = with(vec![duty(CapTokens, "c", r#"{"max":-1}"#, false)]);
    assert_eq!(ids(all, &voices(broken, permit())), denied("policy_error"));
}

#[test]
fn a_permits_own_duty_falls_away_on_deny() {
    let rego = Outcome {
        obligations: vec![
            duty(ObligationKind::Notify, "always", "{}", false),
            duty(ObligationKind::Notify, "permit", "{}", true),
        ],
        ..deny("d")
    };
    let combined = combine(terms(Phase::Request, PermitFrom::All), &voices(rego, permit()));
    let ids: Vec<&str> = combined.obligations.iter().map(|o| o.id.as_str()).collect();
    assert_eq!(ids, ["always"]);
}
