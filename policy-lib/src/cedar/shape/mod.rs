//! How the registry and a call look in Cedar: the one owner of both directions,
//! schema text and values. What the schema promises is what is built.
//!
//! # Layout
//!
//! - [`types`]: the types JSON can have, their text, and values by them.
//! - [`number`]: exact numbers.
//! - [`tool`]: a tool's JSON Schema to the type of `context.args`.
//! - [`attrs`]: the type of free attributes, from their values.
//! - [`entities`]: registry entries as entities.
//! - [`context`]: the rest of `context`.
//! - [`schema`]: schemas of some of the actions, without their text.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy_core::ast::Entity;

use crate::registry::Registry;

use super::names::{
    ACTIONS, ActionRow, NAMESPACE, Names, REGISTRY_TYPES, TOOL_GROUP, action_row, type_of,
};
use super::reads::{MemberNames, Reads};
use context::{ARGS, COMMON_TYPE_NAMES, COMMON_TYPES, PROVENANCE, write_context};
use entities::EntityShapes;
use tool::tool_args;
use types::quoted;

mod attrs;
mod context;
mod entities;
mod number;
mod schema;
mod tool;
mod types;

pub(super) use context::Parts;
pub(super) use entities::server_ids;
pub(super) use schema::Schemas;
pub(super) use tool::ToolArgs;
pub(super) use types::Makers;

/// Names of Cedar's own types, which a bundle's schema must not take.
const BUILTIN_TYPES: [&str; 12] = [
    "Action",
    "Bool",
    "Boolean",
    "Entity",
    "Extension",
    "Long",
    "Record",
    "Set",
    "String",
    "datetime",
    "decimal",
    "ipaddr",
];

/// How one registry looks in Cedar.
#[derive(Debug)]
pub(super) struct Shape {
    entities: EntityShapes,
    tools: BTreeMap<String, ToolShape>,
}

/// How one tool looks in Cedar.
#[derive(Debug, Default)]
struct ToolShape {
    args: ToolArgs,
    pointers: Vec<String>,
}

impl Shape {
    pub(super) fn of(registry: &Registry) -> Self {
        let tools = registry.tools.iter().map(|(id, entry)| {
            let args = tool_args(entry.input_schema.as_ref());
            let pointers = args.pointers();
            (id.clone(), ToolShape { args, pointers })
        });
        Self { entities: EntityShapes::of(registry), tools: tools.collect() }
    }

    /// Whether an action of this name exists.
    pub(super) fn has_action(&self, name: &str) -> bool {
        name == TOOL_GROUP || action_row(name).is_some() || self.tools.contains_key(name)
    }

    /// The action of this name, as long as the shape lives.
    pub(super) fn action(&self, name: &str) -> Option<&str> {
        let tool = self.tools.get_key_value(name).map(|(id, _)| id.as_str());
        tool.or_else(|| action_row(name).map(|row| row.name))
    }

    /// Every action's name.
    pub(super) fn action_names(&self) -> impl Iterator<Item = &str> {
        let fixed = ACTIONS.iter().map(|row| row.name).chain([TOOL_GROUP]);
        fixed.chain(self.tools.keys().map(String::as_str))
    }

    /// Tools with the arguments that Cedar cannot type.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (&str, &[String])> {
        let tools =
            self.tools.iter().map(|(id, tool)| (id.as_str(), tool.args.left_out.as_slice()));
        tools.filter(|(_, left_out)| !left_out.is_empty())
    }

    /// Where attributes of the registry are that Cedar cannot type, and their pointers.
    pub(super) fn attributes_left_out(&self) -> Vec<(&'static str, Vec<String>)> {
        self.entities.left_out()
    }

    /// One tool for each different type of what is read of the arguments: a policy
    /// that reads no more and names no tool is valid for all tools exactly if it is
    /// valid for these. Beside them the text of all these types.
    pub(super) fn representatives(&self, reads: &Reads) -> (BTreeSet<&str>, String) {
        let (args, provenance) =
            (reads.cursor().member("args"), reads.cursor().member("provenance"));
        let mut by_type = BTreeMap::new();
        for (id, tool) in &self.tools {
            let record = &tool.args.record;
            let record = record.iter().filter(|(name, _)| args.member(name).is_read());
            let pointers = tool.pointers.iter();
            let pointers = pointers.filter(|pointer| provenance.member(pointer).is_read());
            let mut read = String::new();
            write_context(record, pointers, &mut read);
            by_type.entry(read).or_insert(id.as_str());
        }
        let types = by_type.keys().map(String::as_str).collect::<Vec<_>>().join("\n");
        (by_type.into_values().collect(), types)
    }

    /// The whole schema.
    pub(super) fn schema_text(&self) -> String {
        let mut out = String::from("// Made from the registry.\n");
        for (tool, pointers) in self.left_out() {
            for pointer in pointers {
                let (tool, pointer) = (quoted(tool), quoted(pointer));
                out.push_str(&format!(
                    "// Left out, since Cedar cannot type it: {tool} {pointer}\n"
                ));
            }
        }
        let actions: BTreeSet<&str> = self.action_names().collect();
        out.push_str(&self.schema_of(&actions));
        out
    }

    /// All entity types, and these actions with the groups they need.
    pub(super) fn schema_of(&self, actions: &BTreeSet<&str>) -> String {
        let mut out = String::new();
        self.open(&mut out);
        for action in actions {
            self.declare_action(action, &mut out);
        }
        out.push_str("}\n");
        out
    }

    /// Appends the namespace with all types and the group of the tools' actions, not closed.
    fn open(&self, out: &mut String) {
        out.push_str(&format!("namespace {NAMESPACE} {{\n"));
        out.push_str(COMMON_TYPES);
        let nothing = ToolShape::default();
        out.push_str("  type Plain = ");
        write_context(&nothing.args.record, &nothing.pointers, out);
        out.push_str(";\n");
        self.entities.declare(out);
        out.push_str(&format!("  action {};\n", quoted(TOOL_GROUP)));
    }

    /// Appends the declaration of an action, if there is one of this name.
    pub(super) fn declare_action(&self, name: &str, out: &mut String) {
        if let Some(tool) = self.tools.get(name) {
            declare_tool(name, tool, out);
        } else if let Some(row) = action_row(name) {
            Self::declare_row(row, out);
        }
    }

    fn declare_row(row: &ActionRow, out: &mut String) {
        let resources: Vec<&str> = row.resources.iter().map(|kind| type_of(*kind)).collect();
        let (action, resources) = (quoted(row.name), resources.join(", "));
        out.push_str(&format!("  action {action} appliesTo {{ principal: [Agent], resource: [{resources}], context: Plain }};\n"));
    }

    /// All entities of the registry, without actions, with the attributes that are `read`, or
    /// all of them.
    pub(super) fn entities(
        &self,
        registry: &Registry,
        names: &Names,
        makers: &Makers,
        read: Option<&MemberNames>,
    ) -> Vec<Entity> {
        self.entities.build(registry, names, makers, read)
    }

    /// The same without what only checks and entities are made of.
    pub(super) fn for_calls(self) -> Self {
        let tools = self.tools.into_iter().map(|(id, mut tool)| {
            tool.args.left_out = Vec::new();
            tool.pointers.shrink_to_fit();
            (id, tool)
        });
        Self { entities: EntityShapes::default(), tools: tools.collect() }
    }

    /// What the context of a call is built from; `tool` is its tool's id, if any.
    pub(super) fn parts<'a>(
        &'a self,
        tool: Option<&str>,
        names: &'a Names,
        makers: &'a Makers,
        reads: &'a Reads,
        plain: &'a ToolArgs,
    ) -> Parts<'a> {
        let shape = tool.and_then(|tool| self.tools.get(tool));
        let args = shape.map_or(plain, |shape| &shape.args);
        let pointers = shape.map_or(&[][..], |shape| shape.pointers.as_slice());
        Parts { names, makers, reads, args: &args.record, pointers }
    }
}

/// Appends the declaration of a tool's action.
fn declare_tool(name: &str, tool: &ToolShape, out: &mut String) {
    let (action, group) = (quoted(name), quoted(TOOL_GROUP));
    out.push_str(&format!("  action {action} in [{group}] appliesTo {{ principal: [Agent], resource: [Tool], context: "));
    write_context(&tool.args.record, &tool.pointers, out);
    out.push_str(" };\n");
}

/// Whether a bundle's own schema may not declare this type: it is the registry's,
/// the generated schema's or Cedar's own.
pub(super) fn is_taken(namespace: &str, name: &str) -> bool {
    let ours = REGISTRY_TYPES.contains(&name)
        || COMMON_TYPE_NAMES.contains(&name)
        || ["Memory", "Plain", "Prompt", "Resource"].contains(&name);
    BUILTIN_TYPES.contains(&name) && (namespace.is_empty() || namespace == NAMESPACE)
        || namespace == NAMESPACE && ours
}
