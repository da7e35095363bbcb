//! A decision point over gRPC that allows what it is asked, in the order that the test wants.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use lictor_proto::decide::{Answer, DecideError, Hints};
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::pb;
use lictor_proto::pb::decision_service_server::{DecisionService, DecisionServiceServer};
use lictor_proto::stream::{IN_FLIGHT_KEY, STREAMS_KEY};
use lictor_proto::wire;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// Answers on a stream are sent in groups of this many, the last question first.
pub(crate) const GROUP: usize = 4;

/// What it was asked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) how: &'static str,
    pub(crate) call_id: String,
    pub(crate) authorization: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Pdp {
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    /// Calls that were settled here.
    pub(crate) settled: Arc<Mutex<Vec<String>>>,
    /// Never answers on the stream.
    pub(crate) silent: bool,
    /// What it announces.
    pub(crate) in_flight: Option<usize>,
    pub(crate) streams: Option<usize>,
    /// Streams that were opened, with how much was asked on each. One ends at a call for `break` that is seen the first time.
    pub(crate) opened: Arc<Mutex<Vec<usize>>>,
}

fn authorization<T>(request: &Request<T>) -> Option<String> {
    let value = request.metadata().get("authorization")?;
    value.to_str().ok().map(str::to_owned)
}

fn allowed(request: pb::DecideRequest) -> pb::DecideResponse {
    let call = wire::call_from_pb(request.call.unwrap()).unwrap();
    if call.action.name == "refuse" {
        let error = DecideError::Refused { id: "bundle_missing".into(), message: "none".into() };
        return wire::error_to_pb(&call.call_id, &error);
    }
    let mut decision = Decision::denied("d", &call.call_id, Reason::new("r", "m"));
    decision.effect = Effect::Allow;
    decision.request_digest = call.request_digest();
    let mut hints = Hints::default();
    if call.action.name == "session/open" {
        let renewed = call.session.map(|session| format!("{} renewed", session.handle));
        hints.session_handle = Some(renewed.unwrap_or_else(|| "opened".to_owned()));
    }
    wire::answer_to_pb(&Answer { decision, hints })
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DecisionService for Pdp {
    type DecideStreamStream = Answers<pb::DecideResponse>;
    type InspectStream = Answers<pb::InspectResponse>;

    async fn decide(
        &self,
        request: Request<pb::DecideRequest>,
    ) -> Result<Response<pb::DecideResponse>, Status> {
        let authorization = authorization(&request);
        let request = request.into_inner();
        self.note("unary", &request, &authorization);
        Ok(Response::new(allowed(request)))
    }

    async fn decide_stream(
        &self,
        request: Request<Streaming<pb::DecideRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        let authorization = authorization(&request);
        let (sender, receiver) = mpsc::channel(64);
        let (pdp, mut questions) = (self.clone(), request.into_inner());
        let number = {
            let mut opened = self.opened.lock().unwrap();
            opened.push(0);
            opened.len() - 1
        };
        tokio::spawn(async move {
            let mut group = Vec::new();
            while let Some(Ok(question)) = questions.next().await {
                pdp.note("stream", &question, &authorization);
                pdp.opened.lock().unwrap()[number] += 1;
                if pdp.breaks(&question) {
                    return;
                }
                if pdp.silent {
                    continue;
                }
                let alone = question.call.as_ref().unwrap().action != "grouped";
                group.push(allowed(question));
                if alone || group.len() == GROUP {
                    for answer in group.drain(..).rev() {
                        sender.send(Ok(answer)).await.unwrap();
                    }
                }
            }
        });
        let mut response: Response<Self::DecideStreamStream> =
            Response::new(Box::pin(ReceiverStream::new(receiver)));
        let announced = response.metadata_mut();
        self.in_flight.map(|number| announced.insert(IN_FLIGHT_KEY, number.into()));
        self.streams.map(|number| announced.insert(STREAMS_KEY, number.into()));
        Ok(response)
    }

    async fn decide_batch(
        &self,
        request: Request<pb::DecideBatchRequest>,
    ) -> Result<Response<pb::DecideBatchResponse>, Status> {
        let authorization = authorization(&request);
        let requests = request.into_inner().requests;
        for request in &requests {
            self.note("batch", request, &authorization);
        }
        let responses = requests.into_iter().map(allowed).collect();
        Ok(Response::new(pb::DecideBatchResponse { responses }))
    }

    async fn inspect(
        &self,
        _: Request<Streaming<pb::InspectRequest>>,
    ) -> Result<Response<Self::InspectStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn settle(
        &self,
        request: Request<pb::SettleRequest>,
    ) -> Result<Response<pb::SettleResponse>, Status> {
        let settle = wire::settle_from_pb(request.into_inner()).unwrap();
        if settle.call_id == "unknown" {
            return Err(Status::failed_precondition("no such call"));
        }
        self.settled.lock().unwrap().push(settle.call_id);
        Ok(Response::new(pb::SettleResponse {}))
    }

    async fn extend(
        &self,
        _: Request<pb::ExtendRequest>,
    ) -> Result<Response<pb::ExtendResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn exchange_checkpoint(
        &self,
        request: Request<pb::ExchangeCheckpointRequest>,
    ) -> Result<Response<pb::ExchangeCheckpointResponse>, Status> {
        let note = format!("after {}", request.into_inner().note);
        Ok(Response::new(pb::ExchangeCheckpointResponse { note }))
    }

    async fn revocations(
        &self,
        request: Request<pb::RevocationsRequest>,
    ) -> Result<Response<pb::RevocationsResponse>, Status> {
        if request.into_inner().known_version == 1 {
            std::future::pending::<()>().await;
        }
        let kind = "agent".to_owned();
        let entries = vec![pb::Revoked { kind, id: "killed".to_owned(), until_ms: 0 }];
        Ok(Response::new(pb::RevocationsResponse { version: 1, entries, stale: false }))
    }
}

impl Pdp {
    fn note(&self, how: &'static str, request: &pb::DecideRequest, token: &Option<String>) {
        let call_id = request.call.as_ref().unwrap().call_id.clone();
        let asked = Asked { how, call_id, authorization: token.clone() };
        self.asked.lock().unwrap().push(asked);
    }

    fn breaks(&self, request: &pb::DecideRequest) -> bool {
        let call = request.call.as_ref().unwrap();
        call.action == "break" && self.ids().iter().filter(|id| **id == call.call_id).count() == 1
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.call_id.clone()).collect()
    }

    pub(crate) fn ways(&self) -> Vec<&'static str> {
        self.asked.lock().unwrap().iter().map(|asked| asked.how).collect()
    }
}

/// A running server. Killing it drops every connection.
pub(crate) struct Running {
    kill: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start<L, S, E>(pdp: Pdp, incoming: L) -> Self
    where
        L: Stream<Item = Result<S, E>> + Send + 'static,
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
        S: tonic::transport::server::Connected,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let (kill, killed) = oneshot::channel::<()>();
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            runtime.block_on(async move {
                let server = tonic::transport::Server::builder()
                    .add_service(DecisionServiceServer::new(pdp))
                    .serve_with_incoming(incoming);
                tokio::select! {
                    served = server => served.unwrap(),
                    _ = killed => {}
                }
            });
            // Dropping the runtime drops every connection that it served.
            runtime.shutdown_timeout(std::time::Duration::ZERO);
        });
        let ended = tokio::task::spawn_blocking(move || ended.join().unwrap());
        Self { kill, ended }
    }

    pub(crate) async fn kill(self) {
        self.kill.send(()).unwrap();
        self.ended.await.unwrap();
    }
}
