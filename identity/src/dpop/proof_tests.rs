use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::*;

const NOW_MS: i64 = 1_000_000;
const URL: &str = "https://gate.example/mcp";

fn jwk(key: &SigningKey) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "x": x})
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let ath = URL_SAFE_NO_PAD.encode(Sha256::digest(b"token"));
    let mut claims = json!({"jti": "a", "htm": "POST", "htu": URL, "iat": 1000, "ath": ath});
    change(&mut claims);
    claims
}

fn made(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key().sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header() -> Value {
    json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk(&key())})
}

fn ask(proof: &str, nonces: Option<&NonceKey>, now_ms: i64) -> Result<Use, DpopError> {
    let bound = jwk(&key()).to_string();
    let bound = lictor_proto::json::scan(bound.as_bytes()).unwrap();
    let bound = Thumbprint::of_jwk(&bound).unwrap();
    let dpop = Dpop { proof, method: "POST", url: URL };
    check(&dpop, "token", &bound, nonces, now_ms)
}

fn id(claims: &Value, now_ms: i64) -> Option<&'static str> {
    ask(&made(&header(), claims), None, now_ms).err().map(|error| error.id())
}

#[test]
fn a_proof_holds_for_its_window() {
    let good = claims(|_| {});
    assert_eq!(id(&good, NOW_MS), None);
    assert_eq!(id(&good, NOW_MS + DPOP_MAX_AGE_MS - 1), None);
    assert_eq!(id(&good, NOW_MS + DPOP_MAX_AGE_MS), Some("dpop_expired"));
    assert_eq!(id(&good, NOW_MS - CLOCK_LEEWAY_MS), None);
    assert_eq!(id(&good, NOW_MS - CLOCK_LEEWAY_MS - 1), Some("dpop_not_yet_valid"));
    for now_ms in [i64::MIN, i64::MAX] {
        assert!(id(&good, now_ms).is_some());
    }
}

#[test]
fn sizes_end_where_they_say() {
    let jti = |bytes: usize| id(&claims(|claims| claims["jti"] = "j".repeat(bytes).into()), NOW_MS);
    assert_eq!((jti(1), jti(DPOP_JTI_MAX_BYTES)), (None, None));
    assert_eq!((jti(0), jti(DPOP_JTI_MAX_BYTES + 1)), (Some("dpop_invalid"), Some("dpop_invalid")));
    let padded = |bytes: usize| {
        let proof = made(&header(), &claims(|claims| claims["x"] = "p".repeat(bytes).into()));
        (proof.len() <= DPOP_MAX_BYTES, ask(&proof, None, NOW_MS).is_ok())
    };
    for bytes in 5_000..6_500 {
        let (fits, accepted) = padded(bytes);
        assert_eq!(fits, accepted, "{bytes}");
    }
    assert_eq!((padded(5_000).0, padded(6_499).0), (true, false));
}

#[test]
fn the_same_proof_is_the_same_use() {
    let used = |jti: &str| {
        let claims = claims(|claims| claims["jti"] = jti.into());
        ask(&made(&header(), &claims), None, NOW_MS).unwrap()
    };
    assert_eq!(used("a"), used("a"));
    assert_ne!(used("a"), used("b"));
}

#[test]
fn a_nonce_is_asked_for_where_it_must_be_there() {
    let nonces = NonceKey::new(&[7; 32]);
    let with = |nonce: Value| {
        let proof = made(&header(), &claims(|claims| claims["nonce"] = nonce));
        ask(&proof, Some(&nonces), NOW_MS)
    };
    let fresh = nonces.nonce(NOW_MS);
    assert!(with(fresh.as_str().into()).is_ok());
    let plain = ask(&made(&header(), &claims(|_| {})), Some(&nonces), NOW_MS).unwrap_err();
    assert_eq!((plain.id(), plain.nonce()), ("dpop_nonce_missing", Some(&*fresh)));
    for bad in [json!("x"), json!(1), NonceKey::new(&[8; 32]).nonce(NOW_MS).into()] {
        let error = with(bad).unwrap_err();
        assert_eq!((error.id(), error.nonce()), ("dpop_nonce_wrong", Some(&*fresh)));
    }
}
