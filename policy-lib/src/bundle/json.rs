//! JSON without duplicate keys, with the text of its numbers kept.
//!
//! `serde_json::Value` keeps the last of two equal keys and rounds numbers;
//! what is signed must mean the same to every reader.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting of objects and arrays.
pub(crate) const JSON_DEPTH_MAX: usize = 64;

/// Why text is not strict JSON. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// It is not JSON, or not of the expected form.
    #[error("{what}")]
    Syntax {
        /// What is wrong and where.
        what: String,
    },
    /// An object has a key twice.
    #[error("the key `{key}` appears twice in one object (line {line}, column {column})")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Line of the object.
        line: usize,
        /// Column of the object, in bytes.
        column: usize,
    },
    /// It is nested too deeply.
    #[error("nested more than {JSON_DEPTH_MAX} levels deep (line {line}, column {column})")]
    TooDeep {
        /// Line of the value.
        line: usize,
        /// Column of the value, in bytes.
        column: usize,
    },
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// Members by key, in byte order of the keys.
    Object(BTreeMap<String, Node>),
    Array(Vec<Node>),
    String(String),
    /// `null`, `true`, `false` or a number, as written.
    Atom(String),
}

impl Node {
    /// Appends the value in OPA's structured form: compact, keys sorted by
    /// bytes, numbers as written, U+2028 and U+2029 escaped.
    fn write(&self, out: &mut String) {
        match self {
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::String(text) => write_string(text, out),
            Self::Atom(text) => out.push_str(text),
        }
    }

    /// The value in OPA's structured form.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out);
        out.into_bytes()
    }
}

fn write_string(text: &str, out: &mut String) {
    let quoted = serde_json::Value::from(text).to_string();
    if !text.contains(['\u{2028}', '\u{2029}']) {
        out.push_str(&quoted);
        return;
    }
    for c in quoted.chars() {
        match c {
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
}

/// The value in `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, JsonError> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| JsonError::Utf8 { at: error.valid_up_to() })?;
    // Done first, so that a syntax error has its place in the whole text.
    let _: IgnoredAny = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    Scan { text }.node(raw, 1)
}

/// The object in `bytes` as a `T`, after it was found to be strict JSON. A derived
/// reader would take an array for its members in order.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    if !matches!(parse(bytes)?, Node::Object(_)) {
        return Err(JsonError::Syntax { what: "it is not an object".to_owned() });
    }
    serde_json::from_slice(bytes).map_err(|error| syntax(&error))
}

fn syntax(error: &serde_json::Error) -> JsonError {
    JsonError::Syntax { what: error.to_string() }
}

/// The whole text, to tell where in it a part is.
struct Scan<'a> {
    text: &'a str,
}

impl<'a> Scan<'a> {
    fn node(&self, raw: &'a RawValue, depth: usize) -> Result<Node, JsonError> {
        let text = raw.get();
        let nested = text.starts_with(['{', '[']);
        if nested && depth > JSON_DEPTH_MAX {
            let (line, column) = self.place(text);
            return Err(JsonError::TooDeep { line, column });
        }
        if text.starts_with('{') {
            return self.object(text, depth);
        }
        if text.starts_with('[') {
            let items: Vec<&RawValue> = from_part(text)?;
            let nodes = items.into_iter().map(|item| self.node(item, depth + 1));
            return Ok(Node::Array(nodes.collect::<Result<_, _>>()?));
        }
        if text.starts_with('"') {
            return Ok(Node::String(from_part(text)?));
        }
        Ok(Node::Atom(text.to_owned()))
    }

    fn object(&self, text: &'a str, depth: usize) -> Result<Node, JsonError> {
        let Members(pairs) = from_part(text)?;
        let mut members = BTreeMap::new();
        for (key, value) in pairs {
            if members.contains_key(&key) {
                let (line, column) = self.place(text);
                return Err(JsonError::DuplicateKey { key, line, column });
            }
            members.insert(key, self.node(value, depth + 1)?);
        }
        Ok(Node::Object(members))
    }

    /// Line and column at which `part`, a piece of the text, begins.
    fn place(&self, part: &str) -> (usize, usize) {
        let at = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
        (line, column)
    }
}

fn from_part<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, JsonError> {
    serde_json::from_str(text).map_err(|error| syntax(&error))
}

/// The members of one object in their order, equal keys kept apart.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        String::from_utf8(parse(text.as_bytes()).unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn structured_form_sorts_keys_and_keeps_number_text() {
        let text = "{ \"b\" : [1.0, 1e3, -0, 12345678901234567890123], \"a\": {\"é\": null, \"z\": true}, \"B\": false }";
        assert_eq!(
            canonical(text),
            "{\"B\":false,\"a\":{\"z\":true,\"é\":null},\"b\":[1.0,1e3,-0,12345678901234567890123]}"
        );
    }

    #[test]
    fn structured_form_escapes_line_separators_but_not_html() {
        assert_eq!(
            canonical("\"<\u{2028}>&\u{2029}\\u0001\\/\\n\""),
            "\"<\\u2028>&\\u2029\\u0001/\\n\""
        );
        assert_eq!(canonical("{\"\u{2028}\":1}"), "{\"\\u2028\":1}");
    }

    #[test]
    fn equal_keys_are_refused_also_when_one_is_escaped() {
        for text in
            ["{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":1}", "[{\"x\":{\"a\":1,\"b\":2,\"a\":3}}]"]
        {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(
                matches!(&error, JsonError::DuplicateKey { key, .. } if key == "a"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_duplicate_key_is_reported_at_its_object() {
        let error = parse(b"{\n  \"x\": {\"k\": 1, \"k\": 2}\n}").unwrap_err();
        assert_eq!(error.to_string(), "the key `k` appears twice in one object (line 2, column 8)");
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert!(matches!(
            parse(nested(JSON_DEPTH_MAX + 1).as_bytes()),
            Err(JsonError::TooDeep { .. })
        ));
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        assert_eq!(parse(b"\"\xff\""), Err(JsonError::Utf8 { at: 1 }));
        for text in ["", "{", "{} {}", "\u{feff}{}", "\"\\ud800\"", "01", "[1,]"] {
            assert!(matches!(parse(text.as_bytes()), Err(JsonError::Syntax { .. })), "{text}");
        }
        let error = parse(b"{\n\"a\" 1}").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
