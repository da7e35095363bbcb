//! Start, serve, stop. One TCP port and one Unix socket serve the same router:
//! gRPC, REST, health, reflection. The door stands in front of all of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::{IncomingStream, ListenerExt as _};
use lictor_audit::{AuditLog, Durability, Entry, Kind};
use lictor_identity::files::{ensure_directory, ensure_token_file};
use lictor_identity::keys::ensure_signing;
use lictor_identity::{Authenticator, PeerRoles, Purpose, Role};
use lictor_proto::call::DEFAULT_TENANT;
use lictor_proto::pb;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::config::{AuditConfig, PdpConfig};
use crate::decide::{Counts, Pdp};
use crate::door::{Door, Refused};
use crate::grpc::{approval::Approvals, decision::Decisions, status::Reports};
use crate::live::{Live, Refusal};
use crate::session::{Handles, Turns};
use crate::source::{BundleSource, SourceError};
use crate::state::memory::Memory;

/// Paths that answer without a credential.
const OPEN_PATHS: [&str; 4] =
    ["/healthz", "/readyz", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

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
    ensure_directory(&config.state_dir)?;
    let pdp = Arc::new(build(&config, audit, approver, clock)?);
    pdp.counters_began_again().await?;
    let source = source(&config)?;
    pdp.first_load(&source).await?;
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let (shutdown, down) = watch::channel(false);
    let router =
        router(&pdp, door(&config)?.with_approvers(pdp.approver.clone()), down.clone()).await;
    let mut tasks = vec![tokio::spawn(watch_bundle(
        Arc::clone(&pdp),
        source,
        Duration::from_millis(config.poll_ms.max(10)),
        down.clone(),
    ))];
    if let Some(path) = &config.socket {
        tasks.push(serve_socket(path, router.clone(), down.clone())?);
    }
    tasks.push(serve_tcp(listener, router, down));
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
        let _ = self.shutdown.send(true);
        let tasks = futures::future::join_all(self.tasks);
        if tokio::time::timeout(self.drain, tasks).await.is_err() {
            tracing::warn!("calls were still in flight when the drain time ended");
        }
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
        if let Err(error) = self.pdp.audit.close(reason).await {
            tracing::error!(%error, "the audit log could not be closed");
        }
    }
}

// === parts ===

fn build(
    config: &PdpConfig,
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
    Ok(Pdp {
        live: Live::new(),
        state: Arc::new(Memory::new()),
        audit: audit_log,
        durability: audit.durability,
        turns: Turns::default(),
        handles: Handles::new(ensure_signing(&config.state_dir, Purpose::Session)?),
        started_ms: clock.now_ms(),
        clock,
        counts: Counts::default(),
        draining: AtomicBool::new(false),
        approver: approver.map(Arc::new),
    })
}

fn source(config: &PdpConfig) -> Result<BundleSource, SourceError> {
    if config.insecure_dev && config.trust_keys.is_empty() {
        return Ok(BundleSource::unsigned(&config.bundle, config.min_version, &config.state_dir));
    }
    BundleSource::signed(
        &config.bundle,
        &config.trust_keys,
        config.required_signatures,
        &config.scope,
        config.min_version,
        &config.state_dir,
    )
}

fn door(config: &PdpConfig) -> anyhow::Result<Door> {
    let pep = ensure_token_file(&config.pep_token_path())?;
    let operator = ensure_token_file(&config.operator_token_path())?;
    let own = rustix::process::geteuid().as_raw();
    let mut peers = PeerRoles::own(own);
    for (uid, roles) in config.peer_roles()? {
        peers.set(uid, &roles)?;
    }
    Ok(Door::new(&pep, &operator, peers)?)
}

impl Pdp {
    /// Whether calls are decided: a bundle is live and the record can be kept.
    #[must_use]
    pub fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
            && self.audit.status().writable
            && self.live.of(DEFAULT_TENANT).is_some()
    }

    /// Limits and sessions are in memory: a new process starts from nothing, and
    /// whoever reads the log must be able to see when.
    async fn counters_began_again(&self) -> Result<(), lictor_audit::AppendError> {
        let body = json!({ "state": "memory", "counters": "began_again" });
        let entry = Entry::new(Kind::Recovery, self.clock.now_ms(), body.to_string());
        self.audit.append(entry, Durability::Sync).await.map(|_| ())
    }

    async fn first_load(&self, source: &BundleSource) -> Result<(), lictor_audit::AppendError> {
        if self.take(source).await? {
            return Ok(());
        }
        match source.load_last_good(self.clock.now_ms()) {
            Ok(bundle) => {
                tracing::warn!("the bundle was refused, the last good one is live again");
                self.make_live(bundle, "last_good").await
            }
            Err(error) => {
                tracing::error!(%error, "no bundle is live: everything is denied");
                Ok(())
            }
        }
    }

    /// Looks at the candidate; whether it is live now.
    async fn take(&self, source: &BundleSource) -> Result<bool, lictor_audit::AppendError> {
        let now_ms = self.clock.now_ms();
        let path = source.clone();
        let loaded = tokio::task::spawn_blocking(move || path.load(now_ms)).await;
        match loaded {
            Ok(Ok(bundle)) => self.make_live(bundle, "source").await.map(|()| true),
            Ok(Err(error)) => {
                self.refuse_bundle(error.id(), &error.to_string()).await?;
                Ok(false)
            }
            Err(_) => {
                self.refuse_bundle("bundle_unreadable", "loading the bundle failed").await?;
                Ok(false)
            }
        }
    }

    async fn make_live(
        &self,
        bundle: lictor_policy_lib::load::LoadedBundle,
        from: &str,
    ) -> Result<(), lictor_audit::AppendError> {
        if !bundle.has_policies() {
            tracing::error!("the bundle has no policies: NOTHING IS ALLOWED");
        }
        let now_ms = self.clock.now_ms();
        let trust = match bundle.verified().trust() {
            lictor_policy_lib::bundle::Trust::Signed { kids, .. } => json!({ "signed_by": kids }),
            lictor_policy_lib::bundle::Trust::Unsigned => json!("unsigned"),
        };
        let reference = bundle.reference();
        tracing::info!(name = reference.name, version = reference.version, "bundle live");
        let body = json!({
            "outcome": "live", "from": from, "tenant": DEFAULT_TENANT,
            "bundle": reference, "trust": trust,
        });
        // The record first: no decision may name a bundle that the log lacks.
        self.audit
            .append(Entry::new(Kind::Bundle, now_ms, body.to_string()), Durability::Sync)
            .await?;
        self.live.swap(DEFAULT_TENANT, bundle, now_ms);
        Ok(())
    }

    async fn refuse_bundle(
        &self,
        id: &str,
        message: &str,
    ) -> Result<(), lictor_audit::AppendError> {
        let now_ms = self.clock.now_ms();
        tracing::error!(id, message, "bundle refused");
        let body = json!({ "outcome": "refused", "tenant": DEFAULT_TENANT, "reason": id });
        let mut entry = Entry::new(Kind::Bundle, now_ms, body.to_string());
        entry.sensitive.push(("/message".to_owned(), json!(message).to_string()));
        self.live.refuse(
            DEFAULT_TENANT,
            Refusal { id: id.to_owned(), message: message.to_owned(), at_ms: now_ms },
        );
        self.audit.append(entry, Durability::Bounded).await.map(|_| ())
    }
}

/// Looks at the source again and again. A change is loaded aside; calls go on
/// with what is live.
async fn watch_bundle(
    pdp: Arc<Pdp>,
    source: BundleSource,
    every: Duration,
    down: watch::Receiver<bool>,
) {
    let mut seen = source.stamp();
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(down.clone()) => return,
        }
        let stamp = source.stamp();
        if stamp == seen {
            continue;
        }
        seen = stamp;
        if let Err(error) = pdp.take(&source).await {
            tracing::error!(%error, "a bundle change could not be recorded");
        }
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

fn serve_tcp(listener: TcpListener, router: Router, down: watch::Receiver<bool>) -> JoinHandle<()> {
    // Small answers on a busy connection must not wait for the peer's acknowledgement.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stopped(down)).await;
        if let Err(error) = served {
            tracing::error!(%error, "the TCP listener ended");
        }
    })
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

async fn stopped(mut down: watch::Receiver<bool>) {
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
    let guarded = Guard { door: Arc::new(door), clock: pdp.clock.clone() };
    crate::rest::routes(Arc::clone(pdp))
        .merge(grpc)
        .layer(middleware::from_fn_with_state(guarded, enter))
}

#[derive(Clone)]
struct Guard {
    door: Arc<Door>,
    clock: Clock,
}

/// Every request passes here first. What it may do is decided by each service.
async fn enter(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    if OPEN_PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let token = request.headers().get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok());
    let uid = request.extensions().get::<ConnectInfo<SocketPeer>>().and_then(|peer| peer.0.0);
    let now_ms = guard.clock.now_ms();
    let entered = guard.door.enter(token, uid, &Role::ALL, now_ms).or_else(|refused| {
        let approving = request.uri().path().starts_with(APPROVALS_PREFIX);
        let approver = guard.door.approver(token, now_ms).filter(|_| approving);
        approver.ok_or(refused)
    });
    match entered {
        Ok(peer) => {
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(refused) => refuse(&request, &refused),
    }
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

/// Prometheus text of what the decision point counts.
#[must_use]
pub fn metrics_text(pdp: &Pdp) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("# TYPE lictor_decisions_total counter\n");
    let counts = &pdp.counts;
    for (effect, count) in [("allow", &counts.allow), ("deny", &counts.deny), ("ask", &counts.ask)]
    {
        let value = count.load(Ordering::Relaxed);
        let _ = writeln!(text, "lictor_decisions_total{{effect=\"{effect}\"}} {value}");
    }
    let audit = pdp.audit.status();
    let _ = writeln!(text, "# TYPE lictor_audit_writable gauge");
    let _ = writeln!(text, "lictor_audit_writable {}", u8::from(audit.writable));
    let _ = writeln!(text, "# TYPE lictor_audit_records_total counter");
    let _ = writeln!(text, "lictor_audit_records_total {}", audit.appended);
    let _ = writeln!(text, "# TYPE lictor_ready gauge\nlictor_ready {}", u8::from(pdp.ready()));
    let _ =
        writeln!(text, "# TYPE lictor_bundle_version gauge\n# TYPE lictor_bundle_refused gauge");
    for (tenant, state) in pdp.live.all() {
        let version = state.live.as_ref().map_or(0, |bundle| bundle.reference().version);
        let refused = u8::from(state.refused.is_some());
        let _ = writeln!(text, "lictor_bundle_version{{tenant=\"{tenant}\"}} {version}");
        let _ = writeln!(text, "lictor_bundle_refused{{tenant=\"{tenant}\"}} {refused}");
    }
    text
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
