//! A bundle that takes over what it has alike with the one before is the same bundle as one that
//! is loaded cold, on any number of threads: it decides the same, and as much is said of it.

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, VerifiedBundle, Window};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::load::{LoadedBundle, Loading, Times};
use lictor_policy_lib::work::Threads;
use lictor_proto::call::Call;
use lictor_proto::facts::Facts;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW_MS: i64 = 1_800_000_000_000;
const TOOLS: usize = 5;

/// One tool and what is written about it.
#[derive(Debug, Clone)]
struct Tool {
    /// Whether it is there, and which of several schemas it has.
    schema: usize,
    attrs: usize,
    most: u32,
    /// Whether its policy reads an argument that few schemas have.
    reads_note: bool,
}

/// A whole bundle, of few enough variants that many have much alike.
#[derive(Debug, Clone)]
struct Variant {
    tools: Vec<Tool>,
    /// Lines before the first policy, which move every place.
    lines: usize,
    clearance: usize,
    general: usize,
    extra: usize,
    detectors: usize,
}

fn tool() -> impl Strategy<Value = Tool> {
    // Mostly the first of all, so that most bundles load.
    let often = |others: usize| prop_oneof![12 => Just(0), 1 => 1..=others];
    let most = prop_oneof![3 => Just(500_u32), 1 => Just(9_u32)];
    (often(6), often(2), most, prop::bool::weighted(0.05))
        .prop_map(|(schema, attrs, most, reads_note)| Tool { schema, attrs, most, reads_note })
}

fn variant() -> impl Strategy<Value = Variant> {
    let often = |others: usize| prop_oneof![8 => Just(0), 1 => 1..=others];
    (prop::collection::vec(tool(), TOOLS), 0..3_usize, often(2), often(3), often(3), often(2))
        .prop_map(|(tools, lines, clearance, general, extra, detectors)| Variant {
            tools,
            lines,
            clearance,
            general,
            extra,
            detectors,
        })
}

fn entry(tool: &Tool) -> Option<Value> {
    let rows = json!({"type": "integer"});
    let of = |properties: Value| json!({"type": "object", "required": ["rows"], "properties": properties});
    let schema = match tool.schema {
        0 => of(json!({"rows": rows, "mode": {"type": "string"}})),
        1 => return None,
        2 => of(json!({"rows": {"type": "string"}})),
        3 => of(json!({"rows": rows, "note": {"type": "string"}})),
        4 => json!({"type": "nonsense"}),
        5 => of(json!({"rows": rows, "untyped": {}})),
        _ => return Some(json!({"description": "no schema"})),
    };
    let level = match tool.attrs {
        0 => json!({"level": 3}),
        1 => json!({"level": "three"}),
        _ => json!({}),
    };
    Some(json!({"input_schema": schema, "attrs": level, "annotations": {"effect": "none"}}))
}

fn data(variant: &Variant) -> Value {
    let tools = variant.tools.iter().enumerate();
    let tools: Map<String, Value> =
        tools.filter_map(|(n, tool)| Some((format!("s/t{n}"), entry(tool)?))).collect();
    let clearance = [json!(3), json!("3"), json!(null)].get(variant.clearance).cloned();
    let detectors = match variant.detectors {
        0 => json!([]),
        1 => json!([{"id": "secret"}]),
        _ => json!([{"id": "pii/card"}]),
    };
    json!({
        "registry": {
            "users": {"ops": {}}, "teams": {"t": {}}, "servers": {"s": {}},
            "agents": {
                "a": {"owner": "ops", "team": "t", "status": "active", "attrs": {"clearance": clearance}},
                "b": {"owner": "ops", "status": "active"},
            },
            "tools": tools,
        },
        "guardrails": {"detectors": detectors},
    })
}

fn cedar(variant: &Variant) -> String {
    let mut text = "// moves what follows\n".repeat(variant.lines);
    for (n, tool) in variant.tools.iter().enumerate() {
        let note = if tool.reads_note { " && context.args.note == \"x\"" } else { "" };
        text.push_str(&format!(
            "@id(\"t{n}.permit\") permit(principal, action == Lictor::Action::\"s/t{n}\", resource)\n\
             when {{ context.args.rows <= {}{note} }};\n",
            tool.most
        ));
    }
    text.push_str(match variant.general {
        0 => "@id(\"level\") forbid(principal, action in Lictor::Action::\"tools/call\", resource)\nwhen { resource.attrs has level && resource.attrs.level > 5 };\n",
        1 => "@id(\"clear\") forbid(principal, action in Lictor::Action::\"tools/call\", resource)\nwhen { principal.attrs has clearance && principal.attrs.clearance < 2 };\n",
        2 => "@id(\"mode\") forbid(principal, action in Lictor::Action::\"tools/call\", resource)\nwhen { context.args has mode && context.args.mode == \"wipe\" };\n",
        _ => "@id(\"t0.permit\") forbid(principal, action, resource) when { context.phase == \"never\" };\n",
    });
    if variant.extra > 0 {
        text.push_str("@id(\"place\") forbid(principal, action == Lictor::Action::\"s/t1\", resource)\nwhen { Own::Place::\"x\".floor > 7 };\n");
    }
    text
}

fn verified(variant: &Variant) -> VerifiedBundle {
    let manifest = json!({"revision": "r", "metadata": {"lictor": {"name": "n", "version": 1}}});
    let rego = "package lictor.u\n\nallow if data.registry.tools[input.resource.id].annotations.effect == \"none\"\n";
    let mut pairs = vec![
        (".manifest", manifest.to_string()),
        ("data.json", data(variant).to_string()),
        ("rego/u/rules.rego", rego.to_owned()),
        ("cedar/u.cedar", cedar(variant)),
    ];
    let floor = match variant.extra {
        0 => None,
        1 => Some("Long"),
        2 => Some("String"),
        _ => Some("Nobody"),
    };
    pairs.extend(floor.map(|ty| {
        let schema = format!("namespace Own {{ entity Place {{ floor: {ty} }}; }}");
        ("cedar/schema.cedarschema", schema)
    }));
    let pairs = pairs.into_iter().map(|(name, text)| (name, text.into_bytes()));
    let files = Files::from_pairs(pairs, &Limits::default()).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let source = Source::Folder(files);
    let require = Require::AllowUnsigned;
    lictor_policy_lib::bundle::verify(source, &require, &floor, &Limits::default(), NOW_MS).unwrap()
}

fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    for tool in 0..TOOLS {
        for (agent, args) in [
            ("a", json!({"rows": 7})),
            ("a", json!({"rows": 70, "mode": "wipe"})),
            ("b", json!({"rows": "7", "note": "x"})),
            ("b", json!({"rows": 7, "note": "4111 1111 1111 1111"})),
        ] {
            let call = json!({
                "call_id": "01900000-0000-7000-8000-000000000000",
                "subject": {"type": "user", "id": "ops"}, "agent": {"type": "agent", "id": agent},
                "action": {"name": "tools/call"},
                "resource": {"type": "tool", "id": format!("s/t{tool}")}, "context": {"args": args},
            });
            calls.push(Call::from_json(call.to_string().as_bytes()).unwrap());
        }
    }
    calls
}

type Loaded = Result<LoadedBundle, Vec<Diagnostic>>;

fn load(variant: &Variant, threads: usize, previous: Option<&LoadedBundle>) -> Loaded {
    let loading = Loading { threads: Threads::new(threads), previous };
    LoadedBundle::load_with(verified(variant), Times::Ignored, loading)
}

/// All that can be seen of a bundle from outside.
fn seen(loaded: &Loaded) -> String {
    let bundle = match loaded {
        Ok(bundle) => bundle,
        Err(found) => return format!("{found:#?}"),
    };
    let mut text = format!("{:#?} {:?}", bundle.warnings(), bundle.response_check());
    for tool in 0..TOOLS {
        let id = format!("s/t{tool}");
        let attributes = Value::Object(bundle.attributes("tools", &id));
        text.push_str(&format!("{id} {} {attributes}\n", bundle.tool_digest(&id)));
    }
    // The machine may be busy; what is compared is not how long it takes.
    let budget = Budget { time: std::time::Duration::from_secs(30), ..Budget::default() };
    for call in calls() {
        let run = dry_run(bundle, &call, Facts::default(), NOW_MS, budget);
        text.push_str(&format!("{:#?}\n{:#?}\n", run.decision, run.verdict));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_bundle_loaded_after_another_is_the_bundle_loaded_cold(
        variants in prop::collection::vec(variant(), 2..6)
    ) {
        let mut live: Option<LoadedBundle> = None;
        for variant in &variants {
            let cold = load(variant, 1, None);
            let after = load(variant, 3, live.as_ref());
            prop_assert_eq!(seen(&cold), seen(&after), "{:?}", variant);
            live = after.ok().or(live);
        }
    }
}

fn plain() -> Variant {
    let tool = Tool { schema: 0, attrs: 0, most: 500, reads_note: false };
    let tools = vec![tool; TOOLS];
    Variant { tools, lines: 0, clearance: 0, general: 0, extra: 0, detectors: 0 }
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.as_ref().err().into_iter().flatten().map(|found| found.code).collect()
}

#[test]
fn a_policy_that_was_valid_is_refused_when_what_it_depends_on_changes() {
    let plain = plain();
    let live = load(&plain, 2, None).unwrap();
    let changed = |change: &dyn Fn(&mut Variant)| {
        let mut variant = plain.clone();
        change(&mut variant);
        codes(&load(&variant, 2, Some(&live)))
    };
    assert!(changed(&|_| {}).is_empty());
    assert!(changed(&|variant| variant.lines = 2).is_empty());
    // The type of an argument, the tool itself, the type of an attribute, another schema.
    assert!(changed(&|variant| variant.tools[2].schema = 2).contains(&"cedar_invalid"));
    assert!(changed(&|variant| variant.tools[2].schema = 1).contains(&"cedar_action_unknown"));
    assert!(changed(&|v| v.tools.iter_mut().for_each(|t| t.attrs = 1)).contains(&"cedar_invalid"));
    assert!(changed(&|variant| variant.tools[2].reads_note = true).contains(&"cedar_invalid"));
    assert!(changed(&|variant| variant.extra = 2).contains(&"cedar_invalid"));

    let own = Variant { extra: 1, ..plain.clone() };
    let live = load(&own, 2, None).unwrap();
    let other = Variant { extra: 2, ..plain };
    assert!(codes(&load(&other, 2, Some(&live))).contains(&"cedar_invalid"));
}
