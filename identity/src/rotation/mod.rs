//! The keys that sign tokens, one after the other without a gap.
//!
//! # Layout
//!
//! - [`plan`]: which key signs when and is published how long; pure.
//! - [`store`]: the plan and its keys as files of one directory, and how they change.
//! - [`ring`]: the keys as an enforcement point has them, read again when the files change.

pub mod plan;
pub mod ring;
pub mod store;

pub use plan::{JWKS_MAX_AGE_S, Plan, PlanError, PlannedKey};
pub use ring::SigningRing;
pub use store::RotationError;
