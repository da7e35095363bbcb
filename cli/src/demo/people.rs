//! The demonstration's login server and the credentials that it gives out. Every key is
//! made anew each time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use lictor_identity::files::random;
use lictor_identity::{ApiKeyStore, IssueRequest, PartyRef, Role, keys};
use lictor_proto::call::DEFAULT_TENANT;
use serde_json::json;

use super::steps::Caller;
use crate::exit::Failure;

/// The name of the login server.
pub(crate) const ISSUER: &str = "https://login.demo.example";
/// The name by which its tokens mean us.
pub(crate) const AUDIENCE: &str = "lictor";
/// How long its tokens hold, seconds.
const TOKEN_TTL_S: i64 = 600;

/// Everybody's credentials, and what verifies them.
pub(crate) struct People {
    expense: String,
    review: String,
    unregistered: String,
    alice: String,
    bob: String,
    /// The login server's public keys.
    pub(crate) jwks: String,
    /// The hashed API keys of alice and bob.
    pub(crate) api_keys: String,
}

impl People {
    /// Credentials that hold from `now_ms` on.
    ///
    /// # Errors
    /// No randomness, which is the system's fault.
    pub(crate) fn new(now_ms: i64) -> Result<Self, Failure> {
        let seed = random().map_err(|error| Failure::error(&error))?;
        let issuer = Issuer { key: SigningKey::from_bytes(&seed), now_s: now_ms / 1_000 };
        let mut store = ApiKeyStore::default();
        let alice = api_key(&mut store, "alice", now_ms)?;
        let bob = api_key(&mut store, "bob", now_ms)?;
        Ok(Self {
            expense: issuer.token("alice@example.com", "expense-report-v1"),
            review: issuer.token("dave@example.com", "pr-review-v1"),
            unregistered: issuer.token("alice@example.com", "helpful-agent-v0"),
            alice,
            bob,
            jwks: issuer.jwks(),
            api_keys: store.to_json().map_err(|error| Failure::error(&error))?,
        })
    }

    /// What `caller` presents.
    pub(crate) fn credential(&self, caller: Caller) -> Option<&str> {
        match caller {
            Caller::Expense => Some(&self.expense),
            Caller::Review => Some(&self.review),
            Caller::Unregistered => Some(&self.unregistered),
            Caller::Alice => Some(&self.alice),
            Caller::Bob => Some(&self.bob),
            Caller::Nobody => None,
        }
    }

    /// Whether `header` carries anybody's credential.
    pub(crate) fn knows(&self, header: &str) -> bool {
        let all = [&self.expense, &self.review, &self.unregistered, &self.alice, &self.bob];
        all.iter().any(|credential| header.contains(credential.as_str()))
    }
}

struct Issuer {
    key: SigningKey,
    now_s: i64,
}

impl Issuer {
    /// A signed token: `agent` acts for `subject`.
    fn token(&self, subject: &str, agent: &str) -> String {
        let kid = keys::key_id(&self.key.verifying_key());
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "act": { "sub": agent },
            "iat": self.now_s, "exp": self.now_s + TOKEN_TTL_S,
        });
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn jwks(&self) -> String {
        let public = self.key.verifying_key();
        let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
        let kid = keys::key_id(&public);
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "x": x }] })
            .to_string()
    }
}

fn api_key(store: &mut ApiKeyStore, name: &str, now_ms: i64) -> Result<String, Failure> {
    let request = IssueRequest {
        id: name.to_owned(),
        tenant: DEFAULT_TENANT.to_owned(),
        subject: Some(PartyRef::new("user", &format!("{name}@example.com"))),
        roles: vec![Role::Approver],
        ..IssueRequest::default()
    };
    let random = random().map_err(|error| Failure::error(&error))?;
    let (key, _) = store.issue(&request, now_ms, random).map_err(|error| Failure::error(&error))?;
    Ok((*key).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_identity::{Authenticator, IssuerSettings, Jwks, Presented, Settings};

    #[test]
    fn tokens_say_who_acts_for_whom() {
        let people = People::new(1_000_000).unwrap();
        let jwks = Jwks::parse(people.jwks.as_bytes()).unwrap();
        let settings = Settings {
            issuers: vec![IssuerSettings::new(ISSUER, &[AUDIENCE], jwks)],
            ..Settings::default()
        };
        let authenticator = Authenticator::new(settings).unwrap();
        let token = people.credential(Caller::Expense).unwrap();
        let identity = authenticator.authenticate(Presented::bearer(token), 1_000_500).unwrap();
        assert_eq!(identity.subject.unwrap().id, "alice@example.com");
        assert_eq!(identity.agent.unwrap().id, "expense-report-v1");
    }
}
