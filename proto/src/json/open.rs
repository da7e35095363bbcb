//! [`Open`]: an open JSON object inside a closed message.

use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::node::Node;
use super::scan::{ScanError, scan};

/// An open object (arguments, claims, properties): the scanned tree and its
/// compact text, shared by every reader of the message.
#[derive(Debug, Clone)]
pub struct Open {
    node: Arc<Node>,
    text: Arc<str>,
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
        let text = node.compact().into();
        Self { node: Arc::new(node), text }
    }

    /// The tree.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The text without white space, members in the order received.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is an object without members.
    #[must_use]
    pub fn is_empty_object(&self) -> bool {
        self.node.is_object() && self.node.members().is_empty()
    }
}

impl Default for Open {
    fn default() -> Self {
        Self::from_node(Node::empty_object())
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Open {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.text.to_string())
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
