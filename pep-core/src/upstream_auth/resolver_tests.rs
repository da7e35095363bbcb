use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use lictor_identity::Identity;
use lictor_identity::grants::TokenType;
use lictor_proto::call::{Credential as Proved, CredentialKind};
use tokio::net::TcpListener;

use super::config::{AuthConfig, TokenExchangeAuth};
use super::resolver::{CredentialError, UpstreamAuth};
use super::server::{ClientAuthKind, TokenServer};
use super::tokens::{DOWN_HOLD_MS, EXCHANGED_MAX_MS};
use crate::clock::Ids;
use crate::proof::Proof;

const NOW_MS: i64 = 1_700_000_000_000;
const REASON: &str = "upstream_credential_unavailable";

type Fields = BTreeMap<String, String>;

/// A token endpoint that numbers what it issues.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<(HeaderMap, Fields)>>>,
    issued: Arc<AtomicUsize>,
    /// The status of answers, where not 200.
    failing: Arc<Mutex<Option<StatusCode>>>,
}

impl Server {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let router = Router::new().route("/token", post(issue)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn fail(&self, status: Option<StatusCode>) {
        *self.failing.lock().unwrap() = status;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn field(&self, index: usize, name: &str) -> String {
        self.asked.lock().unwrap()[index].1[name].clone()
    }
}

async fn issue(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    let fields: Fields = form_urlencoded::parse(&body).into_owned().collect();
    let requested = fields.get("requested_token_type").cloned();
    server.asked.lock().unwrap().push((headers, fields));
    if let Some(status) = *server.failing.lock().unwrap() {
        return (status, axum::Json(serde_json::json!({"error": "invalid_grant"}))).into_response();
    }
    let number = server.issued.fetch_add(1, Ordering::Relaxed);
    let jag = requested.as_ref().is_some_and(|kind| kind.ends_with("id-jag"));
    let mut answer = serde_json::json!({
        "access_token": format!("issued-{number}"),
        "token_type": if jag { "N_A" } else { "Bearer" },
        "expires_in": 100,
    });
    if let Some(kind) = requested {
        answer["issued_token_type"] = kind.into();
    }
    axum::Json(answer).into_response()
}

struct Rig {
    server: Server,
    dir: tempfile::TempDir,
    auth: UpstreamAuth,
}

impl Rig {
    /// Upstream `u` with the `auth` of `text`, in which `URL` and `FILE` stand for the endpoint
    /// and the file of the secret.
    async fn new(text: &str) -> Self {
        let server = Server::default();
        let url = server.start().await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        write(&file, "first");
        let auth = open(text, &url, &file).await.unwrap();
        Self { server, dir, auth }
    }

    async fn header(
        &self,
        inbound: Option<&Proof>,
        now_ms: i64,
    ) -> Result<String, CredentialError> {
        let credential = self.auth.credential(inbound, "u", now_ms).await?.unwrap();
        let mut headers = HeaderMap::new();
        credential.put(&mut headers);
        let (name, value) = headers.iter().next().unwrap();
        Ok(format!("{name}: {}", value.to_str().unwrap()))
    }

    fn secret(&self) -> PathBuf {
        self.dir.path().join("secret")
    }
}

async fn open(text: &str, url: &str, file: &Path) -> Result<UpstreamAuth, super::AuthConfigError> {
    let text = text.replace("URL", url).replace("FILE", &file.display().to_string());
    let auth: AuthConfig = toml::from_str(&text).unwrap();
    UpstreamAuth::open(vec![("u".to_owned(), auth)], 1, Ids::counting()).await
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A caller who was found to be somebody, by this sort of credential.
fn proved(token: &str, kind: CredentialKind, expires_ms: Option<i64>) -> Proof {
    let proof = Proof::bearer(token);
    let identity = Identity {
        tenant: "t".to_owned(),
        subject: None,
        agent: None,
        delegation: Vec::new(),
        credential: Proved { kind, id: "c".to_owned(), issuer: "https://idp".to_owned() },
        expires_ms,
        roles: Vec::new(),
    };
    proof.known().set(std::sync::Arc::new(identity)).unwrap();
    proof
}

fn caller(token: &str) -> Proof {
    proved(token, CredentialKind::Jwt, None)
}

fn refused(outcome: Result<String, CredentialError>) -> CredentialError {
    let error = outcome.unwrap_err();
    assert_eq!(error.reason_id(), REASON);
    error
}

const SERVER: &str = "server = { token_url = 'URL', client_id = 'gate', secret_file = 'FILE' }";

fn own() -> String {
    format!("kind = 'client_credentials'\nscope = 'a'\n{SERVER}")
}

fn exchange(more: &str) -> String {
    format!("kind = 'token_exchange'\naudience = 'tool'\n{more}\n{SERVER}")
}

#[tokio::test]
async fn our_own_token_serves_everybody_until_80_percent_of_its_life() {
    let rig = Rig::new(&own()).await;
    let first = rig.header(None, NOW_MS).await.unwrap();
    assert_eq!(first, "authorization: Bearer issued-0");
    let anybody = rig.header(Some(&caller("a.e30.c")), NOW_MS + 79_999).await.unwrap();
    assert_eq!(anybody, first);
    assert_eq!(rig.server.field(0, "scope"), "a");
    let second = rig.header(None, NOW_MS + 80_000).await.unwrap();
    assert_eq!((second.as_str(), rig.server.asked()), ("authorization: Bearer issued-1", 2));
}

#[tokio::test]
async fn many_at_once_are_one_request() {
    let rig = Rig::new(&own()).await;
    let all = futures::future::join_all((0..40).map(|_| rig.header(None, NOW_MS))).await;
    assert!(
        all.iter().all(|header| header.as_deref().unwrap() == "authorization: Bearer issued-0")
    );
    assert_eq!(rig.server.asked(), 1);
}

#[tokio::test]
async fn each_callers_token_is_exchanged_for_its_own() {
    let rig = Rig::new(&exchange("")).await;
    let (a, b) = (caller("a.e30.a"), caller("b.e30.b"));
    assert_eq!(rig.header(Some(&a), NOW_MS).await.unwrap(), "authorization: Bearer issued-0");
    assert_eq!(rig.header(Some(&b), NOW_MS).await.unwrap(), "authorization: Bearer issued-1");
    let last = NOW_MS + EXCHANGED_MAX_MS - 1;
    let again = caller("a.e30.a");
    assert_eq!(rig.header(Some(&again), last).await.unwrap(), "authorization: Bearer issued-0");
    assert_eq!(rig.header(Some(&a), last + 1).await.unwrap(), "authorization: Bearer issued-2");
    let tokens = [0, 1, 2].map(|index| rig.server.field(index, "subject_token"));
    assert_eq!(tokens, ["a.e30.a", "b.e30.b", "a.e30.a"]);
}

#[tokio::test]
async fn an_exchanged_token_ends_with_the_callers() {
    let rig = Rig::new(&exchange("")).await;
    let short = proved("a.e30.a", CredentialKind::Jwt, Some(NOW_MS + 10));
    assert_eq!(rig.header(Some(&short), NOW_MS).await.unwrap(), "authorization: Bearer issued-0");
    assert_eq!(
        rig.header(Some(&short), NOW_MS + 9).await.unwrap(),
        "authorization: Bearer issued-0"
    );
    assert_eq!(
        rig.header(Some(&short), NOW_MS + 10).await.unwrap(),
        "authorization: Bearer issued-1"
    );
}

#[tokio::test]
async fn what_nobody_checked_or_is_no_token_is_never_sent_away() {
    let rig = Rig::new(&exchange("subject_issuer = 'https://idp'")).await;
    let key = proved("lk_x", CredentialKind::ApiKey, None);
    let other = Rig::new(&exchange("subject_issuer = 'https://elsewhere'")).await;
    for inbound in [None, Some(&Proof::none()), Some(&Proof::bearer("a.e30.c")), Some(&key)] {
        let error = refused(rig.header(inbound, NOW_MS).await);
        assert!(matches!(error, CredentialError::NoSubject), "{error}");
    }
    let error = refused(other.header(Some(&caller("a.e30.c")), NOW_MS).await);
    assert!(matches!(error, CredentialError::OtherIssuer), "{error}");
    assert_eq!((rig.server.asked(), other.server.asked()), (0, 0));
    assert!(rig.header(Some(&caller("a.e30.c")), NOW_MS).await.is_ok());
}

#[tokio::test]
async fn a_token_that_only_its_caller_can_use_is_never_sent_away() {
    let rig = Rig::new(&exchange("")).await;
    // `{"cnf":{"jkt":"x"}}`, and what cannot be read.
    for token in ["a.eyJjbmYiOnsiamt0IjoieCJ9fQ.c", "a.!.c", "a"] {
        let error = refused(rig.header(Some(&caller(token)), NOW_MS).await);
        assert!(matches!(error, CredentialError::Bound), "{error}");
    }
    assert_eq!(rig.server.asked(), 0);
}

#[tokio::test]
async fn with_several_issuers_it_is_said_whose_tokens_are_sent_away() {
    let server = TokenServer {
        token_url: "https://idp.example/token".to_owned(),
        client_id: "gate".to_owned(),
        client_auth: ClientAuthKind::default(),
        secret_env: Some("HOME".to_owned()),
        secret_file: None,
        key_id: None,
        proof_audience: None,
        ca_file: None,
    };
    let auth = |subject_issuer: Option<&str>| {
        vec![(
            "u".to_owned(),
            AuthConfig::TokenExchange(TokenExchangeAuth {
                server: server.clone(),
                subject_issuer: subject_issuer.map(str::to_owned),
                subject_token_type: TokenType::AccessToken,
                requested_token_type: TokenType::AccessToken,
                scope: None,
                audience: Some("u".to_owned()),
                resource: None,
            }),
        )]
    };
    let error = UpstreamAuth::open(auth(None), 2, Ids::counting()).await.unwrap_err().to_string();
    assert!(error.contains("subject_issuer") && error.contains("`u`"), "{error}");
    assert!(UpstreamAuth::open(auth(None), 1, Ids::counting()).await.is_ok());
    assert!(UpstreamAuth::open(auth(Some("https://idp")), 2, Ids::counting()).await.is_ok());
}

#[tokio::test]
async fn an_identity_assertion_takes_two_steps() {
    let text = format!(
        "kind = 'id_jag'\naudience = 'https://as'\n{SERVER}\nidp = {{ token_url = 'URL', client_id = 'at-idp', secret_file = 'FILE', client_auth = 'client_secret_post' }}"
    );
    let rig = Rig::new(&text).await;
    let a = caller("a.e30.a");
    assert_eq!(rig.header(Some(&a), NOW_MS).await.unwrap(), "authorization: Bearer issued-1");
    assert_eq!(rig.server.field(0, "client_id"), "at-idp");
    assert_eq!(rig.server.field(0, "subject_token"), "a.e30.a");
    assert_eq!(rig.server.field(1, "assertion"), "issued-0");
    assert_eq!(rig.header(Some(&a), NOW_MS + 1).await.unwrap(), "authorization: Bearer issued-1");
    assert_eq!(rig.server.asked(), 2);
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_recovers() {
    let rig = Rig::new(&own()).await;
    assert!(rig.header(None, NOW_MS).await.is_ok());
    rig.server.fail(Some(StatusCode::SERVICE_UNAVAILABLE));
    // The token is not over yet, but past the part of its life in which it is used.
    let past = NOW_MS + 80_000;
    refused(rig.header(None, past).await);
    refused(rig.header(None, past + DOWN_HOLD_MS - 1).await);
    assert_eq!(rig.server.asked(), 2, "it was asked again too soon");
    rig.server.fail(None);
    let after = rig.header(None, past + DOWN_HOLD_MS).await.unwrap();
    assert_eq!(after, "authorization: Bearer issued-1");
}

#[tokio::test]
async fn one_callers_refusal_is_nobody_elses() {
    let rig = Rig::new(&exchange("")).await;
    let (a, b) = (caller("a.e30.a"), caller("b.e30.b"));
    rig.header(Some(&a), NOW_MS).await.unwrap();
    rig.server.fail(Some(StatusCode::BAD_REQUEST));
    refused(rig.header(Some(&b), NOW_MS).await);
    rig.server.fail(None);
    assert_eq!(rig.header(Some(&b), NOW_MS).await.unwrap(), "authorization: Bearer issued-1");
    assert_eq!(rig.header(Some(&a), NOW_MS).await.unwrap(), "authorization: Bearer issued-0");
}

#[tokio::test]
async fn a_server_that_is_not_there_stops_calls_and_not_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    write(&file, "first");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let auth = open(&own(), &url, &file).await.unwrap();
    let error = auth.credential(None, "u", NOW_MS).await.unwrap_err();
    assert_eq!(error.reason_id(), REASON);
    assert!(error.is_outage(), "{error}");
    let unknown = auth.credential(None, "x", NOW_MS).await.unwrap_err();
    assert!(matches!(unknown, CredentialError::Unknown));
}

#[tokio::test]
async fn a_changed_client_secret_is_used_for_the_next_token() {
    let text = own().replace("secret_file", "client_auth = 'client_secret_post', secret_file");
    let rig = Rig::new(&text).await;
    rig.header(None, NOW_MS).await.unwrap();
    assert_eq!(rig.server.field(0, "client_secret"), "first");
    write(&rig.secret(), "second");
    for round in 1..600 {
        rig.header(None, NOW_MS + round * 100_000).await.unwrap();
        let last = rig.server.asked() - 1;
        if rig.server.field(last, "client_secret") == "second" {
            return;
        }
        // Bounded waiting for the file to be looked at.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the changed secret was never used");
}

#[tokio::test]
async fn a_key_stands_in_the_header_that_is_said() {
    let rig = Rig::new("kind = 'key'\nfile = 'FILE'").await;
    assert_eq!(rig.header(None, NOW_MS).await.unwrap(), "authorization: Bearer first");
    assert!(rig.auth.is_in(b"a first b") && !rig.auth.is_in(b"a firs"));
    let rig = Rig::new("kind = 'key'\nheader = 'X-Api-Key'\ncommand = ['cat', 'FILE']").await;
    assert_eq!(rig.header(None, NOW_MS).await.unwrap(), "x-api-key: first");
    let rig = Rig::new("kind = 'none'").await;
    assert!(rig.auth.credential(None, "u", NOW_MS).await.unwrap().is_none());
    assert!(!rig.auth.has("u"));
}

#[tokio::test]
async fn what_could_never_work_keeps_it_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let fault = async |text: &str, secret: &str| {
        write(&file, secret);
        open(text, "https://as.example/token", &file).await.unwrap_err().to_string()
    };
    let key = "kind = 'key'\nfile = 'FILE'";
    assert!(fault(key, "hunter2 x").await.contains("characters"));
    assert!(!fault(key, "hunter2 x").await.contains("hunter2"));
    let signed = own().replace("secret_file", "client_auth = 'private_key_jwt', secret_file");
    let told = fault(&signed, "hunter2").await;
    assert!(told.contains("PKCS#8") && !told.contains("hunter2"), "{told}");
    let open_server = own().replace("URL", "http://as.example/token");
    assert!(fault(&open_server, "s").await.contains("use https"));
    let program = "kind = 'key'\ncommand = ['/no/such/program']";
    assert!(fault(program, "s").await.contains("could not be started"));
}
