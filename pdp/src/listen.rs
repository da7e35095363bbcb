//! The TCP listener: connections are bounded in number, one that does not say what it wants in time
//! is closed, and with certificates every one is encrypted. A request then carries its caller's as
//! [`ClientCertificate`].

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use lictor_identity::ClientCertificate;
use lictor_identity::tls::{Connection, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

/// Most connections at once; further ones wait until one of these ends.
pub const MAX_CONNECTIONS: u32 = 4_096;
/// How long the head of a request may take, also the next one on a connection, milliseconds.
pub const HEAD_READ_TIMEOUT_MS: u64 = 30_000;
/// How long a peer of HTTP/2 may be silent before it is asked whether it is still there, milliseconds.
pub const PING_INTERVAL_MS: u64 = 30_000;
/// How long to wait after a connection could not be taken, milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Serves until `down`, then until every connection has answered what it was asked.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    down: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let mut stopped = pin!(until(down.clone()));
    let mut watching = pin!(keep_current(tls.clone()));
    loop {
        let next = next(&listener, &slots);
        let (stream, slot) = tokio::select! {
            next = next => match next {
                Some(next) => next,
                None => continue,
            },
            () = &mut stopped => break,
            never = &mut watching => match never {},
        };
        tokio::spawn(welcome(stream, tls.clone(), router.clone(), down.clone(), slot));
    }
    drop(listener);
    // Every connection holds a slot for as long as it is there; the semaphore is never closed.
    let _ = slots.acquire_many(MAX_CONNECTIONS).await;
}

/// The next connection, once there is room for one.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small answers on a busy connection must not wait for the peer's acknowledgement.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
            Some((stream, slot))
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

/// Takes a connection and serves it to its end. It holds its slot from before the handshake.
async fn welcome(
    stream: TcpStream,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    down: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
) {
    let accepted = tokio::select! {
        accepted = Connection::accept(stream, tls.as_deref()) => accepted,
        () = until(down.clone()) => return,
    };
    match accepted {
        Ok(connection) => converse(connection, router, down).await,
        Err(error) => tracing::debug!(%error, "a connection was not taken"),
    }
    drop(slot);
}

async fn converse(connection: Connection<TcpStream>, router: Router, down: watch::Receiver<bool>) {
    let certificate = connection.certificate().cloned();
    let service = service_fn(move |request| answer(router.clone(), certificate.clone(), request));
    let patience = Duration::from_millis(HEAD_READ_TIMEOUT_MS);
    let ping = Duration::from_millis(PING_INTERVAL_MS);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ping);
    let mut served = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = until(down) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended early");
    }
}

async fn answer(
    router: Router,
    certificate: Option<ClientCertificate>,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request: Request = request.map(axum::body::Body::new);
    if let Some(certificate) = certificate {
        request.extensions_mut().insert(certificate);
    }
    router.oneshot(request).await
}

/// Resolves when no further requests are taken.
async fn until(mut down: watch::Receiver<bool>) {
    // Whoever could say so being gone means the same.
    drop(down.wait_for(|down| *down).await);
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
