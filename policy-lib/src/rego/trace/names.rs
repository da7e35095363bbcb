//! Which local variables a statement uses, and which comprehensions it holds.
//!
//! The engine evaluates the statements of a body in an order of its own: as soon
//! as what they use is bound. A marker that names the same variables as the
//! statement before it is therefore evaluated right after that statement.

use std::collections::BTreeSet;

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Query};

/// The direct parts of an expression; not what stands in comprehensions.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().map(|item| item.as_ref()).collect()
        }
        Expr::Object { fields, .. } => {
            fields.iter().flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()]).collect()
        }
        Expr::Call { params, .. } => params.iter().map(|param| param.as_ref()).collect(),
        Expr::UnaryExpr { expr, .. } | Expr::RefDot { refr: expr, .. } => vec![expr],
        Expr::RefBrack { refr, index, .. } => vec![refr, index],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership { key, value, collection, .. } => key
            .iter()
            .map(|key| key.as_ref())
            .chain([value.as_ref(), collection.as_ref()])
            .collect(),
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. }
        | Expr::ArrayCompr { .. }
        | Expr::SetCompr { .. }
        | Expr::ObjectCompr { .. } => Vec::new(),
    }
}

/// The expressions of a statement, without the body of an `every`.
pub(crate) fn expressions(stmt: &LiteralStmt) -> Vec<&Expr> {
    let with = stmt.with_mods.iter().map(|with| with.r#as.as_ref());
    let own: Vec<&Expr> = match &stmt.literal {
        Literal::SomeVars { .. } => Vec::new(),
        Literal::SomeIn { key, value, collection, .. } => key
            .iter()
            .map(|key| key.as_ref())
            .chain([value.as_ref(), collection.as_ref()])
            .collect(),
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => vec![expr],
        Literal::Every { domain, .. } => vec![domain],
    };
    own.into_iter().chain(with).collect()
}

/// The outermost comprehensions in expressions.
pub(super) fn comprehensions(exprs: Vec<&Expr>) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut todo = exprs;
    while let Some(expr) = todo.pop() {
        match expr {
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => {
                found.push(expr);
            }
            _ => todo.extend(children(expr)),
        }
    }
    found.sort_by_key(|expr| expr.span().start);
    found
}

/// The body of a comprehension, and what it gives.
pub(super) fn comprehension(expr: &Expr) -> Option<(&Query, Vec<&Expr>)> {
    match expr {
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            Some((query, vec![term]))
        }
        Expr::ObjectCompr { key, value, query, .. } => Some((query, vec![key, value])),
        _ => None,
    }
}

/// Every variable in expressions, outside comprehensions.
pub(crate) fn variables(exprs: Vec<&Expr>) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut todo = exprs;
    while let Some(expr) = todo.pop() {
        if let Expr::Var { span, .. } = expr {
            found.insert(span.text());
        }
        todo.extend(children(expr));
    }
    found
}

/// What a statement declares for its body: `some`, `:=`.
fn declared<'a>(stmt: &'a LiteralStmt, found: &mut BTreeSet<&'a str>) {
    match &stmt.literal {
        Literal::SomeVars { vars, .. } => found.extend(vars.iter().map(|var| var.text())),
        Literal::SomeIn { key, value, .. } => {
            let patterns = key.iter().map(|key| key.as_ref()).chain([value.as_ref()]);
            found.extend(variables(patterns.collect()));
        }
        Literal::Expr { expr, .. } => {
            if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } = expr.as_ref() {
                found.extend(variables(vec![lhs]));
            }
        }
        Literal::NotExpr { .. } | Literal::Every { .. } => {}
    }
}

/// The variables that are bound once a body holds: those it declares, and those it
/// uses that name nothing outside.
pub(crate) fn bound<'a>(
    query: &'a Query,
    outer: &BTreeSet<&'a str>,
    globals: &BTreeSet<String>,
) -> BTreeSet<&'a str> {
    let mut own = outer.clone();
    for stmt in &query.stmts {
        if !matches!(stmt.literal, Literal::NotExpr { .. }) {
            let used = variables(expressions(stmt));
            own.extend(used.into_iter().filter(|name| !globals.contains(*name)));
        }
    }
    for stmt in &query.stmts {
        declared(stmt, &mut own);
    }
    own.remove("_");
    own
}

/// The variables of a body that a statement needs or binds.
pub(crate) fn needed<'a>(stmt: &'a LiteralStmt, bound: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let own = expressions(stmt);
    let mut used = variables(own.clone());
    declared(stmt, &mut used);
    for compr in comprehensions(own) {
        used.extend(free(compr));
    }
    used.into_iter().filter(|name| bound.contains(name)).collect()
}

/// What a comprehension uses and does not declare itself.
fn free(compr: &Expr) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    let mut hidden = BTreeSet::new();
    let mut todo = vec![compr];
    let mut queries: Vec<&Query> = Vec::new();
    loop {
        while let Some(expr) = todo.pop() {
            let Some((query, terms)) = comprehension(expr) else { continue };
            used.extend(variables(terms.clone()));
            todo.extend(comprehensions(terms));
            queries.push(query);
        }
        let Some(query) = queries.pop() else { break };
        for stmt in &query.stmts {
            declared(stmt, &mut hidden);
            used.extend(variables(expressions(stmt)));
            todo.extend(comprehensions(expressions(stmt)));
            if let Literal::Every { key, value, query, .. } = &stmt.literal {
                hidden.extend(key.iter().chain([value]).map(|name| name.text()));
                queries.push(query);
            }
        }
    }
    used.difference(&hidden).copied().collect()
}
