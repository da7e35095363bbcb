//! `lictor schema tools`: what policies see of calls of each tool, as JSON Schema.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::cedar::registry;
use super::definitions::{self, FromArgs};
use crate::exit::{Exit, Failure};
use crate::output::{print_json, shown};

/// Where schemas of single tools are said to be.
const TOOL_SCHEMAS: &str = "https://lictor.dev/schema/tools/";

/// Arguments of `schema tools`.
#[derive(Debug, Args)]
pub(crate) struct ToolsArgs {
    /// The bundle whose registry has the tools.
    #[arg(short, long, value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Only this tool, such as `accounting/receipt_ocr`.
    #[arg(long, value_name = "ID")]
    tool: Option<String>,
    /// Take the arguments' schemas from this server's definitions (`--from`) instead.
    #[arg(long, value_name = "ID", requires = "from")]
    server: Option<String>,
    /// What answers `tools/list` of that server, as for `schema import`.
    #[arg(long, value_name = "FILE|URL", requires = "server")]
    from: Option<String>,
    /// File with a bearer token for the server.
    #[arg(long, value_name = "FILE", requires = "from")]
    token_file: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &ToolsArgs) -> Result<Exit, Failure> {
    let mut tools = registered(args)?;
    if let Some(id) = &args.tool {
        let Some(schema) = tools.remove(id) else {
            let text = format!("there is no tool `{}`", shown(id));
            let near = lictor_policy_lib::diagnostic::suggest(id, tools.keys().map(String::as_str));
            let help = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            return Err(Failure::usage(text).help(help));
        };
        tools = Map::from_iter([(id.clone(), schema)]);
    }
    print_json(&document(&tools)?)?;
    Ok(Exit::Ok)
}

/// The schemas of arguments by tool.
fn registered(args: &ToolsArgs) -> Result<Map<String, Value>, Failure> {
    let registry = registry(&args.bundle)?;
    let mut tools = Map::new();
    for (id, tool) in registry.tools {
        let is_replaced = args
            .server
            .as_deref()
            .is_some_and(|server| id.split_once('/').is_some_and(|(of, _)| of == server));
        if !is_replaced {
            // Whatever a tool without a schema takes, no policy sees it typed.
            let open = || json!({"type": "object"});
            tools.insert(id, tool.input_schema.unwrap_or_else(open));
        }
    }
    if let (Some(server), Some(from)) = (&args.server, &args.from) {
        let from = FromArgs { from: from.clone(), token_file: args.token_file.clone() };
        for tool in definitions::read(&from)? {
            let schema = tool.node.get("inputSchema").map(lictor_proto::json::Node::compact);
            let schema = serde_json::from_str(&schema.unwrap_or_default());
            let schema = schema.map_err(|error| Failure::error(&error))?;
            tools.insert(format!("{server}/{}", tool.name), schema);
        }
    }
    Ok(tools)
}

/// One schema: a call of any of the tools. Each tool's own is in `$defs` under its id.
fn document(tools: &Map<String, Value>) -> Result<Value, Failure> {
    let parse = |text: &str| -> Result<Value, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::error(&error))
    };
    let facts = parse(lictor_proto::FACTS_SCHEMA)?;
    let mut call = parse(lictor_proto::CALL_SCHEMA)?;
    let id = |schema: &Value| schema.get("$id").cloned().unwrap_or_default();
    let (call_id, facts_id) = (id(&call), id(&facts));
    if let Some(properties) = call.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("facts".to_owned(), json!({"$ref": facts_id}));
    }
    let mut defs = Map::new();
    let mut any = Vec::new();
    for (id, schema) in tools {
        let at = format!("{TOOL_SCHEMAS}{}", escaped(id));
        any.push(json!({"$ref": at}));
        defs.insert(id.clone(), one(id, &at, schema));
    }
    defs.insert("call".to_owned(), call);
    defs.insert("facts".to_owned(), facts);
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "input",
        "description": "What policies see of a call of these tools (action `tools/call`)",
        "$ref": call_id,
        "anyOf": any,
        "$defs": defs,
    }))
}

/// What a call of one tool has beside what every call has. The arguments' schema is a resource of
/// its own, so that its `#/$defs/...` go on to mean what they meant.
fn one(id: &str, at: &str, arguments: &Value) -> Value {
    let mut arguments = arguments.clone();
    if let Some(members) = arguments.as_object_mut() {
        members.entry("$id").or_insert_with(|| json!(format!("{at}/arguments")));
    }
    json!({
        "$id": at,
        "title": id,
        "properties": {
            "action": {"properties": {"name": {"const": "tools/call"}}, "required": ["name"]},
            "resource": {
                "type": "object",
                "properties": {"type": {"const": "tool"}, "id": {"const": id}},
                "required": ["type", "id"],
            },
            "context": {"properties": {"args": arguments}, "required": ["args"]},
        },
        "required": ["action", "resource", "context"],
    })
}

/// An id as part of a URL.
fn escaped(id: &str) -> String {
    let mut out = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
