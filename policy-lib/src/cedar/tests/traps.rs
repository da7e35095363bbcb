//! Each way in which Cedar, used carelessly, would fail open.

use std::time::Duration;

use lictor_proto::call::{Party, Phase, ResourceKind};
use lictor_proto::facts::Facts;

use super::*;

const REPORT: &str = "action == Lictor::Action::\"accounting/create_expense_report\"";

#[test]
fn policies_of_two_files_do_not_replace_each_other() {
    // Cedar calls the first policy of each file `policy0`.
    let world = world(&[
        ("cedar/a.cedar", "@id(\"a\") permit(principal, action, resource);"),
        ("cedar/b.cedar", "@id(\"b\") forbid(principal, action, resource);"),
    ]);
    let outcome = world.ask(&call());
    assert_eq!((permits(&outcome), denies(&outcome)), (vec!["a"], vec!["b"]));
    assert_eq!(outcome.denies[0].reason.policy, "cedar/b.cedar:1");
}

#[test]
fn an_id_is_unique_over_all_files() {
    let same = "@id(\"x\")\nforbid(principal, action, resource);";
    let found = diagnose(&[("cedar/a.cedar", same), ("cedar/b.cedar", &format!("\n{same}"))]);
    let [only] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(
        (only.code, only.file.as_str(), only.line),
        ("cedar_id_duplicate", "cedar/b.cedar", 2)
    );
    assert!(only.message.contains("cedar/a.cedar:1"));
}

#[test]
fn a_forbid_that_fails_is_fatal_and_named() {
    // The sum leaves 64 bits, which Cedar's authorizer would skip over.
    let world = one(&format!(
        "{PERMIT}\n@id(\"f\") forbid(principal, {REPORT}, resource)
         when {{ context.args has days && context.args.days + 9223372036854775807 > 0 }};"
    ));
    let outcome = world.ask(&with_args(r#"{"employee_id":"a","amount":1,"days":1}"#));
    assert!(!passes(&outcome));
    let [error] = outcome.errors.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(
        (error.fatal, error.id, error.policy.as_str()),
        (true, "policy_error", "cedar/one.cedar:2")
    );
    assert!(error.message.contains("`f`") && error.message.contains("overflow"), "{error:?}");
    assert!(passes(&world.ask(&call())));
}

#[test]
fn a_permit_that_fails_does_not_permit_and_is_recorded() {
    let world = one(&format!(
        "@id(\"p\") permit(principal, {REPORT}, resource)
         when {{ context.args has days && context.args.days + 9223372036854775807 > 0 }};"
    ));
    let outcome = world.ask(&with_args(r#"{"employee_id":"a","amount":1,"days":1}"#));
    assert!(outcome.permits.is_empty());
    assert_eq!((outcome.errors.len(), outcome.errors[0].fatal), (1, false));
}

#[test]
fn an_ask_that_fails_is_fatal() {
    let world = one(&format!(
        "{PERMIT}\n@id(\"f\") @ask(\"bob@example.com\") forbid(principal, {REPORT}, resource)
         when {{ context.args has days && context.args.days * 9223372036854775807 > 0 }};"
    ));
    let outcome = world.ask(&with_args(r#"{"employee_id":"a","amount":1,"days":2}"#));
    assert_eq!(fatal(&outcome), ["policy_error"]);
}

#[test]
fn a_forbid_on_a_missing_entity_is_fatal() {
    let world = one(&format!(
        "{PERMIT}\n@id(\"f\") forbid(principal, action, resource)
         when {{ context has subject && context.subject.department == \"press\" }};"
    ));
    assert!(passes(&world.ask(&call())));
    let mut stranger = call();
    stranger.subject = Some(Party::new("user", "mallory@example.com"));
    let outcome = world.ask(&stranger);
    assert_eq!(fatal(&outcome), ["policy_error"]);
    assert!(outcome.errors[0].message.contains("mallory@example.com"));
}

#[test]
fn a_caller_cannot_name_entities_in_arguments() {
    let world = one(&format!(
        "@id(\"p\") permit(principal, {REPORT}, resource)
           when {{ context has subject && context.args.employee_id == context.subject.email }};
         @id(\"q\") permit(principal, action == Lictor::Action::\"web/fetch\", resource)
           when {{ context.args.url == \"x\" }};"
    ));
    let escape = r#"{"__entity":{"type":"Lictor::User","id":"x"}}"#;
    let outcome = world.ask(&with_args(&format!(r#"{{"employee_id":{escape},"amount":1}}"#)));
    assert!(outcome.permits.is_empty());
    assert_eq!(fatal(&outcome), ["args_unrepresentable"]);
    assert!(outcome.errors.iter().any(|error| error.message.contains("`/employee_id`")));
    // As the arguments themselves it is an object with an undeclared member.
    let outcome = world.ask(&with_args(escape));
    assert!(outcome.permits.is_empty());
    let mut fetch = on("tools/call", ResourceKind::Tool, "web/fetch");
    let extension = r#"{"url":{"__extn":{"fn":"decimal","arg":"1.0"}}}"#;
    fetch.context.args = lictor_proto::json::Open::parse(extension.as_bytes()).unwrap();
    assert_eq!(fatal(&world.ask(&fetch)), ["args_unrepresentable"]);
    // A text is a text, whatever it spells.
    fetch.context.args =
        lictor_proto::json::Open::parse(br#"{"url":"Lictor::User::\"x\""}"#).unwrap();
    assert_eq!(world.ask(&fetch), Outcome::default());
}

#[test]
fn fractions_and_nulls_are_arguments_like_others() {
    let world = one(EXPENSE);
    assert_eq!(permits(&world.ask(&amount("127.5"))), ["expense.file"]);
    assert_eq!(world.ask(&amount("127.5")).asks.len(), 1);
    let noted = r#"{"employee_id":"alice@example.com","amount":1,"note":null,"meta":null}"#;
    assert!(passes(&world.ask(&with_args(noted))));
    let optional = one(&format!(
        "@id(\"n\") permit(principal, {REPORT}, resource) unless {{ context.args has note }};"
    ));
    assert_eq!(permits(&optional.ask(&with_args(noted))), ["n"]);
    // `null <= 500` must not be true: a required amount is never absent.
    let outcome = world.ask(&amount("null"));
    assert!(outcome.permits.len() <= 1 && fatal(&outcome).contains(&"args_unrepresentable"));
}

#[test]
fn numbers_that_do_not_fit_deny_where_they_are_read() {
    let world = one(&format!(
        "{PERMIT}\n@id(\"f\") forbid(principal, {REPORT}, resource)
         when {{ context.args.amount.greaterThan(decimal(\"500.0\")) }};"
    ));
    for number in ["0.00001", "1e300", "92233720368547759"] {
        let outcome = world.ask(&amount(number));
        assert!(fatal(&outcome).contains(&"args_unrepresentable"), "{number}: {outcome:?}");
        assert!(
            outcome
                .errors
                .iter()
                .any(|e| e.message.contains("`/amount`") && e.policy == "cedar/one.cedar:2")
        );
    }
    let long = with_args(r#"{"employee_id":"a","amount":1,"days":9223372036854775808}"#);
    assert!(passes(&world.ask(&long)), "nobody reads `days`");
    let nobody = one(PERMIT);
    assert!(passes(&nobody.ask(&amount("0.00001"))));
}

#[test]
fn an_argument_matters_only_to_policies_of_its_call() {
    let world = one(&format!(
        "{PERMIT}\n@id(\"f\") forbid(principal, {REPORT}, resource)
         when {{ context.args.amount.greaterThan(decimal(\"500.0\")) }};"
    ));
    let mut fetch = on("tools/call", ResourceKind::Tool, "web/fetch");
    fetch.context.args =
        lictor_proto::json::Open::parse(br#"{"url":"x","amount":0.00001}"#).unwrap();
    assert!(passes(&world.ask(&fetch)));
}

#[test]
fn an_argument_without_a_type_cannot_hide_from_whoever_asks_for_it() {
    let hidden = with_args(r#"{"employee_id":"a","amount":1,"rows":[{}]}"#);
    let asks = one(&format!(
        "@id(\"a\") permit(principal, {REPORT}, resource) unless {{ context.args has rows }};"
    ));
    assert_eq!(fatal(&asks.ask(&hidden)), ["args_unrepresentable"]);
    assert!(passes(&asks.ask(&call())));
    assert!(passes(&one(PERMIT).ask(&hidden)));
}

#[test]
fn reasons_do_not_depend_on_the_order_of_sets() {
    let text: String = (0..40)
        .map(|n| format!("@id(\"d{:02}\") forbid(principal, action, resource);\n", (n * 7) % 40))
        .collect();
    let outcome = one(&text).ask(&call());
    let ids = denies(&outcome);
    assert_eq!(ids.len(), 40);
    assert!(ids.is_sorted());
}

fn listed(world: &World, tool: &str) -> bool {
    let mut call = on("tools/call", ResourceKind::Tool, tool);
    call.phase = Phase::List;
    let outcome = world.ask(&call);
    assert!(outcome.permits.is_empty(), "a list never permits");
    assert!(outcome.asks.is_empty() && outcome.obligations.is_empty());
    outcome.listed
}

#[test]
fn a_list_shows_what_arguments_could_allow() {
    let tool = "accounting/create_expense_report";
    let shown = |policies: &str| listed(&one(policies), tool);
    let limit = "context.args.amount.lessThan(decimal(\"5.0\"))";
    assert!(shown(PERMIT));
    assert!(shown(&format!(
        "@id(\"p\") permit(principal, {REPORT}, resource) when {{ {limit} }};"
    )));
    // A forbid that depends on arguments does not hide; one that holds does.
    assert!(shown(&format!(
        "{PERMIT} @id(\"f\") forbid(principal, {REPORT}, resource) when {{ {limit} }};"
    )));
    let forbid = |when: &str| {
        format!("{PERMIT} @id(\"f\") forbid(principal, {REPORT}, resource) when {{ {when} }};")
    };
    assert!(!shown(&forbid("context.phase == \"list\"")));
    assert!(!shown(&forbid("context has subject && context.subject_type == \"user\"")));
    assert!(!shown(&forbid("context has session.kind && context.session.kind == \"opened\"")));
    assert!(!shown(&forbid(&format!("context.phase == \"list\" || {limit}"))));
    assert!(!shown(&forbid(&format!("{limit} || !(context.phase != \"list\")"))));
    assert!(shown(&forbid(&format!("{limit} && context.phase == \"request\""))));
    // Nothing permits, whatever the arguments.
    assert!(!shown(
        "@id(\"p\") permit(principal, action == Lictor::Action::\"web/fetch\", resource);"
    ));
    assert!(!shown(&format!(
        "@id(\"p\") permit(principal, {REPORT}, resource) when {{ {limit} && context.phase == \"request\" }};"
    )));
}

#[test]
fn a_list_hides_what_a_failing_forbid_might_forbid() {
    let world = one(&format!(
        "{PERMIT} @id(\"f\") forbid(principal, action, resource)
         when {{ context.subject_type == \"user\" && context.time.now_ms + 9223372036854775807 > 0 }};"
    ));
    let mut entry = on("tools/call", ResourceKind::Tool, "web/fetch");
    entry.phase = Phase::List;
    let mut facts = Facts::default();
    assert!(!world.ask_with(&entry, &facts).listed, "the forbid holds");
    facts.time.now_ms = 1;
    let outcome = world.ask_with(&entry, &facts);
    assert!(!outcome.listed);
    assert_eq!(fatal(&outcome), ["policy_error"]);
}

#[test]
fn asks_and_shadows_hide_nothing_and_list_nothing() {
    let tool = "web/fetch";
    let ask = "@id(\"a\") @ask(\"bob@example.com\") forbid(principal, action, resource);";
    let shadow = "@id(\"s\") @mode(\"shadow\") forbid(principal, action, resource);";
    assert!(listed(&one(&format!("{PERMIT} {ask} {shadow}")), tool));
    let permit = "@id(\"s\") @mode(\"shadow\") permit(principal, action, resource);";
    assert!(!listed(&one(permit), tool));
}

#[test]
fn a_list_asks_for_every_actor_too() {
    let world =
        one("@id(\"fin\") permit(principal in Lictor::Team::\"finance\", action, resource);");
    let mut entry = on("tools/call", ResourceKind::Tool, "web/fetch");
    entry.phase = Phase::List;
    assert!(world.ask(&entry).listed);
    entry.delegation.push(Party::new("agent", "planner-v2"));
    assert!(!world.ask(&entry).listed);
}

#[test]
fn what_the_registry_lacks_is_never_asked_about() {
    let world = one(PERMIT);
    let mut call = call();
    call.agent = Some(Party::new("agent", "unknown"));
    assert_eq!(fatal(&world.ask(&call)), ["policy_error"]);
    call.agent = None;
    assert_eq!(fatal(&world.ask(&call)), ["policy_error"]);
    let mut delegated = super::call();
    delegated.delegation.push(Party::new("agent", "unknown"));
    assert_eq!(fatal(&world.ask(&delegated)), ["policy_error"]);
    for (action, kind, id) in [
        ("tools/call", ResourceKind::Tool, "web/unknown"),
        ("tools/call", ResourceKind::Server, "docs"),
        ("web/fetch", ResourceKind::Tool, "web/fetch"),
        ("llm/chat", ResourceKind::Model, "openai/unknown"),
        ("llm/chat", ResourceKind::Server, "docs"),
        ("made/up", ResourceKind::Server, "docs"),
        ("resources/read", ResourceKind::Resource, "accounting/file"),
    ] {
        assert_eq!(fatal(&world.ask(&on(action, kind, id))), ["policy_error"], "{action} {id}");
    }
    let mut bare = super::call();
    bare.resource = None;
    assert_eq!(fatal(&world.ask(&bare)), ["policy_error"]);
    assert!(passes(&world.ask(&on("resources/read", ResourceKind::Resource, "docs/file"))));
}

#[test]
fn time_and_output_are_bounded() {
    let world = one(&format!(
        "{PERMIT} @id(\"d\") @reason(\"0123456789\") forbid(principal, action, resource);"
    ));
    let facts = Facts::default();
    let none = Budget { time: Duration::ZERO, ..Budget::default() };
    let outcome = world.ask_within(&call(), &facts, none);
    assert_eq!(fatal(&outcome), ["policy_error"]);
    assert!(outcome.permits.is_empty());

    let long = Duration::from_secs(60);
    let said =
        |output_bytes| world.ask_within(&call(), &facts, Budget { time: long, output_bytes });
    let place = "cedar/one.cedar:1".len();
    let exact = place + "any".len() + place + "d".len() + "0123456789".len();
    assert_eq!(denies(&said(exact)), ["d"]);
    assert_eq!(fatal(&said(exact - 1)), ["policy_error"]);
}

#[test]
fn the_entities_of_a_call_are_those_of_the_load() {
    // Calls lend the store; two of them at once see one and the same.
    let world = one(EXPENSE);
    let first = world.ask(&call());
    let mut other = call();
    other.agent = Some(Party::new("agent", "planner-v2"));
    assert!(world.ask(&other).permits.is_empty());
    assert_eq!(world.ask(&call()), first);
}
