//! The key set by which servers verify what an enforcement point tells them of a call.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::Full;
use lictor_identity::SigningRing;
use lictor_identity::rotation::JWKS_MAX_AGE_S;

use crate::clock::Clock;

/// Where both enforcement points publish their keys (`GET`, for everyone).
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The published keys at `now_ms`. Whoever keeps them no longer than they may never meets a token
/// whose key they lack: keys are published before they sign for longer than that.
#[must_use]
pub fn response(ring: &SigningRing, now_ms: i64) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(ring.jwks_json(now_ms).into()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if let Ok(kept) = HeaderValue::from_str(&format!("public, max-age={JWKS_MAX_AGE_S}")) {
        response.headers_mut().insert(CACHE_CONTROL, kept);
    }
    response
}

/// Follows the files of `ring` until dropped.
pub async fn follow(ring: Arc<SigningRing>, clock: Clock) {
    ring.follow(Arc::new(move || clock.now_ms())).await;
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use lictor_identity::token_key::generate;
    use lictor_identity::{TokenAlgorithm, TokenKey};

    use super::*;

    #[tokio::test]
    async fn the_key_set_says_how_long_it_may_be_kept() {
        let pair = generate(TokenAlgorithm::Es256).unwrap();
        let key = TokenKey::parse(&pair.private_pem, "it").unwrap();
        let response = response(&SigningRing::of(key), 0);
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=60");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["keys"][0]["kid"], pair.kid);
        assert!(body["keys"][0].get("d").is_none(), "{body}");
    }
}
