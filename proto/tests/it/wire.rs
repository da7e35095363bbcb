//! Protobuf and Lictor JSON say the same.

use lictor_proto::call::{Call, REQUEST_DOMAIN};
use lictor_proto::json::{self, Node, Value};
use lictor_proto::{pb, wire};
use proptest::prelude::*;

use crate::generate;

/// The slow way: the call's JSON, scanned, without `trace_id`, sorted.
fn slow_digest(call: &Call) -> String {
    let mut node = json::scan(call.to_json().as_bytes()).unwrap();
    if let Value::Object(members) = &mut node.value {
        for member in members.iter_mut().filter(|m| &*m.key == "context") {
            if let Value::Object(context) = &mut member.value.value {
                context.retain(|m| &*m.key != "trace_id");
            }
        }
    }
    json::digest_bytes(REQUEST_DOMAIN, Node::canonical(&node).as_bytes())
}

proptest! {
    #[test]
    fn a_call_survives_both_envelopes(call in generate::call()) {
        let through_pb = wire::call_from_pb(wire::call_to_pb(&call)).unwrap();
        prop_assert_eq!(&through_pb, &call);
        let through_json = Call::from_json(call.to_json().as_bytes()).unwrap();
        prop_assert_eq!(&through_json, &call);
        prop_assert_eq!(through_json.to_json(), call.to_json());
    }

    #[test]
    fn the_digest_is_that_of_the_sorted_json_and_ignores_the_trace(call in generate::call()) {
        prop_assert_eq!(call.request_digest(), slow_digest(&call));
        let mut traced = call.clone();
        traced.context.trace_id.push('x');
        prop_assert_eq!(traced.request_digest(), call.request_digest());
        let mut other = call.clone();
        other.context.source_ip.push('x');
        prop_assert_ne!(other.request_digest(), call.request_digest());
    }
}

fn pb_call() -> pb::Call {
    wire::call_to_pb(&Call::default())
}

#[test]
fn facts_on_the_wire_are_refused() {
    let call = pb::Call { facts: b"{}".as_slice().into(), ..pb_call() };
    assert_eq!(wire::call_from_pb(call).unwrap_err().id, "fact_in_call");
    let error = Call::from_json(br#"{"facts":{}}"#).unwrap_err();
    assert_eq!(error.reason_id(), "fact_in_call");
}

#[test]
fn names_outside_their_closed_set_are_refused() {
    let resource = pb::Resource { r#type: "tools".into(), id: "x".into() };
    let refused = [
        pb::Call { phase: 0, ..pb_call() },
        pb::Call { phase: 9, ..pb_call() },
        pb::Call { questions: vec![0], ..pb_call() },
        pb::Call { resource: Some(resource), ..pb_call() },
        pb::Call {
            credential: Some(pb::Credential { kind: "token".into(), ..Default::default() }),
            ..pb_call()
        },
        pb::Call {
            content: vec![pb::Content { origin: "model".into(), ..Default::default() }],
            ..pb_call()
        },
    ];
    for call in refused {
        let error = wire::call_from_pb(call.clone()).expect_err(&format!("{call:?}"));
        assert_eq!(error.id, "call_invalid");
    }
}

#[test]
fn open_objects_are_read_strictly() {
    let with = |args: &'static [u8]| pb::Call {
        context: Some(pb::Context { args: args.into(), ..Default::default() }),
        ..pb_call()
    };
    let id = |args| wire::call_from_pb(with(args)).unwrap_err().id;
    assert_eq!(id(br#"{"a":1,"a":2}"#), "duplicate_key");
    assert_eq!(id(br#"{"a":18446744073709551616}"#), "number_inexact");
    assert_eq!(id(b"[1]"), "call_invalid");
    assert_eq!(id(b"{"), "body_invalid");
    let kept = wire::call_from_pb(with(br#"{"b": 18446744073709551615, "a": 127.50}"#)).unwrap();
    assert_eq!(kept.context.args.text(), r#"{"b":18446744073709551615,"a":127.50}"#);
}

#[test]
fn an_unknown_obligation_makes_the_answer_unusable() {
    let obligation =
        pb::Obligation { id: "x".into(), r#type: "teleport".into(), ..Default::default() };
    let decision = pb::Decision {
        effect: pb::Effect::Allow as i32,
        obligations: vec![obligation],
        labels: None,
        ..Default::default()
    };
    assert_eq!(wire::decision_from_pb(decision).unwrap_err().id, "obligation_unknown");
    let unspecified = pb::Decision::default();
    assert_eq!(wire::decision_from_pb(unspecified).unwrap_err().id, "call_invalid");
}
