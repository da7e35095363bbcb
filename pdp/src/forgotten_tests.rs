//! A decision leaves nothing of its call or its bundle behind in memory: no pool, no cache and no
//! thread keeps either once it was answered. What has to outlive it is in the log and in the state.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lictor_identity::Role;
use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::call::{Call, DEFAULT_TENANT, Phase};
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::Effect;

use crate::clock::{Clock, new_id};
use crate::config::{AuditConfig, PdpConfig};
use crate::live::Origin;
use crate::peer::{Peer, PeerHandle};
use crate::server::{Running, start};

/// How long a replaced bundle may be waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const DATA: &str = r#"{"registry":{"users":{"alice":{}},
    "agents":{"bot":{"owner":"alice","status":"active"}},"servers":{"s":{}},
    "tools":{"s/t":{"input_schema":{"type":"object","properties":{"n":{"type":"integer"},"text":{"type":"string"}}}}}},
    "guardrails":{"detectors":[{"id":"pii"}],"regexes":[{"id":"custom/a","pattern":"a[0-9]+","category":"c","severity":"low"}]}}"#;
/// Patterns, formats, sets and a limit: whatever an engine might keep something for. The last rule
/// fails for one of the calls.
const REGO: &str = r#"package lictor.u

_words contains word if some word in split(input.context.args.text, " ")

allow contains "u.a" if regex.match(`^[a-z0-9 ]+$`, input.context.args.text)

deny contains {"id": "u.many", "message": sprintf("%v", [_words])} if count(_words) > 3

deny contains {"id": "u.found", "message": "x"} if {
	input.phase == "response"
	some finding in input.facts.findings
	finding.category == "c"
}

deny contains {"id": "u.fails", "message": "x"} if numbers.range(0, 1000000 * input.context.args.n)[0] == 1

limits contains {"id": "u.l", "kind": "budget", "key": input.context.args.text, "max": 1000, "per": "1h"} if true
"#;
const CEDAR: &str = r#"@id("c.a") permit(principal, action, resource);
@id("c.b") forbid(principal, action, resource) when { context.args has text && context.args.text like "*forbidden*" };
"#;

fn files(version: u32) -> [(&'static str, String); 4] {
    let manifest = format!(r#"{{"metadata":{{"lictor":{{"name":"t","version":{version}}}}}}}"#);
    [
        (".manifest", manifest),
        ("data.json", DATA.to_owned()),
        ("rego/u/u.rego", REGO.to_owned()),
        ("cedar/c.cedar", CEDAR.to_owned()),
    ]
}

fn loaded(version: u32) -> LoadedBundle {
    let pairs = files(version).map(|(name, text)| (name.to_owned(), text.into_bytes()));
    let limits = Limits::default();
    let files = Files::from_pairs(pairs.to_vec(), &limits).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let verified =
        verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, 1).unwrap();
    LoadedBundle::load(verified, Times::Enforced).unwrap()
}

async fn running(root: &Path) -> (Running, PeerHandle) {
    for (name, text) in files(1) {
        let path = root.join("bundle").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: root.join("bundle").into(),
        state_dir: root.join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, Clock::system()).await.unwrap();
    let handle = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
    (running, handle)
}

fn call(phase: Phase, n: i64, text: &str) -> Arc<Call> {
    let body = serde_json::json!({
        "call_id": new_id(1), "phase": phase.as_str(), "executed": phase == Phase::Response,
        "subject": {"type": "user", "id": "alice"}, "agent": {"type": "agent", "id": "bot"},
        "action": {"name": "tools/call"}, "resource": {"type": "tool", "id": "s/t"},
        "context": {"args": {"n": n, "text": text}},
        "content": [{"origin": "tool_result", "pointer": "/a", "media": "text/plain", "text": text}],
    });
    Arc::new(Call::from_json(body.to_string().as_bytes()).unwrap())
}

/// Decides calls of every sort; what is left of them when they were answered, and how they ended.
async fn decide_all(pdp: &PeerHandle) -> (Vec<Weak<Call>>, Vec<Effect>) {
    let (mut calls, mut effects) = (Vec::new(), Vec::new());
    for phase in [Phase::Request, Phase::List, Phase::Response] {
        for (n, text) in [(0, "a1 b"), (0, "a b c d e"), (0, "forbidden"), (9, "x"), (0, "ÄÖ")] {
            let call = call(phase, n, text);
            calls.push(Arc::downgrade(&call));
            effects.push(pdp.decide(call, 5_000).await.unwrap().decision.effect);
        }
    }
    (calls, effects)
}

/// Nobody tells when the last reference goes: the thread that takes bundles apart is waited for.
fn wait_until_dropped(bundle: &Weak<LoadedBundle>) {
    let began = Instant::now();
    while bundle.strong_count() > 0 {
        assert!(began.elapsed() < PATIENCE, "somebody keeps {} of it", bundle.strong_count());
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_call_or_of_a_replaced_bundle_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let (running, pdp) = running(root.path()).await;
    let live = || running.pdp().live.of(DEFAULT_TENANT).unwrap();
    for version in 2..5 {
        let (calls, effects) = decide_all(&pdp).await;
        assert!(effects.contains(&Effect::Allow) && effects.contains(&Effect::Deny));
        let left = calls.iter().filter(|call| call.strong_count() > 0).count();
        assert_eq!(left, 0, "of {} calls", calls.len());
        let old = Arc::downgrade(&live());
        running.pdp().live.swap(DEFAULT_TENANT, loaded(version), Origin::source("test"), 1);
        assert_eq!(live().reference().version, u64::from(version));
        wait_until_dropped(&old);
    }
    let last = Arc::downgrade(&live());
    drop(pdp);
    running.stop("test").await;
    wait_until_dropped(&last);
}
