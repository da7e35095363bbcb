//! Whoever decides, decides the same: the library as `lictor decide -b` calls it, a file of cases
//! as `lictor test` runs it, a live decision point, its dry run, and a replay of its audit log,
//! over calls made out of the cases of every bundle.
//!
//! The live decisions come first and without stated facts; what was known then is read out of the
//! log and stated to the others. After them the same calls are decided with facts that cases state.

mod calls;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use lictor_identity::{ApiKeyStore, Authenticator, IssueRequest, PartyRef, Role, Settings};
use lictor_pdp::approvals::resolve::Given;
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::server::{self, Running, WORKER_STACK_BYTES};
use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::cases::{self, Case};
use lictor_policy_lib::conclude::{DryRun, dry_run};
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_policy_lib::replay::{How, Recorded, Side, replay};
use lictor_proto::call::{Call, Phase, SessionRef, Usage};
use lictor_proto::decide::{Decide as _, Detail, Outcome, Settle};
use lictor_proto::decision::{Decision, Effect};
use lictor_proto::facts::Facts;
use lictor_proto::reason::LIMIT_PREFIX;
use lictor_tests::site::repository;
use serde_json::{Value, json};

use self::calls::{Dice, Made};

/// Calls of each bundle.
const CALLS: usize = 500;
/// Fewest calls of all bundles together.
const CALLS_MIN: usize = 2_000;
/// When everything begins, unix milliseconds.
const BEGIN_MS: i64 = 1_800_000_000_000;
/// Cases of one file: a file has a largest size.
const CASES_PER_FILE: usize = 100;

fn bundles() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join("bundles")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join(".manifest").exists());
    folders.sort();
    folders
}

/// The files of a folder by their names in a bundle.
fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with('.') || name == ".manifest" {
                found.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// As `lictor decide -b` loads it.
fn loaded(root: &Path) -> LoadedBundle {
    let files = Files::from_pairs(files(root), &Limits::default()).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let (require, limits) = (Require::AllowUnsigned, Limits::default());
    let verified = verify(Source::Folder(files), &require, &floor, &limits, 0).unwrap();
    LoadedBundle::load(verified, Times::Ignored).unwrap()
}

fn cases_of(root: &Path) -> Vec<Case> {
    let named = files(root).into_iter().filter(|(name, _)| name.starts_with("cases/"));
    let read = |(name, text): (String, Vec<u8>)| {
        cases::parse(&name, std::str::from_utf8(&text).unwrap()).unwrap().cases
    };
    named.flat_map(read).collect()
}

/// Time for engines that a busy machine cannot use up.
fn patient() -> Budget {
    Budget { time: Duration::from_secs(60), ..Budget::default() }
}

/// A decision point on one bundle, with a key for every user of the registry.
struct Point {
    running: Running,
    pep: PeerHandle,
    clock: Arc<AtomicI64>,
    keys: BTreeMap<String, String>,
    root: tempfile::TempDir,
}

impl Point {
    async fn start(folder: &Path, bundle: &LoadedBundle) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut store = ApiKeyStore::default();
        let mut keys = BTreeMap::new();
        for (number, user) in (0_u8..).zip(bundle.registry().users.keys()) {
            let request = IssueRequest {
                id: format!("key-{number}"),
                tenant: "default".to_owned(),
                subject: Some(PartyRef { kind: "user".to_owned(), id: user.clone() }),
                roles: vec![Role::Approver],
                ..IssueRequest::default()
            };
            let (key, _) = store.issue(&request, BEGIN_MS, [number; 32]).unwrap();
            keys.insert(user.clone(), key.to_string());
        }
        let settings = Settings { api_keys: Some(store.into()), ..Settings::default() };
        let config = PdpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            bundle: folder.to_owned().into(),
            state_dir: root.path().join("state"),
            insecure_dev: true,
            ..PdpConfig::default()
        };
        let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
        let clock = Arc::new(AtomicI64::new(BEGIN_MS));
        let told = Arc::clone(&clock);
        let time = Clock::from_fn(move || told.load(Ordering::Relaxed));
        let approver = Authenticator::new(settings).unwrap();
        let running = server::start(config, &audit, Some(approver), time).await.unwrap();
        let pep = PeerHandle::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
        Self { running, pep, clock, keys, root }
    }

    /// Decides the calls one after the other, as time passes: sessions are opened and used, what
    /// is permitted is settled, some of what is asked is approved and asked again.
    async fn live(&self, made: &[Made]) {
        let mut dice = Dice::new(7);
        let mut sessions: BTreeMap<String, String> = BTreeMap::new();
        for Made { call, .. } in made {
            self.clock.fetch_add(i64::try_from(dice.below(4_000)).unwrap(), Ordering::Relaxed);
            let mut call = call.clone();
            let who = format!("{:?} {:?}", call.subject, call.agent);
            call.session = sessions.get(&who).map(|handle| SessionRef { handle: handle.clone() });
            let answer = self.decide(&call).await;
            sessions.extend(answer.hints.session_handle.map(|handle| (who, handle)));
            match answer.decision.effect {
                Effect::Allow if call.phase == Phase::Request && dice.below(4) > 0 => {
                    self.settle(&call, &mut dice).await;
                }
                Effect::Ask if dice.below(3) > 0 => {
                    let again = Call { call_id: format!("{}-again", call.call_id), ..call.clone() };
                    self.approve(&answer.decision).await;
                    self.decide(&again).await;
                }
                _ => {}
            }
            if dice.below(25) == 0 {
                self.decide(&call).await;
            }
        }
    }

    async fn decide(&self, call: &Call) -> lictor_proto::decide::Answer {
        self.pep.decide(Arc::new(call.clone()), 60_000).await.unwrap()
    }

    async fn settle(&self, call: &Call, dice: &mut Dice) {
        let outcomes = [Outcome::Done, Outcome::Failed, Outcome::NotSent];
        let outcome = outcomes[usize::try_from(dice.below(3)).unwrap()];
        let usage = Usage { input_tokens: 5, max_output_tokens: 5, cost_usd_micros: 5 };
        let settle =
            Settle { call_id: call.call_id.clone(), outcome, usage, detail: Detail::default() };
        // What asked only a part holds nothing, and need not be settled.
        drop(self.pep.settle(settle).await);
    }

    async fn approve(&self, decision: &Decision) {
        let approval = decision.approval.as_ref().unwrap();
        for key in self.keys.values() {
            let given = Given { id: &approval.id, approve: true, seen: "", why: "" };
            // Most may not; those who may are enough.
            drop(self.running.pdp().resolve(given, key).await);
        }
    }

    /// The dry run of an operator; one that ran out of time is asked again.
    fn dry_run(&self, call: &Call, facts: &Facts) -> Decision {
        let operator = Peer::new("operator", &[Role::Operator]);
        let ask = || self.running.pdp().dry_run(&operator, call, facts.clone()).unwrap().decision;
        let late = |decision: &Decision| {
            let words = ["took longer than", "exceeded time limit"];
            decision.reasons.iter().any(|r| words.iter().any(|word| r.detail.contains(word)))
        };
        (0..20).map(|_| ask()).find(|decision| !late(decision)).unwrap()
    }

    /// What the audit log has, in the order in which it was decided.
    fn records(&self) -> Vec<Record> {
        let logs = Logs::open(&[self.root.path().join("audit")]).unwrap();
        let mut records = logs.records(true, |record| record.kind == Kind::Decision).unwrap();
        records.sort_by_key(|record| record.seq);
        records
    }
}

/// What must be the same whoever decides.
fn told(decision: &Decision) -> Value {
    json!({
        "effect": decision.effect, "reasons": decision.reasons,
        "obligations": decision.obligations, "findings": decision.findings,
        "labels": decision.labels, "executed": decision.executed,
        "bundle": decision.bundle, "request_digest": decision.request_digest,
    })
}

/// What a case would say of a dry run, exactly.
fn expectation(dry: &DryRun) -> Value {
    let decision = &dry.decision;
    let reasons: BTreeSet<&str> = decision.reasons.iter().map(|r| r.id.as_str()).collect();
    let limits = dry.verdict.limits.iter();
    json!({
        "effect": decision.effect, "reasons": reasons,
        "obligations": decision.obligations,
        "limits": limits.map(|limit| json!({"id": limit.id, "key": limit.key, "max": limit.max, "cost": limit.cost})).collect::<Vec<_>>(),
        "findings": decision.findings.iter().map(|f| f.detector.as_str()).collect::<BTreeSet<_>>(),
        "labels": decision.labels,
    })
}

/// The text of a file of cases, and the cases that `lictor test` reads out of it.
fn as_cases(dry: &[(Call, Facts, DryRun)]) -> Vec<Case> {
    let mut read = Vec::new();
    for (file, part) in dry.chunks(CASES_PER_FILE).enumerate() {
        let case = |(number, (call, facts, dry)): (usize, &(Call, Facts, DryRun))| {
            let call: Value = serde_json::from_str(&call.to_json()).unwrap();
            json!({"name": format!("case {number}"), "call": call, "facts": facts, "expect": expectation(dry)})
        };
        let text = json!({"cases": part.iter().enumerate().map(case).collect::<Vec<_>>()});
        let name = format!("cases/{file}.yaml");
        read.extend(cases::parse(&name, &text.to_string()).unwrap().cases);
    }
    read
}

/// How often each thing came out, so that agreement is about something.
#[derive(Default)]
struct Seen {
    calls: usize,
    live: BTreeMap<String, usize>,
    stated: BTreeMap<String, usize>,
    skipped: BTreeMap<&'static str, usize>,
}

fn agree(folder: &Path, seed: u64, seen: &mut Seen) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let bundle = loaded(folder);
    let cases = cases_of(folder);
    let made = calls::of(&cases, bundle.registry(), seed, CALLS);
    seen.calls += made.len();
    let runtime = server::runtime().unwrap();
    let point = runtime.block_on(Point::start(folder, &bundle));
    runtime.block_on(point.live(&made));
    let mut dry = Vec::new();
    for record in point.records() {
        dry.extend(live(name, &bundle, &point, &record, seen));
    }
    for Made { call, stated } in &made {
        let run = dry_run(&bundle, call, stated.clone(), BEGIN_MS, patient());
        // The clock goes on; what is compared is decided at one time.
        let facts = Facts { time: run.facts.time.clone(), ..stated.clone() };
        *seen.stated.entry(run.decision.effect.as_str().to_owned()).or_default() += 1;
        let asked = point.dry_run(call, &facts);
        assert_eq!(told(&asked), told(&run.decision), "{name}: {}", call.to_json());
        dry.push((call.clone(), facts, run));
    }
    let read = as_cases(&dry);
    assert_eq!(read.len(), dry.len());
    for (case, (call, _, run)) in read.iter().zip(&dry) {
        let result = cases::run(&bundle, case, BEGIN_MS, patient());
        assert!(
            result.differences.is_empty(),
            "{name}: {:?} {}",
            result.differences,
            call.to_json()
        );
        assert_eq!(
            told(&result.outcome.decision),
            told(&run.decision),
            "{name}: {}",
            call.to_json()
        );
        assert_eq!(result.outcome.verdict, run.verdict, "{name}: {}", call.to_json());
    }
    runtime.block_on(point.running.stop("test"));
}

/// Holds everybody against one live decision.
fn live(
    name: &str,
    bundle: &LoadedBundle,
    point: &Point,
    record: &Record,
    seen: &mut Seen,
) -> Option<(Call, Facts, DryRun)> {
    let recorded = Recorded::read(&record.body, |pointer| {
        match (record.revealed.get(pointer), record.commits.contains_key(pointer)) {
            (Some(text), _) => Side::Text(text),
            (None, true) => Side::Erased,
            (None, false) => Side::Absent,
        }
    });
    let recorded = match recorded {
        Ok(recorded) => recorded,
        Err(cause) => {
            *seen.skipped.entry(cause.as_str()).or_default() += 1;
            return None;
        }
    };
    let (call, decision) = (&recorded.call, &recorded.decision);
    let what = format!("{name}: {}", call.to_json());
    let key = format!("{} {:?}", decision.effect.as_str(), recorded.how);
    *seen.live.entry(key).or_default() += 1;
    let replayed = replay(bundle, &recorded, patient()).unwrap();
    assert!(replayed.same_bundle, "{what}");
    assert_eq!((replayed.faults, replayed.changes), (vec![], vec![]), "{what}");
    assert_eq!(replayed.redecided.decision, *decision, "{what}");
    let run = dry_run(bundle, call, recorded.facts.clone(), BEGIN_MS, patient());
    assert_eq!(run.verdict.limits, recorded.wants, "{what}");
    assert_eq!(run.verdict, replayed.redecided.verdict, "{what}");
    let asked = point.dry_run(call, &recorded.facts);
    assert_eq!(told(&asked), told(&run.decision), "{what}");
    if recorded.how == How::Short {
        // Only the store knows of the room: policy allows, and the denial names its limits.
        assert_eq!((decision.effect, run.decision.effect), (Effect::Deny, Effect::Allow), "{what}");
        for reason in &decision.reasons {
            let id = reason.id.strip_prefix(LIMIT_PREFIX).unwrap();
            assert!(run.verdict.limits.iter().any(|limit| limit.id == id), "{what}");
        }
    } else {
        assert_eq!(told(decision), told(&run.decision), "{what}");
        let drawn =
            decision.effect == Effect::Allow && call.phase == Phase::Request && call.asks_all();
        let held: Vec<&str> = decision.limits.iter().map(|limit| limit.id.as_str()).collect();
        let wanted: Vec<&str> = run.verdict.limits.iter().map(|limit| limit.id.as_str()).collect();
        assert_eq!(held, if drawn { wanted } else { Vec::new() }, "{what}");
    }
    Some((recorded.call, recorded.facts, run))
}

#[test]
fn decide_test_decision_point_and_replay_agree_on_every_bundle() {
    let folders = bundles();
    assert!(folders.len() >= 5, "{folders:?}");
    // As deep as the threads of a server, for every way of deciding.
    let threads: Vec<_> = (1_u64..)
        .zip(folders)
        .map(|(seed, folder)| {
            let thread = std::thread::Builder::new().stack_size(WORKER_STACK_BYTES);
            let work = move || {
                let mut seen = Seen::default();
                agree(&folder, seed, &mut seen);
                seen
            };
            thread.spawn(work).unwrap()
        })
        .collect();
    let mut sum = Seen::default();
    for thread in threads {
        let seen = thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
        sum.calls += seen.calls;
        for (key, count) in seen.live {
            *sum.live.entry(key).or_default() += count;
        }
        for (key, count) in seen.stated {
            *sum.stated.entry(key).or_default() += count;
        }
        for (key, count) in seen.skipped {
            *sum.skipped.entry(key).or_default() += count;
        }
    }
    let (live, stated, skipped) = (&sum.live, &sum.stated, &sum.skipped);
    println!(
        "{} calls; live {live:?}; with stated facts {stated:?}; not replayed {skipped:?}",
        sum.calls
    );
    assert!(sum.calls >= CALLS_MIN && live.values().sum::<usize>() >= CALLS_MIN, "{live:?}");
    // Of every sort of decision enough, and nothing that was lost on the way.
    for key in [
        "allow Committed",
        "deny Committed",
        "ask Committed",
        "deny Short",
        "allow Evaluated",
        "deny Evaluated",
    ] {
        assert!(live.get(key).is_some_and(|count| *count >= 5), "{key}: {live:?}");
    }
    for effect in ["allow", "deny", "ask"] {
        assert!(stated.get(effect).is_some_and(|count| *count >= 20), "{effect}: {stated:?}");
    }
    assert!(skipped.keys().all(|cause| ["repeated", "not_policys"].contains(cause)), "{skipped:?}");
}
