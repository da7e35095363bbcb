//! The arithmetic exists twice, in Rust and in Lua: random histories must come out the same.

use std::sync::Arc;

use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::limits::{LimitKind, LimitRequest, OnError, Unit, Window};
use lictor_policy_lib::registry::Prices;
use lictor_proto::call::Usage;
use lictor_proto::decide::{Detail, Outcome, Settle};
use lictor_proto::decision::{Effect, Reason};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRunner};

use super::approval::Binding;
use super::memory::Memory;
use super::redis::Redis;
use super::{Commit, SessionKey, State, servers};

#[derive(Debug, Clone)]
enum Step {
    /// Commits a call that wants these limits, with this cost.
    Commit { limits: Vec<usize>, session: bool, cost: u64 },
    /// Settles an earlier call.
    Settle { call: usize, outcome: Outcome, used: u64 },
    /// Time goes on.
    Wait { ms: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limits = prop::collection::vec(0..LIMITS, 0..3);
    let outcome = prop_oneof![
        Just(Outcome::NotSent),
        Just(Outcome::Failed),
        Just(Outcome::Done),
        Just(Outcome::Unknown)
    ];
    let step = prop_oneof![
        5 => (limits, any::<bool>(), 0..4u64)
            .prop_map(|(limits, session, cost)| Step::Commit { limits, session, cost }),
        3 => (0..24usize, outcome, 0..6u64)
            .prop_map(|(call, outcome, used)| Step::Settle { call, outcome, used }),
        3 => prop_oneof![0..50i64, 500..2_000i64, 50_000..400_000i64]
            .prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..40)
}

/// How many limits there are.
const LIMITS: usize = 9;
/// Of a model whose tokens differ in price.
const PRICES: Prices = Prices {
    input_usd_micros_per_mtok: 700_000_001,
    output_usd_micros_per_mtok: 900_000_000,
    cached_usd_micros_per_mtok: 100_000_000,
    reasoning_usd_micros_per_mtok: 0,
};

fn limit(index: usize, cost: u64, now_ms: i64) -> LimitRequest {
    let second = Window::Sliding { ms: 1_000 };
    let (kind, window, max, unit) = match index {
        0 => (LimitKind::Rate, second, 3, Unit::Calls),
        1 => (LimitKind::Rate, Window::Sliding { ms: 60_000 }, 7, Unit::Tokens),
        2 => (LimitKind::Budget, second, 4, Unit::Tokens),
        3 => (LimitKind::Budget, Window::Sliding { ms: 100_000 }, 6, Unit::Calls),
        4 => (LimitKind::Budget, Window::Session, 9, Unit::Tokens),
        5 => (LimitKind::Concurrent, Window::Session, 2, Unit::Calls),
        6 => {
            let start_ms = now_ms - now_ms.rem_euclid(30_000);
            let period = Window::Calendar { start_ms, end_ms: start_ms + 30_000 };
            (LimitKind::Budget, period, 9, Unit::Tokens)
        }
        7 => (LimitKind::Budget, Window::Sliding { ms: 5_000 }, 9_000, Unit::UsdMicros),
        _ => (LimitKind::Once, Window::Session, 1, Unit::Calls),
    };
    LimitRequest {
        id: format!("l{index}"),
        kind,
        key: "k".into(),
        max,
        window,
        unit,
        cost: match unit {
            Unit::Calls => 1,
            Unit::UsdMicros => cost * 900,
            Unit::Tokens | Unit::Bytes => cost,
        },
        on_error: OnError::Deny,
        refund_on_failure: index.is_multiple_of(2),
        burst: if index == 1 { 3 } else { max },
        prices: (unit == Unit::UsdMicros).then_some(PRICES),
    }
}

fn implicit(id: &str) -> SessionKey {
    SessionKey { tenant: "default".into(), id: id.into(), implicit: true }
}

/// What is permitted in the first session counts for the second one too.
fn commit(call: usize, mut wanted: Vec<usize>, session: bool, cost: u64, now_ms: i64) -> Commit {
    wanted.sort_unstable();
    wanted.dedup();
    let limits = wanted.into_iter().map(|index| limit(index, cost, now_ms)).collect();
    let session = if session { "s1" } else { "s2" };
    let verdict = Verdict {
        effect: Effect::Allow,
        reasons: vec![],
        limits,
        ..Verdict::denied(Reason::new("", ""))
    };
    Commit {
        session: implicit(session),
        implicit: (session == "s1").then(|| implicit("s2")),
        version: None,
        call_id: format!("c{call}"),
        request_digest: "d".into(),
        decision_id: "d".into(),
        peer: "pep".into(),
        verdict: Arc::new(verdict),
        resource: "a/b".into(),
        cost_usd_micros: cost * 700,
        prices: Some(PRICES).filter(|_| cost > 1),
        binding: binding(session),
        opens: None,
        permits: true,
        watched: true,
    }
}

fn binding(session: &str) -> Binding {
    Binding {
        tenant: "default".into(),
        session: session.into(),
        subject: String::new(),
        agent: String::new(),
        delegation: vec![],
        action: String::new(),
        resource: String::new(),
        args_digest: String::new(),
        content_digest: String::new(),
        tool_digest: String::new(),
        bundle_digest: String::new(),
    }
}

/// What both said to each step, as text.
async fn told(state: &dyn State, steps: &[Step], start_ms: i64, watched: bool) -> Vec<String> {
    let mut now_ms = start_ms;
    let mut calls = 0;
    let mut told = Vec::new();
    for step in steps {
        match step.clone() {
            Step::Wait { ms } => now_ms += ms,
            Step::Commit { limits, session, cost } => {
                let commit = commit(calls, limits, session, cost, now_ms);
                let implicit = commit.implicit.clone().filter(|_| watched);
                let commit = Commit { watched, implicit, ..commit };
                let answer = state.commit(commit, now_ms).await;
                told.push(format!("{:?}", answer.unwrap()));
                let stored = state.stored("default", "pep", &format!("c{calls}")).await;
                told.push(format!("{:?}", stored.unwrap()));
                calls += 1;
            }
            Step::Settle { call, outcome, used } => {
                let usage = Usage { input_tokens: used, ..Usage::default() };
                let detail = Detail {
                    cached_tokens: used / 2,
                    reasoning_tokens: used / 3,
                    result_digest: format!("r{used}"),
                };
                let usage = Usage { max_output_tokens: used, ..usage };
                let settle = Settle { call_id: format!("c{call}"), outcome, usage, detail };
                told.push(format!("{:?}", state.settle("default", "pep", &settle, now_ms).await));
            }
        }
        // What nobody watches need not be kept.
        for session in ["s1", "s2"].into_iter().filter(|_| watched) {
            let key = SessionKey { tenant: "default".into(), id: session.into(), implicit: true };
            let read = state.read(&key, &binding(session), now_ms).await.unwrap();
            told.push(format!("{read:?}"));
        }
    }
    told
}

#[test]
fn random_histories_come_out_the_same() {
    come_out_the_same(true);
}

#[test]
fn random_histories_that_nobody_watches_come_out_the_same() {
    come_out_the_same(false);
}

fn come_out_the_same(watched: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start_ms = servers::now_ms();
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    runner
        .run(&steps(), |steps| {
            let (memory, redis) = runtime.block_on(async {
                let redis: Redis = servers::plain().await;
                let memory = Memory::new();
                (
                    told(&memory, &steps, start_ms, watched).await,
                    told(&redis, &steps, start_ms, watched).await,
                )
            });
            for (index, (memory, redis)) in memory.iter().zip(&redis).enumerate() {
                prop_assert_eq!(memory, redis, "answer {}", index);
            }
            Ok(())
        })
        .unwrap();
}
