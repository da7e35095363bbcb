//! REST beside gRPC on the same port: one decision as Lictor JSON, health and
//! metrics.
//!
//! # Layout
//!
//! - this file: decisions, health, metrics, status.
//! - [`approvals`]: what waits for a person, and the person's answer.

pub mod approvals;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use lictor_identity::Role;
use lictor_proto::call::{Call, CallError};
use lictor_proto::decide::DecideError;
use lictor_proto::decision::Reason;
use lictor_proto::{pb, reason};
use serde_json::{Value, json};

use crate::decide::Pdp;
use crate::peer::Peer;

/// Largest body of one call, in bytes.
pub const CALL_BYTES_MAX: usize = 4 << 20;

/// The routes; all but health need an authenticated peer.
pub fn routes(pdp: Arc<Pdp>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/decide", post(decide))
        .layer(axum::extract::DefaultBodyLimit::max(CALL_BYTES_MAX))
        .merge(approvals::routes(&pdp))
        .with_state(pdp)
}

async fn ready(State(pdp): State<Arc<Pdp>>) -> Response {
    if pdp.ready() {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response()
    }
}

async fn metrics(State(pdp): State<Arc<Pdp>>) -> String {
    crate::metrics::metrics_text(&pdp)
}

async fn status(State(pdp): State<Arc<Pdp>>) -> Response {
    let status = crate::grpc::status::status_of(&pdp);
    let bundles: Vec<_> = status.bundles.iter().map(bundle).collect();
    let shadow = status.shadow.as_ref().map(|s| {
        json!({
            "bundle": s.bundle.as_ref().map(bundle), "sample": s.sample, "queued": s.queued,
            "decisions": s.decisions,
        })
    });
    let revocations: Vec<_> = status
        .revocations
        .iter()
        .map(|l| {
            json!({
                "name": l.name, "version": l.version, "entries": l.entries,
                "issued_at_ms": l.issued_at_ms, "expires_ms": l.expires_ms, "stale": l.stale,
                "kid": l.kid, "refused": l.refused, "refused_at_ms": l.refused_at_ms,
            })
        })
        .collect();
    let body = json!({
        "bundles": bundles, "revocations": revocations, "ready": status.ready, "audit_writable": status.audit_writable,
        "uptime_ms": status.uptime_ms, "decisions": status.decisions, "version": status.version,
        "shadow": shadow,
    });
    json_response(StatusCode::OK, body.to_string())
}

fn bundle(b: &pb::BundleStatus) -> Value {
    json!({
        "tenant": b.tenant,
        "name": b.live.as_ref().map(|l| l.name.clone()),
        "revision": b.live.as_ref().map(|l| l.revision.clone()),
        "version": b.live.as_ref().map(|l| l.version),
        "digest": b.live.as_ref().map(|l| l.digest.clone()),
        "since": b.since, "trust": b.trust,
        "from": b.from, "place": b.place,
        "refused": b.refused, "refused_at": b.refused_at,
        "refused_version": (b.refused_version > 0).then_some(b.refused_version),
        "refused_digest": (!b.refused_digest.is_empty()).then_some(&b.refused_digest),
        "last_check": b.last_check, "last_success": b.last_success,
        "last_error": b.last_error, "last_error_at": b.last_error_at,
    })
}

async fn decide(
    State(pdp): State<Arc<Pdp>>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Response {
    if !peer.has(Role::Pep) {
        return problem(
            StatusCode::FORBIDDEN,
            reason::ROLE_MISSING,
            "deciding needs the role `pep`",
        );
    }
    let call = match Call::from_json(&body) {
        Ok(call) if !call.call_id.is_empty() => call,
        Ok(_) => {
            return problem(
                StatusCode::BAD_REQUEST,
                reason::CALL_INVALID,
                "the call has no `call_id`",
            );
        }
        Err(error) => return malformed(&pdp, &peer, &error).await,
    };
    match pdp.decide(&peer, Arc::new(call), 0).await {
        Ok(answer) => json_response(StatusCode::OK, answer.decision.to_json()),
        Err(error @ DecideError::Unavailable(_)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, error.reason_id(), &error.to_string())
        }
        Err(error) => problem(StatusCode::FORBIDDEN, error.reason_id(), &error.to_string()),
    }
}

async fn malformed(pdp: &Pdp, peer: &Peer, error: &CallError) -> Response {
    let reason = Reason::new(error.reason_id(), error.to_string());
    match pdp.refuse_malformed(peer, "", reason).await {
        Ok(answer) => json_response(StatusCode::BAD_REQUEST, answer.decision.to_json()),
        Err(error) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, error.reason_id(), &error.to_string())
        }
    }
}

fn json_response(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A refusal that is not a decision.
pub(crate) fn problem(status: StatusCode, id: &str, message: &str) -> Response {
    json_response(status, json!({ "error": { "id": id, "message": message } }).to_string())
}
