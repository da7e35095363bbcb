//! From an HTTP request to the bounded, protocol-neutral request that every enforcement point asks about.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};
use http::request::Parts;
use lictor_pep_core::discard::discard;
use lictor_pep_core::edit::Edits;
use lictor_pep_core::headers::trace_id;
use lictor_pep_core::listen::ClientCertificate;
use lictor_pep_core::session::handle_of;
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
    /// How the caller proves itself, for this one request.
    proof: Proof,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// Where the connection comes from.
    pub(crate) source_ip: String,
}

impl Caller {
    /// The caller of a request to the enforcement point that is reached at `public_url`.
    pub(crate) fn new(head: Parts, public_url: &str, source_ip: String) -> Self {
        let url = format!("{public_url}{}", head.uri.path());
        let proof = Proof::from_headers(&head.headers, &head.method, &url)
            .or_api_key(&head.headers)
            .with_certificate(head.extensions.get::<ClientCertificate>().cloned());
        Self { proof, headers: head.headers, source_ip }
    }

    /// How the caller proves itself.
    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// A request of this caller.
    pub(crate) fn request(
        &self,
        protocol: &str,
        action: &str,
        kind: ResourceKind,
        id: &str,
    ) -> Request {
        let mut request = Request::new(self.proof.clone(), action, kind, id);
        request.session = handle_of(&self.headers);
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
    use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
    use lictor_pep_core::headers::LICTOR_SESSION;

    use super::*;
    use crate::config::{Config, UpstreamConfig};

    fn caller(headers: &[(HeaderName, &str)]) -> Caller {
        let mut request = http::Request::post("/v1/chat/completions?x=1");
        for (name, value) in headers {
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        head.extensions.insert(ClientCertificate::new(b"x"));
        Caller::new(head, "https://gate.example/llm", "192.0.2.1".to_owned())
    }

    fn upstreams() -> Upstreams {
        let upstream = |id: &str| UpstreamConfig {
            id: id.to_owned(),
            base_url: format!("http://{id}.example/v1"),
            key_env: None,
            key_file: None,
            auth: None,
        };
        let config = Config::new(vec![upstream("openai"), upstream("local")]);
        Upstreams::load(&config, lictor_pep_core::UpstreamAuth::empty()).unwrap()
    }

    #[test]
    fn a_caller_proves_itself_by_headers_and_connection_at_the_configured_place() {
        let shown = |headers: &[(HeaderName, &str)]| format!("{:?}", caller(headers).proof());
        let dpop = HeaderName::from_static("dpop");
        let text = shown(&[(AUTHORIZATION, "DPoP k-1"), (dpop, "p")]);
        let place = "POST https://gate.example/llm/v1/chat/completions";
        assert!(text.contains(place) && text.contains("ClientCertificate("), "{text}");
        let text = shown(&[(HeaderName::from_static("x-api-key"), "key")]);
        assert!(text.contains("Bearer(<3 bytes>)"), "{text}");
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
