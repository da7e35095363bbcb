//! Records whose caller goes on before they are written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commit::{REOPEN_AFTER_MS, SYNC_AFTER_MS};
use super::released::{MAX_RELEASED_MS, MAX_RELEASED_RECORDS};
use super::testkit::{Faults, Kit, START_MS, decision, faulty, options};
use super::{AuditLog, Durability};
use crate::query::{Logs, Record};
use crate::record::Kind;
use crate::typed::{Body, Typed};

fn records(dir: &Path, kind: Kind) -> Vec<Record> {
    let logs = Logs::open(&[dir.to_owned()]).unwrap();
    logs.records(true, |record| record.kind == kind).unwrap()
}

/// A writer whose files fail on demand.
fn failing(dir: &Path) -> (Kit, Arc<Faults>) {
    let mut opts = options(dir, "pdp", 1);
    let faults = Arc::new(Faults::default());
    opts.open = faulty(&faults);
    (Kit::open(opts).unwrap(), faults)
}

#[derive(serde::Serialize)]
struct Told {
    call_id: String,
}

impl Body for Told {}

#[tokio::test]
async fn each_is_in_the_log_and_in_the_order_of_release() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp", 1)).unwrap();
    for n in 0..2_000 {
        let told = Typed::new(Kind::Decision, START_MS, &Told { call_id: format!("call-{n}") });
        let told = told.unwrap().with("/call", format!("[{n}]"));
        log.record(&told, Durability::Bounded).await.unwrap();
    }
    log.record(&decision(2_000), Durability::Sync).await.unwrap();
    log.record(&decision(2_001), Durability::Bounded).await.unwrap();
    log.close("test").await.unwrap();
    let found = records(dir.path(), Kind::Decision);
    let ids: Vec<_> = found.iter().map(|record| record.str_at("/call_id").unwrap()).collect();
    let expected: Vec<String> = (0..2_002).map(|n| format!("call-{n}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(found[1_999].revealed["/call"], "[1999]");
    assert_eq!((log.status().appended, log.status().lost), (2_002, 0));
    assert!(log.record(&decision(3), Durability::Bounded).await.is_err(), "it is closed");
}

#[tokio::test]
async fn they_can_be_waited_for_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp", 1)).unwrap();
    for n in 1..=50 {
        log.record(&decision(n), Durability::Bounded).await.unwrap();
        if n % 7 == 0 {
            log.written().await.unwrap();
            assert_eq!(records(dir.path(), Kind::Decision).len(), n);
        }
    }
    log.close("test").await.unwrap();
    assert!(log.written().await.is_err());
}

#[tokio::test]
async fn those_of_a_log_that_is_dropped_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp", 1)).unwrap();
    for n in 0..100 {
        log.record(&decision(n), Durability::Bounded).await.unwrap();
    }
    drop(log);
    assert_eq!(records(dir.path(), Kind::Decision).len(), 100);
}

#[test]
fn a_place_is_free_again_once_a_record_is_on_stable_storage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kit, _) = failing(dir.path());
    let batch = (0..MAX_RELEASED_RECORDS).map(|_| kit.released(&decision(1), 100)).collect();
    assert!(!kit.shared.released.take(100));
    kit.writer.commit(batch, 101);
    assert!(!kit.shared.released.take(101), "written is not synced");
    kit.tick(101 + SYNC_AFTER_MS);
    assert!(kit.shared.released.take(101 + SYNC_AFTER_MS));
}

#[test]
fn what_came_after_the_last_batch_is_no_older_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kit, _) = failing(dir.path());
    let (first, _second) = (kit.released(&decision(1), 100), kit.released(&decision(2), 104));
    kit.writer.commit(vec![first], 104);
    assert!(!kit.shared.released.take(101 + MAX_RELEASED_MS));
    kit.tick(104 + SYNC_AFTER_MS);
    assert!(!kit.shared.released.take(101 + MAX_RELEASED_MS), "the second may be as old");
    assert!(kit.shared.released.take(100 + MAX_RELEASED_MS));
}

#[test]
fn what_a_failing_file_takes_is_counted_and_said_in_the_next_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut kit, faults) = failing(dir.path());
    let batch = vec![kit.released(&decision(1), 1), kit.released(&decision(2), 1)];
    kit.writer.commit(batch, 1);
    let late: Vec<_> = (3..6).map(|n| kit.released(&decision(n), 2)).collect();
    faults.write.store(true, Ordering::Relaxed);
    kit.writer.commit(late, 3);
    assert_eq!(kit.shared.status().lost, 5, "two are written and not synced, three are neither");
    assert!(!kit.shared.released.take(4), "nobody goes on now");
    faults.write.store(false, Ordering::Relaxed);
    kit.tick(4 + REOPEN_AFTER_MS);
    assert!(kit.shared.released.take(5 + REOPEN_AFTER_MS));
    kit.close(6 + REOPEN_AFTER_MS).unwrap();
    let gaps = records(dir.path(), Kind::Gap);
    assert_eq!(gaps.len(), 1, "once");
    assert_eq!(gaps[0].body["lost_records"], 5);
    assert!(gaps[0].str_at("/cause").unwrap().contains("disk full"), "{:#}", gaps[0].body);
}
