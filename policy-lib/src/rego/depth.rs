//! How deep an evaluation can nest. The interpreter uses the thread's stack for
//! rules that read rules, for statements that loop and for nested expressions, and
//! a stack that overflows ends the process: so the deepest path is bounded at load.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Literal, Query, Rule, RuleHead};

use super::graph::{Graph, Named};
use super::source::{Policy, Token};
use super::walk::{Node, Part, flatten, walk_rule};
use crate::diagnostic::Diagnostic;

/// Most stack that the deepest path of rules may need, in bytes: half of what a
/// thread has where nothing else is configured.
pub(crate) const MAX_STACK_BYTES: usize = 1 << 20;
/// Most operators in a row, without brackets: `a + b + c` nests as deep as it is long.
pub(crate) const MAX_OPERATORS: usize = 200;

// What the interpreter was seen to use, rounded up.
const RULE_BYTES: usize = 5 << 10;
const QUERY_BYTES: usize = 5 << 10;
const STATEMENT_BYTES: usize = 2 << 10;
const EXPRESSION_BYTES: usize = 1 << 10;

/// Where operators stand in a row, before anything is parsed.
pub(crate) fn long_chain<'t>(text: &str, tokens: &'t [Token]) -> Option<&'t Token> {
    let mut counts = vec![0usize];
    let mut operand = false;
    for token in tokens {
        let said = text.get(token.start..token.end).unwrap_or_default();
        match said {
            "(" | "[" | "{" | "set(" => {
                counts.push(0);
                operand = false;
            }
            ")" | "]" | "}" => {
                counts.pop();
                operand = true;
            }
            "+" | "-" | "*" | "/" | "%" | "&" | "|" | "=" | ":=" | "==" | "!=" | "<" | "<="
            | ">" | ">=" | "in" => {
                let count = counts.last_mut()?;
                *count += 1;
                operand = false;
                if *count > MAX_OPERATORS {
                    return Some(token);
                }
            }
            "." => operand = false,
            "," | ";" | ":" => {
                reset(&mut counts);
                operand = false;
            }
            _ => {
                // Two operands without an operator between them: a new statement.
                if operand {
                    reset(&mut counts);
                }
                operand = true;
            }
        }
    }
    None
}

fn reset(counts: &mut [usize]) {
    if let Some(count) = counts.last_mut() {
        *count = 0;
    }
}

/// Refuses rules that depend on themselves, and chains of rules that nest too deep.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let graph = Graph::of(policies.iter());
    let reads: Vec<Vec<Read>> = graph.rules.iter().map(|named| reads(&graph, named)).collect();
    let depths = depths(&reads);
    let too_deep: Vec<usize> = (0..depths.len())
        .filter(|n| depths.get(*n).is_some_and(|d| *d > MAX_STACK_BYTES))
        .collect();
    let circular: Vec<usize> =
        too_deep.iter().copied().filter(|number| reaches_itself(&reads, *number)).collect();
    let (found, message, help) = if circular.is_empty() {
        (too_deep, "nests too deep", "read fewer rules through each other, or loop less deeply")
    } else {
        (circular, "depends on itself", "")
    };
    for number in found {
        let Some(named) = graph.rules.get(number) else { continue };
        let Some((policy, rule)) = named.definitions.first() else { continue };
        // Functions are reported where calls are checked.
        if !matches!(rule, Rule::Spec { head: RuleHead::Func { .. }, .. }) {
            let message = format!("rule `{}` {message}", named.path.join("."));
            problems.push(policy.error("rego_recursion", rule.span(), message).help(help));
        }
    }
}

/// One reference to other rules, and how deep in its own rule it stands.
struct Read {
    bytes: usize,
    rules: BTreeSet<usize>,
}

/// The depth of every rule, until one is too deep.
fn depths(reads: &[Vec<Read>]) -> Vec<usize> {
    let mut depths = vec![0usize; reads.len()];
    loop {
        let next: Vec<usize> = reads
            .iter()
            .map(|own| {
                let through = |read: &Read| {
                    let deepest = read.rules.iter().filter_map(|rule| depths.get(*rule)).max();
                    read.bytes.saturating_add(deepest.copied().unwrap_or(0))
                };
                own.iter().map(through).max().unwrap_or(0).min(MAX_STACK_BYTES + 1)
            })
            .collect();
        if next == depths {
            return depths;
        }
        depths = next;
    }
}

fn reaches_itself(reads: &[Vec<Read>], start: usize) -> bool {
    let next = |number: usize| {
        reads.get(number).into_iter().flatten().flat_map(|read| read.rules.iter().copied())
    };
    let mut seen = BTreeSet::new();
    let mut todo: Vec<usize> = next(start).collect();
    while let Some(number) = todo.pop() {
        if number == start {
            return true;
        }
        if seen.insert(number) {
            todo.extend(next(number));
        }
    }
    false
}

fn reads<'a>(graph: &Graph<'a>, named: &Named<'a>) -> Vec<Read> {
    let mut found = Vec::new();
    for (policy, rule) in &named.definitions {
        let mut locals = BTreeSet::new();
        walk_rule(rule, &mut |node| {
            if let Node::Binding(name) = node {
                locals.insert(name);
            }
        });
        each_expression(rule, &mut |expr, bytes| {
            let local = matches!(flatten(expr), Some((_, parts)) if matches!(parts.first(), Some(Part::Name(name)) if locals.contains(name)));
            let rules = if local { BTreeSet::new() } else { graph.read_by(policy, expr) };
            found.push(Read { bytes, rules });
        });
    }
    found
}

enum Todo<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

/// Calls `visit` with every reference and the stack that is in use where it is
/// evaluated.
fn each_expression<'a>(rule: &'a Rule, visit: &mut dyn FnMut(&'a Expr, usize)) {
    let mut todo: Vec<(Todo<'a>, usize)> = Vec::new();
    match rule {
        Rule::Default { value, .. } => todo.push((Todo::Expr(value), RULE_BYTES)),
        Rule::Spec { head, bodies, .. } => {
            let said = match head {
                RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                    assign.as_ref().map(|a| &a.value)
                }
                RuleHead::Set { key, .. } => key.as_ref(),
            };
            // The head is evaluated inside the loops of the body.
            let loops = bodies.iter().map(|body| body.query.stmts.len()).max().unwrap_or(0);
            todo.extend(said.map(|said| (Todo::Expr(said), RULE_BYTES + loops * STATEMENT_BYTES)));
            todo.extend(bodies.iter().map(|body| (Todo::Query(&body.query), RULE_BYTES)));
            let assigned = bodies.iter().filter_map(|body| body.assign.as_ref());
            todo.extend(
                assigned.map(|assign| {
                    (Todo::Expr(&assign.value), RULE_BYTES + loops * STATEMENT_BYTES)
                }),
            );
        }
    }
    while let Some((next, bytes)) = todo.pop() {
        match next {
            Todo::Query(query) => nest_query(query, bytes, &mut todo),
            Todo::Expr(expr) => nest_expr(expr, bytes, &mut todo, visit),
        }
    }
}

fn nest_query<'a>(query: &'a Query, bytes: usize, todo: &mut Vec<(Todo<'a>, usize)>) {
    for (index, stmt) in query.stmts.iter().enumerate() {
        let bytes = bytes + (index + 1) * STATEMENT_BYTES;
        todo.extend(stmt.with_mods.iter().map(|with| (Todo::Expr(with.r#as.as_ref()), bytes)));
        match &stmt.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { collection, .. } => todo.push((Todo::Expr(collection), bytes)),
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
                todo.push((Todo::Expr(expr), bytes))
            }
            Literal::Every { domain, query, .. } => {
                todo.push((Todo::Expr(domain), bytes));
                todo.push((Todo::Query(query), bytes + QUERY_BYTES));
            }
        }
    }
}

fn nest_expr<'a>(
    expr: &'a Expr,
    bytes: usize,
    todo: &mut Vec<(Todo<'a>, usize)>,
    visit: &mut dyn FnMut(&'a Expr, usize),
) {
    let inner = bytes + EXPRESSION_BYTES;
    let mut nest = |inside: &'a Expr| todo.push((Todo::Expr(inside), inner));
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. } => {
            visit(expr, inner);
        }
        Expr::Var { .. } => visit(expr, inner),
        Expr::RefDot { refr, .. } => {
            visit(expr, inner);
            nest_root(refr, &mut nest);
        }
        Expr::RefBrack { refr, index, .. } => {
            visit(expr, inner);
            nest(index);
            nest_root(refr, &mut nest);
        }
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().for_each(|item| nest(item))
        }
        Expr::Object { fields, .. } => fields.iter().for_each(|(_, key, value)| {
            nest(key);
            nest(value);
        }),
        Expr::Call { fcn, params, .. } => {
            visit(fcn, inner);
            params.iter().for_each(|param| nest(param));
        }
        Expr::UnaryExpr { expr, .. } => nest(expr),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            nest(lhs);
            nest(rhs);
        }
        Expr::Membership { key, value, collection, .. } => {
            key.iter().for_each(|key| nest(key));
            nest(value);
            nest(collection);
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            nest_compr(&[term], query, inner, todo);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            nest_compr(&[key, value], query, inner, todo)
        }
    }
}

/// The dynamic steps of a reference and its root, which are not references again.
fn nest_root<'a>(refr: &'a Expr, nest: &mut dyn FnMut(&'a Expr)) {
    let mut at = refr;
    loop {
        match at {
            Expr::RefDot { refr, .. } => at = refr,
            Expr::RefBrack { refr, index, .. } => {
                nest(index);
                at = refr;
            }
            Expr::Var { .. } => return,
            root => return nest(root),
        }
    }
}

fn nest_compr<'a>(
    terms: &[&'a Expr],
    query: &'a Query,
    bytes: usize,
    todo: &mut Vec<(Todo<'a>, usize)>,
) {
    let inside = bytes + QUERY_BYTES;
    let last = inside + query.stmts.len() * STATEMENT_BYTES;
    todo.extend(terms.iter().map(|term| (Todo::Expr(term), last)));
    todo.push((Todo::Query(query), inside));
}

#[cfg(test)]
#[path = "depth_tests.rs"]
mod tests;
