//! Revocations that come while a call is decided on.

use lictor_policy_lib::conclude::Ids;
use lictor_proto::call::{Call, Phase, Usage};
use lictor_proto::decide::{Detail, Outcome, Settle};
use lictor_proto::decision::Effect;

use super::{Made, Pdp, denied};
use crate::peer::Peer;

impl Pdp {
    /// A revocation that came while the call was decided on wins; what was reserved is given
    /// back, since nobody will settle it.
    pub(super) async fn unless_revoked(&self, peer: &Peer, call: &Call, made: Made) -> Made {
        if made.decision.effect == Effect::Deny {
            return made;
        }
        let now_ms = self.clock.now_ms();
        let named = made.resolved.as_deref().unwrap_or(call);
        let reason = self.revocations.check(named, call, Some(&made.session), now_ms);
        let Some(reason) = reason else { return made };
        if call.phase == Phase::Request {
            let (call_id, usage) = (call.call_id.clone(), Usage::default());
            let detail = Detail::default();
            let settle = Settle { call_id, outcome: Outcome::NotSent, usage, detail };
            let settled = self.state.settle(&call.tenant, &peer.name, &settle, now_ms).await;
            if let Err(error) = settled {
                tracing::debug!(%error, "a revoked call stays settled as it is");
            }
        }
        let decision = &made.decision;
        let ids = Ids {
            decision_id: decision.decision_id.clone(),
            request_digest: decision.request_digest.clone(),
            bundle: decision.bundle.clone(),
        };
        let denied = denied(named, &ids, reason, &made.session);
        Made { resolved: made.resolved, facts: made.facts, ..denied }
    }
}
