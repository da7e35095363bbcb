//! `lictor-pep-http`: the enforcement point in front of LLM providers alone, with `[pep_http]`, `[identity]` and
//! `[audit]` of `lictor.toml`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use lictor_pep_core::client::GrpcDecide;
use lictor_pep_core::setup::{self, AuditConfig, IdentityConfig};
use lictor_pep_core::{Clock, Ids, PepParts};
use lictor_pep_http::server::AUDIT_WRITER;
use lictor_pep_http::{ABILITIES, Config, Deps, serve};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enforcement point in front of LLM providers.
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
    pep_http: Config,
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
    file.pep_http.take_paths_from(base);
    file.identity.take_paths_from(base);
    file.audit.take_paths_from(base);
    run(file).await
}

async fn run(file: File) -> anyhow::Result<()> {
    let config = file.pep_http;
    config.validate()?;
    let clock = Clock::system();
    let keys_dir = config.state_dir.as_ref().unwrap_or(&file.audit.dir);
    let token_file = config.pdp_token_file.as_deref();
    let decide = GrpcDecide::configured(&config.pdp, config.pdp_tls.as_ref(), token_file)?;
    let audit = setup::audit_log(&file.audit, AUDIT_WRITER, keys_dir, &clock)?;
    let parts = PepParts {
        decide: Arc::new(decide),
        authenticator: Arc::new(setup::authenticator(&file.identity, &clock).await?),
        audit: audit.clone(),
        clock,
        ids: Ids::random(),
        abilities: ABILITIES,
        budget_ms: config.decision_budget_ms,
    };
    let ring = setup::signing_ring(keys_dir)?;
    let deps = Deps { parts, durability: file.audit.durability, ring };
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("`{}` cannot be listened on", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let served = serve(config, deps, listener, shutdown).await;
    // The last record says that the log ended in order.
    audit.close("shutdown").await.context("the audit log could not be closed")?;
    Ok(served?)
}
