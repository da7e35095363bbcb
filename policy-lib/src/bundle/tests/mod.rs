//! Tests of the module as a whole, with the tools they share.
//!
//! - `archives`: every reason to refuse an archive, at its edge
//! - `signatures`: every reason to refuse a signature
//! - `signing`: adding signatures
//! - `manifests`: the manifest, version floor, times
//! - `building`: build, compose, pack
//! - `properties`: what holds for any input
//!
//! The stored archives under `tests/corpus/bundles` are run by the end-to-end
//! tests: through this crate, the command and the decision point.

mod archives;
mod building;
mod manifests;
mod properties;
mod signatures;
mod signing;

use std::io::Write as _;

use ed25519_dalek::SigningKey;
use tar::{EntryType, Header};

use super::*;

/// 2026-01-31T12:00:00Z.
pub(crate) const NOW_S: i64 = 1_769_860_800;
pub(crate) const NOW_MS: i64 = NOW_S * 1000;
pub(crate) const SCOPE: &str = "prod";

pub(crate) const MANIFEST: &str = r#"{"metadata":{"lictor":{"name":"demo","version":7}},"revision":"r1","rego_version":1,"roots":["lictor","registry"]}"#;

pub(crate) fn pairs() -> Vec<(String, Vec<u8>)> {
    [
        (".manifest", MANIFEST),
        ("README.md", "# demo\n"),
        ("cases/expense.yaml", "cases: []\n"),
        ("cedar/expense.cedar", "permit(principal, action, resource);\n"),
        ("data.json", r#"{"registry":{"agents":{"a":{"owner":"o"}}}}"#),
        ("rego/expense/limits.rego", "package lictor.expense\n"),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .collect()
}

pub(crate) fn files() -> Files {
    Files::from_pairs(pairs(), &Limits::default()).unwrap()
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn kid(seed: u8) -> String {
    key_id(&key(seed).verifying_key())
}

pub(crate) fn policy(seeds: &[u8], required: usize) -> TrustPolicy {
    let keys = seeds.iter().map(|seed| TrustedKey::new(key(*seed).verifying_key())).collect();
    TrustPolicy::new(keys, required, SCOPE).unwrap()
}

pub(crate) fn options() -> SignOptions {
    SignOptions { scope: SCOPE.into(), iat_s: NOW_S, exp_s: None }
}

pub(crate) fn signed() -> Files {
    sign(&files(), &key(1), &options()).unwrap()
}

pub(crate) const FLOOR: Floor = Floor { min_version: 0, window: Window::Enforced };

/// Verifies against key 1.
pub(crate) fn verify_signed(source: Source<'_>) -> Result<VerifiedBundle, VerifyError> {
    let require = Require::Signed(policy(&[1], 1));
    verify(source, &require, &FLOOR, &Limits::default(), NOW_MS)
}

/// Verifies without looking at signatures.
pub(crate) fn verify_unsigned(source: Source<'_>) -> Result<VerifiedBundle, VerifyError> {
    let require = Require::AllowUnsigned;
    verify(source, &require, &FLOOR, &Limits::default(), NOW_MS)
}

/// A tar stream that is put together entry by entry, wrongly if so wished.
#[derive(Default, Clone)]
pub(crate) struct Tape {
    pub(crate) bytes: Vec<u8>,
}

impl Tape {
    pub(crate) fn of(files: &Files) -> Self {
        files.iter().fold(Self::default(), |tape, (name, bytes)| tape.file(name, bytes))
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name, EntryType::Regular, data)
    }

    pub(crate) fn entry(self, name: &str, kind: EntryType, data: &[u8]) -> Self {
        self.raw(&header(name.as_bytes(), kind, data.len()), data)
    }

    /// A header as it is, with data behind it.
    pub(crate) fn raw(mut self, header: &Header, data: &[u8]) -> Self {
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    /// The finished stream, compressed.
    pub(crate) fn archive(self) -> Vec<u8> {
        gzip(&self.end())
    }
}

pub(crate) fn header(name: &[u8], kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    header
}

pub(crate) fn gzip(stream: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::new(6);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(stream).unwrap();
    encoder.finish().unwrap()
}
