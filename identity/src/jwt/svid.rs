//! Whom a SPIFFE document names (JWT-SVID).

use lictor_proto::call::Party;
use lictor_proto::json::{Node, Open};

use super::ids::id_fault;
use super::parties::{AGENT_TYPE, Parties};
use crate::error::AuthError;
use crate::spiffe::SpiffeId;

/// Type of the subject of a SPIFFE document.
const WORKLOAD_TYPE: &str = "workload";

/// The workload, which acts for itself: a SPIFFE document delegates nothing.
pub(super) fn read(payload: Node) -> Result<Parties, AuthError> {
    let refused = |why| AuthError::SpiffeIdInvalid { why };
    let id = payload.get("sub").ok_or_else(|| AuthError::claim_missing("sub"))?;
    let id = id.as_str().ok_or(refused("it is not a string"))?;
    let id = SpiffeId::parse(id).map_err(refused)?.to_string();
    if let Some(why) = id_fault(&id) {
        return Err(refused(why));
    }
    if payload.get("act").is_some() {
        return Err(AuthError::claim_invalid("act", "a SPIFFE document names no actors"));
    }
    let agent = Party::new(AGENT_TYPE, &id);
    let claims = Open::from_node(payload);
    let subject = Party { kind: WORKLOAD_TYPE.to_owned(), id, claims };
    Ok(Parties { subject, agent: Some(agent), delegation: Vec::new() })
}
