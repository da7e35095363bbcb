//! The front door with certificates, from outside.

use std::convert::Infallible;
use std::io::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lictor_identity::tls::{ClientTlsConfig, Reloaded, client_config};
use lictor_pep_core::listen::{self, ClientCertificate, Introduce, ServerTls, ServerTlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Puts a file in the place of what is there, readable by us alone.
fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let draft = path.with_extension("new");
    std::fs::write(&draft, text).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(draft, path).unwrap();
}

/// A listener called `localhost` that answers with its caller's thumbprint.
struct Site {
    dir: tempfile::TempDir,
    ca: Ca,
    tls: Arc<ServerTls>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

fn issue(dir: &Path, ca: &Ca, name: &str) -> Bytes {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    write(&dir.join(format!("{name}.pem")), &certificate.pem());
    write(&dir.join(format!("{name}.key")), &key.serialize_pem());
    Bytes::copy_from_slice(certificate.der())
}

impl Site {
    async fn open() -> Self {
        let (dir, ca) = (tempfile::tempdir().unwrap(), ca());
        let path = |name: &str| dir.path().join(name);
        write(&path("ca.pem"), &ca.pem());
        issue(dir.path(), &ca, "server");
        issue(dir.path(), &ca, "client");
        let config = ServerTlsConfig {
            cert: path("server.pem"),
            key: path("server.key"),
            client_ca: vec![path("ca.pem")],
            client_auth: None,
        };
        let tls = Arc::new(ServerTls::load(&config).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = tower::service_fn(|request: Request<Incoming>| async move {
            let shown = request.extensions().get::<ClientCertificate>();
            let text = shown.map(|shown| hex::encode(shown.thumbprint())).unwrap_or_default();
            Ok::<_, Infallible>(Response::new(text))
        });
        let introduce: Introduce = |_, _| {};
        let served =
            tokio::spawn(listen::serve(listener, Some(tls.clone()), service, introduce, async {
                let _ = stopped.await;
            }));
        Self { dir, ca, tls, address, stop, served }
    }

    async fn dial(&self, protocol: &[u8]) -> Result<TlsStream<TcpStream>, Error> {
        let path = |name: &str| self.dir.path().join(name);
        let config = ClientTlsConfig {
            ca: vec![path("ca.pem")],
            cert: Some(path("client.pem")),
            key: Some(path("client.key")),
            server_name: None,
        };
        let mut config = client_config(&config).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// The body of the answer, and the certificate that the listener showed.
    async fn ask(&self, protocol: &[u8]) -> Result<(String, Bytes), Error> {
        let stream = self.dial(protocol).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap();
        let shown = Bytes::copy_from_slice(shown.first().unwrap());
        let request = Request::get("https://localhost/").header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let stream = TokioIo::new(stream);
        let answer = if protocol == b"h2" {
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
            let (mut sender, connection) = shaken.map_err(Error::other)?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let shaken = hyper::client::conn::http1::handshake(stream).await;
            let (mut sender, connection) = shaken.map_err(Error::other)?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let body = answer.map_err(Error::other)?.into_body().collect().await;
        let body = body.map_err(Error::other)?.to_bytes();
        Ok((String::from_utf8(body.to_vec()).unwrap(), shown))
    }

    async fn close(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }
}

#[tokio::test]
async fn requests_carry_the_certificate_of_their_caller() {
    let site = Site::open().await;
    let own = issue(site.dir.path(), &site.ca, "client");
    let expected = hex::encode(ClientCertificate::new(&own).thumbprint());
    for protocol in [&b"h2"[..], b"http/1.1"] {
        assert_eq!(site.ask(protocol).await.unwrap().0, expected, "{protocol:?}");
    }
    site.close().await;
}

#[tokio::test]
async fn who_does_not_speak_tls_or_shows_nothing_gets_no_answer() {
    let site = Site::open().await;
    let mut plain = TcpStream::connect(site.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Whether the end is told or found out depends on who is faster.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let ca = site.dir.path().join("ca.pem");
    let config = ClientTlsConfig { ca: vec![ca], ..ClientTlsConfig::default() };
    let connector = TlsConnector::from(Arc::new(client_config(&config).unwrap()));
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut heard = Vec::new();
    if let Ok(mut stream) = connector.connect(name, stream).await {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let ended = stream.read_to_end(&mut heard).await;
        assert!(ended.is_err(), "a certificate is required");
    }
    assert!(heard.is_empty(), "{heard:?}");
    site.close().await;
}

#[tokio::test]
async fn a_new_certificate_costs_no_request() {
    let site = Arc::new(Site::open().await);
    let (done, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut askers = Vec::new();
    for protocol in [&b"h2"[..], b"http/1.1", b"h2", b"http/1.1"] {
        let (site, done, failed) = (site.clone(), done.clone(), failed.clone());
        askers.push(tokio::spawn(async move {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                if let Err(error) = site.ask(protocol).await {
                    failed.fetch_add(1, Ordering::Relaxed);
                    eprintln!("{error}");
                }
                asked += 1;
            }
            asked
        }));
    }
    for _ in 0..10 {
        let next = issue(site.dir.path(), &site.ca, "server");
        // The listener looks at its files too and may have been first.
        assert!(matches!(site.tls.reload(), Reloaded::Live | Reloaded::Unchanged));
        assert_eq!(site.ask(b"h2").await.unwrap().1, next);
    }
    done.store(true, Ordering::Relaxed);
    for asker in askers {
        assert!(asker.await.unwrap() > 0);
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    Arc::into_inner(site).unwrap().close().await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_those_who_never_said_anything() {
    let site = Site::open().await;
    let silent = TcpStream::connect(site.address).await.unwrap();
    let mut begun = TcpStream::connect(site.address).await.unwrap();
    begun.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    assert!(site.ask(b"h2").await.is_ok());
    site.close().await;
    drop((silent, begun));
}
