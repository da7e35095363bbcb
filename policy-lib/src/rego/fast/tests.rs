//! Both ways give the same answer, also where one of them is an error.

use proptest::prelude::*;

use super::super::tests::{Bundle, call, evaluate, facts, patient};
use super::super::{DIFFERS, RegoEngine};
use super::strict;
use crate::engine::{Engine, FastPath, Way};

mod programs;
mod traps;

/// What the fast path does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    Answered,
    Declined,
    NotProved,
}

fn did(engine: &RegoEngine, args: &str) -> Did {
    let Ok(fast) = &engine.fast else { return Did::NotProved };
    let call = call(args);
    let input = engine.keys.input(&call, &facts());
    match fast.ask(call.phase, input, patient().time) {
        Some(_) => Did::Answered,
        None => Did::Declined,
    }
}

/// Asks both ways; they must agree.
#[track_caller]
fn agree(engine: &mut RegoEngine, args: &str, text: &str) {
    engine.evaluate_by(Way::Both);
    let both = evaluate(engine, &call(args), &facts(), patient());
    let differs = both.errors.iter().any(|error| error.message.contains(DIFFERS));
    assert!(!differs, "{text}\n{args}\n{}", told(engine, args));
    engine.evaluate_by(Way::Fastest);
    let fastest = evaluate(engine, &call(args), &facts(), patient());
    engine.evaluate_by(Way::Interpreter);
    let meant = evaluate(engine, &call(args), &facts(), patient());
    assert_eq!(fastest, meant, "{text}\n{args}");
}

fn told(engine: &RegoEngine, args: &str) -> String {
    let call = call(args);
    let input = || engine.keys.input(&call, &facts());
    let fast = engine.fast.as_ref().map(|fast| fast.ask(call.phase, input(), patient().time));
    let meant = engine.interpreted("data._lictor.request", input(), patient().time);
    format!("fast: {:?}\nmeant: {meant:?}", fast.ok().flatten())
}

#[test]
fn the_strict_calls_are_those_of_the_policies() {
    let known = super::super::builtins::names();
    let engine = known.filter(|name| regorus::unstable::BUILTINS.contains_key(name));
    // `walk` is a relation, and `rego.metadata.*` never reaches the engine.
    let mut wanted: Vec<&str> = engine.filter(|name| *name != "walk").collect();
    wanted.extend(["__builtin_sets.union", "__builtin_sets.intersection"]);
    wanted.sort_unstable();
    assert_eq!(strict::NAMES, wanted);
    for name in strict::NAMES {
        let (_, arity) = strict::of(name).unwrap();
        assert_eq!(usize::from(arity), super::super::builtins::arity(name), "{name}");
    }
}

fn seeds() -> u32 {
    std::env::var("LICTOR_PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(250)
}

/// Generated policies over generated arguments of wrong types, with members missing, divisors of
/// zero and rules in conflict.
#[test]
fn both_ways_agree_on_generated_programs() {
    let mut counts = [0_u32; 4];
    let config = ProptestConfig { cases: seeds(), failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let counted = std::cell::RefCell::new(&mut counts);
    let ran = runner.run(&any::<u64>(), |seed| {
        let program = programs::program(seed);
        let bundle = Bundle::of(&[("rego/u/u.rego", &program.text)]).data(programs::DATA);
        let (engine, _) = RegoEngine::load(&bundle.source());
        let mut counts = counted.borrow_mut();
        let Some(mut engine) = engine else {
            counts[3] += 1;
            return Ok(());
        };
        if std::env::var("LICTOR_PROGRAMS").is_ok()
            && let Err(slow) = &engine.fast
        {
            println!("SLOW {}", slow.why);
        }
        for args in &program.arguments {
            agree(&mut engine, args, &program.text);
            counts[did(&engine, args) as usize] += 1;
        }
        Ok(())
    });
    ran.unwrap();
    let [answered, declined, not_proved, not_loaded] = counts;
    println!(
        "answered {answered}, declined {declined}, not proved {not_proved}, not loaded {not_loaded}"
    );
    // Else nothing was compared.
    assert!(answered > seeds() / 2 && declined > seeds() / 10, "{counts:?}");
}

#[test]
fn the_standard_policy_is_proved() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/standard/rego/standard/rules.rego");
    let text = std::fs::read_to_string(root).unwrap();
    let engine = Bundle::of(&[("rego/standard/rules.rego", &text)]).engine();
    assert!(matches!(engine.fast_path(), Some(FastPath::Proved(_))), "{:?}", engine.fast_path());
}
