use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::StatusCode;
use tokio::time::sleep;

use super::*;
use crate::jwks::Jwks;
use crate::remote::WAIT_MAX;

const MINUTE: Duration = Duration::from_secs(60);

/// An issuer that has one key of a given name, or is down.
struct Issuer {
    kid: Mutex<Option<&'static str>>,
    fetches: AtomicU32,
    latency: Duration,
    max_age_s: Option<u64>,
}

struct Source(Arc<Issuer>);

fn jwks(kid: &str) -> Jwks {
    let key = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    Jwks::parse(format!("{{\"keys\":[{{{key},\"kid\":\"{kid}\"}}]}}").as_bytes()).unwrap()
}

impl FetchKeys for Source {
    async fn fetch(&self) -> Result<Loaded, FetchError> {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        sleep(self.0.latency).await;
        let kid = *self.0.kid.lock().unwrap();
        match kid {
            Some(kid) => Ok(Loaded { jwks: jwks(kid), max_age_s: self.0.max_age_s }),
            None => {
                let (url, status) = ("https://i/k".to_owned(), StatusCode::BAD_GATEWAY);
                Err(FetchError::Status { url, status })
            }
        }
    }
}

impl Issuer {
    fn new(kid: Option<&'static str>) -> Self {
        let latency = Duration::from_millis(10);
        Self { kid: Mutex::new(kid), fetches: AtomicU32::new(0), latency, max_age_s: None }
    }

    fn set(&self, kid: Option<&'static str>) {
        *self.kid.lock().unwrap() = kid;
    }

    fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::Relaxed)
    }
}

struct Rig {
    issuer: Arc<Issuer>,
    ring: KeyRing,
    refresher: Refresher,
    now: Now,
}

impl Rig {
    /// Keys are believed for ten minutes and fetched every two.
    async fn start(issuer: Issuer) -> Self {
        let issuer = Arc::new(issuer);
        let begun = Instant::now();
        let now: Now =
            Arc::new(move || i64::try_from((Instant::now() - begun).as_millis()).unwrap());
        let ring = KeyRing::remote();
        let lifetime = Lifetime { keys_max_age_s: 600, refresh_s: 120 };
        let source = Source(Arc::clone(&issuer));
        let timing = Timing::default();
        let refresher =
            Refresher::start("i", ring.clone(), source, lifetime, &timing, Arc::clone(&now));
        refresher.first(Instant::now() + timing.start_wait_max).await;
        Self { issuer, ring, refresher, now }
    }

    /// Whether a token signed by `kid` would be believed now.
    fn believes(&self, kid: &str) -> bool {
        self.ring.at((self.now)(), "i").is_ok_and(|keys| keys.by_kid(kid).is_some())
    }

    async fn renewed(&self) -> bool {
        self.ring.renewed(Instant::now() + WAIT_MAX).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_survived_until_the_bound_and_ends_by_itself() {
    let rig = Rig::start(Issuer::new(Some("a"))).await;
    assert!(rig.believes("a"));
    rig.issuer.set(None);
    sleep(9 * MINUTE).await;
    assert!(rig.believes("a"), "the last good keys hold");
    let health = rig.refresher.health();
    assert!(health.failures > 0 && health.last_error.unwrap().contains("502"));
    sleep(2 * MINUTE).await;
    assert!(!rig.believes("a"), "past their bound they do not");
    rig.issuer.set(Some("a"));
    sleep(MINUTE + Duration::from_secs(1)).await;
    assert!(rig.believes("a"), "and come back without help");
    assert_eq!(rig.refresher.health().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_start_without_the_issuer_recovers_within_seconds() {
    let rig = Rig::start(Issuer::new(None)).await;
    assert_eq!((rig.issuer.fetches(), rig.believes("a")), (1, false));
    assert_eq!(rig.refresher.health().last_success_ms, None);
    rig.issuer.set(Some("a"));
    sleep(Duration::from_millis(2_100)).await;
    assert!(rig.believes("a"));
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_gone_with_the_next_fetch() {
    let rig = Rig::start(Issuer::new(Some("a"))).await;
    let held = rig.ring.at(0, "i").unwrap();
    rig.issuer.set(Some("b"));
    sleep(2 * MINUTE + Duration::from_secs(1)).await;
    assert!(rig.believes("b") && !rig.believes("a"));
    assert!(!held.hold_at(0), "what it verified is forgotten");
    let health = rig.refresher.health();
    assert_eq!((health.generation, health.key_ids), (2, vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn all_who_miss_a_key_share_one_fetch() {
    let rig = Arc::new(Rig::start(Issuer::new(Some("a"))).await);
    rig.issuer.set(Some("b"));
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.renewed().await && rig.believes("b") })
        })
        .collect();
    for waiter in waiting {
        assert!(waiter.await.unwrap());
    }
    assert_eq!(rig.issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn made_up_key_names_cause_few_fetches() {
    let rig = Rig::start(Issuer::new(Some("a"))).await;
    let interval = Timing::default().demand_interval;
    let begun = Instant::now();
    while Instant::now() < begun + MINUTE {
        rig.renewed().await;
        sleep(Duration::from_millis(1)).await;
    }
    let most = 1 + 1 + u32::try_from(MINUTE.as_millis() / interval.as_millis()).unwrap();
    assert!(rig.issuer.fetches() <= most, "{}", rig.issuer.fetches());
    assert!(rig.issuer.fetches() > 2, "whoever is honest is still served");
}

#[tokio::test(start_paused = true)]
async fn failures_are_not_repeated_on_demand_either() {
    let rig = Rig::start(Issuer::new(None)).await;
    let before = rig.issuer.fetches();
    assert!(rig.renewed().await, "the first who asks may cause a fetch");
    assert_eq!(rig.issuer.fetches(), before + 1);
    let asked = Instant::now();
    while Instant::now() < asked + Duration::from_millis(900) {
        rig.renewed().await;
        sleep(Duration::from_millis(1)).await;
    }
    // The schedule after failures goes on; demand adds nothing to it.
    assert!(rig.issuer.fetches() <= before + 2, "{}", rig.issuer.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_keeps_nobody_waiting_for_long() {
    let slow = Issuer { latency: Duration::from_secs(4), ..Issuer::new(Some("a")) };
    let rig = Rig::start(slow).await;
    let asked = Instant::now();
    assert!(!rig.renewed().await);
    assert_eq!(Instant::now() - asked, WAIT_MAX);
}

#[tokio::test(start_paused = true)]
async fn caches_of_the_issuer_make_fetches_more_often() {
    let short = Issuer { max_age_s: Some(40), ..Issuer::new(Some("a")) };
    let rig = Rig::start(short).await;
    sleep(Duration::from_secs(41)).await;
    assert_eq!(rig.issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_or_waited_for_once_it_is_dropped() {
    let Rig { issuer, ring, refresher, .. } = Rig::start(Issuer::new(Some("a"))).await;
    drop(refresher);
    sleep(10 * MINUTE).await;
    assert_eq!(issuer.fetches(), 1);
    let asked = Instant::now();
    assert!(!ring.renewed(asked + WAIT_MAX).await);
    assert_eq!(Instant::now(), asked);
}
