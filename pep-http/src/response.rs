//! The second decision about a whole answer, its masks, the record, and only then the release.

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use lictor_pep_core::edit::Edits;
use lictor_pep_core::headers::{LICTOR_CALL_ID, LICTOR_SESSION, strip_hop_by_hop};
use lictor_pep_core::{Ended, Ending, Flight, Pep, Refusal, Reviewed};
use lictor_proto::call::Usage;
use lictor_proto::decision::{Decision, ObligationKind};
use lictor_proto::json::{Node, scan};
use lictor_proto::reason;

use crate::answer::Used;
use crate::server::{App, Reply, Stop};
use crate::upstream::{self, BodyError};
use crate::{answer, mask, refusal, stream};

/// Headers of an answer that stay here: a provider must not set cookies for, or move, our callers.
const KEPT: [HeaderName; 3] = [SET_COOKIE, WWW_AUTHENTICATE, HeaderName::from_static("alt-svc")];
/// Headers that describe the very bytes of a body.
const OF_BYTES: [HeaderName; 5] = [
    ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// A whole answer of a provider.
#[derive(Debug)]
pub(crate) struct Plain {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

/// A body that may be released.
#[derive(Debug)]
struct Checked {
    body: Bytes,
    masked: bool,
    decision: Option<Decision>,
}

/// Reads the whole answer; `None` if the caller has gone. Whatever happens instead of an answer is recorded here.
///
/// # Errors
/// What the caller is told instead; the flight has ended.
pub(crate) async fn collect(
    app: &App,
    flight: Flight,
    answer: Response<Incoming>,
    reply: &mut Reply,
) -> Result<Option<(Flight, Plain)>, Refusal> {
    let (head, mut body) = answer.into_parts();
    let status = head.status.as_u16();
    let collected = tokio::select! {
        collected = upstream::collect(&mut body, app.max_answer_bytes, app.idle) => collected,
        stop = app.stopped(reply) => return match stop {
            Stop::Gone => app.abandon(flight, status).await.map(|()| None),
            Stop::Draining => Err(app.drained(flight, status).await),
        },
    };
    let (ended, refusal) = match collected {
        Ok(body) if app.upstreams.credential_in(&head, &body) => {
            (Ended::Withheld, flight.withhold(reason::OBLIGATION_FAILED, stream::REPEATED))
        }
        Ok(body) => {
            let plain = Plain { status: head.status, headers: head.headers, body };
            return Ok(Some((flight, plain)));
        }
        Err(error @ BodyError::TooLarge(_)) => {
            (Ended::Withheld, flight.withhold(reason::BODY_TOO_LARGE, answer_error(error)))
        }
        Err(error) => {
            (Ended::Unknown, flight.refuse(reason::UPSTREAM_UNAVAILABLE, answer_error(error)))
        }
    };
    Err(app.end(flight, Ending::new(ended, status), refusal).await)
}

fn answer_error(error: BodyError) -> String {
    format!("the provider's answer could not be read: {error}")
}

/// Decides on a whole answer, records the outcome and makes the caller's answer of it.
pub(crate) async fn release(pep: &Pep, flight: Flight, plain: Plain) -> Response<Body> {
    let status = plain.status.as_u16();
    if plain.status == StatusCode::UNAUTHORIZED {
        // The caller's own credential was good, and the provider's words concern another one.
        let refused = flight.refuse(
            reason::UPSTREAM_UNAVAILABLE,
            "the provider did not accept the credential of this enforcement point",
        );
        return refused_response(pep, flight, Ending::new(Ended::Failed, status), refused).await;
    }
    let root = scan(&plain.body).ok();
    let used = used(&flight, &plain, root.as_ref());
    let encoded = plain.headers.contains_key(CONTENT_ENCODING);
    match check(pep, &flight, plain.body.clone(), root.filter(|_| !encoded)).await {
        Err(withheld) => {
            let mut ending = Ending::new(Ended::Withheld, status);
            used.put(&mut ending);
            refused_response(pep, flight, ending, withheld).await
        }
        Ok(checked) => {
            let mut ending = Ending::new(ended(plain.status, checked.masked), status);
            used.put(&mut ending);
            ending.result = logged(&flight, checked.decision.as_ref(), || {
                String::from_utf8(checked.body.to_vec()).ok()
            });
            ending.response_decision_id = checked.decision.map(|decision| decision.decision_id);
            let headers = answer_headers(&plain.headers, &flight, checked.masked);
            match pep.finish(flight, ending).await {
                Ok(()) => answer_of(plain.status, headers, Body::from(checked.body)),
                Err(refused) => refusal::response(&refused),
            }
        }
    }
}

async fn refused_response(
    pep: &Pep,
    flight: Flight,
    ending: Ending,
    refused: Refusal,
) -> Response<Body> {
    let recorded = pep.finish(flight, ending.because(&refused)).await;
    refusal::response(&recorded.err().unwrap_or(refused))
}

/// How a call ends whose answer is released.
pub(crate) fn ended(status: StatusCode, masked: bool) -> Ended {
    match (status.is_success(), masked) {
        (false, _) => Ended::Failed,
        (true, true) => Ended::Masked,
        (true, false) => Ended::Done,
    }
}

/// The answer to the caller.
pub(crate) fn answer_of(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What was used: the provider's count, or an estimate of four bytes to a token. A failed call used nothing.
fn used(flight: &Flight, plain: &Plain, root: Option<&Node>) -> Used {
    if !plain.status.is_success() {
        return Used::default();
    }
    let counted = root.and_then(answer::usage);
    counted.unwrap_or_else(|| {
        let content = root.map(|root| answer::view(root).content()).unwrap_or_default();
        let bytes = match root {
            Some(_) => crate::text::text_bytes(&content),
            None => plain.body.len() as u64,
        };
        let max_output_tokens = crate::text::estimated_tokens(bytes);
        Used::estimated(Usage { max_output_tokens, ..flight.call().usage })
    })
}

/// The second decision, if the bundle could say anything, and its masks.
async fn check(
    pep: &Pep,
    flight: &Flight,
    body: Bytes,
    root: Option<Node>,
) -> Result<Checked, Refusal> {
    if Reviewed::unneeded(flight.hints()).is_some() {
        return Ok(Checked { body, masked: false, decision: None });
    }
    let root = root.ok_or_else(|| {
        flight
            .withhold(reason::BODY_INVALID, "the provider's answer is not JSON that can be checked")
    })?;
    let view = answer::view(&root);
    let content = view.content();
    let Some(decision) = pep.review(flight, content.clone()).await?.decision else {
        return Err(flight.withhold(reason::PDP_UNAVAILABLE, "the answer was not decided on"));
    };
    let failed = |why: String| flight.withhold(reason::OBLIGATION_FAILED, why);
    let spans = mask::spans(&decision, &content).map_err(|error| failed(error.to_string()))?;
    if spans.is_empty() {
        return Ok(Checked { body, masked: false, decision: Some(decision) });
    }
    let mut edits = Edits::new();
    mask::edit(&mut edits, &root, &content, &spans).map_err(|error| failed(error.to_string()))?;
    for echo in &view.echoes {
        edits.replace_span(*echo, "null");
    }
    let body = edits.apply(&body).map_err(|error| failed(error.to_string()))?;
    Ok(Checked { body: body.into(), masked: true, decision: Some(decision) })
}

/// The released result, if either decision obliges to keep it.
pub(crate) fn logged(
    flight: &Flight,
    second: Option<&Decision>,
    result: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let obliges = |decision: &Decision| {
        decision.obligations.iter().any(|obligation| obligation.kind == ObligationKind::LogFull)
    };
    let obliged = obliges(flight.decision()) || second.is_some_and(obliges);
    if obliged { result() } else { None }
}

/// The provider's headers that the caller gets, with the names of the call and of its session.
pub(crate) fn answer_headers(provider: &HeaderMap, flight: &Flight, changed: bool) -> HeaderMap {
    let mut headers = provider.clone();
    strip_hop_by_hop(&mut headers);
    for name in KEPT.iter().chain(OF_BYTES.iter().filter(|_| changed)) {
        headers.remove(name);
    }
    headers.remove(LICTOR_SESSION);
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Ok(call_id) = HeaderValue::from_str(&flight.call().call_id) {
        headers.insert(LICTOR_CALL_ID, call_id);
    }
    flight.rate_limit().add(&mut headers);
    let handle = flight.hints().session_handle.as_deref();
    if let Some(Ok(handle)) = handle.map(HeaderValue::from_str) {
        headers.insert(LICTOR_SESSION, handle);
    }
    headers
}
