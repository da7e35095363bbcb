//! A made-up MCP server that answers `tools/list` as the test says, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// `POST` or `DELETE`.
    pub(crate) verb: String,
    pub(crate) headers: HeaderMap,
    /// The message; null where there is none.
    pub(crate) body: Value,
}

impl Seen {
    /// The method of the message.
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    /// A header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// A JSON-RPC answer with this result.
    pub(crate) fn result(&self, result: Value) -> Response<Body> {
        let answer = json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result});
        reply(200, "application/json", answer.to_string())
    }

    /// The same as a stream with other messages before it.
    pub(crate) fn stream(&self, result: Value) -> Response<Body> {
        let answer = json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
        let text = format!(
            ": hello\r\n\r\nid: 1\ndata:\n\ndata: {note}\n\nevent: message\ndata: {answer}\n\n"
        );
        reply(200, "text/event-stream", text)
    }

    /// A JSON-RPC error with an HTTP status.
    pub(crate) fn error(&self, status: u16, code: i64, message: &str) -> Response<Body> {
        let answer = json!({"jsonrpc": "2.0", "id": self.body["id"], "error": {"code": code, "message": message}});
        reply(status, "application/json", answer.to_string())
    }
}

/// Any answer.
pub(crate) fn reply(status: u16, media: &str, text: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", media).body(text.into()).unwrap()
}

type Reply = Box<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

/// A server on a port of its own, as long as the value lives.
pub(crate) struct Mcp {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    reply: Reply,
    seen: Mutex<Vec<Seen>>,
}

impl Mcp {
    pub(crate) fn start(reply: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { reply: Box::new(reply), seen: Mutex::default() });
        let app = Router::new().fallback(handle).with_state(shared.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shared, _runtime: runtime }
    }

    /// A server of 2026-07-28 with these tools.
    pub(crate) fn modern(tools: Value) -> Self {
        Self::start(move |seen| {
            if seen.header("mcp-protocol-version") != "2026-07-28" {
                return seen.error(400, -32022, "unsupported protocol version");
            }
            seen.result(json!({"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private"}))
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let seen = Seen { verb: parts.method.to_string(), headers: parts.headers, body };
    shared.seen.lock().unwrap().push(seen.clone());
    (shared.reply)(&seen)
}
