//! Bundles from a web server: taken, refused, and kept for when it is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lictor_audit::Kind;
use lictor_tests::process::until;
use lictor_tests::site::Site;
use serde_json::json;

use crate::rig::Rig;

/// Serves one file, with its digest as entity tag.
struct Shelf {
    url: String,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

async fn answer(
    State((file, asked)): State<(PathBuf, Arc<AtomicUsize>)>,
    headers: HeaderMap,
) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    let bytes = tokio::fs::read(file).await.unwrap();
    let tag = format!("\"{}\"", STANDARD.encode(digest(&SHA256, &bytes)));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    if known {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::ETAG, tag)], bytes).into_response()
}

impl Shelf {
    async fn new(file: PathBuf) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/bundle.tar.gz", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/bundle.tar.gz", get(answer))
            .with_state((file, Arc::clone(&asked)));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, task }
    }

    async fn is_asked_again(&self, times: usize) {
        let before = self.asked.load(Ordering::SeqCst);
        until("the server is asked again", || async {
            (self.asked.load(Ordering::SeqCst) >= before + times).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_bundle_comes_from_a_server_and_stays_when_the_server_goes() {
    let site = Site::new();
    site.publish(5);
    let shelf = Shelf::new(site.path("bundle.tar.gz")).await;
    let place = format!("bundle = {:?}", site.path("bundle.tar.gz"));
    let url = shelf.url.clone();
    let fetched = format!(
        "bundle = {url:?}\nfetch = {{ poll_min_ms = 100, poll_max_ms = 100, timeout_ms = 5000 }}"
    );
    let rig = Rig::with(site, |config| {
        assert!(config.contains(&place), "{config}");
        config.replace(&place, &fetched)
    })
    .await;
    rig.bundle_is("version", &json!(5)).await;
    rig.bundle_is("place", &json!(url)).await;
    assert_eq!(rig.harmless().await.text(), "done");

    rig.site.publish(6);
    rig.bundle_is("version", &json!(6)).await;
    rig.site.publish(4);
    rig.bundle_is("refused_version", &json!(4)).await;
    shelf.is_asked_again(5).await;
    assert_eq!(rig.logged(Kind::Bundle, "/reason", "bundle_version_lower"), 1, "once");
    rig.bundle_is("version", &json!(6)).await;
    assert_eq!(rig.harmless().await.text(), "done");

    shelf.task.abort();
    until("the server is missed", || async {
        (rig.logged(Kind::Bundle, "/outcome", "unreachable") == 1).then_some(())
    })
    .await;
    let rig = rig.again().await;
    rig.bundle_is("from", &json!("last_good")).await;
    rig.bundle_is("version", &json!(6)).await;
    assert_eq!(rig.harmless().await.text(), "done");
    let told = rig.site.lictor(&[
        "status",
        "--pdp",
        &rig.up.pdp,
        "--pdp-token-file",
        "state/operator.token",
    ]);
    let told = told.code(0).out;
    for part in ["version 6", "the kept copy", &url, "no answer at", "bundle_unreachable"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    rig.ends_whole().await;
}
