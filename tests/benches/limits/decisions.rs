//! Whole decisions in this process: plan, both engines, commit, record.

use std::path::Path;
use std::sync::Arc;

use lictor_audit::config::DurabilityRule;
use lictor_identity::Role;
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::server::{self, Running};
use lictor_pdp::state::config::{SlicesConfig, StateConfig};
use lictor_proto::call::{Call, Party, Resource, ResourceKind};
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::Effect;
use lictor_tests::redis::Server;
use serde_json::{Value, json};

use crate::{Case, case};

/// People in whose name calls are made, in turn.
const USERS: u64 = 100;
/// What a decision may take here, milliseconds: nothing may be late.
const BUDGET_MS: u32 = 20_000;

/// Decision points with the same policy, with and without limits.
pub(crate) struct Points {
    points: Vec<(&'static str, Running)>,
    _folder: tempfile::TempDir,
}

impl Points {
    pub(crate) async fn start(redis: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shared = StateConfig::redis(&[&redis.url()]);
        let mut sliced = shared.clone();
        sliced.redis.as_mut().unwrap().slices = Some(SlicesConfig::default());
        sliced.redis.as_mut().unwrap().prefix = "sliced:".to_owned();
        let wanted = [
            ("without limits, embedded", StateConfig::default(), false),
            ("three limits, embedded", StateConfig::default(), true),
            ("three limits, Redis", shared, true),
            ("three limits, Redis with slices", sliced, true),
        ];
        let mut points = Vec::new();
        for (number, (name, state, limited)) in wanted.into_iter().enumerate() {
            let own = folder.path().join(number.to_string());
            bundle(&own.join("bundle"), limited);
            points.push((name, point(&own, state).await));
        }
        Self { points, _folder: folder }
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        let case_of = |(name, running): &(&'static str, Running)| {
            let peer = Peer::new("bench", &[Role::Pep]);
            let handle = Arc::new(PeerHandle::new(Arc::clone(running.pdp()), peer));
            case(name, move |n| {
                let handle = Arc::clone(&handle);
                async move {
                    let answer = handle.decide(Arc::new(call(n)), BUDGET_MS).await.unwrap();
                    let decision = answer.decision;
                    assert_eq!(decision.effect, Effect::Allow, "{:?}", decision.reasons);
                }
            })
        };
        self.points.iter().map(case_of).collect()
    }
}

async fn point(own: &Path, state: StateConfig) -> Running {
    let config = PdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        bundle: own.join("bundle").into(),
        state_dir: own.join("state"),
        insecure_dev: true,
        state,
        ..PdpConfig::default()
    };
    // What a record costs is another benchmark's; here nothing waits for the disk because of it.
    let audit = AuditConfig {
        dir: own.join("audit"),
        durability: DurabilityRule::Bounded,
        ..AuditConfig::default()
    };
    server::start(config, &audit, None, Clock::system()).await.unwrap()
}

fn call(n: u64) -> Call {
    let mut call = Call {
        call_id: format!("call-{n}"),
        subject: Some(Party::new("user", &format!("user-{}@example.com", n % USERS))),
        agent: Some(Party::new("agent", "bot")),
        resource: Some(Resource { kind: ResourceKind::Tool, id: "tickets/search".into() }),
        ..Call::default()
    };
    call.action.name = "tools/call".to_owned();
    call
}

fn bundle(folder: &Path, limited: bool) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let users: serde_json::Map<String, Value> = (0..USERS)
        .map(|n| {
            let id = format!("user-{n}@example.com");
            (id.clone(), json!({ "email": id, "teams": ["support"] }))
        })
        .collect();
    let budget = |unit: &str, per: &str, key: Value| {
        json!({ "kind": "budget", "max": 1u64 << 50, "per": per, "unit": unit, "key": key,
                "match": { "resources": ["tickets/*"] } })
    };
    let limits = json!({
        "user": budget("calls", "1h", json!(["subject"])),
        "agent": budget("calls", "24h", json!(["agent"])),
        "all": budget("calls", "1h", json!(["resource"])),
    });
    let data = json!({
        "limits": if limited { limits } else { json!({}) },
        "registry": {
            "agents": { "bot": { "owner": "support", "team": "support", "status": "active" } },
            "users": users,
            "teams": { "support": {} },
            "servers": { "tickets": {} },
            "tools": { "tickets/search": { "schema": "any", "annotations": { "effect": "none", "source": "trusted" } } },
        },
    });
    write("data.json", &data.to_string());
    let manifest = json!({ "revision": "1", "metadata": { "lictor": {
        "name": "bench", "version": 1, "units": { "bench": {} }, "permit_from": "any" } } });
    write(".manifest", &manifest.to_string());
    let rego = "package lictor.bench\n\nallow if {\n\tinput.action.name == \"tools/call\"\n\t\
                input.resource.id == \"tickets/search\"\n}\n";
    write("rego/bench/bench.rego", rego);
}
