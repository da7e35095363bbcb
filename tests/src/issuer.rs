//! A login server's tokens. Every key is made for one test.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

/// The login server's name.
pub const ISSUER: &str = "https://login.example.com";
/// The name by which its tokens mean us.
pub const AUDIENCE: &str = "lictor";
/// How long its tokens hold, seconds.
const TOKEN_TTL_S: u64 = 3_600;

/// A login server.
#[derive(Debug, Clone)]
pub struct Issuer {
    key: SigningKey,
    kid: String,
}

/// Seconds since 1970.
///
/// # Panics
/// The clock of the machine is before 1970.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn coded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    /// An issuer whose key is made from `seed`.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]), kid: "login-1".to_owned() }
    }

    /// Its public keys.
    #[must_use]
    pub fn jwks(&self) -> String {
        let x = coded(self.key.verifying_key().as_bytes());
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x,
        });
        json!({ "keys": [key] }).to_string()
    }

    /// The claims by which `agent` acts for `subject`, from now on.
    #[must_use]
    pub fn claims(subject: &str, agent: &str) -> Value {
        let now = now_s();
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "act": { "sub": agent },
            "iat": now, "exp": now + TOKEN_TTL_S,
        })
    }

    /// A token with any claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.kid });
        let signed = format!("{}.{}", coded(header.to_string()), coded(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", coded(signature))
    }

    /// A good token.
    #[must_use]
    pub fn token(&self, subject: &str, agent: &str) -> String {
        self.sign(&Self::claims(subject, agent))
    }

    /// A token that ended a day ago.
    #[must_use]
    pub fn expired(&self, subject: &str, agent: &str) -> String {
        let mut claims = Self::claims(subject, agent);
        let then = now_s() - 86_400;
        claims["iat"] = json!(then - 60);
        claims["exp"] = json!(then);
        self.sign(&claims)
    }

    /// A token that says it needs no signature.
    #[must_use]
    pub fn unsigned(subject: &str, agent: &str) -> String {
        let header = json!({ "alg": "none", "typ": "JWT" });
        let claims = Self::claims(subject, agent);
        format!("{}.{}.", coded(header.to_string()), coded(claims.to_string()))
    }
}
