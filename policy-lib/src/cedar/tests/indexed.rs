//! What the index passes over, and what is left of the policies that it finds, come
//! to the same as Cedar's own `Authorizer` over all policies.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy_core::ast::{
    Entity, EntityUID, EntityUIDEntry, PolicyID, PolicySet, Request, Value,
};
use cedar_policy_core::authorizer::{AuthorizationError, Authorizer, Decision};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use lictor_proto::call::{Party, Phase, Resource, ResourceKind};
use lictor_proto::json::Open;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::evaluate::{Evaluation, Held, came_out, held};
use super::super::policy::{self, Parsed};
use super::super::scope::RoleMarks;
use super::super::{File, Makers, Names, Participants, Shape, Store, ToolArgs, prepare};
use super::*;

const AGENTS: usize = 4;
const TOOLS: usize = 4;

/// Agents, tools and actions in groups of groups. Of each kind one that is asked about
/// is missing.
fn entities() -> Vec<Entity> {
    let uid = |text: &str| text.parse::<EntityUID>().unwrap();
    let entity = |text: &str, attrs: &[(&str, Value)], parents: &[&str]| {
        let attrs = attrs.iter().map(|(name, value)| ((*name).into(), value.clone().into()));
        let parents = parents.iter().map(|parent| uid(parent)).collect();
        let none = BTreeMap::new();
        Entity::new_with_attr_partial_value(uid(text), attrs, HashSet::new(), parents, none)
    };
    let level = |n: i64| [("level", Value::from(n))];
    vec![
        entity(r#"Lictor::Agent::"a0""#, &level(0), &[r#"Lictor::Team::"t0""#]),
        entity(r#"Lictor::Agent::"a1""#, &level(1), &[r#"Lictor::Team::"t1""#]),
        entity(
            r#"Lictor::Agent::"a2""#,
            &level(2),
            &[r#"Lictor::Team::"t0""#, r#"Lictor::Team::"t2""#],
        ),
        entity(r#"Lictor::Team::"t0""#, &[], &[r#"Lictor::Team::"t1""#]),
        entity(r#"Lictor::Team::"t1""#, &[], &[r#"Lictor::Team::"top""#]),
        entity(r#"Lictor::Tool::"s/t0""#, &level(0), &[r#"Lictor::Server::"s""#]),
        entity(r#"Lictor::Tool::"s/t1""#, &level(1), &[r#"Lictor::Server::"r""#]),
        entity(r#"Lictor::Tool::"s/t2""#, &[], &[]),
        entity(r#"Lictor::Server::"s""#, &level(9), &[r#"Own::Zone::"z""#]),
        entity(r#"Lictor::Server::"r""#, &[], &[r#"Lictor::Server::"s""#]),
        entity(r#"Lictor::Action::"s/t0""#, &[], &[r#"Lictor::Action::"tools/call""#]),
        entity(
            r#"Lictor::Action::"s/t1""#,
            &[],
            &[r#"Lictor::Action::"tools/call""#, r#"Lictor::Action::"own""#],
        ),
        entity(r#"Lictor::Action::"s/t2""#, &[], &[r#"Lictor::Action::"own""#]),
        entity(r#"Lictor::Action::"own""#, &[], &[r#"Lictor::Action::"all""#]),
        entity(r#"Lictor::Action::"tools/list""#, &[], &[r#"Lictor::Action::"all""#]),
    ]
}

fn registry_of_all() -> Registry {
    let tools: Vec<String> = (0..TOOLS)
        .map(|n| {
            let schema =
                r#"{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}}}"#;
            format!(r#""s/t{n}":{{"input_schema":{schema}}}"#)
        })
        .collect();
    let json = format!(
        r#"{{"tools":{{{}}},"servers":{{"s":{{}},"q":{{}}}},"open_types":["agent","resource","model"]}}"#,
        tools.join(",")
    );
    serde_json::from_str(&json).unwrap()
}

/// An engine that was never validated, so that its policies can fail in every way;
/// with everything that its policies say, whole.
struct Plain {
    world: World,
    conditions: Vec<cedar_policy_core::ast::Expr>,
    policies: PolicySet,
    entities: Entities,
}

fn plain(text: &str) -> Plain {
    let registry = registry_of_all();
    let files = [File::new("cedar/one.cedar", text)];
    let (mut marks, mut diagnostics) = (RoleMarks::default(), Vec::new());
    let parsed = policy::parse(&files, &BTreeMap::new(), &mut marks, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}\n{text}");
    let mut policies = PolicySet::new();
    for Parsed { checked, .. } in &parsed {
        policies.add_static(checked.clone()).unwrap();
    }
    let conditions = parsed.iter().map(|parsed| parsed.condition.clone()).collect();
    let (names, makers) = (Names::new().unwrap(), Makers::new().unwrap());
    let shape = Shape::of(&registry);
    let store = Store::new(entities()).unwrap();
    let (served, index, reads) = prepare(parsed);
    let participants = Participants::new(store.iter(), &names, marks);
    let engine = CedarEngine {
        names,
        makers,
        shape,
        policies: served,
        index,
        participants,
        reads,
        speaks_of_answers: true,
        store,
        no_args: ToolArgs::default(),
        validated: Default::default(),
    };
    let schema: Option<&NoEntitiesSchema> = None;
    let extensions = Extensions::all_available();
    let compute = TCComputation::ComputeNow;
    let entities = Entities::from_entities(entities(), schema, compute, extensions).unwrap();
    Plain { world: World { registry, engine }, conditions, policies, entities }
}

fn asked(agent: usize, target: usize, args: &str) -> Call {
    let mut call = match target {
        tool if tool < TOOLS => on("tools/call", ResourceKind::Tool, &format!("s/t{tool}")),
        4 => on("tools/list", ResourceKind::Server, "s"),
        5 => on("tools/list", ResourceKind::Server, "q"),
        6 => on("resources/read", ResourceKind::Resource, "s/unknown"),
        7 => on("llm/chat", ResourceKind::Model, "s/unknown"),
        _ => on("a2a/message", ResourceKind::Agent, "a1"),
    };
    call.agent = Some(Party::new("agent", &format!("a{agent}")));
    call.delegation = Vec::new();
    call.context.args = Open::parse(args.as_bytes()).unwrap();
    call
}

impl Plain {
    /// What Cedar says: whether it allows, by which policies, and what failed how.
    fn authorized(&self, call: &Call) -> (bool, BTreeSet<String>, BTreeSet<(String, String)>) {
        let engine = &self.world.engine;
        let query = self.query(call);
        let evaluation = Evaluation::new(engine, &query);
        let target = evaluation.target().unwrap();
        let Resource { kind, id } = call.resource.clone().unwrap();
        let is_tool = call.action.name == "tools/call";
        let action = if is_tool { &id } else { &call.action.name };
        let entry = |uid: EntityUID| EntityUIDEntry::known(uid, None);
        let request = Request::new_unchecked(
            entry(engine.names.agent(&call.agent.as_ref().unwrap().id)),
            entry(engine.names.action(action)),
            entry(engine.names.resource(kind, &id)),
            Some(evaluation.contexts(&target).unwrap().known),
        );
        let response = Authorizer::new().is_authorized(request, &self.policies, &self.entities);
        let name = |id: &PolicyID| id.to_string();
        let errors = response.diagnostics.errors.iter().map(|error| match error {
            AuthorizationError::PolicyEvaluationError { id, error } => {
                (name(id), format!("the policy `{}` failed: {error}", name(id)))
            }
        });
        let reasons = response.diagnostics.reason.iter().map(name).collect();
        (response.decision == Decision::Allow, reasons, errors.collect())
    }

    fn query<'a>(&'a self, call: &'a Call) -> Query<'a> {
        static FACTS: std::sync::LazyLock<Facts> = std::sync::LazyLock::new(Facts::default);
        let budget = Budget { time: std::time::Duration::from_secs(60), ..Budget::default() };
        Query { call, facts: &FACTS, registry: &self.world.registry, budget }
    }

    /// What we say, in the same words.
    fn decided(&self, call: &Call) -> (bool, BTreeSet<String>, BTreeSet<(String, String)>) {
        let outcome = self.world.ask(call);
        let denied: BTreeSet<String> = denies(&outcome).into_iter().map(str::to_owned).collect();
        let permitted: BTreeSet<String> =
            permits(&outcome).into_iter().map(str::to_owned).collect();
        let errors = outcome.errors.iter().map(|error| {
            let id = error.message.split('`').nth(1).unwrap_or_default();
            assert_eq!(error.fatal, id.starts_with('f'), "a forbid that fails is fatal: {error:?}");
            (id.to_owned(), error.message.clone())
        });
        let allowed = denied.is_empty() && !permitted.is_empty();
        let reasons = if denied.is_empty() { permitted } else { denied };
        (allowed, reasons, errors.collect())
    }

    /// How each policy comes out as a whole, and as it is served.
    fn each(&self, call: &Call) -> Vec<(Held, Held)> {
        let engine = &self.world.engine;
        let query = self.query(call);
        let evaluation = Evaluation::new(engine, &query);
        let target = evaluation.target().unwrap();
        let contexts = evaluation.contexts(&target).unwrap();
        let id = &call.agent.as_ref().unwrap().id;
        let agent = engine.participants.principal(id, &engine.names);
        let mut found = Vec::new();
        engine.index.candidates(target.bearers(&agent), &mut found);
        assert!(found.is_sorted_by(|a, b| a < b), "in order, each once: {found:?}");
        let concerned: Vec<_> = engine.index.concerned(target.bearers(&agent)).collect();
        assert!(found.iter().all(|number| concerned.contains(number)));
        let known = evaluation.evaluator(&agent, &target, &contexts.known);
        let partial = contexts.partial.as_ref();
        let partial = partial.map(|context| evaluation.evaluator(&agent, &target, context));
        let pairs = (0..).zip(&self.conditions).map(|(number, condition)| {
            let policy = engine.policy(number).unwrap();
            let open = partial.as_ref().filter(|_| policy.reads_args);
            let evaluator = open.unwrap_or(&known);
            let whole = came_out(evaluator, condition, open.is_some());
            let is_found = found.contains(&number);
            let served = if is_found { held(evaluator, policy, open.is_some()) } else { Held::No };
            (whole, served)
        });
        pairs.collect()
    }
}

fn principal() -> impl Strategy<Value = &'static str> {
    select(vec![
        "principal",
        "principal",
        r#"principal == Lictor::Agent::"a0""#,
        r#"principal == Lictor::Agent::"a3""#,
        r#"principal in Lictor::Agent::"a1""#,
        r#"principal in Lictor::Agent::"a3""#,
        r#"principal in Lictor::Team::"t0""#,
        r#"principal in Lictor::Team::"t1""#,
        r#"principal in Lictor::Team::"top""#,
        r#"principal in Lictor::Team::"nobody""#,
        "principal is Lictor::Agent",
        "principal is Lictor::User",
        r#"principal is Lictor::Agent in Lictor::Team::"t1""#,
        r#"principal is Lictor::User in Lictor::Team::"t1""#,
        r#"principal is Lictor::Agent in Lictor::Agent::"a3""#,
    ])
}

fn action() -> impl Strategy<Value = &'static str> {
    select(vec![
        "action",
        "action",
        r#"action == Lictor::Action::"s/t0""#,
        r#"action == Lictor::Action::"tools/call""#,
        r#"action == Lictor::Action::"tools/list""#,
        r#"action in Lictor::Action::"s/t1""#,
        r#"action in Lictor::Action::"tools/call""#,
        r#"action in Lictor::Action::"own""#,
        r#"action in Lictor::Action::"all""#,
        r#"action in [Lictor::Action::"s/t0", Lictor::Action::"own", Lictor::Action::"all"]"#,
        r#"action in [Lictor::Action::"tools/call", Lictor::Action::"own"]"#,
        r#"action in [Lictor::Action::"llm/chat", Lictor::Action::"resources/read"]"#,
        "action in []",
    ])
}

fn resource() -> impl Strategy<Value = &'static str> {
    select(vec![
        "resource",
        "resource",
        r#"resource == Lictor::Tool::"s/t0""#,
        r#"resource == Lictor::Resource::"s/unknown""#,
        r#"resource in Lictor::Resource::"s/unknown""#,
        r#"resource in Lictor::Tool::"s/t1""#,
        r#"resource in Lictor::Server::"s""#,
        r#"resource in Lictor::Server::"r""#,
        r#"resource in Own::Zone::"z""#,
        r#"resource in Lictor::Team::"t1""#,
        "resource is Lictor::Tool",
        "resource is Lictor::Model",
        "resource is Lictor::Agent",
        r#"resource is Lictor::Tool in Lictor::Server::"s""#,
        r#"resource is Lictor::Server in Own::Zone::"z""#,
        r#"resource is Lictor::Tool in Lictor::Tool::"s/t2""#,
    ])
}

/// Parts of conditions: some are like scopes, some fail for some or for all.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        principal().prop_map(|text| if text == "principal" { "true" } else { text }),
        resource().prop_map(|text| if text == "resource" { "false" } else { text }),
        action().prop_map(|text| if text == "action" { "true" } else { text }),
        select(vec![
            "principal.level > 0",
            "resource.level > 0",
            "resource.level",
            "principal has level && principal.level == 2",
            "context.args.n == 1",
            "context.args has n",
            "context.args has s && context.args.s like \"a*\"",
            "context.args.s",
            "context.phase == \"request\"",
            "context.nothing == 1",
            "9223372036854775807 + 1 > 0",
            "ip(\"no\").isLoopback()",
            "[\"a1\", \"a2\"].contains(context.args.s)",
            "context.time.now_ms + 1 == 1",
            "(if principal.level > 0 then true else 3)",
            "principal == resource",
            r#"principal in [Lictor::Team::"t0", Lictor::Team::"t2"]"#,
            r#"{"a": principal} == {"a": resource}"#,
        ]),
    ];
    let leaf = leaf.prop_map(|text| format!("({text})"));
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn clauses() -> impl Strategy<Value = String> {
    let clause = (select(vec!["when", "when", "unless"]), condition())
        .prop_map(|(word, text)| format!(" {word} {{ {text} }}"));
    prop::collection::vec(clause, 0..3).prop_map(|clauses| clauses.concat())
}

fn policies() -> impl Strategy<Value = String> {
    let policy = (any::<bool>(), principal(), action(), resource(), clauses());
    prop::collection::vec(policy, 0..100).prop_map(|policies| {
        let text = policies.into_iter().enumerate();
        let text = text.map(|(number, (permits, principal, action, resource, clauses))| {
            let (word, id) = if permits { ("permit", "p") } else { ("forbid", "f") };
            format!("@id(\"{id}{number}\") {word}({principal}, {action}, {resource}){clauses};\n")
        });
        text.collect()
    })
}

const ARGS: [&str; 4] = ["{}", r#"{"n":1}"#, r#"{"n":2,"s":"a1"}"#, r#"{"s":"b"}"#];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Decision, reasons and errors of calls are Cedar's own over all policies.
    #[test]
    fn decisions_are_those_of_the_authorizer(text in policies()) {
        let plain = plain(&text);
        for agent in 0..AGENTS {
            for target in 0..9 {
                let call = asked(agent, target, ARGS[(agent + target) % ARGS.len()]);
                prop_assert_eq!(plain.decided(&call), plain.authorized(&call), "{:?}\n{}", call, text);
            }
        }
    }

    /// What is passed over would be false, and what is left of a policy comes out as
    /// all of it, errors and their words included; also where arguments are unknown.
    #[test]
    fn each_policy_comes_out_as_the_whole_of_it(text in policies(), args in select(&ARGS[..])) {
        let plain = plain(&text);
        for (agent, target) in (0..AGENTS).flat_map(|agent| (0..9).map(move |to| (agent, to))) {
            let mut call = asked(agent, target, args);
            for phase in [Phase::Request, Phase::List] {
                call.phase = phase;
                for (number, (whole, served)) in plain.each(&call).into_iter().enumerate() {
                    let line = text.lines().nth(number);
                    prop_assert_eq!(whole, served, "{:?} {}/{} {:?}", line, agent, target, phase);
                }
            }
        }
    }
}

/// The generated policies are worth something: each outcome occurs.
#[test]
fn the_comparison_sees_every_outcome() {
    let text = r#"
        @id("p0") permit(principal in Lictor::Team::"top", action in Lictor::Action::"all", resource in Own::Zone::"z");
        @id("p1") permit(principal, action, resource) when { principal.level > 1 };
        @id("f2") forbid(principal is Lictor::Agent, action, resource) when { resource.level > 8 };
        @id("p3") permit(principal, action, resource) when { context.args.n == 1 };
    "#;
    let plain = plain(text);
    let errors = |found: &BTreeSet<(String, String)>| {
        found.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>().join(" ")
    };
    let mut seen = BTreeSet::new();
    for (agent, target) in (0..AGENTS).flat_map(|agent| (0..9).map(move |to| (agent, to))) {
        let (allowed, reasons, failed) = plain.authorized(&asked(agent, target, ARGS[1]));
        let reasons = reasons.into_iter().collect::<Vec<_>>().join(" ");
        seen.insert(format!("{allowed} {reasons} / {}", errors(&failed)));
    }
    for expected in ["true p0 p3 / ", "true p0 p1 p3 / ", "true p3 / f2 p1", "false f2 / p3"] {
        assert!(seen.contains(expected), "{expected}: {seen:#?}");
    }
    let mut call = asked(0, 0, "{}");
    call.phase = Phase::List;
    assert!(plain.each(&call).iter().any(|(whole, _)| *whole == Held::Open));
}

const MANY: usize = 10_000;

/// How many policies a call of `tool` by an agent looks at, and which can hold.
fn looked_at(plain: &Plain, agent: usize, tool: usize) -> (usize, Vec<u32>) {
    let call = asked(agent, tool, "{}");
    let query = plain.query(&call);
    let evaluation = Evaluation::new(&plain.world.engine, &query);
    let target = evaluation.target().unwrap();
    let engine = &plain.world.engine;
    let agent = engine.participants.principal(&format!("a{agent}"), &engine.names);
    let mut found = Vec::new();
    let count = engine.index.candidates(target.bearers(&agent), &mut found);
    (count, found)
}

#[test]
fn a_call_looks_at_the_policies_of_its_tool_among_ten_thousand() {
    let mut text = String::new();
    for n in 0..MANY {
        text.push_str(&format!(
            "@id(\"p{n}\") permit(principal, action == Lictor::Action::\"s/t{n}\", resource);\n"
        ));
    }
    for n in 0..20 {
        text.push_str(&format!(
            "@id(\"f{n}\") forbid(principal, action in Lictor::Action::\"tools/call\", resource) when {{ context.args has x{n} }};\n"
        ));
    }
    let (count, found) = looked_at(&plain(&text), 1, 1);
    assert_eq!((count, found.len()), (21, 21));
}

#[test]
fn a_call_looks_at_the_policies_of_its_agent_where_all_are_for_one_group() {
    let mut text = String::new();
    for n in 0..MANY {
        let scope = match n % 3 {
            0 => format!("principal == Lictor::Agent::\"a{n}\""),
            1 => format!("principal in Lictor::Team::\"t{n}\""),
            _ => format!("principal is Lictor::Agent in Lictor::Team::\"t{n}\""),
        };
        text.push_str(&format!(
            "@id(\"p{n}\") permit({scope}, action in Lictor::Action::\"tools/call\", resource);\n"
        ));
    }
    let plain = plain(&text);
    assert_eq!(looked_at(&plain, 0, 0), (2, vec![0, 1]), "itself, and its team's team");
    assert_eq!(looked_at(&plain, 1, 0), (1, vec![1]));
    assert_eq!(looked_at(&plain, 3, 0), (1, vec![3]), "also one that the store lacks");
}
