//! Walking the parsed rules without recursion, so that no nesting can exhaust
//! the stack.

use regorus::unstable::{Expr, Literal, Query, Ref, Rule, RuleHead, Span};

/// One step of a reference.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Name(&'a str),
    Dynamic,
}

/// What a walk meets.
pub(crate) enum Node<'a> {
    /// A variable or a reference, outermost.
    Reference(&'a Expr),
    /// What a `with` replaces.
    WithTarget(&'a Expr),
    /// A call.
    Call { span: &'a Span, function: &'a Expr, params: &'a [Ref<Expr>] },
    /// A statement that is nothing but a call.
    CallStatement(&'a Expr),
    /// A name that the rule binds.
    Binding(&'a str),
    /// What stands behind `not`.
    Negated(&'a Expr),
    /// A minus in front of anything but a number.
    Minus(&'a Span),
}

/// A reference from its root: `data.a[x].b` is `data`, `a`, dynamic, `b`. Nothing
/// if the root is not a name.
pub(crate) fn flatten(expr: &Expr) -> Option<(&Span, Vec<Part<'_>>)> {
    let mut parts = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::RefDot { refr, field, .. } => {
                parts.push(Part::Name(field.0.text()));
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                parts.push(string_of(index).map_or(Part::Dynamic, Part::Name));
                at = refr;
            }
            Expr::Var { span, .. } => {
                parts.push(Part::Name(span.text()));
                parts.reverse();
                return Some((span, parts));
            }
            _ => return None,
        }
    }
}

fn string_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::String { value: regorus::Value::String(text), .. }
        | Expr::RawString { value: regorus::Value::String(text), .. } => Some(text),
        _ => None,
    }
}

/// The name of a rule's head, and whether it is a plain name.
pub(crate) fn head_name(rule: &Rule) -> Option<(&str, bool)> {
    let refr = head_refr(rule);
    let (_, parts) = flatten(refr)?;
    match parts.first()? {
        Part::Name(name) => Some((*name, parts.len() == 1)),
        Part::Dynamic => None,
    }
}

/// The reference of a rule's head.
pub(crate) fn head_refr(rule: &Rule) -> &Ref<Expr> {
    match rule {
        Rule::Default { refr, .. }
        | Rule::Spec {
            head:
                RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. },
            ..
        } => refr,
    }
}

enum Todo<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
}

/// Calls `visit` for everything a rule holds.
pub(crate) fn walk_rule<'a>(rule: &'a Rule, visit: &mut dyn FnMut(Node<'a>)) {
    let mut todo: Vec<Todo<'a>> = Vec::new();
    match rule {
        Rule::Default { args, value, .. } => {
            args.iter().for_each(|arg| bind(arg, visit));
            todo.push(Todo::Expr(value));
        }
        Rule::Spec { head, bodies, .. } => {
            push_head(head, &mut todo, visit);
            for body in bodies {
                todo.extend(body.assign.iter().map(|assign| Todo::Expr(&assign.value)));
                todo.push(Todo::Query(&body.query));
            }
        }
    }
    walk(todo, true, visit);
}

/// Calls `visit` for everything an expression holds.
pub(crate) fn walk_expr<'a>(expr: &'a Expr, visit: &mut dyn FnMut(Node<'a>)) {
    walk(vec![Todo::Expr(expr)], true, visit);
}

/// The same without what stands in comprehensions.
pub(crate) fn walk_outside<'a>(expr: &'a Expr, visit: &mut dyn FnMut(Node<'a>)) {
    walk(vec![Todo::Expr(expr)], false, visit);
}

/// Calls `visit` for everything a body holds.
pub(crate) fn walk_query<'a>(query: &'a Query, visit: &mut dyn FnMut(Node<'a>)) {
    walk(vec![Todo::Query(query)], true, visit);
}

fn walk<'a>(mut todo: Vec<Todo<'a>>, inside: bool, visit: &mut dyn FnMut(Node<'a>)) {
    while let Some(next) = todo.pop() {
        match next {
            Todo::Expr(
                Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. },
            ) if !inside => {}
            Todo::Expr(expr) => push_expr(expr, &mut todo, visit),
            Todo::Query(query) => push_query(query, &mut todo, visit),
        }
    }
}

fn push_head<'a>(head: &'a RuleHead, todo: &mut Vec<Todo<'a>>, visit: &mut dyn FnMut(Node<'a>)) {
    let (refr, assign) = match head {
        RuleHead::Compr { refr, assign, .. } => (refr, assign.as_ref()),
        RuleHead::Set { refr, key, .. } => {
            todo.extend(key.iter().map(|key| Todo::Expr(key)));
            (refr, None)
        }
        RuleHead::Func { refr, args, assign, .. } => {
            for arg in args {
                bind(arg, visit);
                todo.push(Todo::Expr(arg));
            }
            (refr, assign.as_ref())
        }
    };
    todo.extend(assign.map(|assign| Todo::Expr(&assign.value)));
    push_indices(refr, todo);
}

/// The dynamic steps of a reference, and its root if that is no name.
fn push_indices<'a>(expr: &'a Expr, todo: &mut Vec<Todo<'a>>) {
    let mut at = expr;
    loop {
        match at {
            Expr::RefDot { refr, .. } => at = refr,
            Expr::RefBrack { refr, index, .. } => {
                if string_of(index).is_none() {
                    todo.push(Todo::Expr(index));
                }
                at = refr;
            }
            Expr::Var { .. } => return,
            root => return todo.push(Todo::Expr(root)),
        }
    }
}

fn push_query<'a>(query: &'a Query, todo: &mut Vec<Todo<'a>>, visit: &mut dyn FnMut(Node<'a>)) {
    for stmt in &query.stmts {
        for with in &stmt.with_mods {
            visit(Node::WithTarget(&with.refr));
            todo.push(Todo::Expr(&with.r#as));
        }
        match &stmt.literal {
            Literal::SomeVars { vars, .. } => {
                vars.iter().for_each(|var| visit(Node::Binding(var.text())))
            }
            Literal::SomeIn { key, value, collection, .. } => {
                for pattern in key.iter().chain([value]) {
                    bind(pattern, visit);
                    todo.push(Todo::Expr(pattern));
                }
                todo.push(Todo::Expr(collection));
            }
            Literal::Expr { expr, .. } => {
                if matches!(expr.as_ref(), Expr::Call { .. }) {
                    visit(Node::CallStatement(expr));
                }
                todo.push(Todo::Expr(expr));
            }
            Literal::NotExpr { expr, .. } => {
                visit(Node::Negated(expr));
                todo.push(Todo::Expr(expr));
            }
            Literal::Every { key, value, domain, query, .. } => {
                key.iter().chain([value]).for_each(|var| visit(Node::Binding(var.text())));
                todo.push(Todo::Expr(domain));
                todo.push(Todo::Query(query));
            }
        }
    }
}

/// Every name in a pattern.
fn bind<'a>(pattern: &'a Expr, visit: &mut dyn FnMut(Node<'a>)) {
    let mut todo = vec![pattern];
    while let Some(next) = todo.pop() {
        match next {
            Expr::Var { span, .. } => visit(Node::Binding(span.text())),
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                todo.extend(items.iter().map(|item| item.as_ref()));
            }
            Expr::Object { fields, .. } => {
                todo.extend(fields.iter().map(|(_, _, value)| value.as_ref()))
            }
            _ => {}
        }
    }
}

fn push_expr<'a>(expr: &'a Expr, todo: &mut Vec<Todo<'a>>, visit: &mut dyn FnMut(Node<'a>)) {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. } => {}
        Expr::Var { .. } => visit(Node::Reference(expr)),
        Expr::RefDot { .. } | Expr::RefBrack { .. } => {
            visit(Node::Reference(expr));
            push_indices(expr, todo);
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
            todo.extend([Todo::Expr(term), Todo::Query(query)]);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            todo.extend([Todo::Expr(key), Todo::Expr(value), Todo::Query(query)]);
        }
        Expr::Call { span, fcn, params, .. } => {
            visit(Node::Call { span, function: fcn, params });
            todo.extend(params.iter().map(|param| Todo::Expr(param)));
        }
        Expr::UnaryExpr { span, expr, .. } => {
            if !matches!(expr.as_ref(), Expr::Number { .. }) {
                visit(Node::Minus(span));
            }
            todo.push(Todo::Expr(expr));
        }
        Expr::AssignExpr { op, lhs, rhs, .. } => {
            if *op == regorus::unstable::AssignOp::ColEq {
                bind(lhs, visit);
            }
            todo.extend([Todo::Expr(lhs), Todo::Expr(rhs)]);
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. } => {
            todo.extend([Todo::Expr(lhs), Todo::Expr(rhs)]);
        }
        Expr::Membership { key, value, collection, .. } => {
            todo.extend(key.iter().map(|key| Todo::Expr(key)));
            todo.extend([Todo::Expr(value), Todo::Expr(collection)]);
        }
    }
}
