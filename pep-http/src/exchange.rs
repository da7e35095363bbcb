//! One chat from the request to the release: decided, permitted, sent, checked, recorded.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Response};
use hyper::body::Incoming;
use lictor_pep_core::forward::ForwardError;
use lictor_pep_core::{Ended, Ending, Flight, Permit, Refusal};
use lictor_proto::reason;

use crate::ingress::{self, CHAT, CHAT_PROTOCOL, Caller};
use crate::server::{App, Reply, Stop};
use crate::upstream::{Sent, Upstream};
use crate::{obligations, refusal, response, stream};

/// Where a provider takes chats.
const PATH: &str = "/chat/completions";

/// Carries out one chat and answers it.
pub(crate) async fn chat(app: Arc<App>, caller: Caller, body: Body, mut reply: Reply) {
    match forward(&app, &caller, body, &mut reply).await {
        Ok(None) => {}
        Err(refused) => reply.send(refusal::response(&refused)),
        Ok(Some((flight, answer))) if stream::is_event_stream(answer.headers()) => {
            stream::run(app, flight, answer, reply).await;
        }
        Ok(Some((flight, answer))) => {
            match response::collect(&app, flight, answer, &mut reply).await {
                Ok(None) => {}
                Ok(Some((flight, plain))) => {
                    reply.send(response::release(&app.pep, flight, plain).await);
                }
                Err(refused) => reply.send(refusal::response(&refused)),
            }
        }
    }
}

/// From the request to the head of the provider's answer; `None` if the caller has gone.
async fn forward(
    app: &App,
    caller: &Caller,
    body: Body,
    reply: &mut Reply,
) -> Result<Option<(Flight, Response<Incoming>)>, Refusal> {
    let read = read(app, caller, body).await;
    let mut chat = match read {
        Ok(chat) => chat,
        Err(refused) => {
            let ip = &caller.source_ip;
            return Err(app.pep.refuse_unread(CHAT_PROTOCOL, ip, CHAT, refused).await);
        }
    };
    let permitted = app.pep.decide_while(chat.request, reply.gone()).await?;
    let edits = std::mem::take(&mut chat.edits);
    let dutiful = if reply.is_gone() {
        Err(permitted.refuse(reason::UPSTREAM_UNAVAILABLE, "the caller has gone"))
    } else {
        obligations::carry_out(&permitted, &chat.body, &chat.root, edits)
    };
    let dutiful = match dutiful {
        Ok(dutiful) => dutiful,
        Err(refused) => {
            app.pep.give_up(permitted, &refused).await?;
            return Err(refused);
        }
    };
    let (body, now_ms) = (dutiful.body, app.pep.clock().now_ms());
    let had = app.upstreams.credential(chat.upstream, caller.proof(), &permitted, now_ms).await;
    let credential = match had {
        Ok(credential) => credential,
        Err(refused) => {
            app.pep.give_up(permitted, &refused).await?;
            return Err(refused);
        }
    };
    let (permit, flight) = app.pep.permit(permitted, &body).await?;
    let (method, set) = (Method::POST, dutiful.headers);
    let sent = Sent { method, path: PATH, caller: &caller.headers, set, credential, body };
    send(app, chat.upstream, permit, flight, sent, reply).await
}

/// Who calls comes first, so that nobody unknown makes us read a body.
async fn read<'a>(app: &'a App, caller: &Caller, body: Body) -> Result<ingress::Chat<'a>, Refusal> {
    app.pep.identify(caller.proof()).await?;
    let body = ingress::read_body(&caller.headers, body, app.max_body_bytes, app.idle).await?;
    ingress::chat(caller, body, &app.upstreams)
}

/// Sends what the permit covers; `None` if the caller has gone. Where nothing comes back the flight has ended.
///
/// # Errors
/// What the caller is told instead of an answer.
pub(crate) async fn send(
    app: &App,
    upstream: &Upstream,
    permit: Permit,
    flight: Flight,
    sent: Sent<'_>,
    reply: &mut Reply,
) -> Result<Option<(Flight, Response<Incoming>)>, Refusal> {
    let answered = tokio::select! {
        answered = upstream.send(&app.forwarder, permit, sent) => answered,
        stop = app.stopped(reply) => return match stop {
            Stop::Gone => app.abandon(flight, 0).await.map(|()| None),
            Stop::Draining => Err(app.drained(flight, 0).await),
        },
    };
    match answered {
        Ok(answer) => Ok(Some((flight, answer))),
        Err(error) => {
            let refused = flight.refuse(error.reason_id(), error.to_string());
            let mut ending = Ending::new(ended(&error), 0);
            ending.usage = flight.call().usage;
            Err(app.end(flight, ending, refused).await)
        }
    }
}

fn ended(error: &ForwardError) -> Ended {
    match error {
        error if error.nothing_sent() => Ended::NotSent,
        ForwardError::Redirect => Ended::Failed,
        _ => Ended::Unknown,
    }
}
