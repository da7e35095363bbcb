//! Which parts of `context` the policies read. What nobody reads is not built,
//! and an argument that cannot be represented matters only where it is read.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy_core::ast::{Expr, ExprKind, Var};

/// Who reads a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Reader {
    /// No policy.
    #[default]
    Nobody,
    /// Shadow policies only.
    Shadow,
    /// A policy that decides.
    Live,
}

/// What is read at and below one path of `context`.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Who reads here or below.
    reader: Reader,
    /// Who takes the value here as a whole, and so everything below.
    whole: Reader,
    below: BTreeMap<String, Reads>,
}

/// A place in [`Reads`] while values are built beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    node: Option<&'a Reads>,
    whole: Reader,
}

impl Reads {
    /// Adds everything that `condition` reads.
    pub(super) fn add(&mut self, condition: &Expr, reader: Reader) {
        for path in context_paths(condition) {
            let mut node = &mut *self;
            node.reader = node.reader.max(reader);
            for step in path {
                node = node.below.entry(step.to_owned()).or_default();
                node.reader = node.reader.max(reader);
            }
            node.whole = node.whole.max(reader);
        }
    }

    /// As if `reader` read all there is.
    pub(super) fn everything(reader: Reader) -> Self {
        Self { reader, whole: reader, below: BTreeMap::new() }
    }

    /// The place of `context` itself.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { node: Some(self), whole: self.whole }
    }
}

impl<'a> Cursor<'a> {
    /// The place of a member.
    pub(super) fn member(self, name: &str) -> Self {
        let node = self.node.and_then(|node| node.below.get(name));
        let whole = node.map_or(Reader::Nobody, |node| node.whole);
        Self { node, whole: self.whole.max(whole) }
    }

    /// Who reads here or below.
    pub(super) fn reader(self) -> Reader {
        self.whole.max(self.node.map_or(Reader::Nobody, |node| node.reader))
    }

    /// Whether anybody does.
    pub(super) fn is_read(self) -> bool {
        self.reader() != Reader::Nobody
    }
}

/// The names of all members, of whatever, that any of some expressions reads or looks for. An
/// attribute of an entity that is not among them can be told by none of these: it is reached by
/// its name alone, and entities are equal by their ids.
#[derive(Debug, Default)]
pub(super) struct MemberNames(BTreeSet<String>);

impl MemberNames {
    /// Adds those of an expression.
    pub(super) fn add(&mut self, expr: &Expr) {
        let mut open = vec![expr];
        while let Some(expr) = open.pop() {
            match expr.expr_kind() {
                ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => {
                    self.note(attr.as_str());
                }
                ExprKind::ExtHasAttr { attrs, .. } => {
                    attrs.iter().for_each(|attr| self.note(attr.as_str()));
                }
                _ => {}
            }
            open.extend(children(expr));
        }
    }

    fn note(&mut self, name: &str) {
        if !self.contains(name) {
            self.0.insert(name.to_owned());
        }
    }

    /// Whether the name is among them.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Whether `condition` reads `context.<member>`, or may.
pub(super) fn reads_member(condition: &Expr, member: &str) -> bool {
    context_paths(condition).iter().any(|path| path.first().is_none_or(|first| *first == member))
}

/// Whether `condition` reads any of `members` of `context`, or may.
pub(super) fn reads_any(condition: &Expr, members: &[&str]) -> bool {
    let paths = context_paths(condition);
    paths.iter().any(|path| path.first().is_none_or(|first| members.contains(first)))
}

/// Every path below `context` that an expression reads. A use of `context` that is
/// not followed by a member counts as the empty path: all of it.
fn context_paths(expr: &Expr) -> Vec<Vec<&str>> {
    let mut paths = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match read_path(expr) {
            Some(path) => paths.push(path),
            None => open.extend(children(expr)),
        }
    }
    paths
}

/// The path that this expression reads, if it is nothing but that.
fn read_path(expr: &Expr) -> Option<Vec<&str>> {
    match expr.expr_kind() {
        ExprKind::HasAttr { expr, attr } => {
            let mut path = member_path(expr)?;
            path.push(attr);
            Some(path)
        }
        ExprKind::ExtHasAttr { expr, attrs } => {
            let mut path = member_path(expr)?;
            path.extend(attrs.iter().map(|attr| attr.as_str()));
            Some(path)
        }
        _ => member_path(expr),
    }
}

/// `context.a.b` as `["a", "b"]`.
fn member_path(expr: &Expr) -> Option<Vec<&str>> {
    let mut path = Vec::new();
    let mut expr = expr;
    loop {
        match expr.expr_kind() {
            ExprKind::Var(Var::Context) => break,
            ExprKind::GetAttr { expr: inner, attr } => {
                path.push(attr.as_str());
                expr = inner;
            }
            _ => return None,
        }
    }
    path.reverse();
    Some(path)
}

/// The direct parts of an expression.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => vec![],
        ExprKind::If { test_expr, then_expr, else_expr } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(members) => members.values().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{MemberNames, Reader, Reads, reads_member};
    use cedar_policy_core::ast::Expr;

    fn reads(text: &str) -> Reads {
        let mut reads = Reads::default();
        reads.add(&text.parse::<Expr>().unwrap(), Reader::Live);
        reads
    }

    fn is_read(reads: &Reads, path: &[&str]) -> bool {
        path.iter().fold(reads.cursor(), |cursor, step| cursor.member(step)).is_read()
    }

    #[test]
    fn a_path_is_read_at_above_and_below_its_end() {
        let reads = reads("context.args.trip.days > 3 && principal.team == resource.team");
        assert!(is_read(&reads, &["args"]));
        assert!(is_read(&reads, &["args", "trip"]));
        assert!(is_read(&reads, &["args", "trip", "days"]));
        assert!(is_read(&reads, &["args", "trip", "days", "deeper"]));
        assert!(!is_read(&reads, &["args", "trip", "city"]));
        assert!(!is_read(&reads, &["args", "amount"]));
        assert!(!is_read(&reads, &["session"]));
    }

    #[test]
    fn asking_whether_a_member_exists_reads_it() {
        assert!(is_read(&reads("context.args has amount"), &["args", "amount"]));
        assert!(is_read(&reads("context has args.trip.days"), &["args", "trip", "days"]));
        assert!(!is_read(&reads("context.args has amount"), &["args", "other"]));
    }

    #[test]
    fn what_is_compared_as_a_whole_reads_everything_below() {
        assert!(is_read(&reads("context.args == {a: 1}"), &["args", "anything"]));
        assert!(is_read(&reads("(if true then context else context).args.a == 1"), &["x", "y"]));
        assert!(is_read(&reads("[context.args].contains({})"), &["args", "anything"]));
    }

    #[test]
    fn shadow_readers_are_told_apart() {
        let mut reads = Reads::default();
        reads.add(&"context.args.a == 1".parse().unwrap(), Reader::Shadow);
        reads.add(&"context.args.b == 1".parse().unwrap(), Reader::Live);
        let args = reads.cursor().member("args");
        assert_eq!(args.member("a").reader(), Reader::Shadow);
        assert_eq!(args.member("b").reader(), Reader::Live);
        assert_eq!(args.member("c").reader(), Reader::Nobody);
    }

    #[test]
    fn every_name_that_is_read_or_looked_for_is_noted() {
        let mut names = MemberNames::default();
        for text in [
            "principal.attrs.level > 1 && (if resource has open then resource[\"a b\"] else true)",
            "[User::\"x\".manager].contains(context.who.was) || context has c.d",
            "{x: resource.y} == principal.z",
        ] {
            names.add(&text.parse::<Expr>().unwrap());
        }
        for name in ["attrs", "level", "open", "a b", "manager", "who", "was", "c", "d", "y", "z"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("x") && !names.contains("contains") && !names.contains("User"));
    }

    #[test]
    fn one_member_or_the_whole_context() {
        let read = |text: &str| reads_member(&text.parse::<Expr>().unwrap(), "args");
        assert!(read("context.args.a == 1"));
        assert!(read("context == {}"));
        assert!(!read("context.session.calls_here > 1 || principal.attrs.args == 1"));
    }
}
