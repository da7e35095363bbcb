//! `lictor schema cedar`: what a bundle's Cedar policies are validated against.

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_policy_lib::cedar::CedarEngine;
use lictor_policy_lib::registry::Registry;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, print, print_json, say, shown};

/// Arguments of `schema cedar`.
#[derive(Debug, Args)]
pub(crate) struct CedarArgs {
    /// The bundle whose registry makes the schema.
    #[arg(short, long, value_name = "BUNDLE")]
    bundle: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &CedarArgs, format: Format) -> Result<Exit, Failure> {
    let registry = registry(&args.bundle)?;
    let text = CedarEngine::schema_text(&registry);
    let left_out = CedarEngine::left_out(&registry);
    match format {
        Format::Pretty => print(&text)?,
        Format::Json => {
            let left_out: Vec<Value> = left_out
                .iter()
                .map(|(place, pointers)| json!({"place": place, "pointers": pointers}))
                .collect();
            print_json(&json!({"bundle": args.bundle, "cedarschema": text, "left_out": left_out}))?;
        }
    }
    for (place, pointers) in &left_out {
        let place = shown(place);
        say(&format!("note: Cedar cannot type {place}: {}", shown(&pointers.join(", "))));
    }
    Ok(Exit::Ok)
}

/// The registry alone: whoever mends a policy that does not load needs the schema most.
pub(super) fn registry(path: &Path) -> Result<Registry, Failure> {
    let verified = bundle::verified(path)?.map_err(|problems| problems.failure())?;
    let invalid = |what: String| {
        let text = format!("{}: data.json: {what}", path.display());
        Failure::new(Exit::PolicyInvalid, text).help("`lictor check` shows where")
    };
    let Some(bytes) = verified.files().get("data.json") else {
        return Ok(Registry::default());
    };
    let data: Value = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    match data.get("registry") {
        None => Ok(Registry::default()),
        Some(registry) => {
            Registry::deserialize(registry).map_err(|error| invalid(error.to_string()))
        }
    }
}
