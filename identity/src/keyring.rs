//! The keys of one issuer as they are now: fixed, or replaced while requests run.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::error::{AuthError, shown};
use crate::jwks::Jwks;

/// A key set and until when it may be believed.
#[derive(Debug)]
struct Held {
    jwks: Arc<Jwks>,
    /// Unix milliseconds; `None` for keys of a file, which hold until it changes.
    until_ms: Option<i64>,
}

/// The keys of one issuer. Cloning shares them, so that whoever replaces them does it for all.
#[derive(Clone, Default)]
pub struct KeyRing {
    held: Arc<ArcSwapOption<Held>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("held", &self.held.load().is_some()).finish()
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

    /// Replaces the keys; `until_ms` (unix milliseconds) bounds how long these are believed.
    pub fn replace(&self, jwks: Arc<Jwks>, until_ms: Option<i64>) {
        self.held.store(Some(Arc::new(Held { jwks, until_ms })));
    }

    /// The keys at `now_ms`.
    ///
    /// # Errors
    /// [`AuthError::IssuerUnavailable`] where there are none, or they are past their bound.
    pub fn at(&self, now_ms: i64, iss: &str) -> Result<Arc<Jwks>, AuthError> {
        let held = self.held.load();
        let held = held.as_ref().filter(|held| held.until_ms.is_none_or(|end| now_ms < end));
        let unavailable = || AuthError::IssuerUnavailable { iss: shown(iss) };
        held.map(|held| Arc::clone(&held.jwks)).ok_or_else(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Jwks {
        let text = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
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
}
