//! What of the input a reference reads, through imports, variables and helpers that stand for a
//! part of it.

use std::collections::BTreeMap;

use regorus::unstable::{Expr, Rule, RuleHead};

use super::super::functions::import_target;
use super::super::members::unknown_member;
use super::super::source::Policy;
use super::super::walk::{Part, flatten, head_name};
use super::Read;
use super::scopes::{Bound, Kind, Scopes};
use crate::diagnostic::{Diagnostic, suggest};

/// Most names that stand for each other.
const ALIASES_MAX: usize = 8;

/// Where a reference begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Input,
    Data,
}

/// What a reference reads.
#[derive(Clone)]
pub(super) struct Path<'a> {
    pub(super) root: Root,
    pub(super) steps: Vec<Part<'a>>,
}

impl Path<'_> {
    /// `a.b.*`, the form in which members of the input are listed.
    pub(super) fn dotted(&self) -> String {
        let steps = self.steps.iter().map(|step| match step {
            Part::Name(name) => *name,
            Part::Dynamic => "*",
        });
        steps.collect::<Vec<_>>().join(".")
    }

    /// Whether it names every step.
    pub(super) fn is_static(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Part::Name(_)))
    }
}

/// Helpers that stand for a part of the input, by package and name.
pub(super) struct Paths<'a> {
    aliases: BTreeMap<(&'a [String], &'a str), Option<&'a Read<'a>>>,
}

impl<'a> Paths<'a> {
    pub(super) fn of(rules: &'a [Read<'a>]) -> Self {
        let mut aliases = BTreeMap::new();
        for read in rules.iter().filter(|read| !read.policy.test) {
            let Some((name, _)) = head_name(read.rule) else { continue };
            let key = (read.policy.package.as_slice(), name);
            // A second rule of the name may stand for something else.
            aliases.entry(key).and_modify(|rule| *rule = None).or_insert(Some(read));
        }
        Self { aliases }
    }

    /// The only rule of a name, if it has no arguments and no `else`.
    pub(super) fn helper(&self, policy: &'a Policy, name: &str) -> Option<&'a Read<'a>> {
        let read = self.aliases.get(&(policy.package.as_slice(), name)).copied().flatten()?;
        let Rule::Spec { head: RuleHead::Compr { refr, .. }, bodies, .. } = read.rule else {
            return None;
        };
        let plain = matches!(refr.as_ref(), Expr::Var { .. });
        (plain && bodies.len() <= 1).then_some(read)
    }

    /// What an expression in `scope` of a rule reads.
    pub(super) fn of_expr(
        &self,
        policy: &'a Policy,
        scopes: &Scopes<'a>,
        expr: &'a Expr,
        scope: usize,
    ) -> Option<Path<'a>> {
        self.follow(policy, scopes, expr, scope, ALIASES_MAX)
    }

    fn follow(
        &self,
        policy: &'a Policy,
        scopes: &Scopes<'a>,
        expr: &'a Expr,
        scope: usize,
        left: usize,
    ) -> Option<Path<'a>> {
        let left = left.checked_sub(1)?;
        let (_, parts) = flatten(expr)?;
        let (Part::Name(root), rest) = parts.split_first()? else { return None };
        let mut path = if let Some(local) = scopes.find(root, scope) {
            match local.bound {
                Bound::Is(value) => self.follow(policy, scopes, value, local.scope, left)?,
                Bound::ElementOf(all) => {
                    let mut path = self.follow(policy, scopes, all, local.scope, left)?;
                    path.steps.push(Part::Dynamic);
                    path
                }
                Bound::Other => return None,
            }
        } else {
            match *root {
                "input" => Path { root: Root::Input, steps: Vec::new() },
                "data" => Path { root: Root::Data, steps: Vec::new() },
                name => self.named(policy, name, left)?,
            }
        };
        path.steps.extend(rest);
        Some(path)
    }

    /// What an import or a helper stands for.
    fn named(&self, policy: &'a Policy, name: &'a str, left: usize) -> Option<Path<'a>> {
        if let Some(target) = import_target(policy, name) {
            let (first, rest) = target.split_first()?;
            let root = match *first {
                "input" => Root::Input,
                "data" => Root::Data,
                _ => return None,
            };
            return Some(Path { root, steps: rest.iter().map(|step| Part::Name(step)).collect() });
        }
        let read = self.helper(policy, name)?;
        let Rule::Spec { head: RuleHead::Compr { assign: Some(assign), .. }, .. } = read.rule
        else {
            return None;
        };
        let scope = read.scopes.bodies.first().copied().unwrap_or(0);
        self.follow(read.policy, &read.scopes, &assign.value, scope, left)
    }
}

/// Warns of references through variables and helpers that lead nowhere; direct ones are checked
/// where a bundle is loaded.
pub(super) fn check<'a>(read: &'a Read<'a>, paths: &Paths<'a>, problems: &mut Vec<Diagnostic>) {
    for (expr, scope) in &read.scopes.references {
        let Some((span, parts)) = flatten(expr) else { continue };
        let Some(Part::Name(root)) = parts.first() else { continue };
        let local = read.scopes.find(root, *scope);
        let through = local.is_some() || paths.helper(read.policy, root).is_some();
        if parts.len() < 2 || !through || local.is_some_and(|local| local.kind == Kind::Argument) {
            continue;
        }
        let path = paths.of_expr(read.policy, &read.scopes, expr, *scope);
        let Some(path) = path.filter(|path| path.root == Root::Input) else { continue };
        let before = path.steps.len() - (parts.len() - 1);
        // What is wrong with the part that the name stands for is reported there.
        let shared = path.steps.get(..before).unwrap_or_default();
        if unknown_member(shared).is_some() {
            continue;
        }
        let Some((name, known)) = unknown_member(&path.steps) else { continue };
        let message = format!("the input has no `{name}` here: this is always undefined");
        let help = match suggest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        let at = member_span(expr, name).unwrap_or(span);
        problems.push(read.policy.warning("rego_input", at, message).help(help));
    }
}

/// Where a reference names a member.
pub(crate) fn member_span<'a>(expr: &'a Expr, name: &str) -> Option<&'a regorus::unstable::Span> {
    let mut at = expr;
    let mut found = None;
    loop {
        match at {
            Expr::RefDot { refr, field, .. } => {
                if field.0.text() == name {
                    found = Some(&field.0);
                }
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                if super::text_of(index) == Some(name) {
                    found = Some(index.span());
                }
                at = refr;
            }
            _ => return found,
        }
    }
}
