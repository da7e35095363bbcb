//! One approval: what it is bound to, and what an answer does to it. Pure.

use std::collections::BTreeSet;

pub use lictor_proto::decision::Standing;
use lictor_proto::decision::{Approval, Reason};
use lictor_proto::revocation::Kind;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How long an approval may be waited for unless policy says otherwise, seconds.
pub const DEFAULT_EXPIRES_S: u64 = 3_600;
/// The longest that policy may ask for, seconds.
pub const MAX_EXPIRES_S: u64 = 7 * 86_400;

/// Everything an approval is bound to. Change any of it and the approval does
/// not cover the call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binding {
    /// Isolation boundary.
    pub tenant: String,
    /// Opaque id of the session.
    pub session: String,
    /// On whose authority.
    pub subject: String,
    /// The software that acts.
    pub agent: String,
    /// Actors between them, nearest the agent first.
    pub delegation: Vec<String>,
    /// What is to be done.
    pub action: String,
    /// What it is to be done to, `type:id`.
    pub resource: String,
    /// Digest of the arguments.
    pub args_digest: String,
    /// Digest of the texts that it carries: a prompt has no arguments.
    #[serde(default)]
    pub content_digest: String,
    /// Digest of the tool's definition in the registry.
    pub tool_digest: String,
    /// Digest of the bundle that asked.
    pub bundle_digest: String,
}

impl Binding {
    /// A digest of all members, unambiguous in its parts.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"lictor/approval/1\0");
        let delegation = self.delegation.iter();
        let fixed = [
            &self.tenant,
            &self.session,
            &self.subject,
            &self.agent,
            &self.action,
            &self.resource,
            &self.args_digest,
            &self.content_digest,
            &self.tool_digest,
            &self.bundle_digest,
        ];
        for part in fixed.into_iter().chain(delegation) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hex::encode(hash.finalize())
    }
}

/// One ask that the approval must meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Id of the ask.
    pub ask: String,
    /// Registry users or teams who may agree.
    pub approvers: Vec<String>,
    /// How many must.
    pub count: u32,
    /// Whether the approvers are those who hold the registry's role `approver`: they must hold it
    /// still when they answer.
    #[serde(default)]
    pub by_role: bool,
}

/// An approval to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApproval {
    /// UUID v7.
    pub id: String,
    /// The asks it must meet.
    pub parts: Vec<Part>,
    /// When it ends, Unix milliseconds.
    pub expires_ms: i64,
    /// The reasons, for the person who decides.
    pub reasons: Vec<Reason>,
    /// The arguments, for the person who decides.
    pub args: String,
    /// Who may not answer: owners of the agents that act. Members of a team that owns one may: a
    /// team has its own agents' calls approved by one of its people.
    pub barred: Vec<String>,
    /// Id of the credential of whoever asked; empty for none.
    pub credential: String,
    /// The peer that asked: it alone may wait for the answer.
    #[serde(default)]
    pub peer: String,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    /// What was opened.
    pub opened: NewApproval,
    /// What it is bound to.
    pub binding: Binding,
    /// When it was opened, Unix milliseconds.
    pub opened_ms: i64,
    /// Who has agreed.
    pub approved_by: BTreeSet<String>,
    /// Who refused.
    pub denied_by: Option<String>,
    /// Whether a call has consumed it.
    pub used: bool,
    /// Whether somebody with part in it was revoked.
    pub voided: bool,
}

/// One person's answer. Who may answer what was checked against the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Registry user.
    pub user: String,
    /// The user's teams.
    pub teams: Vec<String>,
    /// Whether the registry gives the user the role `approver`.
    #[serde(default)]
    pub by_role: bool,
    /// Agree or refuse.
    pub approve: bool,
}

/// Why an answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// No such approval.
    #[error("there is no approval `{0}`: `lictor approvals list` shows those there are")]
    Unknown(String),
    /// It is decided or over.
    #[error("the approval is {} already", .0.as_str())]
    Over(Standing),
    /// Not one of the approvers.
    #[error("`{0}` is not an approver of this call")]
    NotApprover(String),
    /// Has part in the call.
    #[error("`{0}` has part in this call and cannot approve it")]
    OwnCall(String),
    /// Has agreed before.
    #[error("`{0}` has agreed already")]
    Twice(String),
}

impl ApprovalError {
    /// Reason id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "approval_unknown",
            Self::Over(Standing::Pending | Standing::Approved) => "approval_given",
            Self::Over(Standing::Denied) => "approval_denied",
            Self::Over(Standing::Used) => "approval_used",
            Self::Over(Standing::Expired) => "approval_expired",
            Self::Over(Standing::Voided) => "approval_voided",
            Self::NotApprover(_) => "approval_not_approver",
            Self::OwnCall(_) => "approval_own_call",
            Self::Twice(_) => "approval_twice",
        }
    }
}

impl ApprovalRecord {
    /// Where it stands at `now_ms`.
    #[must_use]
    pub fn standing(&self, now_ms: i64) -> Standing {
        if self.used {
            Standing::Used
        } else if self.voided {
            Standing::Voided
        } else if self.denied_by.is_some() {
            Standing::Denied
        } else if self.opened.expires_ms <= now_ms {
            Standing::Expired
        } else if self.met() {
            Standing::Approved
        } else {
            Standing::Pending
        }
    }

    /// Whether every ask has the answers it needs.
    pub(crate) fn met(&self) -> bool {
        let enough = |part: &Part| self.approved_by.len() >= part.count.max(1) as usize;
        !self.opened.parts.is_empty() && self.opened.parts.iter().all(enough)
    }

    /// Whether it ends when `id` is revoked.
    #[must_use]
    pub fn concerns(&self, kind: Kind, id: &str) -> bool {
        let binding = &self.binding;
        match kind {
            // A subject may be an agent; a person of an agent's name asks once more at worst.
            Kind::Agent => {
                let mut agents = [&binding.agent, &binding.subject].into_iter();
                agents.any(|a| a == id) || binding.delegation.iter().any(|a| a == id)
            }
            Kind::User => binding.subject == id,
            Kind::Credential => self.opened.credential == id,
            Kind::Session => binding.session == id,
            Kind::Tool | Kind::Model | Kind::Server => false,
        }
    }

    /// Records an answer.
    ///
    /// # Errors
    /// [`ApprovalError`]; nothing is changed then.
    pub fn answer(&mut self, answer: &Answer, now_ms: i64) -> Result<(), ApprovalError> {
        let standing = self.standing(now_ms);
        if standing != Standing::Pending {
            return Err(ApprovalError::Over(standing));
        }
        let user = answer.user.clone();
        let own = user == self.binding.subject
            || user == self.binding.agent
            || self.opened.barred.contains(&user)
            || self.binding.delegation.contains(&user);
        if own {
            return Err(ApprovalError::OwnCall(user));
        }
        // One who may answer one part only would leave the other part to nobody.
        let may = |part: &Part| {
            let named =
                part.approvers.iter().any(|name| *name == user || answer.teams.contains(name));
            named && (answer.by_role || !part.by_role)
        };
        if !self.opened.parts.iter().all(may) {
            return Err(ApprovalError::NotApprover(user));
        }
        if !answer.approve {
            self.denied_by = Some(user);
            return Ok(());
        }
        if !self.approved_by.insert(user.clone()) {
            return Err(ApprovalError::Twice(user));
        }
        Ok(())
    }

    /// The asks that it covers for a call bound like this; none unless given.
    #[must_use]
    pub fn covers(&self, now_ms: i64) -> Vec<String> {
        if self.standing(now_ms) != Standing::Approved {
            return Vec::new();
        }
        self.opened.parts.iter().map(|part| part.ask.clone()).collect()
    }

    /// How decisions show it.
    #[must_use]
    pub fn public(&self) -> Approval {
        let mut approvers: Vec<String> =
            self.opened.parts.iter().flat_map(|part| part.approvers.clone()).collect();
        approvers.sort();
        approvers.dedup();
        Approval {
            id: self.opened.id.clone(),
            expires: rfc3339(self.opened.expires_ms),
            approvers,
            count: self.opened.parts.iter().map(|part| part.count.max(1)).max().unwrap_or(1),
        }
    }
}

/// Unix milliseconds as RFC 3339; empty if it never comes.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(approvers: &[&str], count: u32) -> ApprovalRecord {
        let part = Part {
            ask: "expense.manager".into(),
            approvers: approvers.iter().map(|a| (*a).to_owned()).collect(),
            count,
            by_role: false,
        };
        ApprovalRecord {
            opened: NewApproval {
                id: "a1".into(),
                parts: vec![part],
                expires_ms: 1_000,
                reasons: vec![],
                args: "{}".into(),
                barred: vec!["owner".into()],
                credential: "sha256:1".into(),
                peer: "pep".into(),
            },
            binding: binding(),
            opened_ms: 0,
            approved_by: BTreeSet::new(),
            denied_by: None,
            used: false,
            voided: false,
        }
    }

    fn binding() -> Binding {
        Binding {
            tenant: "default".into(),
            session: "s".into(),
            subject: "alice".into(),
            agent: "bot".into(),
            delegation: vec!["planner".into()],
            action: "tools/call".into(),
            resource: "tool:a/b".into(),
            args_digest: "sha256:1".into(),
            content_digest: "sha256:4".into(),
            tool_digest: "sha256:2".into(),
            bundle_digest: "sha256:3".into(),
        }
    }

    fn answer(user: &str, approve: bool) -> Answer {
        Answer { user: user.into(), teams: vec!["finance".into()], by_role: false, approve }
    }

    #[test]
    fn one_of_the_approvers_or_their_team_must_agree() {
        let mut by_name = record(&["bob"], 1);
        by_name.answer(&answer("bob", true), 10).unwrap();
        assert_eq!(by_name.covers(20), ["expense.manager"]);
        let mut by_team = record(&["finance"], 1);
        by_team.answer(&answer("carol", true), 10).unwrap();
        assert_eq!(by_team.standing(20), Standing::Approved);
        let mut other = record(&["legal"], 1);
        let refused = other.answer(&answer("carol", true), 10).unwrap_err();
        assert_eq!(refused, ApprovalError::NotApprover("carol".into()));
    }

    #[test]
    fn nobody_with_part_in_the_call_may_answer() {
        for user in ["alice", "bot", "planner", "owner"] {
            let mut own = record(&[user, "finance"], 1);
            let refused = own.answer(&answer(user, true), 10).unwrap_err();
            assert_eq!(refused, ApprovalError::OwnCall(user.into()));
        }
    }

    #[test]
    fn an_owner_may_not_answer_and_a_member_of_an_owning_team_may() {
        let mut owned = record(&["bob", "finance"], 1);
        owned.opened.barred = vec!["finance".into(), "bob".into()];
        let refused = owned.answer(&answer("bob", true), 10).unwrap_err();
        assert_eq!(refused, ApprovalError::OwnCall("bob".into()));
        owned.answer(&answer("carol", true), 10).unwrap();
    }

    #[test]
    fn two_of_two_means_two_people() {
        let mut two = record(&["finance"], 2);
        two.answer(&answer("bob", true), 10).unwrap();
        assert_eq!(two.standing(10), Standing::Pending);
        assert_eq!(two.answer(&answer("bob", true), 10), Err(ApprovalError::Twice("bob".into())));
        two.answer(&answer("carol", true), 10).unwrap();
        assert_eq!(two.standing(10), Standing::Approved);
    }

    #[test]
    fn over_is_over() {
        let mut expired = record(&["bob"], 1);
        let refused = expired.answer(&answer("bob", true), 1_000).unwrap_err();
        assert_eq!(refused, ApprovalError::Over(Standing::Expired));
        let mut denied = record(&["finance"], 1);
        denied.answer(&answer("bob", false), 10).unwrap();
        let refused = denied.answer(&answer("carol", true), 10).unwrap_err();
        assert_eq!(refused, ApprovalError::Over(Standing::Denied));
        assert!(denied.covers(10).is_empty());
    }

    #[test]
    fn a_binding_has_no_ambiguous_parts() {
        let one = Binding { subject: "ab".into(), agent: "c".into(), ..binding() };
        let other = Binding { subject: "a".into(), agent: "bc".into(), ..binding() };
        assert_ne!(one.digest(), other.digest());
    }
}
