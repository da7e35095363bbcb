//! Connections that are taken with certificates.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lictor_identity::tls::connection::HANDSHAKE_TIMEOUT_MS;
use lictor_identity::tls::{
    AcceptError, ClientAuth, ClientTlsConfig, Connection, RELOAD_INTERVAL_MS, Reloaded, ServerTls,
    ServerTlsConfig, TlsError, client_config,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::{Ca, Leaf, ca, ca_below, dns, leaf, write};

/// A listener called `localhost`, and who issues what.
struct Site {
    dir: tempfile::TempDir,
    servers: Ca,
    clients: Ca,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            servers: ca("servers"),
            clients: ca("clients"),
        };
        site.renew();
        write(site.path(), "servers.pem", &site.servers.pem());
        write(site.path(), "clients.pem", &site.clients.pem());
        site
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives the listener a new certificate.
    fn renew(&self) -> Leaf {
        let leaf = leaf(&self.servers, |params| params.subject_alt_names = vec![dns("localhost")]);
        leaf.write(self.path(), "server");
        leaf
    }

    fn config(&self, auth: ClientAuth) -> ServerTlsConfig {
        let client_ca = match auth {
            ClientAuth::None => Vec::new(),
            _ => vec![self.path().join("clients.pem")],
        };
        ServerTlsConfig {
            cert: self.path().join("server.pem"),
            key: self.path().join("server.key"),
            client_ca,
            client_auth: Some(auth),
        }
    }

    fn server(&self, auth: ClientAuth) -> ServerTls {
        ServerTls::load(&self.config(auth)).unwrap()
    }

    fn stranger(&self) -> ClientConfig {
        client_config(&self.trusting()).unwrap()
    }

    fn trusting(&self) -> ClientTlsConfig {
        ClientTlsConfig { ca: vec![self.path().join("servers.pem")], ..Default::default() }
    }

    /// A client that shows a certificate of `ca`.
    fn client(&self, ca: &Ca, change: impl Fn(&mut CertificateParams)) -> ClientConfig {
        let (cert, key) = leaf(ca, change).write(self.path(), "client");
        let config = ClientTlsConfig { cert: Some(cert), key: Some(key), ..self.trusting() };
        client_config(&config).unwrap()
    }
}

type Taken = Result<Connection<DuplexStream>, AcceptError>;

/// A handshake: how it ended here, and there.
async fn meet(
    server: &ServerTls,
    client: ClientConfig,
) -> (Taken, std::io::Result<TlsStream<DuplexStream>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    tokio::join!(Connection::accept(near, Some(server)), connector.connect(name, far))
}

async fn taken(server: &ServerTls, client: ClientConfig) -> bool {
    meet(server, client).await.0.is_ok()
}

#[tokio::test]
async fn who_must_show_a_certificate_is_not_let_in_without() {
    let site = Site::new();
    let server = site.server(ClientAuth::Required);
    assert!(!taken(&server, site.stranger()).await);
    let client = site.client(&site.clients, |_| {});
    let shown = std::fs::read_to_string(site.path().join("client.pem")).unwrap();
    let (near, far) = meet(&server, client).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert!(near.is_encrypted());
    let certificate = near.certificate().unwrap().clone();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(shown.as_bytes());
    let der: rustls::pki_types::CertificateDer<'_> = der.unwrap();
    assert_eq!(certificate.der(), &der);
    far.write_all(b"hello").await.unwrap();
    far.flush().await.unwrap();
    let mut heard = [0; 5];
    near.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_not_let_in_even_where_none_is_needed() {
    let site = Site::new();
    let clients = &site.clients;
    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        let server = site.server(auth);
        assert!(taken(&server, site.client(clients, |_| {})).await);
        let strangers = [
            ("another authority's", site.client(&ca("clients"), |_| {})),
            ("expired", site.client(clients, |p| p.not_after = date_time_ymd(2025, 2, 1))),
            ("of the future", site.client(clients, |p| p.not_before = date_time_ymd(2034, 1, 1))),
            (
                "for servers",
                site.client(clients, |p| {
                    p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                }),
            ),
            (
                "an authority's",
                site.client(clients, |p| {
                    p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                }),
            ),
        ];
        for (which, client) in strangers {
            assert!(!taken(&server, client).await, "{which} {auth:?}");
        }
    }
}

#[tokio::test]
async fn where_a_certificate_is_optional_or_not_wanted_strangers_come_in() {
    let site = Site::new();
    let (near, _far) = meet(&site.server(ClientAuth::Optional), site.stranger()).await;
    assert!(near.unwrap().certificate().is_none());
    let client = site.client(&site.clients, |_| {});
    let (near, _far) = meet(&site.server(ClientAuth::None), client).await;
    assert!(near.unwrap().certificate().is_none(), "nobody asked for it");
}

#[tokio::test]
async fn those_between_a_certificate_and_its_authority_come_with_it() {
    let site = Site::new();
    let between = ca_below(&site.clients, |_| {});
    let own = leaf(&between, |_| {});
    let (_, key) = own.write(site.path(), "client");
    let chain = format!("{}{}", own.certificate.pem(), between.pem());
    let cert = write(site.path(), "client.pem", &chain);
    let config = ClientTlsConfig { cert: Some(cert), key: Some(key), ..site.trusting() };
    let client = client_config(&config).unwrap();
    let (near, _far) = meet(&site.server(ClientAuth::Required), client).await;
    let near = near.unwrap();
    assert_eq!(near.certificate().unwrap().intermediates(), [between.der().clone()]);
}

#[tokio::test]
async fn both_versions_and_both_protocols_are_spoken_and_no_other() {
    let site = Site::new();
    let server = site.server(ClientAuth::Required);
    let (cert, key) = leaf(&site.clients, |_| {}).write(site.path(), "client");
    let config = ClientTlsConfig { cert: Some(cert), key: Some(key), ..site.trusting() };
    for (version, number) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(site.servers.der().clone()).unwrap();
        let own = client_config(&config).unwrap().client_auth_cert_resolver;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(own);
        let (near, far) = meet(&server, client).await;
        assert!(near.unwrap().certificate().is_some());
        assert_eq!(far.unwrap().get_ref().1.protocol_version(), Some(number));
    }
    for (offered, spoken) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut client = client_config(&config).unwrap();
        client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let (near, far) = meet(&server, client).await;
        near.unwrap();
        assert_eq!(far.unwrap().get_ref().1.alpn_protocol(), spoken, "{offered:?}");
    }
    let mut other = client_config(&config).unwrap();
    other.alpn_protocols = vec![b"smtp".to_vec()];
    assert!(!taken(&server, other).await);
}

#[tokio::test]
async fn every_connection_shows_its_certificates_anew() {
    let site = Site::new();
    let server = site.server(ClientAuth::Required);
    let mut client = site.client(&site.clients, |_| {});
    client.resumption = Resumption::in_memory_sessions(8);
    for _ in 0..3 {
        let (near, far) = meet(&server, client.clone()).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        // What the server has to say after its handshake is read together with this.
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        assert_eq!(far.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(far.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_a_wrong_one_to_none() {
    let site = Site::new();
    let server = site.server(ClientAuth::Optional);
    let shown = async || {
        let far = meet(&server, site.stranger()).await.1.unwrap();
        far.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = shown().await;
    assert!(matches!(server.reload(), Reloaded::Unchanged));
    let next = site.renew();
    assert_eq!(shown().await, first, "before anybody looked");
    assert!(matches!(server.reload(), Reloaded::Live));
    assert_eq!(&shown().await, next.certificate.der());

    // The certificate comes before its key: what is there does not belong together yet.
    let last = leaf(&site.servers, |params| params.subject_alt_names = vec![dns("localhost")]);
    write(site.path(), "server.pem", &last.certificate.pem());
    assert!(matches!(server.reload(), Reloaded::Refused(TlsError::Mismatch { .. })));
    assert!(matches!(server.reload(), Reloaded::StillRefused));
    assert_eq!(&shown().await, next.certificate.der());
    write(site.path(), "server.key", &last.key.serialize_pem());
    assert!(matches!(server.reload(), Reloaded::Live));
    assert_eq!(&shown().await, last.certificate.der());

    let known = site.client(&site.clients, |_| {});
    assert!(taken(&server, known.clone()).await);
    write(site.path(), "clients.pem", &ca("other clients").pem());
    assert!(matches!(server.reload(), Reloaded::Live));
    assert!(!taken(&server, known).await, "its authority is believed no more");
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_noticed() {
    let site = Site::new();
    let server = Arc::new(site.server(ClientAuth::None));
    let before = server.current();
    let watching = tokio::spawn(Arc::clone(&server).watch());
    site.renew();
    // The clock stands still while the files are read, so these are looks and not seconds.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(RELOAD_INTERVAL_MS)).await;
    }
    assert!(!Arc::ptr_eq(&before, &server.current()));
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_is_ended() {
    let site = Site::new();
    let server = site.server(ClientAuth::None);
    for said in [&b""[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]] {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(said).await.unwrap();
        let begun = tokio::time::Instant::now();
        let ended = Connection::accept(near, Some(&server)).await;
        assert!(matches!(ended, Err(AcceptError::Timeout)));
        assert_eq!(begun.elapsed().as_millis(), u128::from(HANDSHAKE_TIMEOUT_MS));
    }
    // A byte now and then makes it no longer.
    let (near, mut far) = tokio::io::duplex(64);
    let drip = tokio::spawn(async move {
        for byte in [0x16, 0x03, 0x01, 0x02, 0x00].iter().cycle() {
            tokio::time::sleep(Duration::from_millis(HANDSHAKE_TIMEOUT_MS / 4)).await;
            if far.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    assert!(Connection::accept(near, Some(&server)).await.is_err());
    drip.await.unwrap();
}

#[tokio::test]
async fn who_does_not_speak_tls_is_shown_out() {
    let site = Site::new();
    let server = site.server(ClientAuth::None);
    let (near, mut far) = tokio::io::duplex(1024);
    far.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let ended = Connection::accept(near, Some(&server)).await;
    assert!(
        matches!(ended, Err(AcceptError::Handshake(error)) if error.kind() == ErrorKind::InvalidData)
    );
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "nothing was answered: {answer:?}");
}

#[tokio::test]
async fn a_client_believes_only_whom_it_is_told_to() {
    let site = Site::new();
    let server = site.server(ClientAuth::None);
    assert!(meet(&server, site.stranger()).await.1.is_ok());
    let others = write(site.path(), "others.pem", &ca("servers").pem());
    let other = ClientTlsConfig { ca: vec![others], ..Default::default() };
    assert!(meet(&server, client_config(&other).unwrap()).await.1.is_err());
    let named = leaf(&site.servers, |params| params.subject_alt_names = vec![dns("other.host")]);
    named.write(site.path(), "server");
    assert!(matches!(server.reload(), Reloaded::Live));
    assert!(meet(&server, site.stranger()).await.1.is_err());
}

#[test]
fn files_that_cannot_be_used_say_so() {
    let site = Site::new();
    let load = |config: &ServerTlsConfig| ServerTls::load(config).unwrap_err();
    let config = site.config(ClientAuth::Required);
    let swapped = ServerTlsConfig { cert: config.key.clone(), ..config.clone() };
    assert!(matches!(load(&swapped), TlsError::NoCertificate { .. }));
    let swapped = ServerTlsConfig { key: config.cert.clone(), ..config.clone() };
    assert!(matches!(load(&swapped), TlsError::NoKey { .. }));
    let nowhere = ServerTlsConfig { cert: PathBuf::from("/nowhere/a.pem"), ..config.clone() };
    assert!(load(&nowhere).to_string().contains("/nowhere/a.pem"));
    let other = leaf(&site.servers, |_| {}).write(site.path(), "other");
    let mixed = ServerTlsConfig { key: other.1, ..config.clone() };
    assert!(matches!(load(&mixed), TlsError::Mismatch { .. }));

    write(site.path(), "server.key", "-----BEGIN PRIVATE KEY-----\nhunter2\n");
    let error = load(&config);
    assert!(matches!(&error, TlsError::Pem { .. }) && !error.to_string().contains("hunter2"));
    site.renew();
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&config.key, open).unwrap();
    assert!(load(&config).to_string().contains("chmod 600"));
}

#[test]
fn clients_need_whole_pairs_and_somebody_to_believe() {
    let site = Site::new();
    let (cert, key) = leaf(&site.clients, |_| {}).write(site.path(), "client");
    for config in [
        ClientTlsConfig { cert: Some(cert.clone()), ..site.trusting() },
        ClientTlsConfig { key: Some(key.clone()), ..site.trusting() },
    ] {
        assert!(matches!(client_config(&config), Err(TlsError::HalfPair)));
    }
    let config = ClientTlsConfig { ca: vec![key], cert: Some(cert), ..Default::default() };
    assert!(matches!(client_config(&config), Err(TlsError::NoCertificate { .. })));
}
