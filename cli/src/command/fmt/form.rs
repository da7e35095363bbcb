//! One text to its layout, with the proof that nothing else changed: what the text says, as its
//! own reader understands it, and every comment in its order. A text for which the proof fails
//! stays as it is.

use lictor_policy_lib::cedar::meaning;
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_proto::json::ScanError;

use super::files::Kind;
use super::{cedar, cedarschema, json, tokens};

/// A layout that another round changes again is gone over at most this often.
const ROUNDS_MAX: usize = 4;

/// Why a text stays as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong and how to mend it.
    pub(super) message: String,
    /// From 1; 0 if there is no place.
    pub(super) line: u32,
    /// From 1; 0 if there is no place.
    pub(super) col: u32,
}

impl Refusal {
    fn whole(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: 0, col: 0 }
    }
}

/// The text in the layout of its kind. Formatting the result again changes nothing.
///
/// # Errors
/// A text that cannot be read as its kind, or whose layout would say something else.
pub(super) fn formatted(kind: Kind, path: &str, text: &str) -> Result<String, Refusal> {
    let first = round(kind, path, text)?;
    let mut last = first;
    for _ in 1..ROUNDS_MAX {
        let next = round(kind, path, &last)?;
        if next == last {
            return Ok(last);
        }
        last = next;
    }
    Err(Refusal::whole("its layout does not come to rest: simplify the policy with most comments"))
}

/// One round, proved.
fn round(kind: Kind, path: &str, text: &str) -> Result<String, Refusal> {
    match kind {
        Kind::Json => {
            let unread = |error: ScanError| unread_json(text, &error);
            let out = json::layout(text).map_err(unread)?;
            let same =
                json::meaning(&out).map_err(unread)? == json::meaning(text).map_err(unread)?;
            if same { Ok(out) } else { Err(changed()) }
        }
        Kind::Cedar => {
            let before = meaning::of_policies(path, text).map_err(unread_cedar)?;
            let out = cedar::layout(text).map_err(Refusal::whole)?;
            let after = meaning::of_policies(path, &out).map_err(|_| changed())?;
            same_comments(text, &out)?;
            if after == before { Ok(out) } else { Err(changed()) }
        }
        Kind::Cedarschema => {
            let before = meaning::of_schema(path, text).map_err(unread_cedar)?;
            let out = cedarschema::layout(text);
            let after = meaning::of_schema(path, &out).map_err(|_| changed())?;
            same_comments(text, &out)?;
            if after == before { Ok(out) } else { Err(changed()) }
        }
    }
}

fn changed() -> Refusal {
    Refusal::whole("its layout would say something else, so it is left as it is: please report it")
}

fn unread_json(text: &str, error: &ScanError) -> Refusal {
    let before = text.get(..error.at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let col = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Refusal { message: error.kind.to_string(), line: number(line), col: number(col) }
}

fn unread_cedar(found: Vec<Diagnostic>) -> Refusal {
    match found.into_iter().next() {
        Some(Diagnostic { message, help, line, col, .. }) => {
            let message = if help.is_empty() { message } else { format!("{message} ({help})") };
            Refusal { message, line, col }
        }
        None => Refusal::whole("it cannot be read as Cedar"),
    }
}

/// The first comment that is not where it was among the others is named.
fn same_comments(before: &str, after: &str) -> Result<(), Refusal> {
    let (before, after) = (tokens::comments(before), tokens::comments(after));
    let mut kept = after.iter();
    for (comment, line) in &before {
        if kept.next().map(|(kept, _)| kept) != Some(comment) {
            let message = format!(
                "the comment `{comment}` would be lost or moved: put it on a line of its own before the policy or the clause"
            );
            let line = u32::try_from(*line).unwrap_or(u32::MAX);
            return Err(Refusal { message, line, col: 1 });
        }
    }
    if kept.next().is_some() { Err(changed()) } else { Ok(()) }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
