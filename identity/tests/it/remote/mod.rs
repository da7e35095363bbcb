//! Keys that change while we run, with a real server in between.
//!
//! # Layout
//!
//! - [`idp`]: an issuer that answers as a test tells it to.
//! - [`fetching`]: what is taken from the network, and what is not.
//! - [`changing`]: rotation, outages, made-up key names.
//! - [`reloading`]: files that change.

mod changing;
mod fetching;
mod idp;
mod reloading;
