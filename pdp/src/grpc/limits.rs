//! `lictor.v1.LimitService`.

use std::sync::Arc;

use lictor_identity::Role;
use lictor_policy_lib::limits::Unit;
use lictor_proto::call::DEFAULT_TENANT;
use lictor_proto::pb;
use lictor_proto::pb::limit_service_server::LimitService;
use tonic::{Code, Request, Response, Status};

use super::{peer_of, require, status};
use crate::decide::Pdp;
use crate::limits::{LimitsError, kind_name};
use crate::state::counters::{Counted, Wanted};

/// The service.
pub struct Limits {
    pdp: Arc<Pdp>,
}

impl Limits {
    /// Serves `pdp`.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>) -> Self {
        Self { pdp }
    }
}

#[tonic::async_trait]
impl LimitService for Limits {
    async fn show(
        &self,
        request: Request<pb::ShowLimitsRequest>,
    ) -> Result<Response<pb::ShowLimitsResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Operator, Role::Auditor])?;
        let pb::ShowLimitsRequest { tenant, id, key, after } = request.into_inner();
        let given = |text: String| (!text.is_empty()).then_some(text);
        let wanted = Wanted { id: given(id), key, after: given(after) };
        let page = self.pdp.show_limits(&peer, tenant_of(&tenant), &wanted).await;
        let page = page.map_err(|error| refused(&error))?;
        Ok(Response::new(pb::ShowLimitsResponse {
            counters: page.counters.iter().map(counter_to_pb).collect(),
            next: page.next.unwrap_or_default(),
        }))
    }

    async fn reset(
        &self,
        request: Request<pb::ResetLimitRequest>,
    ) -> Result<Response<pb::ResetLimitResponse>, Status> {
        let peer = peer_of(&request)?;
        require(&peer, &[Role::Operator])?;
        let pb::ResetLimitRequest { tenant, id, key, reason } = request.into_inner();
        let reset = self.pdp.reset_limit(&peer, tenant_of(&tenant), (&id, &key), &reason).await;
        let reset = reset.map_err(|error| refused(&error))?;
        Ok(Response::new(pb::ResetLimitResponse {
            emptied: reset.emptied,
            before: reset.before.counters.iter().map(counter_to_pb).collect(),
            after: reset.after.counters.iter().map(counter_to_pb).collect(),
        }))
    }
}

fn tenant_of(tenant: &str) -> &str {
    if tenant.is_empty() { DEFAULT_TENANT } else { tenant }
}

fn counter_to_pb(counted: &Counted) -> pb::Counter {
    let unit = match counted.unit {
        Unit::Calls => "calls",
        Unit::Tokens => "tokens",
        Unit::UsdMicros => "usd_micros",
        Unit::Bytes => "bytes",
    };
    pb::Counter {
        id: counted.id.clone(),
        key: counted.key.clone(),
        session: counted.session.clone(),
        kind: kind_name(counted.kind).to_owned(),
        unit: unit.to_owned(),
        max: counted.max,
        used: counted.used(),
        remaining: counted.remaining,
        reset_ms: counted.reset().unwrap_or_default(),
    }
}

fn refused(error: &LimitsError) -> Status {
    let code = match error {
        LimitsError::Role(_) => Code::PermissionDenied,
        LimitsError::Invalid(_) => Code::InvalidArgument,
        LimitsError::Tenant(_) | LimitsError::NothingHeld { .. } => Code::NotFound,
        LimitsError::State(_) => Code::Unavailable,
        LimitsError::Unrecorded { .. } => Code::Internal,
    };
    status(code, error.id(), &error.to_string())
}
