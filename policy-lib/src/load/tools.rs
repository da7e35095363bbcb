//! Tools: the digest and the attributes of each registry entry, and its schema, compiled. Tools
//! that the bundle before had alike are taken over from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use lictor_proto::json::node::escape_token;
use serde_json::{Map, Value};

use super::data::Places;
use crate::diagnostic::Diagnostic;
use crate::registry::Registry;
use crate::work::Threads;

const FILE: &str = "data.json";
/// Most different schemas that a bundle keeps compiled from the start. A compiled schema takes ten
/// times its text, and of many thousand tools few are called: further ones are compiled to be
/// checked at load, and again by the first call of their tool.
pub const SCHEMAS_COMPILED_MAX: usize = 1_000;

/// A tool's arguments schema.
#[derive(Debug, Clone)]
pub enum ToolSchema {
    /// The registry says `schema: any`.
    Any,
    /// `input_schema`.
    Checked(Arc<ArgsSchema>),
}

/// An `input_schema` that was found to be one.
#[derive(Debug)]
pub struct ArgsSchema {
    text: Box<str>,
    /// Holds `None` only if what compiled at load does not compile again.
    compiled: OnceLock<Option<jsonschema::Validator>>,
}

impl ArgsSchema {
    /// The compiled schema; without it nothing is valid.
    pub(super) fn validator(&self) -> Option<&jsonschema::Validator> {
        let compile = || {
            let schema: Value = serde_json::from_str(&self.text).ok()?;
            jsonschema::validator_for(&schema).ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    /// Compiles a schema of this text; the compiled one is kept if `keep`.
    fn checked(text: &str, schema: &Value, keep: bool) -> Compiled {
        match jsonschema::validator_for(schema) {
            Ok(validator) => {
                let compiled = match keep {
                    true => OnceLock::from(Some(validator)),
                    false => OnceLock::new(),
                };
                Ok(Arc::new(Self { text: text.into(), compiled }))
            }
            Err(error) => Err((error.instance_path().to_string(), error.to_string())),
        }
    }
}

/// What a bundle keeps of one tool's registry entry.
#[derive(Debug)]
pub(super) struct LoadedTool {
    /// Of the whole entry as written: an approval ends when the tool that it was given for changes.
    pub(super) digest: String,
    /// `None` if it is not callable.
    pub(super) schema: Option<ToolSchema>,
    /// The entry as written, for facts. A schema is not an attribute.
    pub(super) attributes: Map<String, Value>,
}

pub(super) type LoadedTools = BTreeMap<String, Arc<LoadedTool>>;

/// A schema, or what is wrong with it: where in it, and what.
type Compiled = Result<Arc<ArgsSchema>, (String, String)>;

/// Reads all tools of `registry`, whose entries are written in `data`.
pub(super) fn read(
    registry: &Registry,
    data: &Value,
    places: &Places<'_>,
    (threads, before): (Threads, Option<&LoadedTools>),
    found: &mut Vec<Diagnostic>,
) -> LoadedTools {
    let written = data.pointer("/registry/tools").and_then(Value::as_object);
    let entries: Vec<(&String, &Map<String, Value>)> =
        registry.tools.keys().filter_map(|id| Some((id, written?.get(id)?.as_object()?))).collect();
    let digests = threads.map(&entries, |(_, entry)| digest(entry));
    let same = |id: &str, digest: &str| {
        before?.get(id).filter(|tool| tool.digest == digest).map(Arc::clone)
    };
    let taken: Vec<Option<Arc<LoadedTool>>> =
        entries.iter().zip(&digests).map(|((id, _), digest)| same(id, digest)).collect();
    let new = entries.iter().zip(&taken).filter(|(_, taken)| taken.is_none());
    let new: Vec<&Value> = new.filter_map(|((id, _), _)| schema(registry, id)).collect();
    let compiled = compile(&new, threads);
    let mut tools = LoadedTools::new();
    for (((id, entry), digest), taken) in entries.into_iter().zip(digests).zip(taken) {
        let schema = match (schema(registry, id), &taken) {
            (None, _) => without_schema(registry, id, places, found),
            (Some(_), Some(taken)) => taken.schema.clone(),
            (Some(schema), None) => match compiled.get(&schema.to_string()) {
                Some(Ok(schema)) => Some(ToolSchema::Checked(Arc::clone(schema))),
                Some(Err(problem)) => {
                    found.push(refused(id, problem, places));
                    None
                }
                None => None,
            },
        };
        let attributes = || attributes(entry);
        let tool = taken
            .unwrap_or_else(|| Arc::new(LoadedTool { digest, schema, attributes: attributes() }));
        tools.insert(id.clone(), tool);
    }
    tools
}

fn digest(entry: &Map<String, Value>) -> String {
    let text = serde_json::to_string(entry).unwrap_or_default();
    lictor_proto::json::digest_bytes("lictor/tool/1", text.as_bytes())
}

fn schema<'a>(registry: &'a Registry, id: &str) -> Option<&'a Value> {
    registry.tools.get(id)?.input_schema.as_ref()
}

fn attributes(entry: &Map<String, Value>) -> Map<String, Value> {
    let mut members: Vec<(&String, &Value)> = entry.iter().collect();
    if let Some(at) = members.iter().position(|(name, _)| *name == "input_schema") {
        // The order in which records have the others.
        members.swap_remove(at);
    }
    members.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Compiles every different schema once; by its text, since the order of members is the order in
/// which arguments are checked.
fn compile(schemas: &[&Value], threads: Threads) -> HashMap<String, Compiled> {
    let texts = threads.map(schemas, |schema| schema.to_string());
    let different: BTreeMap<String, &Value> =
        texts.into_iter().zip(schemas.iter().copied()).collect();
    let different: Vec<(usize, (String, &Value))> = different.into_iter().enumerate().collect();
    let compiled = threads.map(&different, |(number, (text, schema))| {
        ArgsSchema::checked(text, schema, *number < SCHEMAS_COMPILED_MAX)
    });
    different.into_iter().map(|(_, (text, _))| text).zip(compiled).collect()
}

fn refused(id: &str, (at, error): &(String, String), places: &Places<'_>) -> Diagnostic {
    let message = format!("tool `{id}`: input_schema is not a JSON Schema: {error}");
    let schema = format!("/registry/tools/{}/input_schema", escape_token(id));
    let (line, col) = places.at(&format!("{schema}{at}"));
    Diagnostic::error("schema_invalid", FILE, message).at(line, col)
}

fn without_schema(
    registry: &Registry,
    id: &str,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> Option<ToolSchema> {
    if registry.tools.get(id)?.schema.is_some() {
        return Some(ToolSchema::Any);
    }
    let message = format!("tool `{id}` has no `input_schema`: every call of it is denied");
    let (line, col) = places.at(&format!("/registry/tools/{}", escape_token(id)));
    let warning = Diagnostic::warning("schema_missing", FILE, message).at(line, col);
    found.push(warning.help("add `input_schema`, or `\"schema\": \"any\"`"));
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn loaded(data: &Value, before: Option<&LoadedTools>) -> (LoadedTools, Vec<Diagnostic>) {
        let registry = serde_json::from_value(data["registry"].clone()).unwrap();
        let text = data.to_string();
        let mut found = Vec::new();
        let threads = Threads::new(2);
        let tools = read(&registry, data, &Places::of(&text), (threads, before), &mut found);
        (tools, found)
    }

    fn data(second: &Value) -> Value {
        let text = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        json!({"registry": {"tools": {
            "s/one": {"input_schema": text, "attrs": {"x": 1}}, "s/two": {"input_schema": second},
            "s/three": {"input_schema": text}, "s/four": {"schema": "any"}, "s/five": {},
        }}})
    }

    fn validator(tools: &LoadedTools, id: &str) -> Arc<ArgsSchema> {
        match &tools[id].schema {
            Some(ToolSchema::Checked(schema)) => Arc::clone(schema),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn so_many_schemas_are_kept_compiled_and_the_others_check_the_same() {
        let tools = (0..=SCHEMAS_COMPILED_MAX).map(|n| {
            let schema = json!({"type": "object", "properties": {"a": {"maximum": n}}});
            (format!("s/{n}"), json!({"input_schema": schema}))
        });
        let tools: Map<String, Value> = tools.collect();
        let (tools, _) = loaded(&json!({"registry": {"tools": tools}}), None);
        let schemas: Vec<_> = tools.keys().map(|id| validator(&tools, id)).collect();
        let kept = schemas.iter().filter(|schema| schema.compiled.get().is_some()).count();
        assert_eq!(kept, SCHEMAS_COMPILED_MAX);
        for n in 0..=SCHEMAS_COMPILED_MAX {
            let schema = validator(&tools, &format!("s/{n}"));
            let is_valid = |a: usize| schema.validator().unwrap().is_valid(&json!({"a": a}));
            assert!(is_valid(n) && !is_valid(n + 1), "{n}");
        }
        assert!(schemas.iter().all(|schema| schema.compiled.get().is_some()));
    }

    #[test]
    fn schemas_of_one_text_are_compiled_once() {
        let (tools, found) = loaded(&data(&json!({"type": "object"})), None);
        assert!(Arc::ptr_eq(&validator(&tools, "s/one"), &validator(&tools, "s/three")));
        assert!(!Arc::ptr_eq(&validator(&tools, "s/one"), &validator(&tools, "s/two")));
        assert!(matches!(tools["s/four"].schema, Some(ToolSchema::Any)));
        assert!(tools["s/five"].schema.is_none());
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["schema_missing"]);
        assert_eq!(json!(tools["s/one"].attributes), json!({"attrs": {"x": 1}}));
    }

    #[test]
    fn tools_that_are_alike_are_taken_over_and_others_are_not() {
        let (before, _) = loaded(&data(&json!({"type": "object"})), None);
        let (after, found) = loaded(&data(&json!({"type": "array"})), Some(&before));
        for id in ["s/one", "s/three", "s/four", "s/five"] {
            assert!(Arc::ptr_eq(&before[id], &after[id]), "{id}");
        }
        assert!(!Arc::ptr_eq(&before["s/two"], &after["s/two"]));
        assert_eq!(found.len(), 1, "what is missing is said again");
    }

    #[test]
    fn each_tool_with_a_schema_that_is_none_is_reported() {
        let bad = json!({"type": "nonsense"});
        let mut data = data(&bad);
        data["registry"]["tools"]["s/one"]["input_schema"] = bad;
        let (_, found) = loaded(&data, None);
        let tools: Vec<_> = found.iter().filter(|d| d.code == "schema_invalid").collect();
        assert_eq!(tools.len(), 2, "{found:#?}");
        assert!(tools.iter().all(|d| d.col > 0), "{found:#?}");
    }
}
