use super::*;

fn entries(dir: &Path) -> Vec<String> {
    let (_, recovered) = Journal::open(dir).unwrap();
    recovered.entries.into_iter().map(|entry| String::from_utf8(entry).unwrap()).collect()
}

fn filled(dir: &Path, texts: &[&str]) {
    let (journal, _) = Journal::open(dir).unwrap();
    for text in texts {
        journal.append(text.as_bytes()).unwrap();
    }
}

#[test]
fn what_was_written_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &["a", "", "ccc"]);
    assert_eq!(entries(dir.path()), ["a", "", "ccc"]);
    filled(dir.path(), &["d"]);
    assert_eq!(entries(dir.path()), ["a", "", "ccc", "d"]);
}

#[test]
fn a_torn_end_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &["first", "second"]);
    let path = segment_path(dir.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    let first = HEAD_BYTES + "first".len();
    for length in first..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (journal, recovered) = Journal::open(dir.path()).unwrap();
        assert_eq!(recovered.entries, [b"first"], "{length}");
        assert_eq!(recovered.cut_bytes, (length - first) as u64);
        journal.append(b"third").unwrap();
        drop(journal);
        assert_eq!(entries(dir.path()), ["first", "third"]);
    }
    let mut zeros = whole[..first].to_vec();
    zeros.extend([0; 4096]);
    std::fs::write(&path, &zeros).unwrap();
    assert_eq!(entries(dir.path()), ["first"]);
}

#[test]
fn a_changed_byte_in_the_middle_is_damage_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &["first", "second", "third"]);
    let path = segment_path(dir.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 1, 3, 4, HEAD_BYTES, HEAD_BYTES + 4, HEAD_BYTES + 5 + HEAD_BYTES] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let error = Journal::open(dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{at}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), changed, "it is left as it is");
    }
}

#[test]
fn a_snapshot_replaces_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(b"before").unwrap();
    let segment = journal.rotate().unwrap();
    journal.append(b"after").unwrap();
    journal.keep_snapshot(segment, b"everything before").unwrap();
    journal.append(b"later").unwrap();
    drop(journal);
    let (_, recovered) = Journal::open(dir.path()).unwrap();
    assert_eq!(recovered.snapshot.as_deref(), Some(&b"everything before"[..]));
    assert_eq!(recovered.entries, [b"after".as_slice(), b"later"]);
    assert!(!segment_path(dir.path(), 1).exists());
}

#[test]
fn a_crash_between_rotation_and_snapshot_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    journal.append(b"before").unwrap();
    journal.rotate().unwrap();
    journal.append(b"after").unwrap();
    drop(journal);
    std::fs::write(snapshot_path(dir.path(), 2).with_extension("draft"), b"half").unwrap();
    assert_eq!(entries(dir.path()), ["before", "after"]);
}

#[test]
fn a_damaged_snapshot_is_not_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    let segment = journal.rotate().unwrap();
    journal.keep_snapshot(segment, b"state").unwrap();
    drop(journal);
    let path = snapshot_path(dir.path(), segment);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.pop();
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Damaged { .. })));
}

#[tokio::test]
async fn whoever_waits_for_the_disk_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    let journal = Arc::new(journal);
    let waits = (0..64).map(|n: u64| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let number = journal.append(&n.to_le_bytes()).unwrap();
            journal.synced(number).await
        })
    });
    for wait in waits.collect::<Vec<_>>() {
        wait.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_is_written_is_on_the_disk_soon_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    let mut synced = journal.synced.clone();
    let number = journal.append(b"x").unwrap();
    assert_eq!(*synced.wait_for(|done| *done >= number).await.unwrap(), number);
}

#[test]
fn a_process_that_was_started_meanwhile_does_not_keep_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    let copy = journal.lock.lock().unwrap().as_ref().unwrap().try_clone().unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Locked(_))));
    drop(journal);
    assert!(Journal::open(dir.path()).is_ok());
    drop(copy);
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_and_used_again_when_it_takes_more() {
    let (journal, _) = Journal::open(tempfile::tempdir().unwrap().path()).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    journal.shared.lock().file = Arc::new(full);
    assert!(matches!(journal.append(b"x"), Err(JournalError::File { .. })));
    assert!(matches!(journal.append(b"x"), Err(JournalError::Closed | JournalError::File { .. })));
}

#[test]
fn entries_end_where_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path()).unwrap();
    let error = journal.append(&vec![0; ENTRY_MAX_BYTES + 1]).unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { .. }));
    assert!(journal.append(&vec![0; ENTRY_MAX_BYTES]).is_ok());
}
