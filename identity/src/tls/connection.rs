//! One accepted connection, plain or encrypted: its handshake and its first bytes are bounded in
//! time, so that a peer that says nothing holds no place.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ServerTls;
use crate::certificate::ClientCertificate;

/// How long a handshake may take, milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// How long the first bytes after it may take, milliseconds.
pub const FIRST_BYTES_TIMEOUT_MS: u64 = 30_000;
/// How many bytes those are: as many as tell HTTP/1 from HTTP/2, after which the server's own
/// timeouts count.
const FIRST_BYTES: usize = 24;

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The peer did not finish its handshake.
    #[error("no TLS handshake within {HANDSHAKE_TIMEOUT_MS} ms")]
    Timeout,
    /// The peer speaks something else, shows a certificate that does not hold, or went away.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[from] io::Error),
}

/// One accepted connection.
pub struct Connection<S> {
    layer: Layer<S>,
    certificate: Option<ClientCertificate>,
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

enum Layer<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes the connection: encrypted if `tls` is there, plain otherwise.
    ///
    /// # Errors
    /// [`AcceptError`]; the peer was told so where TLS has a way to.
    pub async fn accept(stream: S, tls: Option<&ServerTls>) -> Result<Self, AcceptError> {
        let Some(tls) = tls else {
            return Ok(Self::after(Layer::Plain(stream), None));
        };
        let accepted = TlsAcceptor::from(tls.current()).accept(stream);
        let patience = Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
        let stream = match tokio::time::timeout(patience, accepted).await {
            Ok(accepted) => accepted?,
            Err(_) => return Err(AcceptError::Timeout),
        };
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(ClientCertificate::from_chain);
        Ok(Self::after(Layer::Tls(Box::new(stream)), certificate))
    }

    fn after(layer: Layer<S>, certificate: Option<ClientCertificate>) -> Self {
        let patience = Duration::from_millis(FIRST_BYTES_TIMEOUT_MS);
        let deadline = Box::pin(tokio::time::sleep(patience));
        Self { layer, certificate, missing: FIRST_BYTES, deadline }
    }
}

impl<S> Connection<S> {
    /// The certificate that the peer showed, checked against the listener's authorities.
    #[must_use]
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.layer, Layer::Tls(_))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
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
        let read = match &mut this.layer {
            Layer::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Layer::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        this.missing = this.missing.saturating_sub(buf.filled().len().saturating_sub(before));
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Layer::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Layer::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layer {
            Layer::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Layer::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().layer {
            Layer::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Layer::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.layer {
            Layer::Plain(stream) => stream.is_write_vectored(),
            Layer::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn first_bytes_that_do_not_come_are_not_waited_for() {
        for said in [&b""[..], b"PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut caller, stream) = tokio::io::duplex(64);
            let mut connection = Connection::accept(stream, None).await.unwrap();
            caller.write_all(said).await.unwrap();
            let mut seen = Vec::new();
            let error = connection.read_to_end(&mut seen).await.unwrap_err();
            assert_eq!((error.kind(), &*seen), (io::ErrorKind::TimedOut, said));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_first_bytes_a_connection_may_be_silent() {
        let (mut caller, stream) = tokio::io::duplex(64);
        let mut connection = Connection::accept(stream, None).await.unwrap();
        let mut seen = [0; FIRST_BYTES];
        caller.write_all(&[b'x'; FIRST_BYTES]).await.unwrap();
        connection.read_exact(&mut seen).await.unwrap();
        tokio::time::sleep(Duration::from_millis(FIRST_BYTES_TIMEOUT_MS * 2)).await;
        caller.write_all(b"y").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'y');
    }
}
