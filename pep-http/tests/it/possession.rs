//! Callers who must prove that a token is theirs: by a key of their own (DPoP), or by the
//! certificate of their connection.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use lictor_proto::call::CredentialKind;
use serde_json::json;

use crate::decide::{Fake, allow};
use crate::encrypted::Pki;
use crate::provider::json;
use crate::rig::{Answer, Rig, answered, hello, outcomes};
use crate::table::forge::{HEADER, ISS, NONCE, config, ed, sha256};
use crate::table::possession::{bound, honest, proof, proof_with};
use crate::table::{Sent, Site, all, honest_requests};

const PATH: &str = "/v1/chat/completions";
/// Where callers reach the enforcement point: not where it listens.
const PUBLIC_URL: &str = "https://gate.example/llm";

fn site() -> Site {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Site {
        now_s: i64::try_from(now.as_secs()).unwrap(),
        aud: "https://gate.example".to_owned(),
        url: format!("{PUBLIC_URL}{PATH}"),
        method: "POST".to_owned(),
    }
}

async fn open(pki: Option<&Pki>) -> Rig {
    let fake = Fake::new(|call| Ok(allow(call)));
    Rig::start_for(fake, json(&answered("hi")), |site_config, dir, identity| {
        site_config.public_url = Some(PUBLIC_URL.to_owned());
        site_config.tls = pki.map(Pki::listener);
        *identity = config(&site().aud, dir);
    })
    .await
}

/// `None` where it cannot stand in a header.
fn request(rig: &Rig, sent: &Sent) -> Option<Request<Full<bytes::Bytes>>> {
    let mut request = rig.request(Method::POST, PATH, hello());
    let headers = request.headers_mut();
    headers.remove("authorization");
    for (name, values) in
        [("authorization", &sent.authorization), ("dpop", &sent.dpop), ("txn-token", &sent.txn)]
    {
        for value in values {
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
    }
    Some(request)
}

async fn send(rig: &Rig, sent: &Sent) -> Answer {
    rig.send(request(rig, sent).unwrap()).await
}

/// Reason, and what the caller is asked for.
fn refused(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    (answer.code(), challenge.to_owned())
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_counts_with_a_proof_and_the_proof_once() {
    let (site, rig) = (site(), open(None).await);
    let (token, sent) = (bound(&site, ISS), honest(&site));
    assert_eq!(send(&rig, &sent).await.status, 200);
    let without = Sent { dpop: Vec::new(), ..sent.clone() };
    for (sent, id, error) in [
        (sent, "dpop_replayed", "invalid_dpop_proof"),
        (without, "dpop_missing", "invalid_dpop_proof"),
        (Sent::bearer(&token), "token_bound", "invalid_token"),
    ] {
        let (code, challenge) = refused(&send(&rig, &sent).await);
        assert_eq!(code, id);
        let expected = format!("DPoP error=\"{error}\", algs=\"EdDSA ES256 ");
        assert!(challenge.starts_with(&expected), "{challenge}");
    }
    let calls = rig.decide.calls();
    assert_eq!(calls.len(), 1);
    let credential = calls[0].credential.as_ref().unwrap();
    assert_eq!((credential.kind, credential.issuer.as_str()), (CredentialKind::Jwt, ISS));
    let seen = rig.provider.seen();
    assert_eq!(seen.len(), 1);
    let told = format!("{:?}", seen[0]);
    assert!(!seen[0].headers.contains_key("dpop") && !told.contains(&token), "{told}");
    assert_eq!(
        outcomes(&rig.stop().await).iter().filter(|outcome| **outcome == "denied").count(),
        3
    );
}

#[tokio::test]
async fn a_proof_is_for_the_place_that_callers_know() {
    let (site, rig) = (site(), open(None).await);
    let token = bound(&site, ISS);
    let named = |url: String, jti: &str| {
        Sent::bound(
            &token,
            &proof_with(&site, &token, jti, |claims| {
                claims.insert("htu".to_owned(), json!(url));
            }),
        )
    };
    let listened = named(format!("http://{}{PATH}", rig.address), "1");
    assert_eq!(refused(&send(&rig, &listened).await).0, "dpop_url_wrong");
    let another = named(format!("{PUBLIC_URL}/v1/models"), "2");
    assert_eq!(refused(&send(&rig, &another).await).0, "dpop_url_wrong");
    assert_eq!(send(&rig, &named(site.url.clone(), "3")).await.status, 200);
}

#[tokio::test]
async fn an_issuer_that_wants_nonces_gets_proofs_with_one() {
    let (site, rig) = (site(), open(None).await);
    let token = bound(&site, NONCE);
    let asked = send(&rig, &Sent::bound(&token, &proof(&site, &token, "1"))).await;
    let (code, challenge) = refused(&asked);
    assert_eq!(code, "dpop_nonce_missing");
    assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\", algs=\""), "{challenge}");
    let nonce = asked.headers["dpop-nonce"].to_str().unwrap();
    let with = |jti: &str| {
        Sent::bound(
            &token,
            &proof_with(&site, &token, jti, |claims| {
                claims.insert("nonce".to_owned(), json!(nonce));
            }),
        )
    };
    // A nonce is not used up: it is of its time.
    for jti in ["2", "3"] {
        assert_eq!(send(&rig, &with(jti)).await.status, 200);
    }
}

#[tokio::test]
async fn every_hostile_request_is_told_its_reason_and_who_is_honest_is_served() {
    let (site, rig) = (site(), open(None).await);
    let mut walked = 0;
    for case in all(&site).into_iter().filter(|case| !case.again && !case.sent.stranger) {
        let Some(request) = request(&rig, &case.sent) else { continue };
        let (code, challenge) = refused(&rig.send(request).await);
        assert_eq!(code, case.id, "{}", case.name);
        let of_proofs =
            case.id == "token_bound" || case.id.starts_with("dpop_") && case.id != "dpop_unbound";
        let scheme = if of_proofs { "DPoP error=" } else { "Bearer" };
        assert!(challenge.starts_with(scheme), "{}: {challenge}", case.name);
        walked += 1;
    }
    assert!(walked > 250, "{walked}");
    assert!(rig.decide.calls().is_empty() && rig.provider.seen().is_empty());
    for (name, sent) in honest_requests(&site) {
        assert_eq!(send(&rig, &sent).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_counts_on_its_connections_alone() {
    let pki = Pki::new();
    let (own, _) = (pki.issue("own"), pki.issue("another"));
    let (site, rig) = (site(), open(Some(&pki)).await);
    let token = ed(HEADER, &site.with("cnf", json!({"x5t#S256": sha256(own)})));
    let sent = Sent::bearer(token);
    let over = async |shown: Option<&str>| {
        let request = request(&rig, &sent).unwrap();
        let (status, headers, body) = pki.send(rig.address, shown, request).await;
        Answer { status, headers, body }
    };
    assert_eq!(over(Some("own")).await.status, 200);
    for (shown, id) in
        [(Some("another"), "certificate_binding_wrong"), (None, "certificate_binding_missing")]
    {
        let (code, challenge) = refused(&over(shown).await);
        assert_eq!((code.as_str(), challenge.as_str()), (id, "Bearer error=\"invalid_token\""));
    }
    assert_eq!(over(Some("own")).await.status, 200);
    assert_eq!(rig.provider.seen().len(), 2);
}
