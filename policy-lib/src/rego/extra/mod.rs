//! Builtins that OPA has and the engine lacks. They are pure, their sizes are
//! bounded before they run, and what they cannot answer is an error.
//!
//! # Layout
//!
//! - this file: the list, and what the families share.
//! - `hashes`: `crypto.*`. `tokens`: `io.jwt.decode`. `networks`: `net.*`.
//!   `globs`: `regex.globs_match`. `collections`: `array.*`, `strings.*`.
//!   `identifiers`: `uuid.parse`.
//! - `mocks`: tests replace them with `with`.
//!
//! `rego.metadata.*` depends on where it is called: see `super::metadata`.

use regorus::Value;

use super::elements::type_of;
use super::guards::{Guard, MAX_PARSED_BYTES, Refusal};

mod collections;
mod globs;
mod hashes;
mod identifiers;
pub(crate) mod mocks;
mod networks;
mod tokens;

#[cfg(test)]
mod tests;

/// A builtin of ours.
#[derive(Clone, Copy)]
pub(crate) struct Extra {
    pub(crate) name: &'static str,
    /// How many arguments it takes.
    pub(crate) arity: u8,
    /// Looks at the arguments first.
    pub(crate) guard: Guard,
    pub(crate) call: fn(&[Value]) -> Result<Value, Fault>,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Fault {
    #[error("argument {position} has to be {expected}, and is {found}")]
    Type { position: usize, expected: &'static str, found: &'static str },
    #[error("{0}")]
    Value(String),
}

impl Fault {
    fn value(text: impl Into<String>) -> Self {
        Self::Value(text.into())
    }
}

/// All of them, by name.
pub(crate) const EXTRAS: &[Extra] = &[
    Extra {
        name: "array.flatten",
        arity: 1,
        guard: collections::bounded,
        call: collections::flatten,
    },
    Extra { name: "crypto.hmac.equal", arity: 2, guard: short_texts, call: hashes::hmac_equal },
    Extra { name: "crypto.hmac.md5", arity: 2, guard: short_texts, call: hashes::hmac_md5 },
    Extra { name: "crypto.hmac.sha1", arity: 2, guard: short_texts, call: hashes::hmac_sha1 },
    Extra { name: "crypto.hmac.sha256", arity: 2, guard: short_texts, call: hashes::hmac_sha256 },
    Extra { name: "crypto.hmac.sha512", arity: 2, guard: short_texts, call: hashes::hmac_sha512 },
    Extra { name: "crypto.md5", arity: 1, guard: short_texts, call: hashes::md5 },
    Extra { name: "crypto.sha1", arity: 1, guard: short_texts, call: hashes::sha1 },
    Extra { name: "crypto.sha256", arity: 1, guard: short_texts, call: hashes::sha256 },
    Extra { name: "io.jwt.decode", arity: 1, guard: short_texts, call: tokens::decode },
    Extra {
        name: "net.cidr_contains_matches",
        arity: 2,
        guard: networks::bounded_pairs,
        call: networks::contains_matches,
    },
    Extra { name: "net.cidr_intersects", arity: 2, guard: short_texts, call: networks::intersects },
    Extra {
        name: "net.cidr_merge",
        arity: 1,
        guard: networks::bounded_list,
        call: networks::merge,
    },
    Extra { name: "regex.globs_match", arity: 2, guard: globs::bounded, call: globs::matches },
    Extra {
        name: "strings.split_n",
        arity: 3,
        guard: collections::bounded_split,
        call: collections::split_n,
    },
    Extra { name: "uuid.parse", arity: 1, guard: short_texts, call: identifiers::parse },
];

/// The builtin of this name.
pub(crate) fn of(name: &str) -> Option<&'static Extra> {
    EXTRAS.iter().find(|extra| extra.name == name)
}

/// Texts are at most as long as what one call parses.
fn short_texts(args: &[Value]) -> Result<(), Refusal> {
    let long = |arg: &Value| matches!(arg, Value::String(text) if text.len() > MAX_PARSED_BYTES);
    if args.iter().any(long) { Err(Refusal::TooLong) } else { Ok(()) }
}

fn text(args: &[Value], index: usize) -> Result<&str, Fault> {
    match args.get(index) {
        Some(Value::String(text)) => Ok(text),
        other => Err(wrong(index, "a string", other)),
    }
}

fn wrong(index: usize, expected: &'static str, found: Option<&Value>) -> Fault {
    Fault::Type { position: index + 1, expected, found: found.map_or("missing", type_of) }
}
