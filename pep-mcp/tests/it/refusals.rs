//! What does not go through, and how the caller is told.

use lictor_pep_mcp::refusal::{CODE_ASK, CODE_DENY, CODE_UNAUTHENTICATED, META_REFUSAL};
use lictor_pep_mcp::{Config, Denials};
use lictor_proto::decision::ObligationKind;

use crate::oracle::{Oracle, allow, ask, deny, drawing, limited, oblige};
use crate::rig::{Rig, call, outcomes};
use crate::server::{json, said};

#[tokio::test]
async fn a_denial_is_an_error_without_the_operators_details() {
    let rig = Rig::start(Oracle::new(|call| deny(call, "mail.external")), |_| json("{}")).await;
    let got = rig.post(call("send", "{}")).await;
    assert_eq!((got.status.as_u16(), got.code()), (200, CODE_DENY));
    assert_eq!(got.json()["id"], 1);
    assert_eq!(got.reasons(), "mail.external");
    let lictor = got.lictor();
    assert_eq!(lictor["decision_id"], "decision-1");
    assert_eq!(lictor["executed"], false);
    assert_eq!(lictor["call_id"], rig.oracle.calls()[0].call_id.as_str());
    assert!(!got.text().contains("FOR-OPERATORS-ONLY"));
    assert!(rig.server.seen().is_empty());
    assert_eq!(outcomes(&rig.stop().await), ["denied"]);
}

#[tokio::test]
async fn a_denial_can_be_a_tool_result() {
    let change = |config: &mut Config| config.denials = Denials::ToolResult;
    let oracle = Oracle::new(|call| deny(call, "mail.external"));
    let rig = Rig::start_with(oracle, |_| json("{}"), change).await;
    let result = rig.post(call("send", "{}")).await.json()["result"].clone();
    assert_eq!(result["isError"], true);
    assert_eq!(result["_meta"][META_REFUSAL]["reasons"][0]["id"], "mail.external");
    let list = rig.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert_eq!(list.code(), CODE_DENY);
}

#[tokio::test]
async fn an_ask_names_the_approval() {
    let rig = Rig::start(Oracle::new(ask), |_| json("{}")).await;
    let got = rig.post(call("create", r#"{"amount":900}"#)).await;
    assert_eq!(got.code(), CODE_ASK);
    let approval = got.lictor()["approval"].clone();
    assert_eq!((&approval["id"], &approval["count"]), (&"approval-1".into(), &1.into()));
    assert_eq!(approval["approvers"][0], "bob@example.com");
    assert!(got.text().contains("retry the same call after approval"));
    assert!(rig.server.seen().is_empty());
    assert_eq!(outcomes(&rig.stop().await), ["asked"]);
}

#[tokio::test]
async fn a_limit_says_when_to_come_back() {
    let rig = Rig::start(Oracle::new(limited), |_| json("{}")).await;
    let got = rig.post(call("create", "{}")).await;
    assert_eq!((got.code(), got.reasons().as_str()), (CODE_DENY, "limit.team"));
    assert_eq!(got.lictor()["retry_after_ms"], 2_500);
    assert_eq!(got.headers["retry-after"], "3");
    assert_eq!(got.headers["ratelimit"], "\"team\";r=0;t=3");
}

#[tokio::test]
async fn an_allowed_answer_tells_of_its_limits_too() {
    let rig = Rig::start(Oracle::new(drawing), |_| {
        json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}"#)
    })
    .await;
    let got = rig.post(call("create", "{}")).await;
    assert_eq!(got.headers["ratelimit-policy"], "\"team.calls\";q=10");
    assert_eq!(got.headers["ratelimit"], "\"team.calls\";r=9");
    assert!(!got.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn without_a_good_credential_there_is_a_challenge() {
    let rig = Rig::start(Oracle::new(allow), |_| json("{}")).await;
    let cases =
        [("", "token_missing"), ("Basic abc", "token_missing"), ("Bearer lictor_x_y", "api_key")];
    for (value, id) in cases {
        let got = rig.post_with(call("send", "{}"), &[("authorization", value)]).await;
        assert_eq!((got.status.as_u16(), got.code()), (401, CODE_UNAUTHENTICATED), "{value}");
        assert!(got.reasons().starts_with(id) || got.reasons().starts_with("token_"), "{value}");
        let challenge = got.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("resource_metadata=\"http://"), "{challenge}");
        assert!(challenge.contains("/.well-known/oauth-protected-resource/mcp\""), "{challenge}");
    }
    assert!(rig.oracle.calls().is_empty() && rig.server.seen().is_empty());
    assert_eq!(outcomes(&rig.stop().await), ["denied", "denied", "denied"]);
}

#[tokio::test]
async fn a_stronger_token_can_be_asked_for() {
    let rule = |call: &_| {
        let mut answer = deny(call, "scope.missing")?;
        oblige(&mut answer, ObligationKind::StepUp, r#"{"scopes":["expense:write"]}"#);
        Ok(answer)
    };
    let rig = Rig::start(Oracle::new(rule), |_| json("{}")).await;
    let got = rig.post(call("create", "{}")).await;
    assert_eq!(got.status, 403);
    let challenge = got.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"expense:write\""));
}

#[tokio::test]
async fn bodies_that_two_readers_could_read_differently_go_nowhere() {
    let rig = Rig::start(Oracle::new(allow), |_| json("{}")).await;
    let cases = [
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600, "batch_refused"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            400,
            -32700,
            "duplicate_key",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\ud800"}}"#,
            400,
            -32700,
            "lone_surrogate",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":99999999999999999999}}"#,
            400,
            -32700,
            "number_inexact",
        ),
        ("{", 400, -32700, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/steal"}"#, 200, -32601, "method_unknown"),
    ];
    for (body, status, code, reason) in cases {
        let got = rig.post(body).await;
        assert_eq!((got.status.as_u16(), got.code()), (status, code), "{body}");
        assert_eq!(got.reasons(), reason, "{body}");
    }
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let deep = rig
        .post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{deep}}}}}"#))
        .await;
    assert_eq!(deep.reasons(), "too_deep");
    assert!(rig.oracle.calls().is_empty() && rig.server.seen().is_empty());
    let records = rig.stop().await;
    assert_eq!(records.len(), cases.len() + 1);
    assert!(records.iter().all(|record| record["outcome"] == "denied"));
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    let change = |config: &mut Config| config.max_body_bytes = 200;
    let rig = Rig::start_with(Oracle::new(allow), |_| json(said("ok")), change).await;
    let sized = |bytes: usize| {
        let short = call("t", r#"{"x":""}"#).len();
        call("t", &format!(r#"{{"x":"{}"}}"#, "a".repeat(bytes - short)))
    };
    assert_eq!(rig.post(sized(200)).await.text(), said("ok"));
    let got = rig.post(sized(201)).await;
    assert_eq!((got.status.as_u16(), got.reasons().as_str()), (413, "body_too_large"));
    assert_eq!(rig.server.seen().len(), 1);
}

#[tokio::test]
async fn what_this_point_cannot_carry_out_is_denied() {
    let rule = |call: &_| {
        let mut answer = allow(call)?;
        oblige(&mut answer, ObligationKind::Route, r#"{"to":"other"}"#);
        Ok(answer)
    };
    let rig = Rig::start(Oracle::new(rule), |_| json("{}")).await;
    assert_eq!(rig.post(call("t", "{}")).await.reasons(), "obligation_unknown");
    assert!(rig.server.seen().is_empty());
}

#[tokio::test]
async fn web_pages_do_not_reach_the_listener() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for header in [("host", "evil.example"), ("origin", "http://evil.example")] {
        let got = rig.post_with(ping, &[header]).await;
        assert_eq!((got.status.as_u16(), got.reasons().as_str()), (403, "origin_refused"));
    }
    let local = rig.post_with(ping, &[("origin", "http://localhost:3000")]).await;
    assert_eq!(local.status, 200);
    let text = rig.post_with(ping, &[("content-type", "text/plain")]).await;
    assert_eq!(text.reasons(), "body_invalid");
    assert_eq!(rig.server.seen().len(), 1);
    assert!(!rig.server.seen()[0].headers.contains_key("origin"));
}

#[tokio::test]
async fn health_and_metadata_need_no_credential() {
    let change = |config: &mut Config| {
        config.public_url = Some("https://mcp.example".into());
        config.authorization_servers = vec!["https://issuer.example".into()];
    };
    let rig = Rig::start_with(Oracle::new(allow), |_| json("{}"), change).await;
    assert_eq!(rig.get("/healthz").await.text(), "ok");
    assert_eq!(rig.get("/readyz").await.text(), "ready");
    for path in
        ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
    {
        let metadata = rig.get(path).await.json();
        assert_eq!(metadata["resource"], "https://mcp.example/mcp");
        assert_eq!(metadata["authorization_servers"][0], "https://issuer.example");
    }
    let one = rig.get("/.well-known/oauth-protected-resource/mcp/accounting").await.json();
    assert_eq!(one["resource"], "https://mcp.example/mcp/accounting");
    let jwks = rig.get("/.well-known/jwks.json").await.json();
    assert_eq!(jwks["keys"][0]["kty"], "OKP");
    rig.audit.close("test").await.unwrap();
    assert_eq!(rig.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn metrics_need_a_credential() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    assert_eq!(rig.get("/metrics").await.status, 401);
    rig.post(call("t", "{}")).await;
    let request = rig.request(axum::http::Method::GET, "/metrics", &[], "");
    let got = rig.send(request).await;
    assert!(
        got.text().contains("lictor_pep_deeds_total{outcome=\"forwarded\"} 1"),
        "{}",
        got.text()
    );
}
