//! `data.limits`: quotas by id, and how policy's wants are completed from them.
//!
//! # Layout
//!
//! - this file: what a bundle says of a limit, and the request that a store is asked to reserve.
//! - [`window`]: when a quota is full again: with the session, sliding, by the calendar.
//! - [`price`]: what a model's tokens cost.

pub mod price;
pub mod window;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use lictor_proto::call::{Call, ResourceKind};
use serde::{Deserialize, Serialize};

use crate::engine::LimitWant;
use crate::registry::{Prices, Registry};
use price::Tokens;
use window::Span;
pub use window::Window;

/// One entry of `data.limits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// What sort.
    pub kind: LimitKind,
    /// Largest amount; for `once` always 1.
    #[serde(default = "one")]
    pub max: u64,
    /// For `rate`: how many may come at once; default `max`.
    #[serde(default)]
    pub burst: Option<u64>,
    /// `session`, a duration such as `60s`, `1h`, `day`, or `calendar hour`, `calendar day`,
    /// `calendar week` (from Monday), `calendar month`.
    #[serde(default = "session")]
    pub per: String,
    /// For `calendar …`: the IANA time zone by which days begin; default `UTC`.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// What is counted.
    #[serde(default)]
    pub unit: Unit,
    /// What happens while the state store is down.
    #[serde(default)]
    pub on_error: OnError,
    /// Whether a failed call gives its units back.
    #[serde(default)]
    pub refund_on_failure: bool,
    /// Applies the limit to calls without a word in Rego.
    #[serde(default, rename = "match")]
    pub matches: Option<Match>,
    /// With `match`: which members of the call make the key.
    #[serde(default)]
    pub key: Vec<KeyPart>,
    /// What `per` and `time_zone` come to, read once.
    #[serde(skip)]
    span: OnceLock<Option<Span>>,
}

impl LimitSpec {
    /// What `per` and `time_zone` come to; `None` if they say nothing that is known.
    pub fn span(&self) -> Option<&Span> {
        self.span.get_or_init(|| Span::parse(&self.per, self.time_zone.as_deref())).as_ref()
    }
}

fn one() -> u64 {
    1
}

fn session() -> String {
    "session".to_owned()
}

/// What sort of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// So many in a time, evenly spread (GCRA) with the whole as burst.
    Rate,
    /// So many in a window.
    Budget,
    /// So many at the same time.
    Concurrent,
    /// One.
    Once,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Each call is one.
    #[default]
    Calls,
    /// Tokens in and out.
    Tokens,
    /// Millionths of a US dollar.
    UsdMicros,
    /// Bytes of content.
    Bytes,
}

/// What happens while the state store is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The call is denied.
    #[default]
    Deny,
    /// The call passes, which is recorded.
    Allow,
}

/// Which calls a limit applies to; an empty list means all. A `*` at the end of
/// a name stands for anything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Action names.
    pub actions: Vec<String>,
    /// Resource ids.
    pub resources: Vec<String>,
    /// Agent ids.
    pub agents: Vec<String>,
}

/// A member of the call that makes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// The isolation boundary: one for the whole organisation. It is part of every key anyhow,
    /// so that a key of nothing else is the same.
    Tenant,
    /// The teams of the subject, as the registry has them.
    SubjectTeam,
    /// The team of the agent, as the registry has it.
    AgentTeam,
    /// The subject's id.
    Subject,
    /// The agent's id.
    Agent,
    /// The credential's id.
    Credential,
    /// The resource's type and id.
    Resource,
    /// The server of the resource: what its id has before the first `/`.
    Server,
    /// The action.
    Action,
}

/// A quota with everything said: what the state store is asked to reserve. Serializable, because
/// stores keep it for the settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRequest {
    /// Id, for reasons and reports.
    pub id: String,
    /// What sort.
    pub kind: LimitKind,
    /// Canonical text of the key; the tenant and, for `Window::Session`, the
    /// session are added by the store.
    pub key: String,
    /// Largest amount.
    pub max: u64,
    /// For a rate: how much may come at once.
    pub burst: u64,
    /// When it is full again.
    pub window: Window,
    /// What is counted.
    pub unit: Unit,
    /// Units that this call takes.
    pub cost: u64,
    /// What happens while the store is down.
    pub on_error: OnError,
    /// Whether a failed call gives its units back.
    pub refund_on_failure: bool,
    /// For [`Unit::UsdMicros`] of a model: what its tokens cost, for the settlement.
    pub prices: Option<Prices>,
}

/// What a limit needs to know beside the call.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Teams and prices.
    pub registry: &'a Registry,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// Why a want cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Neither policy nor data says it.
    #[error("limit `{id}` lacks `{member}`: state it in the rule or in data.limits[\"{id}\"]")]
    Missing {
        /// The limit.
        id: String,
        /// The member.
        member: &'static str,
    },
    /// A word outside its closed set.
    #[error("limit `{id}` has `{member}` = `{value}`, which is not known")]
    Unknown {
        /// The limit.
        id: String,
        /// The member.
        member: &'static str,
        /// The word.
        value: String,
    },
    /// Nobody says what the model's tokens cost, which is not nothing.
    #[error(
        "limit `{id}` counts money and the registry has no prices of the model `{model}`: add `prices` to it"
    )]
    PriceUnknown {
        /// The limit.
        id: String,
        /// The registry id.
        model: String,
    },
}

/// Completes what policy wants from `specs`, and adds the limits that match.
///
/// # Errors
/// [`LimitError`]: the call is denied `policy_error`, an incomplete limit is no limit.
pub fn complete(
    wants: &[LimitWant],
    specs: &BTreeMap<String, LimitSpec>,
    call: &Call,
    setting: Setting<'_>,
) -> Result<Vec<LimitRequest>, LimitError> {
    let mut requests = Vec::new();
    for want in wants {
        requests.push(complete_one(want, specs.get(&want.id), call, setting)?);
    }
    for (id, spec) in specs {
        let applies = spec.matches.as_ref().is_some_and(|matches| matches.covers(call));
        if applies {
            let key = key_of(&spec.key, call, setting.registry);
            let want = LimitWant { id: id.clone(), key, ..Default::default() };
            requests.push(complete_one(&want, Some(spec), call, setting)?);
        }
    }
    requests.sort_by(|a, b| (&a.id, &a.key).cmp(&(&b.id, &b.key)));
    requests.dedup();
    Ok(requests)
}

/// Data wins over the rule: a limit that the bundle's data fixes cannot be
/// widened by a rule.
fn complete_one(
    want: &LimitWant,
    spec: Option<&LimitSpec>,
    call: &Call,
    setting: Setting<'_>,
) -> Result<LimitRequest, LimitError> {
    let missing = |member| LimitError::Missing { id: want.id.clone(), member };
    let unknown = |member, value: &str| LimitError::Unknown {
        id: want.id.clone(),
        member,
        value: value.to_owned(),
    };
    let kind = match (spec, &want.kind) {
        (Some(spec), _) => spec.kind,
        (None, Some(name)) => word(name).ok_or_else(|| unknown("kind", name))?,
        (None, None) => return Err(missing("kind")),
    };
    let max = match (kind, spec, want.max) {
        (LimitKind::Once, _, _) => 1,
        (_, Some(spec), _) => spec.max,
        (_, None, Some(max)) => max,
        (_, None, None) => return Err(missing("max")),
    };
    let per = match (spec, &want.per) {
        (Some(spec), _) => spec.per.as_str(),
        (None, Some(per)) => per.as_str(),
        (None, None) if matches!(kind, LimitKind::Once | LimitKind::Concurrent) => "session",
        (None, None) => return Err(missing("per")),
    };
    let unit = match (spec, &want.unit) {
        (Some(spec), _) => spec.unit,
        (None, Some(name)) => word(name).ok_or_else(|| unknown("unit", name))?,
        (None, None) => Unit::Calls,
    };
    let window = match spec {
        Some(spec) => spec.span().map(|span| span.at(setting.now_ms)),
        None => Span::parse(per, None).map(|span| span.at(setting.now_ms)),
    };
    let window = window.ok_or_else(|| unknown("per", per))?;
    if kind == LimitKind::Rate && !matches!(window, Window::Sliding { .. }) {
        return Err(unknown("per", per));
    }
    let prices = prices(unit, &want.id, call, setting.registry)?;
    Ok(LimitRequest {
        id: want.id.clone(),
        kind,
        key: want.key.clone(),
        max,
        burst: spec.and_then(|spec| spec.burst).unwrap_or(max),
        window,
        unit,
        cost: cost(unit, call, setting.registry, prices),
        on_error: spec.map(|s| s.on_error).unwrap_or_default(),
        refund_on_failure: spec.is_some_and(|s| s.refund_on_failure),
        prices,
    })
}

/// The prices of the model that is called, where money is counted.
fn prices(
    unit: Unit,
    id: &str,
    call: &Call,
    registry: &Registry,
) -> Result<Option<Prices>, LimitError> {
    let model = call.resource.as_ref().filter(|resource| resource.kind == ResourceKind::Model);
    let Some(model) = model.filter(|_| unit == Unit::UsdMicros) else { return Ok(None) };
    let known = registry.models.get(registry.resolve_model(&model.id));
    let unknown = || LimitError::PriceUnknown { id: id.to_owned(), model: model.id.clone() };
    known.and_then(|known| known.prices).map(Some).ok_or_else(unknown)
}

fn word<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// What a call may cost at most in millionths of a dollar, and the prices that say so. A model
/// without prices costs what the enforcement point says; a limit on money denies it before.
#[must_use]
pub fn money(call: &Call, registry: &Registry) -> (u64, Option<Prices>) {
    let prices = prices(Unit::UsdMicros, "", call, registry).ok().flatten();
    (cost(Unit::UsdMicros, call, registry, prices), prices)
}

/// What a call may use at most, as far as anybody can know before it is made.
fn cost(unit: Unit, call: &Call, registry: &Registry, prices: Option<Prices>) -> u64 {
    let usage = &call.usage;
    match (unit, prices) {
        (Unit::Calls, _) => 1,
        (Unit::Tokens, _) => usage.input_tokens.saturating_add(longest_answer(call, registry)),
        (Unit::UsdMicros, Some(prices)) => {
            let tokens = Tokens::estimated(usage.input_tokens, longest_answer(call, registry));
            price::most_usd_micros(&prices, tokens)
        }
        (Unit::UsdMicros, None) => usage.cost_usd_micros,
        (Unit::Bytes, _) => call.content.iter().map(|part| part.text.len() as u64).sum(),
    }
}

/// Tokens that an answer may have: as many as the call allows, or where it sets no bound, as many
/// as the registry says that the model makes.
fn longest_answer(call: &Call, registry: &Registry) -> u64 {
    let generates = matches!(call.action.name.as_str(), "llm/chat" | "llm/responses");
    let model = call.resource.as_ref().filter(|resource| resource.kind == ResourceKind::Model);
    match (call.usage.max_output_tokens, model) {
        (0, Some(model)) if generates => {
            let known = registry.models.get(registry.resolve_model(&model.id));
            known.map_or(0, |known| known.max_output_tokens)
        }
        (stated, _) => stated,
    }
}

fn key_of(parts: &[KeyPart], call: &Call, registry: &Registry) -> String {
    let texts: Vec<String> = parts.iter().map(|part| part_of(*part, call, registry)).collect();
    // A JSON array keeps ["a","bc"] and ["ab","c"] apart.
    serde_json::to_string(&texts).unwrap_or_default()
}

fn part_of(part: KeyPart, call: &Call, registry: &Registry) -> String {
    let id = |party: &Option<lictor_proto::call::Party>| {
        party.as_ref().map(|p| p.id.clone()).unwrap_or_default()
    };
    let resource = call.resource.as_ref();
    match part {
        KeyPart::Tenant => String::new(),
        KeyPart::Subject => id(&call.subject),
        KeyPart::Agent => id(&call.agent),
        KeyPart::Action => call.action.name.clone(),
        KeyPart::Credential => {
            call.credential.as_ref().map(|credential| credential.id.clone()).unwrap_or_default()
        }
        KeyPart::AgentTeam => registry
            .agents
            .get(&id(&call.agent))
            .map(|agent| agent.team.clone())
            .unwrap_or_default(),
        KeyPart::SubjectTeam => {
            let user = registry.users.get(&id(&call.subject));
            let mut teams = user.map(|user| user.teams.clone()).unwrap_or_default();
            teams.sort();
            serde_json::to_string(&teams).unwrap_or_default()
        }
        KeyPart::Resource => {
            resource.map(|r| format!("{}:{}", r.kind.as_str(), r.id)).unwrap_or_default()
        }
        KeyPart::Server => {
            resource.and_then(|r| r.id.split('/').next()).unwrap_or_default().to_owned()
        }
    }
}

impl Match {
    /// Whether every non-empty list names the call.
    #[must_use]
    pub fn covers(&self, call: &Call) -> bool {
        let resource = call.resource.as_ref().map(|r| r.id.as_str()).unwrap_or_default();
        let agent = call.agent.as_ref().map(|a| a.id.as_str()).unwrap_or_default();
        any(&self.actions, &call.action.name)
            && any(&self.resources, resource)
            && any(&self.agents, agent)
    }
}

fn any(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || crate::engine::named(patterns, name)
}

#[cfg(test)]
mod tests;
