//! Sessions that a decision opens or renews.

use lictor_policy_lib::replay::How;
use lictor_proto::decision::Effect;

use super::{Asked, Made, Pdp, state_failure};
use crate::clock::new_id;
use crate::session::SESSION_MS;
use crate::state::SessionKey;
use crate::state::owner::Owner;

impl Pdp {
    /// An allowed `session/open` makes the session known and mints its handle; one that comes in an
    /// opened session renews that one, with everything that it did.
    pub(super) async fn open_session(&self, asked: &Asked<'_>, made: &mut Made, now_ms: i64) {
        let call = asked.call;
        let opens = call.action.name == "session/open" && made.decision.effect == Effect::Allow;
        if !opens || !call.asks_all() {
            return;
        }
        let expires_ms = now_ms.saturating_add(SESSION_MS);
        let (key, known) = if asked.session.implicit {
            let (tenant, id) = (call.tenant.clone(), new_id(now_ms));
            let key = SessionKey { tenant, id, implicit: false };
            let owner = Owner::of(call);
            let known = self.state.open_session(&key, &asked.session, &owner, expires_ms).await;
            (key, known)
        } else {
            let key = asked.session.clone();
            let known = self.state.renew_session(&key, expires_ms, now_ms).await;
            (key, known)
        };
        match known {
            Ok(()) => {
                made.hints.session_handle = Some(self.handles.mint(call, &key.id, expires_ms));
                made.hints.session_id = Some(key.id);
            }
            Err(error) => {
                made.decision.effect = Effect::Deny;
                made.decision.obligations.clear();
                made.decision.reasons = vec![state_failure(&error)];
                made.how = How::Refused;
            }
        }
    }
}
