//! Policies with markers: a copy of each text in which every statement stands on
//! lines of its own and is followed by a call that notes that it held. Nothing that
//! the user wrote is changed, so that the copy means the same; and the lines that
//! the engine evaluates say which statements were reached.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Rule, RuleHead};

use super::super::source::Policy;
use super::super::walk::{Part, flatten, head_name};
use super::names::{bound, comprehension, comprehensions, expressions, needed, variables};

/// Notes that a body is begun.
pub(super) const ENTER: &str = "_lictor_enter";
/// Notes that a statement held, with its variables.
pub(super) const SAW: &str = "_lictor_saw";
/// Notes that a body held.
pub(super) const HELD: &str = "_lictor_held";

/// What sort of body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Of a rule, or of its `else`.
    Rule,
    /// Of a comprehension or an `every`.
    Inner,
}

/// A body: statements that must all hold.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// Which policy, by number.
    pub(crate) policy: usize,
    /// Which rule of it, by number.
    pub(crate) rule: usize,
    /// The rule's name.
    pub(crate) name: String,
    pub(crate) sort: Sort,
    /// The line of its rule, its `else`, or its first statement.
    pub(crate) line: u32,
    /// By number, as written; declarations left out.
    pub(crate) statements: Vec<usize>,
}

/// One statement of a body.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) body: usize,
    /// First and last line, from 1.
    pub(crate) lines: (u32, u32),
    /// Where it stands in the text, in bytes.
    pub(crate) range: (usize, usize),
    /// The variables that its marker notes.
    pub(crate) variables: Vec<String>,
}

/// Everything that is marked.
#[derive(Debug, Default)]
pub(crate) struct Map {
    pub(crate) bodies: Vec<Body>,
    pub(crate) statements: Vec<Statement>,
}

/// A text with markers.
pub(super) struct Marked {
    pub(super) text: String,
    /// The statement that each line is of, from line 1.
    pub(super) owners: Vec<Option<usize>>,
}

/// Marks every rule of the policies that are no tests, in order.
pub(super) fn mark(policies: &[Policy]) -> (Map, Vec<Option<Marked>>) {
    let mut map = Map::default();
    let globals = globals(policies);
    let marked = policies.iter().enumerate().map(|(number, policy)| {
        if policy.test {
            return None;
        }
        let package = globals.get(policy.package.as_slice());
        let mut globals = package.cloned().unwrap_or_default();
        globals.extend(imported(policy));
        let (globals, inserts) = (&globals, Vec::new());
        let mut marker = Marker { policy, number, globals, map: &mut map, inserts, rule: 0 };
        marker.rules();
        let mut inserts = marker.inserts;
        // Stable: what was put at one place stays in order.
        inserts.sort_by_key(|(at, _)| *at);
        Some(write(&policy.text, inserts))
    });
    let marked = marked.collect();
    (map, marked)
}

/// The names that the imports of a file bring in.
fn imported(policy: &Policy) -> impl Iterator<Item = String> {
    policy.module.imports.iter().filter_map(|import| match &import.r#as {
        Some(alias) => Some(alias.text().to_owned()),
        None => match flatten(&import.refr)?.1.last()? {
            Part::Name(name) => Some((*name).to_owned()),
            Part::Dynamic => None,
        },
    })
}

/// The names that mean rules, by package.
fn globals(policies: &[Policy]) -> BTreeMap<&[String], BTreeSet<String>> {
    let mut globals: BTreeMap<&[String], BTreeSet<String>> = BTreeMap::new();
    for policy in policies {
        let names = globals.entry(policy.package.as_slice()).or_default();
        names.extend(["input".to_owned(), "data".to_owned()]);
        let rules = policy.module.policy.iter();
        names.extend(rules.filter_map(|rule| Some(head_name(rule)?.0.to_owned())));
    }
    globals
}

enum Insert {
    Text(String),
    Open(usize),
    Close(String),
}

fn write(text: &str, inserts: Vec<(usize, Insert)>) -> Marked {
    let mut out =
        Out { text: String::with_capacity(text.len() * 3), owners: vec![None], open: Vec::new() };
    let mut from = 0;
    for (at, insert) in inserts {
        out.push(text.get(from..at).unwrap_or_default());
        from = at;
        match insert {
            Insert::Text(text) => out.push(&text),
            Insert::Open(number) => {
                out.open.push(number);
                out.push("\n");
            }
            Insert::Close(marker) => {
                out.open.pop();
                out.push(&marker);
            }
        }
    }
    out.push(text.get(from..).unwrap_or_default());
    Marked { text: out.text, owners: out.owners }
}

struct Out {
    text: String,
    owners: Vec<Option<usize>>,
    open: Vec<usize>,
}

impl Out {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        let owner = self.open.last().copied();
        self.owners.extend(text.matches('\n').map(|_| owner));
    }
}

struct Marker<'a, 'm> {
    policy: &'a Policy,
    number: usize,
    globals: &'m BTreeSet<String>,
    map: &'m mut Map,
    inserts: Vec<(usize, Insert)>,
    rule: usize,
}

impl<'a> Marker<'a, '_> {
    fn rules(&mut self) {
        let rules = &self.policy.module.policy;
        let ends = rules.iter().skip(1).map(|rule| rule.span().start as usize);
        let ends: Vec<usize> = ends.chain([self.policy.text.len()]).collect();
        for (number, (rule, end)) in rules.iter().zip(ends).enumerate() {
            self.rule = number;
            let Rule::Spec { head, bodies, .. } = rule.as_ref() else { continue };
            let (arguments, value) = (arguments(head), head_value(head));
            let (start, line) = (rule.span().start, rule.span().line);
            if bodies.is_empty() {
                self.fact((start, line), end, &arguments, value);
                continue;
            }
            for (index, body) in bodies.iter().enumerate() {
                let line = if index == 0 { line } else { body.span.line };
                let given = match &body.assign {
                    Some(assign) => vec![assign.value.as_ref()],
                    None if index == 0 => value.clone(),
                    None => Vec::new(),
                };
                if body.query.stmts.is_empty() {
                    let start = given.first().map_or(body.span.start, |value| value.span().start);
                    self.fact((start, line), end, &arguments, given);
                } else {
                    self.query(&body.query, Sort::Rule, line, Some(end), &arguments, given);
                }
            }
        }
    }

    fn body(&mut self, sort: Sort, line: u32) -> usize {
        let name = self.policy.module.policy.get(self.rule).and_then(|rule| head_name(rule));
        self.map.bodies.push(Body {
            policy: self.number,
            rule: self.rule,
            name: name.map_or_else(String::new, |(name, _)| name.to_owned()),
            sort,
            line,
            statements: Vec::new(),
        });
        self.map.bodies.len() - 1
    }

    /// A rule or an `else` without a body is given one that holds.
    fn fact(
        &mut self,
        (start, line): (u32, u32),
        end: usize,
        arguments: &BTreeSet<&'a str>,
        given: Vec<&'a Expr>,
    ) {
        let at = self.end_of(start as usize, None, end);
        let body = self.body(Sort::Rule, line);
        let text = format!(" if {{\n{ENTER}({body})\n{HELD}({body}, [])\n}}");
        self.inserts.push((at, Insert::Text(text)));
        self.inner(comprehensions(given), arguments);
    }

    /// Marks a body; `end` is where a rule's may end at most. `given` is evaluated
    /// once it holds.
    fn query(
        &mut self,
        query: &'a Query,
        sort: Sort,
        line: u32,
        end: Option<usize>,
        outer: &BTreeSet<&'a str>,
        given: Vec<&'a Expr>,
    ) {
        let body = self.body(sort, line);
        let limit = end.unwrap_or(self.policy.text.len());
        let bound = bound(query, outer, self.globals);
        let Some(first) = query.stmts.first() else { return };
        // A rule's body may stand without braces, where it begins with its statement.
        let bare = sort == Sort::Rule && query.span.start == first.span.start;
        let start = self.start_of(first.span.start as usize);
        let open = if bare { "{" } else { "" };
        self.inserts.push((start, Insert::Text(format!("{open}\n{ENTER}({body})\n"))));
        let mut last = start;
        let mut all: BTreeSet<&str> = BTreeSet::new();
        for (index, stmt) in query.stmts.iter().enumerate() {
            let start = self.start_of(stmt.span.start as usize);
            let next = query.stmts.get(index + 1);
            let next = next.map(|next| self.start_of(next.span.start as usize));
            last = self.end_of(start, next, limit);
            if !matches!(stmt.literal, Literal::SomeVars { .. }) {
                all.extend(self.statement(stmt, body, (start, last), &bound));
            }
        }
        // With every variable of the body, so that nothing of it is evaluated later.
        let all: Vec<&str> = all.into_iter().collect();
        let close = if bare { "}" } else { "" };
        let text = format!("\n{HELD}({body}, [{}])\n{close}", all.join(", "));
        self.inserts.push((last, Insert::Text(text)));
        self.inner(comprehensions(given), &bound);
    }

    /// Marks a statement and what stands in it; gives the variables that it needs.
    fn statement(
        &mut self,
        stmt: &'a LiteralStmt,
        body: usize,
        range: (usize, usize),
        bound: &BTreeSet<&'a str>,
    ) -> BTreeSet<&'a str> {
        let names = needed(stmt, bound);
        let number = self.map.statements.len();
        self.map.statements.push(Statement {
            body,
            lines: (stmt.span.line, self.line_of(range.1)),
            range,
            variables: names.iter().map(|name| (*name).to_owned()).collect(),
        });
        if let Some(body) = self.map.bodies.get_mut(body) {
            body.statements.push(number);
        }
        self.inserts.push((range.0, Insert::Open(number)));
        self.inner(comprehensions(expressions(stmt)), bound);
        if let Literal::Every { key, value, query, .. } = &stmt.literal {
            let mut outer = bound.clone();
            outer.extend(key.iter().chain([value]).map(|name| name.text()));
            outer.remove("_");
            let line = query.stmts.first().map_or(stmt.span.line, |first| first.span.line);
            self.query(query, Sort::Inner, line, None, &outer, Vec::new());
        }
        let noted = names.iter().copied().collect::<Vec<_>>().join(", ");
        let marker = format!("\n{SAW}({number}, [{noted}])\n");
        self.inserts.push((range.1, Insert::Close(marker)));
        names
    }

    fn inner(&mut self, found: Vec<&'a Expr>, outer: &BTreeSet<&'a str>) {
        for expr in found {
            if let Some((query, terms)) = comprehension(expr) {
                let line = query.stmts.first().map_or(expr.span().line, |first| first.span.line);
                self.query(query, Sort::Inner, line, None, outer, terms);
            }
        }
    }

    /// Where the token begins that the engine says begins here: of a string it
    /// names the first character behind the quote.
    fn start_of(&self, start: usize) -> usize {
        let index = self.policy.tokens.partition_point(|token| token.start <= start);
        let token = index.checked_sub(1).and_then(|index| self.policy.tokens.get(index));
        token.map_or(start, |token| token.start)
    }

    /// Where a statement ends that is followed by another, by the end of its
    /// brackets, by an `else`, or by the end of its rule.
    fn end_of(&self, start: usize, next: Option<usize>, limit: usize) -> usize {
        let start = self.start_of(start);
        let mut depth = 0usize;
        let mut end = start;
        let mut member = false;
        let limit = next.unwrap_or(limit);
        let tokens = self.policy.tokens.iter().skip_while(|token| token.start < start);
        for token in tokens.take_while(|token| token.start < limit) {
            let text = self.policy.token_text(token);
            match text {
                "(" | "[" | "{" | "set(" => depth += 1,
                ")" | "]" | "}" if depth == 0 => break,
                ")" | "]" | "}" => depth -= 1,
                ";" if depth == 0 => break,
                "else" if depth == 0 && token.word && !member => break,
                _ => {}
            }
            member = text == ".";
            end = token.end;
        }
        end
    }

    fn line_of(&self, end: usize) -> u32 {
        let before = self.policy.text.get(..end).unwrap_or_default();
        u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
    }
}

fn arguments(head: &RuleHead) -> BTreeSet<&str> {
    let RuleHead::Func { args, .. } = head else { return BTreeSet::new() };
    let mut names = variables(args.iter().map(|arg| arg.as_ref()).collect());
    names.remove("_");
    names
}

/// What a head gives.
fn head_value(head: &RuleHead) -> Vec<&Expr> {
    match head {
        RuleHead::Set { key, .. } => key.iter().map(|key| key.as_ref()).collect(),
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
            assign.iter().map(|assign| assign.value.as_ref()).collect()
        }
    }
}
