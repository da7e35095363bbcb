//! Schemas of some of the actions, put together from parts that are read once: Cedar's reader of
//! schema text takes longer for a tool's arguments than validation does. What is put together is
//! what the text says, which a test holds.

use std::collections::BTreeSet;

use cedar_policy_core::ast::Name;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::json_schema::{
    ActionType, Fragment, NamespaceDefinition, RecordType, Type as SchemaType, TypeOfAttribute,
    TypeVariant,
};
use cedar_policy_core::validator::{
    ConditionalName, RawName, ValidatorSchema, ValidatorSchemaFragment,
};

use super::super::extra::{Extra, SchemaProblem};
use super::super::names::ACTIONS;
use super::types::{Field, Record, Type};
use super::{ARGS, PROVENANCE, Shape, ToolShape};

/// The action that is read to see what the action of a tool looks like.
const SAMPLE: &str = "sample";
/// Its arguments, one of each scalar type.
const SCALARS: [(&str, Type); 4] = [
    ("bool", Type::Bool),
    ("decimal", Type::Decimal),
    ("long", Type::Long),
    ("string", Type::String),
];

type Part = ValidatorSchemaFragment<ConditionalName, ConditionalName>;
type RawType = SchemaType<RawName>;

/// The parts of all schemas of one registry.
pub(in super::super) struct Schemas<'a> {
    shape: &'a Shape,
    /// Every type, the group of the tools' actions, and what the bundle adds.
    base: Vec<Part>,
    name: Option<Name>,
    /// Every action that is no tool's.
    protocols: NamespaceDefinition<RawName>,
    sample: ActionType<RawName>,
    member: TypeOfAttribute<RawName>,
    scalars: [RawType; 4],
}

impl<'a> Schemas<'a> {
    /// Reads the parts.
    ///
    /// # Errors
    /// What Cedar says against the types of the registry, or of the bundle's own part.
    pub(in super::super) fn of(
        shape: &'a Shape,
        extra: Option<&Extra>,
    ) -> Result<Self, SchemaProblem> {
        let extensions = Extensions::all_available();
        let (fragment, _) = Fragment::from_cedarschema_str(&text(shape), extensions)?;
        let (name, mut base) = fragment.0.into_iter().next().ok_or("nothing was read")?;
        let mut protocols = NamespaceDefinition {
            common_types: Default::default(),
            entity_types: Default::default(),
            ..base.clone()
        };
        base.actions.clear();
        let group = super::TOOL_GROUP;
        base.actions.extend(protocols.actions.remove_entry(group));
        let sample = protocols.actions.remove(SAMPLE).ok_or("no sample was read")?;
        let members = &args_of(&sample).ok_or("the sample has no arguments")?.attributes;
        let scalar = |name: &str| members.get(name).map(|member| member.ty.clone());
        let [bool, decimal, long, string] = SCALARS.map(|(name, _)| scalar(name));
        let member = members.values().next().cloned().ok_or("the sample has no arguments")?;
        let scalars = [bool, decimal, long, string].map(|ty| ty.ok_or("a scalar is missing"));
        let [bool, decimal, long, string] = scalars;
        let scalars = [bool?, decimal?, long?, string?];
        let fragments = std::iter::once(of_namespace(&name, base)).chain(extra.cloned());
        let base = fragments.map(Part::from_schema_fragment).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { shape, base, name, protocols, sample, member, scalars })
    }

    /// The schema with every type and these actions, as far as there are such.
    ///
    /// # Errors
    /// What Cedar says against it.
    pub(in super::super) fn with(
        &self,
        actions: &BTreeSet<&str>,
    ) -> Result<ValidatorSchema, SchemaProblem> {
        let part = Part::from_schema_fragment(self.actions(actions))?;
        let parts = self.base.iter().cloned().chain([part]);
        Ok(ValidatorSchema::from_schema_fragments(parts, Extensions::all_available())?)
    }

    fn actions(&self, names: &BTreeSet<&str>) -> Fragment<RawName> {
        let found = names.iter().filter_map(|name| {
            let action = match self.shape.tools.get(*name) {
                Some(tool) => self.tool(tool)?,
                None => self.protocols.actions.get(*name)?.clone(),
            };
            Some(((*name).into(), action))
        });
        let actions = found.collect();
        of_namespace(&self.name, NamespaceDefinition { actions, ..self.nothing() })
    }

    fn nothing(&self) -> NamespaceDefinition<RawName> {
        NamespaceDefinition {
            common_types: Default::default(),
            entity_types: Default::default(),
            actions: Default::default(),
            annotations: Default::default(),
        }
    }

    fn tool(&self, tool: &ToolShape) -> Option<ActionType<RawName>> {
        let mut action = self.sample.clone();
        let context = record_mut(&mut action.applies_to.as_mut()?.context.0)?;
        record_mut(&mut context.attributes.get_mut(ARGS)?.ty)?.attributes =
            self.record(&tool.args.record).attributes;
        let origins = &mut record_mut(&mut context.attributes.get_mut(PROVENANCE)?.ty)?.attributes;
        let origin = origins.values().next().cloned()?;
        *origins = tool.pointers.iter().map(|at| (at.as_str().into(), origin.clone())).collect();
        Some(action)
    }

    fn record(&self, record: &Record) -> RecordType<RawName> {
        let member = |(name, Field { required, ty }): (&String, &Field)| {
            let member =
                TypeOfAttribute { ty: self.ty(ty), required: *required, ..self.member.clone() };
            (name.as_str().into(), member)
        };
        RecordType { attributes: record.iter().map(member).collect(), additional_attributes: false }
    }

    fn ty(&self, ty: &Type) -> RawType {
        let [bool, decimal, long, string] = &self.scalars;
        let ty = match ty {
            Type::Bool => return bool.clone(),
            Type::Decimal => return decimal.clone(),
            Type::Long => return long.clone(),
            Type::String => return string.clone(),
            Type::Set(element) => TypeVariant::Set { element: Box::new(self.ty(element)) },
            Type::Record(record) => TypeVariant::Record(self.record(record)),
        };
        SchemaType::Type { ty, loc: None }
    }
}

/// The text of all types, of every action that is no tool's, and of the sample.
fn text(shape: &Shape) -> String {
    let mut out = String::new();
    shape.open(&mut out);
    for row in &ACTIONS {
        Shape::declare_row(row, &mut out);
    }
    let scalars = SCALARS.map(|(name, ty)| (name.to_owned(), Field { required: true, ty }));
    let mut sample = ToolShape { pointers: vec!["/sample".to_owned()], ..ToolShape::default() };
    sample.args.record = Record::from(scalars);
    super::declare_tool(SAMPLE, &sample, &mut out);
    out.push_str("}\n");
    out
}

fn of_namespace(name: &Option<Name>, of: NamespaceDefinition<RawName>) -> Fragment<RawName> {
    Fragment([(name.clone(), of)].into_iter().collect())
}

fn record_mut(ty: &mut RawType) -> Option<&mut RecordType<RawName>> {
    match ty {
        SchemaType::Type { ty: TypeVariant::Record(record), .. } => Some(record),
        _ => None,
    }
}

fn args_of(action: &ActionType<RawName>) -> Option<&RecordType<RawName>> {
    let context = record_of(&action.applies_to.as_ref()?.context.0)?;
    record_of(&context.attributes.get(ARGS)?.ty)
}

fn record_of(ty: &RawType) -> Option<&RecordType<RawName>> {
    match ty {
        SchemaType::Type { ty: TypeVariant::Record(record), .. } => Some(record),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Registry;

    fn registry() -> Registry {
        let every = json!({"type": "object", "required": ["n", "o"], "properties": {
            "n": {"type": "integer"}, "d": {"type": ["number", "null"]}, "b": {"type": "boolean"},
            "s": {"type": "string"}, "l": {"type": "array", "items": {"type": "string"}},
            "quo\"te\n/~": {"type": "string"}, "é\u{301}": {"type": "integer"}, "left": {},
            "o": {"type": "object", "required": ["x"], "properties": {
                "x": {"type": "number"}, "y": {"type": "object", "properties": {"z": {"const": 1}}}
            }},
        }});
        serde_json::from_value(json!({
            "tools": {
                "a/every": {"input_schema": every, "attrs": {"level": 3}},
                "a/none": {},
                "b/quo\"te": {"input_schema": {"type": "object", "properties": {"x": {"type": "string"}}}},
            },
            "agents": {"x": {"owner": "o", "status": "active", "attrs": {"deep": {"er": [1]}}}},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_put_together_is_what_the_text_says() {
        let shape = Shape::of(&registry());
        let schemas = Schemas::of(&shape, None).unwrap_or_else(|problem| panic!("{problem}"));
        let names: BTreeSet<&str> = shape.action_names().collect();
        for actions in [
            BTreeSet::new(),
            BTreeSet::from(["a/every"]),
            BTreeSet::from(["a/none", "llm/chat", "nobody/has"]),
            names,
        ] {
            let text = shape.schema_of(&actions);
            let extensions = Extensions::all_available();
            let (read, _) = ValidatorSchema::from_cedarschema_str(&text, extensions).unwrap();
            let made = schemas.with(&actions).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(made, read, "{actions:?}");
        }
    }
}
