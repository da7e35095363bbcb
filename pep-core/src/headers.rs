//! Which headers pass an enforcement point, and which it adds.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use lictor_proto::decision::{Obligation, ObligationKind};

use crate::rate_limit::add_retry_after;
use crate::refusal::Refusal;

/// The session handle, both ways.
pub const LICTOR_SESSION: HeaderName = HeaderName::from_static("lictor-session");
/// Names the call in answers, for finding it in the audit log.
pub const LICTOR_CALL_ID: HeaderName = HeaderName::from_static("lictor-call-id");

/// The nonce that the next proof of possession must carry.
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Headers that concern one connection only (RFC 9110, 7.6.1), or that a proxy makes anew.
const HOP_BY_HOP: [HeaderName; 12] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
];

/// Headers that carry a caller's credential, whatever the protocol; also our own.
const CREDENTIALS: [HeaderName; 11] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("dpop"),
    HeaderName::from_static("txn-token"),
    HeaderName::from_static("workload-identity-token"),
    HeaderName::from_static("workload-proof-token"),
    HeaderName::from_static("x-forwarded-authorization"),
    LICTOR_SESSION,
];

/// Takes out what concerns one connection only, and what `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Takes out every credential of the caller: an upstream gets one of its own.
pub fn strip_credentials(headers: &mut HeaderMap) {
    for name in &CREDENTIALS {
        headers.remove(name);
    }
}

/// The headers that `set_header` obligations name: `{"name": "..", "value": ".."}`. Headers that
/// carry credentials, concern a connection or frame the body cannot be set.
///
/// # Errors
/// The obligation's id, where its properties are not a header that may be set.
pub fn set_headers<'a>(
    obligations: impl IntoIterator<Item = &'a Obligation>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let wanted = obligations.into_iter().filter(|o| o.kind == ObligationKind::SetHeader);
    wanted
        .map(|obligation| {
            let node = obligation.properties.node();
            let name = node.get("name").and_then(|n| n.as_str()).and_then(|n| n.parse().ok());
            let value = node.get("value").and_then(|n| n.as_str());
            let value = value.and_then(|text| HeaderValue::from_str(text).ok());
            match (name, value) {
                (Some(name), Some(value)) if !reserved(&name) => Ok((name, value)),
                _ => Err(obligation.id.clone()),
            }
        })
        .collect()
}

fn reserved(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || CREDENTIALS.contains(name)
}

/// Adds `DPoP-Nonce` where a refused caller needs one.
pub fn add_nonce(headers: &mut HeaderMap, refusal: &Refusal) {
    let nonce = refusal.challenge().nonce().and_then(|nonce| HeaderValue::from_str(nonce).ok());
    if let Some(nonce) = nonce {
        headers.insert(DPOP_NONCE, nonce);
    }
}

/// Adds what a refusal says of limits, and `Retry-After` where waiting helps.
pub fn add_limits(headers: &mut HeaderMap, refusal: &Refusal) {
    add_retry_after(headers, refusal.retry_after_ms());
    refusal.rate_limit().add(headers);
}

/// The trace id of a W3C `traceparent`, or nothing where it is not well-formed.
#[must_use]
pub fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = version.len() == 2 && hex(version) && trace.len() == 32 && hex(trace);
    (fits && trace.bytes().any(|b| b != b'0')).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::Open;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_a_connection_names_is_taken_out_too() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("keep-alive", "5"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn no_credential_passes() {
        let mut map = HeaderMap::new();
        for name in CREDENTIALS {
            map.append(name, HeaderValue::from_static("secret"));
        }
        map.append(AUTHORIZATION, HeaderValue::from_static("a second one"));
        strip_credentials(&mut map);
        assert!(map.is_empty());
    }

    fn set(properties: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        set_headers(&[Obligation {
            id: "o".into(),
            kind: ObligationKind::SetHeader,
            properties: Open::parse(properties.as_bytes()).unwrap(),
        }])
    }

    #[test]
    fn an_obligation_sets_only_harmless_headers() {
        let set_one = set(r#"{"name":"X-Team","value":"a"}"#).unwrap();
        assert_eq!(set_one, [("x-team".parse().unwrap(), HeaderValue::from_static("a"))]);
        for properties in [
            r#"{"name":"Authorization","value":"a"}"#,
            r#"{"name":"Host","value":"a"}"#,
            r#"{"name":"x y","value":"a"}"#,
            r#"{"name":"x","value":"a\r\nb"}"#,
            r#"{"name":"x"}"#,
        ] {
            assert_eq!(set(properties), Err("o".to_owned()), "{properties}");
        }
    }

    #[test]
    fn only_a_well_formed_trace_id_counts() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&headers(&[("traceparent", &good)])).unwrap(), id);
        for bad in ["", "00", "00-ABC-1-1", "00-00000000000000000000000000000000-1-01"] {
            assert_eq!(trace_id(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
    }
}
