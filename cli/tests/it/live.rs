//! Commands that talk to a running decision point.

use std::sync::Arc;

use lictor_identity::{ApiKeyStore, Authenticator, Settings};
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::server::{self, Running};
use lictor_pep_core::client::{GrpcDecide, Target, TokenSource};
use lictor_proto::call::Call;
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::Decision;
use tokio::runtime::Runtime;

use crate::run::Bench;

const HIGH: &str = r#"{"subject":{"type":"user","id":"alice@example.com"},"agent":{"type":"agent","id":"helpdesk-v1"},
    "credential":{"kind":"jwt","id":"abc","issuer":"https://issuer.example"},
    "action":{"name":"tools/call"},"resource":{"type":"tool","id":"tickets/close"},"context":{"args":{"ticket":1,"priority":"high"}}}"#;

/// A decision point on the bundle `b` of a bench, with mara's credential in `mara`.
struct Live {
    bench: Bench,
    runtime: Runtime,
    running: Option<Running>,
    url: String,
    socket: String,
}

impl Live {
    fn start() -> Self {
        Self::of(Bench::with_bundle())
    }

    /// With one limit more.
    fn with_limit(limit: &str) -> Self {
        let bench = Bench::with_bundle();
        let data = bench.read("b/data.json");
        let limits = format!("\"limits\": {{ {limit},");
        bench.write("b/data.json", &data.replace("\"limits\": {", &limits));
        Self::of(bench)
    }

    fn of(bench: Bench) -> Self {
        let issue = [
            "keys",
            "issue",
            "--store",
            "keys.json",
            "--subject",
            "user:mara@example.com",
            "--role",
            "approver",
        ];
        let key = bench.run(&issue).code(0).out;
        bench.write("mara", &key);
        let store = ApiKeyStore::from_json(bench.read("keys.json").as_bytes()).unwrap();
        let settings = Settings { api_keys: Some(store.into()), ..Settings::default() };
        let socket = bench.path("pdp.sock");
        let config = PdpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            socket: Some(socket.clone()),
            bundle: bench.path("b").into(),
            state_dir: bench.path("state"),
            insecure_dev: true,
            ..PdpConfig::default()
        };
        let audit = AuditConfig { dir: bench.path("audit"), ..AuditConfig::default() };
        let runtime = Runtime::new().unwrap();
        let approver = Authenticator::new(settings).unwrap();
        let started = server::start(config, &audit, Some(approver), Clock::system());
        let running = runtime.block_on(started).unwrap();
        let url = format!("http://{}", running.address());
        let socket = format!("unix:{}", socket.display());
        Self { bench, runtime, running: Some(running), url, socket }
    }

    /// Asks as an enforcement point does.
    fn decide(&self, call_id: &str) -> Decision {
        self.ask(HIGH, call_id)
    }

    fn ask(&self, call: &str, call_id: &str) -> Decision {
        let mut call = Call::from_json(call.as_bytes()).unwrap();
        call.call_id = call_id.to_owned();
        self.runtime.block_on(async {
            let token = TokenSource::file(&self.bench.path("state/pep.token")).unwrap();
            let client = GrpcDecide::connect(&Target::parse(&self.url).unwrap(), token).unwrap();
            client.decide(Arc::new(call), 5_000).await.unwrap().decision
        })
    }

    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop("test"));
        }
    }
}

#[test]
fn the_status_needs_a_credential_or_the_socket() {
    let live = Live::start();
    let by_socket =
        live.bench.run(&["status", "--pdp", &live.socket, "--format", "json"]).code(0).json();
    assert_eq!(by_socket["ready"], true);
    assert_eq!(by_socket["bundles"][0]["live"]["name"], "b");
    assert_eq!(by_socket["bundles"][0]["trust"], "unsigned");
    let token = ["--pdp-token-file", "state/operator.token"];
    let pretty = live.bench.run(&[&["status", "--pdp", &live.url][..], &token].concat()).code(0);
    assert!(pretty.out.contains("ready") && pretty.out.contains("b version 1"), "{pretty:?}");
    let nobody = live.bench.run(&["status", "--pdp", &live.url]).code(1);
    assert!(nobody.err.contains("--pdp-token-file"), "{nobody:?}");
    live.bench.write("forged", &"x".repeat(64));
    live.bench.run(&["status", "--pdp", &live.url, "--pdp-token-file", "forged"]).code(1);
}

#[test]
fn a_dry_run_is_for_operators_and_leaves_nothing_behind() {
    let live = Live::start();
    let decide = |more: &[&str], input: &str| {
        let mut args = vec!["decide", "-i", "-", "--pdp", live.url.as_str()];
        args.extend(more);
        live.bench.run_with(&args, input)
    };
    let asked = decide(&["--token-file", "state/operator.token"], HIGH).code(4).json();
    assert_eq!(
        (&asked["dry_run"], &asked["reasons"][0]["id"]),
        (&true.into(), &"tickets.high_priority".into())
    );
    let low = HIGH.replace("high", "low");
    decide(&["--pdp-token-file", "state/operator.token"], &low).code(0);
    decide(&["--pdp-token-file", "state/operator.token"], &HIGH.replace("close", "delete")).code(3);
    decide(&["--pdp-token-file", "state/pep.token"], HIGH).code(1);
    decide(&[], HIGH).code(1);
    let none = live
        .bench
        .run(&["approvals", "list", "--pdp", &live.socket, "--format", "json"])
        .code(0)
        .json();
    assert_eq!(none["approvals"], serde_json::json!([]));
}

#[test]
fn what_waits_is_listed_approved_and_told() {
    let mut live = Live::start();
    let asked = live.decide("0192f0c1-2345-7000-8000-000000000001");
    let id = asked.approval.unwrap_or_else(|| panic!("{asked:?}", asked = asked.reasons)).id;
    let list = ["approvals", "list", "--pdp", live.socket.as_str()];
    let listed = live.bench.run(&[&list[..], &["--format", "json"]].concat()).code(0).json();
    let record = &listed["approvals"][0];
    assert_eq!((&record["id"], &record["state"]), (&id.clone().into(), &"pending".into()));
    assert_eq!(record["approvers"], serde_json::json!(["mara@example.com"]));
    assert!(live.bench.run(&list).code(0).out.contains("helpdesk-v1 for alice@example.com"));
    // Nobody approves without a credential of their own.
    live.bench.write("nobody", "not-a-credential-of-anybody\n");
    let approve = |token: &str| {
        live.bench.run(&[
            "approvals",
            "approve",
            &id,
            "--token",
            token,
            "--pdp",
            &live.socket,
            "--format",
            "json",
        ])
    };
    approve("nobody").code(1);
    let one =
        |args: &[&str]| live.bench.run(&[&["approvals"], args, &["--pdp", &live.socket]].concat());
    let shown = one(&["show", &id]).code(0).out;
    let digest = record["binding_digest"].as_str().unwrap();
    for told in ["pending", "tickets/close", "0 of 1", "1 of mara@example.com", digest] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert!(
        one(&["wait", &id, "--timeout", "2020-01-01T00:00:00Z"]).code(4).out.contains("pending")
    );
    one(&["show", "nothing"]).code(1);
    one(&["wait", "nothing"]).code(1);
    one(&["list", "--state", "open"]).code(2);
    one(&["wait", &id, "--timeout", "soon"]).code(2);
    let other = one(&["approve", &id, "--token", "mara", "--digest", "00"]).code(1);
    assert!(other.err.contains("approval_other_call"), "{other:?}");
    assert_eq!(approve("mara").code(0).json()["state"], "approved");
    assert!(one(&["wait", &id]).code(0).out.contains("approved"));
    assert!(approve("mara").code(1).err.contains("approval_given"));
    assert_eq!(live.decide("0192f0c1-2345-7000-8000-000000000002").effect.as_str(), "allow");
    let none = live
        .bench
        .run(&[&list[..], &["--state", "pending", "--format", "json"]].concat())
        .code(0)
        .json();
    assert_eq!(none["approvals"], serde_json::json!([]));
    // Another is refused, over TCP.
    let asked = live.decide("0192f0c1-2345-7000-8000-000000000003");
    let second = asked.approval.unwrap().id;
    let deny = [
        "approvals",
        "deny",
        &second,
        "--token",
        "mara",
        "--pdp",
        &live.url,
        "--pdp-token-file",
        "state/operator.token",
        "--reason",
        "no",
        "--format",
        "json",
    ];
    let denied = live.bench.run(&deny).code(0).json();
    assert_eq!(
        (&denied["state"], &denied["denied_by"]),
        (&"denied".into(), &"mara@example.com".into())
    );
    let unknown = live
        .bench
        .run(&["approvals", "deny", "nothing", "--token", "mara", "--pdp", &live.socket])
        .code(1);
    assert!(unknown.err.contains("answers"), "{unknown:?}");
    live.stop();
    told(&live.bench);
}

#[test]
fn the_commands_on_approvals_explain_themselves() {
    let bench = Bench::new();
    for (command, words) in [
        ("list", vec!["--state", "--token"]),
        ("show", vec!["<ID>"]),
        ("wait", vec!["<ID>", "--timeout", "exit code 0 approved, 3 not, 4 still waiting"]),
        ("approve", vec!["<ID>", "--token", "--reason", "--digest"]),
        ("deny", vec!["<ID>", "--token", "--reason"]),
    ] {
        let help = bench.run(&["approvals", command, "--help"]).code(0).out;
        for word in words.into_iter().chain(["--pdp", "--format"]) {
            assert!(help.contains(word), "{command}: {word}: {help}");
        }
    }
}

/// The session as the decision point's own log tells it.
fn told(bench: &Bench) {
    bench.run(&["audit", "verify", "audit", "--key", "state/audit.pub"]).code(0);
    let decisions = bench
        .run(&["audit", "show", "audit", "--kind", "decision", "--format", "json"])
        .code(0)
        .out;
    let first: serde_json::Value = serde_json::from_str(decisions.lines().next().unwrap()).unwrap();
    assert_eq!(first["body"]["credential"]["issuer"], "https://issuer.example");
    let pretty = bench.run(&["audit", "show", "audit", "--kind", "decision"]).code(0).out;
    assert!(pretty.contains("\"issuer\": \"https://issuer.example\""), "{pretty}");
    let session = first["body"]["session"].as_str().unwrap().to_owned();
    let told =
        bench.run(&["audit", "session", &session, "audit", "--format", "json"]).code(0).json();
    let effects: Vec<&str> = told["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["effect"].as_str().unwrap())
        .collect();
    assert_eq!(effects, ["ask", "allow", "ask"]);
    let answers = told["events"].as_array().unwrap();
    assert!(answers.iter().any(|event| event["kind"] == "approval"), "{told:#}");
    assert_eq!(told["subjects"], serde_json::json!(["alice@example.com"]));
}

#[test]
fn a_decision_point_that_is_not_there_is_a_failure_not_an_answer() {
    let bench = Bench::new();
    bench.write("token", "a-token-of-a-person\n");
    // Nobody listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for args in [
        vec!["status", "--pdp", &url],
        vec!["approvals", "list", "--pdp", &url],
        vec!["approvals", "approve", "x", "--token", "token", "--pdp", &url],
        vec!["decide", "-i", "-", "--pdp", &url],
        vec!["status", "--pdp", "unix:/nonexistent/lictor.sock"],
    ] {
        let ended = bench.run_with(&args, "{}").code(1);
        assert!(ended.err.contains("does not answer") && ended.out.is_empty(), "{ended:?}");
    }
    bench.run(&["status", "--pdp", "ftp://x"]).code(2);
    bench.run(&["approvals", "approve", "x", "--pdp", &url]).code(2);
    bench.run(&["approvals", "deny", "x", "--token", "nowhere", "--pdp", &url]).code(1);
    let facts = bench.run_with(&["decide", "-i", "-", "--pdp", &url], r#"{"facts":{}}"#).code(1);
    assert!(facts.err.contains("fact_in_call"), "{facts:?}");
}

#[test]
fn what_is_killed_is_denied_listed_and_taken_back() {
    let live = Live::start();
    let by = |args: &[&str]| {
        let door = ["--pdp", &live.url, "--token", "state/operator.token", "--format", "json"];
        live.bench.run(&[args, &door].concat())
    };
    let kill = |kind: &str, id: &str, more: &[&str]| {
        by(&[&["kill", kind, id, "--reason", "stolen laptop"], more].concat())
    };
    let ids = |decision: Decision| decision.reasons.into_iter().map(|r| r.id).collect::<Vec<_>>();
    let killed = kill("agent", "helpdesk-v1", &["--for", "2h"]).code(0).json();
    assert_eq!((&killed["version"], &killed["sessions"]), (&2.into(), &0.into()));
    let denied = live.decide("0192f0c1-2345-7000-8000-000000000001");
    assert_eq!(ids(denied), ["agent_revoked"]);
    let listed = by(&["kill", "--list"]).code(0).json();
    let entry = &listed["entries"][0];
    assert_eq!((&entry["kind"], &entry["id"]), (&"agent".into(), &"helpdesk-v1".into()));
    assert_eq!((&entry["reason"], &entry["list"]), (&"stolen laptop".into(), &"own".into()));
    assert!(entry["until"].as_str().is_some_and(|until| until > entry["since"].as_str().unwrap()));
    let status = live.bench.run(&["status", "--pdp", &live.socket]).code(0);
    assert!(status.out.contains("revocations (own): version 2, 1 entries"), "{status:?}");
    let unkill = || by(&["unkill", "agent", "helpdesk-v1", "--reason", "found again"]);
    assert_eq!(unkill().code(0).json()["version"], 3);
    let asked = live.decide("0192f0c1-2345-7000-8000-000000000002");
    assert_eq!(asked.effect.as_str(), "ask");
    let twice = unkill().code(1);
    assert!(twice.err.contains("is not revoked here"), "{twice:?}");
    let voided = kill("user", "alice@example.com", &[]).code(0).json();
    assert_eq!(voided["approvals"], 1);
    // The digest of mara's key, by its name in the file of keys.
    let keys = live.bench.run(&["keys", "list", "--store", "keys.json", "--format", "json"]).json();
    let key = &keys["keys"][0];
    let name = key["id"].as_str().unwrap();
    let killed = kill("credential", name, &["--api-keys", "keys.json"]).code(0).json();
    assert_eq!(killed["revoked"]["id"], key["credential"]);
    kill("credential", "nobody", &["--api-keys", "keys.json"]).code(1);
    // Only operators, and nobody without a reason.
    let pep = ["--pdp", &live.url, "--token", "state/pep.token"];
    let refused = live.bench.run(&[&["kill", "tool", "x", "--reason", "r"], &pep[..]].concat());
    assert!(refused.code(1).err.contains("role"));
    for wrong in [
        &["kill", "agent", "x"][..],
        &["kill", "agent", "x", "--reason", " "],
        &["kill", "planet", "mars", "--reason", "r"],
        &["kill", "agent", "--reason", "r"],
        &["kill"],
        &["unkill", "agent", "x"],
        &["kill", "agent", "x", "--reason", "r", "--list"],
        &["kill", "agent", "x", "--reason", "r", "--until", "2020-01-01T00:00:00Z"],
    ] {
        let told = by(wrong).code(2);
        assert!(told.out.is_empty() && !told.err.is_empty(), "{told:?}");
    }
}

#[test]
fn limits_are_shown_and_reset_with_a_reason_on_record() {
    let limit = r#""tickets.closed": {"kind": "budget", "max": 1, "per": "1h",
        "match": {"actions": ["tools/call"]}, "key": ["subject"]}"#;
    let mut live = Live::with_limit(limit);
    let low = HIGH.replace("high", "low");
    let by = |token: &str, args: &[&str]| {
        let token = format!("state/{token}.token");
        let door = ["--pdp", &live.url, "--token", &token, "--format", "json"];
        live.bench.run(&[&["limits"], args, &door].concat())
    };
    let none = by("operator", &["show"]).code(0).json();
    assert_eq!(none["counters"], serde_json::json!([]));
    let allowed = live.ask(&low, "0192f0c1-2345-7000-8000-000000000001");
    assert_eq!(allowed.effect.as_str(), "allow", "{:?}", allowed.reasons);
    let short = live.ask(&low, "0192f0c1-2345-7000-8000-000000000002");
    assert_eq!(short.reasons[0].id, "limit.tickets.closed");
    let key = r#"["alice@example.com"]"#;
    let shown = by("operator", &["show", "tickets.closed", "--key", key]).code(0).json();
    let counter = &shown["counters"][0];
    assert_eq!((&counter["id"], &counter["key"]), (&"tickets.closed".into(), &key.into()));
    assert_eq!(
        (&counter["used"], &counter["remaining"], &counter["max"]),
        (&1.into(), &0.into(), &1.into())
    );
    assert!(counter["reset_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{counter}");
    let pretty = live.bench.run(&["limits", "show", "--pdp", &live.socket]).code(0);
    assert!(
        pretty.out.contains("tickets.closed") && pretty.out.contains("full again"),
        "{pretty:?}"
    );
    let other = by("operator", &["show", "no.such.limit"]).code(0).json();
    assert_eq!(other["counters"], serde_json::json!([]));
    // Only operators, only with a reason, only what is held.
    let reset = ["reset", "tickets.closed", "--key", key, "--reason", "a wrong price"];
    let refused = by("pep", &reset).code(1);
    assert!(refused.err.contains("role"), "{refused:?}");
    by("pep", &["show"]).code(1);
    let unheld =
        by("operator", &["reset", "tickets.closed", "--key", "[]", "--reason", "r"]).code(1);
    assert!(unheld.err.contains("lictor limits show"), "{unheld:?}");
    for wrong in [
        &["reset", "tickets.closed", "--key", key][..],
        &["reset", "tickets.closed", "--key", key, "--reason", " "],
        &["reset", "tickets.closed", "--reason", "r"],
        &["show", "--key", key],
        &[],
    ] {
        let told = by("operator", wrong).code(2);
        assert!(told.out.is_empty() && !told.err.is_empty(), "{told:?}");
    }
    let done = by("operator", &reset).code(0).json();
    assert_eq!((&done["emptied"], &done["before"][0]["used"]), (&1.into(), &1.into()));
    assert_eq!(done["after"], serde_json::json!([]));
    let again = live.ask(&low, "0192f0c1-2345-7000-8000-000000000003");
    assert_eq!(again.effect.as_str(), "allow", "{:?}", again.reasons);
    live.stop();
    let show = ["audit", "show", "audit", "--kind", "limit", "--format", "json"];
    let records = live.bench.run(&show).code(0).out;
    let last: serde_json::Value = serde_json::from_str(records.lines().last().unwrap()).unwrap();
    let body = &last["body"];
    assert_eq!((&body["outcome"], &body["limit"]), (&"reset".into(), &"tickets.closed".into()));
    assert_eq!(body["before"]["counters"][0]["used"], 1);
    assert!(body["operator"].as_str().is_some_and(|who| !who.is_empty()), "{body}");
    live.bench.run(&["audit", "verify", "audit", "--key", "state/audit.pub"]).code(0);
}
