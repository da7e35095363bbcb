//! Legacy sessions belong to who made them.

use axum::http::{HeaderValue, Method};
use lictor_proto::call::Call;

use crate::oracle::{Oracle, allow, deny};
use crate::rig::{Rig, call, outcomes};
use crate::server::{Seen, json, said};

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;

fn with_session(_: &Seen) -> axum::http::Response<axum::body::Body> {
    let mut response = json(said("ok"));
    response.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
    response
}

#[tokio::test]
async fn a_session_is_for_its_maker_only() {
    let rig = Rig::start(Oracle::new(allow), with_session).await;
    let early = rig.post_with(call("t", "{}"), &[("mcp-session-id", "s-1")]).await;
    assert_eq!(early.status, 404, "nobody made it yet");
    let made = rig.post(INITIALIZE).await;
    assert_eq!(made.headers["mcp-session-id"], "s-1");
    let mine = rig.post_with(call("t", "{}"), &[("mcp-session-id", "s-1")]).await;
    assert_eq!(mine.text(), said("ok"));
    assert_eq!(rig.server.seen().pop().unwrap().headers["mcp-session-id"], "s-1");
    let bob = format!("Bearer {}", rig.other_key);
    let stolen = [("mcp-session-id", "s-1"), ("authorization", bob.as_str())];
    let got = rig.post_with(call("t", "{}"), &stolen).await;
    assert_eq!((got.status.as_u16(), got.reasons().as_str()), (404, "session_unknown"));
    let ended =
        rig.send(rig.request(Method::DELETE, "/mcp", &[("mcp-session-id", "s-1")], "")).await;
    assert_eq!(ended.status, 200);
    assert_eq!(rig.server.seen().pop().unwrap().method, Method::DELETE);
    let late = rig.post_with(call("t", "{}"), &[("mcp-session-id", "s-1")]).await;
    assert_eq!(late.status, 404);
}

#[tokio::test]
async fn somebody_elses_session_cannot_ride_along_with_ones_own() {
    let rig = Rig::start(Oracle::new(allow), with_session).await;
    rig.post(INITIALIZE).await;
    for (first, second) in [("s-1", "s-2"), ("s-2", "s-1"), ("s-1", "s-1")] {
        let mut request =
            rig.request(Method::POST, "/mcp", &[("mcp-session-id", first)], call("t", "{}"));
        request.headers_mut().append("mcp-session-id", second.parse().unwrap());
        let got = rig.send(request).await;
        assert_eq!((got.status.as_u16(), got.reasons().as_str()), (404, "session_unknown"));
    }
    assert_eq!(rig.server.seen().len(), 1);
}

#[tokio::test]
async fn a_handle_that_was_opened_comes_back_with_the_legacy_session() {
    let rule = |call: &Call| {
        let mut answer = allow(call)?;
        if call.session.is_none() {
            answer.hints.session_handle = Some("signed-handle".into());
        }
        Ok(answer)
    };
    let rig = Rig::start(Oracle::new(rule), with_session).await;
    let made = rig.post(INITIALIZE).await;
    assert_eq!(made.headers["lictor-session"], "signed-handle");
    rig.post_with(call("t", "{}"), &[("mcp-session-id", "s-1")]).await;
    let asked = rig.oracle.calls().pop().unwrap();
    assert_eq!(asked.session.unwrap().handle, "signed-handle");
    assert!(!rig.server.seen().pop().unwrap().headers.contains_key("lictor-session"));
}

#[tokio::test]
async fn a_handle_in_the_body_is_read_and_not_forwarded() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"dev.lictor/session":"HANDLE","progressToken":1}}}"#;
    assert_eq!(rig.post(body).await.text(), said("ok"));
    assert_eq!(rig.oracle.calls()[0].session.as_ref().unwrap().handle, "HANDLE");
    let sent = rig.server.seen().pop().unwrap().body;
    assert_eq!(sent, body.replace(r#""dev.lictor/session":"HANDLE","#, ""));
}

const SESSIONS: &str = "/lictor/v1/sessions";

#[tokio::test]
async fn a_session_is_opened_by_a_decision_and_recorded() {
    let rule = |call: &Call| {
        let mut answer = allow(call)?;
        answer.hints.session_handle = Some("signed-handle".into());
        Ok(answer)
    };
    let rig = Rig::start(Oracle::new(rule), with_session).await;
    let opened = rig.send(rig.request(Method::POST, SESSIONS, &[], "")).await;
    assert_eq!(opened.headers["lictor-session"], "signed-handle");
    assert_eq!(opened.json()["session"], "signed-handle");
    let asked = rig.oracle.calls().pop().unwrap();
    assert_eq!(asked.action.name, "session/open");
    assert_eq!(asked.resource.unwrap().id, asked.agent.unwrap().id);
    assert!(rig.server.seen().is_empty(), "nothing is forwarded");
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "forwarded"]);
}

#[tokio::test]
async fn a_session_is_renewed_by_opening_it_with_its_handle() {
    let rule = |call: &Call| match call.session.as_ref().map(|session| session.handle.as_str()) {
        Some("first") => {
            let mut answer = allow(call)?;
            answer.hints.session_handle = Some("second".into());
            Ok(answer)
        }
        _ => deny(call, "session_unknown"),
    };
    let rig = Rig::start(Oracle::new(rule), with_session).await;
    let named = async |handles: &[&str]| {
        let mut request = rig.request(Method::POST, SESSIONS, &[], "");
        for handle in handles {
            let value = HeaderValue::from_bytes(handle.as_bytes()).unwrap();
            request.headers_mut().append("lictor-session", value);
        }
        rig.send(request).await
    };
    let renewed = named(&["first"]).await;
    assert_eq!(renewed.headers["lictor-session"], "second");
    let asked = rig.oracle.calls().pop().unwrap();
    assert_eq!((&*asked.action.name, &*asked.session.unwrap().handle), ("session/open", "first"));
    // What is no good handle does not pass for none: it opens nothing.
    for wrong in [["over"].as_slice(), &["é"], &["first", "first"], &["first", "other"]] {
        let refused = named(wrong).await;
        assert_eq!((refused.status.as_u16(), refused.reasons().as_str()), (403, "session_unknown"));
        assert!(!refused.headers.contains_key("lictor-session"), "{wrong:?}");
        assert!(rig.oracle.calls().pop().unwrap().session.is_some(), "{wrong:?}");
    }
    assert!(rig.server.seen().is_empty(), "nothing is forwarded");
}

#[tokio::test]
async fn a_session_that_is_refused_or_not_made_is_not_opened() {
    let denied = Rig::start(Oracle::new(|call| deny(call, "no_permit")), with_session).await;
    let refused = denied.send(denied.request(Method::POST, SESSIONS, &[], "")).await;
    assert_eq!((refused.status.as_u16(), refused.reasons().as_str()), (403, "no_permit"));
    let without = [("authorization", "")];
    let nobody = denied.send(denied.request(Method::POST, SESSIONS, &without, "")).await;
    assert_eq!((nobody.status.as_u16(), nobody.reasons().as_str()), (401, "token_missing"));
    let empty = Rig::start(Oracle::new(allow), with_session).await;
    let none = empty.send(empty.request(Method::POST, SESSIONS, &[], "")).await;
    assert_eq!(none.reasons(), "session_unknown");
    assert!(!none.headers.contains_key("lictor-session"));
}
