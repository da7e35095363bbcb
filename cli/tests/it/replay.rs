//! Recorded calls, decided again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lictor_audit::query::Logs;
use lictor_audit::{AuditLog, Durability, Entry, Kind, Options};
use lictor_identity::keys::load_signing;
use lictor_identity::{ApiKeyStore, Authenticator, Role, Settings};
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::server::{self, Running};
use lictor_proto::call::{Call, Phase, SessionRef};
use lictor_proto::decide::{Answer, Decide as _};
use lictor_proto::decision::Effect;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::run::Bench;

/// Rules that read what a session did and what detectors found.
const MORE: &str = r#"
deny contains {"id": "tickets.card", "message": "no card numbers"} if {
	some finding in input.facts.findings
	finding.detector == "pii/card"
}

deny contains {"id": "tickets.much", "message": "enough"} if {
	_tool("search")
	input.facts.session.calls["tickets/search"] >= 9
}

obligations contains {"id": "tickets.mark", "type": "spotlight", "properties": {"from": "tickets"}} if {
	_tool("search")
}
"#;
const SUBJECTS: [&str; 3] = ["alice@example.com", "mara@example.com", "stranger@example.com"];
/// Calls of a [`Site`] that are asked in rounds.
const ROUNDS: usize = 600;

/// Writes the bundle `name`, with as many tickets closed a minute as `max` says.
fn bundle(bench: &Bench, name: &str, max: u64) {
    bench.run(&["init", name]).code(0);
    let data = bench.read(&format!("{name}/data.json"));
    let data = data.replace("\"max\": 30", &format!("\"max\": {max}"));
    let guardrails = "\"guardrails\": {\"detectors\": [{\"id\": \"pii/card\"}]},\n  \"limits\": {";
    bench.write(&format!("{name}/data.json"), &data.replace("\"limits\": {", guardrails));
    let rego = format!("{name}/rego/tickets/tickets.rego");
    let rules = bench.read(&rego);
    bench.write(&rego, &format!("{rules}{MORE}"));
}

/// A decision point on the bundle `b` that has decided, and its log in `audit`.
struct Site {
    bench: Bench,
    runtime: Runtime,
    running: Option<Running>,
    pep: PeerHandle,
    asked: usize,
    effects: Vec<Effect>,
}

impl Site {
    fn start() -> Self {
        let bench = Bench::new();
        bundle(&bench, "b", 12);
        let issue = "keys issue --store keys.json --subject user:mara@example.com --role approver";
        let key = bench.run(&issue.split(' ').collect::<Vec<_>>()).code(0).out;
        bench.write("mara", &key);
        let store = ApiKeyStore::from_json(bench.read("keys.json").as_bytes()).unwrap();
        let settings = Settings { api_keys: Some(store.into()), ..Settings::default() };
        let config = PdpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            socket: Some(bench.path("pdp.sock")),
            bundle: bench.path("b").into(),
            state_dir: bench.path("state"),
            insecure_dev: true,
            ..PdpConfig::default()
        };
        let audit = AuditConfig { dir: bench.path("audit"), ..AuditConfig::default() };
        let runtime = server::runtime().unwrap();
        let approver = Authenticator::new(settings).unwrap();
        // A millisecond passes with every look at it: limits fill up however slow the machine is.
        let time = AtomicI64::new(jiff::Timestamp::now().as_millisecond());
        let clock = Clock::from_fn(move || time.fetch_add(1, Ordering::Relaxed));
        let started = server::start(config, &audit, Some(approver), clock);
        let running = runtime.block_on(started).unwrap();
        let pep = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
        Self { bench, runtime, running: Some(running), pep, asked: 0, effects: Vec::new() }
    }

    fn ask(&mut self, call: &Call) -> Answer {
        let mut call = call.clone();
        if call.call_id.is_empty() {
            call.call_id = format!("0192f0c1-2345-7000-8000-{:012}", self.asked);
        }
        self.asked += 1;
        let asked = self.pep.decide(Arc::new(call), 60_000);
        let answer = self.runtime.block_on(asked).unwrap();
        self.effects.push(answer.decision.effect);
        answer
    }

    /// Everything that a session can do.
    fn live(&mut self) {
        for round in 0..ROUNDS {
            self.ask(&varied(round));
        }
        // The same call again, a handle that is none, and an opened session.
        let again =
            Call { call_id: "0192f0c1-2345-7000-8000-000000000000".to_owned(), ..varied(0) };
        self.ask(&again);
        let stolen = Some(SessionRef { handle: "ls1.a.b".to_owned() });
        self.ask(&Call { session: stolen, ..varied(0) });
        let mut open = tool(SUBJECTS[0], "search", json!({}));
        open.action.name = "session/open".to_owned();
        open.resource = None;
        let handle = self.ask(&open).hints.session_handle.unwrap();
        let session = Some(SessionRef { handle });
        for round in 0..12 {
            let search = tool(SUBJECTS[0], "search", json!({"query": format!("q{round}")}));
            self.ask(&Call { session: session.clone(), ..search });
        }
        self.approve(&Call {
            session,
            ..tool(SUBJECTS[0], "close", json!({"ticket": 7, "priority": "high"}))
        });
    }

    /// Asks, has it approved, and asks again.
    fn approve(&mut self, call: &Call) {
        let approval = self.ask(call).decision.approval.unwrap().id;
        let socket = format!("unix:{}", self.bench.path("pdp.sock").display());
        let approve = ["approvals", "approve", &approval, "--token", "mara", "--pdp", &socket];
        self.bench.run(&approve).code(0);
        self.ask(call);
    }

    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop("test"));
        }
    }

    fn replay(&self, more: &[&str]) -> crate::run::Ended {
        self.bench.run(&[&["replay", "audit"], more].concat())
    }

    fn json(&self, more: &[&str]) -> Value {
        self.replay(&[more, &["--format", "json"]].concat()).code(0).json()
    }

    fn file(&self, suffix: &str) -> PathBuf {
        let mut paths =
            std::fs::read_dir(self.bench.path("audit")).unwrap().map(|e| e.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|e| e == suffix)).unwrap()
    }
}

/// A site that has decided and stopped.
fn site() -> Site {
    let mut site = Site::start();
    site.live();
    site.stop();
    site
}

fn tool(subject: &str, name: &str, args: Value) -> Call {
    let call = json!({
        "subject": {"type": "user", "id": subject}, "agent": {"type": "agent", "id": "helpdesk-v1"},
        "credential": {"kind": "jwt", "id": "abc", "issuer": "https://issuer.example"},
        "action": {"name": "tools/call"}, "resource": {"type": "tool", "id": format!("tickets/{name}")},
        "context": {"args": args, "protocol": "mcp/2026-07-28"},
    });
    Call::from_json(call.to_string().as_bytes()).unwrap()
}

fn varied(round: usize) -> Call {
    let subject = SUBJECTS[round % 3];
    let search = || tool(subject, "search", json!({"query": format!("q{}", round % 50)}));
    let close =
        |priority: &str| tool(subject, "close", json!({"ticket": round, "priority": priority}));
    let with_text = |call: Call, text: &str| {
        let content = json!([{"origin": "tool_args", "text": text}]);
        Call { content: serde_json::from_value(content).unwrap(), ..call }
    };
    match round % 11 {
        0 => search(),
        1 => close("low"),
        2 => close("high"),
        3 => tool(subject, "delete", json!({"ticket": round})),
        4 => Call { phase: Phase::List, ..close("low") },
        5 => Call { phase: Phase::List, ..tool(subject, "delete", json!({})) },
        6 => Call {
            phase: Phase::Response,
            executed: true,
            ..with_text(search(), "card 4111 1111 1111 1111")
        },
        7 => with_text(search(), "card 4111 1111 1111 1111"),
        8 => tool(subject, "search", json!({"query": round})),
        9 => tool(subject, "burn", json!({})),
        _ => {
            let mut call = with_text(search(), "nothing to see");
            call.agent.as_mut().unwrap().id = "unknown".to_owned();
            call
        }
    }
}

const ANY: &str = "newly-allowed,newly-denied,newly-asked,reasons,obligations,limits,findings,labels,\
                   limits-unknown,not-replayed";

fn count<'a>(told: &'a Value, cause: &str) -> Option<&'a Value> {
    let causes = told["not_replayed"].as_array().unwrap();
    causes.iter().find(|skipped| skipped["cause"] == cause).map(|skipped| &skipped["count"])
}

#[test]
fn the_bundle_that_decided_reproduces_every_verdict() {
    let site = site();
    let told = site.json(&["-b", "b", "--fail-on", ANY, "--key", "state/audit.pub"]);
    let asked = site.asked as u64;
    assert!(asked > 600);
    assert_eq!((&told["decisions"], &told["replayed"]), (&asked.into(), &(asked - 2).into()));
    assert_eq!(told["same_bundle"]["decisions"], asked - 2);
    assert_eq!(told["same_bundle"]["reproduced"], asked - 2, "{told:#}");
    assert_eq!((&told["unchanged"], &told["groups"]), (&(asked - 2).into(), &json!([])));
    assert_eq!(told["logs"]["verified"], "trusted_keys");
    // What had to be among them for this to say anything.
    for effect in [Effect::Allow, Effect::Deny, Effect::Ask] {
        assert!(site.effects.iter().filter(|e| **e == effect).count() > 10, "{effect:?}");
    }
    let log = std::fs::read_to_string(site.file("jsonl")).unwrap();
    for part in [
        "\"made\":\"short\"",
        "\"made\":\"evaluated\"",
        "limit.closed_tickets",
        "tickets.much",
        "tickets.card",
        "result_withheld",
        "args_invalid",
        "agent_unknown",
        "resource_unknown",
        "tickets.mark",
        "no_permit",
    ] {
        assert!(log.contains(part), "{part}");
    }
    assert_eq!(count(&told, "repeated"), Some(&1.into()));
    assert_eq!(count(&told, "not_policys"), Some(&1.into()));
    let pretty = site.replay(&["-b", "b"]).code(0).out;
    let sum = format!("{0} of {0} reproduced", asked - 2);
    assert!(pretty.contains(&sum) && pretty.contains("session_unknown 1"), "{pretty}");
    // However many threads there are, the same is told.
    let alone =
        site.json(&["-b", "b", "--fail-on", ANY, "--key", "state/audit.pub", "--jobs", "1"]);
    assert_eq!(alone, told);
    site.bench.run(&["build", "b", "-o", "b.tgz"]).code(0);
    let archive = site.json(&["-b", "b.tgz", "--fail-on", ANY]);
    assert_eq!(archive["unchanged"], asked - 2);
}

#[test]
fn a_changed_rule_flips_exactly_what_it_changes() {
    let site = site();
    bundle(&site.bench, "c", 12);
    // Nobody searches any more; deleting is asked about.
    let rego = "c/rego/tickets/tickets.rego";
    site.bench.edit(rego, "allow if {\n\t_tool(\"search\")\n}", "");
    let told = site.json(&["-b", "c", "--examples", "2"]);
    let logs = Logs::open(&[site.bench.path("audit")]).unwrap();
    let searches = logs
        .records(false, |record| {
            record.kind == Kind::Decision
                && record.str_at("/phase") == Some("request")
                && record.str_at("/action") == Some("tools/call")
                && record.str_at("/resource/id") == Some("tickets/search")
                && record.str_at("/effect") == Some("allow")
                && record.str_at("/made") == Some("committed")
        })
        .unwrap();
    assert!(searches.len() > 10);
    assert_eq!(told["changes"]["newly_denied"], searches.len(), "{told:#}");
    assert_eq!(
        (&told["changes"]["newly_allowed"], &told["changes"]["newly_asked"]),
        (&0.into(), &0.into())
    );
    assert_eq!(told["same_bundle"]["decisions"], 0);
    let group =
        told["groups"].as_array().unwrap().iter().find(|g| g["change"] == "newly_denied").unwrap();
    assert_eq!(
        (&group["tool"], &group["agent"]),
        (&"tools/call tickets/search".into(), &"helpdesk-v1".into())
    );
    assert_eq!(group["after"], json!(["no_permit"]));
    let first = &group["examples"][0];
    assert_eq!(
        (&first["call_id"], &first["seq"]),
        (&searches[0].call_id().unwrap().into(), &searches[0].seq.into())
    );
    assert_eq!(group["examples"].as_array().unwrap().len(), 2);
    // A call that was denied for another reason is denied still.
    let fails = |on: &str| site.replay(&["-b", "c", "--fail-on", on]);
    let ended = fails("newly-allowed,newly-denied").code(8);
    assert!(ended.err.contains("newly-denied") && ended.out.contains("newly denied"), "{ended:?}");
    fails("newly-allowed,newly-asked").code(0);
    fails("anything").code(2);
    let by_agent = site.json(&["-b", "c", "--by", "agent"]);
    let denied: Vec<&Value> = by_agent["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|g| g["change"] == "newly_denied")
        .collect();
    assert_eq!((denied.len(), &denied[0]["count"]), (1, &searches.len().into()));
    assert_eq!((&denied[0]["tool"], &denied[0]["before"]), (&"".into(), &json!([])));
    // The same on both sides: only the bundles make a difference.
    let baseline = site.json(&["-b", "c", "--baseline", "b"]);
    assert_eq!(baseline["changes"]["newly_denied"], searches.len());
    assert_eq!(baseline["same_bundle"]["reproduced"], site.asked - 2);
    assert_eq!(site.json(&["-b", "c", "--baseline", "c"])["unchanged"], site.asked - 2);
}

#[test]
fn limits_are_told_as_far_as_the_record_goes() {
    let site = site();
    let log = std::fs::read_to_string(site.file("jsonl")).unwrap();
    let short = log.lines().filter(|line| line.contains("\"made\":\"short\"")).count();
    assert!(short > 0);
    // Without the limit they are allowed; with another rate nobody knows.
    bundle(&site.bench, "c", 12);
    let rego = "c/rego/tickets/tickets.rego";
    site.bench.edit(
        rego,
        "limits contains {\"id\": \"closed_tickets\"",
        "_unused contains {\"id\": \"closed_tickets\"",
    );
    let told = site.json(&["-b", "c"]);
    assert_eq!(
        (&told["changes"]["newly_allowed"], &told["limits_unknown"]),
        (&short.into(), &0.into())
    );
    let held = told["changes"]["limits"].as_u64().unwrap();
    assert!(held > 0, "calls that drew on it draw on nothing: {told:#}");
    bundle(&site.bench, "d", 13);
    let told = site.json(&["-b", "d"]);
    assert_eq!(told["changes"]["newly_allowed"], short);
    assert_eq!(told["limits_unknown"].as_u64(), Some(short as u64 + held));
    site.replay(&["-b", "d", "--fail-on", "limits-unknown"]).code(8);
}

#[test]
fn filters_narrow_what_is_replayed() {
    let site = site();
    let decisions =
        |more: &[&str]| site.json(&[&["-b", "b"], more].concat())["decisions"].as_u64().unwrap();
    let asked = site.asked as u64;
    assert_eq!(decisions(&["--tenant", "default"]), asked);
    assert_eq!(decisions(&["--tenant", "other"]), 0);
    let unknown = decisions(&["--agent", "unknown"]);
    assert_eq!(decisions(&["--agent", "helpdesk-v1"]), asked - unknown);
    assert!(unknown > 20);
    assert_eq!(decisions(&["--limit", "7"]), 7);
    assert_eq!(decisions(&["--agent", "unknown", "--limit", "7"]), 7);
    assert_eq!(decisions(&["--since", "1h"]), asked);
    assert_eq!(decisions(&["--until", "1h"]), 0);
    assert_eq!(
        decisions(&["--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z"]),
        0
    );
    let none = site.replay(&["-b", "b", "--tenant", "other"]).code(0);
    assert!(none.err.contains("no decision could be replayed"), "{none:?}");
    let file = site.file("jsonl");
    let one = site
        .bench
        .run(&["replay", file.to_str().unwrap(), "-b", "b", "--format", "json"])
        .code(0)
        .json();
    assert_eq!(one["decisions"], asked);
    site.bench.run(&["replay", "nowhere", "-b", "b"]).code(1);
    site.bench.run(&["replay", "audit"]).code(2);
    site.bench.write("b/rego/tickets/tickets.rego", "package lictor.tickets\n\nallow if {");
    site.replay(&["-b", "b"]).code(5);
}

#[test]
fn what_was_erased_is_counted_and_never_guessed() {
    let site = site();
    lictor_audit::side::erase(&site.file("side"), |seq, pointer| {
        seq % 10 == 3 && pointer == "/facts"
    })
    .unwrap();
    let told = site.json(&["-b", "b"]);
    let erased = count(&told, "erased").unwrap().as_u64().unwrap();
    assert!(erased > 20, "{told:#}");
    assert_eq!(told["replayed"].as_u64().unwrap() + erased, site.asked as u64 - 2);
    assert_eq!(told["same_bundle"]["reproduced"], told["replayed"]);
    site.replay(&["-b", "b", "--fail-on", "not-replayed"]).code(8);
    site.replay(&["-b", "b", "--fail-on", "newly-allowed"]).code(0);
    // Without the key nothing is known, and CI must not take that for a yes.
    std::fs::remove_file(site.file("side-key")).unwrap();
    let ended = site.replay(&["-b", "b", "--fail-on", "newly-allowed"]).code(1);
    assert!(ended.err.contains("no decision could be replayed"), "{ended:?}");
    assert_eq!(site.json(&["-b", "b"])["replayed"], 0);
}

#[test]
fn a_broken_log_is_not_replayed_unless_asked_and_a_torn_one_is() {
    let site = site();
    let path = site.file("jsonl");
    let whole = std::fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let forged = text.replacen("\"effect\":\"deny\"", "\"effect\":\"allow\"", 1);
    assert_ne!(forged, text);
    std::fs::write(&path, &forged).unwrap();
    let broken = site.replay(&["-b", "b"]).code(7);
    assert!(broken.out.is_empty() && broken.err.contains("is broken at line"), "{broken:?}");
    let all_the_same = site.replay(&["-b", "b", "--unverified", "--format", "json"]).code(0);
    assert!(all_the_same.err.contains("NOT VERIFIED"), "{all_the_same:?}");
    let told = all_the_same.json();
    assert_eq!(
        (&told["logs"]["verified"], count(&told, "malformed")),
        (&"no".into(), Some(&1.into()))
    );
    site.replay(&["-b", "b", "--unverified", "--key", "state/audit.pub"]).code(2);
    std::fs::write(&path, text.replacen("{\"seq\":5,", "{\"seq\":5;", 1)).unwrap();
    site.replay(&["-b", "b"]).code(7);
    let told = site.replay(&["-b", "b", "--unverified", "--format", "json"]).code(0).json();
    assert_eq!((&told["unreadable"], &told["decisions"]), (&1.into(), &(site.asked - 1).into()));
    std::fs::write(&path, [&whole[..], b"{\"seq\":9"].concat()).unwrap();
    let torn = site.replay(&["-b", "b", "--format", "json"]).code(0);
    assert!(torn.err.contains("is incomplete"), "{torn:?}");
    assert_eq!(torn.json()["decisions"], site.asked);
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(site.json(&["-b", "b"])["decisions"], site.asked);
}

/// A log of our own with what the decision point recorded, changed by `change`.
fn rewritten(site: &Site, change: impl Fn(u64, &mut Value, &mut Vec<(String, String)>)) {
    let logs = Logs::open(&[site.bench.path("audit")]).unwrap();
    let records = logs.records(true, |record| record.kind == Kind::Decision).unwrap();
    site.bench.run(&["keys", "new", "audit", "-o", "k"]).code(0);
    let key = load_signing(&site.bench.path("k/audit.key")).unwrap();
    let time = AtomicI64::new(1_700_000_000_000);
    let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
    let log =
        AuditLog::open(Options::new(site.bench.path("again"), "pdp", "x", key, clock)).unwrap();
    for (number, record) in records.iter().enumerate() {
        let mut body = record.body.clone();
        let mut side: Vec<(String, String)> = record.revealed.clone().into_iter().collect();
        for (pointer, _) in &side {
            body.as_object_mut().unwrap().remove(pointer.trim_start_matches('/'));
        }
        change(number as u64, &mut body, &mut side);
        let mut entry = Entry::new(Kind::Decision, record.ts_ms, body.to_string());
        entry.sensitive = side;
        log.append_blocking(entry, Durability::Bounded).unwrap();
    }
    let other =
        Entry::new(Kind::Enforcement, 1, json!({"call_id": "x", "outcome": "denied"}).to_string());
    log.append_blocking(other, Durability::Sync).unwrap();
    log.close_blocking("test").unwrap();
}

fn again(site: &Site, more: &[&str]) -> crate::run::Ended {
    site.bench.run(&[&["replay", "again", "-b", "b"], more].concat())
}

#[test]
fn a_verdict_that_the_same_bundle_does_not_reproduce_is_a_fault() {
    let site = site();
    let forge = |text: &str| text.replace("\"effect\":\"deny\"", "\"effect\":\"allow\"");
    rewritten(&site, |number, body, side| {
        if number == 3 {
            assert_eq!(body["effect"], "deny");
            body["effect"] = "allow".into();
            for (_, text) in side.iter_mut().filter(|(pointer, _)| pointer == "/decision") {
                *text = forge(text);
            }
        }
    });
    let fault = again(&site, &["--fail-on", ANY]).code(7);
    assert!(fault.err.contains("FAULT: 1 decision") && fault.out.contains("effect 1"), "{fault:?}");
    assert!(fault.out.contains("0192f0c1-2345-7000-8000-000000000003"), "{fault:?}");
    let told = again(&site, &["--format", "json"]).code(7).json();
    assert_eq!(told["same_bundle"]["faults"]["count"], 1);
    assert_eq!(told["changes"]["newly_denied"], 1);
}

#[test]
fn records_that_lack_what_a_replay_needs_are_counted_by_cause() {
    let site = site();
    rewritten(&site, |number, body, side| {
        let members = body.as_object_mut().unwrap();
        match number {
            0..5 => drop(members.remove("made")),
            5..7 => drop(members.insert("made".to_owned(), "uncounted".into())),
            7 => drop(members.insert("made".to_owned(), "late".into())),
            8..11 => drop(members.insert("call_id".to_owned(), "another".into())),
            11 => side.retain(|(pointer, _)| pointer != "/call"),
            12 => {
                for (_, text) in side.iter_mut().filter(|(pointer, _)| pointer == "/facts") {
                    *text = "{}".to_owned();
                }
            }
            _ => {}
        }
    });
    let told = again(&site, &["--format", "json"]).code(0).json();
    let counts = [
        ("other_format", 5),
        ("without_store", 2),
        ("out_of_time", 1),
        ("malformed", 4),
        ("no_facts", 1),
        ("repeated", 1),
        ("not_policys", 1),
    ];
    for (cause, wanted) in counts {
        assert_eq!(count(&told, cause), Some(&wanted.into()), "{cause}");
    }
    assert_eq!(told["other_kinds"], 3, "the log's own records and an enforcement point's");
    let replayed = told["replayed"].as_u64().unwrap();
    assert_eq!(replayed, site.asked as u64 - 15);
    assert_eq!(told["same_bundle"]["reproduced"], replayed);
}
