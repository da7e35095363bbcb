//! Rates of the log: verification, appending, and what one entry costs its caller.
#![expect(clippy::expect_used, reason = "a bench that cannot run should stop")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use ed25519_dalek::SigningKey;
use lictor_audit::{
    AppendError, AuditLog, Durability, Entry, Kind, Options, VerifyOptions, verify_bytes,
};
use tokio::task::JoinHandle;

fn main() {
    divan::main();
}

fn open(dir: &Path) -> AuditLog {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as i64);
    let key = SigningKey::from_bytes(&[1; 32]);
    AuditLog::open(Options::new(dir, "pdp", "bench", key, Arc::new(now))).expect("a new log")
}

/// A decision of usual size, about 600 bytes as a line.
fn decision(sensitive: usize) -> Entry {
    let body = format!(
        "{{\"call_id\":\"0193d7a0-0000-7000-8000-000000000000\",\"decision_id\":\"0193d7a0-0000-7000-8000-000000000001\",\"session\":\"s-1\",\"effect\":\"allow\",\"reasons\":[],\"filler\":\"{}\"}}",
        "x".repeat(200)
    );
    let mut entry = Entry::new(Kind::Decision, 1_764_000_000_000, body);
    entry.sensitive =
        (0..sensitive).map(|n| (format!("/args/{n}"), "\"alice@example.com\"".into())).collect();
    entry
}

/// Keeps `in_flight` appends under way until `total` are recorded.
fn fill(log: &AuditLog, total: usize, in_flight: usize, durability: Durability, sensitive: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut under_way = VecDeque::<JoinHandle<Result<(), AppendError>>>::new();
        let entry = decision(sensitive);
        for _ in 0..total {
            if under_way.len() >= in_flight {
                let done = under_way.pop_front().expect("one is under way");
                done.await.expect("no panic").expect("a durable record");
            }
            let (log, entry) = (log.clone(), entry.clone());
            under_way.push_back(tokio::spawn(async move {
                log.append(entry, durability).await.map(drop)
            }));
            tokio::task::yield_now().await;
        }
        for done in under_way {
            done.await.expect("no panic").expect("a durable record");
        }
    });
}

#[divan::bench(args = [10_000, 100_000], sample_count = 10)]
fn verify_records(bencher: Bencher<'_, '_>, records: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    fill(&log, records, 1024, Durability::Bounded, 0);
    log.close_blocking("bench").expect("closed");
    let read = |suffix: &str| {
        let mut files = std::fs::read_dir(dir.path()).expect("listed").flatten().map(|e| e.path());
        let file = files.find(|p| p.extension().is_some_and(|e| e == suffix)).expect("there");
        std::fs::read(file).expect("read")
    };
    let (log, notes) = (read("jsonl"), read("checkpoints"));
    bencher.counter(ItemsCount::new(records)).counter(BytesCount::new(log.len())).bench(|| {
        let report = verify_bytes(&log, &notes, &VerifyOptions::default());
        assert!(report.fault.is_none(), "{report:?}");
        report.records
    });
}

#[divan::bench(args = [(1, 500), (64, 5_000), (1024, 50_000), (4096, 100_000)], sample_count = 3)]
fn append_sync(bencher: Bencher<'_, '_>, (in_flight, total): (usize, usize)) {
    bencher
        .counter(ItemsCount::new(total))
        .with_inputs(|| tempfile::tempdir().expect("a directory"))
        .bench_values(|dir| fill(&open(dir.path()), total, in_flight, Durability::Sync, 0));
}

#[divan::bench(args = [0, 3], sample_count = 3)]
fn append_bounded(bencher: Bencher<'_, '_>, sensitive: usize) {
    bencher
        .counter(ItemsCount::new(50_000usize))
        .with_inputs(|| tempfile::tempdir().expect("a directory"))
        .bench_values(|dir| fill(&open(dir.path()), 50_000, 1024, Durability::Bounded, sensitive));
}

/// Records for which nobody waits, as long as the disk keeps up.
#[divan::bench(args = [0, 3], sample_count = 3)]
fn record_bounded(bencher: Bencher<'_, '_>, sensitive: usize) {
    let entry = decision(sensitive);
    bencher
        .counter(ItemsCount::new(50_000usize))
        .with_inputs(|| tempfile::tempdir().expect("a directory"))
        .bench_values(|dir| {
            let log = open(dir.path());
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                for _ in 0..50_000 {
                    log.record(&entry, Durability::Bounded).await.expect("a record");
                }
            });
        });
}
