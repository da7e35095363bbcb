//! What the engines said about one call: for `decide --explain` and failed tests.

use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::explain::{ClauseOutcome, ClauseTold, Explanation, RuleTold};
use lictor_proto::decision::Effect;
use serde_json::{Value, json};

use crate::output::{Paint, shown};

/// Everything in `verdict` that a decision does not show.
pub(crate) fn explanation(verdict: &Verdict) -> Value {
    let permits: Vec<Value> = verdict
        .permits
        .iter()
        .map(|fired| json!({"policy": fired.policy, "id": fired.id}))
        .collect();
    let asks: Vec<Value> = verdict
        .asks
        .iter()
        .map(|ask| json!({"reason": ask.reason, "approvers": ask.approvers, "count": ask.count, "expires_s": ask.expires_s}))
        .collect();
    let limits: Vec<Value> = verdict
        .limits
        .iter()
        .map(
            |limit| json!({"id": limit.id, "key": limit.key, "max": limit.max, "cost": limit.cost}),
        )
        .collect();
    let errors: Vec<Value> = verdict
        .errors
        .iter()
        .map(|e| json!({"id": e.id, "fatal": e.fatal, "message": e.message, "policy": e.policy}))
        .collect();
    json!({
        "engines": verdict.engines,
        "permits": permits,
        "denials": if verdict.effect == Effect::Deny { verdict.reasons.as_slice() } else { &[] },
        "asks": asks,
        "approvals_used": verdict.approvals_used,
        "limits": limits,
        "marks": verdict.marks,
        "errors": errors,
        "shadows": verdict.shadows.rules,
        "shadows_together": verdict.shadows.together,
    })
}

/// The same with the clauses of the rules that decided, and the nearest permits.
pub(crate) fn explanation_with(verdict: &Verdict, told: &Explanation) -> Value {
    let mut value = explanation(verdict);
    if let Some(members) = value.as_object_mut() {
        members.insert("clauses".to_owned(), json!(told.clauses));
        members.insert("nearest".to_owned(), json!(told.nearest));
        members.insert("note".to_owned(), json!(told.note));
    }
    value
}

/// For people: the rules that decided, clause by clause, then the nearest permits.
pub(crate) fn pretty(told: &Explanation, paint: Paint) -> String {
    let mut text = String::new();
    for rule in &told.clauses {
        let note = if rule.note.is_empty() { String::new() } else { format!(" ({})", rule.note) };
        text.push_str(&format!("{}{}\n", paint.bold(&head(rule)), paint.dim(&shown(&note))));
        text.push_str(&clauses(rule, paint));
    }
    for rule in &told.nearest {
        let held = format!(", {} of {} clauses held", rule.clauses_held, rule.clauses.len());
        let title = format!("nearest permit: {}", head(rule));
        text.push_str(&format!("{}{held}\n", paint.bold(&title)));
        text.push_str(&clauses(rule, paint));
    }
    if !told.note.is_empty() {
        text.push_str(&format!("{} {}\n", paint.yellow("note:"), shown(&told.note)));
    }
    text
}

fn head(rule: &RuleTold) -> String {
    let mut head = format!("{} {}", rule.rule, rule.policy);
    if !rule.id.is_empty() {
        head.push_str(&format!(" `{}`", rule.id));
    }
    if !rule.principal.is_empty() {
        head.push_str(&format!(" for `{}`", rule.principal));
    }
    shown(&head)
}

fn clauses(rule: &RuleTold, paint: Paint) -> String {
    let lines: Vec<u32> = rule.clauses.iter().flat_map(all_lines).collect();
    let width = lines.iter().max().map_or(1, |line| line.to_string().len());
    rule.clauses.iter().map(|told| clause(told, 1, width, paint)).collect()
}

fn all_lines(told: &ClauseTold) -> Vec<u32> {
    std::iter::once(told.line).chain(told.inner.iter().flat_map(all_lines)).collect()
}

fn clause(told: &ClauseTold, level: usize, width: usize, paint: Paint) -> String {
    let mark = match told.outcome {
        ClauseOutcome::Held => paint.green("✓"),
        ClauseOutcome::Failed => paint.red("✗"),
        ClauseOutcome::Error => paint.red("!"),
        ClauseOutcome::Unknown => paint.yellow("?"),
        ClauseOutcome::NotEvaluated => paint.dim("·"),
    };
    let indent = "  ".repeat(level);
    let source = shown(&told.text);
    let source =
        if told.outcome == ClauseOutcome::NotEvaluated { paint.dim(&source) } else { source };
    let number = format!("{:>width$}", told.line);
    let mut text = format!("{indent}{mark} {} {source}\n", paint.dim(&format!("{number} |")));
    let under = format!("{indent}{}", " ".repeat(width + 5));
    for value in &told.values {
        let is = match &value.value {
            Some(value) => format!("= {}", shown(value)),
            None => "is not there".to_owned(),
        };
        text.push_str(&format!("{under}{} {is}\n", paint.dim(&shown(&value.path))));
    }
    for inner in &told.inner {
        text.push_str(&clause(inner, level + 1, width, paint));
    }
    text
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::explain::ValueTold;

    use super::*;

    fn told(text: &str, outcome: ClauseOutcome, values: &[(&str, Option<&str>)]) -> ClauseTold {
        let value = |(path, value): &(&str, Option<&str>)| ValueTold {
            path: (*path).to_owned(),
            value: value.map(str::to_owned),
        };
        ClauseTold {
            line: 12,
            text: text.to_owned(),
            outcome,
            values: values.iter().map(value).collect(),
            inner: Vec::new(),
        }
    }

    #[test]
    fn people_see_which_clause_failed_and_what_it_read() {
        let mut helper = told("_person", ClauseOutcome::Failed, &[]);
        helper.inner.push(told("data.users[x]", ClauseOutcome::Failed, &[("x", Some("\"m\""))]));
        let rule = RuleTold {
            engine: "rego",
            rule: "allow".to_owned(),
            policy: "rego/u/u.rego:11".to_owned(),
            id: String::new(),
            principal: "a1".to_owned(),
            held: false,
            note: String::new(),
            clauses_held: 1,
            clauses: vec![
                told("input.n == 1", ClauseOutcome::Held, &[("input.n", Some("1"))]),
                helper,
                told("input.m", ClauseOutcome::NotEvaluated, &[("input.m\u{1b}", None)]),
            ],
        };
        let all =
            Explanation { nearest: vec![rule], note: "why".to_owned(), ..Explanation::default() };
        assert_eq!(
            pretty(&all, Paint::plain()),
            "nearest permit: allow rego/u/u.rego:11 for `a1`, 1 of 3 clauses held\n\
             \x20 ✓ 12 | input.n == 1\n\
             \x20        input.n = 1\n\
             \x20 ✗ 12 | _person\n\
             \x20   ✗ 12 | data.users[x]\n\
             \x20          x = \"m\"\n\
             \x20 · 12 | input.m\n\
             \x20        input.m\\u{1b} is not there\n\
             note: why\n"
        );
    }
}
