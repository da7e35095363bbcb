//! Many questions on one stream.

use std::collections::HashMap;

use lictor_pdp::clock::new_id;
use lictor_pdp::grpc::decision::STREAM_IN_FLIGHT_MAX;
use lictor_proto::call::{Call, Party, Resource, ResourceKind};
use lictor_proto::stream::{CALL_BYTES_MAX, IN_FLIGHT_KEY, STREAMS_KEY, STREAMS_MAX};
use lictor_proto::{pb, wire};
use prost::Message as _;

use crate::caller::{Caller, Conversation};
use crate::point::Point;

const PATH: &str = "/lictor.v1.DecisionService/DecideStream";

fn request(id: &str) -> pb::DecideRequest {
    let mut call = Call {
        call_id: id.to_owned(),
        subject: Some(Party::new("user", "alice")),
        agent: Some(Party::new("agent", "bot")),
        resource: Some(Resource { kind: ResourceKind::Tool, id: "bank/read".to_owned() }),
        ..Call::default()
    };
    call.action.name = "tools/call".to_owned();
    pb::DecideRequest { call: Some(wire::call_to_pb(&call)), budget_ms: 10_000, dry_run: false }
}

async fn answers(
    stream: &mut Conversation,
    requests: &[pb::DecideRequest],
) -> HashMap<String, pb::DecideResponse> {
    let messages: Vec<_> = requests.iter().map(pb::DecideRequest::encode_to_vec).collect();
    let answers = stream.ask_all(&messages).await.into_iter();
    let answers = answers.map(|answer| pb::DecideResponse::decode(answer).unwrap());
    answers.map(|answer| (answer.call_id.clone(), answer)).collect()
}

async fn open(point: &Point) -> (Caller, Conversation) {
    let bearer = format!("Bearer {}", point.token("state/pep.token"));
    let mut caller = Caller::plain(point, Some(&bearer)).await;
    let stream = caller.stream(PATH).await;
    (caller, stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_as_are_announced_are_decided_whatever_is_wrong_with_one_of_them() {
    let point = Point::start(|_, _| {}).await;
    let (_caller, mut stream) = open(&point).await;
    let credit: usize = stream.announced(IN_FLIGHT_KEY).unwrap().parse().unwrap();
    assert_eq!(credit, STREAM_IN_FLIGHT_MAX);
    let streams: usize = stream.announced(STREAMS_KEY).unwrap().parse().unwrap();
    assert!((1..=STREAMS_MAX).contains(&streams), "{streams}");
    let ids: Vec<_> = (0..credit).map(|_| new_id(1)).collect();
    let mut requests: Vec<_> = ids.iter().map(|id| request(id)).collect();
    if let Some(call) = &mut requests[7].call {
        call.tenant = "x".repeat(CALL_BYTES_MAX);
    }
    if let Some(call) = &mut requests[8].call {
        call.phase = 77;
    }
    let answers = answers(&mut stream, &requests).await;
    assert_eq!(answers.len(), credit);
    for (number, id) in ids.iter().enumerate() {
        let answer = &answers[id];
        let effect = answer.decision.as_ref().map(pb::Decision::effect);
        let error = answer.error.as_ref().map(|error| error.id.as_str());
        match number {
            7 => assert_eq!((effect, error), (None, Some("body_too_large"))),
            8 => assert_eq!((effect, error), (Some(pb::Effect::Deny), None)),
            _ => assert_eq!((effect, error), (Some(pb::Effect::Allow), None), "{answer:?}"),
        }
    }
    // Everything was taken, so there is room for as many again.
    let again = answers_of_others(&mut stream, credit).await;
    assert_eq!(again, credit);
    point.stop().await;
}

async fn answers_of_others(stream: &mut Conversation, count: usize) -> usize {
    let requests: Vec<_> = (0..count).map(|_| request(&new_id(1))).collect();
    let allowed = |answer: &&pb::DecideResponse| {
        answer.decision.as_ref().is_some_and(|d| d.effect() == pb::Effect::Allow)
    };
    answers(stream, &requests).await.values().filter(allowed).count()
}
