//! Cases about what no decision changes, and about amounts that no decision should name.

use super::*;

/// A call that goes on keeps its place in a `concurrent` limit, and what is stored of it.
pub(super) async fn a_call_that_goes_on_keeps_what_it_holds(state: Arc<dyn State>) {
    let lease = CONCURRENT_LEASE_MS;
    let one = || vec![limit(LimitKind::Concurrent, 1)];
    let at =
        async |call: &str, now_ms| held(state.commit(commit(call, one()), now_ms).await.unwrap());
    let extend = async |peer: &str, call: &str, now_ms| match state
        .extend("default", peer, call, now_ms)
        .await
    {
        Ok(()) => None,
        Err(StateError::Settle(error)) => Some(error),
        Err(other) => panic!("{other:?}"),
    };
    assert!(at("c1", 0).await);
    assert_eq!(extend("pep-mcp", "c1", lease - 1).await, None);
    assert!(!at("c2", lease).await, "its place is renewed");
    assert_eq!(extend("pep-http", "c1", lease).await, Some(SettleError::NotYours));
    assert_eq!(extend("pep-mcp", "nobody", lease).await, Some(SettleError::Unknown));
    // It is waited for as long as it is renewed, well beyond the life of one that is not.
    for n in 1..8 {
        assert_eq!(extend("pep-mcp", "c1", n * lease).await, None, "{n}");
    }
    assert!(!at("c3", 8 * lease - 1).await);
    let read = state.read(&session("s", true), &binding("1"), 8 * lease).await.unwrap();
    assert_eq!(read.facts.pending, ["a/b"]);
    state.settle("default", "pep-mcp", &settle("c1", Outcome::Done), 8 * lease).await.unwrap();
    assert_eq!(extend("pep-mcp", "c1", 8 * lease).await, Some(SettleError::Twice));
    assert!(at("c4", 8 * lease).await, "settled, its place is free");
    state.settle("default", "pep-mcp", &settle("c5", Outcome::NotSent), 0).await.unwrap();
    assert_eq!(extend("pep-mcp", "c5", 0).await, Some(SettleError::Twice), "it was given up");
}

fn wanted(id: &str, key: Option<&str>) -> Wanted {
    Wanted { id: Some(id.into()), key: key.map(str::to_owned), after: None }
}

pub(super) async fn counters_are_seen_and_emptied(state: Arc<dyn State>) {
    let sliding = Window::Sliding { ms: 60_000 };
    let of = |id: &str, key: &str, kind, window| LimitRequest {
        id: id.into(),
        key: key.into(),
        window,
        ..limit(kind, 3)
    };
    let all = || {
        vec![
            of("calls", "[\"ann\"]", LimitKind::Budget, sliding),
            of("calls", "[\"bob\"]", LimitKind::Budget, Window::Session),
            of("places", "x", LimitKind::Concurrent, Window::Session),
            of("rate", "x", LimitKind::Rate, sliding),
        ]
    };
    assert!(take(&*state, "c1", all()).await && take(&*state, "c2", all()).await);
    let seen = async |wanted: Wanted, now_ms| {
        let page = state.counters("default", &wanted, now_ms).await.unwrap();
        page.counters
            .into_iter()
            .map(|c| (c.id, c.key, c.session, c.max, c.remaining))
            .collect::<Vec<_>>()
    };
    let counter = |id: &str, key: &str, session: &str| {
        (id.to_owned(), key.to_owned(), session.to_owned(), 3, 1)
    };
    let (ann, bob) = (counter("calls", "[\"ann\"]", ""), counter("calls", "[\"bob\"]", "s"));
    let (places, rate) = (counter("places", "x", "s"), counter("rate", "x", ""));
    let everything = [ann.clone(), bob.clone(), places.clone(), rate.clone()];
    assert_eq!(seen(Wanted::default(), 1).await, everything);
    assert_eq!(seen(wanted("calls", None), 1).await, [ann, bob.clone()]);
    assert_eq!(seen(wanted("calls", Some("[\"bob\"]")), 1).await, std::slice::from_ref(&bob));
    let by_key = Wanted { key: Some("x".into()), ..Wanted::default() };
    assert_eq!(seen(by_key, 1).await, [places.clone(), rate.clone()]);
    assert!(seen(wanted("call", None), 1).await.is_empty(), "a name is no beginning of one");
    assert_eq!(seen(wanted("rate", None), 60_000).await, [], "what is over is not held");

    assert_eq!(state.reset("default", "calls", "[\"ann\"]", 2).await.unwrap(), 1);
    assert_eq!(state.reset("default", "calls", "[\"ann\"]", 2).await.unwrap(), 0);
    assert_eq!(state.reset("default", "places", "x", 2).await.unwrap(), 1);
    assert_eq!(seen(Wanted::default(), 3).await, [bob, rate]);
    let of_ann = || vec![of("calls", "[\"ann\"]", LimitKind::Budget, sliding)];
    let at = async |call: &str| held(state.commit(commit(call, of_ann()), 3).await.unwrap());
    assert!(at("c3").await && at("c4").await && at("c5").await);
    // What was taken before it was emptied is not given back into what was taken since.
    for call in ["c1", "c2"] {
        state.settle("default", "pep-mcp", &settle(call, Outcome::NotSent), 4).await.unwrap();
    }
    assert!(!at("c6").await);
    state.settle("default", "pep-mcp", &settle("c3", Outcome::NotSent), 4).await.unwrap();
    assert!(at("c7").await);
}

pub(super) async fn counters_come_in_pages(state: Arc<dyn State>) {
    let many = PAGE_COUNTERS_MAX + 5;
    for n in 0..many {
        let key = format!("k{n:04}");
        assert!(
            take(
                &*state,
                &key,
                vec![LimitRequest { key: key.clone(), ..limit(LimitKind::Once, 1) }]
            )
            .await
        );
    }
    let first = state.counters("default", &Wanted::default(), 1).await.unwrap();
    assert_eq!(first.counters.len(), PAGE_COUNTERS_MAX);
    assert!(first.next.is_some());
    let rest = Wanted { after: first.next, ..Wanted::default() };
    let rest = state.counters("default", &rest, 1).await.unwrap();
    let keys: Vec<String> = rest.counters.into_iter().map(|c| c.key).collect();
    assert_eq!(keys, ["k0200", "k0201", "k0202", "k0203", "k0204"]);
    assert_eq!(rest.next, None);
}

/// The largest amounts that anybody can name are refused or booked, and break nothing.
pub(super) async fn amounts_without_end_fit_once_and_never_again(state: Arc<dyn State>) {
    let windows = [
        Window::Session,
        Window::Sliding { ms: 60_000 },
        Window::Calendar { start_ms: 0, end_ms: 1_000_000 },
    ];
    for (n, window) in windows.into_iter().enumerate() {
        let huge = |cost| {
            let id = format!("huge{n}");
            vec![LimitRequest { id, window, cost, ..limit(LimitKind::Budget, u64::MAX) }]
        };
        assert!(take(&*state, &format!("a{n}"), huge(u64::MAX)).await);
        assert!(!take(&*state, &format!("b{n}"), huge(1)).await, "{window:?}");
        assert!(!take(&*state, &format!("c{n}"), huge(u64::MAX)).await, "{window:?}");
        assert!(take(&*state, &format!("d{n}"), huge(0)).await, "nothing always fits");

        let small = |cost, prices| {
            let (id, unit) = (format!("small{n}"), Unit::UsdMicros);
            vec![LimitRequest { id, window, unit, cost, prices, ..limit(LimitKind::Budget, 10) }]
        };
        let prices = Some(Prices {
            input_usd_micros_per_mtok: u64::MAX,
            output_usd_micros_per_mtok: u64::MAX,
            cached_usd_micros_per_mtok: 0,
            reasoning_usd_micros_per_mtok: 0,
        });
        let call = Commit {
            cost_usd_micros: u64::MAX,
            prices,
            ..commit(&format!("e{n}"), small(1, prices))
        };
        assert!(held(state.commit(call, 0).await.unwrap()));
        let usage = Usage {
            input_tokens: u64::MAX,
            max_output_tokens: u64::MAX,
            cost_usd_micros: u64::MAX,
        };
        let done = Settle { usage, ..settle(&format!("e{n}"), Outcome::Done) };
        state.settle("default", "pep-mcp", &done, 1).await.unwrap();
        assert!(!take(&*state, &format!("f{n}"), small(1, None)).await, "it is overspent");
    }
    for n in 0..1_100 {
        let call = Commit { cost_usd_micros: u64::MAX, ..commit(&format!("g{n}"), Vec::new()) };
        assert!(held(state.commit(call, 0).await.unwrap()), "{n}");
    }
    let facts = state.read(&session("s", true), &binding("1"), 0).await.unwrap().facts;
    assert!(facts.spend_usd_micros >= AMOUNT_MAX, "{}", facts.spend_usd_micros);
}

/// Up to 2^53 amounts are exact to the unit, in every store.
pub(super) async fn amounts_are_exact_up_to_two_to_the_53(state: Arc<dyn State>) {
    let window = Window::Sliding { ms: 60_000 };
    let big = |cost| vec![LimitRequest { window, cost, ..limit(LimitKind::Budget, AMOUNT_MAX) }];
    assert!(take(&*state, "c1", big(AMOUNT_MAX - 1)).await);
    assert!(!take(&*state, "c2", big(2)).await);
    assert!(take(&*state, "c3", big(1)).await);
    assert!(!take(&*state, "c4", big(1)).await);
    state.settle("default", "pep-mcp", &settle("c3", Outcome::NotSent), 0).await.unwrap();
    assert!(take(&*state, "c5", big(1)).await);
}
