//! Processes that are killed while they write, and what is there again.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use lictor_policy_lib::limits::{LimitRequest, Window};
use lictor_proto::decide::Outcome;

use super::super::tests::{commit, held, limit, settle};
use super::*;

/// Tells this test, run again in a process of its own, where its journal is and which round it is.
const CHILD: &str = "LICTOR_TEST_JOURNAL";
const ROUNDS: i64 = 200;
/// A process says fewer lines than this before its end comes, however slow the machine is.
const LINES_MAX: u64 = 160;
/// Longest time from then to its end, microseconds.
const REST_MAX_US: u64 = 5_000;
const BUDGET: u64 = 1_000_000_000;
/// Calls under way at the same time.
const WRITERS: usize = 4;
/// Between rounds what is stored of calls ends, so that the journal stays small.
const ROUND_MS: i64 = STORED_CALL_MS + 1;

fn budget() -> LimitRequest {
    let window = Window::Sliding { ms: 365 * 24 * 3_600_000 };
    LimitRequest { id: "budget".into(), window, ..limit(LimitKind::Budget, BUDGET) }
}

fn once(key: usize) -> LimitRequest {
    LimitRequest {
        id: "once".into(),
        key: key.to_string(),
        window: Window::Sliding { ms: 365 * 24 * 3_600_000 },
        ..limit(LimitKind::Once, 1)
    }
}

fn spent(state: &Memory, now_ms: i64) -> u64 {
    let wanted = Wanted { id: Some("budget".into()), ..Wanted::default() };
    let tenant = state.tenant("default");
    let page = lock(&tenant).counters(&wanted, now_ms);
    page.counters.first().map_or(0, |counter| BUDGET - counter.remaining)
}

// === the process that is killed ===

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// Spends and gives back until it is killed; says each thing before it does it and after.
fn live(told: &str) {
    let (round, dir) = told.split_once(' ').unwrap();
    let now_ms = round.parse::<i64>().unwrap() * ROUND_MS;
    let (state, _) = Memory::open(dir.as_ref()).unwrap();
    let state = Arc::new(state);
    // Ends the line that the test runner began.
    say("");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let (state, round) = (Arc::clone(&state), round.to_owned());
        runtime.spawn(async move { write(&state, &round, writer, now_ms).await })
    });
    let writers: Vec<_> = writers.collect();
    runtime.block_on(futures::future::join_all(writers));
}

async fn write(state: &Memory, round: &str, writer: usize, now_ms: i64) {
    for n in 0.. {
        let call = format!("{round}-{writer}-{n}");
        say(&format!("?take {call}"));
        assert!(held(state.commit(commit(&call, vec![budget()]), now_ms).await.unwrap()));
        say(&format!("+take {call}"));
        if n % 3 == 0 {
            say(&format!("?back {call}"));
            let back = settle(&call, Outcome::NotSent);
            state.settle("default", "pep-mcp", &back, now_ms).await.unwrap();
            say(&format!("+back {call}"));
        }
        if writer == 0 && n % 7 == 0 {
            let one = commit(&format!("{call}-once"), vec![once(n)]);
            if held(state.commit(one, now_ms).await.unwrap()) {
                say(&format!("+once {n}"));
            }
        }
        if writer == 1 && n % 5 == 4 {
            state.snapshot(state.journal.as_ref().unwrap()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

// === who kills it ===

struct Killed {
    child: Child,
    lines: Receiver<String>,
}

impl Killed {
    fn begin(round: i64, dir: &Path) -> Self {
        // This very program, whatever stands in its place by now.
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "--nocapture", "--test-threads=1"]);
        command.arg("state::memory::crash_tests::no_budget_grows_however_often_it_is_killed");
        command.env(CHILD, format!("{round} {}", dir.display()));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // The last line may be cut off: it ends without a newline and is not whole.
            for line in out.split(b'\n').map_while(Result::ok) {
                let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { child, lines }
    }

    /// Everything that it said in its life: `lines` at least, and then for `rest` more.
    fn end(mut self, lines: usize, rest: Duration) -> Vec<String> {
        let mut said: Vec<String> = self.lines.iter().take(lines).collect();
        assert_eq!(said.len(), lines, "it ended by itself: {said:?}");
        let until = Instant::now() + rest;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("it ended by itself: {said:?}"),
            }
        }
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "it was killed, or the test proves nothing");
        said.extend(self.lines.iter());
        said
    }
}

/// What was said in all rounds.
#[derive(Default)]
struct Ledger {
    tried: u64,
    taken: u64,
    tried_back: u64,
    back: u64,
    once: HashSet<String>,
    taken_now: Vec<String>,
}

impl Ledger {
    fn hear(&mut self, said: Vec<String>) {
        self.taken_now.clear();
        for line in said {
            match line.split_once(' ') {
                Some(("?take", _)) => self.tried += 1,
                Some(("+take", call)) => {
                    self.taken += 1;
                    self.taken_now.push(call.to_owned());
                }
                Some(("?back", call)) => {
                    self.tried_back += 1;
                    // Once given back it is not answered with again.
                    self.taken_now.retain(|taken| taken != call);
                }
                Some(("+back", _)) => self.back += 1,
                Some(("+once", key)) => {
                    assert!(self.once.insert(key.to_owned()), "`{key}` passed twice");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn no_budget_grows_however_often_it_is_killed() {
    if let Ok(told) = std::env::var(CHILD) {
        return live(&told);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for round in 1..=ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lines = usize::try_from(random % LINES_MAX).unwrap();
        let rest = Duration::from_micros((random >> 32) % REST_MAX_US);
        ledger.hear(Killed::begin(round, dir.path()).end(lines, rest));
        let now_ms = round * ROUND_MS;
        let (state, _) = Memory::open(dir.path()).unwrap();
        let spent = spent(&state, now_ms);
        // Nothing that was answered for is lost, and nothing is spent that nobody asked for.
        let least = ledger.taken - ledger.tried_back;
        let most = ledger.tried - ledger.back;
        assert!((least..=most).contains(&spent), "round {round}: {spent} of {least}..={most}");
        let tenant = state.tenant("default");
        for call in &ledger.taken_now {
            assert!(lock(&tenant).stored("pep-mcp", call).is_some(), "round {round}: {call}");
        }
    }
    println!(
        "{} calls of {} were answered, {} given back",
        ledger.taken, ledger.tried, ledger.back
    );
    assert!(ledger.taken > ROUNDS as u64, "the processes hardly lived: {}", ledger.taken);
    assert!(ledger.once.len() > 1);
}

/// A power cut leaves any beginning of what was written since the disk was last told to keep it.
#[tokio::test]
async fn whatever_is_left_of_the_last_segment_is_a_state_that_was() {
    let dir = tempfile::tempdir().unwrap();
    let (state, _) = Memory::open(dir.path()).unwrap();
    let log = |number: u32| -> PathBuf { dir.path().join(format!("{number:08}.log")) };
    assert!(held(state.commit(commit("before", vec![budget()]), 0).await.unwrap()));
    state.snapshot(state.journal.as_ref().unwrap()).unwrap();
    let mut ends = vec![0];
    for call in ["c1", "c2", "c3"] {
        assert!(held(state.commit(commit(call, vec![budget()]), 1).await.unwrap()));
        ends.push(std::fs::metadata(log(2)).unwrap().len());
    }
    state.settle("default", "pep-mcp", &settle("c2", Outcome::NotSent), 2).await.unwrap();
    drop(state);
    let whole = std::fs::read(log(2)).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(log(2), &whole[..length]).unwrap();
        let (state, recovery) = Memory::open(dir.path()).unwrap();
        let there = ends.iter().filter(|end| **end <= length as u64).count() as u64;
        let given_back = u64::from(length == whole.len());
        assert_eq!(spent(&state, 2), there - given_back, "{length} bytes");
        assert_eq!(recovery.entries as u64, there - 1 + given_back, "{length} bytes");
        let whole_entries = ends.contains(&(length as u64)) || length == whole.len();
        assert_eq!(recovery.cut_bytes == 0, whole_entries, "{length} bytes");
    }
}
