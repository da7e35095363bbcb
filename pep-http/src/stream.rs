//! Streamed answers: passed through as they come where nothing has to be checked, else held, decided on and given
//! out masked.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use lictor_pep_core::revoked::Guard;
use lictor_pep_core::upstream_auth::{Credential, Watcher};
use lictor_pep_core::{Ended, Ending, Flight, Refusal, Reviewed};
use lictor_proto::decision::Decision;
use lictor_proto::reason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::answer::Used;
use crate::hold::{Held, HoldError};
use crate::server::{App, Reply};
use crate::tap::Tap;
use crate::upstream::BodyError;
use crate::{mask, refusal, response, upstream};

/// Most pieces of a stream that wait for a slow reader; past it the provider waits.
const MAX_WAITING_PIECES: usize = 16;

/// What a caller is told of an answer with our credential in it.
pub(crate) const REPEATED: &str = "the provider's answer holds its own credential";

/// Whether an answer is a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

/// Answers with the stream, and ends the flight when the stream has ended.
pub(crate) async fn run(app: Arc<App>, flight: Flight, answer: Response<Incoming>, reply: Reply) {
    let (head, body) = answer.into_parts();
    let check = Reviewed::unneeded(flight.hints()).is_none();
    let status = head.status;
    if check && head.headers.contains_key(CONTENT_ENCODING) {
        let withheld = flight.withhold(
            reason::BODY_INVALID,
            "the provider's stream is encoded and cannot be checked",
        );
        let refused =
            app.end(flight, Ending::new(Ended::Withheld, status.as_u16()), withheld).await;
        reply.send(refusal::response(&refused));
        return;
    }
    let sent = head.extensions.get::<Credential>();
    if sent.is_some_and(|sent| sent.is_in_headers(&head.headers)) {
        let withheld = flight.withhold(reason::OBLIGATION_FAILED, REPEATED);
        let refused =
            app.end(flight, Ending::new(Ended::Withheld, status.as_u16()), withheld).await;
        reply.send(refusal::response(&refused));
        return;
    }
    let watcher = sent.map(Credential::watcher);
    let headers = response::answer_headers(&head.headers, &flight, check);
    let (out, pieces) = mpsc::channel::<Result<Bytes, std::io::Error>>(MAX_WAITING_PIECES);
    let stream = Body::from_stream(ReceiverStream::new(pieces));
    reply.send(response::answer_of(status, headers, stream));
    let guard = app.pep.guard(&flight);
    let pump = Pump { app, flight, guard, watcher, status, body, out };
    if check { pump.hold().await } else { pump.pass_through().await }
}

/// What came next.
enum Step {
    Bytes(Bytes),
    End,
    Broken(BodyError),
    Gone,
    Draining,
    /// Nothing more may go on: somebody with part in the call was revoked, or the provider repeats
    /// our credential.
    Cut(Refusal),
}

struct Pump {
    app: Arc<App>,
    flight: Flight,
    guard: Guard,
    watcher: Option<Watcher>,
    status: StatusCode,
    body: Incoming,
    out: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

/// A stream that was read to its end.
enum Read {
    Whole,
    Stopped(Step),
    Unreadable(HoldError),
}

impl Pump {
    async fn step(&mut self) -> Step {
        tokio::select! {
            next = upstream::next(&mut self.body, self.app.idle) => match next {
                Ok(Some(bytes)) if self.watcher.as_mut().is_some_and(|watcher| watcher.found(&bytes)) => {
                    Step::Cut(self.flight.withhold(reason::OBLIGATION_FAILED, REPEATED))
                }
                Ok(Some(bytes)) => Step::Bytes(bytes),
                Ok(None) => Step::End,
                Err(error) => Step::Broken(error),
            },
            () = self.out.closed() => Step::Gone,
            () = self.app.cut() => Step::Draining,
            refusal = self.guard.tripped() => Step::Cut(refusal),
        }
    }

    /// Gives `bytes` to the caller; says what to do next where it has gone, does not read any
    /// more, or must not.
    async fn give(&mut self, bytes: Bytes) -> Option<Step> {
        let sent = tokio::time::timeout(self.app.idle, self.out.send(Ok(bytes)));
        tokio::select! {
            biased;
            refusal = self.guard.tripped() => Some(Step::Cut(refusal)),
            sent = sent => (!matches!(sent, Ok(Ok(())))).then_some(Step::Gone),
        }
    }

    /// Every piece goes on as it comes; only the piece that ends the stream waits for the record.
    async fn pass_through(mut self) {
        let mut tap =
            Tap::new(response::logged(&self.flight, None, || Some(String::new())).is_some());
        loop {
            match self.step().await {
                Step::Bytes(bytes) => {
                    if tap.push(&bytes) {
                        return self.finish_passed(tap, Some(bytes)).await;
                    }
                    if let Some(step) = self.give(bytes).await {
                        let used = tap.usage_of(&self.flight);
                        return self.stop(step, &used).await;
                    }
                }
                Step::End => return self.finish_passed(tap, None).await,
                step => {
                    let used = tap.usage_of(&self.flight);
                    return self.stop(step, &used).await;
                }
            }
        }
    }

    async fn finish_passed(self, tap: Tap, last: Option<Bytes>) {
        let mut ending = Ending::new(response::ended(self.status, false), self.status.as_u16());
        if self.status.is_success() {
            tap.usage_of(&self.flight).put(&mut ending);
        }
        ending.result = tap.into_log();
        let Self { app, flight, out, .. } = self;
        let last = match app.pep.finish(flight, ending).await {
            Ok(()) => last,
            Err(refused) => Some(refusal::event(&refused).into()),
        };
        if let Some(last) = last {
            // A caller that has gone misses the end, nothing else.
            let _ = tokio::time::timeout(app.idle, out.send(Ok(last))).await;
        }
    }

    /// Nothing goes on before all of it was decided on.
    async fn hold(mut self) {
        let mut held = Held::default();
        let read = self.read_all(&mut held).await;
        let used = held.usage(self.flight.call().usage);
        match read {
            Read::Stopped(step) => self.stop(step, &used).await,
            Read::Unreadable(error) => {
                let withheld = self.flight.withhold(reason::RESULT_WITHHELD, error.to_string());
                self.end(Ended::Withheld, &used, withheld).await;
            }
            Read::Whole => match self.decide(&held).await {
                Ok(released) => self.release(&held, released).await,
                Err(withheld) => self.end(Ended::Withheld, &used, withheld).await,
            },
        }
    }

    async fn read_all(&mut self, held: &mut Held) -> Read {
        loop {
            let taken = match self.step().await {
                Step::Bytes(bytes) => held.push(&bytes),
                Step::End => {
                    return held.finish().map_or_else(Read::Unreadable, |()| Read::Whole);
                }
                step => return Read::Stopped(step),
            };
            match taken {
                Err(error) => return Read::Unreadable(error),
                Ok(()) if held.is_done() => return Read::Whole,
                Ok(()) => {}
            }
        }
    }

    /// The second decision, and the frames that it leaves.
    async fn decide(&self, held: &Held) -> Result<Released, Refusal> {
        let flight = &self.flight;
        let content = held.content();
        let Some(decision) = self.app.pep.review(flight, content.clone()).await?.decision else {
            return Err(flight.withhold(reason::PDP_UNAVAILABLE, "the answer was not decided on"));
        };
        let failed = |why: String| flight.withhold(reason::OBLIGATION_FAILED, why);
        let spans = mask::spans(&decision, &content).map_err(|error| failed(error.to_string()))?;
        let frames = held.release(&spans).map_err(|error| failed(error.to_string()))?;
        Ok(Released { frames, masked: !spans.is_empty(), decision })
    }

    async fn release(self, held: &Held, released: Released) {
        let ended = response::ended(self.status, released.masked);
        let mut ending = Ending::new(ended, self.status.as_u16());
        if self.status.is_success() {
            held.usage(self.flight.call().usage).put(&mut ending);
        }
        ending.result = response::logged(&self.flight, Some(&released.decision), || {
            serde_json::to_string(&String::from_utf8_lossy(&released.frames.concat())).ok()
        });
        ending.response_decision_id = Some(released.decision.decision_id);
        let Self { app, flight, out, .. } = self;
        let frames = match app.pep.finish(flight, ending).await {
            Ok(()) => released.frames,
            Err(refused) => vec![refusal::event(&refused)],
        };
        for frame in frames {
            let sent = tokio::time::timeout(app.idle, out.send(Ok(frame.into()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The stream ends early: recorded and settled, then said in the protocol's own way.
    async fn stop(self, step: Step, used: &Used) {
        let refused = match step {
            // What was used so far counts; what would have come is withheld.
            Step::Cut(refused) => return self.end(Ended::Withheld, used, refused).await,
            Step::Draining => {
                self.flight.refuse(reason::OVERLOADED, "the enforcement point is shutting down")
            }
            Step::Broken(error) => self.flight.refuse(
                reason::UPSTREAM_UNAVAILABLE,
                format!("the provider's stream ended early: {error}"),
            ),
            Step::Gone | Step::End | Step::Bytes(_) => {
                self.flight.refuse(reason::UPSTREAM_UNAVAILABLE, "the caller has gone")
            }
        };
        self.end(Ended::Unknown, used, refused).await;
    }

    async fn end(self, ended: Ended, used: &Used, refused: Refusal) {
        let mut ending = Ending::new(ended, self.status.as_u16());
        used.put(&mut ending);
        let Self { app, flight, out, body, .. } = self;
        drop(body);
        let told = app.end(flight, ending, refused).await;
        let event = refusal::event(&told);
        // A caller that has gone is told nothing.
        let _ = tokio::time::timeout(app.idle, out.send(Ok(event.into()))).await;
    }
}

/// What the second decision leaves of a stream.
struct Released {
    frames: Vec<Vec<u8>>,
    masked: bool,
    decision: Decision,
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_stream_is_told_by_its_media_type() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("application/json", false),
            ("text/event-streams", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_event_stream(&headers), expected, "{value}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
