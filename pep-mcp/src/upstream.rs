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
use lictor_pep_core::upstream_auth::Credential;
use lictor_pep_core::{
    AssertionMinter, Clock, Forwarder, Ids, Outgoing, Permit, Permitted, Proof, Refusal,
    UpstreamAuth,
};
use lictor_proto::reason;

use crate::config::Server;
use crate::ingress::Era;
use crate::told::{TXN_TOKEN, Told};

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
    /// The credentials of servers that take no assertion.
    pub(crate) auth: Arc<UpstreamAuth>,
}

/// The headers of our own for one call.
#[derive(Debug)]
pub(crate) struct Own {
    headers: HeaderMap,
    /// By which the server knows us, where that is no assertion.
    credential: Option<Credential>,
}

impl Upstream {
    /// The headers of our own for this call: our credential, and what obligations set. `proof` is
    /// the caller's, whom the decision is about.
    pub(crate) async fn own_headers(
        &self,
        permitted: &Permitted,
        server: &Server,
        args_digest: &str,
        proof: &Proof,
    ) -> Result<Own, Refusal> {
        let mut own = HeaderMap::new();
        let set = set_headers(&permitted.decision().obligations).map_err(|id| {
            let message = format!("the header of obligation `{id}` cannot be set");
            permitted.refuse(reason::OBLIGATION_FAILED, message)
        })?;
        for (name, value) in set {
            own.append(name, value);
        }
        let mut credential = None;
        let (told, now_ms) = (Told::of(permitted, args_digest), self.clock.now_ms());
        if let Some(domain) = &server.trust_domain {
            own.insert(TXN_TOKEN, told.transaction(&self.minter, domain, now_ms)?);
        }
        if server.asserted {
            let jti = self.ids.next(now_ms);
            own.insert(AUTHORIZATION, told.assertion(&self.minter, &server.url, now_ms, &jti)?);
        } else {
            let had = self.auth.credential(Some(proof), &server.id, now_ms).await;
            credential = had.map_err(|error| permitted.refuse(error.reason_id(), error.told()))?;
        }
        if let Some(credential) = &credential {
            credential.put(&mut own);
        }
        // An answer that is not readable cannot be checked.
        own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Own { headers: own, credential })
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
        own: Own,
        body: Bytes,
    ) -> Result<Response<Incoming>, ForwardError> {
        let Own { headers: mut own, credential } = own;
        if !body.is_empty() {
            // The body was read as UTF-8 JSON: nobody behind may be told to read it otherwise.
            own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let outgoing = Outgoing { method, url: server.uri.clone(), headers, own, body };
        let mut answer = self.forwarder.send(permit, outgoing).await?;
        // Beside the answer, so that it can be looked for in it.
        credential.map(|credential| answer.extensions_mut().insert(credential));
        Ok(answer)
    }
}
