use lictor_policy_lib::limits::{OnError, Unit};
use proptest::prelude::*;

use super::*;

const SLICING: Slicing = Slicing { divisor: 10, life_ms: 1_000 };

fn limit(max: u64, cost: u64) -> LimitRequest {
    LimitRequest {
        id: "l".into(),
        kind: LimitKind::Budget,
        key: "k".into(),
        max,
        window: Window::Sliding { ms: 60_000 },
        unit: Unit::Calls,
        cost,
        on_error: OnError::Deny,
        refund_on_failure: false,
        burst: max,
        prices: None,
    }
}

fn grant(units: u64, remaining: u64, taken_ms: i64) -> Grant {
    Grant { units, remaining, reset_ms: 60_000, taken_ms }
}

/// Leases from a store that grants everything.
fn filled(slices: &mut Slices, limit: &LimitRequest, now_ms: i64) -> u64 {
    let Taken::Missing(mut wants) = slices.take("t", std::slice::from_ref(limit), now_ms) else {
        panic!("nothing is missing");
    };
    slices.ask("t", &mut wants, now_ms);
    slices.put("t", &wants[0], grant(wants[0].units, 50, now_ms), now_ms);
    wants[0].units
}

fn takes(slices: &mut Slices, limit: &LimitRequest, now_ms: i64) -> bool {
    matches!(slices.take("t", std::slice::from_ref(limit), now_ms), Taken::All { .. })
}

fn back(due: &[(String, Vec<Correction>)]) -> (u64, u64) {
    let all = due.iter().flat_map(|(_, corrections)| corrections);
    all.fold((0, 0), |(back, beyond), c| (back + c.back, beyond + c.beyond))
}

#[test]
fn only_budgets_over_time_are_sliced() {
    let slices = Slices::new(SLICING);
    let can = |limit: LimitRequest| slices.can_take(&[limit]);
    assert!(can(limit(100, 10)));
    assert!(!can(limit(100, 11)), "more than a slice");
    assert!(!can(limit(9, 1)), "less than a unit a slice");
    let calendar = Window::Calendar { start_ms: 0, end_ms: 9_000 };
    assert!(can(LimitRequest { window: calendar, ..limit(100, 1) }));
    assert!(!can(LimitRequest { window: Window::Session, ..limit(100, 1) }));
    assert!(!can(LimitRequest { window: Window::Sliding { ms: 2_000 }, ..limit(100, 1) }));
    for kind in [LimitKind::Rate, LimitKind::Once, LimitKind::Concurrent] {
        assert!(!can(LimitRequest { kind, ..limit(100, 1) }));
    }
}

#[test]
fn the_bound_is_a_slice_for_each_decision_point() {
    assert_eq!(SLICING.overshoot_units(&limit(1_000, 1), 3), 300);
    let calendar = Window::Calendar { start_ms: 0, end_ms: 9_000 };
    let ends = LimitRequest { window: calendar, ..limit(1_000, 1) };
    assert_eq!(SLICING.overshoot_units(&ends, 3), 0);
}

#[test]
fn a_slice_is_used_up_and_then_missing() {
    let mut slices = Slices::new(SLICING);
    let one = limit(100, 3);
    assert_eq!(filled(&mut slices, &one, 0), 10);
    assert!((0..3).all(|_| takes(&mut slices, &one, 1)));
    assert!(!takes(&mut slices, &one, 1));
    assert_eq!(slices.left(), 1);
    assert_eq!(filled(&mut slices, &one, 1), 9, "no more than a slice together");
}

#[test]
fn what_is_left_goes_back_after_its_time_and_when_the_clock_runs_back() {
    for later in [1_000, -1] {
        let mut slices = Slices::new(SLICING);
        let one = limit(100, 3);
        filled(&mut slices, &one, 0);
        assert!(takes(&mut slices, &one, 999));
        assert!(slices.due(999, false).is_empty());
        assert_eq!(back(&slices.due(later, false)), (7, 0), "{later}");
        assert_eq!(slices.left(), 0);
    }
}

#[test]
fn all_or_nothing_of_several_limits() {
    let mut slices = Slices::new(SLICING);
    let (one, other) = (limit(100, 1), LimitRequest { id: "m".into(), ..limit(100, 1) });
    filled(&mut slices, &one, 0);
    let both = [one.clone(), other];
    assert!(matches!(slices.take("t", &both, 0), Taken::Missing(wants) if wants.len() == 1));
    assert_eq!(slices.left(), 10);
    // The same limit twice takes twice.
    let twice = [LimitRequest { cost: 6, ..one.clone() }, LimitRequest { cost: 6, ..one }];
    assert!(!matches!(slices.take("t", &twice, 0), Taken::All { .. }));
    assert_eq!(slices.left(), 10);
}

#[test]
fn while_the_store_has_nothing_nobody_asks_again() {
    let mut slices = Slices::new(SLICING);
    let one = limit(100, 1);
    let Taken::Missing(mut wants) = slices.take("t", std::slice::from_ref(&one), 0) else {
        panic!("nothing is missing");
    };
    slices.ask("t", &mut wants, 0);
    slices.put("t", &wants[0], grant(0, 0, 0), 0);
    assert!(matches!(slices.take("t", std::slice::from_ref(&one), 499), Taken::Dry));
    assert!(matches!(slices.take("t", &[one], 500), Taken::Missing(_)));
}

#[test]
fn a_refund_comes_back_where_there_is_room_and_more_use_is_booked() {
    let mut slices = Slices::new(SLICING);
    let one = limit(100, 4);
    filled(&mut slices, &one, 0);
    let Taken::All { held, .. } = slices.take("t", std::slice::from_ref(&one), 0) else {
        panic!("it is there");
    };
    slices.refund("t", &held[0], 4, 1);
    assert_eq!(slices.left(), 10);
    slices.refund("t", &held[0], 4, 1);
    assert_eq!(slices.left(), 10);
    slices.book("t", &held[0], 13, 1);
    assert_eq!(slices.left(), 0);
    assert_eq!(back(&slices.due(1, false)), (4, 3));
}

#[test]
fn another_largest_amount_is_another_slice() {
    let mut slices = Slices::new(SLICING);
    filled(&mut slices, &limit(100, 1), 0);
    assert!(!takes(&mut slices, &limit(50, 1), 0));
    slices.forget("t", "l", "k");
    assert_eq!((slices.left(), slices.due(0, true).len()), (0, 0));
}

/// What happens to one of several decision points.
#[derive(Debug, Clone)]
enum Event {
    Call(usize, u64),
    Refund(usize),
    Pass(i64),
    Lease(usize),
    Arrive(usize),
    Die(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let point = 0..3usize;
    let event = prop_oneof![
        8 => (point.clone(), 1..4u64).prop_map(|(p, n)| Event::Call(p, n)),
        1 => point.clone().prop_map(Event::Refund),
        2 => (0..700i64).prop_map(Event::Pass),
        4 => point.clone().prop_map(Event::Lease),
        4 => point.clone().prop_map(Event::Arrive),
        1 => point.prop_map(Event::Die),
    ];
    prop::collection::vec(event, 1..400)
}

/// One decision point and what is on its way to it.
struct Point {
    slices: Slices,
    wants: Vec<(Want, Grant)>,
    last: Option<(Held, i64)>,
}

impl Point {
    fn new() -> Self {
        Self { slices: Slices::new(SLICING), wants: Vec::new(), last: None }
    }
}

/// The store: the counter that the other tests hold Redis to.
struct Store {
    counter: crate::state::counter::Counter,
    limit: LimitRequest,
}

impl Store {
    fn lease(&mut self, units: u64, now_ms: i64) -> Grant {
        let look = LimitRequest { cost: 0, ..self.limit.clone() };
        let left = self.counter.room(&look, now_ms).remaining;
        let units = units.min(left);
        self.counter.take(&LimitRequest { cost: units, ..look }, "", now_ms);
        Grant { units, remaining: left - units, reset_ms: 0, taken_ms: now_ms }
    }

    fn correct(&mut self, due: Vec<(String, Vec<Correction>)>) {
        for correction in due.into_iter().flat_map(|(_, corrections)| corrections) {
            self.counter.refund(&self.limit, "", correction.taken_ms, correction.back);
        }
    }
}

fn play(window: Window, events: Vec<Event>) -> Result<(), TestCaseError> {
    let limit = LimitRequest { window, ..limit(100, 1) };
    let mut store = Store {
        counter: crate::state::counter::Counter::new(LimitKind::Budget),
        limit: limit.clone(),
    };
    let mut points: Vec<Point> = (0..3).map(|_| Point::new()).collect();
    let mut now_ms = 0;
    let mut spent: Vec<(usize, i64, u64)> = Vec::new();
    for event in events {
        match event {
            Event::Call(p, cost) => {
                let asked = LimitRequest { cost, ..limit.clone() };
                if let Taken::All { held, .. } = points[p].slices.take("t", &[asked], now_ms) {
                    spent.push((p, now_ms, cost));
                    points[p].last = held.into_iter().next().map(|held| (held, now_ms));
                }
            }
            Event::Refund(p) => {
                if let Some((held, at_ms)) = points[p].last.take() {
                    let call = (p, at_ms, held.limit.cost);
                    spent.remove(spent.iter().rposition(|spent| *spent == call).unwrap());
                    points[p].slices.refund("t", &held, held.limit.cost, now_ms);
                }
            }
            Event::Pass(ms) => now_ms += ms,
            Event::Lease(p) => {
                let mut wants = vec![Want { limit: limit.clone(), units: 0, least: 1 }];
                points[p].slices.ask("t", &mut wants, now_ms);
                let granted = store.lease(wants[0].units, now_ms);
                points[p].wants.push((wants.remove(0), granted));
            }
            Event::Arrive(p) => {
                if let Some((want, grant)) = points[p].wants.pop() {
                    points[p].slices.put("t", &want, grant, now_ms);
                }
            }
            Event::Die(p) => points[p] = Point::new(),
        }
        for point in &mut points {
            store.correct(point.slices.due(now_ms, false));
        }
        let since = match window {
            Window::Sliding { ms } => now_ms - i64::try_from(ms).unwrap(),
            _ => i64::MIN,
        };
        let within: u64 = spent.iter().filter(|(_, at, _)| *at > since).map(|(_, _, n)| n).sum();
        // A decision point that died may have used its slice; its successor holds another.
        let most = limit.max + SLICING.overshoot_units(&limit, 3);
        prop_assert!(within <= most, "{within} of {most}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_calendar_window_is_never_gone_over(events in events()) {
        play(Window::Calendar { start_ms: 0, end_ms: i64::MAX }, events)?;
    }

    #[test]
    fn a_sliding_window_is_gone_over_by_the_bound_at_most(events in events()) {
        play(Window::Sliding { ms: 3_000 }, events)?;
    }
}
