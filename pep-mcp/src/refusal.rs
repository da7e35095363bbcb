//! Refusals in the shape of the protocol: JSON-RPC errors, tool results with `isError`, and the
//! HTTP statuses and challenges that clients act on.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use lictor_pep_core::challenge::NOTHING_PRESENTED;
use lictor_pep_core::headers::{LICTOR_CALL_ID, add_limits, add_nonce};
use lictor_pep_core::{Refusal, RefusalKind};
use lictor_proto::reason;
use serde_json::{Map, Value, json};

use crate::config::Denials;
use crate::ingress::{Era, Inbound};
use crate::methods::Class;

/// Policy says no. Outside of the range that JSON-RPC and MCP keep for themselves.
pub const CODE_DENY: i64 = -31001;
/// A person must agree first.
pub const CODE_ASK: i64 = -31002;
/// The caller is not known.
pub const CODE_UNAUTHENTICATED: i64 = -31003;
/// Something that is needed is not there.
pub const CODE_UNAVAILABLE: i64 = -31004;
/// The member of a tool result's `_meta` that says why.
pub const META_REFUSAL: &str = "dev.lictor/refusal";

/// A refusal on its way to the caller, before or after anything was decided.
#[derive(Debug, Clone)]
pub(crate) struct Bounce {
    pub(crate) refusal: Refusal,
    pub(crate) code: i64,
    id: Option<String>,
    era: Era,
    tool_call: bool,
    /// Whether the message itself was at fault, so that HTTP must say so too.
    fault: bool,
    data: Map<String, Value>,
}

/// What a refusal has to know of the message that it answers.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    id: Option<String>,
    era: Era,
    tool_call: bool,
}

impl Asked {
    /// By `inbound`.
    pub(crate) fn by(inbound: &Inbound) -> Self {
        Self {
            id: inbound.id().map(str::to_owned),
            era: inbound.era,
            tool_call: inbound.row.class == Class::Call,
        }
    }

    /// The id to answer with, as JSON text.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl Bounce {
    /// A message that was not understood, with the protocol's own code.
    pub(crate) fn new(refusal: Refusal, code: i64) -> Self {
        Self {
            refusal,
            code,
            id: None,
            era: Era::Legacy,
            tool_call: false,
            fault: true,
            data: Map::new(),
        }
    }

    /// A message that was understood and is refused.
    pub(crate) fn decided(refusal: Refusal, asked: Asked) -> Self {
        let code = code_of(refusal.kind());
        let Asked { id, era, tool_call } = asked;
        Self { refusal, code, id, era, tool_call, fault: false, data: Map::new() }
    }

    /// A refusal of a request that has no body (GET, DELETE).
    pub(crate) fn bodiless(refusal: Refusal) -> Self {
        let code = code_of(refusal.kind());
        Self { fault: false, ..Self::new(refusal, code) }
    }

    /// Tells `refusal` instead: the same with the call's id, or that there is no record of it.
    pub(crate) fn telling(mut self, refusal: Refusal) -> Self {
        if refusal.id() != self.refusal.id() {
            self.code = code_of(refusal.kind());
        }
        self.refusal = refusal;
        self
    }

    /// Names the request that is answered.
    pub(crate) fn answering(mut self, id: Option<&str>) -> Self {
        self.id = id.map(str::to_owned);
        self
    }

    pub(crate) fn in_era(mut self, era: Era) -> Self {
        self.era = era;
        self
    }

    /// A member of the error's `data` beside `lictor`.
    pub(crate) fn with_data(mut self, name: &str, value: Value) -> Self {
        self.data.insert(name.to_owned(), value);
        self
    }

    /// The HTTP status. Policy's no is an answer and travels as one (200 with a JSON-RPC error), so
    /// that clients show it instead of trying to log in again; everything else has its own status.
    fn status(&self) -> StatusCode {
        let status = match self.refusal.kind() {
            RefusalKind::Unauthenticated | RefusalKind::Unavailable => self.refusal.status(),
            RefusalKind::Deny if self.challenges() => 403,
            RefusalKind::Deny if self.fault && self.unknown_in_legacy() => 200,
            RefusalKind::Deny if self.fault => self.refusal.status(),
            RefusalKind::Deny | RefusalKind::Ask if self.id.is_none() => 403,
            RefusalKind::Deny | RefusalKind::Ask => 200,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN)
    }

    /// An unknown method is an answer in the legacy era and HTTP's 404 in the modern one.
    fn unknown_in_legacy(&self) -> bool {
        self.era == Era::Legacy && self.id.is_some() && self.refusal.id() == reason::METHOD_UNKNOWN
    }

    /// Whether a stronger token would help.
    fn challenges(&self) -> bool {
        !self.refusal.scopes().is_empty()
    }

    /// The JSON-RPC message.
    pub(crate) fn message(&self, setting: &Settings) -> String {
        let as_result = setting.denials == Denials::ToolResult
            && self.tool_call
            && !self.fault
            && !self.challenges()
            && matches!(self.refusal.kind(), RefusalKind::Deny | RefusalKind::Ask);
        let body = if as_result { self.tool_result() } else { self.error() };
        let id = self.id.as_deref().unwrap_or("null");
        format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#)
    }

    fn error(&self) -> String {
        let mut data = self.data.clone();
        data.insert("lictor".to_owned(), details(&self.refusal));
        let error = json!({ "code": self.code, "message": told(&self.refusal), "data": data });
        format!(r#""error":{error}"#)
    }

    fn tool_result(&self) -> String {
        let mut result = json!({
            "content": [{ "type": "text", "text": told(&self.refusal) }],
            "isError": true,
            "_meta": { META_REFUSAL: details(&self.refusal) },
        });
        if let (Era::Modern, Some(result)) = (self.era, result.as_object_mut()) {
            result.insert("resultType".to_owned(), json!("complete"));
        }
        format!(r#""result":{result}"#)
    }

    /// The whole HTTP answer.
    pub(crate) fn response(&self, setting: &Settings) -> Response<Body> {
        let mut response = Response::new(Body::from(self.message(setting)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        add_limits(headers, &self.refusal);
        if let Ok(value) = HeaderValue::from_str(self.refusal.call_id())
            && !value.is_empty()
        {
            headers.insert(LICTOR_CALL_ID, value);
        }
        if let Some(value) = self.challenge(setting) {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        add_nonce(headers, &self.refusal);
        response
    }

    fn challenge(&self, setting: &Settings) -> Option<HeaderValue> {
        let metadata = &setting.metadata_url;
        let text = match self.refusal.kind() {
            RefusalKind::Unauthenticated => {
                let silent = self.refusal.has(NOTHING_PRESENTED);
                self.refusal.challenge().header(silent, Some(metadata))
            }
            RefusalKind::Deny if self.challenges() => format!(
                "Bearer error=\"insufficient_scope\", scope=\"{}\", resource_metadata=\"{metadata}\"",
                self.refusal.scopes().join(" ").replace(['"', '\\'], "")
            ),
            RefusalKind::Deny | RefusalKind::Ask | RefusalKind::Unavailable => return None,
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// What shapes refusals beside the refusal itself.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) denials: Denials,
    pub(crate) metadata_url: String,
}

fn code_of(kind: RefusalKind) -> i64 {
    match kind {
        RefusalKind::Deny => CODE_DENY,
        RefusalKind::Ask => CODE_ASK,
        RefusalKind::Unauthenticated => CODE_UNAUTHENTICATED,
        RefusalKind::Unavailable => CODE_UNAVAILABLE,
    }
}

/// The text that a person or a model reads.
fn told(refusal: &Refusal) -> String {
    let ids: Vec<&str> = refusal.reasons().iter().map(|told| told.id.as_str()).collect();
    let mut text = format!("{} ({})", refusal.message(), ids.join(", "));
    if let Some(approval) = refusal.approval() {
        text.push_str(&format!(
            ". Approval `{}` by {} of {} is needed before {}: retry the same call after approval",
            approval.id,
            approval.count,
            approval.approvers.join(", "),
            approval.expires,
        ));
    }
    text
}

/// What `data.lictor` holds.
fn details(refusal: &Refusal) -> Value {
    let reasons: Vec<Value> = refusal
        .reasons()
        .iter()
        .map(|told| json!({ "id": told.id, "message": told.message }))
        .collect();
    json!({
        "reasons": reasons,
        "decision_id": refusal.decision_id(),
        "call_id": refusal.call_id(),
        "retry_after_ms": refusal.retry_after_ms(),
        "executed": refusal.executed(),
        "approval": refusal.approval(),
    })
}

#[cfg(test)]
mod tests {
    use lictor_pep_core::Challenge;
    use lictor_proto::decision::{Approval, Decision, Effect, Reason};

    use super::*;

    fn settings(denials: Denials) -> Settings {
        Settings { denials, metadata_url: "http://h/.well-known/x".into() }
    }

    fn bounce(refusal: Refusal, tool_call: bool, era: Era) -> Bounce {
        let code = code_of(refusal.kind());
        Bounce { tool_call, era, fault: false, ..Bounce::new(refusal, code).answering(Some("7")) }
    }

    fn parsed(bounce: &Bounce, denials: Denials) -> Value {
        serde_json::from_str(&bounce.message(&settings(denials))).unwrap()
    }

    #[test]
    fn codes_are_outside_of_the_reserved_range() {
        let kinds = [
            RefusalKind::Deny,
            RefusalKind::Ask,
            RefusalKind::Unauthenticated,
            RefusalKind::Unavailable,
        ];
        for kind in kinds {
            assert!(!(-32768..=-32000).contains(&code_of(kind)));
        }
    }

    #[test]
    fn an_ask_says_what_to_do() {
        let mut decision = Decision::denied("d", "c", Reason::new("expense.manager", "over 500"));
        decision.effect = Effect::Ask;
        decision.approval = Some(Approval {
            id: "ap-1".into(),
            expires: "2026-01-01T00:00:00Z".into(),
            approvers: vec!["bob".into()],
            count: 1,
        });
        let bounce = bounce(Refusal::of_decision(&decision), true, Era::Legacy);
        let value = parsed(&bounce, Denials::Error);
        assert_eq!(value["error"]["code"], CODE_ASK);
        assert_eq!(value["error"]["data"]["lictor"]["approval"]["id"], "ap-1");
        assert_eq!(value["error"]["data"]["lictor"]["reasons"][0]["id"], "expense.manager");
        let message = value["error"]["message"].as_str().unwrap();
        assert!(message.contains("retry the same call after approval"), "{message}");
    }

    #[test]
    fn a_denied_tool_call_can_be_a_result() {
        let refusal = Refusal::new("mail.external", "not outside");
        let modern = bounce(refusal.clone(), true, Era::Modern);
        let value = parsed(&modern, Denials::ToolResult);
        assert_eq!((&value["result"]["isError"], &value["id"]), (&json!(true), &json!(7)));
        assert_eq!(value["result"]["resultType"], "complete");
        let list = bounce(refusal, false, Era::Legacy);
        assert_eq!(parsed(&list, Denials::ToolResult)["error"]["code"], CODE_DENY);
    }

    #[test]
    fn statuses_and_challenges() {
        let setting = settings(Denials::Error);
        let missing = Refusal::unauthenticated("token_missing", "no token");
        let response = Bounce::bodiless(missing).response(&setting);
        assert_eq!(response.status(), 401);
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert_eq!(challenge, "Bearer resource_metadata=\"http://h/.well-known/x\"");
        let expired = Refusal::unauthenticated("token_expired", "old");
        let response = bounce(expired, true, Era::Legacy).response(&setting);
        assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
        let stale = Refusal::unauthenticated("dpop_nonce_wrong", "old")
            .with_challenge(Challenge::Nonce("n-1".to_owned()));
        let response = bounce(stale, true, Era::Legacy).response(&setting);
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.starts_with("DPoP error=\"use_dpop_nonce\""), "{challenge}");
        assert_eq!(response.headers()["dpop-nonce"], "n-1");
        let down = Refusal::new(reason::PDP_UNAVAILABLE, "down");
        assert_eq!(bounce(down, true, Era::Legacy).response(&setting).status(), 503);
        let no = Refusal::new("no", "no");
        assert_eq!(bounce(no.clone(), true, Era::Legacy).response(&setting).status(), 200);
        assert_eq!(Bounce::bodiless(no).response(&setting).status(), 403);
    }

    #[test]
    fn an_unknown_method_is_404_in_the_modern_era_only() {
        let setting = settings(Denials::Error);
        let unknown = Bounce::new(Refusal::new(reason::METHOD_UNKNOWN, "?"), -32601);
        let legacy = unknown.clone().answering(Some("1"));
        assert_eq!(legacy.response(&setting).status(), 200);
        assert_eq!(
            unknown.answering(Some("1")).in_era(Era::Modern).response(&setting).status(),
            404
        );
    }
}
