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

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20::cipher::consts::U10;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::chain::{HASH_HEX_BYTES, Hash, hex_bytes};
use crate::disk;
use crate::entropy::Entropy;
use crate::lines::Lines;

/// Length of the blinding value `r`, in bytes.
const BLIND_BYTES: usize = 16;
/// Length of a nonce, in bytes; long enough to be drawn at random for every field.
const NONCE_BYTES: usize = 24;
/// Length of what authenticates a sealed value, in bytes.
const TAG_BYTES: usize = 16;
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

/// Seals the values of one record, one after another, in one buffer.
pub(crate) struct Sealing<'a> {
    key: &'a SideKey,
    entropy: &'a Entropy,
    /// What is sealed; a value stands in it only until it is encrypted where it stands.
    buffer: Vec<u8>,
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

    /// Begins to seal the values of a record.
    pub(crate) fn sealing<'a>(&'a self, entropy: &'a Entropy) -> Sealing<'a> {
        Sealing { key: self, entropy, buffer: Vec::new() }
    }

    /// XChaCha20-Poly1305 where `plain` stands: ChaCha20-Poly1305 with the key that HChaCha20 makes
    /// of ours and the first part of the nonce.
    fn encrypt(&self, nonce: &[u8; NONCE_BYTES], bound: &[u8], plain: &mut [u8]) -> Option<Tag> {
        let (first, last) = nonce.split_first_chunk::<16>()?;
        let key = chacha20::hchacha::<U10>(self.bytes.as_slice().into(), first.into());
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(key.into());
        let mut short = [0; 12];
        short.get_mut(4..)?.copy_from_slice(last);
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).ok()?);
        let nonce = Nonce::assume_unique_for_key(short);
        key.seal_in_place_separate_tag(nonce, Aad::from(bound), plain).ok()
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

impl Sealing<'_> {
    /// Commits to a value and seals it: the text of the commitment goes to the end of `line`, that
    /// of what is sealed to the end of `side`, neither in quotes. `None` if there are no random
    /// bytes to do it with.
    pub(crate) fn seal(
        &mut self,
        pointer: &str,
        value: &str,
        line: &mut Vec<u8>,
        side: &mut Vec<u8>,
    ) -> Option<()> {
        let mut random = [0u8; BLIND_BYTES + NONCE_BYTES];
        if !(self.entropy)(&mut random) {
            return None;
        }
        let (blind, nonce) = random.split_first_chunk::<BLIND_BYTES>()?;
        let nonce: &[u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let commit = commitment(blind, pointer, value.as_bytes())?;
        self.buffer.clear();
        self.buffer.reserve(NONCE_BYTES + BLIND_BYTES + value.len() + TAG_BYTES);
        self.buffer.extend_from_slice(nonce);
        self.buffer.extend_from_slice(blind);
        self.buffer.extend_from_slice(value.as_bytes());
        let plain = self.buffer.get_mut(NONCE_BYTES..)?;
        let bound = bound_to(pointer, &commit);
        let tag = self.key.encrypt(nonce, &bound, plain)?;
        self.buffer.extend_from_slice(tag.as_ref());
        line.extend_from_slice(commit.as_bytes());
        let start = side.len();
        side.resize(start + base64::encoded_len(self.buffer.len(), true)?, 0);
        STANDARD.encode_slice(&self.buffer, side.get_mut(start..)?).ok()?;
        Some(())
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
    let mut commit = String::with_capacity(COMMIT_PREFIX.len() + HASH_HEX_BYTES);
    commit.push_str(COMMIT_PREFIX);
    let digest: Hash = mac.finalize().into_bytes().into();
    commit.push_str(std::str::from_utf8(&hex_bytes(&digest)).ok()?);
    Some(commit)
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
    use chacha20poly1305::XNonce;

    use super::*;
    use crate::entropy::system;

    struct Sealed {
        commit: String,
        sealed: String,
    }

    fn seal(key: &SideKey, pointer: &str, value: &str) -> Option<Sealed> {
        let (mut line, mut side) = (Vec::new(), Vec::new());
        key.sealing(&system()).seal(pointer, value, &mut line, &mut side)?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Some(Sealed { commit: text(line), sealed: text(side) })
    }

    /// Sealing as the format says it, step by step.
    fn plainly(key: &SideKey, random: &[u8; 40], pointer: &str, value: &str) -> (String, String) {
        let (blind, nonce) = random.split_first_chunk::<16>().unwrap();
        let commit = commitment(blind, pointer, value.as_bytes()).unwrap();
        let (msg, aad) = ([blind, value.as_bytes()].concat(), bound_to(pointer, &commit));
        let payload = Payload { msg: &msg, aad: &aad };
        let sealed = key.cipher().encrypt(XNonce::from_slice(nonce), payload).unwrap();
        (commit, STANDARD.encode([nonce, sealed.as_slice()].concat()))
    }

    #[test]
    fn sealing_one_after_another_is_what_sealing_each_alone_is() {
        let key = SideKey::from_bytes([3; 32]);
        let random: [u8; 40] = std::array::from_fn(|n| n as u8);
        let entropy: Entropy = std::sync::Arc::new(move |out| {
            out.copy_from_slice(&random);
            true
        });
        let mut sealing = key.sealing(&entropy);
        for length in [0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 1_000, 5, 100_000] {
            let value = "é".repeat(length);
            let (mut line, mut side) = (b"before".to_vec(), b"before".to_vec());
            sealing.seal("/a~1b", &value, &mut line, &mut side).unwrap();
            let (commit, sealed) = plainly(&key, &random, "/a~1b", &value);
            assert_eq!(String::from_utf8(line).unwrap(), format!("before{commit}"));
            assert_eq!(String::from_utf8(side).unwrap(), format!("before{sealed}"));
        }
    }

    #[test]
    fn a_value_opens_only_where_it_was_committed_to() {
        let key = SideKey::from_bytes([1; 32]);
        let field = seal(&key, "/a", "\"x\"").unwrap();
        assert_eq!(key.open("/a", &field.sealed, &field.commit).unwrap(), "\"x\"");
        assert!(key.open("/b", &field.sealed, &field.commit).is_none());
        let other = seal(&key, "/a", "\"x\"").unwrap();
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
        let key = SideKey::from_bytes([1; 32]);
        assert!(key.sealing(&none).seal("/a", "1", &mut Vec::new(), &mut Vec::new()).is_none());
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
