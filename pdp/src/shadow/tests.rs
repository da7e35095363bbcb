//! A decision point with a shadow bundle, asked in process.

use std::collections::BTreeMap;
use std::path::Path;

use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use lictor_identity::Role;
use lictor_policy_lib::evaluate::Verdict;
use lictor_proto::call::Call;
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::facts::Facts;

use super::*;
use crate::clock::new_id;
use crate::config::{AuditConfig, PdpConfig};
use crate::decide::Pdp;
use crate::peer::{Peer, PeerHandle};
use crate::server::{Running, start};

const ALLOW: &str = "allow if true";
/// Denies, asks, or says it otherwise, as the call wants.
const NEXT: &str = r#"allow contains "u.next" if not input.context.args.quiet

allow contains "permit" if input.context.args.quiet

deny contains {"id": "u.no", "message": "m"} if input.context.args.deny

ask contains {"id": "u.ask", "message": "m"} if input.context.args.ask"#;

/// A bundle whose only unit is `u`.
fn bundle(root: &Path, version: u64, rules: &str) {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let manifest = format!(r#"{{"metadata":{{"lictor":{{"name":"t","version":{version}}}}}}}"#);
    let data = r#"{"registry":{"users":{"alice":{}},"agents":{"bot":{"owner":"alice","status":"active"}},
        "servers":{"s":{}},"tools":{"s/t":{"schema":"any","annotations":{"effect":"none"}}}}}"#;
    write(".manifest", &manifest);
    write("data.json", data);
    write("rego/u/u.rego", &format!("package lictor.u\n\n{rules}\n"));
}

struct Site {
    root: tempfile::TempDir,
    running: Running,
    pep: PeerHandle,
}

impl Site {
    /// Decides by `live`; `shadow` is version 9.
    async fn with(live: &str, shadow: &str, change: impl FnOnce(&mut ShadowConfig)) -> Self {
        let root = tempfile::tempdir().unwrap();
        bundle(&root.path().join("live"), 1, live);
        bundle(&root.path().join("next"), 9, shadow);
        let mut next = ShadowConfig::of(root.path().join("next").into());
        change(&mut next);
        let config = PdpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            bundle: root.path().join("live").into(),
            state_dir: root.path().join("state"),
            shadow: Some(next),
            insecure_dev: true,
            ..PdpConfig::default()
        };
        let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
        let running = start(config, &audit, None, Clock::system()).await.unwrap();
        let pep = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
        Self { root, running, pep }
    }

    async fn decide(&self, args: &str) -> Decision {
        self.decide_call(call(args)).await
    }

    async fn decide_call(&self, call: Arc<Call>) -> Decision {
        self.pep.decide(call, 5_000).await.unwrap().decision
    }

    /// Stops; what came of the comparisons, and what was recorded of kind `shadow`.
    async fn stop(self) -> (Told, Vec<Record>, Arc<Pdp>) {
        let pdp = Arc::clone(self.running.pdp());
        self.running.stop("test").await;
        let logs = Logs::open(&[self.root.path().join("audit")]).unwrap();
        let records = logs.records(true, |record| record.kind == Kind::Shadow).unwrap();
        let report = lictor_audit::verify(
            &[self.root.path().join("audit")],
            &lictor_audit::VerifyOptions::default(),
        );
        assert!(report.unwrap().ok);
        (told(pdp.shadow.as_deref().unwrap()), records, pdp)
    }
}

type Told = BTreeMap<&'static str, u64>;

/// Outcomes that came about.
fn told(shadow: &Shadow) -> Told {
    let all = shadow.outcomes().into_iter().filter(|(_, count)| *count > 0);
    all.map(|(outcome, count)| (outcome.as_str(), count)).collect()
}

fn call(args: &str) -> Arc<Call> {
    let text = format!(
        r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"bot"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"s/t"}},"context":{{"args":{args}}}}}"#,
        new_id(1)
    );
    Arc::new(Call::from_json(text.as_bytes()).unwrap())
}

fn flips(records: &[Record]) -> Vec<&Record> {
    records.iter().filter(|record| record.str_at("/event") == Some("flip")).collect()
}

#[tokio::test]
async fn what_the_shadow_bundle_would_have_decided_is_counted_and_recorded() {
    let site = Site::with(ALLOW, NEXT, |_| {}).await;
    let mut decided = Vec::new();
    for args in [r#"{"quiet":true}"#, r#"{"deny":true}"#, r#"{"ask":true}"#, "{}"] {
        let decision = site.decide(args).await;
        assert_eq!(decision.effect, Effect::Allow, "{args}");
        decided.push(decision);
    }
    let (counts, records, pdp) = site.stop().await;
    let expected = [("newly_asked", 1), ("newly_denied", 1), ("reasons", 1), ("same", 1)];
    assert_eq!(counts, Told::from(expected));
    let live = &records[0];
    assert_eq!((live.str_at("/event"), live.str_at("/outcome")), (Some("bundle"), Some("live")));
    let [denied, asked] = flips(&records)[..] else { panic!("{records:#?}") };
    assert_eq!(denied.call_id(), Some(decided[1].call_id.as_str()));
    assert_eq!(denied.str_at("/decision_id"), Some(decided[1].decision_id.as_str()));
    for (pointer, value) in [
        ("/change", "newly_denied"),
        ("/agent/id", "bot"),
        ("/resource/id", "s/t"),
        ("/live/effect", "allow"),
        ("/live/reasons/0/id", "permit"),
        ("/shadow/effect", "deny"),
        ("/shadow/reasons/0/id", "u.no"),
        ("/shadow/reasons/0/policy", "rego/u/u.rego:7"),
    ] {
        assert_eq!(denied.str_at(pointer), Some(value), "{pointer}: {:#}", denied.body);
    }
    assert_eq!(denied.body.pointer("/shadow/bundle/version"), Some(&9.into()));
    assert_eq!(denied.body.pointer("/live/bundle/version"), Some(&1.into()));
    assert_eq!(asked.str_at("/change"), Some("newly_asked"));
    let text = crate::metrics::metrics_text(&pdp);
    for line in [
        "lictor_shadow_decisions_total{outcome=\"newly_denied\"} 1\n",
        "lictor_shadow_decisions_total{outcome=\"skipped\"} 0\n",
        "lictor_shadow_bundle_version 9\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn a_call_that_is_denied_is_compared_too_and_one_asked_again_only_once() {
    let live = "allow if input.context.args.known";
    let site = Site::with(live, ALLOW, |_| {}).await;
    let asked = call("{}");
    for _ in 0..3 {
        assert_eq!(site.decide_call(Arc::clone(&asked)).await.effect, Effect::Deny);
    }
    let (counts, records, _) = site.stop().await;
    assert_eq!(counts, Told::from([("newly_allowed", 1)]));
    assert_eq!(flips(&records).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_queue_never_holds_up_a_decision_and_nothing_is_lost_uncounted() {
    let site = Site::with(ALLOW, NEXT, |next| next.queue = 1).await;
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let pep = site.pep.clone();
            tokio::spawn(async move { pep.decide(call("{}"), 5_000).await.unwrap().decision })
        })
        .collect();
    for decision in asked {
        assert_eq!(decision.await.unwrap().effect, Effect::Allow);
    }
    let (counts, ..) = site.stop().await;
    assert_eq!(counts.values().sum::<u64>(), 200, "{counts:?}");
    assert!(counts.keys().all(|outcome| ["reasons", "skipped"].contains(outcome)), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_at_the_end_is_compared_before_the_log_is_closed() {
    let site = Site::with(ALLOW, NEXT, |_| {}).await;
    for _ in 0..100 {
        site.decide(r#"{"deny":true}"#).await;
    }
    let (counts, records, _) = site.stop().await;
    assert_eq!(counts, Told::from([("newly_denied", 100)]));
    assert_eq!(flips(&records).len(), 100);
}

#[tokio::test]
async fn a_refused_shadow_bundle_leaves_everything_as_it_is() {
    let site = Site::with(ALLOW, "allow if nothing.is.there(1)", |_| {}).await;
    assert_eq!(site.decide(r#"{"deny":true}"#).await.effect, Effect::Allow);
    let shadow = site.running.pdp().shadow.clone().unwrap();
    let refused = shadow.bundle().refused.unwrap();
    assert_eq!(refused.why.id, "bundle_invalid");
    assert!(shadow.bundle().live.is_none());
    let status = crate::grpc::status::status_of(site.running.pdp());
    assert!(status.ready);
    let told = status.shadow.unwrap();
    assert!(told.bundle.unwrap().refused.starts_with("bundle_invalid: "));
    let live = status.bundles[0].clone();
    assert_eq!((live.live.unwrap().version, live.refused.as_str()), (1, ""));
    let (counts, records, _) = site.stop().await;
    assert_eq!(counts, Told::from([("skipped", 1)]));
    let [refused] = &records[..] else { panic!("{records:#?}") };
    let said = (refused.str_at("/outcome"), refused.str_at("/reason"));
    assert_eq!(said, (Some("refused"), Some("bundle_invalid")));
    assert!(refused.str_at("/message").is_some(), "the message is in the side store");
}

#[tokio::test]
async fn its_versions_never_raise_the_floor_of_the_live_bundle() {
    let site = Site::with(ALLOW, NEXT, |_| {}).await;
    let floors: Vec<_> = ["state/version-floor", "state/shadow/version-floor"]
        .into_iter()
        .map(|name| std::fs::read_to_string(site.root.path().join(name)).unwrap())
        .collect();
    assert_eq!(floors, ["1", "9"]);
    site.stop().await;
}

#[tokio::test]
async fn an_expired_shadow_bundle_says_nothing_of_its_policies() {
    let site = Site::with(ALLOW, NEXT, |_| {}).await;
    let manifest = r#"{"metadata":{"lictor":{"name":"t","version":10,"max_staleness":1}}}"#;
    std::fs::write(site.root.path().join("next/.manifest"), manifest).unwrap();
    let shadow = site.running.pdp().shadow.clone().unwrap();
    let source = BundleSource::open(&SourceConfig {
        bundle: site.root.path().join("next").into(),
        trust_keys: Vec::new(),
        insecure_dev: true,
        state_dir: site.root.path().join("elsewhere"),
        ..PdpConfig::default().source()
    });
    ensure_directory(&site.root.path().join("elsewhere")).unwrap();
    let next = source.unwrap().load(shadow.clock.now_ms()).await.unwrap();
    shadow.live.swap(DEFAULT_TENANT, next, crate::live::Origin::source("test"), 1);
    site.decide(r#"{"deny":true}"#).await;
    let (counts, records, _) = site.stop().await;
    assert_eq!(counts, Told::from([("error", 1)]));
    assert!(flips(&records).is_empty());
}

#[tokio::test]
async fn shadow_rules_of_the_live_bundle_are_counted_and_recorded_with_their_flips() {
    let root = tempfile::tempdir().unwrap();
    let rules = r#"allow if true

deny contains {"id": "u.no", "message": "m", "shadow": true, "until": "2090-01-01"} if input.context.args.deny

limits contains {"id": "u.once", "kind": "once", "key": "k"} if input.context.args.once

limits contains {"id": "u.draw", "kind": "once", "key": "k", "shadow": true, "until": "2090-01-01"} if input.context.args.deny"#;
    bundle(&root.path().join("live"), 1, rules);
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: root.path().join("live").into(),
        state_dir: root.path().join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, Clock::system()).await.unwrap();
    let pdp = Arc::clone(running.pdp());
    let pep = PeerHandle::new(Arc::clone(&pdp), Peer::new("pep", &[Role::Pep]));
    let mut ids = Vec::new();
    for args in [r#"{"deny":true,"once":true}"#, r#"{"deny":true,"once":true}"#, "{}"] {
        let call = call(args);
        ids.push(call.call_id.clone());
        let first = pep.decide(Arc::clone(&call), 5_000).await.unwrap().decision;
        let again = pep.decide(call, 5_000).await.unwrap().decision;
        assert_eq!(first.effect, again.effect);
    }
    let text = crate::metrics::metrics_text(&pdp);
    running.stop("test").await;
    for line in [
        "{rule=\"u.no\",flips=\"deny\"} 1\n",
        // The limit denied the second call anyway.
        "{rule=\"u.no\",flips=\"none\"} 1\n",
        "{rule=\"u.draw\",flips=\"none\"} 2\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("lictor_shadow_decisions_total"), "no shadow bundle is configured");
    let logs = Logs::open(&[root.path().join("audit")]).unwrap();
    let recorded = |id: &str| -> Vec<serde_json::Value> {
        let records = logs.call(id, false).unwrap().into_iter();
        records.map(|record| record.body.get("shadows").cloned().unwrap()).collect()
    };
    let row = |rule: &str, id: &str, policy: &str, flips: Option<&str>| serde_json::json!({"rule": rule, "id": id, "policy": policy, "flips": flips});
    let (no, draw) = ("rego/u/u.rego:5", "rego/u/u.rego:9");
    let rows = |flips| {
        serde_json::json!([row("deny", "u.no", no, flips), row("limits", "u.draw", draw, None)])
    };
    let nothing = serde_json::json!([]);
    assert_eq!(recorded(&ids[0]), [rows(Some("deny")), nothing.clone()]);
    assert_eq!(recorded(&ids[1]), [rows(None), nothing.clone()]);
    assert_eq!(recorded(&ids[2]), [nothing.clone(), nothing]);
}

// === without a thread ===

fn given(how: How, bytes: usize) -> Given {
    let args = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
    Given {
        call: call(&args),
        agent: None,
        facts: Facts::default(),
        decision: Decision::denied(&new_id(1), "c", Reason::new("x", "")),
        verdict: Arc::new(Verdict::denied(Reason::new("x", ""))),
        how,
        session_kept: true,
    }
}

fn idle(root: &Path, queue: usize) -> Arc<Shadow> {
    let key = lictor_identity::keys::ensure_signing(root, lictor_identity::Purpose::Audit).unwrap();
    let clock = Clock::system();
    let options =
        lictor_audit::Options::new(root.join("audit"), "pdp", "d".to_owned(), key, clock.as_fn());
    let audit = AuditLog::open(options).unwrap();
    let config = ShadowConfig { queue, ..ShadowConfig::of(root.join("next").into()) };
    Shadow::new(&config, audit, clock)
}

#[test]
fn what_finds_no_room_is_counted_as_skipped() {
    let root = tempfile::tempdir().unwrap();
    let shadow = idle(root.path(), 2);
    for _ in 0..5 {
        shadow.offer(given(How::Evaluated, 1));
    }
    assert_eq!((shadow.queued(), told(&shadow)), (2, Told::from([("skipped", 3)])));
    // So is what has no room among the bytes.
    let other = tempfile::tempdir().unwrap();
    let shadow = idle(other.path(), 1_000);
    let large = 1 << 20;
    for _ in 0..QUEUE_BYTES_MAX / large + 1 {
        shadow.offer(given(How::Evaluated, large));
    }
    assert!(shadow.queued() < QUEUE_BYTES_MAX / large);
    assert_eq!(told(&shadow)["skipped"] as usize, QUEUE_BYTES_MAX / large + 1 - shadow.queued());
}

#[test]
fn only_what_policy_said_is_compared() {
    let root = tempfile::tempdir().unwrap();
    let shadow = idle(root.path(), 100);
    for how in [How::Repeated, How::Refused] {
        shadow.offer(given(how, 1));
    }
    assert_eq!((shadow.queued(), told(&shadow)), (0, Told::new()));
    for how in [How::Late, How::Uncounted] {
        shadow.offer(given(how, 1));
    }
    assert_eq!((shadow.queued(), told(&shadow)), (0, Told::from([("skipped", 2)])));
    for how in [How::Committed, How::Short, How::Evaluated] {
        shadow.offer(given(how, 1));
    }
    assert_eq!(shadow.queued(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_when_patience_ends_is_counted_as_skipped() {
    let root = tempfile::tempdir().unwrap();
    let shadow = idle(root.path(), 100);
    shadow.offer(given(How::Evaluated, 1));
    // A thread that never comes to it.
    let (_end, ended) = oneshot::channel();
    *shadow.ended.lock().unwrap() = Some(ended);
    shadow.drain(Duration::from_secs(5)).await;
    shadow.offer(given(How::Evaluated, 1));
    assert_eq!((shadow.queued(), told(&shadow)), (0, Told::from([("skipped", 2)])));
}

#[test]
fn a_sample_is_a_share_of_the_decisions_by_their_ids() {
    assert!(sampled("no id", 1.0));
    assert!(!sampled("no id", 0.999), "what is no id is in no sample");
    assert!(sampled("0190-00000000", 0.000_001) && !sampled("0190-ffffffff", 0.999_999));
    assert!(sampled("0190-7fffffff", 0.5) && !sampled("0190-80000000", 0.5));
    let taken = (0..20_000).filter(|_| sampled(&new_id(1), 0.25)).count();
    assert!((4_000..6_000).contains(&taken), "{taken}");
}

/// There is no way from here to a permit or to state: nothing of either is even named.
#[test]
fn nothing_here_knows_a_store_a_decision_point_or_a_permit() {
    let texts = [
        include_str!("mod.rs"),
        include_str!("compare.rs"),
        include_str!("follow.rs"),
        include_str!("record.rs"),
        include_str!("queue.rs"),
        include_str!("counts.rs"),
    ];
    for text in texts {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in ["crate::state", "crate::decide", "Pdp", "Permit", "dyn State"] {
                assert!(!line.contains(word), "{line}");
            }
        }
    }
}
