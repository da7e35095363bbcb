//! Over TLS: whom we believe, and what we show.

use axum::Router;
use axum::routing::get;
use lictor_identity::tls::{ClientAuth, ServerTls, ServerTlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::watch as tell;

use super::*;

/// Makes an authority, and pairs of `localhost` and of a client, as files that begin with `name`.
fn authority(home: &Home, name: &str) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    home.secret(&format!("{name}-ca.pem"), &ca.pem());
    for part in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        home.secret(&format!("{name}-{part}.pem"), &certificate.pem());
        home.secret(&format!("{name}-{part}.key"), &key.serialize_pem());
    }
}

/// A server of `ours` that lets in whoever shows a certificate of `ours`. It also is a registry
/// without anything.
async fn server(home: &Home) -> (u16, tell::Sender<bool>) {
    let path = |name: &str| home.path().join(name);
    let tls = ServerTlsConfig {
        cert: path("ours-server.pem"),
        key: path("ours-server.key"),
        client_ca: vec![path("ours-ca.pem")],
        client_auth: Some(ClientAuth::Required),
    };
    let tls = Some(Arc::new(ServerTls::load(&tls).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/bundle.tar.gz", get(async || draft(1).signed()));
    let (stop, down) = tell::channel(false);
    tokio::spawn(crate::listen::serve(listener, tls, router, down));
    (port, stop)
}

#[tokio::test]
async fn both_sides_show_certificates_and_both_are_checked() {
    let home = Home::new();
    authority(&home, "ours");
    authority(&home, "theirs");
    let (port, _stop) = server(&home).await;
    let url = format!("https://localhost:{port}/bundle.tar.gz");
    let told_by = async |ca: &str, shows: Option<&str>| {
        let path = |name: String| home.path().join(name);
        let mut config = home.config(&url);
        config.fetch.ca = vec![path(format!("{ca}-ca.pem"))];
        config.fetch.cert = shows.map(|name| path(format!("{name}-client.pem")));
        config.fetch.key = shows.map(|name| path(format!("{name}-client.key")));
        let (mut watch, told) = home.watch(&config);
        watch.look().await.unwrap();
        told.take()
    };
    let failed = unreachable("bundle_unreachable", true);
    let failed = std::slice::from_ref(&failed);
    assert_eq!(told_by("theirs", Some("ours")).await, failed, "we do not believe it");
    assert_eq!(told_by("ours", None).await, failed, "it does not believe us");
    assert_eq!(told_by("ours", Some("theirs")).await, failed, "it does not believe us");
    assert_eq!(told_by("ours", Some("ours")).await, [Event::Live(1, "source")]);
}

#[tokio::test]
async fn certificates_are_read_again_for_each_question() {
    let home = Home::new();
    authority(&home, "ours");
    authority(&home, "theirs");
    let (port, _stop) = server(&home).await;
    let path = |name: &str| home.path().join(name);
    let mut config = home.config(&format!("https://localhost:{port}/bundle.tar.gz"));
    for part in ["pem", "key"] {
        std::fs::copy(path(&format!("theirs-client.{part}")), path(&format!("now.{part}")))
            .unwrap();
    }
    config.fetch.ca = vec![path("ours-ca.pem")];
    (config.fetch.cert, config.fetch.key) = (Some(path("now.pem")), Some(path("now.key")));
    let (mut watch, told) = home.watch(&config);
    watch.look().await.unwrap();
    for part in ["pem", "key"] {
        std::fs::copy(path(&format!("ours-client.{part}")), path(&format!("now.{part}"))).unwrap();
    }
    watch.look().await.unwrap();
    std::fs::remove_file(path("now.key")).unwrap();
    watch.look().await.unwrap();
    let told = told.take();
    let failed = |id| unreachable(id, true);
    assert_eq!(
        told,
        [failed("bundle_unreachable"), Event::Live(1, "source"), failed("bundle_fetch_config")]
    );
}

#[tokio::test]
async fn a_registry_on_this_machine_is_encrypted_where_authorities_are_named() {
    let home = Home::new();
    authority(&home, "ours");
    let (port, _stop) = server(&home).await;
    let path = |name: &str| home.path().join(name);
    let mut config = home.config(&format!("oci://localhost:{port}/team/policy:prod"));
    config.fetch.ca = vec![path("ours-ca.pem")];
    config.fetch.cert = Some(path("ours-client.pem"));
    config.fetch.key = Some(path("ours-client.key"));
    let (mut watch, told) = home.watch(&config);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unreachable("bundle_fetch_status", true)]);
    assert!(told.message().contains("https://localhost") && told.message().contains("404"));
}

#[test]
fn authorities_that_are_not_there_are_told_at_start() {
    let home = Home::new();
    for at in ["https://localhost/b", "oci://r.example/p:1"] {
        let mut config = home.config(at);
        config.fetch.ca = vec![home.path().join("none.pem")];
        let error = BundleSource::open(&config).unwrap_err();
        assert_eq!(error.id(), "bundle_fetch_config");
        assert!(error.to_string().contains("none.pem"), "{error}");
    }
}
