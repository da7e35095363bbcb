//! Whose signatures count, and how many it takes.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;

use super::keys::key_id;

/// A key whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The id by which signatures name the key.
    pub kid: String,
    /// The key. It is Ed25519, and so is every signature that names it.
    pub key: VerifyingKey,
    /// If set, the only scope that this key may sign for.
    pub scope: Option<String>,
}

impl TrustedKey {
    /// `key` under its own [`key_id`], for every scope.
    pub fn new(key: VerifyingKey) -> Self {
        Self { kid: key_id(&key), key, scope: None }
    }
}

/// Why keys and numbers make no trust policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustPolicyError {
    /// No signature would be required.
    #[error("0 required signatures would accept anything: require at least 1")]
    NoneRequired,
    /// More signatures are required than there are keys.
    #[error("{required} signatures are required of {keys} keys: add keys or require fewer")]
    TooFewKeys {
        /// How many are required.
        required: usize,
        /// How many keys there are.
        keys: usize,
    },
    /// Two keys have one id.
    #[error("key id `{kid}` is given twice: remove one")]
    DuplicateId {
        /// The id.
        kid: String,
    },
    /// One key is given under two ids, so it could count twice.
    #[error("key `{kid}` is the same key as an earlier one: remove one")]
    DuplicateKey {
        /// The later id.
        kid: String,
    },
    /// A key that many signatures fit.
    #[error("key `{kid}` is weak: its order is small, so signatures prove nothing")]
    WeakKey {
        /// Its id.
        kid: String,
    },
}

/// `required` signatures by distinct keys, for one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    keys: Vec<TrustedKey>,
    required: usize,
    scope: String,
}

impl TrustPolicy {
    /// Requires signatures by `required` of `keys` for `scope`.
    ///
    /// # Errors
    /// A policy that nothing or anything could fulfil.
    pub fn new(
        keys: Vec<TrustedKey>,
        required: usize,
        scope: impl Into<String>,
    ) -> Result<Self, TrustPolicyError> {
        if required == 0 {
            return Err(TrustPolicyError::NoneRequired);
        }
        let mut kids = BTreeSet::new();
        let mut bytes = BTreeSet::new();
        for key in &keys {
            let kid = key.kid.clone();
            if key.key.is_weak() {
                return Err(TrustPolicyError::WeakKey { kid });
            }
            if !kids.insert(key.kid.as_str()) {
                return Err(TrustPolicyError::DuplicateId { kid });
            }
            if !bytes.insert(key.key.to_bytes()) {
                return Err(TrustPolicyError::DuplicateKey { kid });
            }
        }
        if required > keys.len() {
            return Err(TrustPolicyError::TooFewKeys { required, keys: keys.len() });
        }
        Ok(Self { keys, required, scope: scope.into() })
    }

    /// The scope that a signature must name.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// How many distinct keys must have signed.
    pub fn required(&self) -> usize {
        self.required
    }

    /// The key named `kid`.
    pub fn key(&self, kid: &str) -> Option<&TrustedKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

/// What a verified bundle rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Signed by enough trusted keys.
    Signed {
        /// The ids of the trusted keys that signed, sorted.
        kids: Vec<String>,
        /// When the required number of keys had signed, in Unix
        /// milliseconds; staleness counts from here.
        issued_at_ms: i64,
        /// When the first of their signatures ends, in Unix milliseconds: from
        /// then on the bundle would be refused.
        expires_at_ms: Option<i64>,
    },
    /// Signatures were not asked for. For authors' commands, and servers
    /// that were told to be insecure.
    Unsigned,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn key(seed: u8) -> TrustedKey {
        TrustedKey::new(SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    #[test]
    fn a_policy_needs_between_one_and_all_keys() {
        assert_eq!(TrustPolicy::new(vec![key(1)], 0, ""), Err(TrustPolicyError::NoneRequired));
        assert!(TrustPolicy::new(vec![key(1), key(2)], 2, "").is_ok());
        assert_eq!(
            TrustPolicy::new(vec![key(1), key(2)], 3, ""),
            Err(TrustPolicyError::TooFewKeys { required: 3, keys: 2 })
        );
    }

    #[test]
    fn one_key_cannot_count_twice() {
        let kid = key(1).kid;
        assert_eq!(
            TrustPolicy::new(vec![key(1), key(1)], 2, ""),
            Err(TrustPolicyError::DuplicateId { kid })
        );
        let renamed = TrustedKey { kid: "other".into(), ..key(1) };
        assert_eq!(
            TrustPolicy::new(vec![key(1), renamed], 2, ""),
            Err(TrustPolicyError::DuplicateKey { kid: "other".into() })
        );
    }

    #[test]
    fn a_weak_key_is_refused() {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        let weak = TrustedKey::new(VerifyingKey::from_bytes(&bytes).unwrap());
        let kid = weak.kid.clone();
        assert_eq!(TrustPolicy::new(vec![weak], 1, ""), Err(TrustPolicyError::WeakKey { kid }));
    }
}
