//! The sample provider: OpenAI's chat completions, plain and streaming, and its list of
//! models. Its model gives away a secret in every answer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde_json::{Value, json};

/// What the provider saw in `Authorization`, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(Arc<Mutex<Vec<String>>>);

impl Keys {
    fn locked(&self) -> MutexGuard<'_, Vec<String>> {
        // Every change is one push, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, headers: &HeaderMap) {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.locked().push(value.unwrap_or_default().to_owned());
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.locked().clone()
    }
}

/// A text of the form of an access key that belongs to nobody. It is put together here,
/// so that no scanner of sources takes it for a leak.
pub(crate) fn secret() -> String {
    ["AKIA", "Q3ZV", "7LDM", "TXK2", "WHN5"].concat()
}

/// The provider, below `/v1`.
pub(crate) fn router(keys: Keys) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .with_state(keys)
}

async fn models(State(keys): State<Keys>, headers: HeaderMap) -> Json<Value> {
    keys.note(&headers);
    let model = |id: &str| json!({ "id": id, "object": "model", "owned_by": "sample" });
    let data = ["gpt-5", "gpt-5-mini", "gpt-5-nano"].map(model);
    Json(json!({ "object": "list", "data": data }))
}

async fn chat(State(keys): State<Keys>, headers: HeaderMap, body: Bytes) -> Response {
    keys.note(&headers);
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let model = request.get("model").cloned().unwrap_or_default();
    if request.get("stream") == Some(&json!(true)) { streamed(&model) } else { whole(&model) }
}

fn whole(model: &Value) -> Response {
    let text = format!("The deploy key is {}, do not share it.", secret());
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": text },
        "finish_reason": "stop",
    });
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25 });
    Json(json!({
        "id": "chatcmpl-sample", "object": "chat.completion", "created": 1_790_000_000,
        "model": model, "choices": [choice], "usage": usage,
    }))
    .into_response()
}

/// The secret is cut in pieces, none of which a detector would know.
fn streamed(model: &Value) -> Response {
    let secret = secret();
    let mut pieces = vec!["The deploy key is ".to_owned()];
    let mut rest = secret.as_str();
    while let Some((piece, tail)) = rest.split_at_checked(3) {
        pieces.push(piece.to_owned());
        rest = tail;
    }
    pieces.push(rest.to_owned());
    pieces.push(", do not share it.".to_owned());
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({
            "id": "chatcmpl-sample", "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": model, "choices": [choice],
        });
        format!("data: {chunk}\n\n")
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(pieces.iter().map(|piece| chunk(json!({ "content": piece }), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    events.push("data: [DONE]\n\n".to_owned());
    let frames = stream::iter(events.into_iter().map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_gives_the_secret_away_in_pieces() {
        let body = streamed(&json!("m")).into_body();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(!text.contains(&secret()));
        let deltas = text.lines().filter_map(|line| line.strip_prefix("data: {"));
        let whole: String = deltas
            .filter_map(|tail| serde_json::from_str::<Value>(&format!("{{{tail}")).ok())
            .filter_map(|chunk| {
                Some(chunk.pointer("/choices/0/delta/content")?.as_str()?.to_owned())
            })
            .collect();
        assert!(whole.contains(&secret()), "{whole}");
    }
}
