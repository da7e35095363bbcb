//! What is allowed goes through byte for byte, and the caller's credential does not.

use axum::http::Method;
use lictor_proto::call::Phase;
use lictor_proto::decide::Outcome;

use crate::oracle::{Oracle, allow};
use crate::rig::{Rig, call, outcomes};
use crate::server::{json, said};

/// How many odd bodies are sent.
const ODD_BODIES: u64 = 1_000;

/// A small generator, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn space(&mut self) -> &'static str {
        self.of(&["", "", " ", "\n", "\t ", "\r\n"])
    }

    fn value(&mut self, depth: usize) -> String {
        let kinds = if depth > 4 { 6 } else { 8 };
        match self.below(kinds) {
            0 => "null".into(),
            1 => self.of(&["true", "false"]).into(),
            2 => self.of(&["0", "-1", "18446744073709551615", "-9223372036854775808"]).into(),
            3 => self.of(&["1.50", "2e0", "1E+2", "-0.0", "0.1", "1e-7"]).into(),
            4 => self.of(&[r#""""#, r#""\u0041\/\n""#, r#""😀ä""#, r#""\ud83d\ude00""#]).into(),
            5 => self.of(&[r#""</script>""#, r#""a\u0000b""#, r#""'; DROP""#]).into(),
            6 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.value(depth + 1)).collect();
                let space = self.space();
                format!("[{space}{}]", items.join(&format!(",{space}")))
            }
            _ => self.object(depth + 1, &["a", "ä", "\\u0062", "A b", "~1/", "__entity"]),
        }
    }

    fn object(&mut self, depth: usize, names: &[&str]) -> String {
        let mut members = Vec::new();
        for name in names {
            if self.below(2) == 0 {
                let (a, b) = (self.space(), self.space());
                members.push(format!("{a}\"{name}\"{b}:{}", self.value(depth)));
            }
        }
        format!("{{{}{}}}", members.join(","), self.space())
    }

    fn message(&mut self) -> String {
        let arguments = self.object(0, &["x", "y", "z", "amount", "\\u0061"]);
        let id = self.of(&["1", "\"a\"", "-7", "\"\\u00e4\""]);
        let future = self.value(2);
        let [a, b, c] = [self.space(), self.space(), self.space()];
        format!(
            "{a}{{\"params\":{{\"future\":{future},{b}\"name\":\"t\\u006fol\",\"arguments\":{arguments}}},{c}\
             \"method\" : \"tools\\/call\",\"id\":{id},\"jsonrpc\":\"2.0\",\"x-unknown\":{future}}}{b}"
        )
    }
}

#[tokio::test]
async fn odd_bodies_arrive_and_return_byte_for_byte() {
    let answer = |seen: &crate::server::Seen| {
        let length = seen.body.len();
        json(format!(
            "{{ \"id\" : 1,\r\n\"jsonrpc\":\"2.0\", \"result\":{{\"n\": {length}.50 }} }} "
        ))
    };
    let rig = Rig::start(Oracle::new(allow), answer).await;
    for seed in 0..ODD_BODIES {
        let body = Numbers(seed).message();
        let got = rig.post(body.clone()).await;
        let expected = format!(
            "{{ \"id\" : 1,\r\n\"jsonrpc\":\"2.0\", \"result\":{{\"n\": {}.50 }} }} ",
            body.len()
        );
        assert_eq!(got.text(), expected, "{body}");
    }
    let seen = rig.server.seen();
    assert_eq!(seen.len() as u64, ODD_BODIES);
    for (seed, seen) in (0..).zip(&seen) {
        assert_eq!(seen.body, Numbers(seed).message());
    }
    assert!(rig.oracle.calls().iter().all(|call| {
        call.resource.as_ref().unwrap().id == "accounting/tool" && call.phase == Phase::Request
    }));
}

#[tokio::test]
async fn the_server_gets_an_assertion_and_never_the_callers_token() {
    let change = |config: &mut lictor_pep_mcp::Config| {
        config.forward_headers = vec!["X-Kept".into(), "cookie".into()];
    };
    let rig = Rig::start_with(Oracle::new(allow), |_| json(said("ok")), change).await;
    let secrets = [
        ("x-api-key", "SECRET"),
        ("cookie", "SECRET"),
        ("proxy-authorization", "SECRET"),
        ("lictor-session", "SECRET"),
        ("dpop", "SECRET"),
        ("x-unheard", "SECRET"),
        ("x-kept", "kept"),
        ("accept-encoding", "gzip"),
    ];
    let arguments = r#"{"amount": 900}"#;
    let got = rig.post_with(call("create", arguments), &secrets).await;
    assert_eq!(got.text(), said("ok"));
    let seen = rig.server.seen().pop().unwrap();
    let headers = format!("{:?}", seen.headers);
    assert!(!headers.contains("SECRET"), "{headers}");
    assert!(!String::from_utf8_lossy(&seen.body).contains(&rig.key));
    assert_eq!(seen.headers["x-kept"], "kept");
    assert_eq!(seen.headers["accept-encoding"], "identity");
    let authorization = seen.headers["authorization"].to_str().unwrap();
    assert!(!authorization.contains(&rig.key));
    let claims = claims(authorization);
    let asked = rig.oracle.calls().pop().unwrap();
    assert_eq!(claims["sub"], "alice@example.com");
    assert_eq!(claims["act"]["sub"], "expense-report-v1");
    assert_eq!(claims["aud"], rig.server.url());
    assert_eq!(claims["tool"], "accounting/create");
    assert_eq!(claims["decision_id"], "decision-1");
    assert_eq!(claims["args_digest"], asked.args_digest());
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 60);
}

/// The payload of a compact token in an `Authorization` value.
fn claims(authorization: &str) -> serde_json::Value {
    use base64::Engine as _;
    let payload = authorization.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn the_call_says_who_what_and_how() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let trace = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let version = ("mcp-protocol-version", "2025-11-25");
    let body = call("create", r#"{"note":"hello","deep":{"list":["x"]}}"#);
    rig.post_with(body, &[trace, version, ("lictor-session", "handle")]).await;
    let asked = rig.oracle.calls().pop().unwrap();
    assert_eq!(asked.subject.as_ref().unwrap().id, "alice@example.com");
    assert_eq!(asked.agent.as_ref().unwrap().id, "expense-report-v1");
    assert_eq!(asked.action.name, "tools/call");
    assert_eq!(asked.context.protocol, "mcp/2025-11-25");
    assert_eq!(asked.context.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(asked.context.source_ip, "127.0.0.1");
    assert_eq!(asked.session.as_ref().unwrap().handle, "handle");
    assert!(asked.asks_all());
    let texts: Vec<_> =
        asked.content.iter().map(|c| (c.pointer.as_str(), c.text.as_str())).collect();
    assert_eq!(texts, [("/note", "hello"), ("/deep/list/0", "x")]);
}

#[tokio::test]
async fn intention_and_outcome_are_on_record_and_settled() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    let body = call("create", r#"{"note":"VERY-PRIVATE"}"#);
    let got = rig.post(body.clone()).await;
    let asked = rig.oracle.calls().pop().unwrap();
    assert_eq!(got.headers["lictor-call-id"], asked.call_id.as_str());
    let oracle = rig.oracle.clone();
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "forwarded"]);
    assert_eq!(oracle.outcomes(), [Outcome::Done]);
    for record in &records {
        assert_eq!(record["call_id"], asked.call_id.as_str());
        assert_eq!(record["decision_id"], "decision-1");
        assert_eq!(record["session"], "session-1");
        assert_eq!(record["resource"]["id"], "accounting/create");
        assert_eq!(record["decided_digest"], asked.request_digest());
        let forwarded = lictor_pep_core::enforce::digest_of_bytes(body.as_bytes());
        assert_eq!(record["forwarded_digest"], forwarded);
        assert!(!record.to_string().contains("VERY-PRIVATE"));
    }
    assert_eq!((&records[0]["executed"], &records[1]["executed"]), (&false.into(), &true.into()));
}

#[tokio::test]
async fn the_same_result_is_settled_under_the_same_digest_whatever_the_request_is_called() {
    let rig = Rig::start(Oracle::new(allow), |request| {
        json(said(if request.body.windows(5).any(|part| part == b"other") {
            "other"
        } else {
            "ok"
        }))
    })
    .await;
    for note in ["a", "b", "other"] {
        rig.post(call("create", &format!(r#"{{"note":"{note}"}}"#))).await;
    }
    let oracle = rig.oracle.clone();
    rig.stop().await;
    let digests = oracle.result_digests();
    assert!(digests[0].starts_with("sha256:"), "{digests:?}");
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[tokio::test]
async fn several_servers_have_a_path_each() {
    let change = |config: &mut lictor_pep_mcp::Config| {
        let mut second = config.servers[0].clone();
        second.id = "mail".into();
        config.servers.push(second);
    };
    let rig = Rig::start_with(Oracle::new(allow), |_| json(said("ok")), change).await;
    let to = |path: &str| rig.request(Method::POST, path, &[], call("send", "{}"));
    assert_eq!(rig.send(to("/mcp/mail")).await.text(), said("ok"));
    assert_eq!(rig.oracle.calls()[0].resource.as_ref().unwrap().id, "mail/send");
    for path in ["/mcp", "/mcp/other"] {
        let got = rig.send(to(path)).await;
        assert_eq!((got.status.as_u16(), got.reasons().as_str()), (404, "upstream_unknown"));
    }
    assert_eq!(rig.server.seen().len(), 1);
}

#[tokio::test]
async fn a_charset_cannot_make_other_arguments_of_the_same_bytes() {
    let rig = Rig::start(Oracle::new(allow), |_| json(said("ok"))).await;
    for value in
        ["application/json; charset=utf-7", "application/json;charset=utf-16", "text/plain"]
    {
        let got = rig.post_with(call("t", "{}"), &[("content-type", value)]).await;
        assert_eq!((got.status.as_u16(), got.reasons().as_str()), (400, "body_invalid"), "{value}");
    }
    assert!(rig.server.seen().is_empty());
    let good = [("content-type", "Application/JSON; charset=\"UTF-8\"; x=y")];
    assert_eq!(rig.post_with(call("t", "{}"), &good).await.status, 200);
    let seen = rig.server.seen().pop().unwrap();
    let told: Vec<_> = seen.headers.get_all("content-type").iter().collect();
    assert_eq!(told, ["application/json"]);
}
