//! The built `lictor` command on temporary folders.
//!
//! # Layout
//!
//! - `run`: running the command
//! - `authors`: init, check, test, schema
//! - `releases`: build, sign, verify, inspect
//! - `keys`: key pairs and API keys
//! - `decide`: decisions by a bundle
//! - `audit`: logs
//! - `demo`, `up`: everything in one process
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
mod live;
mod releases;
mod run;
mod up;
