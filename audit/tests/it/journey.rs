//! From an entry to a signed report.

use lictor_audit::proof::verify_proof;
use lictor_audit::query::Logs;
use lictor_audit::report::{sign_report, verify_report};
use lictor_audit::{
    AppendError, AuditLog, Durability, Entry, EntryError, Erasure, Kind, VerifyOptions, verify,
};

use super::{START_MS, entry, key, options};

#[tokio::test]
async fn a_session_is_told_from_both_logs() {
    let dir = tempfile::tempdir().unwrap();
    let pdp = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    let pep = AuditLog::open(options(dir.path(), "pep-mcp")).unwrap();
    let mut decision = entry(Kind::Decision, 1, "c1", Some("s1"));
    decision.sensitive = vec![("/args/amount".into(), "127.50".into())];
    let receipt = pdp.append(decision, Durability::Sync).await.unwrap();
    pep.append(entry(Kind::Enforcement, 2, "c1", None), Durability::Bounded).await.unwrap();
    pdp.append(entry(Kind::Decision, 3, "c2", Some("s2")), Durability::Bounded).await.unwrap();
    pdp.append(entry(Kind::SessionEnd, 4, "c3", Some("s1")), Durability::Sync).await.unwrap();
    let note = pdp.last_checkpoint().unwrap();
    pep.append(Entry::checkpoint_ref(START_MS, &note), Durability::Sync).await.unwrap();
    pdp.close("done").await.unwrap();
    pep.close("done").await.unwrap();
    assert_eq!(pdp.close("again").await, Err(AppendError::Closed));
    assert_eq!(
        pdp.append(entry(Kind::Gap, 5, "c4", None), Durability::Sync).await,
        Err(AppendError::Closed)
    );

    let trusted = [pdp.public_key()];
    let paths = [dir.path().to_owned()];
    let report =
        verify(&paths, &VerifyOptions { trusted: trusted.to_vec(), ..Default::default() }).unwrap();
    assert!(report.ok, "{report:#?}");

    let logs = Logs::open(&paths).unwrap();
    let told = logs.session("s1", true).unwrap();
    let steps: Vec<_> =
        told.iter().map(|record| (record.kind, record.call_id().unwrap())).collect();
    assert_eq!(
        steps,
        [(Kind::Decision, "c1"), (Kind::Enforcement, "c1"), (Kind::SessionEnd, "c3")]
    );
    assert_eq!(told[0].revealed["/args/amount"], "127.50", "as it was written, not as a double");
    assert_eq!(told[0].body["args"]["amount"], 127.5);
    assert_eq!(logs.session("s1", false).unwrap()[0].body.get("args"), None);
    assert_eq!(logs.decision("d-c2", false).unwrap().len(), 1);
    assert_eq!(logs.call("c1", false).unwrap().len(), 2);
    assert_eq!(logs.call("none", false).unwrap().len(), 0);

    let log = format!("pdp-{}", receipt.epoch);
    let proof = logs.prove(&log, receipt.seq).unwrap();
    let record = verify_proof(&proof, &trusted).unwrap();
    assert_eq!((record.log, record.seq, record.kind), (log.clone(), receipt.seq, Kind::Decision));
    let mut wrong = proof.clone();
    wrong.record = wrong.record.replace("c1", "c9");
    assert!(verify_proof(&wrong, &trusted).is_err());
    wrong = proof.clone();
    wrong.index += 1;
    assert!(verify_proof(&wrong, &trusted).is_err());
    assert!(verify_proof(&proof, &[]).is_err());
    assert!(logs.prove(&log, 99).is_err());
    assert!(logs.prove("pdp-nope", 0).is_err());

    let text = serde_json::to_string_pretty(&told).unwrap();
    let signed = sign_report(&text, "acme/prod/audit-report", &key()).unwrap();
    let read = verify_report(&signed, &trusted).unwrap();
    assert_eq!(read.text.trim_end(), text);
}

#[test]
fn many_threads_share_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    let mut seqs: Vec<u64> = std::thread::scope(|scope| {
        let write = |thread: usize| {
            let log = log.clone();
            move || -> Vec<u64> {
                let durability =
                    if thread.is_multiple_of(2) { Durability::Sync } else { Durability::Bounded };
                let one = |n| entry(Kind::Decision, n, &format!("c-{thread}-{n}"), None);
                (0..50).map(|n| log.append_blocking(one(n), durability).unwrap().seq).collect()
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(write(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    assert_eq!(log.status().appended, 200);
    drop(log);
    let report = verify(&[dir.path().to_owned()], &VerifyOptions::default()).unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!((report.logs[0].records, report.logs[0].uncovered), (201, 0));
    assert!(!report.logs[0].closed);
    let next = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    next.close_blocking("over").unwrap();
    let recovery = Logs::open(&[dir.path().to_owned()]).unwrap();
    let recovery = recovery.records(false, |record| record.kind == Kind::Recovery).unwrap();
    assert_eq!(recovery.len(), 1);
    assert_eq!(recovery[0].body["unclean"], true);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_before_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    for (kind, body) in [
        (Kind::Genesis, "{}"),
        (Kind::Close, "{}"),
        (Kind::Decision, "[]"),
        (Kind::Decision, "{\"prev\":\"0\"}"),
    ] {
        let refused = log.append(Entry::new(kind, 1, body), Durability::Sync).await.unwrap_err();
        assert_eq!(refused.reason_id(), "audit_entry", "{kind} {body}");
    }
    let own = log.append(Entry::new(Kind::Heartbeat, 1, "{}"), Durability::Sync).await;
    assert_eq!(own, Err(EntryError::OwnKind(Kind::Heartbeat).into()));
    assert_eq!(log.status().appended, 0);
    assert!(log.status().writable);
}

#[tokio::test]
async fn erasing_is_itself_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(options(dir.path(), "pdp")).unwrap();
    let mut secret = entry(Kind::Decision, 1, "c1", None);
    secret.sensitive = vec![("/a".into(), "\"x\"".into()), ("/b".into(), "\"y\"".into())];
    let receipt = log.append(secret, Durability::Bounded).await.unwrap();
    let erasure = Erasure {
        epoch: receipt.epoch,
        seq: receipt.seq,
        pointers: Vec::new(),
        actor: "dpo@example.com".into(),
        reason: "article 17".into(),
    };
    assert_eq!(log.erase(erasure.clone(), START_MS).await.unwrap(), 2);
    assert_eq!(log.erase(erasure, START_MS).await.unwrap(), 0);
    log.close("over").await.unwrap();
    let logs = Logs::open(&[dir.path().to_owned()]).unwrap();
    let redactions = logs.records(true, |record| record.kind == Kind::Redaction).unwrap();
    assert_eq!(redactions.len(), 2);
    assert_eq!(redactions[0].str_at("/actor"), Some("dpo@example.com"));
    assert_eq!(redactions[0].body["of"]["seq"], 1);
    let side = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    let side = side.into_iter().find(|p| p.extension().is_some_and(|e| e == "side")).unwrap();
    assert_eq!(std::fs::read(side).unwrap(), b"");
    assert!(verify(&[dir.path().to_owned()], &VerifyOptions::default()).unwrap().ok);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state/audit");
    let log = AuditLog::open(options(&dir, "pdp")).unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(log);
}
