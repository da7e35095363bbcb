//! Patterns that come from the call: whoever calls could make each decision compile a pattern of
//! their own, as large as they like, and match by it what they like. They are refused unless the
//! rule says that they are meant:
//!
//! ```rego
//! # METADATA
//! # custom:
//! #   lictor:
//! #     patterns_from_calls: true
//! ```
//!
//! What a value comes from is told by its parts: members of `input` come from the call, and so does
//! what is computed of them, in variables, rules, and parameters of functions. What is looked up in
//! `data` does not, whatever the key.

use std::collections::BTreeSet;

use regorus::unstable::{AssignOp, Expr, Literal, Query, Rule, RuleHead};

use super::functions::absolute;
use super::metadata;
use super::source::Policy;
use super::walk::{Node, Part, flatten, head_name, walk_rule};
use crate::diagnostic::Diagnostic;

/// Builtins, and which of their arguments are patterns.
const PATTERNS: &[(&str, &[usize])] = &[
    ("glob.match", &[0]),
    ("regex.find_all_string_submatch_n", &[0]),
    ("regex.find_n", &[0]),
    ("regex.globs_match", &[0, 1]),
    ("regex.is_valid", &[0]),
    ("regex.match", &[0]),
    ("regex.replace", &[1]),
    ("regex.split", &[0]),
    ("regex.template_match", &[0]),
];

/// The custom annotation of rules that mean it.
pub(crate) const MARK: &str = "patterns_from_calls";

/// Refuses them in what is served.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let served = || policies.iter().filter(|policy| !policy.test);
    let asks = |rule: &Rule| {
        let mut asks = false;
        walk_rule(rule, &mut |node| {
            asks |= matches!(node, Node::Call { function, .. } if patterns_of(function).is_some());
        });
        asks
    };
    if !served().flat_map(|policy| &policy.module.policy).any(|rule| asks(rule)) {
        return;
    }
    let tainted = Tainted::of(&served().collect::<Vec<_>>());
    for policy in served() {
        let marked = metadata::marked(policy, MARK);
        for (number, rule) in policy.module.policy.iter().enumerate() {
            if !marked.contains(&number) && asks(rule) {
                refuse(policy, rule, &tainted, problems);
            }
        }
    }
}

fn refuse(policy: &Policy, rule: &Rule, tainted: &Tainted, problems: &mut Vec<Diagnostic>) {
    let locals = tainted.locals(policy, rule);
    let view = View { policy, tainted, locals: &locals };
    walk_rule(rule, &mut |node| {
        let Node::Call { function, params, .. } = node else { return };
        for at in patterns_of(function).unwrap_or_default() {
            let Some(pattern) = params.get(*at).filter(|pattern| view.comes(pattern)) else {
                continue;
            };
            let said = pattern.span().text().lines().next().unwrap_or_default().to_owned();
            let message = format!("the pattern `{said}` comes from the call");
            let problem = policy.error("rego_pattern", pattern.span(), message);
            problems.push(problem.help(format!(
                "take it from `data`, or annotate the rule with `custom.lictor.{MARK}: true` if it is meant"
            )));
        }
    });
}

fn patterns_of(function: &Expr) -> Option<&'static [usize]> {
    let name = named(function)?.join(".");
    PATTERNS.iter().find(|(known, _)| *known == name).map(|(_, at)| *at)
}

/// A reference of names alone.
fn named(expr: &Expr) -> Option<Vec<&str>> {
    let (_, parts) = flatten(expr)?;
    let names = parts.into_iter().map(|part| match part {
        Part::Name(name) => Some(name),
        Part::Dynamic => None,
    });
    names.collect()
}

/// What gives values of calls: rules by path, and parameters of functions.
#[derive(Default)]
struct Tainted {
    rules: BTreeSet<String>,
    params: BTreeSet<(String, usize)>,
}

impl Tainted {
    /// Goes over all rules until nothing new is found.
    fn of(policies: &[&Policy]) -> Self {
        let mut tainted = Self::default();
        loop {
            let before = (tainted.rules.len(), tainted.params.len());
            for policy in policies {
                policy.module.policy.iter().for_each(|rule| tainted.add(policy, rule));
            }
            if before == (tainted.rules.len(), tainted.params.len()) {
                return tainted;
            }
        }
    }

    fn add(&mut self, policy: &Policy, rule: &Rule) {
        let locals = self.locals(policy, rule);
        let mut rules = Vec::new();
        let mut params_found = Vec::new();
        let view = View { policy, tainted: self, locals: &locals };
        if said(rule).into_iter().any(|expr| view.comes(expr)) {
            rules.extend(path_of(policy, rule));
        }
        walk_rule(rule, &mut |node| {
            let Node::Call { function, params, .. } = node else { return };
            let Some(path) = called(policy, function) else { return };
            let given = params.iter().enumerate().filter(|(_, param)| view.comes(param));
            params_found.extend(given.map(|(at, _)| (path.clone(), at)));
        });
        self.rules.extend(rules);
        self.params.extend(params_found);
    }

    /// Variables of a rule that hold what comes from the call.
    fn locals<'a>(&self, policy: &'a Policy, rule: &'a Rule) -> BTreeSet<&'a str> {
        let mut locals = BTreeSet::new();
        if let Rule::Spec { head: RuleHead::Func { args, .. }, .. } = rule
            && let Some(path) = path_of(policy, rule)
        {
            let own = args.iter().enumerate();
            let own = own.filter(|(at, _)| self.params.contains(&(path.clone(), *at)));
            own.for_each(|(_, arg)| names_in(arg, &mut locals));
        }
        loop {
            let before = locals.len();
            let mut found = Vec::new();
            let view = View { policy, tainted: self, locals: &locals };
            for query in queries(rule) {
                bind(query, &view, &mut found);
            }
            locals.extend(found);
            if locals.len() == before {
                return locals;
            }
        }
    }
}

/// What one statement after the other gives names to.
fn bind<'a>(query: &'a Query, view: &View<'_>, found: &mut Vec<&'a str>) {
    let mut names = BTreeSet::new();
    for stmt in &query.stmts {
        match &stmt.literal {
            Literal::SomeIn { key, value, collection, .. } if view.comes(collection) => {
                key.iter().chain([value]).for_each(|pattern| names_in(pattern, &mut names));
            }
            Literal::Every { key, value, domain, .. } if view.comes(domain) => {
                names.extend(key.iter().chain([value]).map(|span| span.text()));
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr { op, lhs, rhs, .. } = expr.as_ref() {
                    if view.comes(rhs) {
                        names_in(lhs, &mut names);
                    }
                    if *op == AssignOp::Eq && view.comes(lhs) {
                        names_in(rhs, &mut names);
                    }
                }
            }
            _ => {}
        }
    }
    found.extend(names);
}

/// Every variable of a pattern.
fn names_in<'a>(pattern: &'a Expr, names: &mut BTreeSet<&'a str>) {
    let mut todo = vec![pattern];
    while let Some(next) = todo.pop() {
        match next {
            Expr::Var { span, .. } => {
                names.insert(span.text());
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                todo.extend(items.iter().map(|item| item.as_ref()));
            }
            Expr::Object { fields, .. } => {
                todo.extend(fields.iter().map(|(_, _, value)| value.as_ref()));
            }
            _ => {}
        }
    }
}

/// Every body of a rule, also those of its comprehensions and `every`s.
fn queries(rule: &Rule) -> Vec<&Query> {
    let mut found = Vec::new();
    let mut todo: Vec<&Expr> = said(rule);
    if let Rule::Spec { bodies, .. } = rule {
        bodies.iter().for_each(|body| open(&body.query, &mut found, &mut todo));
    }
    while let Some(expr) = todo.pop() {
        if let Expr::ArrayCompr { query, .. }
        | Expr::SetCompr { query, .. }
        | Expr::ObjectCompr { query, .. } = expr
        {
            open(query, &mut found, &mut todo);
        }
        todo.extend(parts(expr));
    }
    found
}

fn open<'a>(query: &'a Query, found: &mut Vec<&'a Query>, todo: &mut Vec<&'a Expr>) {
    let mut queries = vec![query];
    while let Some(query) = queries.pop() {
        found.push(query);
        for stmt in &query.stmts {
            match &stmt.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn { collection, .. } => todo.push(collection),
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => todo.push(expr),
                Literal::Every { domain, query, .. } => {
                    todo.push(domain);
                    queries.push(query);
                }
            }
        }
    }
}

/// What a rule says when it holds.
fn said(rule: &Rule) -> Vec<&Expr> {
    match rule {
        Rule::Default { value, .. } => vec![value],
        Rule::Spec { head, bodies, .. } => {
            let own = match head {
                RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                    assign.as_ref().map(|assign| assign.value.as_ref())
                }
                RuleHead::Set { key, .. } => key.as_ref().map(|key| key.as_ref()),
            };
            let bodies = bodies.iter().filter_map(|body| body.assign.as_ref());
            own.into_iter().chain(bodies.map(|assign| assign.value.as_ref())).collect()
        }
    }
}

fn path_of(policy: &Policy, rule: &Rule) -> Option<String> {
    // A dotted head counts as a whole.
    let (name, _) = head_name(rule)?;
    Some(format!("{}.{name}", policy.package.join(".")))
}

/// The path of a user's function, or of a rule.
fn called(policy: &Policy, expr: &Expr) -> Option<String> {
    let names = named(expr)?;
    match absolute(policy, &names) {
        Some(path) => Some(path.join(".")),
        None => Some(format!("{}.{}", policy.package.join("."), names.first()?)),
    }
}

/// The parts whose values are in the value of an expression.
fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().map(|item| item.as_ref()).collect()
        }
        Expr::Object { fields, .. } => {
            fields.iter().flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()]).collect()
        }
        Expr::ArrayCompr { term, .. } | Expr::SetCompr { term, .. } => vec![term],
        Expr::ObjectCompr { key, value, .. } => vec![key, value],
        Expr::Call { params, .. } => params.iter().map(|param| param.as_ref()).collect(),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership { value, collection, .. } => vec![value, collection],
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::RefDot { refr, .. } => vec![refr],
        Expr::RefBrack { refr, .. } => vec![refr],
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => Vec::new(),
    }
}

/// One rule among what is known of all.
struct View<'a> {
    policy: &'a Policy,
    tainted: &'a Tainted,
    locals: &'a BTreeSet<&'a str>,
}

impl View<'_> {
    /// Whether the value of `expr` comes from the call, or a part of it does.
    fn comes(&self, expr: &Expr) -> bool {
        let mut todo = vec![expr];
        while let Some(next) = todo.pop() {
            match next {
                Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                    if self.refers(next) {
                        return true;
                    }
                    // A reference into a call or a comprehension.
                    if flatten(next).is_none() {
                        todo.extend(parts(next));
                    }
                }
                Expr::Call { fcn, .. } => {
                    let own = called(self.policy, fcn);
                    if own.is_some_and(|path| self.tainted.rules.contains(&path)) {
                        return true;
                    }
                    todo.extend(parts(next));
                }
                // True or false, whatever is compared.
                Expr::BoolExpr { .. } | Expr::Membership { .. } => {}
                other => todo.extend(parts(other)),
            }
        }
        false
    }

    fn refers(&self, expr: &Expr) -> bool {
        let Some((root, parts)) = flatten(expr) else { return false };
        let root = root.text();
        if root == "input" || self.locals.contains(root) {
            return true;
        }
        let names: Vec<&str> = parts
            .iter()
            .map_while(|part| match part {
                Part::Name(name) => Some(*name),
                Part::Dynamic => None,
            })
            .collect();
        let path = absolute(self.policy, &names);
        let path = path.unwrap_or_else(|| {
            let package = self.policy.package.iter().map(String::as_str);
            package.chain(names.iter().copied()).collect()
        });
        let whole = path.join(".");
        self.tainted.rules.iter().any(|rule| {
            rule == &whole || whole.strip_prefix(rule.as_str()).is_some_and(|r| r.starts_with('.'))
        })
    }
}

#[cfg(test)]
#[path = "patterns_tests.rs"]
mod tests;
