//! The pure decision (`plan`, `evaluate`, `conclude`, digests) with the standard
//! policy: 20 Rego rules, 21 Cedar policies, 10 arguments, over 100 and 10,000 tools; and
//! with policies of one engine by the number. Each part is timed beside the whole, so that
//! the ratios can be read off one run; what is asked of the allocator is printed with it.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up must stop")]

// The same bundles and calls as those of the table that tests/benches/table prints.
#[path = "../../tests/src/standard.rs"]
#[expect(unreachable_pub, reason = "a library of its own where it lives")]
mod standard;

use std::sync::Arc;

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::{Budget, Query, Way};
use lictor_policy_lib::evaluate::complete_facts;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::call::Call;
use lictor_proto::facts::Facts;
use standard::{SHAPES, Shape};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const NOW_MS: i64 = 1_800_000_000_000;

fn main() {
    divan::main();
}

fn bundle(shape: &Shape) -> LoadedBundle {
    let limits = Limits::default();
    let pairs = shape.files().into_iter().map(|(name, text)| (name, text.into_bytes()));
    let files = Files::from_pairs(pairs, &limits).expect("names are good");
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let verified = verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, NOW_MS)
        .expect("the bundle verifies");
    LoadedBundle::load(verified, Times::Ignored).expect("the bundle loads")
}

fn call() -> Call {
    Call::from_json(standard::call(0, 0).as_bytes()).expect("the call is good")
}

/// Decides again and again; the call must be allowed.
fn decide(bencher: divan::Bencher<'_, '_>, shape: &Shape, way: Way) {
    let (mut bundle, call) = (bundle(shape), call());
    bundle.evaluate_by(way);
    let decide = || dry_run(&bundle, &call, Facts::default(), NOW_MS, Budget::default());
    let first = decide().decision;
    assert_eq!(first.effect.as_str(), "allow", "{:?}", first.reasons);
    bencher.bench(decide);
}

const SIZES: [usize; 2] = [100, 10_000];

#[divan::bench(args = SIZES, sample_count = 50)]
fn whole_decision(bencher: divan::Bencher<'_, '_>, tools: usize) {
    decide(bencher, &Shape::standard(tools), Way::Fastest);
}

#[divan::bench(args = SIZES, sample_count = 50)]
fn whole_decision_by_the_interpreter(bencher: divan::Bencher<'_, '_>, tools: usize) {
    decide(bencher, &Shape::standard(tools), Way::Interpreter);
}

/// Names of the bundles over few tools.
fn few_tools() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().filter(|(_, shape)| shape.tools == SIZES[0]).map(|(name, _)| *name)
}

#[divan::bench(args = few_tools(), sample_count = 50)]
fn policies(bencher: divan::Bencher<'_, '_>, name: &str) {
    let found = SHAPES.iter().find(|(known, _)| *known == name);
    decide(bencher, &found.expect("the name is one of them").1, Way::Fastest);
}

#[divan::bench(args = ["rego", "cedar"], sample_count = 50)]
fn one_engine(bencher: divan::Bencher<'_, '_>, name: &str) {
    let (mut bundle, call) = (bundle(&Shape::standard(100)), call());
    bundle.evaluate_by(Way::Fastest);
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
    let (bundle, call) = (bundle(&Shape::standard(100)), call());
    bencher.bench(|| complete_facts(&bundle, &call, Facts::default(), NOW_MS));
}

#[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
fn load(bencher: divan::Bencher<'_, '_>, tools: usize) {
    bencher.bench(|| Arc::new(bundle(&Shape::standard(tools))));
}
