//! Rules that do not depend on the input always give the same answer, so that one
//! which fails would fail every call: they are tried once at load.

use std::collections::BTreeSet;

use regorus::Engine;
use regorus::unstable::{Rule, RuleHead};

use super::generate::Generated;
use super::graph::{Graph, Named, reads_input};
use super::names::data_path;
use super::place::{Place, engine_message};
use super::run;
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_refr, walk_rule};
use crate::diagnostic::Diagnostic;

/// Evaluates every rule that cannot depend on the input.
pub(crate) fn check(
    policies: &[Policy],
    engine: &Engine,
    generated: &Generated,
    problems: &mut Vec<Diagnostic>,
) {
    let graph = Graph::of(policies.iter().filter(|policy| !policy.test));
    let open = open_rules(&graph);
    for (number, named) in graph.rules.iter().enumerate() {
        let Some((policy, rule)) = named.definitions.first().filter(|(_, rule)| !is_function(rule))
        else {
            continue;
        };
        if open.contains(&number) {
            continue;
        }
        // The engine knows a rule by all that is fixed of its head.
        let mut parts = policy.package.clone();
        for part in flatten(head_refr(rule)).map(|(_, parts)| parts).into_iter().flatten() {
            let Part::Name(name) = part else { break };
            parts.push(name.to_owned());
        }
        if let Err(text) = run::rule(&mut engine.clone(), &data_path(&parts), run::LOAD_TIME) {
            let place =
                Place::find(&text).map(|place| generated.original(place)).unwrap_or_else(|| {
                    Place {
                        file: policy.name.clone(),
                        line: rule.span().line,
                        col: rule.span().col,
                    }
                });
            let message = format!(
                "`{}` fails for every call: {}",
                named.path.join("."),
                engine_message(&text)
            );
            problems.push(
                Diagnostic::error("rego_constant", &place.file, message).at(place.line, place.col),
            );
        }
    }
}

fn is_function(rule: &Rule) -> bool {
    match rule {
        Rule::Spec { head: RuleHead::Func { .. }, .. } => true,
        Rule::Default { args, .. } => !args.is_empty(),
        Rule::Spec { .. } => false,
    }
}

/// Rules that may depend on the input, directly or through others: rather too many
/// than too few.
fn open_rules(graph: &Graph<'_>) -> BTreeSet<usize> {
    let mut open = BTreeSet::new();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.rules.len()];
    for (number, named) in graph.rules.iter().enumerate() {
        let (direct, read) = reads(graph, named);
        if direct {
            open.insert(number);
        }
        for target in read {
            if let Some(readers) = readers.get_mut(target) {
                readers.push(number);
            }
        }
    }
    let mut todo: Vec<usize> = open.iter().copied().collect();
    while let Some(number) = todo.pop() {
        for reader in readers.get(number).into_iter().flatten() {
            if open.insert(*reader) {
                todo.push(*reader);
            }
        }
    }
    open
}

/// Whether a rule reads the input itself, and which rules it reads.
fn reads<'a>(graph: &Graph<'a>, named: &Named<'a>) -> (bool, BTreeSet<usize>) {
    let mut direct = false;
    let mut read = BTreeSet::new();
    for (policy, rule) in &named.definitions {
        walk_rule(rule, &mut |node| match node {
            Node::Reference(expr) | Node::WithTarget(expr) | Node::Call { function: expr, .. } => {
                direct |= reads_input(policy, expr);
                read.extend(graph.read_by(policy, expr));
            }
            _ => {}
        });
    }
    (direct, read)
}
