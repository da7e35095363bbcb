//! The first step of a decision: what can be said about a call before any engine
//! runs. Either a plan of what is wanted, or a denial.

use lictor_proto::call::{Call, Content, Phase, Question, ResourceKind};
use lictor_proto::decide::{Hints, ResponseCheck};
use lictor_proto::decision::Reason;
use lictor_proto::reason;

use crate::bundle::Staleness;
use crate::load::LoadedBundle;

/// Every action that may be asked about. An action outside this list is denied.
pub const ACTIONS: [&str; 28] = [
    "a2a/message",
    "completion/complete",
    "elicitation/create",
    "llm/chat",
    "llm/embed",
    "llm/other",
    "llm/responses",
    "logging/setLevel",
    "mcp/connect",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "session/open",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
    "server/discover",
];

/// What a decision wants to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Whether session facts are read, so that the commit must compare-and-set.
    pub wants_session: bool,
    /// Whether detectors run.
    pub wants_detectors: bool,
    /// Whether engines run.
    pub wants_engines: bool,
    /// For the enforcement point.
    pub hints: Hints,
}

impl Plan {
    /// The plan of a call that is denied at once.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            wants_session: false,
            wants_detectors: false,
            wants_engines: false,
            hints: Hints::default(),
        }
    }
}

/// Plans one call, or denies it.
///
/// # Errors
/// The reason of a denial that no policy can change.
pub fn plan(bundle: &LoadedBundle, call: &Call, now_ms: i64) -> Result<Plan, Reason> {
    freshness(bundle, now_ms)?;
    if !ACTIONS.contains(&call.action.name.as_str()) {
        let message = format!("the action `{}` is not known", call.action.name);
        return Err(Reason::new(reason::METHOD_UNKNOWN, message));
    }
    if call.asks(Question::Authz) {
        bundle.agents_at(now_ms).check(call)?;
        known_resource(bundle, call, now_ms)?;
        if call.phase == Phase::Request {
            valid_arguments(bundle, call)?;
        }
    }
    let effect = call.resource.as_ref().map(|r| bundle.registry().effect_of(r)).unwrap_or_default();
    Ok(Plan {
        wants_session: bundle.reads_session(),
        wants_detectors: wants_detectors(bundle, call),
        wants_engines: true,
        hints: Hints { effect, response_check: response_check(bundle, call), ..Hints::default() },
    })
}

/// Detectors run only where one of them could have anything to say.
fn wants_detectors(bundle: &LoadedBundle, call: &Call) -> bool {
    let detectors = bundle.detectors();
    let wants = |part: &Content| detectors.wants(part.origin, &part.media, &part.text);
    call.phase != Phase::List && call.content.iter().any(wants)
}

/// A second decision is asked only where something could come of it.
fn response_check(bundle: &LoadedBundle, call: &Call) -> ResponseCheck {
    if call.phase == Phase::Request { bundle.response_check() } else { ResponseCheck::None }
}

fn freshness(bundle: &LoadedBundle, now_ms: i64) -> Result<(), Reason> {
    if !bundle.times_enforced() {
        return Ok(());
    }
    if bundle.verified().is_out_of_time(now_ms) {
        let message = "the policy bundle is outside its time of validity";
        return Err(Reason::new(reason::BUNDLE_EXPIRED, message));
    }
    match bundle.verified().staleness(now_ms) {
        Staleness::Fresh { .. } | Staleness::Unlimited => Ok(()),
        Staleness::Stale { .. } | Staleness::Unproven => {
            let message = "the policy bundle's freshness is not proved";
            Err(Reason::new(reason::BUNDLE_STALE, message))
        }
    }
}

fn known_resource(bundle: &LoadedBundle, call: &Call, now_ms: i64) -> Result<(), Reason> {
    // Opening a session is about the agent itself.
    if call.action.name == "session/open" && call.resource.is_none() {
        return Ok(());
    }
    let Some(resource) = &call.resource else {
        return Err(Reason::new(reason::RESOURCE_UNKNOWN, "the call names no resource"));
    };
    // An agent that does not act is not spoken to either.
    if resource.kind == ResourceKind::Agent && bundle.registry().agents.contains_key(&resource.id) {
        return bundle.agents_at(now_ms).active(&resource.id).map(|_| ());
    }
    if bundle.registry().knows(resource) {
        return Ok(());
    }
    let message =
        format!("the {} `{}` is not in the registry", resource.kind.as_str(), resource.id);
    Err(Reason::new(reason::RESOURCE_UNKNOWN, message))
}

/// Arguments are checked against the tool's schema before any engine sees them:
/// `null <= 500` is true in Rego.
fn valid_arguments(bundle: &LoadedBundle, call: &Call) -> Result<(), Reason> {
    let Some(resource) = call.resource.as_ref().filter(|r| r.kind == ResourceKind::Tool) else {
        return Ok(());
    };
    if call.action.name != "tools/call" {
        return Ok(());
    }
    let Some(schema) = bundle.schema_of(&resource.id) else {
        let message = format!("the tool `{}` has no argument schema in the registry", resource.id);
        return Err(Reason::new(reason::SCHEMA_MISSING, message)
            .with_detail("add `input_schema` or `\"schema\": \"any\"` to the registry entry"));
    };
    schema.check(call.context.args.node()).map_err(|problem| {
        let message = format!("arguments do not fit the tool's schema at `{}`", problem.pointer);
        Reason::new(reason::ARGS_INVALID, message).with_detail(problem.message)
    })
}
