//! `lictor up`: the decision point and its enforcement points in one process.
//!
//! # Layout
//!
//! - [`config`]: the whole `lictor.toml`.
//! - [`stack`]: starting and stopping the parts; `lictor demo` runs the very same.

pub(crate) mod config;
pub(crate) mod stack;

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::output;
use config::Config;
use stack::Stack;

/// Arguments of `lictor up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Configuration file; relative paths in it are taken from its folder.
    #[arg(short, long, value_name = "FILE", default_value = "lictor.toml")]
    config: PathBuf,
    /// Print the configuration as it takes effect, defaults included, and end.
    #[arg(long)]
    print_config: bool,
    /// Accept unsigned bundles; only on a loopback address.
    #[arg(long)]
    insecure_dev: bool,
}

/// Serves until SIGTERM or an interrupt.
///
/// # Errors
/// A configuration that cannot be used, or a part that cannot start.
pub(crate) fn run(args: &UpArgs) -> Result<Exit, Failure> {
    let mut config = Config::read(&args.config)?;
    config.pdp.insecure_dev |= args.insecure_dev;
    if args.print_config {
        output::print(&config.to_toml()?)?;
        return Ok(Exit::Ok);
    }
    lictor_identity::memory::keep_private()
        .map_err(|error| Failure::failed(format!("core dumps cannot be turned off: {error}")))?;
    let runtime = lictor_pdp::server::runtime();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<Exit, Failure> {
    // Before anything starts, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    if config.pdp.insecure_dev {
        output::say("warning: unsigned bundles are accepted; every record says so");
    }
    let mut stack = Stack::start(config).await?;
    output::say(&stack.addresses().told());
    let (reason, outcome) = tokio::select! {
        _ = terminate.recv() => ("SIGTERM", Ok(Exit::Ok)),
        _ = tokio::signal::ctrl_c() => ("interrupt", Ok(Exit::Ok)),
        failure = stack.broken() => ("a part ended", Err(failure)),
    };
    stack.stop(reason).await?;
    outcome
}
