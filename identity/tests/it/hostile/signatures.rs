//! Signatures that do not hold.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use serde_json::json;

use super::forge::{
    HEADER, SINGLE, b64, by, ed, es, es_signature, join, keys, rsa, rsa_signature, signed_part,
};
use super::{Case, Site, case};

const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// Little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The form that X.509 has and JOSE has not.
fn der(fixed: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let mut bytes: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        if bytes.first().is_none_or(|byte| *byte > 0x7f) {
            bytes.insert(0, 0);
        }
        [&[2, u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
    };
    let body = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

/// A good signature with one of its two numbers replaced.
fn with_half(signed: &str, at: usize, number: [u8; 32]) -> Vec<u8> {
    let mut signature = es_signature(signed);
    signature[at..at + 32].copy_from_slice(&number);
    signature
}

/// The neutral point and zero, which verify for keys of small order.
fn small_order() -> [u8; 64] {
    let mut signature = [0; 64];
    signature[0] = 1;
    signature
}

/// The same signature to whoever does not reduce: `s` and `s` plus the order.
fn past_order(signature: &str) -> Vec<u8> {
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0u16;
    for (byte, add) in bytes[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    bytes
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let body = site.good();
    let es_header = r#"{"alg":"ES256","kid":"es-1"}"#;
    let es_signed = signed_part(es_header, &body);
    let single = site.with("iss", json!(SINGLE));
    let token = ed(HEADER, &body);
    let signature = token.rsplit('.').next().unwrap();
    let mallory = site.with("sub", json!("mallory"));
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
        case(
            "ECDSA signature in DER",
            join(&es_signed, der(&es_signature(&es_signed))),
            "signature_invalid",
        ),
        case(
            "ECDSA with r of zero",
            join(&es_signed, with_half(&es_signed, 0, [0; 32])),
            "signature_invalid",
        ),
        case(
            "ECDSA with s of zero",
            join(&es_signed, with_half(&es_signed, 32, [0; 32])),
            "signature_invalid",
        ),
        case(
            "ECDSA with r of the order",
            join(&es_signed, with_half(&es_signed, 0, P256_ORDER)),
            "signature_invalid",
        ),
        case(
            "ECDSA with s of the order",
            join(&es_signed, with_half(&es_signed, 32, P256_ORDER)),
            "signature_invalid",
        ),
        case(
            "Ed25519 with R of small order",
            join(&signed_part(HEADER, &body), small_order()),
            "signature_invalid",
        ),
        case(
            "Ed25519 with s beyond the order",
            format!("{}.{}", signed_part(HEADER, &body), b64(past_order(signature))),
            "signature_invalid",
        ),
        case(
            "RSA signature cut",
            {
                let signed = signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body);
                join(&signed, &rsa_signature("RS256", &signed)[..255])
            },
            "signature_invalid",
        ),
        case(
            "RSA signature of a key of 1024 bits",
            join(&signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body), [1; 128]),
            "signature_invalid",
        ),
        case(
            "PSS signature called PKCS#1",
            {
                let signed = signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body);
                join(&signed, rsa_signature("PS256", &signed))
            },
            "signature_invalid",
        ),
        case(
            "RSA signature of ones alone",
            join(&signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body), [0xff; 256]),
            "signature_invalid",
        ),
        case(
            "RSA signature with a byte before",
            {
                let signed = signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body);
                join(&signed, [&[0], rsa_signature("RS256", &signed).as_slice()].concat())
            },
            "signature_invalid",
        ),
        case(
            "Ed25519 signature with an RSA key",
            {
                let signed = signed_part(r#"{"alg":"RS256","kid":"rsa-1"}"#, &body);
                join(&signed, keys().ed.sign(signed.as_bytes()).to_bytes())
            },
            "signature_invalid",
        ),
        case(
            "header swapped",
            format!("{}.{}.{signature}", b64(r#"{"alg":"EdDSA","kid":"ed-1"}"#), b64(&body)),
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
