//! Tokens that are bound to a key, and callers who do not hold it.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};

use super::forge::{
    BOUND, HEADER, ISS, NONCE, b64, ed, ed_jwk, es_jwk, join, keys, sha256, signed_part, thumbprint,
};
use super::{Case, Sent, Site, case, sent};

/// A token that says `cnf`.
fn confirmed(site: &Site, iss: &str, cnf: Value) -> String {
    let body = site.payload(iss, |members| {
        members.insert("cnf".to_owned(), cnf);
    });
    ed(HEADER, &body)
}

/// A token of `iss` that is bound to the honest caller's key.
pub(crate) fn bound(site: &Site, iss: &str) -> String {
    confirmed(site, iss, json!({"jkt": thumbprint(&keys().holder)}))
}

fn header(jwk: Value) -> Value {
    json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk})
}

/// The claims of an honest proof; each case has its own `jti`.
fn claims(site: &Site, token: &str, jti: &str) -> Map<String, Value> {
    let value = json!({
        "jti": jti, "htm": site.method, "htu": site.url, "iat": site.now_s, "ath": sha256(token),
    });
    let Value::Object(members) = value else { panic!("an object") };
    members
}

fn signed(key: &SigningKey, header: &Value, claims: Map<String, Value>) -> String {
    let signed = signed_part(&header.to_string(), &Value::Object(claims).to_string());
    let signature = key.sign(signed.as_bytes()).to_bytes();
    join(&signed, signature)
}

/// A proof by the honest caller.
pub(crate) fn proof(site: &Site, token: &str, jti: &str) -> String {
    proof_with(site, token, jti, |_| {})
}

/// A proof by the honest caller, with other claims.
pub(crate) fn proof_with(
    site: &Site,
    token: &str,
    jti: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> String {
    let holder = &keys().holder;
    let mut claims = claims(site, token, jti);
    change(&mut claims);
    signed(holder, &header(ed_jwk(holder, json!({}))), claims)
}

/// A bound token with its proof.
pub(crate) fn honest(site: &Site) -> Sent {
    let token = bound(site, ISS);
    Sent::bound(&token, &proof(site, &token, "honest"))
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    [bindings(site), keys_of_proofs(site), claims_of_proofs(site), requests(site)]
        .into_iter()
        .flatten()
        .collect()
}

fn bindings(site: &Site) -> Vec<Case> {
    let token = bound(site, ISS);
    let own = proof(site, &token, "bindings");
    let unbound = ed(HEADER, &site.good());
    let certificate = json!({"x5t#S256": sha256("another certificate")});
    let both = json!({"jkt": thumbprint(&keys().holder), "x5t#S256": sha256("another")});
    let unknown = |name, cnf| case(name, confirmed(site, ISS, cnf), "binding_unknown");
    let stranger =
        Sent { stranger: true, ..Sent::bearer(confirmed(site, ISS, certificate.clone())) };
    let both = confirmed(site, ISS, both);
    vec![
        case("bound token as a plain one", token.clone(), "token_bound"),
        sent(
            "bound token as a plain one with its proof",
            Sent { dpop: vec![own.clone()], ..Sent::bearer(token.clone()) },
            "token_bound",
        ),
        sent(
            "bound token without a proof",
            Sent { authorization: vec![format!("DPoP {token}")], ..Sent::default() },
            "dpop_missing",
        ),
        sent(
            "plain token as a bound one",
            Sent::bound(&unbound, &proof(site, &unbound, "unbound")),
            "dpop_unbound",
        ),
        case(
            "plain token where it must be bound",
            ed(HEADER, &site.payload(BOUND, |_| {})),
            "dpop_required",
        ),
        case(
            "certificate's token without it",
            confirmed(site, ISS, certificate),
            "certificate_binding_missing",
        ),
        sent("certificate's token with another", stranger, "certificate_binding_wrong"),
        sent(
            "certificate and key, and the key alone",
            Sent::bound(&both, &proof(site, &both, "both")),
            "certificate_binding_missing",
        ),
        unknown("bound in an unknown way", json!({"osc": {"id": "x"}})),
        unknown("bound to an embedded key", json!({"jwk": ed_jwk(&keys().holder, json!({}))})),
        unknown("bound to a key by name", json!({"kid": "ed-1"})),
        unknown("bound to nothing", json!({})),
        unknown("binding is null", json!(null)),
        unknown("binding is a list", json!([{"jkt": "x"}])),
        unknown("bound to a short name", json!({"jkt": "AAAA"})),
        unknown(
            "bound to a padded name",
            json!({"jkt": format!("{}=", thumbprint(&keys().holder))}),
        ),
        unknown("bound in another case", json!({"JKT": thumbprint(&keys().holder)})),
        unknown("bound to a short certificate", json!({"x5t#S256": "AAAA"})),
        unknown("bound to a weak hash", json!({"x5t": b64([0; 20])})),
        case(
            "binding in another case of name",
            site.claim("CNF", json!({"jkt": "x"})),
            "claim_invalid",
        ),
    ]
}

fn keys_of_proofs(site: &Site) -> Vec<Case> {
    let token = bound(site, ISS);
    let holder = &keys().holder;
    let with = |name: &'static str, jwk: Value, id| {
        let proof = signed(holder, &header(jwk), claims(site, &token, name));
        sent(name, Sent::bound(&token, &proof), id)
    };
    let more = |member: Value| ed_jwk(holder, member);
    let private = json!({"d": b64(holder.to_bytes())});
    let rsa = |bytes: usize, e: &str| json!({"kty": "RSA", "n": b64(vec![0xff; bytes]), "e": e});
    let zero = b64([0; 32]);
    let off_curve = json!({"kty": "EC", "crv": "P-256", "x": zero, "y": zero});
    let unknown = json!({"kty": "EC", "crv": "secp256k1", "x": zero, "y": zero});
    let x = format!("{}=", b64(holder.verifying_key().as_bytes()));
    let padded = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": b64([0; 32])});
    let other = &keys().other;
    let stolen = signed(other, &header(ed_jwk(other, json!({}))), claims(site, &token, "stolen"));
    let forged = signed(other, &header(more(json!({}))), claims(site, &token, "forged"));
    vec![
        with("proof with a private key", more(private), "dpop_key_invalid"),
        with("proof with a private RSA prime", more(json!({"p": "AA"})), "dpop_key_invalid"),
        with("proof with a shared secret", json!({"kty": "oct", "k": "AAAA"}), "dpop_key_invalid"),
        with("proof with a key for encryption", more(json!({"use": "enc"})), "dpop_key_invalid"),
        with("proof with a key of small order", weak, "dpop_key_invalid"),
        with("proof with an RSA key of 1024 bits", rsa(128, "AQAB"), "dpop_key_invalid"),
        with("proof with an RSA key whose exponent is one", rsa(256, "AQ"), "dpop_key_invalid"),
        with("proof with an RSA key whose exponent is three", rsa(256, "Aw"), "dpop_key_invalid"),
        with("proof with an endless RSA key", rsa(2_000, "AQAB"), "dpop_key_invalid"),
        with("proof with a point off the curve", off_curve, "dpop_key_invalid"),
        with("proof with a key of an unknown curve", unknown, "dpop_key_invalid"),
        with("proof with a padded key", padded, "dpop_key_invalid"),
        with("proof with a key in another case", more(json!({"X": "AA"})), "dpop_key_invalid"),
        with("proof with a key as a text", json!("key"), "dpop_key_invalid"),
        with("proof with a key that is null", json!(null), "dpop_key_invalid"),
        with("proof with a key of another kind", es_jwk(json!({})), "dpop_algorithm_refused"),
        sent("proof by another key", Sent::bound(&token, &stolen), "dpop_key_wrong"),
        sent("proof in the name of a key", Sent::bound(&token, &forged), "dpop_signature_invalid"),
    ]
}

fn claims_of_proofs(site: &Site) -> Vec<Case> {
    let token = bound(site, ISS);
    let holder = &keys().holder;
    let own = header(ed_jwk(holder, json!({})));
    let with = |name: &'static str, claim: &str, value: Option<Value>, id| {
        let mut claims = claims(site, &token, name);
        match value {
            Some(value) => claims.insert(claim.to_owned(), value),
            None => claims.remove(claim),
        };
        sent(name, Sent::bound(&token, &signed(holder, &own, claims)), id)
    };
    let set = |name, claim, value, id| with(name, claim, Some(value), id);
    let invalid = |name, claim, value| with(name, claim, value, "dpop_invalid");
    let place = |rest: &str| json!(format!("https://evil.example/{rest}"));
    vec![
        set("proof for another method", "htm", json!("DELETE"), "dpop_method_wrong"),
        set(
            "proof for the method in lower case",
            "htm",
            json!(site.method.to_lowercase()),
            "dpop_method_wrong",
        ),
        set("proof for another place", "htu", place("mcp"), "dpop_url_wrong"),
        set("proof for another path", "htu", json!(format!("{}/x", site.url)), "dpop_url_wrong"),
        set(
            "proof for another port",
            "htu",
            json!("https://lictor.example:8443/mcp"),
            "dpop_url_wrong",
        ),
        set("proof for our name before another", "htu", place("lictor.example"), "dpop_url_wrong"),
        set("proof for a path alone", "htu", json!("/mcp"), "dpop_url_wrong"),
        set("proof for another token", "ath", json!(sha256("another")), "dpop_token_wrong"),
        set("proof for the token in hexadecimal", "ath", json!("00"), "dpop_token_wrong"),
        set("old proof", "iat", json!(site.now_s - 3_600), "dpop_expired"),
        set("proof of 1970", "iat", json!(0), "dpop_expired"),
        set("proof of the future", "iat", json!(site.now_s + 3_600), "dpop_not_yet_valid"),
        invalid("proof at a fraction", "iat", Some(json!(1.5))),
        invalid("proof at a text", "iat", Some(json!(site.now_s.to_string()))),
        invalid("proof without a time", "iat", None),
        invalid("proof without a name", "jti", None),
        invalid("proof with an empty name", "jti", Some(json!(""))),
        invalid("proof with a long name", "jti", Some(json!("j".repeat(257)))),
        invalid("proof with a number for a name", "jti", Some(json!(7))),
        invalid("proof without a method", "htm", None),
        invalid("proof without a place", "htu", None),
        invalid("proof without the token", "ath", None),
        invalid("proof with a claim in another case", "HTU", Some(json!(site.url))),
    ]
}

fn requests(site: &Site) -> Vec<Case> {
    let token = bound(site, ISS);
    let holder = &keys().holder;
    let jwk = ed_jwk(holder, json!({}));
    let headed = |name: &'static str, header: &str, id| {
        let claims = Value::Object(claims(site, &token, name)).to_string();
        let signed = signed_part(header, &claims);
        let proof = join(&signed, holder.sign(signed.as_bytes()).to_bytes());
        sent(name, Sent::bound(&token, &proof), id)
    };
    let with = |name, more: &str, id| {
        headed(name, &format!(r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{jwk}{more}}}"#), id)
    };
    let first = proof(site, &token, "several, first");
    let both = vec![first.clone(), proof(site, &token, "several, second")];
    let nonced = bound(site, NONCE);
    let mut stale = claims(site, &nonced, "stale nonce");
    stale.insert("nonce".to_owned(), json!(b64([0; 32])));
    let stale = signed(holder, &header(jwk.clone()), stale);
    let replayed = Sent::bound(&token, &proof(site, &token, "replayed"));
    vec![
        Case { name: "proof used again", sent: replayed, id: "dpop_replayed", again: true },
        sent("two proofs", Sent { dpop: both, ..Sent::bound(&token, "") }, "dpop_invalid"),
        sent("proof that is no token", Sent::bound(&token, "x"), "dpop_invalid"),
        sent("proof that is empty", Sent::bound(&token, ""), "dpop_invalid"),
        sent("proof that is the token", Sent::bound(&token, &token), "dpop_invalid"),
        sent("proof without end", Sent::bound(&token, &"x".repeat(9_000)), "dpop_invalid"),
        sent("proof and padding", Sent::bound(&token, &format!("{first}=")), "dpop_invalid"),
        headed(
            "proof of another type",
            &format!(r#"{{"typ":"JWT","alg":"EdDSA","jwk":{jwk}}}"#),
            "dpop_invalid",
        ),
        headed(
            "proof without a type",
            &format!(r#"{{"alg":"EdDSA","jwk":{jwk}}}"#),
            "dpop_invalid",
        ),
        headed(
            "proof without an algorithm",
            &format!(r#"{{"typ":"dpop+jwt","jwk":{jwk}}}"#),
            "dpop_algorithm_refused",
        ),
        headed(
            "proof with algorithm none",
            &format!(r#"{{"typ":"dpop+jwt","alg":"none","jwk":{jwk}}}"#),
            "dpop_algorithm_refused",
        ),
        headed(
            "proof with a shared-secret algorithm",
            &format!(r#"{{"typ":"dpop+jwt","alg":"HS256","jwk":{jwk}}}"#),
            "dpop_algorithm_refused",
        ),
        headed("proof without a key", r#"{"typ":"dpop+jwt","alg":"EdDSA"}"#, "dpop_key_invalid"),
        with("proof with keys elsewhere", ",\"jku\":\"https://evil.example\"", "dpop_invalid"),
        with("proof with critical extensions", ",\"crit\":[\"exp\"]", "dpop_invalid"),
        with("proof with its key twice", ",\"jwk\":{}", "dpop_invalid"),
        with("proof with its key in another case", ",\"JWK\":{}", "dpop_invalid"),
        sent(
            "proof without a nonce",
            Sent::bound(&nonced, &proof(site, &nonced, "no nonce")),
            "dpop_nonce_missing",
        ),
        sent("proof with a made-up nonce", Sent::bound(&nonced, &stale), "dpop_nonce_wrong"),
    ]
}
