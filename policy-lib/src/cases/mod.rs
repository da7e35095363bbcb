//! `cases/*.yaml`: engine-neutral test cases. A case runs through the very
//! functions that serve.
//!
//! # Layout, in the order that data flows
//!
//! - `place`, `problem`: lines of a YAML text; what the readers of it complain about.
//! - `parse`: a file to [`CaseFile`], or everything that is wrong with it.
//! - [`expect`]: what must come out.
//! - [`matrix`]: agents × actions, expanded into cases, and what such a table lacks.
//! - `run`, [`difference`]: one case to what came of it.

pub mod difference;
pub mod expect;
pub mod matrix;
mod parse;
mod place;
mod problem;
mod run;

use lictor_proto::call::Call;
use lictor_proto::facts::Facts;

pub use difference::Difference;
pub use expect::Expect;
pub use matrix::{Complete, Kind};
pub use parse::{CASE_FILE_BYTES_MAX, MERGE_LEVELS_MAX, parse};
pub use run::{CaseResult, run};

/// What one case file holds.
#[derive(Debug, Clone, Default)]
pub struct CaseFile {
    /// The cases in the order of the file, then those of its matrices.
    pub cases: Vec<Case>,
    /// What its matrices promise to be complete in.
    pub complete: Vec<Complete>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file it is in.
    pub file: String,
    /// Line of its name, from 1; 0 if unknown.
    pub line: u32,
    /// Its name; of a cell of a matrix `MATRIX: AGENT × ACTION`.
    pub name: String,
    /// Why it is not run.
    pub skip: Option<String>,
    /// When it happens, in unix milliseconds; the runner's time if absent.
    pub now_ms: Option<i64>,
    /// The call.
    pub call: Call,
    /// What the decision point would know.
    pub facts: Facts,
    /// What must come out.
    pub expect: Expect,
}

#[cfg(test)]
mod tests;
