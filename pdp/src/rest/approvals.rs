//! Approvals over REST, with the rules of `lictor.v1.ApprovalService`, whose methods answer:
//!
//! - `GET /v1/approvals?state=STATE` lists.
//! - `GET /v1/approvals/ID?wait_ms=N` shows one, once it is decided or the time is up.
//! - `POST /v1/approvals/ID/approve` and `/deny` answer one, with an [`AnswerBody`].

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use lictor_identity::Role;
use lictor_proto::pb::approval_service_server::ApprovalService as _;
use lictor_proto::{pb, reason, wire};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use super::{json_response, problem};
use crate::decide::Pdp;
use crate::grpc::approval::Approvals;
use crate::peer::Peer;

/// Where approvals are.
pub(crate) const PREFIX: &str = "/v1/approvals";
/// Largest body of an answer, bytes.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Which approvals to list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    state: String,
}

/// How long to wait.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Patience {
    wait_ms: u32,
}

/// A person's answer.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AnswerBody {
    /// The approver's own credential, where the request was let in by another one.
    approver_token: String,
    /// Why; kept in the audit log.
    reason: String,
    /// The `binding_digest` that the person saw; another call is refused.
    binding_digest: String,
}

type Shared = Extension<Arc<Approvals>>;

/// The routes.
pub(crate) fn routes(pdp: &Arc<Pdp>) -> Router<Arc<Pdp>> {
    Router::new()
        .route("/v1/approvals", get(list))
        .route("/v1/approvals/{id}", get(show))
        .route("/v1/approvals/{id}/approve", post(approve))
        .route("/v1/approvals/{id}/deny", post(deny))
        .layer(DefaultBodyLimit::max(ANSWER_BYTES_MAX))
        .layer(Extension(Arc::new(Approvals::new(Arc::clone(pdp)))))
}

/// Whether `path` is about approvals, which an approver's own credential opens.
pub(crate) fn is_about(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn list(
    Extension(approvals): Shared,
    Extension(peer): Extension<Peer>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(wanted)) = wanted else {
        return unreadable("the query is not `state=STATE`");
    };
    let request = pb::ListApprovalsRequest { state: wanted.state };
    match approvals.list(by(peer, request)).await {
        Ok(answer) => {
            let records = answer.into_inner().approvals;
            let told: Vec<Value> = records.iter().map(wire::approval_record_to_json).collect();
            json_response(StatusCode::OK, json!({ "approvals": told }).to_string())
        }
        Err(refused) => refusal(&refused),
    }
}

async fn show(
    Extension(approvals): Shared,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    patience: Result<Query<Patience>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(patience)) = patience else {
        return unreadable("the query is not `wait_ms=NUMBER`");
    };
    let request = pb::WaitApprovalRequest { id: id.clone(), timeout_ms: patience.wait_ms };
    match approvals.wait(by(peer, request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let told = match &answer.approval {
                Some(record) => wire::approval_record_to_json(record),
                None => json!({ "id": id, "state": answer.state }),
            };
            json_response(StatusCode::OK, told.to_string())
        }
        Err(refused) => refusal(&refused),
    }
}

async fn approve(
    approvals: Shared,
    peer: Extension<Peer>,
    id: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    resolve(approvals, peer, id, &headers, &body, true).await
}

async fn deny(
    approvals: Shared,
    peer: Extension<Peer>,
    id: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    resolve(approvals, peer, id, &headers, &body, false).await
}

async fn resolve(
    Extension(approvals): Shared,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    headers: &HeaderMap,
    body: &[u8],
    approve: bool,
) -> Response {
    let answer = match body {
        [] => Ok(AnswerBody::default()),
        body => serde_json::from_slice::<AnswerBody>(body),
    };
    let Ok(answer) = answer else {
        let members = "an answer is a JSON object of `approver_token`, `reason`, `binding_digest`";
        return unreadable(members);
    };
    let mut approver_token = answer.approver_token;
    if approver_token.is_empty() && peer.has(Role::Approver) {
        // The credential that opened the door is the approver's own.
        approver_token = bearer(headers).unwrap_or_default().to_owned();
    }
    let request = pb::ResolveApprovalRequest {
        id,
        approve,
        approver_token,
        reason: answer.reason,
        binding_digest: answer.binding_digest,
    };
    match approvals.resolve(by(peer, request)).await {
        Ok(answer) => {
            let record = answer.into_inner().approval.unwrap_or_default();
            let told = wire::approval_record_to_json(&record);
            json_response(StatusCode::OK, told.to_string())
        }
        Err(refused) => refusal(&refused),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn by<T>(peer: Peer, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(peer);
    request
}

fn unreadable(message: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, reason::CALL_INVALID, message)
}

/// The same refusal with its status in HTTP.
fn refusal(refused: &Status) -> Response {
    let status = match refused.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let id = refused.metadata().get("lictor-reason").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default();
    // Over gRPC the message begins with the reason.
    let message = refused.message().strip_prefix(id).unwrap_or(refused.message());
    problem(status, id, message.trim_start_matches(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approvers_credential_opens_approvals_and_nothing_beside_them() {
        for path in ["/v1/approvals", "/v1/approvals/a", "/v1/approvals/a/deny"] {
            assert!(is_about(path), "{path}");
        }
        for path in ["/v1/approvalsx", "/v1/decide", "/metrics", "/v2/v1/approvals", "/"] {
            assert!(!is_about(path), "{path}");
        }
    }
}
