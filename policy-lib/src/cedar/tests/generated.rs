//! The schema is what the values are, for any registry and call.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{EntityUIDEntry, Request, RequestSchema as _, SlotEnv};
use cedar_policy_core::entities::{Entities, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{CoreSchema, ValidatorSchema};
use lictor_proto::call::{Phase, ResourceKind};
use lictor_proto::facts::Facts;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::names::{Names, action_row};
use super::super::reads::{Reader, Reads};
use super::super::shape::{Makers, Shape, ToolArgs};
use super::*;

fn schema(registry: &Registry) -> ValidatorSchema {
    let text = CedarEngine::schema_text(registry);
    match ValidatorSchema::from_cedarschema_str(&text, Extensions::all_available()) {
        Ok((schema, _)) => schema,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// Whether a call's whole context has the type that the schema promises.
fn conforms(registry: &Registry, call: &Call, facts: &Facts) -> Result<(), String> {
    let (names, makers, shape) =
        (Names::new().unwrap(), Makers::new().unwrap(), Shape::of(registry));
    let reads = Reads::everything(Reader::Shadow);
    let no_args = ToolArgs::default();
    let resource = call.resource.as_ref().unwrap();
    let tool = (call.action.name == "tools/call").then_some(resource.id.as_str());
    let parts = shape.parts(tool, &names, &makers, &reads, &no_args);
    let query = Query { call, facts, registry, budget: Budget::default() };
    let context = parts.concrete(&query, tool.is_some()).context;
    let entry = |uid| EntityUIDEntry::known(uid, None);
    let request = Request::new_unchecked(
        entry(names.agent("expense-report-v1")),
        entry(names.action(tool.unwrap_or(&call.action.name))),
        entry(names.resource(resource.kind, &resource.id)),
        Some(context),
    );
    schema(registry)
        .validate_request(&request, Extensions::all_available())
        .map_err(|error| error.to_string())
}

#[test]
fn entities_of_the_registry_have_the_types_of_the_schema() {
    let registry = registry();
    let (names, makers) = (Names::new().unwrap(), Makers::new().unwrap());
    let entities = Shape::of(&registry).entities(&registry, &names, &makers, None);
    assert_eq!(entities.len(), 3 + 2 + 2 + 4 + 2 + 6, "servers are also named by tools and models");
    let schema = schema(&registry);
    let checked = Entities::from_entities(
        entities,
        Some(&CoreSchema::new(&schema)),
        TCComputation::ComputeNow,
        Extensions::all_available(),
    );
    assert!(checked.is_ok(), "{:?}", checked.err());
}

#[test]
fn contexts_of_calls_have_the_types_of_the_schema() {
    let registry = registry();
    let mut facts = Facts::default();
    facts.session.calls.insert("web/fetch".to_owned(), 2);
    facts.provenance.insert("/trip/city".to_owned(), json!("user"));
    facts.signals.rate = f64::NAN;
    let mut full = with_args(
        r#"{"employee_id":"a","amount":127.5,"days":3,"note":null,"tags":["x"],"trip":{"city":"y"},"rows":[{}],"meta":1,"more":2}"#,
    );
    full.context.source_ip = "::1".to_owned();
    full.delegation.push(lictor_proto::call::Party::new("agent", "planner-v2"));
    conforms(&registry, &full, &facts).unwrap();
    for action in ["tools/list", "llm/chat", "resources/read", "a2a/message", "session/open"] {
        let kind = action_row(action).unwrap().resources[0];
        conforms(&registry, &on(action, kind, "docs/x"), &facts).unwrap();
    }
    let missing = with_args(r#"{"employee_id":"a"}"#);
    assert!(conforms(&registry, &missing, &facts).is_err(), "the check can fail");
}

#[test]
fn one_tool_of_each_type_stands_for_all() {
    let mut registry = registry();
    let tool = registry.tools["web/fetch"].clone();
    for n in 0..20 {
        registry.tools.insert(format!("many/{n}"), tool.clone());
    }
    let shape = Shape::of(&registry);
    let count = |condition: &str| {
        let mut reads = Reads::default();
        reads.add(&condition.parse().unwrap(), Reader::Live);
        shape.representatives(&reads).0.len()
    };
    assert_eq!(count("context.phase == \"list\""), 1);
    // A required amount, an optional one, and none.
    assert_eq!(count("context.args has amount"), 3);
    assert_eq!(count("context.provenance has \"/url\""), 2);
    assert_eq!(count("context == {}"), 4);
    assert!(shape.action_names().count() > 40);
}

#[test]
fn a_general_policy_is_checked_against_the_one_tool_that_it_does_not_fit() {
    let found = diagnose(&[(
        "cedar/one.cedar",
        "@id(\"a\") permit(principal, action in Lictor::Action::\"tools/call\", resource)
         when { context.args has month && context.args.month == 3 };",
    )]);
    assert_eq!(codes(&found), ["cedar_invalid"]);
}

#[test]
fn a_part_of_the_schema_is_a_schema() {
    let shape = Shape::of(&registry());
    let one = shape.schema_of(&BTreeSet::from(["web/fetch", "tools/list", "unknown"]));
    let (schema, _) =
        ValidatorSchema::from_cedarschema_str(&one, Extensions::all_available()).unwrap();
    assert_eq!(schema.action_ids().count(), 3, "two and the group");
}

#[test]
fn many_policies_for_many_tools_load() {
    let mut registry = registry();
    let tool = registry.tools["web/fetch"].clone();
    let mut text = String::new();
    for n in 0..60 {
        registry.tools.insert(format!("many/{n}"), tool.clone());
        text.push_str(&format!(
            "@id(\"p{n}\") permit(principal, action == Lictor::Action::\"many/{n}\", resource) when {{ context.args.url == \"{n}\" }};\n"
        ));
    }
    let scopes = BTreeMap::new();
    let source = CedarSource {
        policies: vec![("cedar/many.cedar", &text)],
        schema: None,
        entities: None,
        scopes: &scopes,
        registry: &registry,
    };
    let engine = try_load(&source).0.unwrap();
    let world = World { registry: registry.clone(), engine };
    let mut call = on("tools/call", ResourceKind::Tool, "many/59");
    call.context.args = lictor_proto::json::Open::parse(br#"{"url":"59"}"#).unwrap();
    assert_eq!(permits(&world.ask(&call)), ["p59"]);
}

/// Reads of `context`, whole and in parts, also of what is not there.
const READS: [&str; 24] = [
    "context.session.calls_here",
    "context.session.spend_usd_micros > 3",
    "context.session.called.contains(\"web/fetch\")",
    "context.session.labels.integrity == \"trusted\"",
    "context.session.labels",
    "context.session has marks",
    "context has session.labels.integrity",
    "context.session",
    "context.session == context.session",
    "context.signals.rate.lessThan(decimal(\"2.0\"))",
    "context.signals.loop + 1",
    "context.signals has nothing",
    "context.signals.nothing",
    "context.request has source_ip",
    "context.request.source_ip.isLoopback()",
    "context.request.tenant like \"d*\"",
    "context.request",
    "context.usage.cost_usd_micros",
    "context.usage == {}",
    "context.time",
    "context.args.amount.lessThan(decimal(\"500.0\"))",
    "context.args.trip.city",
    "context.provenance has \"/trip/city\" && context.provenance[\"/trip/city\"]",
    "context",
];

/// What comes of reading each of these where the context has what `reads` names.
fn values_read(reads: &Reads, of: &[&str]) -> Vec<Result<String, String>> {
    let registry = registry();
    let (names, makers, shape) =
        (Names::new().unwrap(), Makers::new().unwrap(), Shape::of(&registry));
    let mut call = with_args(r#"{"employee_id":"a","amount":127.5,"trip":{"city":"y"}}"#);
    call.context.source_ip = "127.0.0.1".to_owned();
    let mut facts = Facts::default();
    facts.session.calls.insert("web/fetch".to_owned(), 2);
    facts.session.marks.push("m".to_owned());
    facts.provenance.insert("/trip/city".to_owned(), json!("user"));
    facts.signals.rate = 1.5;
    let no_args = ToolArgs::default();
    let tool = call.resource.as_ref().map(|resource| resource.id.as_str());
    let parts = shape.parts(tool, &names, &makers, reads, &no_args);
    let query =
        Query { call: &call, facts: &facts, registry: &registry, budget: Budget::default() };
    let entry = |uid| EntityUIDEntry::known(uid, None);
    let request = Request::new_unchecked(
        entry(names.agent("a")),
        entry(names.action("a")),
        entry(names.server("s")),
        Some(parts.concrete(&query, true).context),
    );
    let entities = Entities::new();
    let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
    let value = |text: &&str| {
        let value = evaluator.interpret(&text.parse().unwrap(), &SlotEnv::new());
        value.map(|value| value.to_string()).map_err(|error| error.to_string())
    };
    of.iter().map(value).collect()
}

/// Odd names that still are JSON keys and ids.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}",
        Just("__entity".to_owned()),
        Just("if".to_owned()),
        Just("a\"b\\c\n\u{202e}\u{301}".to_owned()),
        Just("args".to_owned()),
        "\\PC{1,4}",
    ]
}

fn leaf_schema() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "integer"})),
        Just(json!({"type": "number"})),
        Just(json!({"type": ["boolean", "null"]})),
        Just(json!({"enum": ["a", "b"]})),
        Just(json!({"type": "array", "items": {"type": "integer"}})),
        Just(json!({"type": "array", "items": {}})),
        Just(json!({})),
    ]
}

fn arg_schema() -> impl Strategy<Value = Value> {
    leaf_schema().prop_recursive(3, 20, 4, |inner| {
        prop::collection::btree_map(name(), inner, 0..4)
            .prop_map(|properties| json!({"type": "object", "properties": properties}))
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-9_999_999i64..9_999_999).prop_map(|n| json!(n as f64 / 1000.0)),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any tool and any arguments: the schema is accepted, and the context, as far
    /// as it was built, has its type. No argument is required here, since what is
    /// missing is the caller's doing.
    #[test]
    fn any_arguments_conform_or_are_left_out(
        tool in name(),
        properties in prop::collection::btree_map(name(), arg_schema(), 0..5),
        args in prop::collection::btree_map(name(), json_value(), 0..5),
    ) {
        let mut registry = registry();
        let id = format!("odd/{tool}");
        let schema = json!({"type": "object", "properties": properties});
        let entry = json!({"input_schema": schema, "attrs": args});
        registry.tools.insert(id.clone(), serde_json::from_value(entry).unwrap());
        let mut call = on("tools/call", ResourceKind::Tool, &id);
        let text = serde_json::to_vec(&args).unwrap();
        if let Ok(open) = lictor_proto::json::Open::parse(&text) {
            call.context.args = open;
        }
        prop_assert_eq!(conforms(&registry, &call, &Facts::default()), Ok(()));
    }

    /// Whoever reads a part of the context finds there what the whole context has.
    #[test]
    fn what_is_read_is_built(conditions in prop::sample::subsequence(&READS[..], 1..4)) {
        let mut reads = Reads::default();
        for condition in &conditions {
            reads.add(&condition.parse().unwrap(), Reader::Live);
        }
        let everything = Reads::everything(Reader::Live);
        let (some, all) = (values_read(&reads, &conditions), values_read(&everything, &conditions));
        prop_assert_eq!(some, all);
    }

    /// No arguments and no phase make the engine fail in any way but by its errors.
    #[test]
    fn evaluation_is_total(args in json_value(), phase in 0..3usize) {
        let world = world(&[("cedar/expense.cedar", EXPENSE), ("cedar/general.cedar", GENERAL)]);
        let text = serde_json::to_vec(&args).unwrap();
        let Ok(args) = lictor_proto::json::Open::parse(&text) else { return Ok(()) };
        let mut call = call();
        call.context.args = args;
        call.phase = [Phase::Request, Phase::List, Phase::Response][phase];
        let outcome = world.ask(&call);
        prop_assert!(outcome.permits.is_empty(), "nobody is `alice@example.com` by chance");
    }
}
