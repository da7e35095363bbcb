//! `lictor demo`: the main job from beginning to end, offline, in one command.
//!
//! # Layout
//!
//! - [`steps`]: who asks for what, and what must come of it; the only expectations.
//! - [`tools`], [`provider`]: the sample MCP servers and the sample LLM provider.
//! - [`site`]: folder, keys, signed bundle and configuration, for `lictor up`'s stack.
//! - [`people`]: callers and their credentials.
//! - [`client`], [`play`]: the steps over the wire.
//! - [`evidence`]: the same steps in the audit logs, and the logs verified.
//! - [`report`]: what is told.

mod client;
mod evidence;
mod people;
mod play;
mod provider;
mod report;
mod site;
mod steps;
mod tools;

use std::path::PathBuf;

use clap::Args;
use lictor_audit::Report;

use crate::embedded;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, Paint};
use crate::time::now_ms;
use crate::up::stack::Stack;
use evidence::{Behind, Evidence};
use play::{Played, Player};
use report::Told;
use site::Site;
use steps::STEPS;

/// Arguments of `lictor demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep bundle, keys and audit logs in this new folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How it is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Serve these bundle folders instead of the built-in ones.
    #[arg(long, value_name = "DIR", hide = true)]
    bundle: Vec<PathBuf>,
}

/// Plays both stories. Exit code 0 only if every step came out as expected, over the
/// wire and in the logs.
///
/// # Errors
/// What could not be started, written or read.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let runtime = lictor_pdp::server::runtime();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(demonstrate(args))
}

async fn demonstrate(args: &DemoArgs) -> Result<Exit, Failure> {
    let parts = embedded::parts(&args.bundle)?;
    let origins: Vec<String> = parts.iter().map(|part| part.origin.clone()).collect();
    let site = Site::new(args.keep.as_deref(), parts, now_ms()).await?;
    if args.format == Format::Pretty {
        output::print(&report::opening(&site, &origins.join(" and "), Paint::stdout()))?;
    }
    let (played, issuer, keys) = play_all(&site).await?;
    let behind = evidence::behind(&site, &issuer, &keys, now_ms())?;
    // Blocking file access is harmless here: nothing else runs any more.
    let steps = joined(&site, played)?;
    let verified = evidence::verified(site.audit_dir(), &site.audit_key_dirs())?;
    let copy = site.root().join("audit-with-one-byte-changed");
    let tampered = evidence::tamper(site.audit_dir(), &copy)?;
    let after = evidence::verified(&copy, &site.audit_key_dirs())?;
    let differences = differences(&steps, &behind, &verified, &after);
    let told = Told {
        steps: &steps,
        behind: &behind,
        verified: &verified,
        tampered: &tampered,
        after: &after,
        differences: &differences,
        kept: args.keep.is_some().then(|| site.audit_dir()),
    };
    match args.format {
        Format::Pretty => output::print(&report::pretty(&told, Paint::stdout()))?,
        Format::Json => output::print_json(&report::json(&told))?,
    }
    Ok(if differences.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// Starts everything, plays every step, stops everything. The logs are read only after
/// they were closed.
async fn play_all(site: &Site) -> Result<(Vec<Played>, String, String), Failure> {
    let stack = Stack::start(site.config.clone()).await?;
    let played = play_on(site, &stack).await;
    let stopped = stack.stop("the demonstration is over").await;
    let played = played?;
    stopped?;
    Ok(played)
}

async fn play_on(site: &Site, stack: &Stack) -> Result<(Vec<Played>, String, String), Failure> {
    let mut player = Player::new(&site.people, stack.addresses(), &site.operator_token())?;
    let mut played = Vec::with_capacity(STEPS.len());
    for step in STEPS {
        played.push(player.play(step).await?);
    }
    let (issuer, keys) = player.assertion_keys().await?;
    Ok((played, issuer, keys))
}

fn joined(site: &Site, played: Vec<Played>) -> Result<Vec<(Played, Evidence)>, Failure> {
    let records = evidence::records(site.audit_dir())?;
    let join = |played: Played| {
        let evidence = evidence::of_step(&played, &records);
        (played, evidence)
    };
    Ok(played.into_iter().map(join).collect())
}

/// Everything that was not as expected, with its step.
fn differences(
    steps: &[(Played, Evidence)],
    behind: &Behind,
    verified: &Report,
    after: &Report,
) -> Vec<String> {
    let mut found = Vec::new();
    for (number, (played, evidence)) in steps.iter().enumerate() {
        for difference in played.differences.iter().chain(&evidence.differences) {
            found.push(format!("step {} `{}`: {difference}", number + 1, played.step.title));
        }
    }
    found.extend(behind.differences.iter().cloned());
    if behind.assertions == 0 || behind.provider_keys == 0 {
        found.push("nothing reached the servers behind".to_owned());
    }
    for log in &verified.logs {
        match &log.fault {
            Some(fault) => found.push(format!("the log {}: {}", log.log, fault.detail)),
            None if !log.closed => found.push(format!("the log {} is not closed", log.log)),
            None => {}
        }
    }
    if !verified.ok || verified.logs.len() != 3 {
        found.push(format!("{} logs of 3 could be verified", verified.logs.len()));
    }
    if after.ok {
        found.push("one changed byte was not noticed".to_owned());
    }
    found
}
