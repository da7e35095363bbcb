//! The pipelined stream to one decision point: many calls on their way at once, one connection,
//! one task that opens it again when it is lost, and anew when token or certificates change.

use std::sync::Arc;
use std::time::Duration;

use lictor_proto::decide::Answer;
use lictor_proto::pb::approval_service_client::ApprovalServiceClient;
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::stream::{IN_FLIGHT_KEY, IN_FLIGHT_UNSAID, STREAMS_KEY, STREAMS_MAX};
use lictor_proto::{pb, wire};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::MAX_ANSWER_BYTES;
use super::dial::Dial;
use super::failure::{Failure, refused};
use super::health::{BACKOFF_MIN_MS, Backoff, random};
use super::pending::Pending;
use super::token::TokenSource;

/// How long a stream may take to be opened, from the first packet on, milliseconds.
pub(crate) const OPEN_TIMEOUT_MS: u64 = 3_000;
/// How often token and certificates are looked at, milliseconds.
pub(crate) const CREDENTIALS_INTERVAL_MS: u64 = 1_000;
/// How long a stream that was replaced may still bring its last answers, milliseconds.
pub(crate) const REPLACED_DRAIN_MS: u64 = 10_000;

type Service = InterceptedService<Channel, TokenSource>;
pub(crate) type Decisions = DecisionServiceClient<Service>;
pub(crate) type Approvals = ApprovalServiceClient<Service>;

/// How it stands with one decision point.
#[derive(Clone)]
pub(crate) enum Link {
    /// A connection is being made: wait for it.
    Connecting,
    /// The last try failed.
    Down(String),
    /// Calls can be sent.
    Up(Arc<Up>),
}

/// One open stream, and the connection below it for what goes by itself.
pub(crate) struct Up {
    pub(crate) decisions: Decisions,
    pub(crate) approvals: Approvals,
    /// No more wait here than may be in flight.
    writer: mpsc::UnboundedSender<pb::DecideRequest>,
    pending: Pending,
    opened: Instant,
}

impl Up {
    /// Sends one call and waits for its answer. The caller bounds the time.
    pub(crate) async fn decide(&self, request: pb::DecideRequest) -> Result<Answer, Failure> {
        let call_id = request.call.as_ref().map(|call| call.call_id.as_str()).unwrap_or_default();
        let ticket = self.pending.wait_for(call_id)?;
        let lost = |_| Failure::Connection("the stream to the decision point broke".to_owned());
        self.writer.send(request).map_err(lost)?;
        wire::answer_from_pb(ticket.answered().await?).map_err(Failure::Answered)
    }

    /// Calls on this stream that are not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.in_flight()
    }

    /// When it was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }
}

#[cfg(test)]
impl Link {
    /// Open since `opened`, with so many calls on their way, to nobody.
    pub(crate) fn made_up(opened: Instant, in_flight: usize) -> Self {
        let nobody = tonic::transport::Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        let decisions =
            DecisionServiceClient::with_interceptor(nobody.clone(), TokenSource::none());
        let approvals = ApprovalServiceClient::with_interceptor(nobody, TokenSource::none());
        let (pending, (writer, _)) = (Pending::new(in_flight + 1), mpsc::unbounded_channel());
        (0..in_flight).for_each(|n| drop(pending.wait_for(&n.to_string()).unwrap()));
        Self::Up(Arc::new(Up { decisions, approvals, writer, pending, opened }))
    }
}

/// What the decision point announced when a stream was opened, within our own bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    /// Calls in flight on it.
    credit: usize,
    /// Streams that are to be open.
    streams: usize,
}

impl Announced {
    fn in_metadata(metadata: &MetadataMap) -> Self {
        let number = |key: &str| metadata.get(key)?.to_str().ok()?.parse().ok();
        Self {
            credit: number(IN_FLIGHT_KEY).unwrap_or(IN_FLIGHT_UNSAID),
            streams: number(STREAMS_KEY).unwrap_or(1).clamp(1, STREAMS_MAX),
        }
    }
}

/// Keeps one stream open for as long as it lives.
pub(crate) struct Keeper {
    link: watch::Receiver<Link>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Begins; `told` hears of every change of the link.
    pub(crate) fn start(dial: Dial, token: TokenSource, told: Told) -> Self {
        let (state, link) = watch::channel(Link::Connecting);
        let wake = Arc::new(Notify::new());
        let line = Line { dial, token, state, told, wake: Arc::clone(&wake) };
        Self { link, wake, task: tokio::spawn(line.keep_open()) }
    }

    pub(crate) fn link(&self) -> Link {
        self.link.borrow().clone()
    }

    /// Tries again soon, where the next try is further away.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// What a stream's task shares with the others.
#[derive(Clone)]
pub(crate) struct Told {
    /// Counts changes of links.
    pub(crate) changes: watch::Sender<u64>,
    /// The most streams that were announced so far.
    pub(crate) streams: watch::Sender<usize>,
    /// From when the age of a changed token counts, the same for every stream.
    pub(crate) start: Instant,
}

/// What the task works with.
struct Line {
    dial: Dial,
    token: TokenSource,
    state: watch::Sender<Link>,
    told: Told,
    wake: Arc<Notify>,
}

/// A stream just opened.
struct Opened {
    up: Arc<Up>,
    answers: Streaming<pb::DecideResponse>,
}

impl Line {
    async fn keep_open(self) {
        let mut backoff = Backoff::default();
        loop {
            self.tell(Link::Connecting);
            let wait_ms = match self.open().await {
                Ok(opened) => {
                    let (why, useful) = self.hold(opened).await;
                    tracing::warn!(
                        pdp = self.shown(),
                        why,
                        "the stream to the decision point ended"
                    );
                    self.tell(Link::Down(why));
                    if useful {
                        backoff = Backoff::default();
                        continue;
                    }
                    backoff.next(random())
                }
                Err(why) => {
                    tracing::debug!(
                        pdp = self.shown(),
                        why,
                        "the decision point cannot be reached"
                    );
                    self.tell(Link::Down(why));
                    backoff.next(random())
                }
            };
            self.pause(wait_ms).await;
        }
    }

    fn shown(&self) -> String {
        self.dial.target().shown()
    }

    fn tell(&self, link: Link) {
        self.state.send_replace(link);
        self.told.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits, and no longer than [`BACKOFF_MIN_MS`] where somebody asks for it.
    async fn pause(&self, wait_ms: u64) {
        let least = wait_ms.min(BACKOFF_MIN_MS);
        sleep(Duration::from_millis(least)).await;
        tokio::select! {
            () = sleep(Duration::from_millis(wait_ms.saturating_sub(least))) => {}
            () = self.wake.notified() => {}
        }
    }

    async fn open(&self) -> Result<Opened, String> {
        let dial = self.dial.clone();
        let channel = tokio::task::spawn_blocking(move || dial.channel()).await;
        let channel = channel.map_err(|error| error.to_string())?.map_err(|e| e.to_string())?;
        let decisions =
            DecisionServiceClient::with_interceptor(channel.clone(), self.token.clone())
                .max_decoding_message_size(MAX_ANSWER_BYTES);
        let approvals = ApprovalServiceClient::with_interceptor(channel, self.token.clone());
        let (writer, queue) = mpsc::unbounded_channel();
        let mut opening = decisions.clone();
        let opening = opening.decide_stream(UnboundedReceiverStream::new(queue));
        let patience = Duration::from_millis(OPEN_TIMEOUT_MS);
        let answers = match timeout(patience, opening).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(status)) => {
                if status.code() == Code::Unauthenticated {
                    // There may be a newer token, which nobody has to wait for any more.
                    self.token.reload();
                }
                return Err(why_of(&status));
            }
            Err(_) => return Err(format!("no answer within {OPEN_TIMEOUT_MS} ms")),
        };
        let announced = Announced::in_metadata(answers.metadata());
        self.told.streams.send_if_modified(|streams| {
            let more = announced.streams > *streams;
            *streams = announced.streams.max(*streams);
            more
        });
        let (pending, opened) = (Pending::new(announced.credit), Instant::now());
        let up = Arc::new(Up { decisions, approvals, writer, pending, opened });
        Ok(Opened { up, answers: answers.into_inner() })
    }

    /// Holds a stream until it ends, replacing it when token or certificates change. Says why it
    /// ended, and whether it was of any use.
    async fn hold(&self, opened: Opened) -> (String, bool) {
        let mut current = opened;
        let mut useful = false;
        let mut held = self.credentials();
        self.tell(Link::Up(Arc::clone(&current.up)));
        loop {
            let ended = tokio::select! {
                ended = read(&mut current, &mut useful) => Some(ended),
                () = self.changed(&held) => None,
            };
            if let Some(why) = ended {
                // New calls wait for the next stream; those on their way are lost with this one.
                self.tell(Link::Connecting);
                current.up.pending.fail(&why);
                return (why, useful);
            }
            let now = self.credentials();
            match self.open().await {
                Ok(next) => {
                    self.tell(Link::Up(Arc::clone(&next.up)));
                    tracing::info!(
                        pdp = self.shown(),
                        "the credential for the decision point changed"
                    );
                    tokio::spawn(last_answers(std::mem::replace(&mut current, next)));
                    held = now;
                }
                Err(why) => {
                    tracing::warn!(
                        pdp = self.shown(),
                        why,
                        "a changed credential is not accepted yet"
                    );
                }
            }
        }
    }

    /// Names token and certificates.
    fn credentials(&self) -> Credentials {
        (self.token.generation(), self.dial.stamp())
    }

    /// Resolves when token or certificates are others than `held`.
    async fn changed(&self, held: &Credentials) {
        loop {
            sleep(Duration::from_millis(CREDENTIALS_INTERVAL_MS)).await;
            self.token
                .look(u64::try_from(self.told.start.elapsed().as_millis()).unwrap_or(u64::MAX));
            if self.credentials() != *held {
                return;
            }
        }
    }
}

type Credentials = (u64, Vec<Option<(std::time::SystemTime, u64)>>);

/// Hands answers out until the stream ends, and says why it did.
async fn read(opened: &mut Opened, useful: &mut bool) -> String {
    loop {
        match opened.answers.next().await {
            Some(Ok(response)) => {
                *useful = true;
                opened.up.pending.answer(response);
            }
            Some(Err(status)) => return why_of(&status),
            None => return "the decision point ended the stream".to_owned(),
        }
    }
}

/// Lets a replaced stream bring what was asked on it. Its writer is gone once no call holds it, so
/// that the other side ends it.
async fn last_answers(opened: Opened) {
    let Opened { up, mut answers } = opened;
    let pending = up.pending.clone();
    drop(up);
    let rest = async {
        while let Some(Ok(response)) = answers.next().await {
            pending.answer(response);
        }
    };
    // Past it nobody waits any more: decisions have shorter deadlines.
    let _ = timeout(Duration::from_millis(REPLACED_DRAIN_MS), rest).await;
    pending.fail("the stream was replaced");
}

/// What went wrong, with the causes that the status leaves out.
fn why_of(status: &Status) -> String {
    let mut why = refused(status).to_string();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let text = error.to_string();
        if !why.contains(&text) {
            why.push_str(": ");
            why.push_str(&text);
        }
        source = error.source();
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_counts_within_our_bounds_and_nonsense_is_as_good_as_nothing() {
        let read = |credit: &str, streams: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(IN_FLIGHT_KEY, credit.parse().unwrap());
            metadata.insert(STREAMS_KEY, streams.parse().unwrap());
            let Announced { credit, streams } = Announced::in_metadata(&metadata);
            (credit, streams)
        };
        let unsaid = Announced::in_metadata(&MetadataMap::new());
        assert_eq!(unsaid, Announced { credit: IN_FLIGHT_UNSAID, streams: 1 });
        assert_eq!((read("7", "2"), read("7", "0")), ((7, 2), (7, 1)));
        assert_eq!(read("7", &STREAMS_MAX.to_string()), (7, STREAMS_MAX));
        assert_eq!(read("7", &(STREAMS_MAX + 1).to_string()), (7, STREAMS_MAX));
        assert_eq!(
            (read("-1", "many"), read("", "")),
            ((IN_FLIGHT_UNSAID, 1), (IN_FLIGHT_UNSAID, 1))
        );
    }
}
