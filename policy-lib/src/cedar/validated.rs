//! Which policies were found valid, and against which schemas, so that the next bundle need not
//! validate them again. Cedar itself is the same as long as the process is.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::shape::Shape;

/// Digest of all that the validation of one policy depends on.
pub(super) type Key = [u8; 32];

/// Policies without any complaint, with all that this depends on. A policy that was complained of
/// is not among them: what is said of it is said with its place.
#[derive(Debug, Default)]
pub(crate) struct Validated {
    /// Sorted.
    keys: Vec<Key>,
}

impl Validated {
    pub(super) fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        let keys: BTreeSet<Key> = keys.into_iter().collect();
        Self { keys: keys.into_iter().collect() }
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.keys.binary_search(key).is_ok()
    }
}

/// What every policy of a bundle depends on: all types, and the bundle's own schema.
pub(super) fn key_of_types(shape: &Shape, extra: Option<&str>) -> Key {
    let mut hash = Sha256::new_with_prefix("lictor/cedar/validated/1");
    add(&mut hash, &shape.schema_of(&BTreeSet::new()));
    add(&mut hash, extra.unwrap_or_default());
    hash.finalize().into()
}

/// Adds what a policy, or several, depend on of these actions.
pub(super) fn with_actions(key: &Key, shape: &Shape, actions: &BTreeSet<&str>) -> Key {
    let mut hash = Sha256::new_with_prefix(key);
    let mut text = String::new();
    for action in actions {
        shape.declare_action(action, &mut text);
    }
    add(&mut hash, &text);
    hash.finalize().into()
}

/// Adds a text, such as a policy's own.
pub(super) fn with_text(key: &Key, text: &str) -> Key {
    let mut hash = Sha256::new_with_prefix(key);
    add(&mut hash, text);
    hash.finalize().into()
}

/// With its length, so that no two texts together are another two.
fn add(hash: &mut Sha256, text: &str) {
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::cedar::{CedarEngine, CedarSource, Loading};
    use crate::work::Threads;

    const POLICIES: &str = r#"@id("a") permit(principal, action == Lictor::Action::"s/a", resource) when { context.args.n > 1 };
@id("b") permit(principal, action == Lictor::Action::"s/b", resource) when { context.args.n > 1 };
@id("all") forbid(principal, action in Lictor::Action::"tools/call", resource) when { context.executed };
"#;

    fn registry(of_a: &str, more: Value) -> Value {
        let schema = |ty: &str| json!({"type": "object", "required": ["n"], "properties": {"n": {"type": ty}}});
        json!({
            "servers": {"s": {}}, "users": more,
            "tools": {"s/a": {"input_schema": schema(of_a)}, "s/b": {"input_schema": schema("integer")}},
        })
    }

    fn validated(policies: &str, registry: Value, before: Option<&Validated>) -> Arc<Validated> {
        let registry = serde_json::from_value(registry).unwrap();
        let scopes = BTreeMap::new();
        let policies = vec![("cedar/u.cedar", policies)];
        let source = CedarSource {
            policies,
            schema: None,
            entities: None,
            scopes: &scopes,
            registry: &registry,
        };
        let loading = Loading { threads: Threads::new(2), before };
        let (engine, found) = CedarEngine::load_checked(&source, None, loading);
        engine.unwrap_or_else(|| panic!("{found:#?}")).validated()
    }

    fn in_both(one: &Validated, other: &Validated) -> usize {
        one.keys.iter().filter(|key| other.has(key)).count()
    }

    #[test]
    fn what_a_policy_depends_on_is_its_key_and_nothing_else_is() {
        let plain = registry("integer", json!({}));
        let first = validated(POLICIES, plain.clone(), None);
        assert_eq!(first.keys.len(), 3);
        let same = |policies: &str, registry: Value| {
            in_both(&first, &validated(policies, registry, Some(&first)))
        };
        assert_eq!(same(POLICIES, plain.clone()), 3);
        assert_eq!(same(&format!("// moved\n{POLICIES}"), plain.clone()), 3);
        assert_eq!(same(&POLICIES.replace("> 1", "> 2"), plain.clone()), 1);
        // A tool that none of the others depends on: what is for all tools is for one of each type.
        let wider = "@id(\"b\") permit(principal, action == Lictor::Action::\"s/b\", resource);";
        assert_eq!(same(wider, plain), 0);
        let optional = json!({"ops": {"attrs": {"level": 1}}});
        assert_eq!(same(POLICIES, registry("integer", optional)), 0, "every type is another");
    }

    #[test]
    fn a_tool_of_another_type_leaves_the_policies_of_other_tools_valid() {
        let without_a = POLICIES.lines().skip(1).collect::<Vec<_>>().join("\n");
        let first = validated(&without_a, registry("integer", json!({})), None);
        let second = validated(&without_a, registry("string", json!({})), Some(&first));
        assert_eq!((first.keys.len(), in_both(&first, &second)), (2, 2));
    }
}
