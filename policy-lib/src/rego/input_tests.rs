use lictor_proto::call::Phase;
use lictor_proto::decision::Severity;
use lictor_proto::json::Open;
use proptest::prelude::*;

use super::*;

/// The same by way of the JSON text.
fn by_text(call: &Call, facts: &Facts) -> Value {
    let mut json = call.to_json();
    json.pop();
    json.push_str(",\"facts\":");
    json.push_str(&serde_json::to_string(facts).unwrap());
    json.push('}');
    Value::from_json_str(&json).unwrap()
}

#[test]
fn a_default_call_is_complete() {
    let (call, facts) = (Call::default(), Facts::default());
    assert_eq!(input_value(&call, &facts), by_text(&call, &facts));
}

#[test]
fn a_full_call_equals_its_lictor_json() {
    let call = Call::from_json(
        br#"{"call_id": "c", "phase": "response", "tenant": "t", "questions": ["quota"],
            "subject": {"type": "user", "id": "a", "claims": {"x": [1, -1, 1.5, 1e2, null, true, {"y": 18446744073709551615}]}},
            "agent": {"type": "agent", "id": "b"}, "delegation": [{"type": "agent", "id": "p", "claims": {"z": -9223372036854775808}}],
            "action": {"name": "tools/call"}, "credential": {"kind": "api_key", "id": "k"}, "request_call_id": "r",
            "executed": true, "resource": {"type": "tool", "id": "s/t"},
            "context": {"args": {"deep": {"er": ["\u00e9"]}}, "source_ip": "10.0.0.1", "trace_id": "t", "protocol": "mcp"},
            "content": [{"origin": "tool_args", "pointer": "/a", "text": "x"}], "session": {"handle": "h"},
            "usage": {"input_tokens": 1, "max_output_tokens": 2, "cost_usd_micros": 3}}"#,
    )
    .unwrap();
    let facts: Facts = serde_json::from_str(
        r#"{"subject": {"attrs": {"a": [1, 2.5, null]}}, "agent": {"attrs": {"b": {"c": true}}},
            "delegation": [{"attrs": {"party": "third"}}, {"attrs": {}}],
            "session": {"calls": {"s/t": 3}, "tail": ["x"], "pending": ["y"], "labels": {"integrity": "untrusted", "confidentiality": "secret"},
                        "approvals": ["p"], "spend_usd_micros": 7, "kind": "implicit", "marks": ["m"]},
            "findings": [{"detector": "secret/x", "category": "secret", "severity": "high", "score": 0.5, "content": 0, "start": 1, "end": 2}],
            "signals": {"loop": 2, "no_progress": 1, "first_use": true, "rate": 1.25}, "provenance": {"/a": {"origin": "user"}},
            "time": {"now_ms": -5, "rfc3339": "x"}}"#,
    )
    .unwrap();
    assert_eq!(facts.findings[0].severity, Severity::High);
    assert_eq!(input_value(&call, &facts), by_text(&call, &facts));
}

#[test]
fn every_phase_and_kind_has_its_name() {
    use lictor_proto::call::{CredentialKind, ResourceKind};
    for phase in [Phase::Request, Phase::List, Phase::Response] {
        let call = Call { phase, ..Call::default() };
        assert_eq!(input_value(&call, &Facts::default()), by_text(&call, &Facts::default()));
    }
    for kind in [
        CredentialKind::Jwt,
        CredentialKind::ApiKey,
        CredentialKind::Mtls,
        CredentialKind::Spiffe,
        CredentialKind::Peer,
    ] {
        let credential = Credential { kind, id: "x".to_owned(), issuer: "https://i".to_owned() };
        let call = Call { credential: Some(credential), ..Call::default() };
        assert_eq!(input_value(&call, &Facts::default()), by_text(&call, &Facts::default()));
    }
    for kind in
        [ResourceKind::Tool, ResourceKind::Model, ResourceKind::Server, ResourceKind::Memory]
    {
        let resource = Some(lictor_proto::call::Resource { kind, id: "x".to_owned() });
        let call = Call { resource, ..Call::default() };
        assert_eq!(input_value(&call, &Facts::default()), by_text(&call, &Facts::default()));
    }
}

proptest! {
    #[test]
    fn integers_and_texts_stay_exact(unsigned in any::<u64>(), signed in any::<i64>(), text in ".*") {
        let text = serde_json::to_string(&text).unwrap();
        let args = format!("{{\"u\":{unsigned},\"i\":{signed},\"t\":[{text}]}}");
        let value = value_from_node(Open::parse(args.as_bytes()).unwrap().node());
        prop_assert_eq!(value["u"].as_u64().unwrap(), unsigned);
        prop_assert_eq!(value["i"].as_i64().unwrap(), signed);
        prop_assert_eq!(value, Value::from_json_str(&args).unwrap());
    }
}
