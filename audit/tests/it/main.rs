//! The log as programs use it: written by its thread, read back, proved, followed.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod follow;
mod journey;

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lictor_audit::{Entry, Kind, Options};

const START_MS: i64 = 1_764_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn options(dir: &Path, writer: &str) -> Options {
    Options::new(dir, writer, "acme/prod", key(), Arc::new(|| START_MS))
}

fn entry(kind: Kind, at: i64, call: &str, session: Option<&str>) -> Entry {
    let session = session.map_or(String::new(), |s| format!(",\"session\":\"{s}\""));
    let body = format!("{{\"call_id\":\"{call}\",\"decision_id\":\"d-{call}\"{session}}}");
    Entry::new(kind, START_MS + at, body)
}
