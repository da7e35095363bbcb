//! Policy bundles: bytes in, verified values out.
//!
//! Nothing here reads a file, a socket or a clock. The only way to a
//! [`VerifiedBundle`] is [`verify`], and engines accept nothing else.
//!
//! # Layout
//!
//! - `name`: which entry names a bundle may have, and what each one is
//! - `limits`: how large an archive may be
//! - `files`: names and bytes that passed the name rules and the limits
//! - `error`: why an archive or a folder was refused
//! - `gzip`, `archive`: reading a `.tar.gz`
//! - `pack`: writing one, reproducibly
//! - `json`: JSON without duplicate keys, number text kept
//! - `manifest`: `.manifest`
//! - `keys`, `trust`: whose signatures count
//! - `jws`, `claims`, `signature`, `sign`: `.signatures.json`
//! - `verify`: the one path to a [`VerifiedBundle`]
//! - `build`, `compose`: from an author's folders to what is signed

mod archive;
mod build;
mod claims;
mod compose;
mod error;
mod files;
mod gzip;
pub(crate) mod json;
pub(crate) mod jws;
mod keys;
mod limits;
mod manifest;
mod name;
mod pack;
mod sign;
mod signature;
#[cfg(test)]
mod tests;
mod trust;
mod verify;

pub(crate) use archive::read_any_archive;
pub use archive::read_archive;
pub use build::{BuildError, build};
pub use compose::{Collision, ComposeError, Part, compose};
pub use error::ArchiveError;
pub use files::Files;
pub(crate) use files::{AnyFiles, Collector};
pub use json::JsonError;
pub use keys::{
    KeyError, key_id, signing_key_from_pem, signing_key_to_pem, verifying_key_from_pem,
    verifying_key_to_pem,
};
pub use limits::Limits;
pub use manifest::{Manifest, ManifestError, PermitFrom, Scope, Unit};
pub use name::{Kind, NameError, is_unit_name, kind};
pub use pack::pack;
pub use sign::{SignError, SignOptions, sign};
pub use signature::SignatureError;
pub use trust::{Trust, TrustPolicy, TrustPolicyError, TrustedKey};
pub use verify::{Floor, Require, Source, Staleness, VerifiedBundle, VerifyError, Window, verify};

/// `sha256:` and the digest of `bytes` in lower-case hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// The SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
