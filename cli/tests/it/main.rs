//! The built `lictor` command on temporary folders.
//!
//! # Layout
//!
//! - `run`: running the command
//! - `authors`: init, check, test, schema; `coverage`: what tests reach, and explanations
//! - `testing`: how tests are run and told
//! - `fmt`: the layout of bundles
//! - `schema`: schemas of tools, their import and drift, against `mcp`, a made-up server
//! - `releases`: build, sign, verify, inspect
//! - `opa`: bundles that were written for OPA
//! - `keys`: key pairs and API keys
//! - `decide`: decisions by a bundle
//! - `audit`: logs; `shadow`: agents in them that were not served; `shadow_policy`: rules and
//!   bundles that only watch
//! - `demo`, `up`: everything in one process
//! - `kill`: lists of revocations in files
//! - `live`: a running decision point; `replay`: what it recorded, decided again

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod audit;
mod authors;
mod bench;
mod check;
mod coverage;
mod decide;
mod demo;
mod diff;
mod fmt;
mod keys;
mod kill;
mod live;
mod mcp;
mod opa;
mod releases;
mod replay;
mod run;
mod schema;
mod shadow;
mod shadow_policy;
mod testing;
mod up;
