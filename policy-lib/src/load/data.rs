//! `data.json` -> registry, limits and schemas, with every problem and its place.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ToolSchema;
use crate::diagnostic::{Diagnostic, suggest};
use crate::limits::{LimitSpec, parse_window};
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
    text: &str,
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
        let (line, col) = place(text, &pointer);
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

/// Line and column, from 1, of the value at `pointer`.
fn place(text: &str, pointer: &str) -> (u32, u32) {
    let node = lictor_proto::json::scan(text.as_bytes()).ok();
    let at = node.as_ref().and_then(|node| node.pointer(pointer)).map(|node| node.span.start);
    let before = at.and_then(|at| text.get(..at));
    before.map_or((0, 0), line_and_column)
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
    for (id, agent) in &registry.agents {
        let owners = registry.users.keys().chain(registry.teams.keys()).map(String::as_str);
        if !owners.clone().any(|owner| owner == agent.owner) {
            let near = suggest(&agent.owner, owners).map(|n| format!("did you mean `{n}`?"));
            warn(
                format!(
                    "agent `{id}` is owned by `{}`, which is no user or team: it is denied",
                    agent.owner
                ),
                near.unwrap_or_default(),
            );
        }
    }
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

pub(super) fn check_limits(limits: &BTreeMap<String, LimitSpec>, found: &mut Vec<Diagnostic>) {
    for (id, spec) in limits {
        if parse_window(&spec.per).is_none() {
            let message = format!("limit `{id}`: `per` is `{}`", spec.per);
            found.push(
                Diagnostic::error("limit_invalid", "data.json", message)
                    .help("use `session`, `second`, `minute`, `hour`, `day`, `week` or a number with s, m, h, d"),
            );
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

pub(super) fn agent_expiries(
    registry: &Registry,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, i64> {
    let mut expiries = BTreeMap::new();
    for (id, agent) in &registry.agents {
        let Some(text) = &agent.expires else { continue };
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => {
                expiries.insert(id.clone(), time.as_millisecond());
            }
            Err(_) => {
                let message = format!("agent `{id}`: `expires` is `{text}`, not RFC 3339");
                found.push(Diagnostic::error("registry_invalid", "data.json", message));
            }
        }
    }
    expiries
}
