//! The way back: what a server answered becomes what the caller gets, with its record.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use lictor_pep_core::headers::{LICTOR_CALL_ID, LICTOR_SESSION, strip_hop_by_hop};
use lictor_pep_core::upstream_auth::Credential;
use lictor_pep_core::{Ended, Ending, Flight, Refusal};
use lictor_proto::reason;

use crate::config::Server;
use crate::ingress::{Era, Inbound, Shape};
use crate::methods::Class;
use crate::response::{self, Released};
use crate::server::App;
use crate::sessions::{Principal, Suspended};
use crate::stream::Relay;

/// The legacy session id.
pub(crate) const MCP_SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// What a caller is told of an answer with our credential in it.
pub(crate) const REPEATED: &str = "the server's answer holds our credential for it";
/// Tells reverse proxies in between not to collect events.
const ACCEL: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What came back becomes what is released: an answer once it is examined and on record, or a
/// stream that does so event by event.
pub(crate) async fn released(
    app: &Arc<App>,
    server: &Server,
    flight: Flight,
    inbound: Option<Inbound>,
    session_id: Option<String>,
    answer: Response<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let streams = inbound.as_ref().is_none_or(|inbound| matches!(inbound.shape, Shape::Request(_)));
    let sent = answer.extensions().get::<Credential>();
    if sent.is_some_and(|sent| sent.is_in_headers(answer.headers())) {
        let refusal = flight.withhold(reason::OBLIGATION_FAILED, REPEATED);
        return Err(withheld(app, flight, refusal).await);
    }
    if streams && is_stream(answer.headers()) && answer.status().is_success() {
        return Ok(stream(app, server, flight, inbound, session_id, answer));
    }
    match collected(app, server, &flight, inbound.as_ref(), answer).await {
        Ok((head, released)) => finish(app, flight, head, released).await,
        Err(refusal) => Err(withheld(app, flight, refusal).await),
    }
}

/// Remembers who made a legacy session.
pub(crate) async fn bind_session(
    app: &App,
    server: &Server,
    flight: &Flight,
    inbound: &Inbound,
    headers: &HeaderMap,
) -> Option<String> {
    if inbound.era != Era::Legacy || inbound.row.method != "initialize" {
        return None;
    }
    let id = headers.get(MCP_SESSION)?.to_str().ok()?;
    if id.len() > crate::sessions::MAX_SESSION_ID_BYTES {
        return None;
    }
    let principal = Principal::new(&server.id, flight.identity());
    let handle = flight.hints().session_handle.clone();
    let handle = handle.or_else(|| flight.call().session.as_ref().map(|s| s.handle.clone()));
    let guard = Some(app.pep.guard(flight));
    abandon(app, app.sessions.bind(id, principal, handle, guard)).await;
    Some(id.to_owned())
}

/// Ends calls whose answers nobody will see.
pub(crate) async fn abandon(app: &App, calls: Vec<Suspended>) {
    for call in calls {
        let call_id = call.flight.call().call_id.clone();
        if app.pep.finish(call.flight, Ending::new(Ended::Unknown, 0)).await.is_err() {
            tracing::error!(call_id, "the end of an abandoned call could not be recorded");
        }
    }
}

/// Ends the sessions of whoever is revoked, for as long as it is polled.
pub(crate) async fn end_revoked(app: Arc<App>) {
    let mut news = app.pep.revocation_news();
    loop {
        news.changed().await;
        abandon(&app, app.sessions.end_revoked()).await;
    }
}

/// Status and headers of an answer, as the caller gets them.
#[derive(Debug)]
pub(crate) struct Head(Response<()>);

/// Reads an answer that is not streamed, and examines it.
async fn collected(
    app: &App,
    server: &Server,
    flight: &Flight,
    inbound: Option<&Inbound>,
    answer: Response<Incoming>,
) -> Result<(Head, Released), Refusal> {
    let (parts, body) = answer.into_parts();
    let status = parts.status.as_u16();
    if status == 401 {
        // A caller must not be sent to log in for what is between us and the server.
        return Err(flight.withhold(reason::UPSTREAM_UNAVAILABLE, "the server refused us"));
    }
    let coded = parts.headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
    if coded {
        return Err(flight.withhold(reason::BODY_INVALID, "the server's answer is compressed"));
    }
    let bytes = limited(app, flight, body).await?;
    let sent = parts.extensions.get::<Credential>();
    if sent.is_some_and(|sent| sent.is_in(&bytes)) {
        return Err(flight.withhold(reason::OBLIGATION_FAILED, REPEATED));
    }
    let class = inbound.map_or(Class::Plumbing, |inbound| inbound.row.class);
    let released = if is_json(&parts.headers) && !bytes.is_empty() {
        response::examine(&app.pep, flight, server, class, &bytes, status).await?
    } else if matches!(class, Class::List(_)) && parts.status.is_success() {
        return Err(flight.withhold(reason::BODY_INVALID, "the server's list is no JSON"));
    } else {
        response::examine_text(&app.pep, flight, &bytes, status).await?
    };
    Ok((head_of(parts, flight, inbound.map_or(Era::Legacy, |inbound| inbound.era)), released))
}

async fn limited(app: &App, flight: &Flight, body: Incoming) -> Result<Bytes, Refusal> {
    let limit = app.limits.answer_bytes;
    let read = Limited::new(body, limit).collect();
    match tokio::time::timeout(app.limits.answer_time, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the answer is longer than {limit} bytes");
            Err(flight.withhold(reason::BODY_TOO_LARGE, message))
        }
        Ok(Err(error)) => {
            tracing::warn!(call_id = flight.call().call_id, %error, "an answer was cut off");
            Err(flight.withhold(reason::UPSTREAM_UNAVAILABLE, "the server's answer was cut off"))
        }
        Err(_) => {
            Err(flight.withhold(reason::UPSTREAM_UNAVAILABLE, "the answer did not end in time"))
        }
    }
}

/// The outcome goes on record, and only then out.
async fn finish(
    app: &App,
    flight: Flight,
    head: Head,
    released: Released,
) -> Result<Response<Body>, Refusal> {
    app.pep.finish(flight, released.ending).await?;
    Ok(head.0.map(|()| Body::from(released.bytes)))
}

/// A result that is not released goes on record as such.
pub(crate) async fn withheld(app: &App, flight: Flight, refusal: Refusal) -> Refusal {
    let lost = refusal.has(reason::UPSTREAM_UNAVAILABLE);
    let ended = if lost { Ended::Unknown } else { Ended::Withheld };
    let ending = Ending::new(ended, 0).because(&refusal);
    app.pep.finish(flight, ending).await.err().unwrap_or(refusal)
}

fn stream(
    app: &Arc<App>,
    server: &Server,
    flight: Flight,
    inbound: Option<Inbound>,
    session_id: Option<String>,
    answer: Response<Incoming>,
) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let era = inbound.as_ref().map_or(Era::Legacy, |inbound| inbound.era);
    let sent = parts.extensions.get::<Credential>().cloned();
    let mut head = head_of(parts, &flight, era);
    head.0.headers_mut().insert(ACCEL, HeaderValue::from_static("no"));
    let events = Relay::start(app.clone(), server.clone(), flight, inbound, session_id, sent, body);
    head.0.map(|()| Body::from_stream(events))
}

fn head_of(parts: axum::http::response::Parts, flight: &Flight, era: Era) -> Head {
    let mut response = Response::new(());
    *response.status_mut() = parts.status;
    let mut headers = parts.headers;
    strip_hop_by_hop(&mut headers);
    // The length may change; challenges and cookies are between the server and us.
    for name in [CONTENT_LENGTH.as_str(), "www-authenticate", "set-cookie", "content-encoding"] {
        headers.remove(name);
    }
    headers.remove(LICTOR_SESSION);
    if era == Era::Modern {
        headers.remove(MCP_SESSION);
    }
    if let Ok(value) = HeaderValue::from_str(&flight.call().call_id) {
        headers.insert(LICTOR_CALL_ID, value);
    }
    flight.rate_limit().add(&mut headers);
    let opened = flight.hints().session_handle.as_ref();
    if let Some(value) = opened.and_then(|handle| HeaderValue::from_str(handle).ok()) {
        headers.insert(LICTOR_SESSION, value);
    }
    *response.headers_mut() = headers;
    Head(response)
}

fn media_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

fn is_stream(headers: &HeaderMap) -> bool {
    media_of(headers).is_some_and(|media| media.eq_ignore_ascii_case("text/event-stream"))
}

fn is_json(headers: &HeaderMap) -> bool {
    media_of(headers).is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
}
