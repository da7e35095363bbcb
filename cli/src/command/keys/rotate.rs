//! `lictor keys rotate`: the next key of an enforcement point's assertions.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use lictor_identity::rotation::plan::{LEAD_DEFAULT_MS, LEAD_MIN_MS};
use lictor_identity::rotation::store::{Stored, Takeover, plan_path, rotate};
use lictor_identity::rotation::{PlanError, RotationError};
use lictor_identity::{Purpose, TokenAlgorithm};
use serde_json::{Value, json};

use super::Lock;
use crate::exit::{Exit, Failure};
use crate::output::{Format, print, print_json, say, table};
use crate::time::{When, now_ms, rfc3339};

/// Arguments of `keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// What the key is for.
    #[arg(value_parser = PossibleValuesParser::new([Purpose::Assertion.as_str()]))]
    purpose: String,
    /// The folder with the keys: the `state_dir` of the enforcement point.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The kind of the new key; without it that of the key before.
    #[arg(long, value_name = "ALG",
        value_parser = PossibleValuesParser::new(TokenAlgorithm::ALL.map(TokenAlgorithm::as_str)))]
    algorithm: Option<String>,
    /// When the new key begins to sign: `1h` from now, or `2026-12-31T00:00:00Z`; without it in
    /// eleven minutes. Until then whoever keeps the key set has time to fetch it again.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    at: Option<When>,
    /// Drop all other keys now, for a key that was stolen: what they signed stops to hold at once,
    /// and servers that keep the key set refuse calls until they fetch it again.
    #[arg(long, conflicts_with = "at")]
    at_once: bool,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `keys rotate`
pub(super) fn run(args: &RotateArgs) -> Result<Exit, Failure> {
    let _lock = Lock::take(&plan_path(&args.dir))?;
    let now = now_ms();
    let takeover = match args.at {
        _ if args.at_once => Takeover::AtOnce,
        Some(at) => Takeover::From(at.at_ms(now)),
        None => Takeover::From(now.saturating_add(LEAD_DEFAULT_MS)),
    };
    let algorithm = args.algorithm.as_deref().and_then(TokenAlgorithm::from_name);
    let stored = rotate(&args.dir, algorithm, takeover, now).map_err(|error| refused(&error))?;
    let keys = described(&stored, now);
    match args.format {
        Format::Json => {
            print_json(&json!({"purpose": args.purpose, "dir": args.dir, "keys": keys}))?;
        }
        Format::Pretty => {
            print(&told(&keys))?;
            say(
                "a running enforcement point follows within two seconds; there is nothing to restart",
            );
        }
    }
    Ok(Exit::Ok)
}

fn refused(error: &RotationError) -> Failure {
    match error {
        RotationError::Refused { source: PlanError::TooSoon, .. } => {
            let soonest = format!("`--at {}s` is the soonest", LEAD_MIN_MS / 1_000);
            Failure::error(error).help(soonest)
        }
        _ => Failure::error(error),
    }
}

fn described(stored: &Stored, now_ms: i64) -> Vec<Value> {
    let pairs = stored.plan.keys().iter().zip(&stored.keys);
    let describe = pairs.map(|(planned, key)| {
        let from_ms = planned.signs_from_ms;
        let signs = stored.plan.signer(now_ms).is_some_and(|signer| signer.kid == planned.kid);
        let state = match signs {
            true => "signs",
            false if from_ms > now_ms => "published",
            false => "retired",
        };
        json!({
            "kid": planned.kid,
            "algorithm": key.algorithm().jose(),
            "file": planned.file,
            "state": state,
            // The first key has always signed.
            "signs_from": (from_ms > 0).then(|| rfc3339(from_ms)),
            "dropped": stored.plan.leaves_ms(&planned.kid).map(rfc3339),
        })
    });
    describe.collect()
}

fn told(keys: &[Value]) -> String {
    let columns = ["kid", "algorithm", "state", "signs_from", "dropped", "file"];
    let mut rows = vec![columns.map(|column| column.replace('_', " ")).to_vec()];
    let cell = |key: &Value, column: &str| match key.get(column).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => "-".to_owned(),
    };
    rows.extend(keys.iter().map(|key| columns.map(|column| cell(key, column)).to_vec()));
    table(&rows)
}
