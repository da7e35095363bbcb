//! The decision point and its enforcement points in one process. Each listens as it
//! does alone; only the way between them is a function call instead of gRPC.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lictor_audit::AuditLog;
use lictor_audit::config::AuditConfig;
use lictor_identity::{Authenticator, Role, Settings};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::server::{self, Running};
use lictor_pep_core::setup;
use lictor_pep_core::{Clock, Ids, PepParts};
use lictor_proto::decide::Decide;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::config::Config;
use crate::exit::{Failure, chain};

/// Names of the enforcement points: of their logs, and as peers of the decision point.
const HTTP: &str = "pep-http";
const MCP: &str = "pep-mcp";

/// Everything that runs.
pub(crate) struct Stack {
    pdp: Running,
    peps: Vec<Pep>,
    addresses: Addresses,
    ended_tx: mpsc::UnboundedSender<Failure>,
    ended: mpsc::UnboundedReceiver<Failure>,
}

/// Where the parts listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// gRPC and REST of the decision point.
    pub(crate) pdp: Place,
    /// The enforcement point in front of providers.
    pub(crate) pep_http: Option<Place>,
    /// The enforcement point in front of MCP servers.
    pub(crate) pep_mcp: Option<Place>,
}

/// Where one part listens, and whether with a certificate. Shown as a URL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    address: SocketAddr,
    encrypted: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl Addresses {
    /// One line for each part.
    pub(crate) fn told(&self) -> String {
        let mut text = format!("decision point   {} (gRPC, REST)", self.pdp);
        if let Some(place) = self.pep_http {
            text.push_str(&format!("\nLLM providers    {place}/v1"));
        }
        if let Some(place) = self.pep_mcp {
            text.push_str(&format!("\nMCP servers      {place}/mcp/<server>"));
        }
        text
    }
}

/// One enforcement point at work.
struct Pep {
    audit: AuditLog,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What every enforcement point is given.
struct Shared {
    settings: Settings,
    audit: AuditConfig,
    state_dir: PathBuf,
    clock: Clock,
}

impl Stack {
    /// Starts the decision point and each enforcement point that has a section.
    ///
    /// # Errors
    /// What cannot start; what had started is stopped again.
    pub(crate) async fn start(config: Config) -> Result<Self, Failure> {
        // Paths are absolute or relative to the working directory by now.
        let clock = lictor_pdp::clock::Clock::system();
        let settings = config.identity.open(clock.as_fn()).await;
        let settings = settings.map_err(|error| Failure::error(&error))?;
        let shared = Shared {
            audit: config.audit.clone(),
            state_dir: config.pdp.state_dir.clone(),
            clock: Clock::system(),
            settings,
        };
        let approver = shared.authenticator()?;
        let encrypted = config.pdp.tls.is_some();
        let pdp = server::start(config.pdp, &config.audit, Some(approver), clock).await;
        let pdp = pdp.map_err(|error| Failure::failed(format!("decision point: {error:#}")))?;
        let (ended_tx, ended) = mpsc::unbounded_channel();
        let place = Place { address: pdp.address(), encrypted };
        let addresses = Addresses { pdp: place, pep_http: None, pep_mcp: None };
        let mut stack = Self { pdp, peps: Vec::new(), addresses, ended_tx, ended };
        match stack.start_peps(&shared, config.pep_http, config.pep_mcp).await {
            Ok(()) => Ok(stack),
            Err(failure) => {
                // The failure that is told is the first one.
                drop(stack.stop("a part could not start").await);
                Err(failure)
            }
        }
    }

    async fn start_peps(
        &mut self,
        shared: &Shared,
        http: Option<lictor_pep_http::Config>,
        mcp: Option<lictor_pep_mcp::Config>,
    ) -> Result<(), Failure> {
        if let Some(config) = http {
            self.start_http(shared, config).await?;
        }
        if let Some(config) = mcp {
            self.start_mcp(shared, config).await?;
        }
        Ok(())
    }

    async fn start_http(
        &mut self,
        shared: &Shared,
        config: lictor_pep_http::Config,
    ) -> Result<(), Failure> {
        let (listener, address) = listen(HTTP, config.listen).await?;
        let keys_dir = shared.state_dir.join(HTTP);
        let audit = shared.log(HTTP, &keys_dir)?;
        let ring = setup::signing_ring(&keys_dir).map_err(|error| Failure::error(&error))?;
        let parts = PepParts {
            decide: self.decide(HTTP),
            authenticator: Arc::new(shared.authenticator()?),
            audit: audit.clone(),
            clock: shared.clock.clone(),
            ids: Ids::random(),
            abilities: lictor_pep_http::ABILITIES,
            budget_ms: config.decision_budget_ms,
        };
        let deps = lictor_pep_http::Deps { parts, durability: shared.audit.durability, ring };
        self.addresses.pep_http = Some(Place { address, encrypted: config.tls.is_some() });
        self.run(HTTP, audit, |stopped| lictor_pep_http::serve(config, deps, listener, stopped));
        Ok(())
    }

    async fn start_mcp(
        &mut self,
        shared: &Shared,
        config: lictor_pep_mcp::Config,
    ) -> Result<(), Failure> {
        let (listener, address) = listen(MCP, config.listen).await?;
        let config = known_address(config, address, &shared.settings);
        let keys_dir = config.state_dir.clone().unwrap_or_else(|| shared.state_dir.join(MCP));
        let audit = shared.log(MCP, &keys_dir)?;
        let issuer = config.public_url(address).map_err(|error| Failure::error(&error))?;
        let minter = setup::minter(&keys_dir, &issuer).map_err(|error| Failure::error(&error))?;
        let deps = lictor_pep_mcp::Deps {
            decide: self.decide(MCP),
            authenticator: Arc::new(shared.authenticator()?),
            audit: audit.clone(),
            durability: shared.audit.durability,
            minter: Arc::new(minter),
            clock: shared.clock.clone(),
        };
        self.addresses.pep_mcp = Some(Place { address, encrypted: config.tls.is_some() });
        self.run(MCP, audit, |stopped| lictor_pep_mcp::serve(config, deps, listener, stopped));
        Ok(())
    }

    fn decide(&self, name: &str) -> Arc<dyn Decide> {
        Arc::new(PeerHandle::new(Arc::clone(self.pdp.pdp()), Peer::new(name, &[Role::Pep])))
    }

    /// Runs one enforcement point until it is told to stop, and says if it ends before.
    fn run<Served, Error>(
        &mut self,
        name: &'static str,
        audit: AuditLog,
        serve: impl FnOnce(Stopped) -> Served,
    ) where
        Served: Future<Output = Result<(), Error>> + Send + 'static,
        Error: std::error::Error + Send,
    {
        let (stop, asked) = watch::channel(false);
        let served = serve(stopped(asked.clone()));
        let ended = self.ended_tx.clone();
        let task = tokio::spawn(async move {
            let result = served.await;
            if *asked.borrow() && result.is_ok() {
                return;
            }
            let why = result.err().map_or_else(|| "it ended".to_owned(), |error| chain(&error));
            // Nobody listens any more only when everything is stopping anyway.
            drop(ended.send(Failure::failed(format!("{name}: {why}"))));
        });
        self.peps.push(Pep { audit, stop, task });
    }

    /// Where the parts listen.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Resolves when a part ends that was not told to.
    pub(crate) async fn broken(&mut self) -> Failure {
        // The stack holds a sender itself, so the channel never closes.
        self.ended.recv().await.unwrap_or_else(|| Failure::failed("a part ended"))
    }

    /// Stops in the order of the calls: enforcement points take no more and answer what
    /// is under way, their logs are closed, then the decision point, its log last.
    ///
    /// # Errors
    /// A log that could not be closed, or a part that failed while stopping.
    pub(crate) async fn stop(mut self, reason: &str) -> Result<(), Failure> {
        for pep in &self.peps {
            pep.stop.send_replace(true);
        }
        let mut failed = None;
        for pep in self.peps {
            if pep.task.await.is_err() {
                failed = Some(Failure::failed("an enforcement point failed while stopping"));
            }
            if let Err(error) = pep.audit.close(reason).await {
                failed = Some(Failure::failed(format!("an audit log is not closed: {error}")));
            }
        }
        self.pdp.stop(reason).await;
        match failed.or_else(|| self.ended.try_recv().ok()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn authenticator(&self) -> Result<Authenticator, Failure> {
        Authenticator::new(self.settings.clone()).map_err(|error| Failure::error(&error))
    }

    fn log(&self, writer: &str, keys_dir: &Path) -> Result<AuditLog, Failure> {
        setup::audit_log(&self.audit, writer, keys_dir, &self.clock)
            .map_err(|error| Failure::error(&error))
    }
}

/// The address as it is after binding, and the issuers for clients to find.
fn known_address(
    mut config: lictor_pep_mcp::Config,
    address: SocketAddr,
    settings: &Settings,
) -> lictor_pep_mcp::Config {
    config.listen = address;
    if config.authorization_servers.is_empty() {
        let issuers = settings.issuers.iter().map(|issuer| issuer.iss.clone());
        config.authorization_servers = issuers.collect();
    }
    config
}

async fn listen(name: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("{name}: cannot listen on `{address}`: {error}"))
            .help("name another address in its section, or stop who listens there")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Resolves when a part is to stop.
type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn stopped(mut asked: watch::Receiver<bool>) -> Stopped {
    Box::pin(async move {
        // An error means that the stack is gone, which is a stop as well.
        drop(asked.wait_for(|stop| *stop).await);
    })
}
