//! Whole answers: checked, masked, withheld, recorded, settled.

use lictor_proto::call::{Origin, Phase};
use lictor_proto::decide::{DecideError, Outcome};
use lictor_proto::decision::ObligationKind;

use crate::decide::{Fake, allow, allow_and_check, deny, drawing, masking, oblige};
use crate::provider::{Script, json};
use crate::rig::{Rig, answered, hello, outcomes};

#[tokio::test]
async fn an_unchecked_answer_is_released_as_it_came() {
    let body = answered("SECRET \u{1f600}").replace("SECRET", "SE\\u0043RET");
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), json(&body)).await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.body, body.as_bytes());
    let settle = rig.decide.settlement().await;
    assert_eq!(settle.outcome, Outcome::Done);
    assert_eq!((settle.usage.input_tokens, settle.usage.max_output_tokens), (11, 5));
    assert_eq!(rig.decide.calls().len(), 1);
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "forwarded"]);
    assert_eq!(records[1]["http_status"], 200);
    assert_eq!(records[1]["executed"], true);
}

#[tokio::test]
async fn a_checked_answer_is_asked_about_with_its_texts() {
    let body = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"hi","tool_calls":[
        {"id":"t","type":"function","function":{"name":"send","arguments":"{\"to\":\"x\"}"}}]}}]}"#;
    let rig = Rig::start(Fake::new(|call| Ok(allow_and_check(call))), json(body)).await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.body, body.as_bytes());
    let calls = rig.decide.calls();
    let (first, second) = (&calls[0], &calls[1]);
    assert_eq!(second.phase, Phase::Response);
    assert_eq!(second.request_call_id.as_ref(), Some(&first.call_id));
    assert!(second.executed);
    let parts: Vec<(Origin, &str, &str)> =
        second.content.iter().map(|p| (p.origin, p.pointer.as_str(), p.text.as_str())).collect();
    let call = "/choices/0/message/tool_calls/0/function";
    let expected = [
        (Origin::Assistant, "/choices/0/message/content", "hi"),
        (Origin::Assistant, &*format!("{call}/name"), "send"),
        (Origin::ToolArgs, &*format!("{call}/arguments"), "{\"to\":\"x\"}"),
    ];
    assert_eq!(parts, expected);
    let records = rig.stop().await;
    assert_eq!(records[1]["response_decision_id"], "decision-response");
}

#[tokio::test]
async fn a_masked_answer_differs_in_the_masked_spans_only() {
    let body = answered("one \"SECRET\" two SECRET\n").replacen("SECRET", "\\u0053ECRET", 1);
    let rig = Rig::start(masking("SECRET"), json(&body)).await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.text(), answered("one \"[masked]\" two [masked]\n"));
    let length = answer.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap();
    assert_eq!(length, answer.body.len());
    let settle = rig.decide.settlement().await;
    assert_eq!(settle.outcome, Outcome::Done);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "masked"]);
}

#[tokio::test]
async fn token_lists_go_where_a_mask_applies() {
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"a SECRET"},
        "logprobs":{"content":[{"token":"SECRET","bytes":[83]}]}}]}"#;
    let rig = Rig::start(masking("SECRET"), json(body)).await;
    let answer = rig.chat(hello()).await;
    assert!(!answer.text().contains("SECRET") && !answer.text().contains("[83]"));
    assert_eq!(answer.json()["choices"][0]["logprobs"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_denied_answer_is_withheld_and_must_not_be_repeated() {
    let rig = Rig::start(
        Fake::new(|call| match call.phase {
            Phase::Response => Ok(deny(call, "chat.leak", "the answer leaks")),
            _ => Ok(allow_and_check(call)),
        }),
        json(&answered("PRIVATE")),
    )
    .await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "result_withheld".to_owned()));
    assert!(!answer.text().contains("PRIVATE"));
    let lictor = &answer.json()["error"]["lictor"];
    assert_eq!(lictor["executed"], true);
    assert_eq!(lictor["reasons"][1]["id"], "chat.leak");
    assert_eq!(answer.headers["x-should-retry"], "false");
    let settle = rig.decide.settlement().await;
    assert_eq!((settle.outcome, settle.usage.max_output_tokens), (Outcome::Done, 5));
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "withheld"]);
    assert!(records[1]["reasons"].as_array().unwrap().contains(&"chat.leak".into()));
}

#[tokio::test]
async fn without_the_second_decision_the_answer_is_withheld() {
    let rig = Rig::start(
        Fake::new(|call| match call.phase {
            Phase::Response => Err(DecideError::Unavailable("down".to_owned())),
            _ => Ok(allow_and_check(call)),
        }),
        json(&answered("PRIVATE")),
    )
    .await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "result_withheld".to_owned()));
    assert!(!answer.text().contains("PRIVATE"));
    let reasons = &answer.json()["error"]["lictor"]["reasons"];
    assert_eq!(reasons[1]["id"], "pdp_unavailable");
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn without_the_record_the_answer_is_withheld() {
    for check in [false, true] {
        let decide =
            Fake::new(move |call| Ok(if check { allow_and_check(call) } else { allow(call) }));
        let rig = Rig::start(decide, json(&answered("PRIVATE"))).await;
        let audit = rig.audit.clone();
        rig.provider.on_request(move || audit.close_blocking("test").unwrap());
        let answer = rig.chat(hello()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "result_withheld".to_owned()));
        assert!(!answer.text().contains("PRIVATE"));
        let lictor = &answer.json()["error"]["lictor"];
        assert_eq!(lictor["reasons"][1]["id"], "audit_unavailable");
        assert_eq!(lictor["executed"], true);
        assert_eq!(rig.decide.settlement().await.outcome, Outcome::Done);
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_checked_is_withheld() {
    for body in ["<html>PRIVATE", r#"{"a":"PRIVATE","a":1}"#] {
        let rig = Rig::start(Fake::new(|call| Ok(allow_and_check(call))), json(body)).await;
        let answer = rig.chat(hello()).await;
        assert_eq!(answer.code(), "result_withheld", "{body}");
        assert!(!answer.text().contains("PRIVATE"));
    }
    let encoded = Script::Plain {
        status: 200,
        headers: vec![("content-type", "application/json"), ("content-encoding", "gzip")],
        body: answered("PRIVATE").into_bytes(),
    };
    let rig = Rig::start(Fake::new(|call| Ok(allow_and_check(call))), encoded).await;
    assert_eq!(rig.chat(hello()).await.code(), "result_withheld");
}

#[tokio::test]
async fn arguments_that_a_mask_would_break_are_withheld() {
    let body = r#"{"choices":[{"index":0,"message":{"tool_calls":[{"function":{"arguments":"{\"k\":\"SECRET\"}"}}]}}]}"#;
    let rig = Rig::start(masking("SECRET\"}"), json(body)).await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.code(), "result_withheld");
    assert_eq!(answer.json()["error"]["lictor"]["reasons"][1]["id"], "obligation_failed");
}

#[tokio::test]
async fn answers_are_bounded_at_the_edge() {
    let body = answered("hi");
    let limit = body.len();
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig =
        Rig::start_with(decide, json(&body), |config, _| config.max_answer_bytes = limit).await;
    assert_eq!(rig.chat(hello()).await.body, body.as_bytes());
    rig.provider.set(json(&format!("{body} ")));
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.code(), "result_withheld");
    assert_eq!(answer.json()["error"]["lictor"]["reasons"][1]["id"], "body_too_large");
}

#[tokio::test]
async fn the_providers_own_errors_pass() {
    let body = r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;
    let script = Script::Plain {
        status: 429,
        headers: vec![
            ("content-type", "application/json"),
            ("retry-after", "7"),
            ("set-cookie", "a=b"),
        ],
        body: body.as_bytes().to_vec(),
    };
    let rig = Rig::start(Fake::new(|call| Ok(allow_and_check(call))), script).await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (429, body));
    assert_eq!(answer.headers["retry-after"], "7");
    assert!(!answer.headers.contains_key("set-cookie"));
    let settle = rig.decide.settlement().await;
    assert_eq!((settle.outcome, settle.usage.max_output_tokens), (Outcome::Failed, 0));
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
}

#[tokio::test]
async fn a_credential_that_the_provider_refuses_is_ours() {
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-provi***key"}}"#;
    let script = Script::Plain {
        status: 401,
        headers: vec![("content-type", "application/json")],
        body: body.into(),
    };
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), script).await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "upstream_unavailable".to_owned()));
    assert!(!answer.text().contains("sk-provi"));
    assert_eq!(rig.decide.settlement().await.outcome, Outcome::Failed);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = crate::provider::Provider::start(json(&answered("elsewhere"))).await;
    let location: &'static str = Box::leak(format!("{}/x", elsewhere.base_url).into_boxed_str());
    let script = Script::Plain { status: 307, headers: vec![("location", location)], body: vec![] };
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), script).await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "upstream_unavailable".to_owned()));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_provider_that_never_answers_ends_in_a_refusal() {
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig = Rig::start_with(decide, Script::Never, |config, _| config.head_timeout_ms = 50).await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "upstream_unavailable".to_owned()));
    assert_eq!(rig.decide.settlement().await.outcome, Outcome::Unknown);
    assert_eq!(rig.provider.seen().len(), 1, "nothing is sent twice");
}

#[tokio::test]
async fn log_full_keeps_the_result_in_the_side_store_only() {
    let decide = Fake::new(|call| {
        let mut answer = allow(call);
        oblige(&mut answer, ObligationKind::LogFull, "{}");
        Ok(answer)
    });
    let rig = Rig::start(decide, json(&answered("KEPT-ANSWER"))).await;
    rig.chat(hello()).await;
    let records = rig.stop().await;
    let last = records[1].to_string();
    assert!(!last.contains("KEPT-ANSWER"), "{last}");
    assert!(records[1]["commits"]["/result"].is_string(), "{last}");
}

#[tokio::test]
async fn an_allowed_answer_tells_of_our_limits_and_not_of_the_providers() {
    let script = Script::Plain {
        status: 200,
        headers: vec![
            ("content-type", "application/json"),
            ("ratelimit", "\"provider\";r=1;t=1"),
            ("x-ratelimit-remaining-requests", "59"),
        ],
        body: answered("hi").into_bytes(),
    };
    let rig = Rig::start(Fake::new(|call| Ok(drawing(call))), script).await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.status, 200);
    let policy = "\"team.tokens\";q=1000;qu=\"tokens\";w=60";
    assert_eq!(answer.headers["ratelimit-policy"], policy);
    let room = answer.headers["ratelimit"].to_str().unwrap();
    assert!(room.starts_with("\"team.tokens\";r=990;t="), "{room}");
    assert_eq!(answer.headers["x-ratelimit-remaining-requests"], "59");
    assert!(!answer.headers.contains_key("retry-after"));
    drop(rig.stop().await);
}
