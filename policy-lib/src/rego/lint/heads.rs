//! Elements of decision rules, as far as their text says what they will be.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Ref, Rule, RuleHead, Span};

use super::super::elements::{members_of, obligation_kind, until_ms};
use super::super::names::{Decision, is_id};
use super::super::walk::head_name;
use super::{Read, text_of, texts_of};
use crate::diagnostic::{Diagnostic, suggest};
use crate::known::{Kind, Known};

/// Labels that rules give; nothing if any of them is not written out.
pub(super) fn labels<'a>(rules: &'a [Read<'a>]) -> Option<BTreeSet<&'a str>> {
    let mut labels = BTreeSet::new();
    for read in rules.iter().filter(|read| read.policy.is_unit()) {
        if let Some((Decision::Labels, said)) = element(read.rule) {
            labels.insert(text_of(said)?);
        }
    }
    Some(labels)
}

/// The decision and the element of a set rule.
fn element(rule: &Rule) -> Option<(Decision, &Expr)> {
    let Rule::Spec { head: RuleHead::Set { key: Some(key), .. }, .. } = rule else { return None };
    let (name, _) = head_name(rule)?;
    Some((Decision::from_name(name)?, key))
}

/// Warns of what is an error whenever the rule fires, of names that nobody has, and of shadow
/// elements whose day has come.
pub(super) fn check(read: &Read<'_>, known: &Known<'_>, problems: &mut Vec<Diagnostic>) {
    if !read.policy.is_unit() {
        return;
    }
    let Some((decision, said)) = element(read.rule) else { return };
    let head = Head { read, known, decision };
    if let (Some(members), Expr::Object { span, fields, .. }) = (members_of(decision), said) {
        head.object(members, span, fields, problems);
    }
}

type Field = (Span, Ref<Expr>, Ref<Expr>);

struct Head<'a, 'k> {
    read: &'a Read<'a>,
    known: &'k Known<'k>,
    decision: Decision,
}

impl Head<'_, '_> {
    fn warn(&self, at: &Span, message: String, help: String) -> Diagnostic {
        self.read.policy.warning("rego_element", at, message).help(help)
    }

    fn object(
        &self,
        members: &[&'static str],
        span: &Span,
        fields: &[Field],
        problems: &mut Vec<Diagnostic>,
    ) {
        let mut whole = true;
        for (_, key, _) in fields {
            let Some(name) = text_of(key) else {
                whole = false;
                continue;
            };
            if !members.contains(&name) {
                let message = format!("`{name}` means nothing in `{}`", self.decision.name());
                let help = match suggest(name, members.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", members.join(", ")),
                };
                problems.push(self.warn(key.span(), message, help));
            }
        }
        let get = |name: &str| {
            let mut found = fields.iter().filter(|(_, key, _)| text_of(key) == Some(name));
            found.next().map(|(_, _, value)| value.as_ref())
        };
        for needed in needed(self.decision).iter().filter(|name| whole && get(name).is_none()) {
            let message = format!("the element has no `{needed}`");
            problems.push(self.warn(span, message, format!("add `\"{needed}\": ...`")));
        }
        self.words(&get, problems);
        self.shadow(&get, problems);
        self.names(&get, problems);
    }

    fn words<'e>(&self, get: &impl Fn(&str) -> Option<&'e Expr>, problems: &mut Vec<Diagnostic>) {
        if let Some((id, at)) = get("id").and_then(|at| Some((text_of(at)?, at)))
            && !is_id(id)
        {
            let help = "use a-z, 0-9, `_` and `.`".to_owned();
            problems.push(self.warn(at.span(), format!("`{id}` is not an id"), help));
        }
        if self.decision == Decision::Obligations
            && let Some((kind, at)) = get("type").and_then(|at| Some((text_of(at)?, at)))
            && let Err(error) = obligation_kind(kind)
        {
            problems.push(self.warn(at.span(), error.to_string(), String::new()));
        }
    }

    fn shadow<'e>(&self, get: &impl Fn(&str) -> Option<&'e Expr>, problems: &mut Vec<Diagnostic>) {
        let shadow = match get("shadow") {
            Some(at @ Expr::Bool { value, .. }) if *value == regorus::Value::from(true) => Some(at),
            _ => None,
        };
        let Some(until) = get("until") else {
            if let Some(at) = shadow {
                let message = "`shadow` has no `until`".to_owned();
                let help = "add the day from which the rule is enforced".to_owned();
                problems.push(self.warn(at.span(), message, help));
            }
            return;
        };
        let Some(text) = text_of(until) else { return };
        match until_ms(text) {
            Err(error) => {
                problems.push(self.warn(until.span(), error.to_string(), String::new()));
            }
            Ok(end) if shadow.is_some() && end <= self.known.now_ms => {
                let message = format!("shadow until `{text}`, which is past: this is enforced now");
                let warning = self.read.policy.warning("shadow_expired", until.span(), message);
                problems.push(warning.help("remove `shadow` and `until`, or give a later day"));
            }
            Ok(_) => {}
        }
    }

    fn names<'e>(&self, get: &impl Fn(&str) -> Option<&'e Expr>, problems: &mut Vec<Diagnostic>) {
        match self.decision {
            Decision::Ask => self.each(get("approvers"), Kind::Approver, problems),
            Decision::Limits if get("kind").is_none() => {
                self.each(get("id"), Kind::Limit, problems);
            }
            Decision::Obligations => {
                let Some(Expr::Object { fields, .. }) = get("properties") else { return };
                for (_, key, value) in fields {
                    match text_of(key) {
                        Some("detectors") => self.each(Some(value), Kind::Detector, problems),
                        Some("categories") => self.each(Some(value), Kind::Category, problems),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn each(&self, said: Option<&Expr>, kind: Kind, problems: &mut Vec<Diagnostic>) {
        let items: Vec<(&str, &Expr)> = match said {
            Some(Expr::Array { items, .. } | Expr::Set { items, .. }) => {
                items.iter().filter_map(|item| Some((text_of(item)?, item.as_ref()))).collect()
            }
            Some(one) => texts_of(one).unwrap_or_default(),
            None => return,
        };
        for (text, at) in items {
            // A family of detectors, as obligations may name it.
            if kind == Kind::Detector && text.ends_with('*') {
                continue;
            }
            if let Some((message, help)) = self.known.missing(kind, text) {
                let problem = self.read.policy.warning("name_unknown", at.span(), message);
                problems.push(problem.help(help));
            }
        }
    }
}

/// Members that an element cannot do without.
fn needed(decision: Decision) -> &'static [&'static str] {
    match decision {
        Decision::Deny | Decision::Ask => &["id"],
        Decision::Obligations => &["id", "type"],
        Decision::Limits => &["id", "key"],
        Decision::Allow | Decision::Labels | Decision::List => &[],
    }
}
