//! The tree that [`super::scan`] makes: every node knows its bytes.

use std::borrow::Cow;

/// A half-open range of bytes in the scanned text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A value together with where it stands in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The bytes of the value, quotes and brackets included.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as its text.
    Number(Number),
    /// A string, unescaped.
    String(Box<str>),
    /// An array.
    Array(Vec<Node>),
    /// An object, members in the order received; names are unique.
    Object(Vec<Member>),
}

/// One member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The name, unescaped.
    pub key: Box<str>,
    /// The bytes of the name, quotes included.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// A number that can be represented exactly, kept as the text received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(pub(super) Box<str>);

impl Number {
    /// The text as received.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value if the text is an integer within `i64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The value if the text is an integer within `u64`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The nearest double. The scanner has refused what does not fit.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    /// Whether the text has neither fraction nor exponent.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        !self.0.contains(['.', 'e', 'E'])
    }
}

impl Node {
    /// An empty object that stands nowhere.
    #[must_use]
    pub fn empty_object() -> Self {
        Self { span: Span::default(), value: Value::Object(Vec::new()) }
    }

    /// The member `key` of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|m| &*m.key == key).map(|m| &m.value)
    }

    /// The members of an object, or nothing.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The elements of an array, or nothing.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The value of an integer within `u64`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.value {
            Value::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The node at a JSON pointer (RFC 6901); `""` is the node itself.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Node> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut node = self;
        for token in pointer.strip_prefix('/')?.split('/') {
            let token = unescape_token(token);
            node = match &node.value {
                Value::Object(_) => node.get(&token)?,
                Value::Array(items) => items.get(token.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(node)
    }

    /// Calls `visit` with the pointer and text of every string value below.
    pub fn each_string<'a>(&'a self, visit: &mut dyn FnMut(&str, &'a Node, &'a str)) {
        let mut pointer = String::new();
        self.walk_strings(&mut pointer, visit);
    }

    fn walk_strings<'a>(&'a self, at: &mut String, visit: &mut dyn FnMut(&str, &'a Node, &'a str)) {
        let length = at.len();
        match &self.value {
            Value::String(text) => visit(at, self, text),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push('/');
                    at.push_str(&index.to_string());
                    item.walk_strings(at, visit);
                    at.truncate(length);
                }
            }
            Value::Object(members) => {
                for member in members {
                    at.push('/');
                    at.push_str(&escape_token(&member.key));
                    member.value.walk_strings(at, visit);
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// The first member name that equals one of `known` only under case folding.
    /// Such a name could be read as the known one by a laxer reader downstream.
    #[must_use]
    pub fn case_variant_of(&self, known: &[&str]) -> Option<&str> {
        self.members()
            .iter()
            .map(|m| &*m.key)
            .find(|key| known.iter().any(|name| *name != *key && fold_alike(name, key)))
    }
}

fn fold_alike(a: &str, b: &str) -> bool {
    // Nearly every name is ASCII, which needs no text of its own to be compared.
    match a.is_ascii() && b.is_ascii() {
        true => a.eq_ignore_ascii_case(b),
        false => folded(a) == folded(b),
    }
}

/// Both ways in turn, since some letters (`ſ`) fold only in one of them.
fn folded(text: &str) -> String {
    text.to_uppercase().to_lowercase()
}

/// A member name as a token of a JSON pointer.
#[must_use]
pub fn escape_token(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) {
        Cow::Owned(key.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(key)
    }
}

fn unescape_token(token: &str) -> Cow<'_, str> {
    if token.contains('~') {
        Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(token)
    }
}

#[cfg(test)]
mod tests {
    use super::{fold_alike, folded};

    #[test]
    fn names_are_compared_as_their_folded_texts() {
        let ascii = (0u8..128).map(|byte| char::from(byte).to_string());
        let others = ["ſ", "K", "İ", "ı", "ß", "SS", "ä", "Ä", "ﬁ", "fi", "Σ", "ς", ""];
        let texts: Vec<String> = ascii.chain(others.map(str::to_owned)).collect();
        for a in &texts {
            for b in &texts {
                assert_eq!(fold_alike(a, b), folded(a) == folded(b), "{a:?} {b:?}");
                let (a, b) = (format!("x{a}"), format!("X{b}"));
                assert_eq!(fold_alike(&a, &b), folded(&a) == folded(&b), "{a:?} {b:?}");
            }
        }
    }
}
