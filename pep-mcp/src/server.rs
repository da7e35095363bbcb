//! The listener: which path means what, health, metadata, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request as HttpRequest, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::routing::{any, get};
use axum::{Router, response::IntoResponse};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use lictor_audit::AuditLog;
use lictor_pep_core::challenge::proof_algorithms;
use lictor_pep_core::discard::discard;
use lictor_pep_core::forward::HEAD_TIMEOUT_MS;
use lictor_pep_core::headers::LICTOR_SESSION;
use lictor_pep_core::jwks::{self, JWKS_PATH};
use lictor_pep_core::listen::{self, ServerTls, TlsError, warn_if_open};
use lictor_pep_core::session::{SESSIONS_PATH, handle_of};
use lictor_pep_core::setup::DurabilityRule;
use lictor_pep_core::upstream_auth::{AuthConfigError, UpstreamAuth};
use lictor_pep_core::witness::witness;
use lictor_pep_core::{
    AssertionMinter, Authenticator, Clock, Forwarder, Ids, Pep, PepParts, Refusal, body_too_large,
};
use lictor_proto::decide::Decide;
use lictor_proto::decision::ObligationKind;
use lictor_proto::reason;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::answer::end_revoked;
use crate::config::{Config, ConfigError, Server, Servers};
use crate::flow::{self, Caller};
use crate::guard::Guard;
use crate::ingress::{self, Era};
use crate::refusal::{Bounce, Settings};
use crate::sessions::Sessions;
use crate::upstream::Upstream;

/// How long a client may take to send its body, milliseconds.
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// How long calls in flight have at shutdown, milliseconds.
pub const DRAIN_MS: u64 = 10_000;
/// Most requests at once, until the head of their answers; past it they are refused.
pub const MAX_IN_FLIGHT_REQUESTS: usize = 4096;
/// The name that this enforcement point's audit log must be opened with.
pub const AUDIT_WRITER: &str = "pep-mcp";
/// How long settlements have after that, milliseconds.
pub const SETTLE_DRAIN_MS: u64 = 2_000;

/// The obligations that this enforcement point carries out.
const ABILITIES: &[ObligationKind] = &[
    ObligationKind::Mask,
    ObligationKind::SetHeader,
    ObligationKind::StepUp,
    ObligationKind::Notify,
    ObligationKind::Label,
    ObligationKind::LogFull,
];

/// What the enforcement point works with.
pub struct Deps {
    /// The decision point, in process or over gRPC.
    pub decide: Arc<dyn Decide>,
    /// Who calls.
    pub authenticator: Arc<Authenticator>,
    /// This enforcement point's own log. Closing it is the owner's, after [`serve`] returns.
    pub audit: AuditLog,
    /// Which records are on disk before release.
    pub durability: DurabilityRule,
    /// Signs assertions for the servers behind.
    pub minter: Arc<AssertionMinter>,
    /// The time.
    pub clock: Clock,
}

/// Why the enforcement point does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The client for servers.
    #[error(transparent)]
    Forwarder(#[from] lictor_pep_core::forward::ForwarderError),
    /// The credential of a server.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// The listener's certificate.
    #[error("`[pep_mcp.tls]` cannot be used")]
    Tls(#[from] TlsError),
    /// The listener.
    #[error("the listener failed")]
    Io(#[from] std::io::Error),
}

/// Sizes that are enforced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) body_bytes: usize,
    pub(crate) answer_bytes: usize,
    pub(crate) answer_time: Duration,
}

/// Everything that a request needs.
pub(crate) struct App {
    pub(crate) pep: Pep,
    pub(crate) upstream: Upstream,
    pub(crate) sessions: Sessions,
    pub(crate) refusals: Settings,
    pub(crate) limits: Limits,
    pub(crate) draining: watch::Receiver<bool>,
    slots: Arc<Semaphore>,
    servers: Servers,
    guard: Guard,
    public_url: String,
    authorization_servers: Vec<String>,
    /// Whether clients may show certificates, to which tokens can be bound (RFC 8705).
    asks_certificates: bool,
}

/// Serves until `shutdown` resolves, then lets calls in flight end for at most [`DRAIN_MS`].
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    config: Config,
    deps: Deps,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let listen = listener.local_addr()?;
    let tls = config.tls.as_ref().map(ServerTls::load).transpose()?.map(Arc::new);
    warn_if_open("pep_mcp", listen, tls.as_deref());
    let (drain, draining) = watch::channel(false);
    let issuers = deps.authenticator.issuers();
    let auth = Arc::new(UpstreamAuth::open(config.auths(), issuers, Ids::random()).await?);
    let app = Arc::new(App::new(&config, deps, auth, listen, draining.clone())?);
    let servers: Vec<&str> = app.servers.ids().collect();
    tracing::info!(%listen, ?servers, "the MCP enforcement point listens");
    let (pep, witnessed, sweeping) = (app.pep.clone(), app.pep.clone(), app.clone());
    let following = jwks::follow(app.upstream.minter.ring().clone(), app.upstream.clock.clone());
    let mut stopping = draining.clone();
    tokio::spawn(async move {
        shutdown.await;
        drain.send_replace(true);
    });
    let mut ended = draining.clone();
    let serving = listen::serve(listener, tls, router(app), introduce, async move {
        until_true(&mut ended).await;
    });
    let mut draining = draining;
    let last = async {
        until_true(&mut draining).await;
        tokio::time::sleep(Duration::from_millis(DRAIN_MS)).await;
    };
    tokio::spawn(async move {
        tokio::select! {
            () = witness(witnessed, AUDIT_WRITER) => {}
            () = end_revoked(sweeping) => {}
            () = following => {}
            () = until_true(&mut stopping) => {}
        }
    });
    tokio::select! {
        () = serving => {}
        () = last => tracing::warn!("calls in flight were cut off at shutdown"),
    }
    let settled = tokio::time::timeout(Duration::from_millis(SETTLE_DRAIN_MS), pep.drained()).await;
    if settled.is_err() {
        tracing::warn!("settlements were lost at shutdown: what they held counts as spent");
    }
    Ok(())
}

fn introduce(request: &mut axum::http::Request<Incoming>, peer: SocketAddr) {
    request.extensions_mut().insert(ConnectInfo(peer));
}

/// Waits for `true`, or for the end of whoever could say it.
async fn until_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|value| *value).await.is_err() {
        tracing::debug!("the shutdown signal's owner is gone");
    }
}

impl App {
    fn new(
        config: &Config,
        deps: Deps,
        auth: Arc<UpstreamAuth>,
        listen: SocketAddr,
        draining: watch::Receiver<bool>,
    ) -> Result<Self, ServeError> {
        let servers = Servers::new(&config.servers, config.trust_domain.as_deref())?;
        let public_url = config.public_url(listen)?;
        let forwarder = Forwarder::new(deps.clock.clone(), config.upstream_timeout_ms)?;
        let pep = Pep::new(PepParts {
            decide: deps.decide,
            authenticator: deps.authenticator,
            audit: deps.audit,
            clock: deps.clock.clone(),
            ids: Ids::random(),
            abilities: ABILITIES,
            budget_ms: config.decision_budget_ms,
        });
        Ok(Self {
            pep: pep
                .with_durability(deps.durability)
                .with_approval_wait(config.wait_for_approval_ms),
            upstream: Upstream {
                forwarder,
                minter: deps.minter,
                clock: deps.clock,
                ids: Ids::random(),
                forwarded: config.forward_headers.clone().into(),
                auth,
            },
            sessions: Sessions::default(),
            refusals: Settings {
                denials: config.denials,
                metadata_url: format!("{public_url}/.well-known/oauth-protected-resource/mcp"),
            },
            limits: Limits {
                body_bytes: config.max_body_bytes,
                answer_bytes: config.max_answer_bytes,
                answer_time: Duration::from_millis(match config.upstream_timeout_ms {
                    0 => HEAD_TIMEOUT_MS,
                    configured => configured,
                }),
            },
            draining,
            slots: Arc::new(Semaphore::new(MAX_IN_FLIGHT_REQUESTS)),
            servers,
            guard: Guard::new(config, listen.ip().is_loopback(), &public_url),
            public_url,
            authorization_servers: config.authorization_servers.clone(),
            asks_certificates: config.tls.as_ref().is_some_and(|tls| !tls.client_ca.is_empty()),
        })
    }

    /// Refuses something that never became a call, with a record of it.
    async fn bounce(&self, bounce: Bounce, protocol: &str, source_ip: &str) -> Response<Body> {
        let Bounce { refusal, .. } = &bounce;
        let recorded = self.pep.refuse_unread(protocol, source_ip, "", refusal.clone()).await;
        bounce.telling(recorded).response(&self.refusals)
    }
}

fn router(app: Arc<App>) -> Router {
    let metadata = "/.well-known/oauth-protected-resource";
    Router::new()
        .route("/mcp", any(only_server))
        .route("/mcp/{server}", any(named_server))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(SESSIONS_PATH, axum::routing::post(open_session))
        .route(JWKS_PATH, get(key_set))
        .route(metadata, get(resource_metadata))
        .route(&format!("{metadata}/mcp"), get(resource_metadata))
        .route(&format!("{metadata}/mcp/{{server}}"), get(server_metadata))
        .with_state(app)
}

async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if *app.draining.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if app.pep.ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "audit")
    }
}

/// Counts, for whoever has a credential.
async fn metrics(State(app): State<Arc<App>>, request: HttpRequest) -> Response<Body> {
    let proof = ingress::proof_of(&request.into_parts().0, &app.public_url);
    match app.pep.identify(&proof).await {
        Ok(_) => app.pep.metrics_text().into_response(),
        Err(refusal) => Bounce::bodiless(refusal).response(&app.refusals),
    }
}

async fn open_session(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: HttpRequest,
) -> Response<Body> {
    let head = request.into_parts().0;
    let (proof, session) = (ingress::proof_of(&head, &app.public_url), handle_of(&head.headers));
    match app.pep.open_session(proof, session, "mcp", &peer.ip().to_string()).await {
        Ok(handle) => {
            let body = serde_json::json!({ "session": handle });
            ([(LICTOR_SESSION, handle)], axum::Json(body)).into_response()
        }
        Err(refusal) => Bounce::bodiless(refusal).response(&app.refusals),
    }
}

async fn key_set(State(app): State<Arc<App>>) -> impl IntoResponse {
    jwks::response(app.upstream.minter.ring(), app.upstream.clock.now_ms())
}

async fn resource_metadata(State(app): State<Arc<App>>) -> impl IntoResponse {
    axum::Json(metadata(&app, "/mcp"))
}

async fn server_metadata(
    State(app): State<Arc<App>>,
    Path(server): Path<String>,
) -> Response<Body> {
    match app.servers.select(Some(&server)) {
        Some(server) => axum::Json(metadata(&app, &format!("/mcp/{}", server.id))).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// RFC 9728.
fn metadata(app: &App, path: &str) -> serde_json::Value {
    json!({
        "resource": format!("{}{path}", app.public_url),
        "authorization_servers": app.authorization_servers,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": proof_algorithms(),
        "tls_client_certificate_bound_access_tokens": app.asks_certificates,
    })
}

async fn only_server(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: HttpRequest,
) -> Response<Body> {
    endpoint(app, None, peer, request).await
}

async fn named_server(
    State(app): State<Arc<App>>,
    Path(server): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: HttpRequest,
) -> Response<Body> {
    endpoint(app, Some(server), peer, request).await
}

async fn endpoint(
    app: Arc<App>,
    server: Option<String>,
    peer: SocketAddr,
    request: HttpRequest,
) -> Response<Body> {
    let source_ip = peer.ip().to_canonical().to_string();
    if let Some(why) = app.guard.refuses(request.headers(), request.uri()) {
        let refusal = Refusal::new("origin_refused", why);
        return app.bounce(Bounce::bodiless(refusal), "mcp", &source_ip).await;
    }
    let (parts, body) = request.into_parts();
    let proof = ingress::proof_of(&parts, &app.public_url);
    // Who calls comes first, so that nobody unknown makes us read a body.
    if let Err(refusal) = app.pep.identify(&proof).await {
        return app.bounce(Bounce::bodiless(refusal), "mcp", &source_ip).await;
    }
    let Ok(_slot) = app.slots.clone().try_acquire_owned() else {
        let refusal = Refusal::new(reason::OVERLOADED, "too much to do: try again later");
        return app.bounce(Bounce::bodiless(refusal), "mcp", &source_ip).await;
    };
    let Some(server) = app.servers.select(server.as_deref()).cloned() else {
        let message = "no such server is configured: use `/mcp/<server>`";
        let bounce = Bounce::new(Refusal::new(reason::UPSTREAM_UNKNOWN, message), -32600);
        return app.bounce(bounce, "mcp", &source_ip).await;
    };
    let caller = Caller { headers: parts.headers, source_ip, proof };
    match parts.method {
        Method::POST => post(app, server, caller, body).await,
        method @ (Method::GET | Method::DELETE) => bodiless(app, server, caller, method).await,
        _ => not_allowed("POST, GET, DELETE"),
    }
}

async fn post(app: Arc<App>, server: Server, caller: Caller, body: Body) -> Response<Body> {
    let source_ip = &caller.source_ip;
    if !is_json(&caller.headers) {
        let message = "`Content-Type` must be `application/json`, once and in UTF-8";
        let bounce = Bounce::new(Refusal::new(reason::BODY_INVALID, message), -32600);
        return app.bounce(bounce, "mcp", source_ip).await;
    }
    let bytes = match read_body(body, app.limits.body_bytes).await {
        Ok(bytes) => bytes,
        Err(refusal) => {
            return app.bounce(Bounce::new(refusal, -32600), "mcp", source_ip).await;
        }
    };
    let inbound = match ingress::read(&caller.headers, bytes, &server) {
        Ok(inbound) => inbound,
        Err(bounce) => return app.bounce(bounce, "mcp", source_ip).await,
    };
    // The work goes on by itself, so that a client that hangs up cannot leave a call without its
    // record. Dropping `_here` tells it that the client is gone.
    let (_here, gone) = oneshot::channel();
    let work = tokio::spawn(flow::post(app, server, caller, inbound, gone));
    joined(work.await)
}

async fn bodiless(app: Arc<App>, server: Server, caller: Caller, method: Method) -> Response<Body> {
    let (era, version) = match ingress::era_of_headers(&caller.headers) {
        Ok(known) => known,
        Err(bounce) => return app.bounce(bounce, "mcp", &caller.source_ip).await,
    };
    if era == Era::Modern {
        return not_allowed("POST");
    }
    let work = tokio::spawn(flow::bodiless(app, server, caller, method, version));
    joined(work.await)
}

/// A panic in one request is an error of that request.
fn joined(work: Result<Response<Body>, tokio::task::JoinError>) -> Response<Body> {
    work.unwrap_or_else(|error| {
        tracing::error!(%error, "a call failed");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// JSON in the one charset that the body is read in. Another one would let a server read other
/// arguments in the same bytes.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    media.eq_ignore_ascii_case("application/json") && parts.all(keeps_charset)
}

/// Whether a parameter of the media type leaves the charset at UTF-8.
fn keeps_charset(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
}

async fn read_body(mut body: Body, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let patience = Duration::from_millis(BODY_TIMEOUT_MS);
    let limited = Limited::new(&mut body, limit_bytes).collect();
    match tokio::time::timeout(patience, limited).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(&mut body).await;
            Err(body_too_large(limit_bytes))
        }
        Ok(Err(_)) => Err(Refusal::new(reason::BODY_INVALID, "the body was cut off")),
        Err(_) => Err(Refusal::new(reason::BODY_INVALID, "the body did not come in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_another_charset_is_not_read() {
        let json = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            }
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;CHARSET=\"UTF-8\"",
        ] {
            assert!(json(&[good]), "{good}");
        }
        for bad in [
            &[][..],
            &["text/plain"],
            &["application/json; charset=utf-7"],
            &["application/json; charset=utf-8; charset=utf-16"],
            &["application/json; Charset = utf-16le"],
            &["application/json; charset"],
            &["application/json", "application/json; charset=utf-7"],
        ] {
            assert!(!json(bad), "{bad:?}");
        }
    }
}
