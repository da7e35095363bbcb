//! `lictor schema`: the schemas that calls, registries, tools and Cedar policies follow, and the
//! definitions of MCP servers that they are made of.
//!
//! # Layout
//!
//! - [`cedar`]: what a bundle's Cedar policies are validated against.
//! - [`tools`]: what policies see of calls of each tool.
//! - [`import`]: a server's tools into the registry, pinned; [`drift`]: whether they still are so.
//! - [`definitions`]: what servers say of their tools; [`live`]: asking a server; [`entry`]: a
//!   tool's entry in the registry.

mod cedar;
mod definitions;
mod drift;
mod entry;
mod import;
mod live;
mod tools;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};
use crate::output::{Format, print};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    which: Which,
    /// How the answer is written; schemas of JSON are JSON either way.
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

/// The schemas.
#[derive(Debug, Subcommand)]
enum Which {
    /// A call, as policies, cases and `decide -i` see it: JSON Schema.
    Call,
    /// `registry` of a bundle's `data.json`: JSON Schema.
    Registry,
    /// A bundle's `cases/*.yaml`: JSON Schema.
    Cases,
    /// What a bundle's Cedar policies are validated against.
    Cedar(cedar::CedarArgs),
    /// Rego's `input` for calls of each tool: JSON Schema.
    Tools(tools::ToolsArgs),
    /// A server's tools as entries of the registry, each pinned as it is now.
    Import(import::ImportArgs),
    /// Whether a server's tools still are what was pinned: exit 0 if so, 6 if not.
    Drift(drift::DriftArgs),
}

/// Runs the command.
pub(crate) fn run(args: &SchemaArgs) -> Result<Exit, Failure> {
    match &args.which {
        Which::Call => print(lictor_proto::CALL_SCHEMA).map(|()| Exit::Ok),
        Which::Registry => print(lictor_proto::REGISTRY_SCHEMA).map(|()| Exit::Ok),
        Which::Cases => print(lictor_proto::CASES_SCHEMA).map(|()| Exit::Ok),
        Which::Cedar(cedar) => cedar::run(cedar, args.format),
        Which::Tools(tools) => tools::run(tools),
        Which::Import(import) => import::run(import, args.format),
        Which::Drift(drift) => drift::run(drift, args.format),
    }
}
