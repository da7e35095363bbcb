//! Files that change. Time is paused: it moves on only when nothing else is to be done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_identity::config::{IdentityConfig, IssuerConfig, KeysAt};
use lictor_identity::files::replace_private;
use lictor_identity::{ApiKeyStore, IssueRequest, PartyRef, Timing};
use tokio::time::sleep;

use super::idp::{Door, key_set, token};
use crate::forge::{AUD, NOW_MS};

const ISS: &str = "file issuer";
/// Within this a change is in effect.
const SOON: Duration = Duration::from_secs(2);

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        replace_private(&self.path(name), text).unwrap();
    }
}

fn issue(store: &mut ApiKeyStore, id: &str) -> String {
    let request = IssueRequest {
        id: id.to_owned(),
        tenant: "default".to_owned(),
        subject: Some(PartyRef::new("user", id)),
        ..IssueRequest::default()
    };
    let random = [id.len() as u8; 32];
    store.issue(&request, NOW_MS, random).unwrap().0.to_string()
}

fn config(jwks: &Path, api_keys: &Path) -> IdentityConfig {
    let jwks = Some(KeysAt::File(jwks.to_owned()));
    let issuer = IssuerConfig { jwks, ..IssuerConfig::new(ISS, AUD) };
    IdentityConfig {
        issuers: vec![issuer],
        api_keys: Some(api_keys.to_owned()),
        ..IdentityConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_files_change_without_a_restart() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    let mut store = ApiKeyStore::default();
    let bob = issue(&mut store, "bob");
    files.write("jwks.json", &key_set(&["a"]));
    files.write("keys.json", &store.to_json().unwrap());
    let config = config(&files.path("jwks.json"), &files.path("keys.json"));
    let door = Door::open_with(config, Timing::default()).await;
    assert!(door.ask(&bob).await.is_ok());
    assert!(door.ask(&token(ISS, "a")).await.is_ok());

    let alice = issue(&mut store, "alice");
    assert_eq!(door.ask(&alice).await.err(), Some("api_key_unknown"));
    store.revoke("bob").unwrap();
    files.write("keys.json", &store.to_json().unwrap());
    files.write("jwks.json", &key_set(&["b"]));
    sleep(SOON).await;
    assert!(door.ask(&alice).await.is_ok());
    assert_eq!(door.ask(&bob).await.err(), Some("api_key_revoked"));
    assert!(door.ask(&token(ISS, "b")).await.is_ok());
    assert_eq!(door.ask(&token(ISS, "a")).await.err(), Some("key_unknown"));
}

#[tokio::test(start_paused = true)]
async fn files_that_cannot_be_used_change_nothing() {
    let files = Files { dir: tempfile::tempdir().unwrap() };
    let mut store = ApiKeyStore::default();
    let bob = issue(&mut store, "bob");
    let good = [("jwks.json", key_set(&["a"])), ("keys.json", store.to_json().unwrap())];
    for (name, text) in &good {
        files.write(name, text);
    }
    let config = config(&files.path("jwks.json"), &files.path("keys.json"));
    let door = Door::open_with(config, Timing::default()).await;
    for text in ["", "{\"keys\":", "{\"keys\":[{}]}"] {
        files.write("jwks.json", text);
        files.write("keys.json", text);
        sleep(SOON).await;
        assert!(door.ask(&bob).await.is_ok(), "{text}");
        assert!(door.ask(&token(ISS, "a")).await.is_ok(), "{text}");
    }
    files.write("jwks.json", &key_set(&["b"]));
    sleep(SOON).await;
    assert!(door.ask(&token(ISS, "b")).await.is_ok(), "and a good one counts again");
}
