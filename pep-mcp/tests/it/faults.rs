//! When something is down.

use lictor_pep_mcp::refusal::CODE_UNAVAILABLE;
use lictor_proto::call::Call;
use lictor_proto::decide::{DecideError, Outcome};

use crate::oracle::{Oracle, allow};
use crate::rig::{Rig, call, outcomes};
use crate::server::{answer, json, said};

#[tokio::test]
async fn without_a_decision_nothing_is_forwarded() {
    let rule = |_: &Call| Err(DecideError::Unavailable("gone".into()));
    let rig = Rig::start(Oracle::new(rule), |_| json("{}")).await;
    let got = rig.post(call("t", "{}")).await;
    assert_eq!((got.status.as_u16(), got.code()), (503, CODE_UNAVAILABLE));
    assert_eq!(got.reasons(), "pdp_unavailable");
    assert!(rig.server.seen().is_empty());
    let calls = rig.oracle.calls();
    assert_eq!(calls.len(), 2, "one retry and no more");
    assert_eq!(calls[0].call_id, calls[1].call_id);
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["denied"]);
    assert_eq!(oracle.outcomes(), [Outcome::NotSent]);
}

#[tokio::test]
async fn an_answer_to_another_question_permits_nothing() {
    let changes: [fn(&mut lictor_proto::decision::Decision); 3] = [
        |decision| decision.request_digest = "sha256:00".into(),
        |decision| decision.call_id = "other".into(),
        |decision| decision.dry_run = true,
    ];
    for change in changes {
        let rule = move |call: &Call| {
            let mut answer = allow(call)?;
            change(&mut answer.decision);
            Ok(answer)
        };
        let rig = Rig::start(Oracle::new(rule), |_| json("{}")).await;
        let got = rig.post(call("t", "{}")).await;
        assert!(got.json()["error"]["code"].as_i64().is_some());
        assert!(rig.server.seen().is_empty());
    }
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_forwarded() {
    let rig = Rig::start(Oracle::new(allow), |_| json("{}")).await;
    rig.audit.close("test").await.unwrap();
    let got = rig.post(call("t", "{}")).await;
    assert_eq!((got.status.as_u16(), got.reasons().as_str()), (503, "audit_unavailable"));
    assert_eq!(got.lictor()["executed"], false);
    assert!(rig.server.seen().is_empty());
    let oracle = rig.oracle.clone();
    rig.stop().await;
    assert_eq!(oracle.outcomes(), [Outcome::NotSent]);
}

#[tokio::test]
async fn an_audit_log_lost_on_the_way_withholds_the_result() {
    let log: std::sync::Arc<std::sync::OnceLock<lictor_audit::AuditLog>> = Default::default();
    let held = log.clone();
    let reply = move |_: &crate::server::Seen| {
        let log = held.get().unwrap().clone();
        std::thread::spawn(move || log.close_blocking("test").unwrap()).join().unwrap();
        json(said("done"))
    };
    let rig = Rig::start(Oracle::new(allow), reply).await;
    log.set(rig.audit.clone()).ok().unwrap();
    let got = rig.post(call("t", "{}")).await;
    assert_eq!(got.reasons(), "result_withheld,audit_unavailable");
    assert_eq!(got.lictor()["executed"], true);
    assert!(!got.text().contains("done"));
    assert_eq!(rig.server.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_was_not_called() {
    let change = |config: &mut lictor_pep_mcp::Config| {
        config.servers[0].url = "http://127.0.0.1:1/mcp".into();
    };
    let rig = Rig::start_with(Oracle::new(allow), |_| json("{}"), change).await;
    let got = rig.post(call("t", "{}")).await;
    assert_eq!((got.status.as_u16(), got.reasons().as_str()), (502, "upstream_unavailable"));
    assert_eq!(got.lictor()["executed"], false);
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "not_sent"]);
    assert_eq!(oracle.outcomes(), [Outcome::NotSent]);
}

#[tokio::test]
async fn redirects_are_not_followed_and_count_as_called() {
    let reply = |_: &crate::server::Seen| {
        let builder = axum::http::Response::builder().status(307);
        builder.header("location", "http://127.0.0.1:1/").body("".into()).unwrap()
    };
    let rig = Rig::start(Oracle::new(allow), reply).await;
    let got = rig.post(call("t", "{}")).await;
    assert_eq!(got.reasons(), "result_withheld,upstream_unavailable");
    assert_eq!(got.lictor()["executed"], true);
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
    assert_eq!(oracle.outcomes(), [Outcome::Unknown]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_withheld() {
    let cases = [
        r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"x":"#,
        "[]",
    ];
    for body in cases {
        let rig = Rig::start(Oracle::new(allow), move |_| json(body)).await;
        let got = rig.post(call("t", "{}")).await;
        assert_eq!(got.reasons(), "result_withheld,body_invalid", "{body}");
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
    }
}

#[tokio::test]
async fn the_servers_refusal_of_us_is_not_the_callers_to_solve() {
    let rig = Rig::start(Oracle::new(allow), |_| answer(401, "text/plain", "who?")).await;
    let got = rig.post(call("t", "{}")).await;
    assert_ne!(got.status, 401);
    assert!(!got.headers.contains_key("www-authenticate"));
    assert!(got.reasons().contains("upstream_unavailable"));
}

#[tokio::test]
async fn an_error_of_the_server_passes_and_is_settled_as_failed() {
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"no such thing"}}"#;
    let rig = Rig::start(Oracle::new(allow), move |_| json(error)).await;
    assert_eq!(rig.post(call("t", "{}")).await.text(), error);
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
    assert_eq!(oracle.outcomes(), [Outcome::Failed]);
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let body = said("12345");
    let length = body.len();
    for (limit, fits) in [(length, true), (length - 1, false)] {
        let change = move |config: &mut lictor_pep_mcp::Config| config.max_answer_bytes = limit;
        let rig = Rig::start_with(Oracle::new(allow), |_| json(said("12345")), change).await;
        let got = rig.post(call("t", "{}")).await;
        assert_eq!(got.text() == body, fits);
        if !fits {
            assert_eq!(got.reasons(), "result_withheld,body_too_large");
        }
    }
}
