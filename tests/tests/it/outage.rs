//! An identity provider that is away for longer than its keys are believed, seen from the doors of
//! both enforcement points.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::CONNECTION;
use lictor_identity::config::IdentityConfig;
use lictor_identity::{Authenticator, Timing};
use lictor_tests::issuer::{AUDIENCE, ISSUER, Issuer, now_s};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::doors::{Doors, Time};

/// How long keys are believed that cannot be fetched again: the shortest time that may be
/// configured.
const KEYS_MAX_AGE_S: i64 = 60;

/// The server of an issuer's keys, until it is stopped.
struct KeyServer {
    address: SocketAddr,
    served: JoinHandle<()>,
}

impl KeyServer {
    /// Serves `jwks` at `address`, and keeps no connection, so that stopping it is noticed at once.
    async fn start(address: &str, jwks: String) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = get(move || async move { ([(CONNECTION, "close")], jwks) });
        let router = Router::new().route("/jwks", keys);
        let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, served }
    }

    async fn stop(self) {
        self.served.abort();
        assert!(self.served.await.unwrap_err().is_cancelled());
    }
}

async fn authenticator(keys: &KeyServer, time: &Time) -> Authenticator {
    let text = format!(
        r#"issuers = [{{ iss = "{ISSUER}", aud = "{AUDIENCE}", jwks = "http://{}/jwks",
            keys_max_age_s = {KEYS_MAX_AGE_S}, refresh_s = 30, algorithms = ["EdDSA"] }}]"#,
        keys.address
    )
    .replace('\n', " ");
    let config: IdentityConfig = toml::from_str(&text).unwrap();
    let time = time.clone();
    // Whoever asks may cause the next fetch at once: time stands still here but for the clock.
    let timing = Timing { demand_interval: Duration::from_millis(1), ..Timing::default() };
    let settings = config.open_with(Arc::new(move || time.now_ms()), &timing).await.unwrap();
    Authenticator::new(settings).unwrap()
}

#[tokio::test]
async fn known_keys_serve_for_a_minute_without_their_provider_and_then_nobody_is_believed() {
    let (issuer, stranger) = (Issuer::new(1), Issuer::new(2));
    let keys = KeyServer::start("127.0.0.1:0", issuer.jwks()).await;
    let address = keys.address.to_string();
    let began_ms = i64::try_from(now_s()).unwrap() * 1000;
    let time = Time::at(began_ms);
    let (llm, mcp) = (authenticator(&keys, &time).await, authenticator(&keys, &time).await);
    let doors = Doors::open(llm, mcp, &time).await;
    let token = issuer.token("alice@example.com", "expense-report-v1");
    doors.served(&token, "while it is there").await;
    keys.stop().await;
    let bound_ms = began_ms + KEYS_MAX_AGE_S * 1000;
    time.set(bound_ms - 1);
    doors.served(&token, "within the minute").await;
    let unseen = issuer.token("alice@example.com", "expense-report-v1");
    doors.served(&unseen, "a token that was not remembered").await;
    let forged = stranger.token("alice@example.com", "expense-report-v1");
    doors.refused(&forged, "signature_invalid", "by somebody else").await;
    time.set(bound_ms);
    for token in [&token, &unseen] {
        doors.refused(token, "issuer_unavailable", "past the minute").await;
    }
    let keys = KeyServer::start(&address, issuer.jwks()).await;
    doors.served(&token, "when it is back").await;
    keys.stop().await;
    doors.close().await;
}
