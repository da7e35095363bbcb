//! What policies can reach, found at load: by the engines, or read off the texts. Every answer errs
//! on the safe side: a word in a comment costs a needless check, never a missing one.

use std::collections::BTreeMap;

use lictor_proto::call::Origin;
use lictor_proto::decide::ResponseCheck;

use crate::bundle::{Kind, kind};
use crate::detect::Config as Guardrails;
use crate::engine::Engine;

/// Where the texts of answers come from, as enforcement points give them.
const ANSWERS: [Origin; 3] = [Origin::Assistant, Origin::ToolResult, Origin::ToolArgs];

/// A second decision can only come to something if a detector reads answers, or if a policy could
/// say something about them that it did not say about the request.
pub(super) fn response_check(
    engines: &[Box<dyn Engine>],
    guardrails: &Guardrails,
) -> ResponseCheck {
    let reads = |origins: &[Origin]| {
        origins.is_empty() || origins.iter().any(|origin| ANSWERS.contains(origin))
    };
    let detectors = guardrails.detectors.iter().map(|detector| &detector.origins);
    let regexes = guardrails.regexes.iter().map(|regex| &regex.origins);
    let detects = detectors.chain(regexes).any(|origins| reads(origins));
    if detects || engines.iter().any(|engine| engine.speaks_of_answers()) {
        ResponseCheck::Whole
    } else {
        ResponseCheck::None
    }
}

/// Texts of the policies that decide.
fn policies(texts: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let deciding = texts.iter().filter(|(name, _)| {
        matches!(kind(name), Some(Kind::Rego { .. } | Kind::Cedar { .. }))
            && !name.ends_with("_test.rego")
    });
    deciding.map(|(_, text)| text.as_str())
}

/// Whether a policy can reach session facts: by name, or by taking all facts, the
/// whole input or the whole context at once.
pub(super) fn reads_session(texts: &BTreeMap<String, String>) -> bool {
    let wholes = ["facts", "input", "context"];
    policies(texts)
        .any(|text| text.contains("session") || wholes.iter().any(|name| takes_whole(text, name)))
}

/// Whether a policy can reach signals by name; whoever takes all facts reads the session as well.
pub(super) fn reads_signals(texts: &BTreeMap<String, String>) -> bool {
    policies(texts).any(|text| text.contains("signals"))
}

/// Whether a policy can ask a person, or mark the session: both must be there for later calls.
pub(super) fn marks_session(texts: &BTreeMap<String, String>) -> bool {
    policies(texts).any(|text| text.contains("label") || has_word(text, "ask"))
}

/// Whether `word` stands in `text`, other than as a part of another.
fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.get(word.len()..).unwrap_or_default();
        !before.ends_with(joins) && !after.starts_with(joins)
    })
}

/// Whether `name` is used other than to reach one of its members.
fn takes_whole(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let rest = text.get(at + name.len()..).unwrap_or_default();
        !rest.starts_with('.')
    })
}
