//! What the decision point knows and the caller may not say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decision::{Confidentiality, Finding, Integrity, Labels};

/// Facts about one call. Written by the decision point only; test cases and dry
/// runs may state any.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Attributes of the subject from the signed registry.
    pub subject: Attributes,
    /// Attributes of the agent from the signed registry.
    pub agent: Attributes,
    /// Attributes of the actors from the signed registry, in the order of the
    /// call's `delegation`.
    pub delegation: Vec<Attributes>,
    /// Attributes of the resource from the signed registry.
    pub resource: Attributes,
    /// What the session has done and was exposed to.
    pub session: SessionFacts,
    /// What the detectors saw.
    pub findings: Vec<Finding>,
    /// Unusual behaviour.
    pub signals: Signals,
    /// Where argument values came from, by JSON pointer.
    pub provenance: BTreeMap<String, Value>,
    /// When the decision is made.
    pub time: Time,
}

/// Attributes of one registry entry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attributes {
    /// The registry entry, empty where the registry has none.
    pub attrs: Map<String, Value>,
}

/// What a session has done so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionFacts {
    /// Permitted calls by resource id.
    pub calls: BTreeMap<String, u64>,
    /// The last permitted resources, oldest first.
    pub tail: Vec<String>,
    /// Calls permitted and not yet settled.
    pub pending: Vec<String>,
    /// What the session was exposed to.
    pub labels: Labels,
    /// Ids of approvals that cover this very call.
    pub approvals: Vec<String>,
    /// Spent so far, in millionths of a US dollar.
    pub spend_usd_micros: u64,
    /// How the session came to be.
    pub kind: SessionKind,
    /// Free labels that policy added.
    pub marks: Vec<String>,
}

impl Default for SessionFacts {
    fn default() -> Self {
        Self {
            calls: BTreeMap::new(),
            tail: Vec::new(),
            pending: Vec::new(),
            labels: Labels {
                integrity: Integrity::Trusted,
                confidentiality: Confidentiality::Public,
            },
            approvals: Vec::new(),
            spend_usd_micros: 0,
            kind: SessionKind::Opened,
            marks: Vec::new(),
        }
    }
}

/// How a session came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// By a `session/open` decision.
    #[default]
    Opened,
    /// By calling without a handle.
    Implicit,
}

/// Signals are facts for policy, never actions by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signals {
    /// How often this very call was just repeated.
    #[serde(rename = "loop")]
    pub repeats: u64,
    /// The same, counting only rounds that had the same results too.
    pub no_progress: u64,
    /// The first use of this resource by this agent.
    pub first_use: bool,
    /// Present rate over the usual rate; 1 is usual.
    pub rate: f64,
}

/// The moment of the decision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// Unix milliseconds.
    pub now_ms: i64,
    /// The same in RFC 3339.
    pub rfc3339: String,
}
