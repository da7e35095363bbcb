//! A tool's entry in the registry, in both directions: from the server's definition, and back to
//! the definition that was pinned.
//!
//! `description`, `input_schema` and `output_schema` begin as the server's own words, and belong to
//! whoever writes the bundle: a schema that was made narrower stays so. Where they differ from the
//! server's, `declared` keeps the server's, so that the pinned definition is whole at any time.

use lictor_proto::json::node::escape_token;
use lictor_proto::json::text::quote;
use lictor_proto::json::{Member, Node, Span, Value};
use lictor_proto::tool::pin;

use super::definitions::Definition;

/// Members of an entry, and those of a definition that they come from.
const WORDS: [(&str, &str); 3] = [
    ("description", "description"),
    ("input_schema", "inputSchema"),
    ("output_schema", "outputSchema"),
];
/// What else a definition gives an entry.
const DECLARED: &str = "declared";
/// The hash of the whole definition.
const PIN: &str = "pin";

/// What an import made of an entry.
#[derive(Debug)]
pub(super) struct Made {
    /// The entry's JSON.
    pub(super) text: String,
    /// Members that say something else than the server and were kept.
    pub(super) kept: Vec<&'static str>,
}

/// The definition as it was pinned with this entry, as far as the entry still has it.
pub(super) fn pinned(entry: &Node, name: &str) -> Node {
    let mut members = vec![member("name", Value::String(name.into()))];
    let declared = entry.get(DECLARED).map(Node::members).unwrap_or_default();
    for (ours, theirs) in WORDS {
        let own = declared.iter().find(|member| &*member.key == theirs);
        let value = own.map(|member| &member.value).or_else(|| entry.get(ours));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            members.push(member(theirs, value.value.clone()));
        }
    }
    let word = |key: &str| key == "name" || WORDS.iter().any(|(_, theirs)| *theirs == key);
    members.extend(declared.iter().filter(|member| !word(&member.key)).cloned());
    Node { span: Span::default(), value: Value::Object(members) }
}

fn member(key: &str, value: Value) -> Member {
    let value = Node { span: Span::default(), value };
    Member { key: key.into(), key_span: Span::default(), value }
}

/// The hash in an entry; empty if it has none.
pub(super) fn pin_of(entry: &Node) -> &str {
    entry.get(PIN).and_then(Node::as_str).unwrap_or_default()
}

/// Whether the pinned definition can be told from the entry alone.
pub(super) fn is_whole(entry: &Node, name: &str) -> bool {
    pin(&pinned(entry, name)) == pin_of(entry)
}

/// The entry of a tool that is pinned as `definition`. `old` is the entry that there is, out of
/// `source`; what a person wrote into it stays, and so does the order of its members.
pub(super) fn make(definition: &Definition, old: Option<(&Node, &str)>) -> Made {
    let mut maker = Maker { definition, old, declared: Vec::new(), kept: Vec::new() };
    let words = WORDS.map(|(ours, theirs)| (ours, maker.word(ours, theirs)));
    for member in definition.node.members() {
        if &*member.key != "name" && !WORDS.iter().any(|(_, theirs)| *theirs == &*member.key) {
            maker.declared.push((member.key.to_string(), member.value.compact()));
        }
    }
    let declared = (!maker.declared.is_empty()).then(|| object(&maker.declared));
    let mut fresh: Vec<(&str, Option<String>)> = words.into_iter().collect();
    fresh.push((DECLARED, declared));
    fresh.push((PIN, Some(quoted(&definition.pin()))));
    Made { text: maker.entry(fresh), kept: maker.kept }
}

struct Maker<'a> {
    definition: &'a Definition,
    old: Option<(&'a Node, &'a str)>,
    declared: Vec<(String, String)>,
    kept: Vec<&'static str>,
}

impl Maker<'_> {
    /// The JSON of one member; `None` if the entry does without.
    fn word(&mut self, ours: &'static str, theirs: &str) -> Option<String> {
        let live = self.definition.node.get(theirs);
        let Some((entry, source)) = self.old else {
            return live.map(Node::compact);
        };
        let own = entry.get(ours);
        let same = own.map(Node::rfc8785) == live.map(Node::rfc8785);
        if same {
            return own.map(|own| raw(source, own));
        }
        if !self.is_written(entry, ours, theirs) {
            return live.map(Node::compact);
        }
        self.kept.push(ours);
        let live = live.map_or_else(|| "null".to_owned(), Node::compact);
        self.declared.push((theirs.to_owned(), live));
        own.map(|own| raw(source, own))
    }

    /// Whether a person decided on the member, be it that there is none.
    fn is_written(&self, entry: &Node, ours: &str, theirs: &str) -> bool {
        if entry.get(DECLARED).and_then(|declared| declared.get(theirs)).is_some() {
            return true;
        }
        if is_whole(entry, &self.definition.name) {
            return false;
        }
        let any = ours == "input_schema" && entry.get("schema").is_some();
        entry.get(ours).is_some() || any
    }

    /// Members that were there stay in their place; the others follow.
    fn entry(&self, mut fresh: Vec<(&str, Option<String>)>) -> String {
        let mut members = Vec::new();
        let (old, source) = self.old.map_or((&[][..], ""), |(old, source)| (old.members(), source));
        for member in old {
            match fresh.iter_mut().find(|(key, _)| *key == &*member.key) {
                Some((_, value)) => {
                    members.extend(value.take().map(|value| (member.key.to_string(), value)));
                }
                None => members.push((member.key.to_string(), raw(source, &member.value))),
            }
        }
        let rest = fresh.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        members.extend(rest);
        // Begun on a new line, so that the layout gives each member its own.
        object(&members).replacen('{', "{\n", 1)
    }
}

fn raw(source: &str, node: &Node) -> String {
    source.get(node.span.start..node.span.end).unwrap_or_default().to_owned()
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(&mut out, text);
    out
}

/// An object of members whose values are JSON.
pub(super) fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{}: {value}", quoted(key))).collect();
    format!("{{{}}}", members.join(", "))
}

/// `text` with `value` at the end of `path`, whose missing objects are made.
pub(super) fn put(text: &str, root: &Node, path: &[&str], value: &str) -> String {
    let mut node = root;
    let mut rest = path;
    while let [key, more @ ..] = rest
        && let Some(next) = node.get(key)
    {
        (node, rest) = (next, more);
    }
    let (start, end, new) = match rest.split_first() {
        None => (node.span.start, node.span.end, value.to_owned()),
        Some((key, inner)) => {
            let nested = inner.iter().rev().fold(value.to_owned(), |value, key| {
                object(&[((*key).to_owned(), value)]).replacen('{', "{\n", 1)
            });
            let new = format!("{}: {nested}", quoted(key));
            match node.members().last() {
                Some(last) => (last.value.span.end, last.value.span.end, format!(", {new}")),
                None => (node.span.start, node.span.end, format!("{{\n{new}}}")),
            }
        }
    };
    let before = text.get(..start).unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    format!("{before}{new}{after}")
}

/// A pointer to a tool's entry, for messages.
pub(super) fn place(id: &str) -> String {
    format!("data.json: /registry/tools/{}", escape_token(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_proto::json::scan;

    fn definition(text: &str) -> Definition {
        let node = scan(text.as_bytes()).unwrap();
        Definition { name: node.get("name").unwrap().as_str().unwrap().to_owned(), node }
    }

    const LIVE: &str =
        r#"{"name":"a","title":"A","description":"d","inputSchema":{"maximum":1.50},"x":[1]}"#;

    /// The entry after an import of `live`, and what was kept.
    fn imported(live: &str, old: Option<&str>) -> (Node, Vec<&'static str>) {
        let definition = definition(live);
        let old = old.map(|old| (scan(old.as_bytes()).unwrap(), old));
        let made = make(&definition, old.as_ref().map(|(node, source)| (node, *source)));
        let entry = scan(made.text.as_bytes()).unwrap();
        assert_eq!(pin_of(&entry), definition.pin());
        assert!(is_whole(&entry, "a"), "{}", made.text);
        (entry, made.kept)
    }

    #[test]
    fn a_definition_comes_back_whole_from_its_entry() {
        let (entry, kept) = imported(LIVE, None);
        assert!(kept.is_empty());
        assert_eq!(
            entry.compact().split_once(",\"pin\"").unwrap().0,
            r#"{"description":"d","input_schema":{"maximum":1.50},"declared":{"title":"A","x":[1]}"#
        );
        // Even one with the names of our own members.
        imported(r#"{"name":"a","inputSchema":{},"pin":"x","declared":{"name":1}}"#, None);
    }

    #[test]
    fn what_a_person_wrote_stays_and_the_servers_words_beside_it() {
        let old =
            r#"{"annotations": {"effect": "none"}, "description": "mine", "attrs": {"n": 1.0}}"#;
        let (entry, kept) = imported(LIVE, Some(old));
        assert_eq!(kept, ["description"]);
        assert_eq!(entry.get("description").unwrap().as_str(), Some("mine"));
        assert_eq!(entry.pointer("/declared/description").unwrap().as_str(), Some("d"));
        assert!(entry.compact().starts_with(
            r#"{"annotations":{"effect":"none"},"description":"mine","attrs":{"n":1.0},"#
        ));
        // Again, with another definition: it is still the person's.
        let changed = LIVE.replace("\"d\"", "\"e\"");
        let (entry, kept) = imported(&changed, Some(&entry.compact()));
        assert_eq!(kept, ["description"]);
        assert_eq!(entry.pointer("/declared/description").unwrap().as_str(), Some("e"));
    }

    #[test]
    fn the_servers_own_words_follow_the_server() {
        let (entry, _) = imported(LIVE, None);
        let changed = r#"{"name":"a","inputSchema":{"maximum":2}}"#;
        let (entry, kept) = imported(changed, Some(&entry.compact()));
        assert!(kept.is_empty() && entry.get("description").is_none());
        assert!(entry.get("declared").is_none());
        assert_eq!(entry.get("input_schema").unwrap().compact(), r#"{"maximum":2}"#);
    }

    #[test]
    fn a_tool_that_takes_anything_by_decision_gets_no_schema() {
        let (entry, kept) = imported(LIVE, Some(r#"{"schema": "any"}"#));
        assert_eq!(kept, ["input_schema"]);
        assert!(entry.get("input_schema").is_none());
    }

    #[test]
    fn an_edited_entry_is_not_whole() {
        let (entry, _) = imported(LIVE, None);
        let edited = entry.compact().replace("1.50", "1");
        assert!(!is_whole(&scan(edited.as_bytes()).unwrap(), "a"));
    }

    #[test]
    fn a_value_is_put_where_its_path_ends() {
        let put = |text: &str, path: &[&str]| {
            let out = put(text, &scan(text.as_bytes()).unwrap(), path, "7");
            scan(out.as_bytes()).unwrap().compact()
        };
        assert_eq!(put(r#"{"a":{"b":1},"c":2}"#, &["a", "b"]), r#"{"a":{"b":7},"c":2}"#);
        assert_eq!(put(r#"{"a":{"b":1}}"#, &["a", "x", "y"]), r#"{"a":{"b":1,"x":{"y":7}}}"#);
        assert_eq!(put(r#" { } "#, &["a"]), r#"{"a":7}"#);
        assert_eq!(put(r#"{"a":{}}"#, &["a", "\"q"]), r#"{"a":{"\"q":7}}"#);
    }
}
