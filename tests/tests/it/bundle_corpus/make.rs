//! What the archives are made of: honest files, and a tar and gzip writer that
//! writes whatever it is told.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use lictor_policy_lib::bundle::{Files, Limits, SignOptions, key_id, pack, sign};
use tar::{EntryType, Header};

use super::{NOW_S, SCOPE};

/// Id of the failure, what is wrong, and the archive.
pub(super) type Vector = (&'static str, &'static str, Vec<u8>);

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(super) fn files_with(lictor: &str) -> Files {
    let manifest = format!(r#"{{"metadata":{{"lictor":{{"name":"demo",{lictor}}}}}}}"#);
    let pairs = [
        (".manifest", manifest.as_str()),
        ("cedar/expense.cedar", "@id(\"demo.all\")\npermit(principal, action, resource);\n"),
        ("data.json", r#"{"registry":{"agents":{"a":{"owner":"o","status":"active"}}}}"#),
        ("rego/expense/limits.rego", "package lictor.expense\n"),
    ];
    let pairs = pairs.map(|(name, text)| (name, text.as_bytes()));
    Files::from_pairs(pairs, &Limits::default()).unwrap()
}

pub(super) fn files() -> Files {
    files_with(r#""version":7"#)
}

pub(super) fn options() -> SignOptions {
    SignOptions { scope: SCOPE.into(), iat_s: NOW_S, exp_s: None }
}

pub(super) fn signed() -> Files {
    sign(&files(), &key(1), &options()).unwrap()
}

pub(super) fn entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
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
pub(super) fn stream(files: &Files) -> Vec<u8> {
    files.iter().flat_map(|(name, bytes)| entry(name, b'0', bytes)).collect()
}

pub(super) fn end(mut stream: Vec<u8>) -> Vec<u8> {
    stream.extend([0; 1024]);
    stream
}

pub(super) fn gzip(stream: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::best();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(stream).unwrap();
    encoder.finish().unwrap()
}

/// The signed files with one more entry.
pub(super) fn with_entry(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut stream = stream(&signed());
    stream.extend(entry(name, kind, data));
    gzip(&end(stream))
}

/// The signed files with one file's bytes changed or the file left out.
pub(super) fn with_file(name: &str, bytes: Option<&[u8]>) -> Vec<u8> {
    let files = signed();
    let pairs = files.iter().filter_map(|(entry, ours)| {
        if entry == name {
            return bytes.map(|bytes| (entry, bytes));
        }
        Some((entry, ours.as_ref()))
    });
    pack(&Files::from_pairs(pairs, &Limits::default()).unwrap())
}

/// A signature file of these texts.
pub(super) fn signature_file(tokens: &[&str]) -> Vec<u8> {
    let tokens: Vec<String> = tokens.iter().map(|token| format!("\"{token}\"")).collect();
    format!(r#"{{"signatures":[{}]}}"#, tokens.join(",")).into_bytes()
}

/// The files under other signatures.
pub(super) fn with_signatures(tokens: &[&str]) -> Vec<u8> {
    with_file(".signatures.json", Some(&signature_file(tokens)))
}

/// The good token.
pub(super) fn token() -> String {
    let files = signed();
    let text = std::str::from_utf8(files.get(".signatures.json").unwrap()).unwrap();
    text.split('"').nth(3).unwrap().to_owned()
}

/// The payload of the good token.
pub(super) fn payload() -> String {
    let payload = URL_SAFE_NO_PAD.decode(token().split('.').nth(1).unwrap()).unwrap();
    String::from_utf8(payload).unwrap()
}

/// A token of these parts, signed by the key of `seed`.
pub(super) fn token_of(seed: u8, header: &str, payload: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key(seed).sign(text.as_bytes()).to_bytes());
    format!("{text}.{signature}")
}

/// The files under a token with this header and the good payload after `change`.
pub(super) fn with_token(seed: u8, header: &str, change: impl FnOnce(&mut String)) -> Vec<u8> {
    let mut payload = payload();
    change(&mut payload);
    with_signatures(&[&token_of(seed, header, &payload)])
}

/// The header of the good token with more members.
pub(super) fn header(more: &str) -> String {
    let kid = key_id(&key(1).verifying_key());
    format!(r#"{{"alg":"EdDSA","kid":"{kid}"{more}}}"#)
}

/// Files with these members of the manifest, signed.
pub(super) fn signed_with(lictor: &str, options: &SignOptions) -> Vec<u8> {
    pack(&sign(&files_with(lictor), &key(1), options).unwrap())
}
