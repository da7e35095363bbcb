//! One case to what came of it.

use super::Case;
use super::difference::{Difference, differences};
use crate::conclude::{DryRun, dry_run};
use crate::engine::Budget;
use crate::load::LoadedBundle;

/// What came of a case.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The file it is in.
    pub file: String,
    /// Line of its name, from 1; 0 if unknown.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// Differences from what was expected; empty if it passed.
    pub differences: Vec<Difference>,
    /// What came out, with everything the engines said.
    pub outcome: DryRun,
}

/// Runs one case, whether or not it says that it be skipped. `now_ms` is the time of
/// cases that state none.
#[must_use]
pub fn run(bundle: &LoadedBundle, case: &Case, now_ms: i64, budget: Budget) -> CaseResult {
    let now_ms = case.now_ms.unwrap_or(now_ms);
    let outcome = dry_run(bundle, &case.call, case.facts.clone(), now_ms, budget);
    CaseResult {
        file: case.file.clone(),
        line: case.line,
        name: case.name.clone(),
        differences: differences(&case.expect, &outcome),
        outcome,
    }
}
