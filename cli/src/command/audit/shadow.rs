//! `lictor audit show --shadow-agents`: agents that were seen and not served, from the decisions
//! about their calls. What a log only commits to is said to be so, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use lictor_policy_lib::delegation::REGISTRY_PLACE;
use lictor_proto::reason;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::args::logs::unreadable;
use crate::exit::Failure;
use crate::output::{Format, shown, table, to_json_line};
use crate::time::rfc3339;

/// Reasons for which an agent is seen and not served.
const REASONS: [&str; 4] = [
    reason::AGENT_UNKNOWN,
    reason::AGENT_INACTIVE,
    reason::AGENT_ISSUER_REFUSED,
    reason::AGENT_CREDENTIAL_REFUSED,
];

/// A value of a record. As JSON a text, `null`, or an object that says why there is no text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    /// It stands there.
    Value(String),
    /// The log commits to it, and the side store was not asked.
    Committed,
    /// The log commits to it, and the side store has it no more.
    Erased,
    /// There is none.
    Absent,
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(text) => serializer.serialize_str(text),
            Self::Committed => json!({"withheld": "committed"}).serialize(serializer),
            Self::Erased => json!({"withheld": "erased"}).serialize(serializer),
            Self::Absent => serializer.serialize_none(),
        }
    }
}

impl Told {
    /// The value at a JSON pointer. `reveal` says whether the side store was asked.
    pub(super) fn at(record: &Record, pointer: &str, reveal: bool) -> Self {
        if let Some(text) = record.str_at(pointer) {
            return Self::Value(text.to_owned());
        }
        let within = |commit: &String| {
            pointer
                .strip_prefix(commit.as_str())
                .is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let hidden = |commit: &String| within(commit) && !record.revealed.contains_key(commit);
        match record.commits.keys().any(hidden) {
            true if reveal => Self::Erased,
            true => Self::Committed,
            false => Self::Absent,
        }
    }

    /// The value, or in parentheses why there is none.
    pub(super) fn named(self) -> String {
        match self {
            Self::Value(text) => text,
            Self::Committed => "(committed)".to_owned(),
            Self::Erased => "(erased)".to_owned(),
            Self::Absent => "(none named)".to_owned(),
        }
    }

    /// The first of `pointers` that is not absent.
    fn first(record: &Record, pointers: &[String], reveal: bool) -> Self {
        let told = pointers.iter().map(|pointer| Self::at(record, pointer, reveal));
        told.into_iter().find(|told| *told != Self::Absent).unwrap_or(Self::Absent)
    }
}

/// How an agent came into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// It acted.
    Agent,
    /// Others acted for it.
    Actor,
    /// It was the subject.
    Subject,
    /// It was spoken to.
    Resource,
    /// The record does not say whether it or another agent of the delegation was meant.
    Unclear,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Actor => "actor",
            Self::Subject => "subject",
            Self::Resource => "resource",
            Self::Unclear => "unclear",
        }
    }
}

/// Values of many calls, and how many calls do not show theirs.
#[derive(Debug, Default, Serialize)]
struct Values {
    values: BTreeSet<String>,
    committed: usize,
    erased: usize,
}

impl Values {
    fn add(&mut self, told: Told) {
        match told {
            Told::Value(text) => drop(self.values.insert(text)),
            Told::Committed => self.committed += 1,
            Told::Erased => self.erased += 1,
            Told::Absent => {}
        }
    }

    fn cell(&self) -> String {
        let hidden = [(self.committed, "(committed)"), (self.erased, "(erased)")];
        let hidden =
            hidden.iter().filter(|(count, _)| *count > 0).map(|(_, word)| (*word).to_owned());
        let all: Vec<String> = self.values.iter().map(|text| shown(text)).chain(hidden).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(" ") }
    }
}

/// An agent that was seen and not served.
#[derive(Debug, Serialize)]
struct ShadowAgent {
    agent: Told,
    tenant: String,
    roles: BTreeSet<Role>,
    /// Names that credentials gave it, where they are not its id.
    presented_as: BTreeSet<String>,
    issuers: Values,
    subjects: Values,
    calls: usize,
    first_seen: String,
    last_seen: String,
    /// How many calls were refused for each reason.
    reasons: BTreeMap<String, usize>,
}

/// What one record says about an agent that was not served.
struct Sighting {
    agent: Told,
    role: Role,
    presented_as: Option<String>,
    issuer: Told,
    reason: &'static str,
}

/// The shadow agents of `logs` as text, and how many there are. `reveal` asks the side stores.
pub(super) fn told(logs: &Logs, reveal: bool, format: Format) -> Result<(String, usize), Failure> {
    let wanted = |record: &Record| reason_of(record).is_some();
    let records = logs.records(reveal, wanted).map_err(|error| unreadable(&error))?;
    let agents = gather(&records, reveal);
    let text = match format {
        Format::Pretty if agents.is_empty() => String::new(),
        Format::Pretty => pretty(&agents),
        Format::Json => {
            let lines: Result<Vec<String>, Failure> = agents.iter().map(to_json_line).collect();
            lines?.iter().map(|line| format!("{line}\n")).collect()
        }
    };
    Ok((text, agents.len()))
}

/// The reason for which a record's call was refused, if it is one of ours.
fn reason_of(record: &Record) -> Option<(&'static str, &str)> {
    if !matches!(record.kind, Kind::Decision | Kind::Enforcement) {
        return None;
    }
    let reasons = record.body.get("reasons")?.as_array()?;
    reasons.iter().find_map(|reason| {
        // The decision point names a reason by id and place, an enforcement point by id.
        let id = reason.get("id").unwrap_or(reason).as_str()?;
        let known = REASONS.into_iter().find(|known| *known == id)?;
        Some((known, reason.get("policy").and_then(Value::as_str).unwrap_or_default()))
    })
}

/// Both sides record a call; the decision point knows more about it.
fn gather(records: &[Record], reveal: bool) -> Vec<ShadowAgent> {
    let decided: BTreeSet<&str> = records
        .iter()
        .filter(|record| record.kind == Kind::Decision)
        .filter_map(Record::call_id)
        .collect();
    let mut calls = BTreeSet::new();
    let mut agents: BTreeMap<(String, Told), ShadowAgent> = BTreeMap::new();
    for record in records {
        let call_id = record.call_id().unwrap_or_default();
        let elsewhere = record.kind == Kind::Enforcement && decided.contains(call_id);
        if elsewhere || !call_id.is_empty() && !calls.insert(call_id) {
            continue;
        }
        let Some(sighting) = sighting(record, reveal) else { continue };
        let tenant = record.str_at("/tenant").unwrap_or_default().to_owned();
        let key = (tenant.clone(), sighting.agent.clone());
        let at = rfc3339(record.ts_ms);
        let agent = agents.entry(key).or_insert_with(|| ShadowAgent {
            agent: sighting.agent.clone(),
            tenant,
            roles: BTreeSet::new(),
            presented_as: BTreeSet::new(),
            issuers: Values::default(),
            subjects: Values::default(),
            calls: 0,
            first_seen: at.clone(),
            last_seen: at.clone(),
            reasons: BTreeMap::new(),
        });
        agent.add(sighting, subject(record, reveal), at);
    }
    agents.into_values().collect()
}

fn subject(record: &Record, reveal: bool) -> Told {
    Told::first(record, &["/subject/id".to_owned(), "/subject".to_owned()], reveal)
}

impl ShadowAgent {
    /// Records come in order of time.
    fn add(&mut self, sighting: Sighting, subject: Told, at: String) {
        self.roles.insert(sighting.role);
        self.presented_as.extend(sighting.presented_as);
        self.issuers.add(sighting.issuer);
        self.subjects.add(subject);
        self.calls += 1;
        self.last_seen = at;
        *self.reasons.entry(sighting.reason.to_owned()).or_default() += 1;
    }
}

fn sighting(record: &Record, reveal: bool) -> Option<Sighting> {
    let (reason, policy) = reason_of(record)?;
    let at = |pointer: &str| Told::at(record, pointer, reveal);
    let Some(id) = policy.strip_prefix(REGISTRY_PLACE) else {
        // No agent at all, or a record that does not say which.
        let agent = Told::first(record, &["/agent/id".to_owned(), "/agent".to_owned()], reveal);
        let itself = agent == Told::Absent || reason == reason::AGENT_CREDENTIAL_REFUSED;
        return Some(Sighting {
            role: if itself { Role::Agent } else { Role::Unclear },
            agent,
            presented_as: None,
            issuer: at("/call/subject/claims/iss"),
            reason,
        });
    };
    let (role, place) = place_of(record, id);
    let own = place.iter().map(|place| format!("/call{place}/claims/iss"));
    let token = "/call/subject/claims/iss".to_owned();
    let issuers: Vec<String> = own.chain([token]).collect();
    let presented = place.map(|place| format!("{place}/presented_as"));
    Some(Sighting {
        agent: Told::Value(id.to_owned()),
        role,
        presented_as: presented.and_then(|at| record.str_at(&at)).map(ToOwned::to_owned),
        issuer: Told::first(record, &issuers, reveal),
        reason,
    })
}

/// As what the agent `id` takes part in the call, and where the record names it so.
fn place_of(record: &Record, id: &str) -> (Role, Option<String>) {
    let actors = record.body.get("delegation").and_then(Value::as_array).map_or(0, Vec::len);
    let actors = (0..actors).map(|position| (Role::Actor, format!("/delegation/{position}")));
    let ends = [(Role::Subject, "/subject"), (Role::Resource, "/resource")];
    let ends = ends.map(|(role, place)| (role, place.to_owned()));
    let mut places = std::iter::once((Role::Agent, "/agent".to_owned())).chain(actors).chain(ends);
    let found = places.find(|(_, place)| record.str_at(&format!("{place}/id")) == Some(id));
    found.map_or((Role::Unclear, None), |(role, place)| (role, Some(place)))
}

fn pretty(agents: &[ShadowAgent]) -> String {
    let head = [
        "agent",
        "as",
        "presented as",
        "issuer",
        "tenant",
        "subjects",
        "calls",
        "first seen",
        "last seen",
        "reasons",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(agents.iter().map(|agent| {
        let roles: Vec<&str> = agent.roles.iter().map(|role| role.as_str()).collect();
        let reasons: Vec<&str> = agent.reasons.keys().map(String::as_str).collect();
        let names: Vec<String> = agent.presented_as.iter().map(|name| shown(name)).collect();
        vec![
            id_cell(&agent.agent),
            roles.join(" "),
            if names.is_empty() { "-".to_owned() } else { names.join(" ") },
            agent.issuers.cell(),
            shown(&agent.tenant),
            count_cell(&agent.subjects),
            agent.calls.to_string(),
            agent.first_seen.clone(),
            agent.last_seen.clone(),
            reasons.join(" "),
        ]
    }));
    table(&rows)
}

fn id_cell(agent: &Told) -> String {
    shown(&agent.clone().named())
}

/// How many different values there are at least.
fn count_cell(values: &Values) -> String {
    let known = values.values.len();
    let hidden = [(values.committed, "committed"), (values.erased, "erased")];
    let hidden = hidden.iter().filter(|(count, _)| *count > 0);
    let hidden: Vec<String> = hidden.map(|(count, word)| format!(" ({count} {word})")).collect();
    format!("{known}{}", hidden.concat())
}
