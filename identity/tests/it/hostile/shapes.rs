//! Texts that are no token, or one in another spelling.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use ed25519_dalek::Signer as _;
use lictor_identity::error::TOKEN_MAX_BYTES;

use super::forge::{HEADER, b64, ed, join, keys};
use super::{Case, Sent, Site, case, sent};

/// A key as we issue them, of these hexadecimal digits.
fn api_key(digits: &str) -> String {
    let check = digest(&SHA256, digits.as_bytes());
    let check: String = check.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("lictor_{digits}_{check}")
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let key = api_key(&"5b".repeat(32));
    let token = ed(HEADER, &site.good());
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
        case(
            "standard alphabet",
            format!("{head}.{body}.{}/", &signature[..signature.len() - 1]),
            "token_malformed",
        ),
        case("payload padded", format!("{head}.{body}=.{signature}"), "token_malformed"),
        case("dots as percent signs", token.replace('.', "%2E"), "token_malformed"),
        case("tab inside", format!("{head}.\t{body}.{signature}"), "token_malformed"),
        case("carriage return inside", format!("{head}.{body}\r.{signature}"), "token_malformed"),
        case("full-width dots", token.replace('.', "\u{ff0e}"), "token_malformed"),
        case(
            "payload is another token",
            {
                let inner = b64(&token);
                let signed = format!("{head}.{inner}");
                join(&signed, keys().ed.sign(signed.as_bytes()).to_bytes())
            },
            "token_malformed",
        ),
        case(
            "encrypted in five parts",
            format!(
                "{}.{}.{}.{}.{}",
                b64(r#"{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"rsa-1"}"#),
                b64([1; 256]),
                b64([2; 12]),
                b64(&token),
                b64([3; 16])
            ),
            "token_malformed",
        ),
        case(
            "JSON instead of dots",
            format!(
                "{{\"payload\":\"{body}\",\"protected\":\"{head}\",\"signature\":\"{signature}\"}}"
            ),
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
        case("header is a list", ed("[]", &site.good()), "token_malformed"),
        case("header is a number", ed("1", &site.good()), "token_malformed"),
        case("payload is a text", ed(HEADER, "\"alice\""), "token_malformed"),
        case("payload is null", ed(HEADER, "null"), "token_malformed"),
        case("payload is cut", ed(HEADER, &site.good()[..40]), "token_malformed"),
        case(
            "payload has two values",
            ed(HEADER, &format!("{}{{}}", site.good())),
            "token_malformed",
        ),
        sent("no credential at all", Sent::default(), "token_missing"),
        sent(
            "a scheme that proves nothing",
            Sent { authorization: vec![format!("Basic {token}")], ..Sent::default() },
            "token_missing",
        ),
        sent(
            "two credentials",
            Sent {
                authorization: vec![format!("Bearer {token}"), format!("Bearer {token}")],
                ..Sent::default()
            },
            "token_several",
        ),
        case("API key of somebody else", api_key(&"5a".repeat(32)), "api_key_unknown"),
        case(
            "API key with other check digits",
            format!("{}x", &key[..key.len() - 1]),
            "token_malformed",
        ),
        sent(
            "API key as a bound token",
            Sent { authorization: vec![format!("DPoP {key}")], ..Sent::default() },
            "dpop_unbound",
        ),
        case(
            "door token that was made up",
            format!("lictordoor_{}", "a".repeat(43)),
            "token_unknown",
        ),
        case("byte order mark", ed(HEADER, &format!("\u{feff}{}", site.good())), "token_malformed"),
    ]
}
