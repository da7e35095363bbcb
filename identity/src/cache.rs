//! A short memory of verified tokens, because a signature check costs more than
//! everything else here together.
//!
//! Only verified tokens enter, so nobody without a valid token can fill it. They are kept under
//! SHA-256 digests of a domain of their own: neither the tokens nor digests that count anywhere
//! else. What was verified ends with the issuer's keys that verified it. Who may do what is never
//! remembered: revocations are asked about at every call, and so are proofs of possession.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::credential::Digest;
use crate::identity::Identity;
use crate::keyring::Keys;

/// Longest that a verification is remembered, milliseconds.
const CACHE_MAX_AGE_MS: i64 = 60_000;
/// Most tokens remembered in one shard.
const SHARD_MAX_ENTRIES: usize = 256;
/// Independently locked parts.
const SHARDS: usize = 16;
/// Domain of the digests that entries are found by.
const CACHE_DOMAIN: &[u8] = b"lictor/verified/1";
/// Larger tokens are verified every time, which bounds the memory used.
const CACHED_TOKEN_MAX_BYTES: usize = 4 * 1024;

/// What an entry is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key(Digest);

impl Key {
    fn of(digest: &Digest) -> Self {
        Self(Sha256::new().chain_update(CACHE_DOMAIN).chain_update(digest).finalize().into())
    }
}

struct Entry<V> {
    value: Arc<V>,
    /// What verified it, where that can be replaced.
    keys: Option<Arc<Keys>>,
    verified_ms: i64,
    until_ms: i64,
}

impl<V> Entry<V> {
    /// A clock that ran back makes an entry unusable rather than older checks valid.
    fn holds_at(&self, now_ms: i64) -> bool {
        self.verified_ms <= now_ms
            && now_ms < self.until_ms
            && self.keys.as_ref().is_none_or(|keys| keys.hold_at(now_ms))
    }
}

type Shard<V> = HashMap<Key, Entry<V>>;

/// What verified tokens say, by digest.
pub(crate) struct TokenCache<V = Identity> {
    shards: [Mutex<Shard<V>>; SHARDS],
}

impl<V> Default for TokenCache<V> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

/// A token that was just verified.
pub(crate) struct Token {
    pub(crate) digest: Digest,
    pub(crate) bytes: usize,
    pub(crate) expires_ms: Option<i64>,
}

impl<V> TokenCache<V> {
    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard<V>>> {
        let index = usize::from(*key.0.first()?) % SHARDS;
        // A panic between two map operations leaves the map whole.
        Some(self.shards.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, digest: &Digest, now_ms: i64) -> Option<Arc<V>> {
        let key = Key::of(digest);
        let shard = self.shard(&key)?;
        let entry = shard.get(&key).filter(|entry| entry.holds_at(now_ms))?;
        Some(Arc::clone(&entry.value))
    }

    /// Remembers what a token says until it expires, at most [`CACHE_MAX_AGE_MS`], and no longer
    /// than `keys` hold.
    pub(crate) fn put_signed(&self, token: &Token, value: Arc<V>, keys: Arc<Keys>, now_ms: i64) {
        self.remember(token, value, Some(keys), now_ms);
    }

    fn remember(&self, token: &Token, value: Arc<V>, keys: Option<Arc<Keys>>, now_ms: i64) {
        if token.bytes > CACHED_TOKEN_MAX_BYTES {
            return;
        }
        let age_end_ms = now_ms.saturating_add(CACHE_MAX_AGE_MS);
        let until_ms = token.expires_ms.map_or(age_end_ms, |end| end.min(age_end_ms));
        let key = Key::of(&token.digest);
        let Some(mut shard) = self.shard(&key) else {
            return;
        };
        if shard.len() >= SHARD_MAX_ENTRIES && !shard.contains_key(&key) {
            make_room(&mut shard, now_ms);
        }
        shard.insert(key, Entry { value, keys, verified_ms: now_ms, until_ms });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Takes out what has ended, or else what ends first.
fn make_room<V>(shard: &mut Shard<V>, now_ms: i64) {
    shard.retain(|_, entry| entry.holds_at(now_ms));
    if shard.len() < SHARD_MAX_ENTRIES {
        return;
    }
    let first = shard.iter().min_by_key(|(_, entry)| entry.until_ms).map(|(key, _)| *key);
    if let Some(first) = first {
        shard.remove(&first);
    }
}

impl TokenCache<Identity> {
    /// Remembers a credential of `bytes` until it expires, at most [`CACHE_MAX_AGE_MS`].
    pub(crate) fn put(&self, digest: Digest, bytes: usize, identity: Arc<Identity>, now_ms: i64) {
        let expires_ms = identity.expires_ms;
        self.remember(&Token { digest, bytes, expires_ms }, identity, None, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{credential, digest_of};
    use crate::jwks::Jwks;
    use crate::keyring::KeyRing;
    use lictor_proto::call::CredentialKind;

    fn identity(expires_ms: Option<i64>) -> Arc<Identity> {
        Arc::new(Identity {
            tenant: "default".to_owned(),
            subject: None,
            agent: None,
            delegation: Vec::new(),
            credential: credential(CredentialKind::Jwt, &[]),
            expires_ms,
            roles: Vec::new(),
        })
    }

    fn jwks(kid: &str) -> Jwks {
        let key =
            r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
        Jwks::parse(format!("{{\"keys\":[{{{key},\"kid\":\"{kid}\"}}]}}").as_bytes()).unwrap()
    }

    #[test]
    fn an_entry_ends_with_the_keys_that_verified_it() {
        let (cache, ring) = (TokenCache::<Identity>::default(), KeyRing::empty());
        ring.replace(Arc::new(jwks("a")), Some(2_000));
        let key = digest_of("a");
        let token = Token { digest: key, bytes: 100, expires_ms: None };
        cache.put_signed(&token, identity(None), ring.at(0, "i").unwrap(), 1_000);
        assert!(cache.get(&key, 1_999).is_some());
        assert!(cache.get(&key, 2_000).is_none());
        ring.replace(Arc::new(jwks("b")), Some(2_000));
        assert!(cache.get(&key, 1_000).is_none());
    }

    #[test]
    fn an_entry_ends_after_its_age() {
        let cache = TokenCache::default();
        let key = digest_of("a");
        cache.put(key, 100, identity(None), 1_000);
        assert!(cache.get(&key, 1_000).is_some());
        assert!(cache.get(&key, 1_000 + CACHE_MAX_AGE_MS - 1).is_some());
        assert!(cache.get(&key, 1_000 + CACHE_MAX_AGE_MS).is_none());
        assert!(cache.get(&key, 999).is_none());
        assert!(cache.get(&digest_of("b"), 1_000).is_none());
    }

    #[test]
    fn an_entry_ends_with_its_token() {
        let cache = TokenCache::default();
        let key = digest_of("a");
        cache.put(key, 100, identity(Some(1_500)), 1_000);
        assert!(cache.get(&key, 1_499).is_some());
        assert!(cache.get(&key, 1_500).is_none());
    }

    #[test]
    fn large_tokens_are_not_remembered() {
        let cache = TokenCache::default();
        let (fits, large) = (digest_of("a"), digest_of("b"));
        cache.put(fits, CACHED_TOKEN_MAX_BYTES, identity(None), 0);
        cache.put(large, CACHED_TOKEN_MAX_BYTES + 1, identity(None), 0);
        assert!(cache.get(&fits, 0).is_some());
        assert!(cache.get(&large, 0).is_none());
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let cache = TokenCache::default();
        for index in 0..20_000u32 {
            cache.put(digest_of(&index.to_string()), 100, identity(None), 0);
        }
        assert_eq!(cache.len(), SHARDS * SHARD_MAX_ENTRIES);
        let last = digest_of("19999");
        assert!(cache.get(&last, 0).is_some());
    }

    #[test]
    fn what_has_ended_goes_before_what_ends_first_and_that_before_the_rest() {
        let mut shard = Shard::new();
        let key = |n: usize| Key::of(&digest_of(&n.to_string()));
        let mut put = |n: usize, until_ms: i64| {
            let entry = Entry { value: Arc::new(n), keys: None, verified_ms: 0, until_ms };
            shard.insert(key(n), entry);
        };
        (2..SHARD_MAX_ENTRIES).for_each(|n| put(n, 9_000));
        put(0, 1_000);
        put(1, 2_000);
        make_room(&mut shard, 500);
        assert_eq!(shard.len(), SHARD_MAX_ENTRIES - 1);
        assert!(!shard.contains_key(&key(0)) && shard.contains_key(&key(1)));
        // Below the bound only what has ended goes.
        make_room(&mut shard, 2_000);
        assert_eq!(shard.len(), SHARD_MAX_ENTRIES - 2);
        assert!(!shard.contains_key(&key(1)));
    }

    #[test]
    fn a_token_that_is_known_pushes_no_other_out() {
        let cache = TokenCache::default();
        let mut kept = Vec::new();
        for index in 0..20_000u32 {
            let digest = digest_of(&index.to_string());
            if cache.shard(&Key::of(&digest)).unwrap().len() < SHARD_MAX_ENTRIES {
                cache.put(digest, 100, identity(None), 0);
                kept.push(digest);
            }
        }
        kept.iter().for_each(|digest| cache.put(*digest, 100, identity(None), 1));
        assert_eq!(kept.len(), SHARDS * SHARD_MAX_ENTRIES);
        assert!(kept.iter().all(|digest| cache.get(digest, 1).is_some()));
    }

    #[test]
    fn entries_are_found_by_digests_that_count_nowhere_else() {
        let digest = digest_of("a token");
        assert_ne!(Key::of(&digest).0, digest);
        assert_ne!(Key::of(&digest).0, Key::of(&digest_of("another")).0);
    }
}
