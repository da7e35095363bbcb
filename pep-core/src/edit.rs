//! Changing single values of a JSON text by their spans; every other byte stays as it came.

use lictor_proto::json::{Node, Span};

/// Why a text could not be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A span is not inside the text, or cuts a character.
    #[error("an edit lies outside of the text, at byte {0}")]
    Outside(usize),
    /// Two edits touch the same bytes.
    #[error("two edits overlap at byte {0}")]
    Overlap(usize),
}

/// Replacements of spans in one text.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    edits: Vec<(Span, String)>,
}

impl Edits {
    /// No edits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts `json`, which must be JSON text, in the place of `node`.
    pub fn replace(&mut self, node: &Node, json: impl Into<String>) {
        self.edits.push((node.span, json.into()));
    }

    /// Puts `text` as a JSON string in the place of `node`.
    pub fn replace_with_string(&mut self, node: &Node, text: &str) {
        let mut quoted = String::new();
        lictor_proto::json::text::quote(&mut quoted, text);
        self.replace(node, quoted);
    }

    /// Puts `json` in the place of a span of the text.
    pub fn replace_span(&mut self, span: Span, json: impl Into<String>) {
        self.edits.push((span, json.into()));
    }

    /// Takes the member `key` out of `object`, with its comma. Nothing happens where it is absent.
    pub fn remove_member(&mut self, object: &Node, key: &str) {
        let members = object.members();
        let Some(at) = members.iter().position(|member| &*member.key == key) else {
            return;
        };
        let Some(member) = members.get(at) else {
            return;
        };
        let previous = at.checked_sub(1).and_then(|before| members.get(before));
        let (start, end) = match (previous, members.get(at + 1)) {
            (_, Some(next)) => (member.key_span.start, next.key_span.start),
            (Some(previous), None) => (previous.value.span.end, member.value.span.end),
            (None, None) => (member.key_span.start, member.value.span.end),
        };
        self.replace_span(Span { start, end }, "");
    }

    /// The text with every edit made.
    ///
    /// # Errors
    /// [`EditError`] for spans outside of the text and for overlaps; nothing is changed then.
    pub fn apply(mut self, text: &[u8]) -> Result<Vec<u8>, EditError> {
        let text = std::str::from_utf8(text).map_err(|e| EditError::Outside(e.valid_up_to()))?;
        self.edits.sort_by_key(|(span, _)| span.start);
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for (span, with) in &self.edits {
            if span.start < at {
                return Err(EditError::Overlap(span.start));
            }
            let kept = text.get(at..span.start).ok_or(EditError::Outside(span.start))?;
            if text.get(span.start..span.end).is_none() {
                return Err(EditError::Outside(span.end));
            }
            out.extend_from_slice(kept.as_bytes());
            out.extend_from_slice(with.as_bytes());
            at = span.end;
        }
        let rest = text.get(at..).ok_or(EditError::Outside(at))?;
        out.extend_from_slice(rest.as_bytes());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::scan;

    use super::*;

    #[test]
    fn only_the_touched_value_changes() {
        let text = br#"{ "a" : "x\u0041" , "b":[1, 2.50] }"#;
        let node = scan(text).unwrap();
        let mut edits = Edits::new();
        edits.replace(node.pointer("/b/1").unwrap(), "null");
        edits.replace_with_string(node.pointer("/a").unwrap(), "q\"");
        let out = edits.apply(text).unwrap();
        assert_eq!(out, br#"{ "a" : "q\"" , "b":[1, null] }"#);
    }

    #[test]
    fn a_member_goes_with_its_comma() {
        let cases = [
            (r#"{"k" : 1 , "b":2}"#, r#"{"b":2}"#),
            (r#"{"a":1, "k":2, "b":3}"#, r#"{"a":1, "b":3}"#),
            (r#"{"a":1, "k":2 }"#, r#"{"a":1 }"#),
            (r#"{ "k":{"k":1} }"#, r#"{  }"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ];
        for (before, after) in cases {
            let node = scan(before.as_bytes()).unwrap();
            let mut edits = Edits::new();
            edits.remove_member(&node, "k");
            let out = edits.apply(before.as_bytes()).unwrap();
            assert_eq!(std::str::from_utf8(&out).unwrap(), after);
            assert!(scan(&out).is_ok());
        }
    }

    #[test]
    fn overlaps_and_outside_spans_change_nothing() {
        let text = b"[\"\xc3\xa4\"]";
        let outside = [(0, 99), (3, 4), (5, 4)];
        for (start, end) in outside {
            let mut edits = Edits::new();
            edits.replace_span(Span { start, end }, "1");
            assert!(edits.apply(text).is_err(), "{start}..{end}");
        }
        let mut edits = Edits::new();
        edits.replace_span(Span { start: 0, end: 6 }, "1");
        edits.replace_span(Span { start: 1, end: 5 }, "1");
        assert_eq!(edits.apply(text), Err(EditError::Overlap(1)));
    }
}
