//! The clauses of policies: the conjuncts of their scopes, `when`s and `unless`es,
//! with the branches of `||` below them. They are evaluated like the whole condition,
//! over the very request and entities that the engine uses, so that together they
//! come out as it does. For coverage and explanations; never part of serving.

use cedar_policy_core::ast::{
    Expr, ExprKind, Literal, PartialValue, SlotEnv, StaticPolicy, UnaryOp, ValueKind,
};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::parser::Loc;

use crate::diagnostic::Diagnostic;
use crate::engine::{Engine as _, Outcome, Query, Scope};

use super::evaluate::Evaluation;
use super::place::File;
use super::policy::{self, Kind, Parsed};
use super::reads::children;
use super::scope::RoleMarks;
use super::{CedarEngine, CedarSource};

/// Something that comes out true or false.
#[derive(Debug)]
pub(crate) struct Clause {
    /// As written.
    pub(crate) text: String,
    /// Line, from 1.
    pub(crate) line: u32,
}

/// What a part says that is no clause itself.
#[derive(Debug)]
pub(crate) struct Said {
    /// As written.
    pub(crate) text: String,
    /// Line, from 1.
    pub(crate) line: u32,
}

/// A condition as a tree over clauses, by number.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Nothing to evaluate: `principal` alone.
    Always,
    Leaf(usize, Box<Expr>),
    All(Said, Vec<Tree>),
    /// The whole disjunction is a clause of its own.
    Any(usize, Vec<Tree>),
    Not(Said, Box<Tree>),
}

/// The clauses of one policy.
#[derive(Debug)]
pub(crate) struct Clauses {
    /// Its `@id`.
    pub(crate) id: String,
    /// The file and the line it begins on.
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(super) kind: Kind,
    pub(crate) shadow: bool,
    pub(crate) scope: Option<Scope>,
    pub(crate) reads_args: bool,
    pub(crate) clauses: Vec<Clause>,
    /// Principal, action, resource.
    pub(crate) heads: [Tree; 3],
    /// The conjuncts behind the scope.
    pub(crate) conditions: Vec<Tree>,
}

/// How something came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    /// It depends on arguments that phase `list` does not know.
    Open,
    Failed(String),
}

/// What was seen of clauses, by number.
pub(crate) trait Watch {
    /// A clause was evaluated.
    fn saw(&mut self, clause: usize, truth: &Truth, expr: Option<&Expr>);
}

/// A second engine over the same texts, with the clauses of its policies.
#[derive(Debug)]
pub(crate) struct Watched {
    engine: CedarEngine,
    pub(crate) policies: Vec<Clauses>,
}

impl Watched {
    /// Loads the policies like [`CedarEngine::load`].
    ///
    /// # Errors
    /// The problems of policies that do not load.
    pub(crate) fn load(source: &CedarSource<'_>) -> Result<Self, Vec<Diagnostic>> {
        let (engine, problems) = CedarEngine::load(source);
        let engine = engine.ok_or(problems)?;
        let files: Vec<File<'_>> =
            source.policies.iter().map(|(path, text)| File::new(path, text)).collect();
        let parsed =
            policy::parse(&files, source.scopes, &mut RoleMarks::default(), &mut Vec::new());
        let policies = parsed.into_iter().filter_map(|parsed| clauses_of(parsed, &files)).collect();
        Ok(Self { engine, policies })
    }

    /// What the engine says of the call.
    pub(crate) fn outcome(&self, query: &Query<'_>) -> Outcome {
        self.engine.evaluate(query)
    }

    /// Evaluates every policy for the agent and each actor behind it. `each` is
    /// given the principal, the policy by number, and how to evaluate it. Nothing if
    /// the engine would ask nothing of this call.
    pub(crate) fn each(
        &self,
        query: &Query<'_>,
        mut each: impl FnMut(&str, usize, &Clauses, &Evaluator<'_>),
    ) {
        let evaluation = Evaluation::new(&self.engine, query);
        let (Ok(target), Ok(principals)) = (evaluation.target(), evaluation.principals()) else {
            return;
        };
        let Ok(contexts) = evaluation.contexts(&target) else { return };
        for principal in principals {
            let agent = self.engine.participants.principal(principal, &self.engine.names);
            let known = evaluation.evaluator(&agent, &target, &contexts.known);
            let partial = contexts.partial.as_ref();
            let partial = partial.map(|context| evaluation.evaluator(&agent, &target, context));
            for (number, policy) in self.policies.iter().enumerate() {
                let open = partial.as_ref().filter(|_| policy.reads_args);
                each(principal, number, policy, open.unwrap_or(&known));
            }
        }
    }
}

impl Clauses {
    /// Evaluates scope and conditions; each part of the scope by itself, since none
    /// can fail, the conditions as Cedar does, up to the first that does not hold.
    pub(crate) fn evaluate(&self, evaluator: &Evaluator<'_>, watch: &mut dyn Watch) -> Truth {
        let mut scope = Truth::True;
        for head in &self.heads {
            let truth = head.evaluate(evaluator, watch);
            if scope == Truth::True {
                scope = truth;
            }
        }
        if scope != Truth::True {
            return scope;
        }
        all(&self.conditions, evaluator, watch)
    }
}

impl Tree {
    /// How a part comes out.
    pub(crate) fn evaluate(&self, evaluator: &Evaluator<'_>, watch: &mut dyn Watch) -> Truth {
        match self {
            Self::Always => Truth::True,
            Self::Leaf(number, expr) => {
                let truth = truth_of(evaluator, expr);
                watch.saw(*number, &truth, Some(expr));
                truth
            }
            Self::All(_, parts) => all(parts, evaluator, watch),
            Self::Any(number, parts) => {
                let truth = any(parts, evaluator, watch);
                watch.saw(*number, &truth, None);
                truth
            }
            Self::Not(_, part) => match part.evaluate(evaluator, watch) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                other => other,
            },
        }
    }
}

fn all(parts: &[Tree], evaluator: &Evaluator<'_>, watch: &mut dyn Watch) -> Truth {
    until(parts, &Truth::False, Truth::True, evaluator, watch)
}

fn any(parts: &[Tree], evaluator: &Evaluator<'_>, watch: &mut dyn Watch) -> Truth {
    until(parts, &Truth::True, Truth::False, evaluator, watch)
}

/// Evaluates parts in order up to one that comes out as `decisive` or fails.
fn until(
    parts: &[Tree],
    decisive: &Truth,
    otherwise: Truth,
    evaluator: &Evaluator<'_>,
    watch: &mut dyn Watch,
) -> Truth {
    let mut truth = otherwise;
    for part in parts {
        match part.evaluate(evaluator, watch) {
            found if found == *decisive => return found,
            Truth::Failed(why) if truth != Truth::Open => return Truth::Failed(why),
            // Whether it is reached at all depends on what is unknown.
            Truth::Failed(_) | Truth::Open => truth = Truth::Open,
            Truth::True | Truth::False => {}
        }
    }
    truth
}

fn truth_of(evaluator: &Evaluator<'_>, expr: &Expr) -> Truth {
    match evaluator.partial_interpret(expr, &SlotEnv::new()) {
        Ok(PartialValue::Value(value)) => match value.value {
            ValueKind::Lit(Literal::Bool(true)) => Truth::True,
            ValueKind::Lit(Literal::Bool(false)) => Truth::False,
            _ => Truth::Failed("it is neither true nor false".to_owned()),
        },
        Ok(PartialValue::Residual(_)) => Truth::Open,
        Err(error) => Truth::Failed(error.to_string()),
    }
}

fn clauses_of(parsed: Parsed, files: &[File<'_>]) -> Option<Clauses> {
    let Parsed { policy, checked, file, offset, .. } = parsed;
    let file = files.get(file)?;
    let mut maker = Maker { file, clauses: Vec::new() };
    let heads = maker.heads(&checked, offset);
    let mut conditions = Vec::new();
    if let Some(condition) = checked.non_scope_constraints() {
        maker.conjuncts(condition, &mut conditions);
    }
    Some(Clauses {
        id: policy.notes.id,
        file: file.path.to_owned(),
        line: file.line_col(offset).0,
        kind: policy.kind,
        shadow: policy.notes.shadow,
        scope: policy.scope,
        reads_args: policy.reads_args,
        clauses: maker.clauses,
        heads,
        conditions,
    })
}

struct Maker<'a> {
    file: &'a File<'a>,
    clauses: Vec<Clause>,
}

impl Maker<'_> {
    fn heads(&mut self, policy: &StaticPolicy, offset: usize) -> [Tree; 3] {
        let any = |expr: &Expr| matches!(expr.expr_kind(), ExprKind::Lit(Literal::Bool(true)));
        let mut from = offset;
        [
            ("principal", policy.principal_constraint_expr()),
            ("action", policy.action_constraint().as_expr()),
            ("resource", policy.resource_constraint_expr()),
        ]
        .map(|(word, expr)| {
            let (start, end) = scope_part(self.file.text, from, word);
            from = end;
            if any(&expr) {
                return Tree::Always;
            }
            let text = self.file.text.get(start..end).unwrap_or(word);
            let line = self.file.line_col(start).0;
            Tree::Leaf(self.clause(one_line(text), line), Box::new(expr))
        })
    }

    fn clause(&mut self, text: String, line: u32) -> usize {
        self.clauses.push(Clause { text, line });
        self.clauses.len() - 1
    }

    fn conjuncts(&mut self, expr: &Expr, found: &mut Vec<Tree>) {
        let mut todo = vec![expr];
        while let Some(expr) = todo.pop() {
            match expr.expr_kind() {
                ExprKind::And { left, right } => todo.extend([&**right, &**left]),
                _ => found.push(self.tree(expr)),
            }
        }
    }

    fn tree(&mut self, expr: &Expr) -> Tree {
        match expr.expr_kind() {
            ExprKind::And { .. } => {
                let (text, line) = self.source(expr);
                let mut parts = Vec::new();
                self.conjuncts(expr, &mut parts);
                Tree::All(Said { text, line }, parts)
            }
            ExprKind::Or { .. } => {
                let (text, line) = self.source(expr);
                let number = self.clause(text, line);
                let mut parts = Vec::new();
                let mut todo = vec![expr];
                while let Some(expr) = todo.pop() {
                    match expr.expr_kind() {
                        ExprKind::Or { left, right } => todo.extend([&**right, &**left]),
                        _ => parts.push(self.tree(expr)),
                    }
                }
                Tree::Any(number, parts)
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => {
                let (mut text, line) = self.source(expr);
                // An `unless` is a `!` that nobody wrote.
                if !text.starts_with('!') {
                    text = format!("unless {}", self.source(arg).0);
                }
                Tree::Not(Said { text, line }, Box::new(self.tree(arg)))
            }
            _ => {
                let (text, line) = self.source(expr);
                Tree::Leaf(self.clause(text, line), Box::new(expr.clone()))
            }
        }
    }

    fn source(&self, expr: &Expr) -> (String, u32) {
        let loc = expr.source_loc();
        let text = loc.and_then(Loc::snippet).map_or_else(|| expr.to_string(), one_line);
        (text, loc.map_or(0, |loc| self.file.line_col(loc.start()).0))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where `word` and its constraint stand in the scope of the policy at `from`.
fn scope_part(text: &str, from: usize, word: &str) -> (usize, usize) {
    let mut start = None;
    let mut depth = 0usize;
    let mut last = from;
    for (at, token) in tokens(text, from) {
        match (start, token) {
            (None, token) if token == word => start = Some(at),
            (None, _) => {}
            (Some(_), "(" | "[") => depth += 1,
            (Some(start), "," | ")") if depth == 0 => return (start, last),
            (Some(_), ")" | "]") => depth = depth.saturating_sub(1),
            (Some(_), _) => {}
        }
        last = at + token.len();
    }
    (start.unwrap_or(from), last)
}

/// Words, strings and single characters, without white space and comments.
fn tokens(text: &str, from: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut at = from;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let trimmed = rest.trim_start();
            at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                break;
            }
            at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
        let rest = text.get(at..)?;
        let first = rest.chars().next()?;
        let length = if first == '"' {
            string_length(rest)
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let token = rest.get(..length)?;
        let start = at;
        at += length;
        Some((start, token))
    })
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What an expression reads of principal, action, resource and context: each path
/// and its value, nothing where there is none.
pub(crate) fn values(expr: &Expr, evaluator: &Evaluator<'_>) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let mut todo = vec![expr];
    while let Some(expr) = todo.pop() {
        let path = match expr.expr_kind() {
            ExprKind::HasAttr { expr: inner, attr } => {
                path_of(inner).map(|path| (format!("{path}.{attr}"), member(inner, attr)))
            }
            _ => path_of(expr).map(|path| (path, expr.clone())),
        };
        let Some((path, expr)) = path else {
            todo.extend(children(expr).into_iter().rev());
            continue;
        };
        if found.iter().any(|(known, _)| *known == path) {
            continue;
        }
        let value = evaluator.interpret(&expr, &SlotEnv::new());
        found.push((path, value.ok().map(|value| value.to_string())));
    }
    found
}

fn member(of: &Expr, attr: &str) -> Expr {
    Expr::get_attr(of.clone(), attr.into())
}

/// `principal.team` and the like.
fn path_of(expr: &Expr) -> Option<String> {
    match expr.expr_kind() {
        ExprKind::Var(var) => Some(var.to_string()),
        ExprKind::GetAttr { expr, attr } => Some(format!("{}.{attr}", path_of(expr)?)),
        _ => None,
    }
}
