//! Servers to compare with, each a process of its own, so that its CPU time can be told apart.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post;
use futures::StreamExt as _;
use lictor_proto::pb;
use lictor_proto::pb::decision_service_server::{DecisionService, DecisionServiceServer};
use lictor_tests::process::Server;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// What a server is.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Role {
    /// Answers every question with the same decision.
    Echo,
    /// Answers every chat and every tool call at once.
    Behind,
}

const READY: &str = "serving on ";

/// Starts this program as a server.
pub(crate) async fn start(role: &str, folder: &Path) -> Server {
    let own = std::env::current_exe().unwrap();
    let socket = folder.join("echo.sock");
    let args = ["--serve", role, "--socket", socket.to_str().unwrap()];
    Server::start_program(role, &own, &args, folder, READY).await.unwrap()
}

/// Where it listens.
pub(crate) fn address(server: &Server) -> std::net::SocketAddr {
    server.address(READY)
}

/// Serves until it is killed.
pub(crate) async fn run(role: Role, socket: Option<PathBuf>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    match role {
        Role::Echo => {
            let tcp = tonic::transport::Server::builder()
                .add_service(DecisionServiceServer::new(Echo))
                .serve_with_incoming(TcpListenerStream::new(listener));
            let socket = UnixListener::bind(socket.unwrap()).unwrap();
            let unix = tonic::transport::Server::builder()
                .add_service(DecisionServiceServer::new(Echo))
                .serve_with_incoming(UnixListenerStream::new(socket));
            println!("{READY}{address}");
            let (tcp, unix) = tokio::join!(tcp, unix);
            tcp.and(unix).unwrap();
        }
        Role::Behind => {
            println!("{READY}{address}");
            axum::serve(listener, behind()).await.unwrap();
        }
    }
}

struct Echo;

fn answer(request: pb::DecideRequest) -> pb::DecideResponse {
    let call_id = request.call.map(|call| call.call_id).unwrap_or_default();
    let decision = pb::Decision { call_id: call_id.clone(), ..pb::Decision::default() };
    pb::DecideResponse { decision: Some(decision), call_id, ..pb::DecideResponse::default() }
}

type Answers<T> = futures::stream::BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl DecisionService for Echo {
    type DecideStreamStream = Answers<pb::DecideResponse>;
    type InspectStream = Answers<pb::InspectResponse>;

    async fn decide(
        &self,
        request: Request<pb::DecideRequest>,
    ) -> Result<Response<pb::DecideResponse>, Status> {
        Ok(Response::new(answer(request.into_inner())))
    }

    async fn decide_stream(
        &self,
        request: Request<Streaming<pb::DecideRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        let answers = request.into_inner().map(|request| request.map(answer));
        Ok(Response::new(answers.boxed()))
    }

    async fn decide_batch(
        &self,
        request: Request<pb::DecideBatchRequest>,
    ) -> Result<Response<pb::DecideBatchResponse>, Status> {
        let responses = request.into_inner().requests.into_iter().map(answer).collect();
        Ok(Response::new(pb::DecideBatchResponse { responses }))
    }

    async fn inspect(
        &self,
        _: Request<Streaming<pb::InspectRequest>>,
    ) -> Result<Response<Self::InspectStream>, Status> {
        Err(Status::unimplemented("the echo only decides"))
    }

    async fn settle(
        &self,
        _: Request<pb::SettleRequest>,
    ) -> Result<Response<pb::SettleResponse>, Status> {
        Ok(Response::new(pb::SettleResponse {}))
    }

    async fn extend(
        &self,
        _: Request<pb::ExtendRequest>,
    ) -> Result<Response<pb::ExtendResponse>, Status> {
        Ok(Response::new(pb::ExtendResponse {}))
    }

    async fn exchange_checkpoint(
        &self,
        _: Request<pb::ExchangeCheckpointRequest>,
    ) -> Result<Response<pb::ExchangeCheckpointResponse>, Status> {
        Err(Status::unimplemented("the echo keeps no log"))
    }

    async fn revocations(
        &self,
        _: Request<pb::RevocationsRequest>,
    ) -> Result<Response<pb::RevocationsResponse>, Status> {
        Err(Status::unimplemented("the echo revokes nothing"))
    }
}

/// About as long as answers in `docs/performance.md` are: 1 KB.
const TEXT: &str = "The quick report says that every figure of the third quarter was checked \
    twice, that nothing is missing, and that the next one is due in spring. ";

fn behind() -> Router {
    let chat = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": TEXT.repeat(5) },
        }],
        "usage": { "prompt_tokens": 120, "completion_tokens": 150, "total_tokens": 270 },
    });
    let tool = serde_json::json!({
        "jsonrpc": "2.0", "id": 7,
        "result": { "content": [{ "type": "text", "text": "CC-1042" }], "isError": false },
    });
    let json = |body: String| ([("content-type", "application/json")], body).into_response();
    let (chat, tool) = (chat.to_string(), tool.to_string());
    Router::new()
        .route("/v1/chat/completions", post(move || std::future::ready(json(chat.clone()))))
        .route("/{server}", post(move || std::future::ready(json(tool.clone()))))
}
