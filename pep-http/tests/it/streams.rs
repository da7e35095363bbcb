//! Streamed answers over real sockets.

use std::sync::Arc;

use http::Method;
use http_body_util::BodyExt;
use lictor_proto::call::Phase;
use lictor_proto::decide::{DecideError, Outcome};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::decide::{Fake, allow, allow_and_check, deny, masking};
use crate::provider::{Piece, Script, stream};
use crate::rig::{Numbers, Rig, hello, outcomes};

/// Longest text of one choice that is held.
const MAX_HELD_TEXT_BYTES: usize = 64 * 1024;

fn frame(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

fn delta(index: usize, text: &str) -> Vec<u8> {
    frame(&json!({"id": "c", "object": "chat.completion.chunk", "model": "gpt-5",
        "choices": [{"index": index, "delta": {"content": text}, "finish_reason": null}]}))
}

/// What ends a stream: the reason, the count, the last frame.
fn ending() -> Vec<u8> {
    let reason =
        json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage =
        json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    [frame(&reason), frame(&usage), b"data: [DONE]\n\n".to_vec()].concat()
}

fn streaming() -> String {
    hello().replace("\"model\"", "\"stream\":true,\"model\"")
}

/// The data of the events, the last frame left out.
fn events(text: &str) -> Vec<Value> {
    text.split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// The text of one choice as a client puts it together.
fn said(events: &[Value], index: usize) -> String {
    let choices = events.iter().filter_map(|event| event["choices"].as_array()).flatten();
    choices
        .filter(|choice| choice["index"] == index)
        .filter_map(|choice| choice["delta"]["content"].as_str())
        .collect()
}

/// The error that a stream ended with.
fn error(text: &str) -> Value {
    assert!(!text.contains("[DONE]"), "{text}");
    events(text).last().unwrap()["error"].clone()
}

#[tokio::test]
async fn an_unchecked_stream_passes_piece_by_piece() {
    let gate = Arc::new(Notify::new());
    let rest = [b": note\r\n\r\n".to_vec(), delta(0, "two"), ending()].concat();
    let script = Script::Stream(vec![
        Piece::Bytes(delta(0, "one")),
        Piece::Wait(gate.clone()),
        Piece::Bytes(rest.clone()),
    ]);
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), script).await;
    let request = rig.request(Method::POST, "/v1/chat/completions", streaming());
    let mut answer = rig.begin(request).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert!(answer.headers().contains_key("lictor-call-id"));
    let first = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, delta(0, "one"));
    gate.notify_one();
    let left = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(left, rest);
    let settle = rig.decide.settlement().await;
    assert_eq!(settle.outcome, Outcome::Done);
    assert_eq!((settle.usage.input_tokens, settle.usage.max_output_tokens), (3, 4));
    assert_eq!(rig.provider.seen()[0].body, streaming().as_bytes());
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"]);
}

#[tokio::test]
async fn use_is_estimated_where_the_provider_does_not_count() {
    let bytes = [delta(0, "12345"), b"data: [DONE]\n\n".to_vec()].concat();
    for check in [false, true] {
        let decide =
            Fake::new(move |call| Ok(if check { allow_and_check(call) } else { allow(call) }));
        let rig = Rig::start(decide, stream(&bytes)).await;
        assert_eq!(rig.chat(streaming()).await.body, bytes);
        let usage = rig.decide.settlement().await.usage;
        assert_eq!((usage.input_tokens, usage.max_output_tokens), (2, 2));
    }
}

#[tokio::test]
async fn a_checked_stream_without_findings_is_as_it_came() {
    let bytes = [b": hi\n\n".to_vec(), delta(0, "a"), delta(1, "b"), ending()].concat();
    let rig = Rig::start(masking("SECRET"), stream(&bytes)).await;
    assert_eq!(rig.chat(streaming()).await.body, bytes);
    let second = rig.decide.calls()[1].clone();
    assert_eq!(second.phase, Phase::Response);
    let texts: Vec<&str> = second.content.iter().map(|part| part.text.as_str()).collect();
    assert_eq!(texts, ["a", "b"]);
}

/// Deltas of `text` cut at random places, and their bytes cut into random pieces.
fn shredded(text: &str, numbers: &mut Numbers) -> Vec<Piece> {
    let characters: Vec<char> = text.chars().collect();
    let mut bytes = Vec::new();
    let mut rest = characters.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 + numbers.below(rest.len().min(7)));
        bytes.extend(delta(0, &now.iter().collect::<String>()));
        rest = later;
    }
    bytes.extend(ending());
    let mut pieces = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 + numbers.below(rest.len().min(150)));
        pieces.push(Piece::Bytes(now.to_vec()));
        rest = later;
    }
    pieces
}

/// The text with each run of secrets replaced; spans that touch are masked as one.
fn masked(text: &str, secret: &str) -> String {
    let parts: Vec<&str> = text.split(secret).collect();
    let last = parts.len() - 1;
    let mut out = String::new();
    for (index, part) in parts.iter().enumerate() {
        out.push_str(part);
        let run_goes_on =
            parts.get(index + 1).is_some_and(|next| next.is_empty()) && index + 1 < last;
        if index < last && !run_goes_on {
            out.push_str("[masked]");
        }
    }
    out
}

#[tokio::test]
async fn nothing_of_a_masked_span_leaves_at_any_cutting() {
    const SECRET: &str = "αβγδεζηθ";
    let rig = Rig::start(masking(SECRET), Script::Never).await;
    let mut numbers = Numbers::new(11);
    for round in 0..60 {
        let filler = ["", "plain ", "\"quoted\\\" ", "\u{1f600}\n"];
        let mut text = String::new();
        for _ in 0..=numbers.below(4) {
            text.push_str(filler[numbers.below(filler.len())]);
            text.push_str(SECRET);
        }
        text.push_str(filler[numbers.below(filler.len())]);
        rig.provider.set(Script::Stream(shredded(&text, &mut numbers)));
        let answer = rig.chat(streaming()).await;
        let out = answer.text();
        assert!(!out.contains(|c| SECRET.contains(c)) && !out.contains("\\u03"), "{round}: {out}");
        let events = events(out);
        assert_eq!(said(&events, 0), masked(&text, SECRET), "{round}");
        assert!(out.ends_with("data: [DONE]\n\n"));
        assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
        assert_eq!(events[events.len() - 1]["usage"]["completion_tokens"], 4);
    }
    let records = rig.stop().await;
    assert_eq!(records.iter().filter(|record| record["outcome"] == "masked").count(), 60);
}

#[tokio::test]
async fn a_denied_stream_ends_in_an_error_event() {
    let decide = Fake::new(|call| match call.phase {
        Phase::Response => Ok(deny(call, "chat.leak", "it leaks")),
        _ => Ok(allow_and_check(call)),
    });
    let rig = Rig::start(decide, stream(&[delta(0, "PRIVATE"), ending()].concat())).await;
    let answer = rig.chat(streaming()).await;
    assert!(!answer.text().contains("PRIVATE"));
    let error = error(answer.text());
    assert_eq!(error["code"], "result_withheld");
    assert_eq!(error["lictor"]["executed"], true);
    assert_eq!(error["lictor"]["reasons"][1]["id"], "chat.leak");
    assert_eq!(rig.decide.settlement().await.usage.max_output_tokens, 4);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn a_choice_is_held_up_to_its_bound() {
    let full = "x".repeat(MAX_HELD_TEXT_BYTES - 1);
    let rig = Rig::start(masking("SECRET"), Script::Never).await;
    let bytes = [delta(0, &full), delta(0, "y"), ending()].concat();
    rig.provider.set(stream(&bytes));
    assert_eq!(rig.chat(streaming()).await.body, bytes);
    rig.provider.set(stream(&[delta(0, &full), delta(0, "yz"), ending()].concat()));
    let answer = rig.chat(streaming()).await;
    assert!(!answer.text().contains("xxx"));
    assert_eq!(error(answer.text())["code"], "result_withheld");
}

#[tokio::test]
async fn frames_that_can_be_read_in_two_ways_are_withheld() {
    let twice = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"PRIVATE\",\"content\":\"x\"}}]}\n\n";
    let rig = Rig::start(masking("SECRET"), stream(&[twice.to_vec(), ending()].concat())).await;
    let answer = rig.chat(streaming()).await;
    assert!(!answer.text().contains("PRIVATE"));
    assert_eq!(error(answer.text())["code"], "result_withheld");
}

#[tokio::test]
async fn a_decision_point_lost_in_the_stream_ends_it() {
    let decide = Fake::new(|call| match call.phase {
        Phase::Response => Err(DecideError::Unavailable("down".to_owned())),
        _ => Ok(allow_and_check(call)),
    });
    let rig = Rig::start(decide, stream(&[delta(0, "PRIVATE"), ending()].concat())).await;
    let answer = rig.chat(streaming()).await;
    assert!(!answer.text().contains("PRIVATE"));
    assert_eq!(error(answer.text())["lictor"]["reasons"][1]["id"], "pdp_unavailable");
    assert_eq!(rig.decide.settlement().await.outcome, Outcome::Done);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn a_log_lost_in_the_stream_ends_it() {
    for check in [false, true] {
        let decide =
            Fake::new(move |call| Ok(if check { allow_and_check(call) } else { allow(call) }));
        let rig = Rig::start(decide, Script::Never).await;
        let audit = rig.audit.clone();
        let close = move || {
            let _ = audit.close_blocking("test");
        };
        let pieces = vec![
            Piece::Bytes(delta(0, "one")),
            Piece::Run(Arc::new(close)),
            Piece::Bytes(ending()),
        ];
        rig.provider.set(Script::Stream(pieces));
        let answer = rig.chat(streaming()).await;
        assert_eq!(answer.text().contains("one"), !check);
        let error = error(answer.text());
        assert_eq!(error["code"], "result_withheld");
        assert_eq!(error["lictor"]["reasons"][1]["id"], "audit_unavailable");
        assert_eq!(rig.decide.settlement().await.outcome, Outcome::Done);
    }
}

#[tokio::test]
async fn a_stream_that_the_provider_breaks_ends_in_an_error_event() {
    for check in [false, true] {
        let decide =
            Fake::new(move |call| Ok(if check { allow_and_check(call) } else { allow(call) }));
        let script = Script::Stream(vec![Piece::Bytes(delta(0, "12345")), Piece::Cut]);
        let rig = Rig::start(decide, script).await;
        let answer = rig.chat(streaming()).await;
        assert_eq!(answer.text().contains("12345"), !check);
        assert_eq!(error(answer.text())["code"], "upstream_unavailable");
        let settle = rig.decide.settlement().await;
        assert_eq!((settle.outcome, settle.usage.max_output_tokens), (Outcome::Unknown, 2));
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
    }
}

#[tokio::test]
async fn a_stream_that_pauses_for_too_long_ends() {
    let script = Script::Stream(vec![Piece::Bytes(delta(0, "one")), Piece::Hang]);
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig = Rig::start_with(decide, script, |config, _| config.idle_timeout_ms = 50).await;
    let answer = rig.chat(streaming()).await;
    assert_eq!(error(answer.text())["code"], "upstream_unavailable");
    rig.provider.hung_up().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_takes_the_provider_along() {
    let script = Script::Stream(vec![Piece::Bytes(delta(0, "12345")), Piece::Hang]);
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), script).await;
    let request = rig.request(Method::POST, "/v1/chat/completions", streaming());
    let mut answer = rig.begin(request).await;
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    rig.provider.hung_up().await;
    let settle = rig.decide.settlement().await;
    assert_eq!((settle.outcome, settle.usage.max_output_tokens), (Outcome::Unknown, 2));
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
}

#[tokio::test]
async fn a_stream_without_its_last_frame_ends_as_it_ends() {
    let bytes = delta(0, "one");
    for check in [false, true] {
        let decide =
            Fake::new(move |call| Ok(if check { allow_and_check(call) } else { allow(call) }));
        let rig = Rig::start(decide, stream(&bytes)).await;
        assert_eq!(rig.chat(streaming()).await.body, bytes);
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"]);
    }
}
