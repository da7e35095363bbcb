//! Refusals in the shape of OpenAI's own errors, as a body and as an event of a stream.

use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use lictor_pep_core::challenge::NOTHING_PRESENTED;
use lictor_pep_core::headers::{LICTOR_CALL_ID, add_limits, add_nonce};
use lictor_pep_core::{Refusal, RefusalKind, Told};
use lictor_proto::decision::Approval;
use serde::Serialize;

use crate::sse;

/// Official clients obey this header over their own rules for repeating a call.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Serialize)]
struct Envelope<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: String,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'a str,
    lictor: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    reasons: Vec<ToldBody<'a>>,
    decision_id: &'a str,
    call_id: &'a str,
    retry_after_ms: u64,
    executed: bool,
    approval: Option<&'a Approval>,
}

#[derive(Serialize)]
struct ToldBody<'a> {
    id: &'a str,
    message: &'a str,
}

fn told(told: &Told) -> ToldBody<'_> {
    ToldBody { id: &told.id, message: &told.message }
}

/// The body of the error.
pub(crate) fn body(refusal: &Refusal) -> String {
    let envelope = Envelope {
        error: ErrorBody {
            message: refusal.message(),
            r#type: type_of(refusal.status()),
            param: None,
            code: refusal.id(),
            lictor: Details {
                reasons: refusal.reasons().iter().map(told).collect(),
                decision_id: refusal.decision_id(),
                call_id: refusal.call_id(),
                retry_after_ms: refusal.retry_after_ms(),
                executed: refusal.executed(),
                approval: refusal.approval(),
            },
        },
    };
    // Structs of texts and numbers always serialise; an empty body would still be a refusal.
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// The error as an answer.
pub(crate) fn response(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(Body::from(body(refusal)));
    *response.status_mut() =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(call_id) = HeaderValue::from_str(refusal.call_id()) {
        headers.insert(LICTOR_CALL_ID, call_id);
    }
    if refusal.kind() == RefusalKind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, challenge(refusal));
        add_nonce(headers, refusal);
    }
    if refusal.executed() || refusal.kind() == RefusalKind::Ask {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    add_limits(headers, refusal);
    response
}

fn challenge(refusal: &Refusal) -> HeaderValue {
    let asked = refusal.challenge().header(refusal.has(NOTHING_PRESENTED), None);
    HeaderValue::from_str(&asked).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// The error as the last event of a stream.
pub(crate) fn event(refusal: &Refusal) -> Vec<u8> {
    sse::encode(body(refusal).as_bytes())
}

fn type_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use lictor_pep_core::Challenge;
    use lictor_proto::decision::{Decision, Effect, LimitState, Reason};
    use lictor_proto::reason;
    use serde_json::{Value, json};

    use super::*;
    use lictor_pep_core::rate_limit::RateLimit;

    fn shown(refusal: &Refusal) -> Value {
        serde_json::from_str(&body(refusal)).unwrap()
    }

    #[test]
    fn a_denial_looks_like_the_providers_own_error() {
        let reason = Reason::new("chat.topic", "not \"here\"").with_detail("SECRET");
        let refusal = Refusal::of_decision(&Decision::denied("d-1", "c-1", reason));
        let expected = json!({"error": {"message": "not \"here\"", "type": "permission_error", "param": null,
            "code": "chat.topic", "lictor": {"reasons": [{"id": "chat.topic", "message": "not \"here\""}],
            "decision_id": "d-1", "call_id": "c-1", "retry_after_ms": 0, "executed": false, "approval": null}}});
        assert_eq!(shown(&refusal), expected);
        let response = response(&refusal);
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers().get("lictor-call-id").unwrap(), "c-1");
        assert!(response.headers().get(SHOULD_RETRY).is_none());
    }

    #[test]
    fn statuses_have_their_types() {
        for (id, status, kind) in [
            (reason::BODY_INVALID, 400, "invalid_request_error"),
            (reason::METHOD_UNKNOWN, 404, "invalid_request_error"),
            (reason::BODY_TOO_LARGE, 413, "invalid_request_error"),
            ("limit.team", 429, "rate_limit_error"),
            (reason::PDP_UNAVAILABLE, 503, "server_error"),
            (reason::AUDIT_UNAVAILABLE, 503, "server_error"),
            (reason::OVERLOADED, 503, "server_error"),
            (reason::UPSTREAM_UNAVAILABLE, 502, "server_error"),
        ] {
            let refusal = Refusal::new(id, "x");
            assert_eq!(response(&refusal).status().as_u16(), status, "{id}");
            assert_eq!(shown(&refusal)["error"]["type"], kind, "{id}");
        }
        for (id, challenge) in
            [("token_missing", "Bearer"), ("token_expired", "Bearer error=\"invalid_token\"")]
        {
            let unknown = response(&Refusal::unauthenticated(id, "x"));
            assert_eq!(unknown.status(), 401);
            assert_eq!(unknown.headers().get(WWW_AUTHENTICATE).unwrap(), challenge);
        }
    }

    #[test]
    fn a_proof_of_possession_is_asked_for_in_its_own_scheme() {
        let asked = |challenge| {
            let refusal = Refusal::unauthenticated("x", "x").with_challenge(challenge);
            let response = response(&refusal);
            let text = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
            (text("www-authenticate").unwrap(), text("dpop-nonce"))
        };
        let algs = "algs=\"EdDSA ES256 ES384 RS256 RS384 RS512 PS256 PS384 PS512\"";
        let dpop = |error: &str| format!("DPoP error=\"{error}\", {algs}");
        assert_eq!(asked(Challenge::Bound), (dpop("invalid_token"), None));
        assert_eq!(asked(Challenge::Proof), (dpop("invalid_dpop_proof"), None));
        let nonce = (dpop("use_dpop_nonce"), Some("n-1".to_owned()));
        assert_eq!(asked(Challenge::Nonce("n-1".to_owned())), nonce);
    }

    #[test]
    fn a_limit_says_when_to_ask_again() {
        let mut decision = Decision::denied("d", "c", Reason::new("limit.team", "no room"));
        decision.limits.push(LimitState {
            id: "team".to_owned(),
            reserved: 0,
            remaining: 3,
            reset_at: String::new(),
            retry_after_ms: 1500,
        });
        let told = RateLimit::of(&decision.limits, &[], 0);
        let response = response(&Refusal::of_decision(&decision).with_rate_limit(told));
        assert_eq!(response.headers().get("retry-after").unwrap(), "2");
        assert_eq!(response.headers().get("ratelimit").unwrap(), "\"team\";r=3;t=2");
    }

    #[test]
    fn what_was_done_must_not_be_repeated() {
        let withheld = Refusal::new(reason::AUDIT_UNAVAILABLE, "x").after_effect();
        assert_eq!(response(&withheld).headers().get(SHOULD_RETRY).unwrap(), "false");
        let error = &shown(&withheld)["error"];
        assert_eq!(error["code"], reason::RESULT_WITHHELD);
        assert_eq!(error["lictor"]["executed"], true);
        assert_eq!(error["lictor"]["reasons"][1]["id"], reason::AUDIT_UNAVAILABLE);
    }

    #[test]
    fn an_approval_is_named() {
        let mut decision = Decision::denied("d", "c", Reason::new("chat.manager", "ask first"));
        decision.effect = Effect::Ask;
        decision.approval = Some(Approval {
            id: "a-1".to_owned(),
            expires: "2030-01-01T00:00:00Z".to_owned(),
            approvers: vec!["bob".to_owned()],
            count: 1,
        });
        let refusal = Refusal::of_decision(&decision);
        assert_eq!(shown(&refusal)["error"]["lictor"]["approval"]["id"], "a-1");
        assert_eq!(response(&refusal).status(), 403);
    }

    #[test]
    fn an_event_is_one_error_object() {
        let event = event(&Refusal::new(reason::RESULT_WITHHELD, "line\nbreak"));
        let text = String::from_utf8(event).unwrap();
        let data = text.strip_prefix("data: ").and_then(|t| t.strip_suffix("\n\n")).unwrap();
        let value: Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["error"]["code"], reason::RESULT_WITHHELD);
    }
}
