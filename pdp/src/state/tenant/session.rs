//! One session: what it did, and what that was like.

use std::collections::VecDeque;

use lictor_policy_lib::registry::Prices;
use lictor_proto::decide::Outcome;
use lictor_proto::decision::Labels;
use lictor_proto::facts::{SessionFacts, SessionKind};
use serde::{Deserialize, Serialize};

use super::super::Commit;
use super::super::memory::{STORED_CALL_MS, TAIL_ENTRIES_MAX};
use super::super::owner::Owner;
use super::super::signals::{self, RECENT_CALLS_MAX, Recent, short};
use super::PENDING_CALLS_MAX;
use super::settle::{Settlement, money};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) facts: SessionFacts,
    pub(super) version: u64,
    pub(super) expires_ms: i64,
    /// Whose it is, if it was opened.
    pub(super) owner: Option<Owner>,
    pub(super) recent: VecDeque<Recent>,
    /// Calls permitted and not settled: id, resource, and until when they are waited for.
    pub(super) pending: VecDeque<(String, String, i64)>,
}

impl Session {
    /// What an implicit session is before its first call.
    pub(super) fn implicit_facts() -> SessionFacts {
        SessionFacts {
            kind: SessionKind::Implicit,
            // What came in before the first call is not known.
            labels: Labels::default(),
            ..SessionFacts::default()
        }
    }

    /// One that `owner` opens. It begins as confidential as the implicit session of the same
    /// principal is, so that opening another one forgets no secret; how far it is trusted, the
    /// decision to open it says.
    pub(super) fn opened(owner: &Owner, implicit: Option<&Self>, expires_ms: i64) -> Self {
        let mut facts = SessionFacts::default();
        if let Some(implicit) = implicit {
            let confidentiality = implicit.facts.labels.confidentiality;
            facts.labels = facts.labels.raised_by(Labels { confidentiality, ..facts.labels });
        }
        Self { owner: Some(owner.clone()), ..Self::new(facts, 1, expires_ms) }
    }

    pub(super) fn new(facts: SessionFacts, version: u64, expires_ms: i64) -> Self {
        let (recent, pending) = (VecDeque::new(), VecDeque::new());
        Self { facts, version, expires_ms, owner: None, recent, pending }
    }

    /// Resources of the calls that are permitted and not settled; one that nobody settles is
    /// waited for as long as its verdict is kept.
    pub(super) fn pending_at(&self, now_ms: i64) -> Vec<String> {
        let live = self.pending.iter().filter(|(_, _, until_ms)| *until_ms > now_ms);
        live.map(|(_, resource, _)| resource.clone()).collect()
    }

    /// A permitted call counts at once.
    pub(super) fn count(&mut self, commit: &Commit, now_ms: i64) {
        self.version += 1;
        let facts = &mut self.facts;
        facts.labels = facts.labels.raised_by(commit.verdict.labels);
        if !commit.resource.is_empty() {
            *facts.calls.entry(commit.resource.clone()).or_default() += 1;
            facts.tail.push(commit.resource.clone());
            let excess = facts.tail.len().saturating_sub(TAIL_ENTRIES_MAX);
            facts.tail.drain(..excess);
        }
        facts.spend_usd_micros = facts.spend_usd_micros.saturating_add(commit.cost_usd_micros);
        for mark in &commit.verdict.marks {
            if !facts.marks.contains(mark) {
                facts.marks.push(mark.clone());
            }
        }
        self.remember(commit, now_ms);
    }

    fn remember(&mut self, commit: &Commit, now_ms: i64) {
        let call = signals::fingerprint(&commit.binding);
        self.recent.push_back(Recent {
            id: short(&commit.call_id),
            call,
            at_ms: now_ms,
            result: 0,
        });
        let excess = self.recent.len().saturating_sub(RECENT_CALLS_MAX);
        self.recent.drain(..excess);
        while self.pending.len() >= PENDING_CALLS_MAX
            || self.pending.front().is_some_and(|(_, _, until_ms)| *until_ms <= now_ms)
        {
            self.pending.pop_front();
        }
        let until_ms = now_ms.saturating_add(STORED_CALL_MS);
        self.pending.push_back((commit.call_id.clone(), commit.resource.clone(), until_ms));
    }

    /// Policy that reads what is pending may only be surprised by less of it, so that this change
    /// makes no other decision stale.
    pub(super) fn settled(&mut self, settle: Settlement<'_>) {
        self.pending.retain(|(id, _, _)| id != settle.call_id);
        let id = short(settle.call_id);
        if let Some(entry) = self.recent.iter_mut().rfind(|entry| entry.id == id) {
            entry.result = short(&settle.detail.result_digest);
        }
    }

    /// Corrects what the session has spent. More than was reserved makes decisions stale that
    /// were made before it was known.
    pub(super) fn spent(&mut self, settle: Settlement<'_>, reserved: u64, prices: Option<Prices>) {
        let used = match settle.outcome {
            Outcome::NotSent | Outcome::Failed => 0,
            Outcome::Unknown => money(prices, settle).max(reserved),
            Outcome::Done => money(prices, settle),
        };
        let before = self.facts.spend_usd_micros;
        self.facts.spend_usd_micros = before.saturating_sub(reserved).saturating_add(used);
        if used > reserved {
            self.version += 1;
        }
    }

    /// A call that was never sent does not count for its session.
    pub(super) fn uncount(&mut self, resource: &str) {
        self.version += 1;
        if let Some(count) = self.facts.calls.get_mut(resource) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.facts.calls.remove(resource);
            }
        }
        if let Some(last) = self.facts.tail.iter().rposition(|entry| entry == resource) {
            self.facts.tail.remove(last);
        }
    }
}
