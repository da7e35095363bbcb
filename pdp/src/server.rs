//! Start, serve, stop. One TCP port and one Unix socket serve the same router:
//! gRPC, REST, health, reflection. The door stands in front of all of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::IncomingStream;
use lictor_audit::AuditLog;
use lictor_identity::files::{ensure_directory, ensure_token_file};
use lictor_identity::keys::ensure_signing;
use lictor_identity::tls::{ServerTls, warn_if_open};
use lictor_identity::{Authenticator, ClientCertificate, PeerRoles, Purpose, Role};
use lictor_proto::call::DEFAULT_TENANT;
use lictor_proto::pb;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::approvals::wait::Changes;
use crate::clock::Clock;
use crate::config::{AuditConfig, PdpConfig};
use crate::decide::{Counts, Pdp};
use crate::door::{Door, Pass, Refused, authorization};
use crate::grpc::{
    approval::Approvals, decision::Decisions, limits::Limits, revocation::Kills, status::Reports,
};
use crate::listen;
use crate::live::{Live, follow::follow};
use crate::registered::Registered;
use crate::revocation::{Revocations, keep::keep};
use crate::session::{Handles, Turns};
use crate::shadow::Shadow;
use crate::state::State as Store;
use crate::store::Tended;
use crate::webhook::Webhooks;

/// Paths that answer without a credential.
const OPEN_PATHS: [&str; 4] =
    ["/healthz", "/readyz", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

/// How often token files of registered peers are looked at, milliseconds.
const TOKENS_REREAD_EVERY_MS: u64 = 1_000;

/// Where an approver's own credential opens the door.
const APPROVALS_PREFIX: &str = "/lictor.v1.ApprovalService/";

/// Stack of a thread that evaluates policies, in bytes. The interpreter recurses with the policy,
/// and the loader admits policies up to a depth that fits in here with room to spare.
pub const WORKER_STACK_BYTES: usize = 16 << 20;

/// A runtime whose threads may evaluate policies.
///
/// # Errors
/// The system has no threads left.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(WORKER_STACK_BYTES)
        .enable_all()
        .build()
}

/// A running decision point.
pub struct Running {
    pdp: Arc<Pdp>,
    address: SocketAddr,
    socket: Option<PathBuf>,
    drain: Duration,
    shutdown: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a decision point: opens the audit log, loads the bundle, listens.
///
/// # Errors
/// What is missing or refused, with its file. A refused bundle is not an error as
/// long as the last good one is there; without any, everything is denied and the
/// log says so loudly.
pub async fn start(
    config: PdpConfig,
    audit: &AuditConfig,
    approver: Option<Authenticator>,
    clock: Clock,
) -> anyhow::Result<Running> {
    config.check()?;
    let tls = tls(&config)?;
    ensure_directory(&config.state_dir)?;
    let store = config.state.open(&config.state_dir, &clock).await?;
    let mut tended = Tended::new(config.state.kind, &store);
    let pdp = Arc::new(build(&config, store.state, audit, approver, clock)?);
    tended.record_found(&pdp).await?;
    let mut bundle = follow(&pdp, &config)?;
    bundle.start().await?;
    pdp.keep_revocations().await;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    warn_if_open("pdp", address, tls.as_deref());
    let (shutdown, down) = watch::channel(false);
    let mut tasks = tell_of_approvals(&pdp, &config, &down)?;
    let checks = config.tls.as_ref().is_some_and(|tls| !tls.client_ca.is_empty());
    let registered = Arc::new(Registered::new(&config.peps, &config.operators, checks)?);
    let door = door(&config, &registered)?.with_approvers(pdp.approver.clone());
    let router = router(&pdp, door, down.clone()).await;
    tasks.push(tokio::spawn(reread_tokens(registered, pdp.clock.clone(), down.clone())));
    tasks.push(tokio::spawn(bundle.run(down.clone())));
    tasks.extend(follow_shadow(&pdp, &config, &down).await?);
    let poll = Duration::from_millis(config.poll_ms.max(10));
    tasks.push(tokio::spawn(keep(Arc::clone(&pdp), poll, down.clone())));
    tasks.push(tokio::spawn(tended.run(Arc::clone(&pdp), down.clone())));
    if let Some(path) = &config.socket {
        tasks.push(serve_socket(path, router.clone(), down.clone())?);
    }
    tasks.push(tokio::spawn(listen::serve(listener, tls, router, down)));
    tracing::info!(%address, "decision point listening");
    let drain = Duration::from_millis(config.drain_ms);
    Ok(Running { pdp, address, socket: config.socket, drain, shutdown, tasks })
}

impl Running {
    /// The decision point itself, for `lictor up`.
    #[must_use]
    pub fn pdp(&self) -> &Arc<Pdp> {
        &self.pdp
    }

    /// Where gRPC and REST are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains and stops: readiness off, no new calls, streams ended, calls in
    /// flight answered, the audit log's `close` last.
    pub async fn stop(self, reason: &str) {
        self.pdp.draining.store(true, Ordering::Relaxed);
        self.pdp.approval_changes.tell_end();
        let _ = self.shutdown.send(true);
        let tasks = futures::future::join_all(self.tasks);
        if tokio::time::timeout(self.drain, tasks).await.is_err() {
            tracing::warn!("calls were still in flight when the drain time ended");
        }
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
        // Every answer is given, so nothing more comes.
        if let Some(shadow) = &self.pdp.shadow {
            shadow.drain(self.drain).await;
        }
        if let Err(error) = self.pdp.state.close().await {
            tracing::error!(%error, "the state could not be flushed");
        }
        if let Err(error) = self.pdp.audit.close(reason).await {
            tracing::error!(%error, "the audit log could not be closed");
        }
    }
}

// === parts ===

pub(crate) fn build(
    config: &PdpConfig,
    state: Arc<dyn Store>,
    audit: &AuditConfig,
    approver: Option<Authenticator>,
    clock: Clock,
) -> anyhow::Result<Pdp> {
    let key = ensure_signing(&config.state_dir, Purpose::Audit)?;
    let mut options = lictor_audit::Options::new(
        audit.dir.clone(),
        "pdp",
        audit.deployment.clone(),
        key,
        clock.as_fn(),
    );
    options.about = json!({
        "program": "lictor-pdp",
        "version": env!("CARGO_PKG_VERSION"),
        "insecure_dev": config.insecure_dev,
    });
    let audit_log = AuditLog::open(options)?;
    let shadow = config.shadow.as_ref();
    let shadow = shadow.map(|shadow| Shadow::new(shadow, audit_log.clone(), clock.clone()));
    Ok(Pdp {
        shadow,
        live: Live::new(),
        revocations: Revocations::open(
            &config.state_dir,
            config.revocations.as_ref(),
            clock.now_ms(),
        )?,
        state,
        audit: audit_log,
        durability: audit.durability,
        turns: Turns::default(),
        handles: Handles::new(ensure_signing(&config.state_dir, Purpose::Session)?),
        started_ms: clock.now_ms(),
        clock,
        counts: Counts::default(),
        draining: AtomicBool::new(false),
        approval_changes: Changes::default(),
        webhooks: OnceLock::new(),
        approver: approver.map(Arc::new),
    })
}

/// The tasks that tell webhooks of approvals; none where none is configured.
fn tell_of_approvals(
    pdp: &Arc<Pdp>,
    config: &PdpConfig,
    down: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let opened = Webhooks::open(&config.approvals, &config.state_dir, &pdp.clock);
    let Some(webhooks) = opened.context("`[pdp.approvals]` cannot be used")? else {
        return Ok(Vec::new());
    };
    // Set once, before anybody asks for it.
    let _ = pdp.webhooks.set(webhooks.counts());
    let (state, clock) = (Arc::clone(&pdp.state), pdp.clock.clone());
    Ok(webhooks.start(state, &pdp.approval_changes, clock, down))
}

/// The task that follows the shadow bundle; none where none is configured.
async fn follow_shadow(
    pdp: &Pdp,
    config: &PdpConfig,
    down: &watch::Receiver<bool>,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let (Some(shadow), Some(settings)) = (&pdp.shadow, &config.shadow) else { return Ok(None) };
    let begun = shadow.begin(settings, config.source(), WORKER_STACK_BYTES, down.clone()).await;
    begun.context("`[pdp.shadow]` cannot be used").map(Some)
}

/// The TCP listener's certificate, if it is to have one.
fn tls(config: &PdpConfig) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let loaded = config.tls.as_ref().map(ServerTls::load).transpose();
    Ok(loaded.context("`[pdp.tls]` cannot be used")?.map(Arc::new))
}

/// Looks at the tokens of registered peers until the end.
async fn reread_tokens(registered: Arc<Registered>, clock: Clock, mut down: watch::Receiver<bool>) {
    let pause = Duration::from_millis(TOKENS_REREAD_EVERY_MS);
    while !*down.borrow() {
        let (tokens, now_ms) = (Arc::clone(&registered), clock.now_ms());
        // A failed thread leaves the tokens as they were.
        drop(tokio::task::spawn_blocking(move || tokens.reload(now_ms)).await);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = down.changed() => {}
        }
    }
}

fn door(config: &PdpConfig, registered: &Arc<Registered>) -> anyhow::Result<Door> {
    let pep = match config.has_default_pep() {
        true => Some(ensure_token_file(&config.pep_token_path())?),
        false => None,
    };
    let operator = ensure_token_file(&config.operator_token_path())?;
    let own = rustix::process::geteuid().as_raw();
    let mut peers = PeerRoles::own(own);
    for (uid, roles) in config.peer_roles()? {
        peers.set(uid, &roles)?;
    }
    let door = Door::new(pep.as_deref(), &operator, peers)?;
    Ok(door.with_registered(Arc::clone(registered)))
}

impl Pdp {
    /// Whether calls are decided: a bundle is live and the record can be kept.
    #[must_use]
    pub fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
            && self.audit.status().writable
            && self.live.of(DEFAULT_TENANT).is_some()
    }
}

// === listeners ===

/// Who is at the other end of a Unix socket.
#[derive(Debug, Clone, Copy)]
struct SocketPeer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for SocketPeer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

fn serve_socket(
    path: &Path,
    router: Router,
    down: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = bind_socket(path)?;
    let service = router.into_make_service_with_connect_info::<SocketPeer>();
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, service).with_graceful_shutdown(stopped(down)).await;
        if let Err(error) = served {
            tracing::error!(%error, "the socket listener ended");
        }
    }))
}

/// A socket file that nobody listens on is left over from a crash and replaced;
/// one that answers belongs to another process.
fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            anyhow::bail!("`{}` is in use by another process", path.display());
        }
        std::fs::remove_file(path)?;
    }
    Ok(UnixListener::bind(path)?)
}

pub(crate) async fn stopped(mut down: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = down.wait_for(|down| *down).await;
}

async fn router(pdp: &Arc<Pdp>, door: Door, down: watch::Receiver<bool>) -> Router {
    let (health, health_service) = tonic_health::server::health_reporter();
    let decisions = Decisions::new(Arc::clone(pdp), down);
    let decisions = pb::decision_service_server::DecisionServiceServer::new(decisions)
        .max_decoding_message_size(crate::rest::CALL_BYTES_MAX * 4);
    health.set_serving::<pb::decision_service_server::DecisionServiceServer<Decisions>>().await;
    let reports = Reports::new(Arc::clone(pdp));
    let mut services = tonic::service::Routes::new(decisions)
        .add_service(pb::approval_service_server::ApprovalServiceServer::new(Approvals::new(
            Arc::clone(pdp),
        )))
        .add_service(pb::revocation_service_server::RevocationServiceServer::new(Kills::new(
            Arc::clone(pdp),
        )))
        .add_service(pb::limit_service_server::LimitServiceServer::new(Limits::new(Arc::clone(
            pdp,
        ))))
        .add_service(pb::status_service_server::StatusServiceServer::new(reports.clone()))
        .add_service(pb::catalog_service_server::CatalogServiceServer::new(reports))
        .add_service(health_service);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => services = services.add_service(reflection),
        Err(error) => tracing::error!(%error, "reflection is off"),
    }
    let grpc = services.prepare().into_axum_router().reset_fallback();
    let guarded = Guard { door: Arc::new(door), pdp: Arc::clone(pdp) };
    crate::rest::routes(Arc::clone(pdp))
        .merge(grpc)
        .layer(middleware::from_fn_with_state(guarded, enter))
}

#[derive(Clone)]
struct Guard {
    door: Arc<Door>,
    pdp: Arc<Pdp>,
}

/// Every request passes here first. What it may do is decided by each service.
async fn enter(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    if OPEN_PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let token = match authorization(request.headers()) {
        Ok(token) => token,
        Err(error) => return refuse(&request, &error.into()),
    };
    let uid = request.extensions().get::<ConnectInfo<SocketPeer>>().and_then(|peer| peer.0.0);
    let now_ms = guard.pdp.clock.now_ms();
    let certificate = request.extensions().get::<ClientCertificate>();
    let entered = match guard.door.enter(token, certificate, uid, &Role::ALL, now_ms) {
        Err(refused) if is_about_approvals(request.uri().path()) => {
            let in_service = |person: &_| guard.pdp.revoked(person, now_ms).is_none();
            guard.door.approver(token, in_service, now_ms).await.ok_or(refused)
        }
        entered => entered,
    };
    match entered {
        Ok(peer) => {
            let pass = Pass::new(&guard.door, token, certificate, uid, &peer);
            request.extensions_mut().insert(pass);
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(refused) => refuse(&request, &refused),
    }
}

fn is_about_approvals(path: &str) -> bool {
    path.starts_with(APPROVALS_PREFIX) || crate::rest::approvals::is_about(path)
}

fn refuse(request: &Request, refused: &Refused) -> Response {
    let id = match refused {
        Refused::Unauthenticated(error) => error.id(),
        Refused::Role(_) => lictor_proto::reason::ROLE_MISSING,
    };
    let grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return crate::grpc::status(tonic::Code::Unauthenticated, id, &refused.to_string())
            .into_http();
    }
    crate::rest::problem(StatusCode::UNAUTHORIZED, id, &refused.to_string())
}

#[cfg(test)]
#[path = "approvals/tests.rs"]
mod approvals;
#[cfg(test)]
#[path = "bundles_tests.rs"]
mod bundles;
#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
