//! gRPC: one file a service. Conversion is `lictor_proto::wire`'s alone; who may
//! ask was settled by the door before a request gets here.

pub mod approval;
pub mod decision;
pub mod inspect;
pub mod limits;
pub mod revocation;
pub mod status;

use lictor_identity::Role;
use tonic::{Code, Status};

use crate::door::Pass;
use crate::peer::Peer;

/// The peer that the door let in.
pub(crate) fn peer_of<T>(request: &tonic::Request<T>) -> Result<Peer, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    peer.ok_or_else(|| status(Code::Unauthenticated, "token_missing", "no peer was proved"))
}

/// What the peer came in with, for a stream that may outlive it.
pub(crate) fn pass_of<T>(request: &tonic::Request<T>) -> Result<Pass, Status> {
    request.extensions().get::<Pass>().cloned().ok_or_else(outlived)
}

/// A peer whose credential ended while its stream went on.
pub(crate) fn outlived() -> Status {
    let message = "the credential that this stream was opened with does not count any more";
    status(Code::Unauthenticated, "token_unknown", message)
}

/// Refuses a peer that holds none of `roles`.
pub(crate) fn require(peer: &Peer, roles: &[Role]) -> Result<(), Status> {
    if roles.iter().any(|role| peer.has(*role)) {
        return Ok(());
    }
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let message = format!("this needs the role {}", names.join(" or "));
    Err(status(Code::PermissionDenied, lictor_proto::reason::ROLE_MISSING, &message))
}

/// A refusal that carries its reason id as metadata.
pub(crate) fn status(code: Code, id: &str, message: &str) -> Status {
    let mut status = Status::new(code, format!("{id}: {message}"));
    if let Ok(value) = id.parse() {
        status.metadata_mut().insert("lictor-reason", value);
    }
    status
}
