//! `data.json` -> registry, limits and schemas, with every problem and its place.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ToolSchema;
use crate::diagnostic::{Diagnostic, suggest};
use crate::limits::{LimitKind, LimitSpec, Window};
use crate::registry::Registry;

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    text: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<T> {
    if let Err(error) = lictor_proto::json::scan(text.as_bytes()) {
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

/// `None` if there is one and it is not a registry.
pub(super) fn read_registry(
    value: &Value,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> Option<Registry> {
    if value.is_null() {
        return Some(Registry::default());
    }
    let schema = serde_json::from_str::<Value>(lictor_proto::REGISTRY_SCHEMA).ok();
    let Some(validator) = schema.and_then(|schema| jsonschema::validator_for(&schema).ok()) else {
        found.push(Diagnostic::error(
            "registry_invalid",
            "data.json",
            "the registry schema is broken",
        ));
        return None;
    };
    let before = found.len();
    for error in validator.iter_errors(value) {
        let pointer = format!("/registry{}", error.instance_path());
        let (line, col) = places.at(&pointer);
        let message = format!("{pointer}: {error}");
        found.push(Diagnostic::error("registry_invalid", "data.json", message).at(line, col));
    }
    if found.len() > before {
        return None;
    }
    match serde_json::from_value::<Registry>(value.clone()) {
        Ok(registry) => {
            cross_check(&registry, found);
            Some(registry)
        }
        Err(error) => {
            found.push(Diagnostic::error("registry_invalid", "data.json", error.to_string()));
            None
        }
    }
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

    /// Line and column, from 1, of the value at `pointer`; 0 if there is none.
    pub(super) fn at(&self, pointer: &str) -> (u32, u32) {
        let node = self.node.as_ref().and_then(|node| node.pointer(pointer));
        let before = node.and_then(|node| self.text.get(..node.span.start));
        before.map_or((0, 0), line_and_column)
    }
}

fn line_and_column(before: &str) -> (u32, u32) {
    let line = before.matches('\n').count() + 1;
    let col = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(col).unwrap_or(u32::MAX))
}

/// Names inside the registry must be in the registry.
fn cross_check(registry: &Registry, found: &mut Vec<Diagnostic>) {
    let mut warn = |message: String, help: String| {
        found.push(Diagnostic::warning("registry_reference", "data.json", message).help(help));
    };
    for id in registry.tools.keys() {
        let server = id.split('/').next().unwrap_or_default();
        if !registry.servers.contains_key(server) {
            warn(
                format!("tool `{id}` is of server `{server}`, which is not in the registry"),
                String::new(),
            );
        }
    }
    for (id, team) in &registry.teams {
        for model in team.models.iter().filter(|m| !registry.models.contains_key(*m)) {
            let near = suggest(model, registry.models.keys().map(String::as_str));
            let help = near.map(|n| format!("did you mean `{n}`?")).unwrap_or_default();
            warn(
                format!("team `{id}` may use model `{model}`, which is not in the registry"),
                help,
            );
        }
    }
}

/// What `per` may be.
const PER_HELP: &str = "use `session`, `second`, `minute`, `hour`, `day`, `week`, a number with s, m, h, d up to 366 days, or `calendar hour`, `calendar day`, `calendar week`, `calendar month` with an IANA `time_zone`";

pub(super) fn check_limits(limits: &BTreeMap<String, LimitSpec>, found: &mut Vec<Diagnostic>) {
    for (id, spec) in limits {
        let error = |message, help: &str| {
            Diagnostic::error("limit_invalid", "data.json", message).help(help)
        };
        match spec.span() {
            None => {
                let zone = spec.time_zone.as_deref();
                let zone = zone.map(|zone| format!(" in `{zone}`")).unwrap_or_default();
                let message = format!("limit `{id}`: `per` is `{}`{zone}", spec.per);
                found.push(error(message, PER_HELP));
            }
            Some(span) if spec.kind == LimitKind::Rate => {
                if !matches!(span.at(0), Window::Sliding { .. }) {
                    let message = format!("limit `{id}`: a rate cannot be per `{}`", spec.per);
                    found.push(error(
                        message,
                        "a rate needs a duration such as `1s`; a `budget` is what has a period",
                    ));
                }
            }
            Some(_) if spec.burst.is_some() => {
                let message = format!("limit `{id}`: `burst` is for rates alone");
                found.push(error(message, "leave `burst` out, or make it `\"kind\": \"rate\"`"));
            }
            Some(_) => {}
        }
        if spec.max == 0 {
            let message = format!("limit `{id}`: `max` is 0, so nothing ever passes");
            found.push(Diagnostic::warning("limit_zero", "data.json", message));
        }
    }
}

pub(super) fn compile_schemas(
    registry: &Registry,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, ToolSchema> {
    let mut schemas = BTreeMap::new();
    for (id, tool) in &registry.tools {
        let Some(schema) = &tool.input_schema else {
            if tool.schema.is_some() {
                schemas.insert(id.clone(), ToolSchema::Any);
            } else {
                let message =
                    format!("tool `{id}` has no `input_schema`: every call of it is denied");
                found.push(
                    Diagnostic::warning("schema_missing", "data.json", message)
                        .help("add `input_schema`, or `\"schema\": \"any\"`"),
                );
            }
            continue;
        };
        match jsonschema::validator_for(schema) {
            Ok(validator) => {
                schemas.insert(id.clone(), ToolSchema::Checked(Box::new(validator)));
            }
            Err(error) => {
                let message = format!("tool `{id}`: input_schema is not a JSON Schema: {error}");
                found.push(Diagnostic::error("schema_invalid", "data.json", message));
            }
        }
    }
    schemas
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
            (read.is_some(), found.first().map(|found| found.message.clone()).unwrap_or_default())
        };
        let both = json!({"input_usd_micros_per_mtok": 1, "output_usd_micros_per_mtok": 0});
        assert!(read(both).0);
        for one in ["input_usd_micros_per_mtok", "output_usd_micros_per_mtok"] {
            let (accepted, message) = read(json!({ one: 1 }));
            assert!(!accepted && message.contains("required"), "{message}");
        }
    }
}
