//! `lictor-pep-mcp`: the MCP enforcement point alone, with `[pep_mcp]`, `[identity]` and `[audit]`
//! of `lictor.toml`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use lictor_pep_core::Clock;
use lictor_pep_core::client::GrpcDecide;
use lictor_pep_core::setup::{self, AuditConfig, IdentityConfig};
use lictor_pep_mcp::server::AUDIT_WRITER;
use lictor_pep_mcp::{Config, Deps, serve};
use serde::Deserialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enforcement point in front of MCP servers.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The configuration.
    #[arg(short, long, default_value = "lictor.toml")]
    config: PathBuf,
}

/// The sections of `lictor.toml`; those of other processes are theirs to check.
#[derive(Deserialize)]
struct File {
    pep_mcp: Config,
    #[serde(default)]
    identity: IdentityConfig,
    #[serde(default)]
    audit: AuditConfig,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    setup::keep_private().context("core dumps cannot be turned off")?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let path = Options::parse().config;
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("`{}` cannot be read", path.display()))?;
    let mut file: File = toml::from_str(&text)
        .with_context(|| format!("`{}` is not a usable configuration", path.display()))?;
    let base = path.parent().unwrap_or_else(|| std::path::Path::new(""));
    file.pep_mcp.take_paths_from(base);
    file.identity.take_paths_from(base);
    file.audit.take_paths_from(base);
    run(file).await
}

async fn run(file: File) -> anyhow::Result<()> {
    let mut config = file.pep_mcp;
    if config.authorization_servers.is_empty() {
        let issuers = file.identity.issuers.iter().map(|issuer| issuer.iss.clone());
        config.authorization_servers = issuers.collect();
    }
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("`{}` cannot be listened on", config.listen))?;
    // The port as it is: the issuer of assertions is where their keys are found.
    config.listen = listener.local_addr()?;
    let clock = Clock::system();
    let keys_dir = config.state_dir.as_ref().unwrap_or(&file.audit.dir).clone();
    let issuer = config.public_url(config.listen)?;
    let token_file = config.pdp_token_file.as_deref();
    let decide = GrpcDecide::configured(&config.pdp, config.pdp_tls.as_ref(), token_file)?;
    let audit = setup::audit_log(&file.audit, AUDIT_WRITER, &keys_dir, &clock)?;
    let deps = Deps {
        decide: Arc::new(decide),
        authenticator: Arc::new(setup::authenticator(&file.identity, &clock).await?),
        audit: audit.clone(),
        durability: file.audit.durability,
        minter: Arc::new(setup::minter(&keys_dir, &issuer)?),
        clock,
    };
    let shutdown = terminated(signal(SignalKind::terminate())?);
    let served = serve(config, deps, listener, shutdown).await;
    // The last record says that the log ended in order.
    let closed = audit.close("shutdown").await;
    served?;
    closed.context("the audit log could not be closed")
}

async fn terminated(mut terminate: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
