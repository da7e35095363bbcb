//! Tree to text.

use super::node::{Member, Node, Value};

/// Room for the text of usual arguments.
const TEXT_BYTES_LIKELY: usize = 256;

impl Node {
    /// Text without white space, members in the order received.
    #[must_use]
    pub fn compact(&self) -> String {
        let mut out = String::with_capacity(TEXT_BYTES_LIKELY);
        write(&mut out, self, false);
        out
    }

    /// The canonical form for digests: members sorted by the UTF-8 bytes of their
    /// names, no white space, number text as received. Not RFC 8785, which would
    /// make neighbouring 64-bit integers equal.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(TEXT_BYTES_LIKELY);
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
    if !sorted || members.is_sorted_by(|a, b| a.key.as_bytes() <= b.key.as_bytes()) {
        write_members(out, members.iter(), sorted);
        return;
    }
    let mut order: Vec<&Member> = members.iter().collect();
    order.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    write_members(out, order.into_iter(), sorted);
}

fn write_members<'a>(out: &mut String, members: impl Iterator<Item = &'a Member>, sorted: bool) {
    out.push('{');
    for (index, member) in members.enumerate() {
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
    let mut rest = text;
    // Looked through at once: few texts have anything to escape.
    if rest.bytes().fold(false, |found, byte| found | is_escaped(byte)) {
        while let Some((plain, further)) =
            rest.bytes().position(is_escaped).and_then(|at| rest.split_at_checked(at))
        {
            out.push_str(plain);
            let mut further = further.chars();
            if let Some(character) = further.next() {
                escape(out, character);
            }
            rest = further.as_str();
        }
    }
    out.push_str(rest);
    out.push('"');
}

/// Whether a byte is never itself in a JSON string. All of these are characters of their own.
fn is_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        c => out.push_str(&format!("\\u{:04x}", c as u32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        quote(&mut out, text);
        out
    }

    #[test]
    fn texts_are_quoted_as_others_do() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        let mut texts = vec![all.clone(), String::new(), "é😀\u{7f}\u{2028}".into()];
        for c in all.chars() {
            texts.extend([c.to_string(), format!("a{c}"), format!("{c}b"), format!("a{c}{c}b\"")]);
        }
        for text in texts {
            assert_eq!(quoted(&text), serde_json::to_string(&text).unwrap(), "{text:?}");
        }
    }

    #[test]
    fn members_are_sorted_by_bytes_at_every_depth() {
        let text =
            r#"{"b":[{"z":1,"a":{"\u00e9":1,"e":2,"a":3}},{"a":1,"z":2}],"a":1.50,"B":null}"#;
        let node = scan(text.as_bytes()).unwrap();
        assert_eq!(node.compact(), text.replace("\\u00e9", "é"));
        assert_eq!(
            node.canonical(),
            r#"{"B":null,"a":1.50,"b":[{"a":{"a":3,"e":2,"é":1},"z":1},{"a":1,"z":2}]}"#
        );
    }
}
