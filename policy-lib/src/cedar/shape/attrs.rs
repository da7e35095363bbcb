//! The free attributes of registry entries: typed from their values where all
//! entries of one entity type agree, else left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use cedar_policy_core::ast::Value as CedarValue;
use lictor_proto::json::node::escape_token;
use lictor_proto::json::{Node, Value as Json, scan};
use serde_json::{Map, Value};

use super::super::reads::{Reader, Reads};
use super::number;
use super::types::{Builder, Field, Makers, Record, Type};

/// The free attributes of all entries of one entity type.
#[derive(Debug, Default)]
pub(super) struct Attrs {
    /// Their common type; every member is optional.
    pub(super) record: Record,
    /// What is written, each once: many entries have the same.
    nodes: Vec<Node>,
    /// Where the attributes of each entry are among `nodes`.
    of: BTreeMap<String, usize>,
    /// The values of `nodes`, once they are built.
    values: OnceLock<Vec<CedarValue>>,
}

impl Attrs {
    /// Types the attributes of all entries.
    pub(super) fn of<'a>(
        entries: impl Iterator<Item = (&'a String, &'a Map<String, Value>)>,
    ) -> Self {
        let mut nodes = Vec::new();
        let mut of = BTreeMap::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (id, attrs) in entries {
            let text = serde_json::to_string(attrs).unwrap_or_default();
            let at = *known.entry(text).or_insert_with_key(|text| {
                // What the strict reader refuses has no exact value to show to policy.
                nodes.push(scan(text.as_bytes()).unwrap_or_else(|_| Node::empty_object()));
                nodes.len() - 1
            });
            of.insert(id.clone(), at);
        }
        let record = common(nodes.iter());
        Self { record, nodes, of, values: OnceLock::new() }
    }

    /// Pointers of the attributes that have no type, each once.
    pub(super) fn left_out(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        for node in &self.nodes {
            add_untyped(node, &self.record, "", &mut found);
        }
        found.into_iter().collect()
    }

    /// The attributes of one entry, as far as they are typed. Entries that have the same share it.
    pub(super) fn value(&self, id: &str, makers: &Makers) -> CedarValue {
        let everything = Reads::everything(Reader::Shadow);
        let value = |node| Builder::new(makers).record(node, &self.record, everything.cursor());
        let values = self.values.get_or_init(|| self.nodes.iter().map(value).collect());
        let found = self.of.get(id).and_then(|at| values.get(*at));
        found.cloned().unwrap_or_else(|| CedarValue::empty_record(None))
    }
}

/// Members that say nothing of a type are of any, and not left out.
fn add_untyped(object: &Node, record: &Record, above: &str, found: &mut BTreeSet<String>) {
    for member in object.members() {
        let pointer = format!("{above}/{}", escape_token(&member.key));
        match record.get(&*member.key).map(|field| &field.ty) {
            Some(Type::Record(inner)) => add_untyped(&member.value, inner, &pointer, found),
            None if !says_nothing(&member.value) => drop(found.insert(pointer)),
            _ => {}
        }
    }
}

/// The members on whose type all objects agree.
fn common<'a>(objects: impl Iterator<Item = &'a Node>) -> Record {
    let mut members: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for object in objects {
        for member in object.members() {
            members.entry(&member.key).or_default().push(&member.value);
        }
    }
    let typed = members.into_iter().filter_map(|(name, values)| {
        let ty = shared(&values)?;
        Some((name.to_owned(), Field { required: false, ty }))
    });
    typed.collect()
}

/// The type that all values share. `null` and empty lists fit every type.
fn shared(values: &[&Node]) -> Option<Type> {
    let telling: Vec<&Node> = values.iter().copied().filter(|value| !says_nothing(value)).collect();
    if !telling.is_empty() && telling.iter().all(|value| value.is_object()) {
        return Some(Type::Record(common(telling.into_iter())));
    }
    let mut types = telling.into_iter().map(scalar_or_set);
    let first = types.next()??;
    types.try_fold(first, |shared, ty| merged(shared, ty?))
}

fn says_nothing(value: &Node) -> bool {
    value.is_null() || matches!(&value.value, Json::Array(items) if items.is_empty())
}

fn scalar_or_set(value: &Node) -> Option<Type> {
    match &value.value {
        Json::Bool(_) => Some(Type::Bool),
        Json::String(_) => Some(Type::String),
        Json::Number(value) if number::long(value.text()).is_some() => Some(Type::Long),
        Json::Number(value) => number::ten_thousandths(value.text()).map(|_| Type::Decimal),
        Json::Array(items) => {
            let mut types = items.iter().map(scalar_or_set);
            let first = types.next()??;
            let element = types.try_fold(first, |shared, ty| merged(shared, ty?))?;
            element.is_scalar().then(|| Type::Set(Box::new(element)))
        }
        Json::Null | Json::Object(_) => None,
    }
}

/// The type that takes values of both.
fn merged(one: Type, other: Type) -> Option<Type> {
    match (one, other) {
        (one, other) if one == other => Some(one),
        (Type::Long, Type::Decimal) | (Type::Decimal, Type::Long) => Some(Type::Decimal),
        (Type::Set(one), Type::Set(other)) => Some(Type::Set(Box::new(merged(*one, *other)?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::write_record;
    use super::Attrs;
    use serde_json::{Map, Value, json};

    fn typed(entries: &[Value]) -> String {
        let maps: Vec<(String, Map<String, Value>)> = entries
            .iter()
            .enumerate()
            .map(|(n, value)| (n.to_string(), value.as_object().unwrap().clone()))
            .collect();
        let mut text = String::new();
        write_record(&Attrs::of(maps.iter().map(|(id, map)| (id, map))).record, &mut text);
        text
    }

    #[test]
    fn what_all_entries_agree_on_is_typed_and_optional() {
        let text = typed(&[
            json!({"level": 3, "tags": ["a"], "home": {"floor": 1}, "rate": 1, "on": true}),
            json!({"level": 4, "tags": [], "home": {"city": "x"}, "rate": 1.5, "on": null}),
        ]);
        assert_eq!(
            text,
            r#"{"home"?: {"city"?: String, "floor"?: Long}, "level"?: Long, "on"?: Bool, "rate"?: decimal, "tags"?: Set<String>}"#
        );
    }

    #[test]
    fn what_is_left_out_is_named_once() {
        let entries =
            [json!({"a": {"x": 1, "y/z": "t"}, "n": null}), json!({"a": {"y/z": 1}, "b": [[1]]})];
        let maps: Vec<(String, Map<String, Value>)> = entries
            .iter()
            .enumerate()
            .map(|(n, value)| (n.to_string(), value.as_object().unwrap().clone()))
            .collect();
        let attrs = Attrs::of(maps.iter().map(|(id, map)| (id, map)));
        assert_eq!(attrs.left_out(), ["/a/y~1z", "/b"]);
    }

    #[test]
    fn what_they_disagree_on_is_left_out() {
        assert_eq!(typed(&[json!({"a": 1, "b": 1}), json!({"a": "x", "b": 2})]), r#"{"b"?: Long}"#);
        assert_eq!(typed(&[json!({"a": {"x": 1}}), json!({"a": 1})]), "{}");
        assert_eq!(typed(&[json!({"rows": [[1]], "mixed": [1, "a"], "none": []})]), "{}");
    }
}
