//! What is stored as JSON: verdicts for whoever repeats a call, and approvals.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_policy_lib::evaluate::Verdict;
use lictor_proto::decision::{Approval, Effect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::commit::reservation;
use crate::state::approval::{ApprovalRecord, Binding, NewApproval};
use crate::state::{Commit, StateError, Stored};

/// Stands in place of who refused an approval that was voided. No name has a control character.
pub(super) const VOIDED: &str = "\u{0}voided";

/// A decided call, without what the script adds.
#[derive(Serialize, Deserialize)]
struct StoredVerdict<'a> {
    decision_id: Cow<'a, str>,
    verdict: Cow<'a, Verdict>,
}

/// What of an approval never changes.
#[derive(Serialize, Deserialize)]
struct StoredApproval<'a> {
    opened: Cow<'a, NewApproval>,
    binding: Cow<'a, Binding>,
}

/// The texts of one commit.
pub(super) struct Parts {
    pub(super) verdict: String,
    pub(super) asks_used: String,
    pub(super) marks: String,
    pub(super) opens: Opens,
}

/// The approval to open; all empty where there is none.
#[derive(Default)]
pub(super) struct Opens {
    pub(super) id: String,
    pub(super) record: String,
    pub(super) asks: String,
    pub(super) parts: String,
    pub(super) public: String,
    pub(super) expires_ms: i64,
}

/// The verdict, with what a repetition is answered beside it.
pub(super) fn verdict(commit: &Commit) -> Result<String, StateError> {
    let decision_id = Cow::from(&*commit.decision_id);
    text(&StoredVerdict { decision_id, verdict: Cow::Borrowed(&*commit.verdict) })
}

impl Parts {
    pub(super) fn of(commit: &Commit) -> Result<Self, StateError> {
        Ok(Self {
            verdict: verdict(commit)?,
            asks_used: text(&commit.verdict.approvals_used)?,
            marks: text(&commit.verdict.marks)?,
            opens: match opens(commit) {
                Some(opens) => Opens::of(opens, &commit.binding)?,
                None => Opens::default(),
            },
        })
    }
}

/// The approval that the commit opens.
pub(super) fn opens(commit: &Commit) -> Option<&NewApproval> {
    commit.opens.as_ref().filter(|_| commit.verdict.effect == Effect::Ask)
}

impl Opens {
    fn of(opens: &NewApproval, binding: &Binding) -> Result<Self, StateError> {
        let stored =
            StoredApproval { opened: Cow::Borrowed(opens), binding: Cow::Borrowed(binding) };
        let record = text(&stored)?;
        let shown = ApprovalRecord {
            opened: opens.clone(),
            binding: binding.clone(),
            opened_ms: 0,
            approved_by: BTreeSet::new(),
            denied_by: None,
            used: false,
            voided: false,
        };
        let asks: Vec<&str> = opens.parts.iter().map(|part| part.ask.as_str()).collect();
        Ok(Self {
            id: opens.id.clone(),
            record,
            asks: text(&asks)?,
            parts: text(&opens.parts)?,
            public: text(&shown.public())?,
            expires_ms: opens.expires_ms,
        })
    }
}

/// A text behind its length, so that what follows it is not taken for a part of it.
pub(super) fn measured(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// Whether the peer gave the call up, so that nothing of it counts.
pub(super) fn is_given_up(kept: &[u8]) -> bool {
    kept.first() == Some(&b'a')
}

/// A decided call as scripts keep it; `calls.lua` says how.
pub(super) struct Kept<'a> {
    pub(super) peer: &'a str,
    digest: &'a str,
    rooms: &'a str,
    approval: &'a str,
    verdict: &'a str,
}

impl<'a> Kept<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self, StateError> {
        Self::split(text).ok_or_else(|| unreadable("call"))
    }

    fn split(text: &'a [u8]) -> Option<Self> {
        let (_, rest) = text.split_first()?;
        let (peer, rest) = behind_length(rest)?;
        let (digest, rest) = behind_length(rest)?;
        let (line, rest) = until(rest, b'\n')?;
        let mut lengths = line.split(' ').skip(2).map(str::parse::<usize>);
        let mut next = |rest: &'a [u8]| rest.split_at_checked(lengths.next()?.ok()?);
        let (rooms, rest) = next(rest)?;
        let (_held, rest) = next(rest)?;
        let (_seen, rest) = next(rest)?;
        let (approval, verdict) = next(rest)?;
        let (rooms, approval, verdict) = (utf8(rooms)?, utf8(approval)?, utf8(verdict)?);
        Some(Self { peer, digest, rooms, approval, verdict })
    }

    /// The call as it was stored.
    pub(super) fn stored(&self) -> Result<Stored, StateError> {
        let stored: StoredVerdict<'_> = read(self.verdict)?;
        let verdict = stored.verdict.into_owned();
        // Where nothing was asked of the limits, the script says nothing of them.
        let limits = if self.rooms.is_empty() { &[] } else { verdict.limits.as_slice() };
        Ok(Stored {
            request_digest: self.digest.to_owned(),
            decision_id: stored.decision_id.into_owned(),
            reservation: reservation(limits, self.rooms)?,
            approval: public(self.approval)?,
            labels: verdict.labels,
            verdict: Arc::new(verdict),
        })
    }
}

fn behind_length(text: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = until(text, b':')?;
    let (own, rest) = rest.split_at_checked(length.parse().ok()?)?;
    Some((utf8(own)?, rest))
}

/// What stands before the first such byte, and what comes after it.
fn until(text: &[u8], end: u8) -> Option<(&str, &[u8])> {
    let at = text.iter().position(|byte| *byte == end)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((utf8(before)?, rest.get(1..)?))
}

fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

/// An approval of the members `record`, `opened`, `by`, `denied`, `used` and `rev`, with its
/// revision; `None` where there is none.
pub(super) fn approval(
    fields: &[Option<String>],
) -> Result<Option<(ApprovalRecord, String)>, StateError> {
    let field = |index: usize| fields.get(index).and_then(Option::as_deref);
    let Some(record) = field(0) else { return Ok(None) };
    let stored: StoredApproval<'_> = read(record)?;
    let opened_ms = field(1).and_then(|text| text.parse().ok());
    let voided = field(3) == Some(VOIDED);
    let denied = field(3).filter(|_| !voided).unwrap_or_default();
    let record = ApprovalRecord {
        opened: stored.opened.into_owned(),
        binding: stored.binding.into_owned(),
        opened_ms: opened_ms.ok_or_else(|| unreadable("time"))?,
        approved_by: read(field(2).unwrap_or_default())?,
        denied_by: (!denied.is_empty()).then(|| denied.to_owned()),
        used: field(4) != Some("0"),
        voided,
    };
    Ok(Some((record, field(5).unwrap_or_default().to_owned())))
}

/// Lists of asks, united.
pub(super) fn asks(lists: &[String]) -> Result<Vec<String>, StateError> {
    let mut all = BTreeSet::new();
    for list in lists {
        all.extend(read::<Vec<String>>(list)?);
    }
    Ok(all.into_iter().collect())
}

/// How decisions show an approval; none where the text is empty.
pub(super) fn public(stored: &str) -> Result<Option<Approval>, StateError> {
    if stored.is_empty() { Ok(None) } else { read(stored).map(Some) }
}

pub(super) fn names(names: &BTreeSet<String>) -> Result<String, StateError> {
    text(names)
}

pub(super) fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|error| StateError::Unavailable(error.to_string()))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, StateError> {
    serde_json::from_str(text).map_err(|_| unreadable("JSON"))
}

fn unreadable(what: &str) -> StateError {
    StateError::Unavailable(format!("the store holds no readable {what} where we put some"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `calls.lua` puts it together, with what is no text among it.
    fn kept(peer: &str, digest: &str) -> Vec<u8> {
        let who = measured(peer) + &measured(digest);
        let begins = format!("o{who}1 1 5 4 3 2\n1 2 3budg");
        [begins.as_bytes(), &[0x93, 0xff, b'\n'], b"{}", b"{\"a\":1}"].concat()
    }

    #[test]
    fn a_call_is_told_apart_by_lengths_and_not_by_what_is_in_it() {
        for (peer, digest) in [("pep", "sha256:0"), ("3:a\nb", ""), ("", "1 1 1 1 1 1\n")] {
            let text = kept(peer, digest);
            let kept = Kept::read(&text).unwrap();
            assert_eq!((kept.peer, kept.digest), (peer, digest));
            assert_eq!((kept.rooms, kept.approval, kept.verdict), ("1 2 3", "{}", "{\"a\":1}"));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_call() {
        let text = kept("pep", "sha256:0");
        let verdict = b"{\"a\":1}".len();
        for length in 0..text.len() - verdict {
            assert!(Kept::read(&text[..length]).is_err(), "{length}");
        }
        assert!(is_given_up(b"a") && !is_given_up(&text));
    }
}
