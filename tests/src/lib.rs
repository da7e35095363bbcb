//! What the end-to-end tests and the load benchmark share: real servers in folders of their own,
//! servers behind them, and a client that sends exactly the bytes it is given.
//!
//! # Layout
//!
//! - [`process`]: the built binaries as child processes that end with their owner
//! - [`site`]: a folder with keys, a signed bundle and configurations, and what runs on it
//! - [`issuer`]: a login server's tokens, honest and forged
//! - [`client`]: requests over the wire and what comes back
//! - [`http1`]: the same for load, at little cost
//! - [`upstream`]: the tool server and the provider behind the enforcement points
//! - [`redis`]: a shared store
//! - [`evidence`]: what the audit logs say
//! - [`standard`], [`pure`]: the bundles that decisions are measured with, and how they are loaded

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test that they help"
)]

pub mod client;
pub mod evidence;
pub mod http1;
pub mod issuer;
pub mod process;
pub mod pure;
pub mod redis;
pub mod site;
pub mod standard;
pub mod upstream;
