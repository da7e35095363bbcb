//! Callers who must prove that a token is theirs: by a key of their own (DPoP), or by the
//! certificate of their connection.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, Method, Request};
use bytes::Bytes;
use http_body_util::Full;
use lictor_proto::call::CredentialKind;
use serde_json::json;

use crate::encrypted::Pki;
use crate::oracle::{Oracle, allow};
use crate::rig::{Answer, Rig, call, outcomes};
use crate::server::{json as answer, said};
use crate::table::forge::{HEADER, ISS, NONCE, config, ed, sha256};
use crate::table::possession::{bound, honest, proof, proof_with};
use crate::table::{Sent, Site, all, honest_requests};

const PATH: &str = "/mcp/accounting";
/// Where callers reach the enforcement point: not where it listens.
const PUBLIC_URL: &str = "https://gate.example";
/// What every challenge ends with (RFC 9728).
const METADATA: &str =
    "resource_metadata=\"https://gate.example/.well-known/oauth-protected-resource/mcp\"";

fn site() -> Site {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Site {
        now_s: i64::try_from(now.as_secs()).unwrap(),
        aud: "https://gate.example/mcp".to_owned(),
        url: format!("{PUBLIC_URL}{PATH}"),
        method: "POST".to_owned(),
    }
}

async fn open(pki: Option<&Pki>) -> Rig {
    let oracle = Oracle::new(allow);
    Rig::start_for(
        oracle,
        |_| answer(said("done")),
        |rig_config, dir, identity| {
            rig_config.public_url = Some(PUBLIC_URL.to_owned());
            rig_config.tls = pki.map(Pki::listener);
            *identity = config(&site().aud, dir);
        },
    )
    .await
}

/// `None` where it cannot stand in a header.
fn request(rig: &Rig, sent: &Sent) -> Option<Request<Full<Bytes>>> {
    let body = call("create", "{}");
    let mut request = rig.request(Method::POST, PATH, &[("authorization", "")], body);
    for (name, values) in
        [("authorization", &sent.authorization), ("dpop", &sent.dpop), ("txn-token", &sent.txn)]
    {
        for value in values {
            request.headers_mut().append(name, HeaderValue::from_str(value).ok()?);
        }
    }
    Some(request)
}

async fn send(rig: &Rig, sent: &Sent) -> Answer {
    rig.send(request(rig, sent).unwrap()).await
}

fn served(answer: &Answer) -> bool {
    answer.status == 200 && answer.text().contains("done")
}

/// Reasons, and what the caller is asked for.
fn refused(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.ends_with(METADATA), "{challenge}");
    (answer.reasons(), challenge.to_owned())
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_counts_with_a_proof_and_the_proof_once() {
    let (site, rig) = (site(), open(None).await);
    let (token, sent) = (bound(&site, ISS), honest(&site));
    assert!(served(&send(&rig, &sent).await));
    let without = Sent { dpop: Vec::new(), ..sent.clone() };
    for (sent, id, error) in [
        (sent, "dpop_replayed", "invalid_dpop_proof"),
        (without, "dpop_missing", "invalid_dpop_proof"),
        (Sent::bearer(&token), "token_bound", "invalid_token"),
    ] {
        let (reasons, challenge) = refused(&send(&rig, &sent).await);
        assert_eq!(reasons, id);
        let expected = format!("DPoP error=\"{error}\", algs=\"EdDSA ES256 ");
        assert!(challenge.starts_with(&expected), "{challenge}");
    }
    let calls = rig.oracle.calls();
    assert_eq!(calls.len(), 1);
    let credential = calls[0].credential.as_ref().unwrap();
    assert_eq!((credential.kind, credential.issuer.as_str()), (CredentialKind::Jwt, ISS));
    let seen = rig.server.seen();
    assert_eq!(seen.len(), 1);
    let told = format!("{:?}", seen[0]);
    assert!(!seen[0].headers.contains_key("dpop") && !told.contains(&token), "{told}");
    let records = rig.stop().await;
    assert_eq!(outcomes(&records).iter().filter(|outcome| **outcome == "denied").count(), 3);
}

#[tokio::test]
async fn a_proof_is_for_the_place_that_callers_know() {
    let (site, rig) = (site(), open(None).await);
    let token = bound(&site, ISS);
    let named = |url: String, jti: &str| {
        let proof = proof_with(&site, &token, jti, |claims| {
            claims.insert("htu".to_owned(), json!(url));
        });
        Sent::bound(&token, &proof)
    };
    let listened = named(format!("http://{}{PATH}", rig.address), "1");
    assert_eq!(refused(&send(&rig, &listened).await).0, "dpop_url_wrong");
    // The endpoint of another server is another place.
    assert_eq!(
        refused(&send(&rig, &named(format!("{PUBLIC_URL}/mcp"), "2")).await).0,
        "dpop_url_wrong"
    );
    assert!(served(&send(&rig, &named(site.url.clone(), "3")).await));
}

#[tokio::test]
async fn an_issuer_that_wants_nonces_gets_proofs_with_one() {
    let (site, rig) = (site(), open(None).await);
    let token = bound(&site, NONCE);
    let asked = send(&rig, &Sent::bound(&token, &proof(&site, &token, "1"))).await;
    let (reasons, challenge) = refused(&asked);
    assert_eq!(reasons, "dpop_nonce_missing");
    assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\", algs=\""), "{challenge}");
    let nonce = asked.headers["dpop-nonce"].to_str().unwrap();
    let with = |jti: &str| {
        let proof = proof_with(&site, &token, jti, |claims| {
            claims.insert("nonce".to_owned(), json!(nonce));
        });
        Sent::bound(&token, &proof)
    };
    // A nonce is not used up: it is of its time.
    for jti in ["2", "3"] {
        assert!(served(&send(&rig, &with(jti)).await));
    }
}

#[tokio::test]
async fn every_hostile_request_is_told_its_reason_and_who_is_honest_is_served() {
    let (site, rig) = (site(), open(None).await);
    let mut walked = 0;
    for case in all(&site).into_iter().filter(|case| !case.again && !case.sent.stranger) {
        let Some(request) = request(&rig, &case.sent) else { continue };
        let (reasons, challenge) = refused(&rig.send(request).await);
        assert_eq!(reasons, case.id, "{}", case.name);
        let of_proofs =
            case.id == "token_bound" || case.id.starts_with("dpop_") && case.id != "dpop_unbound";
        let scheme = if of_proofs { "DPoP error=" } else { "Bearer " };
        assert!(challenge.starts_with(scheme), "{}: {challenge}", case.name);
        walked += 1;
    }
    assert!(walked > 250, "{walked}");
    assert!(rig.oracle.calls().is_empty() && rig.server.seen().is_empty());
    for (name, sent) in honest_requests(&site) {
        assert!(served(&send(&rig, &sent).await), "{name}");
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
    assert!(served(&over(Some("own")).await));
    for (shown, id) in
        [(Some("another"), "certificate_binding_wrong"), (None, "certificate_binding_missing")]
    {
        let (reasons, challenge) = refused(&over(shown).await);
        assert_eq!(reasons, id);
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", "), "{challenge}");
    }
    assert!(served(&over(Some("own")).await));
    assert_eq!(rig.server.seen().len(), 2);
}

#[tokio::test]
async fn the_metadata_names_the_ways_to_bind_a_token() {
    let names = "dpop_signing_alg_values_supported";
    let rig = open(None).await;
    let told = rig.get("/.well-known/oauth-protected-resource/mcp").await.json();
    assert!(told[names].as_array().unwrap().contains(&json!("ES256")), "{told}");
    assert_eq!(told["tls_client_certificate_bound_access_tokens"], false);
    let pki = Pki::new();
    let rig = open(Some(&pki)).await;
    let path = "/.well-known/oauth-protected-resource/mcp";
    let request = rig.request(Method::GET, path, &[("authorization", "")], "");
    let (status, _, body) = pki.send(rig.address, None, request).await;
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(told["tls_client_certificate_bound_access_tokens"], true, "{told}");
}
