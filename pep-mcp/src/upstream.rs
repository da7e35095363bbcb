//! The way to the server behind: an assertion in place of the caller's token, the headers that
//! policy adds, and nothing of the caller's credentials.

use std::sync::Arc;

use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use lictor_pep_core::forward::ForwardError;
use lictor_pep_core::headers::set_headers;
use lictor_pep_core::{
    Assertion, AssertionMinter, Clock, Forwarder, Ids, Outgoing, Permit, Permitted, Refusal,
};
use lictor_proto::reason;

use crate::config::Server;
use crate::ingress::Era;

/// How long an assertion holds, seconds.
pub(crate) const ASSERTION_TTL_S: u32 = 60;

/// The caller's headers that a server gets beside `Mcp-*`: what MCP and tracing need. Everything
/// else is nothing that was decided about.
const FORWARDED: [&str; 8] = [
    "accept",
    "accept-language",
    "last-event-id",
    "user-agent",
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
];
/// How MCP's own headers begin.
const MCP_PREFIX: &str = "mcp-";
/// How headers begin that repeat arguments.
const PARAM_PREFIX: &str = "mcp-param-";
/// Headers of the legacy era that a modern request must not carry.
const LEGACY_ONLY: [&str; 2] = ["mcp-session-id", "last-event-id"];

/// Sends permitted calls to servers.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) forwarder: Forwarder,
    pub(crate) minter: Arc<AssertionMinter>,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    /// Further headers of callers that servers get, by configuration.
    pub(crate) forwarded: Arc<[String]>,
}

impl Upstream {
    /// The headers of our own for this call: the assertion and what obligations set.
    pub(crate) fn own_headers(
        &self,
        permitted: &Permitted,
        server: &Server,
        args_digest: &str,
    ) -> Result<HeaderMap, Refusal> {
        let mut own = HeaderMap::new();
        let set = set_headers(&permitted.decision().obligations).map_err(|id| {
            let message = format!("the header of obligation `{id}` cannot be set");
            permitted.refuse(reason::OBLIGATION_FAILED, message)
        })?;
        for (name, value) in set {
            own.append(name, value);
        }
        own.insert(AUTHORIZATION, self.assertion(permitted, server, args_digest)?);
        // An answer that is not readable cannot be checked.
        own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(own)
    }

    fn assertion(
        &self,
        permitted: &Permitted,
        server: &Server,
        args_digest: &str,
    ) -> Result<HeaderValue, Refusal> {
        let call = permitted.call();
        let agent = call.agent.as_ref();
        let sub = call.subject.as_ref().or(agent).map(|party| party.id.as_str());
        let actors = agent.into_iter().chain(&call.delegation).map(|party| party.id.as_str());
        let act: Vec<&str> = actors.collect();
        let now_ms = self.clock.now_ms();
        let assertion = Assertion {
            sub: sub.unwrap_or_default(),
            act: &act,
            aud: &server.url,
            decision_id: &permitted.decision().decision_id,
            tool: call.resource.as_ref().map(|resource| resource.id.as_str()).unwrap_or_default(),
            args_digest,
            ttl_s: ASSERTION_TTL_S,
        };
        let failed = |cause: String| {
            tracing::error!(cause, "no assertion could be made");
            permitted.refuse(reason::OBLIGATION_FAILED, "no assertion for the server could be made")
        };
        let token = self
            .minter
            .mint(&assertion, now_ms, &self.ids.next(now_ms))
            .map_err(|error| failed(error.to_string()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|error| failed(error.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The caller's headers that the server gets. Where arguments were masked, headers that repeat
    /// arguments stay behind.
    pub(crate) fn callers_headers(&self, headers: HeaderMap, era: Era, masked: bool) -> HeaderMap {
        let passes = |name: &str| {
            let known = FORWARDED.contains(&name)
                || name.starts_with(MCP_PREFIX)
                || self.forwarded.iter().any(|further| further.eq_ignore_ascii_case(name));
            let describes_body = name.starts_with("content-");
            let old = era == Era::Modern && LEGACY_ONLY.contains(&name);
            let stale = masked && name.starts_with(PARAM_PREFIX);
            known && !(old || describes_body || stale)
        };
        let mut passed = HeaderMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| passes(name.as_str())) {
            passed.append(name, value.clone());
        }
        passed
    }

    /// Sends it.
    pub(crate) async fn send(
        &self,
        permit: Permit,
        server: &Server,
        method: Method,
        headers: HeaderMap,
        own: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ForwardError> {
        let mut own = own;
        if !body.is_empty() {
            // The body was read as UTF-8 JSON: nobody behind may be told to read it otherwise.
            own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let outgoing = Outgoing { method, url: server.uri.clone(), headers, own, body };
        self.forwarder.send(permit, outgoing).await
    }
}
