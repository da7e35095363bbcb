//! Everything that can be asked of the command, one file each.

mod approvals;
mod audit;
mod bench;
mod build;
mod check;
mod decide;
mod diff;
mod explain;
mod fmt;
mod init;
mod inspect;
mod keys;
mod kill;
mod limits;
mod replay;
mod schema;
mod sign;
mod status;
mod test;
mod verify;

use clap::Subcommand;

use crate::exit::{Exit, Failure};

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play the main job, offline: decision point, enforcement points, sample servers, evidence.
    Demo(crate::demo::DemoArgs),
    /// Run the decision point and its enforcement points in one process.
    Up(crate::up::UpArgs),
    /// Make a new bundle that passes its own tests.
    Init(init::InitArgs),
    /// Run every load check on a bundle folder or archive.
    Check(check::CheckArgs),
    /// Run a bundle's Rego `test_` rules and `cases/*.yaml`.
    Test(test::TestArgs),
    /// Compose bundle folders into one unsigned archive.
    Build(build::BuildArgs),
    /// Add a signature to an archive.
    Sign(sign::SignArgs),
    /// Check an archive's signatures, version and times.
    Verify(verify::VerifyArgs),
    /// Show what is in a bundle.
    Inspect(inspect::InspectArgs),
    /// Show what differs in meaning between two bundles.
    Diff(diff::DiffArgs),
    /// Measure how long a bundle takes to load and to decide its cases.
    Bench(bench::BenchArgs),
    /// Make keys, and issue, list and revoke API keys.
    Keys(keys::KeysArgs),
    /// Ask for one decision without consequences.
    Decide(decide::DecideArgs),
    /// List, approve or deny what waits for a person.
    Approvals(approvals::ApprovalsArgs),
    /// Show what is held of limits, or give it back.
    Limits(limits::LimitsArgs),
    /// Take an agent, user, credential, session, tool, model or server out of service at once.
    Kill(kill::KillArgs),
    /// Take a `kill` back.
    Unkill(kill::UnkillArgs),
    /// Ask a decision point how it is.
    Status(status::StatusArgs),
    /// Verify, read and prove audit logs.
    Audit(audit::AuditArgs),
    /// Lay out Cedar and data of bundles, without a change of meaning.
    Fmt(fmt::FmtArgs),
    /// Decide recorded calls again by a bundle, and tell what would be different.
    Replay(replay::ReplayArgs),
    /// Print the schemas that bundles and calls follow.
    Schema(schema::SchemaArgs),
}

/// Runs one command.
///
/// # Errors
/// [`Failure`] with the exit code and what to say.
pub(crate) fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => crate::demo::run(&args),
        Command::Up(args) => crate::up::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Decide(args) => decide::run(&args),
        Command::Approvals(args) => approvals::run(&args),
        Command::Limits(args) => limits::run(&args),
        Command::Kill(args) => kill::kill(&args),
        Command::Unkill(args) => kill::unkill(&args),
        Command::Status(args) => status::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Fmt(args) => fmt::run(&args),
        Command::Schema(args) => schema::run(&args),
    }
}
