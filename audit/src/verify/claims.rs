//! What is claimed about a log: by its own checkpoints, by those that others kept, and by the
//! epoch that came after it.

use ed25519_dalek::VerifyingKey;

use super::{Fault, FaultFile, FaultKind};
use crate::chain::Hash;
use crate::checkpoint::{Checkpoint, StoredNote, split_file};
use crate::genesis::{End, Previous};
use crate::note::NoteError;

/// A claim from outside the log.
#[derive(Debug, Clone)]
pub(crate) enum Claim {
    /// A checkpoint of this log that somebody kept.
    Note {
        /// The signed note.
        note: String,
        /// Who kept it.
        holder: String,
    },
    /// The genesis record of the next epoch.
    Link {
        /// What it says.
        previous: Previous,
        /// The next epoch.
        epoch: String,
    },
}

/// Where a tree head comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The log's own checkpoint file.
    Own { line: u64, offset: u64 },
    /// A checkpoint that somebody else kept.
    Kept,
    /// The next epoch.
    Link { exact: bool },
}

/// A tree head that the log must agree with.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) head: Hash,
    pub(super) root: Option<Hash>,
    pub(super) source: Source,
    /// Who says so, in words.
    pub(super) says: String,
}

/// Everything that a log is held against, by size.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    pub(super) heads: Vec<Expected>,
    /// The first thing wrong with the claims themselves.
    pub(super) fault: Option<Fault>,
}

impl Expectations {
    /// Checks signatures and origins of all claims and keeps those that hold.
    pub(super) fn gather(
        checkpoints: &[u8],
        claims: &[Claim],
        origin: &str,
        key: &VerifyingKey,
    ) -> Self {
        let mut all = Self::default();
        all.add_own(checkpoints, origin, key);
        for claim in claims {
            match claim {
                Claim::Note { note, holder } => all.add_kept(note, holder, origin, key),
                Claim::Link { previous, epoch } => all.add_link(previous, epoch),
            }
        }
        all.heads.sort_by_key(|head| head.size);
        all
    }

    /// The most records that anybody signed for or linked to.
    pub(super) fn covered(&self) -> u64 {
        self.heads.last().map_or(0, |head| head.size)
    }

    fn add_own(&mut self, file: &[u8], origin: &str, key: &VerifyingKey) {
        let stored = split_file(file);
        let mut last = 0;
        for found in &stored.notes {
            match verified(found.note, origin, key) {
                Ok(checkpoint) if checkpoint.size >= last => {
                    last = checkpoint.size;
                    let source = Source::Own { line: found.line, offset: found.offset as u64 };
                    self.add_head(checkpoint, source, "a checkpoint");
                }
                Ok(_) => {
                    self.fail(FaultKind::Checkpoint, found, "it covers less than the one before it")
                }
                Err(error) => {
                    let what = match error {
                        NoteError::Malformed(_) | NoteError::Unfit(_) => FaultKind::Checkpoint,
                        NoteError::NoSignature { .. } | NoteError::BadSignature { .. } => {
                            FaultKind::Signature
                        }
                    };
                    self.fail(what, found, &error.to_string());
                }
            }
        }
        let end = StoredNote { note: "", offset: stored.good_bytes, line: stored.next_line };
        if stored.torn {
            self.fail(FaultKind::TornTail, &end, "the last checkpoint is incomplete");
        } else if stored.notes.is_empty() {
            self.fail(
                FaultKind::Checkpoint,
                &end,
                "there is no checkpoint, and every log is opened with one",
            );
        }
    }

    fn add_kept(&mut self, note: &str, holder: &str, origin: &str, key: &VerifyingKey) {
        match verified(note, origin, key) {
            Ok(checkpoint) => {
                self.add_head(
                    checkpoint,
                    Source::Kept,
                    &format!("the checkpoint kept by {holder}"),
                );
            }
            Err(error) => {
                let detail =
                    format!("the checkpoint kept by {holder} is not one of this log: {error}");
                self.fault.get_or_insert(Fault::log(FaultKind::Signature, 1, 0, detail));
            }
        }
    }

    fn add_link(&mut self, previous: &Previous, epoch: &str) {
        let says = format!("the epoch after it, `{epoch}`,");
        let Some(head) = previous.leaf() else {
            let detail = format!("{says} names `{}`, which is no hash", previous.last_leaf);
            self.fault.get_or_insert(Fault::log(FaultKind::EpochLink, 1, 0, detail));
            return;
        };
        let exact = matches!(previous.end, End::Closed | End::Unclean);
        // A first record that could not be read counts as none; there is no leaf to compare.
        if previous.records > 0 {
            self.heads.push(Expected {
                size: previous.records,
                head,
                root: None,
                source: Source::Link { exact },
                says,
            });
        }
    }

    fn add_head(&mut self, checkpoint: Checkpoint, source: Source, says: &str) {
        self.heads.push(Expected {
            size: checkpoint.size,
            head: checkpoint.head,
            root: Some(checkpoint.root),
            source,
            says: says.to_owned(),
        });
    }

    fn fail(&mut self, what: FaultKind, at: &StoredNote<'_>, detail: &str) {
        self.fault.get_or_insert(Fault {
            what,
            file: FaultFile::Checkpoints,
            line: at.line,
            offset: at.offset as u64,
            detail: detail.to_owned(),
        });
    }
}

fn verified(note: &str, origin: &str, key: &VerifyingKey) -> Result<Checkpoint, NoteError> {
    let (checkpoint, _) = Checkpoint::verify(note, std::slice::from_ref(key))?;
    if checkpoint.origin != origin {
        return Err(NoteError::NoSignature { name: origin.to_owned() });
    }
    Ok(checkpoint)
}
