//! The result of authentication.

use lictor_proto::call::{Credential, Party};
use serde::{Deserialize, Serialize};

/// Who is calling, proved.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Isolation boundary, from the issuer's or key's configuration.
    pub tenant: String,
    /// On whose authority.
    pub subject: Option<Party>,
    /// The software that acts. `None` where the credential names none; the
    /// decision point then denies `agent_unknown`.
    pub agent: Option<Party>,
    /// Actors between subject and agent, `delegation[0]` nearest the agent.
    pub delegation: Vec<Party>,
    /// How it was proved; holds a digest, never the secret.
    pub credential: Credential,
    /// When the proof ends, unix milliseconds.
    pub expires_ms: Option<i64>,
    /// What the caller may do at the decision point's door. Always empty for a
    /// signed token: roles come from our own files, never from claims.
    pub roles: Vec<Role>,
}

impl Identity {
    /// Whether the caller holds `role`.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// What a caller may do at the decision point's door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An enforcement point: asks for decisions.
    Pep,
    /// Resets limits, kills agents, asks dry runs.
    Operator,
    /// Resolves approvals; always a user with a credential of their own.
    Approver,
    /// Reads audit.
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Pep, Self::Operator, Self::Approver, Self::Auditor];

    /// The name in configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pep => "pep",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
        }
    }

    /// The role called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_code_and_in_json() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_name("Operator"), None);
    }
}
