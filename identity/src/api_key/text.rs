//! The text of an API key. The fixed beginning and the check digits let secret
//! scanners find a leaked one with hardly a false alarm, and let a mistyped one be
//! told from an unknown one without a look into the store.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// How every API key begins.
pub(crate) const PREFIX: &str = "lictor_";
/// Random bytes of a key.
pub(crate) const SECRET_BYTES: usize = 32;
/// Bytes of the checksum.
const CHECK_BYTES: usize = 4;

/// Whether `text` is meant as an API key.
pub(crate) fn is_meant(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The key made of `random`.
pub(crate) fn make(random: &[u8; SECRET_BYTES]) -> Secret {
    let secret = Zeroizing::new(hex::encode(random));
    let check = checksum(&secret);
    Secret::new(Zeroizing::new([PREFIX, &secret, "_", &check].concat()))
}

/// Whether prefix, digits and checksum are right. Says nothing about who knows it.
pub(crate) fn is_well_formed(text: &str) -> bool {
    let Some((secret, check)) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'))
    else {
        return false;
    };
    let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    secret.len() == 2 * SECRET_BYTES && secret.chars().all(digits) && checksum(secret) == check
}

/// Guards against typing errors only; whoever knows the secret part can make it.
fn checksum(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    let kept: Vec<u8> = digest.iter().take(CHECK_BYTES).copied().collect();
    hex::encode(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_documented_form() {
        let key = make(&[7; SECRET_BYTES]);
        assert_eq!(key.len(), 7 + 64 + 1 + 8);
        assert!(key.starts_with("lictor_0707"));
        assert!(is_well_formed(&key));
    }

    #[test]
    fn any_other_text_is_not_well_formed() {
        let key = make(&[7; SECRET_BYTES]);
        for index in 0..key.len() {
            let mut bytes = key.as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'1' { b'2' } else { b'1' };
            assert!(!is_well_formed(std::str::from_utf8(&bytes).unwrap()), "{index}");
        }
        let upper = key.to_uppercase();
        for text in [
            "",
            "lictor_",
            "lictor__",
            key.strip_suffix(char::is_alphanumeric).unwrap(),
            &[&*key, "0"].concat(),
            &upper,
        ] {
            assert!(!is_well_formed(text), "{text}");
        }
    }
}
