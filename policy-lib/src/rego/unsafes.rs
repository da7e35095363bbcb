//! Unsafe variables and the like. The engine reports one at a time, so a rule that has one is put
//! aside and the others are looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use lictor_proto::json::Node;
use regorus::unstable::{Rule, RuleHead};

use super::load::{engine, ready_path};
use super::place::{Place, engine_message};
use super::run;
use super::source::{Policy, own_column};
use super::walk::{head_name, head_refr};
use crate::diagnostic::Diagnostic;

/// Most rules that are put aside one by one; from then on whole files are.
const RULES_MAX: usize = 200;

/// Reports all of them.
pub(crate) fn check(policies: &[Policy], problems: &mut Vec<Diagnostic>) {
    let mut aside = too_deep(policies, problems);
    let lost: BTreeSet<&str> =
        policies.iter().flat_map(|policy| policy.lost.iter().map(String::as_str)).collect();
    for round in 0.. {
        let left = |policy: &&Policy| !aside.get(policy.name.as_str()).is_some_and(|a| a.whole);
        let texts: Vec<(&str, String)> = policies
            .iter()
            .filter(left)
            .map(|policy| (policy.name.as_str(), text_without(policy, &aside)))
            .collect();
        let texts = texts.iter().map(|(name, text)| (*name, text.as_str()));
        let prepared = engine(texts, &Node::empty_object(), &BTreeSet::new())
            .and_then(|mut engine| run::rule(&mut engine, &ready_path(), run::LOAD_TIME));
        let Err(text) = prepared else { return };
        let place = Place::find(&text).unwrap_or_default();
        let message = engine_message(&text);
        let policy = policies.iter().filter(left).find(|policy| policy.name == place.file);
        let Some(policy) = policy else {
            problems.push(Diagnostic::error("rego_compile", &place.file, message));
            return;
        };
        let problem = problem(policy, &place, message);
        let lost = named(&problem.message).is_some_and(|name| lost.contains(name));
        let told = problems.iter().any(|other| {
            (&other.file, other.line, other.col) == (&problem.file, problem.line, problem.col)
                && other.code == "rego_conflict"
        });
        if !lost && !told {
            problems.push(problem);
        }
        let rules = &policy.module.policy;
        let rule = rules.iter().position(|rule| covers(policy, rule, place.line));
        let aside = aside.entry(&policy.name).or_default();
        // A rule that is put aside already is not what is wrong.
        let new = rule.filter(|_| round < RULES_MAX).is_some_and(|rule| aside.rules.insert(rule));
        aside.whole = !new;
    }
}

/// What nests too deep could exhaust the stack of the analysis too: it is put aside from the start.
fn too_deep<'a>(policies: &'a [Policy], problems: &[Diagnostic]) -> BTreeMap<&'a str, Aside> {
    let deep = |policy: &Policy, rule: &Rule| {
        problems.iter().any(|problem| {
            problem.code == "rego_recursion"
                && problem.file == policy.name
                && problem.line == rule.span().line
        })
    };
    let all = || {
        policies
            .iter()
            .flat_map(|policy| policy.module.policy.iter().map(move |rule| (policy, rule)))
    };
    let names: BTreeSet<(&Vec<String>, &str)> = all()
        .filter(|(policy, rule)| deep(policy, rule))
        .filter_map(|(policy, rule)| Some((&policy.package, head_name(rule)?.0)))
        .collect();
    let mut aside: BTreeMap<&str, Aside> = BTreeMap::new();
    for policy in policies {
        for (index, rule) in policy.module.policy.iter().enumerate() {
            if head_name(rule).is_some_and(|(name, _)| names.contains(&(&policy.package, name))) {
                aside.entry(&policy.name).or_default().rules.insert(index);
            }
        }
    }
    aside
}

/// What of a file is put aside.
#[derive(Default)]
struct Aside {
    rules: BTreeSet<usize>,
    whole: bool,
}

fn problem(policy: &Policy, place: &Place, message: String) -> Diagnostic {
    let is_unsafe = message.contains("is unsafe");
    let code = if is_unsafe { "rego_unsafe" } else { "rego_compile" };
    let col = own_column(&policy.text, place.line, place.col);
    let problem = Diagnostic::error(code, &policy.name, message).at(place.line, col);
    if is_unsafe {
        problem.help("bind it in the body, such as with `some x in ...`")
    } else {
        problem
    }
}

/// The variable that a message is about.
fn named(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// Whether a line is one of the rule's.
fn covers(policy: &Policy, rule: &Rule, line: u32) -> bool {
    let Some(range) = range(rule) else { return false };
    let lines = policy.text.get(range).map_or(0, |text| text.matches('\n').count());
    let first = rule.span().line;
    (first..=first.saturating_add(u32::try_from(lines).unwrap_or(0))).contains(&line)
}

fn range(rule: &Rule) -> Option<Range<usize>> {
    let span = rule.span();
    (span.start < span.end).then_some(span.start as usize..span.end as usize)
}

/// The text with rules of the same name and form in the places of those put aside, which need
/// nothing.
fn text_without(policy: &Policy, aside: &BTreeMap<&str, Aside>) -> String {
    let mut text = policy.text.clone();
    let Some(aside) = aside.get(policy.name.as_str()) else { return text };
    // From the end, so that what stands before keeps its place.
    for rule in aside.rules.iter().rev() {
        let rule = policy.module.policy.get(*rule);
        if let Some((rule, range)) = rule.and_then(|rule| Some((rule, range(rule)?)))
            && let Some(original) = policy.text.get(range.clone())
        {
            let lines = "\n".repeat(original.matches('\n').count());
            text.replace_range(range, &format!("{}{lines}", stand_in(rule)));
        }
    }
    text
}

fn stand_in(rule: &Rule) -> String {
    let name = head_refr(rule).span().text().split('[').next().unwrap_or_default();
    match rule {
        Rule::Default { .. } => String::new(),
        Rule::Spec { head: RuleHead::Func { args, .. }, .. } => {
            let args: Vec<&str> = args.iter().map(|_| "_").collect();
            format!("{name}({}) := true", args.join(", "))
        }
        Rule::Spec { head: RuleHead::Set { .. }, .. } => format!("{name} contains 1"),
        Rule::Spec { head: RuleHead::Compr { .. }, .. } => format!("{name} := true"),
    }
}
