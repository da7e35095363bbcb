//! Obligations on arguments and on results.

use lictor_proto::call::{Call, Question};
use lictor_proto::decide::{Answer, DecideError, Outcome};
use lictor_proto::decision::ObligationKind;

use crate::oracle::{Oracle, allow, allow_checked, ask, deny, find, is_response, oblige};
use crate::rig::{Rig, call, outcomes};
use crate::server::{answer, json, said};

fn mask_secret(call: &Call) -> Result<Answer, DecideError> {
    let mut answer = allow(call)?;
    find(&mut answer, call, "AKIA");
    oblige(&mut answer, ObligationKind::Mask, r#"{"categories":["secret"]}"#);
    Ok(answer)
}

#[tokio::test]
async fn a_result_is_masked_in_place_and_says_so_on_record() {
    let rule = |call: &Call| {
        if is_response(call) { mask_secret(call) } else { allow_checked(call) }
    };
    let upstream = r#"{ "jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"key AKIA\u0021"}],"structuredContent":{"n":1.50,"k":["AKIA","ok"]}}}"#;
    let rig = Rig::start(Oracle::new(rule), move |_| json(upstream)).await;
    let got = rig.post(call("read", "{}")).await;
    let expected = r#"{ "jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"key [masked]!"}],"structuredContent":{"n":1.50,"k":["[masked]","ok"]}}}"#;
    assert_eq!(got.text(), expected);
    let calls = rig.oracle.calls();
    assert_eq!(calls[1].request_call_id.as_deref(), Some(calls[0].call_id.as_str()));
    assert!(calls[1].executed && calls[1].call_id != calls[0].call_id);
    let oracle = rig.oracle.clone();
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "masked"]);
    assert_eq!(records[1]["response_decision_id"], "decision-1");
    assert_eq!(oracle.outcomes(), [Outcome::Done]);
}

#[tokio::test]
async fn a_checked_result_without_findings_keeps_its_bytes() {
    let upstream = "{ \"jsonrpc\":\"2.0\", \"id\":1,\n \"result\":{\"content\":[]} }";
    let rig = Rig::start(Oracle::new(allow_checked), move |_| json(upstream)).await;
    assert_eq!(rig.post(call("read", "{}")).await.text(), upstream);
}

#[tokio::test]
async fn a_refused_result_is_withheld_and_must_not_be_repeated() {
    type Rule = fn(&Call) -> Result<Answer, DecideError>;
    let second: [(Rule, &str); 4] = [
        (|call| deny(call, "leak"), "result_withheld,leak"),
        (ask, "result_withheld,expense.manager"),
        (|_| Err(DecideError::Unavailable("gone".into())), "result_withheld,pdp_unavailable"),
        (
            |call| {
                let mut answer = allow(call)?;
                oblige(&mut answer, ObligationKind::Route, "{}");
                Ok(answer)
            },
            "result_withheld,obligation_unknown",
        ),
    ];
    for (rule, reasons) in second {
        let whole = move |call: &Call| {
            if is_response(call) { rule(call) } else { allow_checked(call) }
        };
        let rig = Rig::start(Oracle::new(whole), |_| json(said("TOP SECRET"))).await;
        let got = rig.post(call("read", "{}")).await;
        assert_eq!(got.reasons(), reasons);
        assert_eq!(got.lictor()["executed"], true);
        assert_eq!(got.lictor()["retry_after_ms"], 0);
        assert_eq!(got.status, 200);
        assert!(!got.text().contains("TOP SECRET"));
        let oracle = rig.oracle.clone();
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
        assert_eq!(oracle.outcomes().last(), Some(&Outcome::Done));
    }
}

#[tokio::test]
async fn arguments_are_masked_asked_about_again_and_only_then_forwarded() {
    let rule = |call: &Call| {
        if call.asks_all() { mask_secret(call) } else { allow(call) }
    };
    let rig = Rig::start(Oracle::new(rule), |_| json(said("ok"))).await;
    let got = rig
        .post_with(
            call("send", r#"{"to":"x", "text":"my AKIA key"}"#),
            &[("mcp-param-text", "my AKIA key")],
        )
        .await;
    assert_eq!(got.text(), said("ok"));
    let seen = rig.server.seen().pop().unwrap();
    assert!(!seen.headers.contains_key("mcp-param-text"));
    let sent = seen.body;
    assert_eq!(sent, call("send", r#"{"to":"x", "text":"my [masked] key"}"#));
    let again = rig.oracle.calls().pop().unwrap();
    assert_eq!(again.questions, [Question::Authz]);
    assert_eq!(again.context.args.text(), r#"{"to":"x","text":"my [masked] key"}"#);
    let records = rig.stop().await;
    let forwarded = lictor_pep_core::enforce::digest_of_bytes(&sent);
    assert_eq!(records[0]["forwarded_digest"], forwarded);
}

#[tokio::test]
async fn arguments_that_no_longer_fit_after_masking_are_refused() {
    let rule = |call: &Call| {
        if call.asks_all() {
            let mut answer = allow(call)?;
            oblige(&mut answer, ObligationKind::Mask, r#"{"pointers":["/amount"]}"#);
            Ok(answer)
        } else {
            assert_eq!(call.context.args.text(), r#"{"amount":"[masked]"}"#);
            deny(call, "args_invalid")
        }
    };
    let rig = Rig::start(Oracle::new(rule), |_| json("{}")).await;
    assert_eq!(rig.post(call("pay", r#"{"amount":900}"#)).await.reasons(), "args_invalid");
    assert!(rig.server.seen().is_empty());
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["not_sent"]);
    assert_eq!(oracle.outcomes(), [Outcome::NotSent]);
}

#[tokio::test]
async fn a_mask_that_cannot_be_applied_stops_the_call() {
    let rule = |call: &Call| {
        let mut answer = allow(call)?;
        oblige(&mut answer, ObligationKind::Mask, r#"{"pointers":["/nowhere"]}"#);
        Ok(answer)
    };
    let rig = Rig::start(Oracle::new(rule), |_| json("{}")).await;
    assert_eq!(rig.post(call("pay", "{}")).await.reasons(), "obligation_failed");
    assert!(rig.server.seen().is_empty());
    assert_eq!(outcomes(&rig.stop().await), ["not_sent"]);
}

#[tokio::test]
async fn headers_are_set_as_obliged() {
    let rule = |call: &Call| {
        let mut answer = allow(call)?;
        oblige(&mut answer, ObligationKind::SetHeader, r#"{"name":"X-Team","value":"eng"}"#);
        Ok(answer)
    };
    let rig = Rig::start(Oracle::new(rule), |_| json(said("ok"))).await;
    rig.post_with(call("t", "{}"), &[("x-team", "mine")]).await;
    let seen = rig.server.seen().pop().unwrap();
    let values: Vec<_> = seen.headers.get_all("x-team").iter().collect();
    assert_eq!(values, ["eng"]);
}

#[tokio::test]
async fn errors_of_the_server_are_looked_at_too() {
    let rule = |call: &Call| {
        if is_response(call) { mask_secret(call) } else { allow_checked(call) }
    };
    let rig = Rig::start(Oracle::new(rule), |_| answer(500, "text/plain", "crash AKIA")).await;
    let got = rig.post(call("t", "{}")).await;
    assert_eq!((got.status.as_u16(), got.text()), (500, "crash [masked]"));
}
