//! Grants against a token endpoint on this machine: what is sent, to the letter, and what is taken
//! of what comes back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lictor_identity::Secret;
use lictor_identity::grants::{
    ANSWER_MAX_BYTES, CLIENT_ASSERTION_TTL_S, ClientAuth, ClientKey, ClientProof, Grant,
    GrantError, Stamp, Subject, TokenClient, TokenType, Wanted, identity_assertion,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const NOW_MS: i64 = 1_700_000_000_000;
const STAMP: Stamp<'static> = Stamp { now_ms: NOW_MS, jti: "j-1" };
const SENTINEL: &str = "sentinel-7f3a";
const WANTED: Wanted<'static> = Wanted {
    scope: Some("read write"),
    audience: Some("https://as.example"),
    resource: Some("https://mcp.example/mcp"),
};

/// What came in one request.
#[derive(Debug, Clone)]
struct Asked {
    authorization: Option<String>,
    content_type: String,
    form: BTreeMap<String, String>,
}

/// A token endpoint that answers what it is told, in order.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<(u16, String, String)>>>,
}

impl Server {
    async fn start(&self) -> TokenClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let router = Router::new().route("/token", post(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        TokenClient::new(&url, None, Duration::from_secs(5)).unwrap()
    }

    fn answers(&self, status: u16, kind: &str, body: impl Into<String>) {
        self.answers.lock().unwrap().push_back((status, kind.to_owned(), body.into()));
    }

    fn gives(&self, body: &Value) {
        self.answers(200, "application/json;charset=UTF-8", body.to_string());
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn answer(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let form: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(form.len(), pairs.len(), "a parameter came twice");
    server.asked.lock().unwrap().push(Asked {
        authorization: text(header::AUTHORIZATION),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        form,
    });
    let next = server.answers.lock().unwrap().pop_front();
    let (status, kind, body) = next.unwrap();
    let location = [(header::LOCATION, "/token".to_owned()), (header::CONTENT_TYPE, kind)];
    (StatusCode::from_u16(status).unwrap(), location, body).into_response()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn basic() -> ClientAuth {
    ClientAuth::new("gate", ClientProof::Basic(secret(SENTINEL))).unwrap()
}

fn form(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn subject(token: &str) -> Subject<'_> {
    Subject { token, kind: TokenType::AccessToken }
}

fn exchange(token: &str) -> Grant<'_> {
    Grant::Exchange { subject: subject(token), requested: TokenType::AccessToken, wanted: WANTED }
}

#[tokio::test]
async fn client_credentials_are_asked_for_with_the_secret_in_the_header() {
    let server = Server::default();
    let client = server.start().await;
    server.gives(&json!({"access_token": "t-1", "token_type": "Bearer", "expires_in": 60}));
    let issued = client.ask(&basic(), &Grant::ClientCredentials(WANTED), &STAMP).await.unwrap();
    assert_eq!((&*issued.token, issued.life_s), ("t-1", 60));
    let asked = server.asked().remove(0);
    assert_eq!(asked.content_type, "application/x-www-form-urlencoded");
    let pair = format!("Basic {}", STANDARD.encode(format!("gate:{SENTINEL}")));
    assert_eq!(asked.authorization.unwrap(), pair);
    let expected = form(&[
        ("grant_type", "client_credentials"),
        ("audience", "https://as.example"),
        ("resource", "https://mcp.example/mcp"),
        ("scope", "read write"),
    ]);
    assert_eq!(asked.form, expected);
}

#[tokio::test]
async fn nothing_is_asked_for_that_is_not_wanted() {
    let server = Server::default();
    let client = server.start().await;
    server.gives(&json!({"access_token": "t-1", "token_type": "bearer", "scope": "all"}));
    let grant = Grant::ClientCredentials(Wanted::default());
    client.ask(&basic(), &grant, &STAMP).await.unwrap();
    assert_eq!(server.asked().remove(0).form, form(&[("grant_type", "client_credentials")]));
}

#[tokio::test]
async fn a_token_is_exchanged_with_the_secret_in_the_form() {
    let server = Server::default();
    let client = server.start().await;
    let kind = TokenType::AccessToken.urn();
    server
        .gives(&json!({"access_token": "t-1", "issued_token_type": kind, "token_type": "Bearer"}));
    let auth = ClientAuth::new("gate", ClientProof::Post(secret("s&cret"))).unwrap();
    client.ask(&auth, &exchange("sub.je.ct"), &STAMP).await.unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.authorization, None);
    let expected = form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "sub.je.ct"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", "https://as.example"),
        ("resource", "https://mcp.example/mcp"),
        ("scope", "read write"),
        ("client_id", "gate"),
        ("client_secret", "s&cret"),
    ]);
    assert_eq!(asked.form, expected);
}

#[tokio::test]
async fn an_identity_assertion_goes_from_one_server_to_the_other() {
    let (idp, own) = (Server::default(), Server::default());
    let (idp_client, own_client) = (idp.start().await, own.start().await);
    let kind = TokenType::IdJag.urn();
    idp.gives(&json!({"access_token": "j.a.g", "issued_token_type": kind, "token_type": "N_A",
        "expires_in": 300}));
    own.gives(&json!({"access_token": "t-1", "token_type": "Bearer", "expires_in": 90}));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = Arc::new(ClientKey::from_pem(&pair.serialize_pem(), "key").unwrap());
    let proof = ClientProof::Signed { key, key_id: None, audience: Some("https://as".into()) };
    let signing = ClientAuth::new("gate-at-as", proof).unwrap();
    let (first, second) = ((&idp_client, &basic()), (&own_client, &signing));
    let subject = Subject { token: "id.to.ken", kind: TokenType::IdToken };
    let issued = identity_assertion(first, second, subject, WANTED, &STAMP).await.unwrap();
    assert_eq!((&*issued.token, issued.life_s), ("t-1", 90));
    let expected = form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "id.to.ken"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
        ("audience", "https://as.example"),
        ("resource", "https://mcp.example/mcp"),
        ("scope", "read write"),
    ]);
    assert_eq!(idp.asked().remove(0).form, expected);
    let mut asked = own.asked().remove(0).form;
    let proof = asked.remove("client_assertion").unwrap();
    let expected = form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "j.a.g"),
        ("client_id", "gate-at-as"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ]);
    assert_eq!(asked, expected);
    let (message, signature) = proof.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key_raw());
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(message.as_bytes(), &signature).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(message.split_once('.').unwrap().1).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let now_s = NOW_MS / 1000;
    let expected = json!({"iss": "gate-at-as", "sub": "gate-at-as", "aud": "https://as",
        "iat": now_s, "exp": now_s + CLIENT_ASSERTION_TTL_S, "jti": "j-1-2"});
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn an_access_token_in_place_of_the_assertion_ends_it_before_the_second_server() {
    let (idp, own) = (Server::default(), Server::default());
    let (idp_client, own_client) = (idp.start().await, own.start().await);
    let kind = TokenType::AccessToken.urn();
    idp.gives(&json!({"access_token": "t", "issued_token_type": kind, "token_type": "Bearer"}));
    let auth = basic();
    let (first, second) = ((&idp_client, &auth), (&own_client, &auth));
    let refused = identity_assertion(first, second, subject("a.b.c"), WANTED, &STAMP).await;
    assert!(matches!(refused, Err(GrantError::Answer { .. })), "{refused:?}");
    assert!(own.asked().is_empty());
}

#[tokio::test]
async fn the_callers_own_token_is_no_answer_of_either_server() {
    let server = Server::default();
    let client = server.start().await;
    let echo = |kind: TokenType, scheme: &str, token: &str| {
        server.gives(
            &json!({"access_token": token, "issued_token_type": kind.urn(), "token_type": scheme}),
        );
    };
    echo(TokenType::AccessToken, "Bearer", "a.b.c");
    let refused = client.ask(&basic(), &exchange("a.b.c"), &STAMP).await;
    assert!(matches!(refused, Err(GrantError::Answer { .. })), "{refused:?}");
    echo(TokenType::IdJag, "N_A", "j.a.g");
    server.gives(&json!({"access_token": "a.b.c", "token_type": "Bearer"}));
    let auth = basic();
    let both = (&client, &auth);
    let refused = identity_assertion(both, both, subject("a.b.c"), WANTED, &STAMP).await;
    assert!(matches!(refused, Err(GrantError::Answer { .. })), "{refused:?}");
}

#[tokio::test]
async fn hostile_answers_are_refused_and_not_repeated() {
    let server = Server::default();
    let client = server.start().await;
    let good = |more: &str| format!(r#"{{"access_token":"t","token_type":"Bearer"{more}}}"#);
    let error = |code: &str| format!(r#"{{"error":"{code}","error_description":"{SENTINEL}"}}"#);
    let json = "application/json";
    let big = good(&format!(r#","x":"{}""#, "x".repeat(ANSWER_MAX_BYTES)));
    let cases: Vec<(u16, &str, String, &str)> = vec![
        (200, "text/html", good(""), "Answer"),
        (200, "application/jsonp", good(""), "Answer"),
        (200, json, String::new(), "Answer"),
        (200, json, "[".repeat(10_000), "Answer"),
        (200, json, good(r#","token_type":"Bearer""#), "Answer"),
        (200, json, good(r#","expires_in":"soon""#), "Answer"),
        (200, json, good(&format!(r#","scope":"read {SENTINEL}""#)), "Answer"),
        (200, json, error("invalid_grant"), "Answer"),
        (
            200,
            json,
            format!(r#"{{"access_token":"{SENTINEL} x","token_type":"Bearer"}}"#),
            "Answer",
        ),
        (200, json, big, "Answer"),
        (201, json, good(""), "Status"),
        (302, json, good(""), "Status"),
        (307, json, good(""), "Status"),
        (400, json, error("invalid_grant"), "Refused"),
        (401, json, error(SENTINEL), "Refused"),
        (403, json, error("invalid_target"), "Refused"),
        (400, "text/html", format!("<b>{SENTINEL}</b>"), "Status"),
        (429, json, error("temporarily_unavailable"), "Status"),
        (500, json, error("server_error"), "Status"),
    ];
    for (status, kind, body, expected) in cases {
        let shown: String = body.chars().take(80).collect();
        server.answers(status, kind, body);
        let refused = client.ask(&basic(), &Grant::ClientCredentials(WANTED), &STAMP).await;
        let refused = refused.unwrap_err();
        let name = format!("{refused:?}");
        assert!(name.starts_with(expected), "{status} {shown}: {name}");
        let told = format!("{refused} {name}");
        assert!(!told.contains(SENTINEL), "{status} {shown}: {told}");
        // One request each: no redirect was followed, nothing tried again.
        assert_eq!(server.asked().len(), 1, "{status} {shown}");
    }
}

#[tokio::test]
async fn the_size_of_an_answer_is_bounded_at_its_edge() {
    let server = Server::default();
    let client = server.start().await;
    let shell = r#"{"access_token":"t","token_type":"Bearer","x":""}"#.len();
    let of = |bytes: usize| {
        let fill = "x".repeat(bytes - shell);
        format!(r#"{{"access_token":"t","token_type":"Bearer","x":"{fill}"}}"#)
    };
    let grant = Grant::ClientCredentials(WANTED);
    server.answers(200, "application/json", of(ANSWER_MAX_BYTES));
    assert!(client.ask(&basic(), &grant, &STAMP).await.is_ok());
    server.answers(200, "application/json", of(ANSWER_MAX_BYTES + 1));
    assert!(client.ask(&basic(), &grant, &STAMP).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_or_never_ends_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token?key={SENTINEL}", listener.local_addr().unwrap());
    let client = TokenClient::new(&url, None, Duration::from_millis(100)).unwrap();
    let grant = Grant::ClientCredentials(WANTED);
    // Connections are accepted by the system and never answered.
    let hangs = client.ask(&basic(), &grant, &STAMP).await.unwrap_err();
    drop(listener);
    let gone = client.ask(&basic(), &grant, &STAMP).await.unwrap_err();
    for error in [hangs, gone] {
        assert!(error.is_outage(), "{error}");
        assert!(!format!("{error} {error:?}").contains(SENTINEL), "{error}");
    }
}
