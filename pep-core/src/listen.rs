//! The front door of both enforcement points: connections are bounded in number, and one that does
//! not say what it wants in time is closed, whether or not it sends a byte now and then.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;
use tower::{Service, ServiceExt as _};

/// Most connections at once; further ones wait until one of these ends.
pub const MAX_CONNECTIONS: u32 = 16_384;
/// How long the head of a request may take, also the next one on a connection, milliseconds.
pub const HEAD_READ_TIMEOUT_MS: u64 = 30_000;
/// How long a peer of HTTP/2 may be silent before it is asked whether it is still there, milliseconds.
pub const PING_INTERVAL_MS: u64 = 30_000;
/// How long to wait after a connection could not be taken, milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Bytes that tell HTTP/1 from HTTP/2, after which the head's own timeout counts.
const VERSION_BYTES: usize = 24;

/// Tells a request where it comes from.
pub type Introduce = fn(&mut Request<Incoming>, SocketAddr);

/// Serves until `shutdown`, then until every connection has answered what it was asked.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    introduce: Introduce,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let (close, closing) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let next = next(&listener, &slots);
        let (stream, peer, slot) = tokio::select! {
            next = next => match next {
                Some(next) => next,
                None => continue,
            },
            () = &mut shutdown => break,
        };
        let service = service.clone();
        let service = service_fn(move |mut request| {
            introduce(&mut request, peer);
            service.clone().oneshot(request)
        });
        tokio::spawn(connection(stream, service, closing.clone(), slot));
    }
    drop(listener);
    close.send_replace(true);
    // Every connection holds a slot for as long as it is there; the semaphore is never closed.
    let _ = slots.acquire_many(MAX_CONNECTIONS).await;
}

/// The next connection, once there is room for one.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
            Some((stream, peer, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be taken");
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            None
        }
    }
}

async fn connection<S, B>(
    stream: TcpStream,
    service: S,
    closing: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
) where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let patience = Duration::from_millis(HEAD_READ_TIMEOUT_MS);
    let ping = Duration::from_millis(PING_INTERVAL_MS);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ping);
    let stream = Prompt::new(stream, patience);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = closed(closing) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
    drop(slot);
}

/// Resolves when no further requests are taken.
async fn closed(mut closing: watch::Receiver<bool>) {
    // Whoever could say so being gone means the same.
    drop(closing.wait_for(|closing| *closing).await);
}

/// A connection whose first bytes have to come in time: before the version of HTTP is known, no
/// other timeout counts.
struct Prompt<T> {
    stream: T,
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<T> Prompt<T> {
    fn new(stream: T, patience: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(patience));
        Self { stream, missing: VERSION_BYTES, deadline }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prompt<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.missing > 0 && this.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.missing = this.missing.saturating_sub(buf.filled().len().saturating_sub(before));
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prompt<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn first_bytes_that_do_not_come_are_not_waited_for() {
        let patience = Duration::from_millis(HEAD_READ_TIMEOUT_MS);
        for said in [&b""[..], b"PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut caller, stream) = tokio::io::duplex(64);
            let mut prompt = Prompt::new(stream, patience);
            caller.write_all(said).await.unwrap();
            let mut seen = Vec::new();
            let error = prompt.read_to_end(&mut seen).await.unwrap_err();
            assert_eq!((error.kind(), &*seen), (io::ErrorKind::TimedOut, said));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_bytes_a_connection_may_be_silent() {
        let (mut caller, stream) = tokio::io::duplex(64);
        let mut prompt = Prompt::new(stream, Duration::from_millis(HEAD_READ_TIMEOUT_MS));
        let mut seen = [0; VERSION_BYTES];
        caller.write_all(&[b'x'; VERSION_BYTES]).await.unwrap();
        prompt.read_exact(&mut seen).await.unwrap();
        tokio::time::sleep(Duration::from_millis(HEAD_READ_TIMEOUT_MS * 2)).await;
        caller.write_all(b"y").await.unwrap();
        assert_eq!(prompt.read_u8().await.unwrap(), b'y');
    }

    #[tokio::test]
    async fn requests_know_their_peer_and_the_end_waits_for_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::service_fn(|request: Request<Incoming>| async move {
            let peer = request.extensions().get::<SocketAddr>().unwrap().to_string();
            Ok::<_, Infallible>(Response::new(peer))
        });
        let introduce: Introduce = |request, peer| {
            request.extensions_mut().insert(peer);
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, service, introduce, async move {
            let _ = stopped.await;
        }));
        let mut caller = TcpStream::connect(address).await.unwrap();
        let own = caller.local_addr().unwrap().to_string();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&own), "{answer}");
        let idle = TcpStream::connect(address).await.unwrap();
        stop.send(()).unwrap();
        served.await.unwrap();
        drop(idle);
    }
}
