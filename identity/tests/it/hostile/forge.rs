//! Issuers with real keys, and a signer that signs whatever it is told to.

use std::path::Path;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use lictor_identity::config::IdentityConfig;
use serde_json::{Map, Value, json};

/// Keys `ed-1`, `es-1`, `rsa-1`; also `rs-only` (RS256 alone), and `enc-1` and `svid-1`, which
/// are for other ends.
pub(crate) const ISS: &str = "https://issuer.example";
/// One key without a name; EdDSA only; tenant `other`.
pub(crate) const SINGLE: &str = "https://single.example";
/// The keys of [`ISS`]; RFC 9068 and everything that an issuer's configuration can want.
pub(crate) const STRICT: &str = "https://strict.example";
/// The keys of [`ISS`]; every token must be bound to a key.
pub(crate) const BOUND: &str = "https://bound.example";
/// The keys of [`ISS`]; proofs must carry a nonce.
pub(crate) const NONCE: &str = "https://nonce.example";
/// Issues transaction tokens alone.
pub(crate) const TXN: &str = "https://txn.example";
/// Workloads of this trust domain are believed, and transactions in it.
pub(crate) const DOMAIN: &str = "trust.example";
pub(crate) const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed-1","typ":"at+jwt"}"#;
pub(crate) const TXN_HEADER: &str = r#"{"alg":"EdDSA","kid":"txn-1","typ":"txntoken+jwt"}"#;
pub(crate) const SVID_HEADER: &str = r#"{"alg":"ES256","kid":"svid-1","typ":"JWT"}"#;

pub(crate) struct Keys {
    pub(crate) ed: SigningKey,
    pub(crate) other: SigningKey,
    pub(crate) txn: SigningKey,
    /// Held by an honest caller; tokens are bound to it.
    pub(crate) holder: SigningKey,
    pub(crate) es: EcdsaKeyPair,
    pub(crate) rsa: RsaKeyPair,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        ed: SigningKey::from_bytes(&[1; 32]),
        other: SigningKey::from_bytes(&[2; 32]),
        txn: SigningKey::from_bytes(&[3; 32]),
        holder: SigningKey::from_bytes(&[4; 32]),
        es: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    })
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    b64(digest(&SHA256, bytes.as_ref()))
}

/// A public key with further members.
pub(crate) fn ed_jwk(key: &SigningKey, more: Value) -> Value {
    let x = b64(key.verifying_key().as_bytes());
    merged(json!({"kty": "OKP", "crv": "Ed25519", "x": x}), more)
}

pub(crate) fn es_jwk(more: Value) -> Value {
    let point = keys().es.public_key().as_ref();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..65]));
    merged(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), more)
}

fn rsa_jwk(more: Value) -> Value {
    let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(keys().rsa.public_key());
    merged(json!({"kty": "RSA", "n": b64(rsa.n), "e": b64(rsa.e)}), more)
}

fn merged(mut value: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("members") };
    value.as_object_mut().unwrap().extend(more);
    value
}

/// RFC 7638.
pub(crate) fn thumbprint(key: &SigningKey) -> String {
    let x = b64(key.verifying_key().as_bytes());
    sha256(format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}"))
}

/// The files with public keys that [`config`] names.
pub(crate) fn key_sets() -> [(&'static str, Value); 4] {
    let keys = keys();
    let main = json!([
        ed_jwk(&keys.ed, json!({"kid": "ed-1"})),
        es_jwk(json!({"kid": "es-1", "use": "sig"})),
        rsa_jwk(json!({"kid": "rsa-1"})),
        rsa_jwk(json!({"kid": "rs-only", "alg": "RS256"})),
        ed_jwk(&keys.ed, json!({"kid": "enc-1", "use": "enc"})),
        ed_jwk(&keys.ed, json!({"kid": "svid-1", "use": "jwt-svid"})),
    ]);
    let svid = json!([
        es_jwk(json!({"kid": "svid-1", "use": "jwt-svid"})),
        es_jwk(json!({"kid": "x509-1", "use": "x509-svid"})),
    ]);
    let txn = json!([ed_jwk(&keys.txn, json!({"kid": "txn-1"}))]);
    let set = |keys: Value| json!({ "keys": keys });
    [
        ("main.json", set(main)),
        ("single.json", set(json!([ed_jwk(&keys.other, json!({}))]))),
        ("svid.json", set(svid)),
        ("txn.json", set(txn)),
    ]
}

/// `[identity]` of a site that is known as `aud`, with the key sets in `dir`.
pub(crate) fn config(aud: &str, dir: &Path) -> IdentityConfig {
    for (name, set) in key_sets() {
        std::fs::write(dir.join(name), set.to_string()).unwrap();
    }
    let jwks = |name: &str| dir.join(name);
    let config = json!({"issuers": [
        {"iss": ISS, "aud": [aud, "lictor"], "jwks": jwks("main.json")},
        {"iss": SINGLE, "aud": aud, "jwks": jwks("single.json"), "algorithms": ["EdDSA"],
         "tenant": "other"},
        {"iss": STRICT, "aud": aud, "jwks": jwks("main.json"), "profile": "at+jwt",
         "required_claims": {"scope": ["mcp"]}, "max_lifetime_s": 600,
         "claims": {"tenant": "org"}, "tenants": ["acme"]},
        {"iss": BOUND, "aud": aud, "jwks": jwks("main.json"), "dpop": {"required": true}},
        {"iss": NONCE, "aud": aud, "jwks": jwks("main.json"), "dpop": {"nonce": true}},
        {"kind": "spiffe", "trust_domain": DOMAIN, "aud": aud, "jwks": jwks("svid.json")},
        {"kind": "txn", "iss": TXN, "aud": DOMAIN, "jwks": jwks("txn.json"),
         "max_lifetime_s": 3_600},
    ]});
    serde_json::from_value(config).unwrap()
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

pub(crate) fn es_signature(signed: &str) -> Vec<u8> {
    let signature = keys().es.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    signature.as_ref().to_vec()
}

pub(crate) fn es(header: &str, payload: &str) -> String {
    let signed = signed_part(header, payload);
    join(&signed, es_signature(&signed))
}

pub(crate) fn rsa_signature(alg: &str, signed: &str) -> Vec<u8> {
    let encoding: &'static dyn RsaEncoding = match alg {
        "PS256" => &RSA_PSS_SHA256,
        "RS512" => &RSA_PKCS1_SHA512,
        _ => &RSA_PKCS1_SHA256,
    };
    let key = &keys().rsa;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    signature
}

pub(crate) fn rsa(alg: &str, payload: &str) -> String {
    let signed = signed_part(&format!("{{\"alg\":\"{alg}\",\"kid\":\"rsa-1\"}}"), payload);
    join(&signed, rsa_signature(alg, &signed))
}

/// The members of an honest access token of `iss`.
pub(crate) fn honest(iss: &str, aud: &str, now_s: i64) -> Map<String, Value> {
    let value = json!({
        "iss": iss, "sub": "alice@example.com", "aud": aud,
        "iat": now_s, "exp": now_s + 300, "client_id": "expense-report-v1", "jti": "t-1",
    });
    let Value::Object(members) = value else { panic!("an object") };
    members
}
