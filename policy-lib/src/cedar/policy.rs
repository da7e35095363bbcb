//! The policies of a bundle: parsed, named and annotated.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{Effect, Expr, PolicyID, StaticPolicy, Template};
use cedar_policy_core::parser::parse_policyset;

use crate::diagnostic::{Diagnostic, Level};
use crate::engine::Scope;
use crate::work::Threads;

use super::annotations::{self, Notes};
use super::nesting;
use super::place::File;
use super::reads::{Reader, Reads, reads_member};
use super::scope::{Insists, RoleMarks, split};

/// What a policy does when its condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Permits.
    Permit,
    /// Forbids.
    Forbid,
    /// Wants a person to agree.
    Ask,
}

/// One policy, ready to be evaluated.
#[derive(Debug)]
pub(super) struct Policy {
    /// What its annotations say.
    pub(super) notes: Notes,
    /// `cedar/<unit>.cedar:<line>`.
    pub(super) place: String,
    /// What it does.
    pub(super) kind: Kind,
    /// What it asks beside what it insists on.
    pub(super) rest: Option<Expr>,
    /// Where its permits count; everywhere if absent.
    pub(super) scope: Option<Scope>,
    /// Whether the condition reads `context.args`.
    pub(super) reads_args: bool,
}

impl Policy {
    /// Whether the condition reads the argument at a JSON pointer.
    pub(super) fn reads_argument(&self, pointer: &str) -> bool {
        // What is insisted on reads no context.
        let Some(rest) = self.rest.as_ref().filter(|_| self.reads_args) else { return false };
        let mut reads = Reads::default();
        reads.add(rest, Reader::Live);
        let path = pointer.split('/').skip(1).map(unescape_token);
        path.fold(reads.cursor().member("args"), |cursor, step| cursor.member(&step)).is_read()
    }
}

fn unescape_token(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// A policy with what the load checks need.
#[derive(Debug)]
pub(super) struct Parsed {
    /// For evaluation.
    pub(super) policy: Policy,
    /// What it insists on.
    pub(super) insists: Insists,
    /// For validation, under its own `@id`.
    pub(super) checked: StaticPolicy,
    /// Scope and conditions as one expression, with the places of its parts.
    pub(super) condition: Expr,
    /// Index of its file.
    pub(super) file: usize,
    /// Where it starts in the file.
    pub(super) offset: usize,
}

/// Parses all files. Policies that are refused are missing from the result and
/// reported. What the policies insist on gets its `marks`.
pub(super) fn parse(
    files: &[File<'_>],
    scopes: &BTreeMap<String, Scope>,
    marks: &mut RoleMarks,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Parsed> {
    parse_on(Threads::new(1), files, scopes, marks, diagnostics)
}

/// The same, with the texts read by several threads.
pub(super) fn parse_on(
    threads: Threads,
    files: &[File<'_>],
    scopes: &BTreeMap<String, Scope>,
    marks: &mut RoleMarks,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Parsed> {
    let read = threads.map(files, |file| {
        let mut found = Vec::new();
        (templates(file, &mut found), found)
    });
    let mut parsed: Vec<Parsed> = Vec::new();
    for (index, (file, (templates, found))) in files.iter().zip(read).enumerate() {
        diagnostics.extend(found);
        let scope = scopes.get(unit_of(file.path));
        for template in templates {
            let Some(notes) = annotations::read(&template, file, diagnostics) else {
                continue;
            };
            let offset = template.loc().map_or(0, |loc| loc.start());
            let kind = match (template.effect(), &notes.ask) {
                (Effect::Permit, _) => Kind::Permit,
                (Effect::Forbid, None) => Kind::Forbid,
                (Effect::Forbid, Some(_)) => Kind::Ask,
            };
            // Cedar names policies `policy0`, `policy1`, … in every file anew.
            let id = PolicyID::from_string(&notes.id);
            let condition = template.condition();
            let Ok(checked) = StaticPolicy::try_from(template.new_id(id)) else {
                continue;
            };
            let place = file.place(offset);
            let reads_args = reads_member(&condition, "args");
            let scope = scope.cloned();
            let (insists, rest) = split(&checked, marks);
            let policy = Policy { notes, place, kind, rest, scope, reads_args };
            parsed.push(Parsed { policy, insists, checked, condition, file: index, offset });
        }
    }
    refuse_duplicate_ids(&parsed, files, diagnostics);
    parsed
}

/// `expense` of `cedar/expense.cedar`.
fn unit_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".cedar").unwrap_or(name)
}

/// The policies of one file in the order written; templates are refused.
fn templates(file: &File<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Template> {
    if let Some(problem) = nesting::refuse(file, "cedar_parse") {
        diagnostics.push(problem);
        return Vec::new();
    }
    let set = match parse_policyset(file.text) {
        Ok(set) => set,
        Err(errors) => {
            diagnostics
                .extend(errors.iter().map(|error| file.cedar("cedar_parse", Level::Error, error)));
            return Vec::new();
        }
    };
    let mut templates: Vec<Template> = Vec::new();
    for template in set.all_templates() {
        let start = template.loc().map_or(0, |loc| loc.start());
        match template.slots().next() {
            None => templates.push(template.clone()),
            Some(slot) => {
                let at = slot.loc.as_ref().map_or(start, |loc| loc.start());
                let message =
                    format!("the slot `{}` is never filled: a bundle links no templates", slot.id);
                let error = file.error("cedar_template", at, message);
                diagnostics.push(error.help("name the entity, or use `in` with a group"));
            }
        }
    }
    templates.sort_by_key(|template| template.loc().map_or(0, |loc| loc.start()));
    templates
}

fn refuse_duplicate_ids(parsed: &[Parsed], files: &[File<'_>], diagnostics: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, &Policy> = BTreeMap::new();
    for Parsed { policy, file, offset, .. } in parsed {
        let id = policy.notes.id.as_str();
        let Some(other) = first.get(id) else {
            first.insert(id, policy);
            continue;
        };
        if let Some(file) = files.get(*file) {
            let message = format!("`@id(\"{id}\")` is also that of the policy at {}", other.place);
            diagnostics.push(file.error("cedar_id_duplicate", *offset, message));
        }
    }
}
