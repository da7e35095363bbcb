//! The whole of Lictor from outside: built binaries, a bundle made by the command, real servers.
//!
//! # Layout
//!
//! - `dependency_table`, `tidy`: what holds for the sources
//! - `rig`: everything in one process, for the others
//! - `vertical`: one tool call through everything, each part alone and all in one process
//! - `equal`: in process and over gRPC the same decisions
//! - `bundles`: which bundles are refused, and swapping them under load
//! - `callers`: who is not let in
//! - `bodies`: what is not understood, and what passes untouched
//! - `faults`: parts that die, logs that cannot be written

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bodies;
mod bundles;
mod callers;
mod dependency_table;
mod equal;
mod faults;
mod rig;
mod tidy;
mod vertical;
