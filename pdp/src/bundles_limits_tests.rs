//! What operators see of limits and give back, and dry runs, which touch nothing.

use lictor_audit::query::{Logs, Record};
use lictor_proto::facts::Facts;
use serde_json::Value;

use super::*;
use crate::limits::LimitsError;
use crate::state::counters::{Counted, Wanted};

const MODEL: &str = "openai/gpt-5-mini";

fn operator() -> Peer {
    Peer::new("olga", &[Role::Operator])
}

fn auditor() -> Peer {
    Peer::new("otto", &[Role::Auditor])
}

/// A model call that draws on money, tokens, a rate and a lease.
fn chat(session: &str) -> Arc<Call> {
    let mut chat = Call::clone(&call("clerk-v1", session, "payments/check", "{}"));
    chat.action.name = "llm/chat".to_owned();
    let kind = lictor_proto::call::ResourceKind::Model;
    chat.resource = Some(lictor_proto::call::Resource { kind, id: MODEL.to_owned() });
    chat.usage = Usage { input_tokens: 1_000, max_output_tokens: 500, ..Usage::default() };
    Arc::new(chat)
}

impl Told {
    async fn held(&self, id: Option<&str>) -> Vec<Counted> {
        let wanted = Wanted { id: id.map(str::to_owned), ..Wanted::default() };
        self.pdp.show_limits(&auditor(), "default", &wanted).await.unwrap().counters
    }

    fn resets(&self) -> Vec<Record> {
        let logs = Logs::open(&[self._root.path().join("audit")]).unwrap();
        logs.records(false, |record| record.kind == lictor_audit::Kind::Limit).unwrap()
    }
}

#[tokio::test]
async fn what_is_held_is_shown_and_given_back_on_record() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let asked = chat("one");
        let decision = told.ask(&asked).await;
        assert_eq!(decision.effect, Effect::Allow, "{:?}", decision.reasons);
        let held = told.held(None).await;
        let ids: Vec<&str> = held.iter().map(|counted| counted.id.as_str()).collect();
        let all = ["agent", "at_once", "organisation", "session", "team", "user"];
        assert_eq!(ids, all.map(|id| format!("session_rules.{id}")));
        let user = held.iter().find(|counted| counted.id.ends_with(".user")).unwrap();
        assert_eq!(user.key, r#"["dana@example.com"]"#);
        // 1,000 in at 0.25 and 500 out at 2 dollars a million.
        assert_eq!((user.used(), user.max, user.remaining), (1_250, 10_000_000, 9_998_750));
        let rate = held.iter().find(|counted| counted.id.ends_with(".agent")).unwrap();
        assert_eq!((rate.used(), rate.at_once, rate.max), (1, 30, 120));
        let reset = told
            .pdp
            .reset_limit(&operator(), "default", (&user.id, &user.key), "wrong price")
            .await
            .unwrap();
        assert_eq!(reset.emptied, 1);
        assert_eq!(told.held(Some("session_rules.user")).await, []);
        assert_eq!(told.held(Some("session_rules.team")).await.len(), 1, "nothing else is touched");
        let records = told.resets();
        let outcomes: Vec<_> = records.iter().map(|r| r.str_at("/outcome").unwrap()).collect();
        assert_eq!(outcomes, ["resetting", "reset"]);
        for record in &records {
            assert_eq!(record.str_at("/operator"), Some("olga"));
            assert_eq!(record.str_at("/limit"), Some("session_rules.user"));
            assert_eq!(record.str_at("/key"), Some(r#"["dana@example.com"]"#));
            let before = record.body.pointer("/before/counters/0/used").and_then(Value::as_u64);
            assert_eq!(before, Some(1_250));
        }
        assert_eq!(records[1].body.pointer("/after/counters"), Some(&Value::Array(Vec::new())));
        let line = records[1].body.to_string();
        assert!(!line.contains("wrong price"), "the reason is committed to, not written: {line}");
        assert_eq!(records[1].body.pointer("/emptied").and_then(Value::as_u64), Some(1));
    }
}

#[tokio::test]
async fn a_reset_wants_an_operator_a_reason_and_something_held() {
    let told = told("session-rules", Arc::new(Memory::new())).await;
    told.ask(&chat("one")).await;
    let (id, key) = ("session_rules.team", r#"["finance"]"#);
    let reset = async |peer: &Peer, tenant: &str, id: &str, key: &str, why: &str| {
        told.pdp.reset_limit(peer, tenant, (id, key), why).await.map(|reset| reset.emptied)
    };
    for (peer, tenant, id, key, why, refused) in [
        (auditor(), "default", id, key, "r", "role_missing"),
        (Peer::new("pep", &[Role::Pep]), "default", id, key, "r", "role_missing"),
        (operator(), "default", id, key, " ", "call_invalid"),
        (operator(), "default", "", key, "r", "call_invalid"),
        (operator(), "elsewhere", id, key, "r", "tenant_unknown"),
        (operator(), "default", id, r#"["sales"]"#, "r", "nothing_held"),
        (operator(), "default", "no.limit", key, "r", "nothing_held"),
    ] {
        let error: LimitsError = reset(&peer, tenant, id, key, why).await.unwrap_err();
        assert_eq!(error.id(), refused, "{error}");
    }
    let long = "r".repeat(crate::limits::REASON_MAX_BYTES);
    let longer = format!("{long}r");
    assert!(reset(&operator(), "default", id, key, &longer).await.is_err());
    assert_eq!(told.resets().len(), 0, "what is refused gives nothing back");
    assert_eq!(reset(&operator(), "default", id, key, &long).await.unwrap(), 1);
    let peer = Peer::new("pep", &[Role::Pep]);
    assert!(told.pdp.show_limits(&peer, "default", &Wanted::default()).await.is_err());
}

#[tokio::test]
async fn a_limit_that_was_used_up_has_room_after_its_reset() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let mut leases = Vec::new();
        for _ in 0..4 {
            let held = chat("one");
            assert_eq!(told.ask(&held).await.effect, Effect::Allow);
            leases.push(held);
        }
        let refused = told.ask(&chat("one")).await;
        assert_eq!(
            (refused.effect, reasons(&refused)),
            (Effect::Deny, vec!["limit.session_rules.at_once"])
        );
        assert!(
            crate::metrics::metrics_text(&told.pdp)
                .contains("lictor_limit_refused_total{limit=\"session_rules.at_once\"} 1\n")
        );
        let (id, key) = ("session_rules.at_once", r#"["clerk-v1"]"#);
        told.pdp.reset_limit(&operator(), "default", (id, key), "stuck").await.unwrap();
        assert_eq!(told.ask(&chat("one")).await.effect, Effect::Allow);
        // Calls of before give nothing back twice.
        for held in &leases {
            told.settle(held, "").await;
        }
        assert_eq!(told.held(Some(id)).await[0].used(), 1);
    }
}

#[tokio::test]
async fn a_call_that_goes_on_keeps_its_place() {
    for store in stores().await {
        let told = told("session-rules", store).await;
        let long = chat("one");
        assert_eq!(told.ask(&long).await.effect, Effect::Allow);
        let at_once = async || told.held(Some("session_rules.at_once")).await.len();
        let step_ms = crate::state::counter::CONCURRENT_LEASE_MS - 1;
        for _ in 0..5 {
            told.pass(step_ms);
            assert_eq!(at_once().await, 1);
            told.handle.extend(&long.call_id).await.unwrap();
        }
        let other = PeerHandle::new(Arc::clone(&told.pdp), Peer::new("other", &[Role::Pep]));
        assert!(other.extend(&long.call_id).await.is_err(), "another's call");
        let nobody = PeerHandle::new(Arc::clone(&told.pdp), operator());
        assert!(nobody.extend(&long.call_id).await.is_err(), "no enforcement point");
        assert!(told.handle.extend("no-such-call").await.is_err());
        told.settle(&long, "").await;
        assert_eq!(at_once().await, 0);
        assert!(told.handle.extend(&long.call_id).await.is_err(), "it is over");
    }
}

/// Everything that a call could change.
async fn everything(told: &Told, calls: &[Arc<Call>]) -> String {
    let now_ms = told.pdp.clock.now_ms();
    let bundle = told.pdp.live.of("default").unwrap();
    let mut text = format!("{:?}", told.held(None).await);
    for call in calls {
        let key = told.pdp.handles.session_of(call, now_ms).unwrap();
        let binding = approvals::binding(call, &bundle, &key);
        let snapshot = told.pdp.state.read(&key, &binding, now_ms).await.unwrap();
        let stored = told.pdp.state.stored("default", "pep", &call.call_id).await.unwrap();
        text.push_str(&format!("\n{snapshot:?} {}", stored.is_some()));
    }
    let approvals = told.pdp.state.approvals(now_ms).await.unwrap();
    format!("{text}\n{approvals:?}")
}

#[tokio::test]
async fn a_dry_run_touches_nothing() {
    for store in stores().await {
        for bundle in ["session-rules", "agent-baseline"] {
            let told = told(bundle, Arc::clone(&store)).await;
            let (agent, credential) = match bundle {
                "session-rules" => ("clerk-v1", "dry-s"),
                _ => ("helper-v1", "dry-b"),
            };
            let tool = |name: &str, args: &str| call(agent, credential, name, args);
            let calls = match bundle {
                "session-rules" => vec![
                    chat(credential),
                    tool("payments/approve", r#"{"invoice":"I-7"}"#),
                    tool("payments/pay", r#"{"invoice":"I-7","amount":1}"#),
                    tool("vault/read", r#"{"name":"supplier"}"#),
                ],
                _ => vec![
                    tool("kb/search", r#"{"query":"a"}"#),
                    tool("mail/send", r#"{"to":"a@example.com","body":"b"}"#),
                ],
            };
            // Something is there before.
            let first = Arc::clone(&calls[0]);
            assert_eq!(told.ask(&first).await.effect, Effect::Allow);
            let fresh: Vec<_> = calls
                .iter()
                .map(|call| Arc::new(Call { call_id: new_id(2), ..Call::clone(call) }))
                .collect();
            let before = everything(&told, &fresh).await;
            let mut effects = Vec::new();
            for _ in 0..12 {
                for call in &fresh {
                    let facts = match call.resource.as_ref().map(|resource| resource.id.as_str()) {
                        Some("payments/pay") => {
                            r#"{"session":{"calls":{"payments/check":1,"payments/approve":1}}}"#
                        }
                        Some("mail/send") => r#"{"signals":{"first_use":true}}"#,
                        _ => "{}",
                    };
                    let facts: Facts = serde_json::from_str(facts).unwrap();
                    let dry = told.pdp.dry_run(&operator(), call, facts).unwrap().decision;
                    assert!(dry.dry_run && dry.approval.is_none() && dry.limits.is_empty());
                    effects.push(dry.effect);
                }
                let mut open = Call::clone(&first);
                open.action.name = "session/open".to_owned();
                open.resource = None;
                open.context.args = lictor_proto::json::Open::default();
                let answer = told.pdp.dry_run(&operator(), &open, Facts::default()).unwrap();
                assert_eq!(answer.hints.session_handle, None, "no session is opened");
            }
            assert_eq!(everything(&told, &fresh).await, before);
            assert!(effects.contains(&Effect::Allow));
            assert_eq!(effects.contains(&Effect::Ask), bundle == "agent-baseline");
            let pep = Peer::new("pep", &[Role::Pep]);
            assert!(told.pdp.dry_run(&pep, &first, Facts::default()).is_err());
        }
    }
}
