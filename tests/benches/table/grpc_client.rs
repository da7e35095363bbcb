//! A client that asks for decisions one by one or pipelined. It sends one encoded message in which
//! only numbers change, and reads of an answer only what tells whether it is the right one: it runs
//! on the cores of what it measures.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes};
use futures::future::join_all;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use lictor_proto::call::Call;
use lictor_proto::{pb, wire};
use lictor_tests::standard;
use prost::Message as _;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::measure::{Done, Load, nanos};

/// Callers, each with a session of its own, that take turns.
const CALLERS: u64 = 1_024;
/// What a decision may take here, milliseconds: nothing may be late.
const BUDGET_MS: u32 = 10_000;
const UNARY: &str = "/lictor.v1.DecisionService/Decide";
const STREAM: &str = "/lictor.v1.DecisionService/DecideStream";

/// How questions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A request each.
    Unary,
    /// On a stream for each connection.
    Stream,
}

/// Where questions go, and what the right answer is.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) channels: Vec<Channel>,
    /// An echo decides nothing; a decision point must allow.
    pub(crate) allows: bool,
    pub(crate) token: String,
}

/// What is read of a `DecideResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "1")]
    decision: Option<Verdict>,
    #[prost(string, tag = "4")]
    call_id: String,
}

/// What is read of a `Decision`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Verdict {
    #[prost(int32, tag = "3")]
    effect: i32,
    #[prost(message, repeated, tag = "5")]
    reasons: Vec<Reason>,
}

/// What is read of a `Reason`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Reason {
    #[prost(string, tag = "1")]
    id: String,
}

/// A question whose numbers are in known places.
struct Template {
    message: Vec<u8>,
    call_id: usize,
    note: usize,
    caller: usize,
}

/// No two questions of a run have the same number: a call that is asked again is not decided again.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Digits of each number.
const DIGITS: usize = 12;

impl Template {
    fn new() -> Self {
        // Numbers that nothing else in the message looks like.
        let (number, caller) = (987_000_000_001, 987_000_000_002);
        let call = Call::from_json(standard::call(number, caller).as_bytes()).unwrap();
        let call = Some(wire::call_to_pb(&call));
        let message = pb::DecideRequest { call, budget_ms: BUDGET_MS, dry_run: false };
        let message = message.encode_to_vec();
        let find = |number: u64, from: usize| {
            let text = number.to_string();
            let mut windows = message[from..].windows(DIGITS);
            from + windows.position(|window| window == text.as_bytes()).unwrap()
        };
        let call_id = find(number, 0);
        let note = find(number, call_id + DIGITS);
        let caller = find(caller, 0);
        Self { call_id, note, caller, message }
    }

    /// The next question, and its number.
    fn next(&self) -> (u64, Bytes) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut message = self.message.clone();
        for (at, mut number) in
            [(self.call_id, number), (self.note, number), (self.caller, number % CALLERS)]
        {
            for digit in message[at..at + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        (number, Bytes::from(message))
    }
}

/// The number in the id of a call.
fn number(call_id: &str) -> Result<u64, String> {
    let digits = call_id.rsplit('-').next().unwrap_or_default();
    digits.parse().map_err(|_| format!("an answer to `{call_id}`, which was not asked"))
}

/// Sends encoded questions.
#[derive(Debug, Clone, Copy, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Answer;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Answer;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Answer>, Status> {
        Answer::decode(from).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Asked {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    fn check(&self, answer: &Answer) -> Result<(), String> {
        let verdict = answer.decision.as_ref().ok_or("an answer without decision")?;
        let allows = verdict.effect == pb::Effect::Allow as i32;
        if allows == self.allows {
            return Ok(());
        }
        Err(format!("effect {}: {:?}", verdict.effect, verdict.reasons))
    }

    async fn unary(self, template: Arc<Template>, at: usize, end: Instant) -> Took {
        let mut client = Grpc::new(self.channels[at % self.channels.len()].clone());
        let path = PathAndQuery::from_static(UNARY);
        let mut took = Vec::new();
        while Instant::now() < end {
            let began = Instant::now();
            let (asked, message) = template.next();
            client.ready().await.map_err(|error| error.to_string())?;
            let answer = client.unary(self.request(message), path.clone(), Encoded).await;
            let answer = answer.map_err(|status| status.to_string())?.into_inner();
            self.check(&answer)?;
            if number(&answer.call_id)? != asked {
                return Err(format!("an answer to `{}` in place of {asked}", answer.call_id));
            }
            took.push(nanos(began));
        }
        Ok(took)
    }

    async fn stream(
        self,
        template: Arc<Template>,
        at: usize,
        in_flight: usize,
        end: Instant,
    ) -> Took {
        let (writer, queue) = tokio::sync::mpsc::channel(in_flight);
        let mut began = HashMap::new();
        let told = |_| "the stream ended".to_owned();
        for _ in 0..in_flight {
            let (asked, message) = template.next();
            began.insert(asked, Instant::now());
            writer.send(message).await.map_err(told)?;
        }
        let mut client = Grpc::new(self.channels[at].clone());
        client.ready().await.map_err(|error| error.to_string())?;
        let request = self.request(ReceiverStream::new(queue));
        let answers = client.streaming(request, PathAndQuery::from_static(STREAM), Encoded).await;
        let mut answers = answers.map_err(|status| status.to_string())?.into_inner();
        let mut took = Vec::new();
        while !began.is_empty() {
            let answer = answers.next().await.ok_or("the stream ended")?;
            let answer = answer.map_err(|status| status.to_string())?;
            self.check(&answer)?;
            let asked = began.remove(&number(&answer.call_id)?);
            took.push(nanos(asked.ok_or("an answer to what was not asked")?));
            let now = Instant::now();
            if now < end {
                let (asked, message) = template.next();
                began.insert(asked, now);
                writer.send(message).await.map_err(told)?;
            }
        }
        Ok(took)
    }
}

/// Nanoseconds of each question.
type Took = Result<Vec<u64>, String>;

/// Questions by `way`, so many at once in all.
pub(crate) fn load(asked: Asked, way: Way, in_flight: usize) -> Load {
    let template = Arc::new(Template::new());
    Box::new(move |seconds| {
        let (asked, template) = (asked.clone(), Arc::clone(&template));
        Box::pin(async move {
            let began = Instant::now();
            let end = began + Duration::from_secs_f64(seconds);
            let spawn = |at: usize| {
                let (asked, template) = (asked.clone(), Arc::clone(&template));
                match way {
                    Way::Unary => tokio::spawn(asked.unary(template, at, end)),
                    Way::Stream => {
                        let streams = asked.channels.len().min(in_flight);
                        let own = in_flight / streams + usize::from(at < in_flight % streams);
                        tokio::spawn(asked.stream(template, at, own, end))
                    }
                }
            };
            let tasks = match way {
                Way::Unary => in_flight,
                Way::Stream => asked.channels.len().min(in_flight),
            };
            let mut all = Vec::new();
            for took in join_all((0..tasks).map(spawn)).await {
                all.extend(took.map_err(|error| error.to_string())??);
            }
            Ok(Done::of(all, began))
        })
    })
}

pub(crate) async fn over_tcp(address: std::net::SocketAddr) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.tcp_nodelay(true).connect().await.map_err(|error| error.to_string())
}

pub(crate) async fn over_socket(path: PathBuf) -> Result<Channel, String> {
    let dial = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(dial).await.map_err(|error| error.to_string())
}
