//! Sources against servers that answer, lie, stall and go away.

mod broken;
mod encrypted;
mod offers;
mod pace;
mod point;
mod registry;
mod web;

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use ed25519_dalek::SigningKey;
use lictor_audit::AppendError;
use lictor_policy_lib::bundle::{
    Files, Limits, SignOptions, build, pack, sign, verifying_key_to_pem,
};
use lictor_policy_lib::load::LoadedBundle;

use super::config::FetchConfig;
use super::watch::{Sink, Watch};
use super::{BundleAt, BundleSource, SourceConfig};
use crate::clock::Clock;
use crate::live::{Origin, Refusal, RefusedBundle};

/// Unix milliseconds at which tests begin.
const T0_MS: i64 = 1_800_000_000_000;
const SCOPE: &str = "test";
const DATA: &str = r#"{"registry":{"users":{"alice":{}},
    "agents":{"bot":{"owner":"alice","status":"active"}},"servers":{"s":{}},
    "tools":{"s/t":{"schema":"any","annotations":{"effect":"none"}}}}}"#;

/// A bundle before it is signed.
#[derive(Debug, Clone)]
struct Draft {
    version: u64,
    /// More members of the manifest, each with a comma before it.
    members: String,
    rules: String,
    issued_ms: i64,
}

fn draft(version: u64) -> Draft {
    Draft { version, members: String::new(), rules: "allow if true".to_owned(), issued_ms: T0_MS }
}

impl Draft {
    fn with(mut self, members: &str) -> Self {
        self.members = format!(",{members}");
        self
    }

    fn ruling(mut self, rules: &str) -> Self {
        self.rules = rules.to_owned();
        self
    }

    fn issued(mut self, ms: i64) -> Self {
        self.issued_ms = ms;
        self
    }

    fn files(&self) -> Files {
        let manifest = format!(
            r#"{{"revision":"r{0}","metadata":{{"lictor":{{"name":"t","version":{0}{1}}}}}}}"#,
            self.version, self.members
        );
        let policy = format!("package lictor.u\n\n{}\n", self.rules);
        let pairs =
            [(".manifest", manifest), ("data.json", DATA.to_owned()), ("rego/u/u.rego", policy)];
        let pairs = pairs.map(|(name, text)| (name, text.into_bytes()));
        build(&Files::from_pairs(pairs, &Limits::default()).unwrap()).unwrap()
    }

    fn unsigned(&self) -> Vec<u8> {
        pack(&self.files())
    }

    fn signed(&self) -> Vec<u8> {
        let iat_s = self.issued_ms / 1_000;
        let options = SignOptions { scope: SCOPE.to_owned(), iat_s, exp_s: None };
        pack(&sign(&self.files(), &key(), &options).unwrap())
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// What a sink was told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Live(u64, &'static str),
    Refused { id: String, version: Option<u64>, has_digest: bool },
    Unreachable { id: String, first: bool },
}

fn refused(id: &str, version: Option<u64>) -> Event {
    Event::Refused { id: id.to_owned(), version, has_digest: true }
}

/// Refused before there was an archive.
fn unusable(id: &str) -> Event {
    Event::Refused { id: id.to_owned(), version: None, has_digest: false }
}

fn unreachable(id: &str, first: bool) -> Event {
    Event::Unreachable { id: id.to_owned(), first }
}

/// Keeps what it is told.
#[derive(Debug, Clone, Default)]
struct Told {
    events: Arc<Mutex<Vec<Event>>>,
    messages: Arc<Mutex<Vec<String>>>,
    answers: Arc<AtomicU64>,
    floor: Arc<AtomicU64>,
}

impl Told {
    /// What was told since the last time.
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events())
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap()
    }

    fn message(&self) -> String {
        self.messages.lock().unwrap().last().cloned().unwrap_or_default()
    }

    fn add(&self, event: Event, message: &str) {
        self.events().push(event);
        self.messages.lock().unwrap().push(message.to_owned());
    }
}

#[async_trait]
impl Sink for Told {
    async fn floor(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    async fn live(&self, bundle: LoadedBundle, origin: Origin) -> Result<(), AppendError> {
        self.add(Event::Live(bundle.reference().version, origin.from), &origin.place);
        Ok(())
    }

    async fn refuse(&self, refused: RefusedBundle) -> Result<(), AppendError> {
        let RefusedBundle { why, version, digest } = refused;
        self.add(
            Event::Refused { id: why.id, version, has_digest: digest.is_some() },
            &why.message,
        );
        Ok(())
    }

    async fn unreachable(&self, why: Refusal, first: bool) -> Result<(), AppendError> {
        self.add(Event::Unreachable { id: why.id, first }, &why.message);
        Ok(())
    }

    fn answered(&self, _now_ms: i64) {
        self.answers.fetch_add(1, Ordering::SeqCst);
    }
}

/// A state directory and a key, and a clock that stands.
struct Home {
    root: tempfile::TempDir,
    now_ms: Arc<AtomicI64>,
}

impl Home {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let pem = verifying_key_to_pem(&key().verifying_key()).unwrap();
        std::fs::write(root.path().join("key.pem"), pem).unwrap();
        Self { root, now_ms: Arc::new(AtomicI64::new(T0_MS)) }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn clock(&self) -> Clock {
        let now_ms = Arc::clone(&self.now_ms);
        Clock::from_fn(move || now_ms.load(Ordering::SeqCst))
    }

    fn pass(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn config(&self, at: &str) -> SourceConfig {
        SourceConfig {
            bundle: BundleAt::from(at.to_owned()),
            trust_keys: vec![self.path().join("key.pem")],
            required_signatures: 1,
            scope: SCOPE.to_owned(),
            min_version: 0,
            state_dir: self.path().join("state"),
            insecure_dev: false,
            rego: Default::default(),
            poll_ms: 10,
            fetch: FetchConfig { timeout_ms: 5_000, ..FetchConfig::default() },
        }
    }

    fn watch(&self, config: &SourceConfig) -> (Watch<Told>, Told) {
        let told = Told::default();
        let source = BundleSource::open(config).unwrap();
        (Watch::new(source, told.clone(), self.clock(), || 0), told)
    }

    /// A watch that asked once.
    async fn started(&self, config: &SourceConfig) -> (Watch<Told>, Told) {
        let (mut watch, told) = self.watch(config);
        watch.start().await.unwrap();
        (watch, told)
    }

    /// A secret in a file as it must be.
    fn secret(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.path().join(name);
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        lictor_identity::files::create_private(&path, text).unwrap();
        path
    }
}
