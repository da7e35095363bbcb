//! Whose a session or an approval is, so that it can end with them.

use lictor_proto::call::Call;
use lictor_proto::revocation::{Involved, Kind};
use serde::{Deserialize, Serialize};

/// Everybody by whose revocation a session ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// On whose authority; empty for nobody's.
    pub subject: String,
    /// The agent, every actor of the delegation, and a subject that is an agent.
    pub agents: Vec<String>,
    /// Id of the credential that it was opened with; empty for none.
    pub credential: String,
}

impl Owner {
    /// Whoever has part in `call`.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        let mut involved = Involved::default();
        involved.also(call);
        Self {
            subject: call.subject.as_ref().map(|party| party.id.clone()).unwrap_or_default(),
            agents: involved.agents,
            credential: call.credential.as_ref().map(|c| c.id.clone()).unwrap_or_default(),
        }
    }

    /// Every name that it can be revoked by, empty ones left out.
    pub fn names(&self) -> impl Iterator<Item = (Kind, &str)> {
        let agents = self.agents.iter().map(|id| (Kind::Agent, id.as_str()));
        let others = [(Kind::User, &*self.subject), (Kind::Credential, &*self.credential)];
        agents.chain(others).filter(|(_, id)| !id.is_empty())
    }

    /// Whether it ends when `id` is revoked.
    #[must_use]
    pub fn is(&self, kind: Kind, id: &str) -> bool {
        self.names().any(|name| name == (kind, id))
    }
}

/// What ended with somebody who was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Voided {
    /// Opened sessions that were closed.
    pub sessions: u64,
    /// Approvals, waited for or given, that count no more.
    pub approvals: u64,
}

impl std::ops::AddAssign for Voided {
    fn add_assign(&mut self, more: Self) {
        self.sessions += more.sessions;
        self.approvals += more.approvals;
    }
}
