//! Nonces that the server hands out and does not remember: a code over the time that they count.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long one nonce is handed out, milliseconds. It is accepted for one such time more.
pub const NONCE_SLOT_MS: i64 = 60_000;
/// What the codes are for, so that the key's codes mean nothing else.
const DOMAIN: &[u8] = b"lictor/dpop-nonce/1";

/// The key of the codes. Cloning shares it; drawn anew by every process that is given none.
#[derive(Clone)]
pub struct NonceKey(Arc<hmac::Key>);

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(<32 bytes>)")
    }
}

impl NonceKey {
    /// The key of these random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The nonce of `now_ms` (unix milliseconds).
    #[must_use]
    pub fn nonce(&self, now_ms: i64) -> String {
        self.of_slot(now_ms.div_euclid(NONCE_SLOT_MS))
    }

    /// Whether `nonce` was handed out at `now_ms`, or in the time just before.
    pub(super) fn accepts(&self, nonce: &str, now_ms: i64) -> bool {
        let slot = now_ms.div_euclid(NONCE_SLOT_MS);
        let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else {
            return false;
        };
        [slot, slot.saturating_sub(1)]
            .into_iter()
            .any(|slot| hmac::verify(&self.0, &message(slot), &tag).is_ok())
    }

    fn of_slot(&self, slot: i64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &message(slot)))
    }
}

fn message(slot: i64) -> Vec<u8> {
    [DOMAIN, &slot.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_in_its_time_and_the_next() {
        let key = NonceKey::new(&[7; 32]);
        let nonce = key.nonce(NONCE_SLOT_MS);
        assert_eq!(nonce, key.nonce(2 * NONCE_SLOT_MS - 1));
        for (now_ms, counts) in [
            (NONCE_SLOT_MS - 1, false),
            (NONCE_SLOT_MS, true),
            (3 * NONCE_SLOT_MS - 1, true),
            (3 * NONCE_SLOT_MS, false),
        ] {
            assert_eq!(key.accepts(&nonce, now_ms), counts, "{now_ms}");
        }
        assert!(!NonceKey::new(&[8; 32]).accepts(&nonce, NONCE_SLOT_MS));
        for bad in ["", "x", &format!("{nonce}="), &format!("{nonce}AA")] {
            assert!(!key.accepts(bad, NONCE_SLOT_MS), "{bad}");
        }
        assert_eq!(format!("{key:?}"), "NonceKey(<32 bytes>)");
    }

    #[test]
    fn times_at_the_ends_of_the_clock_do_not_overflow() {
        let key = NonceKey::new(&[7; 32]);
        for now_ms in [i64::MIN, -1, 0, i64::MAX] {
            assert!(key.accepts(&key.nonce(now_ms), now_ms));
        }
    }
}
