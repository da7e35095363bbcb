//! Tokens that are well signed and say what is not believed.

use serde_json::json;

use super::{Case, case};
use crate::forge::{AUD, HEADER, NOW_S, ed, good, with, without};

pub(super) fn issuers_and_audiences() -> Vec<Case> {
    let claim = |name: &str, value| ed(HEADER, &with(name, value));
    vec![
        case("unknown issuer", claim("iss", json!("https://evil.example")), "issuer_unknown"),
        case(
            "issuer with a slash",
            claim("iss", json!("https://issuer.example/")),
            "issuer_unknown",
        ),
        case(
            "issuer in upper case",
            claim("iss", json!("HTTPS://ISSUER.EXAMPLE")),
            "issuer_unknown",
        ),
        case(
            "issuer with a Cyrillic letter",
            claim("iss", json!("https://issu\u{435}r.example")),
            "issuer_unknown",
        ),
        case(
            "issuer in full width",
            claim("iss", json!("https://issuer.ex\u{ff41}mple")),
            "issuer_unknown",
        ),
        case(
            "issuer with a zero-width space",
            claim("iss", json!("https://issuer.example\u{200b}")),
            "issuer_unknown",
        ),
        case("issuer with a NUL", claim("iss", json!("https://issuer.example\0")), "claim_invalid"),
        case(
            "issuer with a newline",
            claim("iss", json!("https://issuer.example\nadmin")),
            "claim_invalid",
        ),
        case("issuer is a list", claim("iss", json!(["https://issuer.example"])), "claim_invalid"),
        case("issuer is null", claim("iss", json!(null)), "claim_invalid"),
        case("issuer missing", ed(HEADER, &without("iss")), "claim_missing"),
        case(
            "issuer in another case of name",
            ed(HEADER, &with("Iss", json!("x"))),
            "claim_invalid",
        ),
        case("for somebody else", claim("aud", json!("https://other.example")), "audience_wrong"),
        case(
            "for several others",
            claim("aud", json!(["https://a.example", "https://b.example"])),
            "audience_wrong",
        ),
        case(
            "for a part of our name",
            claim("aud", json!("https://lictor.example")),
            "audience_wrong",
        ),
        case("for more than our name", claim("aud", json!(format!("{AUD}/x"))), "audience_wrong"),
        case(
            "for our name in upper case",
            claim("aud", json!(AUD.to_uppercase())),
            "audience_wrong",
        ),
        case("for nobody", claim("aud", json!([])), "audience_wrong"),
        case("for an empty name", claim("aud", json!("")), "audience_wrong"),
        case("for a number", claim("aud", json!(1)), "claim_invalid"),
        case("for us and a number", claim("aud", json!([AUD, 1])), "claim_invalid"),
        case("for a list in a list", claim("aud", json!([[AUD]])), "claim_invalid"),
        case("for an object", claim("aud", json!({AUD: true})), "claim_invalid"),
        case("no audience", ed(HEADER, &without("aud")), "claim_missing"),
    ]
}

pub(super) fn times() -> Vec<Case> {
    let claim = |name: &str, value| ed(HEADER, &with(name, value));
    let raw = |exp: &str| {
        ed(HEADER, &good().replace(&format!("\"exp\":{}", NOW_S + 300), &format!("\"exp\":{exp}")))
    };
    vec![
        case("expired", claim("exp", json!(NOW_S - 1)), "token_expired"),
        case("expires now", claim("exp", json!(NOW_S)), "token_expired"),
        case("expired in 1970", claim("exp", json!(0)), "token_expired"),
        case("no expiry", ed(HEADER, &without("exp")), "claim_missing"),
        case("expiry is a text", claim("exp", json!((NOW_S + 300).to_string())), "claim_invalid"),
        case("expiry is a fraction", raw("1800000300.5"), "claim_invalid"),
        case("expiry has an exponent", raw("18e8"), "claim_invalid"),
        case("expiry is negative", raw("-1"), "claim_invalid"),
        case("expiry is i64::MAX", raw("9223372036854775807"), "claim_invalid"),
        case("expiry is u64::MAX", raw("18446744073709551615"), "claim_invalid"),
        case("expiry overflows", raw("18446744073709551616"), "token_malformed"),
        case("expiry is infinite", raw("1e999"), "token_malformed"),
        case("expiry in milliseconds", raw("1800000300000"), "claim_invalid"),
        case("expiry is null", raw("null"), "claim_invalid"),
        case("expiry is true", raw("true"), "claim_invalid"),
        case(
            "expiry twice",
            ed(HEADER, &good().replacen('{', "{\"exp\":1,", 1)),
            "token_malformed",
        ),
        case("not before later", claim("nbf", json!(NOW_S + 31)), "token_not_yet_valid"),
        case("not before is a text", claim("nbf", json!("0")), "claim_invalid"),
        case("issued later", claim("iat", json!(NOW_S + 31)), "token_not_yet_valid"),
        case("issued at a fraction", claim("iat", json!(1.5)), "claim_invalid"),
        case("issued before 1970", claim("iat", json!(-1)), "claim_invalid"),
    ]
}

fn actors(count: usize) -> serde_json::Value {
    (0..count).rev().fold(json!(null), |inner, index| match inner {
        serde_json::Value::Null => json!({"sub": format!("a{index}")}),
        act => json!({"sub": format!("a{index}"), "act": act}),
    })
}

pub(super) fn parties() -> Vec<Case> {
    let claim = |name: &str, value| ed(HEADER, &with(name, value));
    let deep = format!("{}1{}", "{\"a\":".repeat(70), "}".repeat(70));
    vec![
        case("no subject", ed(HEADER, &without("sub")), "claim_missing"),
        case("empty subject", claim("sub", json!("")), "claim_invalid"),
        case("subject is a number", claim("sub", json!(42)), "claim_invalid"),
        case("subject is null", claim("sub", json!(null)), "claim_invalid"),
        case("subject with a newline", claim("sub", json!("alice\nbob")), "claim_invalid"),
        case("subject too long", claim("sub", json!("a".repeat(513))), "claim_invalid"),
        case(
            "subject twice",
            ed(HEADER, &good().replacen('{', "{\"sub\":\"root\",", 1)),
            "token_malformed",
        ),
        case(
            "subject twice, one escaped",
            ed(HEADER, &good().replacen('{', "{\"s\\u0075b\":\"root\",", 1)),
            "token_malformed",
        ),
        case("subject in another case of name", claim("SUB", json!("root")), "claim_invalid"),
        case(
            "lone surrogate",
            ed(HEADER, &good().replacen("alice", "\\ud800", 1)),
            "token_malformed",
        ),
        case(
            "subject type is not a word",
            claim("sub_type", json!("User::\"root\"")),
            "claim_invalid",
        ),
        case("agent is a list", claim("client_id", json!(["a"])), "claim_invalid"),
        case("agent is empty", claim("client_id", json!("")), "claim_invalid"),
        case("token id is a number", claim("jti", json!(7)), "claim_invalid"),
        case("actor is a text", claim("act", json!("agent")), "claim_invalid"),
        case("actor is null", claim("act", json!(null)), "claim_invalid"),
        case("actor is a list", claim("act", json!([{"sub": "a"}])), "claim_invalid"),
        case("actor without a name", claim("act", json!({"iss": "x"})), "claim_missing"),
        case(
            "inner actor without a name",
            claim("act", json!({"sub": "a", "act": {}})),
            "claim_missing",
        ),
        case(
            "inner actor is null",
            claim("act", json!({"sub": "a", "act": null})),
            "claim_invalid",
        ),
        case(
            "actor's name in another case",
            claim("act", json!({"sub": "a", "Sub": "b"})),
            "claim_invalid",
        ),
        case(
            "actor in a loop",
            claim("act", json!({"sub": "a", "act": {"sub": "a"}})),
            "delegation_loop",
        ),
        case(
            "actor in a longer loop",
            claim("act", json!({"sub": "a", "act": {"sub": "b", "act": {"sub": "a"}}})),
            "delegation_loop",
        ),
        case("nine actors", claim("act", actors(9)), "delegation_too_deep"),
        case("fifty actors", claim("act", actors(50)), "delegation_too_deep"),
        case("seventy actors", claim("act", actors(70)), "token_malformed"),
        case(
            "deep claims",
            ed(HEADER, &good().replacen('{', &format!("{{\"x\":{deep},"), 1)),
            "token_malformed",
        ),
        case(
            "inexact number",
            ed(HEADER, &good().replacen('{', "{\"x\":0.1234567890123456789,", 1)),
            "token_malformed",
        ),
        case("bound to a proof key", claim("cnf", json!({"jkt": "x"})), "token_bound"),
        case("bound to a certificate", claim("cnf", json!({"x5t#S256": "x"})), "token_bound"),
    ]
}
