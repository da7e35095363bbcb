//! A made-up MCP server that keeps what it received and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use bytes::Bytes;

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) type Reply = Box<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Shared>,
}

struct Shared {
    reply: Reply,
    seen: Mutex<Vec<Seen>>,
}

impl Server {
    pub(crate) async fn start(reply: Reply) -> Self {
        let shared = Arc::new(Shared { reply, seen: Mutex::default() });
        let app = Router::new().fallback(handle).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, seen: shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/upstream", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.seen.lock().unwrap().clone()
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let seen = Seen { method: parts.method, headers: parts.headers, body };
    shared.seen.lock().unwrap().push(seen.clone());
    (shared.reply)(&seen)
}

pub(crate) fn json(text: impl Into<Body>) -> Response<Body> {
    answer(200, "application/json", text)
}

pub(crate) fn events(text: impl Into<Body>) -> Response<Body> {
    answer(200, "text/event-stream", text)
}

pub(crate) fn answer(status: u16, media: &str, text: impl Into<Body>) -> Response<Body> {
    let builder = Response::builder().status(status).header("content-type", media);
    builder.body(text.into()).unwrap()
}

/// A tool result that says `text`.
pub(crate) fn said(text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":{text}}}]}}}}"#
    )
}
