//! The texts that are served: each policy with a copy of every decision rule
//! appended, and one package that asks all copies at once.
//!
//! A copy of `deny contains HEAD if BODY` on line 7 is
//!
//! ```rego
//! _lictor_deny contains {"at": 3, "v": [_lictor_v | _lictor_v := ( HEAD )]} if BODY
//! ```
//!
//! where 3 is the rule's number. So the answer says which line fired, and a body
//! that holds while its head is undefined shows as an empty `v` instead of not at
//! all. Head and body are copied from the text, since the parsed head of an object
//! has no reliable span.

use std::fmt::Write as _;

use lictor_proto::call::Phase;
use regorus::unstable::{Expr, Rule, RuleHead};

use super::names::{Decision, RESERVED};
use super::place::Place;
use super::shape::wrong_form;
use super::source::{Policy, Token};
use super::walk::{Node, head_name, walk_rule};
use crate::diagnostic::Diagnostic;

/// One decision rule of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) unit: String,
    pub(crate) decision: Decision,
    /// `rego/<unit>/<file>.rego:<line>`
    pub(crate) policy: String,
    /// `<file>.<line>`, the id of a denial that is a plain string.
    pub(crate) id: String,
}

/// A policy as it is served.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Lines of the user's own text; what follows are copies.
    own_lines: u32,
    copies: Vec<Copied>,
}

/// Where copied lines stand.
#[derive(Debug, Clone, Copy)]
struct Copied {
    served: u32,
    original: u32,
    lines: u32,
}

impl Served {
    /// The user's own line of a line of the served text.
    pub(crate) fn original_line(&self, line: u32) -> u32 {
        if line <= self.own_lines {
            return line;
        }
        let copied = self.copies.iter().rfind(|copied| copied.served <= line);
        copied.map_or(line, |copied| copied.original + (line - copied.served).min(copied.lines))
    }
}

/// The served texts and the rules that they ask, by number.
pub(crate) struct Generated {
    pub(crate) served: Vec<Served>,
    pub(crate) sites: Vec<Site>,
    /// The package that asks them.
    pub(crate) aggregate: String,
}

impl Generated {
    /// A place of a served text as a place of the user's.
    pub(crate) fn original(&self, mut place: Place) -> Place {
        if let Some(served) = self.served.iter().find(|served| served.name == place.file) {
            place.line = served.original_line(place.line);
        }
        place
    }
}

/// The path of the rule that answers for a phase.
pub(crate) fn entry(phase: Phase) -> String {
    format!("data.{RESERVED}.{}", phase.as_str())
}

/// Writes what is served.
pub(crate) fn generate(policies: &[Policy], problems: &mut Vec<Diagnostic>) -> Generated {
    let mut served = Vec::new();
    let mut sites = Vec::new();
    for policy in policies.iter().filter(|policy| !policy.test) {
        let text = without_prints(policy, problems);
        let own_lines = line_count(&text);
        let mut writer = Writer { text, lines: own_lines, copies: Vec::new() };
        writer.text.push('\n');
        if let Some(unit) = &policy.unit {
            copy_rules(policy, unit, &mut writer, &mut sites, problems);
        }
        served.push(Served {
            name: policy.name.clone(),
            text: writer.text,
            own_lines,
            copies: writer.copies,
        });
    }
    let aggregate = aggregate(&sites);
    Generated { served, sites, aggregate }
}

fn line_count(text: &str) -> u32 {
    u32::try_from(text.matches('\n').count() + 1).unwrap_or(u32::MAX)
}

struct Writer {
    text: String,
    /// Lines that are complete.
    lines: u32,
    copies: Vec<Copied>,
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        self.lines += 1;
    }

    /// Copies a piece of the user's text so that its columns stay.
    fn copied(&mut self, piece: &str, token: &Token) {
        let lines = line_count(piece);
        self.copies.push(Copied {
            served: self.lines + 1,
            original: token.line,
            lines: lines.saturating_sub(1),
        });
        for _ in 1..token.col {
            self.text.push(' ');
        }
        self.text.push_str(piece);
        self.text.push('\n');
        self.lines += lines;
    }
}

fn copy_rules(
    policy: &Policy,
    unit: &str,
    writer: &mut Writer,
    sites: &mut Vec<Site>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut starts: Vec<usize> =
        policy.module.policy.iter().map(|rule| rule.span().start as usize).collect();
    starts.push(policy.text.len());
    for (rule, end) in policy.module.policy.iter().zip(starts.iter().skip(1)) {
        let Some((name, true)) = head_name(rule) else { continue };
        let Some(decision) = Decision::from_name(name) else { continue };
        if wrong_form(rule, decision, true).is_some() {
            continue;
        }
        let number = sites.len();
        if copy_rule(policy, rule, *end, (decision, number), writer).is_none() {
            problems.push(policy.error(
                "rego_form",
                rule.span(),
                format!("`{name}` cannot be read"),
            ));
            continue;
        }
        let line = rule.span().line;
        sites.push(Site {
            unit: unit.to_owned(),
            decision,
            policy: format!("{}:{line}", policy.name),
            id: format!("{}.{line}", id_of(&policy.name)),
        });
    }
}

/// The base name of a file as an id.
fn id_of(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    let base = base.strip_suffix(".rego").unwrap_or(base);
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    base.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

fn copy_rule(
    policy: &Policy,
    rule: &Rule,
    end: usize,
    (decision, number): (Decision, usize),
    writer: &mut Writer,
) -> Option<()> {
    let start = rule.span().start as usize;
    let tokens: Vec<&Token> =
        policy.tokens.iter().filter(|t| t.start >= start && t.end <= end).collect();
    let condition = condition_at(policy, &tokens);
    let body = condition
        .map(|at| tokens.get(at + 1).copied())
        .map_or(Some(None), |body| body.map(Some))?;
    let is_set = matches!(rule, Rule::Spec { head: RuleHead::Set { .. }, .. });
    if !is_set && body.is_none() {
        return None;
    }
    let open = format!("{RESERVED}_{} contains {{\"at\": {number}, \"v\": ", decision.name());
    if is_set {
        // `deny`, `contains`, and then the head up to its condition or the end.
        let head = tokens.get(2)?;
        let last = tokens.get(condition.unwrap_or(tokens.len()).checked_sub(1)?)?;
        writer.line(&format!("{open}[{RESERVED}_v | {RESERVED}_v := ("));
        writer.copied(text_of(writer, head.start, last.end)?.as_str(), head);
        writer.line(if body.is_some() { ")]} if" } else { ")]}" });
    } else {
        writer.line(&format!("{open}[true]}} if"));
    }
    if let Some(body) = body {
        writer.copied(text_of(writer, body.start, tokens.last()?.end)?.as_str(), body);
    }
    Some(())
}

/// A piece of the text without prints, which has the user's offsets.
fn text_of(writer: &Writer, start: usize, end: usize) -> Option<String> {
    writer.text.get(start..end).map(str::to_owned)
}

/// The index of the rule's own `if`, which is not in brackets and no member.
fn condition_at(policy: &Policy, tokens: &[&Token]) -> Option<usize> {
    let mut depth = 0usize;
    let mut member = false;
    for (index, token) in tokens.iter().enumerate() {
        let text = policy.token_text(token);
        match text {
            "(" | "[" | "{" | "set(" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "if" if token.word && depth == 0 && !member => return Some(index),
            _ => {}
        }
        member = text == ".";
    }
    None
}

/// The text with every `print(...)` turned into `true`, at unchanged offsets.
fn without_prints(policy: &Policy, problems: &mut Vec<Diagnostic>) -> String {
    let mut statements = Vec::new();
    let mut calls = Vec::new();
    for rule in &policy.module.policy {
        walk_rule(rule, &mut |node| match node {
            Node::CallStatement(Expr::Call { fcn, .. }) if is_print(fcn) => {
                statements.push(fcn.span().start as usize);
            }
            Node::Call { span, function, .. } if is_print(function) => {
                calls.push((function.span().start as usize, span.clone()));
            }
            _ => {}
        });
    }
    for (start, span) in &calls {
        if !statements.contains(start) {
            let problem = policy.error("rego_print", span, "`print` has no value");
            problems.push(problem.help("write it as a statement of its own"));
        }
    }
    let mut bytes = policy.text.clone().into_bytes();
    for start in statements {
        if let Some(end) = call_end(policy, start) {
            for (byte, new) in bytes
                .iter_mut()
                .skip(start)
                .take(end - start)
                .zip("true".bytes().chain(std::iter::repeat(b' ')))
            {
                if *byte != b'\n' {
                    *byte = new;
                }
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| policy.text.clone())
}

fn is_print(function: &Expr) -> bool {
    matches!(function, Expr::Var { span, .. } if span.text() == "print")
}

/// One past the bracket that closes the call whose name starts at `start`.
fn call_end(policy: &Policy, start: usize) -> Option<usize> {
    let mut depth = 0usize;
    for token in policy.tokens.iter().skip_while(|token| token.start < start).skip(1) {
        match policy.token_text(token) {
            "(" | "[" | "{" | "set(" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(token.end);
                }
            }
            _ => {}
        }
    }
    None
}

/// The package that asks every copy. Each member is a comprehension, so that
/// nothing in it can make the whole undefined.
fn aggregate(sites: &[Site]) -> String {
    let mut text = format!("package {RESERVED}\n");
    for phase in [Phase::Request, Phase::List, Phase::Response] {
        let mut asked: Vec<String> = sites
            .iter()
            .filter(|site| asks(phase, site, sites))
            .map(|site| format!("data.lictor.{}.{RESERVED}_{}", site.unit, site.decision.name()))
            .collect();
        asked.sort();
        asked.dedup();
        let _ = write!(text, "\n{} := [", phase.as_str());
        for path in asked {
            let _ = write!(text, "\n\t[x | some x in {path}],");
        }
        text.push_str("\n]\n");
    }
    text
}

/// Which rules a phase asks.
fn asks(phase: Phase, site: &Site, sites: &[Site]) -> bool {
    match phase {
        Phase::Request => site.decision != Decision::List,
        Phase::Response => {
            matches!(site.decision, Decision::Deny | Decision::Obligations | Decision::Labels)
        }
        // Without a rule of its own a unit lists what it allows.
        Phase::List => match site.decision {
            Decision::List => true,
            Decision::Allow => !sites
                .iter()
                .any(|other| other.unit == site.unit && other.decision == Decision::List),
            _ => false,
        },
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
