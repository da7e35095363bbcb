//! `lictor.v1.ApprovalService`.

use std::sync::Arc;

use lictor_identity::Role;
use lictor_proto::pb::approval_service_server::ApprovalService;
use lictor_proto::{pb, reason, wire};
use tonic::{Code, Request, Response, Status};

use super::{peer_of, require, status};
use crate::approvals::resolve::{Given, ResolveError};
use crate::approvals::wait::WaitError;
use crate::decide::Pdp;
use crate::state::StateError;
use crate::state::approval::{ApprovalError, ApprovalRecord, Part, Standing, rfc3339};

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

    fn shown(&self, record: &ApprovalRecord, now_ms: i64) -> pb::ApprovalRecord {
        pb::ApprovalRecord {
            bundle_live: self.pdp.bundle_is_live(record),
            ..record_to_pb(record, now_ms)
        }
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn list(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Result<Response<pb::ListApprovalsResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Operator, Role::Approver])?;
        let wanted = request.into_inner().state;
        if !wanted.is_empty() && Standing::parse(&wanted).is_none() {
            let names: Vec<&str> = Standing::ALL.iter().map(|state| state.as_str()).collect();
            let message = format!("`{wanted}` is no state of an approval: {}", names.join(", "));
            return Err(status(Code::InvalidArgument, reason::CALL_INVALID, &message));
        }
        let now_ms = self.pdp.clock.now_ms();
        let all = self.pdp.approvals().await.map_err(|error| {
            status(Code::Unavailable, reason::STATE_UNAVAILABLE, &error.to_string())
        })?;
        let seen = all.iter().filter(|record| peer.sees(&record.binding.tenant));
        let shown = seen.map(|record| self.shown(record, now_ms));
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
        let given = Given {
            id: &answer.id,
            approve: answer.approve,
            seen: &answer.binding_digest,
            why: &answer.reason,
        };
        match self.pdp.resolve(given, token).await {
            Ok(record) => {
                let approval = Some(self.shown(&record, self.pdp.clock.now_ms()));
                Ok(Response::new(pb::ResolveApprovalResponse { approval }))
            }
            Err(error) => Err(status(code_of(&error), error.id(), &error.to_string())),
        }
    }

    async fn wait(
        &self,
        request: Request<pb::WaitApprovalRequest>,
    ) -> Result<Response<pb::WaitApprovalResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Pep, Role::Operator, Role::Approver])?;
        let asked = request.into_inner();
        let waited = self.pdp.wait_for_approval(&peer, &asked.id, asked.timeout_ms).await;
        let record =
            waited.map_err(|error| status(wait_code(&error), error.id(), &error.to_string()))?;
        let now_ms = self.pdp.clock.now_ms();
        let person = peer.has(Role::Operator) || peer.has(Role::Approver);
        Ok(Response::new(pb::WaitApprovalResponse {
            state: record.standing(now_ms).as_str().to_owned(),
            approval: person.then(|| self.shown(&record, now_ms)),
        }))
    }
}

fn wait_code(error: &WaitError) -> Code {
    match error {
        WaitError::Role => Code::PermissionDenied,
        WaitError::Full => Code::ResourceExhausted,
        WaitError::State(StateError::Approval(_)) => Code::NotFound,
        WaitError::Stopping | WaitError::State(_) => Code::Unavailable,
    }
}

fn code_of(error: &ResolveError) -> Code {
    match error {
        ResolveError::Approver { .. } => Code::PermissionDenied,
        ResolveError::State(StateError::Approval(ApprovalError::Unknown(_))) => Code::NotFound,
        ResolveError::State(StateError::Unavailable(_)) | ResolveError::Audit(_) => {
            Code::Unavailable
        }
        ResolveError::OtherBundle | ResolveError::OtherCall | ResolveError::State(_) => {
            Code::FailedPrecondition
        }
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
        parts: record.opened.parts.iter().map(part_to_pb).collect(),
        delegation: binding.delegation.clone(),
        session: binding.session.clone(),
        tool_digest: binding.tool_digest.clone(),
        binding_digest: binding.digest(),
        bundle_live: false,
        content_digest: binding.content_digest.clone(),
    }
}

fn part_to_pb(part: &Part) -> pb::ApprovalPart {
    pb::ApprovalPart {
        ask: part.ask.clone(),
        approvers: part.approvers.clone(),
        count: part.count.max(1),
    }
}
