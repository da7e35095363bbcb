//! Approvals at the edge of the state: what a call's approval is bound to, who
//! may answer it, and the record of the answer.

use lictor_audit::{Durability, Entry, Kind};
use lictor_identity::{Identity, Presented, Role};
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::load::LoadedBundle;
use lictor_proto::call::{Call, CredentialKind, ResourceKind};
use lictor_proto::reason;
use serde_json::json;

use crate::clock::new_id;
use crate::decide::Pdp;
use crate::session::{agent_of, subject_of};
use crate::state::approval::{
    Answer, ApprovalRecord, Binding, DEFAULT_EXPIRES_S, MAX_EXPIRES_S, NewApproval, Part,
};
use crate::state::{SessionKey, StateError};

/// Role in the registry that answers asks which name nobody.
const APPROVER_ROLE: &str = "approver";

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
        tool_digest: tool.map(|id| bundle.tool_digest(id).to_owned()).unwrap_or_default(),
        bundle_digest: bundle.reference().digest.clone(),
    }
}

/// The approval that an asking verdict opens.
#[must_use]
pub fn new_approval(
    bundle: &LoadedBundle,
    call: &Call,
    verdict: &Verdict,
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
    }
}

fn registry_approvers(bundle: &LoadedBundle) -> Vec<String> {
    let users = bundle.registry().users.iter();
    let holds = |roles: &[String]| roles.iter().any(|role| role == APPROVER_ROLE);
    users.filter(|(_, user)| holds(&user.roles)).map(|(id, _)| id.clone()).collect()
}

fn owners(bundle: &LoadedBundle, call: &Call) -> Vec<String> {
    let actors = call.agent.iter().chain(&call.delegation);
    let agents = &bundle.registry().agents;
    actors.filter_map(|actor| agents.get(&actor.id)).map(|agent| agent.owner.clone()).collect()
}

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody who may approve.
    #[error("{message}")]
    Approver {
        /// Reason id.
        id: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The approval refuses it.
    #[error(transparent)]
    State(#[from] StateError),
    /// It cannot be recorded.
    #[error("the answer cannot be recorded: {0}")]
    Audit(#[from] lictor_audit::AppendError),
}

impl ResolveError {
    /// Reason id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Approver { id, .. } => id,
            Self::State(_) => "approval_refused",
            Self::Audit(_) => reason::AUDIT_UNAVAILABLE,
        }
    }
}

impl Pdp {
    /// All approvals, newest first.
    ///
    /// # Errors
    /// [`StateError`] if the store does not answer.
    pub async fn approvals(&self) -> Result<Vec<ApprovalRecord>, StateError> {
        self.state.approvals(self.clock.now_ms()).await
    }

    /// Takes one person's answer, proved by their own credential. The record comes
    /// first: an approval without evidence of who gave it must not count.
    ///
    /// # Errors
    /// [`ResolveError`] says why it is not taken.
    pub async fn resolve(
        &self,
        id: &str,
        approve: bool,
        token: &str,
        why: &str,
    ) -> Result<ApprovalRecord, ResolveError> {
        let now_ms = self.clock.now_ms();
        let answer = self.approver(token, approve, now_ms)?;
        let body = json!({
            "approval": id,
            "answer": if approve { "approve" } else { "deny" },
            "approver": answer.user,
        });
        let mut entry = Entry::new(Kind::Approval, now_ms, body.to_string());
        entry.sensitive.push(("/reason".to_owned(), json!(why).to_string()));
        self.audit.append(entry, Durability::Sync).await?;
        let resolved = self.state.resolve(id, answer, now_ms).await;
        let outcome = match &resolved {
            Ok(record) => record.standing(now_ms).as_str().to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let body = json!({ "approval": id, "outcome": outcome });
        self.audit
            .append(Entry::new(Kind::Approval, now_ms, body.to_string()), Durability::Sync)
            .await?;
        Ok(resolved?)
    }

    /// The registry user behind a token. An agent that acts for somebody is not
    /// that person, so a credential that names an agent never approves.
    fn approver(&self, token: &str, approve: bool, now_ms: i64) -> Result<Answer, ResolveError> {
        let refuse = |id, message: &str| ResolveError::Approver { id, message: message.to_owned() };
        let authenticator = self.approver.as_ref().ok_or_else(|| {
            refuse("approver_unknown", "no [identity] is configured, so nobody can approve")
        })?;
        let identity =
            authenticator.authenticate(Presented::bearer(token), now_ms).map_err(|error| {
                ResolveError::Approver { id: error.id(), message: error.to_string() }
            })?;
        if !may_approve(&identity) {
            return Err(refuse(
                reason::ROLE_MISSING,
                "approving needs a credential of a person with the role `approver`",
            ));
        }
        let user = identity.subject.map(|party| party.id).unwrap_or_default();
        let bundle = self.live.of(&identity.tenant);
        let known = bundle.as_ref().and_then(|b| b.registry().users.get(&user));
        let Some(known) = known else {
            let message = format!("`{user}` is not a user of the registry");
            return Err(refuse("approver_unknown", &message));
        };
        Ok(Answer { teams: known.teams.clone(), user, approve })
    }
}

fn may_approve(identity: &Identity) -> bool {
    identity.agent.is_none()
        && (identity.has(Role::Approver) || identity.credential.kind == CredentialKind::Jwt)
}
