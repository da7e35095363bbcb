//! The decision: what the decision point answers.

use serde::{Deserialize, Serialize};

use crate::json::Open;

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// UUID v7, made by the decision point.
    pub decision_id: String,
    /// The call that is answered.
    pub call_id: String,
    /// What is to happen.
    pub effect: Effect,
    /// True if nothing was reserved or stored; never makes a permit.
    pub dry_run: bool,
    /// Why, sorted by id.
    pub reasons: Vec<Reason>,
    /// What the enforcement point must do for the decision to hold.
    pub obligations: Vec<Obligation>,
    /// What the detectors saw.
    pub findings: Vec<Finding>,
    /// The limits that this call drew on.
    pub limits: Vec<LimitState>,
    /// Whether the effect has already happened.
    pub executed: bool,
    /// The approval that is waited for, if the effect is `ask`.
    pub approval: Option<Approval>,
    /// The session's labels after this decision.
    pub labels: Labels,
    /// The bundle that decided; absent if none was live.
    pub bundle: Option<BundleRef>,
    /// Digest of the call that was decided.
    pub request_digest: String,
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It may be done, if every obligation is carried out.
    Allow,
    /// It must not be done.
    Deny,
    /// A person must agree first.
    Ask,
}

impl Effect {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Stable id, `[a-z0-9_.]+`.
    pub id: String,
    /// For the caller.
    pub message: String,
    /// For the operator only; an enforcement point never passes it on.
    #[serde(default)]
    pub detail: String,
    /// The place in the policy that fired, `file:line` or a Cedar policy id.
    #[serde(default)]
    pub policy: String,
}

impl Reason {
    /// A reason of Lictor's own, without a place in policy.
    #[must_use]
    pub fn new(id: &str, message: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            message: message.into(),
            detail: String::new(),
            policy: String::new(),
        }
    }

    /// The same with a detail for the operator.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Something the enforcement point must do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obligation {
    /// Stable id.
    pub id: String,
    /// What sort.
    #[serde(rename = "type")]
    pub kind: ObligationKind,
    /// What exactly.
    #[serde(default)]
    pub properties: Open,
}

/// The closed set of obligations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObligationKind {
    /// Replace what detectors found.
    Mask,
    /// Send to this upstream.
    Route,
    /// At most so many tokens.
    CapTokens,
    /// Add this header to what is forwarded.
    SetHeader,
    /// Take these tools out of the request.
    StripTools,
    /// Mark untrusted text as such.
    Spotlight,
    /// Ask for a stronger credential.
    StepUp,
    /// Tell somebody.
    Notify,
    /// Raise a label.
    Label,
    /// Keep values in the audit side store.
    LogFull,
}

impl ObligationKind {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Route => "route",
            Self::CapTokens => "cap_tokens",
            Self::SetHeader => "set_header",
            Self::StripTools => "strip_tools",
            Self::Spotlight => "spotlight",
            Self::StepUp => "step_up",
            Self::Notify => "notify",
            Self::Label => "label",
            Self::LogFull => "log_full",
        }
    }
}

/// What a detector saw. Never carries the matched value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// `secret/aws-access-token`, `pii/card`, ….
    pub detector: String,
    /// `secret`, `pii`, `hidden`, ….
    pub category: String,
    /// How bad.
    pub severity: Severity,
    /// How sure, 0 to 1.
    pub score: f64,
    /// Index into the call's `content`.
    pub content: u32,
    /// First byte in the UTF-8 text.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// Should not pass.
    High,
    /// Must not pass.
    Critical,
}

impl Severity {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One limit that the call drew on, after the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitState {
    /// The limit's id.
    pub id: String,
    /// Units this call holds.
    pub reserved: u64,
    /// Units left for others.
    pub remaining: u64,
    /// When it is full again, RFC 3339; empty if never.
    pub reset_at: String,
    /// When to try again, in milliseconds; 0 if there was room.
    pub retry_after_ms: u64,
}

/// An approval that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id, for `lictor approvals`.
    pub id: String,
    /// RFC 3339.
    pub expires: String,
    /// Who may agree: registry users or teams.
    pub approvers: Vec<String>,
    /// How many must.
    pub count: u32,
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Waited for.
    Pending,
    /// Given, not used yet.
    Approved,
    /// Refused.
    Denied,
    /// Given and used.
    Used,
    /// Past its time.
    Expired,
    /// Somebody with part in it was revoked.
    Voided,
}

impl Standing {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Denied, Self::Used, Self::Expired, Self::Voided];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Voided => "voided",
        }
    }

    /// The standing of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == name)
    }
}

/// What a session was exposed to. Labels only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// Whether untrusted text came in.
    pub integrity: Integrity,
    /// The most confidential thing that was read.
    pub confidentiality: Confidentiality,
}

impl Default for Labels {
    /// What an unknown session must be taken for.
    fn default() -> Self {
        Self { integrity: Integrity::Untrusted, confidentiality: Confidentiality::Public }
    }
}

impl Labels {
    /// The higher of each.
    #[must_use]
    pub fn raised_by(self, other: Self) -> Self {
        Self {
            integrity: self.integrity.max(other.integrity),
            confidentiality: self.confidentiality.max(other.confidentiality),
        }
    }
}

/// Whether untrusted text came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// Only trusted sources so far.
    Trusted,
    /// Something untrusted was read.
    #[default]
    Untrusted,
}

impl Integrity {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        }
    }
}

/// The most confidential thing that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Confidentiality {
    /// Anybody may know.
    #[default]
    Public,
    /// Of the organisation.
    Internal,
    /// Of few.
    Secret,
}

impl Confidentiality {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Secret => "secret",
        }
    }
}

/// Which bundle decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRef {
    /// The bundle's name.
    pub name: String,
    /// The author's revision text.
    pub revision: String,
    /// Rises with every release.
    pub version: u64,
    /// `sha256:…` of the archive.
    pub digest: String,
}

impl Decision {
    /// A denial without a bundle's say: what every failure ends in.
    #[must_use]
    pub fn denied(decision_id: &str, call_id: &str, reason: Reason) -> Self {
        Self {
            decision_id: decision_id.to_owned(),
            call_id: call_id.to_owned(),
            effect: Effect::Deny,
            dry_run: false,
            reasons: vec![reason],
            obligations: Vec::new(),
            findings: Vec::new(),
            limits: Vec::new(),
            executed: false,
            approval: None,
            labels: Labels::default(),
            bundle: None,
            request_digest: String::new(),
        }
    }

    /// Whether any reason has this id.
    #[must_use]
    pub fn has_reason(&self, id: &str) -> bool {
        self.reasons.iter().any(|reason| reason.id == id)
    }

    /// The longest time that any limit asks to wait, in milliseconds.
    #[must_use]
    pub fn retry_after_ms(&self) -> u64 {
        self.limits.iter().map(|limit| limit.retry_after_ms).max().unwrap_or(0)
    }

    /// Lictor JSON, every declared member present.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::written::decision(self)
    }
}
