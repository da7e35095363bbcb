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
    lictor_identity::memory::keep_private().context("core dumps cannot be turned off")?;
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let path = &options.config;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut file = read(&path.display().to_string(), &text)?;
    file.pdp.insecure_dev |= options.insecure_dev;
    let base = path.parent().unwrap_or_else(|| std::path::Path::new(""));
    file.pdp.take_paths_from(base);
    file.audit.take_paths_from(base);
    file.identity.take_paths_from(base);
    server::runtime()?.block_on(run(file))
}

/// Without the lines of the file, which may hold the store's password.
fn read(name: &str, text: &str) -> anyhow::Result<File> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        anyhow::anyhow!("{name}:{line}: {}", error.message())
    })
}

async fn run(file: File) -> anyhow::Result<()> {
    let clock = Clock::system();
    let approver = Authenticator::new(file.identity.open(clock.as_fn()).await?)?;
    let running = server::start(file.pdp, &file.audit, Some(approver), clock).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "interrupt",
    };
    running.stop(reason).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_configuration_names_its_line_and_shows_none() {
        let text =
            "[pdp.state]\nkind = 'redis'\nredis = { urls = ['redis://:secret@h'], prefx = 'x' }\n";
        let error = read("lictor.toml", text).err().unwrap().to_string();
        assert!(error.contains("lictor.toml:3:") && error.contains("`prefx`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(read("lictor.toml", "[pdp.state]\nkind = 'memory'\n").is_ok());
    }
}
