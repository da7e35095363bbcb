use super::*;

const ED: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}"#;

fn parse(keys: &[&str]) -> Result<Jwks, JwksError> {
    Jwks::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
}

fn why(key: &str) -> &'static str {
    match parse(&[key]) {
        Err(JwksError::Key { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn rsa_key(bits: usize, e: &str) -> String {
    let mut n = vec![0xffu8; bits.div_ceil(8)];
    if !bits.is_multiple_of(8) {
        n[0] = 0xff >> (8 - bits % 8);
    }
    format!("{{\"kty\":\"RSA\",\"n\":\"{}\",\"e\":\"{e}\"}}", URL_SAFE_NO_PAD.encode(n))
}

#[test]
fn the_example_of_rfc_8037_verifies_as_published() {
    let jwks = parse(&[ED]).unwrap();
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = URL_SAFE_NO_PAD
        .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        .unwrap();
    let key = jwks.by_kid("a").unwrap();
    assert!(key.verify(Algorithm::EdDsa, message.as_bytes(), &signature));
    assert!(!key.verify(Algorithm::EdDsa, b"other", &signature));
    assert!(!key.verify(Algorithm::Es256, message.as_bytes(), &signature));
}

#[test]
fn keys_for_other_ends_are_passed_over() {
    let other = [
        r#"{"kty":"oct","k":"AAAA"}"#,
        r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","use":"enc"}"#,
        r#"{"kty":"RSA","n":"AA","e":"AQAB","key_ops":["encrypt"]}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"ES256"}"#,
    ];
    for key in other {
        assert_eq!(parse(&[key]).unwrap_err(), JwksError::NoneUsable, "{key}");
    }
    let mut all = other.to_vec();
    all.push(ED);
    assert!(parse(&all).unwrap().single(false).is_some());
}

#[test]
fn keys_that_prove_nothing_are_refused() {
    let zero = URL_SAFE_NO_PAD.encode([0u8; 32]);
    assert_eq!(
        why(&format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{zero}\"}}")),
        "it has small order, so its signatures prove nothing"
    );
    let off_curve =
        format!("{{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"{zero}\",\"y\":\"{zero}\"}}");
    assert_eq!(why(&off_curve), "it is not a point of the curve");
    assert!(why(r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#).contains("32 bytes"));
    assert!(why(r#"{"kty":"OKP","crv":"Ed25519","x":"AA==","d":"AA"}"#).contains("private key"));
    assert!(why(r#"{"kty":"OKP","crv":"Ed25519","x":"AA=="}"#).contains("padding"));
    assert!(why(r#"{"kty":"OKP","crv":"Ed25519"}"#).contains("missing"));
}

#[test]
fn rsa_sizes_end_where_they_say() {
    assert!(parse(&[&rsa_key(RSA_MIN_BITS, "AQAB")]).is_ok());
    assert!(parse(&[&rsa_key(RSA_MAX_BITS, "AQAB")]).is_ok());
    for bits in [RSA_MIN_BITS - 1, RSA_MAX_BITS + 1] {
        assert!(why(&rsa_key(bits, "AQAB")).contains("bits"), "{bits}");
    }
    for exponent in ["Aw", "", "AQAA", "AQAAAAE"] {
        assert!(why(&rsa_key(RSA_MIN_BITS, exponent)).contains("`e`"), "{exponent}");
    }
}

#[test]
fn the_set_itself_is_bounded_and_unambiguous() {
    assert_eq!(parse(&[ED, ED]).unwrap_err(), JwksError::DuplicateKid { kid: "a".to_owned() });
    assert_eq!(Jwks::parse(b"{}").unwrap_err(), JwksError::NoKeys);
    assert_eq!(parse(&[]).unwrap_err(), JwksError::NoneUsable);
    assert!(matches!(Jwks::parse(b"{\"keys\":[],\"keys\":[]}"), Err(JwksError::Json(_))));
    let named = |index: usize| ED.replace("\"a\"", &format!("\"k{index}\""));
    let keys: Vec<String> = (0..=JWKS_MAX_KEYS).map(named).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(parse(&keys[..JWKS_MAX_KEYS]).is_ok());
    assert_eq!(parse(&keys).unwrap_err(), JwksError::TooMany { count: JWKS_MAX_KEYS + 1 });
    let mut padded = format!("{{\"keys\":[{ED}]}}").into_bytes();
    padded.resize(JWKS_MAX_BYTES, b' ');
    assert!(Jwks::parse(&padded).is_ok());
    padded.push(b' ');
    assert_eq!(
        Jwks::parse(&padded).unwrap_err(),
        JwksError::TooLarge { bytes: JWKS_MAX_BYTES + 1 }
    );
}

#[test]
fn names_of_algorithms_are_exact() {
    for alg in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(alg.as_str()), Some(alg));
    }
    for name in ["none", "None", "HS256", "eddsa", "es256", "ES256K", "RSA1_5", ""] {
        assert_eq!(Algorithm::from_name(name), None, "{name}");
    }
}

#[test]
fn keys_for_spiffe_documents_sign_nothing_else() {
    let svid = ED.replace("}", r#","use":"jwt-svid"}"#);
    let jwks = parse(&[&svid]).unwrap();
    assert!(jwks.named("a", true).is_some() && jwks.single(true).is_some());
    assert!(jwks.by_kid("a").is_none() && jwks.single(false).is_none());
    let both = parse(&[&svid, &ED.replace("\"a\"", "\"b\"")]).unwrap();
    assert!(both.single(true).is_none() && both.single(false).is_some());
    let x509 = ED.replace("}", r#","use":"x509-svid"}"#);
    assert_eq!(parse(&[&x509]).unwrap_err(), JwksError::NoneUsable);
}
