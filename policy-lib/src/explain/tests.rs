//! What is told agrees with what was decided, over every case of every bundle.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use crate::cases;
use crate::conclude::{DryRun, dry_run};
use crate::load::Times;
use lictor_proto::call::Party;

const NOW_MS: i64 = 1_800_000_000_000;

fn patient() -> Budget {
    Budget { time: std::time::Duration::from_secs(20), ..Budget::default() }
}

fn folder(root: &Path) -> LoadedBundle {
    let mut pairs = Vec::new();
    let mut todo = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                todo.push((path, format!("{name}/")));
            } else {
                pairs.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    let files = Files::from_pairs(pairs, &Limits::default()).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let source = Source::Folder(files);
    let verified = verify(source, &Require::AllowUnsigned, &floor, &Limits::default(), NOW_MS);
    LoadedBundle::load(verified.unwrap(), Times::Ignored).unwrap()
}

fn bundles() -> Vec<LoadedBundle> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../bundles"));
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.push(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/decisions")));
    folders.sort();
    assert!(folders.len() >= 6);
    folders.iter().map(|root| folder(root)).collect()
}

/// Every case of a bundle, in all phases, for each agent of the registry and for a
/// subject that it does not have, with what was decided.
fn decided(bundle: &LoadedBundle) -> Vec<(Call, DryRun)> {
    let files = bundle.verified().files();
    let texts = files.iter().filter(|(name, _)| name.starts_with("cases/"));
    let agents: Vec<&String> = bundle.registry().agents.keys().collect();
    let mut all = Vec::new();
    for (name, bytes) in texts {
        let parsed = cases::parse(name, std::str::from_utf8(bytes).unwrap()).unwrap();
        for (number, case) in parsed.cases.into_iter().enumerate() {
            let mut calls: Vec<Call> = [Phase::Request, Phase::List, Phase::Response]
                .map(|phase| Call { phase, ..case.call.clone() })
                .to_vec();
            let agent = agents.get(number % agents.len().max(1));
            let agent = agent.map(|id| Party::new("agent", id.as_str()));
            calls.push(Call { agent, ..case.call.clone() });
            let subject = Some(Party::new("user", "nobody@example.com"));
            calls.push(Call { subject, ..case.call.clone() });
            for call in calls {
                let outcome = dry_run(bundle, &call, case.facts.clone(), NOW_MS, patient());
                all.push((call, outcome));
            }
        }
    }
    all
}

/// The rules that are told of, before they are arranged.
fn told(explainer: &Explainer<'_>, call: &Call, facts: &Facts) -> [Told; 2] {
    let call = explainer.bundle.resolve(call);
    let registry = explainer.bundle.registry();
    let query = Query { call: &call, facts, registry, budget: patient() };
    [explainer.rego.told(&query), explainer.cedar.told(&query)]
}

fn all_held(rule: &RuleTold) -> bool {
    rule.clauses.iter().all(|clause| clause.outcome == ClauseOutcome::Held)
}

/// The policies of rules of a sort that hold and count; of a chain, those that hold
/// for anyone in it.
fn holding(told: &[Told; 2], sorts: &[&str]) -> BTreeSet<String> {
    let rules = told.iter().flat_map(|told| &told.rules);
    let held = rules.filter(|rule| {
        sorts.contains(&rule.rule.as_str()) && all_held(rule) && rule.note.is_empty()
    });
    held.map(|rule| rule.policy.clone()).collect()
}

#[test]
fn all_clauses_of_a_rule_held_exactly_if_it_is_in_the_verdict() {
    let (mut calls, mut permits, mut denials, mut asks) = (0, 0, 0, 0);
    for bundle in bundles() {
        let explainer = Explainer::new(&bundle).unwrap_or_else(|e| panic!("{e:#?}"));
        for (call, outcome) in decided(&bundle) {
            let verdict = &outcome.verdict;
            // Nothing was asked, or what failed told nothing more.
            if verdict.engines.is_empty() || verdict.errors.iter().any(|error| error.fatal) {
                continue;
            }
            let told = told(&explainer, &call, &outcome.facts);
            for rule in told.iter().flat_map(|told| &told.rules) {
                assert_eq!(rule.held, all_held(rule), "{rule:#?}");
            }
            calls += 1;
            if call.phase == Phase::Request {
                let said: BTreeSet<String> =
                    verdict.permits.iter().map(|fired| fired.policy.clone()).collect();
                let mut told_of = holding(&told, &["allow", "permit"]);
                // Cedar's permits count only if each actor of the chain has one.
                if verdict.permits.iter().all(|fired| fired.policy.starts_with("rego/")) {
                    let cedar = told_of.iter().any(|policy| policy.starts_with("cedar/"));
                    assert!(!cedar || !call.delegation.is_empty(), "{told:#?}");
                    told_of.retain(|policy| policy.starts_with("rego/"));
                }
                assert_eq!(told_of, said);
                permits += said.len();
            }
            if call.phase != Phase::List {
                let said = told.iter().flat_map(|told| &told.outcome.denies);
                let said: BTreeSet<String> = said.map(|d| d.reason.policy.clone()).collect();
                assert_eq!(holding(&told, &["deny", "forbid"]), said);
                let reasons = verdict.reasons.iter().map(|reason| &reason.policy);
                let in_reasons = reasons.filter(|policy| said.contains(*policy)).count();
                // What asks neither for authorization nor for guardrails is not denied by rules.
                let asks_all = call.questions.len() == 3;
                assert!(!asks_all || in_reasons >= said.len(), "{:?}", verdict.reasons);
                denials += said.len();
            }
            if verdict.effect == Effect::Ask {
                let said = verdict.asks.iter().map(|ask| ask.reason.policy.clone());
                let said: BTreeSet<String> = said.collect();
                assert!(holding(&told, &["ask"]).is_superset(&said));
                asks += said.len();
            }
        }
    }
    assert!(
        calls > 600 && permits > 100 && denials > 60 && asks > 5,
        "{calls} {permits} {denials} {asks}"
    );
}

#[test]
fn what_is_watched_says_what_was_decided() {
    for bundle in bundles() {
        let explainer = Explainer::new(&bundle).unwrap();
        for (call, outcome) in decided(&bundle) {
            if outcome.verdict.engines.is_empty() {
                continue;
            }
            let resolved = bundle.resolve(&call);
            let query = Query {
                call: &resolved,
                facts: &outcome.facts,
                registry: bundle.registry(),
                budget: patient(),
            };
            let [rego, cedar] = told(&explainer, &call, &outcome.facts);
            let served: Vec<_> =
                bundle.engines().iter().map(|engine| engine.evaluate(&query)).collect();
            assert_eq!(vec![rego.outcome, cedar.outcome], served);
        }
    }
}

fn expense() -> LoadedBundle {
    folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../bundles/expense-report")))
}

fn explained(bundle: &LoadedBundle, call: &str) -> (Effect, Explanation) {
    let call = Call::from_json(call.as_bytes()).unwrap();
    let outcome = dry_run(bundle, &call, Facts::default(), NOW_MS, patient());
    let told = explain(bundle, &call, &outcome.facts, NOW_MS, patient());
    (outcome.decision.effect, told)
}

fn report(subject: &str, amount: &str) -> String {
    format!(
        r#"{{"subject": {{"type": "user", "id": "{subject}"}}, "agent": {{"type": "agent", "id": "expense-report-v1"}},
            "action": {{"name": "tools/call"}}, "resource": {{"type": "tool", "id": "accounting/create_expense_report"}},
            "context": {{"args": {{"employee_id": "{subject}", "amount": {amount}, "description": "travel"}}}}}}"#
    )
}

#[test]
fn a_denial_shows_what_fired_and_the_nearest_permit_with_its_values() {
    let bundle = expense();
    let (effect, told) = explained(&bundle, &report("alice@example.com", "6000"));
    assert_eq!(effect, Effect::Deny, "{told:#?}");
    let fired = &told.clauses[0];
    assert_eq!((fired.rule.as_str(), fired.held), ("deny", true));
    let amount =
        ValueTold { path: "input.context.args.amount".to_owned(), value: Some("6000".to_owned()) };
    assert!(fired.clauses.iter().any(|clause| clause.values.contains(&amount)), "{fired:#?}");
    let nearest = &told.nearest[0];
    let failed: Vec<&ClauseTold> =
        nearest.clauses.iter().filter(|c| c.outcome != ClauseOutcome::Held).collect();
    assert_eq!(failed.len(), 1, "{nearest:#?}");
    assert_eq!(failed[0].text, "input.context.args.amount <= data.expense.never_over");
    assert!(failed[0].values.contains(&amount));
    assert!(
        failed[0].values.iter().any(|v| v.path == "data.expense.never_over" && v.value.is_some())
    );
}

#[test]
fn an_ask_and_an_allow_show_the_rules_that_decided() {
    let bundle = expense();
    let (effect, told) = explained(&bundle, &report("alice@example.com", "900"));
    assert_eq!(effect, Effect::Ask);
    assert_eq!(told.clauses.len(), 1);
    assert_eq!((told.clauses[0].rule.as_str(), told.nearest.len()), ("ask", 0));
    let (effect, told) = explained(&bundle, &report("alice@example.com", "20"));
    assert_eq!(effect, Effect::Allow);
    let engines: Vec<&str> = told.clauses.iter().map(|rule| rule.engine).collect();
    assert_eq!(engines, ["rego", "cedar"], "{told:#?}");
    assert!(told.nearest.is_empty());
}

#[test]
fn a_helper_that_failed_is_told_with_what_it_read() {
    let bundle = expense();
    let (effect, told) = explained(&bundle, &report("mallory@example.com", "20"));
    assert_eq!(effect, Effect::Deny);
    let nearest = &told.nearest[0];
    assert!(nearest.clauses[1].text.contains("create_expense_report"), "{nearest:#?}");
    let failed = nearest.clauses.iter().find(|c| c.outcome == ClauseOutcome::Failed).unwrap();
    assert_eq!(failed.text, "_person", "{nearest:#?}");
    let inner = &failed.inner[0].inner[0];
    assert_eq!(inner.text, "data.registry.users[input.subject.id]");
    assert!(inner.values.iter().any(|v| v.value.as_deref() == Some("\"mallory@example.com\"")));
}

#[test]
fn what_was_denied_before_any_policy_says_so() {
    let bundle = expense();
    let call = report("alice@example.com", "20").replace("expense-report-v1", "nobody");
    let (_, told) = explained(&bundle, &call);
    assert_eq!(told.note, "denied as `agent_unknown` before any policy was asked");
    assert!(told.clauses.is_empty() && told.nearest.is_empty());
}

#[test]
fn texts_and_values_are_bounded() {
    assert_eq!(bounded("a\n\t b", 10), "a b");
    assert_eq!(bounded("abcdef", 6), "abcdef");
    assert_eq!(bounded("abcdefg", 6), "abcd …");
    let bundle = expense();
    let long = "x".repeat(5000);
    let call = report("alice@example.com", "6000").replace("\"travel\"", &format!("\"{long}\""));
    let (_, told) = explained(&bundle, &call);
    let text = serde_json::to_string(&told).unwrap();
    assert!(!text.contains(&"x".repeat(VALUE_CHARS_MAX + 1)));
}
