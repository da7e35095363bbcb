//! C2SP signed notes with Ed25519 keys: a text, a blank line, and lines
//! `— name base64(key id || signature)`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// The algorithm byte of Ed25519 in a key id.
const ALGORITHM_ED25519: u8 = 1;
/// Most signature lines that a note may carry.
pub const MAX_NOTE_SIGNATURES: usize = 16;

/// Why a note was not made or not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// The text or the name cannot be carried by a note.
    #[error("a note cannot carry this: {0}")]
    Unfit(&'static str),
    /// The bytes are not a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// No signature of this name by any key given.
    #[error("no signature by `{name}` with a key that was given")]
    NoSignature {
        /// The name that was looked for.
        name: String,
    },
    /// A signature by a given key is wrong: the text was changed.
    #[error("the signature by `{name}` does not fit the text")]
    BadSignature {
        /// The name of the signer.
        name: String,
    },
}

/// A signed note taken apart, nothing believed yet.
#[derive(Debug)]
pub struct Note<'a> {
    /// The signed text, with its last newline.
    pub text: &'a str,
    signatures: Vec<(&'a str, [u8; 4], Signature)>,
}

/// The key id: the first four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ALGORITHM_ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    let mut id = [0; 4];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    id
}

fn fit_text(text: &str) -> Result<(), &'static str> {
    if !text.ends_with('\n') {
        return Err("the text does not end in a newline");
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("the text has control characters");
    }
    Ok(())
}

fn fit_name(name: &str) -> Result<(), &'static str> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.chars().any(odd) {
        return Err("the signer's name is empty or has a space or a plus sign");
    }
    Ok(())
}

/// Signs `text` as `name`.
///
/// # Errors
/// [`NoteError::Unfit`] if the text does not end in a newline or has other control characters, or
/// the name has spaces or `+`.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<String, NoteError> {
    fit_text(text).map_err(NoteError::Unfit)?;
    fit_name(name).map_err(NoteError::Unfit)?;
    let mut blob = key_id(name, &key.verifying_key()).to_vec();
    blob.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
    Ok(format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(blob)))
}

/// Takes a note apart without checking signatures.
///
/// # Errors
/// [`NoteError::Malformed`].
pub fn parse(note: &str) -> Result<Note<'_>, NoteError> {
    let malformed = NoteError::Malformed;
    let (body, lines) = note
        .rsplit_once("\n\n")
        .ok_or(malformed("there is no blank line before the signatures"))?;
    let text = note.get(..=body.len()).ok_or(malformed("there is no text"))?;
    fit_text(text).map_err(malformed)?;
    let lines = lines.strip_suffix('\n').ok_or(malformed("the last signature line is cut"))?;
    let signatures: Vec<_> =
        lines.split('\n').map(parse_signature).collect::<Result<_, _>>().map_err(malformed)?;
    if signatures.len() > MAX_NOTE_SIGNATURES {
        return Err(malformed("too many signature lines"));
    }
    Ok(Note { text, signatures })
}

fn parse_signature(line: &str) -> Result<(&str, [u8; 4], Signature), &'static str> {
    const ODD: &str = "a signature line is not `\u{2014} name base64`";
    let rest = line.strip_prefix("\u{2014} ").ok_or(ODD)?;
    let (name, blob) = rest.split_once(' ').ok_or(ODD)?;
    fit_name(name)?;
    let blob = STANDARD.decode(blob).map_err(|_| ODD)?;
    let (id, signature) = blob.split_first_chunk::<4>().ok_or(ODD)?;
    let signature = Signature::from_slice(signature).map_err(|_| ODD)?;
    Ok((name, *id, signature))
}

impl Note<'_> {
    /// The names on the signature lines, none of them checked.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|(name, ..)| *name)
    }

    /// Checks that one of `keys` signed the text as `name`, strictly, and says which.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] as soon as a signature by a given key is wrong,
    /// [`NoteError::NoSignature`] if there is none.
    pub fn verify(&self, name: &str, keys: &[VerifyingKey]) -> Result<VerifyingKey, NoteError> {
        for (_, id, signature) in self.signatures.iter().filter(|(by, ..)| *by == name) {
            let Some(key) = keys.iter().find(|key| key_id(name, key) == *id) else {
                continue;
            };
            return match key.verify_strict(self.text.as_bytes(), signature) {
                Ok(()) => Ok(*key),
                Err(_) => Err(NoteError::BadSignature { name: name.to_owned() }),
            };
        }
        Err(NoteError::NoSignature { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    #[test]
    fn a_signed_note_verifies_under_its_own_name_and_key_only() {
        let note = sign("one\n\ntwo\n", "example.com/log", &key(1)).unwrap();
        let parsed = parse(&note).unwrap();
        assert_eq!(parsed.text, "one\n\ntwo\n");
        assert_eq!(parsed.names().collect::<Vec<_>>(), ["example.com/log"]);
        let good = key(1).verifying_key();
        let both = [key(2).verifying_key(), good];
        assert_eq!(parsed.verify("example.com/log", &both).unwrap(), good);
        assert!(matches!(parsed.verify("other", &both), Err(NoteError::NoSignature { .. })));
        let wrong = [key(2).verifying_key()];
        assert!(matches!(
            parsed.verify("example.com/log", &wrong),
            Err(NoteError::NoSignature { .. })
        ));
    }

    #[test]
    fn no_single_byte_of_a_note_can_be_changed() {
        let note = sign("size 7\n", "log", &key(1)).unwrap();
        let keys = [key(1).verifying_key()];
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let believed = String::from_utf8(bytes)
                    .is_ok_and(|text| parse(&text).is_ok_and(|n| n.verify("log", &keys).is_ok()));
                assert!(!believed, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn what_a_note_cannot_carry_is_refused() {
        for (text, name) in
            [("a", "n"), ("a\r\n", "n"), ("a\n", ""), ("a\n", "x y"), ("a\n", "x+y")]
        {
            assert!(
                matches!(sign(text, name, &key(1)), Err(NoteError::Unfit(_))),
                "{text:?} {name:?}"
            );
        }
        for note in ["", "a\n", "a\n\n", "a\n\n\u{2014} n\n", "a\n\n\u{2014} n AAAA\n", "a\n\nx\n"]
        {
            assert!(matches!(parse(note), Err(NoteError::Malformed(_))), "{note:?}");
        }
    }

    #[test]
    fn the_number_of_signatures_is_bounded() {
        let note = sign("a\n", "n", &key(1)).unwrap();
        let line = note.rsplit_once("\n\n").unwrap().1.to_owned();
        let with = |n: usize| format!("a\n\n{}", line.repeat(n));
        assert!(parse(&with(MAX_NOTE_SIGNATURES)).is_ok());
        assert!(parse(&with(MAX_NOTE_SIGNATURES + 1)).is_err());
    }
}
