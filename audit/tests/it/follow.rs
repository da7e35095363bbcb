//! Following logs that are being written.

use std::path::PathBuf;

use lictor_audit::tail::{DirTail, Tail, TailError};
use lictor_audit::{AuditLog, Durability, Kind};

use super::{entry, key, options};

fn log_file(dir: &std::path::Path) -> PathBuf {
    let mut files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.find(|path| path.extension().is_some_and(|e| e == "jsonl")).unwrap()
}

#[test]
fn new_records_and_new_epochs_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = DirTail::new(dir.path().to_owned(), &[key().verifying_key()]);
    let mut seen = Vec::new();
    tail.poll(&mut seen).unwrap();
    assert_eq!(seen.len(), 0);
    let log = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    for call in ["a", "b"] {
        log.append_blocking(entry(Kind::Decision, 1, call, None), Durability::Bounded).unwrap();
    }
    tail.poll(&mut seen).unwrap();
    let kinds: Vec<_> = seen.drain(..).map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Genesis, Kind::Decision, Kind::Decision]);
    tail.poll(&mut seen).unwrap();
    assert_eq!(seen.len(), 0);
    log.close_blocking("over").unwrap();
    drop(log);
    let log = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    tail.poll(&mut seen).unwrap();
    let kinds: std::collections::BTreeSet<_> = seen.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Genesis, Kind::Close].into());
    drop(log);
}

#[test]
fn a_wrong_line_or_checkpoint_ends_the_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    for call in ["a", "b", "c"] {
        log.append_blocking(entry(Kind::Decision, 1, call, None), Durability::Sync).unwrap();
    }
    log.close_blocking("over").unwrap();
    let path = log_file(dir.path());
    let whole = std::fs::read_to_string(&path).unwrap();
    let poll = |trusted: &[ed25519_dalek::VerifyingKey]| {
        let mut tail = Tail::new(&path, trusted).unwrap();
        let mut seen = Vec::new();
        let end = tail.poll(&mut seen);
        (end, seen.len(), tail.signed())
    };
    let (end, seen, signed) = poll(&[key().verifying_key()]);
    assert!(end.is_ok(), "{end:?}");
    assert_eq!((seen, signed), (5, 5));
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
    assert!(matches!(poll(&[stranger]).0, Err(TailError::UntrustedKey { .. })));

    std::fs::write(&path, whole.replace("d-b", "d-x")).unwrap();
    let (end, seen, _) = poll(&[]);
    assert!(matches!(end, Err(TailError::Broken { line: 4, .. })), "{end:?}");
    assert_eq!(seen, 3);

    // A changed last line is caught by the checkpoint, and stays caught.
    std::fs::write(&path, whole.replace("\"reason\":\"over\"", "\"reason\":\"0ver\"")).unwrap();
    let mut tail = Tail::new(&path, &[]).unwrap();
    let mut seen = Vec::new();
    assert!(matches!(tail.poll(&mut seen), Err(TailError::RootMismatch { size: 5, .. })));
    assert!(tail.poll(&mut seen).is_err());
    std::fs::write(&path, &whole).unwrap();
    let notes = path.with_extension("checkpoints");
    let text = std::fs::read_to_string(&notes).unwrap();
    std::fs::write(&notes, text.replace("\n5\n", "\n4\n")).unwrap();
    assert!(matches!(poll(&[]).0, Err(TailError::Checkpoint { .. })));
}
