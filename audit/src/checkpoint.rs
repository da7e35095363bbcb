//! Checkpoints: signed tree heads in the C2SP tlog-checkpoint format, and the file that holds them.
//!
//! ```text
//! <deployment>/audit/<writer>/<epoch>
//! <size>
//! <base64 root>
//! ts <unix ms>
//! head <hex leaf of the last record>
//!
//! — <origin> <base64(key id || signature)>
//! ```
//!
//! In the `.checkpoints` file every note is followed by one more empty line. Neither half of a
//! checkpoint holds an empty line, so the file has one reading only.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::chain::{Hash, parse_hash};
use crate::note::{self, NoteError};

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: `<deployment>/audit/<writer>/<epoch>`.
    pub origin: String,
    /// Number of records covered.
    pub size: u64,
    /// RFC 6962 root over their leaves.
    pub root: Hash,
    /// When it was signed, in unix milliseconds.
    pub ts_ms: i64,
    /// Leaf of the last record covered.
    pub head: Hash,
}

/// The origin line, which is the signer's name too.
#[must_use]
pub fn origin(deployment: &str, writer: &str, epoch: &str) -> String {
    format!("{deployment}/audit/{writer}/{epoch}")
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\nts {}\nhead {}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root),
            self.ts_ms,
            hex::encode(self.head)
        )
    }

    /// The signed note.
    ///
    /// # Errors
    /// [`NoteError::Unfit`] if the origin cannot be a signer's name.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        note::sign(&self.text(), &self.origin, key)
    }

    /// Reads the text of a checkpoint; only the exact form that [`Self::text`] writes is accepted.
    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let checkpoint = Self {
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: STANDARD.decode(lines.next()?).ok()?.try_into().ok()?,
            ts_ms: lines.next()?.strip_prefix("ts ")?.parse().ok()?,
            head: parse_hash(lines.next()?.strip_prefix("head ")?)?,
        };
        (checkpoint.text() == text).then_some(checkpoint)
    }

    /// Reads a signed checkpoint without checking its signature.
    ///
    /// # Errors
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let parsed = note::parse(note)?;
        Self::from_text(parsed.text).ok_or(NoteError::Malformed("the text is not a checkpoint"))
    }

    /// Reads a signed checkpoint and checks that one of `keys` signed it as its origin.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn verify(note: &str, keys: &[VerifyingKey]) -> Result<(Self, VerifyingKey), NoteError> {
        let checkpoint = Self::parse(note)?;
        let key = note::parse(note)?.verify(&checkpoint.origin, keys)?;
        Ok((checkpoint, key))
    }
}

/// A note in a `.checkpoints` file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredNote<'a> {
    pub(crate) note: &'a str,
    /// Bytes before it.
    pub(crate) offset: usize,
    /// Its first line, counted from one.
    pub(crate) line: u64,
}

/// What a `.checkpoints` file holds.
#[derive(Debug)]
pub(crate) struct StoredNotes<'a> {
    pub(crate) notes: Vec<StoredNote<'a>>,
    /// Where whole notes end.
    pub(crate) good_bytes: usize,
    /// The first line behind them, counted from one.
    pub(crate) next_line: u64,
    /// Whether bytes follow that are not a whole note.
    pub(crate) torn: bool,
}

/// Splits a `.checkpoints` file into its notes.
pub(crate) fn split_file(bytes: &[u8]) -> StoredNotes<'_> {
    let mut found = StoredNotes { notes: Vec::new(), good_bytes: 0, next_line: 1, torn: false };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // What is not text ends the part that can be read.
        Err(error) => {
            found.torn = true;
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(good).unwrap_or_default()
        }
    };
    let mut rest = text;
    while let Some((note, tail)) = split_note(rest) {
        found.notes.push(StoredNote { note, offset: found.good_bytes, line: found.next_line });
        found.good_bytes += note.len() + 1;
        found.next_line += note.matches('\n').count() as u64 + 1;
        rest = tail;
    }
    found.torn |= !rest.is_empty();
    found
}

/// The first note and what follows its closing empty line.
fn split_note(text: &str) -> Option<(&str, &str)> {
    let body = text.find("\n\n")? + 2;
    let signatures = text.get(body..)?.find("\n\n")? + 1;
    let (note, rest) = text.split_at_checked(body + signatures)?;
    Some((note, rest.strip_prefix('\n')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: u64) -> Checkpoint {
        Checkpoint {
            origin: origin("acme", "pdp", "00"),
            size,
            root: [1; 32],
            ts_ms: 1_700_000_000_000,
            head: [2; 32],
        }
    }

    #[test]
    fn a_checkpoint_is_signed_and_read_back() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let note = sample(7).sign(&key).unwrap();
        assert!(note.starts_with("acme/audit/pdp/00\n7\n"));
        let (read, by) = Checkpoint::verify(&note, &[key.verifying_key()]).unwrap();
        assert_eq!(read, sample(7));
        assert_eq!(by, key.verifying_key());
        assert!(
            Checkpoint::verify(&note.replace("\n7\n", "\n8\n"), &[key.verifying_key()]).is_err()
        );
    }

    #[test]
    fn only_the_canonical_text_is_read() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let text = sample(7).text();
        for odd in [
            text.replace("\n7\n", "\n07\n"),
            text.replace("\n7\n", "\n+7\n"),
            format!("{text}extra\n"),
            text.replace("head 02", "head 0A"),
        ] {
            let note = note::sign(&odd, "acme/audit/pdp/00", &key).unwrap();
            assert!(Checkpoint::parse(&note).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_file_is_split_and_a_cut_note_is_left_over() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let notes: Vec<_> = (1..4).map(|n| sample(n).sign(&key).unwrap()).collect();
        let file: String = notes.iter().map(|n| format!("{n}\n")).collect();
        let split = split_file(file.as_bytes());
        assert_eq!(split.notes.iter().map(|n| n.note).collect::<Vec<_>>(), notes);
        assert!(!split.torn);
        assert_eq!(split.good_bytes, file.len());
        assert_eq!(split.notes[1].line, 9);
        let start_of_last = split.notes[2].offset;
        for cut in start_of_last + 1..file.len() {
            let split = split_file(&file.as_bytes()[..cut]);
            assert!(
                split.torn && split.notes.len() == 2 && split.good_bytes == start_of_last,
                "{cut}"
            );
        }
    }
}
