//! The tests in parsed policies, and the cases that they must have.

use std::time::Duration;

use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Rule, RuleHead};

use super::super::names::{RESERVED, data_path, is_test};
use super::super::source::{Policy, Token};
use super::super::trace::{children, expressions, variables};
use super::super::walk::{flatten, head_name, head_refr};
use super::report::{TestOutcome, TestResult};

/// One test.
#[derive(Debug)]
pub(super) struct Test {
    /// Number of its policy.
    pub(super) policy: usize,
    /// Number of its rule there.
    pub(super) rule: usize,
    pub(super) file: String,
    /// `data.<package>.test_x`.
    pub(super) path: String,
    pub(super) line: u32,
    pub(super) todo: bool,
    /// What stands in the brackets behind its name.
    pub(super) keys: Vec<String>,
    pub(super) cases: Option<Cases>,
}

/// The rule that lists the cases which a test must have.
#[derive(Debug)]
pub(super) struct Cases {
    pub(super) path: String,
    pub(super) text: String,
}

impl Test {
    /// The name of a case, whose keys are in brackets already.
    pub(super) fn case(&self, brackets: &str) -> String {
        format!("{}{brackets}", self.path)
    }

    pub(super) fn result(&self, brackets: &str, outcome: TestOutcome) -> TestResult {
        TestResult {
            name: self.case(brackets),
            file: self.file.clone(),
            line: self.line,
            outcome,
            failed_at: None,
            prints: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }
}

/// All tests, by file and line.
pub(super) fn tests_of(policies: &[Policy]) -> Vec<Test> {
    let mut tests = Vec::new();
    for (number, policy) in policies.iter().enumerate() {
        for (index, rule) in policy.module.policy.iter().enumerate() {
            let Some((name, _)) = head_name(rule).filter(|(name, _)| is_test(name)) else {
                continue;
            };
            let mut parts = policy.package.clone();
            parts.push(name.to_owned());
            let keys = keys_of(head_refr(rule));
            let keys: Vec<String> =
                keys.into_iter().filter_map(|key| text_of(policy, key)).collect();
            tests.push(Test {
                policy: number,
                rule: index,
                file: policy.name.clone(),
                path: data_path(&parts),
                line: rule.span().line,
                todo: name.starts_with("todo_"),
                cases: cases_of(policy, rule, &keys, tests.len()),
                keys,
            });
        }
    }
    tests.sort_by(|a, b| (&a.file, a.line, &a.path).cmp(&(&b.file, b.line, &b.path)));
    tests
}

/// What stands in the brackets of a head, in order.
fn keys_of(refr: &Expr) -> Vec<&Expr> {
    let Expr::RefBrack { index, .. } = refr else { return Vec::new() };
    match index.as_ref() {
        Expr::Array { items, .. } => items.iter().map(|item| item.as_ref()).collect(),
        key => vec![key],
    }
}

/// A name or a string as written.
fn text_of(policy: &Policy, expr: &Expr) -> Option<String> {
    let start = token_start(policy, expr.span().start as usize);
    let token = policy.tokens.iter().find(|token| token.start == start)?;
    Some(policy.token_text(token).to_owned())
}

/// A case that does not hold is simply absent from a test's answer. The statements
/// up to the one that gives the last key its value list the cases, to be missed.
fn cases_of(policy: &Policy, rule: &Rule, keys: &[String], number: usize) -> Option<Cases> {
    let Rule::Spec { head: RuleHead::Compr { .. }, bodies, .. } = rule else { return None };
    let query = &bodies.first()?.query;
    let mut open: Vec<&str> =
        keys.iter().map(String::as_str).filter(|key| !key.starts_with(['"', '`'])).collect();
    if open.is_empty() || bodies.len() > 1 {
        return None;
    }
    let limit = limit_of(policy, rule);
    let mut statements = String::new();
    for (index, stmt) in query.stmts.iter().enumerate() {
        let given = gives(stmt);
        let last = open.iter().all(|key| given.contains(key));
        match if last { generators(policy, stmt, &open) } else { None } {
            Some(texts) => statements.push_str(&texts),
            None => {
                let (start, end) = extent(policy, query, index, limit);
                statements.push_str(policy.text.get(start..end)?);
                statements.push('\n');
            }
        }
        open.retain(|key| !given.contains(key));
        if open.is_empty() {
            break;
        }
    }
    if !open.is_empty() {
        return None;
    }
    let name = format!("{RESERVED}_cases_{number}");
    let text = format!("{name} contains [{}] if {{\n{statements}}}\n", keys.join(", "));
    let mut parts = policy.package.clone();
    parts.push(name);
    Some(Cases { path: data_path(&parts), text })
}

/// The variables that have a value once a statement held.
fn gives(stmt: &LiteralStmt) -> Vec<&str> {
    match &stmt.literal {
        Literal::SomeIn { .. } | Literal::Expr { .. } => {
            variables(expressions(stmt)).into_iter().collect()
        }
        Literal::SomeVars { .. } | Literal::NotExpr { .. } | Literal::Every { .. } => Vec::new(),
    }
}

/// The references of a statement that give keys their values, such as `cases[name]` of
/// `cases[name].n > 5`: a case for which the rest does not hold is a case all the same.
/// Nothing where a key gets its value otherwise.
fn generators(policy: &Policy, stmt: &LiteralStmt, keys: &[&str]) -> Option<String> {
    let Literal::Expr { .. } = stmt.literal else { return None };
    let mut texts = String::new();
    for (number, key) in keys.iter().enumerate() {
        let text = reference(policy, expressions(stmt), key)?;
        texts.push_str(&format!("{RESERVED}_{number} := {text}\n"));
    }
    Some(texts)
}

/// The text of the reference that has `key` as an index, up to that.
pub(super) fn reference<'p>(policy: &'p Policy, exprs: Vec<&Expr>, key: &str) -> Option<&'p str> {
    let mut todo = exprs;
    while let Some(expr) = todo.pop() {
        if let Expr::RefBrack { index, .. } = expr
            && let Expr::Var { span, .. } = index.as_ref()
            && span.text() == key
        {
            let (root, _) = flatten(expr)?;
            let close = policy.tokens.iter().find(|token| token.start >= span.end as usize)?;
            return policy.text.get(token_start(policy, root.start as usize)..close.end);
        }
        todo.extend(children(expr));
    }
    None
}

/// Where the rule ends at most.
pub(super) fn limit_of(policy: &Policy, rule: &Rule) -> usize {
    let start = rule.span().start;
    let starts = policy.module.policy.iter().map(|rule| rule.span().start);
    starts.filter(|other| *other > start).min().map_or(policy.text.len(), |next| next as usize)
}

/// Where a statement begins and ends, in bytes: before the next one, or with its body.
pub(super) fn extent(policy: &Policy, query: &Query, index: usize, limit: usize) -> (usize, usize) {
    let begin = |stmt: &LiteralStmt| token_start(policy, stmt.span.start as usize);
    let start = query.stmts.get(index).map_or(limit, begin);
    let next = query.stmts.get(index + 1).map_or(limit, begin);
    let mut end = start;
    for (token, depth) in depths(policy, start, next) {
        if depth == 0 && matches!(policy.token_text(token), ")" | "]" | "}" | ";") {
            break;
        }
        end = token.end;
    }
    (start, end)
}

/// The tokens from `start` on that begin before `end`, each with how many brackets are
/// open: of a bracket, without it. One that closes more than was opened is at 0 too.
pub(super) fn depths(
    policy: &Policy,
    start: usize,
    end: usize,
) -> impl Iterator<Item = (&Token, usize)> {
    let mut open = 0usize;
    let tokens = policy.tokens.iter().skip_while(move |token| token.start < start);
    tokens.take_while(move |token| token.start < end).map(move |token| {
        let depth = match policy.token_text(token) {
            "(" | "[" | "{" | "set(" => {
                open += 1;
                // Whoever looks for the end of a body must not see it as one.
                open
            }
            ")" | "]" | "}" => {
                let closes_ours = open > 0;
                open = open.saturating_sub(1);
                usize::from(closes_ours).max(open)
            }
            _ => open,
        };
        (token, depth)
    })
}

/// Where the token begins that the engine says begins here: of a string it names the
/// first character behind the quote.
fn token_start(policy: &Policy, start: usize) -> usize {
    let index = policy.tokens.partition_point(|token| token.start <= start);
    let token = index.checked_sub(1).and_then(|index| policy.tokens.get(index));
    token.map_or(start, |token| token.start)
}
