//! Rules of one name that contradict each other whatever the input is. The engine finds out only
//! when it evaluates them, and then fails the call.

use std::collections::BTreeMap;

use regorus::Value;
use regorus::unstable::{Expr, Rule, RuleHead};

use super::names::{Decision, ROOT, is_test};
use super::source::Policy;
use super::walk::{Part, flatten, head_refr};
use crate::diagnostic::Diagnostic;

/// What a rule makes of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    Set,
    /// A member of an object, by an index.
    Member,
    Function(usize),
}

impl Form {
    fn said(self) -> String {
        match self {
            Self::Value => "a value".to_owned(),
            Self::Set => "a set".to_owned(),
            Self::Member => "an object".to_owned(),
            Self::Function(1) => "a function of 1 argument".to_owned(),
            Self::Function(arity) => format!("a function of {arity} arguments"),
        }
    }
}

/// A rule with what it makes of its name.
struct Definition<'a> {
    policy: &'a Policy,
    rule: &'a Rule,
    form: Form,
}

impl Definition<'_> {
    fn place(&self) -> String {
        format!("{}:{}", self.policy.name, self.rule.span().line)
    }

    fn is_default(&self) -> bool {
        matches!(self.rule, Rule::Default { .. })
    }

    /// The value of a rule that always has the same.
    fn constant(&self) -> Option<&Value> {
        let Rule::Spec { head: RuleHead::Compr { assign: Some(assign), .. }, bodies, .. } =
            self.rule
        else {
            return None;
        };
        if !bodies.is_empty() || self.form != Form::Value {
            return None;
        }
        match assign.value.as_ref() {
            Expr::String { value, .. }
            | Expr::RawString { value, .. }
            | Expr::Number { value, .. }
            | Expr::Bool { value, .. }
            | Expr::Null { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// Refuses them.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let mut by_path: BTreeMap<Vec<&str>, Vec<Definition<'_>>> = BTreeMap::new();
    for policy in policies {
        for rule in &policy.module.policy {
            let Some((path, form)) = read(policy, rule) else { continue };
            by_path.entry(path).or_default().push(Definition { policy, rule, form });
        }
    }
    for (path, definitions) in &by_path {
        // Tests of one name are refused where tests are checked.
        if path.last().is_some_and(|name| is_test(name)) {
            continue;
        }
        let name = path.join(".");
        forms(&name, definitions, problems);
        defaults(&name, definitions, problems);
        constants(&name, definitions, problems);
        under_value(path, &by_path, problems);
    }
}

/// The path of a rule up to its first index, and its form.
fn read<'a>(policy: &'a Policy, rule: &'a Rule) -> Option<(Vec<&'a str>, Form)> {
    let (_, parts) = flatten(head_refr(rule))?;
    let mut path: Vec<&str> = policy.package.iter().map(String::as_str).collect();
    let own = parts.iter().map_while(|part| match part {
        Part::Name(name) => Some(*name),
        Part::Dynamic => None,
    });
    path.extend(own);
    let indexed = parts.iter().any(|part| matches!(part, Part::Dynamic));
    let form = match rule {
        Rule::Spec { head: RuleHead::Func { args, .. }, .. } => Form::Function(args.len()),
        Rule::Default { args, .. } if !args.is_empty() => Form::Function(args.len()),
        _ if indexed => Form::Member,
        Rule::Spec { head: RuleHead::Set { .. }, .. } => Form::Set,
        _ => Form::Value,
    };
    Some((path, form))
}

fn forms(name: &str, definitions: &[Definition<'_>], problems: &mut Vec<Diagnostic>) {
    let Some((first, others)) = definitions.split_first() else { return };
    // Which form decisions have is said where they are checked.
    let decides = first.policy.package.first().is_some_and(|root| root == ROOT)
        && name.rsplit('.').next().is_some_and(|name| Decision::from_name(name).is_some());
    if decides {
        return;
    }
    // A member of an object and its default value go together.
    let agree = |form: Form, other: Form| {
        form == other || matches!((form, other), (Form::Member, Form::Value) if first.is_default())
    };
    for other in others.iter().filter(|other| !agree(other.form, first.form)) {
        let message = format!(
            "`{name}` is {} here and {} at {}",
            other.form.said(),
            first.form.said(),
            first.place()
        );
        let problem = other.policy.error("rego_conflict", head_refr(other.rule).span(), message);
        problems.push(problem.help("give one of them another name"));
    }
}

fn defaults(name: &str, definitions: &[Definition<'_>], problems: &mut Vec<Diagnostic>) {
    let mut all = definitions.iter().filter(|definition| definition.is_default());
    let Some(first) = all.next() else { return };
    for other in all {
        let message = format!("`{name}` has a default already, at {}", first.place());
        let problem = other.policy.error("rego_conflict", head_refr(other.rule).span(), message);
        problems.push(problem.help("remove one of them"));
    }
}

fn constants(name: &str, definitions: &[Definition<'_>], problems: &mut Vec<Diagnostic>) {
    let mut all = definitions.iter().filter_map(|d| d.constant().map(|value| (d, value)));
    let Some((first, value)) = all.next() else { return };
    for (other, _) in all.filter(|(_, other)| *other != value) {
        let message =
            format!("`{name}` has another value at {}, and each always holds", first.place());
        let problem = other.policy.error("rego_conflict", head_refr(other.rule).span(), message);
        problems.push(problem.help("give them conditions, or remove one of them"));
    }
}

/// `a := 1` and `a.b := 2`.
fn under_value(
    path: &[&str],
    by_path: &BTreeMap<Vec<&str>, Vec<Definition<'_>>>,
    problems: &mut Vec<Diagnostic>,
) {
    let Some(own) = by_path.get(path).and_then(|own| own.first()) else { return };
    let lengths = own.policy.package.len() + 1..path.len();
    let mut above = lengths.filter_map(|length| by_path.get(path.get(..length)?)?.first());
    // What is made member by member may have this one too.
    let Some(above) = above.find(|above| above.form != Form::Member) else { return };
    let message = format!(
        "`{}` is a part of what is {} at {}",
        path.join("."),
        above.form.said(),
        above.place()
    );
    let problem = own.policy.error("rego_conflict", head_refr(own.rule).span(), message);
    problems.push(problem.help("give one of them another name"));
}
