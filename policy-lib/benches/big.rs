//! Big bundles: so many tools, as many Cedar policies, a tenth as many agents, the standard Rego
//! rules. A table of what it takes to load one, to replace it by one that differs in one of a
//! hundred tools and policies, to decide by it, and to keep it. It prints and judges nothing.
//!
//! `-- SIZE...` takes other sizes than 100, 1,000 and 10,000.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up must stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use cap::Cap;
use lictor_policy_lib::bundle::{
    Files, Floor, Limits, Require, Source, VerifiedBundle, Window, pack, verify,
};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::{Budget, Way};
use lictor_policy_lib::load::{LoadedBundle, Loading, Times};
use lictor_proto::call::Call;
use lictor_proto::facts::Facts;
use mimalloc::MiMalloc;

/// Counts what is allocated, by the allocator of the binaries.
#[global_allocator]
static HEAP: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

const NOW_MS: i64 = 1_800_000_000_000;
const SIZES: [usize; 3] = [100, 1_000, 10_000];
const TOOLS_PER_SERVER: usize = 100;
const TEAMS: usize = 20;
/// Tools between two that differ in the second bundle.
const CHANGED_EVERY: usize = 100;
/// Calls that are decided in turn.
const CALLS: usize = 64;
/// How long decisions are timed, in each of so many rounds over all sizes.
const DECIDE_MS: u64 = 300;
const DECIDE_ROUNDS: usize = 5;
/// Pause between two looks at the heap while the peak is wanted.
const LOOK_US: u64 = 200;

/// Whether tool `i` is another one in the second bundle.
fn is_changed(i: usize, changed: bool) -> bool {
    changed && i % CHANGED_EVERY == 7
}

fn tool_id(i: usize) -> String {
    format!("s{}/t{i}", i / TOOLS_PER_SERVER)
}

fn schema(i: usize, changed: bool) -> String {
    let more = if changed { r#","reason":{"type":"string"}"# } else { "" };
    format!(
        r#"{{"type":"object","description":"Arguments of tool {i}, as its server declares them.","required":["path","rows"],"properties":{{"path":{{"type":"string","maxLength":{}}},"rows":{{"type":"integer","minimum":0}},"mode":{{"type":"string","enum":["read","write","mode-{i}"]}},"host":{{"type":"string"}},"command":{{"type":"string"}},"query":{{"type":"string"}},"note":{{"type":"string","description":"Free text, kept with the result of tool {i}."}},"dry":{{"type":"boolean"}},"limit":{{"type":"integer","maximum":1000}},"tags":{{"type":"array","items":{{"type":"string"}}}}{more}}}}}"#,
        200 + i % 50
    )
}

fn data(tools: usize, changed: bool) -> String {
    let mut text = String::from(r#"{"registry":{"users":{"ops":{}},"teams":{"#);
    let comma = |i: usize| if i == 0 { "" } else { "," };
    for i in 0..TEAMS {
        let _ = write!(text, r#"{}"team-{i}":{{}}"#, comma(i));
    }
    text.push_str(r#"},"servers":{"#);
    for i in 0..tools.div_ceil(TOOLS_PER_SERVER) {
        let _ = write!(text, r#"{}"s{i}":{{"description":"Server {i}"}}"#, comma(i));
    }
    text.push_str(r#"},"agents":{"#);
    for i in 0..(tools / 10).max(1) {
        let (comma, team) = (comma(i), i % TEAMS);
        let _ = write!(
            text,
            r#"{comma}"agent-{i}":{{"owner":"ops","team":"team-{team}","status":"active","description":"Agent {i} of the benchmark","attrs":{{"tenant":"default","roles":["reader","writer"],"teams":["team-0"],"clearance":{}}}}}"#,
            2 + i % 3
        );
    }
    text.push_str(r#"},"tools":{"#);
    for i in 0..tools {
        let (comma, id, changed) = (comma(i), tool_id(i), is_changed(i, changed));
        let (schema, rows) = (schema(i, changed), if changed { 6_000 } else { 5_000 });
        let _ = write!(
            text,
            r#"{comma}"{id}":{{"description":"Tool {i} of the benchmark","input_schema":{schema},"annotations":{{"source":"trusted","reads":"internal","effect":"mutate"}},"attrs":{{"area":"files","owners":["ops"],"max_rows":{rows},"off":false,"sensitive":false}}}}"#
        );
    }
    text.push_str(r#"}},"roles_of_team":{"team-0":["reader"]},"areas_of_role":{"reader":["files"],"writer":["files"]},"hosts":["a.example","b.example"]}"#);
    text
}

/// The permit of each tool of one server, and a forbid of some.
fn policies(tools: std::ops::Range<usize>, changed: bool) -> String {
    let mut text = String::new();
    for i in tools {
        let (id, rows) = (tool_id(i), if is_changed(i, changed) { 400 } else { 500 });
        let _ = write!(
            text,
            r#"@id("tool.{i}.use")
permit (
  principal,
  action == Lictor::Action::"{id}",
  resource
)
when {{ principal.attrs has clearance && principal.attrs.clearance >= 2 && resource.effect != "exec" && context.args.rows <= {rows} }};

"#
        );
        if i % 20 == 0 {
            let _ = write!(
                text,
                r#"@id("tool.{i}.mode")
forbid (
  principal,
  action == Lictor::Action::"{id}",
  resource == Lictor::Tool::"{id}"
)
when {{ context.args has mode && context.args.mode == "mode-{i}" }}
unless {{ principal in Lictor::Team::"team-3" }};

"#
            );
        }
    }
    text
}

fn archive(tools: usize, changed: bool) -> Vec<u8> {
    let read = |name: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/standard/");
        std::fs::read(format!("{root}{name}")).expect("the standard policy is there")
    };
    let version = if changed { 2 } else { 1 };
    let manifest = format!(
        r#"{{"revision":"bench","metadata":{{"lictor":{{"name":"big","version":{version}}}}}}}"#
    );
    let mut pairs = vec![
        (".manifest".to_owned(), manifest.into_bytes()),
        ("data.json".to_owned(), data(tools, changed).into_bytes()),
        ("rego/standard/rules.rego".to_owned(), read("rego/standard/rules.rego")),
        ("cedar/standard.cedar".to_owned(), read("cedar/standard.cedar")),
    ];
    for server in 0..tools.div_ceil(TOOLS_PER_SERVER) {
        let first = server * TOOLS_PER_SERVER;
        let text = policies(first..(first + TOOLS_PER_SERVER).min(tools), changed);
        pairs.push((format!("cedar/s{server}.cedar"), text.into_bytes()));
    }
    pack(&Files::from_pairs(pairs, &Limits::default()).expect("names are good"))
}

fn verified(archive: &[u8]) -> VerifiedBundle {
    let limits = Limits { ratio: usize::MAX, ..Limits::default() };
    let floor = Floor { min_version: 0, window: Window::Ignored };
    verify(Source::Archive(archive), &Require::AllowUnsigned, &floor, &limits, NOW_MS)
        .expect("the bundle verifies")
}

/// Calls of tools that lie evenly over the whole bundle.
fn calls(tools: usize) -> Vec<Call> {
    let call = |n: usize| {
        let i = n * tools / CALLS;
        let (id, agent) = (tool_id(i), n * (tools / 10).max(1) / CALLS);
        let text = format!(
            r#"{{"call_id":"01900000-0000-7000-8000-000000000000","subject":{{"type":"user","id":"ops"}},
            "agent":{{"type":"agent","id":"agent-{agent}"}},"action":{{"name":"tools/call"}},
            "resource":{{"type":"tool","id":"{id}"}},
            "context":{{"args":{{"path":"/files/a/b.txt","rows":100,"mode":"write","host":"a.example",
            "command":"ls -l","query":"select 1","note":"quarterly figures","dry":false,"limit":20,
            "tags":["x","y"]}}}}}}"#
        );
        Call::from_json(text.as_bytes()).expect("the call is good")
    };
    (0..CALLS).map(call).collect()
}

/// CPU time of the whole process, in steps of 10 ms.
fn process_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// What some work took.
struct Took {
    wall: Duration,
    cpu: Duration,
    /// Most heap over what there was before.
    peak_bytes: usize,
    /// Heap that was kept.
    kept_bytes: usize,
}

/// Does the work while the heap is looked at.
fn measured<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let peak = AtomicUsize::new(0);
    let before = HEAP.allocated();
    std::thread::scope(|scope| {
        let (working, done) = channel::<()>();
        let peak = &peak;
        scope.spawn(move || {
            // Until the sender is gone, also by a panic.
            while let Err(RecvTimeoutError::Timeout) =
                done.recv_timeout(Duration::from_micros(LOOK_US))
            {
                peak.fetch_max(HEAP.allocated(), Ordering::Relaxed);
            }
        });
        let (cpu, started) = (process_cpu(), Instant::now());
        let result = work();
        let (wall, cpu) = (started.elapsed(), process_cpu().saturating_sub(cpu));
        let kept_bytes = HEAP.allocated().saturating_sub(before);
        drop(working);
        let peak_bytes = peak.load(Ordering::Relaxed).saturating_sub(before);
        (result, Took { wall, cpu, peak_bytes: peak_bytes.max(kept_bytes), kept_bytes })
    })
}

/// A bundle that decides, and what it took to get there.
struct Row {
    tools: usize,
    cold: Took,
    swap: Took,
    /// What the old and the new bundle took together, before the old one was dropped.
    both_bytes: usize,
    dropped: Duration,
    live: LoadedBundle,
    calls: Vec<Call>,
    decide_us: Vec<f64>,
}

fn row(tools: usize) -> Row {
    let (first, second) = (archive(tools, false), archive(tools, true));
    let before = HEAP.allocated();
    let (old, cold) = measured(|| {
        LoadedBundle::load(verified(&first), Times::Ignored).expect("the bundle loads")
    });
    let (mut live, swap) = measured(|| {
        let loading = Loading { previous: Some(&old), ..Loading::default() };
        LoadedBundle::load_with(verified(&second), Times::Ignored, loading)
            .expect("the bundle loads")
    });
    live.evaluate_by(Way::Fastest);
    let both_bytes = HEAP.allocated().saturating_sub(before);
    let started = Instant::now();
    drop(old);
    let dropped = started.elapsed();
    Row { tools, cold, swap, both_bytes, dropped, live, calls: calls(tools), decide_us: Vec::new() }
}

/// CPU time of one decision, in microseconds.
fn decide(row: &Row) -> f64 {
    let budget = Budget { time: Duration::from_secs(1), ..Budget::default() };
    let mut calls = row.calls.iter().cycle();
    let (cpu, started, mut count) = (thread_cpu(), Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_millis(DECIDE_MS) {
        for call in calls.by_ref().take(CALLS) {
            let outcome = dry_run(&row.live, call, Facts::default(), NOW_MS, budget);
            let effect = outcome.decision.effect.as_str();
            assert_eq!(effect, "allow", "{:?}", outcome.decision.reasons);
            black_box(outcome);
            count += 1;
        }
    }
    let took = thread_cpu().saturating_sub(cpu);
    took.as_secs_f64() * 1e6 / f64::from(count.max(1))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn seconds(took: &Took) -> String {
    format!("{:.2} s ({:.2} CPU)", took.wall.as_secs_f64(), took.cpu.as_secs_f64())
}

fn kilobytes(bytes: usize, tools: usize) -> String {
    format!("{:.1}", bytes as f64 / 1_000.0 / tools as f64)
}

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES.to_vec() } else { sizes };
    let mut rows: Vec<Row> = sizes.into_iter().map(row).collect();
    for _ in 0..DECIDE_ROUNDS {
        for row in &mut rows {
            let us = decide(row);
            row.decide_us.push(us);
        }
    }
    println!(
        "| tools | cold load | swap, 1 % changed | drop | decision | ratio | KB a pair, live | both at the swap | peak of a cold load | peak of a swap |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let least = rows.first().map_or(0.0, |row| median(&row.decide_us));
    for row in &rows {
        let (tools, us) = (row.tools, median(&row.decide_us));
        println!(
            "| {tools} | {} | {} | {:.1} ms | {us:.1} µs | {:.2} | {} | {} | {} | {} |",
            seconds(&row.cold),
            seconds(&row.swap),
            row.dropped.as_secs_f64() * 1e3,
            us / least,
            kilobytes(row.cold.kept_bytes, tools),
            kilobytes(row.both_bytes, tools),
            kilobytes(row.cold.peak_bytes, tools),
            kilobytes(row.cold.kept_bytes + row.swap.peak_bytes, tools),
        );
    }
}
