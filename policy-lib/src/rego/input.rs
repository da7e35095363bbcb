//! The call and its facts as the policy's `input`, built from the typed message:
//! no text between, integers exact.

use std::collections::BTreeMap;

use lictor_proto::call::{
    Call, Content, Context, Credential, CredentialKind, Party, Question, Usage,
};
use lictor_proto::decision::{Confidentiality, Finding, Integrity, Labels};
use lictor_proto::facts::{Facts, SessionFacts, SessionKind, Signals};
use lictor_proto::json::{Node, Value as NodeValue};
use regorus::Value;

/// A scanned JSON tree as a value. Integers stay exact.
#[must_use]
pub fn value_from_node(node: &Node) -> Value {
    match &node.value {
        NodeValue::Null => Value::Null,
        NodeValue::Bool(value) => Value::Bool(*value),
        NodeValue::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Value::from(value),
            (None, Some(value)) => Value::from(value),
            // The scanner has refused what a double does not hold.
            (None, None) => number.as_f64().map_or(Value::Null, Value::from),
        },
        NodeValue::String(text) => Value::from(&**text),
        NodeValue::Array(items) => {
            Value::from(items.iter().map(value_from_node).collect::<Vec<_>>())
        }
        NodeValue::Object(members) => {
            let members = members.iter().map(|m| (Value::from(&*m.key), value_from_node(&m.value)));
            Value::from(members.collect::<BTreeMap<_, _>>())
        }
    }
}

fn value_from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Value::from(value),
            (None, Some(value)) => Value::from(value),
            (None, None) => number.as_f64().map_or(Value::Null, Value::from),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            Value::from(items.iter().map(value_from_json).collect::<Vec<_>>())
        }
        serde_json::Value::Object(members) => object_of(members),
    }
}

fn object_of(members: &serde_json::Map<String, serde_json::Value>) -> Value {
    let members =
        members.iter().map(|(key, value)| (Value::from(key.as_str()), value_from_json(value)));
    Value::from(members.collect::<BTreeMap<_, _>>())
}

/// Member names, made once: a name then costs a reference count.
macro_rules! keys {
    ($($field:ident = $name:literal),* $(,)?) => {
        /// The names of all declared members of a call and its facts.
        #[derive(Clone)]
        pub(crate) struct Keys {
            $($field: Value,)*
        }

        impl Keys {
            /// Makes the names.
            pub(crate) fn new() -> Self {
                Self { $($field: Value::from($name),)* }
            }
        }
    };
}

keys! {
    action = "action", agent = "agent", approvals = "approvals", args = "args", attrs = "attrs",
    call_id = "call_id", calls = "calls", category = "category", claims = "claims",
    confidentiality = "confidentiality", content = "content", context = "context",
    cost_usd_micros = "cost_usd_micros", credential = "credential", delegation = "delegation",
    detector = "detector", end = "end", executed = "executed", facts = "facts", findings = "findings",
    first_use = "first_use", handle = "handle", id = "id", input_tokens = "input_tokens",
    integrity = "integrity", issuer = "issuer", kind = "kind", labels = "labels", marks = "marks",
    max_output_tokens = "max_output_tokens", media = "media", name = "name", no_progress = "no_progress", now_ms = "now_ms",
    origin = "origin", pending = "pending", phase = "phase", pointer = "pointer", protocol = "protocol",
    provenance = "provenance", questions = "questions", rate = "rate", repeats = "loop",
    request_call_id = "request_call_id", resource = "resource", rfc3339 = "rfc3339", score = "score",
    session = "session", severity = "severity", signals = "signals", source_ip = "source_ip",
    spend_usd_micros = "spend_usd_micros", start = "start", subject = "subject", tail = "tail",
    tenant = "tenant", text = "text", time = "time", trace_id = "trace_id", typed = "type", usage = "usage",
}

fn object<const N: usize>(members: [(&Value, Value); N]) -> Value {
    Value::from(
        members.into_iter().map(|(key, value)| (key.clone(), value)).collect::<BTreeMap<_, _>>(),
    )
}

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    Value::from(items.iter().map(value).collect::<Vec<_>>())
}

fn texts(items: &[String]) -> Value {
    list(items, |text| Value::from(text.as_str()))
}

fn optional<T>(item: Option<&T>, value: impl Fn(&T) -> Value) -> Value {
    item.map_or(Value::Null, value)
}

/// The policy input: the call plus the member `facts`. Equal to the Lictor JSON of
/// both.
#[must_use]
pub fn input_value(call: &Call, facts: &Facts) -> Value {
    Keys::new().input(call, facts)
}

impl Keys {
    pub(crate) fn input(&self, call: &Call, facts: &Facts) -> Value {
        let text = |text: &str| Value::from(text);
        object([
            (&self.call_id, text(&call.call_id)),
            (&self.phase, text(call.phase.as_str())),
            (&self.tenant, text(&call.tenant)),
            (&self.questions, list(&call.questions, |question| text(question_name(*question)))),
            (&self.subject, optional(call.subject.as_ref(), |party| self.party(party))),
            (&self.agent, optional(call.agent.as_ref(), |party| self.party(party))),
            (&self.delegation, list(&call.delegation, |party| self.party(party))),
            (&self.action, object([(&self.name, text(&call.action.name))])),
            (
                &self.credential,
                optional(call.credential.as_ref(), |credential| self.credential(credential)),
            ),
            (&self.request_call_id, optional(call.request_call_id.as_ref(), |id| text(id))),
            (&self.executed, Value::Bool(call.executed)),
            (
                &self.resource,
                optional(call.resource.as_ref(), |resource| {
                    object([
                        (&self.typed, text(resource.kind.as_str())),
                        (&self.id, text(&resource.id)),
                    ])
                }),
            ),
            (&self.context, self.context(&call.context)),
            (&self.content, list(&call.content, |content| self.content(content))),
            (
                &self.session,
                optional(call.session.as_ref(), |session| {
                    object([(&self.handle, text(&session.handle))])
                }),
            ),
            (&self.usage, self.usage(call.usage)),
            (&self.facts, self.facts(facts)),
        ])
    }

    fn party(&self, party: &Party) -> Value {
        object([
            (&self.typed, Value::from(party.kind.as_str())),
            (&self.id, Value::from(party.id.as_str())),
            (&self.claims, value_from_node(party.claims.node())),
        ])
    }

    fn credential(&self, credential: &Credential) -> Value {
        let kind = match credential.kind {
            CredentialKind::Jwt => "jwt",
            CredentialKind::ApiKey => "api_key",
            CredentialKind::Mtls => "mtls",
            CredentialKind::Spiffe => "spiffe",
            CredentialKind::Peer => "peer",
        };
        object([
            (&self.kind, Value::from(kind)),
            (&self.id, Value::from(credential.id.as_str())),
            (&self.issuer, Value::from(credential.issuer.as_str())),
        ])
    }

    fn context(&self, context: &Context) -> Value {
        object([
            (&self.args, value_from_node(context.args.node())),
            (&self.source_ip, Value::from(context.source_ip.as_str())),
            (&self.trace_id, Value::from(context.trace_id.as_str())),
            (&self.protocol, Value::from(context.protocol.as_str())),
        ])
    }

    fn content(&self, content: &Content) -> Value {
        object([
            (&self.origin, Value::from(content.origin.as_str())),
            (&self.pointer, Value::from(content.pointer.as_str())),
            (&self.media, Value::from(content.media.as_str())),
            (&self.text, Value::from(content.text.as_str())),
        ])
    }

    fn usage(&self, usage: Usage) -> Value {
        object([
            (&self.input_tokens, Value::from(usage.input_tokens)),
            (&self.max_output_tokens, Value::from(usage.max_output_tokens)),
            (&self.cost_usd_micros, Value::from(usage.cost_usd_micros)),
        ])
    }

    fn facts(&self, facts: &Facts) -> Value {
        let attributes = |attrs: &_| object([(&self.attrs, object_of(attrs))]);
        let provenance =
            facts.provenance.iter().map(|(k, v)| (Value::from(k.as_str()), value_from_json(v)));
        object([
            (&self.subject, attributes(&facts.subject.attrs)),
            (&self.agent, attributes(&facts.agent.attrs)),
            (&self.delegation, list(&facts.delegation, |actor| attributes(&actor.attrs))),
            (&self.resource, attributes(&facts.resource.attrs)),
            (&self.session, self.session(&facts.session)),
            (&self.findings, list(&facts.findings, |finding| self.finding(finding))),
            (&self.signals, self.signals(facts.signals)),
            (&self.provenance, Value::from(provenance.collect::<BTreeMap<_, _>>())),
            (
                &self.time,
                object([
                    (&self.now_ms, Value::from(facts.time.now_ms)),
                    (&self.rfc3339, Value::from(facts.time.rfc3339.as_str())),
                ]),
            ),
        ])
    }

    fn session(&self, session: &SessionFacts) -> Value {
        let calls = session.calls.iter().map(|(id, n)| (Value::from(id.as_str()), Value::from(*n)));
        let kind = match session.kind {
            SessionKind::Opened => "opened",
            SessionKind::Implicit => "implicit",
        };
        object([
            (&self.calls, Value::from(calls.collect::<BTreeMap<_, _>>())),
            (&self.tail, texts(&session.tail)),
            (&self.pending, texts(&session.pending)),
            (&self.labels, self.labels(session.labels)),
            (&self.approvals, texts(&session.approvals)),
            (&self.spend_usd_micros, Value::from(session.spend_usd_micros)),
            (&self.kind, Value::from(kind)),
            (&self.marks, texts(&session.marks)),
        ])
    }

    fn labels(&self, labels: Labels) -> Value {
        let integrity = match labels.integrity {
            Integrity::Trusted => "trusted",
            Integrity::Untrusted => "untrusted",
        };
        let confidentiality = match labels.confidentiality {
            Confidentiality::Public => "public",
            Confidentiality::Internal => "internal",
            Confidentiality::Secret => "secret",
        };
        object([
            (&self.integrity, Value::from(integrity)),
            (&self.confidentiality, Value::from(confidentiality)),
        ])
    }

    fn finding(&self, finding: &Finding) -> Value {
        object([
            (&self.detector, Value::from(finding.detector.as_str())),
            (&self.category, Value::from(finding.category.as_str())),
            (&self.severity, Value::from(finding.severity.as_str())),
            (&self.score, Value::from(finding.score)),
            (&self.content, Value::from(finding.content)),
            (&self.start, Value::from(finding.start)),
            (&self.end, Value::from(finding.end)),
        ])
    }

    fn signals(&self, signals: Signals) -> Value {
        object([
            (&self.repeats, Value::from(signals.repeats)),
            (&self.no_progress, Value::from(signals.no_progress)),
            (&self.first_use, Value::Bool(signals.first_use)),
            (&self.rate, Value::from(signals.rate)),
        ])
    }
}

fn question_name(question: Question) -> &'static str {
    match question {
        Question::Authz => "authz",
        Question::Guardrail => "guardrail",
        Question::Quota => "quota",
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
