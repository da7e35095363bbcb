//! The decision point: one signed bundle decides, state is committed, a record is
//! kept.
//!
//! # Layout, in the order of one decision
//!
//! - [`config`]: `[pdp]` and `[audit]` of `lictor.toml`.
//! - [`door`]: who may ask, and in which role; [`registered`]: peers by name, and what each may
//!   ask about.
//! - [`live`], [`source`]: the live bundle of a tenant, and how it is replaced.
//! - [`session`]: signed session handles, implicit sessions.
//! - [`state`]: limits, sessions, approvals; the one thing that is written.
//!   [`store`] looks after where it is kept.
//! - [`limits`]: what callers and operators are told of limits, and giving back what is held.
//! - [`decide`]: the path of one decision; [`peer`] is that path as `trait Decide`.
//! - [`record`]: what of a decision goes into the audit log.
//! - [`shadow`]: policy that only watches: what another bundle would have decided.
//! - [`approvals`]: who may answer an approval, and who waits for it; [`webhook`] tells others.
//! - [`revocation`]: who and what is out of service, and what ends with them.
//! - [`grpc`], [`rest`]: the wire; [`metrics`]: what is counted. [`listen`]: the TCP
//!   listener, encrypted or not; [`server`]: start, health, shutdown.

pub mod approvals;
pub mod clock;
pub mod config;
pub mod decide;
pub mod door;
#[cfg(test)]
mod forgotten_tests;
pub mod grpc;
pub mod limits;
pub mod listen;
pub mod live;
pub mod metrics;
pub mod peer;
pub mod record;
pub mod registered;
pub mod rest;
pub mod revocation;
pub mod server;
pub mod session;
pub mod shadow;
pub mod source;
pub mod state;
pub(crate) mod store;
pub mod webhook;
