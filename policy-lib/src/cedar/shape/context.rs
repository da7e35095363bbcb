//! `context`, in both directions: its type as schema text, and its value from a
//! call and the facts about it.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{Context, Expr, RestrictedExpr, Unknown, Value, ValueKind};
use lictor_proto::call::{Call, ResourceKind};
use lictor_proto::decision::Integrity;
use lictor_proto::facts::{Facts, SessionFacts, SessionKind};
use serde_json::Value as Json;

use crate::engine::Query;
use crate::registry::AgentParty;

use super::super::names::Names;
use super::super::reads::{Cursor, Reads};
use super::entities::{confidentiality, first_segment, provider_of, strings, whole};
use super::number::ratio_ten_thousandths;
use super::types::{Builder, Field, Makers, Record, quoted, write_record};

/// The member that phase `list` does not know yet.
pub(super) const ARGS: &str = "args";
/// The member with the origins of arguments.
pub(super) const PROVENANCE: &str = "provenance";
/// Where a value whose origin has no known shape is said to come from.
const ORIGIN_UNKNOWN: &str = "unknown";

/// Types of the members that every action has alike.
pub(super) const COMMON_TYPES: &str = r#"  type SessionLabels = { "integrity": String, "confidentiality": String };
  type Session = { "kind": String, "calls_here": Long, "called": Set<String>, "tail": Set<String>, "pending": Set<String>, "labels": SessionLabels, "approvals": Set<String>, "spend_usd_micros": Long, "marks": Set<String> };
  type Signals = { "loop": Long, "no_progress": Long, "first_use": Bool, "rate": decimal };
  type Request = { "tenant": String, "protocol": String, "source_ip"?: ipaddr };
  type Usage = { "input_tokens": Long, "max_output_tokens": Long, "cost_usd_micros": Long };
  type Time = { "now_ms": Long };
"#;
/// Names that [`COMMON_TYPES`] declares.
pub(super) const COMMON_TYPE_NAMES: [&str; 6] =
    ["SessionLabels", "Session", "Signals", "Request", "Usage", "Time"];
/// The members that every action has alike.
const COMMON_MEMBERS: &str = r#""subject"?: User, "subject_type": String, "server"?: Server, "resource_id": String, "phase": String, "executed": Bool, "session": Session, "findings": Set<String>, "finding_categories": Set<String>, "finding_severities": Set<String>, "signals": Signals, "delegation": Set<String>, "delegation_parties": Set<String>, "request": Request, "usage": Usage, "time": Time"#;

/// Appends the type of the context of an action with these arguments.
pub(super) fn write_context<'a>(
    args: impl IntoIterator<Item = (&'a String, &'a Field)>,
    pointers: impl IntoIterator<Item = &'a String>,
    out: &mut String,
) {
    out.push_str("{ \"args\": ");
    write_record(args, out);
    out.push_str(", \"provenance\": {");
    for (index, pointer) in pointers.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        out.push_str(&format!("{comma}{}?: Set<String>", quoted(pointer)));
    }
    out.push_str("}, ");
    out.push_str(COMMON_MEMBERS);
    out.push_str(" }");
}

/// A context, and what did not fit into it.
#[derive(Debug)]
pub(in super::super) struct Built {
    /// For the evaluator.
    pub(in super::super) context: Context,
    /// Pointers of arguments that a policy reads and that do not fit.
    pub(in super::super) misfits: Vec<String>,
}

/// What the context of one call is built from.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Parts<'a> {
    pub(super) names: &'a Names,
    pub(super) makers: &'a Makers,
    /// What policies read; nothing else is built.
    pub(super) reads: &'a Reads,
    /// The type of the arguments.
    pub(super) args: &'a Record,
    /// Pointers of the arguments.
    pub(super) pointers: &'a [String],
}

impl Parts<'_> {
    /// The context with the call's arguments, or with none.
    pub(in super::super) fn concrete(&self, query: &Query<'_>, with_args: bool) -> Built {
        let mut builder = Builder::new(self.makers);
        let mut members = self.members(query);
        let cursor = self.reads.cursor().member(ARGS);
        if cursor.is_read() && with_args {
            let node = query.call.context.args.node();
            members.push((ARGS, builder.record(node, self.args, cursor)));
        } else if cursor.is_read() {
            members.push((ARGS, Value::empty_record(None)));
        }
        let context = match Value::record(members, None).value {
            ValueKind::Record(members) => Context::Value(members),
            // A record is made above; without members a policy that reads any fails.
            _ => Context::empty(),
        };
        Built { context, misfits: builder.misfits }
    }

    /// The context with unknown arguments; `None` if Cedar does not take it.
    pub(in super::super) fn without_args(&self, query: &Query<'_>) -> Option<Context> {
        let members = self
            .members(query)
            .into_iter()
            .map(|(name, value)| (name.into(), RestrictedExpr::from(value)));
        let unknown = RestrictedExpr::new(Expr::unknown(Unknown::new_untyped(ARGS))).ok()?;
        let all = members.chain([(ARGS.into(), unknown)]);
        Context::from_pairs(all, cedar_policy_core::extensions::Extensions::all_available()).ok()
    }

    /// Every member but the arguments, as far as policies read it.
    fn members(&self, query: &Query<'_>) -> Vec<(&'static str, Value)> {
        let root = self.reads.cursor();
        let (call, facts) = (query.call, query.facts);
        let mut members = self.references(query, root);
        let mut add = |name: &'static str, value: &dyn Fn(Cursor<'_>) -> Value| {
            let cursor = root.member(name);
            if cursor.is_read() {
                members.push((name, value(cursor)));
            }
        };
        let resource = call.resource.as_ref().map_or("", |resource| &resource.id);
        let subject = call.subject.as_ref().map_or("", |subject| &subject.kind);
        add("subject_type", &|_| Value::from(subject));
        add("resource_id", &|_| Value::from(resource));
        add("phase", &|_| Value::from(call.phase.as_str()));
        add("executed", &|_| Value::from(call.executed));
        add("session", &|cursor| session(&facts.session, resource, cursor));
        add("findings", &|_| strings(facts.findings.iter().map(|finding| &finding.detector)));
        add("finding_categories", &|_| {
            strings(facts.findings.iter().map(|finding| &finding.category))
        });
        add("finding_severities", &|_| {
            let severities = facts.findings.iter().map(|finding| finding.severity.as_str());
            Value::set(severities.map(Value::from), None)
        });
        add("signals", &|cursor| self.signals(facts, cursor));
        add("delegation", &|_| strings(call.delegation.iter().map(|actor| &actor.id)));
        add("delegation_parties", &|_| delegation_parties(query));
        add("request", &|cursor| self.request(call, cursor));
        add("usage", &|cursor| usage(call, cursor));
        add("time", &|_| Value::record([("now_ms", Value::from(facts.time.now_ms))], None));
        add("provenance", &|cursor| self.provenance(facts, cursor));
        members
    }

    /// References to entities of the registry.
    fn references(&self, query: &Query<'_>, root: Cursor<'_>) -> Vec<(&'static str, Value)> {
        let mut members = Vec::new();
        let subject = query.call.subject.as_ref();
        // Only a person is a `User`: a service may carry the same id as one.
        let person = subject.filter(|subject| matches!(subject.kind.as_str(), "user" | ""));
        if let (Some(person), true) = (person, root.member("subject").is_read()) {
            members.push(("subject", Value::from(self.names.user(&person.id))));
        }
        if root.member("server").is_read() {
            members.extend(self.server(query).map(|server| ("server", server)));
        }
        members
    }

    /// The registered server that the resource belongs to.
    fn server(&self, query: &Query<'_>) -> Option<Value> {
        let resource = query.call.resource.as_ref()?;
        let registry = query.registry;
        let id = match resource.kind {
            ResourceKind::Tool | ResourceKind::Resource | ResourceKind::Prompt => {
                first_segment(&resource.id)
            }
            ResourceKind::Model => provider_of(registry, &resource.id),
            ResourceKind::Server => &resource.id,
            ResourceKind::Agent | ResourceKind::Memory => return None,
        };
        let known = registry.servers.contains_key(id)
            || registry.virtual_servers.contains_key(id)
            || registry.knows(resource) && resource.kind != ResourceKind::Server;
        known.then(|| Value::from(self.names.server(id)))
    }

    fn signals(&self, facts: &Facts, cursor: Cursor<'_>) -> Value {
        let signals = &facts.signals;
        record(
            cursor,
            [
                ("loop", &|| Some(whole(signals.repeats))),
                ("no_progress", &|| Some(whole(signals.no_progress))),
                ("first_use", &|| Some(Value::from(signals.first_use))),
                ("rate", &|| self.makers.decimal(ratio_ten_thousandths(signals.rate))),
            ],
        )
    }

    fn request(&self, call: &Call, cursor: Cursor<'_>) -> Value {
        record(
            cursor,
            [
                ("tenant", &|| Some(Value::from(call.tenant.as_str()))),
                ("protocol", &|| Some(Value::from(call.context.protocol.as_str()))),
                ("source_ip", &|| self.makers.ip(&call.context.source_ip)),
            ],
        )
    }

    /// For each argument the origins of its value and of everything inside it.
    fn provenance(&self, facts: &Facts, cursor: Cursor<'_>) -> Value {
        let mut members = Vec::new();
        let read = self.pointers.iter().filter(|pointer| cursor.member(pointer).is_read());
        for pointer in read {
            let origins: BTreeSet<&str> = facts
                .provenance
                .iter()
                .filter(|(at, _)| is_at_or_inside(at, pointer))
                .flat_map(|(_, origin)| origins_of(origin))
                .collect();
            if !origins.is_empty() {
                let origins = Value::set(origins.into_iter().map(Value::from), None);
                members.push((pointer.as_str(), origins));
            }
        }
        Value::record(members, None)
    }
}

fn is_at_or_inside(at: &str, pointer: &str) -> bool {
    at.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An origin is a text, an object with a member `origin`, or a list of either.
fn origins_of(origin: &Json) -> Vec<&str> {
    match origin {
        Json::String(origin) => vec![origin],
        Json::Array(origins) => origins.iter().flat_map(origins_of).collect(),
        Json::Object(members) => {
            vec![members.get("origin").and_then(Json::as_str).unwrap_or(ORIGIN_UNKNOWN)]
        }
        _ => vec![ORIGIN_UNKNOWN],
    }
}

/// Whose software the actors are. One that the registry lacks is nobody's that we know.
fn delegation_parties(query: &Query<'_>) -> Value {
    let party = |id: &str| query.registry.agents.get(id).map(|agent| agent.party);
    let actors = query.call.delegation.iter();
    let parties = actors.map(|actor| party(&actor.id).unwrap_or(AgentParty::Third).as_str());
    Value::set(parties.map(Value::from), None)
}

/// A record of those members that are read and that there are.
fn record<const N: usize>(
    cursor: Cursor<'_>,
    members: [(&'static str, &dyn Fn() -> Option<Value>); N],
) -> Value {
    let read = members.into_iter().filter(|(name, _)| cursor.member(name).is_read());
    Value::record(read.filter_map(|(name, value)| Some((name, value()?))), None)
}

fn session(session: &SessionFacts, resource: &str, cursor: Cursor<'_>) -> Value {
    let called = || session.calls.iter().filter(|(_, count)| **count > 0).map(|(id, _)| id);
    let here = || session.calls.get(resource).copied().unwrap_or(0);
    let kind = match session.kind {
        SessionKind::Opened => "opened",
        SessionKind::Implicit => "implicit",
    };
    record(
        cursor,
        [
            ("kind", &|| Some(Value::from(kind))),
            ("calls_here", &|| Some(whole(here()))),
            ("called", &|| Some(strings(called()))),
            ("tail", &|| Some(strings(&session.tail))),
            ("pending", &|| Some(strings(&session.pending))),
            ("labels", &|| Some(labels(session))),
            ("approvals", &|| Some(strings(&session.approvals))),
            ("spend_usd_micros", &|| Some(whole(session.spend_usd_micros))),
            ("marks", &|| Some(strings(&session.marks))),
        ],
    )
}

fn labels(session: &SessionFacts) -> Value {
    let integrity = match session.labels.integrity {
        Integrity::Trusted => "trusted",
        Integrity::Untrusted => "untrusted",
    };
    let labels = [
        ("integrity", Value::from(integrity)),
        ("confidentiality", Value::from(confidentiality(session.labels.confidentiality))),
    ];
    Value::record(labels, None)
}

fn usage(call: &Call, cursor: Cursor<'_>) -> Value {
    record(
        cursor,
        [
            ("input_tokens", &|| Some(whole(call.usage.input_tokens))),
            ("max_output_tokens", &|| Some(whole(call.usage.max_output_tokens))),
            ("cost_usd_micros", &|| Some(whole(call.usage.cost_usd_micros))),
        ],
    )
}
