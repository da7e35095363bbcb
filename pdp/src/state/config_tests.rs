use super::*;
use crate::state::servers;

fn read(text: &str) -> Result<StateConfig, toml::de::Error> {
    toml::from_str(text)
}

fn refused(text: &str) -> String {
    read(text).unwrap().check().unwrap_err().to_string()
}

#[test]
fn what_is_printed_is_read_as_the_same() {
    let whole = "kind = 'redis'\nredis = { urls = ['rediss://a:6379', 'rediss://b:6379'], cluster = true, prefix = 'x:', answer_timeout_ms = 50, connect_timeout_ms = 99, ca_file = 'ca.pem' }";
    for text in ["", "kind = 'memory'", "kind = 'embedded'", whole] {
        let config = read(text).unwrap();
        config.check().unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(read(&printed).unwrap(), config, "{printed}");
        assert!(printed.contains("kind = "), "the default is shown: {printed}");
    }
}

#[test]
fn what_is_unknown_or_does_not_belong_together_is_refused() {
    assert!(read("kid = 'redis'").is_err());
    assert!(read("kind = 'postgres'").is_err());
    assert!(read("kind = 'redis'\nredis = { url = 'redis://a' }").is_err());
    assert!(refused("kind = 'redis'").contains("needs"));
    assert!(refused("redis = { urls = ['redis://a'] }").contains("`kind`"));
    assert!(refused("kind = 'redis'\nredis = {}").contains("empty"));
    let two = "kind = 'redis'\nredis = { urls = ['redis://a', 'redis://b'] }";
    assert!(refused(two).contains("cluster"));
    let braces = "kind = 'redis'\nredis = { urls = ['redis://a'], prefix = '{x}' }";
    assert!(refused(braces).contains("braces"));
    for ms in [0, CONNECT_TIMEOUT_MAX_MS + 1] {
        let slow =
            format!("kind = 'redis'\nredis = {{urls = ['redis://a'], answer_timeout_ms = {ms}}}");
        assert!(refused(&slow).contains("60000"), "{ms}");
    }
}

#[test]
fn an_address_that_is_none_is_told_without_its_password() {
    let config = |url: &str, cluster| {
        let mut config = StateConfig::redis(&[url]);
        config.redis.as_mut().unwrap().cluster = cluster;
        config.check()
    };
    for url in ["http://:secret@h", "redis://:secret@", "redis://:secret@h:port", "a:secret@h", ""]
    {
        let error = config(url, false).unwrap_err().to_string();
        assert!(error.contains("`rediss://HOST:PORT`"), "{error}");
        assert!(!error.contains("secret") && error.contains("unix:PATH"), "{error}");
    }
    let error = config("unix:/run/r.sock", true).unwrap_err().to_string();
    assert!(error.contains("/run/r.sock") && !error.contains("unix:PATH"), "{error}");
    for url in ["redis://h", "rediss://u:p@h:1/2", "unix:/run/r.sock"] {
        assert!(config(url, false).is_ok(), "{url}");
    }
}

#[test]
fn a_password_is_not_shown() {
    for (url, shown) in [
        ("redis://alice:pa:ss@h:1/2", "redis://alice:***@h:1/2"),
        ("redis://:p@ss@h", "redis://:***@h"),
        ("redis://h:1?protocol=resp3", "redis://h:1?***"),
        ("unix:/run/r.sock?pass=x", "unix:/run/r.sock?***"),
        ("unix:/run/r.sock", "unix:/run/r.sock"),
        ("alice:secret@h", "***@h"),
    ] {
        assert_eq!(format!("{:?}", StoreUrl::new(url)), shown);
    }
    let config = StateConfig::redis(&["redis://:secret@h"]);
    assert!(!toml::to_string_pretty(&config).unwrap().contains("secret"));
}

#[test]
fn one_url_needs_no_list_and_none_is_repeated_in_a_complaint() {
    let config = StateConfig::redis(&["redis://:secret@h"]);
    for text in ["'redis://:secret@h'", "{ urls = 'redis://:secret@h' }"] {
        assert_eq!(read(&format!("kind = 'redis'\nredis = {text}")).unwrap(), config);
    }
    for wrong in [
        "redis = ['redis://:secret@h']",
        "redis = { urls = [['redis://:secret@h']] }",
        "redis = { urls = { a = 'redis://:secret@h' } }",
        "redis = { url = 'redis://:secret@h' }",
    ] {
        let message = read(wrong).unwrap_err().message().to_owned();
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn relative_paths_are_below_the_files_folder() {
    let mut config = StateConfig::redis(&["rediss://h"]);
    config.redis.as_mut().unwrap().ca_file = Some("ca.pem".into());
    config.take_paths_from(Path::new("/etc/lictor"));
    let taken = config.redis.unwrap().ca_file.unwrap();
    assert_eq!(taken, Path::new("/etc/lictor/ca.pem"));
}

#[tokio::test]
async fn a_damaged_journal_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join(JOURNAL_DIR);
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::write(journal.join("00000001.snap"), b"nonsense").unwrap();
    let error = StateConfig::default()
        .open(dir.path(), &crate::clock::Clock::system())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("damaged") && error.contains("00000001.snap"), "{error}");
}

#[tokio::test]
async fn a_journal_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let first =
        StateConfig::default().open(dir.path(), &crate::clock::Clock::system()).await.unwrap();
    let error = StateConfig::default()
        .open(dir.path(), &crate::clock::Clock::system())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another process"), "{error}");
    first.state.close().await.unwrap();
    assert!(
        StateConfig::default().open(dir.path(), &crate::clock::Clock::system()).await.is_ok(),
        "closed although it is held"
    );
}

/// Whether the store at `config` answers.
async fn answers(config: &StateConfig) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let opened = config
        .open(dir.path(), &crate::clock::Clock::system())
        .await
        .map_err(|error| error.to_string())?;
    let answer = opened.state.know_tenant("default").await;
    answer.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_store_with_a_password_is_used_and_no_other_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    let port = servers::free_ports(1)[0];
    let _server = servers::Server::with(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", &path("cert.pem")),
        ("tls-key-file", &path("key.pem")),
        ("tls-ca-cert-file", &path("cert.pem")),
        ("tls-auth-clients", "no"),
        ("requirepass", "open-sesame"),
    ]);
    let config = |password: &str, scheme: &str, authority: bool| {
        let mut config = StateConfig::redis(&[&format!("{scheme}://:{password}@localhost:{port}")]);
        let redis = config.redis.as_mut().unwrap();
        redis.ca_file = authority.then(|| path("cert.pem").into());
        redis.answer_timeout_ms = 2_000;
        config
    };
    answers(&config("open-sesame", "rediss", true)).await.unwrap();
    for (what, wrong) in [
        ("another password", config("open-rye", "rediss", true)),
        ("nobody who signed it", config("open-sesame", "rediss", false)),
        ("not encrypted", config("open-sesame", "redis", false)),
    ] {
        let error = answers(&wrong).await.expect_err(what);
        assert!(!error.contains("open-"), "{error}");
        assert!(error.contains("state store"), "{error}");
    }
    let mut missing = config("open-sesame", "rediss", true);
    missing.redis.as_mut().unwrap().ca_file = Some(path("none.pem").into());
    let error = answers(&missing).await.unwrap_err();
    assert!(error.contains("ca_file") && error.contains("none.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_found_by_one_of_its_nodes() {
    let urls = servers::cluster_urls();
    let mut config = StateConfig::redis(&[&urls[0]]);
    let redis = config.redis.as_mut().unwrap();
    (redis.cluster, redis.prefix, redis.answer_timeout_ms) = (true, "found:".into(), 5_000);
    answers(&config).await.unwrap();
    let port = servers::free_ports(1)[0];
    let redis = config.redis.as_mut().unwrap();
    redis.urls = vec![StoreUrl::new(&format!("redis://:open-sesame@127.0.0.1:{port}"))];
    let error = answers(&config).await.unwrap_err();
    assert!(error.contains("state store") && !error.contains("open-sesame"), "{error}");
}
