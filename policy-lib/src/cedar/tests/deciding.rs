//! What policies can say.

use lictor_proto::call::{Party, Phase, ResourceKind};
use lictor_proto::decision::{Finding, ObligationKind, Severity};
use lictor_proto::facts::Facts;

use super::*;

fn both() -> World {
    world(&[("cedar/expense.cedar", EXPENSE), ("cedar/general.cedar", GENERAL)])
}

#[test]
fn a_permit_is_named_with_its_place_and_its_duties() {
    let outcome = both().ask(&call());
    assert_eq!(permits(&outcome), ["expense.file"]);
    assert_eq!(outcome.permits[0].policy, "cedar/expense.cedar:2");
    let [duty] = outcome.obligations.as_slice() else { panic!("{outcome:?}") };
    assert!(duty.only_on_allow);
    assert_eq!(duty.obligation.kind, ObligationKind::LogFull);
    assert!(passes(&outcome) && outcome.asks.is_empty() && outcome.errors.is_empty());
}

#[test]
fn a_forbid_is_a_denial_with_its_reason() {
    let outcome = both().ask(&amount("500.01"));
    assert_eq!(denies(&outcome), ["expense.over_limit"]);
    let reason = &outcome.denies[0].reason;
    assert_eq!(reason.message, "reports over 500 are not filed by agents");
    assert_eq!(reason.policy, "cedar/expense.cedar:12");
    assert_eq!(reason.detail, "");
}

#[test]
fn a_forbid_with_ask_is_an_ask_and_no_denial() {
    let outcome = both().ask(&amount("500"));
    assert!(outcome.denies.is_empty());
    let [ask] = outcome.asks.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(ask.reason.id, "expense.manager");
    assert_eq!(
        (ask.approvers.as_slice(), ask.count),
        (["bob@example.com".to_owned()].as_slice(), 1)
    );
    assert_eq!(ask.expires_s, 900);
}

#[test]
fn nothing_permits_by_default() {
    let outcome = both().ask(&on("tools/call", ResourceKind::Tool, "web/fetch"));
    assert_eq!(outcome, Outcome::default());
}

#[test]
fn groups_resources_and_entity_attributes_are_seen() {
    let world = both();
    let list = world.ask(&on("tools/call", ResourceKind::Tool, "accounting/list_reports"));
    assert_eq!(permits(&list), ["general.read_only"]);
    let chat = |model| world.ask(&on("llm/chat", ResourceKind::Model, model));
    assert_eq!(permits(&chat("openai/gpt-5")), ["general.models"]);
    assert_eq!(permits(&chat("local/tiny")), Vec::<&str>::new());
    let mut stray = on("llm/chat", ResourceKind::Model, "openai/gpt-5");
    stray.agent = Some(Party::new("agent", "stray-v1"));
    assert_eq!(permits(&world.ask(&stray)), Vec::<&str>::new());
}

#[test]
fn findings_and_labels_are_seen_and_duties_of_forbids_always_hold() {
    let world = both();
    let finding = Finding {
        detector: "secret/aws-access-token".to_owned(),
        category: "secret".to_owned(),
        severity: Severity::High,
        score: 1.0,
        content: 0,
        start: 0,
        end: 1,
    };
    let facts = Facts { findings: vec![finding], ..Facts::default() };
    let outcome = world.ask_with(&call(), &facts);
    assert_eq!(denies(&outcome), ["general.no_secrets"]);
    let always: Vec<_> = outcome
        .obligations
        .iter()
        .map(|duty| (duty.obligation.id.as_str(), duty.only_on_allow))
        .collect();
    assert_eq!(always, [("expense.log", true), ("general.tell", false)]);

    let mut facts = Facts::default();
    facts.session.labels = lictor_proto::decision::Labels::default();
    let outcome = world.ask_with(&on("tools/call", ResourceKind::Tool, "web/fetch"), &facts);
    assert_eq!(denies(&outcome), ["general.tainted_egress"]);
}

#[test]
fn shadow_policies_are_recorded_and_never_enforced() {
    let mut facts = Facts::default();
    facts.session.calls.insert("accounting/create_expense_report".to_owned(), 4);
    let outcome = both().ask_with(&call(), &facts);
    assert!(passes(&outcome));
    let [shadow] = outcome.shadows.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((shadow.rule.as_str(), shadow.id.as_str()), ("deny", "general.trial"));

    let permit = one("@id(\"a\") @mode(\"shadow\") permit(principal, action, resource);");
    let outcome = permit.ask(&call());
    assert!(outcome.permits.is_empty());
    assert_eq!(outcome.shadows[0].rule, "allow");
}

#[test]
fn a_shadow_policy_that_fails_or_cannot_read_denies_nothing() {
    let world = one(&format!(
        "{PERMIT} @id(\"s\") @mode(\"shadow\") forbid(principal, action == \
         Lictor::Action::\"accounting/create_expense_report\", resource) \
         when {{ context.args.amount.greaterThan(decimal(\"1.0\")) }};"
    ));
    let outcome = world.ask(&amount("0.00001"));
    assert!(passes(&outcome), "{outcome:?}");
    assert!(!outcome.errors[0].fatal);
}

#[test]
fn every_actor_of_a_delegation_must_be_permitted() {
    let world = one(
        "@id(\"fin\") permit(principal in Lictor::Team::\"finance\", action, resource);
         @id(\"ops\") permit(principal == Lictor::Agent::\"planner-v2\", action, resource) when { context.args has x || context.phase == \"list\" || context.session.kind == \"implicit\" };
         @id(\"no\") forbid(principal == Lictor::Agent::\"planner-v2\", action, resource) when { context.subject_type == \"robot\" };",
    );
    assert_eq!(permits(&world.ask(&call())), ["fin"]);
    let mut delegated = call();
    delegated.delegation.push(Party::new("agent", "planner-v2"));
    let outcome = world.ask(&delegated);
    assert!(outcome.permits.is_empty());
    assert!(
        outcome.errors.iter().any(|error| !error.fatal && error.message.contains("`planner-v2`"))
    );

    let mut facts = Facts::default();
    facts.session.kind = lictor_proto::facts::SessionKind::Implicit;
    assert_eq!(permits(&world.ask_with(&delegated, &facts)), ["fin", "ops"]);

    delegated.subject = Some(Party::new("robot", "r"));
    let outcome = world.ask_with(&delegated, &facts);
    assert_eq!(denies(&outcome), ["no"]);
    assert_eq!(outcome.denies[0].reason.detail, "holds for `planner-v2`");
}

#[test]
fn permits_count_only_within_the_scope_of_their_unit_and_denials_everywhere() {
    let policies = "@id(\"a\") permit(principal, action, resource);
        @id(\"d\") forbid(principal, action, resource) when { context.subject_type == \"robot\" };";
    let agents = |names: &[&str]| Scope {
        agents: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..Scope::default()
    };
    let file = [("cedar/unit.cedar", policies)];
    let inside = scoped(&file, &[("unit", agents(&["expense-*"]))]);
    let outside = scoped(&file, &[("unit", agents(&["planner-*"]))]);
    assert_eq!(permits(&inside.ask(&call())), ["a"]);
    assert!(outside.ask(&call()).permits.is_empty());
    let mut robot = call();
    robot.subject = Some(Party::new("robot", "r"));
    assert_eq!(denies(&outside.ask(&robot)), ["d"]);
    let mut delegated = call();
    delegated.delegation.push(Party::new("agent", "planner-v2"));
    assert!(inside.ask(&delegated).permits.is_empty(), "the scope names the agent, not the actor");
}

#[test]
fn opening_a_session_is_asked_about_the_agent_itself() {
    let world = one(
        "@id(\"open\") permit(principal, action == Lictor::Action::\"session/open\", resource)
         when { resource == principal && context has subject && context.subject in Lictor::Team::\"finance\" };",
    );
    let mut open = call();
    open.action.name = "session/open".to_owned();
    open.resource = None;
    assert_eq!(permits(&world.ask(&open)), ["open"]);
    open.subject = Some(Party::new("user", "mallory@example.com"));
    assert!(world.ask(&open).permits.is_empty());
    open.subject = None;
    assert!(world.ask(&open).permits.is_empty());
}

#[test]
fn a_service_is_not_the_user_of_the_same_id() {
    let world = one("@id(\"u\") permit(principal, action, resource)
         when { context has subject && context.subject == Lictor::User::\"alice@example.com\" };");
    assert_eq!(permits(&world.ask(&call())), ["u"]);
    let mut service = call();
    service.subject = Some(Party::new("service", "alice@example.com"));
    assert!(world.ask(&service).permits.is_empty());
}

#[test]
fn circumstances_are_typed() {
    let world = one("@id(\"net\") permit(principal, action, resource) when {
           context.request has source_ip && context.request.source_ip.isInRange(ip(\"10.0.0.0/8\"))
           && context.request.tenant == \"default\" && context.request.protocol like \"mcp/*\" };
         @id(\"fast\") forbid(principal, action, resource) when {
           context.signals.rate.greaterThan(decimal(\"2.5\")) || context.signals.loop > 2 };
         @id(\"dear\") forbid(principal, action, resource) when {
           context.usage.cost_usd_micros + context.session.spend_usd_micros > 1000 };
         @id(\"srv\") permit(principal, action, resource) when {
           context has server && context.server.url == \"https://accounting.internal\" };");
    let mut local = call();
    local.context.source_ip = "10.1.2.3".to_owned();
    local.context.protocol = "mcp/2026-07-28".to_owned();
    assert_eq!(permits(&world.ask(&local)), ["net", "srv"]);
    local.context.source_ip = "10.1.2.3 or so".to_owned();
    assert_eq!(permits(&world.ask(&local)), ["srv"]);
    let mut facts = Facts::default();
    facts.signals.rate = 2.6;
    facts.session.spend_usd_micros = u64::MAX;
    local.usage.cost_usd_micros = 1;
    let outcome = world.ask_with(&local, &facts);
    assert_eq!(denies(&outcome), ["fast"]);
    assert_eq!(fatal(&outcome), ["policy_error"], "the sum overflows, which denies too");
}

#[test]
fn origins_of_arguments_are_sets_by_pointer() {
    let world = one(
        "@id(\"p\") permit(principal, action == Lictor::Action::\"accounting/create_expense_report\", resource)
         when { context.provenance has \"/tags\" && !context.provenance[\"/tags\"].contains(\"tool_result\") };",
    );
    let mut facts = Facts::default();
    facts.provenance.insert("/tags/0".to_owned(), serde_json::json!("user"));
    facts.provenance.insert("/tags2".to_owned(), serde_json::json!("tool_result"));
    assert_eq!(permits(&world.ask_with(&call(), &facts)), ["p"]);
    facts.provenance.insert("/tags/1".to_owned(), serde_json::json!({"origin": "tool_result"}));
    assert!(world.ask_with(&call(), &facts).permits.is_empty());
    assert!(world.ask(&call()).permits.is_empty());
}

#[test]
fn entities_of_the_bundle_are_seen_beside_the_registrys() {
    let world = one("@id(\"m\") permit(principal, action, resource)
         when { Acme::Project::\"alpha\".members.contains(principal) };");
    let mut member = call();
    member.agent = Some(Party::new("agent", "planner-v2"));
    assert_eq!(permits(&world.ask(&member)), ["m"]);
    assert!(world.ask(&call()).permits.is_empty());
}

#[test]
fn a_bundle_without_policies_has_no_say() {
    let world = world(&[]);
    assert!(!world.engine.has_policies());
    assert_eq!(world.ask(&call()), Outcome::default());
    assert!(
        !world
            .engine
            .evaluate(&Query {
                call: &Call { phase: Phase::List, ..call() },
                facts: &Facts::default(),
                registry: &world.registry,
                budget: Budget::default(),
            })
            .listed
    );
    let comments = one("// nothing yet\n");
    assert!(!comments.engine.has_policies());
    assert_eq!(comments.engine.name(), "cedar");
}
