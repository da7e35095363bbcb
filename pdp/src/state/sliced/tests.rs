//! Slices of a real store.

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Unit, Window};
use lictor_proto::call::Usage;
use lictor_proto::decide::Detail;

use super::*;
use crate::state::SettleError;
use crate::state::redis::connection::Patience;
use crate::state::servers;
use crate::state::tests::{commit, limit, settle};

const SLICING: Slicing = Slicing { divisor: 20, life_ms: 2_000 };
const HOUR: Window = Window::Sliding { ms: 3_600_000 };

fn budget(max: u64) -> LimitRequest {
    LimitRequest { window: HOUR, ..limit(LimitKind::Budget, max) }
}

fn asked(call_id: &str, limits: Vec<LimitRequest>) -> Commit {
    Commit { watched: false, ..commit(call_id, limits) }
}

async fn points(count: usize) -> Vec<Sliced> {
    let shared = servers::several(count).await;
    shared.into_iter().map(|redis| Sliced::new(redis, SLICING)).collect()
}

async fn passes(point: &Sliced, call_id: &str, limits: Vec<LimitRequest>, now_ms: i64) -> bool {
    match point.commit(asked(call_id, limits), now_ms).await.unwrap() {
        Committed::Stored(stored) => matches!(stored.reservation, Reservation::Held(_)),
        other => panic!("{other:?}"),
    }
}

/// Units that the store has left, leased ones taken.
async fn remaining(point: &Sliced) -> u64 {
    let page = point.counters("default", &Wanted::default(), 0).await.unwrap();
    page.counters.iter().map(|counter| counter.remaining).sum()
}

/// 64 clients at once, half of them at each of two decision points, until nothing is left.
async fn spend_all(points: &[Sliced], max: u64) -> u64 {
    let clients = (0..64).map(|client| {
        let point = points[client % points.len()].clone();
        tokio::spawn(async move {
            let mut spent = 0;
            let mut refused = 0;
            for n in 0.. {
                if passes(&point, &format!("{client}-{n}"), vec![budget(max)], 1).await {
                    spent += 1;
                } else {
                    refused += 1;
                }
                if refused == 3 {
                    break;
                }
            }
            spent
        })
    });
    let mut spent = 0;
    for client in clients.collect::<Vec<_>>() {
        spent += client.await.unwrap();
    }
    spent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_two_decision_points_stay_within_the_bound() {
    let (points, max) = (points(2).await, 4_000);
    let spent = spend_all(&points, max).await;
    let bound = SLICING.overshoot_units(&budget(max), 2);
    assert!(spent <= max, "{spent}: within one life nothing is gone over at all");
    assert!(spent >= max - bound, "{spent}: no more is idle than slices can hold");
    // What is idle goes back and is spent by whoever asks.
    for point in &points {
        point.give_back(1, true).await.unwrap();
    }
    assert_eq!(remaining(&points[0]).await, max - spent);
    let mut more = 0;
    while passes(&points[0], &format!("late-{more}"), vec![budget(max)], 3_000).await {
        more += 1;
    }
    assert_eq!(spent + more, max);
}

#[tokio::test]
async fn most_decisions_need_no_round_trip() {
    let server = servers::Server::alone();
    let point = Sliced::new(servers::at(&server, "t:", Patience::default()), SLICING);
    let before = servers::commands(&server);
    for n in 0..2_000 {
        assert!(passes(&point, &format!("c{n}"), vec![budget(100_000)], 1).await);
    }
    let trips = servers::commands(&server) - before;
    assert!(trips <= 200, "{trips} commands for 2,000 decisions");
}

#[tokio::test]
async fn a_decision_point_that_dies_loses_a_slice_and_gains_nothing() {
    let mut points = points(2).await;
    assert!(passes(&points[0], "a", vec![budget(1_000)], 1).await);
    drop(points.remove(0));
    let mut spent = 0;
    while passes(&points[0], &format!("b{spent}"), vec![budget(1_000)], 1).await {
        spent += 1;
    }
    let slice = SLICING.slice_units(&budget(1_000));
    assert_eq!(spent, 1_000 - slice);
}

#[tokio::test]
async fn the_same_call_again_gets_the_same_and_is_settled_once() {
    let points = points(1).await;
    let point = &points[0];
    let first = point.commit(asked("a", vec![budget(1_000)]), 1).await.unwrap();
    assert_eq!(point.commit(asked("a", vec![budget(1_000)]), 2).await.unwrap(), first);
    let other = Commit { request_digest: "other".into(), ..asked("a", vec![budget(1_000)]) };
    assert_eq!(point.commit(other, 2).await.unwrap(), Committed::Reused);
    let stored = point.stored("default", "pep-mcp", "a").await.unwrap();
    assert_eq!(stored.map(|stored| stored.decision_id), Some("decision of a".to_owned()));
    assert_eq!(point.stored("default", "pep-http", "a").await.unwrap(), None);
    let done = settle("a", Outcome::Done);
    let refused = |error| Err(StateError::Settle(error));
    assert_eq!(point.settle("default", "x", &done, 3).await, refused(SettleError::NotYours));
    assert_eq!(point.settle("default", "pep-mcp", &done, 3).await, Ok(()));
    assert_eq!(point.settle("default", "pep-mcp", &done, 3).await, refused(SettleError::Twice));
    let unknown = settle("nobody", Outcome::Done);
    assert_eq!(
        point.settle("default", "pep-mcp", &unknown, 3).await,
        refused(SettleError::Unknown)
    );
}

#[tokio::test]
async fn a_call_that_was_given_up_cannot_be_decided_late() {
    let points = points(1).await;
    points[0].settle("default", "pep-mcp", &settle("a", Outcome::NotSent), 1).await.unwrap();
    let late = points[0].commit(asked("a", vec![budget(1_000)]), 2).await.unwrap();
    assert_eq!(late, Committed::Abandoned);
}

#[tokio::test]
async fn settlements_correct_what_was_taken() {
    let points = points(1).await;
    let point = &points[0];
    let tokens = |cost| LimitRequest { unit: Unit::Tokens, cost, ..budget(1_000) };
    for (call, cost, used) in [("a", 40, 10), ("b", 10, 300)] {
        assert!(passes(point, call, vec![tokens(cost)], 1).await);
        let usage = Usage { input_tokens: used, ..Usage::default() };
        let detail = Detail::default();
        let done = Settle { call_id: call.into(), outcome: Outcome::Done, usage, detail };
        point.settle("default", "pep-mcp", &done, 2).await.unwrap();
    }
    assert!(passes(point, "c", vec![tokens(20)], 3).await);
    point.settle("default", "pep-mcp", &settle("c", Outcome::NotSent), 4).await.unwrap();
    point.give_back(5, true).await.unwrap();
    assert_eq!(remaining(point).await, 1_000 - 10 - 300);
}

#[tokio::test]
async fn what_is_not_for_slices_is_decided_by_the_store() {
    let points = points(2).await;
    // Sessions end at moments of the store's own clock.
    let now = servers::now_ms();
    let once = || vec![LimitRequest { window: HOUR, ..limit(LimitKind::Once, 1) }];
    assert!(passes(&points[0], "a", once(), now).await);
    assert!(!passes(&points[1], "b", once(), now).await);
    // A call whose session is looked at is seen by everybody.
    let watched = commit("c", vec![budget(1_000)]);
    let session = watched.session.clone();
    let binding = watched.binding.clone();
    points[0].commit(watched, now).await.unwrap();
    points[0].commit(asked("d", vec![budget(1_000)]), now).await.unwrap();
    let facts = points[1].read(&session, &binding, now).await.unwrap().facts;
    assert_eq!(facts.calls.get("a/b"), Some(&1), "`c` alone: nobody watches `a` and `d`");
    let again = points[0].commit(commit("c", vec![budget(1_000)]), now).await.unwrap();
    assert!(matches!(again, Committed::Stored(stored) if stored.decision_id == "decision of c"));
}

#[tokio::test]
async fn an_emptied_limit_begins_anew_everywhere() {
    let points = points(2).await;
    for (n, point) in points.iter().enumerate() {
        assert!(passes(point, &format!("a{n}"), vec![budget(1_000)], 1).await);
    }
    assert_eq!(points[0].reset("default", "l", "", 2).await.unwrap(), 1);
    for point in &points {
        point.give_back(3, true).await.unwrap();
    }
    assert!(passes(&points[0], "b", vec![budget(1_000)], 4).await);
    points[0].give_back(5, true).await.unwrap();
    assert_eq!(remaining(&points[0]).await, 999);
}

#[tokio::test]
async fn without_the_store_a_slice_lasts_and_then_nothing_passes() {
    let mut server = servers::Server::alone();
    let point = Sliced::new(servers::at(&server, "t:", Patience::default()), SLICING);
    assert!(passes(&point, "a", vec![budget(1_000)], 1).await);
    server.kill();
    assert!(passes(&point, "b", vec![budget(1_000)], 2).await);
    let late = point.commit(asked("c", vec![budget(1_000)]), 2_001).await;
    assert!(matches!(late, Err(StateError::Unavailable(_))), "{late:?}");
}
