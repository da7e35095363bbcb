//! Requests over the wire: the bytes and headers that a test wants, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::process::DEADLINE_S;

/// The stateless revision of MCP.
pub const MODERN: &str = "2026-07-28";

/// Sends requests.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// One answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Default for Http {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Http {
    /// Sends `body` exactly as it is.
    ///
    /// # Errors
    /// The connection failed or was cut, or no answer came in time.
    ///
    /// # Panics
    /// The URL or a header is none.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let whole = async {
            let answer =
                self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        let patience = Duration::from_secs(DEADLINE_S);
        tokio::time::timeout(patience, whole).await.map_err(|_| "no answer in time".to_owned())?
    }

    /// GET.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn get(&self, url: &str, token: &str) -> Result<Answer, String> {
        let authorization = format!("Bearer {token}");
        self.send(Method::GET, url, &[("authorization", &authorization)], Bytes::new()).await
    }

    /// POST of JSON by whoever holds `token`; nobody if it is empty.
    ///
    /// # Panics
    /// No answer.
    pub async fn post(&self, url: &str, token: &str, body: impl Into<Bytes>) -> Answer {
        self.try_post(url, token, body).await.unwrap()
    }

    /// The same where no answer is no failure.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn try_post(
        &self,
        url: &str,
        token: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if !token.is_empty() {
            headers.push(("authorization", &authorization));
        }
        self.send(Method::POST, url, &headers, body).await
    }

    /// `tools/call` in the era without sessions.
    ///
    /// # Panics
    /// No answer.
    pub async fn call_tool(&self, url: &str, token: &str, tool: &str, args: &Value) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("authorization", &authorization),
            ("mcp-protocol-version", MODERN),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ];
        let body = tool_call(tool, args).to_string();
        self.send(Method::POST, url, &headers, body).await.unwrap()
    }
}

/// The body of a `tools/call` in the era without sessions.
#[must_use]
pub fn tool_call(tool: &str, args: &Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": tool, "arguments": args, "_meta": meta },
    })
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.body))
    }

    /// What Lictor says of a refusal, in JSON-RPC, OpenAI's form, or the decision point's own.
    #[must_use]
    pub fn refusal(&self) -> Option<Value> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let places = ["/error/data/lictor", "/error/lictor"];
        places.iter().find_map(|place| body.pointer(place)).cloned()
    }

    /// The ids of the reasons of a refusal.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let refusal = self.refusal().unwrap_or_default();
        let reasons = refusal.get("reasons").and_then(Value::as_array).cloned();
        let id = |reason: &Value| Some(reason.get("id")?.as_str()?.to_owned());
        reasons.unwrap_or_default().iter().filter_map(id).collect()
    }

    /// The id of the call that was refused.
    #[must_use]
    pub fn call_id(&self) -> String {
        let named = self.headers.get("lictor-call-id").and_then(|value| value.to_str().ok());
        let refusal = self.refusal().unwrap_or_default();
        let told = refusal.get("call_id").and_then(Value::as_str);
        named.or(told).unwrap_or_default().to_owned()
    }

    /// The text of a tool's result.
    #[must_use]
    pub fn text(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = body.pointer("/result/content/0/text").and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }
}
