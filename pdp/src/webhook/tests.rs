//! Webhooks against receivers of our own, over the state in memory.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicUsize};

use async_trait::async_trait;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lictor_proto::decision::Reason;
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::WebhookConfig;
use super::event::Event;
use super::post::{Message, PostError};
use super::*;
use crate::state::approval::{ApprovalRecord, Binding, NewApproval, Part};

/// The key below in base64.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// An approval that bob may give, until 900 000 ms.
pub(super) fn record(id: &str) -> ApprovalRecord {
    let part = Part { ask: "big".into(), approvers: vec!["bob".into()], count: 1, by_role: false };
    ApprovalRecord {
        opened: NewApproval {
            id: id.into(),
            parts: vec![part],
            expires_ms: 900_000,
            reasons: vec![Reason::new("big", "more than 500")],
            args: r#"{"amount":900}"#.into(),
            barred: vec![],
            credential: String::new(),
            peer: "pep".into(),
        },
        binding: Binding {
            tenant: "default".into(),
            session: "s".into(),
            subject: "alice".into(),
            agent: "bot".into(),
            delegation: vec![],
            action: "tools/call".into(),
            resource: "tool:a/pay".into(),
            args_digest: "sha256:1".into(),
            content_digest: "sha256:4".into(),
            tool_digest: "sha256:2".into(),
            bundle_digest: "sha256:3".into(),
        },
        opened_ms: 0,
        approved_by: BTreeSet::new(),
        denied_by: None,
        used: false,
        voided: false,
    }
}

/// One receiver at `url`, with everything at its default.
pub(super) fn config(url: &str) -> ApprovalsConfig {
    let hook = format!("[[webhooks]]\nurl = \"{url}\"\nsecret_file = \"secret\"\n");
    toml::from_str(&hook).unwrap()
}

/// The same with its secret in `root`.
fn with_secret(url: &str, root: &Path) -> ApprovalsConfig {
    let mut config = config(url);
    config.take_paths_from(root);
    std::fs::write(root.join("secret"), SECRET).unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(root.join("secret"), private).unwrap();
    config
}

const QUICK: Pace = Pace { first_ms: 1, longest_ms: 4, give_up_ms: 86_400_000 };

/// Webhooks that are told of approvals directly.
struct Rig {
    webhooks: Arc<Webhooks>,
    clock: Arc<AtomicI64>,
    down: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Rig {
    fn new(config: &ApprovalsConfig, root: &Path, posts: Vec<Arc<dyn Post>>, pace: Pace) -> Self {
        let now = Arc::new(AtomicI64::new(1));
        let read = Arc::clone(&now);
        let clock = Clock::from_fn(move || read.load(Ordering::SeqCst));
        let opened = Webhooks::with(config, root, &clock, posts, pace).unwrap();
        let webhooks = Arc::new(opened.unwrap());
        let (down, watched) = watch::channel(false);
        let run =
            |deliverer: &Arc<Deliverer>| tokio::spawn(Arc::clone(deliverer).run(watched.clone()));
        let tasks = webhooks.deliverers.iter().map(run).collect();
        Self { webhooks, clock: now, down, tasks }
    }

    fn over_http(config: &ApprovalsConfig, root: &Path) -> Self {
        config.check().unwrap();
        let posts = config.webhooks.iter().map(|hook| {
            let post: Arc<dyn Post> = Arc::new(HttpPost::new(hook).unwrap());
            post
        });
        Self::new(config, root, posts.collect(), QUICK)
    }

    async fn tell(&self, records: &[ApprovalRecord]) {
        self.webhooks.take(records.to_vec(), self.clock.load(Ordering::SeqCst)).await;
    }

    fn counts(&self) -> (u64, u64, u64, u64) {
        let counts = &self.webhooks.counts;
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let (delivered, failed) = (read(&counts.delivered), read(&counts.failed));
        (delivered, failed, read(&counts.given_up), read(&counts.queued))
    }

    async fn stop(self) {
        self.down.send(true).unwrap();
        futures::future::join_all(self.tasks).await;
    }
}

// === over HTTP ===

/// What a receiver got.
struct Got {
    headers: HeaderMap,
    body: String,
}

/// A receiver that answers with `status`, until a test changes that.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    got: mpsc::UnboundedReceiver<Got>,
    served: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn receiver(status: u16) -> Receiver {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    receiver_on(listener, status)
}

fn receiver_on(listener: tokio::net::TcpListener, status: u16) -> Receiver {
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, got) = mpsc::unbounded_channel();
    let status = Arc::new(AtomicU16::new(status));
    let answer = Arc::clone(&status);
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: String| {
        let (tell, answer) = (tell.clone(), Arc::clone(&answer));
        async move {
            assert_eq!(uri.path(), "/hook", "a redirect was followed");
            let _ = tell.send(Got { headers, body });
            let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap();
            (status, [(header::LOCATION, "/elsewhere")]).into_response()
        }
    });
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Receiver { url, status, got, served }
}

/// Computed apart from the code under test.
fn is_signed(got: &Got) -> bool {
    let header = |name: &str| got.headers[name].to_str().unwrap();
    let signed = [header("webhook-id"), ".", header("webhook-timestamp"), ".", &got.body];
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(signed.concat().as_bytes());
    let value = header("webhook-signature").strip_prefix("v1,").unwrap();
    mac.verify_slice(&STANDARD.decode(value).unwrap()).is_ok()
}

#[tokio::test]
async fn a_receiver_gets_signed_events_and_can_tell_repetitions() {
    let root = tempfile::tempdir().unwrap();
    let mut receiver = receiver(500).await;
    let rig = Rig::over_http(&with_secret(&receiver.url, root.path()), root.path());
    rig.tell(&[record("a1")]).await;
    let first = receiver.got.recv().await.unwrap();
    receiver.status.store(204, Ordering::SeqCst);
    let again = receiver.got.recv().await.unwrap();
    for got in [&first, &again] {
        assert!(is_signed(got));
        let body: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!((&body["event"], &body["approval"]["id"]), (&"opened".into(), &"a1".into()));
        assert_eq!(got.headers["lictor-event"], "approval.opened");
        assert_eq!(got.headers["webhook-id"].to_str().unwrap(), body["delivery"]);
    }
    assert_eq!(first.headers["webhook-id"], again.headers["webhook-id"]);
    let forged = Got { body: first.body.replace("alice", "mallory"), headers: first.headers };
    assert!(!is_signed(&forged));
    rig.stop().await;
}

#[tokio::test]
async fn a_receiver_that_comes_late_gets_everything_in_order() {
    let root = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = with_secret(&format!("http://{address}/hook"), root.path());
    let rig = Rig::over_http(&config, root.path());
    let mut one = record("a1");
    rig.tell(std::slice::from_ref(&one)).await;
    while rig.counts().1 == 0 {
        tokio::task::yield_now().await;
    }
    one.approved_by.insert("bob".into());
    rig.tell(std::slice::from_ref(&one)).await;
    one.used = true;
    rig.tell(std::slice::from_ref(&one)).await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let mut receiver = receiver_on(listener, 200);
    for wanted in ["approval.opened", "approval.approved", "approval.used"] {
        assert_eq!(receiver.got.recv().await.unwrap().headers["lictor-event"], wanted);
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let root = tempfile::tempdir().unwrap();
    let mut receiver = receiver(307).await;
    let rig = Rig::over_http(&with_secret(&receiver.url, root.path()), root.path());
    rig.tell(&[record("a1")]).await;
    receiver.got.recv().await.unwrap();
    receiver.got.recv().await.unwrap();
    let (delivered, failed, ..) = rig.counts();
    assert!(delivered == 0 && failed >= 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_left_after_its_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut hook: WebhookConfig = config("http://localhost/").webhooks.remove(0);
    hook.url = format!("http://{}/", listener.local_addr().unwrap());
    hook.timeout_ms = 50;
    let post = HttpPost::new(&hook).unwrap();
    let failed = post.post(&message()).await.unwrap_err();
    assert_eq!(failed, PostError::Unreachable("not in time".into()));
}

/// What is logged by this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_the_key_nor_the_path_nor_arguments_are_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // While there is one subscriber only, a thread without it may turn an event off for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logged = tracing::subscriber::set_default(subscriber);
    let root = tempfile::tempdir().unwrap();
    let mut receiver = receiver(500).await;
    let config = with_secret(&receiver.url, root.path());
    let rig = Rig::over_http(&config, root.path());
    rig.tell(&[record("a1")]).await;
    receiver.got.recv().await.unwrap();
    let again = receiver.got.recv().await.unwrap();
    drop(receiver);
    while rig.counts().1 < 4 {
        tokio::task::yield_now().await;
    }
    rig.stop().await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("a webhook delivery failed"), "{logged}");
    let signature = again.headers["webhook-signature"].to_str().unwrap();
    let ours: Vec<&str> = logged.lines().filter(|line| line.contains("lictor_pdp")).collect();
    for secret in ["MDEyMzQ1", "0123456789abcdef", "/hook", signature, "amount"] {
        assert!(!ours.iter().any(|line| line.contains(secret)), "{secret}: {ours:#?}");
    }
}

fn message() -> Message {
    Message {
        delivery: "d".into(),
        event: "approval.opened".into(),
        sent_s: 0,
        signature: String::new(),
        body: "{}".into(),
    }
}

// === in made-up time ===

/// Fails `failures` times, then takes everything.
struct Scripted {
    failures: AtomicUsize,
    got: Mutex<Vec<(String, String, Instant)>>,
    error: PostError,
    /// Approvals that are never taken.
    never: &'static str,
}

impl Scripted {
    fn new(failures: usize, error: PostError, never: &'static str) -> Arc<Self> {
        let failures = AtomicUsize::new(failures);
        Arc::new(Self { failures, got: Mutex::default(), error, never })
    }

    fn got(&self) -> Vec<(String, String)> {
        self.got.lock().unwrap().iter().map(|(id, event, _)| (id.clone(), event.clone())).collect()
    }
}

#[async_trait]
impl Post for Scripted {
    async fn post(&self, message: &Message) -> Result<(), PostError> {
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let id = body["approval"]["id"].as_str().unwrap().to_owned();
        let never = id == self.never;
        self.got.lock().unwrap().push((id, message.event.clone(), Instant::now()));
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 || never {
            self.failures.store(left.saturating_sub(1), Ordering::SeqCst);
            return Err(self.error.clone());
        }
        Ok(())
    }
}

fn scripted_rig(post: &Arc<Scripted>, root: &Path) -> Rig {
    let config = with_secret("http://localhost/x", root);
    Rig::new(&config, root, vec![post.clone()], Pace::default())
}

async fn until(done: impl Fn() -> bool) {
    let looking = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3_600), looking).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_longer_pauses() {
    for error in [PostError::Status(500), PostError::Unreachable("refused".into())] {
        let root = tempfile::tempdir().unwrap();
        let post = Scripted::new(6, error, "");
        let rig = scripted_rig(&post, root.path());
        rig.tell(&[record("a1")]).await;
        until(|| rig.counts().0 == 1).await;
        let times: Vec<Instant> = post.got.lock().unwrap().iter().map(|(.., at)| *at).collect();
        let pauses: Vec<u128> =
            times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let full = 1_000 << index;
            assert!((full / 2..=full + 20).contains(pause), "{pauses:?}");
        }
        assert_eq!((pauses.len(), rig.counts()), (6, (1, 6, 0, 0)));
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_one_before_it_and_for_no_other_approval() {
    let root = tempfile::tempdir().unwrap();
    let post = Scripted::new(0, PostError::Status(500), "stuck");
    let rig = scripted_rig(&post, root.path());
    // What is over at the first look would be history.
    rig.tell(&[]).await;
    let mut stuck = record("stuck");
    stuck.approved_by.insert("bob".into());
    let mut other = record("other");
    other.denied_by = Some("bob".into());
    rig.tell(&[stuck, other]).await;
    until(|| rig.counts().0 == 2 && rig.counts().1 > 2).await;
    let got = post.got();
    let of = |id: &str| {
        got.iter().filter(|(of, _)| of == id).map(|(_, e)| e.as_str()).collect::<Vec<_>>()
    };
    assert!(of("stuck").iter().all(|event| *event == "approval.opened"), "{got:?}");
    assert_eq!(of("other"), ["approval.opened", "approval.denied"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_given_up_after_a_day() {
    let root = tempfile::tempdir().unwrap();
    let post = Scripted::new(0, PostError::Status(410), "a1");
    let rig = scripted_rig(&post, root.path());
    rig.tell(&[record("a1")]).await;
    until(|| rig.counts().1 == 1).await;
    rig.clock.store(86_400_000, Ordering::SeqCst);
    until(|| rig.counts().1 == 2).await;
    assert_eq!(rig.counts(), (0, 2, 0, 1), "one millisecond is left");
    rig.clock.store(86_400_001, Ordering::SeqCst);
    until(|| rig.counts().2 == 1).await;
    assert_eq!(rig.counts(), (0, 3, 1, 0));
    assert!(metrics_text(&rig.webhooks.counts).contains("outcome=\"given_up\"} 1"));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_nothing_and_repeats_nothing_that_was_taken() {
    let root = tempfile::tempdir().unwrap();
    let post = Scripted::new(0, PostError::Status(500), "a2");
    let rig = scripted_rig(&post, root.path());
    rig.tell(&[record("a2"), record("a1")]).await;
    until(|| rig.counts().0 == 1 && rig.counts().1 > 0).await;
    rig.stop().await;
    let post = Scripted::new(0, PostError::Status(500), "");
    let rig = scripted_rig(&post, root.path());
    until(|| rig.counts().0 == 1).await;
    let events = |got: Vec<(String, String)>| got.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(events(post.got()), ["a2"]);
    rig.stop().await;
}

#[test]
fn every_event_has_its_own_name() {
    let names: BTreeSet<&str> = Event::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(names.len(), Event::ALL.len());
}
