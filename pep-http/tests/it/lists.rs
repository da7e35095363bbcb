//! `/v1/models`.

use lictor_proto::call::{Phase, ResourceKind};
use lictor_proto::decide::DecideError;

use crate::decide::{Fake, allow, deny, masking};
use crate::provider::{Provider, Script, json};
use crate::rig::{Rig, outcomes, upstream};

const LIST: &str = r#"{ "object":"list", "data":[ {"id":"gpt-5", "object":"model","created":1.50},
    {"id":"o\u0033","owned_by":"x"}, {"owned_by":"nameless"}, {"id":"secret-model"} ], "x":1 }"#;

/// Lets only these models be seen.
fn only(seen: &'static [&'static str]) -> std::sync::Arc<Fake> {
    Fake::new(move |call| {
        let id = &call.resource.as_ref().unwrap().id;
        if call.phase == Phase::List && !seen.contains(&id.as_str()) {
            return Ok(deny(call, "list.hidden", "hidden"));
        }
        Ok(allow(call))
    })
}

#[tokio::test]
async fn only_what_may_be_used_is_seen() {
    let rig = Rig::start(only(&["openai/gpt-5", "openai/o3"]), json(LIST)).await;
    let answer = rig.get("/v1/models").await;
    assert_eq!(answer.status, 200);
    let expected = r#"{ "object":"list", "data":[{"id":"gpt-5", "object":"model","created":1.50},{"id":"o\u0033","owned_by":"x"}], "x":1 }"#;
    assert_eq!(answer.text(), expected);

    let seen = &rig.provider.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/v1/models"));
    assert!(seen.body.is_empty());
    let calls = rig.decide.calls();
    let asked: Vec<(Phase, &str, ResourceKind, &str)> = calls
        .iter()
        .map(|call| {
            let resource = call.resource.as_ref().unwrap();
            (call.phase, call.action.name.as_str(), resource.kind, resource.id.as_str())
        })
        .collect();
    let expected = [
        (Phase::Request, "llm/other", ResourceKind::Server, "openai"),
        (Phase::List, "llm/chat", ResourceKind::Model, "openai/gpt-5"),
        (Phase::List, "llm/chat", ResourceKind::Model, "openai/o3"),
        (Phase::List, "llm/chat", ResourceKind::Model, "openai/secret-model"),
    ];
    assert_eq!(asked, expected);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"]);
}

#[tokio::test]
async fn a_list_of_which_all_may_be_seen_is_as_it_came() {
    let whole = LIST.replace(r#"{"owned_by":"nameless"}, "#, "");
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), json(&whole)).await;
    assert_eq!(rig.get("/v1/models").await.text(), whole);
}

#[tokio::test]
async fn a_denied_list_is_not_fetched() {
    let rig = Rig::start(Fake::new(|call| Ok(deny(call, "list.no", "no"))), json(LIST)).await;
    let answer = rig.get("/v1/models").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "list.no".to_owned()));
    assert!(rig.provider.seen().is_empty());
}

#[tokio::test]
async fn without_decisions_on_the_entries_the_list_is_withheld() {
    let decide = Fake::new(|call| match call.phase {
        Phase::List => Err(DecideError::Unavailable("down".to_owned())),
        _ => Ok(allow(call)),
    });
    let rig = Rig::start(decide, json(LIST)).await;
    let answer = rig.get("/v1/models").await;
    assert_eq!(answer.code(), "result_withheld");
    assert!(!answer.text().contains("gpt-5"));
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_withheld() {
    for body in ["nonsense", "{}", r#"{"data":{"id":"gpt-5"}}"#, r#"{"data":[],"data":[]}"#] {
        let rig = Rig::start(Fake::new(|call| Ok(allow(call))), json(body)).await;
        assert_eq!(rig.get("/v1/models").await.code(), "result_withheld", "{body}");
    }
}

#[tokio::test]
async fn the_rest_of_a_list_is_checked_like_any_answer() {
    let list = r#"{"object":"list","data":[{"id":"gpt-5","note":"a SECRET"}]}"#;
    let rig = Rig::start(masking("SECRET"), json(list)).await;
    let answer = rig.get("/v1/models").await;
    assert_eq!(answer.text(), list.replace("SECRET", "[masked]"));
}

#[tokio::test]
async fn several_providers_make_one_list_with_prefixed_names() {
    let other =
        Provider::start(json(r#"{"data":[{"id":"llama","object":"model"},{"id":"hidden"}]}"#))
            .await;
    let url = other.base_url.clone();
    let decide = only(&["openai/gpt-5", "local/llama"]);
    let rig = Rig::start_with(decide, json(LIST), |config, dir| {
        config.upstreams.push(upstream("local", &url, dir));
    })
    .await;
    let expected = r#"{"object":"list","data":[{"id":"openai/gpt-5","object":"model","created":1.50},{"id":"local/llama","object":"model"}]}"#;
    assert_eq!(rig.get("/v1/models").await.text(), expected);

    rig.provider.set(Script::Plain { status: 500, headers: vec![], body: b"oops".to_vec() });
    let left = rig.get("/v1/models").await;
    assert_eq!(left.text(), r#"{"object":"list","data":[{"id":"local/llama","object":"model"}]}"#);
    other.set(Script::Plain { status: 503, headers: vec![], body: b"oops".to_vec() });
    assert_eq!(rig.get("/v1/models").await.status, 500);
}
