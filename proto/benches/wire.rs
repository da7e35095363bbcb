//! What the wire costs on each side of one decision: the call and its answer through protobuf.
//!
//! `cargo bench --profile profiling -p lictor-proto --bench wire`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run ends")]

use std::hint::black_box;

use divan::Bencher;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, Hints, Quota, QuotaUnit};
use lictor_proto::decision::{
    BundleRef, Decision, Effect, LimitState, Obligation, ObligationKind, Reason,
};
use lictor_proto::json::Open;
use lictor_proto::{pb, wire};
use prost::Message as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Ten arguments, claims, one text.
fn call() -> Call {
    let text = r#"{
        "call_id": "01a1fc6f-0000-7000-8000-000000000001",
        "subject": { "type": "user", "id": "alice@example.com",
            "claims": { "iss": "https://idp.example.com", "groups": ["finance", "staff"], "email": "alice@example.com" } },
        "agent": { "type": "agent", "id": "expense-report-v1" },
        "action": { "name": "tools/call" },
        "credential": { "kind": "jwt", "id": "sha256:9f86d081884c7d659a2feaa0c55ad015", "issuer": "https://idp.example.com" },
        "resource": { "type": "tool", "id": "accounting/post_expense" },
        "context": { "protocol": "mcp/2026-07-28", "source_ip": "192.0.2.7",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "args": { "employee": "alice@example.com", "amount": 120.5, "currency": "EUR", "category": "travel",
                "date": "2026-11-20", "cost_center": "cc-17", "note": "train to \"Lyon\"", "billable": true,
                "items": [{ "what": "ticket", "price": 100 }, { "what": "seat", "price": 20.5 }], "approver": null } },
        "content": [{ "origin": "tool_args", "pointer": "/note", "media": "text/plain", "text": "train to Lyon" }],
        "session": { "handle": "lictor-session-1.0123456789abcdef0123456789abcdef.0123456789abcdef" }
    }"#;
    Call::from_json(text.as_bytes()).unwrap()
}

fn answer() -> Answer {
    let reason = Reason::new("travel_ok", "travel expenses up to 500 are the employee's own");
    let mut decision = Decision::denied("01a1fc6f-0000-7000-8000-00000000abcd", "", reason);
    decision.call_id = call().call_id;
    decision.effect = Effect::Allow;
    decision.obligations = vec![Obligation {
        id: "log".to_owned(),
        kind: ObligationKind::LogFull,
        properties: Open::default(),
    }];
    decision.limits = vec![LimitState {
        id: "team.calls".to_owned(),
        reserved: 1,
        remaining: 99,
        reset_at: "2026-11-21T16:00:00Z".to_owned(),
        retry_after_ms: 0,
    }];
    decision.bundle = Some(BundleRef {
        name: "standard".to_owned(),
        revision: "r1".to_owned(),
        version: 7,
        digest: format!("sha256:{}", "0".repeat(64)),
    });
    decision.request_digest = call().request_digest();
    let quota =
        Quota { id: "team.calls".to_owned(), max: 100, window_s: 60, unit: QuotaUnit::Calls };
    Answer { decision, hints: Hints { quotas: vec![quota], ..Hints::default() } }
}

fn request() -> pb::DecideRequest {
    pb::DecideRequest { call: Some(wire::call_to_pb(&call())), budget_ms: 250, dry_run: false }
}

#[divan::bench]
fn server_decodes(bencher: Bencher<'_, '_>) {
    let bytes = bytes::Bytes::from(request().encode_to_vec());
    bencher.bench(|| pb::DecideRequest::decode(black_box(bytes.clone())).unwrap());
}

#[divan::bench]
fn server_call_from_pb(bencher: Bencher<'_, '_>) {
    let call = wire::call_to_pb(&call());
    bencher.with_inputs(|| call.clone()).bench_values(|call| wire::call_from_pb(call).unwrap());
}

#[divan::bench]
fn server_answer_to_pb(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(answer).bench_values(|answer| wire::answer_to_pb(&answer));
}

#[divan::bench]
fn server_encodes(bencher: Bencher<'_, '_>) {
    let response = wire::answer_to_pb(&answer());
    let mut out = Vec::with_capacity(4_096);
    bencher.bench_local(|| {
        out.clear();
        response.encode(&mut out).unwrap();
        out.len()
    });
}

#[divan::bench]
fn both_digests(bencher: Bencher<'_, '_>) {
    let call = call();
    bencher.bench(|| (call.request_digest(), call.args_digest()));
}

#[divan::bench]
fn client_call_to_pb(bencher: Bencher<'_, '_>) {
    let call = call();
    bencher.bench(|| wire::call_to_pb(black_box(&call)));
}

#[divan::bench]
fn client_encodes(bencher: Bencher<'_, '_>) {
    let request = request();
    let mut out = Vec::with_capacity(4_096);
    bencher.bench_local(|| {
        out.clear();
        request.encode(&mut out).unwrap();
        out.len()
    });
}

#[divan::bench]
fn client_decodes(bencher: Bencher<'_, '_>) {
    let bytes = bytes::Bytes::from(wire::answer_to_pb(&answer()).encode_to_vec());
    bencher.bench(|| pb::DecideResponse::decode(black_box(bytes.clone())).unwrap());
}

#[divan::bench]
fn client_answer_from_pb(bencher: Bencher<'_, '_>) {
    let response = wire::answer_to_pb(&answer());
    bencher
        .with_inputs(|| response.clone())
        .bench_values(|response| wire::answer_from_pb(response).unwrap());
}
