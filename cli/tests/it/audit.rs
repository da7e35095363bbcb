//! Audit logs: written by the library, read by the command.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lictor_audit::{AuditLog, Durability, Entry, Kind, Options};
use lictor_identity::keys::load_signing;

use crate::run::Bench;

const DECISION: &str = r#"{"call_id":"c1","decision_id":"d1","session":"s1","tenant":"default","phase":"request","subject":{"type":"user","id":"alice@example.com"},"agent":{"type":"agent","id":"expense-report-v1"},"delegation":[],"action":"tools/call","resource":{"type":"tool","id":"accounting/receipt_ocr"},"effect":"allow","reasons":[{"id":"permit","policy":"rego/expense/expense.rego:7"}],"policies":["cedar/expense.cedar:3"],"engines":["rego","cedar"],"bundle":{"name":"demo","revision":"1","version":4,"digest":"sha256:00"},"duration_us":120}"#;
const DENIAL: &str = r#"{"call_id":"c2","decision_id":"d2","session":"s1","tenant":"default","phase":"request","subject":{"type":"user","id":"alice@example.com"},"agent":{"type":"agent","id":"expense-report-v1"},"delegation":[],"action":"tools/call","resource":{"type":"tool","id":"accounting/create_expense_report"},"effect":"deny","reasons":[{"id":"expense.over_limit","policy":"rego/expense/expense.rego:21"}],"policies":[],"engines":["rego","cedar"],"duration_us":80}"#;
const ENFORCED: &str = r#"{"call_id":"c1","decision_id":"d1","subject":"alice@example.com","agent":"expense-report-v1","action":"tools/call","effect":"allow","reasons":["permit"],"outcome":"forwarded","executed":true,"duration_us":4200}"#;

/// A bench with keys in `k` and the logs of a decision point and an enforcement point.
fn logs() -> Bench {
    let bench = Bench::new();
    bench.run(&["keys", "new", "audit", "-o", "k"]).code(0);
    let key = load_signing(&bench.path("k/audit.key")).unwrap();
    let time = Arc::new(AtomicI64::new(1_700_000_000_000));
    let open = |dir: &str, writer: &str| {
        let time = time.clone();
        let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
        AuditLog::open(Options::new(bench.path(dir), writer, "acme", key.clone(), clock)).unwrap()
    };
    let (pdp, pep) = (open("pdp", "pdp"), open("pep", "pep-mcp"));
    let append = |log: &AuditLog, kind, ts_ms, body: &str, secret: &[(&str, &str)]| {
        let mut entry = Entry::new(kind, ts_ms, body);
        entry.sensitive = secret.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect();
        log.append_blocking(entry, Durability::Sync).unwrap();
    };
    append(
        &pdp,
        Kind::Decision,
        1_700_000_000_100,
        DECISION,
        &[("/args", r#"{"path":"secret-receipt.png"}"#)],
    );
    append(&pep, Kind::Enforcement, 1_700_000_000_200, ENFORCED, &[]);
    append(&pdp, Kind::Decision, 1_700_000_000_300, DENIAL, &[]);
    pdp.close_blocking("test").unwrap();
    pep.close_blocking("test").unwrap();
    bench
}

/// The one record file of a log.
fn file(bench: &Bench, dir: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(bench.path(dir)).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "jsonl")).unwrap()
}

#[test]
fn whole_logs_verify_and_say_by_which_key() {
    let bench = logs();
    let report = bench
        .run(&["audit", "verify", "pdp", "pep", "--key", "k/audit.pub", "--format", "json"])
        .code(0)
        .json();
    assert_eq!(report["ok"], true);
    assert_eq!(report["logs"][0]["key"], "pinned");
    let own = bench.run(&["audit", "verify", "--dir", "pdp", "--dir", "pep"]).code(0);
    assert!(own.out.contains("whole") && own.err.contains("give `--key`"), "{own:?}");
    bench.run(&["keys", "new", "audit", "-o", "other"]).code(0);
    bench.run(&["audit", "verify", "pdp", "--key", "other/audit.pub"]).code(7);
    bench.run(&["audit", "verify"]).code(2);
    bench.run(&["audit", "verify", "nowhere"]).code(1);
}

#[test]
fn one_changed_byte_is_found_at_its_line() {
    let bench = logs();
    let path = file(&bench, "pdp");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"duration_us\":80", "\"duration_us\":81")).unwrap();
    let report = bench.run(&["audit", "verify", "pdp", "--format", "json"]).code(7).json();
    let fault = &report["logs"][0]["fault"];
    assert_eq!(
        (&report["ok"], &fault["what"], &fault["line"]),
        (&false.into(), &"edited".into(), &3.into())
    );
    let pretty = bench.run(&["audit", "verify", "pdp", "pep"]).code(7).out;
    assert!(pretty.contains("edited at line 3") && pretty.contains("broken"), "{pretty}");
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    bench.run(&["audit", "verify", "pdp"]).code(7);
}

#[test]
fn records_are_shown_by_call_decision_and_kind() {
    let bench = logs();
    let lines = |args: &[&str]| {
        let mut all = vec!["audit", "show", "pdp", "pep", "--format", "json"];
        all.extend(args);
        bench.run(&all).code(0).out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["--call", "c1"]).len(), 2);
    assert_eq!(lines(&["--decision", "d2"]).len(), 1);
    assert_eq!(lines(&["--kind", "decision"]).len(), 2);
    assert_eq!(lines(&["--call", "nothing"]).len(), 0);
    let hidden = lines(&["--call", "c1"]).join("");
    assert!(!hidden.contains("secret-receipt") && hidden.contains("commits"), "{hidden}");
    assert!(lines(&["--call", "c1", "--reveal"]).join("").contains("secret-receipt"));
    bench.run(&["audit", "show", "pdp", "--kind", "nonsense"]).code(2);
    let pretty = bench.run(&["audit", "show", "pdp", "--decision", "d2"]).code(0).out;
    assert!(pretty.contains("expense.over_limit") && pretty.contains("2023-11-14T"), "{pretty}");
}

#[test]
fn a_session_joins_the_records_of_both_sides() {
    let bench = logs();
    let told =
        bench.run(&["audit", "session", "s1", "pdp", "pep", "--format", "json"]).code(0).json();
    assert_eq!(told["subjects"], serde_json::json!(["alice@example.com"]));
    let calls = told["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&calls[0]["resource"], &calls[0]["outcome"], &calls[0]["duration_us"]),
        (&"accounting/receipt_ocr".into(), &"forwarded".into(), &4200.into())
    );
    assert_eq!(
        (&calls[1]["effect"], &calls[1]["reasons"][0]),
        (&"deny".into(), &"expense.over_limit".into())
    );
    assert_eq!(told["policies"].as_array().unwrap().len(), 3);
    let pretty = bench.run(&["audit", "session", "s1", "--dir", "pdp", "--dir", "pep"]).code(0).out;
    for part in [
        "expense-report-v1 for alice@example.com",
        "demo version 4",
        "4.200 ms",
        "rego/expense/expense.rego:21",
    ] {
        assert!(pretty.contains(part), "`{part}` is not in {pretty}");
    }
    bench.run(&["audit", "session", "nobody", "pdp"]).code(1);
    bench.run(&["audit", "session", "s1"]).code(2);
}

#[test]
fn a_signed_report_is_checked_by_its_reader() {
    let bench = logs();
    for format in ["pretty", "json"] {
        let args =
            ["audit", "session", "s1", "pdp", "pep", "--key", "k/audit.key", "--format", format];
        let report = bench.run(&args).code(0).out;
        bench.write("report.txt", &report);
        let check = ["audit", "verify", "--report", "report.txt", "--key", "k/audit.pub"];
        assert!(bench.run(&check).code(0).out.contains("acme/audit-report"));
        bench.write("report.txt", &report.replace("forwarded", "denied"));
        bench.run(&check).code(7);
        bench.write("report.txt", &report);
        bench.run(&["keys", "new", "audit", "-o", "other"]);
        bench
            .run(&["audit", "verify", "--report", "report.txt", "--key", "other/audit.pub"])
            .code(7);
    }
    bench.run(&["audit", "verify", "--report", "report.txt"]).code(2);
    let report = bench.run(&["audit", "session", "s1", "pdp", "--key", "k/audit.key"]).code(0).out;
    bench.write("report.txt", &report);
    let both = [
        "audit",
        "verify",
        "pdp",
        "--report",
        "report.txt",
        "--key",
        "k/audit.pub",
        "--format",
        "json",
    ];
    let both = bench.run(&both).code(0).json();
    assert_eq!((&both["ok"], &both["report"]["ok"]), (&true.into(), &true.into()));
    // Broken logs are told, not signed.
    let path = file(&bench, "pdp");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"duration_us\":80", "\"duration_us\":81")).unwrap();
    let broken = bench.run(&["audit", "session", "s1", "pdp", "--key", "k/audit.key"]).code(7);
    assert!(
        !broken.out.contains("audit-report") && broken.err.contains("nothing was signed"),
        "{broken:?}"
    );
}

#[test]
fn the_newest_records_are_shown_and_verified() {
    let bench = logs();
    let newest =
        bench.run(&["audit", "tail", "pdp", "pep", "-n", "2", "--format", "json"]).code(0).out;
    assert_eq!(newest.lines().count(), 2);
    let path = file(&bench, "pdp");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"duration_us\":120", "\"duration_us\":121")).unwrap();
    bench.run(&["audit", "tail", "pdp"]).code(7);
    bench.run(&["audit", "tail", "nowhere"]).code(1);
}

#[test]
fn one_record_is_proved_to_somebody_without_the_log() {
    let bench = logs();
    let proof = bench.run(&["audit", "prove", "pdp", "--decision", "d2"]).code(0).out;
    bench.write("proof.json", &proof);
    let check = ["audit", "prove", "--check", "proof.json", "--key", "k/audit.pub"];
    assert!(bench.run(&check).code(0).out.contains("expense.over_limit"));
    bench.write("proof.json", &proof.replace("over_limit", "fine"));
    bench.run(&check).code(7);
    bench.run(&["audit", "prove", "pdp", "--decision", "nothing"]).code(1);
    bench.run(&["audit", "prove", "pdp"]).code(2);
}
