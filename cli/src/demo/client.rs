//! The demonstration as a client: requests over the wire, and what comes back. It knows
//! the public protocols and nothing of what is behind them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lictor_proto::decision::Effect;
use serde_json::Value;

use crate::exit::Failure;

/// How long one answer may take, milliseconds: a hang is a failure, not a pause.
const ANSWER_TIMEOUT_MS: u64 = 10_000;
/// Both of the forms in which an MCP server may answer.
const ACCEPTED: &str = "application/json, text/event-stream";

/// Sends requests.
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// One answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: String,
}

/// What a client can tell of one request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// What became of it.
    pub(crate) effect: Effect,
    /// Ids of the reasons that were told, sorted.
    pub(crate) reasons: Vec<String>,
    /// The first reason's message.
    pub(crate) message: String,
    /// The call's id.
    pub(crate) call_id: String,
    /// The approval that is waited for.
    pub(crate) approval: Option<String>,
    /// Names in a list, sorted.
    pub(crate) names: Vec<String>,
    /// The text of an answer.
    pub(crate) text: String,
    /// Everything that came, for checks on what must not have come.
    pub(crate) raw: String,
}

impl Seen {
    /// Nothing but an effect.
    pub(crate) fn of(effect: Effect) -> Self {
        Self {
            effect,
            reasons: Vec::new(),
            message: String::new(),
            call_id: String::new(),
            approval: None,
            names: Vec::new(),
            text: String::new(),
            raw: String::new(),
        }
    }
}

impl Http {
    /// A client that keeps its connections.
    pub(crate) fn new() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Sends one request and reads the answer.
    ///
    /// # Errors
    /// No answer, or one that is not text.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        bearer: Option<&str>,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, Failure> {
        let failed = |what: String| Failure::failed(format!("{url}: {what}"));
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT, ACCEPTED);
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).map_err(|error| failed(error.to_string()))?;
        let answered = async {
            let response = self.client.request(request).await.map_err(|e| failed(e.to_string()))?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| failed(error.to_string()))?;
            let body = String::from_utf8(body.to_bytes().to_vec());
            let body = body.map_err(|_| failed("the answer is not text".to_owned()))?;
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        let patience = Duration::from_millis(ANSWER_TIMEOUT_MS);
        match tokio::time::timeout(patience, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(failed("no answer in 10 s".to_owned())),
        }
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn is_stream(&self) -> bool {
        self.header("content-type").starts_with("text/event-stream")
    }

    /// The JSON values of the events of a stream.
    fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        data.filter_map(|text| serde_json::from_str(text.trim()).ok()).collect()
    }

    fn json(&self) -> Value {
        let whole = || serde_json::from_str(&self.body).unwrap_or_default();
        if self.is_stream() { self.events().pop().unwrap_or_default() } else { whole() }
    }

    fn seen(&self, effect: Effect) -> Seen {
        Seen {
            call_id: self.header("lictor-call-id").to_owned(),
            raw: self.body.clone(),
            ..Seen::of(effect)
        }
    }

    /// An answer of an MCP server.
    pub(crate) fn mcp(&self) -> Seen {
        let message = self.json();
        let Some(result) = message.get("result") else {
            return self.refused(message.pointer("/error/data/lictor"));
        };
        let mut seen = self.seen(Effect::Allow);
        seen.names = names(result.get("tools"), "name");
        seen.text = texts(result.get("content"), "/text");
        seen
    }

    /// An answer of an LLM provider, streamed or not.
    pub(crate) fn llm(&self) -> Seen {
        let events = if self.is_stream() { self.events() } else { vec![self.json()] };
        let refusal = events.iter().find_map(|event| event.pointer("/error/lictor"));
        if refusal.is_some() || self.status != 200 {
            return self.refused(refusal);
        }
        let mut seen = self.seen(Effect::Allow);
        for event in &events {
            seen.text.push_str(&texts(event.get("choices"), "/message/content"));
            seen.text.push_str(&texts(event.get("choices"), "/delta/content"));
        }
        seen.names = names(events.first().and_then(|list| list.get("data")), "id");
        seen
    }

    /// A refusal in either protocol: both carry the same details.
    fn refused(&self, details: Option<&Value>) -> Seen {
        let mut seen = self.seen(Effect::Deny);
        let Some(details) = details else {
            seen.message = format!("status {} without a reason", self.status);
            return seen;
        };
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        seen.reasons = names(details.get("reasons"), "id");
        seen.message = text(details.pointer("/reasons/0/message"));
        seen.call_id = text(details.get("call_id"));
        seen.approval = details.pointer("/approval/id").and_then(Value::as_str).map(str::to_owned);
        if seen.approval.is_some() {
            seen.effect = Effect::Ask;
        }
        seen
    }
}

/// The member `key` of every element, sorted.
fn names(list: Option<&Value>, key: &str) -> Vec<String> {
    let elements = list.and_then(Value::as_array).into_iter().flatten();
    let named = elements.filter_map(|element| element.get(key)?.as_str());
    let mut names: Vec<String> = named.map(str::to_owned).collect();
    names.sort();
    names
}

/// The texts at a pointer into every element, put together.
fn texts(list: Option<&Value>, pointer: &str) -> String {
    let elements = list.and_then(Value::as_array).into_iter().flatten();
    elements.filter_map(|element| element.pointer(pointer)?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &'static str, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        Answer { status, headers, body: body.to_owned() }
    }

    #[test]
    fn an_answer_without_result_is_never_allowed() {
        for body in ["", "{}", "[]", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601}}"#] {
            assert_eq!(answer(200, "application/json", body).mcp().effect, Effect::Deny, "{body}");
        }
        assert_eq!(answer(500, "application/json", "{}").llm().effect, Effect::Deny);
    }

    #[test]
    fn the_pieces_of_a_stream_are_put_together() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n";
        let seen = answer(200, "text/event-stream", stream).llm();
        assert_eq!((seen.effect, seen.text.as_str()), (Effect::Allow, "ab"));
    }
}
