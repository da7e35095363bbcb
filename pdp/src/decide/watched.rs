//! Policy that only watches is shown a decision once nothing can change it any more.

use std::sync::Arc;

use lictor_policy_lib::replay::How;
use lictor_proto::call::Call;
use lictor_proto::decide::Answer;

use super::{Made, Pdp};
use crate::shadow::Given;

impl Pdp {
    /// The answer, after shadow rules that fired were counted and the shadow bundle, if there is
    /// one, was offered what it was made of. Nothing is waited for.
    pub(super) fn watched(&self, call: &Arc<Call>, made: Made) -> Answer {
        let answer = Answer { decision: made.decision, hints: made.hints };
        if made.how != How::Repeated {
            self.counts.shadow_rules.count(&made.verdict.shadows.against(answer.decision.effect));
        }
        if let Some(shadow) = &self.shadow {
            let named = made.resolved.as_ref().unwrap_or(call);
            shadow.offer(Given {
                agent: named.agent.as_ref().map(|agent| agent.id.clone()),
                call: Arc::clone(call),
                facts: made.facts,
                decision: answer.decision.clone(),
                verdict: made.verdict,
                how: made.how,
                session_kept: made.session_kept,
            });
        }
        answer
    }
}
