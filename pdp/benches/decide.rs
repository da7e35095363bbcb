//! What a served decision costs beside the pure one, in CPU time of the whole process, by stage: the
//! standard policy and the expense-report bundle, the embedded store with its journal, bounded
//! audit. Prints; asserts nothing about time.
//!
//! `cargo bench --profile profiling -p lictor-pdp --bench decide -- --decisions 20000 --rounds 3`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run ends")]

use std::fmt::Write as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use clap::Parser;
use futures::future::join_all;
use lictor_audit::{AuditLog, Durability, Options as AuditOptions, Typed};
use lictor_identity::Role;
use lictor_pdp::clock::{Clock, new_id};
use lictor_pdp::config::{AuditConfig, DurabilityRule, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::record::{self, Recorded};
use lictor_pdp::server::{self, Running};
use lictor_pdp::session::Handles;
use lictor_pdp::state::memory::Memory;
use lictor_pdp::state::{Commit, Committed, SessionKey, State};
use lictor_pdp::{approvals, source};
use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::conclude::{CommitResult, Ids, conclude, dry_run};
use lictor_policy_lib::engine::{Budget, Way};
use lictor_policy_lib::evaluate::{Verdict, complete_facts, evaluate};
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_policy_lib::plan::plan;
use lictor_policy_lib::replay::How;
use lictor_proto::call::{Call, Usage};
use lictor_proto::decide::{Decide as _, Detail, Outcome, Settle};
use lictor_proto::decision::{Decision, Effect};
use lictor_proto::facts::Facts;

/// The allocator of every program of ours.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Callers that take turns, each in a session of its own.
const CALLERS: u64 = 1_024;
/// What a decision may take here, milliseconds: nothing may be late.
const BUDGET_MS: u32 = 20_000;

/// How the benchmark runs.
#[derive(Parser)]
struct Options {
    /// Decisions of each run.
    #[arg(long, default_value_t = 20_000)]
    decisions: u64,
    /// Runs of each stage, interleaved; medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only policies whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only the whole decision, this many in flight, again and again: for a profiler.
    #[arg(long)]
    whole: Option<usize>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let runtime = server::runtime().unwrap();
    for (name, site) in [("standard", standard()), ("expense-report", expense_report())] {
        if name.contains(&options.only) {
            runtime.block_on(measure(name, &site, &options));
        }
    }
}

// === what is decided ===

/// A bundle's folder and calls that it allows: `NUMBER` is another in each.
struct Site {
    folder: PathBuf,
    call: String,
    _made: Option<tempfile::TempDir>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn expense_report() -> Site {
    let call = r#"{"subject":{"type":"user","id":"alice@example.com"},
        "agent":{"type":"agent","id":"expense-report-v1"},"action":{"name":"tools/call"},
        "credential":{"kind":"api_key","id":"benchmark"},
        "resource":{"type":"tool","id":"accounting/get_employee_cost_center"},
        "context":{"args":{"employee_id":"alice@example.com"},"protocol":"mcp/2026-07-28"},
        "content":[{"origin":"tool_args","pointer":"/employee_id","media":"text/plain",
        "text":"alice@example.com"}]}"#;
    let folder = repository().join("bundles/expense-report");
    Site { folder, call: call.to_owned(), _made: None }
}

/// 20 Rego rules, 21 Cedar policies, 100 tools, 50 agents, 10 arguments.
fn standard() -> Site {
    let made = tempfile::tempdir().unwrap();
    let policy = repository().join("policy-lib/testdata/standard");
    for name in ["rego/standard/rules.rego", "cedar/standard.cedar"] {
        let path = made.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(policy.join(name), path).unwrap();
    }
    let manifest = r#"{"revision":"bench","metadata":{"lictor":{"name":"standard","version":1}}}"#;
    std::fs::write(made.path().join(".manifest"), manifest).unwrap();
    std::fs::write(made.path().join("data.json"), standard_data()).unwrap();
    let call = r#"{"subject":{"type":"user","id":"ops"},"agent":{"type":"agent","id":"agent-7"},
        "credential":{"kind":"api_key","id":"benchmark"},"action":{"name":"tools/call"},
        "resource":{"type":"tool","id":"s/t42"},
        "context":{"args":{"path":"/files/a/b.txt","rows":100,"mode":"write","host":"a.example",
        "command":"ls -l","query":"select 1","note":"quarterly figures NUMBER","dry":false,"limit":20,
        "tags":["x","y"]}}}"#;
    let folder = made.path().to_owned();
    Site { folder, call: call.to_owned(), _made: Some(made) }
}

fn standard_data() -> String {
    let schema = r#"{"type":"object","properties":{"path":{"type":"string"},"rows":{"type":"integer"},"mode":{"type":"string"},"host":{"type":"string"},"command":{"type":"string"},"query":{"type":"string"},"note":{"type":"string"},"dry":{"type":"boolean"},"limit":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}}}"#;
    let (mut agents, mut tools) = (String::new(), String::new());
    for n in 0..50 {
        let comma = if n == 0 { "" } else { "," };
        write!(agents, r#"{comma}"agent-{n}":{{"owner":"ops","team":"team-0","status":"active","attrs":{{"tenant":"default","roles":["reader","writer"],"teams":["team-0"]}}}}"#).unwrap();
    }
    for n in 0..100 {
        let comma = if n == 0 { "" } else { "," };
        write!(tools, r#"{comma}"s/t{n}":{{"input_schema":{schema},"annotations":{{"source":"trusted","reads":"internal","effect":"mutate"}},"attrs":{{"area":"files","owners":["ops"],"max_rows":5000,"off":false,"sensitive":false}}}}"#).unwrap();
    }
    format!(
        r#"{{"registry":{{"users":{{"ops":{{}}}},"teams":{{"team-0":{{}}}},"servers":{{"s":{{}}}},"agents":{{{agents}}},"tools":{{{tools}}}}},"roles_of_team":{{"team-0":["reader"]}},"areas_of_role":{{"reader":["files"],"writer":["files"]}},"hosts":["a.example","b.example"]}}"#
    )
}

/// Makes calls that differ by their id and by who proved to be the caller.
struct Calls {
    call: String,
    number: AtomicU64,
}

impl Calls {
    fn next(&self) -> Arc<Call> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let text = self.call.replace("NUMBER", &number.to_string());
        let mut call = Call::from_json(text.as_bytes()).unwrap();
        call.call_id = format!("01a1fc6f-0000-7000-8000-{number:012}");
        call.credential.as_mut().unwrap().id = format!("benchmark-{}", number % CALLERS);
        Arc::new(call)
    }
}

fn loaded(site: &Site) -> LoadedBundle {
    let limits = Limits::default();
    let mut pairs = Vec::new();
    files_below(&site.folder, &site.folder, &mut pairs);
    let files = Files::from_pairs(pairs, &limits).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let now_ms = Clock::system().now_ms();
    let verified =
        verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, now_ms).unwrap();
    let mut bundle = LoadedBundle::load(verified, Times::Ignored).unwrap();
    bundle.evaluate_by(Way::Fastest);
    bundle
}

fn files_below(root: &Path, folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(root, &path, into);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push((name, std::fs::read(&path).unwrap()));
        }
    }
}

async fn served(site: &Site, root: &Path) -> Running {
    let config = PdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        bundle: source::BundleAt::from(site.folder.clone()),
        state_dir: root.join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig {
        dir: root.join("audit"),
        durability: DurabilityRule::Bounded,
        ..AuditConfig::default()
    };
    server::start(config, &audit, None, Clock::system()).await.unwrap()
}

// === measuring ===

/// Nanoseconds that the threads of this process ran.
fn cpu_ns() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ran = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    ran.sum()
}

/// CPU microseconds of each of `times` operations, whatever threads they ran on.
async fn cost<F: Future<Output = ()>>(times: u64, work: F) -> f64 {
    let before = cpu_ns();
    work.await;
    // Whatever was left to other threads is done soon after.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    (cpu_ns() - before) as f64 / 1e3 / times as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Decisions one after another in each of `in_flight` tasks.
async fn decisions(handle: &PeerHandle, calls: Vec<Arc<Call>>, in_flight: usize, settles: bool) {
    let (calls, next) = (Arc::new(calls), Arc::new(AtomicUsize::new(0)));
    let workers = (0..in_flight).map(|_| {
        let (handle, calls, next) = (handle.clone(), Arc::clone(&calls), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = handle.decide(Arc::clone(call), BUDGET_MS).await.unwrap();
                let decision = answer.decision;
                assert_eq!(decision.effect, Effect::Allow, "{:?}", decision.reasons);
                if settles {
                    let (call_id, usage) = (call.call_id.clone(), Usage::default());
                    let detail = Detail::default();
                    let settle = Settle { call_id, outcome: Outcome::Done, usage, detail };
                    handle.settle(settle).await.unwrap();
                }
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
}

/// One decision taken apart, as [`lictor_pdp::decide`] puts it together.
struct Parts {
    bundle: LoadedBundle,
    memory: Memory,
    audit: AuditLog,
    handles: Handles,
    calls: Calls,
    now_ms: i64,
}

/// What comes out of the stages before the record.
struct Step {
    call: Arc<Call>,
    session: SessionKey,
    facts: Facts,
    verdict: Arc<Verdict>,
    decision: Decision,
}

impl Parts {
    fn new(site: &Site, root: &Path) -> Self {
        let (memory, _) = Memory::open(&root.join("journal")).unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let clock = Clock::system();
        let options =
            AuditOptions::new(root.join("log"), "pdp", "bench", key.clone(), clock.as_fn());
        let calls = Calls { call: site.call.clone(), number: AtomicU64::new(0) };
        Self {
            bundle: loaded(site),
            memory,
            audit: AuditLog::open(options).unwrap(),
            handles: Handles::new(key),
            calls,
            now_ms: clock.now_ms(),
        }
    }

    fn pure(&self, call: &Call) -> Decision {
        dry_run(&self.bundle, call, Facts::default(), self.now_ms, Budget::default()).decision
    }

    fn step(&self) -> Step {
        let call = self.calls.next();
        let session = self.handles.session_of(&call, self.now_ms).unwrap();
        let mut facts = complete_facts(&self.bundle, &call, Facts::default(), self.now_ms);
        let planned = plan(&self.bundle, &call, self.now_ms).unwrap();
        let verdict = evaluate(&self.bundle, &call, &planned, &mut facts, Budget::default());
        let committed =
            CommitResult::Committed { limits: Vec::new(), approval: None, labels: verdict.labels };
        let ids = Ids {
            decision_id: new_id(self.now_ms),
            request_digest: call.request_digest(),
            bundle: Some(self.bundle.reference().clone()),
        };
        let decision = conclude(&call, &verdict, &committed, &ids);
        Step { call, session, facts, verdict: Arc::new(verdict), decision }
    }

    fn commit_of(&self, step: &Step) -> Commit {
        let Step { call, session, verdict, decision, .. } = step;
        Commit {
            session: session.clone(),
            implicit: None,
            version: None,
            call_id: call.call_id.clone(),
            request_digest: decision.request_digest.clone(),
            decision_id: decision.decision_id.clone(),
            peer: "bench".to_owned(),
            cost_usd_micros: 0,
            prices: None,
            resource: call.resource.as_ref().unwrap().id.clone(),
            binding: approvals::binding(call, &self.bundle, session),
            opens: None,
            permits: verdict.effect == Effect::Allow,
            watched: true,
            verdict: Arc::clone(verdict),
        }
    }

    fn entry_of(&self, step: &Step) -> Typed {
        let recorded = Recorded {
            peer: "bench",
            call: &step.call,
            received: &step.call,
            decision: &step.decision,
            verdict: &step.verdict,
            facts: &step.facts,
            session: &step.session.id,
            state_unavailable: false,
            how: How::Committed,
            session_kept: true,
            duration_us: 100,
        };
        record::decision(&recorded, self.now_ms).unwrap()
    }

    /// Each stage by itself, over the same steps.
    async fn stages(&self, times: u64) -> Vec<(&'static str, f64)> {
        let steps: Vec<Step> = (0..times).map(|_| self.step()).collect();
        let commits: Vec<Commit> = steps.iter().map(|step| self.commit_of(step)).collect();
        let bindings: Vec<_> = commits.iter().map(|commit| commit.binding.clone()).collect();
        let entries: Vec<_> = steps.iter().map(|step| self.entry_of(step)).collect();
        let steps = &steps;
        let each = |run: fn(&Self, &Step)| {
            cost(times, async move { steps.iter().for_each(|step| run(self, step)) })
        };
        vec![
            ("the pure decision", each(|parts, step| drop(parts.pure(&step.call))).await),
            ("request digest", each(|_, step| drop(step.call.request_digest())).await),
            ("decision id", each(|parts, _| drop(new_id(parts.now_ms))).await),
            (
                "implicit session",
                each(|parts, step| drop(parts.handles.session_of(&step.call, parts.now_ms))).await,
            ),
            (
                "binding",
                each(|parts, step| {
                    drop(approvals::binding(&step.call, &parts.bundle, &step.session));
                })
                .await,
            ),
            ("state: read", cost(times, self.read(steps, &bindings)).await),
            ("state: commit and journal", cost(times, self.commit(commits)).await),
            ("the record's texts", each(|parts, step| drop(parts.entry_of(step))).await),
            ("audit: seal, chain, write", cost(times, self.record(&entries)).await),
        ]
    }

    async fn read(&self, steps: &[Step], bindings: &[lictor_pdp::state::approval::Binding]) {
        for (step, binding) in steps.iter().zip(bindings) {
            drop(self.memory.read(&step.session, binding, self.now_ms).await.unwrap());
        }
    }

    async fn commit(&self, commits: Vec<Commit>) {
        for commit in commits {
            let committed = self.memory.commit(commit, self.now_ms).await.unwrap();
            assert!(matches!(committed, Committed::Stored(_)));
        }
    }

    async fn record(&self, entries: &[Typed]) {
        for entry in entries {
            self.audit.record(entry, Durability::Bounded).await.unwrap();
        }
    }
}

async fn measure(name: &str, site: &Site, options: &Options) {
    let root = tempfile::tempdir().unwrap();
    let running = served(site, root.path()).await;
    let parts = Parts::new(site, root.path());
    let peer = Peer::new("bench", &[Role::Pep]);
    let handle = PeerHandle::new(Arc::clone(running.pdp()), peer);
    if let Some(in_flight) = options.whole {
        for _ in 0..options.rounds {
            let calls = (0..options.decisions).map(|_| parts.calls.next()).collect();
            let run = decisions(&handle, calls, in_flight, true);
            println!("{name}: {:.1} CPU µs", cost(options.decisions, run).await);
        }
        return;
    }
    let mut rows: Vec<(&'static str, Vec<f64>)> = Vec::new();
    for round in 0..=options.rounds {
        // The first round warms everything.
        let times = if round == 0 { options.decisions.min(2_000) } else { options.decisions };
        let mut figures = parts.stages(times).await;
        for (what, in_flight, settles) in [
            ("whole, 1 in flight", 1, false),
            ("whole, 64 in flight", 64, false),
            ("whole and settled, 64 in flight", 64, true),
        ] {
            let calls = (0..times).map(|_| parts.calls.next()).collect();
            let run = decisions(&handle, calls, in_flight, settles);
            figures.push((what, cost(times, run).await));
        }
        for (at, (what, figure)) in figures.into_iter().enumerate().filter(|_| round > 0) {
            match rows.get_mut(at) {
                Some((_, figures)) => figures.push(figure),
                None => rows.push((what, vec![figure])),
            }
        }
    }
    println!("\n{name}\n\n| what | CPU µs |\n|---|---|");
    for (what, figures) in rows {
        println!("| {what} | {:.1} |", median(figures));
    }
    running.stop("measured").await;
}
