//! Test results as text for people, as JSON and as JUnit XML.

use std::path::Path;

use lictor_policy_lib::load::LoadedBundle;
use serde_json::{Value, json};

use super::run::{Ran, Status, TestTold};
use crate::output::{Paint, shown};

/// For people: every failure with the difference and why, then the sum.
pub(super) fn pretty(ran: &Ran, coverage: bool, paint: Paint) -> String {
    let mut text = String::new();
    for result in ran.results.iter().filter(|result| result.status != Status::Pass) {
        text.push_str(&block(result, paint));
    }
    if coverage {
        text.push_str(&covered(ran));
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
    text.push_str(&format!("{verdict}: {passed} passed, {failed} failed, {skipped} skipped\n"));
    text
}

fn block(result: &TestTold, paint: Paint) -> String {
    let status = match result.status {
        Status::Skipped => paint.yellow("skipped"),
        Status::Error => paint.red("error"),
        Status::Fail | Status::Pass => paint.red("failed"),
    };
    let line = if result.line > 0 { format!(":{}", result.line) } else { String::new() };
    let mut text =
        format!("{status} {}{line}: {}\n", shown(&result.file), paint.bold(&shown(&result.name)));
    for difference in &result.differences {
        text.push_str(&format!("  {}\n", shown(difference)));
    }
    for print in &result.prints {
        text.push_str(&format!("  printed {}\n", shown(print)));
    }
    if let Some(decision) = &result.decision {
        text.push_str(&why(decision));
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

fn covered(ran: &Ran) -> String {
    let mut text = String::new();
    for (file, coverage) in &ran.coverage {
        let missed: Vec<String> = coverage.not_covered.iter().map(ToString::to_string).collect();
        let total = coverage.covered.len() + coverage.not_covered.len();
        text.push_str(&format!(
            "{}: {} of {total} lines reached",
            shown(file),
            coverage.covered.len()
        ));
        if !missed.is_empty() {
            text.push_str(&format!(", not {}", missed.join(", ")));
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "{:.1} % of the policy lines were reached by Rego tests\n",
        ran.coverage_percent()
    ));
    text
}

/// One JSON document.
pub(super) fn json(path: &Path, bundle: &LoadedBundle, ran: &Ran, coverage: bool) -> Value {
    let tests: Vec<Value> = ran
        .results
        .iter()
        .map(|result| {
            json!({
                "kind": result.sort, "file": result.file, "line": result.line, "name": result.name,
                "status": result.status.as_str(), "differences": result.differences,
                "prints": result.prints, "decision": result.decision,
                "elapsed_us": u64::try_from(result.elapsed.as_micros()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    let mut document = json!({
        "path": path, "valid": true, "bundle": bundle.reference(),
        "passed": ran.count(Status::Pass), "failed": ran.failed(),
        "skipped": ran.count(Status::Skipped), "tests": tests,
    });
    if coverage && let Some(members) = document.as_object_mut() {
        let percent = ran.coverage_percent();
        members.insert("coverage".to_owned(), json!({"percent": percent, "files": ran.coverage}));
    }
    document
}

/// JUnit XML, one suite for each file.
pub(super) fn junit(ran: &Ran) -> String {
    let mut files: Vec<&str> = ran.results.iter().map(|result| result.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!(
        "<testsuites name=\"lictor\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n",
        ran.results.len(),
        ran.count(Status::Fail),
        ran.count(Status::Error)
    ));
    for file in files {
        let results: Vec<&TestTold> = ran.results.iter().filter(|r| r.file == file).collect();
        let count = |status| results.iter().filter(|result| result.status == status).count();
        xml.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
            escape(file),
            results.len(),
            count(Status::Fail),
            count(Status::Error),
            count(Status::Skipped)
        ));
        for result in results {
            xml.push_str(&testcase(result));
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn testcase(result: &TestTold) -> String {
    let head = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6}\"",
        escape(&result.file),
        escape(&result.name),
        result.elapsed.as_secs_f64()
    );
    let (element, message) = match result.status {
        Status::Pass => return format!("{head}/>\n"),
        Status::Skipped => return format!("{head}><skipped/></testcase>\n"),
        Status::Fail => ("failure", result.differences.join("; ")),
        Status::Error => ("error", result.differences.join("; ")),
    };
    let why = result.decision.as_ref().map(why).unwrap_or_default();
    format!(
        "{head}><{element} message=\"{}\">{}</{element}></testcase>\n",
        escape(&message),
        escape(&why)
    )
}

/// Text as XML; a character that XML cannot hold is shown by its number.
fn escape(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                xml.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(status: Status) -> TestTold {
        TestTold {
            sort: "case",
            file: "cases/a.yaml".to_owned(),
            line: 0,
            name: "a <b> & \"c\"".to_owned(),
            status,
            differences: vec!["effect: expected allow, got deny".to_owned()],
            prints: Vec::new(),
            elapsed: Duration::from_micros(1500),
            decision: Some(json!({
                "reasons": [{"id": "x.y", "message": "no", "detail": "", "policy": "rego/x/x.rego:3"}],
                "explain": {"permits": [{"policy": "cedar.p", "id": ""}], "errors": []},
            })),
        }
    }

    #[test]
    fn a_failure_shows_the_difference_and_why() {
        let ran = Ran { results: vec![told(Status::Fail)], ..Ran::default() };
        let text = pretty(&ran, false, Paint::plain());
        for part in
            ["got deny", "because x.y no [rego/x/x.rego:3]", "permitted by cedar.p", "1 failed"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn junit_is_escaped_and_counted() {
        let ran = Ran { results: vec![told(Status::Pass), told(Status::Fail)], ..Ran::default() };
        let xml = junit(&ran);
        assert!(
            xml.contains("name=\"a &lt;b&gt; &amp; &quot;c&quot;\" time=\"0.001500\"/>"),
            "{xml}"
        );
        assert!(xml.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""), "{xml}");
        assert_eq!(escape("\u{1}\n"), "\\u{1}&#10;");
    }

    #[test]
    fn no_tests_are_said_loudly() {
        assert!(pretty(&Ran::default(), false, Paint::plain()).starts_with("NO TESTS"));
    }
}
