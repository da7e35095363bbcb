//! The decision point from outside, over real connections.
//!
//! # Layout
//!
//! - [`point`]: a decision point that listens; [`caller`]: whoever asks it, and what was answered.
//! - [`doors`]: every method and route, and who is let in by which role.
//! - [`registered`]: an enforcement point asks only for what it is registered for.
//! - [`stream`]: many questions on one stream.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod caller;
mod doors;
mod point;
mod registered;
mod stream;
