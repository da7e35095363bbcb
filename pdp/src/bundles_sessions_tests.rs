//! Sessions that were opened, those that were not, and somebody else's.

use lictor_audit::query::{Logs, Record};
use lictor_proto::call::SessionRef;
use lictor_proto::decision::Labels;

use super::*;

/// A call of the clerk for `user`, with the credential and, where given, the handle of a session.
fn clerks(user: &str, credential: &str, tool: &str, args: &str, handle: Option<&str>) -> Arc<Call> {
    let mut call = Call::clone(&call("clerk-v1", credential, tool, args));
    call.subject.as_mut().unwrap().id = user.to_owned();
    call.session = handle.map(|handle| SessionRef { handle: handle.to_owned() });
    Arc::new(call)
}

fn dana(tool: &str, handle: Option<&str>) -> Arc<Call> {
    let args = match tool {
        "payments/pay" => r#"{"invoice":"I-7","amount":120}"#,
        "mail/send" => r#"{"to":"supplier@example.com","body":"x"}"#,
        "vault/read" => r#"{"name":"supplier"}"#,
        _ => r#"{"invoice":"I-7"}"#,
    };
    clerks("dana@example.com", "danas-key", tool, args, handle)
}

/// Opens a session for dana, and returns its handle.
async fn opened(told: &Told) -> String {
    let mut call = Call::clone(&dana("payments/check", None));
    call.action.name = "session/open".to_owned();
    call.resource = None;
    call.context.args = lictor_proto::json::Open::default();
    let answer = told.handle.decide(Arc::new(call), 10_000).await.unwrap();
    assert_eq!(answer.decision.effect, Effect::Allow, "{:?}", answer.decision.reasons);
    answer.hints.session_handle.unwrap()
}

impl Told {
    async fn records_of(&self, call: &Call) -> Vec<Record> {
        self.pdp.audit.written().await.unwrap();
        let logs = Logs::open(&[self._root.path().join("audit")]).unwrap();
        logs.call(&call.call_id, true).unwrap()
    }

    async fn passes(&self, call: &Arc<Call>) {
        let decision = self.ask(call).await;
        assert_eq!(decision.effect, Effect::Allow, "{:?}", decision.reasons);
        self.settle(call, "").await;
    }
}

#[tokio::test]
async fn a_handle_in_other_hands_is_refused_and_recorded() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let handle = opened(&told).await;
        told.passes(&dana("payments/check", Some(&handle))).await;
        let args = r#"{"invoice":"I-7"}"#;
        let user = clerks("erin@example.com", "erins-key", "payments/check", args, Some(&handle));
        let mut agent = Call::clone(&dana("payments/check", Some(&handle)));
        agent.agent.as_mut().unwrap().id = "another-agent".to_owned();
        let mut forged = Call::clone(&dana("payments/check", Some(&handle)));
        forged.session = Some(SessionRef { handle: format!("{handle}A") });
        for stolen in [user, Arc::new(agent), Arc::new(forged)] {
            let refused = told.ask(&stolen).await;
            let expected = (Effect::Deny, vec!["session_unknown"]);
            assert_eq!((refused.effect, reasons(&refused)), expected);
            let records = told.records_of(&stolen).await;
            assert_eq!(records.len(), 1, "one call, one record");
            let record = &records[0];
            assert_eq!(record.str_at("/effect"), Some("deny"));
            assert_eq!(record.str_at("/reasons/0/id"), Some("session_unknown"));
            let who = stolen.subject.as_ref().unwrap().id.as_str();
            assert_eq!(record.str_at("/subject/id"), Some(who));
        }
        // The owner's session is none the worse for it.
        told.passes(&dana("payments/approve", Some(&handle))).await;
    }
}

#[tokio::test]
async fn without_its_handle_a_call_joins_the_one_session_of_its_credential() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let handle = opened(&told).await;
        for tool in ["payments/check", "payments/approve"] {
            told.passes(&dana(tool, Some(&handle))).await;
        }
        // What was done in the opened session was done by this principal, and is not done again.
        let again = told.ask(&dana("payments/approve", None)).await;
        let both = ["session_rules.approve_once", "session_rules.only_once"];
        assert_eq!((again.effect, reasons(&again)), (Effect::Deny, both.to_vec()));
        // It was never opened by a decision, so it is not trusted.
        let asked = told.ask(&dana("payments/pay", None)).await;
        assert_eq!(
            (asked.effect, reasons(&asked)),
            (Effect::Ask, vec!["session_rules.pay_untrusted"])
        );
        told.passes(&dana("payments/pay", Some(&handle))).await;
    }
}

#[tokio::test]
async fn labels_of_a_session_without_a_handle_stay_across_connections() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let read = told.ask(&dana("vault/read", None)).await;
        assert_eq!(read.effect, Effect::Allow, "{:?}", read.reasons);
        let secret = lictor_proto::decision::Confidentiality::Secret;
        assert_eq!(read.labels, Labels { confidentiality: secret, ..read.labels });
        // Rego by the tool, Cedar by the label.
        for _ in 0..2 {
            let sent = told.ask(&dana("mail/send", None)).await;
            let both = ["session_rules.egress_after_secret", "session_rules.never_after_secrets"];
            assert_eq!((sent.effect, reasons(&sent)), (Effect::Deny, both.to_vec()));
            told.pass(1_000);
        }
    }
}

#[tokio::test]
async fn neither_dropping_the_handle_nor_opening_another_session_forgets_a_secret() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let handle = opened(&told).await;
        told.passes(&dana("mail/send", Some(&handle))).await;
        told.passes(&dana("mail/send", None)).await;
        told.passes(&dana("vault/read", Some(&handle))).await;
        let label = "session_rules.egress_after_secret";
        let both = vec![label, "session_rules.never_after_secrets"];
        let another = opened(&told).await;
        assert_ne!(another, handle);
        // The other session begins without counts: only the label says what was read.
        for (handle, expected) in
            [(Some(&handle), both.clone()), (None, both), (Some(&another), vec![label])]
        {
            let sent = told.ask(&dana("mail/send", handle.map(String::as_str))).await;
            assert_eq!((sent.effect, reasons(&sent)), (Effect::Deny, expected), "{handle:?}");
        }
        // It is trusted, as the decision to open it said.
        for tool in ["payments/check", "payments/approve", "payments/pay"] {
            told.passes(&dana(tool, Some(&another))).await;
        }
        // Somebody else's sessions know nothing of it.
        let args = r#"{"to":"supplier@example.com","body":"x"}"#;
        told.passes(&clerks("erin@example.com", "erins-key", "mail/send", args, None)).await;
    }
}

#[tokio::test]
async fn a_call_that_was_never_sent_is_not_held_against_whoever_drops_the_handle() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let handle = opened(&told).await;
        told.passes(&dana("payments/check", Some(&handle))).await;
        let approve = dana("payments/approve", Some(&handle));
        assert_eq!(told.ask(&approve).await.effect, Effect::Allow);
        // While it is under way it counts for both.
        let again = told.ask(&dana("payments/approve", None)).await;
        assert!(again.has_reason("session_rules.only_once"), "{:?}", again.reasons);
        let settle = Settle {
            call_id: approve.call_id.clone(),
            outcome: Outcome::NotSent,
            usage: Usage::default(),
            detail: Detail::default(),
        };
        told.handle.settle(settle).await.unwrap();
        told.passes(&dana("payments/approve", None)).await;
    }
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let handle = opened(&told).await;
        told.passes(&dana("payments/check", Some(&handle))).await;
        told.pass(crate::session::SESSION_MS);
        let late = told.ask(&dana("payments/check", Some(&handle))).await;
        assert_eq!((late.effect, reasons(&late)), (Effect::Deny, vec!["session_unknown"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_calls_at_once_in_an_opened_session_exactly_one_passes() {
    for store in stores().await {
        let two = [
            told("session-rules", Arc::clone(&store)).await,
            told("session-rules", Arc::clone(&store)).await,
        ];
        // Both decision points must read the same handles.
        let handle = opened(&two[0]).await;
        let approve = || dana("payments/approve", Some(&handle));
        let ask = |call: Arc<Call>| {
            let handle = two[0].handle.clone();
            tokio::spawn(async move { handle.decide(call, 10_000).await.unwrap().decision })
        };
        let (one, other) = (ask(approve()), ask(approve()));
        let decisions = [one.await.unwrap(), other.await.unwrap()];
        let allowed = decisions.iter().filter(|d| d.effect == Effect::Allow).count();
        assert_eq!(allowed, 1, "{decisions:?}");
        let foreign = two[1].ask(&approve()).await;
        assert_eq!(reasons(&foreign), ["session_unknown"], "another deployment's key");
    }
}
