//! `lictor.v1.DecisionService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use futures::stream::{FuturesUnordered, StreamExt as _};
use lictor_identity::Role;
use lictor_proto::decide::{Answer, DecideError};
use lictor_proto::decision::Reason;
use lictor_proto::facts::Facts;
use lictor_proto::pb::decision_service_server::DecisionService;
use lictor_proto::{pb, reason, wire};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{inspect, outlived, pass_of, peer_of, require, status};
use crate::decide::Pdp;
use crate::door::Pass;
use crate::peer::Peer;

/// Most calls of one stream that are decided at the same time.
pub const STREAM_IN_FLIGHT_MAX: usize = 1_024;
/// Most calls of one batch.
pub const BATCH_CALLS_MAX: usize = 1_024;
/// Answers that wait to be sent on one stream.
const ANSWERS_WAITING_MAX: usize = 256;

/// The service.
pub struct Decisions {
    pdp: Arc<Pdp>,
    shutdown: watch::Receiver<bool>,
}

impl Decisions {
    /// Serves `pdp`; streams end once `shutdown` turns true.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>, shutdown: watch::Receiver<bool>) -> Self {
        Self { pdp, shutdown }
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
        let peer = asker(&request)?;
        Ok(Response::new(answer(&self.pdp, &peer, request.into_inner()).await))
    }

    async fn decide_stream(
        &self,
        request: Request<Streaming<pb::DecideRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        let (peer, pass) = (asker(&request)?, pass_of(&request)?);
        let (sender, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let serve = serve_stream(
            Arc::clone(&self.pdp),
            (peer, pass),
            request.into_inner(),
            sender,
            self.shutdown.clone(),
        );
        tokio::spawn(serve);
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn decide_batch(
        &self,
        request: Request<pb::DecideBatchRequest>,
    ) -> Result<Response<pb::DecideBatchResponse>, Status> {
        let peer = asker(&request)?;
        let requests = request.into_inner().requests;
        if requests.len() > BATCH_CALLS_MAX {
            let message = format!("a batch holds at most {BATCH_CALLS_MAX} calls");
            return Err(status(Code::InvalidArgument, reason::CALL_INVALID, &message));
        }
        let answers = requests.into_iter().map(|request| answer(&self.pdp, &peer, request));
        let responses = futures::future::join_all(answers).await;
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
        let mut shutdown = self.shutdown.clone();
        // A question that waits must not hold up the end.
        let answered = tokio::select! {
            answered = self.pdp.revocations(&peer, known) => answered,
            () = stopped(&mut shutdown) => {
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
fn asker<T>(request: &Request<T>) -> Result<Peer, Status> {
    let peer = peer_of(request)?;
    require(&peer, &[Role::Pep, Role::Operator])?;
    Ok(peer)
}

fn failed(error: &DecideError) -> Status {
    let code = match error.reason_id() {
        reason::ROLE_MISSING => Code::PermissionDenied,
        reason::PDP_UNAVAILABLE | reason::AUDIT_UNAVAILABLE => Code::Unavailable,
        _ => Code::FailedPrecondition,
    };
    status(code, error.reason_id(), &error.to_string())
}

/// Decides on the task that reads: only waiting for state and disk leaves it, so
/// that a slow record does not hold up the calls behind it. A stream ends with the credential that
/// it was opened with: a call after that is not looked at.
async fn serve_stream(
    pdp: Arc<Pdp>,
    (peer, pass): (Peer, Pass),
    mut calls: Streaming<pb::DecideRequest>,
    answers: mpsc::Sender<Result<pb::DecideResponse, Status>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut deciding = FuturesUnordered::new();
    let mut reading = true;
    let mut over = None;
    while reading || !deciding.is_empty() {
        tokio::select! {
            biased;
            Some(answered) = deciding.next(), if !deciding.is_empty() => {
                if answers.send(Ok(answered)).await.is_err() {
                    return;
                }
            }
            call = calls.next(), if reading && deciding.len() < STREAM_IN_FLIGHT_MAX => match call {
                Some(Ok(call)) if pass.holds(pdp.clock.now_ms()) => {
                    deciding.push(answer(&pdp, &peer, call));
                }
                Some(Ok(_)) => (reading, over) = (false, Some(outlived())),
                Some(Err(_)) | None => reading = false,
            },
            () = stopped(&mut shutdown), if reading => reading = false,
        }
    }
    if let Some(status) = over {
        // Whoever is gone needs not be told.
        drop(answers.send(Err(status)).await);
    }
}

/// Returns once the process stops; a lost sender is a stop as well. The guard that
/// `wait_for` returns must not live across an await.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Every message gets an answer: a malformed call is a denial.
async fn answer(pdp: &Arc<Pdp>, peer: &Peer, request: pb::DecideRequest) -> pb::DecideResponse {
    let call_id = request.call.as_ref().map(|call| call.call_id.clone()).unwrap_or_default();
    match decided(pdp, peer, request).await {
        Ok(answer) => wire::answer_to_pb(&answer),
        Err(error) => wire::error_to_pb(&call_id, &error),
    }
}

async fn decided(
    pdp: &Arc<Pdp>,
    peer: &Peer,
    request: pb::DecideRequest,
) -> Result<Answer, DecideError> {
    // Before the call is looked at: whoever may not ask leaves no record of a decision.
    let needed = if request.dry_run { Role::Operator } else { Role::Pep };
    if !peer.has(needed) {
        let message = format!("this needs the role `{}`", needed.as_str());
        return Err(refused(reason::ROLE_MISSING, &message));
    }
    let Some(mut call) = request.call else {
        return Err(refused(reason::CALL_INVALID, "the request holds no call"));
    };
    let facts = if request.dry_run { dry_facts(&mut call)? } else { Facts::default() };
    let call_id = call.call_id.clone();
    let call = match wire::call_from_pb(call) {
        Ok(call) => call,
        Err(error) => {
            let reason = Reason::new(error.id, error.message);
            return pdp.refuse_malformed(peer, &call_id, reason).await;
        }
    };
    if request.dry_run {
        return pdp.dry_run(peer, &call, facts);
    }
    if call.call_id.is_empty() {
        return Err(refused(reason::CALL_INVALID, "the call has no `call_id`"));
    }
    pdp.decide(peer, Arc::new(call), request.budget_ms).await
}

/// Only a dry run may state facts.
fn dry_facts(call: &mut pb::Call) -> Result<Facts, DecideError> {
    let bytes = std::mem::take(&mut call.facts);
    if bytes.is_empty() {
        return Ok(Facts::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| refused(reason::CALL_INVALID, &format!("facts: {error}")))
}

fn refused(id: &str, message: &str) -> DecideError {
    DecideError::Refused { id: id.to_owned(), message: message.to_owned() }
}
