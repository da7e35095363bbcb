//! The identity crate from outside.
//!
//! # Layout
//!
//! - [`forge`]: issuers with real keys, and tokens that no library would make.
//! - [`hostile`]: every way to be refused, each with its reason id.
//! - [`accepted`]: what a good credential says; [`bound`]: one that needs another beside it.
//! - [`random`]: nothing panics, and no changed token is believed.
//! - [`remembered`]: what is remembered of a token changes no answer.
//! - [`assertion`]: our own tokens, read by other people's code.
//! - [`grants`]: tokens that we ask other servers for.
//! - [`files`]: keys and tokens on disk.
//! - [`remote`]: keys of issuers on the network, and files that change.
//! - [`pki`]: authorities and certificates, right and wrong; [`certificates`]: whom they name;
//!   [`encrypted`]: connections that are taken with them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking; the texts it cuts are ASCII"
)]

mod accepted;
mod assertion;
mod bound;
mod certificates;
mod encrypted;
mod files;
mod forge;
mod grants;
mod hostile;
mod pki;
mod random;
mod remembered;
mod remote;
