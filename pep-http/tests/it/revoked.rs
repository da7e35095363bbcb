//! What is under way ends with whoever is revoked.

use std::sync::Arc;

use http::Method;
use http_body_util::BodyExt as _;
use lictor_proto::decide::Outcome;
use lictor_proto::revocation::Kind;
use serde_json::Value;
use tokio::sync::Notify;

use crate::decide::{Fake, allow, allow_and_check};
use crate::provider::{Piece, Script};
use crate::rig::{Rig, hello, outcomes};

const FIRST: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345\"}}]}\n\n";

fn streaming() -> String {
    hello().replace("\"model\"", "\"stream\":true,\"model\"")
}

/// The error in the last event of a stream.
fn error(text: &str) -> Value {
    assert!(!text.contains("[DONE]"), "{text}");
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let event: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    event["error"].clone()
}

#[tokio::test]
async fn an_open_stream_is_cut_whoever_is_revoked() {
    for (kind, id, reason) in [
        (Kind::Agent, "expense-report-v1", "agent_revoked"),
        (Kind::User, "alice@example.com", "subject_revoked"),
        (Kind::Session, "s-1", "session_revoked"),
        (Kind::Model, "openai/gpt-5", "model_revoked"),
    ] {
        let decide = Fake::new(|call| {
            let mut answer = allow(call);
            answer.hints.session_id = Some("s-1".into());
            Ok(answer)
        });
        let script = Script::Stream(vec![Piece::Bytes(FIRST.to_vec()), Piece::Hang]);
        let rig = Rig::start(decide, script).await;
        let request = rig.request(Method::POST, "/v1/chat/completions", streaming());
        let mut answer = rig.begin(request).await;
        let first = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, FIRST);
        rig.decide.kill(Kind::Agent, "somebody-else").await;
        rig.decide.kill(kind, id).await;
        let left = answer.into_body().collect().await.unwrap().to_bytes();
        let error = error(std::str::from_utf8(&left).unwrap());
        assert_eq!(error["code"], "result_withheld", "{kind:?}");
        assert_eq!(error["lictor"]["reasons"][1]["id"], reason);
        assert_eq!(error["lictor"]["executed"], true);
        rig.provider.hung_up().await;
        let settle = rig.decide.settlement().await;
        assert_eq!((settle.outcome, settle.usage.max_output_tokens), (Outcome::Done, 2));
        let records = rig.stop().await;
        assert_eq!(outcomes(&records), ["allowed", "withheld"]);
        assert_eq!(records[1]["reasons"], serde_json::json!(["result_withheld", reason]));
    }
}

#[tokio::test]
async fn a_stream_that_is_held_gives_nothing_away() {
    let gate = Arc::new(Notify::new());
    let decide = Fake::new(|call| Ok(allow_and_check(call)));
    let pieces = vec![
        Piece::Bytes(FIRST.to_vec()),
        Piece::Wait(gate.clone()),
        Piece::Bytes(b"data: [DONE]\n\n".to_vec()),
    ];
    let rig = Rig::start(decide, Script::Stream(pieces)).await;
    let request = rig.request(Method::POST, "/v1/chat/completions", streaming());
    let answer = rig.begin(request).await;
    rig.decide.kill(Kind::Agent, "expense-report-v1").await;
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(!text.contains("12345"), "{text}");
    assert_eq!(error(text)["lictor"]["reasons"][1]["id"], "agent_revoked");
    gate.notify_one();
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn a_stale_list_ends_streams_too() {
    let script = Script::Stream(vec![Piece::Bytes(FIRST.to_vec()), Piece::Hang]);
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), script).await;
    let request = rig.request(Method::POST, "/v1/chat/completions", streaming());
    let mut answer = rig.begin(request).await;
    answer.body_mut().frame().await.unwrap().unwrap();
    rig.decide.tell(vec![], true).await;
    let left = answer.into_body().collect().await.unwrap().to_bytes();
    let error = error(std::str::from_utf8(&left).unwrap());
    assert_eq!(error["lictor"]["reasons"][1]["id"], "revocation_stale");
}
