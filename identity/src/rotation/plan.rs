//! Which key signs when, and how long each is published: pure over a list of keys and `now_ms`.
//!
//! A key is published before it signs, for longer than anyone keeps a key set; and after its last
//! signature, for longer than any token that it signed is accepted.

use crate::assertion::ASSERTION_MAX_TTL_S;

/// How long readers may keep the published key set, seconds (`Cache-Control: max-age`).
pub const JWKS_MAX_AGE_S: u32 = 60;
/// How long at most an enforcement point takes to see a changed plan, milliseconds.
pub const PICK_UP_MS: i64 = 2_000;
/// Shortest time between writing a plan and the first signature of its new key, milliseconds:
/// until every enforcement point publishes the key and every kept key set has ended, with some
/// time for clocks and slow answers.
pub const LEAD_MIN_MS: i64 = JWKS_MAX_AGE_S as i64 * 1_000 + PICK_UP_MS + 13_000;
/// The same unless something else is asked, milliseconds: there are readers that keep a key set
/// for ten minutes whatever they are told.
pub const LEAD_DEFAULT_MS: i64 = 11 * 60_000;
/// How long a key stays published after its last signature, milliseconds: the life of a token and
/// the leeway of whoever reads it.
pub const RETAIN_MS: i64 = ASSERTION_MAX_TTL_S as i64 * 1_000 + 60_000;
/// Most keys in one plan.
pub const MAX_KEYS: usize = 16;

/// One key of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedKey {
    /// Its short name.
    pub kid: String,
    /// The file of its private half, a name in the directory of the plan.
    pub file: String,
    /// From when it signs, unix milliseconds, until the next one does.
    pub signs_from_ms: i64,
}

/// Why a plan cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing could sign.
    #[error("there is no key in it")]
    Empty,
    /// Past [`MAX_KEYS`].
    #[error("there are more than {MAX_KEYS} keys in it")]
    TooMany,
    /// A key twice.
    #[error("the key `{0}` is in it twice")]
    Twice(String),
    /// A key that would sign before the one before it.
    #[error("the key `{0}` signs from before the key above it does")]
    Order(String),
    /// Another rotation is under way.
    #[error("the key `{kid}` is published and does not sign yet: rotate again when it does")]
    Waiting {
        /// The next key.
        kid: String,
        /// From when it signs, unix milliseconds.
        signs_from_ms: i64,
    },
    /// Someone would meet a key that is not in the key set they hold.
    #[error(
        "a new key signs {} seconds after it is published or later, so that everyone knows it by then",
        LEAD_MIN_MS / 1_000
    )]
    TooSoon,
    /// The signing key is gone and nothing follows it.
    #[error(
        "the key `{0}` signs and is not in it, nor is a new one that could follow: use `lictor keys rotate`, or restart to do without it at once"
    )]
    NoSuccessor(String),
}

/// Keys in the order in which they sign. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    keys: Vec<PlannedKey>,
    /// Whether keys that are not in it are gone at once, whatever they signed.
    at_once: bool,
}

impl Plan {
    /// The plan of these keys.
    ///
    /// # Errors
    /// [`PlanError`] for keys that are none, too many, there twice or out of order.
    pub fn new(keys: Vec<PlannedKey>, at_once: bool) -> Result<Self, PlanError> {
        if keys.is_empty() {
            return Err(PlanError::Empty);
        }
        if keys.len() > MAX_KEYS {
            return Err(PlanError::TooMany);
        }
        let mut before: Option<&PlannedKey> = None;
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().take(index).any(|other| other.kid == key.kid) {
                return Err(PlanError::Twice(key.kid.clone()));
            }
            if before.is_some_and(|before| before.signs_from_ms > key.signs_from_ms) {
                return Err(PlanError::Order(key.kid.clone()));
            }
            before = Some(key);
        }
        Ok(Self { keys, at_once })
    }

    /// The plan of one key that has always signed.
    #[must_use]
    pub fn single(kid: &str, file: &str) -> Self {
        let key = PlannedKey { kid: kid.to_owned(), file: file.to_owned(), signs_from_ms: 0 };
        Self { keys: vec![key], at_once: false }
    }

    /// Its keys, in the order in which they sign.
    #[must_use]
    pub fn keys(&self) -> &[PlannedKey] {
        &self.keys
    }

    /// Whether keys that are not in it are gone at once.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        self.at_once
    }

    /// The key that signs at `now_ms`: the last that has begun, or the first of all.
    #[must_use]
    pub fn signer(&self, now_ms: i64) -> Option<&PlannedKey> {
        let begun = self.keys.iter().rev().find(|key| key.signs_from_ms <= now_ms);
        begun.or_else(|| self.keys.first())
    }

    /// From when a key is published no more, unix milliseconds; `None` while nothing follows it.
    #[must_use]
    pub fn leaves_ms(&self, kid: &str) -> Option<i64> {
        let mut after = self.keys.iter().skip_while(|key| key.kid != kid).skip(1);
        after.next().map(|next| next.signs_from_ms.saturating_add(RETAIN_MS))
    }

    /// The keys that are published at `now_ms`.
    pub fn published(&self, now_ms: i64) -> impl Iterator<Item = &PlannedKey> {
        self.keys.iter().filter(move |key| {
            let left = self.leaves_ms(&key.kid).is_some_and(|leaves_ms| leaves_ms <= now_ms);
            !left
        })
    }

    /// The plan in which `kid` follows at `signs_from_ms`; keys that are published no more at
    /// `now_ms` are not in it.
    ///
    /// # Errors
    /// [`PlanError::Waiting`], [`PlanError::TooSoon`], and those of [`Plan::new`].
    pub fn rotated(
        &self,
        kid: &str,
        file: &str,
        signs_from_ms: i64,
        now_ms: i64,
    ) -> Result<Self, PlanError> {
        if let Some(last) = self.keys.last().filter(|last| last.signs_from_ms > now_ms) {
            let (kid, signs_from_ms) = (last.kid.clone(), last.signs_from_ms);
            return Err(PlanError::Waiting { kid, signs_from_ms });
        }
        if signs_from_ms < now_ms.saturating_add(LEAD_MIN_MS) {
            return Err(PlanError::TooSoon);
        }
        let mut keys: Vec<PlannedKey> = self.published(now_ms).cloned().collect();
        keys.push(PlannedKey { kid: kid.to_owned(), file: file.to_owned(), signs_from_ms });
        Self::new(keys, false)
    }

    /// The plan of `kid` alone, at once: what other keys signed holds no more. For a key that was
    /// stolen.
    #[must_use]
    pub fn replaced(kid: &str, file: &str, now_ms: i64) -> Self {
        let key = PlannedKey { kid: kid.to_owned(), file: file.to_owned(), signs_from_ms: now_ms };
        Self { keys: vec![key], at_once: true }
    }

    /// The plan of an enforcement point that followed this one when it read `read` at `now_ms`. A
    /// key that it did not know signs only once everyone can have it from here, however late it
    /// was read; and a key that it knows leaves when it would have.
    ///
    /// # Errors
    /// [`PlanError::NoSuccessor`], and those of [`Plan::new`].
    pub fn adopting(&self, read: &Self, now_ms: i64) -> Result<Self, PlanError> {
        if read.at_once {
            return Ok(read.clone());
        }
        let mut keys: Vec<PlannedKey> = self.published(now_ms).cloned().collect();
        let mut earliest_ms = now_ms.saturating_add(i64::from(JWKS_MAX_AGE_S) * 1_000);
        for key in read.published(now_ms) {
            if self.keys.iter().any(|known| known.kid == key.kid) {
                continue;
            }
            let last_ms = keys.last().map_or(i64::MIN, |last| last.signs_from_ms);
            earliest_ms = earliest_ms.max(last_ms);
            let signs_from_ms = key.signs_from_ms.max(earliest_ms);
            keys.push(PlannedKey { signs_from_ms, ..key.clone() });
        }
        let last = |keys: &[PlannedKey]| keys.last().map(|key| key.kid.clone());
        if last(&keys) != last(&read.keys) {
            return Err(PlanError::NoSuccessor(last(&keys).unwrap_or_default()));
        }
        Self::new(keys, false)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
