//! The values that a statement read.

use regorus::Value;
use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Rule, RuleHead};

use super::super::functions::import_target;
use super::super::input::value_from_node;
use super::super::names::data_path;
use super::super::output::Meter;
use super::super::source::Policy;
use super::super::walk::{Node, flatten, head_name, walk_outside};
use super::names::{comprehension, comprehensions, expressions};
use super::{Traced, Watcher};
use crate::explain::{VALUE_CHARS_MAX, ValueTold, bounded};

/// Largest value that is written before it is cut, in bytes.
const WRITTEN_BYTES_MAX: usize = 64 << 10;

/// What references mean in one evaluation.
pub(super) struct Values<'t> {
    traced: &'t Traced,
    input: Value,
    data: Value,
}

/// What a reference is looked up in.
struct Place<'p> {
    policy: &'p Policy,
    locals: &'p Locals,
}

/// The variables of a body, each with the first different values that were noted.
pub(super) type Locals = Vec<(String, Vec<Value>)>;

/// Most values that are told of one variable.
pub(super) const LOCAL_VALUES_MAX: usize = 3;

impl<'t> Values<'t> {
    pub(super) fn new(traced: &'t Traced, input: Value) -> Self {
        Self { traced, input, data: value_from_node(&traced.loaded.data) }
    }

    /// The outermost references of a statement, each with its value.
    pub(super) fn read_by(
        &self,
        watcher: &mut Watcher<'_>,
        policy: usize,
        stmt: &LiteralStmt,
        locals: &Locals,
    ) -> Vec<ValueTold> {
        let Some(policy) = self.traced.loaded.policies.get(policy) else { return Vec::new() };
        let place = Place { policy, locals };
        let mut found: Vec<(u32, ValueTold)> = Vec::new();
        for expr in expressions(stmt) {
            walk_outside(expr, &mut |node| {
                let Node::Reference(expr) = node else { return };
                let Some(path) = written(expr) else { return };
                if found.iter().any(|(_, known)| known.path == path) || path == "_" {
                    return;
                }
                let local = place.locals.iter().find(|(name, _)| *name == path);
                let value = match local {
                    Some((_, values)) => Some(alternatives(values)),
                    None => self.value(watcher, expr, &place).map(|value| shown(&value)),
                };
                // A variable that nothing noted is none that could be told.
                let is_told = !matches!(expr, Expr::Var { .. }) || self.is_rule(&place, &path);
                if value.is_some() || is_told {
                    let at = flatten(expr).map_or(0, |(span, _)| span.start);
                    found.push((at, ValueTold { path, value }));
                }
            });
        }
        // As written.
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, value)| value).collect()
    }

    fn is_rule(&self, place: &Place<'_>, name: &str) -> bool {
        self.has_rule(&place.policy.package, name)
    }

    fn value(&self, watcher: &mut Watcher<'_>, expr: &Expr, place: &Place<'_>) -> Option<Value> {
        let mut steps = Vec::new();
        let mut at = expr;
        let root = loop {
            match at {
                Expr::RefDot { refr, field, .. } => {
                    steps.push(Value::from(field.0.text()));
                    at = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    steps.push(self.index(watcher, index, place)?);
                    at = refr;
                }
                Expr::Var { span, .. } => break span.text(),
                _ => return None,
            }
        };
        steps.reverse();
        if let Some((_, values)) = place.locals.iter().find(|(name, _)| name == root) {
            return descend(values.first()?, &steps);
        }
        let mut path: Vec<Value> = match (root, import_target(place.policy, root)) {
            ("input" | "data", _) => vec![Value::from(root)],
            (_, Some(target)) => target.into_iter().map(Value::from).collect(),
            _ if self.is_rule(place, root) => {
                let package = place.policy.package.iter().map(|part| Value::from(part.as_str()));
                [Value::from("data")]
                    .into_iter()
                    .chain(package)
                    .chain([Value::from(root)])
                    .collect()
            }
            _ => return None,
        };
        path.extend(steps);
        let (first, rest) = path.split_first()?;
        if *first == Value::from("input") {
            return descend(&self.input, rest);
        }
        descend(&self.data, rest).or_else(|| self.rule_value(watcher, rest))
    }

    /// The value of the rule that a path names, and what follows in it.
    fn rule_value(&self, watcher: &mut Watcher<'_>, path: &[Value]) -> Option<Value> {
        let names: Vec<String> = path
            .iter()
            .map_while(|step| match step {
                Value::String(name) => Some(name.to_string()),
                _ => None,
            })
            .collect();
        let policies = &self.traced.loaded.policies;
        let package = policies.iter().map(|policy| &policy.package).find(|package| {
            names.starts_with(package)
                && names.get(package.len()).is_some_and(|name| self.has_rule(package, name))
        })?;
        let length = package.len() + 1;
        let value = watcher.rule(&data_path(names.get(..length)?)).ok()?;
        descend(&value, path.get(length..)?)
    }

    fn has_rule(&self, package: &[String], name: &str) -> bool {
        let policies = self.traced.loaded.policies.iter();
        let mut own = policies.filter(|policy| policy.package == package);
        own.any(|policy| {
            let mut rules = policy.module.policy.iter();
            rules.any(|rule| head_name(rule).is_some_and(|(own, _)| own == name))
        })
    }

    fn index(&self, watcher: &mut Watcher<'_>, index: &Expr, place: &Place<'_>) -> Option<Value> {
        match index {
            Expr::String { value, .. }
            | Expr::RawString { value, .. }
            | Expr::Number { value, .. } => Some(value.clone()),
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.value(watcher, index, place)
            }
            _ => None,
        }
    }
}

fn descend(value: &Value, steps: &[Value]) -> Option<Value> {
    let mut at = value.clone();
    for step in steps {
        at = match &at {
            Value::Object(members) => members.get(step)?.clone(),
            Value::Array(items) => items.get(usize::try_from(step.as_u64().ok()?).ok()?)?.clone(),
            Value::Set(items) if items.contains(step) => step.clone(),
            _ => return None,
        };
    }
    (at != Value::Undefined).then_some(at)
}

/// A reference as its user would write it.
fn written(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Var { span, .. } => Some(span.text().to_owned()),
        Expr::RefDot { refr, field, .. } => Some(format!("{}.{}", written(refr)?, field.0.text())),
        Expr::RefBrack { refr, index, .. } => {
            let index = match index.as_ref() {
                Expr::String { value, .. } | Expr::RawString { value, .. } => shown(value),
                Expr::Number { value, .. } => shown(value),
                other => written(other)?,
            };
            Some(format!("{}[{index}]", written(refr)?))
        }
        _ => None,
    }
}

fn alternatives(values: &[Value]) -> String {
    let told: Vec<String> = values.iter().map(shown).collect();
    bounded(&told.join(" or "), VALUE_CHARS_MAX)
}

fn shown(value: &Value) -> String {
    match Meter::new(WRITTEN_BYTES_MAX).json(value) {
        Ok(text) => bounded(&text, VALUE_CHARS_MAX),
        Err(error) => format!("<{error}>"),
    }
}

/// The parsed statement of a number.
pub(super) fn statement_of(traced: &Traced, number: usize) -> Option<&LiteralStmt> {
    let statement = traced.map.statements.get(number)?;
    let body = traced.map.bodies.get(statement.body)?;
    let policy = traced.loaded.policies.get(body.policy)?;
    let rule = policy.module.policy.get(body.rule)?;
    let Rule::Spec { head, bodies, .. } = rule.as_ref() else { return None };
    let mut todo: Vec<&Query> = bodies.iter().map(|body| body.query.as_ref()).collect();
    let mut given: Vec<&Expr> =
        bodies.iter().filter_map(|body| Some(body.assign.as_ref()?.value.as_ref())).collect();
    match head {
        RuleHead::Set { key, .. } => given.extend(key.iter().map(|key| key.as_ref())),
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
            given.extend(assign.iter().map(|assign| assign.value.as_ref()));
        }
    }
    // A statement that begins with a string is said to begin behind its quote.
    let begins = |stmt: &LiteralStmt| {
        let start = stmt.span.start as usize;
        start == statement.range.0 || start == statement.range.0 + 1
    };
    loop {
        for compr in comprehensions(std::mem::take(&mut given)) {
            if let Some((query, terms)) = comprehension(compr) {
                todo.push(query);
                given.extend(terms);
            }
        }
        let Some(query) = todo.pop() else {
            if given.is_empty() {
                return None;
            }
            continue;
        };
        for stmt in &query.stmts {
            if begins(stmt) {
                return Some(stmt);
            }
            given.extend(expressions(stmt));
            if let Literal::Every { query, .. } = &stmt.literal {
                todo.push(query);
            }
        }
    }
}
