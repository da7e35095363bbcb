//! `lictor.v1.DecisionService`.
//!
//! # Layout
//!
//! - `ask`: one question, from its message to its answer
//! - `stream`: a `DecideStream`: what is read, decided, yielded and refused when
//! - `replies`: answers on their way to whoever sends them
//! - `batch`: several questions of one message
//! - this file: the service

mod ask;
mod batch;
mod replies;
mod stream;

use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use lictor_identity::Role;
use lictor_proto::decide::DecideError;
use lictor_proto::pb::decision_service_server::DecisionService;
use lictor_proto::stream::{IN_FLIGHT_KEY, STREAMS_KEY, STREAMS_MAX};
use lictor_proto::{pb, reason, wire};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use self::ask::{Asker, Question};
use self::batch::decide_all;
pub use self::stream::STREAM_IN_FLIGHT_MAX;
use super::{inspect, pass_of, peer_of, require, status};
use crate::decide::Pdp;
use crate::peer::Peer;

/// Most calls of one batch.
pub const BATCH_CALLS_MAX: usize = 1_024;

/// The service.
pub struct Decisions {
    pdp: Arc<Pdp>,
    shutdown: watch::Receiver<bool>,
    /// How many streams an enforcement point is to open: one for each core that decides.
    streams: usize,
}

impl Decisions {
    /// Serves `pdp`; streams end once `shutdown` turns true.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>, shutdown: watch::Receiver<bool>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { pdp, shutdown, streams: cores.min(STREAMS_MAX) }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl DecisionService for Decisions {
    type DecideStreamStream = Answers<pb::DecideResponse>;
    type InspectStream = Answers<pb::InspectResponse>;

    async fn decide(
        &self,
        request: Request<pb::DecideRequest>,
    ) -> Result<Response<pb::DecideResponse>, Status> {
        let asker = asker(&self.pdp, &request)?;
        let question = Question { request: request.into_inner(), arrived: Instant::now() };
        Ok(Response::new(asker.answer(question).await))
    }

    async fn decide_stream(
        &self,
        request: Request<Streaming<pb::DecideRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        let (asker, pass) = (asker(&self.pdp, &request)?, pass_of(&request)?);
        let shutdown = stopped(self.shutdown.clone());
        let answers = stream::serve(asker, pass, request.into_inner(), shutdown);
        let mut response: Response<Self::DecideStreamStream> = Response::new(Box::pin(answers));
        let announced = response.metadata_mut();
        announced.insert(IN_FLIGHT_KEY, STREAM_IN_FLIGHT_MAX.into());
        announced.insert(STREAMS_KEY, self.streams.into());
        Ok(response)
    }

    async fn decide_batch(
        &self,
        request: Request<pb::DecideBatchRequest>,
    ) -> Result<Response<pb::DecideBatchResponse>, Status> {
        let asker = asker(&self.pdp, &request)?;
        let requests = request.into_inner().requests;
        if requests.len() > BATCH_CALLS_MAX {
            let message = format!("a batch holds at most {BATCH_CALLS_MAX} calls");
            return Err(status(Code::InvalidArgument, reason::CALL_INVALID, &message));
        }
        let arrived = Instant::now();
        let questions = requests.into_iter().map(|request| Question { request, arrived });
        let responses = decide_all(questions.map(|question| asker.answer(question))).await;
        Ok(Response::new(pb::DecideBatchResponse { responses }))
    }

    async fn inspect(
        &self,
        request: Request<Streaming<pb::InspectRequest>>,
    ) -> Result<Response<Self::InspectStream>, Status> {
        let (peer, pass) = (peer_of(&request)?, pass_of(&request)?);
        require(&peer, &[Role::Pep])?;
        let stream = inspect::serve(Arc::clone(&self.pdp), (peer, pass), request.into_inner());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn settle(
        &self,
        request: Request<pb::SettleRequest>,
    ) -> Result<Response<pb::SettleResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Pep])?;
        let settle = wire::settle_from_pb(request.into_inner())
            .map_err(|error| status(Code::InvalidArgument, error.id, &error.message))?;
        match self.pdp.settle(&peer, &settle).await {
            Ok(()) => Ok(Response::new(pb::SettleResponse {})),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn extend(
        &self,
        request: Request<pb::ExtendRequest>,
    ) -> Result<Response<pb::ExtendResponse>, Status> {
        let peer = peer_of(&request)?;
        match self.pdp.extend(&peer, &request.into_inner().call_id).await {
            Ok(()) => Ok(Response::new(pb::ExtendResponse {})),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn exchange_checkpoint(
        &self,
        request: Request<pb::ExchangeCheckpointRequest>,
    ) -> Result<Response<pb::ExchangeCheckpointResponse>, Status> {
        let peer = peer_of(&request)?;
        let head = request.into_inner();
        match self.pdp.exchange_checkpoint(&peer, &head.writer, &head.note).await {
            Ok(note) => Ok(Response::new(pb::ExchangeCheckpointResponse { note })),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn revocations(
        &self,
        request: Request<pb::RevocationsRequest>,
    ) -> Result<Response<pb::RevocationsResponse>, Status> {
        let peer = peer_of(&request)?;
        let known = request.into_inner().known_version;
        // A question that waits must not hold up the end.
        let answered = tokio::select! {
            answered = self.pdp.revocations(&peer, known) => answered,
            () = stopped(self.shutdown.clone()) => {
                Err(DecideError::Unavailable("the decision point is shutting down".to_owned()))
            }
        };
        match answered {
            Ok(revocations) => Ok(Response::new(wire::revocations_to_pb(&revocations))),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Who asks for decisions: an enforcement point, or an operator who only tries.
fn asker<T>(pdp: &Arc<Pdp>, request: &Request<T>) -> Result<Asker, Status> {
    let peer: Peer = peer_of(request)?;
    require(&peer, &[Role::Pep, Role::Operator])?;
    Ok(Asker::new(Arc::clone(pdp), peer))
}

fn failed(error: &DecideError) -> Status {
    let code = match error.reason_id() {
        reason::ROLE_MISSING => Code::PermissionDenied,
        reason::PDP_UNAVAILABLE | reason::AUDIT_UNAVAILABLE => Code::Unavailable,
        _ => Code::FailedPrecondition,
    };
    status(code, error.reason_id(), &error.to_string())
}

/// Returns once the process stops; a lost sender is a stop as well. The guard that
/// `wait_for` returns must not live across an await.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}
