//! The `lictor` command: a security engineer's and CI's tool.
//!
//! # Layout
//!
//! - [`command`]: what can be asked for, one file per command; dispatch.
//! - [`args`]: groups of arguments that commands share.
//! - [`exit`]: the exit codes and the one error type.
//! - [`output`]: standard output, standard error, colours.
//! - [`demo`], [`up`]: everything in one process, for a tour and for service.
//! - [`diagnostics`]: load problems with the source line underlined, JSON, SARIF.
//! - [`embedded`]: the bundles of this repository.
//! - [`time`]: the clock, and times as people write them.

mod args;
mod command;
mod demo;
mod diagnostics;
mod embedded;
mod exit;
mod output;
mod time;
mod up;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::command::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides what AI agents may do: signed policy bundles, enforcement, evidence.
///
/// Exit codes: 0 yes or allowed, 1 failed to run, 2 usage, 3 denied (decide),
/// 4 approval needed (decide), 5 policy invalid, 6 tests failed (also `fmt --check` and
/// `schema drift`), 7 signature or chain broken, 8 recorded calls would be decided
/// otherwise (replay, diff). Data is on standard output, talk on standard error.
#[derive(Debug, Parser)]
#[command(name = "lictor", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match command::run(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let text = failure.text();
            if !text.is_empty() {
                output::say(&text);
            }
            failure.exit().into()
        }
    }
}

/// What is logged is said by `LICTOR_LOG`, warnings unless it says otherwise.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("LICTOR_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
