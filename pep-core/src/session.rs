//! Opening a session: a decision of its own ("may this agent act for this person?"), asked at an
//! enforcement point so that agents need no way to the decision point.

use http::HeaderMap;
use lictor_proto::call::ResourceKind;
use lictor_proto::reason;

use crate::headers::LICTOR_SESSION;
use crate::pep::Pep;
use crate::proof::Proof;
use crate::record::{Ended, Ending};
use crate::refusal::Refusal;
use crate::request::Request;

/// Where both enforcement points open sessions (`POST`, no body).
pub const SESSIONS_PATH: &str = "/lictor/v1/sessions";
/// What no handle is.
const NO_HANDLE: &str = "?";

/// The handle in the `Lictor-Session` header. One that is no text, or several, is none that anybody
/// signed, and the decision point says so: it must not pass for a call without a session.
#[must_use]
pub fn handle_of(headers: &HeaderMap) -> Option<String> {
    let mut named = headers.get_all(LICTOR_SESSION).iter();
    let first = named.next()?;
    let only = first.to_str().ok().filter(|_| named.next().is_none());
    Some(only.unwrap_or(NO_HANDLE).to_owned())
}

impl Pep {
    /// Opens a session for whoever presents `proof` and returns its signed handle, to be carried in
    /// the `Lictor-Session` header. With the `session` that the caller has, that one is renewed:
    /// it goes on with everything that it did. A handle that is not good opens nothing.
    ///
    /// # Errors
    /// The refusal, recorded like that of any call.
    pub async fn open_session(
        &self,
        proof: Proof,
        session: Option<String>,
        protocol: &str,
        source_ip: &str,
    ) -> Result<String, Refusal> {
        let agent = match self.identify(&proof).await {
            Ok(identity) => {
                identity.agent.as_ref().map(|agent| agent.id.clone()).unwrap_or_default()
            }
            Err(refusal) => {
                return Err(self.refuse_unread(protocol, source_ip, "session/open", refusal).await);
            }
        };
        let mut request = Request::new(proof, "session/open", ResourceKind::Agent, &agent);
        request.session = session;
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn named(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LICTOR_SESSION, HeaderValue::from_bytes(value).unwrap());
        }
        handle_of(&headers)
    }

    #[test]
    fn only_one_handle_that_is_text_is_a_handle() {
        assert_eq!(named(&[]), None);
        assert_eq!(named(&[b"ls1.a.b"]).as_deref(), Some("ls1.a.b"));
        for unreadable in [[b"\xff".as_slice()].as_slice(), &[b"ls1.a.b", b"ls1.a.b"]] {
            assert_eq!(named(unreadable).as_deref(), Some(NO_HANDLE));
        }
    }
}
