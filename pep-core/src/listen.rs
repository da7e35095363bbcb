//! The front door of both enforcement points: connections are bounded in number, and one that does
//! not say what it wants in time is closed, whether or not it sends a byte now and then. Encrypted
//! where certificates are configured; a request then carries its caller's as [`ClientCertificate`].

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use lictor_identity::tls::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::{Service, ServiceExt as _};

pub use lictor_identity::ClientCertificate;
pub use lictor_identity::tls::{ServerTls, ServerTlsConfig, TlsError, warn_if_open};

/// Most connections at once; further ones wait until one of these ends.
pub const MAX_CONNECTIONS: u32 = 16_384;
/// How long the head of a request may take, also the next one on a connection, milliseconds.
pub const HEAD_READ_TIMEOUT_MS: u64 = 30_000;
/// How long a peer of HTTP/2 may be silent before it is asked whether it is still there, milliseconds.
pub const PING_INTERVAL_MS: u64 = 30_000;
/// How long to wait after a connection could not be taken, milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Tells a request where it comes from.
pub type Introduce = fn(&mut Request<Incoming>, SocketAddr);

/// Serves until `shutdown`, then until every connection has answered what it was asked. With `tls`
/// every connection is encrypted, and its files are looked at as long as connections are taken.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
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
    let mut watching = pin!(keep_current(tls.clone()));
    loop {
        let next = next(&listener, &slots);
        let (stream, peer, slot) = tokio::select! {
            next = next => match next {
                Some(next) => next,
                None => continue,
            },
            () = &mut shutdown => break,
            never = &mut watching => match never {},
        };
        let guest = Guest { stream, peer, introduce, slot };
        tokio::spawn(welcome(guest, tls.clone(), service.clone(), closing.clone()));
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

/// Keeps certificates up to date.
async fn keep_current(tls: Option<Arc<ServerTls>>) -> Infallible {
    match tls {
        Some(tls) => tls.watch().await,
        None => std::future::pending().await,
    }
}

/// A connection that nothing was said on yet.
struct Guest {
    stream: TcpStream,
    peer: SocketAddr,
    introduce: Introduce,
    /// The place that it takes, from before its handshake to its end.
    slot: OwnedSemaphorePermit,
}

/// Takes a connection and serves it to its end.
async fn welcome<S, B>(
    guest: Guest,
    tls: Option<Arc<ServerTls>>,
    service: S,
    closing: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Guest { stream, peer, introduce, slot } = guest;
    let accepted = tokio::select! {
        accepted = Connection::accept(stream, tls.as_deref()) => accepted,
        () = closed(closing.clone()) => return,
    };
    let connection = match accepted {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(%peer, %error, "a connection was not taken");
            return;
        }
    };
    let certificate = connection.certificate().cloned();
    let service = service_fn(move |mut request: Request<Incoming>| {
        introduce(&mut request, peer);
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        service.clone().oneshot(request)
    });
    converse(connection, service, closing).await;
    drop(slot);
}

async fn converse<S, B>(
    connection: Connection<TcpStream>,
    service: S,
    closing: watch::Receiver<bool>,
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
    let mut served = pin!(builder.serve_connection(TokioIo::new(connection), service));
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
}

/// Resolves when no further requests are taken.
async fn closed(mut closing: watch::Receiver<bool>) {
    // Whoever could say so being gone means the same.
    drop(closing.wait_for(|closing| *closing).await);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

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
        let served = tokio::spawn(serve(listener, None, service, introduce, async move {
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
