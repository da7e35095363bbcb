//! Issuers with real keys, and a signer that signs whatever it is told to.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use lictor_identity::{Algorithm, Authenticator, IssuerSettings, Jwks, Settings};

pub(crate) const NOW_S: i64 = 1_800_000_000;
pub(crate) const NOW_MS: i64 = NOW_S * 1000;
/// Three keys: `ed-1`, `es-1`, `rsa-1`.
pub(crate) const ISS: &str = "https://issuer.example";
/// One key without a name; EdDSA only; tenant `other`.
pub(crate) const SINGLE: &str = "https://single.example";
pub(crate) const AUD: &str = "https://lictor.example/mcp";
pub(crate) const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed-1","typ":"at+jwt"}"#;

pub(crate) struct Keys {
    pub(crate) ed: SigningKey,
    pub(crate) other: SigningKey,
    pub(crate) es: EcdsaKeyPair,
    pub(crate) rsa: RsaKeyPair,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        ed: SigningKey::from_bytes(&[1; 32]),
        other: SigningKey::from_bytes(&[2; 32]),
        es: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    })
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ed_jwk(key: &SigningKey, kid: &str) -> String {
    let x = b64(key.verifying_key().as_bytes());
    format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"{kid}}}")
}

fn main_jwks() -> String {
    let keys = keys();
    let point = keys.es.public_key().as_ref();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..65]));
    let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(keys.rsa.public_key());
    let (n, e) = (b64(rsa.n), b64(rsa.e));
    let ed = ed_jwk(&keys.ed, ",\"kid\":\"ed-1\"");
    format!(
        r#"{{"keys":[{ed},{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","kid":"es-1","use":"sig"}},{{"kty":"RSA","n":"{n}","e":"{e}","kid":"rsa-1"}}]}}"#
    )
}

pub(crate) fn settings() -> Settings {
    let main = Jwks::parse(main_jwks().as_bytes()).unwrap();
    let single = format!("{{\"keys\":[{}]}}", ed_jwk(&keys().other, ""));
    let single = Jwks::parse(single.as_bytes()).unwrap();
    let mut second = IssuerSettings::new(SINGLE, &[AUD], single);
    second.algorithms = vec![Algorithm::EdDsa];
    second.tenant = Some("other".to_owned());
    Settings {
        issuers: vec![IssuerSettings::new(ISS, &[AUD, "lictor"], main), second],
        ..Settings::default()
    }
}

pub(crate) fn authenticator() -> Authenticator {
    Authenticator::new(settings()).unwrap()
}

/// A good payload with `change` applied to its members.
pub(crate) fn payload(
    change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
) -> String {
    let mut value = serde_json::json!({
        "iss": ISS, "sub": "alice@example.com", "aud": AUD,
        "iat": NOW_S, "exp": NOW_S + 300, "client_id": "expense-report-v1", "jti": "t-1",
    });
    change(value.as_object_mut().unwrap());
    value.to_string()
}

pub(crate) fn good() -> String {
    payload(|_| {})
}

/// `value` set as member `name` of a good payload.
pub(crate) fn with(name: &str, value: serde_json::Value) -> String {
    payload(|members| {
        members.insert(name.to_owned(), value);
    })
}

pub(crate) fn without(name: &str) -> String {
    payload(|members| {
        members.remove(name);
    })
}

pub(crate) fn signed_part(header: &str, payload: &str) -> String {
    format!("{}.{}", b64(header), b64(payload))
}

pub(crate) fn join(signed: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{signed}.{}", b64(signature))
}

pub(crate) fn ed(header: &str, payload: &str) -> String {
    by(&keys().ed, header, payload)
}

pub(crate) fn by(key: &SigningKey, header: &str, payload: &str) -> String {
    let signed = signed_part(header, payload);
    let signature = key.sign(signed.as_bytes()).to_bytes();
    join(&signed, signature)
}

pub(crate) fn es(header: &str, payload: &str) -> String {
    let signed = signed_part(header, payload);
    let signature = keys().es.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    join(&signed, signature)
}

pub(crate) fn rsa(alg: &str, payload: &str) -> String {
    let signed = signed_part(&format!("{{\"alg\":\"{alg}\",\"kid\":\"rsa-1\"}}"), payload);
    let encoding: &'static dyn RsaEncoding = match alg {
        "PS256" => &RSA_PSS_SHA256,
        "RS512" => &RSA_PKCS1_SHA512,
        _ => &RSA_PKCS1_SHA256,
    };
    let key = &keys().rsa;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    join(&signed, signature)
}
