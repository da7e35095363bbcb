//! The built `lictor` command on temporary folders.
//!
//! # Layout
//!
//! - `run`: running the command
//! - `authors`: init, check, test, schema
//! - `releases`: build, sign, verify, inspect
//! - `keys`: key pairs and API keys
//! - `decide`: decisions by a bundle
//! - `audit`: logs; `shadow`: agents in them that were not served
//! - `demo`, `up`: everything in one process
//! - `kill`: lists of revocations in files
//! - `live`: a running decision point

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod audit;
mod authors;
mod decide;
mod demo;
mod keys;
mod kill;
mod live;
mod releases;
mod run;
mod shadow;
mod up;
