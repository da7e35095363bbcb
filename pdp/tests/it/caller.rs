//! Whoever asks: one HTTP/2 connection with a credential, and what was answered.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lictor_identity::tls::{ClientTlsConfig, client_config};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::point::Point;

/// Whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection and what is shown on it.
pub(crate) struct Caller {
    requests: SendRequest<Body>,
    authorization: Option<String>,
}

/// How far a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nobody was known.
    Out,
    /// Somebody was known, without the role.
    Role,
    /// To whoever answers it.
    In,
}

/// An answer: of a stream, until its first message.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Caller {
    /// Over TCP without encryption.
    pub(crate) async fn plain(point: &Point, authorization: Option<&str>) -> Self {
        Self::over(TcpStream::connect(point.address()).await.unwrap(), authorization).await
    }

    /// Over a Unix socket.
    pub(crate) async fn socket(path: &Path, authorization: Option<&str>) -> Self {
        Self::over(UnixStream::connect(path).await.unwrap(), authorization).await
    }

    /// Over TLS, with the certificate of `name` if it has one.
    pub(crate) async fn tls(
        point: &Point,
        name: Option<&str>,
        authorization: Option<&str>,
    ) -> Self {
        let own = |ending: &str| name.map(|name| point.path(&format!("{name}.{ending}")));
        let config = ClientTlsConfig {
            ca: vec![point.path("ca.pem")],
            cert: own("pem"),
            key: own("key"),
            server_name: None,
        };
        let mut config = client_config(&config).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(point.address()).await.unwrap();
        let server = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await.unwrap();
        Self::over(stream, authorization).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authorization: Option<&str>,
    ) -> Self {
        let (requests, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { requests, authorization: authorization.map(str::to_owned) }
    }

    /// One message to a gRPC method.
    pub(crate) async fn grpc(&mut self, path: &str, message: &[u8]) -> Answer {
        let frame = framed(message);
        let kind = [("content-type", "application/grpc"), ("te", "trailers")];
        self.send(Method::POST, path, &kind, frame).await
    }

    /// One request to a REST route.
    pub(crate) async fn rest(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let method = method.parse().unwrap();
        self.send(method, path, &[("content-type", "application/json")], body.into()).await
    }

    /// A gRPC method that takes messages for as long as they come.
    pub(crate) async fn stream(&mut self, path: &str) -> Conversation {
        let (messages, rest) = tokio::sync::mpsc::channel::<Bytes>(1);
        let rest = tokio_stream::wrappers::ReceiverStream::new(rest).map(Ok::<_, Infallible>);
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::from_stream(rest)).unwrap();
        self.requests.ready().await.unwrap();
        let (head, answers) = self.requests.send_request(request).await.unwrap().into_parts();
        Conversation { messages, headers: head.headers, answers }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::from(body)).unwrap();
        let answered = async {
            self.requests.ready().await.unwrap();
            let (head, mut body) = self.requests.send_request(request).await.unwrap().into_parts();
            let (mut headers, mut first) = (head.headers, Bytes::new());
            while let Some(frame) = body.frame().await {
                match frame.unwrap().into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        first = data;
                        break;
                    }
                    Err(trailers) => headers.extend(trailers.into_trailers().unwrap()),
                }
            }
            Answer { status: head.status, headers, body: first }
        };
        let late = tokio::time::timeout(PATIENCE, answered).await;
        late.unwrap_or_else(|_| panic!("no answer from {path}"))
    }
}

/// A stream of questions and answers.
pub(crate) struct Conversation {
    messages: tokio::sync::mpsc::Sender<Bytes>,
    headers: HeaderMap,
    answers: Incoming,
}

impl Conversation {
    /// What the other side announced.
    pub(crate) fn announced(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asks several in one piece, and takes as many answers.
    pub(crate) async fn ask_all(&mut self, messages: &[Vec<u8>]) -> Vec<Bytes> {
        let pieces: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
        self.messages.send(pieces.into()).await.unwrap();
        let (mut read, mut answers) = (Vec::new(), Vec::new());
        let answered = async {
            while answers.len() < messages.len() {
                let frame = self.answers.frame().await.unwrap().unwrap();
                read.extend_from_slice(&frame.into_data().unwrap());
                while let Some(length) = read.get(1..5) {
                    let length = u32::from_be_bytes(length.try_into().unwrap()) as usize + 5;
                    if read.len() < length {
                        break;
                    }
                    let rest = read.split_off(length);
                    answers.push(Bytes::from(std::mem::replace(&mut read, rest).split_off(5)));
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap();
        answers
    }

    /// Asks one more; `None` where there are no answers any more.
    pub(crate) async fn ask(&mut self, message: &[u8]) -> Option<Bytes> {
        self.messages.send(framed(message).into()).await.unwrap();
        let answered = async {
            while let Some(frame) = self.answers.frame().await {
                if let Ok(data) = frame.unwrap().into_data()
                    && !data.is_empty()
                {
                    return Some(data);
                }
            }
            None
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap()
    }
}

/// A message as gRPC sends it.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

impl Answer {
    pub(crate) fn grpc_status(&self) -> Option<&str> {
        self.headers.get("grpc-status").map(|status| status.to_str().unwrap())
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        self.headers.get("lictor-reason").map(|reason| reason.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// How far the question came. One to nobody who answers it fails the test.
    #[track_caller]
    pub(crate) fn came(&self) -> Came {
        const UNIMPLEMENTED: &str = "12";
        const UNAUTHENTICATED: &str = "16";
        let missing = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        let routed = !missing.contains(&self.status) || self.text().contains(r#""error""#);
        assert!(routed && self.grpc_status() != Some(UNIMPLEMENTED), "not there: {self:?}");
        let role = b"role_missing";
        if self.status == StatusCode::UNAUTHORIZED || self.grpc_status() == Some(UNAUTHENTICATED) {
            return Came::Out;
        }
        let in_band = self.body.windows(role.len()).any(|part| part == role);
        match in_band || self.reason() == Some("role_missing") {
            true => Came::Role,
            false => Came::In,
        }
    }
}
