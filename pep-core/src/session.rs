//! Opening a session: a decision of its own ("may this agent act for this person?"), asked at an
//! enforcement point so that agents need no way to the decision point.

use lictor_proto::call::ResourceKind;
use lictor_proto::reason;

use crate::pep::Pep;
use crate::record::{Ended, Ending};
use crate::refusal::Refusal;
use crate::request::{Proof, Request};

/// Where both enforcement points open sessions (`POST`, no body).
pub const SESSIONS_PATH: &str = "/lictor/v1/sessions";

impl Pep {
    /// Opens a session for whoever presents `proof` and returns its signed handle, to be carried in
    /// the `Lictor-Session` header.
    ///
    /// # Errors
    /// The refusal, recorded like that of any call.
    pub async fn open_session(
        &self,
        proof: Proof,
        protocol: &str,
        source_ip: &str,
    ) -> Result<String, Refusal> {
        let agent = match self.identify(&proof) {
            Ok(identity) => identity.agent.map(|agent| agent.id).unwrap_or_default(),
            Err(refusal) => {
                return Err(self.refuse_unread(protocol, source_ip, "session/open", refusal).await);
            }
        };
        let mut request = Request::new(proof, "session/open", ResourceKind::Agent, &agent);
        request.protocol = protocol.to_owned();
        request.source_ip = source_ip.to_owned();
        let permitted = self.decide(request).await?;
        let Some(handle) = permitted.hints().session_handle.clone() else {
            let refusal = permitted.refuse(
                reason::SESSION_UNKNOWN,
                "the decision point allowed the session but opened none",
            );
            self.give_up(permitted, &refusal).await?;
            return Err(refusal);
        };
        // Nothing is forwarded: the permit only binds the record to the decision.
        let (_permit, flight) = self.permit(permitted, b"").await?;
        self.finish(flight, Ending::new(Ended::Done, 200)).await?;
        Ok(handle)
    }
}
