//! The decision point's own door: nobody asks anything unauthenticated.

use std::sync::Arc;

use lictor_identity::{
    AuthError, Authenticator, DoorError, DoorTokens, Identity, PeerRoles, Presented, Role,
    Settings, SettingsError,
};

use crate::peer::Peer;

/// Who may come in.
pub struct Door {
    authenticator: Authenticator,
    /// Knows approvers by credentials of their own; they get no further than approvals.
    approvers: Option<Arc<Authenticator>>,
}

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A token or a role.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// What is believed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Why somebody may not.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody we know.
    #[error("{0}")]
    Unauthenticated(#[from] AuthError),
    /// Known, but not for this.
    #[error("this needs the role {}: use a credential that has it", names(.0))]
    Role(&'static [Role]),
}

fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| format!("`{}`", role.as_str())).collect::<Vec<_>>().join(" or ")
}

impl Door {
    /// A door for the token of the enforcement points, the token of operators and
    /// the peers of the Unix socket.
    ///
    /// # Errors
    /// [`BuildError`]: a token is too short, or a role cannot be held.
    pub fn new(pep: &str, operator: &str, peers: PeerRoles) -> Result<Self, BuildError> {
        let mut tokens = DoorTokens::default();
        tokens.add(pep, &[Role::Pep])?;
        tokens.add(operator, &[Role::Operator, Role::Auditor])?;
        let authenticator = Authenticator::new(Settings::default())?;
        let authenticator = authenticator.with_door_tokens(tokens).with_peers(peers);
        Ok(Self { authenticator, approvers: None })
    }

    /// Also lets in approvers, to approvals alone.
    #[must_use]
    pub fn with_approvers(mut self, approvers: Option<Arc<Authenticator>>) -> Self {
        self.approvers = approvers;
        self
    }

    /// An approver who presents a credential of their own.
    #[must_use]
    pub fn approver(&self, authorization: Option<&str>, now_ms: i64) -> Option<Peer> {
        let identity = self
            .approvers
            .as_ref()?
            .authenticate(Presented::authorization(authorization), now_ms)
            .ok()?;
        let person = identity.agent.is_none() && identity.has(Role::Approver);
        person.then(|| Peer::new(&identity.credential.id, &[Role::Approver]))
    }

    /// Lets in who holds one of `roles`. A token counts before the socket's peer.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn enter(
        &self,
        authorization: Option<&str>,
        uid: Option<u32>,
        roles: &'static [Role],
        now_ms: i64,
    ) -> Result<Peer, Refused> {
        let presented = Presented { peer: uid, ..Presented::authorization(authorization) };
        let identity = self.authenticator.authenticate(presented, now_ms)?;
        if !roles.iter().any(|role| identity.has(*role)) {
            return Err(Refused::Role(roles));
        }
        Ok(peer_of(identity))
    }
}

fn peer_of(identity: Identity) -> Peer {
    Peer::new(&identity.credential.id, &identity.roles)
}
