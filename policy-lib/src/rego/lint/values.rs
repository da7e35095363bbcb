//! Texts that policies compare with members of the input: members of a closed set, or names that
//! the bundle must have.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Span};

use super::super::source::Policy;
use super::super::walk::{Part, flatten};
use super::paths::{Path, Paths, Root};
use super::scopes::{Comparison, How};
use super::{Read, member_span, text_of, texts_of};
use crate::diagnostic::Diagnostic;
use crate::known::domain::Domain;
use crate::known::{Kind, Known};

/// Warns of texts that a member can never be. `labels` are those that rules give, if that is known.
pub(super) fn check<'a>(
    read: &'a Read<'a>,
    paths: &Paths<'a>,
    known: &Known<'_>,
    labels: Option<&BTreeSet<&str>>,
    problems: &mut Vec<Diagnostic>,
) {
    let check = Check { read, known, labels };
    for comparison in &read.scopes.comparisons {
        check.comparison(paths, comparison, problems);
    }
    for (expr, scope) in &read.scopes.references {
        if let Some(path) = paths.of_expr(read.policy, &read.scopes, expr, *scope) {
            check.key(&path, expr, problems);
        }
    }
    for (function, params, scope) in &read.scopes.calls {
        let [of, prefix] = params else { continue };
        let Some((_, parts)) = flatten(function) else { continue };
        let path = paths.of_expr(read.policy, &read.scopes, of, *scope);
        if let ([Part::Name("startswith")], Some(path)) = (parts.as_slice(), path) {
            check.prefix(&path, prefix, problems);
        }
    }
}

struct Check<'a, 'k> {
    read: &'a Read<'a>,
    known: &'k Known<'k>,
    labels: Option<&'k BTreeSet<&'k str>>,
}

impl<'a> Check<'a, '_> {
    fn policy(&self) -> &'a Policy {
        self.read.policy
    }

    fn comparison(
        &self,
        paths: &Paths<'a>,
        comparison: &Comparison<'a>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let Comparison { how, left, right, scope } = *comparison;
        let of = |expr| paths.of_expr(self.policy(), &self.read.scopes, expr, scope);
        // `"x" in input.list` asks for an element of the list.
        if how == How::In
            && let (Some(text), Some(mut path)) = (text_of(left), of(right))
        {
            path.steps.push(Part::Dynamic);
            self.value(&path, text, right, left.span(), problems);
            return;
        }
        let sides =
            if how == How::In { vec![(left, right)] } else { vec![(left, right), (right, left)] };
        for (member, said) in sides {
            let texts = match how {
                How::In => texts_of(said).filter(|_| text_of(said).is_none()),
                How::Equal | How::Unequal => text_of(said).map(|text| vec![(text, said)]),
            };
            let (Some(path), Some(texts)) = (of(member), texts) else { continue };
            for (text, at) in texts {
                self.value(&path, text, member, at.span(), problems);
            }
        }
    }

    fn value(
        &self,
        path: &Path<'a>,
        text: &str,
        member: &Expr,
        at: &Span,
        problems: &mut Vec<Diagnostic>,
    ) {
        if path.root != Root::Input {
            return;
        }
        let Some(domain) = Domain::of_input(&path.dotted()) else { return };
        if domain == Domain::Name(Kind::Label) {
            self.label(text, at, problems);
            return;
        }
        let said = member.span().text();
        if let Some((code, message, help)) = domain.refuses(said, text, self.known) {
            problems.push(self.policy().warning(code, at, message).help(help));
        }
    }

    fn label(&self, text: &str, at: &Span, problems: &mut Vec<Diagnostic>) {
        let Some(labels) = self.labels.filter(|labels| !labels.contains(text)) else { return };
        let message = format!("no rule gives a session the label `{text}`");
        let near = crate::diagnostic::suggest(text, labels.iter().copied());
        let help = near.map(|near| format!("did you mean `{near}`?"));
        let help =
            help.unwrap_or_else(|| "give it by a rule `labels`, or mend the name".to_owned());
        problems.push(self.policy().warning("name_unknown", at, message).help(help));
    }

    /// `data.registry.tools["x"]`, `data.limits["x"]`, `input.facts.session.calls["x"]`.
    fn key(&self, path: &Path<'a>, expr: &Expr, problems: &mut Vec<Diagnostic>) {
        let (kind, id) = match (path.root, path.steps.as_slice()) {
            (Root::Data, [Part::Name("registry"), Part::Name(map), Part::Name(id), ..]) => {
                let Some(kind) = Kind::of_map(map) else { return };
                (kind, *id)
            }
            (Root::Data, [Part::Name("limits"), Part::Name(id), ..]) => (Kind::Limit, *id),
            (
                Root::Input,
                [
                    Part::Name("facts"),
                    Part::Name("session"),
                    Part::Name("calls"),
                    Part::Name(id),
                    ..,
                ],
            ) => (Kind::Resource, *id),
            _ => return,
        };
        // What stands in a helper is reported there.
        let Some(at) = member_span(expr, id) else { return };
        if let Some((message, help)) = self.known.missing(kind, id) {
            problems.push(self.policy().warning("name_unknown", at, message).help(help));
        }
    }

    fn prefix(&self, path: &Path<'a>, prefix: &Expr, problems: &mut Vec<Diagnostic>) {
        let Some(text) = text_of(prefix).filter(|_| path.root == Root::Input) else { return };
        if path.dotted() == "resource.id" && !self.known.has_prefix(text) {
            let message = format!("the registry has nothing whose name starts with `{text}`");
            let problem = self.policy().warning("name_unknown", prefix.span(), message);
            problems.push(problem.help("add it to the registry, or mend the name"));
        }
    }
}
