//! What the command and a running decision point say of each archive: the same.

use std::path::Path;

use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::grpc::status::status_of;
use lictor_pdp::server::{self, Running};
use lictor_proto::pb::BundleStatus;
use lictor_tests::process::{binary, until};
use serde_json::Value;

use super::{KEY_FILE, MIN_VERSION, SCOPE, folder, stored};

/// How the command says it, and its exit code.
fn by_command(archive: &Path) -> (String, i32) {
    let key = folder(KEY_FILE);
    let output = std::process::Command::new(binary("lictor"))
        .args(["verify", "--format", "json", "--scope", SCOPE])
        .args(["--min-version", &MIN_VERSION.to_string(), "--key"])
        .args([key.as_os_str(), archive.as_os_str()])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {output:?}", archive.display()));
    let id = if said["ok"] == true { "accepted" } else { said["id"].as_str().unwrap() };
    (id.to_owned(), output.status.code().unwrap())
}

#[test]
fn the_command_gives_each_archive_its_verdict() {
    for name in stored("accepted").into_keys() {
        let (id, code) = by_command(&folder("accepted").join(&name));
        assert_eq!((id.as_str(), code), ("accepted", 0), "{name}");
    }
    for name in stored("refused").into_keys() {
        let (id, code) = by_command(&folder("refused").join(&name));
        assert_eq!((Some(id.as_str()), code), (name.split('.').next(), 7), "{name}");
    }
}

/// How often the decision point looks, milliseconds.
const POLL_MS: u64 = 10;

async fn decision_point(root: &Path) -> Running {
    let config = PdpConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        bundle: root.join("bundle.tar.gz").into(),
        trust_keys: vec![folder(KEY_FILE)],
        scope: SCOPE.to_owned(),
        min_version: MIN_VERSION,
        state_dir: root.join("state"),
        poll_ms: POLL_MS,
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: root.join("audit"), ..AuditConfig::default() };
    server::start(config, &audit, None, Clock::system()).await.unwrap()
}

/// Puts an archive in the place of another, whole.
fn offer(root: &Path, archive: &[u8]) {
    std::fs::write(root.join("next"), archive).unwrap();
    std::fs::rename(root.join("next"), root.join("bundle.tar.gz")).unwrap();
}

async fn bundle_where(running: &Running, what: &str, is: impl Fn(&BundleStatus) -> bool) {
    let named = format!("{what}: {:?}", status_of(running.pdp()).bundles);
    until(&named, || async {
        let status = status_of(running.pdp());
        status.bundles.first().is_some_and(&is).then_some(())
    })
    .await;
}

/// Each is refused while a good one is live, which stays live; and the good one is taken again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_decision_point_gives_each_archive_its_verdict() {
    let root = tempfile::tempdir().unwrap();
    let good = stored("accepted").remove("signed.tar.gz").unwrap();
    offer(root.path(), &good);
    let running = decision_point(root.path()).await;
    for (name, bytes) in stored("refused") {
        bundle_where(&running, &name, |bundle| bundle.live.is_some() && bundle.refused.is_empty())
            .await;
        offer(root.path(), &bytes);
        let id = format!("{}: ", name.split('.').next().unwrap());
        bundle_where(&running, &name, |bundle| bundle.refused.starts_with(&id)).await;
        assert!(status_of(running.pdp()).bundles[0].live.is_some(), "{name}");
        offer(root.path(), &good);
    }
    running.stop("the end").await;
}
