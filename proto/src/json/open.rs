//! [`Open`]: an open JSON object inside a closed message.

use std::sync::{Arc, LazyLock, OnceLock};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::node::Node;
use super::scan::{ScanError, scan};

/// An object without members, shared by everyone who has none.
static EMPTY: LazyLock<Open> = LazyLock::new(|| Open::from_node(Node::empty_object()));

/// An open object (arguments, claims, properties): the scanned tree and its texts, shared by every
/// reader of the message. A text is written when it is first asked for.
#[derive(Debug, Clone)]
pub struct Open(Arc<Scanned>);

#[derive(Debug)]
struct Scanned {
    node: Node,
    text: OnceLock<Box<str>>,
    canonical: OnceLock<Box<str>>,
}

impl Open {
    /// Scans `bytes`, which may hold any JSON value.
    ///
    /// # Errors
    /// As [`scan`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ScanError> {
        Ok(Self::from_node(scan(bytes)?))
    }

    /// Takes a tree that was scanned as part of a larger text.
    #[must_use]
    pub fn from_node(node: Node) -> Self {
        Self(Arc::new(Scanned { node, text: OnceLock::new(), canonical: OnceLock::new() }))
    }

    /// The tree.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// The text without white space, members in the order received.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| self.0.node.compact().into())
    }

    /// The text that digests are made of: see [`Node::canonical`].
    #[must_use]
    pub fn canonical(&self) -> &str {
        self.0.canonical.get_or_init(|| self.0.node.canonical().into())
    }

    /// Whether it is an object without members.
    #[must_use]
    pub fn is_empty_object(&self) -> bool {
        self.node().is_object() && self.node().members().is_empty()
    }
}

impl Default for Open {
    fn default() -> Self {
        EMPTY.clone()
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.text() == other.text()
    }
}

impl Serialize for Open {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.text().to_owned())
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Open {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get().as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_are_the_trees_whenever_they_are_asked_for() {
        let open = Open::parse(br#" { "b" : 1.50, "a" : [ null, "\u00e9\n" ] } "#).unwrap();
        let other = open.clone();
        assert_eq!(open.text(), open.node().compact());
        assert_eq!(open.canonical(), open.node().canonical());
        assert!(std::ptr::eq(open.text(), other.text()), "written once for all");
        assert_eq!(open, Open::parse(open.text().as_bytes()).unwrap());
        assert_ne!(open, Open::parse(open.canonical().as_bytes()).unwrap(), "the order counts");
    }

    #[test]
    fn nothing_is_an_empty_object() {
        assert!(Open::default().is_empty_object());
        assert_eq!((Open::default().text(), Open::default().canonical()), ("{}", "{}"));
        assert_eq!(Open::default(), Open::parse(b" { } ").unwrap());
        assert!(!Open::parse(b"[]").unwrap().is_empty_object());
    }
}
