use lictor_policy_lib::limits::{LimitKind, LimitRequest, OnError, Unit, Window};

use super::{Counter, PERIOD_KEPT_MS};

fn limit(kind: LimitKind, max: u64, ms: Option<u64>) -> LimitRequest {
    LimitRequest {
        id: "l".into(),
        kind,
        key: String::new(),
        max,
        window: ms.map_or(Window::Session, |ms| Window::Sliding { ms }),
        unit: Unit::Calls,
        cost: 1,
        on_error: OnError::Deny,
        refund_on_failure: false,
        burst: max,
        prices: None,
    }
}

/// Takes one unit if there is room.
fn try_take(counter: &mut Counter, limit: &LimitRequest, now_ms: i64) -> bool {
    let fits = counter.room(limit, now_ms).fits;
    if fits {
        counter.take(limit, &format!("call-{now_ms}"), now_ms);
    }
    fits
}

#[test]
fn once_in_a_session_is_once_for_ever() {
    let limit = limit(LimitKind::Once, 1, None);
    let mut counter = Counter::new(LimitKind::Once);
    assert!(try_take(&mut counter, &limit, 0));
    for now in [0, 1_000, i64::MAX / 2, -5] {
        assert!(!try_take(&mut counter, &limit, now), "{now}");
        assert_eq!(counter.room(&limit, now).retry_after_ms, 0);
    }
    counter.refund(&limit, "call-0", 0, 1);
    assert!(try_take(&mut counter, &limit, 5));
}

#[test]
fn a_budget_never_gives_more_than_max_within_any_window() {
    let limit = limit(LimitKind::Budget, 10, Some(6_400));
    let mut counter = Counter::new(LimitKind::Budget);
    let mut taken: Vec<i64> = Vec::new();
    for step in 0..2_000 {
        let now = step * 37;
        if try_take(&mut counter, &limit, now) {
            taken.push(now);
        }
    }
    for at in &taken {
        let within = taken.iter().filter(|t| **t > at - 6_400 && **t <= *at).count();
        assert!(within <= 10, "{within} at {at}");
    }
    assert!(taken.len() > 80, "the budget refills: {}", taken.len());
}

#[test]
fn a_budget_says_when_to_try_again() {
    let limit = limit(LimitKind::Budget, 2, Some(1_000));
    let mut counter = Counter::new(LimitKind::Budget);
    assert!(try_take(&mut counter, &limit, 100));
    assert!(try_take(&mut counter, &limit, 500));
    let room = counter.room(&limit, 600);
    assert!(!room.fits);
    let then = 600 + room.retry_after_ms as i64;
    assert!(counter.room(&limit, then).fits);
    assert!(!counter.room(&limit, then - 1).fits);
}

#[test]
fn a_rate_allows_a_burst_and_then_spreads() {
    let limit = limit(LimitKind::Rate, 4, Some(1_000));
    let mut counter = Counter::new(LimitKind::Rate);
    let burst = (0..10).filter(|_| try_take(&mut counter, &limit, 0)).count();
    assert_eq!(burst, 4);
    let room = counter.room(&limit, 0);
    assert_eq!(room.retry_after_ms, 250);
    assert!(!try_take(&mut counter, &limit, 249));
    assert!(try_take(&mut counter, &limit, 250));
    assert!(!try_take(&mut counter, &limit, 250));
}

#[test]
fn time_running_back_gives_nothing() {
    for kind in [LimitKind::Rate, LimitKind::Budget] {
        let limit = limit(kind, 1, Some(1_000));
        let mut counter = Counter::new(kind);
        assert!(try_take(&mut counter, &limit, 10_000));
        assert!(!try_take(&mut counter, &limit, 9_500), "{kind:?}");
        assert!(!try_take(&mut counter, &limit, 0), "{kind:?}");
    }
}

#[test]
fn a_limit_of_zero_never_passes() {
    for kind in [LimitKind::Rate, LimitKind::Budget, LimitKind::Concurrent] {
        let limit = limit(kind, 0, Some(1_000));
        assert!(!Counter::new(kind).room(&limit, 5).fits, "{kind:?}");
    }
}

#[test]
fn concurrent_counts_leases_and_they_end() {
    let limit = limit(LimitKind::Concurrent, 2, None);
    let mut counter = Counter::new(LimitKind::Concurrent);
    assert!(try_take(&mut counter, &limit, 0));
    assert!(try_take(&mut counter, &limit, 1));
    assert!(!try_take(&mut counter, &limit, 2));
    counter.refund(&limit, "call-0", 0, 1);
    assert!(try_take(&mut counter, &limit, 3));
    assert!(try_take(&mut counter, &limit, 4 + super::CONCURRENT_LEASE_MS));
}

fn calendar(kind: LimitKind, max: u64, start_ms: i64, end_ms: i64) -> LimitRequest {
    LimitRequest { window: Window::Calendar { start_ms, end_ms }, ..limit(kind, max, None) }
}

/// Which window a call is of, its decision point's clock says; the store's clock may be further on.
#[test]
fn a_period_that_the_stores_clock_has_left_is_still_full() {
    for kind in [LimitKind::Budget, LimitKind::Once] {
        let limit = calendar(kind, 1, 0, 1_000);
        let mut counter = Counter::new(kind);
        assert!(try_take(&mut counter, &limit, 900), "{kind:?}");
        for now_ms in [1_000, 5_000, 10 * PERIOD_KEPT_MS] {
            assert!(!try_take(&mut counter, &limit, now_ms), "{kind:?} at {now_ms}");
        }
        assert!(!counter.is_idle(&limit, 999 + PERIOD_KEPT_MS));
        assert!(counter.is_idle(&limit, 1_000 + PERIOD_KEPT_MS));
    }
}

#[test]
fn a_rate_of_more_than_one_in_a_microsecond_is_a_rate_still() {
    for (max, ms) in [(2_000_000, 1_000), (100_000_000, 60_000), (1 << 52, 1), (700_000, 1_000)] {
        let limit = LimitRequest { cost: max / 2 + 1, ..limit(LimitKind::Rate, max, Some(ms)) };
        let mut counter = Counter::new(LimitKind::Rate);
        assert!(try_take(&mut counter, &limit, 0), "{max}");
        assert!(!try_take(&mut counter, &limit, 0), "{max}");
    }
}

#[test]
fn a_rate_that_microseconds_do_not_divide_evenly_never_gives_more() {
    let limit = limit(LimitKind::Rate, 700_000, Some(1_000));
    let mut counter = Counter::new(LimitKind::Rate);
    let whole = LimitRequest { cost: 700_000, ..limit.clone() };
    assert!(try_take(&mut counter, &whole, 0));
    let regained = counter.room(&LimitRequest { cost: 0, ..limit }, 100).remaining;
    assert!(regained <= 70_000, "{regained} in a tenth of a second");
}

#[test]
fn what_is_held_of_a_limit_that_was_nothing_is_not_forgotten() {
    let nothing = limit(LimitKind::Budget, 0, Some(1_000));
    let mut counter = Counter::new(LimitKind::Budget);
    counter.book(&nothing, 10, 5);
    assert!(!counter.is_idle(&nothing, 20));
    assert!(counter.is_idle(&nothing, 20_000));
}
