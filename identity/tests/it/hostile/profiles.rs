//! Tokens that say less, or hold longer, than their issuer's configuration wants.

use serde_json::{Value, json};

use super::forge::{HEADER, STRICT, ed};
use super::{Case, Site, case};

fn strict(site: &Site, name: &str, value: Option<Value>) -> String {
    site.payload(STRICT, |members| {
        members.insert("scope".to_owned(), json!("read mcp"));
        members.insert("org".to_owned(), json!("acme"));
        match value {
            Some(value) => members.insert(name.to_owned(), value),
            None => members.remove(name),
        };
    })
}

/// A token that says everything.
pub(crate) fn honest(site: &Site) -> String {
    ed(HEADER, &strict(site, "x", Some(json!(1))))
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let set = |name: &str, value| ed(HEADER, &strict(site, name, Some(value)));
    let unset = |name: &str| ed(HEADER, &strict(site, name, None));
    let typed = |header: &str| ed(header, &strict(site, "x", Some(json!(1))));
    vec![
        case("RFC 9068 without a type", typed(r#"{"alg":"EdDSA","kid":"ed-1"}"#), "type_refused"),
        case(
            "RFC 9068 with the type of any token",
            typed(r#"{"alg":"EdDSA","kid":"ed-1","typ":"JWT"}"#),
            "type_refused",
        ),
        case(
            "RFC 9068 with an id token's content",
            typed(r#"{"alg":"EdDSA","kid":"ed-1","typ":"id_token+jwt"}"#),
            "type_refused",
        ),
        case("RFC 9068 without a client", unset("client_id"), "claim_missing"),
        case("RFC 9068 without an id", unset("jti"), "claim_missing"),
        case("RFC 9068 without a time of issue", unset("iat"), "claim_missing"),
        case("without a required claim", unset("scope"), "claim_missing"),
        case("required claim says something else", set("scope", json!("read")), "claim_refused"),
        case("required claim says more in one word", set("scope", json!("mcp2")), "claim_refused"),
        case("required claim is an object", set("scope", json!({"mcp": 1})), "claim_refused"),
        case("holds too long", set("exp", json!(site.now_s + 601)), "lifetime_too_long"),
        case("tenant of somebody else", set("org", json!("victim")), "tenant_refused"),
        case("tenant in another case", set("org", json!("ACME")), "tenant_refused"),
        case("two tenants", set("org", json!(["acme", "victim"])), "claim_invalid"),
        case("no tenant", unset("org"), "claim_missing"),
    ]
}
