//! The variables of one rule: where each is bound, and which bindings are read.
//! Walks without recursion, so that no nesting can exhaust the stack.

use std::collections::BTreeMap;

use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, Query, Ref, Rule, RuleHead, Span};

use super::super::walk::{Part, flatten};

/// How a variable gets its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A parameter of a function.
    Argument,
    /// `x := ...`
    Assigned,
    /// `some x`
    Declared,
    /// The key of `some k, v in ...` or `every k, v in ...`.
    Key,
    /// The value of `some v in ...` or `every v in ...`.
    Element,
}

/// What a variable stands for, as far as the text says so.
#[derive(Clone, Copy)]
pub(super) enum Bound<'a> {
    /// The whole of an expression.
    Is(&'a Expr),
    /// Any element of an expression's value.
    ElementOf(&'a Expr),
    /// Something else.
    Other,
}

/// One variable.
pub(super) struct Local<'a> {
    pub(super) name: &'a str,
    pub(super) span: &'a Span,
    pub(super) kind: Kind,
    pub(super) scope: usize,
    pub(super) bound: Bound<'a>,
    pub(super) read: bool,
}

/// A comparison, or a test of membership.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub(super) how: How,
    pub(super) left: &'a Expr,
    pub(super) right: &'a Expr,
    pub(super) scope: usize,
}

/// What a comparison wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `==`, or `=`.
    Equal,
    /// `!=`
    Unequal,
    /// `in`
    In,
}

/// Everything that one rule binds and reads.
#[derive(Default)]
pub(super) struct Scopes<'a> {
    pub(super) locals: Vec<Local<'a>>,
    /// Names that no variable of the rule has.
    pub(super) free: Vec<(&'a str, &'a Span)>,
    /// Variables and references, outermost, with their scope.
    pub(super) references: Vec<(&'a Expr, usize)>,
    pub(super) comparisons: Vec<Comparison<'a>>,
    /// Calls: function, arguments, scope.
    pub(super) calls: Vec<(&'a Expr, &'a [Ref<Expr>], usize)>,
    /// Scope of each body, by its place in the rule.
    pub(super) bodies: Vec<usize>,
    uses: Vec<(&'a str, &'a Span, usize)>,
    parents: Vec<Option<usize>>,
    by_name: BTreeMap<(usize, &'a str), usize>,
}

enum Todo<'a> {
    Expr(&'a Expr, usize),
    Query(&'a Query, usize),
}

impl<'a> Scopes<'a> {
    /// Reads one rule.
    pub(super) fn of(rule: &'a Rule) -> Self {
        let mut scopes = Self { parents: vec![None], ..Self::default() };
        let mut todo = Vec::new();
        match rule {
            Rule::Default { args, value, .. } => {
                args.iter().for_each(|arg| scopes.bind(arg, 0, Kind::Argument, &mut todo));
                // A default says nothing of its arguments.
                scopes.locals.iter_mut().for_each(|local| local.read = true);
                todo.push(Todo::Expr(value, 0));
            }
            Rule::Spec { head, bodies, .. } => {
                if let RuleHead::Func { args, .. } = head {
                    args.iter().for_each(|arg| scopes.bind(arg, 0, Kind::Argument, &mut todo));
                }
                for body in bodies {
                    let scope = scopes.open(0);
                    scopes.bodies.push(scope);
                    todo.extend(body.assign.iter().map(|a| Todo::Expr(a.value.as_ref(), scope)));
                    todo.push(Todo::Query(&body.query, scope));
                    if !body.is_else {
                        push_head(head, scope, &mut todo);
                    }
                }
                if bodies.is_empty() {
                    push_head(head, 0, &mut todo);
                }
            }
        }
        scopes.walk(todo);
        scopes.resolve();
        scopes
    }

    /// The variable called `name` that is seen in `scope`.
    pub(super) fn find(&self, name: &str, scope: usize) -> Option<&Local<'a>> {
        let index = self.index(name, scope)?;
        self.locals.get(index)
    }

    fn index(&self, name: &str, scope: usize) -> Option<usize> {
        let mut at = Some(scope);
        while let Some(scope) = at {
            if let Some(index) = self.by_name.get(&(scope, name)) {
                return Some(*index);
            }
            at = self.parents.get(scope).copied().flatten();
        }
        None
    }

    fn open(&mut self, parent: usize) -> usize {
        self.parents.push(Some(parent));
        self.parents.len() - 1
    }

    fn declare(&mut self, span: &'a Span, scope: usize, kind: Kind, bound: Bound<'a>) {
        let name = span.text();
        if name == "_" {
            return;
        }
        if let Some(index) = self.by_name.get(&(scope, name)) {
            // Bound twice: the second must agree with the first, which reads it.
            if let Some(local) = self.locals.get_mut(*index) {
                local.read = true;
            }
            return;
        }
        self.by_name.insert((scope, name), self.locals.len());
        self.locals.push(Local { name, span, kind, scope, bound, read: false });
    }

    /// Declares every variable of a pattern; what else it holds is read.
    fn bind(&mut self, pattern: &'a Expr, scope: usize, kind: Kind, todo: &mut Vec<Todo<'a>>) {
        let mut open = vec![pattern];
        while let Some(next) = open.pop() {
            match next {
                Expr::Var { span, .. } => self.declare(span, scope, kind, Bound::Other),
                Expr::Array { items, .. } | Expr::Set { items, .. } => {
                    open.extend(items.iter().map(|item| item.as_ref()));
                }
                Expr::Object { fields, .. } => {
                    for (_, key, value) in fields {
                        todo.push(Todo::Expr(key, scope));
                        open.push(value);
                    }
                }
                other => todo.push(Todo::Expr(other, scope)),
            }
        }
    }

    /// The same for a pattern that may be one variable, which then stands for `bound`.
    fn bind_to(
        &mut self,
        pattern: &'a Expr,
        scope: usize,
        (kind, bound): (Kind, Bound<'a>),
        todo: &mut Vec<Todo<'a>>,
    ) {
        match pattern {
            Expr::Var { span, .. } => self.declare(span, scope, kind, bound),
            other => self.bind(other, scope, kind, todo),
        }
    }

    fn walk(&mut self, mut todo: Vec<Todo<'a>>) {
        while let Some(next) = todo.pop() {
            match next {
                Todo::Expr(expr, scope) => self.expr(expr, scope, &mut todo),
                Todo::Query(query, scope) => self.query(query, scope, &mut todo),
            }
        }
    }

    fn query(&mut self, query: &'a Query, scope: usize, todo: &mut Vec<Todo<'a>>) {
        for stmt in &query.stmts {
            for with in &stmt.with_mods {
                if let Some((span, parts)) = flatten(&with.refr)
                    && let Some(Part::Name(name)) = parts.first()
                {
                    self.uses.push((name, span, scope));
                }
                todo.push(Todo::Expr(&with.r#as, scope));
            }
            match &stmt.literal {
                Literal::SomeVars { vars, .. } => {
                    for var in vars {
                        self.declare(var, scope, Kind::Declared, Bound::Other);
                    }
                }
                Literal::SomeIn { key, value, collection, .. } => {
                    if let Some(key) = key {
                        self.bind_to(key, scope, (Kind::Key, Bound::Other), todo);
                    }
                    let element = Bound::ElementOf(collection);
                    self.bind_to(value, scope, (Kind::Element, element), todo);
                    todo.push(Todo::Expr(collection, scope));
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
                    todo.push(Todo::Expr(expr, scope));
                }
                Literal::Every { key, value, domain, query, .. } => {
                    let inner = self.open(scope);
                    if let Some(key) = key {
                        self.declare(key, inner, Kind::Key, Bound::Other);
                    }
                    self.declare(value, inner, Kind::Element, Bound::ElementOf(domain));
                    todo.extend([Todo::Expr(domain, scope), Todo::Query(query, inner)]);
                }
            }
        }
    }

    fn expr(&mut self, expr: &'a Expr, scope: usize, todo: &mut Vec<Todo<'a>>) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.references.push((expr, scope));
                self.reference(expr, scope, todo);
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                todo.extend(items.iter().map(|item| Todo::Expr(item, scope)));
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    todo.extend([Todo::Expr(key, scope), Todo::Expr(value, scope)]);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                let inner = self.open(scope);
                todo.extend([Todo::Expr(term, inner), Todo::Query(query, inner)]);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                let inner = self.open(scope);
                todo.extend([Todo::Expr(key, inner), Todo::Expr(value, inner)]);
                todo.push(Todo::Query(query, inner));
            }
            Expr::Call { fcn, params, .. } => {
                self.calls.push((fcn, params, scope));
                self.reference(fcn, scope, todo);
                todo.extend(params.iter().map(|param| Todo::Expr(param, scope)));
            }
            Expr::UnaryExpr { expr, .. } => todo.push(Todo::Expr(expr, scope)),
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } => {
                self.bind_to(lhs, scope, (Kind::Assigned, Bound::Is(rhs)), todo);
                todo.push(Todo::Expr(rhs, scope));
            }
            Expr::AssignExpr { lhs, rhs, .. } => self.compare(How::Equal, lhs, rhs, scope, todo),
            Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } => {
                self.compare(How::Equal, lhs, rhs, scope, todo);
            }
            Expr::BoolExpr { op: BoolOp::Ne, lhs, rhs, .. } => {
                self.compare(How::Unequal, lhs, rhs, scope, todo);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. } => {
                todo.extend([Todo::Expr(lhs, scope), Todo::Expr(rhs, scope)]);
            }
            Expr::Membership { key, value, collection, .. } => {
                todo.extend(key.iter().map(|key| Todo::Expr(key.as_ref(), scope)));
                self.compare(How::In, value, collection, scope, todo);
            }
        }
    }

    fn compare(
        &mut self,
        how: How,
        left: &'a Expr,
        right: &'a Expr,
        scope: usize,
        todo: &mut Vec<Todo<'a>>,
    ) {
        self.comparisons.push(Comparison { how, left, right, scope });
        todo.extend([Todo::Expr(left, scope), Todo::Expr(right, scope)]);
    }

    /// The root of a reference, and what stands in its brackets.
    fn reference(&mut self, expr: &'a Expr, scope: usize, todo: &mut Vec<Todo<'a>>) {
        let mut at = expr;
        loop {
            match at {
                Expr::RefDot { refr, .. } => at = refr,
                Expr::RefBrack { refr, index, .. } => {
                    if !matches!(index.as_ref(), Expr::String { .. } | Expr::RawString { .. }) {
                        todo.push(Todo::Expr(index, scope));
                    }
                    at = refr;
                }
                Expr::Var { span, .. } => {
                    self.uses.push((span.text(), span, scope));
                    return;
                }
                root => return todo.push(Todo::Expr(root, scope)),
            }
        }
    }

    fn resolve(&mut self) {
        for (name, span, scope) in std::mem::take(&mut self.uses) {
            match self.index(name, scope).and_then(|index| self.locals.get_mut(index)) {
                Some(local) => local.read = true,
                None if name == "_" => {}
                None => self.free.push((name, span)),
            }
        }
    }
}

/// What a head reads of its body.
fn push_head<'a>(head: &'a RuleHead, scope: usize, todo: &mut Vec<Todo<'a>>) {
    let (refr, said) = match head {
        RuleHead::Compr { refr, assign, .. } | RuleHead::Func { refr, assign, .. } => {
            (refr, assign.as_ref().map(|assign| &assign.value))
        }
        RuleHead::Set { refr, key, .. } => (refr, key.as_ref()),
    };
    todo.extend(said.map(|said| Todo::Expr(said.as_ref(), scope)));
    let mut at: &Expr = refr;
    loop {
        match at {
            Expr::RefDot { refr, .. } => at = refr,
            Expr::RefBrack { refr, index, .. } => {
                todo.push(Todo::Expr(index, scope));
                at = refr;
            }
            _ => return,
        }
    }
}
