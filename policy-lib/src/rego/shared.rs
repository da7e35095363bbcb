//! The bundle's data as a value in which what is equal is there once: of many tools, most names,
//! texts and parts of schemas are. Values are never changed in place, so that nobody can tell.

use std::collections::HashMap;

use lictor_proto::json::{Node, Value as NodeValue};
use regorus::Value;

use super::input::value_from_node;

/// The same value as [`value_from_node`] makes.
pub(super) fn value(node: &Node) -> Value {
    let mut known = Known::default();
    let id = known.id(node);
    known.value(id)
}

/// A value among those that are known. Equal ids are equal values.
type Id = usize;

#[derive(Default)]
struct Known<'n> {
    values: Vec<Value>,
    /// By what is written: of numbers `1` and `1.0` are two.
    numbers: HashMap<&'n str, Id>,
    texts: HashMap<&'n str, Id>,
    words: HashMap<Option<bool>, Id>,
    lists: HashMap<Box<[Id]>, Id>,
    /// Name and value of each member, in the order written.
    objects: HashMap<Box<[Id]>, Id>,
}

impl<'n> Known<'n> {
    fn value(&self, id: Id) -> Value {
        // Every id is a place in the list.
        self.values.get(id).cloned().unwrap_or(Value::Undefined)
    }

    fn id(&mut self, node: &'n Node) -> Id {
        let next = self.values.len();
        let scalar = match &node.value {
            NodeValue::Null => *self.words.entry(None).or_insert(next),
            NodeValue::Bool(word) => *self.words.entry(Some(*word)).or_insert(next),
            NodeValue::Number(number) => *self.numbers.entry(number.text()).or_insert(next),
            NodeValue::String(text) => return self.text(text),
            NodeValue::Array(items) => {
                let ids: Box<[Id]> = items.iter().map(|item| self.id(item)).collect();
                return self.list(ids);
            }
            NodeValue::Object(members) => {
                let ids = members.iter().flat_map(|m| [self.text(&m.key), self.id(&m.value)]);
                let ids: Box<[Id]> = ids.collect();
                return self.object(ids);
            }
        };
        if scalar == next {
            self.values.push(value_from_node(node));
        }
        scalar
    }

    fn text(&mut self, text: &'n str) -> Id {
        let next = self.values.len();
        let id = *self.texts.entry(text).or_insert(next);
        if id == next {
            self.values.push(Value::from(text));
        }
        id
    }

    fn list(&mut self, ids: Box<[Id]>) -> Id {
        if let Some(id) = self.lists.get(&ids) {
            return *id;
        }
        let items: Vec<Value> = ids.iter().map(|id| self.value(*id)).collect();
        let id = self.values.len();
        self.values.push(Value::from(items));
        self.lists.insert(ids, id);
        id
    }

    fn object(&mut self, ids: Box<[Id]>) -> Id {
        if let Some(id) = self.objects.get(&ids) {
            return *id;
        }
        let members = ids.chunks_exact(2).filter_map(|member| match member {
            [name, value] => Some((self.value(*name), self.value(*value))),
            _ => None,
        });
        let members: std::collections::BTreeMap<Value, Value> = members.collect();
        let id = self.values.len();
        self.values.push(Value::from(members));
        self.objects.insert(ids, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{
        "a": {"schema": {"type": "string"}, "list": [1, 1.0, -1, "x", null, true, [], {}]},
        "b": {"schema": {"type": "string"}, "list": [1, 1.0, -1, "x", null, true, [], {}]},
        "c": {"type": "string", "big": 18446744073709551615, "": {"": ""}, "x": ["type", "string"]}
    }"#;

    #[test]
    fn it_is_the_plain_value() {
        for text in [DATA, "{}", "[[], [[]]]", "\"x\"", "0.5", "null", r#"{"a": {"a": "a"}}"#] {
            let node = lictor_proto::json::scan(text.as_bytes()).unwrap();
            assert_eq!(value(&node), value_from_node(&node), "{text}");
        }
    }

    #[test]
    fn what_is_equal_is_there_once() {
        let node = lictor_proto::json::scan(DATA.as_bytes()).unwrap();
        let value = value(&node);
        let object = |path: &[&str]| {
            let at = path.iter().fold(&value, |at, name| &at[*name]);
            std::ptr::from_ref(at.as_object().unwrap())
        };
        assert_eq!(object(&["a"]), object(&["b"]));
        assert_eq!(object(&["a", "schema"]), object(&["b", "schema"]));
        assert_ne!(object(&["a"]), object(&["c"]));
    }
}
