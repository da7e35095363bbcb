//! One watched evaluation, told rule by rule and clause by clause.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, LiteralStmt, Rule, RuleHead};

use super::super::names::Decision;
use super::super::walk::{Node, Part, flatten, walk_outside};
use super::mark::{Body, Sort};
use super::names::expressions;
use super::values::{LOCAL_VALUES_MAX, Locals, Values, statement_of};
use super::{Event, Traced, Watcher};
use crate::engine::Query;
use crate::explain::{
    ClauseOutcome, ClauseTold, RuleTold, TEXT_CHARS_MAX, Told, ValueTold, bounded,
};

/// How deep what a clause calls is told.
const INNER_LEVELS_MAX: usize = 3;

impl Traced {
    /// Evaluates a call and tells of every decision rule that its phase asks.
    pub(crate) fn told(&self, query: &Query<'_>) -> Told {
        let mut watcher = self.watcher();
        drop(watcher.events());
        let outcome = watcher.call(query);
        let events = watcher.events();
        let reached = watcher.reached_so_far();
        let input = self.keys.input(query.call, query.facts);
        let mut teller = Teller {
            traced: self,
            seen: seen(&events),
            reached,
            events,
            values: Values::new(self, input),
            watcher,
        };
        let rules =
            (0..self.map.bodies.len()).filter_map(|body| teller.rule(body, query)).collect();
        let has_policies = !self.loaded.generated.sites.is_empty();
        Told { rules, engine: "rego", has_policies, outcome }
    }
}

/// What an evaluation noted, as sets.
#[derive(Default)]
struct Sets {
    entered: BTreeSet<usize>,
    saw: BTreeSet<usize>,
    held: BTreeSet<usize>,
}

fn seen(events: &[Event]) -> Sets {
    let mut sets = Sets::default();
    for event in events {
        match event {
            Event::Enter(body) => sets.entered.insert(*body),
            Event::Saw(statement, _) => sets.saw.insert(*statement),
            Event::Held(body) => sets.held.insert(*body),
        };
    }
    sets
}

struct Teller<'t> {
    traced: &'t Traced,
    watcher: Watcher<'t>,
    events: Vec<Event>,
    seen: Sets,
    reached: BTreeSet<usize>,
    values: Values<'t>,
}

impl<'t> Teller<'t> {
    fn rule(&mut self, number: usize, query: &Query<'_>) -> Option<RuleTold> {
        let traced = self.traced;
        let body = traced.map.bodies.get(number)?;
        let policy = traced.loaded.policies.get(body.policy)?;
        let unit = policy.unit.as_deref()?;
        let decision = Decision::from_name(&body.name)?;
        if body.sort != Sort::Rule || !self.seen.entered.contains(&number) {
            return None;
        }
        let held = self.seen.held.contains(&number);
        let permits = matches!(decision, Decision::Allow | Decision::List);
        let scope = traced.scopes.get(unit).filter(|_| permits);
        let note = match scope {
            Some(scope) if !scope.covers(query.call) => {
                format!("the scope of unit `{unit}` leaves this call out")
            }
            _ => String::new(),
        };
        let clauses: Vec<ClauseTold> =
            body.statements.iter().filter_map(|statement| self.clause(*statement)).collect();
        let is_held = |clause: &&ClauseTold| clause.outcome == ClauseOutcome::Held;
        Some(RuleTold {
            engine: "rego",
            rule: body.name.clone(),
            policy: format!("{}:{}", policy.name, body.line),
            id: String::new(),
            principal: String::new(),
            held,
            note,
            clauses_held: clauses.iter().filter(is_held).count(),
            clauses,
        })
    }

    fn clause(&mut self, number: usize) -> Option<ClauseTold> {
        let outcome = if self.seen.saw.contains(&number) {
            ClauseOutcome::Held
        } else if self.reached.contains(&number) {
            ClauseOutcome::Failed
        } else {
            ClauseOutcome::NotEvaluated
        };
        let segment = if outcome == ClauseOutcome::Failed { self.segment(number) } else { 0..0 };
        self.told(number, outcome, segment, 0)
    }

    /// What was noted while a statement was evaluated the last time, and failed:
    /// from the last that is noted of its body up to the next decision rule.
    fn segment(&self, statement: usize) -> std::ops::Range<usize> {
        let Some(body) = self.traced.map.statements.get(statement).map(|found| found.body) else {
            return 0..0;
        };
        let of_body = |event: &Event| match event {
            Event::Enter(number) | Event::Held(number) => *number == body,
            Event::Saw(number, _) => self.body_of(*number) == Some(body),
        };
        let from = self.events.iter().rposition(of_body).map_or(0, |last| last + 1);
        let is_next = |event: &Event| match event {
            Event::Enter(number) => self.decides(*number),
            Event::Saw(..) | Event::Held(_) => false,
        };
        let rest = self.events.get(from..).unwrap_or_default();
        from..from + rest.iter().position(is_next).unwrap_or(rest.len())
    }

    fn body_of(&self, statement: usize) -> Option<usize> {
        self.traced.map.statements.get(statement).map(|found| found.body)
    }

    fn decides(&self, body: usize) -> bool {
        self.traced.map.bodies.get(body).is_some_and(|body| {
            let unit = self.traced.loaded.policies.get(body.policy).map(|p| p.unit.is_some());
            body.sort == Sort::Rule
                && unit == Some(true)
                && Decision::from_name(&body.name).is_some()
        })
    }

    fn told(
        &mut self,
        number: usize,
        outcome: ClauseOutcome,
        segment: std::ops::Range<usize>,
        level: usize,
    ) -> Option<ClauseTold> {
        let traced = self.traced;
        let statement = traced.map.statements.get(number)?;
        let body = traced.map.bodies.get(statement.body)?;
        let policy = traced.loaded.policies.get(body.policy)?;
        let text = policy.text.get(statement.range.0..statement.range.1).unwrap_or_default();
        let parsed = statement_of(traced, number);
        let (mut values, mut inner) = (Vec::new(), Vec::new());
        if outcome != ClauseOutcome::NotEvaluated
            && let Some(stmt) = parsed
        {
            let locals = self.locals(number);
            values = self.values.read_by(&mut self.watcher, body.policy, stmt, &locals);
            if outcome == ClauseOutcome::Failed && level < INNER_LEVELS_MAX {
                inner = self.inner(body, stmt, segment, level);
                // What is told in full needs no value.
                let told =
                    |value: &ValueTold| value.value.is_none() && self.is_told(body, &value.path);
                values.retain(|value| inner.is_empty() || !told(value));
            }
            // That `_a` held because `_a` is true says nothing.
            values.retain(|value| value.path != text || value.value.as_deref() != Some("true"));
        }
        Some(ClauseTold {
            line: statement.lines.0,
            text: bounded(text, TEXT_CHARS_MAX),
            outcome,
            values,
            inner,
        })
    }

    fn is_told(&self, body: &Body, name: &str) -> bool {
        self.traced.map.bodies.iter().any(|other| {
            other.policy == body.policy && other.sort == Sort::Rule && other.name == name
        })
    }

    /// The variables of the body of a statement, with what was noted of them.
    fn locals(&self, number: usize) -> Locals {
        let Some(body) = self.body_of(number) else { return Locals::new() };
        let mut locals = Locals::new();
        for event in &self.events {
            let Event::Saw(noted, values) = event else { continue };
            if self.body_of(*noted) != Some(body) {
                continue;
            }
            let Some(statement) = self.traced.map.statements.get(*noted) else { continue };
            for (name, value) in statement.variables.iter().zip(values) {
                match locals.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known))
                        if known.len() >= LOCAL_VALUES_MAX || known.contains(value) => {}
                    Some((_, known)) => known.push(value.clone()),
                    None => locals.push((name.clone(), vec![value.clone()])),
                }
            }
        }
        locals
    }

    /// The bodies of the helpers that a failed statement reads or calls, one clause
    /// for each body, which holds its own.
    fn inner(
        &mut self,
        body: &Body,
        stmt: &LiteralStmt,
        segment: std::ops::Range<usize>,
        level: usize,
    ) -> Vec<ClauseTold> {
        let traced = self.traced;
        let Some(policy) = traced.loaded.policies.get(body.policy) else { return Vec::new() };
        let mut told = Vec::new();
        for name in helpers(stmt) {
            let bodies: Vec<usize> = (0..traced.map.bodies.len())
                .filter(|number| {
                    traced.map.bodies.get(*number).is_some_and(|found| {
                        let package =
                            traced.loaded.policies.get(found.policy).map(|policy| &policy.package);
                        found.sort == Sort::Rule
                            && found.name == name
                            && package == Some(&policy.package)
                            && Decision::from_name(name).is_none()
                    })
                })
                .collect();
            for number in bodies {
                told.extend(self.helper(number, segment.clone(), level));
            }
        }
        told
    }

    fn helper(
        &mut self,
        number: usize,
        segment: std::ops::Range<usize>,
        level: usize,
    ) -> Option<ClauseTold> {
        let traced = self.traced;
        let body = traced.map.bodies.get(number)?;
        let own = seen(self.events.get(segment.clone()).unwrap_or_default());
        // A rule is evaluated once for a call, a function each time it is called.
        let now = own.entered.contains(&number);
        let (entered, held) = if now {
            (true, own.held.contains(&number))
        } else {
            (self.seen.entered.contains(&number), self.seen.held.contains(&number))
        };
        if !entered || (!now && is_function(traced, body)) {
            return None;
        }
        let mut clauses = Vec::new();
        let mut failed = false;
        for statement in &body.statements {
            let saw =
                if now { own.saw.contains(statement) } else { self.seen.saw.contains(statement) };
            let outcome = match (saw, failed) {
                (true, _) => ClauseOutcome::Held,
                (false, true) => ClauseOutcome::NotEvaluated,
                (false, false) => ClauseOutcome::Failed,
            };
            failed |= !saw;
            clauses.extend(self.told(*statement, outcome, segment.clone(), level + 1));
        }
        let outcome = if held { ClauseOutcome::Held } else { ClauseOutcome::Failed };
        let policy = traced.loaded.policies.get(body.policy)?;
        let text = policy.text.lines().nth(usize::try_from(body.line).ok()?.checked_sub(1)?)?;
        Some(ClauseTold {
            line: body.line,
            text: bounded(text.trim().trim_end_matches('{'), TEXT_CHARS_MAX),
            outcome,
            values: Vec::new(),
            inner: clauses,
        })
    }
}

fn is_function(traced: &Traced, body: &Body) -> bool {
    let policy = traced.loaded.policies.get(body.policy);
    let rule = policy.and_then(|policy| policy.module.policy.get(body.rule));
    rule.is_some_and(|rule| matches!(rule.as_ref(), Rule::Spec { head: RuleHead::Func { .. }, .. }))
}

/// The names of rules of the same package that a statement reads or calls.
fn helpers(stmt: &LiteralStmt) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for expr in expressions(stmt) {
        walk_outside(expr, &mut |node| {
            let named: Option<&Expr> = match node {
                Node::Reference(expr) | Node::Call { function: expr, .. } => Some(expr),
                _ => None,
            };
            let parts = named.and_then(flatten).map(|(_, parts)| parts);
            if let Some(Part::Name(name)) = parts.as_ref().and_then(|parts| parts.first()) {
                found.insert(*name);
            }
        });
    }
    found
}
