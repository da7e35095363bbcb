//! A small registry, with each way to log in and each way to be wrong.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as Part, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OURS: &str = "application/vnd.lictor.bundle.v1.tar+gzip";
/// `lictor:hunter2`.
const BASIC: &str = "Basic bGljdG9yOmh1bnRlcjI=";

/// What the registry wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    Basic,
    /// A token, for a password or for anybody.
    Token {
        password: bool,
    },
    /// The token that is configured.
    Bearer,
}

#[derive(Debug, Clone)]
struct Shelf {
    wants: Wants,
    base: String,
    /// By tag or digest.
    manifests: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// Where layers are, if elsewhere.
    elsewhere: String,
    /// Where tokens are, if elsewhere.
    realm: String,
    /// Each question: path and `Authorization`.
    asked: Vec<(String, String)>,
}

type Shared = Arc<Mutex<Shelf>>;

struct Registry {
    host: String,
    shelf: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl Registry {
    async fn new(wants: Wants) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let base = format!("http://{host}");
        let shelf = Arc::new(Mutex::new(Shelf {
            wants,
            base,
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            elsewhere: String::new(),
            realm: String::new(),
            asked: Vec::new(),
        }));
        let router = Router::new()
            .route("/token", get(token))
            .route("/v2/team/policy/{kind}/{name}", get(serve))
            .route("/storage/{name}", get(storage))
            .with_state(Arc::clone(&shelf));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, shelf, task }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }

    /// Pushes `archive` as one layer and gives the manifest's digest.
    fn push(&self, tag: &str, archive: &[u8]) -> String {
        self.push_as(tag, archive, LAYER)
    }

    fn push_as(&self, tag: &str, archive: &[u8], kind: &str) -> String {
        let layer = json!({"mediaType": kind, "digest": digest(archive), "size": archive.len()});
        self.shelf().blobs.insert(digest(archive), archive.to_vec());
        self.push_layers(tag, &json!([layer]))
    }

    fn push_layers(&self, tag: &str, layers: &Value) -> String {
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": digest(b"{}")});
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers,
            "mediaType": "application/vnd.oci.image.manifest.v1+json"});
        self.put_manifest(tag, manifest.to_string().into_bytes())
    }

    fn put_manifest(&self, tag: &str, bytes: Vec<u8>) -> String {
        let digest = digest(&bytes);
        let mut shelf = self.shelf();
        shelf.manifests.insert(tag.to_owned(), bytes.clone());
        shelf.manifests.insert(digest.clone(), bytes);
        digest
    }

    fn at(&self, name: &str) -> String {
        format!("oci://{}/team/policy{name}", self.host)
    }

    /// Paths that were asked for since the last time.
    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.shelf().asked)
    }
}

fn authorization(headers: &HeaderMap) -> String {
    headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned()
}

async fn token(
    State(shelf): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let shown = authorization(&headers);
    let wants = {
        let mut shelf = shelf.lock().unwrap();
        shelf.asked.push(("token".to_owned(), shown.clone()));
        shelf.wants
    };
    assert_eq!(query["scope"], "repository:team/policy:pull");
    assert_eq!(query["service"], "test registry");
    match wants {
        Wants::Token { password: true } if shown != BASIC => {
            StatusCode::UNAUTHORIZED.into_response()
        }
        _ => json!({"token": "granted", "access_token": "granted"}).to_string().into_response(),
    }
}

async fn serve(
    State(shelf): State<Shared>,
    Part((kind, name)): Part<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let shown = authorization(&headers);
    let mut shelf = shelf.lock().unwrap();
    shelf.asked.push((format!("{kind}/{name}"), shown.clone()));
    let realm = match shelf.realm.is_empty() {
        true => format!("{}/token", shelf.base),
        false => shelf.realm.clone(),
    };
    let (wanted, challenge) = match shelf.wants {
        Wants::Nothing => ("", String::new()),
        Wants::Basic => (BASIC, "Basic realm=\"r\"".to_owned()),
        Wants::Token { .. } => (
            "Bearer granted",
            format!("Bearer realm=\"{realm}\",service=\"test registry\",scope=\"a:b:pull,push\""),
        ),
        Wants::Bearer => ("Bearer mine", "Bearer realm=\"http://nowhere/\"".to_owned()),
    };
    if !wanted.is_empty() && shown != wanted {
        let value = HeaderValue::from_str(&challenge).unwrap();
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, value)]).into_response();
    }
    if kind == "blobs" && !shelf.elsewhere.is_empty() {
        let to = format!("{}/storage/{name}?sig=secret", shelf.elsewhere);
        let value = HeaderValue::from_str(&to).unwrap();
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, value)]).into_response();
    }
    let found = if kind == "blobs" { &shelf.blobs } else { &shelf.manifests };
    match found.get(&name) {
        Some(bytes) => Body::from(bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn storage(
    State(shelf): State<Shared>,
    Part(name): Part<String>,
    headers: HeaderMap,
) -> Response {
    let mut shelf = shelf.lock().unwrap();
    shelf.asked.push((format!("storage/{name}"), authorization(&headers)));
    Body::from(shelf.blobs[&name].clone()).into_response()
}

fn paths(asked: &[(String, String)]) -> Vec<&str> {
    asked.iter().map(|(path, _)| path.split(['/', ':']).next().unwrap()).collect()
}

#[tokio::test]
async fn a_tag_is_followed_and_a_layer_is_fetched_once() {
    let registry = Registry::new(Wants::Nothing).await;
    registry.push("prod", &draft(1).signed());
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&registry.at(":prod"))).await;
    watch.look().await.unwrap();
    assert_eq!(paths(&registry.asked()), ["manifests", "blobs", "manifests"]);
    registry.push_as("prod", &draft(2).signed(), OURS);
    watch.look().await.unwrap();
    registry.push("prod", &draft(1).signed());
    watch.look().await.unwrap();
    watch.look().await.unwrap();
    let lower = refused("bundle_version_lower", Some(1));
    assert_eq!(told.take(), [Event::Live(1, "source"), Event::Live(2, "source"), lower]);
    let (_, told) = home.started(&home.config(&registry.at(":gone"))).await;
    let gone = unreachable("bundle_fetch_status", true);
    assert_eq!(told.take(), [gone, Event::Live(2, "last_good")]);
}

#[tokio::test]
async fn a_digest_names_one_manifest_for_ever() {
    let registry = Registry::new(Wants::Nothing).await;
    let digest = registry.push("prod", &draft(1).signed());
    let home = Home::new();
    let (mut watch, told) = home.started(&home.config(&registry.at(&format!("@{digest}")))).await;
    let other = registry.push("prod", &draft(2).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source")]);
    // A registry that gives another manifest under that digest.
    let wrong = registry.shelf().manifests[&other].clone();
    registry.shelf().manifests.insert(digest.clone(), wrong);
    watch.look().await.unwrap();
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_fetch_digest")]);
}

#[tokio::test]
async fn passwords_go_only_to_whoever_asks_for_them() {
    for (wants, password, questions) in [
        (Wants::Nothing, true, &["manifests", "blobs"][..]),
        (Wants::Basic, true, &["manifests", "manifests", "blobs"]),
        (Wants::Token { password: true }, true, &["manifests", "token", "manifests", "blobs"]),
        (Wants::Token { password: false }, false, &["manifests", "token", "manifests", "blobs"]),
    ] {
        let registry = Registry::new(wants).await;
        registry.push("prod", &draft(1).signed());
        let home = Home::new();
        let mut config = home.config(&registry.at(":prod"));
        if password {
            config.fetch.username = Some("lictor".to_owned());
            config.fetch.password_file = Some(home.secret("password", "hunter2\n"));
        }
        let (_, told) = home.started(&config).await;
        assert_eq!(told.take(), [Event::Live(1, "source")], "{wants:?} {}", told.message());
        let asked = registry.asked();
        assert_eq!(paths(&asked), questions, "{wants:?}");
        assert_eq!(asked[0].1, "", "nothing is shown unasked");
        let shown_to = asked.iter().filter(|(_, shown)| shown == BASIC);
        let shown_to: Vec<_> = shown_to.map(|(path, _)| path.split('/').next().unwrap()).collect();
        let wanted: &[&str] = match wants {
            Wants::Basic => &["manifests", "blobs"],
            Wants::Token { password: true } => &["token"],
            _ => &[],
        };
        assert_eq!(shown_to, wanted, "{wants:?}");
    }
}

#[tokio::test]
async fn a_configured_token_is_shown_and_never_swapped_for_another() {
    let registry = Registry::new(Wants::Bearer).await;
    registry.push("prod", &draft(1).signed());
    let home = Home::new();
    let mut config = home.config(&registry.at(":prod"));
    config.fetch.token_file = Some(home.secret("token", "mine\n"));
    let (mut watch, told) = home.started(&config).await;
    home.secret("token", "old");
    watch.look().await.unwrap();
    let unauthorized = unreachable("bundle_fetch_unauthorized", true);
    assert_eq!(told.take(), [Event::Live(1, "source"), unauthorized]);
    assert_eq!(paths(&registry.asked()), ["manifests", "blobs", "manifests"]);
}

#[tokio::test]
async fn without_the_right_password_nothing_is_had_and_none_is_shown() {
    for wants in [Wants::Basic, Wants::Token { password: true }] {
        let registry = Registry::new(wants).await;
        registry.push("prod", &draft(1).signed());
        let home = Home::new();
        let config = home.config(&registry.at(":prod"));
        let (_, told) = home.started(&config).await;
        assert_eq!(told.take(), [unreachable("bundle_fetch_unauthorized", true)], "{wants:?}");
        let mut config = config;
        config.fetch.username = Some("lictor".to_owned());
        config.fetch.password_file = Some(home.secret("password", "swordfish"));
        let (_, told) = home.started(&config).await;
        assert_eq!(told.take(), [unreachable("bundle_fetch_unauthorized", true)], "{wants:?}");
        assert!(!told.message().contains("swordfish"));
    }
}

#[tokio::test]
async fn tokens_are_not_asked_for_where_others_can_listen() {
    let registry = Registry::new(Wants::Token { password: true }).await;
    registry.push("prod", &draft(1).signed());
    let home = Home::new();
    let mut config = home.config(&registry.at(":prod"));
    config.fetch.username = Some("lictor".to_owned());
    config.fetch.password_file = Some(home.secret("password", "hunter2"));
    for realm in ["http://auth.example/token", "ftp://x/", "nonsense"] {
        registry.shelf().realm = realm.to_owned();
        let (_, told) = home.started(&config).await;
        assert_eq!(told.take(), [unreachable("bundle_fetch_status", true)], "{realm}");
    }
    assert!(registry.asked().iter().all(|(_, shown)| shown.is_empty()));
}

#[tokio::test]
async fn a_layer_that_is_elsewhere_is_fetched_without_showing_anything() {
    let registry = Registry::new(Wants::Basic).await;
    let storage = Registry::new(Wants::Nothing).await;
    registry.push("prod", &draft(1).signed());
    storage.push("prod", &draft(1).signed());
    registry.shelf().elsewhere = storage.shelf().base.clone();
    let home = Home::new();
    let mut config = home.config(&registry.at(":prod"));
    config.fetch.username = Some("lictor".to_owned());
    config.fetch.password_file = Some(home.secret("password", "hunter2"));
    let (mut watch, told) = home.started(&config).await;
    assert_eq!(told.take(), [Event::Live(1, "source")], "{}", told.message());
    let asked = storage.asked();
    assert_eq!((asked.len(), asked[0].1.as_str()), (1, ""));
    // Storage that gives something else.
    registry.push("prod", &draft(2).signed());
    let wanted = digest(&draft(2).signed());
    storage.shelf().blobs.insert(wanted, draft(3).signed());
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_fetch_digest")]);
    // Nowhere that others can listen in.
    registry.push("prod", &draft(4).signed());
    registry.shelf().elsewhere = "http://storage.example".to_owned();
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unreachable("bundle_fetch_status", true)]);
    assert!(!told.message().contains("secret"), "{}", told.message());
}

#[tokio::test]
async fn a_registry_that_sends_us_round_in_circles_is_left() {
    let registry = Registry::new(Wants::Nothing).await;
    registry.push("prod", &draft(1).signed());
    // `…/blobs/<digest>` sends to `…/blobs/storage/…`, which is not there, after one more.
    registry.shelf().elsewhere = format!("{}/v2/team/policy/blobs/x?", registry.shelf().base);
    let home = Home::new();
    let (_, told) = home.started(&home.config(&registry.at(":prod"))).await;
    assert_eq!(told.take(), [unreachable("bundle_fetch_status", true)]);
    let asked = registry.asked();
    let most = 2 + super::super::oci::REDIRECTS_MAX;
    assert_eq!(asked.len(), most, "{asked:?}");
}

#[tokio::test]
async fn manifests_that_are_no_bundle_are_refused_and_told_once() {
    let registry = Registry::new(Wants::Nothing).await;
    let archive = draft(1).signed();
    let layer = |bytes: i64| json!({"mediaType": LAYER, "digest": digest(&archive), "size": bytes});
    registry.shelf().blobs.insert(digest(&archive), archive.clone());
    let right = i64::try_from(archive.len()).unwrap();
    let most = i64::try_from(Limits::default().archive_bytes).unwrap();
    let home = Home::new();
    let (mut watch, told) = home.watch(&home.config(&registry.at(":prod")));
    for (layers, id) in [
        (json!([]), "bundle_content_type"),
        (json!([layer(right), layer(right)]), "bundle_content_type"),
        (json!([layer(right - 1)]), "bundle_archive_too_large"),
        (json!([layer(right + 1)]), "bundle_fetch_digest"),
        (json!([layer(most + 1)]), "bundle_archive_too_large"),
    ] {
        registry.push_layers("prod", &layers);
        watch.look().await.unwrap();
        watch.look().await.unwrap();
        assert_eq!(told.take(), [unusable(id)], "{layers}");
    }
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string().into_bytes();
    registry.put_manifest("prod", index);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_content_type")]);
    let huge = vec![b' '; 256 * 1_024 + 1];
    registry.put_manifest("prod", huge);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [unusable("bundle_archive_too_large")]);
    registry.push("prod", &archive);
    watch.look().await.unwrap();
    assert_eq!(told.take(), [Event::Live(1, "source")]);
}
