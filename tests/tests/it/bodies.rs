//! What is not understood is refused with its reason, in the answer and in the log, and goes no
//! further; what is understood goes on byte for byte, however odd it looks.

use http::Method;
use lictor_audit::Kind;
use lictor_tests::client::{Answer, MODERN, tool_call};
use serde_json::json;

use crate::rig::Rig;

/// Bytes of the largest body that pep-mcp and pep-http read unless configured otherwise.
const MCP_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const HTTP_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most levels of a body.
const LEVELS_MAX: usize = 64;

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn rpc(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

fn bad_messages() -> Vec<(&'static str, String, &'static str)> {
    let name = r#""name":"get_employee_cost_center""#;
    let args = r#""arguments":{"employee_id":"alice@example.com"}"#;
    vec![
        ("empty", String::new(), "body_invalid"),
        ("cut off", r#"{"jsonrpc":"2.0","id":1"#.into(), "body_invalid"),
        ("not JSON", "tools/call".into(), "body_invalid"),
        ("after the end", format!("{}x", rpc("{}")), "body_invalid"),
        ("a text", r#""tools/call""#.into(), "body_invalid"),
        ("no version", r#"{"id":1,"method":"ping"}"#.into(), "body_invalid"),
        ("another version", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.into(), "body_invalid"),
        ("null id", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.into(), "body_invalid"),
        (
            "a fraction as id",
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.into(),
            "body_invalid",
        ),
        ("method is no text", r#"{"jsonrpc":"2.0","id":1,"method":7}"#.into(), "body_invalid"),
        ("no name", rpc(&format!("{{{args}}}")), "body_invalid"),
        ("params in order", rpc("[1]"), "body_invalid"),
        ("arguments are no object", rpc(&format!("{{{name},\"arguments\":[]}}")), "body_invalid"),
        ("a batch", format!("[{}]", rpc(&format!("{{{name},{args}}}"))), "batch_refused"),
        ("an empty batch", "[]".into(), "batch_refused"),
        (
            "unknown method",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/destroy"}"#.into(),
            "method_unknown",
        ),
        ("a key twice", rpc(&format!("{{{name},{name},{args}}}")), "duplicate_key"),
        (
            "a key twice after unescaping",
            rpc(&format!(r#"{{{name},"n\u0061me":"receipt_ocr",{args}}}"#)),
            "duplicate_key",
        ),
        (
            "a key twice in arguments",
            rpc(&format!(r#"{{{name},"arguments":{{"employee_id":"a","employee_id":"b"}}}}"#)),
            "duplicate_key",
        ),
        (
            "a key in another case",
            rpc(&format!(r#"{{{name},"Name":"receipt_ocr",{args}}}"#)),
            "body_invalid",
        ),
        ("half a character", rpc(r#"{"name":"\ud800"}"#), "lone_surrogate"),
        (
            "too many digits",
            rpc(&format!(r#"{{{name},{args},"x":0.1234567890123456789}}"#)),
            "number_inexact",
        ),
        (
            "too large a number",
            rpc(&format!(r#"{{{name},{args},"x":18446744073709551616}}"#)),
            "number_inexact",
        ),
        ("minus nought", rpc(&format!(r#"{{{name},{args},"x":-0}}"#)), "number_inexact"),
        ("too deep", rpc(&format!(r#"{{{name},"x":{}}}"#, nested(LEVELS_MAX))), "too_deep"),
    ]
}

#[tokio::test]
async fn what_an_mcp_client_must_not_send_goes_no_further() {
    let rig = Rig::start().await;
    let (url, token) = (rig.mcp("accounting"), rig.site.expense());
    for (what, body, id) in bad_messages() {
        let answer = rig.http.post(&url, &token, body).await;
        rig.refused(&answer, id, what);
        assert!(answer.json()["error"]["code"].is_i64(), "{what}: {answer:?}");
    }
    let large = format!("{}{}", rpc("{}"), " ".repeat(MCP_BODY_BYTES_MAX));
    let answer = rig.http.post(&url, &token, large).await;
    rig.refused(&answer, "body_too_large", "too large");
    assert!(rig.tools.arrived().is_empty(), "{:?}", rig.tools.arrived());
    rig.ends_whole().await;
}

#[tokio::test]
async fn headers_that_contradict_the_body_are_refused() {
    let rig = Rig::start().await;
    let body =
        tool_call("get_employee_cost_center", &json!({ "employee_id": "alice@example.com" }));
    let authorization = format!("Bearer {}", rig.site.expense());
    let good = [
        ("content-type", "application/json"),
        ("authorization", &authorization),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "get_employee_cost_center"),
    ];
    for (name, wrong) in [
        ("mcp-name", "receipt_ocr"),
        ("mcp-method", "tools/list"),
        ("mcp-protocol-version", "2025-11-25"),
    ] {
        let headers = good.map(|(n, v)| (n, if n == name { wrong } else { v }));
        let url = rig.mcp("accounting");
        let answer = rig.http.send(Method::POST, &url, &headers, body.to_string()).await.unwrap();
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        rig.refused(&answer, "header_mismatch", name);
    }
    assert!(rig.tools.arrived().is_empty());
    rig.ends_whole().await;
}

#[tokio::test]
async fn what_an_llm_client_must_not_send_goes_no_further() {
    let rig = Rig::start().await;
    let token = rig.site.review();
    let message = r#""messages":[{"role":"user","content":"hi"}]"#;
    let model = r#""model":"gpt-5-mini""#;
    let bad = [
        ("not JSON", "hello".to_owned(), "body_invalid"),
        ("cut off", "{".to_owned(), "body_invalid"),
        ("no model", format!("{{{message}}}"), "body_invalid"),
        (
            "a model twice",
            format!(r#"{{{model},"mod\u0065l":"gpt-5",{message}}}"#),
            "duplicate_key",
        ),
        ("half a character", format!(r#"{{{model},"user":"\udc00",{message}}}"#), "lone_surrogate"),
        ("too deep", format!(r#"{{{model},{message},"x":{}}}"#, nested(LEVELS_MAX)), "too_deep"),
        ("inexact", format!(r#"{{{model},{message},"seed":1e999}}"#), "number_inexact"),
        (
            "another team's model",
            format!(r#"{{"model":"gpt-5",{message}}}"#),
            "pr.model_not_allowed",
        ),
        ("nobody's model", format!(r#"{{"model":"gpt-9",{message}}}"#), "resource_unknown"),
        (
            "too large",
            format!("{{{model},{message}}}{}", " ".repeat(HTTP_BODY_BYTES_MAX)),
            "body_too_large",
        ),
    ];
    for (what, body, id) in bad {
        let answer = rig.http.post(&rig.chat(), &token, body).await;
        rig.refused(&answer, id, what);
    }
    assert!(rig.provider.arrived().is_empty());
    rig.ends_whole().await;
}

#[tokio::test]
async fn arguments_are_held_against_the_tools_schema_before_any_policy() {
    let rig = Rig::start().await;
    let (url, token) = (rig.mcp("accounting"), rig.site.expense());
    let alice = "alice@example.com";
    let wrong = [
        json!({ "employee_id": alice, "amount": null }),
        json!({ "employee_id": alice, "amount": "5" }),
        json!({ "employee_id": alice, "amount": 0 }),
        json!({ "employee_id": alice }),
        json!({ "employee_id": alice, "amount": 5, "facts": { "findings": [] } }),
        json!({ "employee_id": { "__entity": { "type": "Lictor::User", "id": alice } }, "amount": 5 }),
    ];
    for args in wrong {
        let answer = rig.http.call_tool(&url, &token, "create_expense_report", &args).await;
        rig.refused(&answer, "args_invalid", &args.to_string());
    }
    assert!(rig.tools.calls().is_empty());
    assert_eq!(rig.harmless().await.text(), "done");
    rig.ends_whole().await;
}

/// How many odd bodies are forwarded.
const ODD_BODIES: usize = 1_000;

/// Numbers of one fixed sequence, the same in every run.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn blank(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "\t", "\n", "\r\n", "  \n\t "])
    }

    /// Any JSON value, written as unusually as it may be.
    fn value(&mut self, levels: usize) -> String {
        let scalars = [
            "null",
            "true",
            "false",
            "0",
            "-1",
            "0.0",
            "1.50",
            "1E2",
            "1e-7",
            "12345678901234567",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "\"\"",
            "\"\\/\"",
            "\"\\u00e9\\uD83D\\uDE00\"",
            "\"é😀\"",
            "\"\\u0000\\b\\f\\n\\r\\t\\\"\\\\\"",
            "\"\u{2028}\u{fffd}\"",
            "\"__proto__\"",
            "[]",
            "{}",
            "[ ]",
            "{\n}",
        ];
        if levels == 0 || self.below(3) == 0 {
            return self.pick(&scalars).to_owned();
        }
        let members = self.below(4);
        if self.below(2) == 0 {
            let items: Vec<String> = (0..members).map(|_| self.spaced_value(levels - 1)).collect();
            return format!("[{}]", items.join(","));
        }
        let members: Vec<String> = (0..members)
            .map(|number| {
                let key = self.pick(&["x", "\\u0078y", "é", "__entity", "$ref", " ", "a.b/c~d"]);
                format!("\"{key}{number}\"{}:{}", self.blank(), self.spaced_value(levels - 1))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn spaced_value(&mut self, levels: usize) -> String {
        format!("{}{}{}", self.blank(), self.value(levels), self.blank())
    }

    /// A permitted call in an order, spacing and spelling of its own.
    fn body(&mut self) -> String {
        let id = self.pick(&["7", "-7", "\"\\u0061\"", "\"\"", "9223372036854775807", "\"7\""]);
        let alice = self.pick(&[
            "alice@example.com",
            "\\u0061lice\\u0040example.com",
            "alice@example\\u002ecom",
        ]);
        let name = self.pick(&["get_employee_cost_center", "get\\u005femployee_cost_center"]);
        let key = self.pick(&["employee_id", "employee\\u005fid"]);
        let meta = self.value(3);
        let meta = if meta.starts_with('{') { meta } else { format!("{{\"m\":{meta}}}") };
        let arguments =
            format!("\"arguments\":{}{{\"{key}\":{}\"{alice}\"}}", self.blank(), self.blank());
        let mut params =
            vec![arguments, format!("\"name\":\"{name}\""), format!("\"_meta\":{meta}")];
        params.push(format!("\"later\":{}", self.spaced_value(4)));
        let params = self.joined(params);
        let envelope = vec![
            "\"jsonrpc\":\"2.0\"".to_owned(),
            format!("\"id\":{}{id}", self.blank()),
            format!("\"method\":{}\"tools\\/call\"", self.blank()),
            format!("\"params\":{}{params}", self.blank()),
        ];
        format!("{}{}{}", self.blank(), self.joined(envelope), self.blank())
    }

    /// Members in any order.
    fn joined(&mut self, mut members: Vec<String>) -> String {
        let mut text = String::new();
        while !members.is_empty() {
            let member = members.swap_remove(self.below(members.len()));
            text += &format!("{}{member}{}", self.blank(), self.blank());
            text += if members.is_empty() { "" } else { "," };
        }
        format!("{{{text}}}")
    }
}

#[tokio::test]
async fn a_thousand_odd_bodies_pass_byte_for_byte() {
    let rig = Rig::start().await;
    let (url, token) = (rig.mcp("accounting"), rig.site.expense());
    let mut sequence = Sequence(1);
    let mut sent = Vec::new();
    for _ in 0..ODD_BODIES {
        let body = sequence.body();
        let answer: Answer = rig.http.post(&url, &token, body.clone()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "{body}\n{answer:?}");
        sent.push(body);
    }
    let arrived = rig.tools.calls();
    assert_eq!(arrived.len(), ODD_BODIES);
    for (sent, arrived) in sent.iter().zip(&arrived) {
        assert_eq!(sent.as_bytes(), arrived.body, "{sent}");
    }
    assert!(sent.iter().collect::<std::collections::BTreeSet<_>>().len() > ODD_BODIES * 9 / 10);
    assert_eq!(rig.logged(Kind::Enforcement, "/outcome", "forwarded"), ODD_BODIES);
    rig.ends_whole().await;
}
