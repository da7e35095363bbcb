//! The decision point: one signed bundle decides, state is committed, a record is
//! kept.
//!
//! # Layout, in the order of one decision
//!
//! - [`config`]: `[pdp]` and `[audit]` of `lictor.toml`.
//! - [`door`]: who may ask, and in which role.
//! - [`live`], [`source`]: the live bundle of a tenant, and how it is replaced.
//! - [`session`]: signed session handles, implicit sessions.
//! - [`state`]: limits, sessions, approvals; the one thing that is written.
//! - [`decide`]: the path of one decision; [`peer`] is that path as `trait Decide`.
//! - [`record`]: what of a decision goes into the audit log.
//! - [`approvals`]: who may answer an approval.
//! - [`grpc`], [`rest`]: the wire. [`server`]: listeners, health, shutdown.

pub mod approvals;
pub mod clock;
pub mod config;
pub mod decide;
pub mod door;
pub mod grpc;
pub mod live;
pub mod peer;
pub mod record;
pub mod rest;
pub mod server;
pub mod session;
pub mod source;
pub mod state;
