use axum::http::{HeaderName, HeaderValue};

use super::*;
use crate::config::{ServerConfig, Servers};

fn server() -> Server {
    let config = ServerConfig {
        id: "files".into(),
        url: "http://127.0.0.1:1/mcp".into(),
        ..ServerConfig::default()
    };
    Servers::new(&[config], None).unwrap().select(None).unwrap().clone()
}

fn header_map(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn legacy(body: &str) -> Result<Inbound, Bounce> {
    read(&HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()), &server())
}

fn modern(body: &str, headers: &[(&str, &str)]) -> Result<Inbound, Bounce> {
    read(&header_map(headers), Bytes::copy_from_slice(body.as_bytes()), &server())
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

#[test]
fn a_tool_call_names_its_tool_and_its_texts() {
    let inbound = legacy(
        r#"{"jsonrpc":"2.0","id":"a\u0041","method":"tools/call",
            "params":{"name":"read","arguments":{"path":"/etc","deep":[{"x":"y"}]}}}"#,
    )
    .unwrap();
    assert_eq!(inbound.era, Era::Legacy);
    assert_eq!(inbound.id(), Some(r#""aA""#));
    let ip = "10.0.0.1".into();
    let request = inbound.request(&server(), &HeaderMap::new(), ip, Proof::none());
    assert_eq!(
        (request.action.as_str(), request.resource.id.as_str()),
        ("tools/call", "files/read")
    );
    assert_eq!(request.args.text(), r#"{"path":"/etc","deep":[{"x":"y"}]}"#);
    let pointers: Vec<_> = request.content.iter().map(|c| c.pointer.as_str()).collect();
    assert_eq!(pointers, ["/path", "/deep/0/x"]);
    assert_eq!(request.protocol, "mcp/2025-03-26");
    assert_eq!(request.targets, ["http://127.0.0.1:1/mcp"]);
}

#[test]
fn everything_ambiguous_is_refused() {
    let cases = [
        ("", "body_invalid"),
        ("[]", "batch_refused"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "batch_refused"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "duplicate_key"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#, "duplicate_key"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "body_invalid"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "body_invalid"),
        (r#"{"id":1,"method":"ping"}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, "body_invalid"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","Arguments":{}}}"#,
            "body_invalid",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":[]}}"#,
            "body_invalid",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}"#, "body_invalid"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "body_invalid"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"n":1.00000000000000000001}}}"#,
            "number_inexact",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/callx"}"#, "method_unknown"),
        (r#"{"jsonrpc":"2.0","method":"notifications/unheard"}"#, "method_unknown"),
    ];
    for (body, id) in cases {
        assert_eq!(legacy(body).unwrap_err().refusal.id(), id, "{body}");
    }
}

#[test]
fn ids_are_bounded() {
    let with = |length: usize| {
        let id = "i".repeat(length);
        legacy(&format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"ping"}}"#))
    };
    assert!(with(MAX_ID_BYTES - 2).is_ok());
    assert!(with(MAX_ID_BYTES - 1).is_err());
}

#[test]
fn the_modern_era_repeats_itself_in_headers() {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{META},"name":"räd"}}}}"#
    );
    let method = ("mcp-method", "tools/call");
    let name = ("mcp-name", "=?base64?csOkZA==?=");
    let good = modern(&body, &[VERSION, method, name]).unwrap();
    assert_eq!((good.era, good.resource_id.as_str()), (Era::Modern, "files/räd"));
    let bad: [&[(&str, &str)]; 7] = [
        &[method, name],
        &[("mcp-protocol-version", "2025-11-25"), method, name],
        &[VERSION, name],
        &[VERSION, method],
        &[VERSION, ("mcp-method", "tools/list"), name],
        &[VERSION, method, ("mcp-name", "=?base64?b3RoZXI=?=")],
        &[VERSION, method, method, name],
    ];
    for headers in bad {
        let bounce = modern(&body, headers).unwrap_err();
        assert_eq!(
            (bounce.refusal.id(), bounce.code),
            ("header_mismatch", HEADER_MISMATCH),
            "{headers:?}"
        );
    }
}

#[test]
fn headers_that_contradict_a_legacy_body_are_refused_too() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
    let bounce = modern(body, &[("mcp-name", "b")]).unwrap_err();
    assert_eq!(bounce.refusal.id(), "header_mismatch");
    assert!(modern(body, &[("mcp-name", "a"), ("mcp-method", "tools/call")]).is_ok());
}

#[test]
fn versions_are_a_closed_set() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for version in LEGACY_VERSIONS {
        assert_eq!(modern(ping, &[("mcp-protocol-version", version)]).unwrap().version, version);
    }
    let unknown = modern(ping, &[("mcp-protocol-version", "2031-01-01")]).unwrap_err();
    assert_eq!(unknown.code, VERSION_UNSUPPORTED);
    let without_meta = modern(ping, &[VERSION]).unwrap_err();
    assert_eq!(without_meta.code, INVALID_PARAMS);
}

#[test]
fn the_session_handle_is_taken_from_the_body_and_out_of_it() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"x":1, "dev.lictor/session":"h"}}}"#;
    let inbound = legacy(body).unwrap();
    assert_eq!(inbound.session.as_deref(), Some("h"));
    let forwarded =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"x":1}}}"#;
    assert_eq!(inbound.bytes, forwarded);
    let twice = modern(body, &[("lictor-session", "other")]).unwrap_err();
    assert_eq!(twice.refusal.id(), "header_mismatch");
}

#[test]
fn what_runs_something_needs_an_id_and_what_notifies_has_none() {
    let call = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#;
    let notice = r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#;
    for body in [call, notice] {
        assert_eq!(legacy(body).unwrap_err().refusal.id(), "body_invalid", "{body}");
    }
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert!(legacy(answer).is_ok());
    assert_eq!(modern(answer, &[VERSION]).unwrap_err().refusal.id(), "body_invalid");
}

#[test]
fn whatever_goes_along_beside_the_arguments_is_inspected() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","further":"f","params":{"name":"n",
        "arguments":{"a":"x"},"_meta":{"k":"m"},"inputResponses":{"r":"i"},"AKIAIOSFODNN7EXAMPLE":1}}"#;
    let inbound = legacy(body).unwrap();
    let texts: Vec<_> = inbound.texts().content.into_iter().map(|part| part.text).collect();
    assert_eq!(texts, ["x", "m", "i", "AKIAIOSFODNN7EXAMPLE", "f"]);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete",
        "params":{"ref":{},"argument":{"name":"n","value":"v"}}}"#;
    let texts: Vec<_> =
        legacy(body).unwrap().texts().content.into_iter().map(|part| part.text).collect();
    assert_eq!(texts, ["n", "v"]);
}

#[test]
fn a_header_that_repeats_an_argument_cannot_say_something_else() {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":
        {{"region":"eu","n":7,"b":true}},{META}}}}}"#
    );
    let with = |value: &str| {
        let named = [VERSION, ("mcp-method", "tools/call"), ("mcp-name", "a")];
        modern(&body, &[&named[..], &[("mcp-param-region", value)]].concat())
    };
    for good in ["eu", "7", "07", "true", "=?base64?ZXU=?="] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in ["us", "", "=?base64?dXM=?=", "=?base64?!?="] {
        assert_eq!(with(bad).unwrap_err().refusal.id(), "header_mismatch", "{bad}");
    }
}

#[test]
fn a_caller_proves_itself_by_headers_and_connection_at_the_configured_place() {
    let request = axum::http::Request::post("/mcp/files?x=1")
        .header("host", "evil.example")
        .header("authorization", "DPoP token")
        .header("dpop", "proof")
        .extension(ClientCertificate::new(b"x"));
    let (head, ()) = request.body(()).unwrap().into_parts();
    let shown = format!("{:?}", proof_of(&head, "https://gate.example"));
    assert!(shown.contains("POST https://gate.example/mcp/files,"), "{shown}");
    assert!(shown.contains("ClientCertificate("), "{shown}");
}

#[test]
fn an_answer_of_a_client_counts_as_connecting() {
    let inbound =
        legacy(r#"{"jsonrpc":"2.0","id":4,"result":{"content":{"text":"said"}}}"#).unwrap();
    assert_eq!((inbound.shape.clone(), inbound.row.action), (Shape::Answer, "mcp/connect"));
    assert_eq!(inbound.texts().content[0].text, "said");
    assert_eq!(inbound.id(), None);
}
