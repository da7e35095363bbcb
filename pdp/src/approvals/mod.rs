//! Approvals at the edge of the state.
//!
//! # Layout
//!
//! - this file: what a call's approval is bound to, and who may answer it.
//! - [`resolve`]: a person's answer and its record.
//! - [`wait`]: waiting until somebody has answered.

pub mod resolve;
pub mod wait;

use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::registry::User;
use lictor_proto::call::{Call, ResourceKind};
use lictor_proto::revocation::Involved;
use sha2::{Digest as _, Sha256};

use crate::clock::new_id;
use crate::session::{agent_of, subject_of};
use crate::state::SessionKey;
use crate::state::approval::{Binding, DEFAULT_EXPIRES_S, MAX_EXPIRES_S, NewApproval, Part};

/// Role in the registry that answers asks which name nobody.
const APPROVER_ROLE: &str = "approver";
/// Keeps digests of contents apart from all others.
const CONTENT_DOMAIN: &[u8] = b"lictor/content/1\0";

/// What an approval of `call` is bound to.
#[must_use]
pub fn binding(call: &Call, bundle: &LoadedBundle, session: &SessionKey) -> Binding {
    let resource = call.resource.as_ref();
    let tool = resource.filter(|r| r.kind == ResourceKind::Tool).map(|r| r.id.as_str());
    Binding {
        tenant: call.tenant.clone(),
        session: session.id.clone(),
        subject: subject_of(call).to_owned(),
        agent: agent_of(call).to_owned(),
        delegation: call.delegation.iter().map(|actor| actor.id.clone()).collect(),
        action: call.action.name.clone(),
        resource: resource.map(|r| format!("{}:{}", r.kind.as_str(), r.id)).unwrap_or_default(),
        args_digest: call.args_digest(),
        content_digest: content_digest(call),
        tool_digest: tool.map(|id| bundle.tool_digest(id).to_owned()).unwrap_or_default(),
        bundle_digest: bundle.reference().digest.clone(),
    }
}

/// Digest of every text of `call`, unambiguous in its parts.
fn content_digest(call: &Call) -> String {
    let mut hash = Sha256::new();
    hash.update(CONTENT_DOMAIN);
    for content in &call.content {
        for part in [content.origin.as_str(), &content.pointer, &content.media, &content.text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// The approval that an asking verdict opens for `peer`.
#[must_use]
pub fn new_approval(
    bundle: &LoadedBundle,
    call: &Call,
    verdict: &Verdict,
    peer: &str,
    now_ms: i64,
) -> NewApproval {
    let parts = verdict.asks.iter().map(|ask| Part {
        ask: ask.reason.id.clone(),
        approvers: if ask.approvers.is_empty() {
            registry_approvers(bundle)
        } else {
            ask.approvers.clone()
        },
        count: ask.count.max(1),
        by_role: ask.approvers.is_empty(),
    });
    let seconds = |asked| if asked == 0 { DEFAULT_EXPIRES_S } else { asked };
    let expires_s = verdict.asks.iter().map(|ask| seconds(ask.expires_s)).min();
    let expires_s = expires_s.unwrap_or(DEFAULT_EXPIRES_S).min(MAX_EXPIRES_S);
    NewApproval {
        id: new_id(now_ms),
        parts: parts.collect(),
        expires_ms: now_ms.saturating_add(i64::try_from(expires_s).unwrap_or(0) * 1_000),
        reasons: verdict.reasons.clone(),
        args: call.context.args.text().to_owned(),
        barred: owners(bundle, call),
        credential: call.credential.as_ref().map(|c| c.id.clone()).unwrap_or_default(),
        peer: peer.to_owned(),
    }
}

fn registry_approvers(bundle: &LoadedBundle) -> Vec<String> {
    let users = bundle.registry().users.iter();
    users.filter(|(_, user)| is_approver(user)).map(|(id, _)| id.clone()).collect()
}

fn is_approver(user: &User) -> bool {
    user.roles.iter().any(|role| role == APPROVER_ROLE)
}

fn owners(bundle: &LoadedBundle, call: &Call) -> Vec<String> {
    let mut involved = Involved::default();
    involved.also(call);
    let agents = &bundle.registry().agents;
    involved
        .agents
        .iter()
        .filter_map(|id| agents.get(id))
        .map(|agent| agent.owner.clone())
        .collect()
}
