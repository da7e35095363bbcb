//! Transaction tokens that do not hold, or stand where they must not.

use serde_json::{Map, Value, json};

use super::forge::{DOMAIN, HEADER, TXN, TXN_HEADER, by, ed, keys};
use super::{Case, Sent, Site, case, sent};

fn body(site: &Site, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let value = json!({
        "iss": TXN, "aud": DOMAIN, "sub": "alice@example.com", "iat": site.now_s,
        "exp": site.now_s + 60, "txn": "txn-7", "scope": "expenses", "req_wl": "planner-v2",
        "tctx": {"amount": 120}, "rctx": {"ip": "10.0.0.7"},
    });
    let Value::Object(mut members) = value else { panic!("an object") };
    change(&mut members);
    Value::Object(members).to_string()
}

fn token(site: &Site, change: impl FnOnce(&mut Map<String, Value>)) -> String {
    by(&keys().txn, TXN_HEADER, &body(site, change))
}

fn access(site: &Site) -> Sent {
    Sent::bearer(ed(HEADER, &site.good()))
}

/// An access token with a transaction of its subject beside it.
pub(crate) fn honest(site: &Site) -> Sent {
    access(site).with_txn(token(site, |_| {}))
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let beside = |name, txn: String, id| sent(name, access(site).with_txn(txn), id);
    let set = |name: &str, value: Value| {
        token(site, |members| {
            members.insert(name.to_owned(), value);
        })
    };
    let unset = |name: &str| {
        token(site, |members| {
            members.remove(name);
        })
    };
    let plain = token(site, |_| {});
    let typed = |header: &str| by(&keys().txn, header, &body(site, |_| {}));
    let mut cases = vec![
        case("transaction as an access token", plain.clone(), "issuer_unknown"),
        case(
            "transaction of an issuer of access tokens",
            ed(r#"{"alg":"EdDSA","kid":"ed-1","typ":"txntoken+jwt"}"#, &site.with("x", json!(2))),
            "type_refused",
        ),
        sent(
            "transaction instead of a credential",
            Sent::default().with_txn(plain.clone()),
            "token_missing",
        ),
        sent(
            "transaction twice",
            access(site).with_txn(plain.clone()).with_txn(plain.clone()),
            "txn_token_several",
        ),
        beside("access token as a transaction", ed(HEADER, &site.good()), "txn_token_type_refused"),
        beside(
            "transaction without a type",
            typed(r#"{"alg":"EdDSA","kid":"txn-1"}"#),
            "txn_token_type_refused",
        ),
        beside(
            "transaction without a signature",
            typed(r#"{"alg":"none","typ":"txntoken+jwt"}"#),
            "txn_token_algorithm_refused",
        ),
        beside(
            "transaction with a key of its own",
            typed(r#"{"alg":"EdDSA","kid":"txn-1","typ":"txntoken+jwt","jwk":{}}"#),
            "txn_token_header_refused",
        ),
        beside(
            "transaction with an unknown key",
            typed(r#"{"alg":"EdDSA","kid":"ed-1","typ":"txntoken+jwt"}"#),
            "txn_token_key_unknown",
        ),
        beside(
            "transaction signed by an issuer of access tokens",
            ed(TXN_HEADER, &body(site, |_| {})),
            "txn_token_signature_invalid",
        ),
        beside("transaction that is no token", "x".to_owned(), "txn_token_invalid"),
        beside("transaction without end", "x".repeat(17_000), "txn_token_too_large"),
        beside(
            "transaction of somebody else",
            set("sub", json!("bob@example.com")),
            "txn_token_mismatch",
        ),
        beside(
            "transaction of the subject in another case",
            set("sub", json!("Alice@example.com")),
            "txn_token_mismatch",
        ),
        beside(
            "transaction elsewhere",
            set("aud", json!("other.example")),
            "txn_token_audience_wrong",
        ),
        beside(
            "transaction here and elsewhere",
            set("aud", json!([DOMAIN, "other.example"])),
            "txn_token_audience_wrong",
        ),
        beside("transaction that ended", set("exp", json!(site.now_s - 1)), "txn_token_expired"),
        beside(
            "transaction that holds too long",
            set("exp", json!(site.now_s + 3_601)),
            "txn_token_lifetime_too_long",
        ),
        beside(
            "transaction of tomorrow",
            set("iat", json!(site.now_s + 86_400)),
            "txn_token_not_yet_valid",
        ),
        beside(
            "transaction by somebody unknown",
            set("iss", json!("https://evil.example")),
            "txn_token_issuer_unknown",
        ),
        beside("transaction's id is a number", set("txn", json!(7)), "txn_token_claim_invalid"),
        beside(
            "transaction's workload is empty",
            set("req_wl", json!("")),
            "txn_token_claim_invalid",
        ),
    ];
    for (name, claim) in [
        ("transaction without an id", "txn"),
        ("transaction without a subject", "sub"),
        ("transaction without a scope", "scope"),
        ("transaction without a workload", "req_wl"),
        ("transaction without a time of issue", "iat"),
        ("transaction without an expiry", "exp"),
        ("transaction without an audience", "aud"),
    ] {
        cases.push(beside(name, unset(claim), "txn_token_claim_missing"));
    }
    cases
}
