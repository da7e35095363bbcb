//! Which texts a member of the input can hold: one of a closed set, or a name that the bundle has.

use lictor_proto::call::ResourceKind;

use super::{Kind, Known};
use crate::diagnostic::suggest;

/// What a member of the input can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// One of these.
    Closed(&'static [&'static str]),
    /// The name of an action.
    Action,
    /// A name of the bundle.
    Name(Kind),
}

pub(crate) const PHASES: &[&str] = &["request", "list", "response"];
pub(crate) const RESOURCE_TYPES: &[&str] =
    &["tool", "model", "server", "resource", "prompt", "agent", "memory"];
const QUESTIONS: &[&str] = &["authz", "guardrail", "quota"];
const CREDENTIALS: &[&str] = &["jwt", "api_key", "mtls", "spiffe", "peer"];
const ORIGINS: &[&str] =
    &["system", "user", "assistant", "tool_result", "tool_args", "tool_definition", "retrieved"];
const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];
const SESSION_KINDS: &[&str] = &["opened", "implicit"];
const INTEGRITIES: &[&str] = &["trusted", "untrusted"];
const CONFIDENTIALITIES: &[&str] = &["public", "internal", "secret"];
const STATUSES: &[&str] = &["active", "suspended"];
const PARTIES: &[&str] = &["first", "third"];
const EFFECTS: &[&str] = &["none", "mutate", "egress", "exec"];
const SOURCES: &[&str] = &["trusted", "untrusted", "mixed"];

/// Members of Rego's input; `*` stands for any element.
const OF_INPUT: &[(&str, Domain)] = &[
    ("phase", Domain::Closed(PHASES)),
    ("questions.*", Domain::Closed(QUESTIONS)),
    ("action.name", Domain::Action),
    ("resource.type", Domain::Closed(RESOURCE_TYPES)),
    ("resource.id", Domain::Name(Kind::Resource)),
    ("agent.id", Domain::Name(Kind::Agent)),
    ("delegation.*.id", Domain::Name(Kind::Agent)),
    ("subject.id", Domain::Name(Kind::Subject)),
    ("credential.kind", Domain::Closed(CREDENTIALS)),
    ("content.*.origin", Domain::Closed(ORIGINS)),
    ("facts.findings.*.severity", Domain::Closed(SEVERITIES)),
    ("facts.findings.*.detector", Domain::Name(Kind::Detector)),
    ("facts.findings.*.category", Domain::Name(Kind::Category)),
    ("facts.session.kind", Domain::Closed(SESSION_KINDS)),
    ("facts.session.labels.integrity", Domain::Closed(INTEGRITIES)),
    ("facts.session.labels.confidentiality", Domain::Closed(CONFIDENTIALITIES)),
    ("facts.session.marks.*", Domain::Name(Kind::Label)),
    ("facts.session.pending.*", Domain::Name(Kind::Resource)),
    ("facts.agent.attrs.status", Domain::Closed(STATUSES)),
    ("facts.agent.attrs.party", Domain::Closed(PARTIES)),
    ("facts.agent.attrs.team", Domain::Name(Kind::Team)),
    ("facts.agent.attrs.owner", Domain::Name(Kind::Approver)),
    ("facts.delegation.*.attrs.status", Domain::Closed(STATUSES)),
    ("facts.delegation.*.attrs.party", Domain::Closed(PARTIES)),
    ("facts.delegation.*.attrs.team", Domain::Name(Kind::Team)),
    ("facts.subject.attrs.teams.*", Domain::Name(Kind::Team)),
    ("facts.subject.attrs.manager", Domain::Name(Kind::User)),
    ("facts.resource.attrs.annotations.effect", Domain::Closed(EFFECTS)),
    ("facts.resource.attrs.annotations.source", Domain::Closed(SOURCES)),
    ("facts.resource.attrs.annotations.reads", Domain::Closed(CONFIDENTIALITIES)),
];

/// Members of Cedar's context; `*` stands for any element.
const OF_CONTEXT: &[(&str, Domain)] = &[
    ("phase", Domain::Closed(PHASES)),
    ("resource_id", Domain::Name(Kind::Resource)),
    ("delegation.*", Domain::Name(Kind::Agent)),
    ("delegation_parties.*", Domain::Closed(PARTIES)),
    ("findings.*", Domain::Name(Kind::Detector)),
    ("finding_categories.*", Domain::Name(Kind::Category)),
    ("finding_severities.*", Domain::Closed(SEVERITIES)),
    ("session.kind", Domain::Closed(SESSION_KINDS)),
    ("session.labels.integrity", Domain::Closed(INTEGRITIES)),
    ("session.labels.confidentiality", Domain::Closed(CONFIDENTIALITIES)),
    ("session.marks.*", Domain::Name(Kind::Label)),
    ("session.called.*", Domain::Name(Kind::Resource)),
    ("session.pending.*", Domain::Name(Kind::Resource)),
];

impl Domain {
    /// What Rego's `input.<path>` can hold.
    pub(crate) fn of_input(path: &str) -> Option<Self> {
        of(OF_INPUT, path)
    }

    /// What Cedar's `context.<path>` can hold.
    pub(crate) fn of_context(path: &str) -> Option<Self> {
        of(OF_CONTEXT, path)
    }

    /// Code, message and help if a member that is written `said` can never be `value`.
    pub(crate) fn refuses(
        self,
        said: &str,
        value: &str,
        known: &Known<'_>,
    ) -> Option<(&'static str, String, String)> {
        let words: Vec<&str> = match self {
            Self::Closed(words) => words.to_vec(),
            Self::Action => action_names().collect(),
            Self::Name(kind) => {
                let (message, help) = known.missing(kind, value)?;
                return Some(("name_unknown", message, help));
            }
        };
        if words.contains(&value) {
            return None;
        }
        let help = match suggest(value, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", words.join(", ")),
        };
        Some(("value_unknown", format!("`{said}` is never `{value}`"), help))
    }
}

fn of(table: &[(&str, Domain)], path: &str) -> Option<Domain> {
    table.iter().find(|(known, _)| *known == path).map(|(_, domain)| *domain)
}

/// The action of every tool's call.
const TOOL_CALL: &str = "tools/call";

/// Every action that calls can have.
fn action_names() -> impl Iterator<Item = &'static str> {
    crate::cedar::protocol_actions().map(|(name, _)| name).chain([TOOL_CALL])
}

/// What an action can be done to; nothing if there is no such action.
pub(crate) fn resources_of(action: &str) -> Option<&'static [ResourceKind]> {
    if action == TOOL_CALL {
        return Some(&[ResourceKind::Tool]);
    }
    crate::cedar::protocol_actions().find(|(name, _)| *name == action).map(|(_, kinds)| kinds)
}

#[cfg(test)]
mod tests {
    use lictor_proto::decision::{Confidentiality, Severity};
    use serde_json::Value;

    use super::*;

    fn words(value: &Value, pointer: &str) -> Vec<String> {
        let words = value.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| {
            panic!("no enum at {pointer}");
        });
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn closed_sets_are_those_of_the_schemas() {
        let call: Value = serde_json::from_str(lictor_proto::CALL_SCHEMA).unwrap();
        for (pointer, ours) in [
            ("/properties/phase/enum", PHASES),
            ("/properties/questions/items/enum", QUESTIONS),
            ("/properties/resource/oneOf/1/properties/type/enum", RESOURCE_TYPES),
            ("/properties/credential/oneOf/1/properties/kind/enum", CREDENTIALS),
            ("/properties/content/items/properties/origin/enum", ORIGINS),
        ] {
            assert_eq!(words(&call, pointer), ours, "{pointer}");
        }
        let severities = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        assert_eq!(severities.map(Severity::as_str), SEVERITIES);
        let levels = [Confidentiality::Public, Confidentiality::Internal, Confidentiality::Secret];
        let levels = levels.map(|level| serde_json::to_value(level).unwrap());
        assert_eq!(
            levels.iter().map(|l| l.as_str().unwrap()).collect::<Vec<_>>(),
            CONFIDENTIALITIES
        );
    }

    #[test]
    fn actions_know_what_they_are_done_to() {
        assert_eq!(resources_of("tools/call"), Some([ResourceKind::Tool].as_slice()));
        assert_eq!(resources_of("llm/chat"), Some([ResourceKind::Model].as_slice()));
        assert_eq!(resources_of("nothing"), None);
    }
}
