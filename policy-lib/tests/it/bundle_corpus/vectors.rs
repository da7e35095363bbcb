//! The archives, put together one wrong byte at a time.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use lictor_policy_lib::bundle::{Files, Limits, SignOptions, key_id, pack, sign};
use tar::{EntryType, Header};

use super::{NOW_S, SCOPE};

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn files_with(lictor: &str) -> Files {
    let manifest = format!(r#"{{"metadata":{{"lictor":{{"name":"demo",{lictor}}}}}}}"#);
    let pairs = [
        (".manifest", manifest.as_str()),
        ("cedar/expense.cedar", "permit(principal, action, resource);\n"),
        ("data.json", r#"{"registry":{"agents":{"a":{"owner":"o"}}}}"#),
        ("rego/expense/limits.rego", "package lictor.expense\n"),
    ];
    let pairs = pairs.map(|(name, text)| (name, text.as_bytes()));
    Files::from_pairs(pairs, &Limits::default()).unwrap()
}

fn files() -> Files {
    files_with(r#""version":7"#)
}

fn options() -> SignOptions {
    SignOptions { scope: SCOPE.into(), iat_s: NOW_S, exp_s: None }
}

fn signed() -> Files {
    sign(&files(), &key(1), &options()).unwrap()
}

fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::new(kind));
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// The tar stream of `files`, its end not yet written.
fn stream(files: &Files) -> Vec<u8> {
    files.iter().flat_map(|(name, bytes)| entry(name, b'0', bytes)).collect()
}

fn end(mut stream: Vec<u8>) -> Vec<u8> {
    stream.extend([0; 1024]);
    stream
}

fn gzip(stream: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::best();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(stream).unwrap();
    encoder.finish().unwrap()
}

/// The signed files with one more entry.
fn with_entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut stream = stream(&signed());
    stream.extend(entry(name, kind, data));
    gzip(&end(stream))
}

/// The signed files with one file's bytes changed or the file left out.
fn with_file(name: &str, bytes: Option<&[u8]>) -> Vec<u8> {
    let files = signed();
    let pairs = files.iter().filter_map(|(entry, ours)| {
        if entry == name {
            return bytes.map(|bytes| (entry, bytes));
        }
        Some((entry, ours.as_ref()))
    });
    pack(&Files::from_pairs(pairs, &Limits::default()).unwrap())
}

/// Files under a token whose header is `header` and whose payload is that of
/// a good signature after `change`.
fn with_token(seed: u8, header: &str, change: impl FnOnce(&mut String)) -> Vec<u8> {
    let files = signed();
    let good = std::str::from_utf8(files.get(".signatures.json").unwrap()).unwrap();
    let payload = good.split('.').nth(1).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let mut payload = String::from_utf8(payload).unwrap();
    change(&mut payload);
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&payload));
    let signature = URL_SAFE_NO_PAD.encode(key(seed).sign(text.as_bytes()).to_bytes());
    let file = format!(r#"{{"signatures":["{text}.{signature}"]}}"#);
    with_file(".signatures.json", Some(file.as_bytes()))
}

fn header(more: &str) -> String {
    let kid = key_id(&key(1).verifying_key());
    format!(r#"{{"alg":"EdDSA","kid":"{kid}"{more}}}"#)
}

fn signed_with(lictor: &str, options: &SignOptions) -> Vec<u8> {
    pack(&sign(&files_with(lictor), &key(1), options).unwrap())
}

pub(super) fn accepted() -> BTreeMap<String, Vec<u8>> {
    let one = signed();
    let two = sign(&one, &key(2), &options()).unwrap();
    [("signed", one), ("signed-by-an-unknown-key-too", two)]
        .into_iter()
        .map(|(name, files)| (format!("{name}.tar.gz"), pack(&files)))
        .collect()
}

pub(super) fn refused() -> BTreeMap<String, Vec<u8>> {
    let mut all = refused_streams();
    all.extend(refused_entries());
    all.extend(refused_signatures());
    all.into_iter().map(|(id, what, bytes)| (format!("{id}.{what}.tar.gz"), bytes)).collect()
}

type Vector = (&'static str, &'static str, Vec<u8>);

fn refused_streams() -> Vec<Vector> {
    let good = pack(&signed());
    let whole = end(stream(&signed()));
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut padded = whole.clone();
    padded[1023] = 1;
    let mut header = whole.clone();
    header[100] ^= 1;
    let second = [whole.clone(), end(entry("data.json", b'0', b"{}"))].concat();
    let bomb = end([stream(&signed()), entry("cases/x.yaml", b'0', &vec![b' '; 2 << 20])].concat());
    vec![
        ("bundle_not_gzip", "plain-tar", whole.clone()),
        ("bundle_truncated", "half", good[..good.len() / 2].to_vec()),
        ("bundle_truncated", "last-byte", good[..good.len() - 1].to_vec()),
        ("bundle_truncated", "no-end-blocks", gzip(&stream(&signed()))),
        ("bundle_corrupt", "checksum", changed(good.len() - 8)),
        ("bundle_corrupt", "content", changed(good.len() / 2)),
        ("bundle_not_packed", "gzip-time", changed(4)),
        ("bundle_not_packed", "compressed", gzip(&whole)),
        ("bundle_gzip_members", "twice", [good.clone(), good.clone()].concat()),
        ("bundle_gzip_trailing", "one-byte", [good.as_slice(), b"\0"].concat()),
        ("bundle_tar_trailing", "second-archive", gzip(&second)),
        ("bundle_padding", "in-first-file", gzip(&padded)),
        ("bundle_header", "checksum", gzip(&header)),
        ("bundle_ratio", "two-mebibytes-of-blanks", gzip(&bomb)),
    ]
}

fn refused_entries() -> Vec<Vector> {
    let rename = |key: &str, value: &str| {
        let length = 4 + key.len() + 1 + value.len();
        let record = format!("{length} {key}={value}\n");
        let mut stream = stream(&signed());
        stream.extend(entry("PaxHeaders/x", b'x', record.as_bytes()));
        stream.extend(entry("cases/x.yaml", b'0', b""));
        gzip(&end(stream))
    };
    vec![
        ("bundle_link", "symbolic", with_entry("cases/x.yaml", b'2', b"")),
        ("bundle_link", "hard", with_entry("cases/x.yaml", b'1', b"")),
        ("bundle_device", "character", with_entry("cases/x.yaml", b'3', b"")),
        ("bundle_device", "block", with_entry("cases/x.yaml", b'4', b"")),
        ("bundle_fifo", "pipe", with_entry("cases/x.yaml", b'6', b"")),
        ("bundle_sparse", "gnu", with_entry("cases/x.yaml", b'S', b"")),
        ("bundle_long_name", "gnu", with_entry("././@LongLink", b'L', b"data.json\0")),
        ("bundle_pax", "path", rename("path", ".manifest")),
        ("bundle_pax", "size", rename("size", "99999")),
        ("bundle_pax", "sparse", rename("GNU.sparse.name", "a")),
        ("bundle_pax", "global", with_entry("pax_global_header", b'g', b"")),
        ("bundle_entry_type", "volume-label", with_entry("label", b'V', b"")),
        ("bundle_directory_data", "cases", with_entry("cases/", b'5', b"x")),
        ("bundle_name_absolute", "two-slashes", with_entry("//data.json", b'0', b"")),
        ("bundle_name_parent", "above", with_entry("../data.json", b'0', b"")),
        ("bundle_name_parent", "inside", with_entry("rego/a/../../data.json", b'0', b"")),
        ("bundle_name_dot", "leading", with_entry("./data.json", b'0', b"")),
        ("bundle_name_empty", "component", with_entry("rego//a.rego", b'0', b"")),
        ("bundle_name_backslash", "separator", with_entry("rego\\a\\a.rego", b'0', b"")),
        ("bundle_name_nul", "hidden-tail", with_entry("data.json\0x", b'0', b"")),
        ("bundle_name_control", "newline", with_entry("cases/x\n.yaml", b'0', b"")),
        ("bundle_name_control", "direction", with_entry("cases/\u{202e}x.yaml", b'0', b"")),
        ("bundle_duplicate", "same-name", with_entry("data.json", b'0', b"{}")),
        ("bundle_duplicate", "leading-slash", with_entry("/data.json", b'0', b"{}")),
        ("bundle_case_duplicate", "upper-case", with_entry("DATA.JSON", b'0', b"{}")),
        ("bundle_extra_file", "script", with_entry("install.sh", b'0', b"")),
        ("bundle_extra_file", "wasm", with_entry("policy.wasm", b'0', b"")),
        ("bundle_delta", "patch", with_entry("patch.json", b'0', b"{}")),
    ]
}

fn refused_signatures() -> Vec<Vector> {
    let other = sign(&files(), &key(2), &options()).unwrap();
    let alg = |alg: &str| header("").replace("EdDSA", alg);
    let expired = SignOptions { exp_s: Some(NOW_S), iat_s: NOW_S - 60, ..options() };
    let future = SignOptions { iat_s: NOW_S + 3600, ..options() };
    let test = SignOptions { scope: "test".into(), ..options() };
    let signatures = |text: &str| with_file(".signatures.json", Some(text.as_bytes()));
    vec![
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
            signed_with(r#""version":7,"not_before":"2026-01-31T12:00:01Z""#, &options()),
        ),
        ("bundle_version_lower", "one-below", signed_with(r#""version":6"#, &options())),
    ]
}
