//! Policy that only watches: configured, served, counted, recorded, and told from the log.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lictor_audit::{AuditLog, Durability, Entry, Kind, Options};
use lictor_identity::keys::load_signing;
use serde_json::{Value, json};

use crate::run::Bench;

const CONFIG: &str = r#"
[pdp]
listen = "127.0.0.1:0"
bundle = "b.tgz"
trust_keys = ["k/bundle.pub"]

[pdp.shadow]
bundle = "next.tgz"
"#;

/// Watches closing; the call still goes through.
const WATCHES: &str = r#"
deny contains {"id": "tickets.freeze", "message": "no closing", "shadow": true, "until": "2090-01-01"} if {
	_tool("close")
}
"#;

/// What the next bundle has besides: nobody searches for passwords.
const NEXT: &str = r#"
deny contains {"id": "tickets.password", "message": "no passwords"} if {
	_tool("search")
	contains(input.context.args.query, "password")
}
"#;

/// A decision point of its own process.
struct Up {
    child: Child,
    address: String,
}

impl Up {
    fn start(bench: &Bench) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lictor"))
            .arg("up")
            .current_dir(bench.root())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines.find(|line| line.as_ref().unwrap().starts_with("decision point"));
        let listening = listening.unwrap().unwrap();
        // Nobody reads the rest; it must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let rest = listening.split("http://").nth(1).unwrap();
        let address =
            rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Self { child, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The body of an answer.
    fn ask(&self, token: &str, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn decide(&self, bench: &Bench, id: u32, tool: &str, args: Value) -> Value {
        let call = json!({
            "call_id": format!("0192f0c1-2345-7000-8000-{id:012}"),
            "subject": {"type": "user", "id": "alice@example.com"},
            "agent": {"type": "agent", "id": "helpdesk-v1"},
            "credential": {"kind": "jwt", "id": "abc", "issuer": "https://issuer.example"},
            "action": {"name": "tools/call"}, "resource": {"type": "tool", "id": format!("tickets/{tool}")},
            "context": {"args": args},
        });
        let token = bench.read("state/pep.token");
        let answer = self.ask(token.trim(), "POST /v1/decide", &call.to_string());
        serde_json::from_str(&answer).unwrap()
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

fn append(bench: &Bench, name: &str, text: &str) {
    bench.write(name, &format!("{}{text}", bench.read(name)));
}

/// A live bundle with a rule that watches, and the next one, both signed by one key.
fn site() -> Bench {
    let bench = Bench::with_bundle();
    append(&bench, "b/rego/tickets/tickets.rego", WATCHES);
    bench.run(&["keys", "new", "bundle", "-o", "k"]).code(0);
    release(&bench, "b.tgz");
    append(&bench, "b/rego/tickets/tickets.rego", NEXT);
    release(&bench, "next.tgz");
    fs::write(bench.path("lictor.toml"), CONFIG).unwrap();
    bench
}

fn release(bench: &Bench, archive: &str) {
    bench.run(&["build", "b", "-o", archive]).code(0);
    bench.run(&["sign", archive, "--key", "k/bundle.key"]).code(0);
}

/// What the command tells, a rule or bundle a line.
fn told(bench: &Bench, more: &[&str]) -> Vec<Value> {
    let args = [&["audit", "show", "--shadow", "--format", "json"], more].concat();
    let out = bench.run(&args).code(0).out;
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn named<'a>(told: &'a [Value], member: &str, value: &str) -> &'a Value {
    told.iter().find(|row| row[member] == value).unwrap_or_else(|| panic!("{value}: {told:#?}"))
}

#[test]
fn what_watches_changes_nothing_and_is_told() {
    let bench = site();
    let printed = bench.run(&["up", "--print-config"]).code(0).out;
    assert!(printed.contains("[pdp.shadow]") && printed.contains("queue = 1024"), "{printed}");
    let up = Up::start(&bench);
    let low = json!({"ticket": 1, "priority": "low"});
    for (id, tool, args) in [
        (1, "search", json!({"query": "printer"})),
        (2, "search", json!({"query": "password of bob"})),
        (3, "search", json!({"query": "my password"})),
        (4, "close", low.clone()),
    ] {
        let decision = up.decide(&bench, id, tool, args);
        assert_eq!(decision["effect"], "allow", "{decision}");
    }
    let operator = ["--pdp", &up.url(), "--pdp-token-file", "state/operator.token"];
    let status = [&["status"], &operator[..]].concat();
    let shadow =
        bench.run(&[&status[..], &["--format", "json"]].concat()).code(0).json()["shadow"].clone();
    assert_eq!(shadow["bundle"]["trust"], "signed");
    assert_eq!(shadow["sample"], 1.0);
    let text = bench.run(&status).code(0).out;
    assert!(
        text.contains("shadow of default: b version 1")
            && text.contains("compared with every decision"),
        "{text}"
    );
    let metrics = up.ask(bench.read("state/operator.token").trim(), "GET /metrics", "");
    assert!(
        metrics.contains("lictor_shadow_rule_total{rule=\"tickets.freeze\",flips=\"deny\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("lictor_shadow_decisions_total{outcome=\"error\"} 0"), "{metrics}");
    up.stop();

    let rows = told(&bench, &["audit"]);
    let [rule, bundle] = rows.as_slice() else { panic!("{rows:#?}") };
    assert_eq!((&rule["shadow"], &rule["id"]), (&"rule".into(), &"tickets.freeze".into()));
    assert_eq!((&rule["newly_denied"], &rule["unchanged"]), (&1.into(), &0.into()));
    assert_eq!(rule["tools"], json!({"tickets/close": 1}));
    assert_eq!((&bundle["shadow"], &bundle["newly_denied"]), (&"bundle".into(), &2.into()));
    assert_eq!(bundle["agents"], json!({"helpdesk-v1": 2}));
    let first = "0192f0c1-2345-7000-8000-000000000002";
    assert_eq!(bundle["examples"][0], first);
    let digest =
        bench.run(&["inspect", "next.tgz", "--format", "json"]).code(0).json()["digest"].clone();
    assert_eq!(bundle["digest"], digest);
    let table = bench.run(&["audit", "show", "--shadow", "audit"]).code(0).out;
    assert!(table.starts_with("watching ") && table.contains("deny tickets.freeze"), "{table}");
    assert!(table.contains("tickets/search 2"), "{table}");
    // The call's own records: the decision, and what the next bundle would have made of it.
    assert_eq!(told(&bench, &["audit", "--call", first]).len(), 1);
    let ended = bench.run(&["audit", "show", "--shadow", "audit", "--call", "nobody"]).code(0);
    assert!(ended.out.is_empty() && ended.err.contains("no shadow rule fired"), "{ended:?}");
    bench.run(&["audit", "show", "--shadow", "audit", "--kind", "shadow"]).code(2);
    let kinds = ["audit", "show", "audit", "--kind", "shadow", "--format", "json"];
    assert_eq!(bench.run(&kinds).code(0).out.lines().count(), 3);
    bench.run(&["audit", "verify", "audit"]).code(0);
}

#[test]
fn a_shadow_bundle_that_nobody_trusted_signed_is_refused_and_calls_go_on() {
    let bench = site();
    bench.run(&["keys", "new", "bundle", "-o", "other"]).code(0);
    bench.run(&["build", "b", "-o", "next.tgz"]).code(0);
    bench.run(&["sign", "next.tgz", "--key", "other/bundle.key"]).code(0);
    let up = Up::start(&bench);
    let decision = up.decide(&bench, 1, "search", json!({"query": "my password"}));
    assert_eq!(decision["effect"], "allow");
    let url = up.url();
    let status = ["status", "--pdp", &url, "--pdp-token-file", "state/operator.token"];
    let text = bench.run(&status).code(0).out;
    assert!(text.contains("shadow of default: no live bundle"), "{text}");
    assert!(text.contains("refused sha256:") && text.contains("bundle_key_unknown"), "{text}");
    let status = bench.run(&[&status[..], &["--format", "json"]].concat()).code(0).json();
    assert_eq!(status["bundles"][0]["refused"], "");
    up.stop();
    assert!(told(&bench, &["audit"]).is_empty());
}

#[test]
fn an_explanation_says_what_rules_that_watch_would_flip() {
    let bench = site();
    let call = json!({
        "call_id": "c", "subject": {"type": "user", "id": "alice@example.com"},
        "agent": {"type": "agent", "id": "helpdesk-v1"}, "credential": {"kind": "jwt", "id": "abc"},
        "action": {"name": "tools/call"}, "resource": {"type": "tool", "id": "tickets/close"},
        "context": {"args": {"ticket": 1, "priority": "low"}},
    });
    let decide = ["decide", "-b", "b", "-i", "-", "--explain", "--format", "json"];
    let told = bench.run_with(&decide, &call.to_string()).code(0).json();
    let [rule] = told["explain"]["shadows"].as_array().unwrap().as_slice() else {
        panic!("{told}")
    };
    assert_eq!((&rule["id"], &rule["flips"]), (&"tickets.freeze".into(), &"deny".into()));
    assert_eq!(told["explain"]["shadows_together"], "deny");
}

#[test]
fn a_share_or_a_queue_that_is_none_is_told() {
    let bench = site();
    for (line, told) in [
        ("sample = 0.0", "`sample` = 0"),
        ("queue = 0", "`queue` = 0"),
        ("sampel = 1.0", "`sampel`"),
    ] {
        bench.write("lictor.toml", &format!("{CONFIG}{line}\n"));
        let ended = bench.run(&["up"]);
        assert!(ended.code != 0 && ended.err.contains(told), "{line}: {ended:?}");
    }
}

// === logs that the library wrote ===

/// 2023-11-14T22:13:20Z.
const T0_MS: i64 = 1_700_000_000_000;

fn log(bench: &Bench) -> AuditLog {
    bench.run(&["keys", "new", "audit", "-o", "k"]).code(0);
    let key = load_signing(&bench.path("k/audit.key")).unwrap();
    let time = AtomicI64::new(T0_MS);
    let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
    AuditLog::open(Options::new(bench.path("log"), "pdp", "acme", key, clock)).unwrap()
}

/// A decision in the form that the decision point records.
fn decision(call: &str, agent: &str, shadows: Value, together: Option<&str>) -> Value {
    let mut body = json!({
        "call_id": call, "decision_id": format!("d-{call}"), "tenant": "default", "phase": "request",
        "agent": {"type": "agent", "id": agent}, "resource": {"type": "tool", "id": "s/t"},
        "effect": "allow", "reasons": [], "shadows": shadows,
    });
    if let Some(together) = together {
        body["shadows_together"] = together.into();
    }
    body
}

fn fired(id: &str, flips: Option<&str>) -> Value {
    json!({"rule": "deny", "id": id, "policy": "p", "flips": flips})
}

#[test]
fn rules_are_told_alone_and_together_with_when_and_where() {
    let bench = Bench::new();
    let log = log(&bench);
    let write = |second: i64, body: &Value| {
        let entry = Entry::new(Kind::Decision, T0_MS + second * 1000, body.to_string());
        log.append_blocking(entry, Durability::Sync).unwrap();
    };
    let both = json!([fired("u.a", Some("deny")), fired("u.b", None)]);
    write(1, &decision("c1", "one", both.clone(), Some("deny")));
    write(2, &decision("c2", "two", json!([fired("u.a", None)]), None));
    write(3, &decision("c3", "two", json!([fired("u.a", Some("ask"))]), None));
    write(4, &decision("c4", "two", json!([]), None));
    // As written before flips were weighed, and past the most that are.
    write(5, &decision("c5", "two", json!([{"id": "u.a", "rule": "deny", "policy": "p"}]), None));
    let mut unweighed = fired("u.a", None);
    unweighed["unweighed"] = true.into();
    write(6, &decision("c6", "two", json!([unweighed]), None));
    log.close_blocking("test").unwrap();
    let rows = told(&bench, &["log"]);
    let a = named(&rows, "id", "u.a");
    let counts = ["newly_denied", "newly_asked", "newly_allowed", "unchanged", "unweighed"];
    assert_eq!(counts.map(|count| a[count].as_u64().unwrap()), [1, 1, 0, 1, 2]);
    assert_eq!(
        (&a["first_seen"], &a["last_seen"]),
        (&"2023-11-14T22:13:21Z".into(), &"2023-11-14T22:13:26Z".into())
    );
    assert_eq!(
        (&a["agents"], &a["examples"]),
        (&json!({"one": 1, "two": 1}), &json!(["c1", "c3"]))
    );
    assert_eq!(named(&rows, "id", "u.b")["unchanged"], 1);
    assert_eq!(named(&rows, "shadow", "together")["newly_denied"], 1);
    assert_eq!(rows.len(), 3);
    assert_eq!(named(&told(&bench, &["log", "--decision", "d-c3"]), "id", "u.a")["newly_asked"], 1);
    let table = bench.run(&["audit", "show", "--shadow", "log"]).code(0).out;
    assert!(table.contains("rules together") && table.contains("1 (2 unknown)"), "{table}");
}

#[test]
fn examples_are_few_and_values_that_are_only_committed_to_are_said_to_be_so() {
    let bench = Bench::new();
    let log = log(&bench);
    for number in 0..7 {
        let call = format!("c{number}");
        let mut body = decision(&call, "one", json!([fired("u.a", Some("deny"))]), None);
        // A deployment may keep even agents out of the line.
        body["agent"] = json!({"type": "agent"});
        let mut entry = Entry::new(Kind::Decision, T0_MS + number, body.to_string());
        entry.sensitive = vec![("/agent/id".to_owned(), "\"carol\"".to_owned())];
        log.append_blocking(entry, Durability::Sync).unwrap();
    }
    log.close_blocking("test").unwrap();
    let rows = told(&bench, &["log"]);
    assert_eq!(rows[0]["agents"], json!({"(committed)": 7}));
    assert_eq!(rows[0]["examples"].as_array().unwrap().len(), 5);
    assert_eq!(told(&bench, &["log", "--reveal"])[0]["agents"], json!({"carol": 7}));
    fs::remove_dir_all(bench.path("log")).unwrap();
}
