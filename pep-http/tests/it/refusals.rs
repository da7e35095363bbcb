//! What does not pass, and what the caller is told.

use http::Method;
use lictor_proto::decide::{DecideError, Outcome};
use lictor_proto::decision::{Approval, Effect, LimitState, ObligationKind};
use serde_json::Value;

use crate::decide::{Fake, allow, deny, oblige};
use crate::provider::{Script, json};
use crate::rig::{Answer, Rig, answered, hello, outcomes};

async fn rig(decide: std::sync::Arc<Fake>) -> Rig {
    Rig::start(decide, json(&answered("never seen"))).await
}

/// The error, once it is certain that nothing was forwarded.
async fn refused(rig: Rig, answer: &Answer) -> Value {
    assert!(rig.provider.seen().is_empty());
    let records = rig.stop().await;
    assert!(!outcomes(&records).contains(&"allowed"), "{records:?}");
    answer.json()["error"].clone()
}

#[tokio::test]
async fn a_denial_is_told_without_details() {
    let rig = rig(Fake::new(|call| Ok(deny(call, "chat.topic", "not that topic")))).await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.text().contains("DETAIL-FOR-OPERATORS"));
    let call_id = rig.decide.calls()[0].call_id.clone();
    let error = refused(rig, &answer).await;
    assert_eq!(error["code"], "chat.topic");
    assert_eq!(error["message"], "not that topic");
    assert_eq!(error["param"], Value::Null);
    let lictor = &error["lictor"];
    assert_eq!(lictor["reasons"][0]["id"], "chat.topic");
    assert_eq!(lictor["decision_id"], "decision-request");
    assert_eq!(lictor["call_id"], call_id);
    assert_eq!(lictor["executed"], false);
}

#[tokio::test]
async fn an_approval_that_is_needed_is_named() {
    let rig = rig(Fake::new(|call| {
        let mut answer = deny(call, "chat.manager", "a manager must agree");
        answer.decision.effect = Effect::Ask;
        answer.decision.approval = Some(Approval {
            id: "a-1".to_owned(),
            expires: "2030-01-01T00:00:00Z".to_owned(),
            approvers: vec!["bob@example.com".to_owned()],
            count: 1,
        });
        Ok(answer)
    }))
    .await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.status, 403);
    let error = refused(rig, &answer).await;
    assert_eq!(error["lictor"]["approval"]["id"], "a-1");
}

#[tokio::test]
async fn a_limit_is_429_and_says_when() {
    let rig = rig(Fake::new(|call| {
        let mut answer = deny(call, "limit.team-tokens", "no room");
        answer.decision.limits.push(LimitState {
            id: "team-tokens".to_owned(),
            reserved: 0,
            remaining: 12,
            reset_at: String::new(),
            retry_after_ms: 2001,
        });
        Ok(answer)
    }))
    .await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(answer.headers["ratelimit"], "\"team-tokens\";r=12;t=3");
    let error = refused(rig, &answer).await;
    assert_eq!(error["type"], "rate_limit_error");
    assert_eq!(error["lictor"]["retry_after_ms"], 2001);
}

#[tokio::test]
async fn nobody_unknown_gets_anywhere() {
    for path in ["/v1/chat/completions", "/v1/models", "/v1/unheard-of"] {
        for credential in [None, Some("Bearer wrong"), Some("Basic YTpi")] {
            let rig = rig(Fake::new(|call| Ok(allow(call)))).await;
            let method = if path == "/v1/models" { Method::GET } else { Method::POST };
            let mut request = rig.request(method, path, hello());
            request.headers_mut().remove("authorization");
            if let Some(credential) = credential {
                request.headers_mut().insert("authorization", credential.parse().unwrap());
            }
            let answer = rig.send(request).await;
            assert_eq!(answer.status, 401, "{path} {credential:?}");
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            let silent = answer.code() == "token_missing";
            let expected = if silent { "Bearer" } else { "Bearer error=\"invalid_token\"" };
            assert_eq!(challenge, expected, "{path} {credential:?}");
            assert!(rig.decide.calls().is_empty());
            refused(rig, &answer).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_in_the_table_is_not_served() {
    for (method, path) in [
        (Method::POST, "/v1/embeddings"),
        (Method::POST, "/v1/responses"),
        (Method::GET, "/v1/chat/completions"),
        (Method::DELETE, "/v1/models"),
        (Method::POST, "/v1/chat/completions/"),
        (Method::POST, "/v1//chat/completions"),
        (Method::GET, "/v1/models/gpt-5"),
        (Method::POST, "/"),
    ] {
        let rig = rig(Fake::new(|call| Ok(allow(call)))).await;
        let answer = rig.send(rig.request(method, path, hello())).await;
        assert_eq!(answer.status, 404, "{path}");
        let error = refused(rig, &answer).await;
        assert_eq!(error["code"], "method_unknown");
    }
}

#[tokio::test]
async fn without_a_decision_nothing_passes() {
    for why in ["down", "hang"] {
        let rig = rig(Fake::new(move |_| Err(DecideError::Unavailable(why.to_owned())))).await;
        let answer = rig.chat(hello()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "pdp_unavailable".to_owned()));
        assert_eq!(rig.decide.settlement().await.outcome, Outcome::NotSent);
        refused(rig, &answer).await;
    }
}

#[tokio::test]
async fn without_audit_nothing_passes() {
    let rig = rig(Fake::new(|call| Ok(allow(call)))).await;
    rig.audit.close("test").await.unwrap();
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "audit_unavailable".to_owned()));
    assert_eq!(rig.decide.settlement().await.outcome, Outcome::NotSent);
    assert!(rig.provider.seen().is_empty());
}

#[tokio::test]
async fn bodies_are_bounded_at_the_edge() {
    let limit = hello().len();
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig = Rig::start_with(decide, json(&answered("hi")), |config, _| {
        config.max_body_bytes = limit;
    })
    .await;
    assert_eq!(rig.chat(hello()).await.status, 200);
    let answer = rig.chat(format!("{} ", hello())).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "body_too_large".to_owned()));
    assert_eq!(rig.provider.seen().len(), 1);
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "forwarded", "denied"]);
}

#[tokio::test]
async fn bodies_that_can_be_read_in_two_ways_are_refused() {
    for (body, id) in [
        (
            r#"{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}"#,
            "duplicate_key",
        ),
        (
            r#"{"model":"a","\u006dodel":"b","messages":[{"role":"user","content":"x"}]}"#,
            "duplicate_key",
        ),
        (r#"{"model":"a","Model":"b","messages":[{"role":"user","content":"x"}]}"#, "body_invalid"),
        (
            r#"{"model":"a","seed":1e999,"messages":[{"role":"user","content":"x"}]}"#,
            "number_inexact",
        ),
        (r#"{"model":"a","messages":[{"role":"user","content":"\ud800"}]}"#, "lone_surrogate"),
        ("not json", "body_invalid"),
        ("", "body_invalid"),
    ] {
        let rig = rig(Fake::new(|call| Ok(allow(call)))).await;
        let answer = rig.chat(body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, id.to_owned()), "{body}");
        assert!(rig.decide.calls().is_empty());
        refused(rig, &answer).await;
    }
}

#[tokio::test]
async fn an_obligation_that_cannot_be_carried_out_denies() {
    for (kind, properties, id) in [
        (ObligationKind::Spotlight, "{}", "obligation_unknown"),
        (ObligationKind::StepUp, "{}", "obligation_unknown"),
        (ObligationKind::Route, "{}", "obligation_unknown"),
        (ObligationKind::SetHeader, r#"{"name":"authorization","value":"x"}"#, "obligation_failed"),
        (ObligationKind::Mask, r#"{"pointers":["/nowhere"]}"#, "obligation_failed"),
        (ObligationKind::CapTokens, "{}", "obligation_failed"),
    ] {
        let rig = rig(Fake::new(move |call| {
            let mut answer = allow(call);
            oblige(&mut answer, kind, properties);
            Ok(answer)
        }))
        .await;
        let answer = rig.chat(hello()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, id.to_owned()), "{kind:?}");
        assert_eq!(rig.decide.settlement().await.outcome, Outcome::NotSent);
        refused(rig, &answer).await;
    }
}

#[tokio::test]
async fn a_decision_for_another_call_is_none() {
    let rig = rig(Fake::new(|call| {
        let mut answer = allow(call);
        answer.decision.request_digest = "sha256:00".to_owned();
        Ok(answer)
    }))
    .await;
    let answer = rig.chat(hello()).await;
    assert_eq!(answer.status, 503);
    refused(rig, &answer).await;
}

#[tokio::test]
async fn a_provider_that_is_not_there_costs_nothing() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", gone.local_addr().unwrap());
    drop(gone);
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig = Rig::start_with(decide, Script::Never, |config, _| {
        for upstream in &mut config.upstreams {
            upstream.base_url.clone_from(&url);
        }
    })
    .await;
    let answer = rig.chat(hello()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "upstream_unavailable".to_owned()));
    assert_eq!(rig.decide.settlement().await.outcome, Outcome::NotSent);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "not_sent"]);
}
