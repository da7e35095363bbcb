//! `data.limits`: quotas by id, and how policy's wants are completed from them.

use std::collections::BTreeMap;

use lictor_proto::call::Call;
use serde::Deserialize;

use crate::engine::LimitWant;

/// One entry of `data.limits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// What sort.
    pub kind: LimitKind,
    /// Largest amount; for `once` always 1.
    #[serde(default = "one")]
    pub max: u64,
    /// `session`, or a duration such as `60s`, `1h`, `day`.
    #[serde(default = "session")]
    pub per: String,
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
}

fn one() -> u64 {
    1
}

fn session() -> String {
    "session".to_owned()
}

/// What sort of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
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
#[serde(rename_all = "lowercase")]
pub enum KeyPart {
    /// The subject's id.
    Subject,
    /// The agent's id.
    Agent,
    /// The resource's type and id.
    Resource,
    /// The action.
    Action,
}

/// Where a counter's window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// With the session.
    Session,
    /// After so many milliseconds.
    Sliding {
        /// Length of the window in milliseconds.
        ms: u64,
    },
}

/// A quota with everything said: what the state store is asked to reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// Reads `session`, `<n>s|m|h|d` or `second|minute|hour|day|week`.
#[must_use]
pub fn parse_window(per: &str) -> Option<Window> {
    const SECOND_MS: u64 = 1_000;
    let named = |ms| Some(Window::Sliding { ms });
    match per {
        "session" => return Some(Window::Session),
        "second" => return named(SECOND_MS),
        "minute" => return named(60 * SECOND_MS),
        "hour" => return named(3_600 * SECOND_MS),
        "day" => return named(86_400 * SECOND_MS),
        "week" => return named(7 * 86_400 * SECOND_MS),
        _ => {}
    }
    let unit = per.chars().last()?;
    let count: u64 = per.strip_suffix(unit)?.parse().ok()?;
    let factor = match unit {
        's' => SECOND_MS,
        'm' => 60 * SECOND_MS,
        'h' => 3_600 * SECOND_MS,
        'd' => 86_400 * SECOND_MS,
        _ => return None,
    };
    match count.checked_mul(factor)? {
        0 => None,
        ms => named(ms),
    }
}

/// Completes what policy wants from `specs`, and adds the limits that match.
///
/// # Errors
/// [`LimitError`]: the call is denied `policy_error`, an incomplete limit is no limit.
pub fn complete(
    wants: &[LimitWant],
    specs: &BTreeMap<String, LimitSpec>,
    call: &Call,
) -> Result<Vec<LimitRequest>, LimitError> {
    let mut requests = Vec::new();
    for want in wants {
        requests.push(complete_one(want, specs.get(&want.id), call)?);
    }
    for (id, spec) in specs {
        let applies = spec.matches.as_ref().is_some_and(|matches| matches.covers(call));
        if applies {
            let want =
                LimitWant { id: id.clone(), key: key_of(&spec.key, call), ..Default::default() };
            requests.push(complete_one(&want, Some(spec), call)?);
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
    Ok(LimitRequest {
        id: want.id.clone(),
        kind,
        key: want.key.clone(),
        max,
        window: parse_window(per).ok_or_else(|| unknown("per", per))?,
        unit,
        cost: cost(unit, call),
        on_error: spec.map(|s| s.on_error).unwrap_or_default(),
        refund_on_failure: spec.is_some_and(|s| s.refund_on_failure),
    })
}

fn word<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

fn cost(unit: Unit, call: &Call) -> u64 {
    match unit {
        Unit::Calls => 1,
        Unit::Tokens => call.usage.input_tokens.saturating_add(call.usage.max_output_tokens),
        Unit::UsdMicros => call.usage.cost_usd_micros,
        Unit::Bytes => call.content.iter().map(|part| part.text.len() as u64).sum(),
    }
}

fn key_of(parts: &[KeyPart], call: &Call) -> String {
    let id = |party: &Option<lictor_proto::call::Party>| {
        party.as_ref().map(|p| p.id.clone()).unwrap_or_default()
    };
    let texts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            KeyPart::Subject => id(&call.subject),
            KeyPart::Agent => id(&call.agent),
            KeyPart::Action => call.action.name.clone(),
            KeyPart::Resource => call
                .resource
                .as_ref()
                .map(|r| format!("{}:{}", r.kind.as_str(), r.id))
                .unwrap_or_default(),
        })
        .collect();
    // A JSON array keeps ["a","bc"] and ["ab","c"] apart.
    serde_json::to_string(&texts).unwrap_or_default()
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
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_or_refused() {
        assert_eq!(parse_window("session"), Some(Window::Session));
        assert_eq!(parse_window("90s"), Some(Window::Sliding { ms: 90_000 }));
        assert_eq!(parse_window("day"), Some(Window::Sliding { ms: 86_400_000 }));
        for bad in ["", "s", "0s", "-1s", "1y", "18446744073709551615d", "1 s"] {
            assert_eq!(parse_window(bad), None, "{bad}");
        }
    }

    #[test]
    fn data_cannot_be_widened_by_a_rule() {
        let specs: BTreeMap<String, LimitSpec> =
            serde_json::from_str(r#"{"x":{"kind":"budget","max":3,"per":"1h"}}"#).unwrap();
        let want = LimitWant {
            id: "x".into(),
            kind: Some("budget".into()),
            max: Some(1000),
            per: Some("1s".into()),
            ..Default::default()
        };
        let requests = complete(&[want], &specs, &Call::default()).unwrap();
        assert_eq!(requests[0].max, 3);
        assert_eq!(requests[0].window, Window::Sliding { ms: 3_600_000 });
    }

    #[test]
    fn what_nobody_says_is_an_error() {
        let want = LimitWant { id: "x".into(), kind: Some("budget".into()), ..Default::default() };
        let error = complete(&[want], &BTreeMap::new(), &Call::default()).unwrap_err();
        assert!(error.to_string().contains("`max`"), "{error}");
    }
}
