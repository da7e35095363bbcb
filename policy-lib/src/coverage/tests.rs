//! What counts as covered, over small bundles of both engines.

use super::*;
use crate::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use crate::conclude::dry_run;
use crate::load::Times;
use lictor_proto::facts::Facts;

const NOW_MS: i64 = 1_800_000_000_000;

const MANIFEST: &str =
    r#"{"revision": "r", "metadata": {"lictor": {"name": "t", "version": 1, "units": {}}}}"#;
const DATA: &str = r#"{"registry": {
    "users": {"alice@example.com": {}},
    "agents": {"a1": {"owner": "alice@example.com", "status": "active"}, "a2": {"owner": "alice@example.com", "status": "active"}},
    "servers": {"files": {}},
    "tools": {"files/read": {"schema": "any", "annotations": {"effect": "none"}}, "files/write": {"schema": "any", "annotations": {"effect": "mutate"}}}}}"#;

fn bundle(rego: &str, cedar: &str, test: &str) -> LoadedBundle {
    let mut pairs = vec![
        (".manifest", MANIFEST.to_owned()),
        ("data.json", DATA.to_owned()),
        ("rego/u/u.rego", format!("package lictor.u\n{rego}")),
        ("rego/u/u_test.rego", format!("package lictor.u_test\n{test}")),
    ];
    if !cedar.is_empty() {
        pairs.push(("cedar/c.cedar", cedar.to_owned()));
    }
    let pairs = pairs.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()));
    let files = Files::from_pairs(pairs, &Limits::default()).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let source = Source::Folder(files);
    let verified = verify(source, &Require::AllowUnsigned, &floor, &Limits::default(), NOW_MS);
    LoadedBundle::load(verified.unwrap(), Times::Ignored).unwrap()
}

fn call(agent: &str, tool: &str) -> Call {
    let text = format!(
        r#"{{"subject": {{"type": "user", "id": "alice@example.com"}}, "agent": {{"type": "agent", "id": "{agent}"}},
            "action": {{"name": "tools/call"}}, "resource": {{"type": "tool", "id": "{tool}"}}}}"#
    );
    Call::from_json(text.as_bytes()).unwrap()
}

fn seen(bundle: &LoadedBundle, coverage: &Coverage<'_>, calls: &[Call]) -> Seen {
    let mut watching = coverage.watch();
    for call in calls {
        let outcome = dry_run(bundle, call, Facts::default(), NOW_MS, Budget::default());
        watching.decided(call, &outcome);
    }
    watching.seen()
}

fn covered(bundle: &LoadedBundle, calls: &[Call]) -> Report {
    let coverage = Coverage::new(bundle).unwrap();
    let seen = seen(bundle, &coverage, calls);
    coverage.report(&seen)
}

fn missing(report: &Report, file: &str) -> Vec<String> {
    let file = report.files.iter().find(|report| report.file == file).unwrap();
    file.missing.iter().map(|missing| format!("{}: {}", missing.line, missing.what)).collect()
}

const CEDAR: &str = r#"
@id("p")
permit (
    principal == Lictor::Agent::"a1", // (principal, action)
    action in Lictor::Action::"tools/call",
    resource
)
when {
    context.phase == "request" &&
    (resource.effect == "none" || resource.effect == "mutate")
}
unless { context.session.kind == "implicit" };
"#;

#[test]
fn each_half_of_a_clause_counts_and_a_satisfied_policy() {
    let bundle = bundle("allow if true\n", CEDAR, "");
    let none = covered(&bundle, &[]);
    // The policy, five leaves, one disjunction and two parts of the scope.
    let cedar = none.files.iter().find(|file| file.engine == "cedar").unwrap();
    assert_eq!((cedar.covered, cedar.total, cedar.clauses.len()), (0, 1 + 2 * 7, 7));
    assert_eq!(cedar.clauses[0].text, "principal == Lictor::Agent::\"a1\"");
    assert_eq!((cedar.clauses[0].line, cedar.clauses[1].line), (4, 5));
    let one = covered(&bundle, &[call("a1", "files/read")]);
    let told = missing(&one, "cedar/c.cedar");
    assert_eq!(
        told,
        [
            "4: `principal == Lictor::Agent::\"a1\"` was never false (`p`)",
            "5: `action in Lictor::Action::\"tools/call\"` was never false (`p`)",
            "9: `context.phase == \"request\"` was never false (`p`)",
            "10: `resource.effect == \"mutate\"` was never false (`p`)",
            "10: `resource.effect == \"mutate\"` was never true (`p`)",
            "10: `resource.effect == \"none\" || resource.effect == \"mutate\"` was never false (`p`)",
            "10: `resource.effect == \"none\"` was never false (`p`)",
            "12: `context.session.kind == \"implicit\"` was never true (`p`)",
        ]
    );
    let more = covered(
        &bundle,
        &[call("a1", "files/read"), call("a1", "files/write"), call("a2", "files/read")],
    );
    let told = missing(&more, "cedar/c.cedar");
    assert!(!told.iter().any(|missing| missing.starts_with("4:")), "{told:?}");
    assert!(
        !told.iter().any(|missing| missing.contains("`resource.effect == \"none\"` was never")),
        "{told:?}"
    );
}

const REGO: &str = "allow if {\n\t_reads\n\tinput.agent.id == \"a1\"\n}\n\n_reads if input.resource.id == \"files/read\"\n\n\
                    deny contains {\"id\": \"u.never\"} if {\n\tinput.resource.id == \"files/write\"\n\tinput.agent.id == \"a9\"\n}\n";

#[test]
fn statements_and_bodies_of_rules_count() {
    let bundle = bundle(REGO, "", "");
    let report = covered(&bundle, &[call("a1", "files/read")]);
    let file = &report.files[0];
    assert_eq!((file.covered, file.total), (6, 8), "{file:#?}");
    assert_eq!(
        missing(&report, "rego/u/u.rego"),
        ["9: `deny` never held", "11: `input.agent.id == \"a9\"` was never evaluated",]
    );
    assert!((report.percent - 75.0).abs() < 1e-9);
    let all = covered(&bundle, &[call("a1", "files/read"), call("a1", "files/write")]);
    assert_eq!(missing(&all, "rego/u/u.rego"), ["9: `deny` never held"]);
}

#[test]
fn rego_tests_count_also_with_functions_that_they_replace() {
    let rego = "_age(x) := x.age\n\nallow if {\n\t_age(input) > 17\n\tinput.ok\n}\n";
    let test = "import data.lictor.u\n\ntest_replaced if {\n\tu.allow with input as {\"ok\": true} with data.lictor.u._age as 18\n}\n\n\
                test_plain if {\n\tnot u.allow with input as {\"age\": 3}\n}\n";
    let bundle = bundle(rego, "", test);
    let coverage = Coverage::new(&bundle).unwrap();
    let plain = coverage.rego_tests(&["data.lictor.u_test.test_plain"]);
    let first = coverage.report(&plain);
    assert_eq!(
        missing(&first, "rego/u/u.rego"),
        ["4: `allow` never held", "6: `input.ok` was never evaluated"]
    );
    let both =
        coverage.rego_tests(&["data.lictor.u_test.test_plain", "data.lictor.u_test.test_replaced"]);
    assert_eq!(missing(&coverage.report(&both), "rego/u/u.rego"), Vec::<String>::new());
}

#[test]
fn a_call_that_is_denied_before_any_policy_reaches_none() {
    let bundle = bundle(REGO, CEDAR, "");
    let report = covered(&bundle, &[call("nobody", "files/read")]);
    assert_eq!((report.covered, report.percent), (0, 0.0));
}

#[test]
fn what_threads_saw_is_merged_in_any_order() {
    let bundle = bundle(REGO, CEDAR, "");
    let calls = [call("a1", "files/read"), call("a2", "files/write"), call("a1", "files/write")];
    let coverage = Coverage::new(&bundle).unwrap();
    let whole = seen(&bundle, &coverage, &calls);
    let parts: Vec<Seen> = std::thread::scope(|scope| {
        let started: Vec<_> =
            calls.chunks(1).map(|calls| scope.spawn(|| seen(&bundle, &coverage, calls))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let merged = |order: &[usize]| {
        let mut all = Seen::default();
        order.iter().for_each(|part| all.merge(parts[*part].clone()));
        all
    };
    assert_eq!(merged(&[0, 1, 2]), whole);
    assert_eq!(merged(&[2, 0, 1]), whole);
}

#[test]
fn lcov_has_lines_functions_and_branches() {
    let bundle = bundle(REGO, CEDAR, "");
    let report = covered(&bundle, &[call("a1", "files/read")]);
    let text = lcov(&report, |file| format!("b/{file}"));
    for line in [
        "SF:b/cedar/c.cedar",
        "FN:2,p:2",
        "FNDA:1,p:2",
        "BRDA:4,0,0,1",
        "BRDA:4,0,1,0",
        "BRDA:10,5,0,-",
        "SF:b/rego/u/u.rego",
        "FNDA:1,allow:2",
        "FNDA:0,deny:9",
        "DA:3,1",
        "DA:11,0",
        "FNF:3",
        "FNH:2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("end_of_record").count(), 2);
}

#[test]
fn nothing_to_cover_is_all_covered() {
    let bundle = bundle("default _x := 1\n", "", "");
    let report = covered(&bundle, &[]);
    assert_eq!((report.total, report.percent), (0, 100.0));
}
