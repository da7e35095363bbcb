//! A tool's JSON Schema to the type of its arguments. What Cedar cannot type is
//! left out and listed.

use lictor_proto::json::node::escape_token;
use serde_json::Value;

use super::types::{Field, Record, Type};

/// Deepest nesting of objects and references that is typed; deeper parts are left out.
const MAX_TYPE_DEPTH_LEVELS: usize = 16;
/// Most members that one tool's arguments are typed with; further ones are left out.
const MAX_TYPED_MEMBERS: usize = 2048;
/// Member names that Cedar's own JSON forms give a meaning of their own.
const ESCAPES: [&str; 3] = ["__entity", "__extn", "__expr"];

/// The arguments of a tool as Cedar sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct ToolArgs {
    /// The arguments that Cedar can type.
    pub(super) record: Record,
    /// Pointers of the arguments that it cannot.
    pub(in super::super) left_out: Vec<String>,
}

impl ToolArgs {
    /// Pointers of every argument, typed or not, also inside of objects.
    pub(super) fn pointers(&self) -> Vec<String> {
        let mut pointers = self.left_out.clone();
        add_pointers(&self.record, "", &mut pointers);
        pointers.sort();
        pointers.dedup();
        pointers
    }
}

fn add_pointers(record: &Record, above: &str, pointers: &mut Vec<String>) {
    for (name, field) in record {
        let pointer = format!("{above}/{}", escape_token(name));
        if let Type::Record(inner) = &field.ty {
            add_pointers(inner, &pointer, pointers);
        }
        pointers.push(pointer);
    }
}

/// Types the arguments of a tool. Without a schema there are none.
pub(super) fn tool_args(schema: Option<&Value>) -> ToolArgs {
    let Some(root) = schema else {
        return ToolArgs::default();
    };
    let mut typer = Typer { root, at: String::new(), members: 0, left_out: Vec::new() };
    let record = typer.record(root, 0);
    let mut left_out = typer.left_out;
    left_out.sort();
    ToolArgs { record, left_out }
}

/// A type, and whether `null` is allowed beside it.
struct Typed {
    ty: Type,
    nullable: bool,
}

impl Typed {
    fn of(ty: Type) -> Self {
        Self { ty, nullable: false }
    }
}

struct Typer<'a> {
    root: &'a Value,
    at: String,
    members: usize,
    left_out: Vec<String>,
}

impl<'a> Typer<'a> {
    fn record(&mut self, schema: &'a Value, depth: usize) -> Record {
        let mut record = Record::new();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return record;
        };
        let length = self.at.len();
        for (name, member) in properties {
            if self.members == MAX_TYPED_MEMBERS {
                self.left_out.push(self.at.clone());
                break;
            }
            self.members += 1;
            self.at.push('/');
            self.at.push_str(&escape_token(name));
            let typed =
                if ESCAPES.contains(&name.as_str()) { None } else { self.typed(member, depth + 1) };
            match typed {
                Some(Typed { ty, nullable }) => {
                    let required = is_required(schema, name) && !nullable;
                    record.insert(name.clone(), Field { required, ty });
                }
                None => self.left_out.push(self.at.clone()),
            }
            self.at.truncate(length);
        }
        record
    }

    fn typed(&mut self, schema: &'a Value, depth: usize) -> Option<Typed> {
        if depth > MAX_TYPE_DEPTH_LEVELS {
            return None;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(reference.strip_prefix('#')?)?;
            return self.typed(target, depth + 1);
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            let [only] = all.as_slice() else { return None };
            return self.typed(only, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(keyword).and_then(Value::as_array) {
                return self.only_branch(branches, depth);
            }
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return of_values(values);
        }
        if let Some(value) = schema.get("const") {
            return of_values(std::slice::from_ref(value));
        }
        self.by_type(schema, depth)
    }

    /// One branch beside `null` is that branch, optional.
    fn only_branch(&mut self, branches: &'a [Value], depth: usize) -> Option<Typed> {
        let is_null = |branch: &&Value| branch.get("type").and_then(Value::as_str) == Some("null");
        let nullable = branches.iter().any(|branch| is_null(&branch));
        let mut others = branches.iter().filter(|branch| !is_null(branch));
        let (Some(only), None) = (others.next(), others.next()) else {
            return None;
        };
        let typed = self.typed(only, depth + 1)?;
        Some(Typed { nullable: nullable || typed.nullable, ..typed })
    }

    fn by_type(&mut self, schema: &'a Value, depth: usize) -> Option<Typed> {
        let declared = schema.get("type")?;
        let mut names: Vec<&str> = match declared {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
            _ => return None,
        };
        let count = names.len();
        names.retain(|name| *name != "null");
        let nullable = names.len() < count;
        let name = match names.as_slice() {
            [name] => *name,
            ["integer", "number"] | ["number", "integer"] => "number",
            _ => return None,
        };
        let ty = match name {
            "boolean" => Type::Bool,
            "integer" => Type::Long,
            "number" => Type::Decimal,
            "string" => Type::String,
            "array" => self.set(schema, depth)?,
            "object" if schema.get("properties").is_some_and(is_filled_object) => {
                Type::Record(self.record(schema, depth))
            }
            _ => return None,
        };
        Some(Typed { ty, nullable })
    }

    /// A list whose elements are all of one scalar type.
    fn set(&mut self, schema: &'a Value, depth: usize) -> Option<Type> {
        if schema.get("prefixItems").is_some() {
            return None;
        }
        let element = self.typed(schema.get("items")?, depth + 1)?;
        (element.ty.is_scalar() && !element.nullable).then(|| Type::Set(Box::new(element.ty)))
    }
}

fn is_filled_object(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
}

/// The type that all allowed values share.
fn of_values(values: &[Value]) -> Option<Typed> {
    let mut others = values.iter().filter(|value| !value.is_null()).peekable();
    let nullable = values.iter().any(Value::is_null);
    let ty = match others.peek()? {
        Value::String(_) => others.all(Value::is_string).then_some(Type::String),
        Value::Bool(_) => others.all(Value::is_boolean).then_some(Type::Bool),
        Value::Number(_) => {
            others.all(|value| value.is_i64() || value.is_u64()).then_some(Type::Long)
        }
        _ => None,
    }?;
    Some(Typed { nullable, ..Typed::of(ty) })
}

#[cfg(test)]
mod tests {
    use super::super::types::write_record;
    use super::{MAX_TYPE_DEPTH_LEVELS, MAX_TYPED_MEMBERS, tool_args};
    use serde_json::{Value, json};

    /// The type as schema text, and what was left out.
    fn typed(schema: Value) -> (String, Vec<String>) {
        let args = tool_args(Some(&schema));
        let mut text = String::new();
        write_record(&args.record, &mut text);
        (text, args.left_out)
    }

    #[test]
    fn scalars_lists_and_objects_are_typed() {
        let (text, left_out) = typed(json!({
            "type": "object",
            "required": ["amount", "tags", "trip"],
            "properties": {
                "amount": {"type": "number"},
                "days": {"type": "integer"},
                "kind": {"enum": ["a", "b"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "trip": {"type": "object", "properties": {"far": {"type": "boolean"}}},
            }
        }));
        assert_eq!(
            text,
            r#"{"amount": decimal, "days"?: Long, "kind"?: String, "tags": Set<String>, "trip": {"far"?: Bool}}"#
        );
        assert_eq!(left_out, Vec::<String>::new());
    }

    #[test]
    fn nullable_means_optional() {
        let (text, _) = typed(json!({
            "required": ["a", "b", "c"],
            "properties": {
                "a": {"type": ["string", "null"]},
                "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "c": {"enum": ["x", null]},
            }
        }));
        assert_eq!(text, r#"{"a"?: String, "b"?: Long, "c"?: String}"#);
    }

    #[test]
    fn local_references_are_followed() {
        let (text, left_out) = typed(json!({
            "properties": {
                "p": {"$ref": "#/$defs/Person"},
                "far": {"$ref": "https://example.com/other.json"},
                "one": {"allOf": [{"type": "string"}]},
            },
            "$defs": {"Person": {"type": "object", "properties": {"age": {"type": "integer"}}}},
        }));
        assert_eq!(text, r#"{"one"?: String, "p"?: {"age"?: Long}}"#);
        assert_eq!(left_out, ["/far"]);
    }

    #[test]
    fn what_cedar_cannot_type_is_left_out_and_listed() {
        let (text, left_out) = typed(json!({
            "properties": {
                "any": {},
                "either": {"type": ["string", "integer"]},
                "open": {"type": "object"},
                "rows": {"type": "array", "items": {"type": "object"}},
                "pair": {"type": "array", "prefixItems": [{"type": "string"}]},
                "mixed": {"enum": ["a", 1]},
                "holes": {"type": "array", "items": {"type": ["string", "null"]}},
                "__entity": {"type": "string"},
                "nest": {"type": "object", "properties": {"a/b": {}}},
            }
        }));
        assert_eq!(text, r#"{"nest"?: {}}"#);
        let all = ["/__entity", "/any", "/either", "/holes", "/mixed", "/nest/a~1b", "/open"];
        assert_eq!(left_out.get(..7), Some(all.map(str::to_owned).as_slice()));
        assert_eq!(left_out.get(7..), Some(["/pair", "/rows"].map(str::to_owned).as_slice()));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let (_, left_out) = typed(json!({
            "properties": {"n": {"$ref": "#/$defs/N"}},
            "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}},
        }));
        assert_eq!(left_out.len(), 1);
    }

    #[test]
    fn members_end_at_the_limit() {
        let count = |members: usize| {
            let properties: serde_json::Map<String, Value> =
                (0..members).map(|n| (format!("m{n}"), json!({"type": "string"}))).collect();
            let args = tool_args(Some(&json!({ "properties": properties })));
            (args.record.len(), args.left_out.len())
        };
        assert_eq!(count(MAX_TYPED_MEMBERS), (MAX_TYPED_MEMBERS, 0));
        assert_eq!(count(MAX_TYPED_MEMBERS + 1), (MAX_TYPED_MEMBERS, 1));
    }

    #[test]
    fn types_end_at_the_deepest_level() {
        let nested = |levels: usize| {
            let leaf = json!({"type": "string"});
            let schema = (1..levels)
                .fold(leaf, |inner, _| json!({"type": "object", "properties": {"x": inner}}));
            typed(json!({"properties": {"x": schema}})).1.len()
        };
        assert_eq!(nested(MAX_TYPE_DEPTH_LEVELS), 0);
        assert_eq!(nested(MAX_TYPE_DEPTH_LEVELS + 1), 1);
    }

    #[test]
    fn without_a_schema_there_are_no_arguments() {
        assert_eq!(tool_args(None), super::ToolArgs::default());
        assert_eq!(typed(Value::Bool(true)).0, "{}");
    }
}
