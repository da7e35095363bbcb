//! One connection to one decision point: TCP, TLS or a Unix socket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use lictor_identity::tls::{ClientTlsConfig, client_config};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::target::{ClientError, Target};

/// How long a connection may take to be made, milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// How often an idle connection is asked whether it still lives, milliseconds.
pub const KEEP_ALIVE_MS: u64 = 10_000;
/// How long that answer may take, milliseconds.
pub const KEEP_ALIVE_TIMEOUT_MS: u64 = 5_000;
/// What is spoken inside of TLS (RFC 7301).
const ALPN: &[u8] = b"h2";

/// How to get to one decision point.
#[derive(Debug, Clone)]
pub struct Dial {
    target: Target,
    tls: ClientTlsConfig,
    answer_timeout: Option<Duration>,
}

impl Dial {
    /// `tls` counts for targets at `https://` alone.
    #[must_use]
    pub fn new(target: Target, tls: Option<&ClientTlsConfig>) -> Self {
        Self { target, tls: tls.cloned().unwrap_or_default(), answer_timeout: None }
    }

    /// Bounds every answer, milliseconds.
    #[must_use]
    pub fn with_answer_timeout(mut self, ms: u64) -> Self {
        self.answer_timeout = Some(Duration::from_millis(ms));
        self
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// One connection, made when it is first used, with certificates as the files say them now.
    ///
    /// # Errors
    /// [`ClientError`] for certificates that cannot be used.
    pub fn channel(&self) -> Result<Channel, ClientError> {
        match &self.target {
            Target::Tcp(uri) => Ok(self.endpoint(uri.clone()).connect_lazy()),
            Target::Tls(uri) => self.encrypted(uri),
            Target::Unix(path) => {
                let path = Arc::<Path>::from(path.as_path());
                // The address is never dialled; it only fills `:authority`.
                let name = Uri::from_static("http://pdp.lictor.invalid");
                let connector = tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                Ok(self.endpoint(name).connect_with_connector_lazy(connector))
            }
        }
    }

    fn encrypted(&self, uri: &Uri) -> Result<Channel, ClientError> {
        let mut config = client_config(&self.tls)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = self.tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| ClientError::ServerName(name.to_owned()))?;
        let connector = tower::service_fn(move |_: Uri| {
            let (connector, name, address) = (connector.clone(), name.clone(), address.clone());
            async move { shake_hands(&connector, name, &address).await.map(TokioIo::new) }
        });
        Ok(self.endpoint(uri.clone()).connect_with_connector_lazy(connector))
    }

    fn endpoint(&self, uri: Uri) -> Endpoint {
        let endpoint = Endpoint::from(uri)
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .http2_keep_alive_interval(Duration::from_millis(KEEP_ALIVE_MS))
            .keep_alive_timeout(Duration::from_millis(KEEP_ALIVE_TIMEOUT_MS))
            .keep_alive_while_idle(true);
        match self.answer_timeout {
            Some(timeout) => endpoint.timeout(timeout),
            None => endpoint,
        }
    }

    /// Another value where a file of the certificates changed.
    pub(crate) fn stamp(&self) -> Vec<Option<(SystemTime, u64)>> {
        if !matches!(self.target, Target::Tls(_)) {
            return Vec::new();
        }
        let own = [&self.tls.cert, &self.tls.key].into_iter().flatten();
        let of = |path: &std::path::PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        own.chain(&self.tls.ca).map(of).collect()
    }
}

async fn shake_hands(
    connector: &TlsConnector,
    name: ServerName<'static>,
    address: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(name, stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN) => Ok(stream),
        _ => Err(io::Error::other("the server speaks no HTTP/2")),
    }
}
