//! Agents that were seen and not served, told from logs that the library wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lictor_audit::writer::Erasure;
use lictor_audit::{AuditLog, Durability, Entry, Kind, Options};
use lictor_identity::keys::load_signing;
use serde_json::{Value, json};

use crate::run::Bench;

/// 2023-11-14T22:13:20Z.
const T0_MS: i64 = 1_700_000_000_000;

/// A decision of the shape that the decision point records.
fn decision(call: &str, tenant: &str, reason: &str, who: &Value) -> Value {
    let policy = who["policy"].as_str().unwrap_or_default();
    json!({
        "call_id": call, "decision_id": format!("d-{call}"), "tenant": tenant, "phase": "request",
        "subject": {"type": "user", "id": who["subject"].as_str().unwrap_or("alice")},
        "agent": who["agent"], "delegation": who["delegation"].as_array().cloned().unwrap_or_default(),
        "credential": {"kind": "jwt", "id": "k"}, "action": "tools/call",
        "resource": {"type": "tool", "id": "s/t"}, "effect": "deny",
        "reasons": [{"id": reason, "policy": policy}],
    })
}

fn token(issuer: &str) -> String {
    json!({"subject": {"id": "alice", "claims": {"iss": issuer}}, "agent": {"claims": {}}})
        .to_string()
}

struct Site {
    bench: Bench,
    pdp: AuditLog,
    pep: AuditLog,
}

impl Site {
    fn new() -> Self {
        let bench = Bench::new();
        bench.run(&["keys", "new", "audit", "-o", "k"]).code(0);
        let key = load_signing(&bench.path("k/audit.key")).unwrap();
        let time = Arc::new(AtomicI64::new(T0_MS));
        let open = |dir: &str, writer: &str| {
            let time = time.clone();
            let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
            let options = Options::new(bench.path(dir), writer, "acme", key.clone(), clock);
            AuditLog::open(options).unwrap()
        };
        let (pdp, pep) = (open("pdp", "pdp"), open("pep", "pep-mcp"));
        Self { bench, pdp, pep }
    }

    fn decided(&self, second: i64, body: &Value, call: Option<String>) -> u64 {
        let mut entry = Entry::new(Kind::Decision, T0_MS + second * 1000, body.to_string());
        entry.sensitive = call.into_iter().map(|text| ("/call".to_owned(), text)).collect();
        self.pdp.append_blocking(entry, Durability::Sync).unwrap().seq
    }

    fn enforced(&self, second: i64, call: &str, agent: Option<&str>, reason: &str) {
        let body = json!({
            "call_id": call, "tenant": "default", "subject": "bob", "agent": agent,
            "action": "tools/call", "effect": "deny", "reasons": [reason], "outcome": "denied",
        });
        let entry = Entry::new(Kind::Enforcement, T0_MS + second * 1000, body.to_string());
        self.pep.append_blocking(entry, Durability::Sync).unwrap();
    }

    fn close(&self) {
        self.pdp.close_blocking("test").unwrap();
        self.pep.close_blocking("test").unwrap();
    }

    /// The agents that the command tells of, by id and tenant.
    fn told(&self, more: &[&str]) -> Vec<Value> {
        let mut args = vec!["audit", "show", "--shadow-agents", "--format", "json"];
        args.extend(more);
        let out = self.bench.run(&args).code(0).out;
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn named<'a>(agents: &'a [Value], id: &str) -> &'a Value {
    agents.iter().find(|agent| agent["agent"] == id).unwrap_or_else(|| panic!("{id}: {agents:#?}"))
}

/// A log with an allowed call and with agents that were not served for every reason.
fn site() -> Site {
    let site = Site::new();
    let stranger =
        json!({"agent": {"type": "agent", "id": "stranger"}, "policy": "registry/agents/stranger"});
    site.decided(
        1,
        &decision("c1", "default", "agent_unknown", &stranger),
        Some(token("https://a")),
    );
    let mut bob = stranger.clone();
    bob["subject"] = "bob".into();
    site.decided(9, &decision("c2", "default", "agent_unknown", &bob), Some(token("https://b")));
    site.decided(5, &decision("c3", "other", "agent_unknown", &stranger), None);
    let actor = json!({
        "agent": {"type": "agent", "id": "good"}, "policy": "registry/agents/old",
        "delegation": [{"type": "agent", "id": "good-2"}, {"type": "agent", "id": "old", "presented_as": "0oa-old"}],
    });
    site.decided(6, &decision("c4", "default", "agent_inactive", &actor), Some(token("https://a")));
    let issuer = json!({
        "agent": {"type": "agent", "id": "bound", "presented_as": "client-7"}, "policy": "registry/agents/bound",
    });
    site.decided(
        7,
        &decision("c5", "default", "agent_issuer_refused", &issuer),
        Some(token("https://evil")),
    );
    let nobody = json!({"agent": null});
    site.decided(8, &decision("c6", "default", "agent_unknown", &nobody), None);
    let served = json!({"agent": {"type": "agent", "id": "good"}});
    site.decided(10, &decision("c7", "default", "no_permit", &served), None);
    // Both sides tell of the first call, only the enforcement point of the last two.
    site.enforced(2, "c1", Some("stranger"), "agent_unknown");
    site.enforced(11, "c8", Some("keyed"), "agent_credential_refused");
    site.enforced(12, "c9", Some("front"), "agent_unknown");
    site
}

#[test]
fn agents_that_were_not_served_are_told_with_what_is_known_of_them() {
    let site = site();
    site.close();
    let agents = site.told(&["pdp", "pep"]);
    assert_eq!(agents.len(), 7, "{agents:#?}");
    let stranger =
        agents.iter().find(|a| a["agent"] == "stranger" && a["tenant"] == "default").unwrap();
    assert_eq!(
        (&stranger["calls"], &stranger["first_seen"], &stranger["last_seen"]),
        (&2.into(), &"2023-11-14T22:13:21Z".into(), &"2023-11-14T22:13:29Z".into())
    );
    assert_eq!(stranger["subjects"]["values"], json!(["alice", "bob"]));
    assert_eq!(stranger["reasons"], json!({"agent_unknown": 2}));
    assert!(agents.iter().any(|a| a["agent"] == "stranger" && a["tenant"] == "other"));
    let old = named(&agents, "old");
    assert_eq!((&old["roles"], &old["presented_as"]), (&json!(["actor"]), &json!(["0oa-old"])));
    let bound = named(&agents, "bound");
    assert_eq!(
        (&bound["roles"], &bound["presented_as"]),
        (&json!(["agent"]), &json!(["client-7"]))
    );
    assert!(agents.iter().any(|agent| agent["agent"].is_null()), "a credential that names none");
    assert_eq!(named(&agents, "keyed")["roles"], json!(["agent"]), "only the agent presents it");
    assert_eq!(
        named(&agents, "front")["roles"],
        json!(["unclear"]),
        "it may be an actor behind it"
    );
    assert!(!agents.iter().any(|agent| agent["agent"] == "good"));
}

#[test]
fn a_single_file_will_do_and_a_log_without_any_says_so() {
    let site = site();
    site.close();
    let entries =
        std::fs::read_dir(site.bench.path("pep")).unwrap().map(|entry| entry.unwrap().path());
    let file =
        entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "jsonl")).unwrap();
    let agents = site.told(&[file.to_str().unwrap()]);
    assert_eq!(agents.len(), 3, "{agents:#?}");
    assert_eq!(named(&agents, "stranger")["calls"], 1);
    let quiet = Site::new();
    quiet.close();
    let ended = quiet.bench.run(&["audit", "show", "--shadow-agents", "pdp"]).code(0);
    assert!(ended.out.is_empty() && ended.err.contains("every agent that was seen was served"));
    quiet.bench.run(&["audit", "show", "--shadow-agents", "pdp", "--call", "c"]).code(2);
}

#[test]
fn what_is_only_committed_to_or_erased_is_said_to_be_so() {
    let site = Site::new();
    let stranger =
        json!({"agent": {"type": "agent", "id": "stranger"}, "policy": "registry/agents/stranger"});
    let gone = site.decided(
        1,
        &decision("c1", "default", "agent_unknown", &stranger),
        Some(token("https://gone")),
    );
    site.decided(
        2,
        &decision("c2", "default", "agent_unknown", &stranger),
        Some(token("https://a")),
    );
    // A deployment may keep even subjects out of the line.
    let mut body = decision("c3", "default", "agent_unknown", &stranger);
    body["subject"] = json!({"type": "user"});
    let mut entry = Entry::new(Kind::Decision, T0_MS + 3000, body.to_string());
    entry.sensitive = vec![("/subject/id".to_owned(), "\"carol\"".to_owned())];
    site.pdp.append_blocking(entry, Durability::Sync).unwrap();
    let erasure = Erasure {
        epoch: site.pdp.status().epoch,
        seq: gone,
        pointers: Vec::new(),
        actor: "erin".to_owned(),
        reason: "asked to".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(site.pdp.erase(erasure, T0_MS + 4000)).unwrap(), 1);
    site.close();
    let hidden = site.told(&["pdp"]);
    assert_eq!(hidden[0]["issuers"], json!({"values": [], "committed": 2, "erased": 0}));
    assert_eq!(hidden[0]["subjects"], json!({"values": ["alice"], "committed": 1, "erased": 0}));
    let revealed = site.told(&["pdp", "--reveal"]);
    assert_eq!(
        revealed[0]["issuers"],
        json!({"values": ["https://a"], "committed": 0, "erased": 1})
    );
    assert_eq!(revealed[0]["subjects"]["values"], json!(["alice", "carol"]));
    let table = site.bench.run(&["audit", "show", "--shadow-agents", "pdp"]).code(0).out;
    assert!(table.starts_with("agent ") && table.contains("(committed)"), "{table}");
    assert!(!table.contains("https://"), "{table}");
    let table =
        site.bench.run(&["audit", "show", "--shadow-agents", "pdp", "--reveal"]).code(0).out;
    assert!(table.contains("https://a (erased)") && !table.contains("https://gone"), "{table}");
}
