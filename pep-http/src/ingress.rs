//! From an HTTP request to the bounded, protocol-neutral request that every enforcement point asks about.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap};
use lictor_pep_core::discard::discard;
use lictor_pep_core::edit::Edits;
use lictor_pep_core::headers::{LICTOR_SESSION, trace_id};
use lictor_pep_core::{Proof, Refusal, Request};
use lictor_proto::call::ResourceKind;
use lictor_proto::json::{Node, scan};
use lictor_proto::reason;

use crate::chat::ChatRequest;
use crate::upstream::{self, BodyError, Upstream, Upstreams};

/// How long a caller may take to send its body, milliseconds, however it is cut: a slot is held meanwhile.
pub(crate) const BODY_TIMEOUT_MS: u64 = 60_000;
/// The action of a chat.
pub(crate) const CHAT: &str = "llm/chat";
/// The action of everything else, such as listing models.
pub(crate) const OTHER: &str = "llm/other";
/// The protocol of a chat.
pub(crate) const CHAT_PROTOCOL: &str = "openai/chat";
/// The protocol of everything else.
pub(crate) const OTHER_PROTOCOL: &str = "openai";

/// Who sent a request, and with which headers.
#[derive(Debug)]
pub(crate) struct Caller {
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// Where the connection comes from.
    pub(crate) source_ip: String,
}

impl Caller {
    /// The credential. Two `Authorization` headers are none: nobody knows which one counts.
    pub(crate) fn proof(&self) -> Proof {
        let mut values = self.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Proof::None;
        };
        Proof::from_authorization(value.to_str().ok())
    }

    /// A request of this caller.
    pub(crate) fn request(
        &self,
        protocol: &str,
        action: &str,
        kind: ResourceKind,
        id: &str,
    ) -> Request {
        let session = self.headers.get(LICTOR_SESSION);
        let mut request = Request::new(self.proof(), action, kind, id);
        // A handle that is no text names no session; the decision point says so.
        request.session = session.map(|value| value.to_str().unwrap_or("?").to_owned());
        request.protocol = protocol.to_owned();
        request.source_ip = self.source_ip.clone();
        request.trace_id = trace_id(&self.headers).unwrap_or_default();
        request
    }
}

/// A chat request that was read: its bytes, their tree and what is asked.
#[derive(Debug)]
pub(crate) struct Chat<'a> {
    /// The bytes as received.
    pub(crate) body: Bytes,
    /// Their tree.
    pub(crate) root: Node,
    /// The provider of the model.
    pub(crate) upstream: &'a Upstream,
    /// What is to be changed whatever policy says: a prefixed model name.
    pub(crate) edits: Edits,
    /// What is asked.
    pub(crate) request: Request,
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// `body_too_large`, `body_invalid`.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    idle: Duration,
) -> Result<Bytes, Refusal> {
    let encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.into_iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::new(reason::BODY_INVALID, "send the body without content-encoding"));
    }
    let patience = Duration::from_millis(BODY_TIMEOUT_MS);
    let collected = tokio::time::timeout(patience, upstream::collect(&mut body, limit, idle)).await;
    let collected = collected.unwrap_or(Err(BodyError::Idle));
    if matches!(collected, Err(BodyError::TooLarge(_))) {
        discard(&mut body).await;
    }
    collected.map_err(|error| match error {
        BodyError::TooLarge(limit) => Refusal::new(
            reason::BODY_TOO_LARGE,
            format!("the body is larger than {limit} bytes: send less"),
        ),
        BodyError::Idle | BodyError::Lost => Refusal::new(reason::BODY_INVALID, error.to_string()),
    })
}

/// Makes a chat request of `body`.
///
/// # Errors
/// `body_invalid`, or the scanner's own reason.
pub(crate) fn chat<'a>(
    caller: &Caller,
    body: Bytes,
    upstreams: &'a Upstreams,
) -> Result<Chat<'a>, Refusal> {
    let root = scan(&body).map_err(|error| Refusal::new(error.reason_id(), error.to_string()))?;
    let view = ChatRequest::read(&root)
        .map_err(|error| Refusal::new(reason::BODY_INVALID, error.to_string()))?;
    let selected = upstreams.select(view.model());
    let (upstream, id) = (selected.upstream, selected.upstream.resource_id(selected.model));
    let mut edits = Edits::new();
    if selected.renamed {
        view.rename_model(&mut edits, selected.model);
    }
    let mut request = caller.request(CHAT_PROTOCOL, CHAT, ResourceKind::Model, &id);
    request.content = view.content();
    request.usage = view.usage(&request.content);
    request.targets = vec![upstream.target()];
    Ok(Chat { body, root, upstream, edits, request })
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::{Config, UpstreamConfig};

    fn caller(headers: &[(HeaderName, &str)]) -> Caller {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Caller { headers: map, source_ip: "192.0.2.1".to_owned() }
    }

    fn upstreams() -> Upstreams {
        let upstream = |id: &str| UpstreamConfig {
            id: id.to_owned(),
            base_url: format!("http://{id}.example/v1"),
            key_env: None,
            key_file: None,
        };
        Upstreams::load(&Config::new(vec![upstream("openai"), upstream("local")])).unwrap()
    }

    #[test]
    fn exactly_one_bearer_is_a_proof() {
        let proof = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| (AUTHORIZATION, *value)).collect();
            caller(&headers).proof()
        };
        assert_eq!(proof(&["Bearer k-1"]), Proof::Bearer("k-1".to_owned()));
        assert_eq!(proof(&["bEARER  k-1 "]), Proof::Bearer("k-1".to_owned()));
        for none in
            [&[][..], &["Bearer "], &["Basic YTpi"], &["k-1"], &["Bearer a", "Bearer b"], &["Bär"]]
        {
            assert_eq!(proof(none), Proof::None, "{none:?}");
        }
    }

    #[test]
    fn a_chat_is_asked_about_by_model_texts_and_use() {
        let body =
            r#"{"model":"local/m","max_tokens":7,"messages":[{"role":"user","content":"hello"}]}"#;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let caller = caller(&[
            (AUTHORIZATION, "Bearer k"),
            (LICTOR_SESSION, "handle"),
            (HeaderName::from_static("traceparent"), trace),
        ]);
        let upstreams = upstreams();
        let chat = chat(&caller, Bytes::from_static(body.as_bytes()), &upstreams).unwrap();
        let request = &chat.request;
        assert_eq!(
            (request.resource.kind, &*request.resource.id),
            (ResourceKind::Model, "local/m")
        );
        assert_eq!((&*request.action, &*request.protocol), (CHAT, CHAT_PROTOCOL));
        assert_eq!(request.targets, ["http://local.example/v1"]);
        assert_eq!(request.session.as_deref(), Some("handle"));
        assert_eq!(request.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((request.usage.input_tokens, request.usage.max_output_tokens), (2, 7));
        assert!(request.args.is_empty_object());
        let sent = chat.edits.apply(body.as_bytes()).unwrap();
        assert_eq!(sent, body.replace("local/m", "m").as_bytes());
    }

    #[test]
    fn bodies_are_refused_with_their_own_reason() {
        for (body, id) in [
            ("{", reason::BODY_INVALID),
            ("{\"model\":\"m\",\"model\":\"n\"}", "duplicate_key"),
            ("{\"model\":\"m\",\"seed\":18446744073709551616}", "number_inexact"),
            ("{\"model\":\"m\",\"a\":\"\\ud800\"}", "lone_surrogate"),
            ("{\"model\":\"m\"}", reason::BODY_INVALID),
        ] {
            let refusal = chat(&caller(&[]), Bytes::from(body), &upstreams()).unwrap_err();
            assert_eq!((refusal.id(), refusal.status()), (id, 400), "{body}");
        }
    }

    #[tokio::test]
    async fn a_compressed_body_is_not_read() {
        let caller = caller(&[(CONTENT_ENCODING, "gzip")]);
        let read = read_body(&caller.headers, Body::from("x"), 9, Duration::from_secs(60)).await;
        assert_eq!(read.unwrap_err().id(), reason::BODY_INVALID);
    }
}
