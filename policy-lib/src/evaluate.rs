//! Plan and facts -> verdict: detectors, both engines, combination. The step that
//! server, tests, dry run and replay share; nothing in it depends on who calls.

use lictor_proto::call::{Call, Phase, Question, ResourceKind};
use lictor_proto::decision::{
    Confidentiality, Effect, Finding, Integrity, Labels, Obligation, ObligationKind, Reason,
};
use lictor_proto::facts::{Attributes, Facts, Time};
use lictor_proto::reason;
use serde::{Deserialize, Serialize};

use crate::agents::AGENT;
use crate::combine::{Combined, Terms, Voice, combine};
use crate::engine::{Ask, Budget, EngineError, Fired, LimitWant, Query};
use crate::limits::{LimitError, LimitRequest, Setting, complete};
use crate::load::LoadedBundle;
use crate::plan::Plan;
use crate::registry::Source;
use crate::shadow::{self, Shadows};

/// What policy says about a call, before limits are reserved. Serializable, because a store gives
/// it again to whoever repeats the call; what only explains it is in the record of the first answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// `Allow` still has to pass the limits.
    pub effect: Effect,
    /// Why, sorted.
    pub reasons: Vec<Reason>,
    /// Merged duties.
    pub obligations: Vec<Obligation>,
    /// What the detectors saw.
    pub findings: Vec<Finding>,
    /// Limits to reserve if the effect is `Allow`.
    pub limits: Vec<LimitRequest>,
    /// Asks that no approval covers.
    pub asks: Vec<Ask>,
    /// Ids of asks that an approval covered: the commit consumes it.
    pub approvals_used: Vec<String>,
    /// Free labels that the session gains.
    pub marks: Vec<String>,
    /// Labels of the session once the call is permitted.
    pub labels: Labels,
    /// Policies that permitted, for the explanation.
    pub permits: Vec<Fired>,
    /// Errors of the engines, fatal or not.
    #[serde(skip)]
    pub errors: Vec<EngineError>,
    /// What shadow rules would have changed.
    #[serde(skip)]
    pub shadows: Shadows,
    /// Engines that took part.
    #[serde(skip)]
    pub engines: Vec<&'static str>,
}

impl Verdict {
    /// A verdict for a call that the plan denied.
    #[must_use]
    pub fn denied(reason: Reason) -> Self {
        Self {
            effect: Effect::Deny,
            reasons: vec![reason],
            obligations: Vec::new(),
            findings: Vec::new(),
            limits: Vec::new(),
            asks: Vec::new(),
            approvals_used: Vec::new(),
            marks: Vec::new(),
            labels: Labels::default(),
            permits: Vec::new(),
            errors: Vec::new(),
            shadows: Shadows::default(),
            engines: Vec::new(),
        }
    }
}

/// Completes facts with what the registry and the clock say. Members that are
/// stated already (test cases, dry runs) stay.
#[must_use]
pub fn complete_facts(bundle: &LoadedBundle, call: &Call, mut facts: Facts, now_ms: i64) -> Facts {
    if facts.subject.attrs.is_empty()
        && let Some(subject) = &call.subject
    {
        let map = if subject.kind == AGENT { "agents" } else { "users" };
        facts.subject.attrs = bundle.attributes(map, &subject.id);
    }
    if facts.agent.attrs.is_empty()
        && let Some(agent) = &call.agent
    {
        facts.agent.attrs = bundle.attributes("agents", &agent.id);
    }
    if facts.delegation.is_empty() {
        let actors = call.delegation.iter();
        let attrs = actors.map(|actor| bundle.attributes("agents", &actor.id));
        facts.delegation = attrs.map(|attrs| Attributes { attrs }).collect();
    }
    if facts.resource.attrs.is_empty()
        && let Some(resource) = &call.resource
        && let Some(map) = map_of(resource.kind)
    {
        facts.resource.attrs = bundle.attributes(map, &resource.id);
    }
    if facts.time.now_ms == 0 {
        let rfc3339 = jiff::Timestamp::from_millisecond(now_ms).map(|t| t.to_string());
        facts.time = Time { now_ms, rfc3339: rfc3339.unwrap_or_default() };
    }
    facts
}

fn map_of(kind: ResourceKind) -> Option<&'static str> {
    match kind {
        ResourceKind::Tool => Some("tools"),
        ResourceKind::Model => Some("models"),
        ResourceKind::Server => Some("servers"),
        ResourceKind::Agent => Some("agents"),
        ResourceKind::Resource | ResourceKind::Prompt | ResourceKind::Memory => None,
    }
}

/// Runs the detectors over the call's content. Offsets are bytes of each text.
#[must_use]
pub fn detect(bundle: &LoadedBundle, call: &Call) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, part) in call.content.iter().enumerate() {
        for hit in bundle.detectors().scan(part.origin, &part.media, &part.text) {
            findings.push(Finding {
                detector: hit.detector.to_string(),
                category: hit.category.to_string(),
                severity: hit.severity,
                score: hit.score,
                content: u32::try_from(index).unwrap_or(u32::MAX),
                start: hit.start as u64,
                end: hit.end as u64,
            });
        }
    }
    findings
}

/// Evaluates a planned call. `facts` must have gone through [`complete_facts`];
/// findings of the detectors are added to those it holds.
#[must_use]
pub fn evaluate(
    bundle: &LoadedBundle,
    call: &Call,
    plan: &Plan,
    facts: &mut Facts,
    budget: Budget,
) -> Verdict {
    if plan.wants_detectors {
        facts.findings.extend(detect(bundle, call));
    }
    let query = Query { call, facts, registry: bundle.registry(), budget };
    let mut voices: Vec<Voice> = bundle
        .engines()
        .iter()
        .map(|engine| Voice {
            engine: engine.name(),
            has_policies: engine.has_policies(),
            outcome: engine.evaluate(&query),
        })
        .collect();
    let terms = Terms {
        phase: call.phase,
        questions: &call.questions,
        permit_from: bundle.verified().manifest().permit_from,
        approved: &facts.session.approvals,
    };
    let combined = combine(terms, &voices);
    let watching = shadow::take(&mut voices);
    // Rules that only watch see what the others said, and nothing else does see them.
    let said = (!watching.is_empty()).then(|| voices.clone());
    let mut verdict = verdict(bundle, call, facts, combined, voices);
    if let Some(said) = said {
        let judge = |voices: &[Voice]| effect_of(bundle, call, facts, terms, voices);
        verdict.shadows = shadow::weigh(watching, said, verdict.effect, judge);
    }
    verdict
}

/// The effect that a verdict of these voices has.
fn effect_of(
    bundle: &LoadedBundle,
    call: &Call,
    facts: &Facts,
    terms: Terms<'_>,
    voices: &[Voice],
) -> Effect {
    let effect = combine(terms, voices).effect;
    if effect != Effect::Allow || !wants_limits(call) {
        return effect;
    }
    let wants: Vec<LimitWant> =
        voices.iter().flat_map(|voice| &voice.outcome.limits).cloned().collect();
    let setting = Setting { registry: bundle.registry(), now_ms: facts.time.now_ms };
    match complete(&wants, bundle.limits(), call, setting) {
        Ok(_) => Effect::Allow,
        Err(_) => Effect::Deny,
    }
}

/// Whether limits are reserved for a call that is allowed.
fn wants_limits(call: &Call) -> bool {
    call.phase == Phase::Request && call.asks(Question::Quota)
}

fn verdict(
    bundle: &LoadedBundle,
    call: &Call,
    facts: &Facts,
    combined: Combined,
    voices: Vec<Voice>,
) -> Verdict {
    let mut verdict = Verdict {
        effect: combined.effect,
        reasons: combined.reasons,
        obligations: combined.obligations,
        findings: facts.findings.clone(),
        asks: combined.asks,
        labels: labels_after(bundle, call, facts),
        ..Verdict::denied(Reason::new("", ""))
    };
    let mut wants: Vec<LimitWant> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    for voice in voices {
        if voice.has_policies {
            verdict.engines.push(voice.engine);
        }
        asked.extend(voice.outcome.asks.into_iter().map(|ask| ask.reason.id));
        wants.extend(voice.outcome.limits);
        verdict.permits.extend(voice.outcome.permits);
        verdict.marks.extend(voice.outcome.labels);
        verdict.errors.extend(voice.outcome.errors);
    }
    verdict.approvals_used =
        facts.session.approvals.iter().filter(|id| asked.contains(id)).cloned().collect();
    verdict.labels = obliged_labels(verdict.labels, &verdict.obligations);
    if verdict.effect == Effect::Allow && wants_limits(call) {
        want_limits(bundle, call, facts, &wants, &mut verdict);
    }
    verdict
}

fn want_limits(
    bundle: &LoadedBundle,
    call: &Call,
    facts: &Facts,
    wants: &[LimitWant],
    verdict: &mut Verdict,
) {
    let setting = Setting { registry: bundle.registry(), now_ms: facts.time.now_ms };
    match complete(wants, bundle.limits(), call, setting) {
        Ok(limits) => verdict.limits = limits,
        Err(error) => {
            verdict.effect = Effect::Deny;
            let (id, message) = match &error {
                LimitError::PriceUnknown { .. } => {
                    (reason::PRICE_UNKNOWN, "what this model costs is not known")
                }
                _ => (reason::POLICY_ERROR, "a policy could not be evaluated for this call"),
            };
            verdict.reasons = vec![Reason::new(id, message).with_detail(error.to_string())];
        }
    }
}

/// Labels that the resource's annotations imply, added to the session's.
fn labels_after(bundle: &LoadedBundle, call: &Call, facts: &Facts) -> Labels {
    let before = facts.session.labels;
    let tool = call
        .resource
        .as_ref()
        .filter(|r| r.kind == ResourceKind::Tool && call.action.name == "tools/call")
        .and_then(|r| bundle.registry().tools.get(&r.id));
    let Some(tool) = tool else { return before };
    let integrity = match tool.annotations.source {
        Source::Trusted => Integrity::Trusted,
        Source::Untrusted | Source::Mixed => Integrity::Untrusted,
    };
    let confidentiality = tool.annotations.reads.unwrap_or(Confidentiality::Public);
    before.raised_by(Labels { integrity, confidentiality })
}

fn obliged_labels(labels: Labels, obligations: &[Obligation]) -> Labels {
    let raised = obligations.iter().filter(|o| o.kind == ObligationKind::Label);
    raised.fold(labels, |labels, obligation| {
        let text = obligation.properties.text();
        // An unreadable label obligation raises to the most restrictive.
        let raise = serde_json::from_str::<Raise>(text).unwrap_or(Raise {
            integrity: Integrity::Untrusted,
            confidentiality: Confidentiality::Secret,
        });
        labels.raised_by(Labels {
            integrity: raise.integrity,
            confidentiality: raise.confidentiality,
        })
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raise {
    #[serde(default = "trusted")]
    integrity: Integrity,
    #[serde(default)]
    confidentiality: Confidentiality,
}

fn trusted() -> Integrity {
    Integrity::Trusted
}
