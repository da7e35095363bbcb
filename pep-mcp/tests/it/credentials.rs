//! Servers that know us by something else than an assertion.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderValue, Response};
use lictor_pep_core::AuthConfig;
use lictor_pep_core::setup::IdentityConfig;
use lictor_pep_mcp::Config;
use serde_json::{Value, json};

use crate::oracle::{Oracle, allow};
use crate::rig::{Answer, Rig, call, outcomes};
use crate::server::{Seen, events, json as json_body, said};

const KEY: &str = "sentinel-2b8d-key";
const REASON: &str = "upstream_credential_unavailable";

fn known_by(auth: Value) -> impl FnOnce(&mut Config, &Path, &mut IdentityConfig) {
    move |config, dir, _| {
        let path = dir.join("key");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(KEY.as_bytes()).unwrap();
        let text = auth.to_string().replace("FILE", &path.display().to_string());
        let auth: AuthConfig = serde_json::from_str(&text).unwrap();
        config.servers.first_mut().unwrap().auth = Some(auth);
    }
}

async fn start(
    auth: Value,
    reply: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
) -> Rig {
    Rig::start_for(Oracle::new(allow), reply, known_by(auth)).await
}

fn key() -> Value {
    json!({"kind": "key", "file": "FILE"})
}

fn holds_key(answer: &Answer) -> bool {
    format!("{:?}{}", answer.headers, answer.text()).contains(KEY)
}

#[tokio::test]
async fn a_key_takes_the_place_of_the_assertion() {
    let rig = start(key(), |_| json_body(said("done"))).await;
    assert_eq!(rig.post(call("read", "{}")).await.status, 200);
    let seen = rig.server.seen().pop().unwrap();
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
}

#[tokio::test]
async fn none_sends_nothing_at_all() {
    let rig = start(json!({"kind": "none"}), |_| json_body(said("done"))).await;
    assert_eq!(rig.post(call("read", "{}")).await.status, 200);
    assert!(!rig.server.seen().pop().unwrap().headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_caller_whose_credential_cannot_be_exchanged_is_refused_before_anything_is_sent() {
    // Nobody listens there, and nobody is asked: an API key is no token.
    let server =
        json!({"token_url": "http://127.0.0.1:9/t", "client_id": "g", "secret_file": "FILE"});
    let auth = json!({"kind": "token_exchange", "audience": "a", "server": server});
    let rig = start(auth, |_| json_body(said("done"))).await;
    let refused = rig.post(call("read", "{}")).await;
    assert_eq!(refused.reasons(), REASON);
    assert!(refused.text().contains("your credential cannot be exchanged"), "{refused:?}");
    assert!(rig.server.seen().is_empty());
    assert_eq!(rig.stop().await.len(), 1);
}

#[tokio::test]
async fn an_answer_with_our_key_in_it_is_withheld_however_it_comes() {
    let plain = |_: &Seen| json_body(said(KEY));
    let header = |_: &Seen| {
        let mut answer = json_body(said("done"));
        answer.headers_mut().insert("x-echo", HeaderValue::from_static(KEY));
        answer
    };
    let error = |_: &Seen| {
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{{\"code\":1,\"message\":\"{KEY}\"}}}}"
        );
        json_body(text)
    };
    let stream = |_: &Seen| {
        let text =
            format!("data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"x\":\"{KEY}\"}}}}\n\n");
        events(Body::from(text))
    };
    let replies: [fn(&Seen) -> Response<Body>; 4] = [plain, header, error, stream];
    for (index, reply) in replies.into_iter().enumerate() {
        let rig = start(key(), reply).await;
        let answer = rig.post(call("read", "{}")).await;
        assert!(!holds_key(&answer), "{index}: {answer:?}");
        assert!(answer.text().contains("our credential"), "{index}: {answer:?}");
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"], "{index}");
    }
}
