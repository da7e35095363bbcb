//! `lictor audit prove`: one record for somebody who has no log.

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_audit::proof::{Proof, ProofError, verify_proof};

use super::show::write;
use crate::args::keys::verifying;
use crate::args::logs::{LogArgs, unreadable};
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, print, print_json, say};

/// Arguments of `audit prove`.
#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    #[command(flatten)]
    logs: LogArgs,
    /// Prove the record of this decision.
    #[arg(long, value_name = "ID", conflicts_with_all = ["log", "check"])]
    decision: Option<String>,
    /// Prove a record of this log, `<writer>-<epoch>`.
    #[arg(long, value_name = "NAME", requires = "seq")]
    log: Option<String>,
    /// Its number in the log.
    #[arg(long, value_name = "N", requires = "log")]
    seq: Option<u64>,
    /// Check this proof instead of making one; needs `--key`.
    #[arg(long, value_name = "FILE", requires = "keys", conflicts_with = "log")]
    check: Option<PathBuf>,
    /// A public key (PEM) that may have signed the checkpoint; repeat it for more.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// How a checked record is shown; a proof is always JSON.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(super) fn run(args: &ProveArgs) -> Result<Exit, Failure> {
    if let Some(path) = &args.check {
        return check(args, path);
    }
    let logs = args.logs.open()?;
    let (log, seq) = match (&args.log, args.seq, &args.decision) {
        (Some(log), Some(seq), _) => (log.clone(), seq),
        (_, _, Some(id)) => {
            let records = logs.decision(id, false).map_err(|error| unreadable(&error))?;
            let record = records.iter().find(|record| record.kind == lictor_audit::Kind::Decision);
            let record = record.or(records.first());
            let record = record
                .ok_or_else(|| Failure::failed(format!("no record is of decision `{id}`")))?;
            (record.log.clone(), record.seq)
        }
        _ => {
            return Err(Failure::usage("give `--decision ID`, or `--log NAME --seq N`"));
        }
    };
    let proof = logs.prove(&log, seq).map_err(|error| failure(&error))?;
    print_json(&proof)?;
    Ok(Exit::Ok)
}

fn check(args: &ProveArgs, path: &Path) -> Result<Exit, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| io("read", path, error))?;
    let proof: Proof = serde_json::from_str(&text).map_err(|error| {
        Failure::new(Exit::Broken, format!("`{}` is not a proof: {error}", path.display()))
    })?;
    let record = verify_proof(&proof, &verifying(&args.keys)?).map_err(|error| failure(&error))?;
    print(&write(&[record], args.format)?)?;
    say("the proof holds");
    Ok(Exit::Ok)
}

fn failure(error: &ProofError) -> Failure {
    match error {
        ProofError::Read(error) => unreadable(error),
        ProofError::NoLog(_) | ProofError::NoRecord { .. } | ProofError::NotCovered { .. } => {
            Failure::failed(error.to_string())
        }
        ProofError::Broken(_) | ProofError::Checkpoint(_) | ProofError::Wrong(_) => {
            Failure::new(Exit::Broken, error.to_string())
        }
    }
}
