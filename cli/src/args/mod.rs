//! Groups of arguments that several commands share, and how they become values.
//!
//! # Layout
//!
//! - [`bundle`]: a folder or archive -> files, a verified bundle, a loaded one.
//! - [`keys`]: key files -> keys.
//! - [`logs`]: directories of audit logs.
//! - [`opa`]: an OPA bundle -> a bundle of ours.
//! - [`pdp`]: a running decision point -> clients.

pub(crate) mod bundle;
pub(crate) mod keys;
pub(crate) mod logs;
pub(crate) mod opa;
pub(crate) mod pdp;
