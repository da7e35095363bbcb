//! `lictor-pdp`: the decision point alone.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use lictor_identity::Authenticator;
use lictor_identity::config::IdentityConfig;
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::server;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers authorization, guardrail and quota questions from one signed bundle.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Configuration file.
    #[arg(short, long, default_value = "lictor.toml")]
    config: PathBuf,
    /// Accept unsigned bundles; only on a loopback address.
    #[arg(long)]
    insecure_dev: bool,
}

/// The sections of `lictor.toml`; this program reads the first three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    pdp: PdpConfig,
    #[serde(default)]
    audit: AuditConfig,
    #[serde(default)]
    identity: IdentityConfig,
    #[serde(default, rename = "pep_http")]
    _pep_http: toml::Table,
    #[serde(default, rename = "pep_mcp")]
    _pep_mcp: toml::Table,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let path = &options.config;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
    file.pdp.insecure_dev |= options.insecure_dev;
    let base = path.parent().unwrap_or_else(|| std::path::Path::new(""));
    file.pdp.take_paths_from(base);
    file.audit.take_paths_from(base);
    file.identity.take_paths_from(base);
    let approver = Authenticator::new(file.identity.load()?)?;
    server::runtime()?.block_on(run(file, approver))
}

async fn run(file: File, approver: Authenticator) -> anyhow::Result<()> {
    let running = server::start(file.pdp, &file.audit, Some(approver), Clock::system()).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "interrupt",
    };
    running.stop(reason).await;
    Ok(())
}
