//! Whether the rules that phase `response` asks could say anything there: what they did not say
//! about the request, or what has to be said about the answer again.
//!
//! A call comes to its second decision only if the first one allowed it. A rule whose every input
//! is the same then says the same, and fails in the same way: nothing that denies. What is not
//! seen to be the same here counts as changed, so a mistake costs a decision and never loses one.

use std::collections::BTreeSet;

use lictor_proto::decision::ObligationKind;
use regorus::unstable::{BoolOp, Expr, Literal, LiteralStmt, Rule, RuleBody, RuleHead};

use super::elements::obligation_kind;
use super::functions::absolute;
use super::graph::Graph;
use super::names::Decision;
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_name, walk_expr, walk_rule};
use crate::combine::counts_for_answers;

/// Members of the input that are others when an answer is asked about.
const CHANGED: [&str; 5] = ["call_id", "phase", "request_call_id", "executed", "content"];
/// The same of its facts: a call counts in its session, and time goes on.
const CHANGED_FACTS: [&str; 5] = ["findings", "session", "signals", "provenance", "time"];
/// The phase that is looked at.
const RESPONSE: &str = "response";

/// Whether any of the rules of `policies` could say anything about an answer.
pub(super) fn speaks_of_answers(policies: &[Policy]) -> bool {
    let served = || policies.iter().filter(|policy| !policy.test);
    let reach = Reach { graph: Graph::of(served()) };
    let mut same = BTreeSet::new();
    served()
        .filter(|policy| policy.unit.is_some())
        .any(|policy| policy.module.policy.iter().any(|rule| reach.speaks(policy, rule, &mut same)))
}

struct Reach<'a> {
    graph: Graph<'a>,
}

impl<'a> Reach<'a> {
    /// `same` are rules that are known to read nothing that is changed.
    fn speaks(&self, policy: &'a Policy, rule: &'a Rule, same: &mut BTreeSet<usize>) -> bool {
        let decision = head_name(rule).and_then(|(name, _)| Decision::from_name(name));
        let said_again = match decision {
            Some(Decision::Deny | Decision::Labels) => has_shadow(rule),
            Some(Decision::Obligations) => has_shadow(rule) || !is_of_requests(rule),
            _ => return false,
        };
        !self.is_guarded(policy, rule, &mut BTreeSet::new())
            && (said_again || self.reads_changed(policy, rule, same))
    }

    /// Whether a rule reads what is changed, itself or through others. If none of them does, all
    /// of them are added to `seen`.
    fn reads_changed(
        &self,
        policy: &'a Policy,
        rule: &'a Rule,
        seen: &mut BTreeSet<usize>,
    ) -> bool {
        let mut open = vec![(policy, rule)];
        while let Some((policy, rule)) = open.pop() {
            let mut changed = false;
            walk_rule(rule, &mut |node| {
                changed |= reads_changed(policy, &node);
                for number in self.read_by(policy, &node) {
                    if seen.insert(number) {
                        let named = self.graph.rules.get(number);
                        open.extend(named.into_iter().flat_map(|named| named.definitions.clone()));
                    }
                }
            });
            if changed {
                return true;
            }
        }
        false
    }

    /// The rules that a node of a walk reads or calls.
    fn read_by(&self, policy: &'a Policy, node: &Node<'a>) -> BTreeSet<usize> {
        match node {
            Node::Reference(expr) | Node::Call { function: expr, .. } => {
                self.graph.read_by(policy, expr)
            }
            _ => BTreeSet::new(),
        }
    }

    /// Whether no body of a rule can hold in phase `response`, nor fail there: each begins with a
    /// statement that does not hold then, and the engine keeps a statement without variables first.
    fn is_guarded(&self, policy: &'a Policy, rule: &'a Rule, above: &mut BTreeSet<usize>) -> bool {
        let Rule::Spec { bodies, .. } = rule else { return false };
        !bodies.is_empty() && bodies.iter().all(|body| self.guards(policy, rule, body, above))
    }

    fn guards(
        &self,
        policy: &'a Policy,
        rule: &'a Rule,
        body: &'a RuleBody,
        above: &mut BTreeSet<usize>,
    ) -> bool {
        let Some(LiteralStmt { literal, with_mods, .. }) = body.query.stmts.first() else {
            return false;
        };
        match literal {
            _ if !with_mods.is_empty() => false,
            Literal::NotExpr { expr, .. } => is_phase(expr, BoolOp::Eq) == Some(RESPONSE),
            Literal::Expr { expr, .. } => {
                excludes_answers(expr) || self.is_guarded_name(policy, rule, expr, above)
            }
            _ => false,
        }
    }

    /// Whether an expression is nothing but a rule or a function without a value in phase `response`.
    fn is_guarded_name(
        &self,
        policy: &'a Policy,
        rule: &'a Rule,
        expr: &'a Expr,
        above: &mut BTreeSet<usize>,
    ) -> bool {
        let called = match expr {
            Expr::Call { fcn, params, .. } => {
                let mut same = true;
                for param in params {
                    walk_expr(param, &mut |node| {
                        same &= !reads_changed(policy, &node);
                        same &= self.read_by(policy, &node).is_empty();
                    });
                }
                if !same {
                    return false;
                }
                fcn.as_ref()
            }
            Expr::Var { .. } | Expr::RefDot { .. } => expr,
            _ => return false,
        };
        let Some((_, parts)) = flatten(called) else { return false };
        let steps: Vec<&str> = parts.iter().filter_map(Part::name).collect();
        if steps.len() < parts.len() || steps.first().is_none_or(|root| binds(rule, root)) {
            return false;
        }
        let mut path: Vec<&str> = policy.package.iter().map(String::as_str).collect();
        path.extend(&steps);
        let path = absolute(policy, &steps).unwrap_or(path);
        let found = self.graph.read_by(policy, called);
        let mut found =
            found.iter().filter_map(|number| Some((*number, self.graph.rules.get(*number)?)));
        let (Some((number, named)), None) = (found.next(), found.next()) else { return false };
        // A rule that leads to itself is refused elsewhere; nothing is concluded from it here.
        if named.path != path || !above.insert(number) {
            return false;
        }
        let guarded = named.definitions.iter().all(|(policy, rule)| {
            has_no_value_of_its_own(rule) && self.is_guarded(policy, rule, above)
        });
        above.remove(&number);
        guarded
    }
}

impl<'a> Part<'a> {
    fn name(&self) -> Option<&'a str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Dynamic => None,
        }
    }
}

/// Whether a rule is undefined unless a body holds: no set, no default, no part of an object.
fn has_no_value_of_its_own(rule: &Rule) -> bool {
    let plain = head_name(rule).is_some_and(|(_, plain)| plain);
    let head =
        matches!(rule, Rule::Spec { head: RuleHead::Compr { .. } | RuleHead::Func { .. }, .. });
    plain && head
}

fn binds(rule: &Rule, wanted: &str) -> bool {
    let mut binds = false;
    walk_rule(rule, &mut |node| binds |= matches!(node, Node::Binding(name) if name == wanted));
    binds
}

/// Whether a statement does not hold in phase `response`, whatever else is asked.
fn excludes_answers(expr: &Expr) -> bool {
    if let Expr::Membership { key: None, value, collection, .. } = expr {
        let (Expr::Array { items, .. } | Expr::Set { items, .. }) = collection.as_ref() else {
            return false;
        };
        let other = |item: &Expr| text_of(item).is_some_and(|text| text != RESPONSE);
        return is_the_phase(value) && items.iter().all(|item| other(item));
    }
    is_phase(expr, BoolOp::Eq).is_some_and(|phase| phase != RESPONSE)
        || is_phase(expr, BoolOp::Ne) == Some(RESPONSE)
}

/// The text that the phase is compared with by `wanted`.
fn is_phase(expr: &Expr, wanted: BoolOp) -> Option<&str> {
    let Expr::BoolExpr { op, lhs, rhs, .. } = expr else { return None };
    if *op != wanted {
        return None;
    }
    match (is_the_phase(lhs), is_the_phase(rhs)) {
        (true, false) => text_of(rhs),
        (false, true) => text_of(lhs),
        _ => None,
    }
}

fn is_the_phase(expr: &Expr) -> bool {
    let parts = flatten(expr).map(|(_, parts)| parts).unwrap_or_default();
    matches!(parts.as_slice(), [Part::Name("input"), Part::Name("phase")])
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::String { value: regorus::Value::String(text), .. }
        | Expr::RawString { value: regorus::Value::String(text), .. } => Some(text),
        _ => None,
    }
}

/// Whether a node reads a part of the input that is changed, or more than is known of.
fn reads_changed(policy: &Policy, node: &Node<'_>) -> bool {
    let Node::Reference(expr) = node else { return false };
    let Some((_, parts)) = flatten(expr) else { return false };
    let Some((Part::Name(root), rest)) = parts.split_first() else { return false };
    if *root == "input" {
        return is_changed(rest);
    }
    policy.module.imports.iter().any(|import| {
        let Some((_, target)) = flatten(&import.refr) else { return true };
        let own = target.last().and_then(Part::name);
        let alias = import.r#as.as_ref().map(|span| span.text()).or(own);
        let Some((Part::Name("input"), below)) = target.split_first() else { return false };
        alias == Some(*root) && is_changed(&[below, rest].concat())
    })
}

/// Whether what a path below `input` leads to is changed, wholly or in part.
fn is_changed(path: &[Part<'_>]) -> bool {
    match path {
        [Part::Name("facts"), Part::Name(fact), ..] => CHANGED_FACTS.contains(fact),
        [Part::Name("facts"), ..] => true,
        [Part::Name(member), ..] => CHANGED.contains(member),
        _ => true,
    }
}

/// Whether an obligation is of a sort that only a request can be put under.
fn is_of_requests(rule: &Rule) -> bool {
    let mut kinds = said(rule, "type").into_iter();
    let kind = match (kinds.next(), kinds.next()) {
        (Some(value), None) => text_of(value).and_then(|name| obligation_kind(name).ok()),
        _ => None,
    };
    kind.is_some_and(|kind: ObligationKind| !counts_for_answers(kind))
}

/// Whether what the rule says is enforced from a time on, which may lie between both decisions.
fn has_shadow(rule: &Rule) -> bool {
    !said(rule, "shadow").is_empty()
}

/// The values of a member in what a rule says, where that is written out.
fn said<'a>(rule: &'a Rule, member: &str) -> Vec<&'a Expr> {
    let Rule::Spec { head: RuleHead::Set { key: Some(key), .. }, .. } = rule else {
        return Vec::new();
    };
    let Expr::Object { fields, .. } = key.as_ref() else { return Vec::new() };
    let named = fields.iter().filter(|(_, name, _)| text_of(name) == Some(member));
    named.map(|(_, _, value)| value.as_ref()).collect()
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
