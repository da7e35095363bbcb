//! One proof, held against the request and the token that it came with (RFC 9449, section 4.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lictor_proto::json::Node;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::DpopError;
use super::nonce::NonceKey;
use super::replay::Use;
use super::thumbprint::Thumbprint;
use super::url::same_place;
use crate::error::AuthError;
use crate::jwks::{Algorithm, Key};
use crate::jwt::{CLOCK_LEEWAY_MS, Compact};
use crate::presented::Dpop;

/// Largest proof that is read, bytes.
pub const DPOP_MAX_BYTES: usize = 8 * 1024;
/// How long after its `iat` a proof may be used, milliseconds.
pub const DPOP_MAX_AGE_MS: i64 = 60_000;
/// Longest `jti` of a proof, bytes.
pub const DPOP_JTI_MAX_BYTES: usize = 256;
/// Latest time that is believed, seconds: the year 9999.
const NUMERIC_DATE_MAX_S: u64 = 253_402_300_799;

/// The algorithms that proofs may be made with, for whoever asks for one (`algs`).
pub const ALGORITHMS: [Algorithm; 9] = Algorithm::ALL;

/// Header members that would change how a proof is read, or whose key it is.
const REFUSED: [&str; 7] = ["jku", "x5u", "x5c", "crit", "b64", "enc", "zip"];
/// Header members that are read.
const READ: [&str; 3] = ["alg", "jwk", "typ"];
/// Claims with a meaning here.
const CLAIMS: [&str; 6] = ["jti", "htm", "htu", "iat", "ath", "nonce"];
/// Members of private and of symmetric keys (RFC 7518, section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Checks that `proof` was made for this request, beside `token`, with the key that the token is
/// bound to. Nothing is remembered yet: the proof is used up by the [`Use`] that this returns.
pub(crate) fn check(
    proof: &Dpop<'_>,
    token: &str,
    bound: &Thumbprint,
    nonces: Option<&NonceKey>,
    now_ms: i64,
) -> Result<Use, DpopError> {
    let compact = parse(proof.proof)?;
    let algorithm = algorithm(&compact.header)?;
    let thumbprint = verify(&compact, algorithm)?;
    if thumbprint != *bound {
        return Err(DpopError::KeyWrong);
    }
    let claims = &compact.payload;
    check_request(claims, proof)?;
    check_token(claims, token)?;
    let until_ms = check_time(claims, now_ms)?;
    if let Some(key) = nonces {
        check_nonce(claims, key, now_ms)?;
    }
    Ok(Use::new(&thumbprint, jti(claims)?, until_ms))
}

fn invalid(why: &'static str) -> DpopError {
    DpopError::Invalid { why }
}

fn parse(text: &str) -> Result<Compact<'_>, DpopError> {
    if text.len() > DPOP_MAX_BYTES {
        return Err(invalid("it is longer than 8192 bytes"));
    }
    let compact = Compact::parse(text).map_err(|error| match error {
        AuthError::TokenMalformed { why, .. } => invalid(why),
        _ => invalid("it cannot be read"),
    })?;
    let header = &compact.header;
    let known: Vec<&str> = REFUSED.iter().chain(&READ).copied().collect();
    if header.members().iter().any(|member| REFUSED.contains(&&*member.key)) {
        return Err(invalid("its header has members that are never accepted"));
    }
    if header.case_variant_of(&known).is_some()
        || compact.payload.case_variant_of(&CLAIMS).is_some()
    {
        return Err(invalid("a member differs from a known one only by case"));
    }
    let typ = header.get("typ").and_then(Node::as_str).unwrap_or_default().to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "dpop+jwt" => Ok(compact),
        _ => Err(invalid("its `typ` is not `dpop+jwt`")),
    }
}

fn algorithm(header: &Node) -> Result<Algorithm, DpopError> {
    let name = header.get("alg").and_then(Node::as_str);
    let known = name.and_then(Algorithm::from_name).filter(|alg| ALGORITHMS.contains(alg));
    known.ok_or(DpopError::AlgorithmRefused)
}

/// Checks the signature by the key of the header; that key's name.
fn verify(compact: &Compact<'_>, algorithm: Algorithm) -> Result<Thumbprint, DpopError> {
    let wrong = |why| DpopError::KeyInvalid { why };
    let jwk = compact.header.get("jwk").ok_or(wrong("it is missing"))?;
    if jwk.members().iter().any(|member| PRIVATE.contains(&&*member.key)) {
        return Err(wrong("it holds a secret: send only the public key, and replace this one"));
    }
    if jwk.case_variant_of(&["kty", "crv", "x", "y", "n", "e"]).is_some() {
        return Err(wrong("a member differs from a known one only by case"));
    }
    let key = Key::read(jwk).map_err(wrong)?.ok_or(wrong("it is no key for signatures"))?;
    let thumbprint = Thumbprint::of_jwk(jwk).ok_or(wrong("it has no thumbprint"))?;
    if !key.fits(algorithm) {
        return Err(DpopError::AlgorithmRefused);
    }
    if !key.verify(algorithm, compact.signed.as_bytes(), &compact.signature) {
        return Err(DpopError::SignatureInvalid);
    }
    Ok(thumbprint)
}

fn text<'a>(claims: &'a Node, name: &str, missing: DpopError) -> Result<&'a str, DpopError> {
    claims.get(name).and_then(Node::as_str).ok_or(missing)
}

fn check_request(claims: &Node, proof: &Dpop<'_>) -> Result<(), DpopError> {
    let method = text(claims, "htm", invalid("it has no `htm`"))?;
    let url = text(claims, "htu", invalid("it has no `htu`"))?;
    if method != proof.method {
        return Err(DpopError::MethodWrong);
    }
    if same_place(url, proof.url) { Ok(()) } else { Err(DpopError::UrlWrong) }
}

fn check_token(claims: &Node, token: &str) -> Result<(), DpopError> {
    let hash = text(claims, "ath", invalid("it has no `ath`"))?;
    let expected = URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()));
    let same = bool::from(hash.as_bytes().ct_eq(expected.as_bytes()));
    if same { Ok(()) } else { Err(DpopError::TokenWrong) }
}

/// When the proof ends, unix milliseconds.
fn check_time(claims: &Node, now_ms: i64) -> Result<i64, DpopError> {
    let seconds = claims.get("iat").and_then(Node::as_u64).filter(|s| *s <= NUMERIC_DATE_MAX_S);
    let made_ms = seconds.and_then(|s| i64::try_from(s).ok()).map(|s| s.saturating_mul(1_000));
    let made_ms = made_ms.ok_or(invalid("its `iat` is not a whole number of seconds"))?;
    let until_ms = made_ms.saturating_add(DPOP_MAX_AGE_MS);
    if now_ms >= until_ms {
        return Err(DpopError::Expired);
    }
    if made_ms > now_ms.saturating_add(CLOCK_LEEWAY_MS) {
        return Err(DpopError::NotYetValid);
    }
    Ok(until_ms)
}

fn check_nonce(claims: &Node, key: &NonceKey, now_ms: i64) -> Result<(), DpopError> {
    let fresh = || key.nonce(now_ms);
    let Some(nonce) = claims.get("nonce") else {
        return Err(DpopError::NonceMissing { nonce: fresh() });
    };
    match nonce.as_str() {
        Some(nonce) if key.accepts(nonce, now_ms) => Ok(()),
        _ => Err(DpopError::NonceWrong { nonce: fresh() }),
    }
}

fn jti(claims: &Node) -> Result<&str, DpopError> {
    let jti = text(claims, "jti", invalid("it has no `jti`"))?;
    match jti.len() {
        0 => Err(invalid("its `jti` is empty")),
        1..=DPOP_JTI_MAX_BYTES => Ok(jti),
        _ => Err(invalid("its `jti` is longer than 256 bytes")),
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
