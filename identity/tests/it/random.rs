//! Nothing panics, and no changed token is believed.

use std::sync::OnceLock;

use lictor_identity::{
    ApiKeyStore, Authenticator, Dpop, Jwks, Presented, Scheme, Settings, Token, token_of,
};
use proptest::prelude::*;

use crate::forge::{HEADER, ISS, NOW_MS, authenticator, ed, good, settings, signed_part, site};
use crate::hostile::table::{possession, transactions, workloads};

fn shared() -> &'static Authenticator {
    static SHARED: OnceLock<Authenticator> = OnceLock::new();
    SHARED.get_or_init(authenticator)
}

fn refused(token: &str) -> bool {
    shared().authenticate(Presented::bearer(token), NOW_MS).is_err()
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(refused(&text));
        if let Some(token) = token_of(Some(&text)).map(|token| token.text) {
            prop_assert!(refused(token));
        }
        prop_assert!(Jwks::parse(&bytes).is_err());
        prop_assert!(ApiKeyStore::from_json(&bytes).is_err());
    }

    #[test]
    fn random_parts_are_refused(parts in proptest::collection::vec("[A-Za-z0-9_-]{0,80}", 1..5)) {
        prop_assert!(refused(&parts.join(".")));
    }

    #[test]
    fn random_keys_are_refused(rest in "[0-9a-f]{0,70}_?[0-9a-f]{0,10}") {
        prop_assert!(refused(&["lictor_", &rest].concat()));
        prop_assert!(refused(&["lictordoor_", &rest].concat()));
    }

    #[test]
    fn random_payloads_without_a_signature_are_refused(payload in "\\{.{0,200}\\}") {
        let token = signed_part(HEADER, &payload) + ".AAAA";
        prop_assert!(refused(&token));
    }

    /// A dishonest issuer can write what it wants into its claims.
    #[test]
    fn signed_nonsense_does_not_panic(
        name in "(sub|act|may_act|aud|exp|nbf|iat|jti|client_id|azp|cnf|sub_type|txn_token|x)",
        value in any_json(),
    ) {
        let mut body: serde_json::Value = serde_json::from_str(&good()).unwrap();
        body[&name] = value;
        let token = ed(HEADER, &body.to_string());
        match shared().authenticate(Presented::bearer(&token), NOW_MS) {
            Ok(identity) => prop_assert!(identity.subject.is_some_and(|s| !s.id.is_empty())),
            Err(error) => prop_assert!(!error.id().is_empty()),
        }
    }

    /// The key is the issuer's own: only the header is not as it should be.
    #[test]
    fn signed_headers_of_nonsense_are_refused(
        name in "(alg|kid|typ|jwk|jku|x5u|x5c|crit|b64|enc|zip|cty|ALG|Kid)",
        value in any_json(),
    ) {
        let mut header: serde_json::Value = serde_json::from_str(HEADER).unwrap();
        header[&name] = value;
        prop_assert!(refused(&ed(&header.to_string(), &good())));
    }

    #[test]
    fn random_objects_are_refused(header in any_object(), claims in any_object()) {
        let (header, claims) = (header.to_string(), claims.to_string());
        prop_assert!(refused(&ed(&header, &good())));
        prop_assert!(refused(&ed(HEADER, &claims)));
        prop_assert!(refused(&ed(&header, &claims)));
        let signed = format!("{}.AAAA", signed_part(&header, &claims));
        let plain = ed(HEADER, &good());
        let within = Presented { transaction: Some(&signed), ..Presented::bearer(&plain) };
        prop_assert!(shared().authenticate(within, NOW_MS).is_err());
    }

    #[test]
    fn a_changed_token_is_refused_and_a_changed_proof_too(
        change in any_change(),
        which in 0..4usize,
    ) {
        let site = site();
        let (token, proof, txn, document) = honest();
        let texts = [token, proof, txn, document];
        let changed = change.of(texts[which]);
        prop_assume!(changed != texts[which]);
        let mut texts = texts.map(str::to_owned);
        texts[which] = changed;
        let [token, proof, txn, document] = &texts;
        // A memory of its own each time: an accepted proof would be refused again anyway.
        let authenticator = authenticator_of(shared_settings());
        let presented = Presented {
            token: Some(Token { scheme: Scheme::Dpop, text: token }),
            dpop: Some(Dpop { proof, method: &site.method, url: &site.url }),
            transaction: Some(txn),
            ..Presented::missing()
        };
        let accepted = authenticator.authenticate(presented, NOW_MS).is_ok();
        prop_assert_eq!(accepted, which == 3);
        let document = authenticator.authenticate(Presented::bearer(document), NOW_MS);
        prop_assert_eq!(document.is_ok(), which != 3);
    }

    #[test]
    fn random_proofs_and_transactions_are_refused(proof in ".{0,300}", txn in ".{0,300}") {
        let (token, ..) = honest();
        let plain = ed(HEADER, &good());
        let url = site().url;
        let bound = Presented {
            token: Some(Token { scheme: Scheme::Dpop, text: token }),
            dpop: Some(Dpop { proof: &proof, method: "POST", url: &url }),
            ..Presented::missing()
        };
        prop_assert!(shared().authenticate(bound, NOW_MS).is_err());
        let within = Presented { transaction: Some(&txn), ..Presented::bearer(&plain) };
        prop_assert!(shared().authenticate(within, NOW_MS).is_err());
    }

    /// Whoever holds the key can write what they want into a proof.
    #[test]
    fn proofs_of_nonsense_do_not_panic(
        name in "(jti|htm|htu|iat|ath|nonce|x)",
        value in any_json(),
    ) {
        let site = site();
        let (token, ..) = honest();
        let proof = possession::proof_with(&site, token, "nonsense", |claims| {
            claims.insert(name.clone(), value);
        });
        let presented = Presented {
            token: Some(Token { scheme: Scheme::Dpop, text: token }),
            dpop: Some(Dpop { proof: &proof, method: &site.method, url: &site.url }),
            ..Presented::missing()
        };
        let asked = authenticator_of(shared_settings()).authenticate(presented, NOW_MS);
        // Only what is not read, or only names the proof, may be anything.
        let free = ["x", "nonce", "jti"].contains(&&*name);
        prop_assert!(asked.is_err() || free);
    }

    #[test]
    fn a_token_with_one_changed_character_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let token = ed(HEADER, &good());
        let at = at.index(token.len());
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assume!(changed != token);
        prop_assert!(refused(&changed));
        prop_assert!(!refused(&token));
    }
}

/// One way to change a text.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, char),
    Drop(prop::sample::Index),
}

impl Change {
    fn of(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        match self {
            Self::Flip(at, bit) => bytes[at.index(text.len())] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(text.len())),
            Self::Insert(at, c) => bytes.insert(at.index(text.len()), u8::try_from(*c).unwrap()),
            Self::Drop(at) => drop(bytes.remove(at.index(text.len()))),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        at().prop_map(Change::Cut),
        (at(), proptest::char::range('!', '~')).prop_map(|(at, c)| Change::Insert(at, c)),
        at().prop_map(Change::Drop),
    ]
}

/// A bound token, its proof, a transaction of its subject, and a SPIFFE document.
fn honest() -> (&'static str, &'static str, &'static str, &'static str) {
    static TEXTS: OnceLock<[String; 4]> = OnceLock::new();
    let [token, proof, txn, document] = TEXTS.get_or_init(|| {
        let site = site();
        let token = possession::bound(&site, ISS);
        let proof = possession::proof(&site, &token, "random");
        let txn = transactions::honest(&site).txn.remove(0);
        [token, proof, txn, workloads::honest(&site)]
    });
    (token, proof, txn, document)
}

fn shared_settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(settings)
}

fn authenticator_of(settings: &Settings) -> Authenticator {
    Authenticator::new(settings.clone()).unwrap()
}

#[test]
fn what_the_changes_start_from_is_accepted() {
    let site = site();
    let (token, proof, txn, document) = honest();
    let presented = Presented {
        token: Some(Token { scheme: Scheme::Dpop, text: token }),
        dpop: Some(Dpop { proof, method: &site.method, url: &site.url }),
        transaction: Some(txn),
        ..Presented::missing()
    };
    let authenticator = authenticator_of(shared_settings());
    assert!(authenticator.authenticate(presented, NOW_MS).is_ok());
    assert!(authenticator.authenticate(Presented::bearer(document), NOW_MS).is_ok());
}

/// Names that mean something, with anything.
fn any_object() -> impl Strategy<Value = serde_json::Value> {
    let names = "(alg|kid|typ|jwk|iss|sub|aud|exp|nbf|iat|jti|act|may_act|client_id|cnf|x)";
    proptest::collection::btree_map(names, any_json(), 0..10)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,40}".prop_map(|text: String| text.into()),
    ];
    leaf.prop_recursive(12, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::btree_map("(sub|act|iss|x)", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
