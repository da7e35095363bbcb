//! What the two engines have in common: one question, one outcome.

use std::time::Duration;

use lictor_proto::call::{Call, ResourceKind};
use lictor_proto::decision::{Obligation, Reason};
use lictor_proto::facts::Facts;
use serde::{Deserialize, Serialize};

use crate::registry::Registry;

/// One policy engine over one bundle. Implementations hold no state between
/// calls and never panic on any input.
pub trait Engine: Send + Sync {
    /// `rego` or `cedar`.
    fn name(&self) -> &'static str;

    /// Whether the bundle has any policy for this engine. One that has none takes
    /// no part in `permit_from: all`.
    fn has_policies(&self) -> bool;

    /// Whether it could say anything about an answer that does not hold already, since it was said
    /// about the request: told from the policies at load, and `true` where that cannot be told.
    fn speaks_of_answers(&self) -> bool;

    /// Evaluates everything the engine has to say about one call, once. Verdict
    /// and explanation both come from the returned value.
    fn evaluate(&self, query: &Query<'_>) -> Outcome;

    /// How calls are evaluated from now on. An engine that has one way keeps to it.
    fn evaluate_by(&mut self, _way: Way) {}

    /// The fast path of the engine, if it has such a thing at all.
    fn fast_path(&self) -> Option<FastPath<'_>> {
        None
    }
}

/// By which of its ways an engine evaluates. Each gives the same outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The fast path where the bundle has one. What servers use.
    #[default]
    Fastest,
    /// The interpreter, which is the meaning.
    Interpreter,
    /// Both, and an outcome that differs is a fatal error. What tests, dry runs and replay use.
    Both,
}

/// What is known of a fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastPath<'a> {
    /// It was proved safe; this many instructions.
    Proved(usize),
    /// The interpreter is asked.
    Not(&'a Slow),
}

/// Why a bundle has no fast path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow {
    /// The place that is the cause, as decisions name policies; empty if there is none.
    pub policy: String,
    /// What stands there.
    pub why: String,
    /// Whether the policies are more than the fast path takes.
    pub too_large: bool,
}

impl Slow {
    /// For what stands at `policy`.
    #[must_use]
    pub fn new(policy: &str, why: &str) -> Self {
        Self { policy: policy.to_owned(), why: why.to_owned(), too_large: false }
    }

    /// Because of the size of it all.
    #[must_use]
    pub fn too_large(why: String) -> Self {
        Self { policy: String::new(), why, too_large: true }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The call, as received.
    pub call: &'a Call,
    /// What the decision point knows about it.
    pub facts: &'a Facts,
    /// The signed registry.
    pub registry: &'a Registry,
    /// How much one evaluation may cost.
    pub budget: Budget,
}

/// How much one evaluation may cost. Exceeding any part is a fatal error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Longest time for one engine.
    pub time: Duration,
    /// Largest serialised outcome, in bytes.
    pub output_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { time: Duration::from_millis(100), output_bytes: 1 << 20 }
    }
}

/// Everything one engine said about one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Policies that permit, already narrowed to units whose scope covers the call.
    pub permits: Vec<Fired>,
    /// Policies that forbid.
    pub denies: Vec<Denial>,
    /// Policies that want a person to agree.
    pub asks: Vec<Ask>,
    /// Duties.
    pub obligations: Vec<Duty>,
    /// Quotas that the call draws on.
    pub limits: Vec<LimitWant>,
    /// Labels that the session gains.
    pub labels: Vec<String>,
    /// In phase list: whether the entry may be seen.
    pub listed: bool,
    /// What went wrong. Any fatal one denies the call.
    pub errors: Vec<EngineError>,
    /// What shadow rules would have said; recorded, never enforced.
    pub shadows: Vec<Shadow>,
    /// Where shadow rules would permit: principals that none of the other policies permits. Each
    /// of the call must be.
    pub unpermitted: Vec<String>,
    /// Where shadow rules would permit: policies that permit some of the principals while others
    /// are permitted by none.
    pub held_back: Vec<Fired>,
}

/// A policy that held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fired {
    /// `rego/<unit>/<file>.rego:<line>` or the Cedar `@id`.
    pub policy: String,
    /// Stable id, if the policy gives one.
    pub id: String,
}

/// A policy that forbids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Its reason, with the place that fired.
    pub reason: Reason,
}

/// A policy that wants a person to agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ask {
    /// Its reason, with the place that fired.
    pub reason: Reason,
    /// Registry users or teams who may agree.
    pub approvers: Vec<String>,
    /// How many must.
    pub count: u32,
    /// How long an approval may be waited for, in seconds; 0 means the default.
    pub expires_s: u64,
}

/// An obligation, and when it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Duty {
    /// What must be done.
    pub obligation: Obligation,
    /// A permit's own duty holds only on allow.
    pub only_on_allow: bool,
    /// The place that fired.
    pub policy: String,
}

/// A quota that the call draws on, as policy states it. What policy leaves out,
/// the bundle's `data.limits` must give.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LimitWant {
    /// Id, also of `data.limits`.
    pub id: String,
    /// Canonical text of the key.
    pub key: String,
    /// `rate`, `budget`, `concurrent` or `once`.
    pub kind: Option<String>,
    /// Largest amount.
    pub max: Option<u64>,
    /// `session`, or a duration such as `60s`, `1h`, `day`.
    pub per: Option<String>,
    /// `calls`, `tokens`, `usd_micros` or `bytes`.
    pub unit: Option<String>,
    /// The place that fired.
    pub policy: String,
}

/// What engines say when an evaluation runs out of time.
const LATE: [&str; 2] = ["took longer than", "exceeded time limit"];

/// Something that went wrong in an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineError {
    /// Whether the call is denied for it. Only an erring Cedar permit is not
    /// fatal: it just does not permit.
    pub fatal: bool,
    /// The reason id, `policy_error` or `args_unrepresentable`.
    pub id: &'static str,
    /// What happened.
    pub message: String,
    /// Where.
    pub policy: String,
}

impl EngineError {
    /// Whether the evaluation ran out of time, which another run of it need not.
    #[must_use]
    pub fn is_late(&self) -> bool {
        LATE.iter().any(|words| self.message.contains(words))
    }

    /// A fatal `policy_error`.
    #[must_use]
    pub fn fatal(message: impl Into<String>, policy: impl Into<String>) -> Self {
        Self {
            fatal: true,
            id: lictor_proto::reason::POLICY_ERROR,
            message: message.into(),
            policy: policy.into(),
        }
    }
}

/// What a shadow rule would have said.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// `allow`, `deny`, `ask`, `obligations` or `limits`.
    pub rule: String,
    /// The element's id.
    pub id: String,
    /// The place that fired.
    pub policy: String,
    /// What the outcome would have besides, were the rule enforced.
    pub would: Vec<Would>,
}

impl Shadow {
    /// What one rule is known by, and sorted by.
    #[must_use]
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.rule, &self.id, &self.policy)
    }
}

/// One thing that an outcome would have besides.
#[derive(Debug, Clone, PartialEq)]
pub enum Would {
    /// It would permit these principals.
    Permit {
        /// The policy; in phase list there is none to name.
        fired: Option<Fired>,
        /// Whom.
        principals: Vec<String>,
    },
    /// It would forbid, and in phase list hide.
    Deny(Denial),
    /// A person would have to agree.
    Ask(Ask),
    /// It would add a duty.
    Oblige(Duty),
    /// The call would draw on a quota.
    Draw(LimitWant),
    /// It could not be evaluated, which would be fatal.
    Fail(EngineError),
}

impl Outcome {
    /// An outcome that consists of one fatal error.
    #[must_use]
    pub fn failed(error: EngineError) -> Self {
        Self { errors: vec![error], ..Self::default() }
    }
}

/// Where a unit's permits count. Its denials hold everywhere. A member that is
/// `None` does not narrow; an empty list holds nowhere; a `*` at the end of a name
/// stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Agent ids.
    pub agents: Option<Vec<String>>,
    /// Server ids: of tools, resources and prompts by their first path segment.
    pub servers: Option<Vec<String>>,
    /// Model ids.
    pub models: Option<Vec<String>>,
}

impl Scope {
    /// Whether permits of the unit count for `call`.
    #[must_use]
    pub fn covers(&self, call: &Call) -> bool {
        let agent = call.agent.as_ref().map(|a| a.id.as_str()).unwrap_or_default();
        if self.agents.as_ref().is_some_and(|agents| !named(agents, agent)) {
            return false;
        }
        if self.servers.is_none() && self.models.is_none() {
            return true;
        }
        let Some(resource) = &call.resource else { return false };
        match resource.kind {
            ResourceKind::Model => self.models.as_ref().is_some_and(|m| named(m, &resource.id)),
            _ => {
                let server = resource.id.split('/').next().unwrap_or_default();
                self.servers.as_ref().is_some_and(|servers| named(servers, server))
            }
        }
    }
}

/// Whether one of `patterns` names `name`.
pub(crate) fn named(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    })
}
