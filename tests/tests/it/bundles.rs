//! Which bundles are refused, that the old one stays live then, and that a new one takes over
//! without a request being lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lictor_audit::Kind;
use lictor_identity::keys::load_signing;
use lictor_policy_lib::bundle::{Files, Limits, SignOptions, pack, read_archive, sign};
use lictor_tests::issuer::now_s;
use lictor_tests::process::until;
use lictor_tests::site::{SCOPE, Site};
use serde_json::json;

use crate::rig::{Rig, whole};

/// The served archive with one file changed and signed again, as `to`: what `lictor build` would
/// never make.
fn forged(site: &Site, to: &str, name: &str, change: impl Fn(&str) -> String) {
    let archive = std::fs::read(site.path("built.tar.gz")).unwrap();
    let files = read_archive(&archive, &Limits::default()).unwrap();
    assert!(files.get(name).is_some(), "{name} is not in the bundle");
    let pairs = files.iter().map(|(path, bytes)| {
        let bytes = bytes.to_vec();
        let text = || change(std::str::from_utf8(&bytes).unwrap()).into_bytes();
        (path.to_owned(), if path == name { text() } else { bytes.clone() })
    });
    let files = Files::from_pairs(pairs.collect::<Vec<_>>(), &Limits::default()).unwrap();
    let key = load_signing(&site.path("keys/bundle.key")).unwrap();
    let iat_s = i64::try_from(now_s()).unwrap();
    let options = SignOptions { scope: SCOPE.to_owned(), iat_s, exp_s: None };
    std::fs::write(site.path(to), pack(&sign(&files, &key, &options).unwrap())).unwrap();
}

fn version(site: &Site, to: &str, version: u64) {
    site.sources(version);
    site.release(to);
}

fn built(site: &Site) {
    version(site, "bad.tar.gz", 6);
}

fn with_manifest(site: &Site, member: &str) {
    site.sources(6);
    let to = format!("\"version\": 6, {member},");
    site.edit("source/expense-report/.manifest", "\"version\": 6,", &to);
    site.release("bad.tar.gz");
}

fn with_bytes(site: &Site, change: fn(&mut Vec<u8>)) {
    built(site);
    let path = site.path("bad.tar.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn signed_by(site: &Site, key: &str, scope: &str) {
    built(site);
    site.ok(&["sign", "built.tar.gz", "--key", key, "--scope", scope, "-o", "bad.tar.gz"]);
}

fn with_file(site: &Site, name: &str, change: fn(&str) -> String) {
    built(site);
    forged(site, "bad.tar.gz", name, change);
}

const REGO: &str = "rego/expense/expense.rego";

/// What a bundle is, how it comes about as `bad.tar.gz`, and the reason why it is refused.
type Refused = (&'static str, fn(&Site), &'static str);

/// Each way to get a bundle refused.
/// Version 5 is live.
const REFUSALS: &[Refused] = &[
    (
        "unsigned",
        |site| {
            built(site);
            std::fs::rename(site.path("built.tar.gz"), site.path("bad.tar.gz")).unwrap();
        },
        "bundle_unsigned",
    ),
    (
        "one byte changed",
        |site| {
            with_bytes(site, |bytes| {
                let at = bytes.windows(12).position(|window| window == b"never_over\":").unwrap();
                bytes[at] = b'N';
            })
        },
        "bundle_corrupt",
    ),
    (
        "cut off",
        |site| with_bytes(site, |bytes| bytes.truncate(bytes.len() / 2)),
        "bundle_truncated",
    ),
    ("something behind it", |site| with_bytes(site, |bytes| bytes.push(0)), "bundle_gzip_trailing"),
    (
        "signed by another key",
        |site| {
            site.ok(&["keys", "new", "bundle", "-o", "other"]);
            signed_by(site, "other/bundle.key", SCOPE);
        },
        "bundle_key_unknown",
    ),
    (
        "signed for something else",
        |site| signed_by(site, "keys/bundle.key", "prod"),
        "bundle_scope",
    ),
    ("a lower version", |site| version(site, "bad.tar.gz", 4), "bundle_version_lower"),
    (
        "expired",
        |site| with_manifest(site, "\"expires\": \"2020-01-01T00:00:00Z\""),
        "bundle_expired",
    ),
    (
        "not yet valid",
        |site| {
            with_manifest(site, "\"not_before\": \"2990-01-01T00:00:00Z\"");
        },
        "bundle_not_yet_valid",
    ),
    (
        "Rego that does not parse",
        |site| {
            with_file(site, REGO, |text| format!("{text}\nallow if {{"));
        },
        "bundle_invalid",
    ),
    (
        "Rego with an unknown builtin in a rule that nothing uses",
        |site| {
            with_file(site, REGO, |text| format!("{text}\n_x if no.such(1)\n"));
        },
        "bundle_invalid",
    ),
    (
        "Cedar with an action that nobody knows",
        |site| {
            with_file(site, "cedar/expense.cedar", |text| {
                text.replace("receipt_ocr", "receipt_orc")
            });
        },
        "bundle_invalid",
    ),
];

#[tokio::test]
async fn a_refused_bundle_leaves_the_old_one_live_and_says_why() {
    let site = Site::new();
    site.publish(5);
    let rig = Rig::of(site).await;
    rig.bundle_is("version", &json!(5)).await;
    for (what, make, id) in REFUSALS {
        let before = rig.logged(Kind::Bundle, "/reason", id);
        make(&rig.site);
        rig.site.serve("bad.tar.gz");
        until(what, || async { (rig.logged(Kind::Bundle, "/reason", id) > before).then_some(()) })
            .await;
        let bundle = rig.status().await["bundles"][0].clone();
        assert_eq!((&bundle["version"], &bundle["live"]), (&json!(5), &json!(null)), "{what}");
        assert!(bundle["refused"].to_string().contains(id), "{what}: {bundle}");
        assert_eq!(rig.harmless().await.text(), "done", "{what}");
    }
    rig.ends_whole().await;
}

#[tokio::test]
async fn without_a_bundle_nothing_is_allowed() {
    let site = Site::new();
    site.sources(1);
    site.release("bundle.tar.gz");
    std::fs::rename(site.path("built.tar.gz"), site.path("bundle.tar.gz")).unwrap();
    let rig = Rig::of(site).await;
    let answer = rig.harmless().await;
    rig.refused(&answer, "bundle_missing", "no bundle");
    assert!(rig.up.server.said().contains("everything is denied"), "{}", rig.up.server.said());
    let ready = rig.http.get(&format!("{}/readyz", rig.up.pdp), "").await.unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!(rig.logged(Kind::Bundle, "/reason", "bundle_unsigned"), 1);
    rig.ends_whole().await;
}

#[tokio::test]
async fn a_server_takes_an_unsigned_bundle_only_when_told_and_only_at_home() {
    let site = Site::new();
    let config = "[pdp]\nlisten = \"0.0.0.0:0\"\nbundle = \"bundle.tar.gz\"\n";
    site.write("lictor.toml", config);
    let refused = site.lictor(&["up", "--insecure-dev"]).code(1);
    assert!(refused.err.contains("insecure_dev") && refused.err.contains("0.0.0.0"), "{refused:?}");
    site.write("lictor.toml", &config.replace("0.0.0.0", "127.0.0.1"));
    let refused = site.lictor(&["up"]).code(1);
    assert!(refused.err.contains("trust_keys"), "{refused:?}");
}

/// How many clients call at once while bundles change.
const CLIENTS: usize = 8;

#[tokio::test]
async fn bundles_change_without_a_lost_request_and_never_go_back() {
    let site = Site::new();
    // A session for each, so that they do not stand in each other's way.
    let keys = site.api_keys("alice@example.com", "expense-report-v1", CLIENTS);
    let rig = Arc::new(Rig::of(site).await);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let (rig, stop, served) = (rig.clone(), stop.clone(), served.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = rig.harmless_by(&key).await;
                    assert_eq!(
                        (answer.status, answer.text().as_str()),
                        (200, "done"),
                        "{answer:?}"
                    );
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 2..=5 {
        let before = served.load(Ordering::Relaxed);
        let site = rig.clone();
        tokio::task::spawn_blocking(move || site.site.publish(number)).await.unwrap();
        rig.bundle_is("version", &json!(number)).await;
        until("calls under the new bundle", || async {
            (served.load(Ordering::Relaxed) > before + CLIENTS).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let rig = Arc::into_inner(rig).unwrap();
    let records = lictor_tests::evidence::records(&rig.site.path("audit"));
    let decisions = records.iter().filter(|record| record.kind == Kind::Decision);
    let versions = decisions.filter_map(|record| record.body.pointer("/bundle/version")?.as_u64());
    let versions: BTreeSet<u64> = versions.collect();
    assert_eq!(versions, (1..=5).collect(), "decisions under every version");
    rig.site.publish(3);
    until("the lower version is refused", || async {
        (rig.logged(Kind::Bundle, "/reason", "bundle_version_lower") > 0).then_some(())
    })
    .await;
    // The floor and the last good bundle outlive the process.
    let rig = rig.again().await;
    rig.bundle_is("version", &json!(5)).await;
    assert_eq!(rig.harmless().await.text(), "done");
    assert_eq!(rig.logged(Kind::Bundle, "/from", "last_good"), 1);
    assert!(rig.logged(Kind::Bundle, "/reason", "bundle_version_lower") > 1);
    let site = {
        let Rig { site, up, .. } = rig;
        assert!(up.server.terminate().await.success());
        site
    };
    whole(&site);
}

#[test]
fn authors_see_every_error_at_once_with_its_place() {
    let site = Site::new();
    site.sources(1);
    let rego = "source/expense-report/rego/expense/expense.rego";
    site.edit(rego, "_asked if input.phase", "_x if no.such(1)\n_asked if input.phase");
    site.edit("source/expense-report/cedar/expense.cedar", "receipt_ocr", "receipt_orc");
    site.edit("source/expense-report/cedar/expense.cedar", "@id(\"expense.grant.session\")\n", "");
    let checked = site.lictor(&["check", "source/expense-report"]).code(5);
    for part in ["expense.rego:", "no.such", "expense.cedar:", "receipt_orc", "@id"] {
        assert!(checked.err.contains(part) || checked.out.contains(part), "{part}: {checked:?}");
    }
    let json = site.lictor(&["check", "source/expense-report", "--format", "json"]).code(5);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let text = json.to_string();
    assert!(
        text.matches("\"line\":").count() >= 3 && text.matches("\"col\":").count() >= 3,
        "{text}"
    );
}
