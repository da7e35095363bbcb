//! The forms of Rego that a fast program may use. What is not named here the machine compiles, but
//! some of it it means otherwise than the interpreter.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Query, Rule, RuleHead, Span};

use super::super::builtins;
use super::super::names::RESERVED;
use super::super::source::Policy;
use super::super::walk::{Node, Part, flatten, head_name, walk_outside, walk_query, walk_rule};
use crate::engine::Slow;

/// Looks at every rule that can be reached, by its full path.
///
/// # Errors
/// The first form that is not in the subset, with its line.
pub(super) fn check(policies: &[Policy], reached: &BTreeSet<&str>) -> Result<(), Slow> {
    let arities = arities(policies);
    // Those of the loader ask, and were not written by anybody.
    let own = format!("data.{RESERVED}.");
    let mut unseen: BTreeSet<&str> =
        reached.iter().copied().filter(|path| !path.starts_with(&own)).collect();
    for policy in policies.iter().filter(|policy| !policy.test) {
        for rule in &policy.module.policy {
            let paths = paths(policy, rule);
            if paths.is_empty() || paths.iter().any(|path| reached.contains(path.as_str())) {
                unseen.retain(|path| !paths.iter().any(|own| own == path));
                Subset { policy, arities: &arities }.rule(rule)?;
            }
        }
    }
    // The engine may spell a path otherwise than it is spelled here.
    match unseen.first() {
        Some(path) => {
            Err(Slow::new("", &format!("the rule `{path}`, which cannot be found again")))
        }
        None => Ok(()),
    }
}

/// What a program may call a rule: a rule of a decision is asked by its copy, which has the same
/// head and body. Empty for a name of several parts.
fn paths(policy: &Policy, rule: &Rule) -> Vec<String> {
    let Some((name, true)) = head_name(rule) else { return Vec::new() };
    let package = policy.package.join(".");
    vec![format!("data.{package}.{name}"), format!("data.{package}.{RESERVED}_{name}")]
}

/// How many parameters the functions of a name take.
fn arities(policies: &[Policy]) -> BTreeMap<&str, BTreeSet<usize>> {
    let mut arities: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for rule in policies.iter().flat_map(|policy| &policy.module.policy) {
        if let Rule::Spec { head: RuleHead::Func { args, .. }, .. } = rule.as_ref()
            && let Some((name, _)) = head_name(rule)
        {
            arities.entry(name).or_default().insert(args.len());
        }
    }
    arities
}

/// What is still to be looked at.
enum Todo<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

struct Subset<'a> {
    policy: &'a Policy,
    arities: &'a BTreeMap<&'a str, BTreeSet<usize>>,
}

impl<'a> Subset<'a> {
    fn slow(&self, span: &Span, why: &str) -> Slow {
        Slow::new(&format!("{}:{}", self.policy.name, span.line), why)
    }

    fn rule(&self, rule: &'a Rule) -> Result<(), Slow> {
        let span = rule.span();
        if head_name(rule).is_none_or(|(_, plain)| !plain) {
            return Err(self.slow(span, "a rule whose name has several parts"));
        }
        self.names(rule)?;
        let mut todo = Vec::new();
        match rule {
            Rule::Default { args, value, .. } => {
                if !args.is_empty() {
                    return Err(self.slow(span, "a default of a function"));
                }
                self.no_iteration(value)?;
                todo.push(Todo::Expr(value));
            }
            Rule::Spec { head, bodies, .. } => {
                if bodies.len() > 1 {
                    return Err(self.slow(span, "a rule with several bodies, or with `else`"));
                }
                self.head(head, &mut todo)?;
                for body in bodies {
                    if let Some(assign) = &body.assign {
                        self.no_iteration(&assign.value)?;
                        todo.push(Todo::Expr(&assign.value));
                    }
                    todo.push(Todo::Query(&body.query));
                }
            }
        }
        while let Some(next) = todo.pop() {
            match next {
                Todo::Expr(expr) => self.expr(expr, &mut todo)?,
                Todo::Query(query) => {
                    query.stmts.iter().try_for_each(|stmt| self.statement(stmt, &mut todo))?;
                }
            }
        }
        Ok(())
    }

    fn head(&self, head: &'a RuleHead, todo: &mut Vec<Todo<'a>>) -> Result<(), Slow> {
        let value = match head {
            RuleHead::Compr { assign, .. } => assign.as_ref().map(|assign| &assign.value),
            RuleHead::Set { key, .. } => key.as_ref(),
            RuleHead::Func { args, assign, .. } => {
                if let Some(odd) = args.iter().find(|arg| variable(arg).is_none()) {
                    return Err(self.slow(odd.span(), "a parameter that is not a name"));
                }
                assign.as_ref().map(|assign| &assign.value)
            }
        };
        if let Some(value) = value {
            self.no_iteration(value)?;
            todo.push(Todo::Expr(value));
        }
        Ok(())
    }

    /// Each name is bound once, and a name that is an index is bound elsewhere: the engines do not
    /// always agree on which binding is meant, and where a name is a new one.
    fn names(&self, rule: &'a Rule) -> Result<(), Slow> {
        let mut bound = BTreeSet::new();
        let mut twice = false;
        walk_rule(rule, &mut |node| {
            if let Node::Binding(name) = node {
                twice |= name != "_" && !bound.insert(name);
            }
        });
        if twice {
            return Err(self.slow(rule.span(), "a name that is bound twice in one rule"));
        }
        let mut odd = None;
        walk_rule(rule, &mut |node| {
            let known = |name: &str| name == "_" || bound.contains(name) || self.is_rule(name);
            odd = odd.or_else(|| index_names(&node).find(|span| !known(span.text())));
        });
        match odd {
            Some(span) => Err(self.slow(span, "an iteration by a name; write `some k, v in xs`")),
            None => Ok(()),
        }
    }

    fn is_rule(&self, name: &str) -> bool {
        self.policy
            .module
            .policy
            .iter()
            .any(|rule| head_name(rule).is_some_and(|(own, _)| own == name))
    }

    /// A name that `every` binds must not be an index: the compiler takes it for a new one there.
    fn no_index_of(&self, names: &[&str], query: &Query) -> Result<(), Slow> {
        let mut found = None;
        walk_query(query, &mut |node| {
            found = found.or_else(|| index_names(&node).find(|span| names.contains(&span.text())));
        });
        match found {
            Some(span) => Err(self.slow(span, "an index that `every` binds")),
            None => Ok(()),
        }
    }

    /// What is said must not iterate by itself: over what is no collection the interpreter reports
    /// an error then, and else finds nothing.
    fn no_iteration(&self, expr: &Expr) -> Result<(), Slow> {
        let mut found = None;
        walk_outside(expr, &mut |node| {
            if let Node::Reference(Expr::Var { span, .. }) = node
                && span.text() == "_"
            {
                found = Some(span);
            }
        });
        match found {
            Some(span) => Err(self.slow(span, "an iteration in what a rule or comprehension says")),
            None => Ok(()),
        }
    }

    fn statement(&self, stmt: &'a LiteralStmt, todo: &mut Vec<Todo<'a>>) -> Result<(), Slow> {
        if !stmt.with_mods.is_empty() {
            return Err(self.slow(&stmt.span, "`with`"));
        }
        match &stmt.literal {
            Literal::SomeVars { span, .. } => {
                return Err(self.slow(span, "`some` without `in`"));
            }
            Literal::SomeIn { key, value, collection, .. } => {
                let odd = key.iter().chain([value]).find(|pattern| !is_name(pattern));
                if let Some(odd) = odd {
                    return Err(self.slow(odd.span(), "a pattern in `some .. in`"));
                }
                todo.push(Todo::Expr(collection));
            }
            Literal::Expr { expr, .. } => match expr.as_ref() {
                Expr::AssignExpr { span, op, lhs, rhs, .. } => {
                    if *op != AssignOp::ColEq || variable(lhs).is_none() {
                        return Err(self.slow(span, "`=`, or an assignment to a pattern"));
                    }
                    todo.push(Todo::Expr(rhs));
                }
                other => todo.push(Todo::Expr(other)),
            },
            Literal::NotExpr { expr, .. } => todo.push(Todo::Expr(expr)),
            Literal::Every { key, value, domain, query, .. } => {
                let names: Vec<&str> = key.iter().chain([value]).map(|name| name.text()).collect();
                self.no_index_of(&names, query)?;
                todo.extend([Todo::Expr(domain), Todo::Query(query)]);
            }
        }
        Ok(())
    }

    fn expr(&self, expr: &'a Expr, todo: &mut Vec<Todo<'a>>) -> Result<(), Slow> {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
            | Expr::Var { .. } => {}
            Expr::RefDot { refr, .. } => todo.push(Todo::Expr(refr)),
            Expr::RefBrack { refr, index, .. } => {
                todo.extend([Todo::Expr(refr), Todo::Expr(index)]);
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                todo.extend(items.iter().map(|item| Todo::Expr(item)));
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    todo.extend([Todo::Expr(key), Todo::Expr(value)]);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.no_iteration(term)?;
                todo.extend([Todo::Expr(term), Todo::Query(query)]);
            }
            Expr::Call { span, fcn, params, .. } => {
                if !self.takes(fcn, params.len()) {
                    return Err(self.slow(span, "a call with a parameter for its result"));
                }
                todo.extend(params.iter().map(|param| Todo::Expr(param)));
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. } => todo.extend([Todo::Expr(lhs), Todo::Expr(rhs)]),
            Expr::Membership { span, key, value, collection, .. } => {
                if key.is_some() {
                    return Err(self.slow(span, "`key, value in collection`"));
                }
                todo.extend([Todo::Expr(value), Todo::Expr(collection)]);
            }
            Expr::UnaryExpr { expr, .. } => todo.push(Todo::Expr(expr)),
            Expr::ObjectCompr { span, .. } => {
                let why = "a comprehension of an object, whose keys can conflict";
                return Err(self.slow(span, why));
            }
            Expr::AssignExpr { span, .. } => {
                return Err(self.slow(span, "an assignment inside of an expression"));
            }
        }
        Ok(())
    }

    /// Whether the called function takes that many arguments, and so none for its result.
    fn takes(&self, function: &Expr, given: usize) -> bool {
        let Some((_, parts)) = flatten(function) else { return false };
        let Some(Part::Name(last)) = parts.last() else { return false };
        let names = parts.iter().map(|part| match part {
            Part::Name(name) => *name,
            Part::Dynamic => "",
        });
        let name = names.collect::<Vec<_>>().join(".");
        match self.arities.get(last) {
            Some(own) => own.contains(&given) && own.len() == 1,
            None => builtins::arity(&name) == given,
        }
    }
}

/// The names that are indices of a reference, outermost first.
fn index_names<'a>(node: &Node<'a>) -> impl Iterator<Item = &'a Span> + use<'a> {
    let first = match node {
        Node::Reference(expr) => Some(*expr),
        _ => None,
    };
    let steps = std::iter::successors(first, |at| match at {
        Expr::RefBrack { refr, .. } | Expr::RefDot { refr, .. } => Some(refr.as_ref()),
        _ => None,
    });
    steps.filter_map(|step| match step {
        Expr::RefBrack { index, .. } => match index.as_ref() {
            Expr::Var { span, .. } => Some(span),
            _ => None,
        },
        _ => None,
    })
}

/// The name of a variable, other than the one that stands for anything.
fn variable(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Var { span, .. } if span.text() != "_" => Some(span.text()),
        _ => None,
    }
}

fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Var { .. })
}
