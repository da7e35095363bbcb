//! Streamed answers: event by event, each held until it is whole and checked, then passed on as it
//! came. The event that answers the request is released only once its record is written.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use lictor_pep_core::revoked::Guard;
use lictor_pep_core::upstream_auth::Credential;
use lictor_pep_core::{Clock, Ended, Ending, Flight, Refusal, Reviewed};
use lictor_proto::json::Node;
use lictor_proto::reason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::answer;
use crate::config::Server;
use crate::ingress::{Era, Inbound};
use crate::refusal::{Asked, Bounce};
use crate::response;
use crate::server::App;
use crate::sessions::Suspended;
use crate::sse::{self, Heard, Splitter};

/// Events that may wait for a slow client.
const EVENT_QUEUE: usize = 16;
/// The status of a stream that was begun.
const STREAM_STATUS: u16 = 200;
/// The modern method whose answer comes when listening ends.
const SUBSCRIBE: &str = "subscriptions/listen";

/// One stream on its way from a server to a client.
pub(crate) struct Relay {
    app: Arc<App>,
    server: Server,
    /// The call whose answer this stream carries; none once it has ended.
    flight: Option<Flight>,
    /// The request; none for the stream of a session.
    inbound: Option<Inbound>,
    session_id: Option<String>,
    /// By which the server knows us; it must not come back.
    sent: Option<Credential>,
    /// Trips when the call that began the stream may not go on.
    guard: Guard,
    out: mpsc::Sender<Bytes>,
}

/// The client is gone, or must hear no more.
struct Closed;

impl Relay {
    /// Starts to relay `body`. What comes out is what may be released.
    pub(crate) fn start(
        app: Arc<App>,
        server: Server,
        flight: Flight,
        inbound: Option<Inbound>,
        session_id: Option<String>,
        sent: Option<Credential>,
        body: Incoming,
    ) -> BoxStream<'static, Result<Bytes, Infallible>> {
        let (out, events) = mpsc::channel(EVENT_QUEUE);
        let guard = app.pep.guard(&flight);
        let relay =
            Self { app, server, flight: Some(flight), inbound, session_id, sent, guard, out };
        tokio::spawn(relay.run(body));
        ReceiverStream::new(events).map(Ok).boxed()
    }

    async fn run(mut self, mut body: Incoming) {
        let mut splitter = Splitter::new(self.app.limits.answer_bytes);
        let mut draining = self.app.draining.clone();
        let endless = self.is_endless();
        let expires_ms = self.flight.as_ref().and_then(|flight| flight.identity().expires_ms);
        let expired = expiry(self.app.pep.clock().clone(), expires_ms);
        tokio::pin!(expired);
        let mut guard = self.guard.clone();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                // Whoever hung up gets nothing more; dropping the body tells the server.
                () = self.out.closed() => break,
                // Nor does a stream outlive the credential that it was opened with.
                () = &mut expired => break,
                _ = guard.tripped() => break,
                // A stream without an end of its own ends with us.
                _ = draining.wait_for(|draining| *draining), if endless => break,
            };
            let Some(Ok(frame)) = frame else {
                // A last event without its empty line is for the client to judge, once checked.
                let rest = splitter.rest();
                if !rest.is_empty() && self.event(rest).await.is_err() {
                    tracing::debug!("a stream ended while its last event was on its way");
                }
                break;
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            splitter.push(&data);
            if self.events(&mut splitter).await.is_err() {
                break;
            }
        }
        drop(body);
        match self.guard.refusal() {
            Some(refusal) => self.cut(refusal).await,
            None => self.ended().await,
        }
    }

    /// Whether the stream carries messages for as long as the client listens.
    fn is_endless(&self) -> bool {
        self.inbound.as_ref().is_none_or(|inbound| inbound.row.method == SUBSCRIBE)
    }

    async fn events(&mut self, splitter: &mut Splitter) -> Result<(), Closed> {
        loop {
            match splitter.next_event() {
                Ok(Some(event)) => self.event(event).await?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    return self.withhold(reason::BODY_TOO_LARGE, &error.to_string()).await;
                }
            }
        }
    }

    async fn event(&mut self, event: Vec<u8>) -> Result<(), Closed> {
        if self.sent.as_ref().is_some_and(|sent| sent.is_in(&event)) {
            return self.withhold(reason::OBLIGATION_FAILED, answer::REPEATED).await;
        }
        let data = match sse::data_of(&event) {
            Ok(None) => return self.emit(event).await,
            Ok(Some(data)) => data,
            Err(error) => {
                return self.withhold(reason::BODY_INVALID, &error.to_string()).await;
            }
        };
        match sse::heard(&data) {
            Ok(Heard::Answer { id, node }) => self.answer(&id, &node, &event, &data).await,
            Ok(Heard::Other(node)) => self.message(&node, event, &data).await,
            Err(error) => {
                let message = format!("an event of the server cannot be read: {error}");
                self.withhold(reason::BODY_INVALID, &message).await
            }
        }
    }

    /// An answer: ours, or one that another stream of this session waited for.
    async fn answer(
        &mut self,
        id: &str,
        node: &Node,
        event: &[u8],
        data: &[u8],
    ) -> Result<(), Closed> {
        let ours = self
            .inbound
            .as_ref()
            .and_then(Inbound::id)
            .is_some_and(|ours| ours == id || (id == "null" && node.get("error").is_some()));
        let taken = if ours {
            self.flight.take().zip(self.inbound.clone())
        } else {
            let suspended = self
                .session_id
                .as_deref()
                .and_then(|session| self.app.sessions.resume(session, &self.server.id, id));
            suspended.map(|call| (call.flight, call.inbound))
        };
        let Some((flight, inbound)) = taken else {
            tracing::warn!(id, "a server answered a request that nobody waits for");
            return Ok(());
        };
        let class = inbound.row.class;
        let pep = &self.app.pep;
        let examined =
            response::examine(pep, &flight, &self.server, class, data, STREAM_STATUS).await;
        let refusal = match examined {
            Ok(released) => match pep.finish(flight, released.ending).await {
                Ok(()) if released.changed => {
                    let text = String::from_utf8_lossy(&released.bytes);
                    return self.emit(sse::with_data(event, &text)).await;
                }
                Ok(()) => return self.emit(event.to_vec()).await,
                Err(refusal) => refusal,
            },
            Err(refusal) => answer::withheld(&self.app, flight, refusal).await,
        };
        self.refuse(refusal, &inbound).await
    }

    /// A notification, or a request of a legacy server.
    async fn message(&mut self, node: &Node, event: Vec<u8>, data: &[u8]) -> Result<(), Closed> {
        let Some(flight) = &self.flight else {
            // After its answer a stream has nothing to say that was permitted.
            return Ok(());
        };
        let modern = self.inbound.as_ref().is_some_and(|inbound| inbound.era == Era::Modern);
        if modern && node.get("id").is_some() {
            tracing::warn!("a server sent a request where the revision has none");
            return Ok(());
        }
        if Reviewed::unneeded(flight.hints()).is_some() {
            return self.emit(event).await;
        }
        match response::examine_message(&self.app.pep, flight, node, data).await {
            Ok(None) => self.emit(event).await,
            Ok(Some(masked)) => {
                let text = String::from_utf8_lossy(&masked);
                self.emit(sse::with_data(&event, &text)).await
            }
            Err(refusal) => {
                tracing::info!(reason = refusal.id(), "a message of a server was withheld");
                Ok(())
            }
        }
    }

    /// Something that cannot be understood: the request is answered with a refusal, and the stream
    /// ends.
    async fn withhold(&mut self, id: &str, message: &str) -> Result<(), Closed> {
        if let Some((flight, inbound)) = self.flight.take().zip(self.inbound.clone()) {
            let refusal = flight.withhold(id, message);
            let refusal = answer::withheld(&self.app, flight, refusal).await;
            self.refuse(refusal, &inbound).await?;
        }
        Err(Closed)
    }

    async fn refuse(&self, refusal: Refusal, inbound: &Inbound) -> Result<(), Closed> {
        let text = Bounce::decided(refusal, Asked::by(inbound)).message(&self.app.refusals);
        // A refusal may be said whatever was revoked, to whoever reads in time.
        let said = self.out.send(sse::message(&text).into());
        match tokio::time::timeout(self.app.limits.answer_time, said).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closed),
        }
    }

    /// A client that reads slowly must not get more either, once it may not.
    async fn emit(&self, event: Vec<u8>) -> Result<(), Closed> {
        let mut guard = self.guard.clone();
        let room = tokio::select! {
            biased;
            _ = guard.tripped() => return Err(Closed),
            room = self.out.reserve() => room.map_err(|_| Closed)?,
        };
        room.send(event.into());
        Ok(())
    }

    /// Somebody with part in the call was revoked: on record, then said to the client.
    async fn cut(mut self, refusal: Refusal) {
        let Some(flight) = self.flight.take() else {
            return;
        };
        let refusal = answer::withheld(&self.app, flight, refusal).await;
        let Some(inbound) = self.inbound.take() else {
            return;
        };
        if self.refuse(refusal, &inbound).await.is_err() {
            tracing::debug!("a client that was cut off does not read");
        }
    }

    /// The stream is over. A call without its answer waits for another stream of its session, or
    /// has ended in a way that nobody knows.
    async fn ended(mut self) {
        let endless = self.is_endless();
        let Some(flight) = self.flight.take() else {
            return;
        };
        let (ended, flight) = match (self.inbound.take(), self.session_id.as_deref()) {
            (Some(inbound), Some(session)) if !endless => {
                let call = Suspended { flight, inbound };
                match self.app.sessions.suspend(session, &self.server.id, call) {
                    None => return,
                    Some(call) => (Ended::Unknown, call.flight),
                }
            }
            (Some(_), _) if !endless => (Ended::Unknown, flight),
            _ => (Ended::Done, flight),
        };
        let call_id = flight.call().call_id.clone();
        if self.app.pep.finish(flight, Ending::new(ended, STREAM_STATUS)).await.is_err() {
            tracing::error!(call_id, "the end of a stream could not be recorded");
        }
    }
}

/// Resolves when a credential ends that does so at `expires_ms`.
async fn expiry(clock: Clock, expires_ms: Option<i64>) {
    let Some(expires_ms) = expires_ms else {
        return std::future::pending().await;
    };
    let left_ms = expires_ms.saturating_sub(clock.now_ms());
    tokio::time::sleep(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))).await;
}
