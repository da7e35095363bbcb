//! What can be read of a registry that is not valid: enough to know its names, so that policies are
//! checked all the same. A bundle with such a registry is never served.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::registry::Registry;

/// The readable part of a registry, and the maps of it that could not be read whole.
pub(super) fn salvage(value: &Value) -> (Registry, BTreeSet<&'static str>) {
    let mut unread = BTreeSet::new();
    let mut reader = Reader { value, unread: &mut unread };
    let agent = json!({"owner": "", "status": "active"});
    let registry = Registry {
        agents: reader.map("agents", &agent),
        users: reader.map("users", &json!({})),
        teams: reader.map("teams", &json!({})),
        models: reader.map("models", &json!({})),
        servers: reader.map("servers", &json!({})),
        tools: reader.map("tools", &json!({})),
        virtual_servers: reader.map("virtual_servers", &json!({})),
        open_types: value
            .get("open_types")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|kind| serde_json::from_value(kind.clone()).ok())
            .collect(),
        scopes: value
            .get("scopes")
            .and_then(|scopes| serde_json::from_value(scopes.clone()).ok())
            .unwrap_or_default(),
        max_delegation_depth: None,
    };
    (registry, unread)
}

struct Reader<'a> {
    value: &'a Value,
    unread: &'a mut BTreeSet<&'static str>,
}

impl Reader<'_> {
    /// The entries of a map; of each what can be read over `least`, which can be.
    fn map<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        least: &Value,
    ) -> BTreeMap<String, T> {
        let entries = match self.value.get(name) {
            None => return BTreeMap::new(),
            Some(Value::Object(entries)) => entries,
            Some(_) => {
                self.unread.insert(name);
                return BTreeMap::new();
            }
        };
        let mut read = BTreeMap::new();
        for (id, entry) in entries {
            match entry_over(entry, least) {
                Some(entry) => {
                    read.insert(id.clone(), entry);
                }
                None => {
                    self.unread.insert(name);
                }
            }
        }
        read
    }
}

/// An entry with every member that can be read.
fn entry_over<T: DeserializeOwned>(entry: &Value, least: &Value) -> Option<T> {
    if let Ok(whole) = serde_json::from_value(entry.clone()) {
        return Some(whole);
    }
    let mut kept: Map<String, Value> = least.as_object().cloned().unwrap_or_default();
    for (member, value) in entry.as_object().into_iter().flatten() {
        let mut with = kept.clone();
        with.insert(member.clone(), value.clone());
        if serde_json::from_value::<T>(Value::Object(with.clone())).is_ok() {
            kept = with;
        }
    }
    serde_json::from_value(Value::Object(kept)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_good_members_are_kept() {
        let (registry, unread) = salvage(&json!({
            "agents": {"a": {"owner": 1, "team": "t"}, "b": {"owner": "x", "status": "active"}},
            "tools": {"s/t": {"input_schema": {"type": "object"}, "annotations": {"effect": "boom"}, "x": 1}},
            "users": {"u": 17},
            "open_types": ["agent", "nonsense"],
        }));
        assert_eq!(registry.agents["a"].team, "t");
        assert_eq!(registry.agents["b"].owner, "x");
        assert!(registry.tools["s/t"].input_schema.is_some());
        assert!(registry.users.contains_key("u"));
        assert_eq!(registry.open_types.len(), 1);
        assert!(unread.is_empty());
    }

    #[test]
    fn maps_that_are_none_are_named() {
        let (registry, unread) = salvage(&json!({"tools": [], "servers": {}}));
        assert!(registry.tools.is_empty());
        assert_eq!(unread, BTreeSet::from(["tools"]));
    }
}
