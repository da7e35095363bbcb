use lictor_proto::call::{Party, Resource, Usage};

use super::*;

fn setting(registry: &Registry) -> Setting<'_> {
    Setting { registry, now_ms: 0 }
}

fn registry() -> Registry {
    serde_json::from_str(
        r#"{"agents":{"bot":{"owner":"ann","team":"sales","status":"active"}},
            "users":{"ann":{"teams":["eng","b"]}},
            "models":{"p/m":{"prices":{"input_usd_micros_per_mtok":3000000,"output_usd_micros_per_mtok":15000000}},"p/free":{}}}"#,
    )
    .unwrap()
}

fn call(model: &str) -> Call {
    Call {
        subject: Some(Party::new("user", "ann")),
        agent: Some(Party::new("agent", "bot")),
        resource: Some(Resource { kind: ResourceKind::Model, id: model.into() }),
        usage: Usage { input_tokens: 1_000, max_output_tokens: 100, ..Usage::default() },
        ..Call::default()
    }
}

fn matched(spec: &str, call: &Call) -> Result<LimitRequest, LimitError> {
    let specs = BTreeMap::from([("x".to_owned(), serde_json::from_str(spec).unwrap())]);
    complete(&[], &specs, call, setting(&registry())).map(|mut found| found.remove(0))
}

#[test]
fn money_is_counted_by_the_registrys_prices() {
    let spec = r#"{"kind":"budget","max":9,"per":"day","unit":"usd_micros","match":{}}"#;
    let priced = matched(spec, &call("p/m")).unwrap();
    assert_eq!(priced.cost, 3_000 + 1_500);
    let error = matched(spec, &call("p/free")).unwrap_err();
    assert!(matches!(error, LimitError::PriceUnknown { .. }));
    assert!(error.to_string().contains("`p/free`"), "{error}");
}

/// Leaving the bound of the answer out must not be the way to a reservation of nothing.
#[test]
fn an_answer_without_a_bound_may_be_as_long_as_the_model_makes_it() {
    let registry: Registry = serde_json::from_str(
        r#"{"models":{"p/m":{"max_output_tokens":4000,"prices":{"input_usd_micros_per_mtok":1000000,"output_usd_micros_per_mtok":1000000}}}}"#,
    )
    .unwrap();
    let spec = |unit: &str| {
        let spec =
            format!(r#"{{"kind":"budget","max":9,"per":"day","unit":"{unit}","match":{{}}}}"#);
        BTreeMap::from([("x".to_owned(), serde_json::from_str(&spec).unwrap())])
    };
    let cost = |unit: &str, action: &str, max_output_tokens| {
        let usage = Usage { input_tokens: 1_000, max_output_tokens, ..Usage::default() };
        let action = lictor_proto::call::Action { name: action.into() };
        let call = Call { action, usage, ..call("p/m") };
        complete(&[], &spec(unit), &call, setting(&registry)).unwrap()[0].cost
    };
    for unit in ["tokens", "usd_micros"] {
        assert_eq!(cost(unit, "llm/chat", 0), 5_000, "{unit}");
        assert_eq!(cost(unit, "llm/chat", 100), 1_100, "{unit}: it says less");
        assert_eq!(cost(unit, "llm/embed", 0), 1_000, "{unit}: no answer of tokens");
    }
    let unbounded = Usage { input_tokens: 1_000, ..Usage::default() };
    let chat = lictor_proto::call::Action { name: "llm/chat".into() };
    let call = Call { action: chat, usage: unbounded, ..call("p/m") };
    assert_eq!(money(&call, &registry).0, 5_000);
}

#[test]
fn a_hierarchy_is_several_limits_with_keys_of_their_own() {
    let key = |parts: &str| {
        let spec = format!(r#"{{"kind":"budget","per":"day","match":{{}},"key":{parts}}}"#);
        matched(&spec, &call("p/m")).unwrap().key
    };
    assert_eq!(key(r#"["tenant"]"#), r#"[""]"#);
    assert_eq!(key(r#"["agent_team"]"#), r#"["sales"]"#);
    assert_eq!(key(r#"["subject_team"]"#), r#"["[\"b\",\"eng\"]"]"#);
    assert_eq!(key(r#"["subject","agent"]"#), r#"["ann","bot"]"#);
    assert_eq!(key(r#"["server","resource"]"#), r#"["p","model:p/m"]"#);
}

#[test]
fn data_cannot_be_widened_by_a_rule() {
    let specs: BTreeMap<String, LimitSpec> =
        serde_json::from_str(r#"{"x":{"kind":"budget","max":3,"per":"1h"}}"#).unwrap();
    let want = LimitWant {
        id: "x".into(),
        kind: Some("budget".into()),
        max: Some(1000),
        per: Some("1s".into()),
        ..Default::default()
    };
    let requests =
        complete(&[want], &specs, &Call::default(), setting(&Registry::default())).unwrap();
    assert_eq!(requests[0].max, 3);
    assert_eq!(requests[0].window, Window::Sliding { ms: 3_600_000 });
}

#[test]
fn what_nobody_says_is_an_error() {
    let want = LimitWant { id: "x".into(), kind: Some("budget".into()), ..Default::default() };
    let error =
        complete(&[want], &BTreeMap::new(), &Call::default(), setting(&Registry::default()))
            .unwrap_err();
    assert!(error.to_string().contains("`max`"), "{error}");
}
