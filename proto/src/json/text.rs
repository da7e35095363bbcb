//! Tree to text.

use super::node::{Member, Node, Value};

impl Node {
    /// Text without white space, members in the order received.
    #[must_use]
    pub fn compact(&self) -> String {
        let mut out = String::new();
        write(&mut out, self, false);
        out
    }

    /// The canonical form for digests: members sorted by the UTF-8 bytes of their
    /// names, no white space, number text as received. Not RFC 8785, which would
    /// make neighbouring 64-bit integers equal.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        write(&mut out, self, true);
        out
    }
}

fn write(out: &mut String, node: &Node, sorted: bool) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number.text()),
        Value::String(text) => quote(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item, sorted);
            }
            out.push(']');
        }
        Value::Object(members) => write_object(out, members, sorted),
    }
}

fn write_object(out: &mut String, members: &[Member], sorted: bool) {
    let mut order: Vec<&Member> = members.iter().collect();
    if sorted {
        order.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    }
    out.push('{');
    for (index, member) in order.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(out, &member.key);
        out.push(':');
        write(out, &member.value, sorted);
    }
    out.push('}');
}

/// Appends `text` as a JSON string with the fewest escapes.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}
