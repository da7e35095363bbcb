//! Tokens that are wrong before their claims matter.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use lictor_identity::error::TOKEN_MAX_BYTES;
use lictor_identity::keys as key_files;
use serde_json::json;

use super::{Case, case};
use crate::forge::{HEADER, SINGLE, b64, by, ed, es, good, join, keys, rsa, signed_part, with};

fn header(extra: &str) -> String {
    format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed-1\"{extra}}}")
}

fn hs256(secret: &[u8]) -> String {
    let signed = signed_part(r#"{"alg":"HS256","kid":"ed-1"}"#, &good());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    join(&signed, tag)
}

pub(super) fn shapes() -> Vec<Case> {
    let token = ed(HEADER, &good());
    let parts: Vec<&str> = token.split('.').collect();
    let [head, body, signature] = parts.as_slice() else { panic!("three parts") };
    let padded = URL_SAFE.encode(r#"{"alg":"EdDSA","kid":"ed-1" }"#);
    assert!(padded.ends_with('='));
    // The last of 86 characters carries four bits that must be zero.
    let last = if signature.ends_with('A') { 'B' } else { 'R' };
    let stray = format!("{}{last}", &signature[..signature.len() - 1]);
    vec![
        case("no dots", "x".to_owned(), "token_malformed"),
        case("a word", "hunter2hunter2hunter2".to_owned(), "token_malformed"),
        case("only dots", "..".to_owned(), "token_malformed"),
        case("two parts", format!("{head}.{body}"), "token_malformed"),
        case("four parts", format!("{token}.{signature}"), "token_malformed"),
        case("five parts, as if encrypted", format!("{token}.a.b"), "token_malformed"),
        case("trailing dot", format!("{token}."), "token_malformed"),
        case("leading dot", format!(".{token}"), "token_malformed"),
        case("empty header", format!(".{body}.{signature}"), "token_malformed"),
        case("empty payload", format!("{head}..{signature}"), "token_malformed"),
        case("empty signature", format!("{head}.{body}."), "token_malformed"),
        case("truncated signature", token[..token.len() - 2].to_owned(), "signature_invalid"),
        case("one character short", token[..token.len() - 1].to_owned(), "token_malformed"),
        case("truncated payload", token[..head.len() + 20].to_owned(), "token_malformed"),
        case("padded", format!("{padded}.{body}.{signature}"), "token_malformed"),
        case("padded signature", format!("{token}=="), "token_malformed"),
        case("stray bits", format!("{head}.{body}.{stray}"), "token_malformed"),
        case(
            "plus instead of minus",
            format!("{head}.{body}.+{}", &signature[1..]),
            "token_malformed",
        ),
        case("space inside", format!("{head}. {body}.{signature}"), "token_malformed"),
        case("newline at the end", format!("{token}\n"), "token_malformed"),
        case("two tokens", format!("{token}, {token}"), "token_malformed"),
        case("NUL inside", format!("{head}.{body}\0.{signature}"), "token_malformed"),
        case("non-ASCII", format!("{head}.{body}é.{signature}"), "token_malformed"),
        case("too large", "a".repeat(TOKEN_MAX_BYTES + 1), "token_too_large"),
        case("as large as is read", "a".repeat(TOKEN_MAX_BYTES), "token_malformed"),
        case(
            "header not UTF-8",
            format!("{}.{body}.{signature}", b64(b"{\"alg\":\"\xff\"}")),
            "token_malformed",
        ),
        case("header is a list", ed("[]", &good()), "token_malformed"),
        case("header is a number", ed("1", &good()), "token_malformed"),
        case("payload is a text", ed(HEADER, "\"alice\""), "token_malformed"),
        case("payload is null", ed(HEADER, "null"), "token_malformed"),
        case("payload is cut", ed(HEADER, &good()[..40]), "token_malformed"),
        case("payload has two values", ed(HEADER, &format!("{}{{}}", good())), "token_malformed"),
        case("byte order mark", ed(HEADER, &format!("\u{feff}{}", good())), "token_malformed"),
    ]
}

pub(super) fn headers() -> Vec<Case> {
    let body = good();
    let signed = |header: &str| ed(header, &body);
    let none = |alg: &str| join(&signed_part(&format!("{{\"alg\":\"{alg}\"}}"), &good()), b"x");
    let jwk = format!(
        ",\"jwk\":{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\"}}",
        b64(keys().other.verifying_key().as_bytes())
    );
    let public_pem = key_files::public_pem(&keys().ed.verifying_key()).unwrap();
    let mut cases = vec![
        case("alg none", none("none"), "algorithm_refused"),
        case("alg None", none("None"), "algorithm_refused"),
        case("alg NONE", none("NONE"), "algorithm_refused"),
        case("alg empty", none(""), "algorithm_refused"),
        case(
            "alg none, no signature",
            format!("{}.", signed_part(r#"{"alg":"none"}"#, &body)),
            "token_malformed",
        ),
        case("HS256 keyed with the public PEM", hs256(public_pem.as_bytes()), "algorithm_refused"),
        case(
            "HS256 keyed with the public bytes",
            hs256(keys().ed.verifying_key().as_bytes()),
            "algorithm_refused",
        ),
        case("alg in lower case", signed(r#"{"alg":"eddsa","kid":"ed-1"}"#), "algorithm_refused"),
        case(
            "alg of another curve",
            signed(r#"{"alg":"ES256K","kid":"ed-1"}"#),
            "algorithm_refused",
        ),
        case("alg missing", signed(r#"{"kid":"ed-1"}"#), "token_malformed"),
        case("alg is a list", signed(r#"{"alg":["EdDSA"],"kid":"ed-1"}"#), "token_malformed"),
        case("alg is null", signed(r#"{"alg":null,"kid":"ed-1"}"#), "token_malformed"),
        case(
            "alg twice",
            signed(r#"{"alg":"none","kid":"ed-1","alg":"EdDSA"}"#),
            "token_malformed",
        ),
        case(
            "alg twice, one escaped",
            signed(r#"{"alg":"EdDSA","kid":"ed-1","\u0061lg":"none"}"#),
            "token_malformed",
        ),
        case(
            "kid of another kind of key",
            signed(r#"{"alg":"EdDSA","kid":"es-1"}"#),
            "algorithm_refused",
        ),
        case(
            "ES256 named, Ed25519 key",
            signed(r#"{"alg":"ES256","kid":"ed-1"}"#),
            "algorithm_refused",
        ),
        case("RS512 is not on the list", rsa("RS512", &body), "algorithm_refused"),
        case("unknown kid", signed(r#"{"alg":"EdDSA","kid":"ed-2"}"#), "key_unknown"),
        case("kid in another case", signed(r#"{"alg":"EdDSA","kid":"ED-1"}"#), "key_unknown"),
        case("kid is a path", signed(r#"{"alg":"EdDSA","kid":"../../dev/null"}"#), "key_unknown"),
        case("kid is a query", signed(r#"{"alg":"EdDSA","kid":"' OR 1=1 --"}"#), "key_unknown"),
        case("kid missing, several keys", signed(r#"{"alg":"EdDSA"}"#), "kid_missing"),
        case("kid is a number", signed(r#"{"alg":"EdDSA","kid":1}"#), "claim_invalid"),
        case("kid empty", signed(r#"{"alg":"EdDSA","kid":""}"#), "claim_invalid"),
        case("embedded key", by(&keys().other, &header(&jwk), &body), "header_refused"),
        case(
            "deep header",
            signed(&header(&format!(",\"x\":{}{}", "[".repeat(70), "]".repeat(70)))),
            "token_malformed",
        ),
        case("typ of an ID-JAG", signed(&header(",\"typ\":\"oauth-id-jag+jwt\"")), "type_refused"),
        case("typ of a proof", signed(&header(",\"typ\":\"dpop+jwt\"")), "type_refused"),
        case(
            "typ of a transaction token",
            signed(&header(",\"typ\":\"txntoken+jwt\"")),
            "type_refused",
        ),
        case("typ is a number", signed(&header(",\"typ\":1")), "type_refused"),
    ];
    for extra in [
        ",\"jku\":\"https://evil.example/jwks\"",
        ",\"x5u\":\"https://evil.example/cert\"",
        ",\"x5c\":[\"AA\"]",
        ",\"crit\":[\"exp\"]",
        ",\"crit\":[]",
        ",\"crit\":null",
        ",\"b64\":false",
        ",\"zip\":\"DEF\"",
        ",\"enc\":\"A256GCM\"",
        ",\"JKU\":\"https://evil.example/jwks\"",
        ",\"Alg\":\"none\"",
    ] {
        cases.push(case("header member", signed(&header(extra)), "header_refused"));
    }
    cases
}

pub(super) fn signatures() -> Vec<Case> {
    let body = good();
    let es_header = r#"{"alg":"ES256","kid":"es-1"}"#;
    let es_signed = signed_part(es_header, &body);
    let single = with("iss", json!(SINGLE));
    let token = ed(HEADER, &body);
    let signature = token.rsplit('.').next().unwrap();
    let mallory = with("sub", json!("mallory"));
    vec![
        case("signed by somebody else", by(&keys().other, HEADER, &body), "signature_invalid"),
        case(
            "payload swapped",
            format!("{}.{signature}", signed_part(HEADER, &mallory)),
            "signature_invalid",
        ),
        case("zero signature", join(&signed_part(HEADER, &body), [0; 64]), "signature_invalid"),
        case("zero ECDSA signature", join(&es_signed, [0; 64]), "signature_invalid"),
        case(
            "empty-looking ECDSA signature",
            join(&es_signed, [0x30, 0x06, 2, 1, 0, 2, 1, 0]),
            "signature_invalid",
        ),
        case("long signature", join(&signed_part(HEADER, &body), [1; 65]), "signature_invalid"),
        case("short signature", join(&signed_part(HEADER, &body), [1; 63]), "signature_invalid"),
        case(
            "RSA zero signature",
            join(&signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body), [0; 256]),
            "signature_invalid",
        ),
        case(
            "PKCS#1 signature called PSS",
            {
                let token = rsa("RS256", &body);
                let signature = token.rsplit('.').next().unwrap().to_owned();
                format!("{}.{signature}", signed_part(r#"{"alg":"PS256","kid":"rsa-1"}"#, &body))
            },
            "signature_invalid",
        ),
        case("another issuer's key", ed(r#"{"alg":"EdDSA"}"#, &single), "signature_invalid"),
        case("another issuer's kid", ed(HEADER, &single), "key_unknown"),
        case(
            "an algorithm this issuer may not use",
            es(r#"{"alg":"ES256"}"#, &single),
            "algorithm_refused",
        ),
    ]
}
