//! Redis for tests: servers of our own, started once for a test process and gone with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use lictor_policy_lib::limits::Window;
use lictor_proto::decide::Settle;
use lictor_proto::revocation::Kind;
use rustix::process::{Pid, Signal, kill_process};

use super::approval::{Answer, ApprovalRecord, Binding};
use super::counters::{Page, Wanted};
use super::owner::{Owner, Voided};
use super::redis::connection::{Connection, Patience};
use super::redis::{Clock, Redis};
use super::{Commit, Committed, SessionKey, Shared, Snapshot, State, StateError, Stored};

/// A thousand calls at once on a busy machine take their time.
const PATIENCE: Patience =
    Patience { answer: Duration::from_secs(20), connect: Duration::from_secs(20) };
/// Nodes of the cluster, each a master.
const NODES: usize = 3;
/// How often a server is asked whether it is ready, 20 ms apart.
const READY_TRIES: usize = 500;
/// The server's settings, in its folder.
const SETTINGS: &str = "redis.conf";
/// Where it writes its process id, in its folder.
const PID: &str = "redis.pid";

static SERVER: OnceLock<Server> = OnceLock::new();
static PREFIXES: AtomicU64 = AtomicU64::new(0);

/// A state of its own in the one server.
pub(crate) async fn single() -> Arc<dyn State> {
    let server = SERVER.get_or_init(Server::alone);
    state(Connection::single(&server.url, None, PATIENCE).unwrap()).await
}

/// A state of its own in the cluster.
pub(crate) async fn cluster() -> Arc<dyn State> {
    state(Connection::cluster(&cluster_urls(), None, PATIENCE).unwrap()).await
}

/// Where the nodes of the cluster are.
pub(crate) fn cluster_urls() -> Vec<String> {
    static SERVERS: OnceLock<Vec<Server>> = OnceLock::new();
    let servers = SERVERS.get_or_init(Server::cluster);
    servers.iter().map(|server| server.url.clone()).collect()
}

/// A state in the one server whose times are the caller's own.
pub(crate) async fn plain() -> Redis {
    let server = SERVER.get_or_init(Server::alone);
    redis(Connection::single(&server.url, None, PATIENCE).unwrap()).await
}

/// A state in the one server for which that clock counts.
pub(crate) async fn with_clock(clock: Clock) -> Redis {
    let server = SERVER.get_or_init(Server::alone);
    let connection = Connection::single(&server.url, None, PATIENCE).unwrap();
    Redis::new(connection, &prefix(), clock)
}

fn prefix() -> String {
    format!("test{}:", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

/// States of several decision points in the one server, sharing everything, whose times are the
/// caller's own.
pub(crate) async fn several(count: usize) -> Vec<Redis> {
    let server = SERVER.get_or_init(Server::alone);
    let prefix = format!("test{}:", PREFIXES.fetch_add(1, Ordering::Relaxed));
    (0..count).map(|_| at(server, &prefix, PATIENCE)).collect()
}

/// A state in `server` whose times are the caller's own.
pub(crate) fn at(server: &Server, prefix: &str, patience: Patience) -> Redis {
    let connection = Connection::single(&server.url, None, patience).unwrap();
    Redis::new(connection, prefix, Clock::Caller)
}

/// How many commands a server of its own for this test has run.
pub(crate) fn commands(server: &Server) -> u64 {
    let [flag, place] = &server.at;
    let output = Command::new("redis-cli").args([flag, place, "info", "stats"]).output().unwrap();
    let info = String::from_utf8(output.stdout).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

async fn redis(connection: Connection) -> Redis {
    let redis = Redis::new(connection, &prefix(), Clock::Caller);
    redis.know_tenant("default").await.unwrap();
    redis
}

async fn state(connection: Connection) -> Arc<dyn State> {
    Arc::new(Shifted { redis: redis(connection).await, start_ms: now_ms() })
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Ports that nobody had a moment ago.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// A server that ends when this process does, however it does.
pub(crate) struct Server {
    pub(crate) url: String,
    guard: Child,
    dir: tempfile::TempDir,
    /// How `redis-cli` reaches it.
    at: [String; 2],
}

impl Server {
    /// One server on a Unix socket.
    pub(crate) fn alone() -> Self {
        Self::with(&[])
    }

    /// One server on a Unix socket, with more settings.
    pub(crate) fn with(more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("redis.sock").display().to_string();
        let home = dir.path().display().to_string();
        let mut settings = vec![("port", "0"), ("unixsocket", &socket), ("dir", &home)];
        settings.extend(more);
        let guard = started(&settings);
        let url = format!("unix:{socket}");
        let server = Self { url, guard, dir, at: ["-s".to_owned(), socket] };
        server.wait();
        server
    }

    fn wait(&self) {
        let [flag, place] = &self.at;
        // One with a password answers that it wants it.
        let ready = |wanted| answers(&[flag, place, "ping"], wanted);
        wait_for(|| ready("PONG") || ready("NOAUTH"), "redis-server");
    }

    /// It answers nobody, and its connections stay.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It answers again, what came meanwhile as well.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// It ends at once, as if its machine were gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        drop(self.guard.stdin.take());
        self.guard.wait().unwrap();
    }

    /// Begins again after [`Server::kill`] at the same place, with nothing of what it held.
    pub(crate) fn restart(&mut self) {
        self.guard = run(&self.dir.path().join(SETTINGS));
        self.wait();
    }

    fn signal(&self, signal: Signal) {
        let file = self.dir.path().join(PID);
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Three masters.
    pub(crate) fn cluster() -> Vec<Self> {
        let ports = free_ports(NODES * 2);
        let nodes: Vec<Self> = ports.chunks(2).map(|pair| Self::node(pair[0], pair[1])).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| node.url.trim_start_matches("redis://")));
        create.arg("--cluster-yes").stdout(Stdio::null());
        assert!(create.status().unwrap().success(), "the cluster could not be made");
        for port in ports.chunks(2).map(|pair| pair[0].to_string()) {
            wait_for(
                || answers(&["-p", &port, "cluster", "info"], "cluster_state:ok"),
                "a cluster",
            );
        }
        nodes
    }

    fn node(port: u16, bus: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (text, bus) = (port.to_string(), bus.to_string());
        let guard = started(&[
            ("port", &text),
            ("bind", "127.0.0.1"),
            ("cluster-enabled", "yes"),
            ("cluster-port", &bus),
            ("dir", &dir.path().display().to_string()),
        ]);
        let url = format!("redis://127.0.0.1:{port}");
        let node = Self { url, guard, dir, at: ["-p".to_owned(), text] };
        node.wait();
        node
    }
}

impl Drop for Server {
    /// One that is paused would not hear that it is to end.
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.dir.path().join(PID)).ok();
        let pid = pid.and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        if let Some(pid) = pid.filter(|_| self.guard.stdin.is_some()) {
            let _ = kill_process(pid, Signal::CONT);
        }
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn started(settings: &[(&str, &str)]) -> Child {
    let mut text: String = "save \"\"\nappendonly no\n".into();
    for (name, value) in settings {
        text.push_str(&format!("{name} {value}\n"));
    }
    let dir = settings.iter().find(|(name, _)| *name == "dir").map(|(_, dir)| PathBuf::from(dir));
    let dir = dir.unwrap();
    text.push_str(&format!("pidfile {}\n", dir.join(PID).display()));
    let file = dir.join(SETTINGS);
    std::fs::write(&file, text).unwrap();
    run(&file)
}

/// A shell holds the server and waits for its own input to end, which it does with this process.
fn run(settings: &Path) -> Child {
    let script =
        "redis-server - < \"$0\" >/dev/null & server=$!; read -r _; kill $server 2>/dev/null";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, &settings.display().to_string()]).stdin(Stdio::piped());
    shell.spawn().unwrap()
}

fn answers(arguments: &[&str], wanted: &str) -> bool {
    let output = Command::new("redis-cli").args(arguments).output();
    let output = output.expect("redis-cli must be installed (Debian: redis-server)");
    String::from_utf8_lossy(&output.stdout).contains(wanted)
}

#[expect(clippy::disallowed_methods, reason = "a process that starts cannot be awaited")]
fn wait_for(ready: impl Fn() -> bool, what: &str) {
    for _ in 0..READY_TRIES {
        if ready() {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("{what} did not start");
}

/// Cases of the suite begin at zero; the store forgets keys by its own clock, which does not.
struct Shifted {
    redis: Redis,
    start_ms: i64,
}

#[async_trait]
impl State for Shifted {
    async fn read(
        &self,
        session: &SessionKey,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError> {
        self.redis.read(session, binding, self.start_ms + now_ms).await
    }

    async fn commit(&self, mut commit: Commit, now_ms: i64) -> Result<Committed, StateError> {
        if let Some(opens) = &mut commit.opens {
            opens.expires_ms += self.start_ms;
        }
        for limit in &mut Arc::make_mut(&mut commit.verdict).limits {
            if let Window::Calendar { start_ms, end_ms } = &mut limit.window {
                (*start_ms, *end_ms) = (*start_ms + self.start_ms, *end_ms + self.start_ms);
            }
        }
        self.redis.commit(commit, self.start_ms + now_ms).await
    }

    async fn stored(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Result<Option<Stored>, StateError> {
        self.redis.stored(tenant, peer, call_id).await
    }

    async fn settle(
        &self,
        tenant: &str,
        peer: &str,
        settle: &Settle,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.redis.settle(tenant, peer, settle, self.start_ms + now_ms).await
    }

    async fn extend(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.redis.extend(tenant, peer, call_id, self.start_ms + now_ms).await
    }

    async fn counters(
        &self,
        tenant: &str,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Result<Page, StateError> {
        self.redis.counters(tenant, wanted, self.start_ms + now_ms).await
    }

    async fn reset(
        &self,
        tenant: &str,
        id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<u64, StateError> {
        self.redis.reset(tenant, id, key, self.start_ms + now_ms).await
    }

    async fn renew_session(
        &self,
        key: &SessionKey,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.redis.renew_session(key, self.start_ms + expires_ms, self.start_ms + now_ms).await
    }

    async fn open_session(
        &self,
        key: &SessionKey,
        implicit: &SessionKey,
        owner: &Owner,
        expires_ms: i64,
    ) -> Result<(), StateError> {
        self.redis.open_session(key, implicit, owner, self.start_ms + expires_ms).await
    }

    async fn void(
        &self,
        tenant: &str,
        kind: Kind,
        id: &str,
        now_ms: i64,
    ) -> Result<Voided, StateError> {
        self.redis.void(tenant, kind, id, self.start_ms + now_ms).await
    }

    async fn approvals(&self, now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError> {
        self.redis.approvals(self.start_ms + now_ms).await
    }

    async fn approval(&self, id: &str) -> Result<Option<ApprovalRecord>, StateError> {
        self.redis.approval(id).await
    }

    async fn resolve(
        &self,
        id: &str,
        answer: Answer,
        now_ms: i64,
    ) -> Result<ApprovalRecord, StateError> {
        self.redis.resolve(id, answer, self.start_ms + now_ms).await
    }

    async fn shared_text(&self, known: &str) -> Result<Option<Shared>, StateError> {
        State::shared_text(&self.redis, known).await
    }

    async fn put_shared_text(
        &self,
        expected: &str,
        text: &str,
    ) -> Result<Option<String>, StateError> {
        State::put_shared_text(&self.redis, expected, text).await
    }

    async fn raise_floor(&self, tenant: &str, version: u64) -> Result<Option<u64>, StateError> {
        self.redis.raise_floor(tenant, version).await
    }
}
