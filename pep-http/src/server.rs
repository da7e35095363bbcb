//! The front door: which path means what, health, a bound on requests at once, and shutting down in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::IntoResponse;
use axum::routing::get;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use lictor_pep_core::forward::ForwarderError;
use lictor_pep_core::headers::LICTOR_SESSION;
use lictor_pep_core::jwks::{self, JWKS_PATH};
use lictor_pep_core::listen::{self, ServerTls, TlsError, warn_if_open};
use lictor_pep_core::session::{SESSIONS_PATH, handle_of};
use lictor_pep_core::setup::DurabilityRule;
use lictor_pep_core::witness::witness;
use lictor_pep_core::{
    Clock, Ended, Ending, Flight, Forwarder, Pep, PepParts, Refusal, SigningRing, UpstreamAuth,
};
use lictor_proto::reason;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::config::{Config, ConfigError};
use crate::ingress::{Caller, OTHER, OTHER_PROTOCOL};
use crate::obligations::ABILITIES;
use crate::upstream::Upstreams;
use crate::{exchange, lists, refusal};

/// How long calls that were cut off may take to say so and be recorded, milliseconds.
pub const CUT_TIMEOUT_MS: u64 = 2_000;

/// What the enforcement point needs from whoever composes it.
pub struct Deps {
    /// The decision point, who calls, the audit log, time and ids. `abilities` is set here.
    pub parts: PepParts,
    /// Which records are on disk before anything is released (`[audit] durability`).
    pub durability: DurabilityRule,
    /// The keys of assertions, which are published.
    pub ring: Arc<SigningRing>,
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No client for the providers.
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
    /// The listener's certificate.
    #[error("`[pep_http.tls]` cannot be used")]
    Tls(#[from] TlsError),
    /// The listener.
    #[error("the listener failed")]
    Io(#[from] std::io::Error),
}

/// What every request shares.
pub(crate) struct App {
    /// The five stages.
    pub(crate) pep: Pep,
    /// The client for the providers.
    pub(crate) forwarder: Forwarder,
    /// The providers.
    pub(crate) upstreams: Upstreams,
    /// Largest request body, bytes.
    pub(crate) max_body_bytes: usize,
    /// Largest answer that is read before it is released, bytes.
    pub(crate) max_answer_bytes: usize,
    /// How long a body may pause.
    pub(crate) idle: Duration,
    /// Where callers reach us.
    public_url: String,
    ring: Arc<SigningRing>,
    clock: Clock,
    slots: Arc<Semaphore>,
    phase: watch::Receiver<Phase>,
}

/// Where in its life the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Cut,
}

/// Why a call ends before its answer.
pub(crate) enum Stop {
    /// The caller has gone.
    Gone,
    /// The server stops.
    Draining,
}

/// Where the answer to one request goes.
pub(crate) struct Reply(oneshot::Sender<Response<Body>>);

impl Reply {
    /// Answers. A caller that has gone misses it.
    pub(crate) fn send(self, response: Response<Body>) {
        let _ = self.0.send(response);
    }

    /// Ends when the caller has gone.
    pub(crate) async fn gone(&mut self) {
        self.0.closed().await;
    }

    /// Whether the caller has gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

impl App {
    /// Resolves when a call has to end before its answer.
    pub(crate) async fn stopped(&self, reply: &mut Reply) -> Stop {
        tokio::select! {
            () = reply.0.closed() => Stop::Gone,
            () = self.cut() => Stop::Draining,
        }
    }

    /// Resolves when calls under way are cut off.
    pub(crate) async fn cut(&self) {
        let mut phase = self.phase.clone();
        if phase.wait_for(|phase| *phase == Phase::Cut).await.is_err() {
            // The server is gone and with it whoever would cut.
            std::future::pending::<()>().await;
        }
    }

    fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Ends a flight that was refused on its way; what the caller is told.
    pub(crate) async fn end(&self, flight: Flight, ending: Ending, refused: Refusal) -> Refusal {
        let recorded = self.pep.finish(flight, ending.because(&refused)).await;
        recorded.err().unwrap_or(refused)
    }

    /// Ends a flight whose caller has gone: nobody knows what the provider did, so it counts as done.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub(crate) async fn abandon(&self, flight: Flight, http_status: u16) -> Result<(), Refusal> {
        let mut ending = Ending::new(Ended::Unknown, http_status);
        ending.usage = flight.call().usage;
        self.pep.finish(flight, ending).await
    }

    /// Ends a flight because the server stops.
    pub(crate) async fn drained(&self, flight: Flight, http_status: u16) -> Refusal {
        let refused = flight.refuse(reason::OVERLOADED, "the enforcement point is shutting down");
        let mut ending = Ending::new(Ended::Unknown, http_status);
        ending.usage = flight.call().usage;
        self.end(flight, ending, refused).await
    }
}

/// Name of this enforcement point's log.
pub const AUDIT_WRITER: &str = "pep-http";

/// Serves until `shutdown`, then answers what is under way: for at most `drain_timeout_ms`, after which calls are
/// cut off, recorded and told so.
///
/// # Errors
/// [`ServeError`] for a configuration that cannot be served.
pub async fn serve(
    config: Config,
    deps: Deps,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let tls = config.tls.as_ref().map(ServerTls::load).transpose()?.map(Arc::new);
    let listen = listener.local_addr()?;
    warn_if_open("pep_http", listen, tls.as_deref());
    let (phase, watched) = watch::channel(Phase::Serving);
    let app = Arc::new(compose(&config, deps, listen, watched.clone()).await?);
    let phase = Arc::new(phase);
    let draining = phase.clone();
    let signal = async move {
        shutdown.await;
        draining.send_replace(Phase::Draining);
    };
    let mut server =
        std::pin::pin!(listen::serve(listener, tls, router(app.clone()), introduce, signal));
    tokio::select! {
        () = &mut server => {}
        () = witness(app.pep.clone(), AUDIT_WRITER) => {}
        () = jwks::follow(app.ring.clone(), app.clock.clone()) => {}
        () = past_drain(watched, config.drain_timeout_ms) => {
            phase.send_replace(Phase::Cut);
            let told = tokio::time::timeout(Duration::from_millis(CUT_TIMEOUT_MS), server).await;
            if told.is_err() {
                tracing::warn!("connections were cut off at the end");
            }
        }
    }
    settle(&app, &phase, config.max_in_flight_requests).await;
    Ok(())
}

fn introduce(request: &mut http::Request<Incoming>, peer: SocketAddr) {
    request.extensions_mut().insert(ConnectInfo(peer));
}

async fn compose(
    config: &Config,
    deps: Deps,
    listen: SocketAddr,
    phase: watch::Receiver<Phase>,
) -> Result<App, ServeError> {
    config.validate()?;
    let auths = config.upstreams.iter().map(|upstream| (upstream.id.clone(), upstream.auth()));
    let issuers = deps.parts.authenticator.issuers();
    let auth = UpstreamAuth::open(auths.collect(), issuers, deps.parts.ids.clone()).await;
    let upstreams = Upstreams::load(config, auth.map_err(ConfigError::from)?)?;
    let public_url = config.public_url(listen)?;
    let clock = deps.parts.clock.clone();
    let forwarder = Forwarder::new(clock.clone(), config.head_timeout_ms)?;
    let pep = Pep::new(PepParts { abilities: ABILITIES, ..deps.parts })
        .with_durability(deps.durability)
        .with_approval_wait(config.wait_for_approval_ms);
    Ok(App {
        pep,
        forwarder,
        upstreams,
        max_body_bytes: config.max_body_bytes,
        max_answer_bytes: config.max_answer_bytes,
        idle: Duration::from_millis(config.idle_timeout_ms),
        public_url,
        ring: deps.ring,
        clock,
        slots: Arc::new(Semaphore::new(config.max_in_flight_requests)),
        phase,
    })
}

async fn past_drain(mut phase: watch::Receiver<Phase>, drain_timeout_ms: u64) {
    if phase.wait_for(|phase| *phase >= Phase::Draining).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(drain_timeout_ms)).await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// Waits for calls whose callers have gone, and for their settlements.
async fn settle(app: &App, phase: &watch::Sender<Phase>, slots: usize) {
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let patience = Duration::from_millis(CUT_TIMEOUT_MS);
    let idle = tokio::time::timeout(patience, app.slots.acquire_many(slots)).await;
    if idle.is_err() {
        phase.send_replace(Phase::Cut);
        if tokio::time::timeout(patience, app.slots.acquire_many(slots)).await.is_err() {
            tracing::warn!("calls were still under way at the end and stay unsettled");
        }
    }
    if tokio::time::timeout(patience, app.pep.drained()).await.is_err() {
        tracing::warn!("settlements were still under way at the end");
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route(JWKS_PATH, get(key_set))
        .fallback(enter)
        .with_state(app)
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if !app.is_serving() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if app.pep.ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "audit\n")
    }
}

/// The keys by which others verify what we assert.
async fn key_set(State(app): State<Arc<App>>) -> impl IntoResponse {
    jwks::response(&app.ring, app.clock.now_ms())
}

/// Counts, for whoever has a credential.
async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let caller = Caller::new(request.into_parts().0, &app.public_url, String::new());
    match app.pep.identify(caller.proof()).await {
        Ok(_) => app.pep.metrics_text().into_response(),
        Err(refused) => refusal::response(&refused),
    }
}

/// Every request that is not about health. It runs as a task of its own: a caller that hangs up must not stop it
/// between an effect and its record, and a panic ends in a refusal.
async fn enter(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let slot = app.slots.clone().try_acquire_owned();
    let (Ok(slot), true) = (slot, app.is_serving()) else {
        return refusal::response(&busy());
    };
    let (reply, answer) = oneshot::channel();
    tokio::spawn(handle(app, peer, request, Reply(reply), slot));
    answer.await.unwrap_or_else(|_| refusal::response(&busy()))
}

fn busy() -> Refusal {
    Refusal::new(reason::OVERLOADED, "too much to do: try again later")
}

async fn handle(
    app: Arc<App>,
    peer: SocketAddr,
    request: Request,
    mut reply: Reply,
    slot: OwnedSemaphorePermit,
) {
    let (head, body) = request.into_parts();
    let (method, uri) = (head.method.clone(), head.uri.clone());
    let caller = Caller::new(head, &app.public_url, peer.ip().to_string());
    match (&method, uri.path()) {
        (&Method::POST, "/v1/chat/completions") => exchange::chat(app, caller, body, reply).await,
        (&Method::GET, "/v1/models") => {
            if let Some(response) = lists::models(&app, &caller, &mut reply).await {
                reply.send(response);
            }
        }
        (&Method::POST, SESSIONS_PATH) => reply.send(open_session(&app, &caller).await),
        _ => reply.send(unknown(&app, &caller).await),
    }
    drop(slot);
}

async fn open_session(app: &App, caller: &Caller) -> Response<Body> {
    let (proof, session) = (caller.proof().clone(), handle_of(&caller.headers));
    match app.pep.open_session(proof, session, OTHER_PROTOCOL, &caller.source_ip).await {
        Ok(handle) => {
            let body = serde_json::json!({ "session": handle });
            ([(LICTOR_SESSION, handle)], axum::Json(body)).into_response()
        }
        Err(refused) => refusal::response(&refused),
    }
}

/// What no row of [`handle`] names. Whoever is not known is told only that.
async fn unknown(app: &App, caller: &Caller) -> Response<Body> {
    let refused = match app.pep.identify(caller.proof()).await {
        Ok(_) => Refusal::new(
            reason::METHOD_UNKNOWN,
            "this path is not served here: use /v1/chat/completions or /v1/models",
        ),
        Err(refused) => refused,
    };
    let refused = app.pep.refuse_unread(OTHER_PROTOCOL, &caller.source_ip, OTHER, refused).await;
    refusal::response(&refused)
}
