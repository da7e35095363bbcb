//! The decision point over gRPC: [`GrpcDecide`] implements `Decide`.
//!
//! # Layout
//!
//! - [`target`]: where it is and how to connect: TCP or a Unix socket, one connection
//! - [`pending`]: calls whose answers are on their way, by call id
//! - `stream`: the pipelined stream: one writer, one reader, reconnecting with backoff
//! - this file: which calls go which way
//!
//! Small calls go over one pipelined stream; a call with much content goes by itself, so that it
//! does not hold up the others; batches and settlements are unary.

pub mod pending;
mod stream;
pub mod target;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, Decide, DecideError, Settle};
use lictor_proto::pb;
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::{reason, wire};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use stream::Pipeline;
pub use target::{ClientError, Target, TokenSource};

/// A call with more content and arguments than this goes by itself.
pub const STREAM_MAX_CONTENT_BYTES: usize = 32 * 1024;
/// Largest message that is read from the decision point.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The generated client over our connection.
pub(crate) type Client = DecisionServiceClient<InterceptedService<Channel, TokenSource>>;

/// Asks a decision point over gRPC. Must be made inside a tokio runtime; its background task ends
/// when the last clone is dropped.
#[derive(Clone)]
pub struct GrpcDecide {
    client: Client,
    pipeline: Arc<Pipeline>,
}

impl std::fmt::Debug for GrpcDecide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrpcDecide")
    }
}

impl GrpcDecide {
    /// A client that connects in the background and again whenever the connection is lost.
    ///
    /// # Errors
    /// [`ClientError`] for a target or token that cannot be used at all.
    pub fn connect(target: &Target, token: TokenSource) -> Result<Self, ClientError> {
        let channel = target.channel()?;
        let client = DecisionServiceClient::with_interceptor(channel, token.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES);
        let pipeline = Arc::new(Pipeline::start(client.clone(), token));
        Ok(Self { client, pipeline })
    }

    async fn decide_alone(
        &self,
        request: pb::DecideRequest,
        ms: u32,
    ) -> Result<Answer, DecideError> {
        let mut client = self.client.clone();
        let response = client.decide(with_timeout(request, ms)).await.map_err(|s| refused(&s))?;
        wire::answer_from_pb(response.into_inner())
    }
}

#[async_trait]
impl Decide for GrpcDecide {
    async fn decide(&self, call: Arc<Call>, budget_ms: u32) -> Result<Answer, DecideError> {
        let request = request_of(&call, budget_ms);
        if bytes_of(&call) > STREAM_MAX_CONTENT_BYTES {
            self.decide_alone(request, budget_ms).await
        } else {
            self.pipeline.decide(request).await
        }
    }

    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError> {
        let requests = calls.iter().map(|call| request_of(call, budget_ms)).collect();
        let batch = pb::DecideBatchRequest { requests };
        let mut client = self.client.clone();
        let response =
            client.decide_batch(with_timeout(batch, budget_ms)).await.map_err(|s| refused(&s))?;
        response.into_inner().responses.into_iter().map(wire::answer_from_pb).collect()
    }

    async fn settle(&self, settle: Settle) -> Result<(), DecideError> {
        let mut client = self.client.clone();
        client.settle(wire::settle_to_pb(&settle)).await.map(|_| ()).map_err(|s| refused(&s))
    }

    async fn exchange_checkpoint(&self, writer: &str, note: &str) -> Result<String, DecideError> {
        let request =
            pb::ExchangeCheckpointRequest { writer: writer.to_owned(), note: note.to_owned() };
        let mut client = self.client.clone();
        let response = client.exchange_checkpoint(request).await.map_err(|s| refused(&s))?;
        Ok(response.into_inner().note)
    }
}

fn request_of(call: &Call, budget_ms: u32) -> pb::DecideRequest {
    pb::DecideRequest { call: Some(wire::call_to_pb(call)), budget_ms, dry_run: false }
}

fn bytes_of(call: &Call) -> usize {
    let content: usize = call.content.iter().map(|part| part.text.len()).sum();
    content.saturating_add(call.context.args.text().len())
}

fn with_timeout<T>(message: T, budget_ms: u32) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_millis(u64::from(budget_ms)));
    request
}

/// A status that says something about this enforcement point's connection or credential means
/// that no decision could be had; one about the call is a refusal, by the reason it carries.
pub(crate) fn refused(status: &Status) -> DecideError {
    let named = status.metadata().get("lictor-reason");
    let named = named.and_then(|value| value.to_str().ok());
    let refusal = |fallback: &str| DecideError::Refused {
        id: named.unwrap_or(fallback).to_owned(),
        message: status.message().to_owned(),
    };
    match status.code() {
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition | Code::NotFound => {
            refusal(reason::CALL_INVALID)
        }
        Code::ResourceExhausted => refusal(reason::OVERLOADED),
        code => DecideError::Unavailable(format!("{code}: {}", status.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_about_the_call_is_a_refusal() {
        let id = |code| refused(&Status::new(code, "x")).reason_id().to_owned();
        assert_eq!(id(Code::InvalidArgument), reason::CALL_INVALID);
        assert_eq!(id(Code::ResourceExhausted), reason::OVERLOADED);
        for code in [
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unavailable,
            Code::Cancelled,
            Code::Internal,
        ] {
            assert_eq!(id(code), reason::PDP_UNAVAILABLE, "{code:?}");
        }
        let mut named = Status::new(Code::FailedPrecondition, "x");
        named.metadata_mut().insert("lictor-reason", "state_unavailable".parse().unwrap());
        assert_eq!(refused(&named).reason_id(), "state_unavailable");
    }
}
