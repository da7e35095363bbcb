//! Waiting for a person. Whoever waits is woken by what happens here, and looks again from time
//! to time for what happened at another decision point of the same store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lictor_identity::Role;
use lictor_proto::decide::WAIT_MAX_MS;
use lictor_proto::reason;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::decide::Pdp;
use crate::peer::Peer;
use crate::state::StateError;
use crate::state::approval::{ApprovalError, ApprovalRecord, Standing};

/// Most questions that wait at once.
pub const WAITERS_MAX: usize = 1_024;
/// Longest time between two looks at an approval that is waited for, milliseconds: how late an
/// answer at another decision point is seen.
pub const LOOK_AGAIN_MS: u64 = 1_000;

/// Tells that some approval was opened, answered, used or voided.
#[derive(Debug, Clone)]
pub struct Changes {
    count: watch::Sender<u64>,
    /// Apart, since calls open approvals faster than people answer them.
    ended: watch::Sender<u64>,
    places: Arc<Semaphore>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            count: watch::Sender::new(0),
            ended: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(WAITERS_MAX)),
        }
    }
}

impl Changes {
    /// An approval was opened or used. Never waits.
    pub(crate) fn tell(&self) {
        self.count.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// An approval was answered or voided: whoever waits looks. Never waits.
    pub(crate) fn tell_end(&self) {
        self.ended.send_modify(|count| *count = count.wrapping_add(1));
        self.tell();
    }

    /// How many questions wait now.
    pub(crate) fn waiting(&self) -> usize {
        WAITERS_MAX.saturating_sub(self.places.available_permits())
    }

    /// Answers from now on.
    pub(crate) fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Changes of every kind from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}

/// Why nobody waits.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The peer has nothing to do with approvals.
    #[error("waiting for an approval needs the role `pep`, `operator` or `approver`")]
    Role,
    /// Nothing is waited for any more.
    #[error("the decision point is shutting down")]
    Stopping,
    /// Too many wait.
    #[error("{WAITERS_MAX} questions wait for approvals already: ask again later")]
    Full,
    /// The store does not answer, or there is no such approval for this peer.
    #[error(transparent)]
    State(#[from] StateError),
}

impl WaitError {
    /// Reason id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Role => reason::ROLE_MISSING,
            Self::Stopping => reason::PDP_UNAVAILABLE,
            Self::Full => reason::OVERLOADED,
            Self::State(StateError::Unavailable(_)) => reason::STATE_UNAVAILABLE,
            Self::State(_) => "approval_unknown",
        }
    }
}

impl Pdp {
    /// The approval `id` once it is not pending any more, or after `wait_ms` milliseconds, of
    /// which [`WAIT_MAX_MS`] count. An enforcement point gets approvals of its own calls only;
    /// others are unknown to it.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait_for_approval(
        &self,
        peer: &Peer,
        id: &str,
        wait_ms: u32,
    ) -> Result<ApprovalRecord, WaitError> {
        let any = peer.has(Role::Operator) || peer.has(Role::Approver);
        if !any && !peer.has(Role::Pep) {
            return Err(WaitError::Role);
        }
        let patience = Duration::from_millis(u64::from(wait_ms.min(WAIT_MAX_MS)));
        let deadline = Instant::now() + patience;
        let mut ends = self.approval_changes.ends();
        let mut place = None;
        loop {
            let record = self.state.approval(id).await?;
            let record = record.filter(|record| {
                let own = any || record.opened.peer == peer.name;
                own && peer.sees(&record.binding.tenant)
            });
            let unknown = || StateError::from(ApprovalError::Unknown(id.to_owned()));
            let record = record.ok_or_else(unknown)?;
            let now_ms = self.clock.now_ms();
            if Instant::now() >= deadline || record.standing(now_ms) != Standing::Pending {
                return Ok(record);
            }
            if self.draining.load(Ordering::Relaxed) {
                return Err(WaitError::Stopping);
            }
            if place.is_none() {
                let free = self.approval_changes.places.try_acquire();
                place = Some(free.map_err(|_| WaitError::Full)?);
            }
            let left = u64::try_from(record.opened.expires_ms.saturating_sub(now_ms)).unwrap_or(0);
            let pause = Duration::from_millis(left.clamp(1, LOOK_AGAIN_MS));
            // A change and the end of the pause both mean that it is time to look.
            drop(timeout_at(deadline.min(Instant::now() + pause), ends.changed()).await);
        }
    }
}
