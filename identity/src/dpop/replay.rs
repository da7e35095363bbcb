//! Which proofs were used, for as long as they could be used again.
//!
//! Only proofs beside a token that holds enter, so nobody without a token can fill it. The proofs
//! of one key are all in one part, so that whoever makes too many stands mostly in their own way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::error::DpopError;
use super::thumbprint::Thumbprint;

/// Independently locked parts.
const SHARDS: usize = 32;
/// Most proofs remembered in one part: about 500 requests a second of one key.
const SHARD_MAX_ENTRIES: usize = 32_768;
/// How often at most a full part is searched for what can be forgotten, milliseconds.
const PRUNE_INTERVAL_MS: i64 = 1_000;

/// Half a digest: 128 bits are enough against chance and against intent.
type Key = [u8; 16];

/// One use of a proof, to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    shard: usize,
    key: Key,
    /// When the proof is too old anyway, unix milliseconds.
    until_ms: i64,
}

impl Use {
    /// The use of the proof that `key` named `jti`.
    pub(crate) fn new(key: &Thumbprint, jti: &str, until_ms: i64) -> Self {
        let mut hash = Sha256::new();
        hash.update(key.bytes());
        hash.update(jti.as_bytes());
        let mut name = Key::default();
        name.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        let shard = usize::from(key.bytes().first().copied().unwrap_or_default()) % SHARDS;
        Self { shard, key: name, until_ms }
    }
}

#[derive(Default)]
struct Shard {
    used: HashMap<Key, i64>,
    /// What ended before this may have been forgotten.
    forgotten_ms: Option<i64>,
    pruned_ms: Option<i64>,
}

/// Used proofs.
#[derive(Default)]
pub(crate) struct ReplayMemory {
    shards: [Mutex<Shard>; SHARDS],
}

impl ReplayMemory {
    /// Takes a proof that was not used before.
    ///
    /// # Errors
    /// [`DpopError::Replayed`], or [`DpopError::MemoryFull`] where it could not be remembered.
    pub(crate) fn admit(&self, used: &Use, now_ms: i64) -> Result<(), DpopError> {
        let shard = self.shards.get(used.shard).ok_or(DpopError::MemoryFull)?;
        // A panic between two changes leaves the parts whole.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        // After a clock ran back, what was forgotten might look new.
        if shard.forgotten_ms.is_some_and(|end_ms| used.until_ms <= end_ms) {
            return Err(DpopError::Expired);
        }
        if let Some(until_ms) = shard.used.get(&used.key)
            && now_ms < *until_ms
        {
            return Err(DpopError::Replayed);
        }
        if shard.used.len() >= SHARD_MAX_ENTRIES {
            shard.prune(now_ms);
        }
        if shard.used.len() >= SHARD_MAX_ENTRIES {
            return Err(DpopError::MemoryFull);
        }
        shard.used.insert(used.key, used.until_ms);
        Ok(())
    }
}

impl Shard {
    fn prune(&mut self, now_ms: i64) {
        let recent =
            |last_ms: i64| last_ms <= now_ms && now_ms.saturating_sub(last_ms) < PRUNE_INTERVAL_MS;
        if self.pruned_ms.is_some_and(recent) {
            return;
        }
        self.pruned_ms = Some(now_ms);
        self.forgotten_ms = self.forgotten_ms.max(Some(now_ms));
        self.used.retain(|_, until_ms| now_ms < *until_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> Thumbprint {
        let mut bytes = [0; 32];
        bytes[0] = first;
        Thumbprint::from_bytes(bytes)
    }

    #[test]
    fn a_proof_is_taken_once_per_key_and_name() {
        let memory = ReplayMemory::default();
        let used = |first, jti| Use::new(&key(first), jti, 1_000);
        assert_eq!(memory.admit(&used(1, "a"), 0), Ok(()));
        assert_eq!(memory.admit(&used(1, "a"), 999), Err(DpopError::Replayed));
        assert_eq!(memory.admit(&used(1, "b"), 0), Ok(()));
        assert_eq!(memory.admit(&used(2, "a"), 0), Ok(()));
    }

    #[test]
    fn a_full_memory_refuses_until_proofs_end_and_only_for_its_keys() {
        let memory = ReplayMemory::default();
        for index in 0..SHARD_MAX_ENTRIES {
            let used = Use::new(&key(1), &index.to_string(), 10_000);
            assert_eq!(memory.admit(&used, 0), Ok(()));
        }
        let more = |until_ms| Use::new(&key(1), "more", until_ms);
        assert_eq!(memory.admit(&more(10_001), 0), Err(DpopError::MemoryFull));
        assert_eq!(memory.admit(&Use::new(&key(2), "more", 10_001), 0), Ok(()));
        assert_eq!(memory.admit(&Use::new(&key(1), "7", 10_000), 9_999), Err(DpopError::Replayed));
        assert_eq!(memory.admit(&more(10_001), 9_999), Err(DpopError::MemoryFull));
        assert_eq!(memory.admit(&more(20_000), 10_999), Ok(()));
        assert_eq!(memory.shards[1].lock().unwrap().used.len(), 1);
        // The clock runs back: what was forgotten is not believed again.
        let again = Use::new(&key(1), "7", 10_000);
        assert_eq!(memory.admit(&again, 5_000), Err(DpopError::Expired));
    }
}
