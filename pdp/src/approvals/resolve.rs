//! A person's answer: who gives it, whether it counts, and the record of it. Every attempt that
//! got through the door is on record, refused ones with their reason.

use lictor_audit::{AppendError, Durability, Entry, Kind};
use lictor_identity::{Identity, Presented, Role};
use lictor_proto::call::{Call, Credential, CredentialKind};
use lictor_proto::reason;
use serde_json::{Map, Value, json};

use super::is_approver;
use crate::decide::Pdp;
use crate::state::StateError;
use crate::state::approval::{Answer, ApprovalError, ApprovalRecord};

/// A person's answer as it came.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The approval.
    pub id: &'a str,
    /// Agree or refuse.
    pub approve: bool,
    /// Digest of the binding that the person saw; empty if they do not say.
    pub seen: &'a str,
    /// Why, in their own words.
    pub why: &'a str,
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
    /// Another bundle is live than the one that asked.
    #[error(
        "the policy bundle that asked is not live any more, so agreeing is of no use: let the call be asked about again"
    )]
    OtherBundle,
    /// The person saw another call.
    #[error(
        "the answer is for another call than the one that waits: look at `lictor approvals show` again"
    )]
    OtherCall,
    /// The approval refuses it.
    #[error(transparent)]
    State(#[from] StateError),
    /// It cannot be recorded.
    #[error("the answer cannot be recorded: {0}")]
    Audit(#[from] AppendError),
}

impl ResolveError {
    /// Reason id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Approver { id, .. } => id,
            Self::State(StateError::Unavailable(_)) => reason::STATE_UNAVAILABLE,
            Self::OtherBundle => "approval_other_bundle",
            Self::OtherCall => "approval_other_call",
            Self::State(StateError::Approval(error)) => error.id(),
            Self::State(_) => "approval_refused",
            Self::Audit(_) => reason::AUDIT_UNAVAILABLE,
        }
    }
}

/// What is known of an answer, for its record.
#[derive(Default)]
struct Told(Map<String, Value>);

impl Told {
    fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn text(&self) -> String {
        json!(self.0).to_string()
    }
}

/// Somebody who may answer approvals of their tenant.
struct Approver {
    tenant: String,
    credential: Credential,
    answer: Answer,
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
        given: Given<'_>,
        token: &str,
    ) -> Result<ApprovalRecord, ResolveError> {
        let now_ms = self.clock.now_ms();
        let answer = if given.approve { "approve" } else { "deny" };
        let mut told = Told::default();
        told.set("approval", json!(given.id));
        told.set("answer", json!(answer));
        let resolved = self.answered(given, token, &mut told).await;
        match &resolved {
            Ok(record) => told.set("outcome", json!(record.standing(now_ms).as_str())),
            Err(error) => {
                told.set("outcome", json!(format!("refused: {error}")));
                told.set("refused", json!(error.id()));
            }
        }
        let entry = Entry::new(Kind::Approval, now_ms, told.text());
        self.audit.append(entry, Durability::Sync).await?;
        if resolved.is_ok() {
            self.approval_changes.tell_end();
        }
        resolved
    }

    /// `told` gets everything that is known of the answer, however far it comes.
    async fn answered(
        &self,
        given: Given<'_>,
        token: &str,
        told: &mut Told,
    ) -> Result<ApprovalRecord, ResolveError> {
        let now_ms = self.clock.now_ms();
        let Given { id, approve, seen, why } = given;
        let approver = self.approver(token, approve, now_ms).await?;
        told.set("approver", json!(approver.answer.user));
        told.set("credential", json!(approver.credential));
        let unknown = || StateError::from(ApprovalError::Unknown(id.to_owned()));
        let record = self.state.approval(id).await?;
        // A name in one tenant is not the person of that name in another.
        let record = record.filter(|record| record.binding.tenant == approver.tenant);
        let record = record.ok_or_else(unknown)?;
        let binding = &record.binding;
        told.set("digest", json!(binding.digest()));
        told.set("args_digest", json!(binding.args_digest));
        told.set("bundle_digest", json!(binding.bundle_digest));
        if !seen.is_empty() && seen != binding.digest() {
            return Err(ResolveError::OtherCall);
        }
        if approve && !self.bundle_is_live(&record) {
            return Err(ResolveError::OtherBundle);
        }
        let mut entry = Entry::new(Kind::Approval, now_ms, told.text());
        entry.sensitive.push(("/reason".to_owned(), json!(why).to_string()));
        self.audit.append(entry, Durability::Sync).await?;
        Ok(self.state.resolve(id, approver.answer, now_ms).await?)
    }

    /// Whether the bundle that asked for the approval decides now.
    #[must_use]
    pub fn bundle_is_live(&self, record: &ApprovalRecord) -> bool {
        let live = self.live.of(&record.binding.tenant);
        live.is_some_and(|bundle| bundle.reference().digest == record.binding.bundle_digest)
    }

    /// The registry user behind a token. An agent that acts for somebody is not
    /// that person, so a credential that names an agent never approves.
    async fn approver(
        &self,
        token: &str,
        approve: bool,
        now_ms: i64,
    ) -> Result<Approver, ResolveError> {
        let authenticator = self.approver.as_ref().ok_or_else(|| {
            refuse("approver_unknown", "no [identity] is configured, so nobody can approve")
        })?;
        let identity = authenticator
            .identify(Presented::bearer(token), now_ms)
            .await
            .map_err(|error| refuse(error.id(), &error.to_string()))?;
        if !may_approve(&identity) {
            let message = "approving needs a credential of a person with the role `approver`";
            return Err(refuse(reason::ROLE_MISSING, message));
        }
        if let Some(revoked) = self.revoked(&identity, now_ms) {
            return Err(revoked);
        }
        let user = identity.subject.map(|party| party.id).unwrap_or_default();
        let bundle = self.live.of(&identity.tenant);
        let known = bundle.as_ref().and_then(|b| b.registry().users.get(&user));
        let Some(known) = known else {
            let message = format!("`{user}` is not a user of the registry");
            return Err(refuse("approver_unknown", &message));
        };
        let (teams, by_role) = (known.teams.clone(), is_approver(known));
        Ok(Approver {
            tenant: identity.tenant,
            credential: identity.credential,
            answer: Answer { user, teams, by_role, approve },
        })
    }

    /// Whoever is out of service approves nothing, and sees nothing of it.
    pub(crate) fn revoked(&self, identity: &Identity, now_ms: i64) -> Option<ResolveError> {
        let part = Call {
            tenant: identity.tenant.clone(),
            subject: identity.subject.clone(),
            credential: Some(identity.credential.clone()),
            ..Call::default()
        };
        let reason = self.revocations.check(&part, &part, None, now_ms)?;
        Some(refuse("approver_revoked", &format!("{} ({})", reason.message, reason.id)))
    }
}

fn refuse(id: &'static str, message: &str) -> ResolveError {
    ResolveError::Approver { id, message: message.to_owned() }
}

fn may_approve(identity: &Identity) -> bool {
    identity.agent.is_none()
        && (identity.has(Role::Approver) || identity.credential.kind == CredentialKind::Jwt)
}
