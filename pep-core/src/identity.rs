//! Stage 2: what the caller presented becomes who is calling, or a refusal.

use std::sync::Arc;

use lictor_identity::{Authenticator, Identity, Presented};

use crate::refusal::Refusal;
use crate::request::Proof;

/// Finds out who calls.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    authenticator: Arc<Authenticator>,
}

impl Doorkeeper {
    pub(crate) fn new(authenticator: Arc<Authenticator>) -> Self {
        Self { authenticator }
    }

    /// Who presented `proof`. Every failure is 401 with the reason's id.
    pub(crate) fn identify(&self, proof: &Proof, now_ms: i64) -> Result<Identity, Refusal> {
        let presented = match proof {
            Proof::None => Presented::missing(),
            Proof::Bearer(token) => Presented::bearer(token),
            Proof::Peer(uid) => Presented::peer(*uid),
        };
        self.authenticator
            .authenticate(presented, now_ms)
            .map_err(|error| Refusal::unauthenticated(error.id(), error.to_string()))
    }
}
