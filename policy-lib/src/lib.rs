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
//! - `known`: what the bundle has under which name.
//! - [`load`]: a verified bundle -> [`load::LoadedBundle`], with every load check
//!   reported at once as [`diagnostic::Diagnostic`]s.
//! - [`agents`]: names that credentials use -> registry ids; [`delegation`] and `transfer`: who
//!   may act for whom, and what is handed on.
//! - [`plan`]: which facts and detectors a call wants, or why it is denied at once.
//! - [`detect`]: texts -> findings.
//! - [`engine`], [`rego`], [`cedar`]: the engines behind one trait.
//! - [`combine`], [`evaluate`], [`conclude`]: engines' outcomes -> verdict -> decision; [`shadow`]:
//!   what rules that only watch would have changed.
//! - [`diff`]: what differs in meaning between two bundles.
//! - [`revocation`]: signed lists of what is revoked.
//! - [`coverage`]: what tests and cases reached of the policies; [`explain`]: why a
//!   decision came out as it did.
//! - [`opa`]: an OPA bundle -> a bundle of ours.
//! - [`cases`]: engine-neutral test cases, and Rego `test_` rules.
//! - [`replay`]: recorded decisions, made again by the same bundle or by another.
//! - [`work`]: work of a load on several threads.

pub mod agents;
pub mod bundle;
pub mod cases;
pub mod cedar;
pub mod combine;
pub mod conclude;
pub mod coverage;
pub mod delegation;
pub mod detect;
pub mod diagnostic;
pub mod diff;
pub mod engine;
pub mod evaluate;
pub mod explain;
mod known;
pub mod limits;
pub mod load;
pub mod opa;
pub mod plan;
pub mod registry;
pub mod rego;
pub mod replay;
pub mod revocation;
pub mod shadow;
mod transfer;
pub mod work;
