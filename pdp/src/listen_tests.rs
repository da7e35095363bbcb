//! The listener with certificates: gRPC and REST of a whole decision point, and who it lets in.

use std::io::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::http::Uri;
use axum::routing::get;
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use lictor_identity::tls::{ClientAuth, ClientTlsConfig, ServerTlsConfig, client_config};
use lictor_proto::pb;
use lictor_proto::pb::status_service_client::StatusServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::clock::Clock;
use crate::config::{AuditConfig, PdpConfig};
use crate::server::start;

/// An authority, and a pair of files for `localhost` and for a client.
struct Files(tempfile::TempDir);

/// Writes a file that we alone can read.
fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write(&dir.path().join("ca.pem"), &ca.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &ca).unwrap();
            write(&dir.path().join(format!("{name}.pem")), &certificate.pem());
            write(&dir.path().join(format!("{name}.key")), &key.serialize_pem());
        }
        Self(dir)
    }

    fn server(&self, client_auth: ClientAuth) -> ServerTlsConfig {
        let path = |name: &str| self.0.path().join(name);
        let client_ca = vec![path("ca.pem")];
        let client_auth = Some(client_auth);
        ServerTlsConfig {
            cert: path("server.pem"),
            key: path("server.key"),
            client_ca,
            client_auth,
        }
    }

    async fn dial(
        &self,
        address: SocketAddr,
        protocol: &[u8],
        shows: bool,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let path = |name: &str| self.0.path().join(name);
        let own = |name: &str| shows.then(|| path(name));
        let config = ClientTlsConfig {
            ca: vec![path("ca.pem")],
            cert: own("client.pem"),
            key: own("client.key"),
            server_name: None,
        };
        let mut config = client_config(&config).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A gRPC client.
    async fn channel(
        &self,
        address: SocketAddr,
        shows: bool,
    ) -> Result<Channel, tonic::transport::Error> {
        let files = Arc::new(Self(tempfile::tempdir().unwrap()));
        for entry in std::fs::read_dir(self.0.path()).unwrap() {
            let from = entry.unwrap();
            std::fs::copy(from.path(), files.0.path().join(from.file_name())).unwrap();
        }
        let connector = tower::service_fn(move |_: Uri| {
            let files = Arc::clone(&files);
            async move { files.dial(address, b"h2", shows).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await
    }
}

async fn head(mut stream: TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The end of the connection may come without a farewell.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_request_carries_its_callers_certificate_and_only_if_one_was_shown() {
    let files = Files::new();
    let tls = ServerTls::load(&files.server(ClientAuth::Optional)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let who = |shown: Option<Extension<ClientCertificate>>| async move {
        shown.map_or("nobody".to_owned(), |Extension(shown)| hex::encode(shown.thumbprint()))
    };
    let (stop, down) = watch::channel(false);
    let router = Router::new().route("/", get(who));
    let served = tokio::spawn(serve(listener, Some(Arc::new(tls)), router, down));
    let text = std::fs::read_to_string(files.0.path().join("client.pem")).unwrap();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(text.as_bytes());
    let der: rustls::pki_types::CertificateDer<'_> = der.unwrap();
    let own = hex::encode(ClientCertificate::new(&der).thumbprint());
    for (shows, expected) in [(true, &*own), (false, "nobody")] {
        let answer = head(files.dial(address, b"http/1.1", shows).await.unwrap(), "/").await;
        assert!(answer.ends_with(expected), "{answer}");
    }
    let silent = TcpStream::connect(address).await.unwrap();
    stop.send(true).unwrap();
    served.await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_plain_listener_answers_and_ends_its_answers_before_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, down) = watch::channel(false);
    let (begun, wait) = tokio::sync::oneshot::channel();
    let begun = Arc::new(std::sync::Mutex::new(Some(begun)));
    let stopping = down.clone();
    let slow = move || {
        let (begun, stopping) = (begun.lock().unwrap().take().unwrap(), stopping.clone());
        async move {
            begun.send(()).unwrap();
            until(stopping).await;
            "answered"
        }
    };
    let router = Router::new().route("/", get(slow));
    let served = tokio::spawn(serve(listener, None, router, down));
    let mut caller = TcpStream::connect(address).await.unwrap();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    wait.await.unwrap();
    stop.send(true).unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("answered"), "{answer}");
    served.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn grpc_and_rest_are_served_encrypted() {
    let (files, root) = (Files::new(), tempfile::tempdir().unwrap());
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: Some(files.server(ClientAuth::Required)),
        bundle: root.path().join("bundle").into(),
        state_dir: root.path().join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let token = config.operator_token_path();
    let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
    let running = start(config, &audit, None, Clock::system()).await.unwrap();
    let address = running.address();

    let channel = files.channel(address, true).await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(asked.clone()).await.unwrap().into_inner().status, 1);
    let mut watched = health.watch(asked).await.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status, 1);

    let mut status = StatusServiceClient::new(channel);
    let refused = status.get_status(pb::GetStatusRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let token = std::fs::read_to_string(token).unwrap();
    let mut asked = tonic::Request::new(pb::GetStatusRequest::default());
    let bearer = format!("Bearer {}", token.trim()).parse().unwrap();
    asked.metadata_mut().insert("authorization", bearer);
    assert!(status.get_status(asked).await.is_ok());

    let stream = files.dial(address, b"http/1.1", true).await.unwrap();
    assert!(head(stream, "/healthz").await.starts_with("HTTP/1.1 200"));
    let stream = files.dial(address, b"http/1.1", true).await.unwrap();
    assert!(head(stream, "/v1/status").await.starts_with("HTTP/1.1 401"));

    // Who shows nothing may believe for a moment that it was let in, but is never answered.
    if let Ok(stranger) = files.channel(address, false).await {
        let mut health = tonic_health::pb::health_client::HealthClient::new(stranger);
        let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
        assert!(health.check(asked).await.is_err());
    }
    drop((health, status, watched));
    running.stop("test").await;
}

#[tokio::test]
async fn a_decision_point_does_not_start_with_certificates_that_it_cannot_use() {
    let (files, root) = (Files::new(), tempfile::tempdir().unwrap());
    let mut tls = files.server(ClientAuth::Required);
    tls.key = files.0.path().join("client.key");
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: Some(tls),
        bundle: root.path().join("bundle").into(),
        state_dir: root.path().join("state"),
        insecure_dev: true,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
    let Err(error) = start(config, &audit, None, Clock::system()).await else {
        panic!("it started");
    };
    let text = format!("{error:#}");
    assert!(text.contains("[pdp.tls]") && text.contains("client.key"), "{text}");
    assert!(!root.path().join("audit").exists(), "nothing was begun");
}
