//! What was seen, as items that are covered or missing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{PolicySeen, Seen};
use crate::cedar::clauses::{Clauses, Watched};
use crate::rego::trace::{Sort, Traced};

/// What is covered. The JSON of this is stable: members are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Items that are covered.
    pub covered: usize,
    /// All items.
    pub total: usize,
    /// Their share, 100 of nothing.
    pub percent: f64,
    /// By file, sorted.
    pub files: Vec<FileReport>,
}

/// What is covered of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// Name in the bundle.
    pub file: String,
    /// `rego` or `cedar`.
    pub engine: &'static str,
    /// Items that are covered.
    pub covered: usize,
    /// All items.
    pub total: usize,
    /// Their share, 100 of nothing.
    pub percent: f64,
    /// Bodies of Rego rules; Cedar policies.
    pub rules: Vec<RuleReport>,
    /// Of Cedar.
    pub clauses: Vec<ClauseReport>,
    /// Lines on which something is counted.
    pub lines: Vec<LineReport>,
    /// What is not covered, by line.
    pub missing: Vec<Missing>,
}

/// A body of a Rego rule, or a Cedar policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// The rule's name, or the policy's `@id`.
    pub name: String,
    /// Line, from 1.
    pub line: u32,
    /// Whether it ever held.
    pub held: bool,
    /// Whether it was ever evaluated.
    pub evaluated: bool,
    /// Whether it ever failed with an error; only of Cedar.
    pub failed: bool,
}

/// A clause of a Cedar policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClauseReport {
    /// The policy's `@id`.
    pub policy: String,
    /// Line, from 1.
    pub line: u32,
    /// As written.
    pub text: String,
    /// Whether it was ever true.
    pub seen_true: bool,
    /// Whether it was ever false.
    pub seen_false: bool,
}

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LineReport {
    /// From 1.
    pub line: u32,
    /// Items on it that are covered.
    pub covered: usize,
    /// All items on it.
    pub total: usize,
    /// Whether anything on it was evaluated.
    pub evaluated: bool,
}

/// An item that is not covered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// From 1.
    pub line: u32,
    /// What of it is missing.
    pub what: String,
}

pub(super) fn report(rego: &Traced, cedar: &Watched, seen: &Seen) -> Report {
    let mut files: BTreeMap<&str, Counted> = BTreeMap::new();
    for policy in rego.loaded.policies.iter().filter(|policy| !policy.test) {
        files.entry(&policy.name).or_insert_with(|| Counted::new("rego"));
    }
    count_rego(rego, seen, &mut files);
    let unseen = PolicySeen::default();
    for (number, policy) in cedar.policies.iter().enumerate() {
        let counted = files.entry(&policy.file).or_insert_with(|| Counted::new("cedar"));
        counted.policy(policy, seen.policies.get(number).unwrap_or(&unseen));
    }
    let files: Vec<FileReport> =
        files.into_iter().map(|(file, counted)| counted.finish(file)).collect();
    let covered = files.iter().map(|file| file.covered).sum();
    let total = files.iter().map(|file| file.total).sum();
    Report { covered, total, percent: percent(covered, total), files }
}

fn count_rego<'a>(rego: &'a Traced, seen: &Seen, files: &mut BTreeMap<&'a str, Counted>) {
    for (number, body) in rego.map.bodies.iter().enumerate() {
        let Some(policy) = rego.loaded.policies.get(body.policy) else { continue };
        let Some(counted) = files.get_mut(policy.name.as_str()) else { continue };
        let held = seen.held.contains(&number);
        let reached = |statement: &&usize| seen.reached.contains(*statement);
        for statement in &body.statements {
            let Some(found) = rego.map.statements.get(*statement) else { continue };
            let is_reached = reached(&statement);
            counted.item(found.lines.0, is_reached, is_reached, || {
                let text = policy.text.get(found.range.0..found.range.1).unwrap_or_default();
                format!("`{}` was never evaluated", short(text))
            });
        }
        if body.sort == Sort::Rule {
            let evaluated = held || body.statements.iter().any(|s| reached(&s));
            counted.item(body.line, held, evaluated, || format!("`{}` never held", body.name));
            counted.rules.push(RuleReport {
                name: body.name.clone(),
                line: body.line,
                held,
                evaluated,
                failed: false,
            });
        }
    }
}

/// The first line of a text, of no more than so many characters.
fn short(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && line.chars().count() <= SHOWN_CHARS {
        return line.to_owned();
    }
    let shown: String = line.chars().take(SHOWN_CHARS).collect();
    format!("{} …", shown.trim_end())
}

struct Counted {
    engine: &'static str,
    rules: Vec<RuleReport>,
    clauses: Vec<ClauseReport>,
    lines: BTreeMap<u32, LineReport>,
    missing: Vec<Missing>,
}

impl Counted {
    fn new(engine: &'static str) -> Self {
        let (rules, clauses, missing) = (Vec::new(), Vec::new(), Vec::new());
        Self { engine, rules, clauses, lines: BTreeMap::new(), missing }
    }

    fn item(&mut self, line: u32, covered: bool, evaluated: bool, what: impl FnOnce() -> String) {
        let nothing = LineReport { line, covered: 0, total: 0, evaluated: false };
        let on_line = self.lines.entry(line).or_insert(nothing);
        on_line.total += 1;
        on_line.covered += usize::from(covered);
        on_line.evaluated |= evaluated;
        if !covered {
            self.missing.push(Missing { line, what: what() });
        }
    }

    fn policy(&mut self, policy: &Clauses, seen: &PolicySeen) {
        let evaluated = seen.satisfied || seen.unsatisfied || seen.failed;
        let id = &policy.id;
        self.item(policy.line, seen.satisfied, evaluated, || {
            format!("the policy `{id}` was never satisfied")
        });
        self.rules.push(RuleReport {
            name: id.clone(),
            line: policy.line,
            held: seen.satisfied,
            evaluated,
            failed: seen.failed,
        });
        for (number, clause) in policy.clauses.iter().enumerate() {
            let (seen_true, seen_false) = seen.clauses.get(number).copied().unwrap_or_default();
            let evaluated = seen_true || seen_false;
            for (covered, word) in [(seen_true, "true"), (seen_false, "false")] {
                self.item(clause.line, covered, evaluated, || {
                    format!("`{}` was never {word} (`{id}`)", short(&clause.text))
                });
            }
            self.clauses.push(ClauseReport {
                policy: id.clone(),
                line: clause.line,
                text: clause.text.clone(),
                seen_true,
                seen_false,
            });
        }
    }

    fn finish(mut self, file: &str) -> FileReport {
        self.missing.sort();
        self.rules.sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
        let lines: Vec<LineReport> = self.lines.into_values().collect();
        let covered = lines.iter().map(|line| line.covered).sum();
        let total = lines.iter().map(|line| line.total).sum();
        FileReport {
            file: file.to_owned(),
            engine: self.engine,
            covered,
            total,
            percent: percent(covered, total),
            rules: self.rules,
            clauses: self.clauses,
            lines,
            missing: self.missing,
        }
    }
}

fn percent(covered: usize, total: usize) -> f64 {
    if total == 0 { 100.0 } else { covered as f64 * 100.0 / total as f64 }
}
