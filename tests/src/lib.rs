//! What the end-to-end tests and the load benchmark share: real servers in folders of their own,
//! servers behind them, and a client that sends exactly the bytes it is given.
//!
//! # Layout
//!
//! - [`process`]: the built binaries as child processes that end with their owner
//! - [`site`]: a folder with keys, a signed bundle and configurations, and what runs on it
//! - [`issuer`]: a login server's tokens, honest and forged
//! - [`client`]: requests over the wire and what comes back
//! - [`upstream`]: the tool server and the provider behind the enforcement points
//! - [`evidence`]: what the audit logs say

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test that they help"
)]

pub mod client;
pub mod evidence;
pub mod issuer;
pub mod process;
pub mod site;
pub mod upstream;
