//! The servers behind the enforcement points: a tool server that keeps every byte it was sent, and
//! an OpenAI-like provider that gives a secret away.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The key that a provider wants to see.
pub const PROVIDER_KEY: &str = "provider-key-of-the-tests";

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The server's id, or the provider's path.
    pub at: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Arrived {
    /// The JSON-RPC method.
    #[must_use]
    pub fn method(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.get("method").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

#[derive(Debug, Default)]
struct Shared {
    arrived: Mutex<Vec<Arrived>>,
    tools: BTreeMap<String, Value>,
}

impl Shared {
    fn note(&self, at: &str, headers: HeaderMap, body: Bytes) {
        let arrived = Arrived { at: at.to_owned(), headers, body };
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
    }
}

/// A server of this process. It ends with its owner.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    async fn serve(shared: Arc<Shared>, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// MCP servers at `/<id>`, with the tools that the registries of the bundles below `bundles`
    /// give each of them.
    ///
    /// # Panics
    /// The bundles cannot be read, or there is no port.
    pub async fn tools(bundles: &Path) -> Self {
        let shared = Arc::new(Shared { tools: tools_of(bundles), ..Shared::default() });
        let router = Router::new().route("/{server}", post(rpc)).with_state(shared.clone());
        Self::serve(shared, router).await
    }

    /// A provider at `/v1`.
    ///
    /// # Panics
    /// There is no port.
    pub async fn provider() -> Self {
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
            .with_state(shared.clone());
        Self::serve(shared, router).await
    }

    /// Everything that arrived so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tool calls among it.
    #[must_use]
    pub fn calls(&self) -> Vec<Arrived> {
        self.arrived().into_iter().filter(|arrived| arrived.method() == "tools/call").collect()
    }
}

fn tools_of(bundles: &Path) -> BTreeMap<String, Value> {
    let mut servers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for bundle in ["expense-report", "pr-review"] {
        let text = std::fs::read(bundles.join(bundle).join("data.json")).unwrap();
        let data: Value = serde_json::from_slice(&text).unwrap();
        for (id, tool) in data.pointer("/registry/tools").and_then(Value::as_object).unwrap() {
            let (server, name) = id.split_once('/').unwrap();
            let tool = json!({
                "name": name, "description": tool["description"],
                "inputSchema": tool["input_schema"],
            });
            servers.entry(server.to_owned()).or_default().push(tool);
        }
    }
    servers.into_iter().map(|(server, tools)| (server, json!(tools))).collect()
}

async fn rpc(
    State(shared): State<Arc<Shared>>,
    UrlPath(server): UrlPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.note(&server, headers, body.clone());
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let result = match message.get("method").and_then(Value::as_str) {
        Some("tools/list") => json!({ "tools": shared.tools.get(&server) }),
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": server, "version": "1" },
        }),
        _ => json!({ "content": [{ "type": "text", "text": "done" }], "isError": false }),
    };
    Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

/// A text of the form of an access key that belongs to nobody, put together here so that no
/// scanner of sources takes it for a leak.
#[must_use]
pub fn secret() -> String {
    ["AKIA", "Q3ZV", "7LDM", "TXK2", "WHN5"].concat()
}

async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Json<Value> {
    shared.note("models", headers, Bytes::new());
    let model = |id: &str| json!({ "id": id, "object": "model", "owned_by": "tests" });
    let data = ["gpt-5", "gpt-5-mini", "gpt-5-nano"].map(model);
    Json(json!({ "object": "list", "data": data }))
}

async fn chat(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.note("chat", headers, body);
    if request.to_string().contains(ENDLESS) {
        return endless();
    }
    let text = format!("The deploy key is {}, keep it.", secret());
    if request.get("stream") == Some(&json!(true)) { streamed(&text) } else { whole(&text) }
}

fn whole(text: &str) -> Response {
    let choice = json!({
        "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop",
    });
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
        "choices": [choice],
        "usage": { "prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25 },
    }))
    .into_response()
}

/// A chat that says this is answered by a stream that never ends.
pub const ENDLESS: &str = "tell me for ever";

fn endless() -> Response {
    let first =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"once\"}}]}\n\n";
    let first = futures::stream::iter([Ok::<_, Infallible>(first)]);
    let frames = futures::StreamExt::chain(first, futures::stream::pending());
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response()
}

/// Three characters an event: no piece of the secret is one that a detector knows.
fn streamed(text: &str) -> Response {
    let characters: Vec<char> = text.chars().collect();
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-5-mini", "choices": [choice],
        });
        format!("data: {chunk}\n\n")
    };
    let pieces = characters.chunks(3).map(|piece| piece.iter().collect::<String>());
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(pieces.map(|piece| chunk(json!({ "content": piece }), Value::Null)));
    events.push(chunk(json!({}), json!("stop")));
    events.push("data: [DONE]\n\n".to_owned());
    let frames = futures::stream::iter(events.into_iter().map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response()
}
