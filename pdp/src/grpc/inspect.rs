//! `Inspect`: content that comes in pieces is collected by channel, decided as a
//! whole at its end, and released with its masks. Nothing is released before.

use std::sync::Arc;

use futures::Stream;
use futures::stream::{self, StreamExt as _};
use lictor_proto::call::{Call, Content};
use lictor_proto::decide::Answer;
use lictor_proto::{pb, reason, wire};
use tonic::{Code, Status, Streaming};

use super::{outlived, status};
use crate::decide::Pdp;
use crate::door::Pass;
use crate::peer::Peer;

/// Most text that is held for one channel, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 64 << 10;
/// Most channels of one inspection.
pub const CHANNELS_MAX: usize = 128;

/// What has come so far.
struct Inspection {
    call: Call,
    budget_ms: u32,
    channels: Vec<(u32, Content)>,
}

/// Serves one inspection.
pub(crate) fn serve(
    pdp: Arc<Pdp>,
    (peer, pass): (Peer, Pass),
    mut requests: Streaming<pb::InspectRequest>,
) -> impl Stream<Item = Result<pb::InspectResponse, Status>> + Send {
    let run = async move {
        match collect(&mut requests).await {
            // Text may come for as long as its sender likes.
            Ok(_) if !pass.holds(pdp.clock.now_ms()) => vec![Err(outlived())],
            Ok(inspection) => decide(&pdp, &peer, inspection).await,
            Err(status) => vec![Err(status)],
        }
    };
    stream::once(run).flat_map(stream::iter)
}

async fn collect(requests: &mut Streaming<pb::InspectRequest>) -> Result<Inspection, Status> {
    use pb::inspect_request::Step;
    let Some(Step::Open(open)) = next(requests).await? else {
        return Err(invalid("an inspection begins with `open`"));
    };
    let call = open.call.ok_or_else(|| invalid("`open` holds no call"))?;
    let call = wire::call_from_pb(call)
        .map_err(|error| status(Code::InvalidArgument, error.id, &error.message))?;
    let mut inspection = Inspection { call, budget_ms: open.budget_ms, channels: Vec::new() };
    loop {
        match next(requests).await? {
            Some(Step::Chunk(chunk)) => inspection.add(chunk)?,
            Some(Step::End(end)) if end.last => return Ok(inspection),
            Some(Step::End(_)) => {}
            Some(Step::Open(_)) => return Err(invalid("`open` comes once")),
            // Without its last end the text is not known whole: no decision.
            None => return Err(invalid("the inspection was cut off")),
        }
    }
}

async fn next(
    requests: &mut Streaming<pb::InspectRequest>,
) -> Result<Option<pb::inspect_request::Step>, Status> {
    match requests.message().await? {
        Some(request) => request.step.map(Some).ok_or_else(|| invalid("an empty step")),
        None => Ok(None),
    }
}

impl Inspection {
    fn add(&mut self, chunk: pb::InspectChunk) -> Result<(), Status> {
        let known = self.channels.iter_mut().find(|(channel, _)| *channel == chunk.channel);
        let Some((_, content)) = known else {
            return self.begin(chunk);
        };
        if chunk.offset != content.text.len() as u64 {
            return Err(invalid("a chunk does not join the one before it"));
        }
        if content.text.len() + chunk.text.len() > CHANNEL_BYTES_MAX {
            return Err(too_large());
        }
        content.text.push_str(&chunk.text);
        Ok(())
    }

    fn begin(&mut self, chunk: pb::InspectChunk) -> Result<(), Status> {
        if self.channels.len() >= CHANNELS_MAX || chunk.text.len() > CHANNEL_BYTES_MAX {
            return Err(too_large());
        }
        if chunk.offset != 0 {
            return Err(invalid("a channel begins at offset 0"));
        }
        let origin = serde_json::from_value(serde_json::Value::String(chunk.origin.clone()))
            .map_err(|_| invalid(&format!("`{}` is not a known origin", chunk.origin)))?;
        let content = Content {
            origin,
            pointer: chunk.pointer,
            media: "text/plain".to_owned(),
            text: chunk.text,
        };
        self.channels.push((chunk.channel, content));
        Ok(())
    }
}

async fn decide(
    pdp: &Pdp,
    peer: &Peer,
    mut inspection: Inspection,
) -> Vec<Result<pb::InspectResponse, Status>> {
    let channels = std::mem::take(&mut inspection.channels);
    let lengths: Vec<(u32, u64)> =
        channels.iter().map(|(channel, content)| (*channel, content.text.len() as u64)).collect();
    inspection.call.content = channels.into_iter().map(|(_, content)| content).collect();
    let call = Arc::new(inspection.call);
    let response = match pdp.decide(peer, Arc::clone(&call), inspection.budget_ms).await {
        Ok(answer) => return released(&lengths, &answer),
        Err(error) => wire::error_to_pb(&call.call_id, &error),
    };
    vec![Ok(step(pb::inspect_response::Step::Decision(response)))]
}

/// On allow every channel may go; what to mask follows from the decision's
/// obligations and findings, which the enforcement point applies.
fn released(lengths: &[(u32, u64)], answer: &Answer) -> Vec<Result<pb::InspectResponse, Status>> {
    use pb::inspect_response::Step;
    let allowed = answer.decision.effect == lictor_proto::decision::Effect::Allow;
    let mut steps = vec![Ok(step(Step::Decision(wire::answer_to_pb(answer))))];
    for (channel, length) in lengths.iter().filter(|_| allowed) {
        let ack = pb::InspectAck { channel: *channel, released: *length, masks: Vec::new() };
        steps.push(Ok(step(Step::Ack(ack))));
    }
    steps
}

fn step(step: pb::inspect_response::Step) -> pb::InspectResponse {
    pb::InspectResponse { step: Some(step) }
}

fn invalid(message: &str) -> Status {
    status(Code::InvalidArgument, reason::CALL_INVALID, message)
}

fn too_large() -> Status {
    status(Code::ResourceExhausted, reason::BODY_TOO_LARGE, "more content than is held")
}
