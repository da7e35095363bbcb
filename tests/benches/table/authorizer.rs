//! An authorizer for Envoy that allows everything: the least that any can cost. Of Envoy's
//! messages there is only what such an answer needs, with Envoy's own field numbers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// `envoy.service.auth.v3.CheckRequest`; nothing of it matters here.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct CheckRequest {}

/// `envoy.service.auth.v3.CheckResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
}

/// `google.rpc.Status`; code 0 allows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct AllowAll;

impl NamedService for AllowAll {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl UnaryService<CheckRequest> for AllowAll {
    type Response = CheckResponse;
    type Future = std::future::Ready<Result<Response<CheckResponse>, Status>>;

    fn call(&mut self, _: Request<CheckRequest>) -> Self::Future {
        let response = CheckResponse { status: Some(RpcStatus { code: 0 }) };
        std::future::ready(Ok(Response::new(response)))
    }
}

impl tower::Service<http::Request<Body>> for AllowAll {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(AllowAll, request).await) })
    }
}
