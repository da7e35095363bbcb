//! One message, from the moment it was understood to its answer: the five stages in their order,
//! with what MCP adds between them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response};
use bytes::Bytes;
use lictor_pep_core::forward::ForwardError;
use lictor_pep_core::{Ended, Ending, Flight, Permitted, Proof, Refusal, Request, mask};
use lictor_proto::call::Call;
use lictor_proto::json::{Node, Open, scan};
use lictor_proto::reason;
use tokio::sync::oneshot;

use crate::answer::{self, MCP_SESSION, abandon};
use crate::config::Server;
use crate::ingress::{self, Era, Inbound, args_of};
use crate::refusal::{Asked, Bounce};
use crate::server::App;
use crate::sessions::Principal;

/// Where a message came from.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) headers: HeaderMap,
    pub(crate) source_ip: String,
    pub(crate) proof: Proof,
}

/// A POST. `gone` resolves when the client hangs up, which in the modern era means cancelling.
pub(crate) async fn post(
    app: Arc<App>,
    server: Server,
    caller: Caller,
    inbound: Inbound,
    gone: oneshot::Receiver<()>,
) -> Response<Body> {
    let asked = Asked::by(&inbound);
    match message(&app, &server, caller, inbound, gone).await {
        Ok(response) => response,
        Err(Stop::Refused(refusal)) => Bounce::decided(refusal, asked).response(&app.refusals),
        Err(Stop::NoSession(refusal)) => session_gone(&refusal, asked.id(), &app),
    }
}

/// Why a message was not answered by the server.
enum Stop {
    Refused(Refusal),
    /// The legacy session is unknown or somebody else's: clients initialise again on 404.
    NoSession(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn message(
    app: &Arc<App>,
    server: &Server,
    caller: Caller,
    inbound: Inbound,
    mut gone: oneshot::Receiver<()>,
) -> Result<Response<Body>, Stop> {
    let (ip, proof) = (caller.source_ip.clone(), caller.proof.clone());
    let mut request = inbound.request(server, &caller.headers, ip, proof.clone());
    let session_id = enter_session(app, server, &caller, inbound.era, &mut request).await?;
    if let (Some(session), Some(id)) = (&session_id, inbound.id()) {
        abandon(app, app.sessions.begin(session, &server.id, id).into_iter().collect()).await;
    }
    // Stages 1 to 4: who, may they, under which obligations.
    let left = async { drop((&mut gone).await) };
    let permitted = app.pep.decide_while(request, left).await?;
    let (permitted, body, args) = oblige(app, permitted, &inbound).await?;
    let masked = args.is_some();
    // The server learns who calls from us, not from the caller's token.
    let digest = args_digest(&permitted, args);
    let own = match app.upstream.own_headers(&permitted, server, &digest, &proof).await {
        Ok(own) => own,
        Err(refusal) => return Err(give_up(app, permitted, refusal).await.into()),
    };
    // The intention is on record before a byte leaves.
    let (permit, flight) = app.pep.permit(permitted, &body).await?;
    let headers = app.upstream.callers_headers(caller.headers, inbound.era, masked);
    let sent = app.upstream.send(permit, server, Method::POST, headers, own, body);
    let sent = match until_gone(sent, gone, inbound.era).await {
        Some(sent) => sent,
        None => return Err(cancelled(app, flight).await.into()),
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => return Err(not_answered(app, flight, &error).await.into()),
    };
    let bound = answer::bind_session(app, server, &flight, &inbound, answer.headers()).await;
    let session_id = bound.or(session_id);
    answer::released(app, server, flight, Some(inbound), session_id, answer)
        .await
        .map_err(Stop::from)
}

/// A GET (the stream of a legacy session) or DELETE (its end).
pub(crate) async fn bodiless(
    app: Arc<App>,
    server: Server,
    caller: Caller,
    method: Method,
    version: String,
) -> Response<Body> {
    match session_request(&app, &server, caller, method, &version).await {
        Ok(response) => response,
        Err(Stop::Refused(refusal)) => Bounce::bodiless(refusal).response(&app.refusals),
        Err(Stop::NoSession(refusal)) => session_gone(&refusal, None, &app),
    }
}

async fn session_request(
    app: &Arc<App>,
    server: &Server,
    caller: Caller,
    method: Method,
    version: &str,
) -> Result<Response<Body>, Stop> {
    let (ip, proof) = (caller.source_ip.clone(), caller.proof.clone());
    let mut request = ingress::bodiless(server, &caller.headers, version, ip, proof.clone());
    let session_id = enter_session(app, server, &caller, Era::Legacy, &mut request).await?;
    let permitted = app.pep.decide(request).await?;
    let digest = permitted.call().args_digest();
    let own = match app.upstream.own_headers(&permitted, server, &digest, &proof).await {
        Ok(own) => own,
        Err(refusal) => return Err(give_up(app, permitted, refusal).await.into()),
    };
    let (permit, flight) = app.pep.permit(permitted, b"").await?;
    let headers = app.upstream.callers_headers(caller.headers, Era::Legacy, false);
    let ends = method == Method::DELETE;
    let sent = app.upstream.send(permit, server, method, headers, own, Bytes::new()).await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => return Err(not_answered(app, flight, &error).await.into()),
    };
    let ended = session_id.as_deref().filter(|_| ends && answer.status().is_success());
    if let Some(id) = ended {
        abandon(app, app.sessions.end(id, &server.id)).await;
    }
    answer::released(app, server, flight, None, session_id, answer).await.map_err(Stop::from)
}

/// Checks that a legacy session is the caller's, and takes over the handle that came with it.
async fn enter_session(
    app: &App,
    server: &Server,
    caller: &Caller,
    era: Era,
    request: &mut Request,
) -> Result<Option<String>, Stop> {
    if era != Era::Legacy || !caller.headers.contains_key(MCP_SESSION) {
        return Ok(None);
    }
    let identity = match app.pep.identify(&caller.proof).await {
        Ok(identity) => identity,
        Err(refusal) => {
            let (protocol, ip) = (&request.protocol, &request.source_ip);
            return Err(app.pep.refuse_unread(protocol, ip, &request.action, refusal).await.into());
        }
    };
    let principal = Principal::new(&server.id, &identity);
    let named = only_session(&caller.headers);
    let known = named.and_then(|id| Some((id, app.sessions.enter(id, &principal)?)));
    match known {
        Some((id, handle)) => {
            request.session = request.session.take().or(handle);
            Ok(Some(id.to_owned()))
        }
        None => {
            let refusal = Refusal::new(reason::SESSION_UNKNOWN, "the session is not known here");
            let refusal = app
                .pep
                .refuse_unread(&request.protocol, &request.source_ip, &request.action, refusal)
                .await;
            Err(Stop::NoSession(refusal))
        }
    }
}

/// The one session that is named. All values of the header go to the server, which could take
/// another than the one that was checked: several name none.
fn only_session(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(MCP_SESSION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn session_gone(refusal: &Refusal, id: Option<&str>, app: &App) -> Response<Body> {
    let mut response = Bounce::bodiless(refusal.clone()).answering(id).response(&app.refusals);
    if refusal.has(reason::SESSION_UNKNOWN) {
        *response.status_mut() = axum::http::StatusCode::NOT_FOUND;
    }
    response
}

/// Carries out what the decision obliges to: the bytes to forward, and the arguments in them if
/// they were changed. Changed arguments are asked about again.
async fn oblige(
    app: &App,
    permitted: Permitted,
    inbound: &Inbound,
) -> Result<(Permitted, Bytes, Option<Open>), Refusal> {
    if !mask::wanted(permitted.decision()) {
        return Ok((permitted, inbound.bytes.clone(), None));
    }
    let changed = match masked(&permitted, inbound) {
        Ok(changed) => changed,
        Err(refusal) => return Err(give_up(app, permitted, refusal).await),
    };
    let Some((body, args)) = changed else {
        return Ok((permitted, inbound.bytes.clone(), None));
    };
    match app.pep.revalidate(&permitted, args.clone()).await {
        Ok(()) => Ok((permitted, body, Some(args))),
        Err(refusal) => Err(give_up(app, permitted, refusal).await),
    }
}

fn masked(permitted: &Permitted, inbound: &Inbound) -> Result<Option<(Bytes, Open)>, Refusal> {
    let failed = |cause: String| {
        tracing::error!(cause, "a mask could not be applied");
        permitted.refuse(reason::OBLIGATION_FAILED, "a part of the arguments could not be masked")
    };
    let texts = inbound.texts();
    // Where there are no arguments, no pointer leads anywhere.
    let none = Node::empty_object();
    let root = inbound.args().unwrap_or(&none);
    let edits = mask::edits(permitted.decision(), &texts.nodes, root)
        .map_err(|error| failed(error.to_string()))?;
    if edits.is_empty() {
        return Ok(None);
    }
    let body = edits.apply(&inbound.bytes).map_err(|error| failed(error.to_string()))?;
    let node = scan(&body).map_err(|error| failed(error.to_string()))?;
    let args = args_of(&node).map(|node| Open::from_node(node.clone())).unwrap_or_default();
    Ok(Some((body.into(), args)))
}

/// The digest of the arguments as they are forwarded.
fn args_digest(permitted: &Permitted, changed: Option<Open>) -> String {
    match changed {
        None => permitted.call().args_digest(),
        Some(args) => {
            let mut call = Call::default();
            call.context.args = args;
            call.args_digest()
        }
    }
}

async fn give_up(app: &App, permitted: Permitted, refusal: Refusal) -> Refusal {
    match app.pep.give_up(permitted, &refusal).await {
        Ok(()) => refusal,
        Err(unrecorded) => unrecorded,
    }
}

/// Waits for `sent`; `None` where the client hung up first and that means cancelling.
async fn until_gone<T>(
    sent: impl Future<Output = T>,
    gone: oneshot::Receiver<()>,
    era: Era,
) -> Option<T> {
    if era == Era::Legacy {
        return Some(sent.await);
    }
    tokio::select! {
        sent = sent => Some(sent),
        _ = gone => None,
    }
}

async fn cancelled(app: &App, flight: Flight) -> Refusal {
    let refusal = flight.withhold(reason::UPSTREAM_UNAVAILABLE, "the caller cancelled the call");
    let ending = Ending::new(Ended::Unknown, 0).because(&refusal);
    app.pep.finish(flight, ending).await.err().unwrap_or(refusal)
}

/// The server did not answer. Whether anything was sent decides what the caller is told.
async fn not_answered(app: &App, flight: Flight, error: &ForwardError) -> Refusal {
    tracing::warn!(
        call_id = flight.call().call_id,
        cause = chain(error),
        "a server did not answer"
    );
    let id = error.reason_id();
    let message = "the server behind did not answer";
    let (ended, refusal) = if error.nothing_sent() {
        (Ended::NotSent, flight.refuse(id, message))
    } else {
        (Ended::Unknown, flight.withhold(id, message))
    };
    let ending = Ending::new(ended, 0).because(&refusal);
    app.pep.finish(flight, ending).await.err().unwrap_or(refusal)
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_second_session_id_cannot_ride_along() {
        let mut headers = HeaderMap::new();
        assert_eq!(only_session(&headers), None);
        headers.append(MCP_SESSION, HeaderValue::from_static("mine"));
        assert_eq!(only_session(&headers), Some("mine"));
        headers.append(MCP_SESSION, HeaderValue::from_static("yours"));
        assert_eq!(only_session(&headers), None);
    }
}
