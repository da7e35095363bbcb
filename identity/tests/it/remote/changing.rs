//! Rotation, outages, made-up key names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lictor_identity::Timing;
use lictor_identity::config::IssuerConfig;
use tokio::sync::watch;

use super::idp::{Door, Idp, JWKS_PATH, Reply, timing, unnamed_token};
use crate::forge::NOW_MS;

const CLIENTS: usize = 64;
const ROTATIONS: usize = 8;

/// Callers that present tokens without a pause, and count those that were believed.
struct Load {
    counts: Vec<Arc<AtomicU64>>,
    done: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<&'static str>>>,
}

impl Load {
    /// Every token is signed by the key whose name `signer` holds at that moment.
    fn start(door: &Arc<Door>, idp: &Idp, signer: &watch::Receiver<String>) -> Self {
        let done = Arc::<AtomicBool>::default();
        let counts: Vec<_> = (0..CLIENTS).map(|_| Arc::<AtomicU64>::default()).collect();
        let client = |count: &Arc<AtomicU64>| {
            let (door, idp, signer) = (Arc::clone(door), idp.clone(), signer.clone());
            let (count, done) = (Arc::clone(count), Arc::clone(&done));
            tokio::spawn(async move {
                let mut refused = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    let kid = signer.borrow().clone();
                    refused.extend(door.ask(&idp.token(&kid)).await.err());
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                refused
            })
        };
        let clients = counts.iter().map(client).collect();
        Self { counts, done, clients }
    }

    /// Waits until every client has begun and ended a request after this.
    async fn everyone_asked(&self) {
        let counts = || self.counts.iter().map(|count| count.load(Ordering::SeqCst));
        let wanted: Vec<u64> = counts().map(|count| count + 2).collect();
        while counts().zip(&wanted).any(|(count, wanted)| count < *wanted) {
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) -> Vec<&'static str> {
        self.done.store(true, Ordering::SeqCst);
        let mut refused = Vec::new();
        for client in self.clients {
            refused.extend(client.await.unwrap());
        }
        refused
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_with_overlap_and_no_request_fails() {
    let idp = Idp::start().await;
    idp.publish(&["k0"]);
    let door = Arc::new(Door::open(idp.by_url(), timing()).await);
    let (signer, signers) = watch::channel("k0".to_owned());
    let load = Load::start(&door, &idp, &signers);
    for round in 1..=ROTATIONS {
        let (old, new) = (format!("k{}", round - 1), format!("k{round}"));
        idp.publish(&[&old, &new]);
        load.everyone_asked().await;
        signer.send_replace(new.clone());
        load.everyone_asked().await;
        idp.publish(&[&new]);
        load.everyone_asked().await;
    }
    assert_eq!(load.end().await, Vec::<&str>::new());
    let fetches = idp.asked().len();
    assert!((ROTATIONS + 1..4 * ROTATIONS).contains(&fetches), "{fetches} fetches");
    assert_eq!(door.health().generation, ROTATIONS as u64 + 1);
    // What nobody publishes any more is not believed, although it once was and is remembered.
    assert_eq!(door.ask(&idp.token("k0")).await.err(), Some("key_unknown"));
}

#[tokio::test]
async fn made_up_key_names_cause_one_fetch() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    // The next fetch on demand would be after the test.
    let rare = Timing { demand_interval: Duration::from_secs(3600), ..timing() };
    let door = Arc::new(Door::open(idp.by_url(), rare).await);
    let asking: Vec<_> = (0..500)
        .map(|index| {
            let (door, token) = (Arc::clone(&door), idp.token(&format!("x{index}")));
            tokio::spawn(async move { door.ask(&token).await.err() })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Some("key_unknown"));
    }
    assert_eq!(idp.asked().len(), 2, "the first fetch, and one for everybody");
    assert!(door.ask(&idp.token("a")).await.is_ok());
}

#[tokio::test]
async fn the_last_keys_serve_until_their_bound_and_come_back() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    let issuer = IssuerConfig { keys_max_age_s: 60, ..idp.by_url() };
    let door = Door::open(issuer, timing()).await;
    let token = idp.token("a");
    assert!(door.ask(&token).await.is_ok());
    idp.tell(JWKS_PATH, Reply::Status(503));
    door.set_clock(NOW_MS + 59_999);
    assert!(door.ask(&token).await.is_ok());
    door.set_clock(NOW_MS + 60_000);
    let refused = door.ask(&token).await.err();
    assert_eq!(refused, Some("issuer_unavailable"), "also for a token that was verified before");
    assert!(door.health().last_error.unwrap().contains("503"));
    idp.publish(&["a"]);
    assert!(door.ask(&token).await.is_ok(), "the first who asks brings it back");
    assert_eq!(door.health().last_error, None);
}

#[tokio::test]
async fn a_provider_that_is_down_at_start_is_found_when_it_is_up() {
    let idp = Idp::start().await;
    let door = Door::open(idp.by_url(), timing()).await;
    assert_eq!(door.health().last_success_ms, None);
    assert_eq!(door.ask(&idp.token("a")).await.err(), Some("issuer_unavailable"));
    idp.publish(&["a"]);
    assert!(door.ask(&idp.token("a")).await.is_ok());
    assert_eq!(door.health().last_success_ms, Some(NOW_MS));
}

#[tokio::test]
async fn a_token_without_a_key_name_survives_the_change_of_the_only_key() {
    let idp = Idp::start().await;
    idp.publish(&["a"]);
    let door = Door::open(idp.by_url(), timing()).await;
    assert!(door.ask(&unnamed_token(&idp.iss(), "a")).await.is_ok());
    idp.publish(&["b"]);
    assert!(door.ask(&unnamed_token(&idp.iss(), "b")).await.is_ok());
    let old = door.ask(&unnamed_token(&idp.iss(), "a")).await.err();
    assert_eq!(old, Some("signature_invalid"));
}
