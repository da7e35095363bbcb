//! The layout of JSON: `data.json`, `.manifest` and Cedar's `entities.json`.
//!
//! Objects and arrays are on one line where they fit and are not nested deeply, otherwise one
//! member on each line. An object that its author began on a new line stays on several, so that
//! an entry of a map does not jump between two shapes when its text gets shorter. Members stay in
//! their order, numbers and strings as they are written: `1.50`, `9007199254740993` and `\u202e`
//! are what the author meant to show.

use lictor_proto::json::{Member, Node, ScanError, Value, scan};

/// Longest line that is filled, in characters.
const LINE_CHARS: usize = 100;
/// Spaces for each level.
const INDENT_SPACES: usize = 2;
/// Objects inside one another on one line, the outermost counted.
const INLINE_OBJECTS: usize = 2;

/// The text in its layout.
///
/// # Errors
/// What Lictor would not read as a bundle's data.
pub(super) fn layout(text: &str) -> Result<String, ScanError> {
    let node = scan(text.as_bytes())?;
    let mut page = Page { source: text, out: String::with_capacity(text.len() + text.len() / 4) };
    match &node.value {
        Value::Object(members) if !members.is_empty() => page.object(members, 0),
        Value::Array(items) if !items.is_empty() => page.array(items, 0),
        _ => page.value(&node, 0, 0),
    }
    page.out.push('\n');
    Ok(page.out)
}

/// What a text says: everything but its white space. Numbers and strings are those in the text.
///
/// # Errors
/// What Lictor would not read as a bundle's data.
pub(super) fn meaning(text: &str) -> Result<String, ScanError> {
    scan(text.as_bytes()).map(|node| node.compact())
}

struct Page<'a> {
    source: &'a str,
    out: String,
}

impl<'a> Page<'a> {
    fn at(&self, start: usize, end: usize) -> &'a str {
        self.source.get(start..end).unwrap_or_default()
    }

    fn scalar(&mut self, node: &Node) {
        self.out.push_str(self.at(node.span.start, node.span.end));
    }

    fn line(&mut self, level: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', level * INDENT_SPACES));
    }

    /// A value behind `before` characters of its line, with a comma or without.
    fn value(&mut self, node: &Node, level: usize, before: usize) {
        let room = LINE_CHARS.saturating_sub(before + 1);
        let mut inline = Inline { page: self, text: String::new(), room };
        if inline.write(node, INLINE_OBJECTS).is_some() {
            let text = inline.text;
            self.out.push_str(&text);
            return;
        }
        match &node.value {
            Value::Object(members) if !members.is_empty() => self.object(members, level),
            Value::Array(items) if !items.is_empty() => self.array(items, level),
            // Too long for a line, but there is nowhere to break it.
            Value::Object(_) => self.out.push_str("{}"),
            Value::Array(_) => self.out.push_str("[]"),
            _ => self.scalar(node),
        }
    }

    fn object(&mut self, members: &[Member], level: usize) {
        self.out.push('{');
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.line(level + 1);
            let key = self.at(member.key_span.start, member.key_span.end);
            self.out.push_str(key);
            self.out.push_str(": ");
            let before = (level + 1) * INDENT_SPACES + key.chars().count() + 2;
            self.value(&member.value, level + 1, before);
        }
        self.line(level);
        self.out.push('}');
    }

    fn array(&mut self, items: &[Node], level: usize) {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.line(level + 1);
            self.value(item, level + 1, (level + 1) * INDENT_SPACES);
        }
        self.line(level);
        self.out.push(']');
    }

    /// Whether the author put the first member on a line of its own.
    fn is_opened(&self, object: &Node, first: &Member) -> bool {
        self.at(object.span.start, first.key_span.start).contains('\n')
    }
}

/// An attempt to write a value on what is left of a line.
struct Inline<'a, 'page> {
    page: &'page Page<'a>,
    text: String,
    /// Characters that are left.
    room: usize,
}

impl Inline<'_, '_> {
    /// `None` once it does not fit. `objects` may still be inside one another.
    fn write(&mut self, node: &Node, objects: usize) -> Option<()> {
        match &node.value {
            Value::Object(members) => self.object(node, members, objects),
            Value::Array(items) => {
                self.push("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.push(", ")?;
                    }
                    self.write(item, objects)?;
                }
                self.push("]")
            }
            _ => self.push(self.page.at(node.span.start, node.span.end)),
        }
    }

    fn object(&mut self, node: &Node, members: &[Member], objects: usize) -> Option<()> {
        let Some(first) = members.first() else {
            return self.push("{}");
        };
        if objects == 0 || self.page.is_opened(node, first) {
            return None;
        }
        self.push("{ ")?;
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                self.push(", ")?;
            }
            self.push(self.page.at(member.key_span.start, member.key_span.end))?;
            self.push(": ")?;
            self.write(&member.value, objects - 1)?;
        }
        self.push(" }")
    }

    fn push(&mut self, text: &str) -> Option<()> {
        self.room = self.room.checked_sub(text.chars().count())?;
        self.text.push_str(text);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(text: &str) -> String {
        let out = layout(text).unwrap();
        assert_eq!(layout(&out).unwrap(), out, "again");
        assert_eq!(meaning(&out).unwrap(), meaning(text).unwrap());
        out
    }

    #[test]
    fn short_values_are_on_one_line_and_the_root_is_not() {
        assert_eq!(
            laid_out(r#"{"a":{"b":[1,{"c":{}}]}}"#),
            "{\n  \"a\": { \"b\": [1, { \"c\": {} }] }\n}\n"
        );
        assert_eq!(laid_out(" [1 , 2]"), "[\n  1,\n  2\n]\n");
        assert_eq!(laid_out("{ }"), "{ }\n".replace(' ', ""));
        assert_eq!(laid_out("\r\n1.50\r\n"), "1.50\n");
    }

    #[test]
    fn three_objects_inside_one_another_take_lines() {
        assert_eq!(
            laid_out(r#"{"a":{"b":{"c":{"d":1}}}}"#),
            "{\n  \"a\": {\n    \"b\": { \"c\": { \"d\": 1 } }\n  }\n}\n"
        );
    }

    #[test]
    fn what_the_author_opened_stays_open() {
        let open = "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n";
        assert_eq!(laid_out(open), open);
        assert_eq!(
            laid_out("{\"a\":[{\n\"b\":1}]}"),
            "{\n  \"a\": [\n    {\n      \"b\": 1\n    }\n  ]\n}\n"
        );
        assert_eq!(laid_out("{\"a\":{\"b\":\n1}}"), "{\n  \"a\": { \"b\": 1 }\n}\n");
    }

    #[test]
    fn numbers_and_strings_stay_as_they_are_written() {
        let text = r#"{"n": [1.50, 1e3, 9007199254740993, 18446744073709551615, -0.0], "s": "\u202e\/é", "\u0061": 1}"#;
        let out = laid_out(text);
        for part in
            ["1.50, 1e3, 9007199254740993, 18446744073709551615, -0.0", r"\u202e\/é", r"\u0061"]
        {
            assert!(out.contains(part), "{part} in {out}");
        }
    }

    #[test]
    fn a_line_is_filled_to_its_last_character() {
        // Two spaces, `"k": ["`, text, `"]`, and room for a comma.
        let text = |length: usize| format!("{{\"k\": [\"{}\"]}}", "é".repeat(length));
        let fits = LINE_CHARS - 1 - 2 - 7 - 2;
        assert_eq!(laid_out(&text(fits)).lines().count(), 3);
        assert_eq!(laid_out(&text(fits + 1)).lines().count(), 5);
    }

    #[test]
    fn what_cannot_be_read_for_certain_is_refused() {
        for text in
            ["", "{\"a\":1,\"a\":2}", "{\"a\":123456789012345678901}", "{} {}", "{\"a\":1,}"]
        {
            assert!(layout(text).is_err(), "{text}");
        }
    }
}
