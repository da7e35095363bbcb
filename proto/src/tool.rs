//! An MCP server's definition of a tool: its pin, and what changed since it was pinned.
//!
//! A definition is what a person once looked at. Whatever is added to it later was not: a new
//! sentence in a description is read by models as an instruction, a new argument is a new ability.

use serde::Serialize;

use crate::json::node::escape_token;
use crate::json::{Member, Node, Value, digest_text};

/// `sha256:<hex>` of the RFC 8785 form of the whole definition, members that nobody knows
/// included.
#[must_use]
pub fn pin(definition: &Node) -> String {
    digest_text(&definition.rfc8785())
}

/// What a change is to, from the least grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeClass {
    /// What only people see (`title`, `icons`), and the order of what has none.
    Cosmetic,
    /// What the tool takes, gives or says of its effects, and everything unknown.
    Capability,
    /// What models read: descriptions, also inside of schemas, with examples and defaults.
    Instruction,
}

impl ChangeClass {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cosmetic => "cosmetic",
            Self::Capability => "capability",
            Self::Instruction => "instruction",
        }
    }
}

/// How a member changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// Its value is another.
    Changed,
}

/// One difference between two definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where, as a JSON pointer (RFC 6901) into the definition.
    pub pointer: String,
    /// How.
    pub kind: ChangeKind,
    /// To what; of an added or removed part the gravest in it.
    pub class: ChangeClass,
}

/// What differs between a pinned definition and the one that is there now: nothing exactly if
/// their pins are equal.
#[must_use]
pub fn changes(pinned: &Node, live: &Node) -> Vec<Change> {
    let mut found = Vec::new();
    let mut walk = Walk { at: String::new(), found: &mut found };
    walk.both(pinned, live, Role::Definition);
    found
}

/// What a value is to a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The definition itself.
    Definition,
    /// A JSON Schema.
    Schema,
    /// Schemas by name, or a list of them.
    Schemas,
    /// What the server says of the tool's effects.
    Hints,
    /// An array in which order says nothing.
    Set,
    /// Anything else, of one class to its leaves.
    Plain(ChangeClass),
}

impl Role {
    /// The role of the member `key` of a value in this role.
    fn member(self, key: &str) -> Self {
        match self {
            Self::Definition => match key {
                "inputSchema" | "outputSchema" => Self::Schema,
                "annotations" => Self::Hints,
                "description" => Self::Plain(ChangeClass::Instruction),
                "title" | "icons" => Self::Plain(ChangeClass::Cosmetic),
                _ => Self::Plain(ChangeClass::Capability),
            },
            Self::Hints if key == "title" => Self::Plain(ChangeClass::Cosmetic),
            Self::Schema => match key {
                "description" | "title" | "$comment" | "examples" | "default" => {
                    Self::Plain(ChangeClass::Instruction)
                }
                "properties" | "patternProperties" | "$defs" | "definitions"
                | "dependentSchemas" | "allOf" | "anyOf" | "oneOf" | "prefixItems" => Self::Schemas,
                "items"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "additionalItems"
                | "contentSchema" => Self::Schema,
                "required" | "enum" | "type" => Self::Set,
                _ => Self::Plain(ChangeClass::Capability),
            },
            Self::Schemas => Self::Schema,
            Self::Hints | Self::Set => Self::Plain(ChangeClass::Capability),
            Self::Plain(class) => Self::Plain(class),
        }
    }

    /// The role of an element of an array in this role.
    fn element(self) -> Self {
        match self {
            // `items` may be a list of schemas.
            Self::Schema | Self::Schemas => Self::Schema,
            other => other.member(""),
        }
    }

    /// The class of a value in this role, without what is in it.
    fn class(self) -> ChangeClass {
        match self {
            Self::Plain(class) => class,
            _ => ChangeClass::Capability,
        }
    }
}

/// The gravest class of a value and everything in it.
fn gravest(node: &Node, role: Role) -> ChangeClass {
    let inner = match &node.value {
        Value::Object(members) => {
            members.iter().map(|member| gravest(&member.value, role.member(&member.key))).max()
        }
        Value::Array(items) => items.iter().map(|item| gravest(item, role.element())).max(),
        _ => None,
    };
    inner.unwrap_or(role.class()).max(role.class())
}

struct Walk<'a> {
    at: String,
    found: &'a mut Vec<Change>,
}

impl Walk<'_> {
    fn note(&mut self, kind: ChangeKind, class: ChangeClass) {
        self.found.push(Change { pointer: self.at.clone(), kind, class });
    }

    fn below(&mut self, token: &str, then: impl FnOnce(&mut Self)) {
        let length = self.at.len();
        self.at.push('/');
        self.at.push_str(&escape_token(token));
        then(self);
        self.at.truncate(length);
    }

    fn both(&mut self, old: &Node, new: &Node, role: Role) {
        match (&old.value, &new.value) {
            (Value::Object(before), Value::Object(after)) => self.objects(before, after, role),
            (Value::Array(before), Value::Array(after)) => {
                if role == Role::Set && is_reordered(before, after) {
                    return self.note(ChangeKind::Changed, ChangeClass::Cosmetic);
                }
                self.arrays(before, after, role);
            }
            _ if old.rfc8785() == new.rfc8785() => {}
            _ => self.note(ChangeKind::Changed, gravest(old, role).max(gravest(new, role))),
        }
    }

    fn objects(&mut self, before: &[Member], after: &[Member], role: Role) {
        for member in before {
            let role = role.member(&member.key);
            let now = after.iter().find(|other| other.key == member.key);
            self.below(&member.key, |walk| match now {
                Some(now) => walk.both(&member.value, &now.value, role),
                None => walk.note(ChangeKind::Removed, gravest(&member.value, role)),
            });
        }
        for member in after.iter().filter(|new| !before.iter().any(|old| old.key == new.key)) {
            let class = gravest(&member.value, role.member(&member.key));
            self.below(&member.key, |walk| walk.note(ChangeKind::Added, class));
        }
    }

    fn arrays(&mut self, before: &[Node], after: &[Node], role: Role) {
        let role = role.element();
        for index in 0..before.len().max(after.len()) {
            self.below(&index.to_string(), |walk| match (before.get(index), after.get(index)) {
                (Some(old), Some(new)) => walk.both(old, new, role),
                (Some(old), None) => walk.note(ChangeKind::Removed, gravest(old, role)),
                (None, Some(new)) => walk.note(ChangeKind::Added, gravest(new, role)),
                (None, None) => {}
            });
        }
    }
}

/// Whether two arrays differ and have the same elements.
fn is_reordered(before: &[Node], after: &[Node]) -> bool {
    let sorted = |items: &[Node]| {
        let mut texts: Vec<String> = items.iter().map(Node::rfc8785).collect();
        let order = texts.clone();
        texts.sort();
        (texts, order)
    };
    let ((before, old_order), (after, new_order)) = (sorted(before), sorted(after));
    before == after && old_order != new_order
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
