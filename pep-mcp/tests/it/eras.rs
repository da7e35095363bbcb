//! Both halves of the protocol's history on one endpoint.

use axum::http::Method;

use crate::oracle::{Oracle, allow};
use crate::rig::Rig;
use crate::server::{answer, json, said};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

fn modern(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{META}{params}}}}}"#)
}

#[tokio::test]
async fn a_modern_call_goes_through_with_its_headers() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let body = modern("tools/call", r#","name":"create","arguments":{"region":"eu"}"#);
    let headers = [
        VERSION,
        ("mcp-method", "tools/call"),
        ("mcp-name", "create"),
        ("mcp-param-region", "eu"),
        ("mcp-session-id", "left over"),
    ];
    let got = rig.post_with(body.clone(), &headers).await;
    assert_eq!(got.text(), said("ok"));
    let seen = rig.server.seen().pop().unwrap();
    assert_eq!(seen.body, body);
    assert_eq!(seen.headers["mcp-name"], "create");
    assert_eq!(seen.headers["mcp-param-region"], "eu");
    assert!(!seen.headers.contains_key("mcp-session-id"));
    assert_eq!(rig.oracle.calls()[0].context.protocol, "mcp/2026-07-28");
}

#[tokio::test]
async fn headers_that_disagree_with_the_body_are_refused() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let body = modern("tools/call", r#","name":"create""#);
    let lies =
        [VERSION, ("mcp-method", "tools/call"), ("mcp-name", "create"), ("mcp-param-a", "b")];
    let cases: [&[(&str, &str)]; 5] = [
        &lies,
        &[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "delete")],
        &[VERSION, ("mcp-method", "ping"), ("mcp-name", "create")],
        &[VERSION, ("mcp-name", "create")],
        &[("mcp-method", "tools/call"), ("mcp-name", "create")],
    ];
    for headers in cases {
        let got = rig.post_with(body.clone(), headers).await;
        assert_eq!((got.status.as_u16(), got.code()), (400, -32020), "{headers:?}");
        assert_eq!(got.reasons(), "header_mismatch");
    }
    assert!(rig.server.seen().is_empty());
}

#[tokio::test]
async fn modern_refusals_have_their_own_statuses() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let unknown =
        rig.post_with(modern("tools/steal", ""), &[VERSION, ("mcp-method", "tools/steal")]).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, -32601));
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let future = rig.post_with(ping, &[("mcp-protocol-version", "2031-01-01")]).await;
    assert_eq!((future.status.as_u16(), future.code()), (400, -32022));
    assert_eq!(future.json()["error"]["data"]["requested"], "2031-01-01");
    for method in [Method::GET, Method::DELETE] {
        let got = rig.send(rig.request(method, "/mcp", &[VERSION], "")).await;
        assert_eq!(got.status, 405);
    }
    assert!(rig.server.seen().is_empty());
}

#[tokio::test]
async fn a_legacy_server_says_so_to_a_modern_client() {
    let refusal = r#"{"error":{"code":-32000,"message":"Server not initialized"},"id":null}"#;
    let rig =
        Rig::start(Oracle::new(allow), move |_| answer(400, "application/json", refusal)).await;
    let body = modern("server/discover", "");
    let got = rig.post_with(body, &[VERSION, ("mcp-method", "server/discover")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (400, refusal));
    assert_eq!(rig.oracle.calls()[0].action.name, "mcp/connect");
}

#[tokio::test]
async fn plumbing_is_connecting_to_the_server() {
    let reply = |seen: &crate::server::Seen| {
        let notified = String::from_utf8_lossy(&seen.body).contains("notifications/");
        if notified { answer(202, "text/plain", "") } else { json(said("ok")) }
    };
    let rig = Rig::start(Oracle::new(allow), reply).await;
    for method in ["initialize", "ping", "server/discover"] {
        let got = rig.post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#)).await;
        assert_eq!(got.status, 200, "{method}");
    }
    let note = rig.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!((note.status.as_u16(), note.text()), (202, ""));
    let answered = rig.post(r#"{"jsonrpc":"2.0","id":9,"result":{"roots":[]}}"#).await;
    assert_eq!(answered.status, 200);
    for call in rig.oracle.calls() {
        assert_eq!(call.action.name, "mcp/connect");
        assert_eq!(call.resource.unwrap().id, "accounting");
    }
}

#[tokio::test]
async fn prompts_and_resources_are_resources_of_the_server() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let prompt = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p","arguments":{"a":"x"}}}"#;
    let resource =
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a/b"}}"#;
    for body in [prompt, resource] {
        assert_eq!(rig.post(body).await.text(), said("ok"));
    }
    let calls = rig.oracle.calls();
    let named = |index: usize| {
        let resource = calls[index].resource.clone().unwrap();
        (calls[index].action.name.clone(), resource.kind.as_str(), resource.id)
    };
    assert_eq!(named(0), ("prompts/get".into(), "prompt", "accounting/p".into()));
    assert_eq!(calls[0].context.args.text(), r#"{"a":"x"}"#);
    assert_eq!(named(1), ("resources/read".into(), "resource", "accounting/file:///a/b".into()));
}
