//! `cases/*.yaml`: engine-neutral test cases. A case runs through the very
//! functions that serve.

use lictor_proto::call::Call;
use lictor_proto::decision::Effect;
use lictor_proto::facts::Facts;
use serde::Deserialize;
use serde_json::Value;

use crate::conclude::{DryRun, dry_run};
use crate::engine::Budget;
use crate::load::LoadedBundle;

/// Largest case file, in bytes.
pub const CASE_FILE_BYTES_MAX: usize = 4 << 20;

/// Most merges (`<<`) that build upon each other.
pub const MERGE_LEVELS_MAX: usize = (1 << MERGE_PASSES) - 1;
const MERGE_PASSES: usize = 4;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file it is in.
    pub file: String,
    /// Its name.
    pub name: String,
    /// The call.
    pub call: Call,
    /// What the decision point would know.
    pub facts: Facts,
    /// What must come out.
    pub expect: Expect,
}

/// What must come out of a case. An absent member is not looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The effect.
    pub effect: Effect,
    /// Ids of reasons: of a denial or an ask all of them, of an allow some.
    #[serde(default)]
    pub reasons: Option<Vec<String>>,
    /// Ids of all obligations.
    #[serde(default)]
    pub obligations: Option<Vec<String>>,
    /// Ids of all limits that the call draws on.
    #[serde(default)]
    pub limits: Option<Vec<String>>,
    /// Detectors of all findings.
    #[serde(default)]
    pub findings: Option<Vec<String>>,
}

/// Why a case file cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// Too large.
    #[error("{file}: has {bytes} bytes, 4194304 are allowed: split the file")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// Not YAML of the expected form.
    #[error("{file}: {message}")]
    Form {
        /// The file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// One case is broken.
    #[error("{file}: case `{name}`: {message}")]
    Case {
        /// The file.
        file: String,
        /// The case.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Two cases of one file have the same name.
    #[error("{file}: two cases are named `{name}`: rename one")]
    Duplicate {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cases: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(default)]
    call: Value,
    #[serde(default)]
    facts: Value,
    expect: Value,
}

/// Reads one case file.
///
/// # Errors
/// [`CaseError`] with the file and the case.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, CaseError> {
    if text.len() > CASE_FILE_BYTES_MAX {
        return Err(CaseError::TooLarge { file: file.to_owned(), bytes: text.len() });
    }
    let form = |message: String| CaseError::Form { file: file.to_owned(), message };
    let mut value: yaml_serde::Value =
        yaml_serde::from_str(text).map_err(|error| form(error.to_string()))?;
    // `<<: *call` lets cases share what they have in common. What a merge brings in may merge
    // something itself; each pass halves how many do so upon each other.
    for _ in 0..MERGE_PASSES {
        value.apply_merge().map_err(|error| form(error.to_string()))?;
    }
    let parsed: File = yaml_serde::from_value(value).map_err(|error| form(error.to_string()))?;
    let mut cases: Vec<Case> = Vec::with_capacity(parsed.cases.len());
    for raw in parsed.cases {
        let case = read(file, raw)?;
        if cases.iter().any(|other| other.name == case.name) {
            return Err(CaseError::Duplicate { file: file.to_owned(), name: case.name });
        }
        cases.push(case);
    }
    Ok(cases)
}

fn read(file: &str, raw: Raw) -> Result<Case, CaseError> {
    let broken = |message: String| CaseError::Case {
        file: file.to_owned(),
        name: raw.name.clone(),
        message,
    };
    let call_text = or_empty(&raw.call).to_string();
    let call = Call::from_json(call_text.as_bytes()).map_err(|e| broken(format!("call: {e}")))?;
    let facts =
        serde_json::from_value(or_empty(&raw.facts)).map_err(|e| broken(format!("facts: {e}")))?;
    let expect =
        serde_json::from_value(raw.expect.clone()).map_err(|e| broken(format!("expect: {e}")))?;
    Ok(Case { file: file.to_owned(), name: raw.name, call, facts, expect })
}

fn or_empty(value: &Value) -> Value {
    if value.is_null() { Value::Object(serde_json::Map::new()) } else { value.clone() }
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The file it is in.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Differences from what was expected; empty if it passed.
    pub differences: Vec<String>,
    /// What came out, with everything the engines said.
    pub outcome: DryRun,
}

/// Runs one case. `now_ms` is the time for cases that state none.
#[must_use]
pub fn run(bundle: &LoadedBundle, case: &Case, now_ms: i64, budget: Budget) -> CaseResult {
    let outcome = dry_run(bundle, &case.call, case.facts.clone(), now_ms, budget);
    CaseResult {
        file: case.file.clone(),
        name: case.name.clone(),
        differences: differences(&case.expect, &outcome),
        outcome,
    }
}

fn differences(expect: &Expect, outcome: &DryRun) -> Vec<String> {
    let mut found = Vec::new();
    let decision = &outcome.decision;
    if decision.effect != expect.effect {
        let (wanted, got) = (expect.effect.as_str(), decision.effect.as_str());
        found.push(format!("effect: expected {wanted}, got {got}"));
    }
    let reasons: Vec<&str> = decision.reasons.iter().map(|r| r.id.as_str()).collect();
    if let Some(wanted) = &expect.reasons {
        let missing = wanted.iter().any(|id| !reasons.contains(&id.as_str()));
        let extra = reasons.iter().any(|id| !wanted.iter().any(|w| w == id));
        if missing || (extra && expect.effect != Effect::Allow) {
            found.push(format!("reasons: expected {wanted:?}, got {reasons:?}"));
        }
    }
    let obligations = decision.obligations.iter().map(|o| o.id.as_str());
    compare("obligations", expect.obligations.as_deref(), obligations, &mut found);
    let limits = outcome.verdict.limits.iter().map(|l| l.id.as_str());
    compare("limits", expect.limits.as_deref(), limits, &mut found);
    let findings = decision.findings.iter().map(|f| f.detector.as_str());
    compare("findings", expect.findings.as_deref(), findings, &mut found);
    found
}

fn compare<'a>(
    what: &str,
    wanted: Option<&[String]>,
    got: impl Iterator<Item = &'a str>,
    found: &mut Vec<String>,
) {
    let Some(wanted) = wanted else { return };
    let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut got: Vec<&str> = got.collect();
    wanted.sort_unstable();
    wanted.dedup();
    got.sort_unstable();
    got.dedup();
    if wanted != got {
        found.push(format!("{what}: expected {wanted:?}, got {got:?}"));
    }
}
