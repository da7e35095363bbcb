//! Credentials towards providers: what each sort sends, what is refused where none can be had, and
//! that no secret shows up where it does not belong.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use lictor_pep_core::AuthConfig;
use lictor_pep_core::setup::IdentityConfig;
use lictor_pep_http::Config;
use serde_json::json;

use crate::decide::{Fake, allow, allow_and_check};
use crate::provider::{self, Piece, Script};
use crate::rig::{Answer, Rig, answered, hello, outcomes};
use crate::table::Site;
use crate::table::forge::{HEADER, ISS, config, ed};

const AUD: &str = "https://gate.example";
/// Begins every secret of these tests.
const SENTINEL: &str = "sentinel-5c1e";
const REASON: &str = "upstream_credential_unavailable";

/// A token endpoint that numbers what it issues.
#[derive(Clone, Default)]
struct Issuing {
    asked: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    issued: Arc<AtomicUsize>,
    failing: Arc<Mutex<Option<StatusCode>>>,
}

impl Issuing {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let router = Router::new().route("/token", post(issue)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn fail(&self, status: Option<StatusCode>) {
        *self.failing.lock().unwrap() = status;
    }

    fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.asked.lock().unwrap().clone()
    }
}

async fn issue(State(server): State<Issuing>, body: Bytes) -> Response {
    let fields: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let requested = fields.get("requested_token_type").cloned();
    server.asked.lock().unwrap().push(fields.clone());
    if let Some(status) = *server.failing.lock().unwrap() {
        // As hostile as can be: every secret comes back in the error.
        let error = json!({"error": format!("{SENTINEL}-code"), "error_description": fields});
        return (status, axum::Json(error)).into_response();
    }
    let number = server.issued.fetch_add(1, Ordering::Relaxed);
    let mut answer = json!({"access_token": format!("{SENTINEL}-issued-{number}"),
        "token_type": "Bearer", "expires_in": 300});
    if let Some(kind) = requested {
        answer["issued_token_type"] = kind.into();
    }
    axum::Json(answer).into_response()
}

fn auth(text: &str, url: &str, dir: &Path) -> AuthConfig {
    let file = dir.join("client.secret");
    write_private(&file, &format!("{SENTINEL}-client"));
    let server = json!({"token_url": url, "client_id": "gate", "secret_file": file});
    let mut auth: serde_json::Value = serde_json::from_str(text).unwrap();
    auth["server"] = server;
    if auth["kind"] != "client_credentials" {
        auth["subject_issuer"] = ISS.into();
    }
    serde_json::from_value(auth).unwrap()
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Sets the provider's credential, and lets callers in by tokens.
fn with(
    auth: impl FnOnce(&Path) -> AuthConfig,
) -> impl FnOnce(&mut Config, &Path, &mut IdentityConfig) {
    move |config_, dir, identity| {
        let upstream = config_.upstreams.first_mut().unwrap();
        upstream.key_file = None;
        upstream.auth = Some(auth(dir));
        *identity = config(AUD, dir);
    }
}

fn token(id: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let site = Site {
        now_s: i64::try_from(now.as_secs()).unwrap(),
        aud: AUD.to_owned(),
        url: String::new(),
        method: String::new(),
    };
    ed(HEADER, &site.with("jti", id.into()))
}

async fn chat_as(rig: &Rig, token: &str) -> Answer {
    let mut request = rig.request(Method::POST, "/v1/chat/completions", hello());
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", value);
    rig.send(request).await
}

fn authorization(headers: &HeaderMap) -> &str {
    headers["authorization"].to_str().unwrap()
}

const EXCHANGE: &str =
    r#"{"kind": "token_exchange", "audience": "provider", "scope": "chat", "server": null}"#;

#[tokio::test]
async fn each_caller_acts_by_a_token_of_its_own_and_never_by_the_one_it_sent() {
    let server = Issuing::default();
    let url = server.start().await;
    let fake = Fake::new(|call| Ok(allow(call)));
    let change = with(|dir| auth(EXCHANGE, &url, dir));
    let rig = Rig::start_for(fake, provider::json(&answered("hi")), change).await;
    let (a, b) = (token("a"), token("b"));
    for (token, number) in [(&a, 0), (&b, 1), (&a, 0)] {
        let answer = chat_as(&rig, token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = rig.provider.seen().pop().unwrap();
        let expected = format!("Bearer {SENTINEL}-issued-{number}");
        assert_eq!(authorization(&seen.headers), expected);
        let sent = format!("{seen:?}");
        assert!(!sent.contains(&a) && !sent.contains(&b), "{sent}");
    }
    let subjects: Vec<String> =
        server.asked().iter().map(|fields| fields["subject_token"].clone()).collect();
    assert_eq!(subjects, [a, b]);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"].repeat(3));
}

#[tokio::test]
async fn without_a_credential_nothing_is_sent_and_the_next_call_finds_it_again() {
    let server = Issuing::default();
    let url = server.start().await;
    server.fail(Some(StatusCode::BAD_REQUEST));
    let fake = Fake::new(|call| Ok(allow(call)));
    let change = with(|dir| auth(EXCHANGE, &url, dir));
    let rig = Rig::start_for(fake, provider::json(&answered("hi")), change).await;
    let refused = chat_as(&rig, &token("a")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (502, REASON.to_owned()));
    assert!(rig.provider.seen().is_empty());
    server.fail(None);
    assert_eq!(chat_as(&rig, &token("a")).await.status, 200);
    assert_eq!(rig.provider.seen().len(), 1);
}

#[tokio::test]
async fn an_unknown_caller_makes_nobody_ask_for_a_token() {
    let server = Issuing::default();
    let url = server.start().await;
    let fake = Fake::new(|call| Ok(allow(call)));
    let change = with(|dir| auth(EXCHANGE, &url, dir));
    let rig = Rig::start_for(fake, provider::json(&answered("hi")), change).await;
    let forged = format!("{}x", token("a"));
    assert_eq!(chat_as(&rig, &forged).await.status, 401);
    assert!(server.asked().is_empty() && rig.provider.seen().is_empty());
}

#[tokio::test]
async fn a_key_in_a_header_of_the_providers_replaces_the_callers() {
    let fake = Fake::new(|call| Ok(allow(call)));
    let change = with(|dir| {
        let file = dir.join("provider.secret");
        write_private(&file, &format!("{SENTINEL}-key\n"));
        let text = json!({"kind": "key", "file": file, "header": "x-api-key"});
        serde_json::from_value(text).unwrap()
    });
    let rig = Rig::start_for(fake, provider::json(&answered("hi")), change).await;
    let mut request = rig.request(Method::POST, "/v1/chat/completions", hello());
    let headers = request.headers_mut();
    let value = HeaderValue::from_str(&format!("Bearer {}", token("a"))).unwrap();
    headers.insert("authorization", value);
    headers.insert("x-api-key", HeaderValue::from_static("the-callers"));
    assert_eq!(rig.send(request).await.status, 200);
    let seen = rig.provider.seen().pop().unwrap();
    assert_eq!(seen.headers["x-api-key"], format!("{SENTINEL}-key"));
    assert!(!seen.headers.contains_key("authorization"));
}

/// What is logged, at any level, while it is the subscriber of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

#[tokio::test]
async fn no_secret_is_in_logs_metrics_audit_or_answers() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log is read");
    let server = Issuing::default();
    let url = server.start().await;
    let fake = Fake::new(|call| Ok(allow_and_check(call)));
    let change = with(|dir| auth(EXCHANGE, &url, dir));
    let rig = Rig::start_for(fake, provider::json(&answered("hi")), change).await;
    let (token, mut told) = (token("a"), String::new());
    let mut hear = |answer: &Answer| {
        told.push_str(&format!("{} {:?} ", answer.status, answer.headers));
        told.push_str(&String::from_utf8_lossy(&answer.body));
    };
    hear(&chat_as(&rig, &token).await);
    // The provider gives our token back in every way that it has.
    let ours = format!("{SENTINEL}-issued-0");
    let error = format!("{{\"error\":{{\"message\":\"bad token {ours}\"}}}}");
    let headers = vec![("content-type", "application/json")];
    let plain = |status, headers, body: &str| Script::Plain { status, headers, body: body.into() };
    rig.provider.set(plain(400, headers.clone(), &error));
    hear(&chat_as(&rig, &token).await);
    rig.provider.set(plain(401, headers, &error));
    hear(&chat_as(&rig, &token).await);
    let echo: &'static str = Box::leak(ours.clone().into_boxed_str());
    let headers = vec![("content-type", "application/json"), ("x-echo", echo)];
    rig.provider.set(plain(200, headers, &answered("hi")));
    hear(&chat_as(&rig, &token).await);
    // Cut in two, so that no piece holds it all.
    let chunk = |text: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let whole = chunk(&ours);
    let (first, second) = whole.split_at(whole.find(SENTINEL).unwrap() + 4);
    let pieces = [first, second].map(|piece| Piece::Bytes(piece.as_bytes().to_vec()));
    rig.provider.set(Script::Stream(pieces.to_vec()));
    hear(&chat_as(&rig, &token).await);
    // The token endpoint repeats everything in its error, for a caller it has not seen.
    server.fail(Some(StatusCode::BAD_REQUEST));
    let other = crate::credentials::token("b");
    hear(&chat_as(&rig, &other).await);
    let mut request = rig.request(Method::GET, "/metrics", "");
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", value);
    hear(&rig.send(request).await);
    assert!(told.contains(REASON), "{told}");
    let records = rig.stop().await;
    let outcomes = outcomes(&records).join(" ");
    let (logged, audited) = (log.text(), serde_json::to_string(&records).unwrap());
    assert!(logged.contains("the log is read") && logged.contains("no credential for an upstream"));
    assert!(outcomes.contains("withheld"), "{outcomes}");
    for secret in [SENTINEL, token.as_str(), other.as_str()] {
        for (place, text) in [("log", &logged), ("audit", &audited), ("answers", &told)] {
            let at = text.find(secret).map(|at| text.get(at.saturating_sub(200)..).unwrap_or(text));
            let shown = at.map(|text| text.chars().take(400).collect::<String>());
            assert_eq!(shown, None, "{place}: {secret}");
        }
    }
    assert_eq!(server.asked().len(), 2, "{ISS}");
}
