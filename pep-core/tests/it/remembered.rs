//! A token that is remembered as verified gets nobody further than a token that is not: whoever is
//! revoked is refused at once.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use lictor_identity::{Authenticator, IssuerSettings, Jwks, Settings};
use lictor_pep_core::setup::{self, AuditConfig};
use lictor_pep_core::{Clock, Ids, Pep, PepParts, Proof, Refusal, Request};
use lictor_proto::call::{Call, ResourceKind};
use lictor_proto::decide::{Answer, Decide, DecideError, Hints, Revocations, Settle};
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::revocation::{Entry, Kind};
use tokio::sync::{Mutex, mpsc};

const NOW_MS: i64 = 1_800_000_000_000;
const ISS: &str = "https://issuer.example";
const AUD: &str = "lictor";

/// Allows everything, and tells of revocations as they come.
struct Point(Mutex<mpsc::UnboundedReceiver<Revocations>>);

#[async_trait]
impl Decide for Point {
    async fn decide(&self, call: Arc<Call>, _: u32) -> Result<Answer, DecideError> {
        let mut decision = Decision::denied("d", &call.call_id, Reason::new("yes", "yes"));
        decision.request_digest = call.request_digest();
        decision.effect = Effect::Allow;
        Ok(Answer { decision, hints: Hints::default() })
    }

    async fn decide_batch(&self, _: Vec<Arc<Call>>, _: u32) -> Result<Vec<Answer>, DecideError> {
        Err(DecideError::Unavailable("not here".to_owned()))
    }

    async fn settle(&self, _: Settle) -> Result<(), DecideError> {
        Ok(())
    }

    async fn exchange_checkpoint(&self, _: &str, _: &str) -> Result<String, DecideError> {
        Ok(String::new())
    }

    async fn revocations(&self, _: u64) -> Result<Revocations, DecideError> {
        match self.0.lock().await.recv().await {
            Some(news) => Ok(news),
            None => std::future::pending().await,
        }
    }
}

struct Rig {
    pep: Pep,
    token: String,
    say: mpsc::UnboundedSender<Revocations>,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn start() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let x = BASE64.encode(key.verifying_key().as_bytes());
        let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"a","x":"{x}"}}]}}"#);
        let jwks = Jwks::parse(jwks.as_bytes()).unwrap();
        let issuers = vec![IssuerSettings::new(ISS, &[AUD], jwks)];
        let settings = Settings { issuers, ..Settings::default() };
        let now_s = NOW_MS / 1000;
        let claims = serde_json::json!({
            "iss": ISS, "aud": AUD, "sub": "alice", "client_id": "bot", "jti": "t-1",
            "iat": now_s - 1, "exp": now_s + 600,
        });
        let header = BASE64.encode(r#"{"alg":"EdDSA","kid":"a","typ":"at+jwt"}"#);
        let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(key.sign(signed.as_bytes()).to_bytes());
        let (say, news) = mpsc::unbounded_channel();
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(NOW_MS);
        let audit = AuditConfig { dir: dir.path().join("audit"), ..AuditConfig::default() };
        let pep = Pep::new(PepParts {
            decide: Arc::new(Point(Mutex::new(news))),
            authenticator: Arc::new(Authenticator::new(settings).unwrap()),
            audit: setup::audit_log(&audit, "pep", &dir.path().join("keys"), &clock).unwrap(),
            clock,
            ids: Ids::counting(),
            abilities: &[],
            budget_ms: 5_000,
        });
        Self { pep, token: format!("{signed}.{signature}"), say, _dir: dir }
    }

    /// One whole call with the same token, each time in a request of its own.
    async fn call(&self) -> Result<(), Refusal> {
        let proof = Proof::bearer(&self.token);
        let request = Request::new(proof, "tools/call", ResourceKind::Tool, "s/t");
        let permitted = self.pep.decide(request).await?;
        self.pep.permit(permitted, b"{}").await.map(drop)
    }
}

#[tokio::test]
async fn whoever_is_revoked_is_refused_at_once_though_the_token_is_remembered() {
    let rig = Rig::start();
    let credential = rig.pep.identify(&Proof::bearer(&rig.token)).await.unwrap().credential.clone();
    for (version, kind, id, reason) in [
        (1, Kind::Credential, credential.id.as_str(), "credential_revoked"),
        (3, Kind::Agent, "bot", "agent_revoked"),
        (5, Kind::User, "alice", "subject_revoked"),
    ] {
        rig.call().await.unwrap();
        let entry =
            Entry { kind, id: id.to_owned(), reason: String::new(), since_ms: 0, until_ms: None };
        let mut news = rig.pep.revocation_news();
        rig.say.send(Revocations { version, entries: vec![entry], stale: false }).unwrap();
        news.changed().await;
        assert_eq!(rig.call().await.unwrap_err().id(), reason);
        // And nobody is, once it is taken back.
        let entries = Vec::new();
        rig.say.send(Revocations { version: version + 1, entries, stale: false }).unwrap();
        news.changed().await;
    }
    rig.call().await.unwrap();
}
