//! A provider that answers as the test tells it to, and remembers what it got.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Response};
use tokio::sync::Notify;

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// One step of a streamed answer.
#[derive(Clone)]
pub(crate) enum Piece {
    /// Bytes, sent as one chunk.
    Bytes(Vec<u8>),
    /// Waits until the test says so.
    Wait(Arc<Notify>),
    /// Runs something of the test's.
    Run(Arc<dyn Fn() + Send + Sync>),
    /// Never goes on.
    Hang,
    /// Breaks the connection.
    Cut,
}

/// How it answers.
#[derive(Clone)]
pub(crate) enum Script {
    Plain { status: u16, headers: Vec<(&'static str, &'static str)>, body: Vec<u8> },
    Stream(Vec<Piece>),
    Never,
}

pub(crate) fn json(body: &str) -> Script {
    let headers = vec![("content-type", "application/json"), ("x-request-id", "req-1")];
    Script::Plain { status: 200, headers, body: body.as_bytes().to_vec() }
}

pub(crate) fn stream(bytes: &[u8]) -> Script {
    Script::Stream(vec![Piece::Bytes(bytes.to_vec())])
}

struct Shared {
    script: Mutex<Script>,
    hook: Mutex<Arc<dyn Fn() + Send + Sync>>,
    seen: Mutex<Vec<Seen>>,
    dropped: Notify,
}

/// The provider.
#[derive(Clone)]
pub(crate) struct Provider {
    shared: Arc<Shared>,
    /// Its address with `/v1`.
    pub(crate) base_url: String,
}

impl Provider {
    pub(crate) async fn start(script: Script) -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            hook: Mutex::new(Arc::new(|| {})),
            seen: Mutex::default(),
            dropped: Notify::new(),
        });
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { shared, base_url }
    }

    pub(crate) fn set(&self, script: Script) {
        *self.shared.script.lock().unwrap() = script;
    }

    /// Runs when a request has come, before it is answered.
    pub(crate) fn on_request(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.shared.hook.lock().unwrap() = Arc::new(hook);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until somebody hangs up on an answer, or on the wait for one.
    pub(crate) async fn hung_up(&self) {
        self.shared.dropped.notified().await;
    }
}

/// Tells when it is dropped before it was disarmed.
struct Alarm(Option<Arc<Shared>>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.dropped.notify_one();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    shared.seen.lock().unwrap().push(Seen {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body,
    });
    let hook = shared.hook.lock().unwrap().clone();
    hook();
    let script = shared.script.lock().unwrap().clone();
    match script {
        Script::Plain { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Script::Stream(pieces) => Response::builder()
            .header("content-type", "text/event-stream; charset=utf-8")
            .body(Body::from_stream(played(pieces, shared)))
            .unwrap(),
        Script::Never => {
            let _alarm = Alarm(Some(shared));
            std::future::pending::<Infallible>().await;
            Response::new(Body::empty())
        }
    }
}

fn played(
    pieces: Vec<Piece>,
    shared: Arc<Shared>,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let state = (pieces.into_iter(), Alarm(Some(shared)));
    futures::stream::unfold(state, |(mut pieces, mut alarm)| async move {
        let Some(piece) = pieces.next() else {
            drop(alarm.0.take());
            return None;
        };
        let item = match piece {
            Piece::Bytes(bytes) => Some(Ok(Bytes::from(bytes))),
            Piece::Cut => {
                // What was sent before is flushed while the body has nothing to say.
                tokio::task::yield_now().await;
                Some(Err(std::io::Error::other("cut")))
            }
            Piece::Hang => std::future::pending().await,
            Piece::Wait(notify) => {
                notify.notified().await;
                None
            }
            Piece::Run(run) => {
                run();
                None
            }
        };
        Some((item, (pieces, alarm)))
    })
    .filter_map(|item| async move { item })
}
