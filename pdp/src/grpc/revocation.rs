//! `lictor.v1.RevocationService`.

use std::sync::Arc;

use lictor_identity::Role;
use lictor_proto::pb::revocation_service_server::RevocationService;
use lictor_proto::revocation::Entry;
use lictor_proto::wire::WireError;
use lictor_proto::{pb, wire};
use tonic::{Code, Request, Response, Status};

use super::{peer_of, require, status};
use crate::decide::Pdp;
use crate::revocation::ListStatus;
use crate::revocation::operate::OperateError;

/// The service.
pub struct Kills {
    pdp: Arc<Pdp>,
}

impl Kills {
    /// Serves `pdp`.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>) -> Self {
        Self { pdp }
    }
}

#[tonic::async_trait]
impl RevocationService for Kills {
    async fn kill(
        &self,
        request: Request<pb::KillRequest>,
    ) -> Result<Response<pb::KillResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Operator])?;
        let asked = request.into_inner();
        let (kind, id, why) = named(&asked.kind, &asked.id, &asked.reason)?;
        let until_ms = (asked.until_ms != 0).then_some(asked.until_ms);
        let killed = self.pdp.kill(&peer, kind, &id, &why, until_ms).await.map_err(refused)?;
        Ok(Response::new(pb::KillResponse {
            version: killed.version,
            sessions: killed.voided.sessions,
            approvals: killed.voided.approvals,
        }))
    }

    async fn unkill(
        &self,
        request: Request<pb::UnkillRequest>,
    ) -> Result<Response<pb::UnkillResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Operator])?;
        let asked = request.into_inner();
        let (kind, id, why) = named(&asked.kind, &asked.id, &asked.reason)?;
        let unkilled = self.pdp.unkill(&peer, kind, &id, &why).await.map_err(refused)?;
        let (version, still_listed) = (unkilled.version, unkilled.still_listed);
        Ok(Response::new(pb::UnkillResponse { version, still_listed }))
    }

    async fn list(
        &self,
        request: Request<pb::ListRevocationsRequest>,
    ) -> Result<Response<pb::ListRevocationsResponse>, Status> {
        require(&peer_of(&request)?, &[Role::Operator, Role::Auditor])?;
        let now_ms = self.pdp.clock.now_ms();
        let lists = self.pdp.revocation_lists();
        let mut entries: Vec<_> = lists
            .iter()
            .flat_map(|list| list.list.iter().map(|verified| (list.name, verified)))
            .flat_map(|(name, verified)| verified.set().entries().map(move |e| (name, e)))
            .filter(|(_, entry)| entry.holds(now_ms))
            .collect();
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        let entries = entries.iter().map(|(name, e)| wire::revocation_to_pb(e, name)).collect();
        let lists = lists.iter().map(list_to_pb).collect();
        Ok(Response::new(pb::ListRevocationsResponse { entries, lists }))
    }
}

fn order<'a>(
    (name, entry): &'a (&'static str, &'a Entry),
) -> (lictor_proto::revocation::Kind, &'a str, &'static str) {
    (entry.kind, &entry.id, name)
}

fn named(
    kind: &str,
    id: &str,
    reason: &str,
) -> Result<(lictor_proto::revocation::Kind, String, String), Status> {
    let invalid = |error: WireError| status(Code::InvalidArgument, error.id, &error.message);
    wire::revocation_from_pb(kind, id, reason).map_err(invalid)
}

fn refused(error: OperateError) -> Status {
    let code = match &error {
        OperateError::Role => Code::PermissionDenied,
        OperateError::Invalid(_) => Code::InvalidArgument,
        OperateError::Full => Code::ResourceExhausted,
        OperateError::NotRevoked { .. } => Code::NotFound,
        OperateError::Unwritten { .. }
        | OperateError::Unshared { .. }
        | OperateError::Unrecorded { .. }
        | OperateError::Unvoided(_) => Code::Internal,
    };
    status(code, error.id(), &error.to_string())
}

/// One list as status shows it.
pub(crate) fn list_to_pb(list: &ListStatus) -> pb::RevocationList {
    let refused = list.refused.as_ref();
    let newest = list.list.as_deref();
    pb::RevocationList {
        name: list.name.to_owned(),
        version: newest.map(|verified| verified.list().version).unwrap_or_default(),
        entries: newest.map(|verified| verified.set().len() as u64).unwrap_or_default(),
        issued_at_ms: newest.map(|verified| verified.list().issued_at_ms).unwrap_or_default(),
        expires_ms: newest.map(|verified| verified.list().expires_ms).unwrap_or_default(),
        stale: list.stale,
        kid: newest.map(|verified| verified.kid().to_owned()).unwrap_or_default(),
        refused: refused.map(|r| format!("{}: {}", r.id, r.message)).unwrap_or_default(),
        refused_at_ms: refused.map(|r| r.at_ms).unwrap_or_default(),
    }
}
