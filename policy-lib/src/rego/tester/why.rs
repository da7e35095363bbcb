//! Which statement of a failed test was the first that did not hold.
//!
//! Failed tests are evaluated once more, with notes between their statements: before
//! each, the values of its parts; after each, the variables. What the user wrote is
//! not changed, so the test fails here as it failed there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Query, Rule};
use regorus::{Engine, Value};

use super::super::load;
use super::super::names::RESERVED;
use super::super::output::{Meter, OutputError};
use super::super::run;
use super::super::source::Policy;
use super::super::trace::{bound, expressions, needed, variables};
use super::super::walk::{Part, flatten, head_name};
use super::RegoTests;
use super::case_name;
use super::find::{Test, depths, extent, limit_of, reference};
use super::report::{FailedAt, Named, TestOutcome, TestResult};

/// Most failed tests that are looked into.
pub(super) const EXPLAINED_MAX: usize = 50;
/// Most notes of one sort about one statement: those of later statements must not be lost.
pub(super) const NOTES_MAX: usize = 20_000;
/// Longest value that is shown, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = 1_000;

const SAW: &str = "_lictor_test_saw";
const PART: &str = "_lictor_test_part";

/// What was noted: the statement, and values.
enum Note {
    /// It held, with these values of its variables.
    Saw(usize, Vec<Value>),
    /// One of its parts, with every value that it has, and the values of its keys.
    Part(usize, usize, Vec<Value>, Vec<Value>),
}

/// What was noted of one test.
#[derive(Default)]
struct Notes {
    all: Vec<Note>,
    /// How many there are, by statement and by part; a statement itself has no part.
    counts: BTreeMap<(usize, Option<usize>), usize>,
}

impl Notes {
    fn add(&mut self, note: Note) {
        let about = match &note {
            Note::Saw(statement, _) => (*statement, None),
            Note::Part(statement, part, ..) => (*statement, Some(*part)),
        };
        let count = self.counts.entry(about).or_default();
        if *count < NOTES_MAX {
            *count += 1;
            self.all.push(note);
        }
    }
}

/// A statement with notes around it.
struct Noted {
    line: u32,
    text: String,
    parts: Vec<String>,
    /// The keys of the test that it names without giving them their values.
    keys: Vec<String>,
    /// Whether it only declares names, and so always holds.
    declares: bool,
    /// The variables that have values once it held.
    variables: Vec<String>,
}

/// Fills in where failed tests failed.
pub(super) fn explain(tests: &RegoTests, results: &mut [TestResult]) {
    let failed = |result: &&mut TestResult| matches!(result.outcome, TestOutcome::Fail { .. });
    let mut failed: Vec<&mut TestResult> = results.iter_mut().filter(failed).collect();
    let own = tests.tests.iter().filter(|test| {
        failed.iter().any(|result| result.file == test.file && result.line == test.line)
    });
    let noted: Vec<(&Test, Vec<Noted>)> =
        own.take(EXPLAINED_MAX).filter_map(|test| Some((test, noted(tests, test)?))).collect();
    if noted.is_empty() {
        return;
    }
    let notes = Arc::new(Mutex::new(Notes::default()));
    // Without an engine there is no explanation; the failure itself is told anyway.
    let Ok(engine) = engine(tests, &noted, &notes) else { return };
    for (test, statements) in &noted {
        let mut engine = engine.clone();
        drop(run::rule(&mut engine, &test.path, tests.options.timeout));
        let Ok(mut notes) = notes.lock() else { return };
        let notes = std::mem::take(&mut *notes).all;
        let own = failed.iter_mut().filter(|r| r.file == test.file && r.line == test.line);
        for result in own {
            let case = result.name.strip_prefix(&test.path).unwrap_or_default();
            result.failed_at = failed_at(test, statements, &notes, case);
        }
    }
}

/// The statements of a test that has one body.
fn noted(tests: &RegoTests, test: &Test) -> Option<Vec<Noted>> {
    let policy = tests.loaded.policies.get(test.policy)?;
    let (rule, query) = body(policy, test)?;
    let globals = globals(&tests.loaded.policies, policy);
    let all = bound(query, &BTreeSet::new(), &globals);
    let limit = limit_of(policy, rule);
    let mut variables: BTreeSet<&str> = BTreeSet::new();
    let mut noted = Vec::new();
    for (index, stmt) in query.stmts.iter().enumerate() {
        let (start, end) = extent(policy, query, index, limit);
        if !matches!(stmt.literal, Literal::SomeVars { .. } | Literal::NotExpr { .. }) {
            variables.extend(needed(stmt, &all));
        }
        noted.push(Noted {
            line: stmt.span.line,
            text: policy.text.get(start..end)?.to_owned(),
            parts: parts(policy, stmt, start, end),
            keys: keys(test, stmt),
            declares: matches!(stmt.literal, Literal::SomeVars { .. }),
            variables: variables.iter().map(|name| (*name).to_owned()).collect(),
        });
    }
    Some(noted)
}

/// The names that mean something outside of the rules of a file.
fn globals(policies: &[Policy], policy: &Policy) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["input".to_owned(), "data".to_owned()]);
    let package = policies.iter().filter(|other| other.package == policy.package);
    let rules = package.flat_map(|other| other.module.policy.iter());
    names.extend(rules.filter_map(|rule| Some(head_name(rule)?.0.to_owned())));
    names.extend(policy.module.imports.iter().filter_map(|import| match &import.r#as {
        Some(alias) => Some(alias.text().to_owned()),
        None => match flatten(&import.refr)?.1.last()? {
            Part::Name(name) => Some((*name).to_owned()),
            Part::Dynamic => None,
        },
    }));
    names
}

/// The body of a test, if it has exactly one that has statements.
fn body<'p>(policy: &'p Policy, test: &Test) -> Option<(&'p Rule, &'p Query)> {
    let rule = policy.module.policy.get(test.rule)?;
    let Rule::Spec { bodies, .. } = rule.as_ref() else { return None };
    let [body] = bodies.as_slice() else { return None };
    (!body.query.stmts.is_empty()).then_some((rule.as_ref(), &body.query))
}

/// The parts of a statement whose values tell why it does not hold: both sides of a
/// comparison, what is assigned, or the whole.
fn parts(policy: &Policy, stmt: &LiteralStmt, start: usize, end: usize) -> Vec<String> {
    let tokens: Vec<_> = depths(policy, start, end).collect();
    let with = tokens
        .iter()
        .find(|(token, depth)| *depth == 0 && token.word && policy.token_text(token) == "with");
    let stop = with.map_or(end, |(token, _)| token.start);
    let text =
        |from: usize, to: usize| policy.text.get(from..to).unwrap_or_default().trim().to_owned();
    let split = |operators: &[&str]| {
        let mut at = tokens.iter().filter(|(token, depth)| {
            *depth == 0 && token.start < stop && operators.contains(&policy.token_text(token))
        });
        let (operator, None) = (at.next()?.0, at.next()) else { return None };
        Some((text(start, operator.start), text(operator.end, stop)))
    };
    match &stmt.literal {
        Literal::Expr { expr, .. } => match expr.as_ref() {
            Expr::BoolExpr { .. } => match split(&["==", "!=", "<", "<=", ">", ">="]) {
                Some((left, right)) => vec![left, right],
                None => Vec::new(),
            },
            Expr::AssignExpr { op: AssignOp::ColEq, .. } => {
                split(&[":="]).map(|(_, right)| right).into_iter().collect()
            }
            Expr::AssignExpr { .. } => Vec::new(),
            _ => vec![text(start, stop)],
        },
        Literal::NotExpr { .. } => {
            let text = text(start, stop);
            text.strip_prefix("not").map(|text| text.trim().to_owned()).into_iter().collect()
        }
        Literal::SomeIn { .. } => {
            split(&["in"]).map(|(_, collection)| collection).into_iter().collect()
        }
        Literal::SomeVars { .. } | Literal::Every { .. } => Vec::new(),
    }
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect()
}

/// The keys of a test that a statement reads: `i` of `numbers[i] > 5`.
fn keys(test: &Test, stmt: &LiteralStmt) -> Vec<String> {
    let read = match &stmt.literal {
        Literal::Expr { expr, .. } => match expr.as_ref() {
            Expr::AssignExpr { rhs, .. } => variables(vec![rhs]),
            _ => variables(expressions(stmt)),
        },
        Literal::NotExpr { .. } => variables(expressions(stmt)),
        Literal::SomeIn { collection, .. } => variables(vec![collection]),
        Literal::SomeVars { .. } | Literal::Every { .. } => BTreeSet::new(),
    };
    let with = stmt.with_mods.iter().map(|with| with.r#as.as_ref()).collect();
    let read: BTreeSet<&str> = read.into_iter().chain(variables(with)).collect();
    test.keys.iter().filter(|key| read.contains(key.as_str())).cloned().collect()
}

/// An engine over the policies, and the tests with notes.
fn engine(
    tests: &RegoTests,
    noted: &[(&Test, Vec<Noted>)],
    notes: &Arc<Mutex<Notes>>,
) -> Result<Engine, String> {
    let loaded = &tests.loaded;
    let mut inserts: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
    for (test, statements) in noted {
        let Some(policy) = loaded.policies.get(test.policy) else { continue };
        inserts.entry(test.policy).or_default().extend(inserts_of(policy, test, statements));
    }
    let texts: Vec<(&str, String)> = loaded
        .policies
        .iter()
        .enumerate()
        .map(|(number, policy)| {
            let inserts = inserts.remove(&number).unwrap_or_default();
            (policy.name.as_str(), with_inserts(&policy.text, inserts))
        })
        .collect();
    let texts = texts.iter().map(|(name, text)| (*name, text.as_str()));
    let mut engine = load::engine(texts, &loaded.data, &loaded.used)?;
    install(&mut engine, notes).map_err(|error| error.to_string())?;
    engine.set_input(Value::new_object());
    run::rule(&mut engine, &load::ready_path(), run::LOAD_TIME)?;
    Ok(engine)
}

fn with_inserts(text: &str, mut inserts: Vec<(usize, String)>) -> String {
    // Stable: what was put at one place stays in order.
    inserts.sort_by_key(|(at, _)| *at);
    let mut out = String::with_capacity(text.len() * 2);
    let mut from = 0;
    for (at, insert) in inserts {
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str(&insert);
        from = at;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

fn inserts_of(policy: &Policy, test: &Test, statements: &[Noted]) -> Vec<(usize, String)> {
    let Some((rule, query)) = body(policy, test) else { return Vec::new() };
    let limit = limit_of(policy, rule);
    let first = query.stmts.first().map_or(0, |first| first.span.start);
    // A body of one statement may stand without braces, where it begins with that.
    let bare = query.span.start == first;
    let mut inserts = Vec::new();
    let last = query.stmts.len().saturating_sub(1);
    for (index, (stmt, noted)) in query.stmts.iter().zip(statements).enumerate() {
        let (start, end) = extent(policy, query, index, limit);
        let open = if bare && index == 0 { "{" } else { "" };
        let with = with_text(policy, stmt, start, end);
        let keys = noted.keys.join(", ");
        let mut before = format!("{open}\n");
        let held = index.checked_sub(1).and_then(|index| statements.get(index));
        let known = held.map(|noted| noted.variables.as_slice()).unwrap_or_default();
        for (number, key) in noted.keys.iter().filter(|key| !known.contains(key)).enumerate() {
            // It gets its value here, so that it is known of which case the parts are.
            if let Some(text) = reference(policy, expressions(stmt), key) {
                before.push_str(&format!("{RESERVED}_key_{index}_{number} := {text}\n"));
            }
        }
        for (number, part) in noted.parts.iter().enumerate() {
            // Through a comprehension, so that a part without a value ends nothing.
            let value = format!("{RESERVED}_value");
            before.push_str(&format!(
                "{PART}({index}, {number}, [{value} | {value} := ({part}) {with}], [{keys}])\n"
            ));
        }
        inserts.push((start, before));
        if !matches!(stmt.literal, Literal::SomeVars { .. }) {
            let close = if bare && index == last { "}\n" } else { "" };
            let variables = noted.variables.join(", ");
            inserts.push((end, format!("\n{SAW}({index}, [{variables}])\n{close}")));
        }
    }
    inserts
}

/// `with input as x`, if the statement has it.
fn with_text<'p>(policy: &'p Policy, stmt: &LiteralStmt, start: usize, end: usize) -> &'p str {
    if stmt.with_mods.is_empty() {
        return "";
    }
    let with = depths(policy, start, end)
        .find(|(token, depth)| *depth == 0 && token.word && policy.token_text(token) == "with");
    with.and_then(|(token, _)| policy.text.get(token.start..end)).unwrap_or_default()
}

fn install(engine: &mut Engine, notes: &Arc<Mutex<Notes>>) -> Result<(), String> {
    let number = |value: Option<&Value>| {
        value.and_then(|value| value.as_u64().ok()).and_then(|n| usize::try_from(n).ok())
    };
    let list = |value: Option<&Value>| match value {
        Some(Value::Array(items)) => items.iter().cloned().collect(),
        _ => Vec::new(),
    };
    let add = |notes: &Mutex<Notes>, note: Option<Note>| {
        if let (Some(note), Ok(mut notes)) = (note, notes.lock()) {
            notes.add(note);
        }
        Ok(Value::Bool(true))
    };
    let own = Arc::clone(notes);
    let saw = move |values: Vec<Value>| {
        let note = number(values.first()).map(|n| Note::Saw(n, list(values.get(1))));
        add(&own, note)
    };
    engine.add_extension(SAW.to_owned(), 2, Box::new(saw)).map_err(|error| error.to_string())?;
    let own = Arc::clone(notes);
    let part = move |values: Vec<Value>| {
        let numbers = number(values.first()).zip(number(values.get(1)));
        add(
            &own,
            numbers.map(|(n, part)| Note::Part(n, part, list(values.get(2)), list(values.get(3)))),
        )
    };
    engine.add_extension(PART.to_owned(), 4, Box::new(part)).map_err(|error| error.to_string())
}

/// A statement that held: where that was noted, its number, its variables' values.
type Saw<'n> = (usize, usize, &'n [Value]);

/// The first statement that never held for `case` (the keys in brackets, or nothing).
fn failed_at(test: &Test, statements: &[Noted], notes: &[Note], case: &str) -> Option<FailedAt> {
    let noted = notes.iter().enumerate();
    let saw: Vec<Saw<'_>> = noted
        .filter_map(|(at, note)| match note {
            Note::Saw(number, values) => Some((at, *number, values.as_slice())),
            Note::Part(..) => None,
        })
        .filter(|(_, number, values)| {
            let variables = statements.get(*number).map(|noted| noted.variables.as_slice());
            is_case(test, variables.unwrap_or_default(), values, case)
        })
        .collect();
    let held: BTreeSet<usize> = saw.iter().map(|(_, number, _)| *number).collect();
    let (number, noted) = statements
        .iter()
        .enumerate()
        .find(|(number, noted)| !noted.declares && !held.contains(number))?;
    let before = held.range(..number).next_back().copied();
    let ways: Vec<&Saw<'_>> = saw.iter().filter(|(_, seen, _)| Some(*seen) == before).collect();
    let (from, locals) = match ways.last() {
        Some((at, seen, values)) => (*at, locals(statements.get(*seen), values)),
        None => (0, Vec::new()),
    };
    let after = notes.get(from..).unwrap_or_default();
    let parts = noted.parts.iter().enumerate();
    Some(FailedAt {
        line: noted.line,
        text: noted.text.clone(),
        parts: parts
            .filter_map(|(part, text)| {
                let mut own = after.iter().filter_map(|note| match note {
                    Note::Part(of, n, values, keys) if *of == number && *n == part => {
                        is_case(test, &noted.keys, keys, case).then_some(values.as_slice())
                    }
                    _ => None,
                });
                Some(named(text, own.next()?))
            })
            .collect(),
        locals,
        ways: ways.len().max(1),
    })
}

fn locals(noted: Option<&Noted>, values: &[Value]) -> Vec<Named> {
    let names = noted.map(|noted| noted.variables.as_slice()).unwrap_or_default();
    let each = names.iter().zip(values);
    each.map(|(name, value)| named(name, std::slice::from_ref(value))).collect()
}

/// Whether what was noted is of a case: a key that has no value yet may be any.
fn is_case(test: &Test, variables: &[String], values: &[Value], case: &str) -> bool {
    let mut rest = case;
    for key in &test.keys {
        let Some((text, behind)) = first_key(rest) else { return true };
        let index = variables.iter().position(|name| name == key);
        let known = index.and_then(|index| values.get(index));
        if known.is_some_and(|value| case_name(value) != text) {
            return false;
        }
        rest = behind;
    }
    true
}

/// The first of several keys in brackets, and what is behind it.
fn first_key(brackets: &str) -> Option<(&str, &str)> {
    let text = brackets.strip_prefix('[')?;
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    values.next()?.ok()?;
    let end = values.byte_offset();
    Some((text.get(..end)?, text.get(end..)?.strip_prefix(']')?))
}

fn named(name: &str, values: &[Value]) -> Named {
    let shown = |value: &Value| match Meter::new(VALUE_BYTES_MAX).json(value) {
        Ok(text) => text,
        Err(OutputError::TooLarge) => format!("<more than {VALUE_BYTES_MAX} bytes>"),
        Err(error) => format!("<{error}>"),
    };
    let value = match values {
        [] => "undefined".to_owned(),
        [one] => shown(one),
        many => many.iter().map(shown).collect::<Vec<_>>().join(" or "),
    };
    Named { name: name.to_owned(), value }
}
