//! Everything between one client and one server, on sockets of this machine.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lictor_audit::AuditLog;
use lictor_pep_core::Clock;
use lictor_pep_core::enforce::digest_of_bytes;
use lictor_pep_core::setup::{self, AuditConfig, DurabilityRule, IdentityConfig};
use lictor_pep_mcp::{Config, Deps, ServerConfig, serve};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::oracle::Oracle;
use crate::server::{Seen, Server};

/// The budget of decisions in tests, milliseconds: long enough that only a lost one is late.
const BUDGET_MS: u32 = 5_000;

pub(crate) struct Rig {
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) server: Server,
    pub(crate) audit: AuditLog,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) other_key: String,
    /// How far the enforcement point's clock is ahead, milliseconds.
    ahead_ms: Arc<AtomicI64>,
    client: Client<HttpConnector, Full<Bytes>>,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap()
    }

    pub(crate) fn lictor(&self) -> Value {
        self.json()["error"]["data"]["lictor"].clone()
    }

    /// Ids of the reasons, joined.
    pub(crate) fn reasons(&self) -> String {
        let lictor = self.lictor();
        let reasons = lictor["reasons"].as_array().unwrap();
        let ids: Vec<&str> = reasons.iter().map(|r| r["id"].as_str().unwrap()).collect();
        ids.join(",")
    }
}

impl Rig {
    pub(crate) async fn start(
        oracle: Arc<Oracle>,
        reply: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(oracle, reply, |_| {}).await
    }

    /// Starts with a configuration that `change` has changed.
    pub(crate) async fn start_with(
        oracle: Arc<Oracle>,
        reply: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_for(oracle, reply, |config, _, _| change(config)).await
    }

    /// Starts with a configuration, and callers, that `change` has changed.
    pub(crate) async fn start_for(
        oracle: Arc<Oracle>,
        reply: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
        change: impl FnOnce(&mut Config, &Path, &mut IdentityConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(Box::new(reply)).await;
        let mut config = Config {
            servers: vec![ServerConfig {
                id: "accounting".into(),
                url: server.url(),
                ..ServerConfig::default()
            }],
            decision_budget_ms: BUDGET_MS,
            ..Config::default()
        };
        let (key, other_key, api_keys) = api_keys(dir.path());
        let mut identity = IdentityConfig { api_keys: Some(api_keys), ..IdentityConfig::default() };
        change(&mut config, dir.path(), &mut identity);
        let audit_config = AuditConfig { dir: dir.path().join("audit"), ..AuditConfig::default() };
        let ahead_ms = Arc::new(AtomicI64::new(0));
        let clock = ahead(&ahead_ms);
        let keys_dir = dir.path().join("keys");
        let audit = setup::audit_log(&audit_config, "pep-mcp", &keys_dir, &clock).unwrap();
        let deps = Deps {
            decide: oracle.clone(),
            authenticator: Arc::new(setup::authenticator(&identity, &clock).await.unwrap()),
            audit: audit.clone(),
            durability: DurabilityRule::default(),
            minter: Arc::new(setup::minter(&keys_dir, "http://pep.example").unwrap()),
            clock,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let served = async move { serve(config, deps, listener, shutdown).await.unwrap() };
        Self {
            oracle,
            server,
            audit,
            address,
            key,
            other_key,
            ahead_ms,
            client: Client::builder(TokioExecutor::new()).build_http(),
            dir,
            stop: Some(stop),
            served: Some(tokio::spawn(served)),
        }
    }

    /// Where its keys are.
    pub(crate) fn keys_dir(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// Its time, unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        ahead(&self.ahead_ms).now_ms()
    }

    /// Lets `ms` milliseconds pass for it.
    pub(crate) fn pass(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(Full::new(body.into()))
            .unwrap();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            if value.is_empty() {
                request.headers_mut().remove(name);
            } else {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        request
    }

    /// Sends a request and returns as soon as its answer begins.
    pub(crate) async fn begin(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (head, body) = self.begin(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn post(&self, body: impl Into<Bytes>) -> Answer {
        self.post_with(body, &[]).await
    }

    /// Posts with headers changed; an empty value takes a header out.
    pub(crate) async fn post_with(
        &self,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send(self.request(Method::POST, "/mcp", headers, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, &[("authorization", "")], "")).await
    }

    /// Stops and returns the enforcement records.
    pub(crate) async fn stop(mut self) -> Vec<Value> {
        self.stop.take().unwrap().send(()).unwrap();
        // Idle connections of the client would keep the server waiting.
        self.client = Client::builder(TokioExecutor::new()).build_http();
        self.served.take().unwrap().await.unwrap();
        // A test may have closed the log before.
        let _ = self.audit.close("test").await;
        let mut records = Vec::new();
        for file in std::fs::read_dir(self.dir.path().join("audit")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let text = std::fs::read_to_string(path).unwrap();
                records.extend(text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()));
            }
        }
        records.retain(|record| record["kind"] == "enforcement");
        records
    }
}

/// The machine's clock and so much more.
fn ahead(ahead_ms: &Arc<AtomicI64>) -> Clock {
    let (clock, ahead_ms) = (Clock::system(), ahead_ms.clone());
    Clock::of(move || clock.now_us() + ahead_ms.load(Ordering::SeqCst) * 1_000)
}

/// The outcomes of records, in their order.
pub(crate) fn outcomes(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["outcome"].as_str().unwrap()).collect()
}

/// A `tools/call` of the legacy era.
pub(crate) fn call(tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// Two well-formed API keys of two people, and the file that lets them in.
pub(crate) fn api_keys(dir: &Path) -> (String, String, PathBuf) {
    let key = |digits: &str| {
        let secret = digits.repeat(32);
        let check = digest_of_bytes(secret.as_bytes());
        format!("lictor_{secret}_{}", check.get(7..15).unwrap())
    };
    let record = |id: &str, key: &str, subject: &str| {
        serde_json::json!({"id": id, "hash": digest_of_bytes(key.as_bytes()), "tenant": "default",
            "subject": {"type": "user", "id": subject},
            "agent": {"type": "agent", "id": "expense-report-v1"}, "roles": [],
            "created": "2026-01-01T00:00:00Z"})
    };
    let (alice, bob) = (key("07"), key("08"));
    let store = serde_json::json!({"keys": [
        record("alice", &alice, "alice@example.com"), record("bob", &bob, "bob@example.com")]});
    let path = dir.join("keys.json");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(store.to_string().as_bytes()).unwrap();
    (alice, bob, path)
}
