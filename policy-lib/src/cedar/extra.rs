//! What a bundle adds to the registry's entity types and entities. The registry
//! stays the only source of its own: an overlap is refused.

use cedar_policy_core::ast::{Entity, PartialValue};
use cedar_policy_core::entities::{EntityJsonParser, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::Loc;
use cedar_policy_core::validator::json_schema::Fragment;
use cedar_policy_core::validator::{CoreSchema, RawName, ValidatorSchema};
use lictor_proto::json::{Value as Json, scan};

use crate::diagnostic::{Diagnostic, Level};

use super::names::{NAMESPACE, REGISTRY_TYPES};
use super::nesting;
use super::place::File;
use super::shape::is_taken;

/// A bundle's own part of the schema.
pub(super) type Extra = Fragment<RawName>;
/// What Cedar says against a schema, without a code of ours.
pub(super) type SchemaProblem = Box<dyn miette::Diagnostic + Send + Sync>;

/// Reads `cedar/schema.cedarschema`; `None` if it is refused.
pub(super) fn read_schema(file: &File<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Extra> {
    if let Some(problem) = nesting::refuse(file, "cedar_schema") {
        diagnostics.push(problem);
        return None;
    }
    let extensions = Extensions::all_available();
    let fragment = match Fragment::from_cedarschema_str(file.text, extensions) {
        Ok((fragment, _)) => fragment,
        Err(error) => {
            diagnostics.push(file.cedar("cedar_schema", Level::Error, &error));
            return None;
        }
    };
    let before = diagnostics.len();
    for (namespace, declared) in &fragment.0 {
        let namespace = namespace.as_ref().map(ToString::to_string).unwrap_or_default();
        let entities = declared.entity_types.iter().map(|(name, ty)| (name.to_string(), &ty.loc));
        let commons =
            declared.common_types.iter().map(|(id, ty)| (id.as_ref().to_string(), &ty.loc));
        for (name, loc) in entities.chain(commons).filter(|(name, _)| is_taken(&namespace, name)) {
            let message = format!("the type `{name}` is made by the registry or by Cedar");
            let help = "give your type another name, or a namespace of your own";
            diagnostics.push(file.error("cedar_overlap", start(loc.as_ref()), message).help(help));
        }
        for (name, action) in &declared.actions {
            let at = start(action.loc.as_ref());
            let message = format!("the action `{name}` is not made by the registry");
            diagnostics.push(if namespace == NAMESPACE {
                file.error("cedar_overlap", at, message)
                    .help("actions come from the protocols and the registry's tools: remove it")
            } else {
                file.warning("cedar_action_unused", at, message).help("it is never asked about")
            });
        }
    }
    let refused = diagnostics.iter().skip(before).any(|d| d.level == Level::Error);
    (!refused).then_some(fragment)
}

fn start(loc: Option<&Loc>) -> usize {
    loc.map_or(0, Loc::start)
}

/// Reads `cedar/entities.json` by the schema.
pub(super) fn read_entities(
    file: &File<'_>,
    schema: &ValidatorSchema,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Entity> {
    let node = match scan(file.text.as_bytes()) {
        Ok(node) => node,
        Err(error) => {
            diagnostics.push(file.error("cedar_entities", error.at, error.kind.to_string()));
            return Vec::new();
        }
    };
    if !matches!(node.value, Json::Array(_)) {
        let message = "entities are a list of {\"uid\", \"attrs\", \"parents\"}";
        diagnostics.push(file.error("cedar_entities", node.span.start, message));
        return Vec::new();
    }
    let schema = CoreSchema::new(schema);
    let extensions = Extensions::all_available();
    let parser = EntityJsonParser::new(Some(&schema), extensions, TCComputation::ComputeNow);
    let mut entities = Vec::new();
    for item in node.items() {
        let at = item.span.start;
        match parser.single_from_json_str(item.compact()) {
            Ok(entity) if is_registrys(&entity) => {
                let message = format!("the entity `{}` is the registry's to make", entity.uid());
                let help = "write it in data.registry, or use a type of your own";
                diagnostics.push(file.error("cedar_overlap", at, message).help(help));
            }
            Ok(entity) if has_unknown(&entity) => {
                let message = format!("the entity `{}` has a member without a value", entity.uid());
                diagnostics.push(file.error("cedar_entities", at, message));
            }
            Ok(entity) => entities.push(entity),
            Err(error) => {
                let (line, col) = file.line_col(at);
                let error = file.cedar("cedar_entities", Level::Error, &error);
                diagnostics.push(error.at(line, col));
            }
        }
    }
    entities
}

fn has_unknown(entity: &Entity) -> bool {
    let values = entity.attrs().chain(entity.tags()).map(|(_, value)| value);
    values.into_iter().any(|value| matches!(value, PartialValue::Residual(_)))
}

fn is_registrys(entity: &Entity) -> bool {
    let ty = entity.uid().entity_type();
    let name = ty.name().to_string();
    let ours = name.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix("::"));
    ty.is_action() || ours.is_some_and(|name| REGISTRY_TYPES.contains(&name))
}
