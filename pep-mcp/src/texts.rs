//! The texts of a JSON tree that detectors look at, each with the node it came from, so that a
//! mask can find its way back.

use lictor_proto::call::{Content, Origin};
use lictor_proto::json::node::escape_token;
use lictor_proto::json::{Member, Node, Value};

/// Media type of a text that names no other.
const PLAIN: &str = "text/plain";

/// Longest member name that is not shown as a text of its own, bytes.
const MAX_NAME_BYTES: usize = 64;
/// Names with a digit are shown from this length on, bytes: keys and numbers of cards look so.
const MIN_KEY_BYTES: usize = 12;
/// How long a number is that is shown like a text, bytes: those of cards.
const SHOWN_NUMBER_BYTES: std::ops::RangeInclusive<usize> = 12..=19;

/// Texts in the order they are sent for inspection.
#[derive(Debug, Default)]
pub(crate) struct Texts<'a> {
    pub(crate) nodes: Vec<&'a Node>,
    pub(crate) content: Vec<Content>,
}

impl<'a> Texts<'a> {
    /// Adds every string below `node`, with pointers that begin with `prefix`. Binary parts (MCP
    /// `data` or `blob` beside `mimeType`) carry their media type, so that what no detector reads
    /// is reported and not passed over.
    pub(crate) fn add(&mut self, node: &'a Node, prefix: &str, origin: Origin) {
        let mut pointer = prefix.to_owned();
        self.walk(node, &mut pointer, origin, PLAIN);
    }

    /// Adds the name and every string of `member`, which stands at `prefix`.
    pub(crate) fn add_member(&mut self, member: &'a Member, prefix: &str, origin: Origin) {
        self.name(&member.value, prefix, origin, &member.key);
        self.add(&member.value, &format!("{prefix}/{}", escape_token(&member.key)), origin);
    }

    /// A name that is no plain word is read like any other text. It belongs to `node`, whose own
    /// text it is not, so that a mask on it fails instead of changing something else.
    fn name(&mut self, node: &'a Node, at: &str, origin: Origin, name: &str) {
        let keyish = name.len() >= MIN_KEY_BYTES && name.bytes().any(|b| b.is_ascii_digit());
        if name.len() > MAX_NAME_BYTES || keyish || !name.bytes().all(|b| b.is_ascii_graphic()) {
            self.push(node, at, origin, PLAIN, name);
        }
    }

    fn push(&mut self, node: &'a Node, at: &str, origin: Origin, media: &str, text: &str) {
        self.nodes.push(node);
        self.content.push(Content {
            origin,
            pointer: at.to_owned(),
            media: media.to_owned(),
            text: text.to_owned(),
        });
    }

    fn walk(&mut self, node: &'a Node, at: &mut String, origin: Origin, media: &str) {
        let length = at.len();
        match &node.value {
            Value::String(text) => self.push(node, at, origin, media, text),
            Value::Number(number) => {
                let shown = SHOWN_NUMBER_BYTES.contains(&number.text().len());
                if shown && number.is_integer() {
                    self.push(node, at, origin, PLAIN, number.text());
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push('/');
                    at.push_str(&index.to_string());
                    self.walk(item, at, origin, PLAIN);
                    at.truncate(length);
                }
            }
            Value::Object(members) => {
                let binary = node.get("mimeType").and_then(Node::as_str);
                for member in members {
                    self.name(node, at, origin, &member.key);
                    at.push('/');
                    at.push_str(&escape_token(&member.key));
                    let media = match &*member.key {
                        "data" | "blob" => binary.unwrap_or(PLAIN),
                        _ => PLAIN,
                    };
                    self.walk(&member.value, at, origin, media);
                    at.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::scan;

    use super::*;

    #[test]
    fn every_string_has_its_pointer_and_its_node() {
        let text = br#"{"a/b":["x",{"~":"y"}],"n":1}"#;
        let node = scan(text).unwrap();
        let mut texts = Texts::default();
        texts.add(&node, "", Origin::ToolArgs);
        let seen: Vec<_> =
            texts.content.iter().map(|c| (c.pointer.as_str(), c.text.as_str())).collect();
        assert_eq!(seen, [("/a~1b/0", "x"), ("/a~1b/1/~0", "y")]);
        for (part, found) in texts.content.iter().zip(&texts.nodes) {
            assert_eq!(node.pointer(&part.pointer).unwrap(), *found);
        }
    }

    #[test]
    fn secrets_in_names_and_cards_in_numbers_are_seen() {
        let text = br#"{"AKIAIOSFODNN7EXAMPLE":1,"two words":2,"additionalProperties":3,
            "card":4111111111111111,"n":99999999999,"f":4111111111.111111}"#;
        let node = scan(text).unwrap();
        let mut texts = Texts::default();
        texts.add(&node, "", Origin::ToolArgs);
        let seen: Vec<_> =
            texts.content.iter().map(|c| (c.pointer.as_str(), c.text.as_str())).collect();
        let card = ("/card", "4111111111111111");
        assert_eq!(seen, [("", "AKIAIOSFODNN7EXAMPLE"), ("", "two words"), card]);
    }

    #[test]
    fn binary_parts_carry_their_media_type() {
        let text = br#"{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"},
            {"type":"text","text":"t"}],"data":"d"}"#;
        let node = scan(text).unwrap();
        let mut texts = Texts::default();
        texts.add(&node, "/result", Origin::ToolResult);
        let media = |pointer: &str| {
            texts.content.iter().find(|c| c.pointer == pointer).unwrap().media.clone()
        };
        assert_eq!(media("/result/content/0/data"), "image/png");
        assert_eq!(media("/result/content/1/text"), PLAIN);
        assert_eq!(media("/result/data"), PLAIN);
    }
}
