//! What servers are told in signed tokens, held against the key set that is published.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use lictor_identity::rotation::plan::{LEAD_MIN_MS, RETAIN_MS};
use lictor_identity::rotation::store::{Takeover, rotate};
use lictor_identity::{
    Authenticator, Identity, IssuerSettings, Jwks, Presented, Settings, TokenAlgorithm,
};
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, DecideError};

use crate::oracle::{Oracle, allow};
use crate::rig::{Rig, call};
use crate::server::{Seen, json, said};

/// The issuer of the rig.
const ISSUER: &str = "http://pep.example";
const DOMAIN: &str = "corp.example";
const JWKS: &str = "/.well-known/jwks.json";
/// How much passes between two rounds of calls, milliseconds.
const STEP_MS: i64 = 15_000;
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls of one round, all at once.
const ROUND: usize = 8;

/// A server that believes the enforcement point, and keeps its key set for as long as it may.
struct Believer {
    audience: String,
    /// When it was fetched, and what it says.
    held: Option<(i64, Authenticator)>,
    fetched: usize,
}

impl Believer {
    fn new(rig: &Rig) -> Self {
        Self { audience: rig.server.url(), held: None, fetched: 0 }
    }

    /// Who `token` says is calling, by a key set no older than it may be.
    async fn believe(&mut self, rig: &Rig, seen: &Seen) -> Result<Identity, &'static str> {
        let now_ms = rig.now_ms();
        let authenticator = match self.held.take().filter(|(until_ms, _)| now_ms < *until_ms) {
            Some(held) => &self.held.insert(held).1,
            None => {
                let answer = rig.get(JWKS).await;
                let kept = answer.headers["cache-control"].to_str().unwrap();
                let max_age = kept.strip_prefix("public, max-age=").unwrap();
                let until_ms = now_ms + max_age.parse::<i64>().unwrap() * 1_000;
                let jwks = Jwks::parse(&answer.body).unwrap();
                let mut issuer = IssuerSettings::new(ISSUER, &[&self.audience, DOMAIN], jwks);
                issuer.transaction_tokens = true;
                let settings = Settings { issuers: vec![issuer], ..Settings::default() };
                self.fetched += 1;
                &self.held.insert((until_ms, Authenticator::new(settings).unwrap())).1
            }
        };
        let text = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
        let token = text("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let presented = Presented { transaction: text("txn-token"), ..Presented::bearer(token) };
        authenticator.authenticate(presented, now_ms).map_err(|error| error.id())
    }
}

fn with_txn(config: &mut lictor_pep_mcp::Config) {
    config.trust_domain = Some(DOMAIN.into());
    config.servers[0].txn_token = true;
}

/// Allowed, and the registry has other names for whoever acts.
fn allow_renamed(call: &Call) -> Result<Answer, DecideError> {
    let mut answer = allow(call)?;
    answer.hints.agents = vec!["agent-of-the-registry".into(), "planner-of-the-registry".into()];
    Ok(answer)
}

#[tokio::test]
async fn actors_have_their_names_of_the_registry() {
    let rig = Rig::start_with(Oracle::new(allow_renamed), |_| json(said("ok")), with_txn).await;
    rig.post(call("create", "{}")).await;
    let mut believer = Believer::new(&rig);
    let seen = rig.server.seen().pop().unwrap();
    let identity = believer.believe(&rig, &seen).await.unwrap();
    assert_eq!(identity.agent.unwrap().id, "agent-of-the-registry");
    assert_eq!(identity.delegation[0].id, "planner-of-the-registry");
    let subject = identity.subject.unwrap();
    let worker = subject.claims.node().pointer("/txn_token/req_wl").unwrap();
    assert_eq!(worker.as_str(), Some("agent-of-the-registry"));
}

#[tokio::test]
async fn a_transaction_token_says_what_the_call_belongs_to() {
    let rig = Rig::start_with(Oracle::new(allow), |_| json(said("ok")), with_txn).await;
    let got = rig.post(call("create", r#"{"amount": 900}"#)).await;
    assert_eq!(got.text(), said("ok"));
    let asked = rig.oracle.calls().pop().unwrap();
    let seen = rig.server.seen().pop().unwrap();
    let identity = Believer::new(&rig).believe(&rig, &seen).await.unwrap();
    let subject = identity.subject.unwrap();
    assert_eq!(subject.id, "alice@example.com");
    for (pointer, expected) in [
        ("/txn", asked.call_id.as_str()),
        ("/aud", DOMAIN),
        ("/scope", "tools/call"),
        ("/req_wl", "expense-report-v1"),
        ("/tctx/tool", "accounting/create"),
        ("/tctx/args_digest", &asked.args_digest()),
        ("/tctx/decision_id", "decision-1"),
    ] {
        let said = subject.claims.node().pointer(&format!("/txn_token{pointer}"));
        assert_eq!(said.and_then(|node| node.as_str()), Some(expected), "{pointer}");
    }
    // It is no credential here either.
    let token = seen.headers["txn-token"].to_str().unwrap();
    let bearer = format!("Bearer {token}");
    let refused = rig.post_with(call("create", "{}"), &[("authorization", &bearer)]).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_server_gets_no_transaction_token_unless_it_is_said_so() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    rig.post(call("create", "{}")).await;
    assert!(rig.server.seen().pop().unwrap().headers.get("txn-token").is_none());
}

#[tokio::test]
async fn a_rotation_fails_no_verification_and_no_call() {
    let rig = Rig::start_with(Oracle::new(allow), |_| json(said("ok")), with_txn).await;
    let mut believer = Believer::new(&rig);
    let mut tokens: Vec<(i64, Seen)> = Vec::new();
    let mut algorithms = BTreeSet::new();
    let published = async || rig.get(JWKS).await.json()["keys"].as_array().unwrap().len();
    let rounds = (LEAD_MIN_MS + RETAIN_MS) / STEP_MS + 6;
    for round in 0..rounds {
        if round == 3 {
            let now_ms = rig.now_ms();
            let takeover = Takeover::From(now_ms + LEAD_MIN_MS);
            rotate(&rig.keys_dir(), Some(TokenAlgorithm::Es256), takeover, now_ms).unwrap();
            let picked_up = async {
                while published().await < 2 {
                    let answers = join_all((0..ROUND).map(|_| rig.post(call("create", "{}"))));
                    assert!(answers.await.iter().all(|answer| answer.status == 200));
                }
            };
            tokio::time::timeout(PATIENCE, picked_up).await.unwrap();
        }
        let before = rig.server.seen().len();
        let answers = join_all((0..ROUND).map(|_| rig.post(call("create", "{}")))).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{round}");
        let arrived = rig.server.seen().into_iter().skip(before);
        tokens.extend(arrived.map(|seen| (rig.now_ms(), seen)));
        // Everything that still holds, also of rounds before.
        tokens.retain(|(minted_ms, _)| rig.now_ms() - minted_ms < 55_000);
        for (_, seen) in &tokens {
            let believed = believer.believe(&rig, seen).await;
            assert!(believed.is_ok(), "round {round}: {believed:?}");
            let token = seen.headers["authorization"].to_str().unwrap();
            let header = token.strip_prefix("Bearer ").unwrap().split('.').next().unwrap();
            algorithms.insert(header.to_owned());
        }
        rig.pass(STEP_MS);
    }
    assert_eq!((algorithms.len(), published().await), (2, 1));
    assert!(believer.fetched >= 3, "{}", believer.fetched);
}
