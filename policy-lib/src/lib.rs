//! The pure core: bytes to a verified bundle to a decision.
//!
//! Nothing here does I/O, reads a clock, draws randomness or holds a global. The
//! server, `lictor test`, dry runs and replay all run these same functions.
//!
//! # Layout, in the order that data flows
//!
//! - [`bundle`]: archive bytes -> [`bundle::VerifiedBundle`], the only thing that
//!   engines accept; also packing, composing and signing.
//! - [`registry`], [`limits`]: typed views of the bundle's `data.json`.
//! - [`load`]: a verified bundle -> [`load::LoadedBundle`], with every load check
//!   reported at once as [`diagnostic::Diagnostic`]s.
//! - [`agents`]: names that credentials use -> registry ids; [`delegation`] and `transfer`: who
//!   may act for whom, and what is handed on.
//! - [`plan`]: which facts and detectors a call wants, or why it is denied at once.
//! - [`detect`]: texts -> findings.
//! - [`engine`], [`rego`], [`cedar`]: the engines behind one trait.
//! - [`combine`], [`evaluate`], [`conclude`]: engines' outcomes -> verdict -> decision.
//! - [`revocation`]: signed lists of what is revoked.
//! - [`cases`]: engine-neutral test cases, and Rego `test_` rules.

pub mod agents;
pub mod bundle;
pub mod cases;
pub mod cedar;
pub mod combine;
pub mod conclude;
pub mod delegation;
pub mod detect;
pub mod diagnostic;
pub mod engine;
pub mod evaluate;
pub mod limits;
pub mod load;
pub mod plan;
pub mod registry;
pub mod rego;
pub mod revocation;
mod transfer;
