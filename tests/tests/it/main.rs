//! The whole of Lictor from outside: built binaries, a bundle made by the command, real servers.
//!
//! # Layout
//!
//! - `dependency_table`, `tidy`: what holds for the sources
//! - `rig`: everything in one process, for the others
//! - `vertical`: one tool call through everything, each part alone and all in one process
//! - `equal`: in process and over gRPC the same decisions
//! - `agreement`: `decide`, `test`, decision point and `replay` say the same about generated calls
//! - `bundles`: which bundles are refused, and swapping them under load
//! - `distribution`: bundles from a web server that comes and goes
//! - `bundle_corpus`: ways around a verifier, through library, command and decision point
//! - `approvals`: a call that needs a person, and the person's answer
//! - `callers`: who is not let in
//! - `doors`: both enforcement points in this process, with a clock that a test sets
//! - `strangers`: the identity crate's table of what must not be believed, through both of them
//! - `outage`: an identity provider that is away for longer than its keys are believed
//! - `revocations`: whoever is killed is out within five seconds, streams included
//! - `bodies`: what is not understood, and what passes untouched
//! - `secrets`: what is said and written holds none
//! - `faults`: parts that die, logs that cannot be written

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agreement;
mod approvals;
mod bodies;
mod bundle_corpus;
mod bundles;
mod callers;
mod dependency_table;
mod distribution;
mod doors;
mod equal;
mod faults;
mod outage;
mod revocations;
mod rig;
mod secrets;
mod strangers;
#[path = "../../../identity/tests/it/hostile/table.rs"]
mod table;
mod tidy;
mod vertical;
