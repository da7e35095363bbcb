//! Tokens that are bound to a key or certificate, workloads and transactions: what is accepted.

use lictor_identity::{
    AuthError, Authenticator, ClientCertificate, Dpop, DpopRule, Identity, KeyRing, NonceKey,
    Presented, Scheme, Token,
};
use lictor_proto::call::CredentialKind;
use serde_json::json;

use crate::forge::{
    BOUND, DOMAIN, HEADER, ISS, NONCE, NOW_MS, TXN, authenticator, b64, ed, good, payload,
    settings, site, with,
};
use crate::hostile::table::possession::{bound, proof, proof_with};
use crate::hostile::table::{Sent, transactions, workloads};

fn dpop<'a>(token: &'a str, proof: &'a str, url: &'a str) -> Presented<'a> {
    Presented {
        token: Some(Token { scheme: Scheme::Dpop, text: token }),
        dpop: Some(Dpop { proof, method: "POST", url }),
        ..Presented::missing()
    }
}

fn bearer(sent: &Sent) -> &str {
    sent.authorization[0].strip_prefix("Bearer ").unwrap()
}

#[test]
fn a_remembered_token_still_needs_a_proof_each_time() {
    let (site, authenticator) = (site(), authenticator());
    let token = bound(&site, ISS);
    let ask = |proof: &str, now_ms| {
        let asked = authenticator.authenticate(dpop(&token, proof, &site.url), now_ms);
        asked.map_err(|error| error.id()).map(|identity| identity.agent.unwrap().id)
    };
    let (first, second) = (proof(&site, &token, "1"), proof(&site, &token, "2"));
    assert_eq!(ask(&first, NOW_MS), Ok("expense-report-v1".to_owned()));
    assert_eq!(ask(&first, NOW_MS + 1), Err("dpop_replayed"));
    assert_eq!(ask(&second, NOW_MS + 2), Ok("expense-report-v1".to_owned()));
    assert_eq!(ask("x", NOW_MS + 3), Err("dpop_invalid"));
    let plain = authenticator.authenticate(Presented::bearer(&token), NOW_MS + 4);
    assert_eq!(plain.map_err(|error| error.id()), Err("token_bound"));
}

#[test]
fn who_was_accepted_is_asked_again_without_the_proof_that_is_used_up() {
    let (site, authenticator) = (site(), authenticator());
    let token = bound(&site, ISS);
    let proof = proof(&site, &token, "again");
    let presented = dpop(&token, &proof, &site.url);
    let identity = authenticator.authenticate(presented, NOW_MS).unwrap();
    assert_eq!(authenticator.authenticate(presented, NOW_MS).unwrap_err().id(), "dpop_replayed");
    // Later than the proof may be used, as long as the token holds.
    let ends_ms = identity.expires_ms.unwrap();
    assert_eq!(authenticator.again(presented, ends_ms - 1), Ok(identity));
    assert_eq!(authenticator.again(presented, ends_ms).unwrap_err().id(), "token_expired");
    let key = dpop("lictor_x", &proof, &site.url);
    assert!(authenticator.again(key, NOW_MS).is_err());
}

#[test]
fn what_is_refused_for_another_reason_uses_no_proof_up() {
    let (site, authenticator) = (site(), authenticator());
    let token = bound(&site, ISS);
    let proof = proof(&site, &token, "kept");
    let presented = dpop(&token, &proof, &site.url);
    let within = Presented { transaction: Some("x"), ..presented };
    let refused = authenticator.authenticate(within, NOW_MS).unwrap_err();
    assert_eq!(refused.id(), "txn_token_invalid");
    assert!(authenticator.authenticate(presented, NOW_MS).is_ok());
}

#[test]
fn a_proof_names_the_place_in_any_of_its_spellings() {
    let (site, authenticator) = (site(), authenticator());
    let token = bound(&site, ISS);
    for (index, url) in
        ["HTTPS://lictor.example:443/mcp", "https://Lictor.Example/mcp?x=1#y"].iter().enumerate()
    {
        let made = proof_with(&site, &token, &index.to_string(), |claims| {
            claims.insert("htu".to_owned(), json!(url));
        });
        assert!(authenticator.authenticate(dpop(&token, &made, &site.url), NOW_MS).is_ok());
    }
}

#[test]
fn a_nonce_is_handed_out_and_taken_back() {
    let (site, authenticator) = (site(), authenticator());
    let token = bound(&site, NONCE);
    let ask = |proof: &str| authenticator.authenticate(dpop(&token, proof, &site.url), NOW_MS);
    let refused = ask(&proof(&site, &token, "1")).unwrap_err();
    let AuthError::Dpop(refused) = refused else { panic!("{refused}") };
    let nonce = refused.nonce().unwrap().to_owned();
    let made = proof_with(&site, &token, "2", |claims| {
        claims.insert("nonce".to_owned(), json!(nonce));
    });
    assert!(ask(&made).is_ok());
    assert_eq!(ask(&made).unwrap_err().id(), "dpop_replayed");
    let mut others = settings();
    for issuer in &mut others.issuers {
        issuer.dpop = DpopRule { required: true, nonces: Some(NonceKey::new(&[9; 32])) };
    }
    let others = Authenticator::new(others).unwrap();
    let refused = others.authenticate(dpop(&token, &made, &site.url), NOW_MS).unwrap_err();
    assert_eq!(refused.id(), "dpop_nonce_wrong");
}

#[test]
fn a_certificates_token_comes_with_it_each_time() {
    let authenticator = authenticator();
    let (own, other) = (ClientCertificate::new(b"own"), ClientCertificate::new(b"other"));
    let token = ed(HEADER, &with("cnf", json!({"x5t#S256": b64(own.thumbprint())})));
    let ask = |certificate| {
        let presented = Presented { certificate, ..Presented::bearer(&token) };
        authenticator.authenticate(presented, NOW_MS).map(|_| ()).map_err(|error| error.id())
    };
    assert_eq!(ask(Some(&own)), Ok(()));
    assert_eq!(ask(Some(&other)), Err("certificate_binding_wrong"));
    assert_eq!(ask(None), Err("certificate_binding_missing"));
    assert_eq!(ask(Some(&own)), Ok(()));
    // A token that is not bound is no less good over a connection with a certificate.
    let plain = ed(HEADER, &good());
    let presented = Presented { certificate: Some(&other), ..Presented::bearer(&plain) };
    assert!(authenticator.authenticate(presented, NOW_MS).is_ok());
}

#[test]
fn a_workload_is_its_own_agent() {
    let token = workloads::honest(&site());
    let identity = authenticator().authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    let id = format!("spiffe://{DOMAIN}/agents/expense");
    let subject = identity.subject.unwrap();
    assert_eq!((subject.kind.as_str(), &subject.id), ("workload", &id));
    let agent = identity.agent.unwrap();
    assert_eq!((agent.kind.as_str(), &agent.id), ("agent", &id));
    assert_eq!(identity.credential.kind, CredentialKind::Spiffe);
    assert!(identity.delegation.is_empty() && identity.roles.is_empty());
    assert_eq!(identity.tenant, "default");
}

#[test]
fn a_transaction_is_told_to_policy_beside_the_claims() {
    let (site, authenticator) = (site(), authenticator());
    let sent = transactions::honest(&site);
    let presented =
        Presented { transaction: Some(&sent.txn[0]), ..Presented::bearer(bearer(&sent)) };
    let ask = |presented| -> Identity { authenticator.authenticate(presented, NOW_MS).unwrap() };
    for _ in 0..2 {
        let identity = ask(presented);
        let claims = &identity.subject.as_ref().unwrap().claims;
        let read = |pointer: &str| claims.node().pointer(pointer).and_then(|node| node.as_str());
        assert_eq!(read("/txn_token/txn"), Some("txn-7"));
        assert_eq!(read("/txn_token/rctx/ip"), Some("10.0.0.7"));
        assert_eq!(read("/client_id"), Some("expense-report-v1"));
        assert_eq!(identity.expires_ms, Some(NOW_MS + 60_000));
        let shown = format!("{presented:?} {identity:?}");
        assert!(!shown.contains(&sent.txn[0]), "{shown}");
    }
    let alone = ask(Presented::bearer(bearer(&sent)));
    assert!(alone.subject.unwrap().claims.node().get("txn_token").is_none());
}

#[test]
fn a_transaction_is_within_the_tenants_of_its_issuer() {
    let site = site();
    let sent = transactions::honest(&site);
    let ask = |change: &dyn Fn(&mut lictor_identity::IssuerSettings)| {
        let mut settings = settings();
        change(settings.issuers.iter_mut().find(|issuer| issuer.iss == TXN).unwrap());
        let authenticator = Authenticator::new(settings).unwrap();
        let presented =
            Presented { transaction: Some(&sent.txn[0]), ..Presented::bearer(bearer(&sent)) };
        // The second time it is remembered.
        [(); 2].map(|()| {
            authenticator.authenticate(presented, NOW_MS).map(|_| ()).map_err(|error| error.id())
        })
    };
    let tenant = |name: &'static str| ask(&|issuer| issuer.tenant = Some(name.to_owned()));
    assert_eq!(tenant("default"), [Ok(()); 2]);
    assert_eq!(tenant("other"), [Err("txn_token_mismatch"); 2]);
    let mapped = |claim: &'static str, tenants: &[&str]| {
        let tenants: Vec<String> = tenants.iter().map(|&name| name.to_owned()).collect();
        ask(&|issuer| {
            issuer.claims.tenant = Some(claim.to_owned());
            issuer.tenants.clone_from(&tenants);
        })
    };
    // Its `scope` is `expenses`.
    assert_eq!(mapped("scope", &["expenses"]), [Err("txn_token_mismatch"); 2]);
    assert_eq!(mapped("scope", &["default"]), [Err("txn_token_invalid"); 2]);
    assert_eq!(mapped("org", &["default"]), [Err("txn_token_claim_missing"); 2]);
}

#[test]
fn a_transaction_says_what_its_issuers_configuration_wants() {
    let site = site();
    let sent = transactions::honest(&site);
    let ask = |name: &str, accepted: &[&str]| {
        let mut settings = settings();
        let issuer = settings.issuers.iter_mut().find(|issuer| issuer.iss == TXN).unwrap();
        issuer.required_claims = vec![lictor_identity::RequiredClaim {
            name: name.to_owned(),
            accepted: accepted.iter().map(|&text| text.to_owned()).collect(),
        }];
        let presented =
            Presented { transaction: Some(&sent.txn[0]), ..Presented::bearer(bearer(&sent)) };
        let asked = Authenticator::new(settings).unwrap().authenticate(presented, NOW_MS);
        asked.map(|_| ()).map_err(|error| error.id())
    };
    assert_eq!(ask("req_wl", &["planner-v2"]), Ok(()));
    assert_eq!(ask("req_wl", &["other"]), Err("txn_token_invalid"));
    assert_eq!(ask("purp", &[]), Err("txn_token_claim_missing"));
}

#[test]
fn a_claim_names_one_of_the_issuers_tenants() {
    let token = crate::hostile::table::profiles::honest(&site());
    let identity = authenticator().authenticate(Presented::bearer(&token), NOW_MS).unwrap();
    assert_eq!(identity.tenant, "acme");
}

#[test]
fn several_audiences_are_fine_where_the_issuer_may() {
    let mut settings = settings();
    settings.issuers[0].several_audiences = true;
    let authenticator = Authenticator::new(settings).unwrap();
    let ask = |aud| {
        let body = payload(|members| {
            members.insert("aud".to_owned(), aud);
        });
        let asked = authenticator.authenticate(Presented::bearer(&ed(HEADER, &body)), NOW_MS);
        asked.map(|_| ()).map_err(|error| error.id())
    };
    assert_eq!(ask(json!(["x", "lictor"])), Ok(()));
    assert_eq!(ask(json!(["x", "y"])), Err("audience_wrong"));
}

#[test]
fn without_keys_nothing_of_an_issuer_is_believed() {
    let site = site();
    let honest = transactions::honest(&site);
    let ask = |lost: &str| {
        let mut settings = settings();
        let issuer = settings.issuers.iter_mut().find(|issuer| issuer.iss == lost);
        issuer.unwrap().keys = KeyRing::empty();
        let authenticator = Authenticator::new(settings).unwrap();
        let presented =
            Presented { transaction: Some(&honest.txn[0]), ..Presented::bearer(bearer(&honest)) };
        authenticator.authenticate(presented, NOW_MS).map(|_| ()).map_err(|error| error.id())
    };
    assert_eq!(ask(ISS), Err("issuer_unavailable"));
    assert_eq!(ask(TXN), Err("txn_token_issuer_unavailable"));
    assert_eq!(ask(BOUND), Ok(()));
}

#[test]
fn a_credential_names_who_vouches_for_it() {
    let (site, authenticator) = (site(), authenticator());
    let issuer = |sent: &Sent| {
        let presented = Presented::bearer(bearer(sent));
        authenticator.authenticate(presented, NOW_MS).unwrap().credential.issuer
    };
    assert_eq!(issuer(&Sent::bearer(ed(HEADER, &good()))), ISS);
    assert_eq!(
        issuer(&Sent::bearer(ed(
            HEADER,
            &payload(|members| {
                members.remove("jti");
            })
        ))),
        ISS
    );
    assert_eq!(issuer(&Sent::bearer(workloads::honest(&site))), format!("spiffe://{DOMAIN}"));
}
