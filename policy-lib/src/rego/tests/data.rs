//! The policies in `testdata/rego`: each says in `#:` comments what comes of it.
//!
//! - `load/*.rego`: `#: expect <code> <line>:<col> <part of the message>`, each
//!   problem once and no others.
//! - `decide/*.rego`: `#: ask <args>`, then what the outcome holds: `permits`,
//!   `denies`, `asks`, `duties`, `limits` and `shadows` with `id@line`, `labels`, and
//!   `error <line> <part of the message>`; nothing else.

use std::path::PathBuf;

use super::*;

fn files(folder: &str) -> Vec<(String, String)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/rego")).join(folder);
    let mut found: Vec<(String, String)> = std::fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = format!("rego/u/{}", path.file_name().unwrap().to_str().unwrap());
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn said(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("#: "))
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
}

#[test]
fn policies_that_must_not_load_do_not_and_say_where() {
    let mut wrong = Vec::new();
    for (name, text) in files("load") {
        let problems = Bundle::of(&[(&name, &text)]).problems();
        let mut left: Vec<String> = problems
            .iter()
            .map(|p| {
                assert_eq!(p.file, name, "{p}");
                format!("{} {}:{} {}", p.code, p.line, p.col, p.message)
            })
            .collect();
        for (word, expected) in said(&text) {
            assert_eq!(word, "expect", "{name}");
            let (code_place, part) = match expected.match_indices(' ').nth(1) {
                Some((at, _)) => expected.split_at(at + 1),
                None => panic!("{name}: {expected}"),
            };
            match left.iter().position(|line| line.starts_with(code_place) && line.contains(part)) {
                Some(found) => drop(left.remove(found)),
                None => wrong.push(format!("{name} lacks {expected}")),
            }
        }
        wrong.extend(left.iter().map(|problem| format!("{name} also has {problem}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn policies_decide_as_they_say() {
    for (name, text) in files("decide") {
        let engine = Bundle::of(&[(&name, &text)]).engine();
        let mut cases: Vec<(&str, Vec<String>)> = Vec::new();
        for (word, rest) in said(&text) {
            match word {
                "ask" => cases.push((rest, Vec::new())),
                "error" => cases.last_mut().unwrap().1.push(format!("error {rest}")),
                _ => {
                    let items = rest.split_whitespace().map(|item| format!("{word} {item}"));
                    cases.last_mut().unwrap().1.extend(items);
                }
            }
        }
        assert!(!cases.is_empty(), "{name}");
        for (args, expected) in cases {
            let outcome = evaluate(&engine, &call(args), &facts(), patient());
            let mut left = summary(&outcome);
            for item in expected {
                let found = left.iter().position(|line| match item.split_once(' ').unwrap() {
                    ("error", rest) => {
                        let (line_number, part) = rest.split_once(' ').unwrap();
                        line.starts_with(&format!("error {name}:{line_number} "))
                            && line.contains(part)
                    }
                    _ => *line == item,
                });
                left.remove(
                    found.unwrap_or_else(|| panic!("{name} {args}: `{item}` is not in {left:#?}")),
                );
            }
            assert_eq!(left, Vec::<String>::new(), "{name} {args}");
            assert_agrees_with_the_rule_itself(&engine, args, &outcome);
        }
    }
}

/// The copy of `deny` that is asked says no less than the rule that was written.
fn assert_agrees_with_the_rule_itself(engine: &RegoEngine, args: &str, outcome: &Outcome) {
    let written = engine.generated.sites.iter().any(|site| site.decision.name() == "deny");
    if !written || !outcome.errors.is_empty() {
        return;
    }
    let mut interpreter = engine.interpreter.clone();
    interpreter.set_input(super::super::input_value(&call(args), &facts()));
    let rule = interpreter.eval_rule("data.lictor.u.deny".to_owned()).unwrap();
    let heads: std::collections::BTreeSet<_> = outcome
        .denies
        .iter()
        .map(|denial| (&denial.reason.id, &denial.reason.message, &denial.reason.detail))
        .collect();
    let shadows = outcome.shadows.iter().filter(|shadow| shadow.rule == "deny").count();
    assert_eq!(rule.as_set().unwrap().len(), heads.len() + shadows, "{args} {outcome:?}");
}

fn summary(outcome: &Outcome) -> Vec<String> {
    let at = |policy: &str| policy.rsplit_once(':').unwrap().1.to_owned();
    let mut lines = Vec::new();
    lines.extend(outcome.permits.iter().map(|p| format!("permits {}@{}", p.id, at(&p.policy))));
    lines.extend(
        outcome.denies.iter().map(|d| format!("denies {}@{}", d.reason.id, at(&d.reason.policy))),
    );
    lines.extend(
        outcome.asks.iter().map(|a| format!("asks {}@{}", a.reason.id, at(&a.reason.policy))),
    );
    lines.extend(
        outcome.obligations.iter().map(|d| format!("duties {}@{}", d.obligation.id, at(&d.policy))),
    );
    lines.extend(outcome.limits.iter().map(|l| format!("limits {}@{}", l.id, at(&l.policy))));
    lines.extend(outcome.shadows.iter().map(|s| format!("shadows {}@{}", s.id, at(&s.policy))));
    lines.extend(outcome.labels.iter().map(|l| format!("labels {l}")));
    lines.extend(outcome.errors.iter().map(|e| format!("error {} {}", e.policy, e.message)));
    lines
}
