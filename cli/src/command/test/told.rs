//! Test results as text for people and as JSON.

use std::path::Path;

use lictor_policy_lib::cases::Difference;
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::rego::tester::{FailedAt, Named};
use serde_json::{Value, json};

use super::coverage;
use super::run::{Ran, Status, TestTold};
use crate::command::explain;
use crate::output::{Paint, shown};

/// For people: every failure with the difference and why, then the sum. With
/// `verbose`, also what passed.
pub(super) fn pretty(ran: &Ran, verbose: bool, paint: Paint) -> String {
    let mut text = String::new();
    for result in ran.results.iter().filter(|result| verbose || result.status != Status::Pass) {
        text.push_str(&block(result, paint));
    }
    if let Some(report) = &ran.coverage {
        text.push_str(&coverage::pretty(report, paint));
    }
    let passed = ran.count(Status::Pass);
    let failed = ran.failed();
    let verdict = if failed > 0 {
        paint.red("FAILED")
    } else if ran.results.is_empty() {
        paint.yellow("NO TESTS")
    } else {
        paint.green("ok")
    };
    let skipped = ran.count(Status::Skipped);
    text.push_str(&format!("{verdict}: {passed} passed, {failed} failed, {skipped} skipped"));
    if ran.not_run > 0 {
        text.push_str(&format!(", {} not run", ran.not_run));
    }
    text.push('\n');
    text
}

fn block(result: &TestTold, paint: Paint) -> String {
    let status = match result.status {
        Status::Skipped => paint.yellow("skipped"),
        Status::Error => paint.red("error"),
        Status::Fail => paint.red("failed"),
        Status::Pass => paint.green("passed"),
    };
    let line = if result.line > 0 { format!(":{}", result.line) } else { String::new() };
    let place = format!("{}{line}", shown(&result.file));
    let name = paint.bold(&shown(&result.name));
    let mut text = format!("{status} {place}: {name}\n{}", details(result, paint));
    for print in &result.prints {
        text.push_str(&format!("  {} {}\n", paint.dim("printed"), shown(print)));
    }
    text
}

/// What is wrong, what came out and why.
pub(super) fn details(result: &TestTold, paint: Paint) -> String {
    let mut text = String::new();
    for message in &result.messages {
        text.push_str(&format!("  {}\n", shown(message)));
    }
    result.differences.iter().for_each(|found| text.push_str(&difference(found, paint)));
    if let Some(at) = &result.failed_at {
        text.push_str(&statement(at, paint));
    }
    if let Some(decision) = &result.decision {
        text.push_str(&why(decision));
    }
    if let Some(told) = &result.explanation {
        let told = explain::pretty(told, paint);
        told.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

fn difference(found: &Difference, paint: Paint) -> String {
    let mut text = format!("  {}\n", shown(&found.to_string()));
    let many = found.missing.len() + found.unexpected.len() > 1;
    for (sort, ids) in [("missing", &found.missing), ("unexpected", &found.unexpected)] {
        for id in ids.iter().filter(|_| many) {
            text.push_str(&format!("    {} {}\n", paint.dim(&format!("{sort:<10}")), shown(id)));
        }
    }
    text
}

/// The first statement of a Rego test that did not hold, what it is made of, and the
/// variables before it.
fn statement(at: &FailedAt, paint: Paint) -> String {
    let number = at.line.to_string();
    let gap = " ".repeat(number.len());
    let mut text = String::new();
    for (index, line) in at.text.lines().enumerate() {
        let margin = if index == 0 { &number } else { &gap };
        text.push_str(&format!("  {margin} | {}\n", shown(&line.replace('\t', "    "))));
    }
    let named = |named: &Named| format!("{} = {}", shown(&named.name), shown(&named.value));
    // A literal says itself what it is.
    for part in at.parts.iter().filter(|part| part.name != part.value) {
        text.push_str(&format!("  {gap} | {} {}\n", paint.red("^"), named(part)));
    }
    if !at.locals.is_empty() {
        let ways = match at.ways {
            1 => String::new(),
            many => format!(", the last of {many} ways that led here"),
        };
        text.push_str(&format!("  {}\n", paint.dim(&format!("with{ways}"))));
        at.locals.iter().for_each(|local| text.push_str(&format!("    {}\n", named(local))));
    }
    text
}

/// Reasons and the policies that fired, of a failed case.
fn why(decision: &Value) -> String {
    let said = |value: &Value, member: &str| {
        let text = value.get(member).and_then(Value::as_str).unwrap_or_default();
        shown(text)
    };
    let list = |pointer: &str| {
        decision.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let mut text = String::new();
    for reason in list("/reasons") {
        let parts = ["id", "message", "detail"].map(|member| said(&reason, member));
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let policy = said(&reason, "policy");
        let place = if policy.is_empty() { policy } else { format!(" [{policy}]") };
        text.push_str(&format!("  because {}{place}\n", parts.join(" ")));
    }
    // The reasons of an allow are its permits.
    if decision.get("effect").and_then(Value::as_str) != Some("allow") {
        for permit in list("/explain/permits") {
            let line =
                format!("  permitted by {} {}", said(&permit, "policy"), said(&permit, "id"));
            text.push_str(&format!("{}\n", line.trim_end()));
        }
    }
    for error in list("/explain/errors") {
        text.push_str(&format!(
            "  erred: {} [{}]\n",
            said(&error, "message"),
            said(&error, "policy")
        ));
    }
    text
}

/// One JSON document.
pub(super) fn json(path: &Path, bundle: &LoadedBundle, ran: &Ran) -> Value {
    let tests: Vec<Value> = ran.results.iter().map(test).collect();
    let mut document = json!({
        "path": path, "valid": true, "bundle": bundle.reference(),
        "passed": ran.count(Status::Pass), "failed": ran.failed(),
        "skipped": ran.count(Status::Skipped), "not_run": ran.not_run, "tests": tests,
    });
    if let (Some(report), Some(members)) = (&ran.coverage, document.as_object_mut()) {
        members.insert("coverage".to_owned(), coverage::json(report));
    }
    document
}

fn test(result: &TestTold) -> Value {
    let mut decision = result.decision.clone();
    let told = result.explanation.as_ref();
    let explain = decision.as_mut().and_then(|decision| decision.get_mut("explain"));
    if let (Some(told), Some(members)) = (told, explain.and_then(Value::as_object_mut)) {
        members.insert("clauses".to_owned(), json!(told.clauses));
        members.insert("nearest".to_owned(), json!(told.nearest));
        members.insert("note".to_owned(), json!(told.note));
    }
    json!({
        "kind": result.sort, "file": result.file, "line": result.line, "name": result.name,
        "status": result.status.as_str(), "differences": result.problems(),
        "compared": result.differences, "failed_at": result.failed_at,
        "prints": result.prints, "decision": decision,
        "elapsed_us": u64::try_from(result.elapsed.as_micros()).unwrap_or(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: Status) -> TestTold {
        TestTold {
            sort: "case",
            file: "cases/a.yaml".to_owned(),
            line: 7,
            name: "a".to_owned(),
            status,
            differences: vec![Difference {
                member: "reasons".to_owned(),
                expected: "[a, b]".to_owned(),
                got: "[b, c]".to_owned(),
                missing: vec!["a".to_owned()],
                unexpected: vec!["c".to_owned()],
            }],
            decision: Some(json!({
                "reasons": [{"id": "x.y", "message": "no", "detail": "", "policy": "rego/x/x.rego:3"}],
                "explain": {"permits": [{"policy": "cedar.p", "id": ""}], "errors": []},
            })),
            ..TestTold::default()
        }
    }

    #[test]
    fn a_failure_shows_the_difference_and_why() {
        let ran = Ran { results: vec![told(Status::Fail)], not_run: 3, ..Ran::default() };
        assert_eq!(
            pretty(&ran, false, Paint::plain()),
            "failed cases/a.yaml:7: a
  reasons: expected [a, b], got [b, c]
    missing    a
    unexpected c
  because x.y no [rego/x/x.rego:3]
  permitted by cedar.p
FAILED: 0 passed, 1 failed, 0 skipped, 3 not run
"
        );
    }

    #[test]
    fn a_failed_rego_test_shows_the_statement_with_its_values() {
        let named =
            |name: &str, value: &str| Named { name: name.to_owned(), value: value.to_owned() };
        let at = FailedAt {
            line: 9,
            text: "got + 1 ==\n\t5".to_owned(),
            parts: vec![named("got + 1", "4"), named("5", "5")],
            locals: vec![named("got", "3")],
            ways: 2,
        };
        let result = TestTold {
            sort: "rego",
            file: "rego/u/u_test.rego".to_owned(),
            line: 5,
            name: "data.u.test_x".to_owned(),
            messages: vec!["it does not hold".to_owned()],
            failed_at: Some(at),
            prints: vec!["u.rego:1: x\u{1b}".to_owned()],
            ..TestTold::default()
        };
        assert_eq!(
            block(&result, Paint::plain()),
            "failed rego/u/u_test.rego:5: data.u.test_x
  it does not hold
  9 | got + 1 ==
    |     5
    | ^ got + 1 = 4
  with, the last of 2 ways that led here
    got = 3
  printed u.rego:1: x\\u{1b}
"
        );
    }

    #[test]
    fn what_passes_is_shown_when_asked_for() {
        let passed = || TestTold {
            sort: "case",
            file: "f".to_owned(),
            line: 1,
            name: "n".to_owned(),
            status: Status::Pass,
            ..TestTold::default()
        };
        let ran = Ran { results: vec![passed()], ..Ran::default() };
        assert_eq!(pretty(&ran, false, Paint::plain()), "ok: 1 passed, 0 failed, 0 skipped\n");
        assert!(pretty(&ran, true, Paint::plain()).starts_with("passed f:1: n\n"));
    }

    #[test]
    fn no_tests_are_said_loudly() {
        assert!(pretty(&Ran::default(), false, Paint::plain()).starts_with("NO TESTS"));
    }
}
