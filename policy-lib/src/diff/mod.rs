//! How two bundles differ in meaning: what was allowed by the one and is not by the other, as far
//! as their texts say it. Layout, comments and the order of members say nothing.
//!
//! # Layout
//!
//! - this file: [`Change`] and the order of the comparison.
//! - `manifest`: name, version, times, where permits count.
//! - `rules`: policies of both engines, by id and by content.
//! - `data`: registry, limits, guardrails and everything else in `data.json`.

mod data;
mod manifest;
mod rules;

use serde::Serialize;

use crate::bundle::{Kind, VerifiedBundle, kind};

/// Longest value that a change shows, in characters.
const SHOWN_CHARS: usize = 200;
/// What of a long value is shown before the first difference, in characters.
const CONTEXT_CHARS: usize = 60;

/// What of a bundle a change is in, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// `.manifest`.
    Manifest,
    /// Rego rules.
    Rego,
    /// Cedar policies, schema and entities.
    Cedar,
    /// `data.registry`.
    Registry,
    /// `data.limits`.
    Limits,
    /// `data.guardrails`.
    Guardrails,
    /// Anything else in `data.json`.
    Data,
    /// Tests, cases and texts for people.
    Files,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Only the second bundle has it.
    Added,
    /// Only the first bundle has it.
    Removed,
    /// Both have it, with another meaning.
    Changed,
    /// Both have it, with the same meaning in another layout.
    Layout,
}

/// What follows for decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// More may be allowed.
    Widens,
    /// Less may be allowed.
    Narrows,
    /// Either, or both: the calls decide.
    Unclear,
    /// Decisions stay the same.
    Nothing,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// In what.
    pub area: Area,
    /// What it is in: a rule with its id, a pointer, a file.
    pub subject: String,
    /// What happened to it.
    pub what: What,
    /// What follows.
    pub effect: Effect,
    /// What the first bundle says; empty if nothing.
    pub before: String,
    /// What the second bundle says; empty if nothing.
    pub after: String,
    /// Where: in the second bundle, or in the first if the second has it no more.
    pub place: String,
}

impl Change {
    fn new(area: Area, subject: impl Into<String>, what: What, effect: Effect) -> Self {
        let (before, after, place) = (String::new(), String::new(), String::new());
        Self { area, subject: subject.into(), what, effect, before, after, place }
    }

    /// Both values; of long ones the part where they begin to differ.
    fn values(mut self, before: &str, after: &str) -> Self {
        let from = match before.chars().count().max(after.chars().count()) > SHOWN_CHARS {
            true => common_chars(before, after).saturating_sub(CONTEXT_CHARS),
            false => 0,
        };
        (self.before, self.after) = (shortened(before, from), shortened(after, from));
        self
    }

    fn place(mut self, place: &str) -> Self {
        place.clone_into(&mut self.place);
        self
    }
}

fn common_chars(before: &str, after: &str) -> usize {
    before.chars().zip(after.chars()).take_while(|(a, b)| a == b).count()
}

fn shortened(text: &str, from: usize) -> String {
    let shown: String = text.chars().skip(from).take(SHOWN_CHARS).collect();
    let head = if from > 0 && !shown.is_empty() { "…" } else { "" };
    let tail = if text.chars().count() > from + SHOWN_CHARS { "…" } else { "" };
    format!("{head}{shown}{tail}")
}

/// Everything in which `after` differs from `before`, by area and subject.
#[must_use]
pub fn diff(before: &VerifiedBundle, after: &VerifiedBundle) -> Vec<Change> {
    let mut changes = Vec::new();
    manifest::compare(before.manifest(), after.manifest(), &mut changes);
    rules::compare(before.files(), after.files(), &mut changes);
    data::compare(before.files(), after.files(), &mut changes);
    files(before, after, &mut changes);
    changes.sort();
    changes
}

/// Files that decide nothing.
fn files(before: &VerifiedBundle, after: &VerifiedBundle, changes: &mut Vec<Change>) {
    let silent = |name: &str| match kind(name) {
        Some(Kind::Cases | Kind::Readme) => true,
        Some(Kind::Rego { .. }) => name.ends_with("_test.rego"),
        _ => false,
    };
    let mut add = |name: &str, what| {
        changes.push(Change::new(Area::Files, name, what, Effect::Nothing));
    };
    for (name, bytes) in before.files().iter().filter(|(name, _)| silent(name)) {
        match after.files().get(name) {
            None => add(name, What::Removed),
            Some(other) if other != bytes.as_ref() => add(name, What::Changed),
            Some(_) => {}
        }
    }
    let new = after.files().iter().filter(|(name, _)| silent(name));
    for (name, _) in new.filter(|(name, _)| before.files().get(name).is_none()) {
        add(name, What::Added);
    }
}

#[cfg(test)]
mod tests;
