//! The keys of one issuer as they are now: fixed, or replaced while requests run.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::error::{AuthError, shown};
use crate::jwks::Jwks;
use crate::remote::demand::Demand;

/// Stands for no bound.
const FOREVER_MS: i64 = i64::MAX;

/// One key set of an issuer, while it is believed. Whoever remembers what it verified keeps
/// these keys beside it and asks [`Keys::hold_at`] before believing the memory.
#[derive(Debug)]
pub struct Keys {
    jwks: Arc<Jwks>,
    generation: u64,
    /// Unix milliseconds. Moves on when the issuer is found to have the same keys still.
    until_ms: AtomicI64,
    /// Another set has taken their place.
    replaced: AtomicBool,
}

impl Keys {
    /// Whether they are believed at `now_ms` (unix milliseconds): the issuer's present ones, and
    /// not past their bound.
    #[must_use]
    pub fn hold_at(&self, now_ms: i64) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        let in_time = until_ms == FOREVER_MS || now_ms < until_ms;
        in_time && !self.replaced.load(Ordering::Acquire)
    }

    /// Which set of the ring this is; every other set has a higher or lower number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl Deref for Keys {
    type Target = Jwks;

    fn deref(&self) -> &Jwks {
        &self.jwks
    }
}

/// The keys of one issuer. Cloning shares them, so that whoever replaces them does it for all.
#[derive(Clone, Default)]
pub struct KeyRing {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: ArcSwapOption<Keys>,
    generation: AtomicU64,
    /// For keys that can be fetched when some are missing.
    demand: Option<Demand>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("held", &self.shared.held.load().is_some()).finish()
    }
}

impl KeyRing {
    /// Keys that hold until they are replaced.
    #[must_use]
    pub fn fixed(jwks: Jwks) -> Self {
        let ring = Self::default();
        ring.replace(Arc::new(jwks), None);
        ring
    }

    /// No keys yet: everything signed is refused until some come.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// No keys yet, and [`KeyRing::renewed`] reaches whoever fetches them.
    pub(crate) fn remote() -> Self {
        let shared = Shared { demand: Some(Demand::default()), ..Shared::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the keys at once; `until_ms` (unix milliseconds) bounds how long these are
    /// believed. The same set again only moves its bound. A ring has one keeper, who alone
    /// calls this.
    pub fn replace(&self, jwks: Arc<Jwks>, until_ms: Option<i64>) {
        let until_ms = until_ms.unwrap_or(FOREVER_MS);
        if let Some(held) = &*self.shared.held.load()
            && held.digest() == jwks.digest()
        {
            held.until_ms.store(until_ms, Ordering::Relaxed);
            return;
        }
        let generation = self.shared.generation.fetch_add(1, Ordering::Relaxed) + 1;
        let keys = Keys {
            jwks,
            generation,
            until_ms: AtomicI64::new(until_ms),
            replaced: AtomicBool::new(false),
        };
        if let Some(old) = self.shared.held.swap(Some(Arc::new(keys))) {
            old.replaced.store(true, Ordering::Release);
        }
    }

    /// The keys at `now_ms`.
    ///
    /// # Errors
    /// [`AuthError::IssuerUnavailable`] where there are none, or they are past their bound.
    pub fn at(&self, now_ms: i64, iss: &str) -> Result<Arc<Keys>, AuthError> {
        let held = self.shared.held.load();
        let held = held.as_ref().filter(|held| held.hold_at(now_ms));
        held.map(Arc::clone).ok_or_else(|| AuthError::IssuerUnavailable { iss: shown(iss) })
    }

    /// How many different sets there were so far.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }

    /// Asks for newer keys and waits until they were fetched, or could not be; `false` where
    /// asking again now would change nothing. Shared by all who ask at once.
    pub(crate) async fn renewed(&self, deadline: tokio::time::Instant) -> bool {
        match &self.shared.demand {
            Some(demand) => demand.wait(deadline).await,
            None => false,
        }
    }

    pub(crate) fn demand(&self) -> Option<&Demand> {
        self.shared.demand.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Jwks {
        let text = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        Jwks::parse(text).unwrap()
    }

    fn other_keys() -> Jwks {
        let text = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"b"}]}"#;
        Jwks::parse(text).unwrap()
    }

    #[test]
    fn keys_are_believed_until_their_bound() {
        let ring = KeyRing::empty();
        let refused = |now_ms| ring.at(now_ms, "i").map_err(|error| error.id()).err();
        assert_eq!(refused(0), Some("issuer_unavailable"));
        ring.replace(Arc::new(keys()), Some(10));
        assert_eq!((refused(9), refused(10)), (None, Some("issuer_unavailable")));
        assert!(KeyRing::fixed(keys()).at(i64::MAX, "i").is_ok());
    }

    #[test]
    fn another_set_ends_the_one_before_and_the_same_set_prolongs_it() {
        let ring = KeyRing::empty();
        ring.replace(Arc::new(keys()), Some(10));
        let first = ring.at(0, "i").unwrap();
        ring.replace(Arc::new(keys()), Some(20));
        assert!(first.hold_at(19) && !first.hold_at(20));
        assert_eq!((first.generation(), ring.generation()), (1, 1));
        ring.replace(Arc::new(other_keys()), Some(20));
        assert!(!first.hold_at(0));
        let second = ring.at(0, "i").unwrap();
        assert!(second.hold_at(0));
        assert_eq!((second.generation(), ring.generation()), (2, 2));
    }

    #[test]
    fn clones_share_the_keys() {
        let ring = KeyRing::empty();
        let clone = ring.clone();
        ring.replace(Arc::new(keys()), None);
        assert!(clone.at(0, "i").is_ok());
    }
}
