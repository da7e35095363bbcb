//! The identity crate from outside.
//!
//! # Layout
//!
//! - [`forge`]: issuers with real keys, and tokens that no library would make.
//! - [`hostile`]: every way to be refused, each with its reason id.
//! - [`accepted`]: what a good credential says.
//! - [`random`]: nothing panics, and no changed token is believed.
//! - [`assertion`]: our own tokens, read by other people's code.
//! - [`files`]: keys and tokens on disk.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking; the texts it cuts are ASCII"
)]

mod accepted;
mod assertion;
mod files;
mod forge;
mod hostile;
mod random;
