//! Clocks that jump, back and forth, and decision points whose clocks differ.

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Window};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::memory::Memory;
use super::redis::{Clock, Redis};
use super::tests::{commit, held, limit};
use super::{State, servers};

const WINDOW_MS: i64 = 60_000;
const MAX: u64 = 5;
/// Of a rate; a call of more than that never passes.
const BURST: u64 = 3;

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn budget(cost: u64) -> LimitRequest {
    let window = Window::Sliding { ms: WINDOW_MS.unsigned_abs() };
    LimitRequest { id: "budget".into(), window, cost, ..limit(LimitKind::Budget, MAX) }
}

fn rate(cost: u64) -> LimitRequest {
    let window = Window::Sliding { ms: WINDOW_MS.unsigned_abs() };
    LimitRequest { id: "rate".into(), window, cost, burst: BURST, ..limit(LimitKind::Rate, MAX) }
}

/// When, and how many units.
type Asked = Vec<(i64, u64)>;

/// Which of `asked` pass, each at the time that its clock shows.
async fn passed(state: &dyn State, asked: &Asked, of: fn(u64) -> LimitRequest) -> Vec<bool> {
    let mut passed = Vec::new();
    for (n, (now_ms, cost)) in asked.iter().enumerate() {
        let call = commit(&format!("{}-{n}", of(1).id), vec![of(*cost)]);
        passed.push(held(state.commit(call, *now_ms).await.unwrap()));
    }
    passed
}

/// Those that passed.
fn granted(asked: &Asked, passed: &[bool]) -> Asked {
    let both = asked.iter().zip(passed);
    both.filter_map(|(asked, passed)| passed.then_some(*asked)).collect()
}

/// The same at the times that a clock shows which never runs back.
fn forward(asked: &Asked) -> Asked {
    let mut latest = i64::MIN;
    let later = |(at, units): &(i64, u64)| {
        latest = latest.max(*at);
        (latest, *units)
    };
    asked.iter().map(later).collect()
}

fn jumps(range: std::ops::Range<i64>) -> impl Strategy<Value = Asked> {
    proptest::collection::vec((range, 1..4_u64), 1..60)
}

#[test]
fn however_the_clock_jumps_no_window_holds_more_than_its_limit() {
    let runtime = runtime();
    let check = |asked: Asked| {
        let shown = forward(&asked);
        let granted = |of| granted(&shown, &runtime.block_on(passed(&Memory::new(), &asked, of)));
        let of_budget = granted(budget);
        for (start, (from, _)) in of_budget.iter().enumerate() {
            let within = of_budget.iter().skip(start).take_while(|(at, _)| at - from < WINDOW_MS);
            let sum: u64 = within.map(|(_, units)| units).sum();
            prop_assert!(sum <= MAX, "{} in the window from {}", sum, from);
        }
        let of_rate = granted(rate);
        for (start, (from, _)) in of_rate.iter().enumerate() {
            let mut sum = 0;
            for (at, units) in of_rate.iter().skip(start) {
                sum += units;
                let room = BURST + (at - from).unsigned_abs() / (WINDOW_MS.unsigned_abs() / MAX);
                prop_assert!(sum <= room, "{} of {} from {} to {}", sum, room, from, at);
            }
        }
        Ok(())
    };
    runner(256).run(&jumps(0..4 * WINDOW_MS), check).unwrap();
}

#[test]
fn clocks_that_differ_by_less_than_a_window_share_one_limit_in_every_store() {
    let runtime = runtime();
    let start_ms = servers::now_ms();
    let check = |offsets: Asked| {
        let asked: Asked = offsets.iter().map(|(ms, cost)| (start_ms + ms, *cost)).collect();
        let (memory, redis) = runtime.block_on(async {
            let redis: Redis = servers::plain().await;
            let memory = passed(&Memory::new(), &asked, budget).await;
            (memory, passed(&redis, &asked, budget).await)
        });
        for passed in [memory, redis] {
            let sum: u64 = granted(&asked, &passed).iter().map(|(_, units)| units).sum();
            prop_assert!((1..=MAX).contains(&sum), "{} of {:?}", sum, asked);
        }
        Ok(())
    };
    runner(48).run(&jumps(0..WINDOW_MS), check).unwrap();
}

#[tokio::test]
async fn after_a_jump_forth_a_new_window_begins_and_a_jump_back_brings_no_other() {
    let start_ms = servers::now_ms();
    let redis: Redis = servers::plain().await;
    for state in [&Memory::new() as &dyn State, &redis] {
        let mut calls = 0;
        let mut at = async |offset: i64| {
            calls += 1;
            let call = commit(&format!("c{calls}"), vec![budget(MAX)]);
            held(state.commit(call, start_ms + offset).await.unwrap())
        };
        assert!(at(0).await, "a window's worth");
        assert!(!at(-10 * WINDOW_MS).await && !at(1).await, "back");
        assert!(at(3 * WINDOW_MS).await, "forth");
        for offset in [0, WINDOW_MS, 2 * WINDOW_MS, 3 * WINDOW_MS + 1] {
            assert!(!at(offset).await, "back again, {offset}");
        }
    }
}

#[tokio::test]
async fn the_clocks_of_decision_points_do_not_matter_to_a_shared_store() {
    let redis = servers::with_clock(Clock::Store).await;
    let far = servers::now_ms() + 1_000 * WINDOW_MS;
    let mut passed = 0;
    for (n, now_ms) in
        [0, far, -far, far / 2, i64::MAX / 2].into_iter().cycle().take(20).enumerate()
    {
        let call = commit(&format!("c{n}"), vec![budget(1)]);
        passed += u64::from(held(redis.commit(call, now_ms).await.unwrap()));
    }
    assert_eq!(passed, MAX);
}
