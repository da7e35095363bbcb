//! Very many sessions at the same time, in a process of their own that looks at its memory.

use std::process::Command;

use lictor_policy_lib::limits::LimitKind;

use super::memory::{IMPLICIT_IDLE_MS, Memory, STORED_CALL_MS};
use super::tests::{commit, held, limit};
use super::{Commit, SessionKey, State};

/// Tells this test, run again, to be the process that is measured.
const MEASURED: &str = "LICTOR_TEST_SESSIONS";
const SESSIONS: usize = 100_000;
/// Most memory that one session may take, bytes: with its calls, its tail and a budget of its own.
const SESSION_BYTES_MAX: usize = 4_096;
/// So many sessions begin while what is stored of one call is kept.
const BEGIN_TOGETHER: i64 = 10_000;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1_024
}

/// One call in each of so many sessions; the time when the last began.
async fn begin(state: &Memory, generation: &str, mut now_ms: i64) -> i64 {
    for n in 0..SESSIONS {
        let id = format!("{generation}-{n}");
        let session = SessionKey { tenant: "default".into(), id: id.clone(), implicit: true };
        let call = Commit { session, ..commit(&id, vec![limit(LimitKind::Budget, 1)]) };
        assert!(held(state.commit(call, now_ms).await.unwrap()), "{id}");
        now_ms += STORED_CALL_MS / BEGIN_TOGETHER;
    }
    now_ms
}

async fn spent(state: &Memory, id: String, now_ms: i64) -> bool {
    let session = SessionKey { tenant: "default".into(), id: id.clone(), implicit: true };
    let call = format!("{id}-again");
    let call = Commit { session, ..commit(&call, vec![limit(LimitKind::Budget, 1)]) };
    !held(state.commit(call, now_ms).await.unwrap())
}

async fn measured() {
    let state = Memory::new();
    let before = resident_bytes();
    let now_ms = begin(&state, "a", 0).await;
    let first = resident_bytes() - before;
    for n in [0, SESSIONS / 2, SESSIONS - 1] {
        assert!(spent(&state, format!("a-{n}"), now_ms).await, "session {n} is live");
    }
    // A day later others are there in their place.
    begin(&state, "b", now_ms + IMPLICIT_IDLE_MS).await;
    let second = resident_bytes() - before;
    println!("\n{} bytes a session, {} after as many more", first / SESSIONS, second / SESSIONS);
    assert!(first / SESSIONS <= SESSION_BYTES_MAX, "{first}");
    assert!(second <= first + first / 2, "{first} bytes, then {second}: what is over stays");
}

#[tokio::test]
async fn a_hundred_thousand_live_sessions_take_little_memory_and_give_it_back() {
    if std::env::var(MEASURED).is_ok() {
        return measured().await;
    }
    let output = Command::new("/proc/self/exe")
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg("state::many_tests::a_hundred_thousand_live_sessions_take_little_memory_and_give_it_back")
        .env(MEASURED, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("bytes a session"), "it was not measured: {told}");
}
