//! Tokens that are well signed and speak for nobody.

use serde_json::json;

use super::forge::{HEADER, ISS, ed};
use super::{Case, Site, case};

fn actors(count: usize) -> serde_json::Value {
    (0..count).rev().fold(json!(null), |inner, index| match inner {
        serde_json::Value::Null => json!({"sub": format!("a{index}")}),
        act => json!({"sub": format!("a{index}"), "act": act}),
    })
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let claim = |name: &str, value| site.claim(name, value);
    let acts = |may_act, act| {
        let body = site.payload(ISS, |members| {
            members.insert("may_act".to_owned(), may_act);
            members.insert("act".to_owned(), act);
        });
        ed(HEADER, &body)
    };
    let agent = |act| {
        let body = site.payload(ISS, |members| {
            members.insert("sub".to_owned(), json!("a"));
            members.insert("sub_type".to_owned(), json!("agent"));
            members.insert("act".to_owned(), act);
        });
        ed(HEADER, &body)
    };
    let deep = format!("{}1{}", "{\"a\":".repeat(70), "}".repeat(70));
    vec![
        case("no subject", ed(HEADER, &site.without("sub")), "claim_missing"),
        case("empty subject", claim("sub", json!("")), "claim_invalid"),
        case("subject is a number", claim("sub", json!(42)), "claim_invalid"),
        case("subject is null", claim("sub", json!(null)), "claim_invalid"),
        case("subject with a newline", claim("sub", json!("alice\nbob")), "claim_invalid"),
        case("subject too long", claim("sub", json!("a".repeat(513))), "claim_invalid"),
        case(
            "subject twice",
            ed(HEADER, &site.good().replacen('{', "{\"sub\":\"root\",", 1)),
            "token_malformed",
        ),
        case(
            "subject twice, one escaped",
            ed(HEADER, &site.good().replacen('{', "{\"s\\u0075b\":\"root\",", 1)),
            "token_malformed",
        ),
        case("subject in another case of name", claim("SUB", json!("root")), "claim_invalid"),
        case(
            "lone surrogate",
            ed(HEADER, &site.good().replacen("alice", "\\ud800", 1)),
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
            ed(HEADER, &site.good().replacen('{', &format!("{{\"x\":{deep},"), 1)),
            "token_malformed",
        ),
        case(
            "inexact number",
            ed(HEADER, &site.good().replacen('{', "{\"x\":0.1234567890123456789,", 1)),
            "token_malformed",
        ),
        case("actor is a number", claim("act", json!(7)), "claim_invalid"),
        case("actor is true", claim("act", json!(true)), "claim_invalid"),
        case("actor is empty", claim("act", json!({})), "claim_missing"),
        case("actor's name is a list", claim("act", json!({"sub": ["a"]})), "claim_invalid"),
        case("actor's name is empty", claim("act", json!({"sub": ""})), "claim_invalid"),
        case("actor's name with a NUL", claim("act", json!({"sub": "a\0"})), "claim_invalid"),
        case("actor's name not seen", claim("act", json!({"sub": "a\u{200d}"})), "claim_invalid"),
        case(
            "actor's issuer is a number",
            claim("act", json!({"sub": "a", "iss": 1})),
            "claim_invalid",
        ),
        case(
            "actor's issuer in another case",
            claim("act", json!({"sub": "a", "ISS": "x"})),
            "claim_invalid",
        ),
        case(
            "actor bound to a key of its own",
            claim("act", json!({"sub": "a", "cnf": {"jkt": "x"}})),
            "binding_unknown",
        ),
        case(
            "inner actor bound to a key of its own",
            claim("act", json!({"sub": "a", "act": {"sub": "b", "cnf": {}}})),
            "binding_unknown",
        ),
        case(
            "actor bound in another case",
            claim("act", json!({"sub": "a", "Cnf": {}})),
            "claim_invalid",
        ),
        case(
            "actor's actor in another case",
            claim("act", json!({"sub": "a", "Act": {"sub": "b"}})),
            "claim_invalid",
        ),
        case(
            "actor's name too long",
            claim("act", json!({"sub": "a".repeat(513)})),
            "claim_invalid",
        ),
        case("actor in another case of name", claim("Act", json!({"sub": "a"})), "claim_invalid"),
        case(
            "actor twice",
            ed(
                HEADER,
                &site.good().replacen('{', "{\"act\":{\"sub\":\"a\"},\"act\":{\"sub\":\"b\"},", 1),
            ),
            "token_malformed",
        ),
        case(
            "actor in a loop with its issuer",
            claim("act", json!({"sub": "a", "iss": "x", "act": {"sub": "a", "iss": "x"}})),
            "delegation_loop",
        ),
        case(
            "actor in a loop, one without its issuer",
            claim("act", json!({"sub": "a", "iss": "x", "act": {"sub": "a"}})),
            "delegation_loop",
        ),
        case("agent acts for itself", agent(json!({"sub": "a"})), "delegation_loop"),
        case(
            "agent acts for itself through another",
            agent(json!({"sub": "b", "act": {"sub": "a"}})),
            "delegation_loop",
        ),
        case(
            "another actor than permitted",
            acts(json!({"sub": "a"}), json!({"sub": "b"})),
            "may_act_mismatch",
        ),
        case(
            "permitted actor further in",
            acts(json!({"sub": "a"}), json!({"sub": "b", "act": {"sub": "a"}})),
            "may_act_mismatch",
        ),
        case(
            "permitted actor of another issuer",
            acts(json!({"sub": "a", "iss": "https://x.example"}), json!({"sub": "a"})),
            "may_act_mismatch",
        ),
        case(
            "permitted actor of another profile",
            acts(json!({"sub": "a", "sub_profile": "p"}), json!({"sub": "a"})),
            "may_act_mismatch",
        ),
        case("permitted actor is a text", acts(json!("a"), json!({"sub": "a"})), "claim_invalid"),
        case(
            "permitted actor without a name",
            acts(json!({"iss": "x"}), json!({"sub": "a"})),
            "claim_missing",
        ),
        case(
            "permitted actor in another case of name",
            claim("May_Act", json!({"sub": "a"})),
            "claim_invalid",
        ),
        case("subject with a NUL", claim("sub", json!("alice\0")), "claim_invalid"),
        case("subject with an escape", claim("sub", json!("\u{1b}[31malice")), "claim_invalid"),
        case("subject with a delete", claim("sub", json!("alice\u{7f}")), "claim_invalid"),
        case(
            "subject with a zero-width space",
            claim("sub", json!("ali\u{200b}ce@example.com")),
            "claim_invalid",
        ),
        case(
            "subject with a zero-width joiner",
            claim("sub", json!("ali\u{200d}ce@example.com")),
            "claim_invalid",
        ),
        case(
            "subject written backwards",
            claim("sub", json!("\u{202e}moc.elpmaxe@ecila")),
            "claim_invalid",
        ),
        case("subject isolated", claim("sub", json!("\u{2066}alice@example.com")), "claim_invalid"),
        case(
            "subject with a byte order mark",
            claim("sub", json!("\u{feff}alice@example.com")),
            "claim_invalid",
        ),
        case(
            "subject with a soft hyphen",
            claim("sub", json!("ali\u{ad}ce@example.com")),
            "claim_invalid",
        ),
        case(
            "subject with a tag",
            claim("sub", json!("alice@example.com\u{e0041}")),
            "claim_invalid",
        ),
        case(
            "subject with a variation",
            claim("sub", json!("alice\u{fe0f}@example.com")),
            "claim_invalid",
        ),
        case("subject with a hard space", claim("sub", json!("alice\u{a0}smith")), "claim_invalid"),
        case(
            "subject with a line separator",
            claim("sub", json!("alice\u{2028}root")),
            "claim_invalid",
        ),
        case("subject not composed", claim("sub", json!("u\u{308}lrich")), "claim_invalid"),
        case(
            "subject with a space before",
            claim("sub", json!(" alice@example.com")),
            "claim_invalid",
        ),
        case(
            "subject with a space after",
            claim("sub", json!("alice@example.com ")),
            "claim_invalid",
        ),
        case("claims of a transaction", claim("txn_token", json!({"txn": "t"})), "claim_invalid"),
        case("huge claims", claim("x", json!("x".repeat(20_000))), "token_too_large"),
    ]
}
