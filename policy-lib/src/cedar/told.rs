//! One evaluation of Cedar policies, told clause by clause.

use std::collections::BTreeMap;

use cedar_policy_core::ast::Expr;
use cedar_policy_core::evaluator::Evaluator;

use crate::engine::Query;
use crate::explain::{
    ClauseOutcome, ClauseTold, RuleTold, TEXT_CHARS_MAX, Told, VALUE_CHARS_MAX, ValueTold, bounded,
};

use super::clauses::{Clauses, Tree, Truth, Watch, Watched, values};
use super::policy::Kind;

impl Watched {
    /// Evaluates every policy for the agent and each actor behind it.
    pub(crate) fn told(&self, query: &Query<'_>) -> Told {
        let mut rules = Vec::new();
        let has_chain = !query.call.delegation.is_empty();
        self.each(query, |principal, _, policy, evaluator| {
            let mut rule = told(policy, evaluator);
            let permits = policy.kind == Kind::Permit;
            let outside = policy.scope.as_ref().filter(|scope| !scope.covers(query.call));
            if policy.shadow {
                rule.note = "it is a shadow: it is recorded and decides nothing".to_owned();
            } else if permits && outside.is_some() {
                rule.note = "the scope of its unit leaves this call out".to_owned();
            }
            if has_chain {
                rule.principal = principal.to_owned();
            }
            rules.push(rule);
        });
        let has_policies = !self.policies.is_empty();
        Told { rules, engine: "cedar", has_policies, outcome: self.outcome(query) }
    }
}

/// How each clause came out, and what it read.
struct Recorder<'e> {
    evaluator: &'e Evaluator<'e>,
    seen: BTreeMap<usize, (Truth, Vec<ValueTold>)>,
}

impl Watch for Recorder<'_> {
    fn saw(&mut self, clause: usize, truth: &Truth, expr: Option<&Expr>) {
        let read = expr.map(|expr| values(expr, self.evaluator)).unwrap_or_default();
        let read = read.into_iter().map(|(path, value)| ValueTold {
            path,
            value: value.map(|value| bounded(&value, VALUE_CHARS_MAX)),
        });
        self.seen.insert(clause, (truth.clone(), read.collect()));
    }
}

fn told(policy: &Clauses, evaluator: &Evaluator<'_>) -> RuleTold {
    let mut recorder = Recorder { evaluator, seen: BTreeMap::new() };
    let truth = policy.evaluate(evaluator, &mut recorder);
    let parts = policy.heads.iter().chain(&policy.conditions);
    let clauses: Vec<ClauseTold> =
        parts.filter_map(|part| clause(part, policy, &recorder.seen)).collect();
    let held = |clause: &&ClauseTold| clause.outcome == ClauseOutcome::Held;
    RuleTold {
        engine: "cedar",
        rule: match policy.kind {
            Kind::Permit => "permit",
            Kind::Forbid => "forbid",
            Kind::Ask => "ask",
        }
        .to_owned(),
        policy: format!("{}:{}", policy.file, policy.line),
        id: policy.id.clone(),
        principal: String::new(),
        held: truth == Truth::True,
        note: String::new(),
        clauses_held: clauses.iter().filter(held).count(),
        clauses,
    }
}

type Seen = BTreeMap<usize, (Truth, Vec<ValueTold>)>;

/// A part of a policy; nothing where there is nothing to evaluate.
fn clause(part: &Tree, policy: &Clauses, seen: &Seen) -> Option<ClauseTold> {
    let (line, text, inner, values) = match part {
        Tree::Always => return None,
        Tree::Leaf(number, _) => {
            let clause = policy.clauses.get(*number)?;
            let values = seen.get(number).map(|(_, values)| values.clone()).unwrap_or_default();
            (clause.line, clause.text.as_str(), Vec::new(), values)
        }
        Tree::Any(number, parts) => {
            let clause = policy.clauses.get(*number)?;
            let inner = parts.iter().filter_map(|part| self::clause(part, policy, seen)).collect();
            (clause.line, clause.text.as_str(), inner, Vec::new())
        }
        Tree::All(said, parts) => {
            let inner = parts.iter().filter_map(|part| self::clause(part, policy, seen)).collect();
            (said.line, said.text.as_str(), inner, Vec::new())
        }
        // `!a` is told by the values of `a`.
        Tree::Not(said, of) => match of.as_ref() {
            Tree::Leaf(number, _) => {
                let values = seen.get(number).map(|(_, values)| values.clone()).unwrap_or_default();
                (said.line, said.text.as_str(), Vec::new(), values)
            }
            other => {
                let inner = self::clause(other, policy, seen).into_iter().collect();
                (said.line, said.text.as_str(), inner, Vec::new())
            }
        },
    };
    let text = bounded(text, TEXT_CHARS_MAX);
    Some(ClauseTold { line, text, outcome: outcome(part, seen), values, inner })
}

fn outcome(part: &Tree, seen: &Seen) -> ClauseOutcome {
    match part {
        Tree::Always => ClauseOutcome::Held,
        Tree::Leaf(number, _) | Tree::Any(number, _) => match seen.get(number) {
            Some((Truth::True, _)) => ClauseOutcome::Held,
            Some((Truth::False, _)) => ClauseOutcome::Failed,
            Some((Truth::Open, _)) => ClauseOutcome::Unknown,
            Some((Truth::Failed(_), _)) => ClauseOutcome::Error,
            None => ClauseOutcome::NotEvaluated,
        },
        Tree::All(_, parts) => {
            let outcomes = parts.iter().map(|part| outcome(part, seen));
            outcomes.fold(None, worse).unwrap_or(ClauseOutcome::Held)
        }
        Tree::Not(_, of) => match outcome(of, seen) {
            ClauseOutcome::Held => ClauseOutcome::Failed,
            ClauseOutcome::Failed => ClauseOutcome::Held,
            other => other,
        },
    }
}

/// A conjunction comes out as its first part that does not hold.
fn worse(known: Option<ClauseOutcome>, next: ClauseOutcome) -> Option<ClauseOutcome> {
    match known {
        None | Some(ClauseOutcome::Held) => Some(next),
        // What is unknown may still be settled by a part that fails.
        Some(ClauseOutcome::Unknown) if next == ClauseOutcome::Failed => Some(next),
        known => known,
    }
}
