//! The table of what must not be believed, walked through the authenticator.
//!
//! - [`table`]: the cases; [`coverage`]: no reason is without one.

mod coverage;
#[path = "table.rs"]
pub(crate) mod table;

use std::collections::BTreeSet;

use lictor_identity::{
    AuthError, Authenticator, ClientCertificate, Dpop, Identity, Presented, token_of,
};

use crate::forge::{HEADER, NOW_MS, authenticator, ed, good, payload, site, with};
use table::{Case, Sent, Site, all, honest_requests};

/// Fewer would mean that a part of the table got lost.
const CASES_MIN: usize = 300;

/// What an enforcement point makes of one request.
fn ask(authenticator: &Authenticator, site: &Site, sent: &Sent) -> Result<Identity, AuthError> {
    let certificate = sent.stranger.then(|| ClientCertificate::new(b"stranger"));
    let presented = Presented {
        token: token_of(sent.authorization.first().map(String::as_str)),
        dpop: sent.dpop.first().map(|proof| Dpop { proof, method: &site.method, url: &site.url }),
        certificate: certificate.as_ref(),
        peer: None,
        transaction: sent.txn.first().map(String::as_str),
    };
    authenticator.authenticate(presented, NOW_MS)
}

/// All but those with a header twice: of these the identity crate sees only one.
fn cases() -> Vec<Case> {
    let once = |case: &Case| {
        [&case.sent.authorization, &case.sent.dpop, &case.sent.txn].iter().all(|v| v.len() < 2)
    };
    all(&site()).into_iter().filter(once).collect()
}

#[test]
fn what_is_honest_is_accepted() {
    let (site, authenticator) = (site(), authenticator());
    for (name, sent) in honest_requests(&site) {
        let accepted = ask(&authenticator, &site, &sent);
        assert!(accepted.is_ok(), "{name}: {accepted:?}");
    }
}

#[test]
fn each_is_refused_for_its_own_reason() {
    let (site, authenticator) = (site(), authenticator());
    let mut wrong = Vec::new();
    for Case { name, sent, id, again } in cases() {
        if again {
            let first = ask(&authenticator, &site, &sent);
            assert!(first.is_ok(), "{name}: {first:?}");
        }
        // Twice: a refusal is not remembered as anything else.
        for _ in 0..2 {
            let refused = ask(&authenticator, &site, &sent).map_err(|error| error.id()).err();
            if refused != Some(id) {
                wrong.push(format!("{name}: {refused:?} instead of {id}: {sent:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let honest = ed(HEADER, &good());
    assert!(authenticator.authenticate(Presented::bearer(&honest), NOW_MS).is_ok());
}

#[test]
fn messages_are_fit_for_a_log_and_repeat_no_secret() {
    let (site, authenticator) = (site(), authenticator());
    for Case { name, sent, again, .. } in cases() {
        if again {
            continue;
        }
        let message = ask(&authenticator, &site, &sent).unwrap_err().to_string();
        assert!(!message.chars().any(char::is_control), "{name}: {message}");
        assert!(message.len() < 500, "{name}: {message}");
        for secret in sent.authorization.iter().chain(&sent.dpop).chain(&sent.txn) {
            let tail: Vec<char> = secret.chars().rev().take(20).collect();
            let tail: String = tail.iter().rev().collect();
            assert!(secret.len() < 27 || !message.contains(&tail), "{name}: {message}");
        }
    }
}

#[test]
fn every_attack_has_a_name_and_a_form_of_its_own() {
    let cases = all(&site());
    println!("{} hostile requests", cases.len());
    assert!(cases.len() >= CASES_MIN, "{}", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    let forms: BTreeSet<String> = cases.iter().map(|case| format!("{:?}", case.sent)).collect();
    assert_eq!(forms.len(), cases.len(), "two cases are the same");
}

#[test]
fn a_changed_claim_of_a_good_payload_stays_otherwise_good() {
    // What the table's changes start from is accepted, so each refusal is the change's.
    let authenticator = authenticator();
    for body in [good(), with("x", serde_json::json!(1)), payload(|members| members.clear())] {
        let accepted = authenticator.authenticate(Presented::bearer(&ed(HEADER, &body)), NOW_MS);
        assert_eq!(accepted.is_ok(), body != "{}", "{body}");
    }
}
