//! `lictor.v1.ApprovalService`.

use std::sync::Arc;

use lictor_identity::Role;
use lictor_proto::pb::approval_service_server::ApprovalService;
use lictor_proto::{pb, wire};
use tonic::{Code, Request, Response, Status};

use super::{peer_of, require, status};
use crate::approvals::ResolveError;
use crate::decide::Pdp;
use crate::state::StateError;
use crate::state::approval::{ApprovalError, ApprovalRecord, rfc3339};

/// The service.
pub struct Approvals {
    pdp: Arc<Pdp>,
}

impl Approvals {
    /// Serves `pdp`.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>) -> Self {
        Self { pdp }
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn list(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Result<Response<pb::ListApprovalsResponse>, Status> {
        require(&peer_of(&request)?, &[Role::Operator, Role::Approver])?;
        let wanted = request.into_inner().state;
        let now_ms = self.pdp.clock.now_ms();
        let all = self.pdp.approvals().await.map_err(|error| {
            status(Code::Unavailable, lictor_proto::reason::STATE_UNAVAILABLE, &error.to_string())
        })?;
        let shown = all.iter().map(|record| record_to_pb(record, now_ms));
        let approvals = shown.filter(|r| wanted.is_empty() || r.state == wanted).collect();
        Ok(Response::new(pb::ListApprovalsResponse { approvals }))
    }

    async fn resolve(
        &self,
        request: Request<pb::ResolveApprovalRequest>,
    ) -> Result<Response<pb::ResolveApprovalResponse>, Status> {
        require(&peer_of(&request)?, &[Role::Operator, Role::Approver])?;
        let answer = request.into_inner();
        let token = answer.approver_token.trim();
        match self.pdp.resolve(&answer.id, answer.approve, token, &answer.reason).await {
            Ok(record) => {
                let approval = Some(record_to_pb(&record, self.pdp.clock.now_ms()));
                Ok(Response::new(pb::ResolveApprovalResponse { approval }))
            }
            Err(error) => Err(status(code_of(&error), error.id(), &error.to_string())),
        }
    }
}

fn code_of(error: &ResolveError) -> Code {
    match error {
        ResolveError::Approver { .. } => Code::PermissionDenied,
        ResolveError::State(StateError::Approval(ApprovalError::Unknown(_))) => Code::NotFound,
        ResolveError::State(StateError::Unavailable(_)) | ResolveError::Audit(_) => {
            Code::Unavailable
        }
        ResolveError::State(_) => Code::FailedPrecondition,
    }
}

fn record_to_pb(record: &ApprovalRecord, now_ms: i64) -> pb::ApprovalRecord {
    let binding = &record.binding;
    pb::ApprovalRecord {
        approval: Some(wire::approval_to_pb(&record.public())),
        state: record.standing(now_ms).as_str().to_owned(),
        tenant: binding.tenant.clone(),
        subject: binding.subject.clone(),
        agent: binding.agent.clone(),
        action: binding.action.clone(),
        resource: binding.resource.clone(),
        args_digest: binding.args_digest.clone(),
        bundle_digest: binding.bundle_digest.clone(),
        reasons: record.opened.reasons.iter().map(wire::reason_to_pb).collect(),
        approved_by: record.approved_by.iter().cloned().collect(),
        denied_by: record.denied_by.clone().unwrap_or_default(),
        args: record.opened.args.clone(),
        opened: rfc3339(record.opened_ms),
    }
}
