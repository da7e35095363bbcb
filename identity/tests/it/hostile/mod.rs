//! Every way to be refused: [`envelope`] before the claims, [`claims`] by them.

mod claims;
mod envelope;

use std::collections::BTreeSet;

use lictor_identity::Presented;
use serde_json::json;

use crate::forge::{HEADER, NOW_MS, authenticator, ed, good, payload, with};
use claims::{issuers_and_audiences, parties, times};
use envelope::{headers, shapes, signatures};

struct Case {
    name: &'static str,
    token: String,
    id: &'static str,
}

fn case(name: &'static str, token: String, id: &'static str) -> Case {
    Case { name, token, id }
}

fn all() -> Vec<Case> {
    let groups = [shapes(), headers(), signatures(), issuers_and_audiences(), times(), parties()];
    groups.into_iter().flatten().collect()
}

#[test]
fn each_is_refused_for_its_own_reason() {
    let authenticator = authenticator();
    let ask = |token: &str| authenticator.authenticate(Presented::bearer(token), NOW_MS);
    let honest = ed(HEADER, &good());
    assert!(ask(&honest).is_ok());
    for Case { name, token, id } in all() {
        // Twice: a refusal is not remembered as anything else.
        for _ in 0..2 {
            assert_eq!(ask(&token).map_err(|error| error.id()).err(), Some(id), "{name}: {token}");
        }
    }
    assert!(ask(&honest).is_ok());
}

#[test]
fn messages_are_fit_for_a_log_and_repeat_no_secret() {
    let authenticator = authenticator();
    for Case { name, token, .. } in all() {
        let error = authenticator.authenticate(Presented::bearer(&token), NOW_MS).unwrap_err();
        let message = error.to_string();
        assert!(!message.chars().any(char::is_control), "{name}: {message}");
        assert!(message.len() < 500, "{name}: {message}");
        let tail: String = token.chars().rev().take(20).collect::<Vec<_>>().iter().rev().collect();
        assert!(token.len() < 20 || !message.contains(&tail), "{name}: {message}");
    }
}

#[test]
fn the_table_is_large_and_covers_every_reason_of_a_token() {
    let cases = all();
    assert!(cases.len() >= 100, "{}", cases.len());
    let ids: BTreeSet<&str> = cases.iter().map(|case| case.id).collect();
    let wanted = [
        "algorithm_refused",
        "audience_wrong",
        "claim_invalid",
        "claim_missing",
        "delegation_loop",
        "delegation_too_deep",
        "header_refused",
        "issuer_unknown",
        "key_unknown",
        "kid_missing",
        "signature_invalid",
        "token_bound",
        "token_expired",
        "token_malformed",
        "token_not_yet_valid",
        "token_too_large",
        "type_refused",
    ];
    assert_eq!(ids, BTreeSet::from(wanted));
    let tokens: BTreeSet<&str> = cases.iter().map(|case| case.token.as_str()).collect();
    assert_eq!(tokens.len(), cases.len(), "two cases have the same token");
}

#[test]
fn a_changed_claim_of_a_good_payload_stays_otherwise_good() {
    // What the table's changes start from is accepted, so each refusal is the change's.
    let authenticator = authenticator();
    for body in [good(), with("x", json!(1)), payload(|members| members.clear())] {
        let accepted = authenticator.authenticate(Presented::bearer(&ed(HEADER, &body)), NOW_MS);
        assert_eq!(accepted.is_ok(), body != "{}", "{body}");
    }
}
