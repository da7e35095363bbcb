//! Wrong signatures: missing, forged, for something else, in another algorithm, or
//! over a list of files that is not the list of files.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use lictor_policy_lib::bundle::{SignOptions, pack, sign, verifying_key_to_pem};

use super::make::{
    Vector, files, header, key, options, payload, signed, signed_with, token, token_of, with_entry,
    with_file, with_signatures, with_token,
};
use super::{FAR_S, NOW_S};

pub(super) fn accepted() -> BTreeMap<String, Vec<u8>> {
    let one = signed();
    let two = sign(&one, &key(2), &options()).unwrap();
    [("signed", one), ("signed-by-an-unknown-key-too", two)]
        .into_iter()
        .map(|(name, files)| (format!("{name}.tar.gz"), pack(&files)))
        .collect()
}

pub(super) fn refused() -> Vec<Vector> {
    let other = sign(&files(), &key(2), &options()).unwrap();
    let alg = |alg: &str| header("").replace("EdDSA", alg);
    let expired = SignOptions { exp_s: Some(NOW_S), iat_s: NOW_S - 60, ..options() };
    let future = SignOptions { iat_s: FAR_S, ..options() };
    let test = SignOptions { scope: "test".into(), ..options() };
    let signatures = |text: &str| with_file(".signatures.json", Some(text.as_bytes()));
    let mut all = vec![
        ("bundle_unsigned", "stripped", with_file(".signatures.json", None)),
        ("bundle_unsigned", "empty-list", signatures(r#"{"signatures":[]}"#)),
        ("bundle_signatures_invalid", "empty-object", signatures("{}")),
        (
            "bundle_signatures_invalid",
            "plugin",
            signatures(r#"{"signatures":["a.b.c"],"plugin":"x"}"#),
        ),
        ("bundle_signature_malformed", "two-parts", signatures(r#"{"signatures":["a.b"]}"#)),
        ("bundle_signature_algorithm", "none", with_token(1, &alg("none"), |_| {})),
        ("bundle_signature_algorithm", "hs256", with_token(1, &alg("HS256"), |_| {})),
        ("bundle_signature_header", "jwk", with_token(1, &header(r#","jwk":{}"#), |_| {})),
        ("bundle_signature_header", "crit", with_token(1, &header(r#","crit":["exp"]"#), |_| {})),
        ("bundle_signature_header", "kid-twice", with_token(1, &header(r#","kid":"x""#), |_| {})),
        ("bundle_signature_invalid", "by-another-key", with_token(2, &header(""), |_| {})),
        (
            "bundle_signature_payload",
            "scope-twice",
            with_token(1, &header(""), |text| {
                *text = text.replacen('{', r#"{"scope":"prod","#, 1);
            }),
        ),
        ("bundle_key_unknown", "another-key", pack(&other)),
        ("bundle_scope", "test", signed_with(r#""version":7"#, &test)),
        ("bundle_hash", "changed-policy", with_file("cedar/expense.cedar", Some(b"// none\n"))),
        ("bundle_hash", "changed-manifest", with_file(".manifest", Some(b"not json"))),
        ("bundle_file_missing", "no-data", with_file("data.json", None)),
        ("bundle_file_unsigned", "extra-case", with_entry("cases/x.yaml", b'0', b"cases: []\n")),
        (
            "bundle_hash_algorithm",
            "md5",
            with_token(1, &header(""), |text| {
                *text = text.replace("SHA-256", "MD5");
            }),
        ),
        (
            "bundle_manifest_mismatch",
            "version",
            with_token(1, &header(""), |text| {
                *text = text.replace(r#""version":7"#, r#""version":8"#);
            }),
        ),
        ("bundle_expired", "signature", signed_with(r#""version":7"#, &expired)),
        ("bundle_not_yet_valid", "signature", signed_with(r#""version":7"#, &future)),
        (
            "bundle_expired",
            "manifest",
            signed_with(r#""version":7,"expires":"2026-01-31T12:00:00Z""#, &options()),
        ),
        (
            "bundle_not_yet_valid",
            "manifest",
            signed_with(r#""version":7,"not_before":"2126-01-01T00:00:00Z""#, &options()),
        ),
        ("bundle_version_lower", "one-below", signed_with(r#""version":6"#, &options())),
    ];
    all.extend(confused());
    all.extend(malformed());
    all.extend(listed());
    all
}

/// Algorithms and keys that the token names, where only the configured key counts.
fn confused() -> Vec<Vector> {
    let alg = |alg: &str| header("").replace("EdDSA", alg);
    let kid = |kid: &str| format!(r#"{{"alg":"EdDSA","kid":{kid}}}"#);
    let text = |header: &str| {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload()))
    };
    let unsigned = |header: &str| with_signatures(&[&format!("{}.", text(header))]);
    // The public key is known to all: as a shared secret it proves nothing.
    let public = verifying_key_to_pem(&key(1).verifying_key()).unwrap();
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public.as_bytes());
    let hs256 = text(&alg("HS256"));
    let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&secret, hs256.as_bytes()));
    let more = |more: &str| with_token(1, &header(more), |_| {});
    vec![
        (
            "bundle_signature_algorithm",
            "hs256-by-the-public-key",
            with_signatures(&[&format!("{hs256}.{tag}")]),
        ),
        ("bundle_signature_algorithm", "none-and-no-signature", unsigned(&alg("none"))),
        ("bundle_signature_algorithm", "none-in-capitals", unsigned(&alg("NONE"))),
        ("bundle_signature_algorithm", "another-case", with_token(1, &alg("eddsa"), |_| {})),
        ("bundle_signature_algorithm", "es256", with_token(1, &alg("ES256"), |_| {})),
        ("bundle_signature_algorithm", "rs256", with_token(1, &alg("RS256"), |_| {})),
        ("bundle_signature_algorithm", "empty", with_token(1, &alg(""), |_| {})),
        ("bundle_signature_malformed", "no-signature", unsigned(&header(""))),
        (
            "bundle_signature_header",
            "no-algorithm",
            with_token(1, &header("").replace(r#""alg":"EdDSA","#, ""), |_| {}),
        ),
        ("bundle_signature_header", "algorithm-twice", more(r#","alg":"none""#)),
        ("bundle_signature_header", "algorithm-escaped-twice", more(r#","\u0061lg":"none""#)),
        ("bundle_signature_header", "no-kid", with_token(1, r#"{"alg":"EdDSA"}"#, |_| {})),
        ("bundle_signature_header", "empty-kid", with_token(1, &kid(r#""""#), |_| {})),
        ("bundle_signature_header", "number-for-kid", with_token(1, &kid("1"), |_| {})),
        ("bundle_signature_header", "null-for-kid", with_token(1, &kid("null"), |_| {})),
        (
            "bundle_signature_header",
            "long-kid",
            with_token(1, &kid(&format!("\"{}\"", "k".repeat(129))), |_| {}),
        ),
        ("bundle_key_unknown", "kid-is-a-path", with_token(1, &kid(r#""../../dev/null""#), |_| {})),
        (
            "bundle_key_unknown",
            "kid-in-capitals",
            with_token(
                1,
                &header("").replace(
                    &lictor_policy_lib::bundle::key_id(&key(1).verifying_key()),
                    &lictor_policy_lib::bundle::key_id(&key(1).verifying_key()).to_uppercase(),
                ),
                |_| {},
            ),
        ),
        ("bundle_signature_header", "jku", more(r#","jku":"https://keys.example/jwks""#)),
        ("bundle_signature_header", "x5c", more(r#","x5c":["AA"]"#)),
        ("bundle_signature_header", "x5u", more(r#","x5u":"https://keys.example/x""#)),
        ("bundle_signature_header", "unencoded", more(r#","b64":false,"crit":["b64"]"#)),
        ("bundle_signature_header", "compressed", more(r#","zip":"DEF""#)),
        ("bundle_signature_header", "another-type", more(r#","typ":"lictor-revocations+jwt""#)),
        ("bundle_signature_header", "array", with_token(1, r#"["EdDSA","k"]"#, |_| {})),
        (
            "bundle_signature_header",
            "byte-order-mark",
            with_token(1, &format!("\u{feff}{}", header("")), |_| {}),
        ),
    ]
}

/// Texts that are no compact JWS, or not the one that was signed.
fn malformed() -> Vec<Vector> {
    let good = token();
    let parts: Vec<&str> = good.split('.').collect();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let with = |signature: &[u8]| {
        let part = URL_SAFE_NO_PAD.encode(signature);
        with_signatures(&[&format!("{}.{}.{part}", parts[0], parts[1])])
    };
    let spelled = |part: String| with_signatures(&[&format!("{}.{}.{part}", parts[0], parts[1])]);
    let file = |text: &str| with_file(".signatures.json", Some(text.as_bytes()));
    vec![
        ("bundle_signature_malformed", "empty-text", with_signatures(&[""])),
        ("bundle_signature_malformed", "four-parts", with_signatures(&[&format!("{good}.e30")])),
        ("bundle_signature_malformed", "padded", spelled(URL_SAFE.encode(&signature))),
        ("bundle_signature_malformed", "trailing-space", with_signatures(&[&format!("{good} ")])),
        ("bundle_signature_malformed", "spare-bits", with_signatures(&[&spare_bits(&good)])),
        ("bundle_signature_malformed", "short", with(&signature[..63])),
        ("bundle_signature_malformed", "long", with(&[signature.as_slice(), b"\0"].concat())),
        ("bundle_signature_malformed", "plus-and-slash", spelled(STANDARD.encode([0xfb; 64]))),
        ("bundle_signature_invalid", "zeroes", with(&[0; 64])),
        ("bundle_signature_invalid", "one-bit", with(&flipped(&signature))),
        ("bundle_signature_invalid", "order-added", with(&with_order_added(&signature))),
        (
            "bundle_signature_invalid",
            "payload-of-another",
            with_signatures(&[&format!(
                "{}.{}.{}",
                parts[0],
                URL_SAFE_NO_PAD.encode(payload().replace(r#""version":7"#, r#""version":9"#)),
                parts[2]
            )]),
        ),
        (
            "bundle_signature_invalid",
            "a-good-one-beside-it",
            with_signatures(&[&good, &token_of(2, &header(""), &payload())]),
        ),
        ("bundle_signature_duplicate", "same-twice", with_signatures(&[&good, &good])),
        ("bundle_signatures_too_many", "seventeen", with_signatures(&[good.as_str(); 17])),
        ("bundle_signatures_invalid", "empty-file", file("")),
        ("bundle_signatures_invalid", "null", file("null")),
        ("bundle_signatures_invalid", "null-list", file(r#"{"signatures":null}"#)),
        (
            "bundle_signatures_invalid",
            "list-twice",
            file(&format!(r#"{{"signatures":["{good}"],"signatures":[]}}"#)),
        ),
        (
            "bundle_signatures_invalid",
            "another-case",
            file(&format!(r#"{{"Signatures":["{good}"]}}"#)),
        ),
        (
            "bundle_signatures_invalid",
            "json-form",
            file(r#"{"signatures":[{"payload":"","signatures":[]}]}"#),
        ),
        ("bundle_signatures_invalid", "array", file(&format!(r#"["{good}"]"#))),
        (
            "bundle_signatures_invalid",
            "trailing-text",
            file(&format!(r#"{{"signatures":["{good}"]}}{{}}"#)),
        ),
        ("bundle_signature_malformed", "null-text", with_signatures(&["null"])),
    ]
}

/// Lists of files that do not say what is in the archive.
fn listed() -> Vec<Vector> {
    let changed = |from: &str, to: &str| {
        with_token(1, &header(""), |text| {
            assert!(text.contains(from), "{from}");
            *text = text.replacen(from, to, 1);
        })
    };
    let list = |to: &str| {
        with_token(1, &header(""), |text| {
            let (start, end) = (text.find(r#""files":["#).unwrap(), text.find(']').unwrap());
            text.replace_range(start..=end, to);
        })
    };
    let first = {
        let text = payload();
        let list = text.split_once("[{").unwrap().1;
        format!("{{{}}}", list.split_once('}').unwrap().0)
    };
    vec![
        ("bundle_file_unsigned", "nothing-listed", list(r#""files":[]"#)),
        ("bundle_signature_payload", "no-list", list(r#""note":1"#)),
        ("bundle_signature_payload", "list-of-names", list(r#""files":["data.json"]"#)),
        ("bundle_signature_payload", "object-for-list", list(r#""files":{}"#)),
        (
            "bundle_signature_payload",
            "exclude",
            changed(r#""scope""#, r#""exclude_files":["*"],"scope""#),
        ),
        (
            "bundle_signature_payload",
            "keyid-claim",
            changed(r#""scope""#, r#""keyid":"x","scope""#),
        ),
        ("bundle_signature_payload", "no-scope", changed(r#""scope":"prod","#, "")),
        ("bundle_signature_payload", "null-scope", changed(r#""scope":"prod""#, r#""scope":null"#)),
        (
            "bundle_signature_payload",
            "version-as-text",
            changed(r#""version":7"#, r#""version":"7""#),
        ),
        (
            "bundle_signature_payload",
            "version-as-fraction",
            changed(r#""version":7"#, r#""version":7.0"#),
        ),
        (
            "bundle_signature_payload",
            "negative-version",
            changed(r#""version":7"#, r#""version":-7"#),
        ),
        (
            "bundle_signature_payload",
            "expiry-as-fraction",
            changed(r#"{"files""#, r#"{"exp":4e12,"files""#),
        ),
        (
            "bundle_signature_payload",
            "not-json",
            with_token(1, &header(""), |text| *text = "no".into()),
        ),
        ("bundle_scope", "another-case", changed(r#""scope":"prod""#, r#""scope":"Prod""#)),
        ("bundle_scope", "empty", changed(r#""scope":"prod""#, r#""scope":"""#)),
        ("bundle_manifest_mismatch", "name", changed(r#""name":"demo""#, r#""name":"other""#)),
        ("bundle_file_listed_twice", "same", changed(&first, &format!("{first},{first}"))),
        ("bundle_file_missing", "leading-slash", changed(r#""data.json""#, r#""/data.json""#)),
        ("bundle_file_missing", "leading-dot", changed(r#""data.json""#, r#""./data.json""#)),
        ("bundle_file_missing", "another-case", changed(r#""data.json""#, r#""Data.json""#)),
        (
            "bundle_file_missing",
            "listed-too-much",
            changed(&first, &format!("{first},{}", first.replace(".manifest", "cases/more.yaml"))),
        ),
        (
            "bundle_file_missing",
            "lists-the-signatures",
            changed(&first, &format!("{first},{}", first.replace(".manifest", ".signatures.json"))),
        ),
        (
            "bundle_hash",
            "capitals",
            with_token(1, &header(""), |text| {
                let at = text.find(r#""hash":""#).unwrap() + 8;
                let hash = text.get(at..at + 64).unwrap().to_uppercase();
                text.replace_range(at..at + 64, &hash);
            }),
        ),
        (
            "bundle_hash",
            "cut",
            with_token(1, &header(""), |text| {
                let at = text.find(r#""hash":""#).unwrap() + 8;
                text.replace_range(at + 32..at + 64, "");
            }),
        ),
        (
            "bundle_hash",
            "data-in-another-layout",
            with_file(
                "data.json",
                Some(br#"{ "registry": {"agents": {"a": {"owner": "o", "status": "active"}}} }"#),
            ),
        ),
        ("bundle_hash_algorithm", "sha-1", changed("SHA-256", "SHA-1")),
        ("bundle_hash_algorithm", "another-case", changed("SHA-256", "sha-256")),
    ]
}

/// The same signature, written with bits that its last letter has to spare.
fn spare_bits(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.as_bytes()[token.len() - 1];
    let at = ALPHABET.iter().position(|letter| *letter == last).unwrap();
    let head = token.strip_suffix(char::from(last)).unwrap();
    format!("{head}{}", char::from(ALPHABET[at | 1]))
}

fn flipped(signature: &[u8]) -> Vec<u8> {
    let mut signature = signature.to_vec();
    signature[5] ^= 4;
    signature
}

/// The same signature by a lenient reader: the order of the group is added to its second half.
fn with_order_added(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut signature = signature.to_vec();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    signature
}
