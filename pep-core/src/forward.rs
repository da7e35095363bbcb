//! The reverse-proxy client: sends what a permit covers, and nothing else.
//!
//! Redirects are not followed: a permit names its targets, and a redirect names others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, LOCATION};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lictor_proto::decide::ToolEffect;
use lictor_proto::reason;
use rustls::{ClientConfig, RootCertStore};

use crate::clock::Clock;
use crate::enforce::{Permit, PermitError};
use crate::headers;

/// How long a connection may take to be made, milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// How long an answer's head may take unless configured otherwise, milliseconds.
pub const HEAD_TIMEOUT_MS: u64 = 120_000;
/// How long an unused connection is kept, milliseconds.
pub const IDLE_TIMEOUT_MS: u64 = 30_000;
/// Most unused connections to one host.
pub const MAX_IDLE_CONNECTIONS: usize = 128;

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Where to; must lie under a target of the permit.
    pub url: Uri,
    /// The caller's headers, credentials and connection headers not yet taken out, and what is
    /// added for this upstream in [`Outgoing::own`].
    pub headers: HeaderMap,
    /// Headers of the upstream's own: its credential, what obligations set. They replace the
    /// caller's of the same name.
    pub own: HeaderMap,
    /// The bytes that the permit was made for.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The permit does not cover it. Nothing was sent.
    #[error(transparent)]
    Permit(#[from] PermitError),
    /// The message could not be formed. Nothing was sent.
    #[error("the request to the upstream cannot be formed")]
    Form(#[source] http::Error),
    /// No connection. Nothing was sent, so the permit is still good.
    #[error("no connection to the upstream")]
    Connect {
        /// For another target of the same permit.
        permit: Box<Permit>,
        /// The cause.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The connection broke or the answer was not HTTP. Bytes may have been sent.
    #[error("the connection to the upstream was lost")]
    Lost {
        /// Present only where the effect is `none`, so that sending again is harmless.
        permit: Option<Box<Permit>>,
        /// The cause.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// No answer in time. Bytes were sent.
    #[error("the upstream did not answer in time")]
    Timeout {
        /// As for [`ForwardError::Lost`].
        permit: Option<Box<Permit>>,
    },
    /// The upstream answered with a redirect, which is not followed. Bytes were sent.
    #[error("the upstream answered with a redirect, which is not followed")]
    Redirect,
}

impl ForwardError {
    /// Whether it is certain that nothing was sent.
    #[must_use]
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Self::Permit(_) | Self::Form(_) | Self::Connect { .. })
    }

    /// The reason id to refuse with.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            Self::Permit(error) => error.reason_id(),
            Self::Form(_) => reason::BODY_INVALID,
            Self::Connect { .. } | Self::Lost { .. } | Self::Timeout { .. } | Self::Redirect => {
                reason::UPSTREAM_UNAVAILABLE
            }
        }
    }

    /// The permit, where it may be used for another try.
    #[must_use]
    pub fn permit(self) -> Option<Permit> {
        match self {
            Self::Connect { permit, .. } => Some(*permit),
            Self::Lost { permit, .. } | Self::Timeout { permit } => permit.map(|p| *p),
            Self::Permit(_) | Self::Form(_) | Self::Redirect => None,
        }
    }
}

/// The client. Cloning shares its connections.
#[derive(Clone)]
pub struct Forwarder {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    clock: Clock,
    head_timeout: Duration,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder")
            .field("head_timeout", &self.head_timeout)
            .finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("no TLS for connections to upstreams")]
pub struct ForwarderError(#[from] rustls::Error);

impl Forwarder {
    /// A client that trusts the machine's certificate authorities. `head_timeout_ms` 0 means
    /// [`HEAD_TIMEOUT_MS`].
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(clock: Clock, head_timeout_ms: u64) -> Result<Self, ForwarderError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_TIMEOUT_MS))
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        let head_timeout_ms = if head_timeout_ms == 0 { HEAD_TIMEOUT_MS } else { head_timeout_ms };
        Ok(Self { client, clock, head_timeout: Duration::from_millis(head_timeout_ms) })
    }

    /// Sends `outgoing` if `permit` covers it. The caller's credentials and connection headers are
    /// taken out here, so that no enforcement point can forget to.
    ///
    /// # Errors
    /// [`ForwardError`] says whether anything was sent, and gives the permit back where another
    /// try is harmless.
    pub async fn send(
        &self,
        permit: Permit,
        outgoing: Outgoing,
    ) -> Result<Response<Incoming>, ForwardError> {
        permit.check_target(&outgoing.url)?;
        let body = permit.forward(outgoing.body, self.clock.now_ms())?;
        let mut request = Request::builder()
            .method(outgoing.method)
            .uri(outgoing.url)
            .body(Full::new(body))
            .map_err(ForwardError::Form)?;
        *request.headers_mut() = sent_headers(outgoing.headers, outgoing.own);
        let sent = tokio::time::timeout(self.head_timeout, self.client.request(request)).await;
        let again =
            |permit: Permit| (permit.effect() == ToolEffect::None).then(|| Box::new(permit));
        match sent {
            Err(_) => Err(ForwardError::Timeout { permit: again(permit) }),
            Ok(Err(source)) if source.is_connect() => {
                Err(ForwardError::Connect { permit: Box::new(permit), source })
            }
            Ok(Err(source)) => Err(ForwardError::Lost { permit: again(permit), source }),
            Ok(Ok(response)) if is_redirect(&response) => Err(ForwardError::Redirect),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

fn is_redirect(response: &Response<Incoming>) -> bool {
    response.status().is_redirection() && response.headers().contains_key(LOCATION)
}

fn sent_headers(mut caller: HeaderMap, own: HeaderMap) -> HeaderMap {
    headers::strip_hop_by_hop(&mut caller);
    headers::strip_credentials(&mut caller);
    for name in own.keys() {
        caller.remove(name);
    }
    caller.extend(own);
    caller
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
    };
    match builder()?.with_native_roots() {
        Ok(config) => Ok(config.with_no_client_auth()),
        // Upstreams without TLS still work; with TLS, none is trusted.
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities: https upstreams will not be reached");
            let empty = RootCertStore::empty();
            Ok(builder()?.with_root_certificates(empty).with_no_client_auth())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn the_upstreams_own_headers_replace_the_callers() {
        let mut caller = HeaderMap::new();
        caller.insert(AUTHORIZATION, HeaderValue::from_static("Bearer caller"));
        caller.insert("x-a", HeaderValue::from_static("1"));
        caller.append("x-b", HeaderValue::from_static("1"));
        caller.append("x-b", HeaderValue::from_static("2"));
        let mut own = HeaderMap::new();
        own.insert(AUTHORIZATION, HeaderValue::from_static("Bearer own"));
        own.insert("x-a", HeaderValue::from_static("2"));
        let sent = sent_headers(caller, own);
        let authorizations: Vec<_> = sent.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(authorizations, ["Bearer own"]);
        assert_eq!(sent.get_all("x-a").iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(sent.get_all("x-b").iter().count(), 2);
    }
}
