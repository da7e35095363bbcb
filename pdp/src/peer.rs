//! One enforcement point's view of the decision point: `trait Decide` in process.
//! `lictor up` hands this to the PEPs; the gRPC service wraps the very same.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use lictor_identity::Role;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, Decide, DecideError, Settle};

use crate::decide::Pdp;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Names the peer in records and binds its settlements.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
}

impl Peer {
    /// A peer.
    #[must_use]
    pub fn new(name: &str, roles: &[Role]) -> Self {
        Self { name: name.to_owned(), roles: roles.to_vec() }
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

    async fn exchange_checkpoint(&self, writer: &str, note: &str) -> Result<String, DecideError> {
        self.pdp.exchange_checkpoint(&self.peer, writer, note).await
    }
}
