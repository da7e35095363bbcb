//! What a caller asks to have recorded, and the checks that it passes before it becomes a line.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::entropy::Entropy;
use crate::side::SideKey;

/// Longest line, in bytes without its newline.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// Most bytes of sensitive values in one entry.
pub const MAX_SENSITIVE_BYTES: usize = 16 * 1024 * 1024;

/// Members of a line that only the log writes.
pub const RESERVED_MEMBERS: [&str; 7] =
    ["seq", "prev", "writer", "epoch", "ts_ms", "kind", "commits"];

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a record is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The word in the `kind` member.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }

            /// The kind of that word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($text => Some(Kind::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// First record of an epoch: its key, and the epoch before it. Written by the log itself.
    Genesis = "genesis",
    /// A decision and everything that it was made from.
    Decision = "decision",
    /// What an enforcement point did about a decision.
    Enforcement = "enforcement",
    /// A bundle was loaded, refused or swapped.
    Bundle = "bundle",
    /// An approval was opened, given, refused, used or expired.
    Approval = "approval",
    /// Somebody or something was revoked or taken back; a list of revocations was taken or refused.
    Revocation = "revocation",
    /// What was held of a limit was given back by an operator.
    Limit = "limit",
    /// What a bundle that only watches would have decided otherwise; that bundle was taken or refused.
    Shadow = "shadow",
    /// A session ended.
    SessionEnd = "session_end",
    /// Records are missing here, by a configured choice.
    Gap = "gap",
    /// Values were erased from the side store.
    Redaction = "redaction",
    /// How the epoch before this one ended, if not well: written by the log itself.
    /// A program may add one for state of its own that began again.
    Recovery = "recovery",
    /// Nothing happened for a while. Written by the log itself.
    Heartbeat = "heartbeat",
    /// A checkpoint of another log.
    CheckpointRef = "checkpoint_ref",
    /// The actual use of a reservation.
    Settle = "settle",
    /// Last record of an epoch that ended in order. Written by the log itself.
    Close = "close",
}

impl Kind {
    /// Whether only the log itself writes this kind.
    #[must_use]
    pub fn is_own(self) -> bool {
        matches!(self, Kind::Genesis | Kind::Heartbeat | Kind::Close)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about; not one that [`Kind::is_own`].
    pub kind: Kind,
    /// When it happened, in unix milliseconds.
    pub ts_ms: i64,
    /// A JSON object; its members go into the line as they are. None of [`RESERVED_MEMBERS`].
    pub body: String,
    /// JSON pointer and JSON text of every value that is only committed to in the line and kept
    /// in the side store. The body itself must not hold them.
    pub sensitive: Vec<(String, String)>,
}

impl Entry {
    /// An entry without sensitive values.
    #[must_use]
    pub fn new(kind: Kind, ts_ms: i64, body: impl Into<String>) -> Self {
        Self { kind, ts_ms, body: body.into(), sensitive: Vec::new() }
    }

    /// Records a checkpoint of another log, which makes this log a witness of that one.
    #[must_use]
    pub fn checkpoint_ref(ts_ms: i64, note: &str) -> Self {
        let body = serde_json::json!({ "checkpoint": note });
        Self::new(Kind::CheckpointRef, ts_ms, body.to_string())
    }
}

/// Why an entry cannot become a record.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum EntryError {
    /// The kind is one that the log writes by itself.
    #[error("a record of kind `{0}` is written by the log itself")]
    OwnKind(Kind),
    /// The body is not a JSON object that can be read back.
    #[error("the body must be one JSON object: {0}")]
    Body(String),
    /// A sensitive value has no valid pointer, or two have the same.
    #[error("`{0}` must be a JSON pointer, begin with `/` and be given once")]
    Pointer(String),
    /// A sensitive value is not JSON.
    #[error("the sensitive value at `{pointer}` must be JSON: {cause}")]
    Value {
        /// Where the value belongs.
        pointer: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The line would be longer than [`MAX_LINE_BYTES`].
    #[error("the record has {0} bytes, more than {MAX_LINE_BYTES}: pass large values as sensitive")]
    TooLong(usize),
    /// The sensitive values are larger than [`MAX_SENSITIVE_BYTES`] together.
    #[error("the sensitive values have {0} bytes, more than {MAX_SENSITIVE_BYTES}")]
    TooSensitive(usize),
    /// The operating system gave no random bytes to hide sensitive values with.
    #[error("no random bytes for the commitments")]
    NoEntropy,
}

/// An entry ready for the writer thread: only the head of its line is missing.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The line from the digits of `ts_ms` on.
    pub(crate) rest: Vec<u8>,
    /// The side line from `"key"` on.
    pub(crate) side: Option<Vec<u8>>,
}

impl Prepared {
    pub(crate) fn bytes(&self) -> usize {
        self.rest.len() + self.side.as_ref().map_or(0, Vec::len)
    }
}

/// Something that can be recorded: an [`Entry`], or a [`Typed`](crate::Typed) one.
pub trait Recordable: sealed::Parts {}

pub(crate) mod sealed {
    use super::{EntryError, Kind};

    /// The parts of an entry, checked as far as they have to be.
    #[derive(Debug)]
    pub struct Checked<'a> {
        pub(crate) kind: Kind,
        pub(crate) ts_ms: i64,
        /// The members of the body, without the braces around them.
        pub(crate) members: &'a str,
        /// Pointers, each once, and JSON texts.
        pub(crate) values: Vec<(&'a str, &'a str)>,
    }

    /// What only this crate can make an entry of.
    pub trait Parts {
        /// Takes the entry apart.
        ///
        /// # Errors
        /// [`EntryError`] if it cannot become a record.
        fn parts(&self) -> Result<Checked<'_>, EntryError>;
    }
}

impl Recordable for Entry {}

impl sealed::Parts for Entry {
    fn parts(&self) -> Result<sealed::Checked<'_>, EntryError> {
        if self.kind.is_own() {
            return Err(EntryError::OwnKind(self.kind));
        }
        let members = check_body(&self.body)?;
        let values: Vec<_> = self.sensitive.iter().map(|(p, v)| (p.as_str(), v.as_str())).collect();
        check_total(&values)?;
        let mut seen = HashSet::with_capacity(values.len());
        for (pointer, value) in &values {
            if !valid_pointer(pointer) || !seen.insert(*pointer) {
                return Err(EntryError::Pointer((*pointer).to_owned()));
            }
            check_value(pointer, value)?;
        }
        Ok(sealed::Checked { kind: self.kind, ts_ms: self.ts_ms, members, values })
    }
}

/// Checks an entry and does all work on it that needs no place in the chain.
///
/// `head_bytes` is what the writer will put before it.
pub(crate) fn prepare(
    entry: &impl sealed::Parts,
    head_bytes: usize,
    key: &SideKey,
    entropy: &Entropy,
) -> Result<Prepared, EntryError> {
    let sealed::Checked { kind, ts_ms, members, values } = entry.parts()?;
    let mut rest = Vec::with_capacity(members.len() + values.len() * 128 + 64);
    rest.extend_from_slice(format!("{ts_ms},\"kind\":\"{kind}\"").as_bytes());
    if !members.is_empty() {
        rest.push(b',');
        if members.bytes().any(|b| b < b' ') {
            rest.extend(members.bytes().filter(|b| *b >= b' '));
        } else {
            rest.extend_from_slice(members.as_bytes());
        }
    }
    let side = match values.is_empty() {
        true => None,
        false => Some(seal_all(&values, &mut rest, key, entropy)?),
    };
    rest.push(b'}');
    let line_bytes = head_bytes + rest.len();
    if line_bytes > MAX_LINE_BYTES {
        return Err(EntryError::TooLong(line_bytes));
    }
    Ok(Prepared { rest, side })
}

/// Adds the commitments to the line, and gives the side line from `"key"` on.
fn seal_all(
    values: &[(&str, &str)],
    line: &mut Vec<u8>,
    key: &SideKey,
    entropy: &Entropy,
) -> Result<Vec<u8>, EntryError> {
    let bytes: usize = values.iter().map(|(pointer, value)| pointer.len() + value.len() + 64).sum();
    let mut side = Vec::with_capacity(bytes / 3 * 4 + 64);
    side.extend_from_slice(format!("\"key\":\"{}\",\"fields\":{{", key.id()).as_bytes());
    line.extend_from_slice(b",\"commits\":{");
    let mut sealing = key.sealing(entropy);
    for (index, (pointer, value)) in values.iter().enumerate() {
        let name = serde_json::Value::from(*pointer).to_string();
        for out in [&mut *line, &mut side] {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b":\"");
        }
        sealing.seal(pointer, value, line, &mut side).ok_or(EntryError::NoEntropy)?;
        line.push(b'"');
        side.push(b'"');
    }
    line.push(b'}');
    side.extend_from_slice(b"}}");
    Ok(side)
}

/// A record of the log itself, from the digits of `ts_ms` on. `body` is a JSON object on one line,
/// written by the log and not empty.
pub(crate) fn own_rest(kind: Kind, ts_ms: i64, body: &str) -> Vec<u8> {
    let members = body.strip_prefix('{').unwrap_or_default();
    format!("{ts_ms},\"kind\":\"{kind}\",{members}").into_bytes()
}

/// Checks how much the sensitive values are together.
pub(crate) fn check_total(values: &[(&str, &str)]) -> Result<(), EntryError> {
    let total = values.iter().map(|(pointer, value)| pointer.len() + value.len()).sum();
    if total > MAX_SENSITIVE_BYTES {
        return Err(EntryError::TooSensitive(total));
    }
    Ok(())
}

/// Checks that the pointer of the value at `index` is one, and that of no value before it.
pub(crate) fn check_pointer(values: &[(&str, &str)], index: usize) -> Result<(), EntryError> {
    let mut before = values.iter().take(index);
    match values.get(index) {
        Some((pointer, _))
            if !valid_pointer(pointer) || before.any(|(other, _)| other == pointer) =>
        {
            Err(EntryError::Pointer((*pointer).to_owned()))
        }
        _ => Ok(()),
    }
}

/// Checks that a sensitive value is JSON that any reader can read back.
pub(crate) fn check_value(pointer: &str, value: &str) -> Result<(), EntryError> {
    serde_json::from_str::<Skim>(value).map(drop).map_err(|error| EntryError::Value {
        pointer: pointer.to_owned(),
        cause: error.to_string(),
    })
}

/// RFC 6901: `/` before every token, `~` only in `~0` and `~1`.
fn valid_pointer(pointer: &str) -> bool {
    pointer.starts_with('/') && pointer.split('~').skip(1).all(|part| part.starts_with(['0', '1']))
}

/// Checks that the body is one object that any reader can read back, and gives its members.
pub(crate) fn check_body(body: &str) -> Result<&str, EntryError> {
    let Members = serde_json::from_str(body).map_err(|e| EntryError::Body(e.to_string()))?;
    let inner = body.trim().strip_prefix('{').and_then(|b| b.strip_suffix('}'));
    Ok(inner.unwrap_or_default().trim())
}

/// Any JSON value, read and thrown away within the depth limit that readers have too.
struct Skim;

impl<'de> Deserialize<'de> for Skim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Skim)
    }
}

impl<'de> Visitor<'de> for Skim {
    type Value = Skim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Skim, E> {
        Ok(Skim)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Skim, E> {
        Ok(Skim)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Skim, E> {
        Ok(Skim)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Skim, E> {
        Ok(Skim)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Skim, E> {
        Ok(Skim)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Skim, E> {
        Ok(Skim)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Skim, A::Error> {
        while items.next_element::<Skim>()?.is_some() {}
        Ok(Skim)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Skim, A::Error> {
        while members.next_entry::<Skim, Skim>()?.is_some() {}
        Ok(Skim)
    }
}

/// The members of a body: none reserved, none twice.
struct Members;

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if RESERVED_MEMBERS.contains(&name.as_ref()) {
                return Err(de::Error::custom(format!("`{name}` is written by the log itself")));
            }
            members.next_value::<Skim>()?;
            if let Some(name) = seen.replace(name) {
                return Err(de::Error::custom(format!("`{name}` is there twice")));
            }
        }
        Ok(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(entry: &Entry) -> Result<String, EntryError> {
        let ready = prepare(entry, 0, &SideKey::from_bytes([1; 32]), &crate::entropy::system())?;
        Ok(String::from_utf8(ready.rest).unwrap())
    }

    fn body(text: &str) -> Result<String, EntryError> {
        prepared(&Entry::new(Kind::Decision, 5, text))
    }

    #[test]
    fn kinds_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Kind::parse("Genesis"), None);
        assert_eq!(Kind::ALL.iter().filter(|k| k.is_own()).count(), 3);
    }

    #[test]
    fn members_go_in_as_they_are_on_one_line() {
        assert_eq!(body("{}").unwrap(), "5,\"kind\":\"decision\"}");
        assert_eq!(
            body(" {\"a\" : 1.10,\n\t\"b\":\"x\\ny\"}\r\n").unwrap(),
            "5,\"kind\":\"decision\",\"a\" : 1.10,\"b\":\"x\\ny\"}"
        );
    }

    #[test]
    fn bodies_that_could_not_be_read_back_are_refused() {
        for text in [
            "",
            "[]",
            "{",
            "{}{}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"seq\":1}",
            "{\"\\u0073eq\":1}",
            "{\"commits\":{}}",
            "{\"a\":1e999}",
            "{\"a\":\"\n\"}",
            "null",
        ] {
            assert!(matches!(body(text), Err(EntryError::Body(_))), "{text}");
        }
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(body(&nested(126)).is_ok());
        assert!(body(&nested(127)).is_err());
        assert!(serde_json::from_str::<serde_json::Value>(&nested(126)).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&nested(127)).is_err());
    }

    #[test]
    fn line_and_value_limits_at_their_edge() {
        let empty = body("{\"a\":\"\"}").unwrap().len();
        let filled = |n: usize| body(&format!("{{\"a\":\"{}\"}}", "x".repeat(n)));
        assert!(filled(MAX_LINE_BYTES - empty).is_ok());
        assert_eq!(
            filled(MAX_LINE_BYTES - empty + 1),
            Err(EntryError::TooLong(MAX_LINE_BYTES + 1))
        );
        let secret = |n: usize| {
            let mut entry = Entry::new(Kind::Decision, 5, "{}");
            entry.sensitive = vec![("/a".into(), format!("\"{}\"", "x".repeat(n - 4)))];
            prepared(&entry)
        };
        assert!(secret(MAX_SENSITIVE_BYTES).is_ok());
        assert!(matches!(secret(MAX_SENSITIVE_BYTES + 1), Err(EntryError::TooSensitive(_))));
    }

    #[test]
    fn sensitive_values_are_committed_to_and_not_in_the_line() {
        let mut entry = Entry::new(Kind::Decision, 5, "{\"call_id\":\"c\"}");
        entry.sensitive = vec![("/args/e~1mail".into(), "\"alice@example.com\"".into())];
        let line = prepared(&entry).unwrap();
        assert!(line.contains("\"commits\":{\"/args/e~1mail\":\"hmac-sha256:"));
        assert!(!line.contains("alice"));
        for (pointer, value) in [("a", "1"), ("", "1"), ("/a~2", "1"), ("/a~", "1"), ("/a", "x")] {
            entry.sensitive = vec![(pointer.into(), value.into())];
            assert!(prepared(&entry).is_err(), "{pointer} {value}");
        }
        entry.sensitive = vec![("/a".into(), "1".into()), ("/a".into(), "2".into())];
        assert_eq!(prepared(&entry), Err(EntryError::Pointer("/a".into())));
    }
}
