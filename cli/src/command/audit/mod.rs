//! `lictor audit`: is a log whole, what happened, and how to prove it.
//!
//! # Layout
//!
//! - [`verify`]: every record, checkpoint and link; signed reports.
//! - [`show`]: records as they are; [`shadow`] instead: agents that were not served; [`flips`]
//!   instead: what policy that only watches would have changed.
//! - [`session`]: one session, told from all logs; `told` writes it for people.
//! - [`tail`]: records as they are written.
//! - [`prove`]: one record for an outsider.

mod flips;
mod prove;
mod session;
mod shadow;
mod show;
mod tail;
mod told;
mod verify;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify logs: every record, checkpoint and link between logs. Exit 7 if anything is wrong.
    Verify(verify::VerifyArgs),
    /// Show records, what shadow policy would have changed, or the agents that were not served.
    Show(show::ShowArgs),
    /// Tell one session: who, for whom, which tools in order, and why.
    Session(session::SessionArgs),
    /// Show the newest records, and follow.
    Tail(tail::TailArgs),
    /// Prove one record to somebody without the log, or check such a proof.
    Prove(prove::ProveArgs),
}

/// Runs the command.
pub(crate) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    match &args.command {
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Show(args) => show::run(args),
        AuditCommand::Session(args) => session::run(args),
        AuditCommand::Tail(args) => tail::run(args),
        AuditCommand::Prove(args) => prove::run(args),
    }
}
