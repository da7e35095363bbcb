use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commit::{
    CHECKPOINT_AFTER_MS, CHECKPOINT_RECORDS, HEARTBEAT_AFTER_MS, MAX_UNSYNCED_RECORDS,
    REOPEN_AFTER_MS, SYNC_AFTER_MS,
};
use super::testkit::*;
use super::*;
use crate::query::{Logs, Record};
use crate::verify::{FaultKind, KeyTrust, Report, VerifyOptions, verify};

fn check(dir: &Path) -> Report {
    let options =
        VerifyOptions { trusted: vec![key().verifying_key()], ..VerifyOptions::default() };
    verify(&[dir.to_owned()], &options).unwrap()
}

fn all(dir: &Path) -> Vec<Record> {
    Logs::open(&[dir.to_owned()]).unwrap().records(true, |_| true).unwrap()
}

fn of_kind(dir: &Path, kind: Kind) -> Vec<Record> {
    all(dir).into_iter().filter(|record| record.kind == kind).collect()
}

fn faults_of(options: &mut Options) -> Arc<Faults> {
    let faults = Arc::new(Faults::default());
    options.open = faulty(&faults);
    faults
}

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden")
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e != "lock" && e != "md"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Set `LICTOR_WRITE_GOLDEN` to write the files anew after a deliberate change of the format.
#[test]
fn a_small_log_is_the_same_bytes_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), "pdp", 1, 6, 400).close(5000).unwrap();
    write_log(dir.path(), "pdp", 2, 2, 400).close(5000).unwrap();
    let made = files(dir.path());
    if std::env::var_os("LICTOR_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden_dir()).unwrap();
        for (name, bytes) in &made {
            std::fs::write(golden_dir().join(name), bytes).unwrap();
        }
    }
    let stored = files(&golden_dir());
    let names = |files: &[(String, Vec<u8>)]| {
        files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&made), names(&stored));
    for ((name, new), (_, old)) in made.iter().zip(&stored) {
        assert_eq!(String::from_utf8_lossy(new), String::from_utf8_lossy(old), "{name}");
    }
    let report = check(&golden_dir());
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.records, 8 + 4);
    assert!(report.logs.iter().all(|log| log.closed && log.key == KeyTrust::Pinned));
    let values: u64 = report.logs.iter().map(|log| log.side.as_ref().unwrap().values).sum();
    assert_eq!(values, 6);
}

#[test]
fn bounded_records_are_synced_soon_and_synced_ones_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = options(dir.path(), "pdp", 1);
    let faults = faults_of(&mut opts);
    let mut kit = Kit::open(opts).unwrap();
    let syncs = || faults.syncs.load(Ordering::Relaxed);
    let before = syncs();
    let plain = decision(1);
    kit.append(&plain, Durability::Bounded, 100).unwrap();
    kit.tick(100 + SYNC_AFTER_MS - 1);
    assert_eq!(syncs(), before);
    assert_eq!(kit.writer.wait_ms(100), SYNC_AFTER_MS);
    kit.tick(100 + SYNC_AFTER_MS);
    assert_eq!(syncs(), before + 1);
    kit.append(&plain, Durability::Sync, 200).unwrap();
    assert_eq!(syncs(), before + 2);
    kit.append(&decision(0), Durability::Sync, 201).unwrap();
    assert_eq!(syncs(), before + 4, "values first, then the line");
}

#[test]
fn the_number_of_unsynced_records_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = options(dir.path(), "pdp", 1);
    let faults = faults_of(&mut opts);
    let mut kit = Kit::open(opts).unwrap();
    let syncs = faults.syncs.load(Ordering::Relaxed);
    let plain = decision(1);
    let mut fill = |n: u64| {
        let batch = (0..n).map(|_| kit.job(&plain, Durability::Bounded).0).collect();
        kit.writer.commit(batch, 1);
        kit.tick(1);
        faults.syncs.load(Ordering::Relaxed)
    };
    assert_eq!(fill(MAX_UNSYNCED_RECORDS - 1), syncs);
    assert!(fill(1) > syncs);
}

#[test]
fn checkpoints_come_by_time_and_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = options(dir.path(), "pdp", 1);
    faults_of(&mut opts);
    let mut kit = Kit::open(opts).unwrap();
    let plain = decision(1);
    let signed = |kit: &Kit| kit.shared.status().signed;
    assert_eq!(signed(&kit), 1);
    kit.append(&plain, Durability::Bounded, 10).unwrap();
    kit.tick(CHECKPOINT_AFTER_MS - 1);
    assert_eq!(signed(&kit), 1);
    kit.tick(CHECKPOINT_AFTER_MS);
    assert_eq!(signed(&kit), 2);
    let note = kit.shared.checkpoint().clone().unwrap();
    assert!(note.contains("\n2\n"));
    let mut fill = |n: u64| {
        let batch = (0..n).map(|_| kit.job(&plain, Durability::Bounded).0).collect();
        kit.writer.commit(batch, 1001);
        kit.tick(1001);
        kit.shared.status().signed
    };
    assert_eq!(fill(CHECKPOINT_RECORDS - 1), 2);
    assert_eq!(fill(1), 2 + CHECKPOINT_RECORDS);
    assert!(check(dir.path()).ok);
}

#[test]
fn silence_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut kit = Kit::open(options(dir.path(), "pdp", 1)).unwrap();
    kit.tick(HEARTBEAT_AFTER_MS - 1);
    assert_eq!(of_kind(dir.path(), Kind::Heartbeat).len(), 0);
    assert_eq!(kit.writer.wait_ms(HEARTBEAT_AFTER_MS - 1), 1);
    kit.tick(HEARTBEAT_AFTER_MS);
    kit.tick(HEARTBEAT_AFTER_MS + 1);
    kit.tick(2 * HEARTBEAT_AFTER_MS);
    assert_eq!(of_kind(dir.path(), Kind::Heartbeat).len(), 2);
    let report = check(dir.path());
    assert!(report.ok && report.logs[0].uncovered == 0, "{report:#?}");
}

#[test]
fn a_failed_sync_denies_until_a_new_epoch_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = options(dir.path(), "pdp", 1);
    let faults = faults_of(&mut opts);
    let mut kit = Kit::open(opts).unwrap();
    let first = kit.append(&decision(1), Durability::Sync, 1).unwrap();
    faults.sync.store(true, Ordering::Relaxed);
    let (bounded, answer) = kit.job(&decision(2), Durability::Bounded);
    let (sync, failed) = kit.job(&decision(3), Durability::Sync);
    kit.writer.commit(vec![bounded, sync], 2);
    assert!(answer.try_recv().unwrap().is_ok(), "it was written");
    let refused = failed.try_recv().unwrap().unwrap_err();
    assert!(matches!(refused, AppendError::Unwritable(_)), "{refused}");
    assert_eq!(refused.reason_id(), "audit_unwritable");
    assert!(!kit.shared.status().writable);
    assert!(kit.shared.status().last_error.as_ref().unwrap().contains("input/output"));
    assert!(kit.append(&decision(4), Durability::Sync, 3).is_err(), "one attempt, which fails");
    faults.sync.store(false, Ordering::Relaxed);
    assert!(kit.append(&decision(5), Durability::Sync, 2 + REOPEN_AFTER_MS).is_err(), "too soon");
    let next = kit.append(&decision(6), Durability::Sync, 3 + REOPEN_AFTER_MS).unwrap();
    assert_ne!(next.epoch, first.epoch);
    assert!(kit.shared.status().writable);
    kit.close(5000).unwrap();
    let report = check(dir.path());
    assert!(report.ok, "{report:#?}");
    let recovery = of_kind(dir.path(), Kind::Recovery);
    assert_eq!(recovery.len(), 1);
    assert_eq!(recovery[0].body["poisoned"], true);
    assert_eq!(recovery[0].body["last_good_seq"], first.seq);
    assert_eq!(recovery[0].body["last_good_leaf"], hex::encode(first.leaf));
}

#[test]
fn a_half_written_batch_is_cut_and_the_idle_writer_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = options(dir.path(), "pdp", 1);
    let faults = faults_of(&mut opts);
    let mut kit = Kit::open(opts).unwrap();
    kit.append(&decision(1), Durability::Sync, 1).unwrap();
    faults.write.store(true, Ordering::Relaxed);
    faults.half.store(true, Ordering::Relaxed);
    assert!(kit.append(&decision(2), Durability::Bounded, 2).is_err());
    assert!(!check(dir.path()).ok);
    kit.tick(3);
    assert_eq!(kit.writer.wait_ms(3), REOPEN_AFTER_MS);
    faults.write.store(false, Ordering::Relaxed);
    kit.tick(3 + REOPEN_AFTER_MS);
    assert!(kit.shared.status().writable);
    let report = check(dir.path());
    assert!(report.ok, "{report:#?}");
    let recovery = of_kind(dir.path(), Kind::Recovery);
    assert!(recovery[0].body["truncated_bytes"].as_u64().unwrap() > 0);
    assert_eq!(report.logs.len(), 2, "failed attempts leave nothing behind");
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = options(dir.path(), "pdp", 1);
    let faults = faults_of(&mut opts);
    faults.open.store(true, Ordering::Relaxed);
    assert!(matches!(Kit::open(opts.clone()), Err(OpenError::Io(_))));
    faults.open.store(false, Ordering::Relaxed);
    let kit = Kit::open(opts.clone()).unwrap();
    assert!(matches!(Kit::open(opts.clone()), Err(OpenError::Locked { .. })));
    drop(kit);
    assert!(Kit::open(opts.clone()).is_ok());
    opts.writer = "PDP".into();
    assert!(matches!(Kit::open(opts.clone()), Err(OpenError::Writer(_))));
    opts.writer = "pdp".into();
    opts.deployment = "a b".into();
    assert!(matches!(Kit::open(opts), Err(OpenError::Deployment(_))));
}

/// Files that only pretend to sync, so that a test may open a log hundreds of times.
fn quick(dir: &Path, seed: u64) -> Options {
    let mut opts = options(dir, "pdp", seed);
    faults_of(&mut opts);
    opts
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for (name, bytes) in files(from) {
        std::fs::write(to.path().join(name), bytes).unwrap();
    }
    to
}

fn log_file(dir: &Path) -> PathBuf {
    let file = |(name, _): (String, Vec<u8>)| name.ends_with(".jsonl").then(|| dir.join(name));
    files(dir).into_iter().find_map(file).unwrap()
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut kit = Kit::open(quick(dir.path(), 1)).unwrap();
    for n in 0..4 {
        kit.append(&decision(n), Durability::Sync, 1).unwrap();
    }
    drop(kit);
    let whole = std::fs::read(log_file(dir.path())).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for len in last..=whole.len() {
        let torn = copy(dir.path());
        let path = log_file(torn.path());
        std::fs::write(&path, &whole[..len]).unwrap();
        drop(Kit::open(quick(torn.path(), 2)).unwrap());
        let report = check(torn.path());
        assert!(report.ok, "{len}: {report:#?}");
        let recovery = of_kind(torn.path(), Kind::Recovery);
        assert_eq!(recovery.len(), 1, "{len}");
        let body = &recovery[0].body;
        let (kept, cut) = if len == whole.len() { (4, 0) } else { (3, len - last) };
        assert_eq!(body["last_good_seq"], kept, "{len}");
        assert_eq!(body["truncated_bytes"], cut, "{len}");
        assert_eq!((&body["unclean"], &body["corrupt"]), (&true.into(), &false.into()));
        assert_eq!(of_kind(torn.path(), Kind::Decision).len(), kept);
    }
}

#[test]
fn a_torn_tail_of_garbage_is_cut_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(Kit::open(quick(dir.path(), 1)).unwrap());
    let path = log_file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let good = String::from_utf8(whole.clone()).unwrap();
    // Right head, right link, but the middle of the last page never reached the disk.
    let leaf = hex::encode(crate::chain::leaf_hash(good.trim_end().as_bytes()));
    let epoch = path.file_stem().unwrap().to_str().unwrap().trim_start_matches("pdp-").to_owned();
    let half = format!(
        "{{\"seq\":1,\"prev\":\"{leaf}\",\"writer\":\"pdp\",\"epoch\":\"{epoch}\",\"ts_ms\":1,\"kind\":\"gap\",\"a\":\"\0\0\0\0\"}}\n"
    );
    for tail in [&b"\0\0\0\0"[..], b"\0\0\n", b"{}\n", b"x\ny\n", half.as_bytes()] {
        let torn = copy(dir.path());
        std::fs::write(log_file(torn.path()), [&whole, tail].concat()).unwrap();
        drop(Kit::open(quick(torn.path(), 2)).unwrap());
        let report = check(torn.path());
        assert!(report.ok, "{tail:?} {report:#?}");
        let recovery = of_kind(torn.path(), Kind::Recovery);
        assert_eq!(recovery[0].body["truncated_bytes"], tail.len());
    }
}

#[test]
fn corruption_is_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut kit = Kit::open(quick(dir.path(), 1)).unwrap();
    for n in 0..4 {
        kit.append(&decision(n), Durability::Sync, 1).unwrap();
    }
    kit.close(2).unwrap();
    drop(kit);
    let path = log_file(dir.path());
    let damaged = std::fs::read_to_string(&path).unwrap().replace("\"dec-2\"", "\"dec-9\"");
    std::fs::write(&path, &damaged).unwrap();
    drop(Kit::open(quick(dir.path(), 2)).unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    let recovery = of_kind(dir.path(), Kind::Recovery);
    assert_eq!(recovery[0].body["corrupt"], true);
    assert_eq!(recovery[0].body["last_good_seq"], 2, "the changed one is not good");
    let report = check(dir.path());
    let faults: Vec<_> = report.logs.iter().filter_map(|log| log.fault.as_ref()).collect();
    assert_eq!(faults.len(), 1, "{report:#?}");
    assert_eq!((faults[0].what, faults[0].line), (FaultKind::Edited, 4));
}

#[test]
fn a_log_cut_below_its_checkpoint_is_corrupt_not_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut kit = Kit::open(quick(dir.path(), 1)).unwrap();
    kit.append(&decision(1), Durability::Sync, 1).unwrap();
    kit.close(2).unwrap();
    drop(kit);
    let path = log_file(dir.path());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    drop(Kit::open(quick(dir.path(), 2)).unwrap());
    assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() - 3);
    assert_eq!(of_kind(dir.path(), Kind::Recovery).len(), 1);
    assert_eq!(of_kind(dir.path(), Kind::Recovery)[0].body["corrupt"], true);
    let faults: Vec<_> = check(dir.path()).logs.into_iter().filter_map(|log| log.fault).collect();
    assert_eq!(faults[0].what, FaultKind::Truncated);
}

#[test]
fn an_epoch_that_never_opened_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), "pdp", 1, 1, 1).close(2).unwrap();
    let epoch = "ab".repeat(16);
    for suffix in ["jsonl.opening", "checkpoints", "side"] {
        std::fs::write(dir.path().join(format!("pdp-{epoch}.{suffix}")), "x").unwrap();
    }
    assert!(check(dir.path()).ok, "no log yet");
    drop(Kit::open(quick(dir.path(), 2)).unwrap());
    assert!(files(dir.path()).iter().all(|(name, _)| !name.contains(&epoch)));
    assert!(check(dir.path()).ok);
    assert_eq!(of_kind(dir.path(), Kind::Recovery).len(), 0, "the one before was closed");
}

#[test]
fn a_large_log_goes_on_in_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut opts = quick(dir.path(), 1);
    opts.rotate_bytes = 3000;
    let mut kit = Kit::open(opts).unwrap();
    for n in 0..20 {
        kit.append(&decision(n), Durability::Bounded, n as u64).unwrap();
        kit.tick(n as u64);
    }
    kit.close(100).unwrap();
    let report = check(dir.path());
    assert!(report.ok && report.logs.len() > 2, "{report:#?}");
    assert!(report.logs.iter().all(|log| log.closed && log.good_bytes < 5000));
    assert_eq!(of_kind(dir.path(), Kind::Decision).len(), 20);
    assert_eq!(kit.shared.status().appended, 20);
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let shared = Shared::default();
    assert!(shared.reserve(MAX_QUEUED_BYTES));
    assert!(!shared.reserve(1));
    shared.release(1);
    assert!(shared.reserve(1));
    assert!(!shared.reserve(1));
}

#[test]
fn the_queue_is_bounded_in_records() {
    let (jobs, _queue) = sync_channel::<Job>(MAX_QUEUED_RECORDS);
    let inner = Inner {
        jobs: Some(jobs),
        thread: None,
        shared: Arc::default(),
        side_key: SideKey::from_bytes([1; 32]),
        entropy: crate::entropy::system(),
        head_bytes: 0,
        public_key: key().verifying_key(),
        clock: Clock::start(),
    };
    let log = AuditLog { inner: Arc::new(inner) };
    let entry = decision(1);
    let ask = || {
        let (reply, _) = reply_channel();
        log.enqueue(&entry, Durability::Sync, 0, reply)
    };
    for _ in 0..MAX_QUEUED_RECORDS {
        ask().unwrap();
    }
    let queued = log.inner.shared.queued_bytes.load(Ordering::Relaxed);
    let refused = ask().unwrap_err();
    assert_eq!((&refused, refused.reason_id()), (&AppendError::Full, "audit_full"));
    assert_eq!(log.inner.shared.queued_bytes.load(Ordering::Relaxed), queued);
}

#[test]
fn erased_values_are_gone_and_the_chain_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let mut kit = Kit::open(quick(dir.path(), 1)).unwrap();
    let kept = kit.append(&decision(5), Durability::Sync, 1).unwrap();
    let gone = kit.append(&decision(0), Durability::Sync, 2).unwrap();
    let erasure = Erasure {
        epoch: gone.epoch.clone(),
        seq: gone.seq,
        pointers: vec!["/args/mail".into()],
        actor: "dpo".into(),
        reason: "request 7".into(),
    };
    assert_eq!(kit.writer.erase(&erasure, 3).unwrap(), 1);
    let after = kit.append(&decision(10), Durability::Sync, 4).unwrap();
    kit.close(5).unwrap();
    let report = check(dir.path());
    assert!(report.ok, "{report:#?}");
    let side = report.logs[0].side.as_ref().unwrap();
    assert_eq!((side.values, side.erased, side.orphans), (5, 1, 0));
    let records = all(dir.path());
    let at = |seq: u64| records.iter().find(|record| record.seq == seq).unwrap();
    assert_eq!(at(kept.seq).str_at("/args/mail"), Some("user5@example.com"));
    assert_eq!(at(gone.seq).str_at("/args/mail"), None);
    assert_eq!(at(gone.seq).str_at("/source_ip"), Some("10.0.0.7"));
    assert_eq!(at(after.seq).str_at("/args/mail"), Some("user10@example.com"));
    std::fs::remove_file(dir.path().join("pdp.side-key")).unwrap();
    let report = check(dir.path());
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.logs[0].side.as_ref().unwrap().erased, 6);
    let outside = Erasure { epoch: "../../etc".into(), ..erasure };
    assert!(kit.writer.erase(&outside, 6).is_err());
}
