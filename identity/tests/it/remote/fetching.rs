//! What is taken from the network, and what is not.

use std::sync::Arc;
use std::time::Duration;

use lictor_identity::config::{Discovery, IssuerConfig, KeysAt};
use lictor_identity::jwks::JWKS_MAX_BYTES;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::idp::{Door, Idp, JWKS_PATH, OAUTH_PATH, OPENID_PATH, Reply, key_set, timing, token};
use crate::forge::AUD;

/// The health of an issuer whose keys could not be had, and whose tokens are refused therefore.
async fn refused(idp: &Idp, issuer: IssuerConfig) -> String {
    let door = Door::open(issuer, timing()).await;
    assert_eq!(door.ask(&idp.token("a")).await.err(), Some("issuer_unavailable"));
    door.health().last_error.unwrap()
}

#[tokio::test]
async fn a_named_key_set_is_fetched() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    let door = Door::open(idp.by_url(), timing()).await;
    assert_eq!(door.ask(&idp.token("a")).await.unwrap().subject.unwrap().id, "alice");
    let health = door.health();
    assert_eq!((health.iss, health.key_ids), (idp.iss(), vec!["a".to_owned()]));
    assert_eq!(idp.asked(), [JWKS_PATH], "a known key is not asked for");
}

#[tokio::test]
async fn keys_are_found_by_openid_discovery_then_by_oauth_metadata() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    idp.describe(OPENID_PATH, &idp.iss());
    let plain = || IssuerConfig::new(&idp.iss(), AUD);
    let door = Door::open(plain(), timing()).await;
    assert!(door.ask(&idp.token("a")).await.is_ok());
    assert_eq!(idp.asked(), [OPENID_PATH, JWKS_PATH]);
    idp.tell(OPENID_PATH, Reply::Status(404));
    idp.describe(OAUTH_PATH, &idp.iss());
    let door = Door::open(plain(), timing()).await;
    assert!(door.ask(&idp.token("a")).await.is_ok());
    assert_eq!(idp.asked()[2..], [OPENID_PATH, OAUTH_PATH, JWKS_PATH]);
}

#[tokio::test]
async fn an_issuer_with_a_path_is_described_before_and_after_it() {
    let idp = Idp::start().await;
    let iss = idp.url("/realms/one");
    idp.publish(&["a"]);
    idp.describe("/.well-known/oauth-authorization-server/realms/one", &iss);
    let door = Door::open(IssuerConfig::new(&iss, AUD), timing()).await;
    assert!(door.ask(&token(&iss, "a")).await.is_ok());
    assert_eq!(idp.asked()[0], "/realms/one/.well-known/openid-configuration");
}

#[tokio::test]
async fn metadata_may_be_elsewhere_but_must_name_the_issuer() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    let elsewhere = IssuerConfig {
        discovery: Some(Discovery::Url(idp.url("/meta"))),
        ..IssuerConfig::new(&idp.iss(), AUD)
    };
    idp.describe("/meta", &idp.iss());
    let door = Door::open(elsewhere.clone(), timing()).await;
    assert!(door.ask(&idp.token("a")).await.is_ok());
    idp.describe("/meta", &format!("{}/", idp.iss()));
    assert!(refused(&idp, elsewhere).await.contains("`issuer`"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let idp = Idp::start().await;
    idp.tell("/real", Reply::Json(key_set(&["a"])));
    idp.tell(JWKS_PATH, Reply::Redirect(idp.url("/real")));
    assert!(refused(&idp, idp.by_url()).await.contains("302"));
    assert!(!idp.asked().contains(&"/real".to_owned()));
}

#[tokio::test]
async fn an_endless_body_is_given_up_and_a_large_one_has_a_limit() {
    let idp = Idp::start().await;
    idp.tell(JWKS_PATH, Reply::Endless);
    assert!(refused(&idp, idp.by_url()).await.contains(&JWKS_MAX_BYTES.to_string()));
    let mut largest = key_set(&["a"]);
    largest.push_str(&" ".repeat(JWKS_MAX_BYTES - largest.len()));
    idp.tell(JWKS_PATH, Reply::Json(largest.clone()));
    let door = Door::open(idp.by_url(), timing()).await;
    assert!(door.ask(&idp.token("a")).await.is_ok());
    idp.tell(JWKS_PATH, Reply::Json(format!("{largest} ")));
    assert!(refused(&idp, idp.by_url()).await.contains(&JWKS_MAX_BYTES.to_string()));
    idp.tell(OPENID_PATH, Reply::Endless);
    let discovered = IssuerConfig::new(&idp.iss(), AUD);
    assert!(refused(&idp, discovered).await.contains("65536"));
}

#[tokio::test]
async fn a_body_that_does_not_end_is_given_up() {
    let idp = Idp::start().await;
    idp.tell(JWKS_PATH, Reply::Stuck);
    let short = lictor_identity::Timing { fetch_timeout: Duration::from_millis(50), ..timing() };
    let door = Door::open(idp.by_url(), short).await;
    assert_eq!(door.ask(&idp.token("a")).await.err(), Some("issuer_unavailable"));
    assert!(door.health().last_error.unwrap().contains("in time"));
}

#[tokio::test]
async fn what_is_no_key_set_is_not_believed() {
    let idp = Idp::start().await;
    let unknown_kind = r#"{"keys":[{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}]}"#;
    for (body, why) in [
        ("<html>sign in</html>", "JSON"),
        ("{}", "`keys`"),
        (unknown_kind, "no key for signatures"),
        (r#"{"keys":[],"keys":[]}"#, "JSON"),
    ] {
        idp.tell(JWKS_PATH, Reply::Json(body.to_owned()));
        let error = refused(&idp, idp.by_url()).await;
        assert!(error.contains(why), "{error}");
    }
    idp.tell(JWKS_PATH, Reply::Status(500));
    assert!(refused(&idp, idp.by_url()).await.contains("500"));
    let beside = key_set(&["a"]).replace("{\"keys\":[", &unknown_kind.replace("]}", ","));
    idp.tell(JWKS_PATH, Reply::Json(beside));
    let door = Door::open(idp.by_url(), timing()).await;
    assert!(door.ask(&idp.token("a")).await.is_ok(), "kinds that are not known are passed over");
}

#[tokio::test]
async fn a_bad_answer_leaves_the_last_good_keys_in_effect() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    let door = Door::open(idp.by_url(), timing()).await;
    for reply in [Reply::Status(503), Reply::Json("{\"keys\":[]}".into()), Reply::Endless] {
        idp.tell(JWKS_PATH, reply);
        assert_eq!(door.ask(&idp.token("b")).await.err(), Some("key_unknown"));
        assert!(door.ask(&idp.token("a")).await.is_ok());
    }
    assert!(door.health().failures >= 3);
}

/// Answers every connection with the keys of `a`, by a certificate of an authority whose own is
/// written to `ca_file`.
async fn encrypted(ca_file: &std::path::Path) -> std::net::SocketAddr {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca_file, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            drop(stream.read(&mut [0; 4096]).await);
            let body = key_set(&["a"]);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            drop(stream.write_all((head + &body).as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    address
}

#[tokio::test]
async fn a_server_is_believed_if_its_authority_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    let address = encrypted(&ca_file).await;
    let url = format!("https://localhost:{}/jwks", address.port());
    let issuer = |ca_file| IssuerConfig {
        jwks: Some(KeysAt::Url(url.clone())),
        ca_file,
        ..IssuerConfig::new("https://private.example", AUD)
    };
    let token = token("https://private.example", "a");
    let door = Door::open(issuer(Some(ca_file)), timing()).await;
    assert!(door.ask(&token).await.is_ok(), "{:?}", door.health());
    let door = Door::open(issuer(None), timing()).await;
    assert_eq!(door.ask(&token).await.err(), Some("issuer_unavailable"));
    assert!(door.health().last_error.unwrap().contains("certificate"));
}
