//! Decisions while the store does not answer: each limit's own `on_error` decides, and what only
//! the store knows is never made up.

use std::sync::Arc;

use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::limits::OnError;
use lictor_policy_lib::replay::How;
use lictor_proto::call::Phase;
use lictor_proto::decide::Hints;
use lictor_proto::decision::Effect;
use lictor_proto::facts::Facts;

use super::{Asked, Made, state_failure};
use crate::state::{Snapshot, StateError};

impl Asked<'_> {
    /// Decides where nothing could be read. An opened session cannot be known then, and policy
    /// that reads the session or its signals cannot be asked.
    pub(super) fn without_state(&self, error: &StateError, now_ms: i64) -> Made {
        let down = matches!(error, StateError::Unavailable(_));
        if !down || !self.session.implicit || self.bundle.reads_state() {
            return self.lost(error);
        }
        let (plan, verdict, facts) = self.judge(Snapshot::unread(), now_ms);
        match (self.call.phase, verdict.effect) {
            (Phase::Request, _) => self.commit_failed(verdict, facts, plan.hints, error),
            (_, Effect::Ask) => self.lost(error),
            _ => self.uncounted(verdict, facts, plan.hints),
        }
    }

    /// Decides where nothing could be written. A denial needs no store; an approval that cannot
    /// be used up cannot be used.
    pub(super) fn commit_failed(
        &self,
        verdict: Arc<Verdict>,
        facts: Facts,
        hints: Hints,
        error: &StateError,
    ) -> Made {
        let down = matches!(error, StateError::Unavailable(_));
        let allows = down
            && verdict.effect == Effect::Allow
            && !verdict.limits.is_empty()
            && verdict.approvals_used.is_empty()
            && verdict.limits.iter().all(|limit| limit.on_error == OnError::Allow);
        if allows || verdict.effect == Effect::Deny {
            self.uncounted(verdict, facts, hints)
        } else {
            self.lost(error)
        }
    }

    fn uncounted(&self, verdict: Arc<Verdict>, facts: Facts, hints: Hints) -> Made {
        let how = How::Uncounted;
        Made { state_unavailable: true, how, ..self.uncommitted(verdict, facts, hints) }
    }

    fn lost(&self, error: &StateError) -> Made {
        let state_unavailable = matches!(error, StateError::Unavailable(_));
        Made { state_unavailable, ..self.denied(state_failure(error)) }
    }
}
