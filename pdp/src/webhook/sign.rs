//! Signatures of [Standard Webhooks](https://www.standardwebhooks.com), version `v1`, which
//! receivers verify with that project's libraries: HMAC-SHA-256 (RFC 2104) over
//! `<id>.<unix seconds>.<body>`. The receiver computes the same, compares in constant time,
//! refuses what is too old and skips an id that it has had.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lictor_identity::files::read_private;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::OpenError;

/// Name of the header with the delivery's id, the same for every try.
pub const ID: &str = "webhook-id";
/// Name of the header with the time of this try, Unix seconds.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Name of the header with the signature.
pub const SIGNATURE: &str = "webhook-signature";
/// What a secret begins with; the rest is its key in base64.
pub const SECRET_PREFIX: &str = "whsec_";
/// Shortest key, bytes.
pub const KEY_MIN_BYTES: usize = 24;
/// Longest key, bytes.
pub const KEY_MAX_BYTES: usize = 64;

/// What signs the deliveries of one receiver.
pub struct Key(Zeroizing<Vec<u8>>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(<{} bytes>)", self.0.len())
    }
}

impl Key {
    /// The key in a file that only its owner may read.
    ///
    /// # Errors
    /// [`OpenError`]: not readable, readable by others, or no secret of [`SECRET_PREFIX`].
    pub fn read(path: &Path) -> Result<Self, OpenError> {
        let text = read_private(path)?;
        Self::parse(text.trim()).ok_or_else(|| OpenError::NotASecret(path.to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(SECRET_PREFIX)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let fits = (KEY_MIN_BYTES..=KEY_MAX_BYTES).contains(&key.len());
        fits.then(|| Self(key))
    }

    /// The value of [`SIGNATURE`] for the delivery `id` of `body`, sent at `seconds`.
    #[must_use]
    pub fn signature(&self, id: &str, seconds: i64, body: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            // Keys of every length are taken. Without one the receiver refuses.
            return String::new();
        };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the reference libraries.
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = |id: &str, seconds, body: &str| key.signature(id, seconds, body);
        let body = r#"{"test": 2432232314}"#;
        let right = signed(id, 1_614_265_330, body);
        assert_eq!(right, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_ne!(signed("msg_other", 1_614_265_330, body), right);
        assert_ne!(signed(id, 1_614_265_331, body), right);
        assert_ne!(signed(id, 1_614_265_330, "{}"), right);
        assert!(!format!("{key:?}").contains("MfKQ"));
    }

    #[test]
    fn a_secret_is_private_and_of_the_right_length() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Key::read(&path)
        };
        let secret = |bytes: usize| format!("whsec_{}\n", STANDARD.encode(vec![7; bytes]));
        for (bytes, good) in [
            (KEY_MIN_BYTES - 1, false),
            (KEY_MIN_BYTES, true),
            (KEY_MAX_BYTES, true),
            (KEY_MAX_BYTES + 1, false),
        ] {
            assert_eq!(write(&secret(bytes), 0o600).is_ok(), good, "{bytes}");
        }
        for wrong in ["", "whsec_", "whsec_?", &"x".repeat(40)] {
            let refused = write(wrong, 0o600).unwrap_err();
            assert!(matches!(refused, OpenError::NotASecret(_)), "{wrong}: {refused}");
        }
        let open = write(&secret(32), 0o644).unwrap_err();
        assert!(matches!(open, OpenError::Secret(_)));
    }
}
