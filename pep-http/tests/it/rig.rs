//! The enforcement point between a client and everything it needs.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lictor_audit::AuditLog;
use lictor_pep_core::enforce::digest_of_bytes;
use lictor_pep_core::setup::{self, AuditConfig, DurabilityRule, IdentityConfig};
use lictor_pep_core::{Clock, Ids, PepParts};
use lictor_pep_http::{Config, Deps, ServeError, UpstreamConfig};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::decide::Fake;
use crate::provider::{Provider, Script};

/// The provider's key, which no caller knows.
pub(crate) const PROVIDER_KEY: &str = "sk-provider-key";
/// Milliseconds for one decision; only a decision point that hangs uses them up.
const BUDGET_MS: u32 = 2_000;

pub(crate) struct Rig {
    pub(crate) decide: Arc<Fake>,
    pub(crate) provider: Provider,
    pub(crate) audit: AuditLog,
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    client: Client<HttpConnector, Full<Bytes>>,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<Result<(), ServeError>>>,
}

/// An answer, read to its end.
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

    /// The error's code.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// A well-formed API key, and the file that lets it in.
pub(crate) fn api_key(dir: &Path) -> (String, std::path::PathBuf) {
    let secret = "07".repeat(32);
    let check = digest_of_bytes(secret.as_bytes());
    let key = format!("lictor_{secret}_{}", check.get(7..15).unwrap());
    let store = serde_json::json!({"keys": [{"id": "test", "hash": digest_of_bytes(key.as_bytes()),
        "tenant": "default", "subject": {"type": "user", "id": "alice@example.com"},
        "agent": {"type": "agent", "id": "expense-report-v1"}, "roles": [],
        "created": "2026-01-01T00:00:00Z"}]});
    let path = dir.join("keys.json");
    write_private(&path, &store.to_string());
    (key, path)
}

fn write_private(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The configuration of a provider with a key in a file.
pub(crate) fn upstream(id: &str, base_url: &str, dir: &Path) -> UpstreamConfig {
    let path = dir.join(format!("{id}.key"));
    write_private(&path, PROVIDER_KEY);
    UpstreamConfig {
        id: id.to_owned(),
        base_url: base_url.to_owned(),
        key_env: None,
        key_file: Some(path),
        auth: None,
    }
}

impl Rig {
    pub(crate) async fn start(decide: Arc<Fake>, script: Script) -> Self {
        Self::start_with(decide, script, |_, _| {}).await
    }

    /// Starts with a configuration that `change` has changed.
    pub(crate) async fn start_with(
        decide: Arc<Fake>,
        script: Script,
        change: impl FnOnce(&mut Config, &Path),
    ) -> Self {
        Self::start_for(decide, script, |config, dir, _| change(config, dir)).await
    }

    /// Starts with a configuration, and callers, that `change` has changed.
    pub(crate) async fn start_for(
        decide: Arc<Fake>,
        script: Script,
        change: impl FnOnce(&mut Config, &Path, &mut IdentityConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = Provider::start(script).await;
        let mut config = Config::new(vec![upstream("openai", &provider.base_url, dir.path())]);
        let (key, api_keys) = api_key(dir.path());
        let mut identity = IdentityConfig { api_keys: Some(api_keys), ..IdentityConfig::default() };
        change(&mut config, dir.path(), &mut identity);
        let audit_config = AuditConfig { dir: dir.path().join("audit"), ..AuditConfig::default() };
        let clock = Clock::system();
        let keys_dir = dir.path().join("keys");
        let audit = setup::audit_log(&audit_config, "pep-http", &keys_dir, &clock).unwrap();
        let parts = PepParts {
            decide: decide.clone(),
            authenticator: Arc::new(setup::authenticator(&identity, &clock).await.unwrap()),
            audit: audit.clone(),
            clock,
            ids: Ids::random(),
            abilities: &[],
            budget_ms: BUDGET_MS,
        };
        let durability = DurabilityRule::default();
        let ring = setup::signing_ring(&keys_dir).unwrap();
        let deps = Deps { parts, durability, ring };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let served = lictor_pep_http::serve(config, deps, listener, shutdown);
        Self {
            decide,
            provider,
            audit,
            address,
            key,
            client: Client::builder(TokioExecutor::new()).build_http(),
            dir,
            stop: Some(stop),
            server: Some(tokio::spawn(served)),
        }
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .unwrap()
    }

    /// Sends and waits for the head of the answer.
    pub(crate) async fn begin(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        read(self.begin(request).await).await
    }

    pub(crate) async fn chat(&self, body: impl Into<Bytes>) -> Answer {
        self.send(self.request(Method::POST, "/v1/chat/completions", body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, "")).await
    }

    /// Sends in a task of its own.
    pub(crate) fn send_later(&self, request: Request<Full<Bytes>>) -> JoinHandle<Answer> {
        let client = self.client.clone();
        tokio::spawn(async move { read(client.request(request).await.unwrap()).await })
    }

    /// Why the server did not start.
    pub(crate) async fn startup_error(mut self) -> ServeError {
        self.server.take().unwrap().await.unwrap().unwrap_err()
    }

    /// Asks the server to stop.
    pub(crate) fn signal_stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    /// Stops and returns the enforcement records.
    pub(crate) async fn stop(mut self) -> Vec<Value> {
        self.signal_stop();
        self.server.take().unwrap().await.unwrap().unwrap();
        let _ = self.audit.close("test").await;
        let mut records = Vec::new();
        for file in std::fs::read_dir(self.dir.path().join("audit")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let text = std::fs::read_to_string(path).unwrap();
                records
                    .extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            }
        }
        records.retain(|record| record["kind"] == "enforcement");
        records
    }
}

/// One `GET` from a server that no rig has started.
pub(crate) async fn get_from(address: &str, path: &str, key: &str) -> Answer {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{address}{path}"))
        .header("authorization", format!("Bearer {key}"))
        .body(Full::default())
        .unwrap();
    read(client.request(request).await.unwrap()).await
}

async fn read(answer: http::Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

/// The outcomes of records, in their order.
pub(crate) fn outcomes(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["outcome"].as_str().unwrap()).collect()
}

/// A chat with one message of the user's.
pub(crate) fn hello() -> String {
    r#"{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]}"#.to_owned()
}

/// An answer with one choice.
pub(crate) fn answered(text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!(
        "{{ \"id\":\"c-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"gpt-5\",\"choices\":[{{\"index\":0,\
         \"message\":{{\"role\":\"assistant\",\"content\":{text}}},\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":11,\"completion_tokens\":5,\"total_tokens\":16}} }}"
    )
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
