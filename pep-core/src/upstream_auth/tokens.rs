//! Issued tokens, kept for a while; and one request for each, however many wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lictor_identity::grants::Issued;
use tokio::sync::watch;

use super::credential::Credential;
use super::resolver::CredentialError;

/// Longest that an exchanged token is used, milliseconds.
pub const EXCHANGED_MAX_MS: i64 = 60_000;
/// Most tokens that are kept for one upstream.
pub const KEPT_MAX_TOKENS: usize = 4096;
/// Most requests for tokens of one upstream at once.
pub const UNDER_WAY_MAX: usize = 256;
/// How long a server that could not be reached is not asked again, milliseconds.
pub const DOWN_HOLD_MS: i64 = 1_000;
/// How much of its life a token is used, percent.
const LIFE_USED_PERCENT: i64 = 80;

/// Names a token: the digest of the one that it was exchanged for, or zeros for our own.
pub(super) type Key = [u8; 32];
type Outcome = Result<Credential, CredentialError>;

/// When a token must not be used any more, whatever its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bound {
    /// From its request on, milliseconds.
    pub(super) for_ms: Option<i64>,
    /// Unix milliseconds.
    pub(super) until_ms: Option<i64>,
}

/// The tokens of one upstream.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: HashMap<Key, Kept>,
    /// Oldest first. A key may stand here twice: `since_ms` tells which one counts.
    order: VecDeque<(Key, i64)>,
    under_way: HashMap<Key, watch::Receiver<Option<Outcome>>>,
    down: Option<Down>,
}

struct Kept {
    credential: Credential,
    since_ms: i64,
    until_ms: i64,
}

struct Down {
    error: CredentialError,
    since_ms: i64,
}

impl Tokens {
    /// The token called `key`: the kept one, or what `fetch` brings. Whoever asks meanwhile waits
    /// for the same; it goes on if the first who asked goes away.
    ///
    /// # Errors
    /// What `fetch` failed with. Failures are not kept, except that a server that could not be
    /// reached is left alone for [`DOWN_HOLD_MS`].
    pub(super) async fn get<F>(
        &self,
        key: Key,
        now_ms: i64,
        bound: Bound,
        fetch: impl FnOnce() -> F,
    ) -> Outcome
    where
        F: Future<Output = Result<Issued, CredentialError>> + Send + 'static,
    {
        let mut waiting = match self.begin(&key, now_ms)? {
            Begun::Kept(credential) => return Ok(credential),
            Begun::Waits(waiting) => waiting,
            Begun::First(sender, waiting) => {
                let (tokens, fetching) = (self.clone(), tokio::spawn(fetch()));
                tokio::spawn(async move {
                    // A panic ends that task and not this one.
                    let fetched = fetching.await.unwrap_or(Err(CredentialError::Broken));
                    let outcome = tokens.end(key, now_ms, bound, fetched);
                    sender.send_replace(Some(outcome));
                });
                waiting
            }
        };
        match waiting.wait_for(Option::is_some).await {
            Ok(outcome) => (*outcome).clone().unwrap_or(Err(CredentialError::Broken)),
            Err(_) => Err(CredentialError::Broken),
        }
    }

    /// Whether any of them is in `body`, of those that are our own.
    pub(super) fn own_is_in(&self, body: &[u8]) -> bool {
        let own = self.lock().kept.get(&Key::default()).map(|kept| kept.credential.clone());
        own.is_some_and(|credential| credential.is_in(body))
    }

    fn begin(&self, key: &Key, now_ms: i64) -> Result<Begun, CredentialError> {
        let mut state = self.lock();
        if let Some(kept) = state.kept.get(key)
            && (kept.since_ms..kept.until_ms).contains(&now_ms)
        {
            return Ok(Begun::Kept(kept.credential.clone()));
        }
        if let Some(waiting) = state.under_way.get(key) {
            return Ok(Begun::Waits(waiting.clone()));
        }
        if let Some(down) = &state.down
            && (down.since_ms..down.since_ms + DOWN_HOLD_MS).contains(&now_ms)
        {
            return Err(down.error.clone());
        }
        if state.under_way.len() >= UNDER_WAY_MAX {
            return Err(CredentialError::Busy);
        }
        let (sender, waiting) = watch::channel(None);
        state.under_way.insert(*key, waiting.clone());
        Ok(Begun::First(sender, waiting))
    }

    fn end(
        &self,
        key: Key,
        now_ms: i64,
        bound: Bound,
        fetched: Result<Issued, CredentialError>,
    ) -> Outcome {
        let outcome = fetched.and_then(|issued| {
            let credential =
                Credential::bearer(&issued.token).ok_or(CredentialError::Unsendable)?;
            Ok((credential, until_ms(&issued, now_ms, bound)))
        });
        let mut state = self.lock();
        state.under_way.remove(&key);
        match outcome {
            Ok((credential, until_ms)) => {
                state.down = None;
                state
                    .keep(key, Kept { credential: credential.clone(), since_ms: now_ms, until_ms });
                Ok(credential)
            }
            Err(error) => {
                if error.is_outage() {
                    state.down = Some(Down { error: error.clone(), since_ms: now_ms });
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Begun {
    Kept(Credential),
    Waits(watch::Receiver<Option<Outcome>>),
    First(watch::Sender<Option<Outcome>>, watch::Receiver<Option<Outcome>>),
}

impl State {
    fn keep(&mut self, key: Key, kept: Kept) {
        self.order.push_back((key, kept.since_ms));
        let now_ms = kept.since_ms;
        self.kept.insert(key, kept);
        while let Some((oldest, since_ms)) = self.order.front().copied() {
            let current = self.kept.get(&oldest).filter(|kept| kept.since_ms == since_ms);
            let over = current.is_some_and(|kept| kept.until_ms <= now_ms);
            if current.is_some() && !over && self.order.len() <= KEPT_MAX_TOKENS {
                return;
            }
            if current.is_some() {
                self.kept.remove(&oldest);
            }
            self.order.pop_front();
        }
    }
}

fn until_ms(issued: &Issued, now_ms: i64, bound: Bound) -> i64 {
    let life_ms = i64::try_from(issued.life_s).unwrap_or(i64::MAX).saturating_mul(1000);
    let used_ms = life_ms.saturating_mul(LIFE_USED_PERCENT) / 100;
    let used_ms = used_ms.min(bound.for_ms.unwrap_or(i64::MAX));
    now_ms.saturating_add(used_ms).min(bound.until_ms.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lictor_identity::Secret;
    use lictor_identity::grants::GrantError;

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;
    const OWN: Key = [0; 32];

    fn issued(text: &str, life_s: u64) -> Issued {
        Issued { token: Secret::from(text.to_owned()), life_s }
    }

    fn outage() -> CredentialError {
        let (url, why) = (String::new(), String::new());
        CredentialError::Grant(GrantError::Unreachable { url, why })
    }

    fn text(outcome: Outcome) -> String {
        let mut headers = http::HeaderMap::new();
        outcome.unwrap().put(&mut headers);
        headers["authorization"].to_str().unwrap().to_owned()
    }

    async fn get(
        tokens: &Tokens,
        key: Key,
        now_ms: i64,
        bound: Bound,
        token: &'static str,
    ) -> String {
        text(tokens.get(key, now_ms, bound, || async { Ok(issued(token, 100)) }).await)
    }

    #[tokio::test]
    async fn a_token_is_used_for_80_percent_of_its_life() {
        let tokens = Tokens::default();
        let at = |now_ms, token| get(&tokens, OWN, now_ms, Bound::default(), token);
        assert_eq!(at(NOW_MS, "a").await, "Bearer a");
        assert_eq!(at(NOW_MS + 79_999, "b").await, "Bearer a");
        assert_eq!(at(NOW_MS + 80_000, "c").await, "Bearer c");
        // A clock that was set back makes nothing live longer.
        assert_eq!(at(NOW_MS, "d").await, "Bearer d");
    }

    #[tokio::test]
    async fn bounds_end_a_token_before_its_life() {
        let tokens = Tokens::default();
        let exchanged = Bound { for_ms: Some(EXCHANGED_MAX_MS), until_ms: None };
        let at = |now_ms, token| get(&tokens, OWN, now_ms, exchanged, token);
        assert_eq!(at(NOW_MS, "a").await, "Bearer a");
        assert_eq!(at(NOW_MS + EXCHANGED_MAX_MS - 1, "b").await, "Bearer a");
        assert_eq!(at(NOW_MS + EXCHANGED_MAX_MS, "c").await, "Bearer c");
        let tokens = Tokens::default();
        let callers = Bound { until_ms: Some(NOW_MS + 5), ..exchanged };
        let at = |now_ms, token| get(&tokens, OWN, now_ms, callers, token);
        assert_eq!(at(NOW_MS, "a").await, "Bearer a");
        assert_eq!(at(NOW_MS + 4, "b").await, "Bearer a");
        assert_eq!(at(NOW_MS + 5, "c").await, "Bearer c");
    }

    #[tokio::test]
    async fn many_who_wait_are_one_request() {
        let tokens = Tokens::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(tokio::sync::Notify::new());
        let one = || {
            let (asked, gate) = (asked.clone(), gate.clone());
            tokens.get(OWN, NOW_MS, Bound::default(), move || async move {
                asked.fetch_add(1, Ordering::Relaxed);
                gate.notified().await;
                Ok(issued("a", 100))
            })
        };
        // The first who asked goes away: the request goes on.
        let first = tokio::time::timeout(std::time::Duration::ZERO, one()).await;
        assert!(first.is_err());
        let all = futures::future::join_all((0..50).map(|_| one()));
        let (all, ()) = tokio::join!(all, async { gate.notify_one() });
        for outcome in all {
            assert_eq!(text(outcome), "Bearer a");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_not_kept_and_an_outage_for_a_second() {
        let tokens = Tokens::default();
        let refused = CredentialError::NoSubject;
        let failing = |now_ms, error: CredentialError| {
            tokens.get(OWN, now_ms, Bound::default(), || async { Err(error) })
        };
        assert!(failing(NOW_MS, refused).await.is_err());
        assert_eq!(get(&tokens, [1; 32], NOW_MS, Bound::default(), "a").await, "Bearer a");
        assert!(failing(NOW_MS, outage()).await.is_err());
        let held = tokens.get([2; 32], NOW_MS + DOWN_HOLD_MS - 1, Bound::default(), || async {
            Ok(issued("b", 100))
        });
        assert!(held.await.unwrap_err().is_outage());
        let after = NOW_MS + DOWN_HOLD_MS;
        assert_eq!(get(&tokens, [2; 32], after, Bound::default(), "c").await, "Bearer c");
        // What is kept is used while the server is away.
        assert_eq!(get(&tokens, [1; 32], NOW_MS + 1, Bound::default(), "d").await, "Bearer a");
    }

    #[tokio::test]
    async fn a_panic_leaves_nobody_waiting() {
        let tokens = Tokens::default();
        let broken = tokens.get(OWN, NOW_MS, Bound::default(), || async { panic!("broken") });
        assert!(matches!(broken.await, Err(CredentialError::Broken)));
        assert_eq!(get(&tokens, OWN, NOW_MS, Bound::default(), "a").await, "Bearer a");
    }

    #[tokio::test]
    async fn the_oldest_makes_room_at_the_edge() {
        let tokens = Tokens::default();
        let key = |n: usize| {
            let mut key = Key::default();
            key[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
            key
        };
        for n in 0..=KEPT_MAX_TOKENS {
            get(&tokens, key(n), NOW_MS, Bound::default(), "a").await;
        }
        assert_eq!(tokens.lock().kept.len(), KEPT_MAX_TOKENS);
        assert_eq!(get(&tokens, key(1), NOW_MS, Bound::default(), "b").await, "Bearer a");
        assert_eq!(get(&tokens, key(0), NOW_MS, Bound::default(), "b").await, "Bearer b");
        // What is over goes first.
        get(&tokens, OWN, NOW_MS + 80_000, Bound::default(), "c").await;
        let state = tokens.lock();
        assert_eq!((state.kept.len(), state.order.len()), (1, 1));
    }

    #[tokio::test]
    async fn too_many_requests_at_once_are_refused() {
        let tokens = Tokens::default();
        let mut waiting = Vec::new();
        for n in 0..UNDER_WAY_MAX {
            let mut key = Key::default();
            key[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
            waiting.push(tokens.begin(&key, NOW_MS).unwrap_or_else(|_| panic!("{n}")));
        }
        let one_more = tokens.get(OWN, NOW_MS, Bound::default(), || async { Ok(issued("a", 1)) });
        assert!(matches!(one_more.await, Err(CredentialError::Busy)));
    }
}
