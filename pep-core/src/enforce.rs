//! Stage 4: an answer becomes a [`Permit`], or a refusal.
//!
//! This module is the only maker of permits. An answer makes one only if it allows, is no dry run,
//! answers this very call (id and digest), all three questions were asked, and this enforcement
//! point can carry out every obligation.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use lictor_identity::Identity;
use lictor_proto::call::{Call, Resource};
use lictor_proto::decide::{Answer, Hints, ToolEffect};
use lictor_proto::decision::{Decision, Effect, Obligation, ObligationKind};
use lictor_proto::reason;
use sha2::{Digest as _, Sha256};

use crate::refusal::Refusal;

/// How long after the decision a permit may still be used, milliseconds.
pub const PERMIT_TTL_MS: i64 = 30_000;

/// `sha256:<hex>` of the bytes as they are sent.
#[must_use]
pub fn digest_of_bytes(bytes: &[u8]) -> String {
    text_of(&Sha256::digest(bytes).into())
}

fn text_of(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex::encode(digest))
}

/// A call that was allowed, with its obligations still to be carried out. [`crate::Pep::permit`]
/// turns it into a [`Permit`]; [`crate::Pep::give_up`] gives it back.
#[must_use = "an allowed call holds reservations: permit it or give it up"]
pub struct Permitted {
    pub(crate) call: Arc<Call>,
    pub(crate) digest: String,
    pub(crate) answer: Answer,
    pub(crate) identity: Arc<Identity>,
    pub(crate) targets: Vec<String>,
    pub(crate) started_us: i64,
    pub(crate) deadline_ms: i64,
}

impl fmt::Debug for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permitted").field("call_id", &self.call.call_id).finish_non_exhaustive()
    }
}

impl Permitted {
    /// The call as it was decided.
    #[must_use]
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The decision.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.answer.decision
    }

    /// What the registry says about the resource.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.answer.hints
    }

    /// Who calls.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The obligations of one sort.
    pub fn obligations(&self, kind: ObligationKind) -> impl Iterator<Item = &Obligation> {
        self.answer.decision.obligations.iter().filter(move |obligation| obligation.kind == kind)
    }

    /// The base URLs that may be dialled.
    #[must_use]
    pub fn targets(&self) -> &[String] {
        &self.targets
    }

    /// Leaves only the targets that `keep` wants. There is no way to add one.
    pub fn narrow_targets(&mut self, keep: impl FnMut(&String) -> bool) {
        self.targets.retain(keep);
    }

    /// A refusal of this call, for an obligation that could not be carried out.
    #[must_use]
    pub fn refuse(&self, id: &str, message: impl Into<String>) -> Refusal {
        Refusal::new(id, message).of_call(&self.call, &self.answer.decision.decision_id)
    }
}

/// The right to send these bytes to these targets, once, until a deadline.
pub struct Permit {
    call_id: String,
    decision_id: String,
    resource: Resource,
    targets: Vec<String>,
    digest: [u8; 32],
    effect: ToolEffect,
    deadline_ms: i64,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("call_id", &self.call_id)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

/// Why a permit does not cover what was about to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// The permit names other targets.
    #[error("`{0}` is not a target that the permit names")]
    Target(String),
    /// Other bytes than those that were permitted.
    #[error("the bytes to forward are not those that were permitted")]
    Bytes,
    /// Too late.
    #[error("the permit's deadline has passed: ask for a new decision")]
    Late,
}

impl PermitError {
    /// The reason id to refuse with.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            Self::Target(_) => reason::UPSTREAM_UNKNOWN,
            Self::Bytes => reason::OBLIGATION_FAILED,
            Self::Late => reason::DEADLINE_PASSED,
        }
    }
}

impl Permit {
    /// The call.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The decision.
    #[must_use]
    pub fn decision_id(&self) -> &str {
        &self.decision_id
    }

    /// What may be called.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The base URLs that may be dialled.
    #[must_use]
    pub fn targets(&self) -> &[String] {
        &self.targets
    }

    /// `sha256:<hex>` of the bytes that may be sent.
    pub(crate) fn digest_text(&self) -> String {
        text_of(&self.digest)
    }

    /// What the resource does to the world; anything but `none` is never sent twice.
    #[must_use]
    pub fn effect(&self) -> ToolEffect {
        self.effect
    }

    /// Whether `url` lies under a named target: same scheme, host and port, and a path that starts
    /// with the target's path at a segment boundary.
    ///
    /// # Errors
    /// [`PermitError::Target`].
    pub fn check_target(&self, url: &Uri) -> Result<(), PermitError> {
        let covered = self
            .targets
            .iter()
            .filter_map(|target| target.parse::<Uri>().ok())
            .any(|target| covers(&target, url));
        if covered { Ok(()) } else { Err(PermitError::Target(url.to_string())) }
    }

    /// Gives `bytes` back only if they are those that were permitted, and it is not too late.
    ///
    /// # Errors
    /// [`PermitError`].
    pub fn forward(&self, bytes: Bytes, now_ms: i64) -> Result<Bytes, PermitError> {
        if now_ms > self.deadline_ms {
            return Err(PermitError::Late);
        }
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if digest == self.digest { Ok(bytes) } else { Err(PermitError::Bytes) }
    }
}

fn covers(target: &Uri, url: &Uri) -> bool {
    if target.scheme() != url.scheme() || target.authority() != url.authority() {
        return false;
    }
    // A path that climbs could leave the target after normalisation further on.
    let path = url.path();
    let climbs = path.contains(['.', '%'])
        && path.split('/').any(|segment| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == ".." || plain == "."
        });
    let base = target.path().trim_end_matches('/');
    !climbs && path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `answer` allows `call`, whose digest is `digest`, and may be acted on.
pub(crate) fn check_answer(
    call: &Call,
    digest: &str,
    answer: &Answer,
    abilities: &[ObligationKind],
) -> Result<(), Refusal> {
    let decision = &answer.decision;
    let refuse = |id: &str, message: String| {
        Err(Refusal::new(id, message).of_call(call, &decision.decision_id))
    };
    if decision.call_id != call.call_id {
        return refuse(reason::PDP_UNAVAILABLE, "the decision answers another call".to_owned());
    }
    if decision.effect != Effect::Allow {
        return Err(Refusal::of_decision(decision));
    }
    if decision.request_digest != digest {
        return refuse(reason::PDP_UNAVAILABLE, "the decision answers other content".to_owned());
    }
    if decision.dry_run {
        return refuse(reason::NO_PERMIT, "a dry run permits nothing".to_owned());
    }
    let unknown = decision.obligations.iter().find(|o| !abilities.contains(&o.kind));
    if let Some(obligation) = unknown {
        let kind = obligation.kind.as_str();
        return refuse(
            reason::OBLIGATION_UNKNOWN,
            format!("this enforcement point cannot carry out `{kind}`"),
        );
    }
    Ok(())
}

/// The permit for `bytes`, which are what is to be sent after every obligation.
pub(crate) fn permit(permitted: &Permitted, bytes: &[u8], now_ms: i64) -> Result<Permit, Refusal> {
    if !permitted.call.asks_all() {
        return Err(permitted.refuse(
            reason::NO_PERMIT,
            "only authorization, guardrail and quota together can permit a call",
        ));
    }
    if now_ms > permitted.deadline_ms {
        return Err(permitted.refuse(reason::DEADLINE_PASSED, "the decision came too late"));
    }
    let Some(resource) = permitted.call.resource.clone() else {
        return Err(permitted.refuse(reason::RESOURCE_UNKNOWN, "the call names no resource"));
    };
    Ok(Permit {
        call_id: permitted.call.call_id.clone(),
        decision_id: permitted.answer.decision.decision_id.clone(),
        resource,
        targets: permitted.targets.clone(),
        digest: Sha256::digest(bytes).into(),
        effect: permitted.answer.hints.effect,
        deadline_ms: permitted.deadline_ms,
    })
}

#[cfg(test)]
#[path = "enforce_tests.rs"]
mod tests;
