//! Conditions of one body that contradict each other, so that it never holds.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::call::ResourceKind;
use regorus::Value;
use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, Query, Rule, RuleHead, Span};

use super::super::source::Policy;
use super::super::walk::{Part, flatten};
use super::Read;
use super::paths::{Paths, Root};
use crate::diagnostic::Diagnostic;
use crate::known::Known;
use crate::known::domain::resources_of;

/// Helpers that are read for what they ask, by way of each other.
const HELPERS_MAX: usize = 4;

/// Warns of every body that never holds.
pub(super) fn check<'a>(
    rules: &[&'a Read<'a>],
    paths: &Paths<'a>,
    known: &Known<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    for read in rules {
        let Rule::Spec { bodies, .. } = read.rule else { continue };
        for (body, scope) in bodies.iter().zip(&read.scopes.bodies) {
            let mut wants = Wants { known, asked: BTreeMap::new(), paths };
            if let Some((at, message)) = wants.body(read, &body.query, *scope) {
                let problem = read.policy.warning("rego_never", at, message);
                problems.push(problem.help("remove the rule, or mend its conditions"));
            }
        }
    }
}

/// What one member must be.
#[derive(Default)]
struct Asked<'a> {
    /// One of these, if anything was asked.
    only: Option<BTreeSet<&'a Value>>,
    /// None of these.
    never: BTreeSet<&'a Value>,
}

impl<'a> Asked<'a> {
    /// Whether nothing is left after asking for `values` or for anything else.
    fn ask(&mut self, values: BTreeSet<&'a Value>, wanted: bool) -> bool {
        if wanted {
            self.only = Some(match self.only.take() {
                None => values,
                Some(only) => only.intersection(&values).copied().collect(),
            });
        } else {
            self.never.extend(values);
        }
        self.only.as_ref().is_some_and(|only| only.is_subset(&self.never))
    }
}

/// What the conditions of one body ask, by the member's path.
struct Wants<'a, 'k> {
    known: &'k Known<'k>,
    asked: BTreeMap<String, Asked<'a>>,
    paths: &'k Paths<'a>,
}

/// A comparison of a member with literals: whether it must be one of them, or none.
struct Test<'a> {
    member: &'a Expr,
    values: BTreeSet<&'a Value>,
    wanted: bool,
}

impl<'a> Wants<'a, '_> {
    /// Where and why the body never holds.
    fn body(
        &mut self,
        read: &'a Read<'a>,
        query: &'a Query,
        scope: usize,
    ) -> Option<(&'a Span, String)> {
        for stmt in &query.stmts {
            // `with` asks about another input.
            if !stmt.with_mods.is_empty() {
                continue;
            }
            let (expr, holds) = match &stmt.literal {
                Literal::Expr { expr, .. } => (expr.as_ref(), true),
                Literal::NotExpr { expr, .. } => (expr.as_ref(), false),
                _ => continue,
            };
            if constant(expr) == Some(!holds) {
                return Some((&stmt.span, "this never holds".to_owned()));
            }
            if let Some(message) = self.statement(read, expr, (scope, holds), HELPERS_MAX) {
                return Some((&stmt.span, message));
            }
        }
        None
    }

    /// Why nothing is left after one condition.
    fn statement(
        &mut self,
        read: &'a Read<'a>,
        expr: &'a Expr,
        (scope, holds): (usize, bool),
        left: usize,
    ) -> Option<String> {
        if let Some(mut test) = test(expr) {
            test.wanted ^= !holds;
            return self.test(read, test, scope);
        }
        let left = left.checked_sub(1).filter(|_| holds)?;
        let (_, parts) = flatten(expr)?;
        let [Part::Name(name)] = parts.as_slice() else { return None };
        if read.scopes.find(name, scope).is_some() {
            return None;
        }
        self.helper(self.paths.helper(read.policy, name)?, left)
    }

    /// What a helper without a value asks, its reader asks too.
    fn helper(&mut self, read: &'a Read<'a>, left: usize) -> Option<String> {
        let Rule::Spec { head: RuleHead::Compr { assign: None, .. }, bodies, .. } = read.rule
        else {
            return None;
        };
        let (body, scope) = bodies.first().zip(read.scopes.bodies.first())?;
        for stmt in body.query.stmts.iter().filter(|stmt| stmt.with_mods.is_empty()) {
            if let Literal::Expr { expr, .. } = &stmt.literal
                && let Some(message) = self.statement(read, expr, (*scope, true), left)
            {
                return Some(message);
            }
        }
        None
    }

    fn test(&mut self, read: &'a Read<'a>, test: Test<'a>, scope: usize) -> Option<String> {
        let key = self.key(read, test.member, scope)?;
        let none = self.asked.entry(key.clone()).or_default().ask(test.values, test.wanted);
        if none {
            let said = read.policy.text_at(test.member.span());
            return Some(format!("this never holds: `{said}` cannot be all that is asked here"));
        }
        matches!(key.as_str(), "input.resource.type" | "input.resource.id" | "input.action.name")
            .then(|| self.resource())
            .flatten()
    }

    /// One name for a member: its path in the input, or the variable that it is a part of.
    fn key(&self, read: &'a Read<'a>, member: &'a Expr, scope: usize) -> Option<String> {
        let (_, parts) = flatten(member)?;
        if let Some(path) = self.paths.of_expr(read.policy, &read.scopes, member, scope)
            && path.is_static()
        {
            let root = if path.root == Root::Input { "input" } else { "data" };
            return Some(format!("{root}.{}", path.dotted()));
        }
        let mut key = String::new();
        for part in &parts {
            let Part::Name(name) = part else { return None };
            key.push('.');
            key.push_str(name);
        }
        let (Part::Name(root), _) = parts.split_first()? else { return None };
        let local = read.scopes.find(root, scope)?;
        Some(format!("{}:{}{key}", read.policy.name, local.span.start))
    }

    fn texts(&self, key: &str) -> Option<BTreeSet<&'a str>> {
        let only = self.asked.get(key)?.only.as_ref()?;
        only.iter()
            .map(|value| match value {
                Value::String(text) => Some(&**text),
                _ => None,
            })
            .collect()
    }

    /// Whether the action, the type and the id of the resource go together.
    fn resource(&self) -> Option<String> {
        let types = self.texts("input.resource.type");
        let ids = self.texts("input.resource.id");
        let actions = self.texts("input.action.name");
        let of_ids = ids.as_ref().and_then(|ids| kinds_of_ids(ids, self.known));
        let of_actions = actions.as_ref().and_then(|actions| kinds_of_actions(actions));
        let words = |kinds: &BTreeSet<ResourceKind>| -> BTreeSet<&str> {
            kinds.iter().map(|kind| kind.as_str()).collect()
        };
        let apart = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| !a.is_empty() && a.is_disjoint(b);
        if let (Some(types), Some(kinds)) = (&types, &of_ids)
            && apart(types, &words(kinds))
        {
            return Some(format!(
                "this never holds: {} is a {}, not a {}",
                listed(ids.iter().flatten()),
                listed(words(kinds).iter()),
                listed(types.iter())
            ));
        }
        let kinds = of_actions?;
        let of_actions = words(&kinds);
        let is = types.or_else(|| of_ids.as_ref().map(words))?;
        apart(&is, &of_actions).then(|| {
            format!(
                "this never holds: {} is done to a {}, not to a {}",
                listed(actions.iter().flatten()),
                listed(of_actions.iter()),
                listed(is.iter())
            )
        })
    }
}

fn listed<'t>(words: impl Iterator<Item = &'t &'t str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    words.join(" or ")
}

/// What resources with these ids can be; nothing if any of them may be something without an entry.
fn kinds_of_ids(ids: &BTreeSet<&str>, known: &Known<'_>) -> Option<BTreeSet<ResourceKind>> {
    let mut kinds = BTreeSet::new();
    for id in ids {
        let own = known.kinds_of(id);
        if own.is_empty() || !known.is_closed(id) {
            return None;
        }
        kinds.extend(own);
    }
    Some(kinds)
}

fn kinds_of_actions(actions: &BTreeSet<&str>) -> Option<BTreeSet<ResourceKind>> {
    let mut kinds = BTreeSet::new();
    for action in actions {
        kinds.extend(resources_of(action)?);
    }
    Some(kinds)
}

/// A comparison of a reference with literals.
fn test(expr: &Expr) -> Option<Test<'_>> {
    let (left, right, wanted) = match expr {
        Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. }
        | Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } => (lhs, rhs, true),
        Expr::BoolExpr { op: BoolOp::Ne, lhs, rhs, .. } => (lhs, rhs, false),
        Expr::Membership { key: None, value, collection, .. } => {
            let (Expr::Set { items, .. } | Expr::Array { items, .. }) = collection.as_ref() else {
                return None;
            };
            let values: Option<_> = items.iter().map(|item| literal(item)).collect();
            flatten(value)?;
            return Some(Test { member: value, values: values?, wanted: true });
        }
        _ => return None,
    };
    for (member, value) in [(left, right), (right, left)] {
        if let (Some(_), Some(value)) = (flatten(member), literal(value)) {
            return Some(Test { member, values: BTreeSet::from([value]), wanted });
        }
    }
    None
}

fn literal(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::String { value, .. }
        | Expr::RawString { value, .. }
        | Expr::Number { value, .. }
        | Expr::Bool { value, .. }
        | Expr::Null { value, .. } => Some(value),
        _ => None,
    }
}

/// Whether an expression that reads nothing holds.
fn constant(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Bool { value, .. } => Some(*value == Value::from(true)),
        Expr::BoolExpr { op, lhs, rhs, .. } => {
            let (left, right) = (literal(lhs)?, literal(rhs)?);
            Some(match op {
                BoolOp::Lt => left < right,
                BoolOp::Le => left <= right,
                BoolOp::Eq => left == right,
                BoolOp::Ge => left >= right,
                BoolOp::Gt => left > right,
                BoolOp::Ne => left != right,
            })
        }
        Expr::Membership { key: None, value, collection, .. } => match collection.as_ref() {
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                if items.is_empty() {
                    return Some(false);
                }
                let value = literal(value)?;
                let items: Option<Vec<&Value>> = items.iter().map(|item| literal(item)).collect();
                Some(items?.contains(&value))
            }
            _ => None,
        },
        _ => None,
    }
}

impl Policy {
    /// The first line of what stands at a span.
    fn text_at(&self, span: &Span) -> &str {
        let said = self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        said.lines().next().unwrap_or_default()
    }
}
