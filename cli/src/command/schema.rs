//! `lictor schema`: the schemas that calls, registries and Cedar policies follow.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lictor_policy_lib::cedar::CedarEngine;
use lictor_policy_lib::registry::Registry;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, print, print_json};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which schema.
    #[arg(value_enum)]
    which: Which,
    /// The bundle whose registry makes the Cedar schema.
    #[arg(short, long, value_name = "BUNDLE", required_if_eq("which", "cedar"))]
    bundle: Option<PathBuf>,
    /// `json` puts the Cedar schema into a JSON document; the others are JSON anyway.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// A call, as policies, cases and `decide -i` see it: JSON Schema.
    Call,
    /// `registry` of a bundle's `data.json`: JSON Schema.
    Registry,
    /// What a bundle's Cedar policies are validated against.
    Cedar,
}

/// Runs the command.
pub(crate) fn run(args: &SchemaArgs) -> Result<Exit, Failure> {
    match (args.which, &args.bundle) {
        (Which::Call, _) => print(lictor_proto::CALL_SCHEMA)?,
        (Which::Registry, _) => print(lictor_proto::REGISTRY_SCHEMA)?,
        (Which::Cedar, Some(path)) => {
            let text = CedarEngine::schema_text(&registry(path)?);
            match args.format {
                Format::Pretty => print(&text)?,
                Format::Json => print_json(&json!({"bundle": path, "cedarschema": text}))?,
            }
        }
        (Which::Cedar, None) => {
            return Err(
                Failure::usage("the Cedar schema is made of a bundle").help("give `-b BUNDLE`")
            );
        }
    }
    Ok(Exit::Ok)
}

/// The registry alone: whoever mends a policy that does not load needs the schema most.
fn registry(path: &Path) -> Result<Registry, Failure> {
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
