//! Sensitive values: the line commits to them, the side store keeps them sealed, and erasing a
//! side line, or the key of all of them, leaves a chain that still verifies.
//!
//! Commitment: `HMAC-SHA256(r, pointer || 0x00 || value)` with 128 fresh random bits `r` per field
//! and record; once `r` is gone, nothing can be guessed from it. A side line is
//! `{"epoch":E,"seq":N,"key":ID,"fields":{pointer: base64(nonce || sealed(r || value))}}`, sealed
//! with XChaCha20-Poly1305, bound to pointer and commitment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::disk;
use crate::entropy::Entropy;
use crate::lines::Lines;

/// Length of the blinding value `r`, in bytes.
const BLIND_BYTES: usize = 16;
/// Length of a nonce, in bytes; long enough to be drawn at random for every field.
const NONCE_BYTES: usize = 24;
/// What a commitment begins with.
const COMMIT_PREFIX: &str = "hmac-sha256:";

/// The key that seals the side stores of one writer.
#[derive(Clone)]
pub struct SideKey {
    bytes: Zeroizing<[u8; 32]>,
    id: String,
}

impl std::fmt::Debug for SideKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SideKey({})", self.id)
    }
}

/// A value sealed and committed to.
#[derive(Debug)]
pub(crate) struct SealedField<'a> {
    pub(crate) pointer: &'a str,
    pub(crate) commit: String,
    pub(crate) sealed: String,
}

/// A line of a side store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SideLine {
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) key: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl SideKey {
    /// A key from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let digest =
            Sha256::new().chain_update("lictor/side-key/1\0").chain_update(bytes).finalize();
        let id = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Self { bytes: Zeroizing::new(bytes), id }
    }

    /// The name of the key in side lines; says nothing about the key itself.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads a key file; `None` if there is none, as after the key was erased.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold 64 hexadecimal digits.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let Some(text) = disk::read_if_there(path)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim_ascii(), &mut bytes).map_err(|_| {
            let what = format!("`{}` does not hold a side key", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        Ok(Some(Self::from_bytes(bytes)))
    }

    /// Reads a key file, or makes one.
    pub(crate) fn load_or_create(path: &Path, entropy: &Entropy) -> io::Result<Self> {
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let mut bytes = Zeroizing::new([0; 32]);
        if !entropy(bytes.as_mut_slice()) {
            return Err(io::Error::other("no random bytes for the side key"));
        }
        let text = Zeroizing::new(format!("{}\n", hex::encode(bytes.as_slice())));
        disk::replace(path, text.as_bytes())?;
        Ok(Self::from_bytes(*bytes))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes.as_slice().into())
    }

    /// Commits to a value and seals it; `None` if there are no random bytes to do it with.
    pub(crate) fn seal<'a>(
        &self,
        pointer: &'a str,
        value: &str,
        entropy: &Entropy,
    ) -> Option<SealedField<'a>> {
        let mut random = [0u8; BLIND_BYTES + NONCE_BYTES];
        if !entropy(&mut random) {
            return None;
        }
        let (blind, nonce) = random.split_first_chunk::<BLIND_BYTES>()?;
        let nonce: &[u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let commit = commitment(blind, pointer, value.as_bytes())?;
        let mut plain = Zeroizing::new(blind.to_vec());
        plain.extend_from_slice(value.as_bytes());
        let bound = bound_to(pointer, &commit);
        let payload = Payload { msg: &plain, aad: &bound };
        let mut sealed = nonce.to_vec();
        sealed.extend(self.cipher().encrypt(XNonce::from_slice(nonce), payload).ok()?);
        Some(SealedField { pointer, commit, sealed: STANDARD.encode(sealed) })
    }

    /// Opens a sealed value and checks it against the commitment in the line; `None` if it is not
    /// the value that was committed to.
    pub(crate) fn open(&self, pointer: &str, sealed: &str, commit: &str) -> Option<String> {
        let sealed = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let bound = bound_to(pointer, commit);
        let payload = Payload { msg: sealed, aad: &bound };
        let plain = self.cipher().decrypt(nonce.into(), payload).ok()?;
        let plain = Zeroizing::new(plain);
        let (blind, value) = plain.split_first_chunk::<BLIND_BYTES>()?;
        let fits = commitment(blind, pointer, value)? == commit;
        fits.then(|| String::from_utf8(value.to_vec()).ok())?
    }
}

fn bound_to(pointer: &str, commit: &str) -> Vec<u8> {
    [pointer.as_bytes(), &[0], commit.as_bytes()].concat()
}

fn commitment(blind: &[u8; BLIND_BYTES], pointer: &str, value: &[u8]) -> Option<String> {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(blind).ok()?;
    mac.update(pointer.as_bytes());
    mac.update(&[0]);
    mac.update(value);
    Some(format!("{COMMIT_PREFIX}{}", hex::encode(mac.finalize().into_bytes())))
}

/// Appends the side line of a record; `rest` begins with `"key"`.
pub(crate) fn write_line(out: &mut Vec<u8>, epoch: &str, seq: u64, rest: &[u8]) {
    out.extend_from_slice(format!("{{\"epoch\":\"{epoch}\",\"seq\":{seq},").as_bytes());
    out.extend_from_slice(rest);
    out.push(b'\n');
}

/// Reads a side line.
pub(crate) fn read_line(line: &[u8]) -> Option<SideLine> {
    serde_json::from_slice(line).ok()
}

/// Erases values from a side store that no process writes to: those for which `gone(seq, pointer)`
/// holds. Returns how many there were. The line that commits to them stays as it is.
///
/// # Errors
/// If the file cannot be read or replaced, or a line of it is damaged.
pub fn erase(path: &Path, mut gone: impl FnMut(u64, &str) -> bool) -> io::Result<usize> {
    let Some(bytes) = disk::read_if_there(path)? else {
        return Ok(0);
    };
    let mut kept = Vec::with_capacity(bytes.len());
    let mut erased = 0;
    // A line cut by a crash belongs to a record that was never acknowledged: it goes too.
    for line in Lines::new(&bytes).filter(|line| line.complete) {
        let damaged = || {
            let what = format!("`{}` is damaged at byte {}", path.display(), line.offset);
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let mut side = read_line(line.bytes).ok_or_else(damaged)?;
        let before = side.fields.len();
        side.fields.retain(|pointer, _| !gone(side.seq, pointer));
        erased += before - side.fields.len();
        if !side.fields.is_empty() {
            serde_json::to_writer(&mut kept, &side)?;
            kept.push(b'\n');
        }
    }
    disk::replace(path, &kept)?;
    Ok(erased)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::system;

    #[test]
    fn a_value_opens_only_where_it_was_committed_to() {
        let key = SideKey::from_bytes([1; 32]);
        let field = key.seal("/a", "\"x\"", &system()).unwrap();
        assert_eq!(key.open("/a", &field.sealed, &field.commit).unwrap(), "\"x\"");
        assert!(key.open("/b", &field.sealed, &field.commit).is_none());
        let other = key.seal("/a", "\"x\"", &system()).unwrap();
        assert_ne!(field.commit, other.commit, "fresh blinding for every field");
        assert!(key.open("/a", &field.sealed, &other.commit).is_none());
        assert!(SideKey::from_bytes([2; 32]).open("/a", &field.sealed, &field.commit).is_none());
    }

    #[test]
    fn commitment_is_the_documented_hmac() {
        assert_eq!(
            commitment(&[0; 16], "/a", b"1").unwrap(),
            "hmac-sha256:a4c1f71c5a09caffa6da62a51abe7c940dd0879793a0264da9c5679b1bd72d68"
        );
    }

    #[test]
    fn no_random_bytes_means_no_commitment() {
        let none: Entropy = std::sync::Arc::new(|_| false);
        assert!(SideKey::from_bytes([1; 32]).seal("/a", "1", &none).is_none());
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pdp.side-key");
        assert!(SideKey::load(&path).unwrap().is_none());
        let made = SideKey::load_or_create(&path, &system()).unwrap();
        let again = SideKey::load_or_create(&path, &system()).unwrap();
        assert_eq!(made.id(), again.id());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(SideKey::load(&path).is_err());
    }
}
