//! Headers that would steer us to another key, or to none.

use aws_lc_rs::hmac;
use lictor_identity::keys as key_files;
use serde_json::json;

use super::forge::{b64, by, ed, ed_jwk, join, key_sets, keys, rsa, rsa_signature, signed_part};
use super::{Case, Site, case};

/// What stands before the bytes of a public key in its DER form (RFC 8410).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

fn header(extra: &str) -> String {
    format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed-1\"{extra}}}")
}

fn hmac_with(site: &Site, alg: &str, secret: &[u8]) -> String {
    let signed = signed_part(&format!("{{\"alg\":\"{alg}\",\"kid\":\"ed-1\"}}"), &site.good());
    let algorithm = match alg {
        "HS512" => hmac::HMAC_SHA512,
        "HS384" => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA256,
    };
    join(&signed, hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes()))
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let body = site.good();
    let signed = |header: &str| ed(header, &body);
    let none =
        |alg: &str| join(&signed_part(&format!("{{\"alg\":\"{alg}\"}}"), &site.good()), b"x");
    let jwk = format!(
        ",\"jwk\":{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\"}}",
        b64(keys().other.verifying_key().as_bytes())
    );
    let public_der = [SPKI_ED25519.as_slice(), keys().ed.verifying_key().as_bytes()].concat();
    let public_jwk = ed_jwk(&keys().ed, json!({"kid": "ed-1"})).to_string();
    let public_pem = key_files::public_pem(&keys().ed.verifying_key()).unwrap();
    let mut cases = vec![
        case("alg none", none("none"), "algorithm_refused"),
        case("alg None", none("None"), "algorithm_refused"),
        case("alg nOnE", none("nOnE"), "algorithm_refused"),
        case("alg none with a space", none("none "), "algorithm_refused"),
        case("alg none with a NUL", none("none\\u0000"), "algorithm_refused"),
        case("alg NONE", none("NONE"), "algorithm_refused"),
        case("alg empty", none(""), "algorithm_refused"),
        case(
            "alg none, no signature",
            format!("{}.", signed_part(r#"{"alg":"none"}"#, &body)),
            "token_malformed",
        ),
        case(
            "HS256 keyed with the public PEM",
            hmac_with(site, "HS256", public_pem.as_bytes()),
            "algorithm_refused",
        ),
        case(
            "HS256 keyed with the public DER",
            hmac_with(site, "HS256", &public_der),
            "algorithm_refused",
        ),
        case(
            "HS256 keyed with the public JWK",
            hmac_with(site, "HS256", public_jwk.as_bytes()),
            "algorithm_refused",
        ),
        case(
            "EdDSA named, HMAC with the public PEM",
            {
                let signed = signed_part(&header(""), &site.good());
                let key = hmac::Key::new(hmac::HMAC_SHA512, public_pem.as_bytes());
                join(&signed, hmac::sign(&key, signed.as_bytes()))
            },
            "signature_invalid",
        ),
        case(
            "HS256 keyed with the public bytes",
            hmac_with(site, "HS256", keys().ed.verifying_key().as_bytes()),
            "algorithm_refused",
        ),
        case(
            "HS384 keyed with the key set",
            hmac_with(site, "HS384", key_sets()[0].1.to_string().as_bytes()),
            "algorithm_refused",
        ),
        case("HS512 keyed with nothing", hmac_with(site, "HS512", b""), "algorithm_refused"),
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
        case(
            "PS256 with a key for RS256",
            {
                let signed = signed_part(r#"{"alg":"PS256","kid":"rs-only"}"#, &body);
                join(&signed, rsa_signature("PS256", &signed))
            },
            "algorithm_refused",
        ),
        case("a key for encryption", signed(r#"{"alg":"EdDSA","kid":"enc-1"}"#), "key_unknown"),
        case(
            "a key for SPIFFE documents",
            signed(r#"{"alg":"EdDSA","kid":"svid-1"}"#),
            "key_unknown",
        ),
        case("kid of another issuer", signed(r#"{"alg":"EdDSA","kid":"txn-1"}"#), "key_unknown"),
        case("kid with a NUL", signed(r#"{"alg":"EdDSA","kid":"ed-1\u0000"}"#), "claim_invalid"),
        case(
            "kid twice",
            signed(r#"{"alg":"EdDSA","kid":"ed-1","kid":"es-1"}"#),
            "token_malformed",
        ),
        case(
            "kid too long",
            signed(&format!("{{\"alg\":\"EdDSA\",\"kid\":\"{}\"}}", "k".repeat(513))),
            "claim_invalid",
        ),
        case(
            "kid written backwards",
            signed(r#"{"alg":"EdDSA","kid":"\u202e1-de"}"#),
            "claim_invalid",
        ),
        case(
            "huge header",
            signed(&header(&format!(",\"x\":\"{}\"", "x".repeat(13_000)))),
            "token_too_large",
        ),
        case(
            "typ twice",
            signed(&header(",\"typ\":\"JWT\",\"typ\":\"at+jwt\"")),
            "token_malformed",
        ),
        case(
            "typ in another case of name",
            signed(&header(",\"TYP\":\"at+jwt\"")),
            "header_refused",
        ),
        case("typ of a logout token", signed(&header(",\"typ\":\"logout+jwt\"")), "type_refused"),
        case(
            "typ of a security event",
            signed(&header(",\"typ\":\"secevent+jwt\"")),
            "type_refused",
        ),
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
    for (name, extra) in [
        ("keys elsewhere", ",\"jku\":\"https://evil.example/jwks\""),
        ("certificate elsewhere", ",\"x5u\":\"https://evil.example/cert\""),
        ("embedded certificate", ",\"x5c\":[\"AA\"]"),
        ("critical extension", ",\"crit\":[\"exp\"]"),
        ("no critical extensions", ",\"crit\":[]"),
        ("critical extensions are null", ",\"crit\":null"),
        ("payload not encoded", ",\"b64\":false"),
        ("payload not encoded, critically", ",\"b64\":false,\"crit\":[\"b64\"]"),
        ("compressed", ",\"zip\":\"DEF\""),
        ("encrypted", ",\"enc\":\"A256GCM\""),
        ("nested", ",\"cty\":\"JWT\""),
        ("keys elsewhere in another case", ",\"JKU\":\"https://evil.example/jwks\""),
        ("alg in another case of name", ",\"Alg\":\"none\""),
        ("kid in another case of name", ",\"KID\":\"es-1\""),
    ] {
        cases.push(case(name, signed(&header(extra)), "header_refused"));
    }
    cases
}
