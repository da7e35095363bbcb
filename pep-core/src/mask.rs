//! Carrying out `mask` obligations: over findings in texts, and at pointers in arguments.
//!
//! Properties: `{"categories": [..], "detectors": ["secret/*"], "replacement": "[masked]"}`
//! (neither list: every finding), or `{"pointers": ["/amount"]}`. Anything that does not fit —
//! a span past its text, one that cuts a character, an unknown property — is an error, and the
//! caller must not release the text.

use std::collections::BTreeMap;

use lictor_proto::decision::{Decision, Finding, Obligation, ObligationKind};
use lictor_proto::json::{Node, Value};

use crate::edit::Edits;

/// What stands in the place of a masked text unless the obligation says otherwise.
pub const DEFAULT_REPLACEMENT: &str = "[masked]";
/// Longest replacement, bytes.
pub const MAX_REPLACEMENT_BYTES: usize = 256;

const PROPERTIES: [&str; 4] = ["categories", "detectors", "pointers", "replacement"];

/// Why a mask cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// The properties are not understood.
    #[error("the mask `{id}` has a property that is not understood: `{property}`")]
    Property {
        /// The obligation.
        id: String,
        /// Which property.
        property: String,
    },
    /// A finding lies outside of its text or cuts a character.
    #[error("a finding of `{0}` does not fit its text")]
    Span(String),
    /// A finding names a text that was not sent.
    #[error("a finding names text {0}, which was not sent")]
    Content(u32),
    /// A pointer leads nowhere.
    #[error("the pointer `{0}` leads to no value")]
    Pointer(String),
}

/// One span of a text and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskSpan {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What stands there instead.
    pub replacement: String,
}

struct Mask {
    categories: Vec<String>,
    detectors: Vec<String>,
    pointers: Vec<String>,
    replacement: String,
}

/// Whether the decision masks anything.
#[must_use]
pub fn wanted(decision: &Decision) -> bool {
    decision.obligations.iter().any(|obligation| obligation.kind == ObligationKind::Mask)
}

/// The spans to mask, by index of the call's content, merged where they touch and sorted.
/// `texts` are the content's texts in the order they were sent.
///
/// # Errors
/// [`MaskError`]; nothing may be released then.
pub fn spans(
    decision: &Decision,
    texts: &[&str],
) -> Result<BTreeMap<usize, Vec<MaskSpan>>, MaskError> {
    let mut found: BTreeMap<usize, Vec<MaskSpan>> = BTreeMap::new();
    for mask in masks(decision)? {
        if !mask.looks_at_findings() {
            continue;
        }
        for finding in decision.findings.iter().filter(|finding| mask.selects(finding)) {
            let (index, span) = placed(finding, texts, &mask.replacement)?;
            found.entry(index).or_default().push(span);
        }
    }
    for spans in found.values_mut() {
        *spans = merged(std::mem::take(spans));
    }
    Ok(found)
}

/// `text` with `spans`, which must be sorted and apart as [`spans`] returns them, replaced.
///
/// # Errors
/// [`MaskError::Span`] where a span does not fit.
pub fn apply(text: &str, spans: &[MaskSpan]) -> Result<String, MaskError> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        let misfit = || MaskError::Span(span.replacement.clone());
        out.push_str(text.get(at..span.start).ok_or_else(misfit)?);
        text.get(span.start..span.end).ok_or_else(misfit)?;
        out.push_str(&span.replacement);
        at = span.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Ok(out)
}

/// The pointers to mask, relative to the arguments (or to the result, in phase `response`), with
/// what stands there instead.
///
/// # Errors
/// [`MaskError::Property`].
pub fn pointers(decision: &Decision) -> Result<Vec<(String, String)>, MaskError> {
    let masks = masks(decision)?;
    Ok(masks
        .into_iter()
        .flat_map(|mask| {
            let with = mask.replacement;
            mask.pointers.into_iter().map(move |pointer| (pointer, with.clone()))
        })
        .collect())
}

/// Makes every mask of the decision an edit of a JSON text. `texts` are the content parts that
/// were sent: the node of the string each came from, in the order sent. `root` is what pointers
/// are relative to.
///
/// # Errors
/// [`MaskError`]; nothing may be forwarded or released then.
pub fn edits(decision: &Decision, texts: &[&Node], root: &Node) -> Result<Edits, MaskError> {
    let mut edits = Edits::new();
    let mut pointed = Vec::new();
    for (pointer, with) in pointers(decision)? {
        let node = root.pointer(&pointer).ok_or(MaskError::Pointer(pointer))?;
        if !pointed.contains(&node.span) {
            edits.replace_with_string(node, &with);
            pointed.push(node.span);
        }
    }
    let plain: Vec<&str> = texts.iter().map(|node| shown(node)).collect();
    for (index, spans) in spans(decision, &plain)? {
        let (Some(node), Some(text)) = (texts.get(index), plain.get(index)) else {
            return Err(MaskError::Content(u32::try_from(index).unwrap_or(u32::MAX)));
        };
        let covered = |span: &lictor_proto::json::Span| {
            span.start <= node.span.start && node.span.end <= span.end
        };
        if !pointed.iter().any(covered) {
            edits.replace_with_string(node, &apply(text, &spans)?);
        }
    }
    Ok(edits)
}

/// What of a node was sent for inspection. A part that is not the node's own text, such as a
/// member's name, is nothing here, so that a mask on it does not fit.
fn shown(node: &Node) -> &str {
    match &node.value {
        Value::String(text) => text,
        Value::Number(number) => number.text(),
        _ => "",
    }
}

fn masks(decision: &Decision) -> Result<Vec<Mask>, MaskError> {
    let kind = |obligation: &&Obligation| obligation.kind == ObligationKind::Mask;
    decision.obligations.iter().filter(kind).map(Mask::read).collect()
}

impl Mask {
    fn read(obligation: &Obligation) -> Result<Self, MaskError> {
        let node = obligation.properties.node();
        let wrong = |property: &str| MaskError::Property {
            id: obligation.id.clone(),
            property: property.to_owned(),
        };
        let unknown = node.members().iter().find(|member| !PROPERTIES.contains(&&*member.key));
        if let Some(member) = unknown {
            return Err(wrong(&member.key));
        }
        let list = |property: &str| -> Result<Vec<String>, MaskError> {
            let Some(list) = node.get(property) else {
                return Ok(Vec::new());
            };
            if !matches!(list.value, Value::Array(_)) {
                return Err(wrong(property));
            }
            let texts = list.items().iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| wrong(property))
        };
        let replacement = match node.get("replacement") {
            None => DEFAULT_REPLACEMENT.to_owned(),
            Some(node) => match node.as_str() {
                Some(text) if text.len() <= MAX_REPLACEMENT_BYTES => text.to_owned(),
                _ => return Err(wrong("replacement")),
            },
        };
        Ok(Self {
            categories: list("categories")?,
            detectors: list("detectors")?,
            pointers: list("pointers")?,
            replacement,
        })
    }

    fn looks_at_findings(&self) -> bool {
        self.pointers.is_empty() || !(self.categories.is_empty() && self.detectors.is_empty())
    }

    fn selects(&self, finding: &Finding) -> bool {
        (self.categories.is_empty() && self.detectors.is_empty())
            || self.categories.contains(&finding.category)
            || self.detectors.iter().any(|pattern| matches(pattern, &finding.detector))
    }
}

/// `secret/*` matches by prefix, anything else exactly.
fn matches(pattern: &str, detector: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => detector.starts_with(prefix),
        None => pattern == detector,
    }
}

fn placed(
    finding: &Finding,
    texts: &[&str],
    replacement: &str,
) -> Result<(usize, MaskSpan), MaskError> {
    let misfit = || MaskError::Span(finding.detector.clone());
    let index = usize::try_from(finding.content).map_err(|_| misfit())?;
    let text = texts.get(index).ok_or(MaskError::Content(finding.content))?;
    let start = usize::try_from(finding.start).map_err(|_| misfit())?;
    let end = usize::try_from(finding.end).map_err(|_| misfit())?;
    text.get(start..end).ok_or_else(misfit)?;
    Ok((index, MaskSpan { start, end, replacement: replacement.to_owned() }))
}

/// Spans that overlap or touch become one, with the replacement of the first.
fn merged(mut spans: Vec<MaskSpan>) -> Vec<MaskSpan> {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut out: Vec<MaskSpan> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => out.push(span),
        }
    }
    out
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
