//! The table of what must not be believed, from the headers of a request to its refusal.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use lictor_identity::{Authenticator, ClientCertificate, Identity};
use lictor_pep_core::client::{GrpcDecide, Target, TokenSource};
use lictor_pep_core::setup::{self, AuditConfig};
use lictor_pep_core::{Challenge, Clock, Ids, Pep, PepParts, Proof};

use crate::table::{Case, Sent, Site, all, forge, honest_requests, possession, transactions};

const NOW_S: i64 = 1_800_000_000;

fn site() -> Site {
    Site {
        now_s: NOW_S,
        aud: "https://gate.example".to_owned(),
        url: "https://gate.example/mcp/files".to_owned(),
        method: "POST".to_owned(),
    }
}

fn authenticator(site: &Site) -> Authenticator {
    let dir = tempfile::tempdir().unwrap();
    Authenticator::new(forge::config(&site.aud, dir.path()).load().unwrap()).unwrap()
}

/// `None` where a value cannot stand in a header at all.
fn headers(sent: &Sent) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, values) in
        [("authorization", &sent.authorization), ("dpop", &sent.dpop), ("txn-token", &sent.txn)]
    {
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
    }
    Some(headers)
}

fn proof(site: &Site, sent: &Sent) -> Option<Proof> {
    let certificate = sent.stranger.then(|| ClientCertificate::new(b"stranger"));
    let method = Method::from_bytes(site.method.as_bytes()).unwrap();
    Some(Proof::from_headers(&headers(sent)?, &method, &site.url).with_certificate(certificate))
}

fn ask(
    authenticator: &Authenticator,
    site: &Site,
    sent: &Sent,
) -> Option<Result<Identity, &'static str>> {
    let proof = proof(site, sent)?;
    let identity =
        proof.presented().and_then(|proof| authenticator.authenticate(proof, NOW_S * 1000));
    Some(identity.map_err(|error| error.id()))
}

/// The five stages at one moment, of which only the second is asked.
fn pep(authenticator: &Arc<Authenticator>, dir: &Path, now_ms: i64) -> Pep {
    let clock = Clock::fixed(now_ms);
    let nowhere = Target::parse("http://127.0.0.1:9").unwrap();
    let config = AuditConfig { dir: dir.join("audit"), ..AuditConfig::default() };
    let writer = format!("pep-{now_ms}");
    Pep::new(PepParts {
        decide: Arc::new(GrpcDecide::connect(&nowhere, TokenSource::none()).unwrap()),
        authenticator: Arc::clone(authenticator),
        audit: setup::audit_log(&config, &writer, &dir.join("keys"), &clock).unwrap(),
        clock,
        ids: Ids::counting(),
        abilities: &[],
        budget_ms: 0,
    })
}

#[test]
fn what_is_honest_is_accepted() {
    let site = site();
    let authenticator = authenticator(&site);
    for (name, sent) in honest_requests(&site) {
        let accepted = ask(&authenticator, &site, &sent);
        assert!(matches!(accepted, Some(Ok(_))), "{name}: {accepted:?}");
    }
}

#[test]
fn each_is_refused_for_its_own_reason() {
    let site = site();
    let authenticator = authenticator(&site);
    let mut walked = 0;
    for Case { name, sent, id, again } in all(&site) {
        if again {
            assert!(matches!(ask(&authenticator, &site, &sent), Some(Ok(_))), "{name}");
        }
        if let Some(asked) = ask(&authenticator, &site, &sent) {
            assert_eq!(asked.err(), Some(id), "{name}");
            walked += 1;
        }
    }
    assert!(walked > 240, "{walked}");
}

#[tokio::test]
async fn one_request_may_ask_often_and_the_next_needs_another_proof() {
    let (dir, site) = (tempfile::tempdir().unwrap(), site());
    let pep = pep(&Arc::new(authenticator(&site)), dir.path(), NOW_S * 1000);
    let sent = possession::honest(&site);
    let first = proof(&site, &sent).unwrap();
    for _ in 0..3 {
        let identity = pep.identify(&first.clone()).await.unwrap();
        assert_eq!(identity.agent.as_ref().unwrap().id, "expense-report-v1");
    }
    let refused = pep.identify(&proof(&site, &sent).unwrap()).await.unwrap_err();
    assert_eq!((refused.id(), refused.status()), ("dpop_replayed", 401));
    assert_eq!(refused.challenge(), &Challenge::Proof);
}

#[tokio::test]
async fn what_was_found_out_ends_with_the_credential() {
    let (dir, site) = (tempfile::tempdir().unwrap(), site());
    let shared = Arc::new(authenticator(&site));
    let (early, late) =
        (pep(&shared, dir.path(), NOW_S * 1000), pep(&shared, dir.path(), NOW_S * 1000 + 60_000));
    let proof = proof(&site, &transactions::honest(&site)).unwrap();
    assert!(early.identify(&proof).await.is_ok());
    let refused = late.identify(&proof).await.unwrap_err();
    assert_eq!(refused.id(), "txn_token_expired");
}

#[tokio::test]
async fn each_caller_is_told_what_would_help() {
    let (dir, site) = (tempfile::tempdir().unwrap(), site());
    let pep = pep(&Arc::new(authenticator(&site)), dir.path(), NOW_S * 1000);
    let bound = possession::bound(&site, forge::ISS);
    let nonced = possession::bound(&site, forge::NONCE);
    let made = possession::proof(&site, &nonced, "1");
    for (sent, id, scheme, error, nonce) in [
        (Sent::default(), "token_missing", "Bearer", "invalid_token", false),
        (Sent::bearer(&bound), "token_bound", "DPoP", "invalid_token", false),
        (Sent::bound(&bound, "x"), "dpop_invalid", "DPoP", "invalid_dpop_proof", false),
        (Sent::bound(&nonced, &made), "dpop_nonce_missing", "DPoP", "use_dpop_nonce", true),
    ] {
        let refused = pep.identify(&proof(&site, &sent).unwrap()).await.unwrap_err();
        let asked = refused.challenge();
        assert_eq!((refused.id(), asked.scheme(), asked.error()), (id, scheme, error));
        assert_eq!(asked.nonce().is_some(), nonce, "{id}");
    }
}
