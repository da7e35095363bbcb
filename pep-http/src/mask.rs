//! Masks on texts: which spans a decision masks, and what a fragment of a masked text shows.

use std::collections::BTreeMap;

use lictor_pep_core::edit::Edits;
use lictor_pep_core::mask::{self, MaskError, MaskSpan};
use lictor_proto::call::Content;
use lictor_proto::decision::Decision;
use lictor_proto::json::text::quote;
use lictor_proto::json::{Node, Span, scan};

/// Spans to mask by index of the content: not empty, sorted and apart from each other.
pub(crate) type Spans = BTreeMap<usize, Vec<MaskSpan>>;

/// Why a mask cannot be carried out; the text must not pass then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unmaskable {
    /// The obligation does not fit what was sent.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The part is not a string of the body, as the name of a member or an inline file.
    #[error("a mask is on a part that cannot be rewritten: `{0}`")]
    Part(String),
    /// Tool arguments were JSON and would not be any more.
    #[error("a mask would break the JSON text at `{0}`")]
    Json(String),
    /// Two masks are on the same bytes.
    #[error("masks overlap")]
    Overlap,
}

/// The spans that `decision` masks in `content`. A finding without length masks nothing: it says that a part
/// could not be read. A pointer of an obligation masks the whole text that stands there.
///
/// # Errors
/// [`Unmaskable`] for obligations that do not fit.
pub(crate) fn spans(decision: &Decision, content: &[Content]) -> Result<Spans, Unmaskable> {
    let texts: Vec<&str> = content.iter().map(|part| part.text.as_str()).collect();
    let mut found = mask::spans(decision, &texts)?;
    for spans in found.values_mut() {
        spans.retain(|span| span.start < span.end);
    }
    found.retain(|_, spans| !spans.is_empty());
    for (pointer, replacement) in mask::pointers(decision)? {
        let fits = |part: &Content| part.pointer == pointer && !part.text.is_empty();
        let index = content.iter().position(fits);
        let index = index.ok_or(MaskError::Pointer(pointer))?;
        let end = content.get(index).map_or(0, |part| part.text.len());
        found.insert(index, vec![MaskSpan { start: 0, end, replacement }]);
    }
    Ok(found)
}

/// The edits of the body `root`, from which `content` was taken, that carry out `spans`.
///
/// # Errors
/// [`Unmaskable`] if a span is on anything but the string that the part was taken from.
pub(crate) fn edit(
    edits: &mut Edits,
    root: &Node,
    content: &[Content],
    spans: &Spans,
) -> Result<(), Unmaskable> {
    for (index, spans) in spans {
        let part = content.get(*index).ok_or(Unmaskable::Part(String::new()))?;
        let node = root.pointer(&part.pointer);
        let node = node.filter(|node| node.as_str() == Some(&part.text));
        let node = node.ok_or_else(|| Unmaskable::Part(part.pointer.clone()))?;
        edits.replace_with_string(node, &whole(&part.pointer, &part.text, spans)?);
    }
    Ok(())
}

/// Replaces the value at `span` by `text` as a JSON string.
pub(crate) fn replace_with_string(edits: &mut Edits, span: Span, text: &str) {
    let mut quoted = String::with_capacity(text.len() + 2);
    quote(&mut quoted, text);
    edits.replace_span(span, quoted);
}

/// The whole of `text`, masked. What was a JSON text stays one: arguments keep their shape.
///
/// # Errors
/// [`Unmaskable`].
pub(crate) fn whole(pointer: &str, text: &str, spans: &[MaskSpan]) -> Result<String, Unmaskable> {
    let masked = mask::apply(text, spans)?;
    let opens = text.trim_start().starts_with(['{', '[']);
    if opens && scan(text.as_bytes()).is_ok() && scan(masked.as_bytes()).is_err() {
        return Err(Unmaskable::Json(pointer.to_owned()));
    }
    Ok(masked)
}

/// What of the masked text the fragment `from..to` of `text` shows. A replacement belongs to the fragment in which
/// its span begins, so the fragments of a text together show each replacement once and no byte of what it
/// replaces.
pub(crate) fn fragment(text: &str, spans: &[MaskSpan], from: usize, to: usize) -> String {
    let mut out = String::new();
    let mut done = from;
    for span in spans.iter().filter(|span| span.end > from && span.start < to) {
        out.push_str(text.get(done..span.start).unwrap_or_default());
        if span.start >= from {
            out.push_str(&span.replacement);
        }
        done = span.end;
    }
    out.push_str(text.get(done..to).unwrap_or_default());
    out
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
