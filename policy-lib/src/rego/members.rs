//! The members of a policy's input: those of a call and of the facts about it.

use super::walk::Part;

/// The members of a call and its facts that have members of their own; a `*`
/// stands for any element.
const INPUT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "call_id",
            "phase",
            "tenant",
            "questions",
            "subject",
            "agent",
            "delegation",
            "action",
            "credential",
            "request_call_id",
            "executed",
            "resource",
            "context",
            "content",
            "session",
            "usage",
            "facts",
        ],
    ),
    ("subject", PARTY),
    ("agent", PARTY),
    ("delegation.*", PARTY),
    ("action", &["name"]),
    ("credential", &["kind", "id", "issuer"]),
    ("resource", &["type", "id"]),
    ("context", &["args", "source_ip", "trace_id", "protocol"]),
    ("content.*", &["origin", "pointer", "media", "text"]),
    ("session", &["handle"]),
    ("usage", &["input_tokens", "max_output_tokens", "cost_usd_micros"]),
    (
        "facts",
        &[
            "subject",
            "agent",
            "delegation",
            "resource",
            "session",
            "findings",
            "signals",
            "provenance",
            "time",
        ],
    ),
    ("facts.subject", &["attrs"]),
    ("facts.subject.attrs", SUBJECT),
    ("facts.agent", &["attrs"]),
    ("facts.agent.attrs", AGENT),
    ("facts.delegation.*", &["attrs"]),
    ("facts.delegation.*.attrs", AGENT),
    ("facts.resource", &["attrs"]),
    ("facts.resource.attrs", RESOURCE),
    ("facts.resource.attrs.annotations", ANNOTATIONS),
    (
        "facts.session",
        &["calls", "tail", "pending", "labels", "approvals", "spend_usd_micros", "kind", "marks"],
    ),
    ("facts.session.labels", &["integrity", "confidentiality"]),
    ("facts.findings.*", &["detector", "category", "severity", "score", "content", "start", "end"]),
    ("facts.signals", &["loop", "no_progress", "first_use", "rate"]),
    ("facts.time", &["now_ms", "rfc3339"]),
];
const PARTY: &[&str] = &["type", "id", "claims"];
/// Of an entry of the registry, as written.
const AGENT: &[&str] = &[
    "owner",
    "team",
    "status",
    "expires",
    "description",
    "party",
    "issuers",
    "credentials",
    "identities",
    "parents",
    "transferable",
    "max_delegation_depth",
    "attrs",
];
/// A subject is a user or an agent.
const SUBJECT: &[&str] = &[
    "email",
    "teams",
    "manager",
    "roles",
    "cost_center",
    "department",
    "attrs",
    "owner",
    "team",
    "status",
    "expires",
    "description",
    "party",
    "issuers",
    "credentials",
    "identities",
    "parents",
    "transferable",
    "max_delegation_depth",
];
/// A resource is a tool, model, server or agent.
const RESOURCE: &[&str] = &[
    "description",
    "output_schema",
    "declared",
    "schema",
    "pin",
    "annotations",
    "attrs",
    "provider",
    "aliases",
    "prices",
    "max_output_tokens",
    "url",
    "open",
    "owner",
    "team",
    "status",
    "expires",
    "party",
    "issuers",
    "credentials",
    "identities",
    "parents",
    "transferable",
    "max_delegation_depth",
];
const ANNOTATIONS: &[&str] = &["source", "reads", "effect", "destination_args"];

/// The members of the input itself.
pub(crate) fn input_members() -> &'static [&'static str] {
    INPUT.first().map(|(_, members)| *members).unwrap_or_default()
}

/// The first step into `input` that no call has, and those that there are.
pub(crate) fn unknown_member<'a>(path: &[Part<'a>]) -> Option<(&'a str, &'static [&'static str])> {
    let mut at = String::new();
    for part in path {
        let members = INPUT.iter().find(|(place, _)| *place == at).map(|(_, members)| *members);
        let step = match (part, members) {
            (Part::Name(name), Some(members)) if !members.contains(name) => {
                return Some((name, members));
            }
            (Part::Name(name), Some(_)) => *name,
            // Below this the input is open, or it is a list.
            _ => "*",
        };
        if !at.is_empty() {
            at.push('.');
        }
        at.push_str(step);
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lictor_proto::facts::Facts;
    use serde_json::Value;

    use super::*;

    fn ours(place: &str) -> BTreeSet<String> {
        let found = INPUT.iter().find(|(known, _)| *known == place);
        let (_, members) = found.unwrap_or_else(|| panic!("`{place}` is not listed"));
        members.iter().map(|member| (*member).to_owned()).collect()
    }

    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_call_has_the_members_of_its_schema() {
        let schema: Value = serde_json::from_str(lictor_proto::CALL_SCHEMA).unwrap();
        let at = |pointer: &str| keys(schema.pointer(pointer).unwrap());
        let mut call = at("/properties");
        call.insert("facts".to_owned());
        assert_eq!(ours(""), call);
        for (place, pointer) in [
            ("subject", "/$defs/party/properties"),
            ("agent", "/$defs/party/properties"),
            ("delegation.*", "/$defs/party/properties"),
            ("action", "/properties/action/properties"),
            ("credential", "/properties/credential/oneOf/1/properties"),
            ("resource", "/properties/resource/oneOf/1/properties"),
            ("context", "/properties/context/properties"),
            ("content.*", "/properties/content/items/properties"),
            ("session", "/properties/session/oneOf/1/properties"),
            ("usage", "/properties/usage/properties"),
        ] {
            assert_eq!(ours(place), at(pointer), "{place}");
        }
    }

    #[test]
    fn facts_have_the_members_of_their_types() {
        let facts = serde_json::to_value(Facts::default()).unwrap();
        assert_eq!(ours("facts"), keys(&facts));
        for (place, pointer) in [
            ("facts.subject", "/subject"),
            ("facts.agent", "/agent"),
            ("facts.resource", "/resource"),
            ("facts.session", "/session"),
            ("facts.session.labels", "/session/labels"),
            ("facts.signals", "/signals"),
            ("facts.time", "/time"),
        ] {
            assert_eq!(ours(place), keys(facts.pointer(pointer).unwrap()), "{place}");
        }
    }

    #[test]
    fn attributes_are_those_of_the_registrys_schema() {
        let schema: Value = serde_json::from_str(lictor_proto::REGISTRY_SCHEMA).unwrap();
        let of = |map: &str| {
            let pointer = format!("/properties/{map}/additionalProperties/properties");
            keys(schema.pointer(&pointer).unwrap())
        };
        assert_eq!(ours("facts.agent.attrs"), of("agents"));
        assert_eq!(ours("facts.delegation.*.attrs"), of("agents"));
        assert_eq!(ours("facts.subject.attrs"), &of("users") | &of("agents"));
        let mut resource = &(&of("tools") | &of("models")) | &(&of("servers") | &of("agents"));
        resource.remove("input_schema");
        assert_eq!(ours("facts.resource.attrs"), resource);
        let tool = "/properties/tools/additionalProperties/properties/annotations/properties";
        assert_eq!(ours("facts.resource.attrs.annotations"), keys(schema.pointer(tool).unwrap()));
    }
}
