//! Tokens that are well signed and meant for others, or for another time.

use serde_json::json;

use super::forge::{HEADER, ed};
use super::{Case, Site, case};

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    [issuers_and_audiences(site), times(site)].into_iter().flatten().collect()
}

fn issuers_and_audiences(site: &Site) -> Vec<Case> {
    let aud = &site.aud;
    let claim = |name: &str, value| site.claim(name, value);
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
            "claim_invalid",
        ),
        case("issuer with a NUL", claim("iss", json!("https://issuer.example\0")), "claim_invalid"),
        case(
            "issuer with a newline",
            claim("iss", json!("https://issuer.example\nadmin")),
            "claim_invalid",
        ),
        case("issuer is a list", claim("iss", json!(["https://issuer.example"])), "claim_invalid"),
        case("issuer is null", claim("iss", json!(null)), "claim_invalid"),
        case("issuer missing", ed(HEADER, &site.without("iss")), "claim_missing"),
        case(
            "issuer in another case of name",
            ed(HEADER, &site.with("Iss", json!("x"))),
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
            claim("aud", json!(&aud[..aud.len() - 1])),
            "audience_wrong",
        ),
        case("for more than our name", claim("aud", json!(format!("{aud}/x"))), "audience_wrong"),
        case(
            "for our name in upper case",
            claim("aud", json!(aud.to_uppercase())),
            "audience_wrong",
        ),
        case(
            "for us and another",
            claim("aud", json!([aud, "https://other.example"])),
            "audience_not_single",
        ),
        case("for us under two names", claim("aud", json!([aud, "lictor"])), "audience_not_single"),
        case("for us twice", claim("aud", json!([aud, aud])), "audience_not_single"),
        case("for our name and a NUL", claim("aud", json!(format!("{aud}\0"))), "audience_wrong"),
        case(
            "for our name and white space",
            claim("aud", json!(format!("{aud} "))),
            "audience_wrong",
        ),
        case("audience in another case of name", claim("Aud", json!(aud)), "claim_invalid"),
        case(
            "audience twice",
            ed(HEADER, &site.good().replacen('{', "{\"aud\":\"x\",", 1)),
            "token_malformed",
        ),
        case("for nobody", claim("aud", json!([])), "audience_wrong"),
        case("for an empty name", claim("aud", json!("")), "audience_wrong"),
        case("for a number", claim("aud", json!(1)), "claim_invalid"),
        case("for us and a number", claim("aud", json!([aud, 1])), "claim_invalid"),
        case("for a list in a list", claim("aud", json!([[aud]])), "claim_invalid"),
        case("for an object", claim("aud", json!({aud.as_str(): true})), "claim_invalid"),
        case("no audience", ed(HEADER, &site.without("aud")), "claim_missing"),
    ]
}

fn times(site: &Site) -> Vec<Case> {
    let claim = |name: &str, value| site.claim(name, value);
    let raw = |exp: &str| {
        ed(
            HEADER,
            &site
                .good()
                .replace(&format!("\"exp\":{}", site.now_s + 300), &format!("\"exp\":{exp}")),
        )
    };
    vec![
        case("expired", claim("exp", json!(site.now_s - 1)), "token_expired"),
        case("expires now", claim("exp", json!(site.now_s)), "token_expired"),
        case("expired in 1970", claim("exp", json!(0)), "token_expired"),
        case("no expiry", ed(HEADER, &site.without("exp")), "claim_missing"),
        case(
            "expiry is a text",
            claim("exp", json!((site.now_s + 300).to_string())),
            "claim_invalid",
        ),
        case("expiry is a fraction", raw(&format!("{}.5", site.now_s + 300)), "claim_invalid"),
        case("expiry has an exponent", raw("18e8"), "claim_invalid"),
        case(
            "expiry is zero and a fraction",
            raw(&format!("{}.0", site.now_s + 300)),
            "claim_invalid",
        ),
        case("expiry past the year 9999", raw("253402300800"), "claim_invalid"),
        case("expiry is a list", raw(&format!("[{}]", site.now_s + 300)), "claim_invalid"),
        case(
            "expiry in another case of name",
            claim("EXP", json!(site.now_s + 300)),
            "claim_invalid",
        ),
        case("expiry is negative", raw("-1"), "claim_invalid"),
        case("expiry is i64::MAX", raw("9223372036854775807"), "claim_invalid"),
        case("expiry is u64::MAX", raw("18446744073709551615"), "claim_invalid"),
        case("expiry overflows", raw("18446744073709551616"), "token_malformed"),
        case("expiry is infinite", raw("1e999"), "token_malformed"),
        case("expiry just beyond a double", raw("1e400"), "token_malformed"),
        case("expiry is NaN", raw("NaN"), "token_malformed"),
        case("expiry is the word Infinity", raw("Infinity"), "token_malformed"),
        case("expiry in hexadecimal", raw("0x7fffffff"), "token_malformed"),
        case("expiry with a zero before", raw("01800000300"), "token_malformed"),
        case("expiry with a plus", raw("+1800000300"), "token_malformed"),
        case("expiry is minus zero", raw("-0"), "token_malformed"),
        case("expiry is empty", raw("\"\""), "claim_invalid"),
        case("expiry in milliseconds", raw(&format!("{}000", site.now_s + 300)), "claim_invalid"),
        case("expiry is null", raw("null"), "claim_invalid"),
        case("expiry is true", raw("true"), "claim_invalid"),
        case(
            "expiry twice",
            ed(HEADER, &site.good().replacen('{', "{\"exp\":1,", 1)),
            "token_malformed",
        ),
        case("not before later", claim("nbf", json!(site.now_s + 3_600)), "token_not_yet_valid"),
        case("not before is a text", claim("nbf", json!("0")), "claim_invalid"),
        case("issued later", claim("iat", json!(site.now_s + 3_600)), "token_not_yet_valid"),
        case("issued at a fraction", claim("iat", json!(1.5)), "claim_invalid"),
        case("issued before 1970", claim("iat", json!(-1)), "claim_invalid"),
    ]
}
