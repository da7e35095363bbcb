//! `lictor.v1.StatusService` and `lictor.v1.CatalogService`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lictor_policy_lib::bundle::Trust;
use lictor_proto::call::{DEFAULT_TENANT, Resource, ResourceKind};
use lictor_proto::pb::catalog_service_server::CatalogService;
use lictor_proto::pb::status_service_server::StatusService;
use lictor_proto::{pb, reason, wire};
use tonic::{Code, Request, Response, Status};

use super::revocation::list_to_pb;
use super::{peer_of, status};
use crate::decide::Pdp;
use crate::live::TenantBundle;
use crate::shadow::Shadow;
use crate::state::approval::rfc3339;

/// Both services.
#[derive(Clone)]
pub struct Reports {
    pdp: Arc<Pdp>,
}

impl Reports {
    /// Serves `pdp`.
    #[must_use]
    pub fn new(pdp: Arc<Pdp>) -> Self {
        Self { pdp }
    }
}

#[tonic::async_trait]
impl StatusService for Reports {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        peer_of(&request)?;
        Ok(Response::new(status_of(&self.pdp)))
    }
}

/// The state of the decision point.
#[must_use]
pub fn status_of(pdp: &Pdp) -> pb::GetStatusResponse {
    let counts = &pdp.counts;
    let decisions = [("allow", &counts.allow), ("deny", &counts.deny), ("ask", &counts.ask)];
    pb::GetStatusResponse {
        bundles: pdp.live.all().iter().map(|(name, state)| bundle_status(name, state)).collect(),
        ready: pdp.ready(),
        audit_writable: pdp.audit.status().writable,
        uptime_ms: u64::try_from(pdp.clock.now_ms() - pdp.started_ms).unwrap_or(0),
        decisions: decisions
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed)))
            .collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revocations: pdp.revocation_lists().iter().map(list_to_pb).collect(),
        shadow: pdp.shadow.as_deref().map(shadow_status),
    }
}

fn shadow_status(shadow: &Shadow) -> pb::ShadowStatus {
    let outcomes = shadow.outcomes().into_iter();
    pb::ShadowStatus {
        bundle: Some(bundle_status(DEFAULT_TENANT, &shadow.bundle())),
        sample: shadow.sample(),
        queued: shadow.queued() as u64,
        decisions: outcomes.map(|(outcome, count)| (outcome.as_str().to_owned(), count)).collect(),
    }
}

fn bundle_status(tenant: &str, state: &TenantBundle) -> pb::BundleStatus {
    let live = state.live.as_ref();
    let refused = state.refused.as_ref();
    let (origin, failed) = (state.origin.as_ref(), state.source.failed.as_ref());
    pb::BundleStatus {
        tenant: tenant.to_owned(),
        live: live.map(|bundle| wire::bundle_to_pb(bundle.reference())),
        since: live.map(|_| rfc3339(state.since_ms)).unwrap_or_default(),
        refused: refused.map(|r| format!("{}: {}", r.why.id, r.why.message)).unwrap_or_default(),
        refused_at: refused.map(|r| rfc3339(r.why.at_ms)).unwrap_or_default(),
        trust: live
            .map(|bundle| match bundle.verified().trust() {
                Trust::Signed { .. } => "signed",
                Trust::Unsigned => "unsigned",
            })
            .unwrap_or_default()
            .to_owned(),
        from: origin.map(|origin| origin.from.to_owned()).unwrap_or_default(),
        place: origin.map(|origin| origin.place.clone()).unwrap_or_default(),
        refused_version: refused.and_then(|r| r.version).unwrap_or_default(),
        refused_digest: refused.and_then(|r| r.digest.clone()).unwrap_or_default(),
        last_check: told(state.source.checked_ms),
        last_success: told(state.source.answered_ms),
        last_error: failed.map(|f| format!("{}: {}", f.id, f.message)).unwrap_or_default(),
        last_error_at: failed.map(|f| rfc3339(f.at_ms)).unwrap_or_default(),
    }
}

/// A time, or nothing for never.
fn told(ms: i64) -> String {
    if ms == 0 { String::new() } else { rfc3339(ms) }
}

#[tonic::async_trait]
impl CatalogService for Reports {
    async fn get_catalog(
        &self,
        request: Request<pb::GetCatalogRequest>,
    ) -> Result<Response<pb::GetCatalogResponse>, Status> {
        let peer = peer_of(&request)?;
        let tenant = request.into_inner().tenant;
        let tenant = if tenant.is_empty() { DEFAULT_TENANT } else { &tenant };
        if !peer.serves(tenant) {
            let message = "this enforcement point is not registered for this tenant";
            return Err(status(Code::PermissionDenied, reason::PEP_NOT_REGISTERED_FOR, message));
        }
        let Some(bundle) = self.pdp.live.of(tenant) else {
            return Ok(Response::new(pb::GetCatalogResponse::default()));
        };
        let registry = bundle.registry();
        let entry = |kind: ResourceKind, id: &String, pin: &str| {
            let resource = Resource { kind, id: id.clone() };
            pb::CatalogEntry {
                r#type: kind.as_str().to_owned(),
                effect: registry.effect_of(&resource).as_str().to_owned(),
                id: resource.id,
                pin: pin.to_owned(),
            }
        };
        let tools =
            registry.tools.iter().map(|(id, tool)| entry(ResourceKind::Tool, id, &tool.pin));
        let models = registry.models.keys().map(|id| entry(ResourceKind::Model, id, ""));
        let servers = registry.servers.keys().map(|id| entry(ResourceKind::Server, id, ""));
        Ok(Response::new(pb::GetCatalogResponse {
            bundle_digest: bundle.reference().digest.clone(),
            entries: tools.chain(models).chain(servers).collect(),
        }))
    }
}
