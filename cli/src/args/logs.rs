//! Audit logs of the command line.

use std::path::PathBuf;

use clap::Args;
use lictor_audit::query::Logs;
use lictor_audit::verify::ReadError;

use crate::exit::{Exit, Failure};

/// Where audit logs are.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArgs {
    /// Directories of audit logs, or single `.jsonl` files.
    #[arg(value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// The same as DIR; may be repeated.
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

impl LogArgs {
    /// All paths, in the order given.
    ///
    /// # Errors
    /// None was given.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>, Failure> {
        let paths: Vec<PathBuf> = self.paths.iter().chain(&self.dirs).cloned().collect();
        if paths.is_empty() {
            return Err(Failure::usage("no audit directory was given")
                .help("name one, such as `lictor audit verify DIR`"));
        }
        Ok(paths)
    }

    /// Whether no path was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.dirs.is_empty()
    }

    /// The logs.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn open(&self) -> Result<Logs, Failure> {
        Logs::open(&self.paths()?).map_err(|error| unreadable(&error))
    }
}

/// Files that cannot be read are no answer; a line that is no record is one.
pub(crate) fn unreadable(error: &ReadError) -> Failure {
    let exit = match error {
        ReadError::BadLine { .. } => Exit::Broken,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
