//! Issuers with real keys at a fixed time, and tokens that no library would make.

use lictor_identity::{Authenticator, Settings};
use serde_json::{Map, Value};

use crate::hostile::table::Site;
pub(crate) use crate::hostile::table::forge::*;

pub(crate) const NOW_S: i64 = 1_800_000_000;
pub(crate) const NOW_MS: i64 = NOW_S * 1000;
pub(crate) const AUD: &str = "https://lictor.example/mcp";

pub(crate) fn site() -> Site {
    Site { now_s: NOW_S, aud: AUD.to_owned(), url: AUD.to_owned(), method: "POST".to_owned() }
}

pub(crate) fn settings() -> Settings {
    let dir = tempfile::tempdir().unwrap();
    config(AUD, dir.path()).load().unwrap()
}

pub(crate) fn authenticator() -> Authenticator {
    Authenticator::new(settings()).unwrap()
}

/// A good payload with `change` applied to its members.
pub(crate) fn payload(change: impl FnOnce(&mut Map<String, Value>)) -> String {
    site().payload(ISS, change)
}

pub(crate) fn good() -> String {
    site().good()
}

/// `value` set as member `name` of a good payload.
pub(crate) fn with(name: &str, value: Value) -> String {
    site().with(name, value)
}

pub(crate) fn without(name: &str) -> String {
    site().without(name)
}
