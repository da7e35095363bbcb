//! The pure decision (`plan`, `evaluate`, `conclude`, digests) with the standard
//! policy: 20 Rego rules, 21 Cedar policies, 10 arguments, over 100 and 10,000 tools.
//! Each part is timed beside the whole, so that the ratios can be read off one run.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up must stop")]

use std::fmt::Write as _;
use std::sync::Arc;

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::{Budget, Query};
use lictor_policy_lib::evaluate::complete_facts;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::call::Call;
use lictor_proto::facts::Facts;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const NOW_MS: i64 = 1_800_000_000_000;

fn main() {
    divan::main();
}

fn data(tools: usize) -> String {
    let schema = r#"{"type":"object","properties":{"path":{"type":"string"},"rows":{"type":"integer"},"mode":{"type":"string"},"host":{"type":"string"},"command":{"type":"string"},"query":{"type":"string"},"note":{"type":"string"},"dry":{"type":"boolean"},"limit":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}}}"#;
    let mut text = String::from(
        r#"{"registry":{"users":{"ops":{}},"teams":{"team-0":{}},"servers":{"s":{}},"agents":{"#,
    );
    for i in 0..50 {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}"agent-{i}":{{"owner":"ops","team":"team-0","status":"active","attrs":{{"tenant":"default","roles":["reader","writer"],"teams":["team-0"]}}}}"#
        );
    }
    text.push_str(r#"},"tools":{"#);
    for i in 0..tools {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}"s/t{i}":{{"input_schema":{schema},"annotations":{{"source":"trusted","reads":"internal","effect":"mutate"}},"attrs":{{"area":"files","owners":["ops"],"max_rows":5000,"off":false,"sensitive":false}}}}"#
        );
    }
    text.push_str(r#"}},"roles_of_team":{"team-0":["reader"]},"areas_of_role":{"reader":["files"],"writer":["files"]},"hosts":["a.example","b.example"]}"#);
    text
}

fn bundle(tools: usize) -> LoadedBundle {
    let read = |name: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/standard/");
        std::fs::read(format!("{root}{name}")).expect("the standard policy is there")
    };
    let manifest = r#"{"revision":"bench","metadata":{"lictor":{"name":"standard","version":1}}}"#;
    let pairs: Vec<(&str, Vec<u8>)> = vec![
        (".manifest", manifest.as_bytes().to_vec()),
        ("data.json", data(tools).into_bytes()),
        ("rego/standard/rules.rego", read("rego/standard/rules.rego")),
        ("cedar/standard.cedar", read("cedar/standard.cedar")),
    ];
    let limits = Limits::default();
    let files = Files::from_pairs(pairs, &limits).expect("names are good");
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let verified = verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, NOW_MS)
        .expect("the bundle verifies");
    LoadedBundle::load(verified, Times::Ignored).expect("the bundle loads")
}

fn call() -> Call {
    Call::from_json(
        br#"{"call_id":"01900000-0000-7000-8000-000000000000","subject":{"type":"user","id":"ops"},
        "agent":{"type":"agent","id":"agent-7"},"action":{"name":"tools/call"},
        "resource":{"type":"tool","id":"s/t42"},
        "context":{"args":{"path":"/files/a/b.txt","rows":100,"mode":"write","host":"a.example",
        "command":"ls -l","query":"select 1","note":"quarterly figures","dry":false,"limit":20,
        "tags":["x","y"]}}}"#,
    )
    .expect("the call is good")
}

const SIZES: [usize; 2] = [100, 10_000];

#[divan::bench(args = SIZES, sample_count = 50)]
fn whole_decision(bencher: divan::Bencher<'_, '_>, tools: usize) {
    let (bundle, call) = (bundle(tools), call());
    let decide = || dry_run(&bundle, &call, Facts::default(), NOW_MS, Budget::default());
    let first = decide().decision;
    assert_eq!(first.effect.as_str(), "allow", "{:?}", first.reasons);
    bencher.bench(decide);
}

#[divan::bench(args = ["rego", "cedar"], sample_count = 50)]
fn one_engine(bencher: divan::Bencher<'_, '_>, name: &str) {
    let (bundle, call) = (bundle(100), call());
    let facts = complete_facts(&bundle, &call, Facts::default(), NOW_MS);
    let query = Query {
        call: &call,
        facts: &facts,
        registry: bundle.registry(),
        budget: Budget::default(),
    };
    let engine = bundle.engines().iter().find(|engine| engine.name() == name);
    let engine = engine.expect("the engine is there");
    bencher.bench(|| engine.evaluate(&query));
}

#[divan::bench]
fn request_digest(bencher: divan::Bencher<'_, '_>) {
    let call = call();
    bencher.bench(|| call.request_digest());
}

#[divan::bench]
fn facts_of_the_registry(bencher: divan::Bencher<'_, '_>) {
    let (bundle, call) = (bundle(100), call());
    bencher.bench(|| complete_facts(&bundle, &call, Facts::default(), NOW_MS));
}

#[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
fn load(bencher: divan::Bencher<'_, '_>, tools: usize) {
    bencher.bench(|| Arc::new(bundle(tools)));
}
