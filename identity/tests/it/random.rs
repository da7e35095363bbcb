//! Nothing panics, and no changed token is believed.

use std::sync::OnceLock;

use lictor_identity::{ApiKeyStore, Authenticator, Jwks, Presented, token_of};
use proptest::prelude::*;

use crate::forge::{HEADER, NOW_MS, authenticator, ed, good, signed_part};

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
        name in "(sub|act|aud|exp|nbf|iat|jti|client_id|azp|cnf|sub_type|x)",
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
