//! What is remembered of a token changes no answer: not when it is asked, not when keys change.

use std::sync::Arc;

use lictor_identity::{Authenticator, Jwks, KeyRing, Presented, Settings};
use proptest::prelude::*;
use serde_json::json;

use crate::forge::{HEADER, ISS, NOW_MS, NOW_S, ed, ed_jwk, keys, settings, site};

/// Longest that a verified token may be remembered, milliseconds.
const REMEMBERED_MAX_MS: i64 = 60_000;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// One of the tokens is presented.
    Present(usize),
    /// Time goes on, or back.
    Pass(i64),
    /// The issuer publishes the keys that signed, or others.
    Publish(bool),
    /// The present keys are believed for so much longer.
    Prolong(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..TOKENS).prop_map(Step::Present),
        4 => prop_oneof![-40_000i64..70_000, Just(1), Just(-1), Just(REMEMBERED_MAX_MS)]
            .prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Publish),
        1 => (0i64..120_000).prop_map(Step::Prolong),
    ]
}

const TOKENS: usize = 7;

/// Tokens of every sort of end, and one that is wrong.
fn tokens() -> [String; TOKENS] {
    let of = |members: &[(&str, i64)]| {
        let payload = site().payload(ISS, |own| {
            for (name, at_s) in members {
                own.insert((*name).to_owned(), json!(at_s));
            }
        });
        ed(HEADER, &payload)
    };
    let long = of(&[("exp", NOW_S + 3_000)]);
    [
        of(&[("exp", NOW_S + 10)]),
        of(&[("exp", NOW_S + 60)]),
        of(&[("exp", NOW_S + 61), ("iat", NOW_S - 1)]),
        of(&[("exp", NOW_S + 3_000), ("nbf", NOW_S + 20)]),
        of(&[("exp", NOW_S + 3_000), ("iat", NOW_S + 25)]),
        format!("{}AAAA", &long[..long.len() - 4]),
        long,
    ]
}

/// Settings whose issuer has its keys on `ring`.
fn with_keys(ring: &KeyRing) -> Settings {
    let mut settings = settings();
    settings.issuers.iter_mut().filter(|i| i.iss == ISS).for_each(|i| i.keys = ring.clone());
    settings
}

fn honest_keys() -> Jwks {
    let mine = ed_jwk(&keys().ed, json!({ "kid": "ed-1" }));
    Jwks::parse(json!({ "keys": [mine] }).to_string().as_bytes()).unwrap()
}

fn other_keys() -> Jwks {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "other", "x": x }] });
    Jwks::parse(keys.to_string().as_bytes()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn who_remembers_answers_as_who_does_not(steps in proptest::collection::vec(step(), 1..40)) {
        let (tokens, ring) = (tokens(), KeyRing::empty());
        let sets = [Arc::new(other_keys()), Arc::new(honest_keys())];
        let mut published = 1;
        ring.replace(Arc::clone(&sets[published]), None);
        let remembering = Authenticator::new(with_keys(&ring)).unwrap();
        let mut now_ms = NOW_MS;
        for step in steps {
            match step {
                Step::Pass(ms) => now_ms += ms,
                Step::Publish(honest) => {
                    published = usize::from(honest);
                    ring.replace(Arc::clone(&sets[published]), None);
                }
                Step::Prolong(ms) => ring.replace(Arc::clone(&sets[published]), Some(now_ms + ms)),
                Step::Present(number) => {
                    let presented = Presented::bearer(&tokens[number]);
                    let fresh = Authenticator::new(with_keys(&ring)).unwrap();
                    let said = remembering.authenticate(presented, now_ms).map_err(|e| e.id());
                    let anew = fresh.authenticate(presented, now_ms).map_err(|e| e.id());
                    prop_assert_eq!(said, anew, "token {} at {}", number, now_ms - NOW_MS);
                }
            }
        }
    }
}

#[test]
fn replaced_keys_end_what_they_verified_at_once() {
    let ring = KeyRing::empty();
    ring.replace(Arc::new(honest_keys()), None);
    let authenticator = Authenticator::new(with_keys(&ring)).unwrap();
    let token = &tokens()[TOKENS - 1];
    let ask = || authenticator.authenticate(Presented::bearer(token), NOW_MS).map_err(|e| e.id());
    assert!(ask().is_ok() && ask().is_ok());
    ring.replace(Arc::new(other_keys()), None);
    assert_eq!(ask(), Err("key_unknown"));
    ring.replace(Arc::new(honest_keys()), None);
    assert!(ask().is_ok());
}
