use std::path::Path;

use super::*;
use crate::checkpoint::split_file;
use crate::lines::Lines;
use crate::record::{Entry, Kind};
use crate::writer::Durability;
use crate::writer::testkit::{Kit, decision, key, options, write_log};

struct Sample {
    log: Vec<u8>,
    checkpoints: Vec<u8>,
}

fn trusting() -> VerifyOptions {
    VerifyOptions { trusted: vec![key().verifying_key()], ..VerifyOptions::default() }
}

fn one(dir: &Path, suffix: &str) -> std::path::PathBuf {
    let path = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path();
    let mut found = std::fs::read_dir(dir).unwrap().map(path);
    found.find(|p| p.extension().is_some_and(|e| e == suffix)).unwrap()
}

/// Fifty records, closed, with a checkpoint in the middle and one at each end.
fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), "pdp", 1, 48, 40).close(1930).unwrap();
    let read = |suffix| std::fs::read(one(dir.path(), suffix)).unwrap();
    Sample { log: read("jsonl"), checkpoints: read("checkpoints") }
}

impl Sample {
    fn check(&self, log: &[u8]) -> LogReport {
        verify_bytes(log, &self.checkpoints, &trusting())
    }

    fn lines(&self) -> Vec<&[u8]> {
        self.log.split_inclusive(|b| *b == b'\n').collect()
    }

    fn fault(&self, lines: &[&[u8]]) -> (FaultKind, u64) {
        let fault = self.check(&lines.concat()).fault.unwrap();
        (fault.what, fault.line)
    }
}

#[test]
fn a_whole_log_is_whole() {
    let sample = sample();
    let report = sample.check(&sample.log);
    assert_eq!(report.fault, None);
    assert_eq!((report.records, report.checkpoints, report.uncovered), (50, 3, 0));
    assert!(report.closed);
    assert_eq!(report.good_bytes as usize, sample.log.len());
    assert_eq!(report.key, KeyTrust::Pinned);
    let unpinned = verify_bytes(&sample.log, &sample.checkpoints, &VerifyOptions::default());
    assert_eq!((unpinned.key, unpinned.fault), (KeyTrust::Genesis, None));
}

#[test]
fn another_key_is_not_trusted() {
    let sample = sample();
    let other = ed25519_dalek::SigningKey::from_bytes(&[8; 32]).verifying_key();
    let options = VerifyOptions { trusted: vec![other], ..VerifyOptions::default() };
    let report = verify_bytes(&sample.log, &sample.checkpoints, &options);
    assert_eq!(report.fault.unwrap().what, FaultKind::UntrustedKey);
}

#[test]
fn every_changed_byte_of_the_log_is_found_in_its_line() {
    let sample = sample();
    let mut changed = sample.log.clone();
    for line in Lines::new(&sample.log) {
        let number = 1 + sample.log[..line.offset].iter().filter(|b| **b == b'\n').count() as u64;
        for at in line.offset..line.end() {
            let bit = 1 << (at % 8);
            changed[at] ^= bit;
            let fault = sample.check(&changed).fault;
            changed[at] ^= bit;
            let fault = fault.unwrap_or_else(|| panic!("byte {at} bit {bit}"));
            assert_ne!(fault.what, FaultKind::TornTail, "byte {at} bit {bit}");
            assert!(
                fault.line.abs_diff(number) <= 1,
                "byte {at} bit {bit}: {fault:?}, line {number}"
            );
            if at < line.offset + line.bytes.len() && number > 1 && number < 49 {
                assert_eq!(
                    (fault.what, fault.line, fault.offset),
                    (FaultKind::Edited, number, line.offset as u64),
                    "byte {at} bit {bit}: {fault:?}"
                );
            }
        }
    }
}

#[test]
fn every_changed_byte_of_the_checkpoints_is_found() {
    let sample = sample();
    let mut changed = sample.checkpoints.clone();
    for at in 0..changed.len() {
        let bit = 1 << (at % 8);
        changed[at] ^= bit;
        let report = verify_bytes(&sample.log, &changed, &trusting());
        assert!(report.fault.is_some(), "byte {at} bit {bit}");
        changed[at] ^= bit;
    }
}

#[test]
fn deleted_duplicated_and_swapped_lines_are_named() {
    let sample = sample();
    let lines = sample.lines();
    let last = lines.len() - 1;
    for at in 0..lines.len() {
        let number = at as u64 + 1;
        let mut deleted = lines.clone();
        deleted.remove(at);
        let what = if at == last { FaultKind::Truncated } else { FaultKind::Deleted };
        assert_eq!(sample.fault(&deleted), (what, number), "deleted {at}");
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        assert_eq!(sample.fault(&doubled), (FaultKind::Duplicated, number + 1), "doubled {at}");
        if at < last {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            // Without a genesis record in front nothing else of the log can be told.
            let what = if at == 0 { FaultKind::Deleted } else { FaultKind::Reordered };
            assert_eq!(sample.fault(&swapped), (what, number), "swapped {at}");
        }
    }
}

#[test]
fn every_truncation_of_a_signed_log_is_named() {
    let sample = sample();
    for line in Lines::new(&sample.log) {
        for cut in
            [line.offset, line.offset + 1, line.offset + line.bytes.len() / 2, line.end() - 1]
        {
            let report = sample.check(&sample.log[..cut]);
            let fault = report.fault.unwrap();
            let named = matches!(fault.what, FaultKind::Truncated)
                || (line.offset == 0 && fault.what == FaultKind::Edited);
            assert!(named, "cut at {cut}: {fault:?}");
        }
    }
}

#[test]
fn a_lost_tail_that_nobody_signed_for_is_just_shorter() {
    let mut sample = sample();
    let stored = split_file(&sample.checkpoints);
    let cut = stored.notes[2].offset;
    let covered = stored.notes[1].note.lines().nth(1).unwrap().parse::<usize>().unwrap();
    sample.checkpoints.truncate(cut);
    let lines = sample.lines();
    for keep in covered..lines.len() {
        let report = sample.check(&lines[..keep].concat());
        assert_eq!(report.fault, None, "{keep}");
        assert_eq!((report.records, report.uncovered), (keep as u64, (keep - covered) as u64));
        let mut torn = lines[..=keep].concat();
        torn.truncate(torn.len() - 2);
        let report = sample.check(&torn);
        assert_eq!(report.fault.unwrap().what, FaultKind::TornTail, "{keep}");
        assert_eq!(report.records, keep as u64);
    }
    assert_eq!(sample.fault(&lines[..covered - 1]).0, FaultKind::Truncated);
}

/// Chains lines anew from `at` on, as somebody who can write the file but has no key would.
fn rechain(lines: &[Vec<u8>], at: usize, number: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut prev = String::new();
    for (index, line) in lines.iter().enumerate() {
        let mut text = String::from_utf8(line.clone()).unwrap();
        if index >= at && index > 0 {
            let (_, tail) = text.split_once("\",\"writer\"").unwrap();
            text = format!("{{\"seq\":{},\"prev\":\"{prev}\",\"writer\"{tail}", number(index));
        }
        prev = hex::encode(crate::chain::leaf_hash(text.as_bytes()));
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
    out
}

#[test]
fn a_rewritten_history_does_not_fit_what_was_signed() {
    let sample = sample();
    let mut lines: Vec<Vec<u8>> = Lines::new(&sample.log).map(|l| l.bytes.to_vec()).collect();
    assert_eq!(rechain(&lines, 0, |n| n), sample.log);
    let edited = String::from_utf8(lines[10].clone()).unwrap().replace("allow", "ask__");
    lines[10] = edited.into_bytes();
    let fault = sample.check(&rechain(&lines, 11, |n| n)).fault.unwrap();
    assert_eq!(fault.what, FaultKind::RootMismatch);
    lines.remove(10);
    let fault = sample.check(&rechain(&lines, 10, |n| n)).fault.unwrap();
    assert_eq!(fault.what, FaultKind::RootMismatch);
}

#[test]
fn a_skipped_number_is_a_gap() {
    let mut sample = sample();
    let first = split_file(&sample.checkpoints).notes[1].offset;
    sample.checkpoints.truncate(first);
    let lines: Vec<Vec<u8>> = Lines::new(&sample.log).map(|l| l.bytes.to_vec()).collect();
    let log = rechain(&lines, 5, |n| n + usize::from(n >= 5));
    let fault = sample.check(&log).fault.unwrap();
    assert_eq!((fault.what, fault.line), (FaultKind::SeqGap, 6));
}

#[test]
fn epochs_must_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for seed in 1..=3 {
        let mut kit = write_log(dir.path(), "pdp", seed, 3, 1);
        names.push(kit.append(&decision(9), Durability::Sync, 9).unwrap().epoch);
        kit.close(10).unwrap();
    }
    let paths = [dir.path().to_owned()];
    let check = |options: &VerifyOptions| verify(&paths, options).unwrap();
    assert!(check(&trusting()).ok);
    let of = |epoch: &str, suffix: &str| dir.path().join(format!("pdp-{epoch}.{suffix}"));
    let faults = |report: &Report| -> Vec<FaultKind> {
        report.logs.iter().filter_map(|log| log.fault.as_ref()).map(|f| f.what).collect()
    };

    let first = std::fs::read(of(&names[0], "jsonl")).unwrap();
    std::fs::remove_file(of(&names[0], "jsonl")).unwrap();
    let mut found = faults(&check(&trusting()));
    found.sort_by_key(|what| *what as u8);
    assert_eq!(found, [FaultKind::Deleted, FaultKind::EpochLink]);
    std::fs::remove_file(of(&names[0], "checkpoints")).unwrap();
    assert_eq!(faults(&check(&trusting())), [FaultKind::EpochLink]);
    let pruned = VerifyOptions { allow_pruned: true, ..trusting() };
    assert!(check(&pruned).ok);

    // The middle one, cut to before its `close` along with its checkpoints: the next one knows.
    let path = of(&names[1], "jsonl");
    let middle = std::fs::read(&path).unwrap();
    let notes = std::fs::read(of(&names[1], "checkpoints")).unwrap();
    let opened = split_file(&notes).notes[1].offset;
    std::fs::write(of(&names[1], "checkpoints"), &notes[..opened]).unwrap();
    let end = middle[..middle.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    std::fs::write(&path, &middle[..end]).unwrap();
    assert_eq!(faults(&check(&pruned)), [FaultKind::Truncated]);
    std::fs::write(&path, &middle).unwrap();
    assert!(check(&pruned).ok);
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(of(&names[1], "checkpoints")).unwrap();
    std::fs::write(of(&names[0], "jsonl"), first).unwrap();
    assert!(faults(&check(&pruned)).contains(&FaultKind::EpochLink));
}

#[test]
fn records_added_behind_a_closed_epoch_are_found() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), "pdp", 1, 3, 1).close(10).unwrap();
    let path = one(dir.path(), "jsonl");
    let mut lines: Vec<Vec<u8>> =
        std::fs::read(&path).unwrap().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    lines.pop();
    write_log(dir.path(), "pdp", 2, 3, 1).close(10).unwrap();
    assert!(verify(&[dir.path().to_owned()], &trusting()).unwrap().ok);
    lines.push(lines[2].clone());
    let at = lines.len() - 1;
    std::fs::write(&path, rechain(&lines, at, |n| n)).unwrap();
    let report = verify(&[dir.path().to_owned()], &trusting()).unwrap();
    let fault = report.logs.iter().find_map(|log| log.fault.as_ref()).unwrap();
    assert_eq!(fault.what, FaultKind::EpochLink);
    // Alone, the file is consistent: the addition is only not signed for.
    let alone = verify(&[path], &trusting()).unwrap();
    assert_eq!((alone.ok, alone.logs[0].uncovered), (true, 1));
}

#[test]
fn a_log_is_held_against_checkpoints_that_others_kept() {
    let pdp = tempfile::tempdir().unwrap();
    let pep = tempfile::tempdir().unwrap();
    let mut kit = write_log(pdp.path(), "pdp", 1, 20, 100);
    kit.tick(3000);
    let stored = std::fs::read(one(pdp.path(), "checkpoints")).unwrap();
    let note = split_file(&stored).notes.last().unwrap().note.to_owned();
    let mut witness = Kit::open(options(pep.path(), "pep-http", 2)).unwrap();
    witness.append(&Entry::checkpoint_ref(1, &note), Durability::Sync, 1).unwrap();
    witness
        .append(&Entry::new(Kind::CheckpointRef, 1, "{\"checkpoint\":\"?\"}"), Durability::Sync, 1)
        .unwrap();
    witness.close(2).unwrap();
    drop(kit);
    let both = [pdp.path().to_owned(), pep.path().to_owned()];
    let report = verify(&both, &trusting()).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.logs.iter().map(|log| log.witnessed).sum::<u64>(), 1);
    let apart = verify(&both[1..], &trusting()).unwrap();
    assert_eq!((apart.ok, apart.unresolved_refs), (true, 1));

    // Somebody with the disk, but not the other disk, rolls the log back to its start.
    let log = one(pdp.path(), "jsonl");
    let bytes = std::fs::read(&log).unwrap();
    let end = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    std::fs::write(&log, &bytes[..end]).unwrap();
    let first = split_file(&stored).notes[1].offset;
    std::fs::write(one(pdp.path(), "checkpoints"), &stored[..first]).unwrap();
    assert!(verify(&both[..1], &trusting()).unwrap().ok, "unseen without a witness");
    let report = verify(&both, &trusting()).unwrap();
    assert_eq!(
        report.logs.iter().find_map(|log| log.fault.as_ref()).unwrap().what,
        FaultKind::Truncated
    );
    let known = VerifyOptions { known_checkpoints: vec![note], ..trusting() };
    assert!(!verify(&both[..1], &known).unwrap().ok);
    let missing = verify(&both[1..], &known).unwrap();
    assert_eq!((missing.ok, missing.missing.len()), (false, 1));
}

#[test]
fn a_log_signed_anew_with_another_key_is_found_by_its_witness() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), "pdp", 1, 3, 1).close(10).unwrap();
    let stored = std::fs::read(one(dir.path(), "checkpoints")).unwrap();
    let note = split_file(&stored).notes.last().unwrap().note.to_owned();
    let forged = tempfile::tempdir().unwrap();
    let mut opts = options(forged.path(), "pdp", 1);
    opts.key = ed25519_dalek::SigningKey::from_bytes(&[8; 32]);
    let mut kit = Kit::open(opts).unwrap();
    kit.close(10).unwrap();
    let paths = [forged.path().to_owned()];
    assert!(verify(&paths, &VerifyOptions::default()).unwrap().ok);
    let known = VerifyOptions { known_checkpoints: vec![note], ..VerifyOptions::default() };
    let report = verify(&paths, &known).unwrap();
    assert_eq!(report.logs[0].fault.as_ref().unwrap().what, FaultKind::Signature);
}

#[test]
fn exchanged_side_values_do_not_fit_their_commitments() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), "pdp", 1, 12, 1).close(20).unwrap();
    let paths = [dir.path().to_owned()];
    let side = one(dir.path(), "side");
    let text = std::fs::read_to_string(&side).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let fields = |line: &str| {
        line.split_once("\"fields\"").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap()
    };
    let (first, second) = (fields(lines[0]), fields(lines[1]));
    let check = |text: String| {
        std::fs::write(&side, text).unwrap();
        verify(&paths, &trusting()).unwrap().logs.remove(0)
    };
    let swapped =
        check(format!("{}\"fields\"{}\n{}\"fields\"{}\n", first.0, second.1, second.0, first.1));
    assert_eq!(swapped.fault.as_ref().unwrap().what, FaultKind::Commitment);
    assert_eq!(swapped.fault.unwrap().file, FaultFile::Side);
    let disorder = check(format!("{}\n{}\n", lines[1], lines[0]));
    assert_eq!(disorder.fault.unwrap().what, FaultKind::Commitment);
    let junk = check(format!("junk\n{text}"));
    assert_eq!(junk.fault.unwrap().what, FaultKind::Commitment);
    let cut = check(text.trim_end().to_owned());
    assert_eq!(cut.fault, None, "a side line that a crash cut is only lost");
    assert_eq!(cut.side.unwrap().erased, 2);
    let whole = check(text.clone());
    assert_eq!((whole.fault, whole.side.unwrap().values), (None, 6));
}

#[test]
fn paths_that_hold_no_logs_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let none = verify(&[dir.path().to_owned()], &trusting());
    assert!(matches!(none, Err(ReadError::NoLogs { .. })));
    let file = dir.path().join("x.jsonl");
    assert!(matches!(verify(std::slice::from_ref(&file), &trusting()), Err(ReadError::Io { .. })));
    std::fs::write(&file, "").unwrap();
    assert!(matches!(verify(&[file], &trusting()), Err(ReadError::NotALog { .. })));
}
