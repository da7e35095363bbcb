//! Servers to compare with, each a process of its own, so that what it costs can be told apart.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response as WebResponse};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures::StreamExt as _;
use lictor_proto::pb;
use lictor_proto::pb::decision_service_server::{DecisionService, DecisionServiceServer};
use lictor_tests::process::Server;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::authorizer::AllowAll;

/// What every server says when it is ready, before its address.
pub(crate) const READY: &str = "serving on ";

/// Starts this program as a server, with further arguments.
pub(crate) async fn start(role: &str, folder: &Path, more: &[&str]) -> Result<Server, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let args = [["--serve", role].as_slice(), more].concat();
    Server::start_program(role, &own, &args, folder, READY).await
}

/// Where it listens.
pub(crate) fn address(server: &Server) -> std::net::SocketAddr {
    server.address(READY)
}

/// Answers every question with the same decision, and allows everything that Envoy asks.
pub(crate) async fn echo(socket: PathBuf) {
    let router = || {
        tonic::transport::Server::builder()
            .add_service(DecisionServiceServer::new(Echo))
            .add_service(AllowAll)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListenerStream::new(listener)
        .map(|stream| stream.inspect(|stream| drop(stream.set_nodelay(true))));
    let unix = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    println!("{READY}{address}");
    let tcp = router().serve_with_incoming(listener);
    let (tcp, unix) = tokio::join!(tcp, router().serve_with_incoming(unix));
    tcp.and(unix).unwrap();
}

/// Answers every chat and every tool call at once.
pub(crate) async fn behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{READY}{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router()).await.unwrap();
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

/// Makes an answer of about 1 KB.
const TEXT: &str = "The quick report says that every figure of the third quarter was checked \
    twice, that nothing is missing, and that the next one is due in spring. ";
/// Pieces of a streamed answer.
const PIECES: usize = 50;

fn router() -> Router {
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
    let (chat, tool, events) = (Bytes::from(chat.to_string()), tool.to_string(), events());
    let answer = move |request: Bytes| {
        let streamed = is_streamed(&request);
        std::future::ready(if streamed { stream(events.clone()) } else { json(chat.clone()) })
    };
    Router::new()
        .route("/v1/chat/completions", post(answer))
        .route("/{server}", post(move || std::future::ready(json(Bytes::from(tool.clone())))))
}

/// Looked for as text: what this costs is in every row.
fn is_streamed(request: &[u8]) -> bool {
    let has = |text: &[u8]| request.windows(text.len()).any(|window| window == text);
    has(b"\"stream\":true") || has(b"\"stream\": true")
}

fn json(body: Bytes) -> WebResponse {
    ([("content-type", "application/json")], body).into_response()
}

fn events() -> Vec<Bytes> {
    let event = |more: serde_json::Value| {
        let mut chunk = serde_json::json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-mini",
        });
        chunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let choice = |delta: serde_json::Value, finish: serde_json::Value| {
        event(serde_json::json!({
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
        }))
    };
    let words: Vec<&str> = TEXT.split_inclusive(' ').collect();
    let mut events: Vec<Bytes> = words
        .iter()
        .cycle()
        .take(PIECES)
        .map(|word| choice(serde_json::json!({ "content": word }), serde_json::Value::Null))
        .collect();
    events.push(choice(serde_json::json!({}), serde_json::json!("stop")));
    events.push(event(serde_json::json!({
        "choices": [],
        "usage": { "prompt_tokens": 120, "completion_tokens": PIECES, "total_tokens": 170 },
    })));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

/// Each event is written by itself, as a provider does it.
fn stream(events: Vec<Bytes>) -> WebResponse {
    let events = futures::stream::iter(events).then(|event| async move {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(event)
    });
    ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
}
