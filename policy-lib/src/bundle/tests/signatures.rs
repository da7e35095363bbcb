//! Every reason to refuse a signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;

use super::super::claims::{Claims, hash_all, list};
use super::super::name::SIGNATURES;
use super::super::signature::{SIGNATURE_FILE_BYTES_MAX, SIGNATURES_MAX};
use super::*;

fn header(kid: &str) -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#)
}

fn claims(files: &Files) -> Claims {
    Claims {
        exp: None,
        files: list(hash_all(files)),
        iat: NOW_S,
        name: "demo".into(),
        scope: SCOPE.into(),
        version: 7,
    }
}

/// A token as it should not be: header and payload are taken as they are.
fn token(seed: u8, header: &str, payload: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = key(seed).sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn with_tokens(files: &Files, tokens: &[String]) -> Files {
    let mut files = files.clone();
    let file = serde_json::json!({ "signatures": tokens });
    files.set(SIGNATURES, file.to_string().into_bytes());
    files
}

fn id(files: &Files) -> &'static str {
    id_for(files, &policy(&[1], 1))
}

fn id_for(files: &Files, policy: &TrustPolicy) -> &'static str {
    id_at(files, policy, NOW_MS)
}

fn id_at(files: &Files, policy: &TrustPolicy, now_ms: i64) -> &'static str {
    let require = Require::Signed(policy.clone());
    let source = Source::Folder(files.clone());
    verify(source, &require, &FLOOR, &Limits::default(), now_ms)
        .map_or_else(|error| error.id(), |_| "accepted")
}

/// The id for files signed by key 1 after `change` to the claims.
fn id_of_claims(change: impl FnOnce(&mut Claims)) -> &'static str {
    let files = files();
    let mut claims = claims(&files);
    change(&mut claims);
    let payload = claims.to_bytes().unwrap();
    id(&with_tokens(&files, &[token(1, &header(&kid(1)), &payload)]))
}

fn id_of_header(header: &str) -> &'static str {
    let files = files();
    let payload = claims(&files).to_bytes().unwrap();
    id(&with_tokens(&files, &[token(1, header, &payload)]))
}

#[test]
fn a_signed_archive_gives_a_verified_bundle() {
    let archive = pack(&signed());
    let bundle = verify_signed(Source::Archive(&archive)).unwrap();
    let trust = Trust::Signed { kids: vec![kid(1)], issued_at_ms: NOW_MS, expires_at_ms: None };
    assert_eq!(bundle.trust(), &trust);
    assert_eq!(bundle.digest(), digest(&archive));
    assert_eq!(bundle.manifest().version, 7);
    assert_eq!(bundle.files(), &signed());
}

#[test]
fn a_folder_has_the_digest_of_its_archive() {
    let folder = verify_unsigned(Source::Folder(files())).unwrap();
    let archive = pack(&files());
    let packed = verify_unsigned(Source::Archive(&archive)).unwrap();
    assert_eq!(folder, packed);
    assert_eq!(folder.trust(), &Trust::Unsigned);
}

#[test]
fn the_signature_is_looked_at_only_when_it_is_required() {
    let broken = with_tokens(&files(), &["x".into()]);
    let bundle = verify_unsigned(Source::Folder(broken.clone())).unwrap();
    assert_eq!(bundle.trust(), &Trust::Unsigned);
    assert_eq!(id(&broken), "bundle_signature_malformed");
}

#[test]
fn a_missing_or_empty_signature_file_is_no_signature() {
    assert_eq!(id(&files()), "bundle_unsigned");
    assert_eq!(id(&with_tokens(&files(), &[])), "bundle_unsigned");
}

#[test]
fn the_signature_file_has_one_form() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"signatures":[1]}"#,
        r#"{"signatures":[],"signatures":[]}"#,
        r#"{"signatures":[],"plugin":"none"}"#,
    ] {
        let mut files = files();
        files.set(SIGNATURES, text.into());
        assert_eq!(id(&files), "bundle_signatures_invalid", "{text}");
    }
}

#[test]
fn the_signature_file_and_its_list_end_at_their_limits() {
    let mut files = signed();
    let mut bytes = files.get(SIGNATURES).unwrap().to_vec();
    bytes.resize(SIGNATURE_FILE_BYTES_MAX, b' ');
    files.set(SIGNATURES, bytes.clone());
    assert_eq!(id(&files), "accepted");
    bytes.push(b' ');
    files.set(SIGNATURES, bytes);
    assert_eq!(id(&files), "bundle_signatures_too_large");

    let files = super::files();
    let payload = claims(&files).to_bytes().unwrap();
    let good = token(1, &header(&kid(1)), &payload);
    let mut tokens = vec![token(2, &header("stranger"), b"?"); SIGNATURES_MAX - 1];
    tokens.push(good.clone());
    assert_eq!(id(&with_tokens(&files, &tokens)), "accepted");
    tokens.push(good);
    assert_eq!(id(&with_tokens(&files, &tokens)), "bundle_signatures_too_many");
}

#[test]
fn a_token_has_one_form() {
    let files = files();
    let payload = claims(&files).to_bytes().unwrap();
    let good = token(1, &header(&kid(1)), &payload);
    assert_eq!(id(&with_tokens(&files, std::slice::from_ref(&good))), "accepted");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        String::new(),
        "a.b".to_owned(),
        signed.to_owned(),
        format!("{signed}."),
        format!("{good}."),
        format!("{good}=="),
        format!("{good} "),
        format!("{signed}.{}", signature.split_at(1).1),
        format!("{signed}.{signature}AAAA"),
    ] {
        assert_eq!(
            id(&with_tokens(&files, std::slice::from_ref(&bad))),
            "bundle_signature_malformed",
            "{bad}"
        );
    }
}

#[test]
fn bits_that_base64_does_not_use_are_zero() {
    let files = files();
    let payload = claims(&files).to_bytes().unwrap();
    let good = token(1, &header(&kid(1)), &payload);
    // 64 bytes leave four unused bits in the last digit.
    let mut bad = good;
    let last = bad.pop().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.find(last).unwrap() + 1;
    bad.push(alphabet.chars().nth(next).unwrap());
    assert_eq!(id(&with_tokens(&files, &[bad])), "bundle_signature_malformed");
}

#[test]
fn the_algorithm_is_the_keys_never_the_tokens() {
    let with = |alg: &str| id_of_header(&format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, kid(1)));
    assert_eq!(with("EdDSA"), "accepted");
    assert_eq!(with("Ed25519"), "accepted");
    for alg in ["none", "HS256", "ES256", "RS256", "eddsa", "Ed448", ""] {
        assert_eq!(with(alg), "bundle_signature_algorithm", "{alg}");
    }
}

#[test]
fn the_header_cannot_choose_how_it_is_verified() {
    let kid = kid(1);
    let with = |more: &str| id_of_header(&format!(r#"{{"alg":"EdDSA","kid":"{kid}"{more}}}"#));
    assert_eq!(with(""), "accepted");
    assert_eq!(with(r#","typ":"JWT""#), "accepted");
    for more in [
        r#","typ":"at+jwt""#,
        r#","crit":["exp"]"#,
        r#","jwk":{}"#,
        r#","jku":"https://keys.example.com""#,
        r#","x5u":"https://keys.example.com""#,
        r#","x5c":[]"#,
        r#","b64":false"#,
        r#","alg":"EdDSA""#,
        r#","kid":"other""#,
    ] {
        assert_eq!(with(more), "bundle_signature_header", "{more}");
    }
    assert_eq!(id_of_header(r#"{"alg":"EdDSA"}"#), "bundle_signature_header");
    assert_eq!(id_of_header(r#"{"alg":"EdDSA","kid":""}"#), "bundle_signature_header");
    assert_eq!(id_of_header("not json"), "bundle_signature_header");
}

#[test]
fn a_key_id_ends_at_its_limit() {
    let with = |length: usize| id_of_header(&header(&"k".repeat(length)));
    assert_eq!(with(128), "bundle_key_unknown");
    assert_eq!(with(129), "bundle_signature_header");
}

#[test]
fn a_signature_by_an_unknown_key_counts_for_nothing() {
    let by_two = sign(&files(), &key(2), &options()).unwrap();
    assert_eq!(id(&by_two), "bundle_key_unknown");
    let by_both = sign(&by_two, &key(1), &options()).unwrap();
    assert_eq!(id(&by_both), "accepted");
    assert_eq!(id_for(&by_both, &policy(&[2, 3], 1)), "accepted");
    assert_eq!(id_for(&by_both, &policy(&[3], 1)), "bundle_key_unknown");
}

#[test]
fn a_wrong_signature_under_a_known_key_id_is_refused_outright() {
    let files = files();
    let payload = claims(&files).to_bytes().unwrap();
    let good = token(1, &header(&kid(1)), &payload);
    // Key 2's signature under key 1's id.
    let forged = token(2, &header(&kid(1)), &payload);
    assert_eq!(id(&with_tokens(&files, std::slice::from_ref(&forged))), "bundle_signature_invalid");
    let other = token(2, &header(&kid(2)), &payload);
    let wrong = token(1, &header(&kid(2)), &payload);
    let both = policy(&[1, 2], 1);
    assert_eq!(id_for(&with_tokens(&files, &[good.clone(), other]), &both), "accepted");
    assert_eq!(
        id_for(&with_tokens(&files, &[good.clone(), wrong]), &both),
        "bundle_signature_invalid"
    );
    assert_eq!(
        id_for(&with_tokens(&files, &[good.clone(), forged]), &both),
        "bundle_signature_invalid"
    );
    assert_eq!(id(&with_tokens(&files, &[good.clone(), good])), "bundle_signature_duplicate");
}

#[test]
fn a_signature_with_the_neutral_element_proves_nothing() {
    let files = files();
    let payload = claims(&files).to_bytes().unwrap();
    let good = token(1, &header(&kid(1)), &payload);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let mut neutral = [0; 64];
    neutral[0] = 1;
    let bad = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(neutral));
    assert_eq!(id(&with_tokens(&files, &[bad])), "bundle_signature_invalid");
}

#[test]
fn m_of_n_counts_distinct_keys() {
    let one = signed();
    let two = sign(&one, &key(2), &options()).unwrap();
    let three = sign(&two, &key(3), &options()).unwrap();
    let two_of_three = policy(&[1, 2, 3], 2);
    assert_eq!(id_for(&one, &two_of_three), "bundle_signatures_too_few");
    assert_eq!(id_for(&two, &two_of_three), "accepted");
    assert_eq!(id_for(&three, &two_of_three), "accepted");
    let stranger = sign(&one, &key(9), &options()).unwrap();
    assert_eq!(id_for(&stranger, &two_of_three), "bundle_signatures_too_few");
}

#[test]
fn a_quorum_is_as_fresh_as_its_last_needed_signature() {
    let at = |iat_s| SignOptions { iat_s, ..options() };
    let files = sign(&files(), &key(1), &at(NOW_S - 30)).unwrap();
    let files = sign(&files, &key(2), &at(NOW_S - 20)).unwrap();
    let files = sign(&files, &key(3), &at(NOW_S - 10)).unwrap();
    let issued = |required| {
        let require = Require::Signed(policy(&[1, 2, 3], required));
        let source = Source::Folder(files.clone());
        let bundle = verify(source, &require, &FLOOR, &Limits::default(), NOW_MS).unwrap();
        match bundle.trust() {
            Trust::Signed { issued_at_ms, .. } => (NOW_MS - issued_at_ms) / 1000,
            Trust::Unsigned => 0,
        }
    };
    assert_eq!((issued(1), issued(2), issued(3)), (10, 20, 30));
}

#[test]
fn the_scope_is_the_policys_and_the_keys() {
    assert_eq!(id_of_claims(|claims| claims.scope = "test".into()), "bundle_scope");
    assert_eq!(id_of_claims(|claims| claims.scope.clear()), "bundle_scope");
    let narrowed = |scope: &str| {
        let mut trusted = TrustedKey::new(key(1).verifying_key());
        trusted.scope = Some(scope.into());
        id_for(&signed(), &TrustPolicy::new(vec![trusted], 1, SCOPE).unwrap())
    };
    assert_eq!(narrowed(SCOPE), "accepted");
    assert_eq!(narrowed("test"), "bundle_scope");
}

#[test]
fn exactly_the_files_of_the_bundle_are_listed() {
    assert_eq!(id_of_claims(|_| {}), "accepted");
    assert_eq!(id_of_claims(|claims| claims.files.reverse()), "accepted");
    assert_eq!(id_of_claims(|claims| drop(claims.files.pop())), "bundle_file_unsigned");
    assert_eq!(
        id_of_claims(|claims| claims.files.push(claims.files[0].clone())),
        "bundle_file_listed_twice"
    );
    assert_eq!(id_of_claims(|claims| claims.files[0].name.insert(0, '/')), "bundle_file_missing");
    assert_eq!(
        id_of_claims(|claims| claims.files[0].name.make_ascii_uppercase()),
        "bundle_file_missing"
    );
    assert_eq!(id_of_claims(|claims| claims.files[0].hash.make_ascii_uppercase()), "bundle_hash");
    assert_eq!(
        id_of_claims(|claims| claims.files[0].algorithm = "MD5".into()),
        "bundle_hash_algorithm"
    );
    assert_eq!(
        id_of_claims(|claims| {
            let mut own = claims.files[0].clone();
            own.name = SIGNATURES.into();
            claims.files.push(own);
        }),
        "bundle_file_missing"
    );
}

#[test]
fn a_changed_added_or_missing_file_is_found() {
    let mut changed = signed();
    changed.set("README.md", b"# changed\n".to_vec());
    assert_eq!(id(&changed), "bundle_hash");
    let mut added = signed();
    added.set("cases/more.yaml", b"cases: []\n".to_vec());
    assert_eq!(id(&added), "bundle_file_unsigned");
    let mut missing = signed();
    missing.remove("README.md");
    assert_eq!(id(&missing), "bundle_file_missing");
    let mut stripped = signed();
    stripped.remove(SIGNATURES);
    assert_eq!(id(&stripped), "bundle_unsigned");
}

#[test]
fn files_are_not_parsed_before_the_signature_holds() {
    let mut broken = signed();
    broken.set(".manifest", b"not json".to_vec());
    assert_eq!(id(&broken), "bundle_hash");
    let mut unsigned = files();
    unsigned.set(".manifest", b"not json".to_vec());
    assert_eq!(id(&unsigned), "bundle_unsigned");
}

#[test]
fn name_and_version_are_the_manifests() {
    assert_eq!(id_of_claims(|claims| claims.name = "other".into()), "bundle_manifest_mismatch");
    assert_eq!(id_of_claims(|claims| claims.version = 8), "bundle_manifest_mismatch");
    let files = files();
    let mut other = claims(&files);
    let first = token(1, &header(&kid(1)), &other.to_bytes().unwrap());
    other.version = 8;
    let second = token(2, &header(&kid(2)), &other.to_bytes().unwrap());
    let both = with_tokens(&files, &[first, second]);
    assert_eq!(id_for(&both, &policy(&[1, 2], 1)), "bundle_signatures_disagree");
}

#[test]
fn the_payload_has_one_form() {
    let files = files();
    let good = String::from_utf8(claims(&files).to_bytes().unwrap()).unwrap();
    let with = |payload: &str| {
        let token = token(1, &header(&kid(1)), payload.as_bytes());
        id(&with_tokens(&files, &[token]))
    };
    assert_eq!(with(&good), "accepted");
    for bad in [
        good.replacen('{', r#"{"keyid":"x","#, 1),
        good.replacen('{', r#"{"scope":"prod","#, 1),
        good.replacen('{', r#"{"sc\u006fpe":"prod","#, 1),
        good.replace(r#""version":7"#, r#""version":"7""#),
        good.replace(r#","version":7"#, ""),
        good.replace(r#""hash""#, r#""hash":"x","hash""#),
        String::new(),
    ] {
        assert_eq!(with(&bad), "bundle_signature_payload", "{bad}");
    }
}

#[test]
fn a_signature_lives_until_exp() {
    let files =
        sign(&files(), &key(1), &SignOptions { exp_s: Some(NOW_S + 60), ..options() }).unwrap();
    let policy = policy(&[1], 1);
    assert_eq!(id_at(&files, &policy, NOW_MS + 59_999), "accepted");
    assert_eq!(id_at(&files, &policy, NOW_MS + 60_000), "bundle_expired");
    let ignored = Floor { min_version: 0, window: Window::Ignored };
    let require = Require::Signed(policy);
    let source = Source::Folder(files);
    let late = verify(source, &require, &ignored, &Limits::default(), i64::MAX);
    let late = late.unwrap();
    // What was verified in time does not outlive it.
    assert!(!late.is_out_of_time(NOW_MS + 59_999) && late.is_out_of_time(NOW_MS + 60_000));
}

#[test]
fn the_signers_clock_may_be_a_little_ahead() {
    let policy = policy(&[1], 1);
    let allowed_ms = 300_000;
    assert_eq!(id_at(&signed(), &policy, NOW_MS - allowed_ms), "accepted");
    assert_eq!(id_at(&signed(), &policy, NOW_MS - allowed_ms - 1), "bundle_not_yet_valid");
}

#[test]
fn times_beyond_any_calendar_do_not_wrap() {
    assert_eq!(id_of_claims(|claims| claims.iat = i64::MAX), "bundle_not_yet_valid");
    assert_eq!(id_of_claims(|claims| claims.iat = i64::MIN), "accepted");
    assert_eq!(id_of_claims(|claims| claims.exp = Some(i64::MIN)), "bundle_expired");
    assert_eq!(id_of_claims(|claims| claims.exp = Some(i64::MAX)), "accepted");
}

#[test]
fn a_signed_archive_packed_by_another_tool_is_refused() {
    let same_content = Tape::of(&signed()).archive();
    let error = verify_signed(Source::Archive(&same_content)).unwrap_err();
    assert_eq!(error, VerifyError::NotPacked);
    assert_eq!(error.id(), "bundle_not_packed");
    // What is wrong inside is told first.
    let extra = Tape::of(&signed()).file("cases/x.yaml", b"").archive();
    let error = verify_signed(Source::Archive(&extra)).unwrap_err();
    assert_eq!(error.id(), "bundle_file_unsigned");
    // Unsigned archives may come from any tool.
    let unsigned = Tape::of(&files()).archive();
    assert!(verify_unsigned(Source::Archive(&unsigned)).is_ok());
}
