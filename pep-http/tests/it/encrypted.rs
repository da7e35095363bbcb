//! An authority with its certificates, and requests over connections that show one.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use lictor_identity::tls::{ClientAuth, ClientTlsConfig, ServerTlsConfig, client_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The name in every certificate.
const HOST_NAME: &str = "localhost";

/// An authority whose files are in a folder of their own.
pub(crate) struct Pki {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { dir: tempfile::tempdir().unwrap(), ca };
        write(&pki.path("ca.pem"), &pki.ca.pem());
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a certificate with its key; its DER encoding.
    pub(crate) fn issue(&self, name: &str) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![HOST_NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        write(&self.path(&format!("{name}.pem")), &certificate.pem());
        write(&self.path(&format!("{name}.key")), &key.serialize_pem());
        certificate.der().to_vec()
    }

    /// `[..tls]` of a listener that asks for certificates and takes callers without.
    pub(crate) fn listener(&self) -> ServerTlsConfig {
        self.issue("listener");
        ServerTlsConfig {
            cert: self.path("listener.pem"),
            key: self.path("listener.key"),
            client_ca: vec![self.path("ca.pem")],
            client_auth: Some(ClientAuth::Optional),
        }
    }

    /// Sends over a connection of its own, with the certificate called `shown`.
    pub(crate) async fn send(
        &self,
        address: SocketAddr,
        shown: Option<&str>,
        mut request: Request<Full<Bytes>>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let config = ClientTlsConfig {
            ca: vec![self.path("ca.pem")],
            cert: shown.map(|name| self.path(&format!("{name}.pem"))),
            key: shown.map(|name| self.path(&format!("{name}.key"))),
            server_name: None,
        };
        let connector = TlsConnector::from(Arc::new(client_config(&config).unwrap()));
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(HOST_NAME).unwrap();
        let stream = TokioIo::new(connector.connect(name, stream).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        *request.uri_mut() = request.uri().path().parse().unwrap();
        request.headers_mut().insert(HOST, HeaderValue::from_static(HOST_NAME));
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }
}

/// Writes a file that nobody else may read.
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
