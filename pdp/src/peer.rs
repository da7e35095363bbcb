//! One enforcement point's view of the decision point: `trait Decide` in process.
//! `lictor up` hands this to the PEPs; the gRPC service wraps the very same.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use lictor_identity::Role;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, Decide, DecideError, Revocations, Settle};
use lictor_proto::decision::{Reason, Standing};

use crate::approvals::wait::WaitError;
use crate::decide::Pdp;
use crate::registered::Allow;
use crate::state::StateError;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Names the peer in records and binds its settlements.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// What it may ask about; `None` for everything.
    allow: Option<Arc<Allow>>,
    /// The tenant whose approvals it may see; `None` for every one.
    tenant: Option<String>,
}

impl Peer {
    /// A peer.
    #[must_use]
    pub fn new(name: &str, roles: &[Role]) -> Self {
        Self { name: name.to_owned(), roles: roles.to_vec(), allow: None, tenant: None }
    }

    /// The same peer, which may ask about nothing else.
    #[must_use]
    pub fn only_for(self, allow: Allow) -> Self {
        Self { allow: Some(Arc::new(allow)), ..self }
    }

    /// The same peer, which sees nothing of other tenants.
    #[must_use]
    pub fn of_tenant(self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), ..self }
    }

    /// Whether the approvals of `tenant` are any of its business.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    /// Whether it may ask about anything of `tenant`.
    #[must_use]
    pub fn serves(&self, tenant: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.serves(tenant))
    }

    /// Why `call` is not this peer's to ask about.
    #[must_use]
    pub fn refuses(&self, call: &Call) -> Option<Reason> {
        self.allow.as_ref()?.refuses(call)
    }

    /// Whether the peer holds `role`.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// The decision point as seen by one peer.
#[derive(Clone)]
pub struct PeerHandle {
    pdp: Arc<Pdp>,
    peer: Arc<Peer>,
}

impl PeerHandle {
    /// `pdp` as seen by `peer`.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>, peer: Peer) -> Self {
        Self { pdp, peer: Arc::new(peer) }
    }
}

#[async_trait]
impl Decide for PeerHandle {
    async fn decide(&self, call: Arc<Call>, budget_ms: u32) -> Result<Answer, DecideError> {
        self.pdp.decide(&self.peer, call, budget_ms).await
    }

    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError> {
        let answers = calls.into_iter().map(|call| self.pdp.decide(&self.peer, call, budget_ms));
        join_all(answers).await.into_iter().collect()
    }

    async fn settle(&self, settle: Settle) -> Result<(), DecideError> {
        self.pdp.settle(&self.peer, &settle).await
    }

    async fn extend(&self, call_id: &str) -> Result<(), DecideError> {
        self.pdp.extend(&self.peer, call_id).await
    }

    async fn exchange_checkpoint(&self, writer: &str, note: &str) -> Result<String, DecideError> {
        self.pdp.exchange_checkpoint(&self.peer, writer, note).await
    }

    async fn revocations(&self, known: u64) -> Result<Revocations, DecideError> {
        self.pdp.revocations(&self.peer, known).await
    }

    async fn approval(&self, id: &str, wait_ms: u32) -> Result<Standing, DecideError> {
        match self.pdp.wait_for_approval(&self.peer, id, wait_ms).await {
            Ok(record) => Ok(record.standing(self.pdp.clock.now_ms())),
            Err(error @ (WaitError::Stopping | WaitError::State(StateError::Unavailable(_)))) => {
                Err(DecideError::Unavailable(error.to_string()))
            }
            Err(error) => {
                Err(DecideError::Refused { id: error.id().to_owned(), message: error.to_string() })
            }
        }
    }
}
