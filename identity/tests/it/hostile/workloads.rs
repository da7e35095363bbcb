//! SPIFFE documents (JWT-SVID) that name nobody.

use serde_json::{Value, json};

use super::forge::{DOMAIN, SVID_HEADER, by, ed, es, keys};
use super::{Case, Site, case};

fn document(site: &Site, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    let value = json!({
        "sub": format!("spiffe://{DOMAIN}/agents/expense"), "aud": [site.aud],
        "exp": site.now_s + 300, "iat": site.now_s,
    });
    let Value::Object(mut members) = value else { panic!("an object") };
    change(&mut members);
    Value::Object(members).to_string()
}

/// A document as SPIRE issues it.
pub(crate) fn honest(site: &Site) -> String {
    es(SVID_HEADER, &document(site, |_| {}))
}

pub(crate) fn cases(site: &Site) -> Vec<Case> {
    let named = |sub: String| {
        let body = document(site, |members| {
            members.insert("sub".to_owned(), json!(sub));
        });
        es(SVID_HEADER, &body)
    };
    let path = |rest: &str| named(format!("spiffe://{DOMAIN}/{rest}"));
    let set = |name: &str, value: Value| {
        let body = document(site, |members| {
            members.insert(name.to_owned(), value);
        });
        es(SVID_HEADER, &body)
    };
    let unset = |name: &str| {
        let body = document(site, |members| {
            members.remove(name);
        });
        es(SVID_HEADER, &body)
    };
    let plain = document(site, |_| {});
    let mut cases = vec![
        case("workload with a query", path("a?admin=1"), "spiffe_id_invalid"),
        case("workload with a fragment", path("a#b"), "spiffe_id_invalid"),
        case("workload above the root", path("a/../b"), "spiffe_id_invalid"),
        case("workload with a dot", path("./a"), "spiffe_id_invalid"),
        case("workload with an empty part", path("a//b"), "spiffe_id_invalid"),
        case("workload ending in a slash", path("a/"), "spiffe_id_invalid"),
        case("workload without a path", path(""), "spiffe_id_invalid"),
        case("workload percent-encoded", path("a%2Fb"), "spiffe_id_invalid"),
        case("workload with a space", path("a b"), "spiffe_id_invalid"),
        case("workload with a NUL", path("a\0"), "spiffe_id_invalid"),
        case("workload in Cyrillic", path("\u{430}gent"), "spiffe_id_invalid"),
        case("workload with a star", path("*"), "spiffe_id_invalid"),
        case("workload longer than an id", path(&"a".repeat(600)), "spiffe_id_invalid"),
        case("workload longer than 2048 bytes", path(&"a".repeat(2100)), "spiffe_id_invalid"),
    ];
    let domain = |name: &'static str, domain: String| {
        case(name, named(format!("{domain}/agents/expense")), "claim_missing")
    };
    cases.extend([
        domain("workload of another trust domain", "spiffe://evil.example".to_owned()),
        domain("trust domain in upper case", format!("spiffe://{}", DOMAIN.to_uppercase())),
        domain("trust domain with a port", format!("spiffe://{DOMAIN}:443")),
        domain("trust domain with a user", format!("spiffe://u@{DOMAIN}")),
        domain("trust domain below ours", format!("spiffe://x.{DOMAIN}")),
        domain("trust domain that begins like ours", format!("spiffe://{DOMAIN}.evil")),
        domain("scheme in upper case", format!("SPIFFE://{DOMAIN}")),
        domain("scheme of the web", format!("https://{DOMAIN}")),
    ]);
    cases.extend([
        case("document without an audience", unset("aud"), "claim_missing"),
        case("document without an expiry", unset("exp"), "claim_missing"),
        case("document for another", set("aud", json!(["other"])), "audience_wrong"),
        case(
            "document for us and another",
            set("aud", json!([site.aud, "x"])),
            "audience_not_single",
        ),
        case("document expired", set("exp", json!(site.now_s - 1)), "token_expired"),
        case("document with actors", set("act", json!({"sub": "a"})), "claim_invalid"),
        case("document whose subject is a list", set("sub", json!(["x"])), "claim_missing"),
        case(
            "document with an access token's type",
            es(r#"{"alg":"ES256","kid":"svid-1","typ":"at+jwt"}"#, &plain),
            "type_refused",
        ),
        case(
            "document with a key for certificates",
            es(r#"{"alg":"ES256","kid":"x509-1"}"#, &plain),
            "key_unknown",
        ),
        case(
            "document by an issuer of access tokens",
            ed(r#"{"alg":"EdDSA","kid":"ed-1"}"#, &plain),
            "algorithm_refused",
        ),
        case("document by nobody", by(&keys().other, SVID_HEADER, &plain), "signature_invalid"),
        case(
            "document in the name of an issuer",
            es(
                SVID_HEADER,
                &document(site, |members| {
                    members.insert("iss".to_owned(), json!(super::forge::ISS));
                }),
            ),
            "key_unknown",
        ),
    ]);
    cases
}
