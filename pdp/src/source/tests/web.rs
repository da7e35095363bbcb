//! A web server that keeps to its protocol, or says what is not so.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::{mpsc, watch as tell};

use super::*;

const LONG_POLL_TYPE: &str = "application/vnd.openpolicyagent.bundles";

/// What the server has.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) etag: &'static str,
    pub(super) kind: &'static str,
    pub(super) location: &'static str,
    /// Says that nothing is new, whatever is asked.
    pub(super) denies_news: bool,
}

impl Offer {
    pub(super) fn new(etag: &'static str, body: Vec<u8>) -> Self {
        let kind = "application/gzip";
        Self { status: 200, body, etag, kind, location: "", denies_news: false }
    }

    fn status(status: u16) -> Self {
        Self { status, ..Self::new("", Vec::new()) }
    }
}

#[derive(Clone)]
struct Shared {
    offer: tell::Receiver<Offer>,
    asked: mpsc::UnboundedSender<HeaderMap>,
}

/// A server on this machine.
pub(super) struct Web {
    pub(super) url: String,
    offer: tell::Sender<Offer>,
    asked: mpsc::UnboundedReceiver<HeaderMap>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Web {
    pub(super) async fn new(offer: Offer) -> Self {
        Self::on("127.0.0.1:0", offer).await
    }

    async fn on(address: &str, offer: Offer) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/bundle.tar.gz", listener.local_addr().unwrap());
        let (offer, have) = tell::channel(offer);
        let (note, asked) = mpsc::unbounded_channel();
        let shared = Shared { offer: have, asked: note };
        let router = Router::new().route("/bundle.tar.gz", get(answer)).with_state(shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, offer, asked, task }
    }

    pub(super) fn put(&self, offer: Offer) {
        self.offer.send_replace(offer);
    }

    /// The headers of the next question.
    async fn question(&mut self) -> HeaderMap {
        self.asked.recv().await.unwrap()
    }

    /// The headers of all questions so far.
    fn questions(&mut self) -> Vec<HeaderMap> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }
}

/// A wait is kept for as long as there is nothing new.
async fn answer(State(mut shared): State<Shared>, headers: HeaderMap) -> Response {
    let _ = shared.asked.send(headers.clone());
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (known, prefer) = (text("if-none-match").to_owned(), text("prefer").to_owned());
    let mut offer = shared.offer.borrow_and_update().clone();
    if offer.kind == LONG_POLL_TYPE && offer.etag == known && prefer.contains("wait=") {
        shared.offer.changed().await.unwrap();
        offer = shared.offer.borrow_and_update().clone();
    }
    let same = offer.denies_news || (!known.is_empty() && known == offer.etag);
    let status = if same && offer.status == 200 { 304 } else { offer.status };
    let body = if status == 200 { offer.body } else { Vec::new() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in [
        (header::ETAG, offer.etag),
        (header::CONTENT_TYPE, offer.kind),
        (header::LOCATION, offer.location),
    ] {
        if !value.is_empty() {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let mut web = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&web.url)).await;
    watch.look().await.unwrap();
    let asked = web.questions();
    assert_eq!(header_of(&asked[0], "if-none-match"), "");
    assert_eq!(header_of(&asked[0], "prefer"), "modes=snapshot;wait=30");
    assert_eq!(header_of(&asked[0], "accept-encoding"), "identity");
    assert!(header_of(&asked[0], "user-agent").starts_with("lictor/"));
    assert_eq!(header_of(&asked[1], "if-none-match"), "\"1\"");
    assert_eq!(header_of(&asked[1], "prefer"), "modes=snapshot", "it does not wait");
    web.put(Offer::new("\"2\"", draft(2).signed()));
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source"), Event::Live(2, "source")]);
    assert_eq!(told.answers.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_can_is_asked_to_wait_and_tells_at_once() {
    let long = |etag, version: u64| Offer {
        kind: LONG_POLL_TYPE,
        ..Offer::new(etag, draft(version).signed())
    };
    let mut web = Web::new(long("\"1\"", 1)).await;
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&web.url)).await;
    web.question().await;
    let waiting = tokio::spawn(async move {
        watch.look().await.unwrap();
        watch
    });
    let asked = web.question().await;
    assert_eq!(header_of(&asked, "prefer"), "modes=snapshot;wait=30");
    assert_eq!(header_of(&asked, "if-none-match"), "\"1\"");
    assert_eq!(told.take(), [Event::Live(1, "source")], "the server waits");
    web.put(long("\"2\"", 2));
    waiting.await.unwrap();
    assert_eq!(told.take(), [Event::Live(2, "source")]);
}

#[tokio::test]
async fn long_polling_can_be_turned_off() {
    let mut web = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let home = Home::new();
    let mut config = home.config(&web.url);
    config.fetch.long_poll_timeout_s = 0;
    home.started(&config).await;
    assert_eq!(header_of(&web.question().await, "prefer"), "modes=snapshot");
}

#[tokio::test]
async fn a_refused_bundle_is_neither_told_nor_sent_again_while_it_is_the_same() {
    let mut web = Web::new(Offer::new("\"1\"", draft(5).signed())).await;
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&web.url)).await;
    web.put(Offer::new("\"2\"", draft(4).signed()));
    for _ in 0..3 {
        watch.look().await.unwrap();
    }
    let lower = refused("bundle_version_lower", Some(4));
    assert_eq!(told.take(), [Event::Live(5, "source"), lower]);
    assert_eq!(header_of(web.questions().last().unwrap(), "if-none-match"), "\"2\"");
    // Another tag for the same bytes, or none, changes nothing.
    for etag in ["\"3\"", "", ""] {
        web.put(Offer::new(etag, draft(4).signed()));
        watch.look().await.unwrap();
    }
    assert_eq!(told.take(), []);
}

#[tokio::test]
async fn tags_that_lie_are_found_out_or_change_nothing() {
    let web = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&web.url)).await;
    // Other content under the old tag, sent although the tag is the same.
    let lie = Offer { status: 203, ..Offer::new("\"1\"", draft(2).signed()) };
    web.put(lie);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source"), unreachable("bundle_fetch_status", true)]);
    web.put(Offer::new("\"x\"", draft(2).unsigned()));
    watch.look().await.unwrap();
    web.put(Offer::new("\"1\"", draft(2).signed()));
    watch.look().await.unwrap();
    assert_eq!(told.take(), [refused("bundle_unsigned", None), Event::Live(2, "source")]);
    // Nothing new for somebody who knows nothing is no answer.
    web.put(Offer { denies_news: true, ..Offer::new("\"1\"", Vec::new()) });
    let (_, told) = home.started(&home.config(&web.url)).await;
    let failed = unreachable("bundle_fetch_status", true);
    assert_eq!(told.take(), [failed, Event::Live(2, "last_good")]);
}

#[tokio::test]
async fn errors_of_the_server_leave_the_old_bundle_live_and_are_told_once() {
    let web = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&web.url)).await;
    assert_eq!(told.take(), [Event::Live(1, "source")]);
    for (status, id) in [
        (500, "bundle_fetch_status"),
        (503, "bundle_fetch_status"),
        (404, "bundle_fetch_status"),
        (204, "bundle_fetch_status"),
        (206, "bundle_fetch_status"),
        (401, "bundle_fetch_unauthorized"),
        (403, "bundle_fetch_unauthorized"),
    ] {
        web.put(Offer::status(status));
        watch.look().await.unwrap();
        watch.look().await.unwrap();
        assert_eq!(told.take(), [unreachable(id, true), unreachable(id, false)], "{status}");
        assert!(told.message().contains(&status.to_string()), "{}", told.message());
        web.put(Offer::new("\"1\"", draft(1).signed()));
        watch.look().await.unwrap();
        assert_eq!(told.take(), []);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let location: &'static str = elsewhere.url.clone().leak();
    let home = Home::new();
    for status in [301, 302, 303, 307, 308] {
        let web = Web::new(Offer { location, ..Offer::status(status) }).await;
        let (_, told) = home.started(&home.config(&web.url)).await;
        assert_eq!(told.take(), [unreachable("bundle_fetch_status", true)], "{status}");
        assert!(told.message().contains("redirects"), "{}", told.message());
    }
}

#[tokio::test]
async fn pages_in_place_of_a_bundle_are_refused_by_name() {
    let home = Home::new();
    let web = Web::new(Offer { kind: "text/html", ..Offer::new("", b"<html>".to_vec()) }).await;
    let (mut watch, told) = home.started(&home.config(&web.url)).await;
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_content_type")]);
    assert!(told.message().contains("`text/html`"), "{}", told.message());
    web.put(Offer { kind: "application/octet-stream", ..Offer::new("", b"<html>".to_vec()) });
    watch.look().await.unwrap();
    assert_eq!(told.take(), [refused("bundle_not_gzip", None)]);
}

#[tokio::test]
async fn tokens_and_passwords_are_read_again_for_each_question() {
    let mut web = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let home = Home::new();
    let mut config = home.config(&web.url);
    config.fetch.token_file = Some(home.secret("token", "one\n"));
    let (mut watch, told) = home.started(&config).await;
    home.secret("token", "two");
    watch.look().await.unwrap();
    let shown: Vec<_> = web.questions();
    let shown: Vec<_> = shown.iter().map(|asked| header_of(asked, "authorization")).collect();
    assert_eq!(shown, ["Bearer one", "Bearer two"]);
    std::fs::remove_file(home.path().join("token")).unwrap();
    watch.look().await.unwrap();
    let failed = unreachable("bundle_fetch_config", true);
    assert_eq!(told.take(), [Event::Live(1, "source"), failed]);
    assert!(web.questions().is_empty(), "without its token nothing is asked");

    let mut config = home.config(&web.url);
    config.fetch.username = Some("lictor".to_owned());
    config.fetch.password_file = Some(home.secret("password", "hunter2\n"));
    let (_, told) = home.started(&config).await;
    assert_eq!(header_of(&web.question().await, "authorization"), "Basic bGljdG9yOmh1bnRlcjI=");
    assert!(!told.message().contains("hunter2"));
}

#[tokio::test]
async fn without_the_server_the_last_good_bundle_is_live_and_the_server_is_asked_again() {
    let home = Home::new();
    let web = Web::new(Offer::new("\"1\"", draft(1).signed())).await;
    let config = home.config(&web.url);
    let address = web.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    home.started(&config).await;
    drop(web);
    let (mut watch, told) = home.started(&config).await;
    let gone = |first| unreachable("bundle_unreachable", first);
    assert_eq!(told.take(), [gone(true), Event::Live(1, "last_good")]);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [gone(false)]);
    let _web = Web::on(&address, Offer::new("\"2\"", draft(2).signed())).await;
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(2, "source")]);
}
