//! An issuer on this machine, whose every answer a test decides.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};
use ed25519_dalek::SigningKey;
use lictor_identity::config::{IdentityConfig, IssuerConfig, KeysAt};
use lictor_identity::{Authenticator, Health, Identity, Presented, Timing};
use serde_json::json;

use crate::forge::{AUD, NOW_MS, NOW_S, b64, by};

/// Short enough that a test does not wait, long enough for a busy machine.
pub(crate) fn timing() -> Timing {
    Timing {
        fetch_timeout: Duration::from_secs(5),
        demand_interval: Duration::from_millis(1),
        start_wait_max: Duration::from_secs(30),
        watch_period: Duration::from_secs(1),
    }
}

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Reply {
    Json(String),
    Status(u16),
    Redirect(String),
    /// Bytes without end.
    Endless,
    /// A beginning, and then nothing.
    Stuck,
}

#[derive(Default)]
struct Told {
    replies: HashMap<String, Reply>,
    asked: Vec<String>,
}

/// The issuer.
#[derive(Clone)]
pub(crate) struct Idp {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
}

pub(crate) const JWKS_PATH: &str = "/jwks";
pub(crate) const OPENID_PATH: &str = "/.well-known/openid-configuration";
pub(crate) const OAUTH_PATH: &str = "/.well-known/oauth-authorization-server";

impl Idp {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::<Mutex<Told>>::default();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&told));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, told }
    }

    /// Its name.
    pub(crate) fn iss(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn tell(&self, path: &str, reply: Reply) {
        self.told.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// Publishes these keys.
    pub(crate) fn publish(&self, kids: &[&str]) {
        self.tell(JWKS_PATH, Reply::Json(key_set(kids)));
    }

    /// Publishes metadata at `path` that says it is of `iss`.
    pub(crate) fn describe(&self, path: &str, iss: &str) {
        let metadata = json!({"issuer": iss, "jwks_uri": self.url(JWKS_PATH), "extra": [1]});
        self.tell(path, Reply::Json(metadata.to_string()));
    }

    /// The paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.told.lock().unwrap().asked.clone()
    }

    /// A token of this issuer, signed by the key called `kid`.
    pub(crate) fn token(&self, kid: &str) -> String {
        token(&self.iss(), kid)
    }

    /// `[identity]` with this issuer alone, its key set named.
    pub(crate) fn by_url(&self) -> IssuerConfig {
        let jwks = Some(KeysAt::Url(self.url(JWKS_PATH)));
        IssuerConfig { jwks, ..IssuerConfig::new(&self.iss(), AUD) }
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, uri: Uri) -> Response<Body> {
    let reply = {
        let mut told = told.lock().unwrap();
        told.asked.push(uri.path().to_owned());
        told.replies.get(uri.path()).cloned().unwrap_or(Reply::Status(404))
    };
    let respond = |status: u16| Response::builder().status(status);
    match reply {
        Reply::Json(text) => respond(200).body(Body::from(text)).unwrap(),
        Reply::Status(status) => respond(status).body(Body::empty()).unwrap(),
        Reply::Redirect(to) => respond(302).header("location", to).body(Body::empty()).unwrap(),
        Reply::Endless => {
            let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(" ".repeat(8192)));
            respond(200).body(Body::from_stream(chunks)).unwrap()
        }
        Reply::Stuck => {
            use futures::StreamExt as _;
            let first = futures::stream::iter([Ok::<_, std::io::Error>("{\"keys\":[")]);
            let chunks = first.chain(futures::stream::pending());
            respond(200).body(Body::from_stream(chunks)).unwrap()
        }
    }
}

/// Every name has its own key.
fn key(kid: &str) -> SigningKey {
    let mut seed = [7; 32];
    seed.iter_mut().zip(kid.bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_bytes(&seed)
}

pub(crate) fn key_set(kids: &[&str]) -> String {
    let one = |kid: &&str| {
        let x = b64(key(kid).verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig"})
    };
    json!({"keys": kids.iter().map(one).collect::<Vec<_>>()}).to_string()
}

pub(crate) fn token(iss: &str, kid: &str) -> String {
    let header = json!({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}).to_string();
    signed(iss, kid, &header)
}

/// A token that does not say which key signed it.
pub(crate) fn unnamed_token(iss: &str, kid: &str) -> String {
    signed(iss, kid, r#"{"alg":"EdDSA","typ":"at+jwt"}"#)
}

fn signed(iss: &str, kid: &str, header: &str) -> String {
    let body = json!({"iss": iss, "sub": "alice", "aud": AUD, "iat": NOW_S, "exp": NOW_S + 900});
    by(&key(kid), header, &body.to_string())
}

/// An authenticator with a clock that a test sets.
pub(crate) struct Door {
    authenticator: Authenticator,
    now_ms: Arc<AtomicI64>,
}

impl Door {
    pub(crate) async fn open(issuer: IssuerConfig, timing: Timing) -> Self {
        let config = IdentityConfig { issuers: vec![issuer], ..IdentityConfig::default() };
        Self::open_with(config, timing).await
    }

    pub(crate) async fn open_with(config: IdentityConfig, timing: Timing) -> Self {
        let now_ms = Arc::new(AtomicI64::new(NOW_MS));
        let clock = Arc::clone(&now_ms);
        let now = Arc::new(move || clock.load(Ordering::SeqCst));
        let settings = config.open_with(now, &timing).await.unwrap();
        Self { authenticator: Authenticator::new(settings).unwrap(), now_ms }
    }

    pub(crate) fn set_clock(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }

    /// The reason id where the token is refused.
    pub(crate) async fn ask(&self, token: &str) -> Result<Identity, &'static str> {
        let now_ms = self.now_ms.load(Ordering::SeqCst);
        let asked = self.authenticator.identify(Presented::bearer(token), now_ms).await;
        asked.map_err(|error| error.id())
    }

    pub(crate) fn health(&self) -> Health {
        self.authenticator.health().remove(0)
    }
}
