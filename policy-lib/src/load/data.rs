//! `data.json` -> registry and schemas, with every problem and its place.

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind;
use lictor_proto::json::Value as Json;
use lictor_proto::json::node::escape_token;
use serde::Deserialize as _;
use serde_json::Value;

use super::salvage::salvage;
use crate::diagnostic::{Diagnostic, suggest};
use crate::registry::Registry;

/// Reads the text whose places these are.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> Option<T> {
    let text = places.text;
    // What was scanned for its places is not scanned again.
    let scanned = places.node.is_some().then_some(Ok(()));
    let scanned = scanned.unwrap_or_else(|| lictor_proto::json::scan(text.as_bytes()).map(drop));
    if let Err(error) = scanned {
        let (line, col) = line_and_column(text.get(..error.at).unwrap_or(text));
        let diagnostic = Diagnostic::error("data_invalid", "data.json", error.kind.to_string());
        found.push(diagnostic.at(line, col));
        return None;
    }
    serde_json::from_str(text)
        .map_err(|error| {
            let diagnostic = Diagnostic::error("data_invalid", "data.json", error.to_string());
            found.push(diagnostic.at(error.line() as u32, error.column() as u32));
        })
        .ok()
}

/// What could be read of the registry.
#[derive(Debug, Default)]
pub(super) struct ReadRegistry {
    pub(super) registry: Registry,
    /// Maps that could not be read whole.
    pub(super) unread: BTreeSet<&'static str>,
    /// Whether it is valid, so that everything of it is here.
    pub(super) valid: bool,
}

/// Reads the registry; what is not valid is reported, and read as far as it can be.
pub(super) fn read_registry(
    value: &Value,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> ReadRegistry {
    if value.is_null() {
        return ReadRegistry { valid: true, ..ReadRegistry::default() };
    }
    let before = found.len();
    match serde_json::from_str::<Value>(lictor_proto::REGISTRY_SCHEMA) {
        Ok(schema) => match jsonschema::validator_for(&schema) {
            Ok(validator) => {
                for error in validator.iter_errors(value) {
                    found.extend(registry_problems(&error, &schema, places));
                }
            }
            Err(error) => found.push(broken_schema(&error)),
        },
        Err(error) => found.push(broken_schema(&error)),
    }
    if found.len() == before {
        // From the text if it is there, which takes a fifth of the time.
        let text = places.text_at("registry");
        let read = text.and_then(|text| serde_json::from_str::<Registry>(text).ok());
        match read.map_or_else(|| Registry::deserialize(value), Ok) {
            Ok(registry) => {
                cross_check(&registry, places, found);
                return ReadRegistry { registry, unread: BTreeSet::new(), valid: true };
            }
            Err(error) => {
                found.push(Diagnostic::error("registry_invalid", "data.json", error.to_string()));
            }
        }
    }
    let (registry, unread) = salvage(value);
    cross_check(&registry, places, found);
    ReadRegistry { registry, unread, valid: false }
}

fn broken_schema(error: &dyn std::fmt::Display) -> Diagnostic {
    let message = format!("the registry schema is broken: {error}");
    Diagnostic::error("registry_invalid", "data.json", message)
}

/// One problem for each member that is not known, one for anything else.
fn registry_problems(
    error: &jsonschema::ValidationError<'_>,
    schema: &Value,
    places: &Places<'_>,
) -> Vec<Diagnostic> {
    let pointer = format!("/registry{}", error.instance_path());
    let problem = |pointer: &str, message: String| {
        let (line, col) = places.at(pointer);
        Diagnostic::error("registry_invalid", "data.json", message).at(line, col)
    };
    let unexpected = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected,
        ValidationErrorKind::Enum { options } => {
            let said = error.instance().as_str().unwrap_or_default();
            let words: Vec<&str> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let message =
                format!("{pointer}: {} is none of {}", error.instance(), words.join(", "));
            let help = suggest(said, words).map(|near| format!("did you mean `{near}`?"));
            return vec![problem(&pointer, message).help(help.unwrap_or_default())];
        }
        _ => return vec![problem(&pointer, format!("{pointer}: {error}"))],
    };
    let rule = error.schema_path().to_string();
    let properties = rule
        .strip_suffix("/additionalProperties")
        .and_then(|rule| schema.pointer(&format!("{rule}/properties")).and_then(Value::as_object));
    let known: Vec<&str> =
        properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let one = |name: &String| {
        let at = format!("{pointer}/{}", escape_token(name));
        let message = format!("{pointer}: there is no `{name}` here");
        let help = match suggest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        problem(&at, message).help(help)
    };
    unexpected.iter().map(one).collect()
}

/// Where the values of `data.json` stand.
pub(super) struct Places<'a> {
    text: &'a str,
    node: Option<lictor_proto::json::Node>,
}

impl<'a> Places<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, node: lictor_proto::json::scan(text.as_bytes()).ok() }
    }

    /// The text of a member.
    fn text_at(&self, member: &str) -> Option<&'a str> {
        let span = self.node.as_ref()?.get(member)?.span;
        self.text.get(span.start..span.end)
    }

    /// Line and column, from 1, of the value at `pointer`, or of its name if it has members of its
    /// own; 0 if there is none.
    pub(super) fn at(&self, pointer: &str) -> (u32, u32) {
        let start = self.start(pointer);
        start.and_then(|start| self.text.get(..start)).map_or((0, 0), line_and_column)
    }

    fn start(&self, pointer: &str) -> Option<usize> {
        let root = self.node.as_ref()?;
        let node = root.pointer(pointer)?;
        if !matches!(node.value, Json::Object(_) | Json::Array(_)) {
            return Some(node.span.start);
        }
        let name = pointer.rsplit_once('/').and_then(|(parent, _)| {
            let members = root.pointer(parent)?.members();
            members.iter().find(|member| member.value.span == node.span)
        });
        Some(name.map_or(node.span.start, |member| member.key_span.start))
    }
}

fn line_and_column(before: &str) -> (u32, u32) {
    let line = before.matches('\n').count() + 1;
    let col = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(col).unwrap_or(u32::MAX))
}

/// Names inside the registry must be in the registry.
fn cross_check(registry: &Registry, places: &Places<'_>, found: &mut Vec<Diagnostic>) {
    let mut warn = |pointer: &str, message: String, help: String| {
        let (line, col) = places.at(pointer);
        let warning = Diagnostic::warning("registry_reference", "data.json", message);
        found.push(warning.at(line, col).help(help));
    };
    for id in registry.tools.keys() {
        let server = id.split('/').next().unwrap_or_default();
        if !registry.servers.contains_key(server) {
            let near = suggest(server, registry.servers.keys().map(String::as_str));
            let help = near.map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
            warn(
                &format!("/registry/tools/{}", escape_token(id)),
                format!("tool `{id}` is of server `{server}`, which is not in the registry"),
                help,
            );
        }
    }
    for (id, team) in &registry.teams {
        for (index, model) in team.models.iter().enumerate() {
            if registry.models.contains_key(model) {
                continue;
            }
            let near = suggest(model, registry.models.keys().map(String::as_str));
            let help = near.map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
            warn(
                &format!("/registry/teams/{}/models/{index}", escape_token(id)),
                format!("team `{id}` may use model `{model}`, which is not in the registry"),
                help,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_with_one_price_has_an_unknown_other_and_is_refused() {
        let read = |prices: Value| {
            let registry = json!({"models": {"a/b": {"provider": "a", "prices": prices}}});
            let mut found = Vec::new();
            let read = read_registry(&registry, &Places::of("{}"), &mut found);
            (read.valid, found.first().map(|found| found.message.clone()).unwrap_or_default())
        };
        let both = json!({"input_usd_micros_per_mtok": 1, "output_usd_micros_per_mtok": 0});
        assert!(read(both).0);
        for one in ["input_usd_micros_per_mtok", "output_usd_micros_per_mtok"] {
            let (accepted, message) = read(json!({ one: 1 }));
            assert!(!accepted && message.contains("required"), "{message}");
        }
    }
}
